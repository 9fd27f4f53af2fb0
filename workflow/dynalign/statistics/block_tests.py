"""The tests of alignment and of effects of removal (METHOD section 8).

The headline test and all intervals rest on c(t), the time course whose mean is a cell's alignment, or on the
difference of two arms' c(t). Its mean over blocks of TRs has two sources of error:

- The test rows are a sample: means over blocks longer than the autocorrelation are nearly independent.
- So are the training rows, which the models of the folds share. Besides, rows change places between folds: what rows s
  and t have in common by chance enters once where s trains and t tests, and once more where t trains and s tests. The
  scatter of the test rows counts the two as independent, though they are one. Where learning noise prevails (weak
  signals, many features, as in fMRI) the variance of the mean is twice what the blocks say and a little more; where
  the fitted models are nearly the true ones, once.

Nadeau & Bengio's correction multiplies the variance by 1 + n/n_train for n rows in all: 2.27 for five folds with a gap.
Over folds it leaves 4 degrees of freedom, over blocks dozens (rejections, power: ``tests/benchmarks/calibration.py``).
"""

from typing import Any, NamedTuple

import numpy as np

from dynalign import folds
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, Partition
from dynalign.io.errors import InputError

#: Random flips of the signs of blocks.
FLIPS = 1999

#: Studies drawn anew for an interval.
RESAMPLES = 1999


def _rows(fold: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(fold == name) for name in np.unique(fold)]


def _blocks(fold: np.ndarray, size: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of each block of nearly `size` TRs that no border of a `fold` cuts, and weights that sum to 1."""
    cut = [(rows, rows[block]) for rows in _rows(fold) for block in folds.blocks(len(rows), size)]
    weights = np.array([len(block) / len(rows) for rows, block in cut]) / len(np.unique(fold))
    return [block for _, block in cut], weights


def block_means(timecourse: np.ndarray, fold: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of a time course, shape (n_trs,), in blocks of successive TRs that no border of a `fold` cuts, and weights.

    A fold is cut into equal blocks of nearly `size` TRs, or is one block. ``weights @ means``, both of shape
    (n_blocks,), is the mean over folds of the fold's mean, as in a cell's alignment; the weights sum to 1.
    """
    rows, weights = _blocks(fold, size)
    return np.array([timecourse[block].mean() for block in rows]), weights


def test_train_ratio(fold: np.ndarray, gap: int) -> float:
    """n_test / n_train, mean over outer folds; `fold`, shape (n_trs,), tests a TR, `gap` TRs beside it do neither."""
    shares = [len(rows) / len(folds.training_rows(len(fold), rows, gap)) for rows in _rows(fold)]
    return float(np.mean(shares))


def corrected_t(
    means: np.ndarray, test_train_ratio: float, level: float, weights: np.ndarray | None = None
) -> dict[str, Any]:
    """t-test and interval of a mean over two or more parts (outer folds, or blocks of TRs), with a corrected variance.

    The variance of the mean over k parts is taken as ``(1/k + n_test/n_train) · s²`` instead of ``s²/k``. With
    weights w it is ``(1 + k · n_test/n_train) · k/(k − 1) · Σ w² (m − m̄)²``: the same where all weights are 1/k.

    Parameters
    ----------
    means : array of shape (k,) or (k, n)
        Of n time courses, each tested by itself.
    weights : array of shape (k,), optional
        They sum to 1; default equal.
    test_train_ratio : float
        n_test / n_train of a part.
    level : float
        Of the test; the interval covers ``1 - level``.

    Returns
    -------
    dict of float, or of arrays of shape (n,)
        ``mean``, ``ci_low``, ``ci_high``, ``t``, ``p`` (two-tailed, k − 1 degrees of freedom), ``error`` (standard
        error). p < level exactly where the interval excludes 0. No variance gives p = 1 for a zero mean, else 0.

    References
    ----------
    Nadeau & Bengio (2003), Inference for the generalization error, Machine Learning 52, eq. 9.
    """
    k = len(means)
    if k < 2:
        raise InputError(f"a test over parts of a time course needs 2 parts or more, got {k}")
    weights = np.full(k, 1 / k) if weights is None else weights
    mean = weights @ means
    found = scatter_t(mean, np.square(weights * (means - mean).T).sum(axis=-1), k, test_train_ratio, level)
    return found if means.ndim > 1 else {name: float(value) for name, value in found.items()}


def _over_error(mean, error) -> np.ndarray:
    """t: a mean over its standard error; of no error, 0 for a mean of 0, else infinite."""
    varies = error > 0
    return np.where(varies, mean / np.where(varies, error, 1), np.where(mean == 0, 0, np.copysign(np.inf, mean)))


def scatter_t(mean, scatter, k: int, test_train_ratio: float, level: float) -> dict[str, Any]:
    """The test of :func:`corrected_t` from the weighted mean of k parts and their scatter, ``Σ w² (m − m̄)²``."""
    from scipy.special import stdtr, stdtrit

    error = np.sqrt(k * k / (k - 1) * scatter * (1 / k + test_train_ratio))
    half = stdtrit(k - 1, 1 - level / 2) * error
    t = _over_error(mean, error)
    p = 2 * stdtr(k - 1, -np.abs(t))
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "t": t, "p": p, "error": error}


def _share(n_blocks: int, fold: np.ndarray, settings: Statistics, gap: int) -> float:
    """n_test / n_train of a block; InputError if the blocks are not those of the settings, or too few to test."""
    k = len(_blocks(fold, settings.block)[1])
    if n_blocks != k:
        raise InputError(f"scores in {n_blocks} blocks, but statistics.block: {settings.block} makes {k}; encode again")
    if k < 2:
        raise InputError(f"statistics.block: {settings.block} TRs leave one block of {len(fold)}; ask for less")
    # With M blocks in K folds, a block's n_test / n_train is K/M of a fold's.
    return len(np.unique(fold)) / k * test_train_ratio(fold, gap)


def mean_test(means: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, Any]:
    """The test of :func:`block_test` of block means, shape (n_blocks,) or (n_blocks, n), as :func:`corrected_t`.

    It is an InputError if the blocks are not those of the settings.
    """
    share = _share(len(means), fold, settings, gap)
    return corrected_t(means, share, settings.alpha, _blocks(fold, settings.block)[1])


def _over_voxels(test: dict[str, np.ndarray], scored: np.ndarray) -> dict[str, np.ndarray]:
    """``mean``, ``p`` and ``q``, p adjusted over the voxels (BH), of the voxels `scored`, (n_voxels,); else NaN."""
    from scipy.stats import false_discovery_control

    found = {}
    for name, values in (("mean", test["mean"]), ("p", test["p"]), ("q", false_discovery_control(test["p"]))):
        found[name] = np.full(len(scored), np.nan)
        found[name][scored] = values
    return found


def voxel_test(blocks: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, np.ndarray]:
    """The test of :func:`block_test` for each voxel of `blocks`, (n_blocks, n_voxels), of an arm or a difference.

    Gives arrays of shape (n_voxels,), NaN without a score: ``mean``, ``p``, and ``q``, p adjusted over the voxels (BH).
    """
    blocks = np.asarray(blocks, dtype=np.float64)
    scored = np.isfinite(blocks).all(axis=0)
    return _over_voxels(mean_test(blocks[:, scored], fold, settings, gap), scored)


def part_test(partition: Partition, part: str, settings: Statistics, gap: int) -> dict[str, np.ndarray]:
    """As :func:`voxel_test`, for each voxel's share of a part of a variance partition."""
    mean, scatter = (values[PARTS.index(part)].astype(float) for values in (partition.share, partition.scatter))
    scored, k = np.isfinite(mean), int(partition.n_blocks)
    ratio = _share(k, partition.fold, settings, gap)
    return _over_voxels(scatter_t(mean[scored], scatter[scored], k, ratio, settings.alpha), scored)


def mean_effect(means: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, Any]:
    """:func:`mean_test`, and the size of the effect.

    Adds ``effect_size``, ``effect_low``, ``effect_high``: mean / sd over blocks and its interval from the noncentral t
    distribution (Steiger & Fouladi 1997), which excludes 0 where p < alpha; NaN for a mean without variance.
    """
    from scipy.special import nctdtrinc

    test = mean_test(means, fold, settings, gap)
    k, varies = len(means), test["error"] > 0
    scale = np.sqrt(1 / k + _share(k, fold, settings, gap))
    # Without variance there is nothing to invert: 0 for no mean at all, else unknown.
    t, other = np.where(varies, test["t"], 0.0), np.where(test["mean"] == 0, 0.0, np.nan)
    tails = {"effect_low": 1 - settings.alpha / 2, "effect_high": settings.alpha / 2}
    sizes = {"effect_size": t} | {name: nctdtrinc(k - 1, tail, t) for name, tail in tails.items()}
    sizes = {name: np.where(varies, scale * size, other) for name, size in sizes.items()}
    return test | (sizes if means.ndim > 1 else {name: float(size) for name, size in sizes.items()})


def block_test(timecourse: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """The calibrated test: Nadeau & Bengio's correction over blocks of TRs (METHOD section 8).

    InputError for a time course of one block.

    Parameters
    ----------
    timecourse, fold : arrays of shape (n_trs,)
        c(t), or the difference of two arms' c(t), and the outer fold that tests each TR.
    settings : Statistics
        ``block`` and ``alpha``.
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    dict
        As :func:`corrected_t` and :func:`mean_effect`.
    """
    return mean_effect(block_means(timecourse, fold, settings.block)[0], fold, settings, gap)


def largest_p(means: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int, seed: int) -> np.ndarray:
    """p of each of several means, shape (n,), being above 0, against the largest t over them (step-down).

    The signs of whole blocks are flipped at random, in all time courses alike, so that these stay as correlated as they
    are. Flipped blocks are independent, and their t is the plain one; what it is compared with is the corrected t of
    :func:`mean_test`. At most a share `level` of studies has a p up to `level` where the mean is not above 0.

    Parameters
    ----------
    means : array of shape (n_blocks, n)
        Block means, or differences of them, of n time courses of the same rows.
    fold, settings, gap
        As :func:`mean_test`.
    seed : int

    References
    ----------
    Westfall & Young (1993), Resampling-Based Multiple Testing, algorithm 2.8 (step-down, largest t).
    """
    weights = _blocks(fold, settings.block)[1]
    k = len(weights)
    observed = mean_test(means, fold, settings, gap)["t"]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, k))
    flipped = (signs * weights) @ means
    # Σ w² (± m − mean)², where squares do not know signs.
    scatter = weights**2 @ means**2 - 2 * flipped * ((signs * weights**2) @ means) + flipped**2 * (weights @ weights)
    t = _over_error(flipped, np.sqrt(k / (k - 1) * np.maximum(scatter, 0)))
    # The largest t is held against the largest of all, the next against the largest of all but that one, and so on.
    order = np.argsort(observed)
    largest = np.maximum.accumulate(t[:, order], axis=1)
    p = (1 + np.sum(largest >= observed[order], axis=0)) / (FLIPS + 1)
    found = np.empty(len(order))
    found[order] = np.maximum.accumulate(p[::-1])[::-1]
    return found


class Sample(NamedTuple):
    """How a mean over blocks of TRs is taken, and what its blocks do not show of its variance."""

    weights: np.ndarray  #: of the blocks, (n_blocks,); they sum to 1
    share: float  #: n_test / n_train of a block (:func:`corrected_t`); 0 where nothing was fitted to other blocks
    alpha: float  #: level of tests and intervals

    def test(self, means: np.ndarray) -> dict[str, Any]:
        """:func:`corrected_t` of block means, (n_blocks,) or (n_blocks, n)."""
        return corrected_t(means, self.share, self.alpha, self.weights)


def sample_of(fold: np.ndarray, settings: Statistics, gap: int) -> Sample:
    """The :class:`Sample` of :func:`block_means`; fold, settings and gap are as for :func:`mean_test`."""
    weights = _blocks(fold, settings.block)[1]
    return Sample(weights, _share(len(weights), fold, settings, gap), settings.alpha)


def blocks_of_rows(fold: np.ndarray, size: int) -> np.ndarray:
    """The block of each TR, of int, (n_trs,), in the order of :func:`block_means`."""
    found = np.empty(len(fold), dtype=int)
    for number, rows in enumerate(_blocks(fold, size)[0]):
        found[rows] = number
    return found


def resampled(blocks: np.ndarray, sample: Sample, seed: int) -> np.ndarray:
    """Means of time courses with blocks of TRs and subjects drawn anew, the same ones in all: ``(RESAMPLES, n)``.

    Blocks scatter around their mean by as much more as the variance of :func:`corrected_t` is larger than the plain
    one. Subjects scatter by what they differ beyond their own noise, which the blocks hold already: counted twice, it
    makes intervals of three subjects too wide (they cover 100 % where subjects share little noise). The same seed and
    number of blocks draw the same blocks, whatever else is drawn.

    Parameters
    ----------
    blocks : array of shape (n_subjects, n, n_blocks)
        Block means of n time courses of each subject.
    sample : Sample
    seed : int

    References
    ----------
    Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1, on what two crossed factors count twice.
    """
    rng = np.random.default_rng(seed)
    n_subjects, _, k = blocks.shape
    weights, share, _ = sample
    drawn = rng.multinomial(k, np.full(k, 1 / k), RESAMPLES) * weights
    drawn /= drawn.sum(axis=1, keepdims=True)
    # Of k parts drawn anew, the mean has (k − 1)/k of its variance.
    factor = (1 + k * share) * k / (k - 1)
    centre = blocks.mean(axis=0)
    mean = centre @ weights
    found = mean + np.sqrt(factor) * (drawn @ centre.T - mean)
    if n_subjects == 1:
        return found
    apart = (blocks - centre) @ weights
    noise = factor * np.square(weights * (blocks - centre - apart[..., None])).sum()
    left = max(0.0, 1 - noise / total) if (total := np.square(apart).sum()) > 0 else 0.0
    counts = rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), RESAMPLES)
    return found + np.sqrt(left * n_subjects / (n_subjects - 1)) * counts @ apart / n_subjects


def paper_t(residual: np.ndarray, original: np.ndarray, kind: str) -> tuple[float, float]:
    """The paper's two-tailed t-test over voxels; voxels are not independent, so it rejects far too often.

    Takes the voxel scores of two arms, shape (n_voxels,), and the kind, ``paired`` or ``independent``; gives t and p,
    0 and 1 where the arms are the same to the bit.
    """
    from scipy.stats import ttest_ind, ttest_rel

    valid = np.isfinite(residual) & np.isfinite(original)
    if not valid.any() or np.array_equal(residual[valid], original[valid]):
        return 0.0, 1.0
    result = (ttest_rel if kind == "paired" else ttest_ind)(residual[valid], original[valid])
    return float(result.statistic), float(result.pvalue)
