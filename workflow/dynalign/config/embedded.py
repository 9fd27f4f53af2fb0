"""The sections `training` and `simulation`: a small model and subjects made inside the workflow."""

from typing import Annotated

from pydantic import Field

from dynalign.config.fields import FilePath, Name, Positive, Section


class Training(Section):
    """Train a small GPT-NeoX with its own tokenizer inside the workflow, into results/<study>/model."""

    texts: tuple[FilePath, ...] = Field((), description="text files; none: text generated from `grammar`")
    grammar: FilePath = Field("resources/demo/grammar.yaml", description="rules and words of generated text")
    characters: Positive = Field(600_000, description="characters of generated text")
    steps: Annotated[int, Field(ge=16)] = Field(512, description="training steps; saved are 0, 1, 2, 4, … and the last")
    vocabulary: Positive = Field(2048, description="tokens of the byte-pair vocabulary")
    depth: Positive = Field(4, description="transformer layers")
    hidden: Positive = Field(96, description="hidden size")
    heads: Positive = Field(4, description="attention heads")
    batch: Positive = Field(16, description="sequences per step")
    sequence: Positive = Field(128, description="tokens per sequence")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate (linear warm-up, cosine decay)")

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps at which a checkpoint is saved: 0, the powers of two, the last."""
        powers = [2**k for k in range(self.steps.bit_length()) if 2**k < self.steps]
        return (0, *powers, self.steps)


class Simulation(Section):
    """Simulate subjects that read the story of `text`, into results/<study>/data (the embedded study)."""

    text: FilePath = Field("resources/demo/story.txt", description="story: runs separated by '---' lines")
    word_s: float = Field(0.5, gt=0, description="s per word")
    rest_s: tuple[float, float] = Field((20.0, 10.0), description="rest before and after the words of a run, s")
    paragraph_pause_s: float = Field(1.0, ge=0, description="pause between paragraphs, s")
    shape: tuple[Positive, Positive, Positive] = Field((10, 12, 8), description="voxels of the image grid")
    properties: tuple[str, str] = Field(("tense", "sentence_length"), description="two properties that drive voxels")
    brain_only: Name | None = Field(
        None, description="a property that drives voxels though the text does not tell it, so that no model holds it"
    )
    noise: float = Field(1.0, gt=0, description="standard deviation of the noise relative to the signal's")
