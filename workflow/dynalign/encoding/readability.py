"""How much of a property the encoder can still read (METHOD section 5).

An effect of removal says something about a property only where the property was taken from what the encoder sees. So
the property's own regressors are predicted too, from the same features, folds and penalties as voxels: the one-hot
mean over the words of a TR, at the middle one of the delays, where the features tell of the words before and after too.
Labels permuted by sentence give what is read by chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dynalign.encoding.arms import Design
from dynalign.encoding.delays import delayed, word_means
from dynalign.removal.erasers import design
from dynalign.removal.permutations import permuted


@dataclass(frozen=True)
class Targets:
    """Columns that are predicted beside the voxels.

    Attributes
    ----------
    properties : tuple of str
    columns : array of shape (n_rows, n_columns)
    owner : array of int, shape (n_columns,)
        ``property · (1 + n_permutations) + labelling``; labelling 0 is the true one.
    n_permutations : int
    """

    properties: tuple[str, ...]
    columns: np.ndarray
    owner: np.ndarray
    n_permutations: int

    def mean_by_labelling(self, r: np.ndarray) -> np.ndarray:
        """Mean r over the columns of a labelling; NaN where none could be scored.

        Parameters
        ----------
        r : array of shape (n_columns,)

        Returns
        -------
        array of shape (n_properties, 1 + n_permutations)
        """
        size = len(self.properties) * (1 + self.n_permutations)
        scored = np.isfinite(r)
        total = np.bincount(self.owner[scored], r[scored], minlength=size)
        count = np.bincount(self.owner[scored], minlength=size)
        means = np.full(size, np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means.reshape(len(self.properties), -1)


def make_targets(
    codes: Mapping[str, np.ndarray], sentence: np.ndarray, where: Design, n_permutations: int, seed: int
) -> Targets:
    """Regressors of every property, with its true labels and with permuted ones.

    Parameters
    ----------
    codes : mapping of property to array of shape (n_words,)
        Integer class codes; NaN: no label.
    sentence : array of shape (n_words,)
        Sentence of each word.
    where : Design
    n_permutations, seed : int

    Returns
    -------
    Targets
    """
    middle = int(np.argsort(where.delay, kind="stable")[len(where.delay) // 2])
    parts, owner = [], []
    for number, (name, values) in enumerate(codes.items()):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
        labelled = np.isfinite(np.asarray(values, dtype=float))
        own = np.asarray(values, dtype=float)[labelled].astype(np.int64)
        trs = where.word_trs[labelled]
        for labelling in range(1 + n_permutations):
            labels = permuted(own, sentence[labelled], rng) if labelling else own
            one_hot = design(labels, "onehot")
            # The two columns of two classes are one.
            means, told = word_means(one_hot[:, 1:] if one_hot.shape[1] == 2 else one_hot, trs, where.n_trs)
            means[told] -= means[told].mean(axis=0)
            columns = delayed(means, where.source[:, [middle]])
            parts.append(columns)
            owner += [number * (1 + n_permutations) + labelling] * columns.shape[1]
    return Targets(tuple(codes), np.concatenate(parts, axis=1), np.array(owner), n_permutations)
