"""Linguistic properties of words and sentences: raw values from the parse, classes from the configuration.

Source: METHOD section 3; the tasks are those of Conneau et al. (2018, arXiv:1805.01070), Oota et al. (2022,
arXiv:2212.08094) and Shi et al. (2016).
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import RootModel

from dynalign.annotation import Sentence, Token, match_story, read_sentences, story_sentences
from dynalign.cli import note, options, run
from dynalign.config import RARE, Name, Property, paper_properties
from dynalign.files import InputError, read_table, write_table
from dynalign.story import read_words

#: The raw value where a property does not apply.
UNDEF = "UNDEF"

#: Phrase labels (METHOD section 3).
PHRASES = (
    *("ADJP", "ADVP", "CONJP", "FRAG", "INTJ", "LST", "NAC", "NP", "NX", "PP", "PRN", "PRT", "QP", "RRC"),
    *("UCP", "VP", "WHADJP", "WHAVP", "WHADVP", "WHNP", "WHPP", "X"),
)

_COLUMNS = ("word_index", "word", "sentence", "tr", "run")


# Raw values: one of a sentence, or one per word of it.


def sentence_length(sentence: Sentence) -> int:
    """Words of the sentence, as the story counts them."""
    return len(sentence.words)


def category(label: str) -> str:
    """A node's label without a treebank's function tags and indices: ``NP`` of ``NP-SBJ-1``."""
    return re.split("[-=]", label, maxsplit=1)[0] or label  # -LRB- is a label too


def attached_marks(sentence: Sentence) -> set[int]:
    """Indices of punctuation tokens that are written on a word, as treebanks have them; no property sees them.

    The words of the Harry Potter data, as stanza parses them, carry their punctuation and have none.
    """
    heads = set(word_heads(sentence))
    return {i for i, token in enumerate(sentence.tokens) if token.upos == "PUNCT" and i not in heads}


def tree_depth(sentence: Sentence) -> int:
    """Greatest depth of a word in the dependency tree, in edges to the root."""
    marks = attached_marks(sentence)
    return max(depth for index, depth in enumerate(sentence.depths) if index not in marks)


def top_constituents(sentence: Sentence) -> str:
    """Labels of all children of the clause under ``ROOT``, e.g. ``NP VP``; UNDEF if it is a bare word.

    Parts of speech count too (``CC NP VP``, ``NP VP .``), as in the paper, whose class ``NP VP`` has nothing
    else under the clause. Punctuation that is part of a word makes no label, a mark that is a word of its own
    (the ``+`` of the Harry Potter data) does.
    """
    marks, labels, last = attached_marks(sentence), [], 0
    for child in sentence.tree.children[0].children:
        first, last = last, last + len(child.leaves())
        if child.children and not marks.issuperset(range(first, last)):
            labels.append(category(child.label))
    return " ".join(labels) or UNDEF


def _shallowest(sentence: Sentence, wanted: Callable[[Token], bool]) -> Token | None:
    """The wanted token nearest to the root, the leftmost of equals."""
    found = [pair for pair in zip(sentence.depths, sentence.tokens, strict=True) if wanted(pair[1])]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def tense(sentence: Sentence) -> str:
    """``Tense`` of the shallowest word that has one, else UNDEF."""
    verb = _shallowest(sentence, lambda token: "Tense" in token.feats)
    return verb.feats["Tense"] if verb else UNDEF


def _number(sentence: Sentence, relation: str) -> str:
    argument = _shallowest(sentence, lambda token: token.deprel == relation)
    return argument.feats.get("Number", UNDEF) if argument else UNDEF


def subject_number(sentence: Sentence) -> str:
    """``Number`` of the shallowest ``nsubj``, else UNDEF; ``nsubj:pass`` and ``expl`` are other relations."""
    return _number(sentence, "nsubj")


def object_number(sentence: Sentence) -> str:
    """``Number`` of the shallowest ``obj``, else UNDEF."""
    return _number(sentence, "obj")


def word_heads(sentence: Sentence) -> list[int]:
    """Index of the token that stands for each word: the shallowest, leftmost of those it covers.

    Punctuation written on a word does not stand for it.
    """
    rank = [
        (token.upos == "PUNCT", depth) for token, depth in zip(sentence.tokens, sentence.depths, strict=True)
    ]
    return [min(range(word.start, word.stop), key=rank.__getitem__) for word in sentence.words]


def pos(sentence: Sentence) -> list[str]:
    """Universal part of speech of each word."""
    return [sentence.tokens[index].upos for index in word_heads(sentence)]


def smallest_constituent(sentence: Sentence) -> list[str]:
    """Label of the lowest phrase above each word, UNDEF where there is none."""
    labels: list[str] = []
    stack = [(sentence.tree, UNDEF)]
    while stack:
        node, phrase = stack.pop()
        if not node.children:
            labels.append(phrase)
        label = category(node.label)
        inner = label if label in PHRASES else phrase
        stack.extend((child, inner) for child in reversed(node.children))
    return [labels[index] for index in word_heads(sentence)]


#: Raw value → level ("sentence" or "word"), function of one sentence.
RAW: dict[str, tuple[str, Callable]] = {
    "sentence_length": ("sentence", sentence_length),
    "tree_depth": ("sentence", tree_depth),
    "top_constituents": ("sentence", top_constituents),
    "tense": ("sentence", tense),
    "subject_number": ("sentence", subject_number),
    "object_number": ("sentence", object_number),
    "pos": ("word", pos),
    "smallest_constituent": ("word", smallest_constituent),
}


# From raw values to classes.


class Properties(RootModel[dict[Name, Property]]):
    """The configuration's `properties`: name → property."""


def raw_name(name: str, prop: Property) -> str | None:
    """The raw value that a property is made of; None for random and user-given labels.

    Raises
    ------
    InputError
        If there is no raw value of the property's name and it gives no other source.
    """
    if prop.random is not None or prop.table is not None:
        return None
    raw = prop.raw or name
    if raw not in RAW:
        raise InputError(
            f"properties.{name}: no raw value {raw!r}; give raw (one of {', '.join(RAW)}), table or random"
        )
    return raw


def level(name: str, prop: Property) -> str:
    """Whether a property belongs to the ``sentence`` or the ``word``."""
    raw = raw_name(name, prop)
    return RAW[raw][0] if raw else "word"


def class_codes(prop: Property) -> tuple[int, ...]:
    """Integer code of each class, in class order."""
    return prop.codes or tuple(range(prop.n_classes))


def class_name(name: str, prop: Property, k: int) -> str:
    """Name of class `k` for figures and tables: ``1–7``, ``8–16``, ``>16``; ``≤3``; ``Past``, ``other``.

    Parameters
    ----------
    name : str
        The property's name.
    prop : Property
    k : int
        Position of the class (not its code).
    """
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
    """Draw a class for each of `n` words, from the seed and the property's name alone.

    Returns
    -------
    array of int, shape (n,)
    """
    return np.random.default_rng([seed, *name.encode()]).integers(n_classes, size=n)


def table_values(path: str | Path, words) -> list[str]:
    """Read a user's labels (word_index, label) for the words that are not dropped.

    Parameters
    ----------
    path : path-like
    words : pandas.DataFrame
        ``story/words.tsv``.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a word is unknown, has two labels, or has none.
    """
    table = read_table(path, ["word_index", "label"])
    known = set(words["word_index"])
    labels: dict[int, str] = {}
    for row, (index, label) in enumerate(zip(table["word_index"], table["label"], strict=True)):
        if index not in known:
            raise InputError(
                f"{path}: row {row}: unknown word_index {index!r}; the story has 0 to {max(known)}"
            )
        if index in labels:
            raise InputError(f"{path}: row {row}: word_index {index} stands twice; give each word one label")
        if not label:
            raise InputError(
                f"{path}: row {row}: word_index {index} has an empty label; name a class, e.g. {UNDEF}"
            )
        labels[int(index)] = label
    kept = words[words["dropped"] == 0]
    for index, word in zip(kept["word_index"], kept["word"], strict=True):
        if index not in labels:
            raise InputError(
                f"{path}: no label for word_index {index} ({word!r}); give every word one, e.g. {UNDEF}"
            )
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
    """Class of each raw value (its position, not its code).

    Returns
    -------
    array of int, shape (n_values,)

    Raises
    ------
    InputError
        If thresholds meet a value that is no number.
    """
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
                f"properties.{name}: thresholds need numbers, but word {row} is {value!r}; use `classes`"
            )
    return np.searchsorted(prop.thresholds, numbers, side="left")


def label_table(words, sentences: Sequence[Sentence], properties: Mapping[str, Property], seed: int):
    """Label every word that is not dropped (format: ``workflow/README.md``).

    Parameters
    ----------
    words : pandas.DataFrame
        ``story/words.tsv``.
    sentences : sequence of Sentence
        Their words are those of `words` that are not dropped.
    properties : mapping
    seed : int

    Returns
    -------
    pandas.DataFrame
        Per property the class code and ``<property>_raw``.

    Raises
    ------
    InputError
        If a property's name is taken.
    """
    kept = words[words["dropped"] == 0]
    columns = {column: kept[column].to_numpy() for column in _COLUMNS}
    columns["sentence"] = columns["sentence"].astype(int)
    for name, prop in properties.items():
        if name in (*_COLUMNS, "original") or name.endswith("_raw"):
            raise InputError(f"properties.{name}: this name is taken by a column or arm; choose another")
        values = raw_values(name, prop, sentences, words, seed)
        columns[name] = np.array(class_codes(prop))[classify(name, prop, values)]
        columns[f"{name}_raw"] = np.array(values)
    import pandas as pd

    return pd.DataFrame(columns)


def class_counts(labels, properties: Mapping[str, Property]):
    """Count classes (``used``) and raw values (``original``): sentences or words, by the property's level.

    Parameters
    ----------
    labels : pandas.DataFrame
        From :func:`label_table`.
    properties : mapping

    Returns
    -------
    pandas.DataFrame
        Columns property, level, distribution, value, count; classes in their order, raw values by falling
        count.
    """
    import pandas as pd

    rows = []
    for name, prop in properties.items():
        unit = level(name, prop)
        units = labels.drop_duplicates("sentence") if unit == "sentence" else labels
        used = Counter(units[name].tolist())
        for k, code in enumerate(class_codes(prop)):
            rows.append((name, unit, "used", class_name(name, prop, k), used[code]))
        original = Counter(units[f"{name}_raw"].tolist())
        for value, count in sorted(original.items(), key=lambda item: (-item[1], item[0])):
            rows.append((name, unit, "original", str(value), count))
    return pd.DataFrame(rows, columns=["property", "level", "distribution", "value", "count"])


def check_classes(counts) -> None:
    """Note in the log each class that holds under 5 % of its units.

    Parameters
    ----------
    counts : pandas.DataFrame
        From :func:`class_counts`.

    Raises
    ------
    InputError
        If all units of a property are in one class: it could be neither removed nor probed.
    """
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
                share = f"{count} of {total} {unit}s, under {RARE:.0%}"
                note(f"warning: properties.{name}: class {value!r} holds {share}")


def label_correlations(labels, names: Sequence[str]):
    """Correlate the class codes of every ordered pair of properties over words (the paper's table 2).

    Words of a sentence share labels and are no independent observations, so p-values are too small.

    Parameters
    ----------
    labels : pandas.DataFrame
    names : sequence of str

    Returns
    -------
    pandas.DataFrame
        Columns property_a, property_b, r (Pearson), p (two-tailed, t distribution, n − 2 degrees of freedom);
        r and p are missing where labels are constant.
    """
    import pandas as pd
    from scipy.special import stdtr

    codes = np.array([label_codes(labels, name) for name in names], dtype=float)
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


# Reading.


def read_labels(path: str | Path):
    """Read ``tables/labels.tsv``; raw values are text."""
    return read_table(path, _COLUMNS)


def label_codes(labels, name: str) -> np.ndarray:
    """Class code of each word.

    Parameters
    ----------
    labels : pandas.DataFrame
        From :func:`read_labels` or :func:`label_table`.
    name : str
        The property.

    Returns
    -------
    array of int, shape (n_words,)

    Raises
    ------
    InputError
        If the labels lack the property, or its column holds something else.
    """
    if name not in labels.columns:
        raise InputError(
            f"labels: no property {name!r}; there are {', '.join(labels.columns.drop(list(_COLUMNS)))}"
        )
    try:
        codes = labels[name].to_numpy().astype(float)
    except ValueError:
        codes = np.array([np.nan])
    if not np.array_equal(codes, np.round(codes)):
        raise InputError(f"labels: column {name!r} must hold integers only")
    return codes.astype(int)


def main(argv: list[str] | None = None) -> None:
    """Command: words and their parse → labels of every property, class counts, correlations."""
    parser = argparse.ArgumentParser(prog="dynalign.properties", description=main.__doc__)
    parser.add_argument("--words", required=True, help="table of words")
    parser.add_argument("--annotation", required=True, help="parsed sentences (CoNLL-U)")
    parser.add_argument(
        "--properties",
        type=options(Properties),
        default=Properties(paper_properties()),
        help="JSON of the configuration's `properties`",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random labels")
    parser.add_argument("--labels", required=True, help="table of labels to write")
    parser.add_argument("--class-counts", required=True, help="table of class counts to write")
    parser.add_argument("--correlations", required=True, help="table of label correlations to write")
    args = parser.parse_args(argv)
    properties = args.properties.root
    sentences = match_story(read_sentences(args.annotation), story_sentences(args.words), args.annotation)
    labels = label_table(read_words(args.words), sentences, properties, args.seed)
    counts = class_counts(labels, properties)
    check_classes(counts)
    write_table(labels, args.labels)
    write_table(counts, args.class_counts)
    write_table(label_correlations(labels, list(properties)), args.correlations)


if __name__ == "__main__":
    run(main)
