"""Variance partitions: what responses owe to the vectors, to other features, and to either (METHOD section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynalign import folds
from dynalign.encoding.scores import Partition, Scores

#: What is measured of a variance partition; what vectors and features share follows from the three.
MEASURED = ("unique_model", "unique_features", "joint")


@dataclass(frozen=True)
class FoldPartition:
    """A variance partition on one outer fold; its parts are in the order of :data:`MEASURED`."""

    r2: np.ndarray  #: (4, n_voxels), R² on the test rows against the mean of the training rows, of the four predictions
    timecourse: np.ndarray  #: (n_parts, n_test), share of variance, mean over voxels
    blocks: np.ndarray  #: float32, (n_parts, n_blocks, n_voxels), the same of each voxel, mean over blocks of test rows


def parts(run, response, vectors, others, beyond, both):
    """A voxel's variance in each part of :data:`MEASURED`, row by row: three arrays of shape (n_test, n_voxels).

    From responses y and predictions of the vectors, of the other features, of these and what the vectors tell beyond
    them, and of both, all of that shape and centred here. What a band adds to a prediction is counted by how it goes
    with what the prediction without it leaves, ``(y − ŷ) (ŷ_both − ŷ) / var(y)``: its mean is the unique share, and 0
    for a band that tells nothing, whose fit only costs in R² (METHOD section 5).
    """
    found = (response, vectors, others, beyond, both)
    response, vectors, others, beyond, both = (part - part.mean(axis=0) for part in found)
    variance = run.xp.einsum("tv,tv->v", response, response) / len(response)
    return (
        (response - others) * (beyond - others) / variance,
        (response - vectors) * (both - vectors) / variance,
        response * both / variance,
    )


def join(folds_of_it: Sequence[FoldPartition], arms: Sequence[Scores], scored) -> Partition:
    """Put a variance partition together from its folds and its four arms' scores; `scored` are voxels, of bool."""
    vectors = arms[0]
    # With the same weight for every fold, as in a cell's alignment.
    sizes = [int((vectors.fold == k).sum()) for k in range(len(folds_of_it))]
    counts = [one.blocks.shape[1] for one in folds_of_it]
    weights = np.concatenate(
        [np.array([len(rows) for rows in folds.contiguous(n, k)]) / n for n, k in zip(sizes, counts, strict=True)]
    ) / len(sizes)
    # Rows of a fold need not follow each other: a story may be heard in several runs.
    tested = np.argsort(vectors.fold, kind="stable")
    timecourse = np.empty((len(MEASURED), len(tested)))
    timecourse[:, tested] = np.concatenate([one.timecourse for one in folds_of_it], axis=1)
    blocks = _all_parts(np.concatenate([one.blocks for one in folds_of_it], axis=1, dtype=float))
    share = np.einsum("b,pbv->pv", weights, blocks)
    scatter = np.einsum("b,pbv->pv", weights**2, np.square(blocks - share[:, None]))
    r2 = np.mean([one.r2 for one in folds_of_it], axis=0)

    def whole(values) -> np.ndarray:
        wide = np.full((len(values), len(scored)), np.nan, dtype=np.float32)
        wide[:, scored] = values
        return wide

    def differences(vectors, others, beyond, both) -> np.ndarray:
        return _all_parts(np.stack([beyond - others, both - vectors, both]))

    r = [np.mean(scores.r, axis=0, dtype=float)[scored] for scores in arms]
    return Partition(
        share=whole(share),
        scatter=whole(scatter),
        timecourse=_all_parts(timecourse),
        r=whole(differences(*r)),
        r_timecourse=differences(*(scores.timecourse for scores in arms)),
        r2=whole(differences(*r2)),
        fold=vectors.fold,
        n_blocks=np.array(blocks.shape[1]),
    )


def _all_parts(measured: np.ndarray) -> np.ndarray:
    """The parts of :data:`dynalign.encoding.scores.PARTS`, from those of :data:`MEASURED`, first axis."""
    model, features, both = measured
    return np.stack([model, features, both - model - features, both])
