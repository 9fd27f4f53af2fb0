"""Which word was seen when: words, sentences, runs and measurements, TRs (METHOD sections 2 and 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynalign.cli import command, run
from dynalign.config.story import Story
from dynalign.io.arrays import read_array
from dynalign.io.digests import check_digest
from dynalign.io.errors import InputError
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Words that end in a full stop without ending a sentence.
TITLES = frozenset({"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St.", "Mt."})
_OPENING = "\"'([{“‘«"
_CLOSING = "\"')]}”’»"


@dataclass(frozen=True)
class Timing:
    """Words as presented and their onsets (s), start (s) and run of each measurement, untrimmed, on one time axis."""

    words: list[str]
    onsets: np.ndarray
    tr_times: np.ndarray
    tr_runs: np.ndarray


def ends_sentence(word: str) -> bool:
    """Whether a word ends a sentence: it ends in ``.``, ``!`` or ``?`` before closing quotes, and is no title."""
    core = word.rstrip(_CLOSING)
    return core.endswith((".", "!", "?")) and core.lstrip(_OPENING) not in TITLES


def sentence_numbers(words: Sequence[str]) -> np.ndarray:
    """Number of each word's sentence, from 0 (METHOD section 3); the last word ends one too."""
    ends = np.array([ends_sentence(word) for word in words], dtype=int)
    return np.concatenate([[0], np.cumsum(ends)[:-1]]) if len(ends) else ends


def words_to_trs(timing: Timing) -> np.ndarray:
    """The last TR that starts strictly before each word's onset: (n_words,) indices into the untrimmed series.

    InputError for a word before the first measurement or after the last.
    """
    words, onsets, times = timing.words, timing.onsets, timing.tr_times
    trs = np.searchsorted(times, onsets, side="left") - 1
    end = times[-1] + np.median(np.diff(times)) if len(times) > 1 else np.inf
    if onsets[-1] > end:
        raise InputError(
            f"the last word ({words[-1]!r}) has onset {onsets[-1]:g} s, but the last TR ends at {end:g} s: words and "
            "TRs must be on one clock, in seconds"
        )
    if (trs < 0).any():
        first = int(np.argmax(trs < 0))
        raise InputError(
            f"word {first} ({words[first]!r}) has onset {onsets[first]:g} s, but the first TR starts at "
            f"{times[0]:g} s; a word belongs to the last TR that starts strictly before it"
        )
    return trs


def kept_trs(tr_runs: np.ndarray, start: int, end: int) -> np.ndarray:
    """Mask, (n_trs,), of what is left after cutting `start` and `end` TRs off each run; InputError if nothing is."""
    kept = np.zeros(len(tr_runs), dtype=bool)
    for name in dict.fromkeys(tr_runs.tolist()):
        rows = np.flatnonzero(tr_runs == name)
        if len(rows) <= start + end:
            raise InputError(f"run {name} has {len(rows)} TRs, of which story.trim cuts {start} + {end}; trim less")
        kept[rows[start : len(rows) - end]] = True
    return kept


def read_arrays_layout(folder: str | Path) -> Timing:
    """Read the ``.npy`` layout of the Harry Potter data (METHOD section 2.1).

    InputError: arrays are missing, changed since they were recorded or do not match, or times do not rise.
    """
    names = ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri")
    paths = [Path(folder) / f"{name}.npy" for name in names]
    for path in paths:
        check_digest(path)
    words, onsets, times, runs = read_array(paths[0]), *map(_numbers, paths[1:])
    if words.dtype.kind != "U" or words.ndim != 1:
        raise InputError(f"{paths[0]}: expected a 1-D array of text, got {words.dtype} {words.shape}")
    if words.shape != onsets.shape:
        raise InputError(f"{folder}: words_fmri has shape {words.shape}, time_words_fmri {onsets.shape}")
    if times.shape != runs.shape or times.ndim != 1:
        raise InputError(f"{folder}: time_fmri has shape {times.shape}, runs_fmri {runs.shape}")
    if (runs != runs.astype(int)).any():
        raise InputError(f"{paths[3]}: entry {int(np.argmax(runs != runs.astype(int)))} is no run number")
    return _checked(Timing([str(word) for word in words], onsets, times, runs.astype(int)), str(folder))


def _numbers(path: Path) -> np.ndarray:
    """A ``.npy`` of finite numbers, as float64."""
    values = read_array(path)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected numbers, got {values.dtype} {values.shape}")
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        raise InputError(f"{path}: entry {bad[0]} is not a finite number")
    return values.astype(float)


def read_table_layout(path: str | Path, tr: float, trs: Sequence[int]) -> Timing:
    """Read a words table (onset in s from its run's start, run 1…, word) of a NIfTI study.

    `tr` is the repetition time, s, `trs` each run's TRs, untrimmed. InputError for an onset or a run outside these.
    """
    table = read_table(path, ["onset", "run", "word"])
    lengths = np.asarray(trs)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * tr
    runs, onsets = table["run"].to_numpy(), table["onset"].to_numpy(dtype=float)
    for row, (name, onset) in enumerate(zip(runs, onsets, strict=True)):
        if name not in range(1, len(lengths) + 1):
            raise InputError(f"{path}: row {row}: run {name}, but story.trs gives runs 1 to {len(lengths)}")
        length = lengths[int(name) - 1]
        if not 0 < onset <= length * tr:
            span = f"0 to {length * tr:g} s: {length} TRs of {tr:g} s"
            raise InputError(f"{path}: row {row}: onset {onset:g} s lies outside run {name:g} ({span})")
    # Whole runs stand one after the other, so that a TR index and a time mean the same thing everywhere.
    times = np.arange(lengths.sum()) * tr
    tr_runs = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    return _checked(Timing(table["word"].tolist(), onsets + starts[runs.astype(int) - 1], times, tr_runs), str(path))


def _checked(timing: Timing, source: str) -> Timing:
    onsets, times = timing.onsets, timing.tr_times
    if not np.isfinite(times).all():
        raise InputError(f"{source}: TR times: entry {int(np.argmin(np.isfinite(times)))} is not a finite number")
    if (np.diff(onsets) < 0).any():
        where = int(np.argmax(np.diff(onsets) < 0))
        later = f"word {where + 1} starts at {onsets[where + 1]:g} s after {onsets[where]:g} s"
        raise InputError(f"{source}: word onsets must not fall, but {later}")
    if (np.diff(times) <= 0).any():
        where = int(np.argmax(np.diff(times) <= 0))
        raise InputError(f"{source}: TR times must rise, but TR {where + 1} does not start after TR {where}")
    if (np.diff(timing.tr_runs) < 0).any():
        raise InputError(f"{source}: the runs of the TRs must not fall")
    if not timing.words:
        raise InputError(f"{source}: no words")
    return timing


def tables(timing: Timing, story: Story) -> tuple:
    """Words and measurements as data frames, ``story/words.tsv`` and ``story/trs.tsv``.

    Of `story`, `drop`, `replace` and `trim` are used. A word that is empty or holds white space after that: InputError.
    """
    import pandas as pd

    trs = words_to_trs(timing)
    dropped = np.array([word in story.drop for word in timing.words])
    cleaned = []
    for index, (word, gone) in enumerate(zip(timing.words, dropped, strict=True)):
        text = word
        for old, new in () if gone else story.replace.items():
            text = text.replace(old, new)
        if not gone and text.split() != [text]:
            raise InputError(
                f"word {index} ({word!r}) reads {text!r} after story.replace; a word must be text without white "
                "space: list it in story.drop or replace it"
            )
        cleaned.append(text)
    if dropped.all():
        raise InputError("story.drop leaves no words")
    sentence = np.full(len(cleaned), "", dtype=object)
    sentence[~dropped] = sentence_numbers([word for word, gone in zip(cleaned, dropped, strict=True) if not gone])
    words = {"word_index": np.arange(len(cleaned)), "word": cleaned, "sentence": sentence}
    words |= {"run": timing.tr_runs[trs], "onset": timing.onsets, "tr": trs, "dropped": dropped.astype(int)}
    measurements = {"tr": np.arange(len(timing.tr_times)), "run": timing.tr_runs, "time": timing.tr_times}
    measurements["kept"] = kept_trs(timing.tr_runs, story.trim.start, story.trim.end).astype(int)
    return pd.DataFrame(words), pd.DataFrame(measurements)


def _read_counted(path: str | Path, index: str, columns: Sequence[str], numbers: Sequence[str]):
    """Read a table whose rows are counted from 0 in `index`, so that one that lost lines is seen."""
    table = read_table(path, [index, *columns, *numbers])
    if not len(table):
        raise InputError(f"{path}: no rows, but {index} must count the rows 0, 1, 2, …; delete the file and run again")
    for name in (index, *numbers):
        if table[name].dtype.kind not in "iuf" or not np.isfinite(table[name].to_numpy(dtype=float)).all():
            raise InputError(f"{path}: column {name} must hold numbers; delete the file and run again")
    wrong = np.flatnonzero(table[index].to_numpy() != np.arange(len(table)))
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0]} has {index} {table[index].iloc[wrong[0]]}, but {index} must count the rows "
            "0, 1, 2, …; lines are missing or changed: delete the file and run again"
        )
    return table


def read_words(path: str | Path):
    """Read ``story/words.tsv``, which must be whole; dropped words have no sentence (NaN)."""
    return _read_counted(path, "word_index", ["word", "sentence"], ["run", "onset", "tr", "dropped"])


def rows_of_words(table, word_index, source: str):
    """Rows of a data frame with a column `word_index`, for the words (n_words,) in their order; InputError without one.

    `source` names the table's file.
    """
    missing = np.setdiff1d(word_index, table["word_index"])
    if len(missing):
        raise InputError(
            f"{source}: lacks word {missing[0]} ({len(missing)} of {len(word_index)} represented words are missing); "
            "make it and the representation from the same story"
        )
    return table.set_index("word_index").loc[word_index].reset_index()


def read_trs(path: str | Path):
    """Read ``story/trs.tsv``, which must be whole."""
    return _read_counted(path, "tr", [], ["run", "time", "kept"])


@command
def main(words: str, trs: str, options: Story = Story()) -> None:
    """Say when which word and measurement (TR) were, and in which run: ``story/words.tsv`` and ``story/trs.tsv``."""
    if options.layout == "arrays":
        timing = read_arrays_layout(options.folder)
    else:
        timing = read_table_layout(options.words, options.tr, options.trs)
    for table, path in zip(tables(timing, options), (words, trs), strict=True):
        write_table(table, path)


if __name__ == "__main__":
    run(main)
