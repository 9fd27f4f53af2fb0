"""Words with their vectors and labels, as removal, probing and encoding read them."""

from collections.abc import Sequence

import numpy as np

from dynalign.io.errors import InputError
from dynalign.models.layers import read_layer
from dynalign.stimulus.timing import rows_of_words
from dynalign.tables.reader import read_table


def read_vectors(path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """One layer's vectors and their words, as `layers.read_layer`; an `InputError` if they are not finite."""
    X, word_index = read_layer(path, layer)
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: layer {layer} has NaN or infinite values in {len(bad)} of {len(X)} words, the first "
            f"word_index {word_index[bad[0]]}; compute the representation again"
        )
    return X, word_index


def read_labels(labels, word_index, properties: Sequence[str], columns: Sequence[str] = ()):
    """Read the labels of the represented words from ``tables/labels.tsv``.

    InputError: a word has no row or two, or a property holds other than integer codes or has fewer than two classes
    among these words.

    Returns
    -------
    codes : dict of property to array of float64, shape (n_words,)
        Integer class codes, NaN where the cell is empty: a word without a label.
    table : pandas.DataFrame
        A row per word, with `word_index` and `columns`.
    """
    import pandas as pd

    table = read_table(labels, ["word_index", *columns, *properties])
    if table["word_index"].duplicated().any():
        twice = table.loc[table["word_index"].duplicated(), "word_index"].iloc[0]
        raise InputError(f"{labels}: word_index {twice} stands twice; give each word one row")
    table = rows_of_words(table, word_index, labels)
    codes = {}
    for name in properties:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = table.loc[(values % 1 != 0) & table[name].notna() & (table[name] != ""), name]
        if len(wrong):
            raise InputError(f"{labels}: column {name!r} holds '{wrong.iloc[0]}'; it takes integer class codes")
        if values.nunique() < 2:
            raise InputError(
                f"{labels}: property {name!r} has {values.nunique()} classes among {len(values)} represented "
                "words; it needs two or more: change its thresholds or classes, or leave it out"
            )
        codes[name] = values.to_numpy(float)
    return codes, table


def read_words(representation, layer: int, labels, properties: Sequence[str], columns: Sequence[str] = ()):
    """The vectors of the represented words, (n_words, hidden), float32, and what :func:`read_labels` gives.

    InputError as these say, or if a vector is not finite.
    """
    X, word_index = read_vectors(representation, layer)
    return X, *read_labels(labels, word_index, properties, columns)
