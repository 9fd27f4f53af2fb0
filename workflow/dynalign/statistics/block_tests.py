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

from typing import Any

import numpy as np

from dynalign import folds
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, Partition
from dynalign.io.errors import InputError


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


def scatter_t(mean, scatter, k: int, test_train_ratio: float, level: float) -> dict[str, Any]:
    """The test of :func:`corrected_t` from the weighted mean of k parts and their scatter, ``Σ w² (m − m̄)²``."""
    from scipy.special import stdtr, stdtrit

    error = np.sqrt(k * k / (k - 1) * scatter * (1 / k + test_train_ratio))
    half = stdtrit(k - 1, 1 - level / 2) * error
    varies = error > 0
    t = np.where(varies, mean / np.where(varies, error, 1), np.where(mean == 0, 0, np.copysign(np.inf, mean)))
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
        As :func:`corrected_t`, and ``effect_size``, ``effect_low``, ``effect_high``: mean / sd over blocks and its
        interval from the noncentral t distribution (Steiger & Fouladi 1997), which excludes 0 where p < alpha; NaN for
        a mean without variance.
    """
    from scipy.special import nctdtrinc

    means, _ = block_means(timecourse, fold, settings.block)
    test = mean_test(means, fold, settings, gap)
    k = len(means)
    scale = np.sqrt(1 / k + _share(k, fold, settings, gap))
    if test["error"] > 0:
        tails = (1 - settings.alpha / 2, settings.alpha / 2)
        low, high = (float(scale * nctdtrinc(k - 1, tail, test["t"])) for tail in tails)
        size = scale * test["t"]
    else:
        low = high = size = 0.0 if test["mean"] == 0 else np.nan
    return test | {"effect_size": float(size), "effect_low": low, "effect_high": high}


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
