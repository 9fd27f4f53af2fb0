"""Scores of one arm: what an encoding job keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynalign.io.arrays import read_record, write_record

#: The arm without removal.
ORIGINAL = ("none", "original")


@dataclass(frozen=True)
class Scores:
    """Scores of one arm.

    Attributes
    ----------
    r, alpha, inner_score : arrays of float32, shape (n_folds, n_voxels)
        Pearson correlation on the test rows, the penalty chosen and its mean inner R². NaN in all folds for a
        voxel that is not finite, or constant in the training or test rows of any fold.
    timecourse : array of float64, shape (n_rows,)
        Mean over the scored voxels of z(prediction) · z(response), z within the test fold. Its mean over the
        rows of a fold is the mean over scored voxels of that fold's `r`.
    fold : array of int16, shape (n_rows,)
        Outer fold that tests the row.
    readable : array of float32, shape (n_properties, 1 + n_permutations)
        How well each property's own regressors are predicted (:mod:`dynalign.encoding.readability`): mean r over
        classes and folds, with the true labels and with permuted ones. Empty where it was not asked for.
    """

    r: np.ndarray
    alpha: np.ndarray
    inner_score: np.ndarray
    timecourse: np.ndarray
    fold: np.ndarray
    readable: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write one arm's scores (``encoding/{ckpt}/layer-{layer}/{subject}/{removal}.{property}.npz``)."""
    write_record(path, scores)


def read_scores(path: str | Path) -> Scores:
    """Read what :func:`write_scores` wrote; an `InputError` if the file is missing, broken, or lacks an array."""
    return read_record(path, Scores)
