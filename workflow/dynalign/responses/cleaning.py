"""Drift removal and standardisation of responses, run by run."""

from __future__ import annotations

import numpy as np

from dynalign.config.brain import Brain


def remove_drift(block: np.ndarray, tr: float, brain: Brain) -> np.ndarray:
    """Take the mean and what drifts slowly out of each voxel of one run, by least squares (nilearn).

    Parameters
    ----------
    block : array of float64, shape (n_trs, n_voxels)
    tr : float
        Repetition time, s.
    brain : Brain
        With `detrend` ``linear``, a line; with ``cosine``, discrete cosines with periods longer than `high_pass_s`
        (as in SPM: order up to ``floor(2 n_trs tr / high_pass_s)``).

    Returns
    -------
    array of shape (n_trs, n_voxels)
        A constant voxel is 0.
    """
    # Imported here: it costs more than all the rest of the step.
    from nilearn.signal import clean

    high_pass = {"filter": "cosine", "high_pass": 1 / brain.high_pass_s, "t_r": tr} if brain.detrend == "cosine" else {}
    cleaned = clean(block, detrend=brain.detrend == "linear", standardize=None, **{"filter": False} | high_pass)
    # nilearn leaves the mean where only cosines are taken out, and of a constant what rounding leaves.
    return np.where(block.max(axis=0) == block.min(axis=0), 0.0, cleaned - cleaned.mean(axis=0))


def clean_runs(responses: np.ndarray, runs: np.ndarray, tr: float, brain: Brain) -> np.ndarray:
    """Detrend and standardise each run and voxel as the configuration says.

    Parameters
    ----------
    responses : array of shape (n_trs, n_voxels)
    runs : array of shape (n_trs,)
    tr : float
        Repetition time, s.

    Returns
    -------
    array of shape (n_trs, n_voxels), float64
        A constant voxel becomes 0 (its score will be NaN).
    """
    cleaned = np.array(responses, dtype=float)
    for name in dict.fromkeys(runs.tolist()):
        rows = runs == name
        block = cleaned[rows]
        if brain.detrend != "none":
            block = remove_drift(block, tr, brain)
        if brain.standardize:
            # Not nilearn's: it divides by the sample's deviation (n - 1) from its next version on.
            block = block - block.mean(axis=0)
            scale = block.std(axis=0)
            block /= np.where(scale > 0, scale, 1.0)
        cleaned[rows] = block
    return cleaned
