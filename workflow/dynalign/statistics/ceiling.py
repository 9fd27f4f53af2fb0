"""Intersubject noise ceiling: how well a subject's responses follow from those of the other subjects.

Each subject's voxels are predicted from all voxels of all other subjects at the same TR, as the encoding models
predict them (METHOD section 7), but without delays: responses of all subjects are late by the same haemodynamics.

With one feature voxel per subject, signal s shared with reliability ``ρ = var(s) / (var(s) + var(noise))`` and m other
subjects, the best linear prediction correlates with the response at ``√ρ · √(m ρ / (1 + (m − 1) ρ))`` (Spearman–Brown),
which rises to √ρ, what a perfect model scores. A ceiling from few subjects lies below it, so that a perfect model's
r/ceiling is above 1: 1.49 for three subjects whose reliability is .29. How far cannot be told from r and ceiling alone,
for many voxels of each subject average out noise as many subjects do; so r/ceiling is **no share** of what can be
explained. Cells of one subject are comparable by it, subjects are not.

Subjects with runs of their own (METHOD section 12) are predicted on the TRs that all of them have. The ceiling is then
of these TRs, r of all that the subject has; the interval takes the two as independent.

**r/ceiling** is the mean of r over the mean of the ceiling, over voxels whose ceiling exceeds a threshold: a mean of
the voxels' own ratios would rest on those with the smallest ceilings, where it explodes. The choice of voxels sees the
ceiling, never a model's score; it also chooses lucky ones, so that their mean is a little too high, for all models.

References
----------
METHOD section 8. Nili et al. (2014), A toolbox for representational similarity analysis, for ceilings from other
subjects; Cochran (1977), Sampling techniques, section 6.3, for the variance of a ratio of means.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.encoding import Encoding
from dynalign.config.statistics import NoiseCeiling, Statistics
from dynalign.encoding import arms, backend, ridge
from dynalign.encoding.scores import Scores, read_scores, write_scores
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError, located
from dynalign.statistics.block_tests import mean_test
from dynalign.statistics.effects import CELL, alignment_row, read_cells, scores_path, voxel_scores
from dynalign.statistics.shared import rows_in_common
from dynalign.stimulus.timing import read_trs, stories_of
from dynalign.tables.writer import write_table

#: Feature voxels at a time: memory, and the order in which products are summed.
TILE = 4096


def kernel(others: Sequence[np.ndarray], train, threads: int = 1) -> np.ndarray:
    """Linear kernel, float64 of shape (n_rows, n_rows), of the other subjects' voxels.

    `others` are arrays of shape (n_rows, n_voxels). Each voxel is standardised by the training rows `train`; one that
    is constant there, or not finite, is left out. Tiles are summed in order: bytes do not depend on `threads`.
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
    threads: int = 1,
    block: int = Statistics().block,
    stories=None,
) -> Scores:
    """Predict every voxel of a subject from those of `others`; responses are arrays of shape (n_rows, n_voxels).

    `runs` and `stories`, shape (n_rows,), are for folds by them; of the choices ``alphas``, ``folds``, ``inner_folds``
    and ``gap`` count. InputError if no voxel can be scored, or folds cannot be cut.
    """
    device = backend.Numpy(threads)
    splits = arms.outer_splits(runs, choices.folds, choices.gap, stories)
    scored = ridge.scorable(responses, splits, device)
    if not scored.any():
        raise InputError(f"none of the {len(scored)} voxels varies and is finite in every fold")

    def group(train, _):
        yield ridge.Group([ridge.FeatureSets(kernel(others, train, threads))], {"others": (0,)})

    found, _ = ridge.fit_folds(responses, scored, splits, group, choices, device, block=block)
    return found["others"][0]


def above(ceiling: Scores, threshold: float) -> np.ndarray:
    """Voxels whose ceiling (mean r over folds) exceeds the threshold; boolean of shape (n_voxels,)."""
    mean = voxel_scores(ceiling)
    return np.isfinite(mean) & (mean > threshold)


def ratio_row(
    scores: Scores, ceiling: Scores, chosen: np.ndarray, settings: Statistics, gap: int, own_runs: bool = False
) -> dict[str, float]:
    """r/ceiling of one cell over the voxels `chosen`, boolean of shape (n_voxels,), which count as fixed.

    With r_b and c_b the means over voxels in block b of TRs and R = r̄ / c̄, the interval is that of the mean of
    ``(r_b − R c_b) / c̄`` around R (the linearised ratio), as all intervals over blocks
    (:func:`dynalign.statistics.block_tests.mean_test`). Where subjects have `own_runs`, the ceiling may be of some of
    the TRs; then the errors of r̄ and c̄, over their own blocks, count as independent, which leaves the interval too
    wide rather than too narrow. InputError if the two are not of the same voxels, or else not of the same folds.
    """
    paired = np.array_equal(scores.fold, ceiling.fold)
    if scores.r.shape[1] != ceiling.r.shape[1] or not (paired or own_runs):
        these, those = (" × ".join(map(str, part.r.shape)) for part in (scores, ceiling))
        raise InputError(f"scores: {these} folds × voxels, ceiling: {those}; both need the same responses and folds")
    valid = chosen & np.isfinite(scores.r).all(axis=0)
    row: dict[str, float] = {"n_voxels": int(valid.sum())}
    if not valid.any():
        return row | dict.fromkeys(("mean_r", "mean_ceiling", "ratio", "ci_low", "ci_high"), np.nan)
    mean_r, mean_ceiling = (float(part.r[:, valid].mean(dtype=float)) for part in (scores, ceiling))
    r, c = (part.blocks[:, valid].mean(axis=1, dtype=float) for part in (scores, ceiling))
    ratio = mean_r / mean_ceiling

    def half_width(means, fold) -> float:
        found = mean_test(means, fold, settings, gap)
        return (found["ci_high"] - found["ci_low"]) / 2

    if paired:
        half = half_width((r - ratio * c) / mean_ceiling, scores.fold)
    else:
        half = float(np.hypot(half_width(r, scores.fold), ratio * half_width(c, ceiling.fold)) / mean_ceiling)
    row |= {"mean_r": mean_r, "mean_ceiling": mean_ceiling, "ratio": ratio}
    return row | {"ci_low": ratio - half, "ci_high": ratio + half}


def predict(
    responses: str,
    others: list[str],
    trs: list[str],
    output: str,
    encoding: Encoding = Encoding(),
    threads: int = 1,
    block: int = Statistics().block,
) -> None:
    """Responses of all subjects (``brain/{subject}.npy``) and their TRs → one subject's ``ceiling/{subject}.npz``.

    `trs` is ``story/trs.tsv``; or, where subjects have runs of their own, the file of each in the order of responses:
    what not all have is left out.
    """
    series = [read_trs(path) for path in trs]
    paths = (responses, *others)
    brains = [read_array(path, mmap=True) for path in paths]
    same = len(series) == 1
    for k, (path, brain) in enumerate(zip(paths, brains, strict=True)):
        kept = int((series[0 if same else k]["kept"] == 1).sum())
        if brain.ndim != 2 or len(brain) != kept:
            raise InputError(
                f"{path}: shape {brain.shape}, but {trs[0 if same else k]} keeps {kept} TRs; "
                + ("all subjects need the same story" if same else "make both anew")
            )
    measured = series[0][series[0]["kept"] == 1]
    if not same:
        rows = rows_in_common(series, trs)
        measured = measured.iloc[rows[0]]
        brains = [np.asarray(brain[chosen]) for brain, chosen in zip(brains, rows, strict=True)]
    runs, stories = measured["run"].to_numpy(), stories_of(measured)
    scores = intersubject(brains[1:], brains[0], runs, encoding, threads, block, stories)
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
    own_trs: str | None = None,
) -> None:
    """Scores and ceiling of a subject → the ceiling's table, and r/ceiling of every cell.

    Reads ``ceiling/{subject}.npz``, ``tables/alignment.tsv`` and ``encoding/``; `gap` is ``encoding.gap``, `n_others`
    counts the subjects predicted from. `own_trs` is ``story/{subject}.trs.tsv`` of a subject with runs of its own.
    """
    import pandas as pd

    limit, threshold = read_scores(ceiling), options.threshold
    chosen = above(limit, threshold)
    if not chosen.any():
        note(f"no voxel has a ceiling above {threshold}: r/ceiling stays empty; lower noise_ceiling.threshold")
    row = {"subject": subject, "n_others": n_others} | alignment_row(limit, statistics, gap)
    mean = float(voxel_scores(limit)[chosen].mean()) if chosen.any() else np.nan
    row |= {"threshold": threshold, "n_above": int(chosen.sum()), "mean_r_above": mean}
    if own_trs is not None:
        n_kept = int((read_trs(own_trs)["kept"] == 1).sum())
        row |= {"n_trs": len(limit.fold), "n_trs_left_out": n_kept - len(limit.fold)}
    ratios = []
    cells = read_cells(alignment, subject)[[*CELL, "subject"]].to_dict("records")
    for cell in progress(cells, "r/ceiling: cells"):
        path = scores_path(folder, cell)
        scores = read_scores(path)
        with located(str(path)):
            ratios.append(cell | ratio_row(scores, limit, chosen, statistics, gap, own_trs is not None))
    write_table(pd.DataFrame(ratios), output)
    write_table(pd.DataFrame([row]), ceiling_output)


main = commands(predict, ratio)

if __name__ == "__main__":
    run(main)
