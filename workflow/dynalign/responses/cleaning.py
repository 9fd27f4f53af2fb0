"""Drift removal and standardisation of responses, run by run."""

from __future__ import annotations

import numpy as np

from dynalign.config.brain import Brain


def drift_basis(n: int, tr: float, kind: str, high_pass_s: float = 128.0) -> np.ndarray:
    """Orthonormal drift regressors of one run, the constant included.

    Parameters
    ----------
    n : int
        TRs of the run.
    tr : float
        Repetition time, s.
    kind : {"linear", "cosine"}
        `linear`: constant and line; `cosine`: discrete cosines with periods longer than `high_pass_s`
        (as in SPM: order up to ``floor(2 n tr / high_pass_s)``).
    high_pass_s : float
        Longest period kept in the data, s.

    Returns
    -------
    array of shape (n, k)
    """
    rows = np.arange(n)
    if kind == "linear":
        columns = np.stack([np.ones(n), rows - (n - 1) / 2], axis=1)
    else:
        order = int(np.floor(2 * n * tr / high_pass_s))
        columns = np.cos(np.pi * (2 * rows[:, None] + 1) * np.arange(order + 1)[None, :] / (2 * n))
    return columns / np.linalg.norm(columns, axis=0)


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
            basis = drift_basis(int(rows.sum()), tr, brain.detrend, brain.high_pass_s)
            constant = block.max(axis=0) == block.min(axis=0)
            block -= basis @ (basis.T @ block)
            block[:, constant] = 0.0
        if brain.standardize:
            block -= block.mean(axis=0)
            scale = block.std(axis=0)
            block /= np.where(scale > 0, scale, 1.0)
        cleaned[rows] = block
    return cleaned
