"""The sections `story` and `annotation`: the stimulus and its parse."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from dynalign.config.fields import FilePath, Name, Natural, Positive, Section, WordsPath, need_placeholders

#: The story in the layout `arrays`: words, their times, times and runs of the TRs (METHOD section 2.1).
ARRAYS = ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri")


class Trim(Section):
    """TRs cut at both ends of a run."""

    start: Natural = Field(20, description="TRs cut off the front of each run")
    end: Natural = Field(15, description="TRs cut off the end of each run")


class Story(Section):
    """The stimulus: which word was seen or heard when."""

    layout: Literal["arrays", "table", "recordings"] = Field(
        "arrays",
        description="`arrays`: a folder of .npy files as in the Harry Potter data; `table`: a words table (onset in s "
        "from the run's start, 0 or later, run, word, perhaps sentence) or TextGrids, with the same runs for all "
        "subjects; `recordings`: a words table (story, onset in s from the story's start, word, perhaps sentence), "
        "or a file per story, and a table of recordings",
    )
    folder: FilePath | None = Field("resources/harry-potter", description="`arrays`: the folder of the .npy files")
    download: Literal["harry-potter"] | None = Field(
        "harry-potter", description="public data that the workflow fetches into `folder`; null: use what is there"
    )
    words: WordsPath | None = Field(
        None,
        description="`table`, `recordings`: the words, tab-separated, .csv, or .TextGrid (Praat); a path with {run} "
        "(`table`) or {story} (`recordings`) where each has a file, in which no such column is needed",
    )
    word_column: str = Field("word", description="`table`: column of the words, or tier of TextGrids (`words` too)")
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
        needed = {"arrays": ("folder",), "table": ("words", "tr", "trs"), "recordings": ("words",)}[self.layout]
        if absent := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(f"layout {self.layout!r} needs the key {absent[0]!r}")
        if self.layout != "arrays" and self.download:
            raise ValueError("download 'harry-potter' goes with layout 'arrays'; set download: null")
        if self.layout == "table" and len(self.trs) > 1 and self.words.lower().endswith(".textgrid"):
            need_placeholders(self, words=("run",))
        one = self.words is not None and self.words.lower().endswith(".textgrid") and "{story}" not in self.words
        if self.layout == "recordings" and (one or "{run" in self.words):
            raise ValueError(
                f"words: {self.words!r}: layout 'recordings' takes one table of all stories, or a file of each (a "
                "TextGrid is of one) by a path with {story}"
            )
        if self.layout == "table" and "{story}" in self.words:
            raise ValueError(f"words: {self.words!r}: {{story}} goes with layout 'recordings'; runs have {{run}}")
        return self

    @property
    def word_files(self) -> list[tuple[int | None, str]]:
        """As :func:`word_files`; of layout `recordings` one table, or nothing where each story has a file."""
        return [] if "{story}" in self.words else word_files(self.words, len(self.trs or ()))

    def files_of_stories(self, stories: Sequence[str]) -> dict[str, str]:
        """The file of words of each of the `stories`, where each has one; else nothing."""
        return {name: self.words.replace("{story}", name) for name in stories if "{story}" in self.words}


def word_files(path: str, n_runs: int) -> list[tuple[int | None, str]]:
    """The run, from 1, that each file of words is of, and its path; None for a table of all runs (column `run`)."""
    if "{" in path or path.lower().endswith(".textgrid"):
        return [(run, path.format(run=run)) for run in range(1, n_runs + 1)]
    return [(None, path)]


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
