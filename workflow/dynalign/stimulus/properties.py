"""Linguistic properties of words and sentences: raw values from the parse, classes from the configuration.

Source: METHOD section 3; the tasks are those of Conneau et al. (2018, arXiv:1805.01070), Oota et al. (2022,
arXiv:2212.08094) and Shi et al. (2016).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import RootModel

from dynalign.cli import command, note, run
from dynalign.config.fields import Name
from dynalign.config.properties import RARE, Property, paper_properties
from dynalign.io.errors import InputError
from dynalign.stimulus.conllu import Sentence, read_sentences
from dynalign.stimulus.parser import match_story, story_sentences
from dynalign.stimulus.raw_values import RAW, UNDEF
from dynalign.stimulus.timing import MISSING, read_words
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

_COLUMNS = ("word_index", "word", "sentence", "tr", "run", "story")


class Properties(RootModel[dict[Name, Property]]):
    """The configuration's `properties`: name → property."""


def raw_name(name: str, prop: Property) -> str | None:
    """The raw value that a property is made of (InputError if there is none); None for random and user-given labels."""
    if prop.random is not None or prop.table is not None:
        return None
    if (raw := prop.raw or name) not in RAW:
        known = ", ".join(RAW)
        raise InputError(f"properties.{name}: no raw value {raw!r}; give raw (one of {known}), table or random")
    return raw


def class_codes(prop: Property) -> tuple[int, ...]:
    """Integer code of each class, in class order."""
    return prop.codes or tuple(range(prop.n_classes))


def class_name(name: str, prop: Property, k: int) -> str:
    """Name of the class at position `k` for figures and tables: ``1–7``, ``>16``; ``≤3``; ``Past``, ``other``."""
    if prop.random is not None:
        return str(k)
    if prop.classes is not None:
        return prop.classes[k] if k < len(prop.classes) else "other"
    bounds = prop.thresholds
    if k == len(bounds):
        return f">{bounds[-1]:g}"
    high = bounds[k]
    counts = prop.table is None and all(bound == int(bound) for bound in bounds)
    if counts and (k or raw_name(name, prop) == "sentence_length"):
        low = bounds[k - 1] + 1 if k else 1  # a sentence has at least one word
        return f"{high:g}" if low == high else f"{low:g}–{high:g}"
    return f"({bounds[k - 1]:g}, {high:g}]" if k else f"≤{high:g}"


def random_classes(n: int, n_classes: int, seed: int, name: str) -> np.ndarray:
    """Draw a class for each of `n` words, from the seed and the property's name alone."""
    return np.random.default_rng([seed, *name.encode()]).integers(n_classes, size=n)


def table_values(path: str | Path, words) -> list[str]:
    """A user's labels (word_index, label) of the words that are not dropped; InputError unless each has exactly one."""
    table = read_table(path, ["word_index", "label"])
    known = set(words["word_index"])
    labels: dict[int, str] = {}
    for row, (index, label) in enumerate(zip(table["word_index"], table["label"], strict=True)):
        if index not in known:
            raise InputError(f"{path}: row {row}: unknown word_index {index!r}; the story has 0 to {max(known)}")
        if index in labels:
            raise InputError(f"{path}: row {row}: word_index {index} stands twice; give each word one label")
        if label in ("", MISSING):
            raise InputError(
                f"{path}: row {row}: word_index {index} has the label {label!r}; name a class, e.g. {UNDEF}"
            )
        labels[int(index)] = label
    kept = words[words["dropped"] == 0]
    for index, word in zip(kept["word_index"], kept["word"], strict=True):
        if index not in labels:
            raise InputError(f"{path}: no label for word_index {index} ({word!r}); give every word one, e.g. {UNDEF}")
    return [labels[index] for index in kept["word_index"]]


def raw_values(name: str, prop: Property, sentences: Sequence[Sentence], words, seed: int) -> list:
    """Raw value of each word that is not dropped; a sentence's value is repeated for its words."""
    if prop.random is not None:
        return random_classes(int((words["dropped"] == 0).sum()), prop.random, seed, name).tolist()
    if prop.table is not None:
        return table_values(prop.table, words)
    unit, function = RAW[raw_name(name, prop)]
    if unit == "word":
        return [value for sentence in sentences for value in function(sentence)]
    return [value for sentence in sentences for value in [function(sentence)] * len(sentence.words)]


def classify(name: str, prop: Property, values: Sequence) -> np.ndarray:
    """Class of each raw value: its position, not its code; array of int. Thresholds need numbers (InputError)."""
    if prop.random is not None:
        return np.asarray(values, dtype=int)
    if prop.classes is not None:
        places = {value: k for k, value in enumerate(prop.classes)}
        return np.array([places.get(str(value), len(places)) for value in values], dtype=int)
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            numbers[row] = np.nan
        if np.isnan(numbers[row]):
            raise InputError(
                f"properties.{name}: thresholds need numbers, but word {row} is {value!r}; "
                "write it as one (1.5, not 1,5), or use `classes`"
            )
    return np.searchsorted(prop.thresholds, numbers, side="left")


def label_table(words, sentences: Sequence[Sentence], properties: Mapping[str, Property], seed: int):
    """Label every word of ``story/words.tsv`` that is not dropped: ``tables/labels.tsv``, a data frame.

    Per property it has the class code and ``<property>_raw``. InputError if a property's name is taken.
    """
    import pandas as pd

    kept = words[words["dropped"] == 0]
    columns = {column: kept[column].to_numpy() for column in _COLUMNS if column in kept}
    columns["sentence"] = columns["sentence"].astype(int)
    for name, prop in properties.items():
        if name in (*_COLUMNS, "original") or name.endswith("_raw"):
            raise InputError(f"properties.{name}: this name is taken by a column or arm; choose another")
        values = raw_values(name, prop, sentences, words, seed)
        columns[name] = np.array(class_codes(prop))[classify(name, prop, values)]
        columns[f"{name}_raw"] = np.array(values)
    return pd.DataFrame(columns)


def count_classes(labels, properties: Mapping[str, Property]):
    """Sentences or words (the property's level) of each class in order (``used``), then of each raw value by count."""
    import pandas as pd

    rows = []
    for name, prop in properties.items():
        raw = raw_name(name, prop)
        unit = RAW[raw][0] if raw else "word"
        units = labels.drop_duplicates("sentence") if unit == "sentence" else labels
        used, original = Counter(units[name].tolist()), Counter(units[f"{name}_raw"].tolist())
        for k, code in enumerate(class_codes(prop)):
            rows.append((name, unit, "used", class_name(name, prop, k), used[code]))
        for value, count in sorted(original.items(), key=lambda item: (-item[1], item[0])):
            rows.append((name, unit, "original", str(value), count))
    return pd.DataFrame(rows, columns=["property", "level", "distribution", "value", "count"])


def check_classes(counts) -> None:
    """Note each rare class (of :func:`count_classes`); InputError if one holds all: nothing to remove or to probe."""
    for name, rows in counts[counts["distribution"] == "used"].groupby("property", sort=False):
        total, unit = rows["count"].sum(), rows["level"].iloc[0]
        for value, count in zip(rows["value"], rows["count"], strict=True):
            if count == total:
                found = counts[(counts["property"] == name) & (counts["distribution"] == "original")]
                raise InputError(
                    f"properties.{name}: all {total} {unit}s are in class {value!r} (frequent raw values: "
                    f"{', '.join(found['value'][:5])}); change its thresholds or classes, or leave it out"
                )
            if count < RARE * total:
                note(f"warning: properties.{name}: class {value!r} holds {count} of {total} {unit}s, under {RARE:.0%}")


def label_correlations(labels, names: Sequence[str]):
    """Correlate the class codes of every ordered pair of properties over words (the paper's table 2).

    The data frame has r (Pearson) and p (two-tailed, t distribution, n − 2 degrees of freedom), both missing where
    labels are constant. Words of a sentence share labels and are no independent observations, so p is too small.
    """
    import pandas as pd
    from scipy.special import stdtr

    codes = np.array([labels[name] for name in names], dtype=float)
    centred = codes - codes.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    for name, norm in zip(names, norms, strict=True):
        if not norm:
            note(f"warning: properties.{name}: labels are constant, so they correlate with nothing")
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(centred @ centred.T / np.outer(norms, norms), -1, 1)
        np.fill_diagonal(r, np.where(norms > 0, 1.0, np.nan))
        freedom = codes.shape[1] - 2
        p = 2 * stdtr(freedom, -np.abs(r) * np.sqrt(freedom / ((1 - r) * (1 + r))))
    rows = [(a, b, r[i, j], p[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)]
    return pd.DataFrame(rows, columns=["property_a", "property_b", "r", "p"])


@command
def main(
    words: str,
    annotation: str,
    labels: str,
    class_counts: str,
    correlations: str,
    properties: Properties = Properties(paper_properties()),
    seed: int = 0,
) -> None:
    """Label every word with its properties.

    Parameters
    ----------
    words, annotation
        ``story/words.tsv`` and its parse, ``annotation/story.conllu``.
    labels, class_counts, correlations
        Tables to write: labels, counts of classes and of raw values, correlations of the class codes.
    seed
        Of random labels.
    """
    chosen = properties.root
    sentences = match_story(read_sentences(annotation), story_sentences(words), annotation)
    labelled = label_table(read_words(words), sentences, chosen, seed)
    counts = count_classes(labelled, chosen)
    check_classes(counts)
    write_table(labelled, labels)
    write_table(counts, class_counts)
    write_table(label_correlations(labelled, list(chosen)), correlations)


if __name__ == "__main__":
    run(main)
