"""Nuisance features: what a response may follow without any language model (METHOD section 8).

Controls are counted from the words. Features of a study's own come as tables: a row per word, or samples in time. A
sample belongs to the TR that is measured when it is taken: the last TR of its run that starts at or before it (a word,
which is seen from its onset on, to the last that starts strictly before it).
"""

from collections.abc import Mapping

import numpy as np
from pydantic import RootModel

from dynalign import variation
from dynalign.cli import command, note, run
from dynalign.config.features import CONTROLS, Feature
from dynalign.config.fields import Name
from dynalign.io.errors import InputError, located
from dynalign.stimulus.timing import read_heard, read_trs, tolerance
from dynalign.tables.reader import decimal_comma, finite_numbers, read_table
from dynalign.tables.writer import write_table

#: Times in tables are rounded, often to ms: a sample this little, in s, before a TR is taken at its start, and in any
#: case one within `timing.tolerance`.
ROUNDING = 1e-3


class Features(RootModel[dict[Name, Feature]]):
    """The configuration's `features`: name → feature."""


def zipf_frequencies(words, language: str) -> np.ndarray:
    """log10 of how often each word occurs in a billion words of a language (`wordfreq`), (n_words,).

    A word that the list lacks, or that is no word (``+``), counts as the rarest one in it (1.01 in English). InputError
    for a language without a list or without the library that cuts its words.
    """
    import wordfreq

    try:
        rarest = min(wordfreq.get_frequency_dict(language).values())
        known = {word: wordfreq.zipf_frequency(word, language, minimum=np.log10(rarest) + 9) for word in set(words)}
    except (LookupError, ImportError) as error:
        raise InputError(f"story.language: no frequencies of words in {language!r}: {error}") from None
    return np.array([known[word] for word in words])


def control_values(words, language: str = "en"):
    """The controls of each word that the model sees, unscaled: a data frame with index `word_index`.

    `words` is ``story/words.tsv``. In the order of :data:`dynalign.config.features.CONTROLS`: words shown in its TR,
    dropped or not; characters; log frequency in the language (:func:`zipf_frequencies`); words since the sentence
    began; seconds since the run's first word.
    """
    import pandas as pd

    seen = words[words["dropped"] == 0]
    values = pd.DataFrame(
        {
            "word_rate": words.groupby("tr")["tr"].transform("size")[seen.index],
            "length": seen["word"].str.len(),
            "log_frequency": zipf_frequencies(seen["word"], language),
            "position_in_sentence": seen.groupby([one for one in ("sentence", "repeat") if one in seen]).cumcount(),
            "position_in_run": seen["onset"] - words.groupby("run")["onset"].transform("min")[seen.index],
        }
    )
    return values[list(CONTROLS)].astype(float).set_axis(seen["word_index"])


def constant(values: np.ndarray) -> np.ndarray:
    """Which columns of (n, n_columns) never change, (n_columns,); rounding leaves a spread of 1e-16 of their size."""
    return variation.constant(values, share=1e-12)


def own_values(name: str, feature: Feature, words, trs):
    """A feature of the study's own: a data frame of what its table says.

    It has the index `word_index`, a row per word of the table that the model sees, or `tr`, a row per TR with samples,
    each their mean. Columns are called `name`, or ``<name>_<column>`` if there are several. `words` and `trs` are
    ``story/words.tsv`` and ``story/trs.tsv``; or a subject's own, who need not have heard all that the table tells of,
    and whose samples count from the beginning of their story. InputError: a cell is no number, a word, a run or a story
    is unknown, a column never changes, or nothing of it falls on the story.
    """
    import pandas as pd

    path = feature.table
    table = read_table(path)
    place = "story" if "story" in trs else "run"
    keys = ["word_index"] if "word_index" in table else ["onset", place]
    with located(f"features.{name}: {path}"):
        if absent := [column for column in (*keys, *(feature.columns or ())) if column not in table]:
            needs = f"word_index, or onset and {place}"
            own = "; runs are the subjects' own, stories are all the same" if place == "story" else ""
            raise InputError(f"lacks column {absent[0]!r}; it has {', '.join(table)}, and needs {needs}{own}")
        numbers = table.apply(pd.to_numeric, errors="coerce")
        numeric = [
            column
            for column in table
            # One with decimal commas is meant to be numbers: it is refused below, not left out.
            if column not in keys and (numbers[column].notna().any() or table[column].map(decimal_comma).any())
        ]
        chosen = list(feature.columns or numeric)
        if not chosen:
            raise InputError(f"no column of numbers beside {', '.join(keys)}")
        for column in (*(key for key in keys if key != "story"), *chosen):
            finite_numbers(table, column, f"correct it, or choose other columns (features.{name}.columns)")
        if "word_index" in table:
            rows = _words_of_rows(numbers, words)
            values = numbers[chosen].groupby(rows).mean()
        else:
            places = table["story"].astype(str) if place == "story" else numbers["run"]
            # A subject need not have heard all stories.
            some = words is not None and "row" in words
            taken, tr = _trs_of_samples(numbers["onset"], places, trs, some)
            values = numbers[chosen].iloc[taken].groupby(tr).mean().rename_axis("tr")
        if values.empty:
            raise InputError("nothing of it falls on the story: no word that the model sees, or no time within a run")
        flat = constant(values.to_numpy())
        if flat.any():
            column = chosen[int(np.argmax(flat))]
            raise InputError(f"column {column} never changes; leave it out (features.{name}.columns)")
    return values.set_axis([name] if len(chosen) == 1 else [f"{name}_{column}" for column in chosen], axis="columns")


def _words_of_rows(numbers, words):
    """The word of each row that the model sees, as a series `word_index`."""
    index = numbers["word_index"]
    unknown = ~index.isin(words["word_index"])
    if "row" in words:
        # A subject's own: of the others the whole stories tell.
        index, unknown = index[~unknown], unknown[~unknown]
    for wrong, text in (
        (unknown, f"is unknown; the story has 0 to {words['word_index'].max()}"),
        (index.duplicated(), "stands twice; give each word one row"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(f"row {row}: word_index {index.iloc[row]:g} {text}")
    return index[index.isin(words.loc[words["dropped"] == 0, "word_index"])]


def _trs_of_samples(onsets, places, trs, some: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the samples that are taken in a run, and the TR of each: arrays of int, (n_taken,).

    `onsets` are in s from the start of the run or, where there are stories, from that of the story; `places` name it,
    one that is unknown where `trs` are those of `some` stories alone.
    """
    known = trs["story"].astype(str) if "story" in trs else trs["run"]
    unknown = ~places.isin(known)
    if unknown.any() and not some:
        row, there = int(np.argmax(unknown)), ", ".join(map(str, known.unique()))
        name = places.iloc[row] if known.name == "story" else f"{places.iloc[row]:g}"
        raise InputError(f"row {row}: {known.name} {name} is unknown; the story has {there}")
    length = np.median(np.diff(trs["time"]))
    slack = max(ROUNDING, tolerance(trs["time"].to_numpy()))
    rows, found = [], []
    for _, series in trs.groupby("run"):
        starts = series["time"].to_numpy()
        if known.name == "run":
            starts = starts - starts[0]
        samples = np.flatnonzero(places == known[series.index[0]])
        place = np.searchsorted([*starts, starts[-1] + length], onsets.iloc[samples] + slack, side="right") - 1
        inside = (place >= 0) & (place < len(starts))
        rows.append(samples[inside])
        found.append(series["tr"].to_numpy()[place[inside]])
    taken = np.concatenate(rows)
    if left := len(onsets) - len(np.unique(taken)):
        note(f"{left} of {len(onsets)} samples lie outside their runs and do not count")
    return taken, np.concatenate(found)


def at_words(values, words, word_index):
    """Values of words or TRs (:func:`own_values`) at some words: a data frame of `word_index`, NaN without one."""
    tr = words.set_index("word_index")["tr"].loc[word_index]
    return values.reindex(tr if values.index.name == "tr" else word_index).set_axis(word_index)


def feature_table(words, trs, features: Mapping[str, Feature], language: str = "en"):
    """All nuisance features of each TR, untrimmed and unscaled: ``story/features.tsv``, a data frame.

    A control is the mean over the words of the TR that the model sees; word rate, which needs none, counts those shown.
    Own features are means over their words or samples. NaN: no value in this TR.
    """
    import pandas as pd

    # By their places, for a word may be heard twice.
    seen = words.loc[words["dropped"] == 0, "tr"].to_numpy()
    means = [control_values(words, language).groupby(seen).mean().rename_axis("tr")]
    for name, one in features.items():
        values = own_values(name, one, words, trs)
        if values.index.name == "word_index":
            told = words[words["word_index"].isin(values.index)]
            values = values.loc[told["word_index"]].groupby(told["tr"].to_numpy()).mean().rename_axis("tr")
        means.append(values)
    table = pd.concat([trs[["tr", "run"]].set_index("tr"), *means], axis="columns")
    return table.assign(word_rate=words.groupby("tr").size().reindex(table.index, fill_value=0)).reset_index()


@command
def main(words: str, trs: str, output: str, features: Features = Features({}), language: str = "en") -> None:
    """Average nuisance features over each measurement (TR).

    Parameters
    ----------
    words, trs, output
        ``story/words.tsv``, ``story/trs.tsv``, and ``story/features.tsv`` to write.
    language
        Of the words, ``story.language``.
    """
    write_table(feature_table(read_heard(words), read_trs(trs), features.root, language), output)


if __name__ == "__main__":
    run(main)
