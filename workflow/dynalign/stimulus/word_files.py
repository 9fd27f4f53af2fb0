"""Files of words and their times: tables, events of BIDS, TextGrids (METHOD section 2.2)."""

import re

import numpy as np

from dynalign.cli import note
from dynalign.io.errors import InputError
from dynalign.stimulus.textgrid import Tier, read_textgrid
from dynalign.tables.reader import read_table

#: A missing value in BIDS.
MISSING = "n/a"

#: A cell as programs write it that quote cells with quotes in them.
_QUOTED = r'"(?:[^"]|"")*""(?:[^"]|"")*"'

#: What aligners write where nobody speaks: nothing, `sp`, `sil`, and marks such as <p:>.
_SILENCE = re.compile(r"|sp|sil|<[^>]*>", re.IGNORECASE)


def read_word_file(path: str, run: int | None, column: str):
    """Read a file of words as a data frame: `onset`, `run`, `word`, perhaps `sentence`; its index are the file's rows.

    A file of one `run` needs no column `run`. Rows of ``*_events.tsv`` without a word are other events and left out,
    and so are intervals of a TextGrid where nobody speaks. InputError: as for :func:`read_table` and
    :func:`read_textgrid`, or words cannot be told.
    """
    if path.lower().endswith(".textgrid"):
        table = _from_textgrid(path, column)
    else:
        table = read_table(path, ["onset", *([] if run else ["run"]), column])
        if path.endswith("_events.tsv"):
            others = table[column].isin(["", MISSING]) | table[column].isna()
            note(f"{path}: {int(others.sum())} of {len(table)} events have no {column} and are left out")
            table = table[~others]
        table = table.assign(word=table[column].astype(str))
        if not path.lower().endswith(".csv") and (quoted := table["word"].str.fullmatch(_QUOTED)).any():
            row = table[quoted].iloc[0]
            raise InputError(
                f"{path}: row {row.name}: the word {row['word']} stands in quotes, and its own quote twice, as in a "
                ".csv; in a tab-separated table a quote is part of the word: write it as it is (pandas: quoting=3), or "
                "write a .csv, with commas"
            )
    return table if run is None else table.assign(run=run)


def _from_textgrid(path: str, name: str):
    import pandas as pd

    tiers = read_textgrid(path)
    listed = ", ".join(repr(tier.name) for tier in tiers) or "none"
    if len(words := _called(tiers, name)) != 1:
        raise InputError(
            f"{path}: which tier of intervals holds the words? One must be called {name!r}; it has {listed}: name the "
            "one in story.word_column"
        )
    if len(sentences := _called(tiers, "sentence")) > 1:
        raise InputError(f"{path}: which tier holds the sentences? It has {listed}; call one of them 'sentence'")
    intervals = words[0].intervals
    spoken = [number for number, (*_, word) in enumerate(intervals) if not _SILENCE.fullmatch(word)]
    note(f"{path}: {len(intervals) - len(spoken)} of {len(intervals)} intervals have no word")
    kept = [intervals[number] for number in spoken]
    values = {"onset": [start for start, _, _ in kept], "word": [word for *_, word in kept]}
    if sentences:
        middles = [(start + end) / 2 for start, end, _ in kept]
        values["sentence"] = _sentences(path, sentences[0], middles, values["word"])
    return pd.DataFrame(values, index=spoken)


def _called(tiers: list[Tier], name: str) -> list[Tier]:
    """The tiers of a name; where there is none, those alike: `Words` for `word`."""
    exact = [tier for tier in tiers if tier.name == name]
    return exact or [tier for tier in tiers if tier.name.lower() in (name, f"{name}s")]


def _sentences(path: str, tier: Tier, times, words) -> list[int]:
    """Number, from 0, of the interval with text that each time lies in; an `InputError` names a word in none."""
    spoken = [(start, end) for start, end, text in tier.intervals if not _SILENCE.fullmatch(text)]
    starts, ends = np.reshape(spoken, (-1, 2)).T
    numbers = np.searchsorted(starts, times, side="right") - 1
    for number, time, word in zip(numbers, times, words, strict=True):
        if number < 0 or time > ends[number]:
            raise InputError(
                f"{path}: the word {word!r} at {time:.6g} s lies in no sentence of the tier {tier.name!r}; give it "
                "one, or take the tier away"
            )
    return numbers.tolist()
