"""Words with their labels and vectors, as removal, probing and encoding read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynalign.io.errors import InputError
from dynalign.models.layers import read_layer
from dynalign.tables.reader import read_table


def read_words(path, word_index: np.ndarray, properties: Sequence[str], columns: Sequence[str] = ()):
    """Rows of ``tables/labels.tsv`` for represented words, in their order, with checked class codes.

    Parameters
    ----------
    path : path-like
    word_index : array of int, shape (n_words,)
        The represented words.
    properties : sequence of str
        Columns of integer class codes; an empty cell is a word without a label (NaN).
    columns : sequence of str
        Other columns that must be there.

    Returns
    -------
    pandas.DataFrame
        n_words rows.

    Raises
    ------
    InputError
        If a represented word has no row or two, or a property holds anything but integer codes or has fewer
        than two classes among these words.
    """
    import pandas as pd

    table = read_table(path, ["word_index", *columns, *properties])
    if table["word_index"].duplicated().any():
        twice = table.loc[table["word_index"].duplicated(), "word_index"].iloc[0]
        raise InputError(f"{path}: word_index {twice} stands twice; give each word one row")
    missing = word_index[~np.isin(word_index, table["word_index"].to_numpy())]
    if len(missing):
        raise InputError(
            f"{path}: has no row for word_index {missing[0]} ({len(missing)} represented words in all); "
            "labels and representation must come from the same story"
        )
    table = table.set_index("word_index").loc[word_index].reset_index()
    for name in properties:
        codes = pd.to_numeric(table[name], errors="coerce")
        wrong = table.loc[(codes % 1 != 0) & table[name].notna() & (table[name] != ""), name]
        if len(wrong):
            raise InputError(f"{path}: column {name!r} holds '{wrong.iloc[0]}'; it takes integer class codes")
        if codes.nunique() < 2:
            raise InputError(
                f"{path}: property {name!r} has {codes.nunique()} classes among {len(codes)} represented "
                "words; it needs two or more: change its thresholds or classes, or leave it out"
            )
        table[name] = codes
    return table


def read_vectors(path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """One layer's vectors and their words, as `representation.read_layer`, checked to be finite."""
    X, word_index = read_layer(path, layer)
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: layer {layer} has NaN or infinite values in {len(bad)} of {len(X)} words, the first "
            f"word_index {word_index[bad[0]]}; compute the representation again"
        )
    return X, word_index
