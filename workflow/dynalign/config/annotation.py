"""The section `annotation`: parsing."""

from pydantic import Field

from dynalign.config.fields import FilePath, Name, Section


class Annotation(Section):
    """Parsing with stanza."""

    models: FilePath = Field("resources/stanza", description="folder of stanza models")
    download: bool = Field(True, description="fetch the models into that folder when they are not there")
    package: Name = Field("default", description="stanza package, as in its resources.json")
    processors: tuple[Name, ...] = Field(
        ("tokenize", "mwt", "pos", "lemma", "depparse", "constituency"), description="stanza processors"
    )
    file: FilePath | None = Field(
        None, description="a CoNLL-U file with `# constituency = (ROOT …)` comments, used instead of parsing"
    )
