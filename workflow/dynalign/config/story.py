"""The sections `story` and `annotation`: the stimulus and its parse."""

from typing import Literal

from pydantic import Field, model_validator

from dynalign.config.fields import FilePath, Name, Natural, Positive, Section

#: The story in the layout `arrays`: words, their times, times and runs of the TRs (METHOD section 2.1).
ARRAYS = ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri")


class Trim(Section):
    """TRs cut at both ends of a run."""

    start: Natural = Field(20, description="TRs cut off the front of each run")
    end: Natural = Field(15, description="TRs cut off the end of each run")


class Story(Section):
    """The stimulus: which word was seen or heard when."""

    layout: Literal["arrays", "table"] = Field(
        "arrays",
        description="`arrays`: a folder of .npy files as in the Harry Potter data; `table`: a words table (onset in s "
        "from the run's start, 0 or later, run, word, perhaps sentence; tab-separated) with NIfTI images",
    )
    folder: FilePath | None = Field("resources/harry-potter", description="`arrays`: the folder of the .npy files")
    download: Literal["harry-potter"] | None = Field(
        "harry-potter", description="public data that the workflow fetches into `folder`; null: use what is there"
    )
    words: FilePath | None = Field(None, description="`table`: the words table")
    tr: float | None = Field(
        None,
        gt=0,
        description="`table`: repetition time in s, as in the images' headers (0, or 1 without unit: not set there); "
        "arrays bring their own times",
    )
    trs: tuple[Positive, ...] | None = Field(None, description="`table`: measurements of each run, untrimmed")
    trim: Trim = Field(Trim(), description="TRs cut at both ends of a run; rows already trimmed are recognised")
    drop: tuple[str, ...] = Field(
        (), description="words that parser and model do not see (they keep their time, e.g. the cross '+')"
    )
    replace: dict[str, str] = Field({}, description="text replaced inside words before parsing, e.g. {'@': ''}")
    language: Name = Field("en", description="language of the words, whose frequencies `wordfreq` knows (ISO 639)")

    @model_validator(mode="after")
    def _complete(self):
        needed = ("folder",) if self.layout == "arrays" else ("words", "tr", "trs")
        if absent := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(f"layout {self.layout!r} needs the key {absent[0]!r}")
        if self.layout == "table" and self.download:
            raise ValueError("download 'harry-potter' goes with layout 'arrays'; set download: null")
        return self


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
