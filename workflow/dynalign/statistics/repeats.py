"""Noise ceiling of a subject who heard stretches again: how much of its responses comes back (METHOD section 8).

With z the responses of a hearing, standardised over its stretch, the signal's share of the variance of one hearing is
the mean product of two hearings over the mean square of one,

    EV = mean_t mean_{i<j} z_i(t) z_j(t) / mean_t mean_i z_i(t)²,

which for n hearings of everything is the explainable variance with correction for bias, ``e − (1 − e) / (n − 1)``, with
``e`` the variance of the mean hearing over the mean variance of a hearing. A perfect model, which predicts the signal,
correlates with responses that are means of n hearings at ``√(EV / (EV + (1 − EV) / n))``.

References
----------
METHOD section 8. Sahani & Linden (2003), How linear are auditory cortical responses?; Schoppe et al. (2016), Measuring
the performance of neural models, eqs. 7 and 8; Hsu, Borst & Theunissen (2004), for r over its ceiling.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dynalign import folds
from dynalign.config.statistics import Statistics
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import corrected_t
from dynalign.variation import constant


@dataclass(frozen=True)
class Repeats:
    """What a subject's repeats tell of its voxels (``ceiling/{subject}.npz``)."""

    product: np.ndarray  #: float32, (n_blocks, n_voxels), products of two hearings, mean over pairs and a block of TRs
    square: np.ndarray  #: float32, (n_blocks, n_voxels), squares, mean over hearings and a block of TRs
    weights: np.ndarray  #: (n_blocks,), TRs of each block as a share of all; their sum is 1
    parts: np.ndarray  #: (n_rows,), 1 / the number of hearings that a row of the responses is a mean of
    n_trs: int  #: kept TRs that were heard again
    n_hearings: int  #: of a TR, at most


def measure(
    hearings: Iterable[tuple[np.ndarray, np.ndarray]], runs: np.ndarray, keep: bool, block: int = Statistics().block
) -> Repeats:
    """Products of repeats in blocks of nearly `block` TRs that no border of a run cuts.

    Parameters
    ----------
    hearings
        As of :func:`dynalign.responses.recordings.hearings`; the first is that of all TRs.
    runs : array of shape (n_kept,)
        Of first hearings.
    keep
        Whether responses are those of every hearing, not their mean.

    Raises
    ------
    InputError
        Nothing was heard again, or less than two blocks.
    """
    counts = np.zeros(len(runs), dtype=int)
    total = squares = np.empty(0)
    for inside, responses in hearings:
        if not squares.size:
            total, squares = (np.zeros((len(runs), responses.shape[1])) for _ in range(2))
        for run in np.unique(runs[inside]):
            values = responses[runs[inside] == run]
            with np.errstate(invalid="ignore", divide="ignore"):
                z = np.where(constant(values), np.nan, (values - values.mean(axis=0)) / values.std(axis=0))
            total[runs == run] += z
            squares[runs == run] += np.square(z)
        counts[inside] += 1
    again = [np.flatnonzero(runs == run) for run in dict.fromkeys(runs.tolist())]
    cut = [rows[part] for rows in again if counts[rows[0]] > 1 for part in folds.blocks(len(rows), block)]
    if len(cut) < 2:
        few = f"{sum(map(len, cut))} TRs were heard again, which is 1 block of {block}, and a ceiling with an interval"
        raise InputError(
            f"{few} takes two or more; lower statistics.block"
            if cut
            else "nothing was heard again, so that no ceiling can be had from repeats"
        )
    n = counts[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        products = (np.square(total) - squares) / (n * (n - 1))
    sizes = np.array([len(rows) for rows in cut])
    return Repeats(
        product=np.stack([products[rows].mean(axis=0) for rows in cut]).astype(np.float32),
        square=np.stack([(squares / n)[rows].mean(axis=0) for rows in cut]).astype(np.float32),
        weights=sizes / sizes.sum(),
        parts=np.ones(counts.sum()) if keep else 1 / counts,
        n_trs=int(sizes.sum()),
        n_hearings=int(counts.max()),
    )


def explainable_variance(repeats: Repeats, left_out: int | None = None) -> np.ndarray:
    """Share of signal in the variance of one hearing, (n_voxels,), from all blocks, or all but one; may be below 0."""
    weights = repeats.weights.copy()
    if left_out is not None:
        weights[left_out] = 0
    return (weights @ repeats.product.astype(float)) / (weights @ repeats.square.astype(float))


def ceiling(explainable: np.ndarray, parts: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What a perfect model scores, (n_voxels,): mean over folds of its correlation; 0 where nothing is explainable.

    `fold`, (n_rows,), tests a row, whose `parts` are 1 / the number of hearings that it is a mean of.
    """
    signal = np.clip(explainable, 0, 1)
    noise = [(1 - signal) * parts[fold == number].mean() for number in np.unique(fold)]
    return np.mean([np.sqrt(signal / (signal + one)) for one in noise], axis=0)


def mean_ceiling(repeats: Repeats, fold: np.ndarray, chosen: np.ndarray, level: float) -> tuple[float, float]:
    """Mean ceiling of the voxels `chosen`, bool of shape (n_voxels,), and half the width of its interval.

    The interval is the jackknife's over blocks of TRs, each left out in turn.
    """
    from scipy.special import stdtrit

    k = len(repeats.weights)
    some = Repeats(**vars(repeats) | {name: getattr(repeats, name)[:, chosen] for name in ("product", "square")})
    mean = float(ceiling(explainable_variance(some), repeats.parts, fold).mean())
    left = np.array([ceiling(explainable_variance(some, one), repeats.parts, fold).mean() for one in range(k)])
    error = np.sqrt((k - 1) / k * np.square(left - left.mean()).sum())
    return mean, float(stdtrit(k - 1, 1 - level / 2) * error)


def share_of_responsive(repeats: Repeats, level: float) -> float:
    """Share of the voxels whose products of two hearings lie significantly above 0 over blocks, p adjusted (BH)."""
    from scipy.stats import false_discovery_control

    products = repeats.product.astype(float)
    scored = np.isfinite(products).all(axis=0)
    test = corrected_t(products[:, scored], 0.0, level, repeats.weights)
    return float(((false_discovery_control(test["p"]) < level) & (test["mean"] > 0)).mean())
