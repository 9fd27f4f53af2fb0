"""Which word was seen when: words, sentences, runs and measurements, TRs (METHOD sections 2 and 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynalign.cli import command, run
from dynalign.config.story import ARRAYS, Story, word_files
from dynalign.io.arrays import read_array
from dynalign.io.digests import check_digest
from dynalign.io.errors import InputError, located
from dynalign.stimulus.word_files import MISSING, read_word_file
from dynalign.tables.reader import finite_numbers, read_table
from dynalign.tables.writer import write_table

#: Words that end in a full stop without ending a sentence.
TITLES = frozenset({"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St.", "Mt."})
#: What may close after the mark: brackets, and any quotation mark (those that open in one language close in another).
_CLOSING = ")]}\"'`“”„‘’‚«»‹›"

#: Words of a sentence at most. In 120,000 words of novels the longest sentence has 143.
LONGEST = 200

#: Of the TR's length: times that differ by less are the same, however their decimals were rounded (METHOD 2.3).
TOLERANCE = 1e-3

#: A byte order mark and a space without width, which are no white space to Python.
_INVISIBLE = "\ufeff\u200b"


@dataclass(frozen=True)
class Timing:
    """Words as presented and their onsets (s), start (s) and run of each measurement, untrimmed, on one time axis.

    Where the story says so: the run of each word, and the number of its sentence (NaN where it gives none).
    """

    words: list[str]
    onsets: np.ndarray
    tr_times: np.ndarray
    tr_runs: np.ndarray
    word_runs: np.ndarray | None = None
    sentences: np.ndarray | None = None


def ends_sentence(word: str) -> bool:
    """Whether a word ends a sentence: ``.``, ``!`` or ``?`` before closing quotes or brackets, and no title.

    A title is the whole word: ``"Mrs.`` does end a sentence, as NLTK's punkt has it (METHOD section 3).
    """
    return word.rstrip(_CLOSING).endswith((".", "!", "?")) and word not in TITLES


def sentence_numbers(words: Sequence[str]) -> np.ndarray:
    """Number of each word's sentence, from 0 (METHOD section 3); the last word ends one too."""
    ends = np.array([ends_sentence(word) for word in words], dtype=int)
    return np.concatenate([[0], np.cumsum(ends)[:-1]]) if len(ends) else ends


def tolerance(times: np.ndarray) -> float:
    """By how many s times may differ and are the same: :data:`TOLERANCE` of the median time between TRs, (n_trs,)."""
    return TOLERANCE * float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def words_to_trs(timing: Timing) -> np.ndarray:
    """The last TR that starts strictly before each word's onset: (n_words,) indices into the untrimmed series.

    Times within :data:`TOLERANCE` are the same. A word at its run's very start has no TR before it and belongs to the
    run's first: where words bring no run, a word at the start of a run is that run's. InputError for a word before the
    first measurement or after the last.
    """
    words, onsets, times, runs = timing.words, timing.onsets, timing.tr_times, timing.word_runs
    slack = tolerance(times)
    end = times[-1] + (slack / TOLERANCE if len(times) > 1 else np.inf)
    if onsets[-1] > end + slack:
        raise InputError(
            f"the last word ({words[-1]!r}) has onset {_s(onsets[-1])}, but the last TR ends at {_s(end)}: words and "
            "TRs must be on one clock, in seconds"
        )
    if (early := onsets < times[0] - slack).any():
        first = int(np.argmax(early))
        raise InputError(
            f"word {first} ({words[first]!r}) has onset {_s(onsets[first])}, but the first TR starts at "
            f"{_s(times[0])}: words and TRs must be on one clock, in seconds, and words begin no earlier than TRs"
        )
    if runs is None:
        runs = timing.tr_runs[np.clip(np.searchsorted(times - slack, onsets, side="right") - 1, 0, None)]
    first_of_run = np.searchsorted(timing.tr_runs, runs, side="left")
    last_of_run = np.searchsorted(timing.tr_runs, runs, side="right") - 1
    return np.clip(np.searchsorted(times + slack, onsets, side="left") - 1, first_of_run, last_of_run)


def _s(seconds: float) -> str:
    """Seconds with the digits of a clock that counts from 1970."""
    return f"{seconds:.13g} s"


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
    paths = [Path(folder) / f"{name}.npy" for name in ARRAYS]
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


def read_table_layout(path: str | Path, tr: float, trs: Sequence[int], column: str = "word") -> Timing:
    """Read the words of a NIfTI study: onset in s from its run's start, run 1…, word, and perhaps sentence.

    `path` is a table of all runs, or holds {run} (:func:`word_files`); `tr` is the repetition time, s, `trs` each run's
    TRs, untrimmed; `column` holds the words. An onset may be 0, the run's very start, and as late as its end.
    InputError for an onset or a run outside these, and for a cell that is no number.
    """
    lengths = np.asarray(trs)
    # Whole runs stand one after the other, so that a TR index and a time mean the same thing everywhere. Times are in
    # whole ns, so that they read as they are meant (three TRs of 1.2 s are 3.6 s, not 3.5999999999999996 s).
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * tr
    times = np.round(np.arange(lengths.sum()) * tr, 9)
    words: list[str] = []
    parts, numbered = [], {}
    for number, file in word_files(str(path), len(lengths)):
        table = read_word_file(file, number, column)
        with located(file):
            onsets, runs = _in_runs(table, lengths, tr)
            numbers = _numbers_of_sentences(table)
        onsets = np.round(onsets + starts[runs - 1], 9)
        _rising(onsets, times, file)
        if file.lower().endswith(".textgrid") and words:
            # Their sentences are counted from the first of each.
            numbers = numbers + 1 + max(np.max(before, initial=-1) for *_, before in parts)
        if len(table):
            numbered["sentence" in table] = file
        words += table["word"].tolist()
        parts.append((onsets, runs, numbers))
    if len(numbered) > 1:
        raise InputError(
            f"{numbered[False]}: gives no sentences, but {numbered[True]} does; give them in all, or in none"
        )
    onsets, runs, sentences = map(np.concatenate, zip(*parts, strict=True))
    tr_runs = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    return _checked(Timing(words, onsets, times, tr_runs, runs, sentences if True in numbered else None), str(path))


def _in_runs(table, lengths: np.ndarray, tr: float) -> tuple[np.ndarray, np.ndarray]:
    """Onsets, s, and runs of a table of words, which must be sorted by run."""
    onsets, runs, slack = finite_numbers(table, "onset"), finite_numbers(table, "run"), TOLERANCE * tr
    if (unknown := ~np.isin(runs, np.arange(1, len(lengths) + 1))).any():
        row = int(np.argmax(unknown))
        raise InputError(f"row {table.index[row]}: run {runs[row]:g}, but story.trs gives runs 1 to {len(lengths)}")
    runs = runs.astype(int)
    ends = lengths[runs - 1] * tr
    if (outside := (onsets < -slack) | (onsets > ends + slack)).any():
        row = int(np.argmax(outside))
        raise InputError(
            f"row {table.index[row]}: onset {_s(onsets[row])} lies outside run {runs[row]} (0 to {_s(ends[row])}: "
            f"{lengths[runs[row] - 1]} TRs of {_s(tr)}); onsets count from the start of the run's first TR: "
            "correct it, or remove the row"
        )
    if (fall := np.diff(runs) < 0).any():
        row = int(np.argmax(fall)) + 1
        raise InputError(
            f"row {table.index[row]}: run {runs[row]} after run {runs[row - 1]}; sort the words by run and onset"
        )
    return onsets, runs


def _numbers_of_sentences(table) -> np.ndarray:
    """Number of each word's sentence as a table of words gives it, NaN where it gives none."""
    numbers = np.full(len(table), np.nan)
    if "sentence" in table:
        given = (~table["sentence"].isin(["", MISSING]) & table["sentence"].notna()).to_numpy()
        numbers[given] = finite_numbers(table[given], "sentence", "number the sentences, from the first on")
    return numbers


def _rising(onsets: np.ndarray, times: np.ndarray, source: str) -> None:
    if (fall := np.diff(onsets) < -tolerance(times)).any():
        where = int(np.argmax(fall))
        later = f"word {where + 1} starts at {_s(onsets[where + 1])} after {_s(onsets[where])}"
        raise InputError(f"{source}: word onsets must not fall, but {later}")


def _words_of_stories(story: Story, stories: Sequence[str]):
    """Words as their files give them, of one table or of a file for each of the `stories`: a data frame."""
    import pandas as pd

    parts = []
    for name, file in story.files_of_stories(stories).items() or [(None, str(story.words))]:
        table = read_word_file(file, 1, story.word_column)
        with located(file):
            if table.empty:
                raise InputError("no words")
            if name is not None:
                table = table.assign(story=name)
            if "story" not in table:
                raise InputError(f"lacks column 'story'; it has {', '.join(table.columns)}")
            parts.append(table.assign(onset=finite_numbers(table, "onset")))
    return pd.concat(parts)


def read_stories(story: Story, stories: Sequence[str] = ()):
    """The words of several stories, layout `recordings`: ``story/words.tsv``, a data frame.

    Onsets are in s from the beginning of their story; a sentence ends with its story. Where each of the `stories` has
    a file of words, they stand in this order. InputError: a story's words do not stand together, onsets fall, or as for
    :func:`tables`.
    """
    import pandas as pd

    table = _words_of_stories(story, stories)
    with located(str(story.words)):
        onsets, names = table["onset"].to_numpy(), table["story"].astype(str).to_numpy()
        borders = 1 + np.flatnonzero(names[1:] != names[:-1])
        if len(borders) + 1 > len(set(names)):
            again = next(names[row] for row in borders if names[row] in names[:row])
            raise InputError(f"words of story {again!r} stand in two places; sort the words by story and onset")
        given = _numbers_of_sentences(table) if "sentence" in table else None
        cleaned, dropped = _cleaned(table["word"].tolist(), story)
        sentence, last = np.full(len(table), "", dtype=object), 0
        for rows in np.split(np.arange(len(table)), borders):
            name = names[rows[0]]
            if (fall := np.diff(onsets[rows]) < 0).any():
                row = rows[int(np.argmax(fall)) + 1]
                fell = f"onset {_s(onsets[row])} after {_s(onsets[row - 1])}"
                raise InputError(f"row {table.index[row]}: story {name!r}: {fell}; word onsets must not fall")
            if len(seen := rows[~dropped[rows]]):
                numbers = _sentences(given, cleaned, seen)
                sentence[seen] = last + numbers
                last += int(numbers[-1]) + 1
    columns = {"word_index": np.arange(len(table)), "word": cleaned, "sentence": sentence, "story": names}
    return pd.DataFrame(columns | {"onset": np.round(onsets, 9), "dropped": dropped.astype(int)})


def last_tr_before(onsets: np.ndarray, times: np.ndarray, tr: float) -> np.ndarray:
    """The last of a run's TRs, starts `times` (n_trs,), strictly before each onset, or its first: indices, of int.

    Times within a thousandth of `tr`, in s, are the same.
    """
    return np.clip(np.searchsorted(times + TOLERANCE * tr, onsets) - 1, 0, None)


def whole_stories(words, tr: float) -> tuple:
    """Words and TRs, data frames, of one who hears every story whole, in a run of its own, from its beginning.

    Where subjects have runs of their own, this is what words alone tell of word rate and position: what a baseline can
    hold, which like every representation knows no subject (METHOD section 8).

    Parameters
    ----------
    words
        ``story/words.tsv``, with the `story` of each word.
    tr
        In s.
    """
    import pandas as pd

    heard, series, first = [], [], 0
    for number, (name, of_story) in enumerate(words.groupby("story", sort=False), 1):
        onset = of_story["onset"].to_numpy()
        # What is shown before the beginning shifts it by whole TRs.
        start = min(0.0, tr * np.floor(onset[0] / tr))
        times = np.round(start + tr * np.arange(int((onset[-1] - start) // tr) + 1), 9)
        heard.append(of_story.assign(run=number, tr=first + last_tr_before(onset, times, tr)))
        series.append(pd.DataFrame({"run": number, "story": name, "time": times, "kept": 1}))
        first += len(times)
    trs = pd.concat(series, ignore_index=True)
    trs.insert(0, "tr", np.arange(len(trs)))
    return pd.concat(heard, ignore_index=True), trs


def _checked(timing: Timing, source: str) -> Timing:
    onsets, times = timing.onsets, timing.tr_times
    if not np.isfinite(times).all():
        raise InputError(f"{source}: TR times: entry {int(np.argmin(np.isfinite(times)))} is not a finite number")
    _rising(onsets, times, source)
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

    Of `story`, `drop`, `replace` and `trim` are used. InputError for a word that is empty, holds white space or is
    BIDS's missing value after that, and for sentences that are not numbered or do not end.
    """
    import pandas as pd

    trs = words_to_trs(timing)
    cleaned, dropped = _cleaned(timing.words, story)
    sentence = np.full(len(cleaned), "", dtype=object)
    sentence[~dropped] = _sentences(timing.sentences, cleaned, np.flatnonzero(~dropped))
    words = {"word_index": np.arange(len(cleaned)), "word": cleaned, "sentence": sentence}
    words |= {"run": timing.tr_runs[trs], "onset": timing.onsets, "tr": trs, "dropped": dropped.astype(int)}
    measurements = {"tr": np.arange(len(timing.tr_times)), "run": timing.tr_runs, "time": timing.tr_times}
    measurements["kept"] = kept_trs(timing.tr_runs, story.trim.start, story.trim.end).astype(int)
    return pd.DataFrame(words), pd.DataFrame(measurements)


def _cleaned(words: Sequence[str], story: Story) -> tuple[list[str], np.ndarray]:
    """Words after `story.replace`, and which of them `story.drop` takes out, boolean; InputError."""
    dropped = np.array([word in story.drop for word in words])
    cleaned = []
    for index, (word, gone) in enumerate(zip(words, dropped, strict=True)):
        text = word
        for old, new in () if gone else story.replace.items():
            text = text.replace(old, new)
        if not gone and (text.split() != [text] or any(mark in text for mark in _INVISIBLE)):
            raise InputError(
                f"word {index} ({word!r}) reads {text!r} after story.replace; a word must be text without white "
                "space: list it in story.drop or replace it"
            )
        if not gone and text == MISSING:
            raise InputError(
                f"word {index} is {word!r}, a missing value in BIDS: remove the row, or list {MISSING!r} in "
                "story.drop, so that neither parser nor model sees it"
            )
        cleaned.append(text)
    if dropped.all():
        raise InputError("story.drop leaves no words")
    return cleaned, dropped


def _sentences(given: np.ndarray | None, words: Sequence[str], seen: np.ndarray) -> np.ndarray:
    """Sentence, from 0, of each word that is seen: as `given`, or by its punctuation; InputError."""
    if given is not None:
        numbers = given[seen]
        if np.isnan(numbers).any():
            word = seen[np.argmax(np.isnan(numbers))]
            raise InputError(
                f"word {word} ({words[word]!r}) has no sentence; number that of every word (column `sentence`), or "
                "leave the column out"
            )
        if (fall := np.diff(numbers) < 0).any():
            before, word = seen[np.argmax(fall)], seen[np.argmax(fall) + 1]
            raise InputError(
                f"word {word} ({words[word]!r}) has sentence {given[word]:.13g} after "
                f"{given[before]:.13g}; number sentences through all runs, so that they rise or stay"
            )
        return np.unique(numbers, return_inverse=True)[1]
    numbers = sentence_numbers([words[word] for word in seen])
    if (sizes := np.bincount(numbers)).max() > LONGEST:
        rows = seen[numbers == np.argmax(sizes)]
        raise InputError(
            f"words {rows[0]} to {rows[-1]} ({words[rows[0]]!r} to {words[rows[-1]]!r}) are one sentence of {len(rows)}"
            f" words (at most {LONGEST} are expected): sentences end with '.', '!' or '?', and folds never cut one; add"
            " the punctuation, or (layout `table`) a column `sentence` to the words table or a tier `sentence` to"
            " TextGrids, which is taken as it is"
        )
    return numbers


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
    """Read ``story/words.tsv``, which must be whole; dropped words have no sentence (NaN).

    Where all subjects have the same runs it says `run` and `tr` of each word, else its `story`.
    """
    return _read_counted(path, "word_index", ["word", "sentence"], ["onset", "dropped"])


def read_heard(path: str | Path):
    """Read what a subject heard: ``story/words.tsv``, or ``story/{subject}.words.tsv``, whose rows are counted."""
    from dynalign.io.text import read_text

    index = "row" if read_text(path).startswith("row\t") else "word_index"
    return _read_counted(path, index, ["word_index", "word", "sentence"], ["run", "onset", "tr", "dropped"])


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


def rows_of_responses(trs) -> np.ndarray:
    """The TR of each row of a subject's responses, from its TRs, a data frame: those that trimming leaves, in order.

    Of TRs in which the same moment was heard again, where these are kept, all stand side by side (``first`` is the TR
    of the first hearing), so that contiguous folds and blocks hold all or none of them.
    """
    kept = np.flatnonzero(trs["kept"].to_numpy() == 1)
    return kept[np.argsort(trs["first_tr"].to_numpy()[kept], kind="stable")] if "first_tr" in trs else kept


def stories_of(trs) -> np.ndarray | None:
    """The story of each TR of a data frame, (n_trs,); None where all subjects have the same runs of one story."""
    return trs["story"].astype(str).to_numpy() if "story" in trs else None


def read_story(story: Story) -> tuple:
    """The two tables of a story in any layout (see :func:`tables`); an InputError names the file."""
    if story.layout == "arrays":
        timing = read_arrays_layout(story.folder)
    else:
        timing = read_table_layout(story.words, story.tr, story.trs, story.word_column)
    with located(str(story.folder if story.layout == "arrays" else story.words)):
        return tables(timing, story)


@command
def main(words: str, trs: str | None = None, options: Story = Story(), stories: tuple[str, ...] = ()) -> None:
    """Say when which word and measurement (TR) were, and in which run: ``story/words.tsv`` and ``story/trs.tsv``.

    In the layout `recordings` subjects have TRs of their own (:mod:`dynalign.responses.timeline`): no `trs`, but the
    `stories` where each has a file of words.
    """
    made = [read_stories(options, stories)] if options.layout == "recordings" else read_story(options)
    for table, path in zip(made, [words, *([] if trs is None else [trs])], strict=True):
        write_table(table, path)


if __name__ == "__main__":
    run(main)
