"""By which step half of a rise is reached, and which of two quantities rises first (METHOD section 8)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dynalign.statistics.block_tests import RESAMPLES, Sample, resampled


class Curve(NamedTuple):
    """A quantity over training, in blocks of the story."""

    #: Of shape (n_subjects, n_checkpoints, n_blocks), checkpoints in order of training; one "subject" where none has
    #: part in it.
    blocks: np.ndarray
    sample: Sample


def half_rise(places: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Where a rising fit of each curve passes midway between its first and its last value; NaN if it does not rise.

    The fit is the isotonic one (least squares), linear between checkpoints. `places`, (n_checkpoints,), rise; `curves`
    have the shape (n, n_checkpoints); returned is (n,).
    """
    from scipy.optimize import isotonic_regression

    fits = np.array([isotonic_regression(curve).x for curve in curves])
    middle = (fits[:, 0] + fits[:, -1]) / 2
    after = np.clip((fits < middle[:, None]).sum(axis=1), 1, len(places) - 1)
    low, high = (np.take_along_axis(fits, k[:, None], axis=1)[:, 0] for k in (after - 1, after))
    found = np.full(len(fits), np.nan)
    np.divide(middle - low, high - low, out=found, where=fits[:, -1] > fits[:, 0])
    return places[after - 1] + found * (places[after] - places[after - 1])


def risen(places: np.ndarray, curve: Curve, seed: int) -> np.ndarray:
    """The half-rise of the subjects' mean curve, then those with blocks and subjects drawn anew: ``(1 + RESAMPLES,)``.

    All are NaN where the last checkpoint is not above the first by a paired test. `places` are as for
    :func:`half_rise`; curves with as many blocks are drawn alike.
    """
    mean = curve.blocks.mean(axis=0)
    rise = curve.sample.test(mean[-1] - mean[0])
    if not (rise["p"] < curve.sample.alpha and rise["mean"] > 0):
        return np.full(1 + RESAMPLES, np.nan)
    return half_rise(places, np.vstack([mean @ curve.sample.weights, resampled(curve.blocks, curve.sample, seed)]))


def bounds(values: np.ndarray, level: float) -> list[float]:
    """The estimate that is the first of `values`, and the interval of the others, which covers 1 − `level`."""
    others = values[1:][np.isfinite(values[1:])]
    return [values[0], *(np.quantile(others, [level / 2, 1 - level / 2]) if len(others) else [np.nan, np.nan])]


def half_rise_rows(
    steps: Sequence[int], curves: Mapping[tuple[str, str], Curve], seed: int, reference: np.ndarray | None = None
) -> Iterator[dict]:
    """The half-rise of each quantity, and how it compares with that of alignment.

    `curves` are of (quantity, property), on the same checkpoints and blocks: they are drawn anew together. `reference`
    is what :func:`risen` gives of alignment, default that of the first curve.
    """
    for (quantity, name), curve in curves.items():
        found = risen(np.log1p(steps), curve, seed)
        later = np.full_like(found, np.nan) if reference is None else found - reference
        reference = found if reference is None else reference
        level = curve.sample.alpha
        names = ("half_rise_step", "half_rise_low", "half_rise_high")
        ratios = ("half_rise_ratio", "half_rise_ratio_low", "half_rise_ratio_high")
        row = dict(zip(names, np.expm1(bounds(found, level)), strict=True))
        row |= dict(zip(ratios, np.exp(bounds(later, level)), strict=True))
        yield {"quantity": quantity, "property": name} | row
