"""How much of a property the encoder can still read (METHOD section 5).

The property's own regressors are predicted like voxels: the one-hot mean over the words of a TR, at the middle one of
the delays, where the features tell of the words before and after too. Permuted labels give what is read by chance.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dynalign.encoding.arms import Design, class_means
from dynalign.encoding.delays import delayed
from dynalign.removal.permutations import permuted


@dataclass(frozen=True)
class Once:
    """Words that are heard again, told apart: their labels are permuted once."""

    first: np.ndarray  #: of int, (n_distinct,), where each word is heard first, in order
    again: np.ndarray  #: of int, (n_words,), which of these each word is

    @classmethod
    def of(cls, word_index: np.ndarray) -> "Once":
        """Of words by their number, (n_words,)."""
        _, first, again = np.unique(word_index, return_index=True, return_inverse=True)
        return cls(np.sort(first), np.argsort(np.argsort(first))[again])


@dataclass(frozen=True)
class Targets:
    """Columns that are predicted beside the voxels."""

    columns: np.ndarray  #: (n_rows, n_columns)
    owner: np.ndarray  #: of int, (n_columns,): ``property · (1 + n_permutations) + labelling``, the true one being 0
    shape: tuple[int, int]  #: n_properties, 1 + n_permutations

    def mean_by_labelling(self, r: np.ndarray) -> np.ndarray:
        """Mean of r, (n_columns,), over the columns of a labelling, of this `shape`; NaN where none could be scored."""
        size = self.shape[0] * self.shape[1]
        scored = np.isfinite(r)
        total = np.bincount(self.owner[scored], r[scored], minlength=size)
        count = np.bincount(self.owner[scored], minlength=size)
        means = np.full(size, np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means.reshape(self.shape)


def make_targets(
    codes: Mapping[str, np.ndarray],
    sentence: np.ndarray,
    where: Design,
    n_permutations: int,
    seed: int,
    once: Once | None = None,
) -> Targets:
    """Regressors of every property, with its true labels and with permuted ones.

    `codes` maps a property to integer class codes of shape (n_words,) (NaN: no label); `sentence` has that shape too.
    Words that are heard again (`once`) keep one label.
    """
    once = Once.of(np.arange(len(sentence))) if once is None else once
    distinct = np.asarray(sentence)[once.first]
    middle = int(np.argsort(where.delay, kind="stable")[len(where.delay) // 2])
    parts, owner = [], []
    for number, (name, values) in enumerate(codes.items()):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
        values = np.array(values, dtype=float)[once.first]
        labelled = np.isfinite(values)
        own = values[labelled].astype(np.int64)
        for labelling in range(1 + n_permutations):
            values[labelled] = permuted(own, distinct[labelled], rng) if labelling else own
            means, told = class_means(values[once.again], where.word_trs, where.n_trs)
            means[told] -= means[told].mean(axis=0)
            parts.append(delayed(means, where.source[:, [middle]]))
            owner += [number * (1 + n_permutations) + labelling] * means.shape[1]
    return Targets(np.concatenate(parts, axis=1), np.array(owner), (len(codes), 1 + n_permutations))
