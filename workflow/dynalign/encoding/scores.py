"""What an encoding job keeps: scores of each arm, and variance partitions."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynalign.io.arrays import read_record, write_record

#: The arm without removal.
ORIGINAL = ("none", "original")

#: Stands for a removal in the names of variance partitions.
SHARES = "shares"

#: Parts of a variance partition: of the vectors alone, of the other features alone, of either, and all of it.
PARTS = ("unique_model", "unique_features", "shared", "joint")


@dataclass(frozen=True)
class Scores:
    """Scores of one arm; NaN in all folds for a voxel not finite, or constant in any fold's training or test rows."""

    r: np.ndarray  #: of float32, (n_folds, n_voxels), Pearson correlation on the test rows
    alpha: np.ndarray  #: of float32, (n_folds, n_voxels), the penalty chosen
    inner_score: np.ndarray  #: of float32, (n_folds, n_voxels), its mean inner R²

    #: Of float64, (n_rows,): mean over the scored voxels of z(prediction) · z(response), z within the test fold. Its
    #: mean over the rows of a fold is the mean over scored voxels of that fold's `r`.
    timecourse: np.ndarray
    fold: np.ndarray  #: of int16, (n_rows,), outer fold that tests the row

    #: Of float16, (n_blocks, n_voxels): each voxel's z(prediction) · z(response), mean over each block of rows
    #: (:func:`dynalign.folds.blocks`, fold by fold). Rounding moves a value by 5e-4 of it, blocks scatter by all of it.
    blocks: np.ndarray

    #: Of float32, (n_properties, 1 + n_permutations): how well each property's own regressors are predicted
    #: (:mod:`dynalign.encoding.readability`), mean r over classes and folds, with the true labels and with permuted
    #: ones. Empty where it was not asked for.
    readable: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write one arm's scores (``encoding/{ckpt}/{subject}/layer-{layer}/{removal}.{property}.npz``)."""
    write_record(path, scores)


def read_scores(path: str | Path) -> Scores:
    """Read what :func:`write_scores` wrote; an `InputError` if the file is missing, broken, or lacks an array."""
    return read_record(path, Scores)


@dataclass(frozen=True)
class Partition:
    """Shares of variance of the vectors and of other features (METHOD section 5), parts in the order of :data:`PARTS`.

    NaN for a voxel without a score. Shares are those of :func:`dynalign.encoding.ridge.parts`; the parts of `r` and
    `r2` are differences of the scores of joint model, features alone, and vectors alone.
    """

    share: np.ndarray  #: of float32, (n_parts, n_voxels), share of the test rows' variance, mean over folds
    scatter: np.ndarray  #: of float32, (n_parts, n_voxels), its blocks' Σ (weight · (mean − share))²
    timecourse: np.ndarray  #: of float64, (n_parts, n_rows), the share row by row, mean over the scored voxels
    r: np.ndarray  #: of float32, (n_parts, n_voxels), Pearson r, mean over folds
    r_timecourse: np.ndarray  #: of float64, (n_parts, n_rows), of c(t)
    r2: np.ndarray  #: of float32, (n_parts, n_voxels), R² against the mean of the training rows, mean over folds
    fold: np.ndarray  #: of int16, (n_rows,), outer fold that tests the row
    n_blocks: np.ndarray  #: of int, (), blocks of rows in `scatter`


def read_partition(path: str | Path) -> Partition:
    """Read ``encoding/{ckpt}/{subject}/layer-{layer}/shares.{space}.npz``; an `InputError` as :func:`read_scores`."""
    return read_record(path, Partition)
