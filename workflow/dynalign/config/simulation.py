"""The section `simulation`: simulated subjects."""

from pydantic import Field

from dynalign.config.fields import FilePath, Name, Positive, Section


class Simulation(Section):
    """Simulate subjects that read the story of `text`, into results/<study>/data (the embedded study)."""

    text: FilePath = Field("resources/demo/story.txt", description="story: runs separated by '---' lines")
    word_s: float = Field(0.5, gt=0, description="s per word")
    rest_s: tuple[float, float] = Field((20.0, 10.0), description="rest before and after the words of a run, s")
    paragraph_pause_s: float = Field(1.0, ge=0, description="pause between paragraphs, s")
    shape: tuple[Positive, Positive, Positive] = Field((10, 12, 8), description="voxels of the image grid")
    properties: tuple[str, str] = Field(
        ("tense", "sentence_length"), description="the two properties that drive voxels"
    )
    brain_only: Name | None = Field(
        None, description="a property that drives voxels though the text does not tell it, so that no model holds it"
    )
    noise: float = Field(1.0, gt=0, description="standard deviation of the noise relative to the signal's")
