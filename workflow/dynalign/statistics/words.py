"""What is known word by word, in the blocks of TRs that alignment is tested over: surprisal, and what probes get right.

A block of the story is the same stretch for all quantities, so that they can be drawn anew together (METHOD section 8).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import Sample, blocks_of_rows
from dynalign.statistics.half_rises import Curve
from dynalign.stimulus.timing import read_heard, read_trs, rows_of_responses
from dynalign.tables.reader import read_table


class WordBlocks:
    """In which block of TRs each word lies.

    A word in a TR without a response (trimmed, or not shared by all subjects) belongs to the block of the nearest TR of
    its run that has one; in a run without any, to none.

    Parameters
    ----------
    words, trs : paths
        ``story/words.tsv`` and ``story/trs.tsv``, or those of one subject.
    fold : array of shape (n_trs,)
        Of the TRs of c(t).
    size : int
        TRs in a block.
    rows : array of int, optional
        Which of the TRs that are kept those of c(t) are; default: all.
    """

    def __init__(self, words, trs, fold: np.ndarray, size: int, rows: np.ndarray | None = None):
        heard, measured = read_heard(words).drop_duplicates("word_index"), read_trs(trs)
        kept = measured.iloc[rows_of_responses(measured)]
        kept = kept if rows is None else kept.iloc[rows]
        if len(kept) != len(fold):
            raise InputError(f"{trs}: {len(kept)} TRs are kept, but time courses have {len(fold)}; encode again")
        of_row = blocks_of_rows(fold, size)
        self.n_blocks = int(of_row.max()) + 1
        block = np.full(len(heard), -1)
        for run, times in kept.assign(block=of_row).groupby("run"):
            here = np.flatnonzero(heard["run"] == run)
            away = np.abs(heard["tr"].to_numpy()[here, None] - times["tr"].to_numpy())
            block[here] = times["block"].to_numpy()[away.argmin(axis=1)]
        self.block = dict(zip(heard["word_index"].to_numpy(), block, strict=True))

    def curve(self, values: np.ndarray, word_index: np.ndarray, alpha: float, n_folds: int = 0) -> Curve:
        """The :class:`Curve` of values of words, (n_checkpoints, n_words), NaN where a word has none.

        Blocks weigh by their words. What was predicted in `n_folds` folds, from the words of the others, varies more
        than the words show (:func:`dynalign.statistics.block_tests.corrected_t`).
        """
        block = np.array([self.block.get(word, -1) for word in word_index])
        known = (block >= 0) & np.isfinite(values).all(axis=0)
        counts = np.bincount(block[known], minlength=self.n_blocks)
        sums = np.array([np.bincount(block[known], one[known], self.n_blocks) for one in values])
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        share = n_folds / self.n_blocks / (n_folds - 1) if n_folds else 0.0
        return Curve(means[None], Sample(counts / max(counts.sum(), 1), share, alpha))


def surprisal(folder: str | Path, checkpoints: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Surprisal in bits, (n_checkpoints, n_words), and its words, (n_words,), from ``representation/``.

    InputError where checkpoints have other words.
    """
    paths = [Path(folder) / f"{checkpoint}.surprisal.tsv" for checkpoint in checkpoints]
    found = [read_table(path, kind="surprisal") for path in paths]
    for path, one in zip(paths, found, strict=True):
        if not np.array_equal(one["word_index"], found[0]["word_index"]):
            raise InputError(f"{path}: other words than {paths[0]}; run both again")
    bits = np.array([one["surprisal"].to_numpy(dtype=float) for one in found])
    return bits, found[0]["word_index"].to_numpy()


class Right(NamedTuple):
    """Which words the probes of a layer get right, without removal."""

    values: dict[str, np.ndarray]  #: by property, (n_checkpoints, n_words): 1 or 0, NaN without a label
    word_index: np.ndarray  #: (n_words,)
    n_folds: int  #: of the words, each tested by a probe of the others


def right(folder: str | Path, checkpoints: Sequence[str], layer: int) -> Right:
    """What probes get right, from ``probing/``; InputError where checkpoints have other words, properties or folds."""
    paths = [Path(folder) / checkpoint / f"layer-{layer}.npz" for checkpoint in checkpoints]
    found = [read_arrays(path, ["right", "property", "word_index", "n_folds"]) for path in paths]
    first = found[0]
    for path, one in zip(paths, found, strict=True):
        if not all(np.array_equal(one[name], first[name]) for name in ("property", "word_index", "n_folds")):
            raise InputError(f"{path}: other words, properties or folds than {paths[0]}; run both again")
    values = np.array([one["right"] for one in found], dtype=float)
    values[values < 0] = np.nan
    by_property = {str(name): values[:, k] for k, name in enumerate(first["property"])}
    return Right(by_property, first["word_index"], int(first["n_folds"]))


def readability(read: Sequence[Right], blocks: WordBlocks, alpha: float) -> list[dict[str, Curve]]:
    """The curve of each property's probing accuracy in each layer."""
    return [
        {name: blocks.curve(values, one.word_index, alpha, one.n_folds) for name, values in one.values.items()}
        for one in read
    ]


def over_layers(curves: Sequence[dict[str, Curve]]) -> dict[str, Curve]:
    """The mean over layers of the curves of each property."""
    return {
        name: curve._replace(blocks=np.mean([layer[name].blocks for layer in curves], axis=0))
        for name, curve in curves[0].items()
    }
