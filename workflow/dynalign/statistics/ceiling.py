"""Intersubject noise ceiling: how well a subject's responses follow from those of the other subjects.

What people share in their responses to one story is what any model of the story can hope to explain. Each subject's
voxels are predicted from all voxels of all other subjects at the same TR, with the folds, penalties and standardising
of the encoding models, and no delays: responses of all subjects are late by the same haemodynamics.

With one feature voxel per subject, signal s shared with reliability ``ρ = var(s) / (var(s) + var(noise))`` and m other
subjects, the best linear prediction correlates with the response at ``√ρ · √(m ρ / (1 + (m − 1) ρ))`` (Spearman–Brown),
which rises to √ρ, the ceiling of a perfect model. A ceiling from few subjects lies below it, and a model that knows
more than the other subjects tell can exceed it: r/ceiling may be above 1.

**r/ceiling** is the mean of r over the mean of the ceiling, over voxels whose ceiling exceeds a threshold: a mean of
the voxels' own ratios would rest on those with the smallest ceilings, where it explodes. The choice of voxels sees the
ceiling, never a model's score; it also chooses lucky ones, so that their mean is a little too high, for all models.

References
----------
METHOD sections 7 and 8. Nili et al. (2014), A toolbox for representational similarity analysis, for ceilings from other
subjects; Cochran (1977), Sampling techniques, section 6.3, for the variance of a ratio of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.encoding import Encoding
from dynalign.config.rois import NoiseCeiling
from dynalign.config.statistics import Statistics
from dynalign.encoding import arms, backend, ridge
from dynalign.encoding.scores import Scores, read_scores, write_scores
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import fold_test
from dynalign.statistics.cells import CELL, path_of, read_cells
from dynalign.statistics.effects import alignment_row, voxel_scores
from dynalign.stimulus.timing import read_trs
from dynalign.tables.writer import write_table

#: Feature voxels at a time: memory, and the order in which products are summed.
TILE = 4096


def kernel(others: Sequence[np.ndarray], train, threads: int = 1) -> np.ndarray:
    """Linear kernel of the other subjects' voxels, each standardised by the training rows.

    Parameters
    ----------
    others : sequence of arrays of shape (n_rows, n_voxels)
        Voxels may differ in number; one that is constant in the training rows, or not finite, is left out.
    train : array of int
    threads : int
        Tiles at work at a time; they are summed in their order, so that bytes do not depend on it.

    Returns
    -------
    array of float64, shape (n_rows, n_rows)
    """
    n_rows = len(others[0])
    present = np.ones(n_rows, dtype=bool)

    def product(tile: np.ndarray) -> np.ndarray:
        block = np.asarray(tile, dtype=np.float64)
        block = block[:, np.isfinite(block).all(axis=0)]
        features = arms.standardise(block, present, *arms.scaling(block, present, train))
        return features @ features.T

    total = np.zeros((n_rows, n_rows))
    tiles = (one[:, first : first + TILE] for one in others for first in range(0, one.shape[1], TILE))
    while batch := list(islice(tiles, threads)):
        for part in backend.spread(product, batch, threads):
            total += part
    return total


def intersubject(
    others: Sequence[np.ndarray],
    responses: np.ndarray,
    runs: np.ndarray,
    choices: Encoding,
    device: backend.Numpy | backend.Torch | None = None,
) -> Scores:
    """Predict every voxel of a subject from the voxels of the other subjects.

    Parameters
    ----------
    others : sequence of arrays of shape (n_rows, n_voxels of that subject)
    responses : array of shape (n_rows, n_voxels)
    runs : array of shape (n_rows,)
        Run of each row, for folds by run.
    choices : Encoding
        ``alphas``, ``folds``, ``inner_folds`` and ``gap`` count.
    device : backend.Numpy or backend.Torch, optional

    Returns
    -------
    Scores
        As of the encoding models; NaN for voxels that cannot be scored.

    Raises
    ------
    InputError
        If there is no other subject, rows differ, or folds cannot be cut.
    """
    if not others:
        raise InputError("the noise ceiling predicts a subject from others; give one other subject or more")
    for other in others:
        if len(other) != len(responses):
            raise InputError(f"{len(responses)} TRs, but another subject has {len(other)}; all must be equal")
    device = backend.Numpy() if device is None else device
    splits = arms.outer_splits(runs, choices.folds, choices.gap)
    scored = ridge.scorable(responses, splits, device)
    if not scored.any():
        raise InputError(f"none of the {len(scored)} voxels varies and is finite in every fold")

    def features(train, _):
        yield kernel(others, train, device.threads), ()

    ((scores, _),) = ridge.fit_folds(responses, scored, splits, features, choices, device)
    return scores


def above(ceiling: Scores, threshold: float) -> np.ndarray:
    """Voxels whose ceiling (mean r over folds) exceeds the threshold; boolean of shape (n_voxels,)."""
    mean = voxel_scores(ceiling)
    return np.isfinite(mean) & (mean > threshold)


def ceiling_row(ceiling: Scores, threshold: float, settings: Statistics, gap: int) -> dict[str, float]:
    """A subject's ceiling: mean over voxels with its interval, and mean over those above the threshold."""
    chosen = above(ceiling, threshold)
    mean = float(voxel_scores(ceiling)[chosen].mean()) if chosen.any() else np.nan
    return alignment_row(ceiling, settings, gap) | {
        "threshold": threshold,
        "n_above": int(chosen.sum()),
        "mean_r_above": mean,
    }


def ratio_row(scores: Scores, ceiling: Scores, chosen: np.ndarray, level: float, gap: int) -> dict[str, float]:
    """r/ceiling of one cell: ratio of means over voxels, with an interval over folds.

    With r_f and c_f the means over voxels in fold f and R = r̄ / c̄, the interval is that of the mean of
    ``(r_f − R c_f) / c̄`` around R (the linearised ratio), corrected like all intervals over folds.
    The voxels chosen count as fixed.

    Parameters
    ----------
    scores, ceiling : Scores
    chosen : boolean array of shape (n_voxels,)
        From :func:`above`.
    level, gap
        As :func:`dynalign.statistics.block_tests.fold_test`.

    Raises
    ------
    InputError
        If the two are not of the same voxels or folds.
    """
    if scores.r.shape != ceiling.r.shape or not np.array_equal(scores.fold, ceiling.fold):
        raise InputError(
            f"scores of {scores.r.shape[0]} folds × {scores.r.shape[1]} voxels, a ceiling of {ceiling.r.shape[0]} × "
            f"{ceiling.r.shape[1]}; both need the same responses and folds"
        )
    valid = chosen & np.isfinite(scores.r).all(axis=0)
    row = {"n_voxels": int(valid.sum())}
    if not valid.any():
        return row | dict.fromkeys(("mean_r", "mean_ceiling", "ratio", "ci_low", "ci_high"), np.nan)
    r, c = (part.r[:, valid].mean(axis=1, dtype=float) for part in (scores, ceiling))
    ratio = r.mean() / c.mean()
    around = fold_test((r - ratio * c) / c.mean(), scores.fold, level, gap)
    return row | {
        "mean_r": float(r.mean()),
        "mean_ceiling": float(c.mean()),
        "ratio": float(ratio),
        "ci_low": float(ratio + around["ci_low"]),
        "ci_high": float(ratio + around["ci_high"]),
    }


def ratio_table(cells, folder: str, ceiling: Scores, threshold: float, level: float, gap: int):
    """r/ceiling (:func:`ratio_row`) of all of a subject's `cells` (:func:`dynalign.statistics.cells.read_cells`)."""
    import pandas as pd

    chosen = above(ceiling, threshold)
    if not chosen.any():
        note(f"no voxel has a ceiling above {threshold}: r/ceiling stays empty; lower noise_ceiling.threshold")
    rows = []
    for row in progress(list(cells.itertuples(index=False)), "r/ceiling: cells"):
        path = path_of(folder, row)
        try:
            ratio = ratio_row(read_scores(path), ceiling, chosen, level, gap)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        rows.append({name: getattr(row, name) for name in [*CELL, "subject"]} | ratio)
    return pd.DataFrame(rows)


def predict(
    responses: str, others: list[str], trs: str, output: str, encoding: Encoding = Encoding(), threads: int = 1
) -> None:
    """Responses of all subjects (``brain/{subject}.npy``) and their TRs → one subject's ``ceiling/{subject}.npz``."""
    measured = read_trs(trs)
    runs = measured["run"].to_numpy()[measured["kept"].to_numpy() == 1]
    brains = [read_array(path, mmap=True) for path in (responses, *others)]
    for path, brain in zip((responses, *others), brains, strict=True):
        if brain.ndim != 2 or len(brain) != len(runs):
            raise InputError(
                f"{path}: shape {brain.shape}, but {trs} keeps {len(runs)} TRs; all subjects need the same story"
            )
    scores = intersubject(brains[1:], brains[0], runs, encoding, backend.Numpy(threads))
    note(f"mean ceiling: r = {np.nanmean(voxel_scores(scores)):.4f} from {len(others)} other subjects")
    write_scores(output, scores)


def ratio(
    subject: str,
    n_others: int,
    ceiling: str,
    alignment: str,
    folder: str,
    ceiling_output: str,
    output: str,
    gap: int,
    options: NoiseCeiling = NoiseCeiling(),
    statistics: Statistics = Statistics(),
) -> None:
    """Scores and ceiling of a subject → the ceiling's table, and r/ceiling of every cell.

    Parameters
    ----------
    subject, n_others
        The subject, and how many it was predicted from.
    ceiling, alignment, folder
        ``ceiling/{subject}.npz``, ``tables/alignment.tsv``, ``encoding/``.
    ceiling_output, output
        Tables to write.
    options, statistics, gap
        Sections `noise_ceiling` and `statistics` as JSON, and ``encoding.gap``.
    """
    import pandas as pd

    limit, threshold = read_scores(ceiling), options.threshold
    row = {"subject": subject, "n_others": n_others} | ceiling_row(limit, threshold, statistics, gap)
    ratios = ratio_table(read_cells(alignment, subject), folder, limit, threshold, statistics.alpha, gap)
    write_table(ratios, output)
    write_table(pd.DataFrame([row]), ceiling_output)


main = commands(predict, ratio)

if __name__ == "__main__":
    run(main)
