"""What is known word by word, in the blocks of TRs that alignment is tested over: surprisal, and what probes get right.

A block of the story is the same stretch for all quantities, so that they can be drawn anew together (METHOD section 8).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import Sample, blocks_of_rows
from dynalign.statistics.half_rises import Curve
from dynalign.stimulus.timing import read_heard, read_trs
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
        kept = measured[measured["kept"] == 1]
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


def predictability(folder: str | Path, checkpoints: Sequence[str], blocks: WordBlocks, alpha: float) -> Curve:
    """Minus the surprisal of words, in bits (log perplexity, but for its sign and unit), from ``representation/``.

    InputError where checkpoints have other words.
    """
    found = [_read_surprisal(Path(folder) / f"{checkpoint}.surprisal.tsv") for checkpoint in checkpoints]
    for checkpoint, (word_index, _) in zip(checkpoints, found, strict=True):
        if not np.array_equal(word_index, found[0][0]):
            raise InputError(f"{folder}/{checkpoint}.surprisal.tsv: other words than {checkpoints[0]}; run both again")
    return blocks.curve(-np.array([bits for _, bits in found]), found[0][0], alpha)


def _read_surprisal(path: Path) -> tuple[np.ndarray, np.ndarray]:
    table = read_table(path, kind="surprisal")
    return table["word_index"].to_numpy(), table["surprisal"].to_numpy(dtype=float)


def readability(
    folder: str | Path, checkpoints: Sequence[str], layer: int, blocks: WordBlocks, alpha: float
) -> dict[str, Curve]:
    """Accuracy of the probe of each property in a layer, without removal, from ``probing/``.

    InputError where checkpoints have other words or properties.
    """
    paths = [Path(folder) / checkpoint / f"layer-{layer}.npz" for checkpoint in checkpoints]
    found = [read_arrays(path, ["right", "property", "word_index", "n_folds"]) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if not all(np.array_equal(one[name], found[0][name]) for name in ("property", "word_index", "n_folds")):
            raise InputError(f"{path}: other words, properties or folds than {paths[0]}; run both again")
    right = np.array([one["right"] for one in found], dtype=float)
    right[right < 0] = np.nan
    word_index, n_folds = found[0]["word_index"], int(found[0]["n_folds"])
    return {
        str(name): blocks.curve(right[:, k], word_index, alpha, n_folds) for k, name in enumerate(found[0]["property"])
    }


def over_layers(curves: Sequence[dict[str, Curve]]) -> dict[str, Curve]:
    """The mean over layers of the curves of each property."""
    return {
        name: curve._replace(blocks=np.mean([layer[name].blocks for layer in curves], axis=0))
        for name, curve in curves[0].items()
    }
