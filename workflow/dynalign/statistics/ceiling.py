"""Intersubject noise ceiling: how well a subject's responses follow from those of the other subjects.

Each subject's voxels are predicted from all voxels of all other subjects at the same TR, as the encoding models
predict them (METHOD section 7), but without delays: responses of all subjects are late by the same haemodynamics.

With one feature voxel per subject, signal s shared with reliability ``ρ = var(s) / (var(s) + var(noise))`` and m other
subjects, the best linear prediction correlates with the response at ``√ρ · √(m ρ / (1 + (m − 1) ρ))`` (Spearman–Brown),
which rises to √ρ, what a perfect model scores. A ceiling from few subjects lies below it, so that a perfect model's
r/ceiling is above 1: 1.49 for three subjects whose reliability is .29. How far cannot be told from r and ceiling alone,
for many voxels of each subject average out noise as many subjects do; so r/ceiling is **no share** of what can be
explained. Cells of one subject are comparable by it, subjects are not.

A subject who heard stretches again has a ceiling of its own instead (:mod:`dynalign.statistics.repeats`).
Subjects with runs of their own (METHOD section 8) are predicted on the TRs that all of them have. The ceiling is then
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
from functools import partial
from itertools import islice

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.brain import Brain
from dynalign.config.encoding import Encoding
from dynalign.config.recordings import Recordings
from dynalign.config.statistics import NoiseCeiling, Statistics
from dynalign.encoding import arms, backend, ridge
from dynalign.encoding.scores import Scores, read_scores, write_scores
from dynalign.io.arrays import read_array, read_record, write_record
from dynalign.io.errors import InputError, located
from dynalign.responses.recordings import hearings
from dynalign.statistics import repeats
from dynalign.statistics.block_tests import mean_test
from dynalign.statistics.effects import CELL, alignment_row, read_cells, scores_path, voxel_scores
from dynalign.statistics.shared import rows_in_common
from dynalign.stimulus.timing import read_trs, rows_of_responses, stories_of
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
    moments=None,
) -> Scores:
    """Predict every voxel of a subject from those of `others`; responses are arrays of shape (n_rows, n_voxels).

    `runs`, `stories` and `moments`, shape (n_rows,), are as for :func:`dynalign.encoding.arms.outer_splits`; of the
    choices ``alphas``, ``folds``, ``inner_folds`` and ``gap`` count. InputError if no voxel can be scored, or folds
    cannot be cut.
    """
    device = backend.Numpy(threads)
    splits = arms.outer_splits(runs, choices.folds, choices.gap, stories, moments)
    scored = ridge.scorable(responses, splits, device)
    if not scored.any():
        raise InputError(f"none of the {len(scored)} voxels varies and is finite in every fold")

    def group(train, _):
        yield ridge.Group([ridge.FeatureSets(kernel(others, train, threads))], {"others": (0,)})

    found, _ = ridge.fit_folds(responses, scored, splits, group, choices, device, block=block, moments=moments)
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
    if not valid.any():
        return _ratio(0)
    mean_r, mean_ceiling = (float(part.r[:, valid].mean(dtype=float)) for part in (scores, ceiling))
    r, c = (part.blocks[:, valid].mean(axis=1, dtype=float) for part in (scores, ceiling))
    ratio = mean_r / mean_ceiling
    if paired:
        half = _half_width((r - ratio * c) / mean_ceiling, scores.fold, settings, gap)
    else:
        errors = _half_width(r, scores.fold, settings, gap), ratio * _half_width(c, ceiling.fold, settings, gap)
        half = float(np.hypot(*errors) / mean_ceiling)
    return _ratio(int(valid.sum()), mean_r, mean_ceiling, half)


def _half_width(means, fold, settings: Statistics, gap: int) -> float:
    """Half the interval of a mean over blocks."""
    found = mean_test(means, fold, settings, gap)
    return (found["ci_high"] - found["ci_low"]) / 2


def _ratio(n_voxels: int, mean_r=np.nan, mean_ceiling=np.nan, half=np.nan) -> dict[str, float]:
    """A row of ``alignment_to_ceiling.tsv``; `half` is half the width of the ratio's interval."""
    ratio = mean_r / mean_ceiling
    row = {"n_voxels": n_voxels, "mean_r": mean_r, "mean_ceiling": mean_ceiling, "ratio": ratio}
    return row | {"ci_low": ratio - half, "ci_high": ratio + half}


def repeats_ratio_row(
    scores: Scores, measured: repeats.Repeats, chosen: np.ndarray, settings: Statistics, gap: int
) -> dict[str, float]:
    """As :func:`ratio_row`, of a ceiling from the subject's own repeats, whose error counts as independent of r's."""
    valid = chosen & np.isfinite(scores.r).all(axis=0)
    if not valid.any():
        return _ratio(0)
    mean_r = float(scores.r[:, valid].mean(dtype=float))
    mean, half = repeats.mean_ceiling(measured, scores.fold, valid, settings.alpha)
    r = scores.blocks[:, valid].mean(axis=1, dtype=float)
    half = float(np.hypot(_half_width(r, scores.fold, settings, gap), mean_r / mean * half) / mean)
    return _ratio(int(valid.sum()), mean_r, mean, half)


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
    measured = series[0].iloc[rows_of_responses(series[0])]
    if not same:
        rows = rows_in_common(series, trs)
        measured = measured.iloc[rows[0]]
        brains = [np.asarray(brain[chosen]) for brain, chosen in zip(brains, rows, strict=True)]
    runs, first = measured["run"].to_numpy(), measured["first_tr"].to_numpy() if "first_tr" in measured else None
    scores = intersubject(brains[1:], brains[0], runs, encoding, threads, block, stories_of(measured), first)
    note(f"mean ceiling: r = {np.nanmean(voxel_scores(scores)):.4f} from {len(others)} other subjects")
    write_scores(output, scores)


def repeated(
    subject: str,
    trs: str,
    recordings: Recordings,
    output: str,
    options: Brain = Brain(),
    block: int = Statistics().block,
) -> None:
    """What the repeats of a subject tell of its voxels: ``ceiling/{subject}.npz``, in place of a prediction.

    `trs` is ``story/{subject}.trs.tsv``, `recordings` are the subject's rows of the table, `options` is the section
    `brain`.
    """
    series = read_trs(trs)
    if "first_tr" in series:
        series = series[series["first_tr"] == series["tr"]]
    runs, kept = series["run"].to_numpy(), series["kept"].to_numpy() == 1
    tr = float(np.median(np.diff(series["time"])))
    parts = hearings(options, recordings, subject, runs, kept, tr)
    with located(f"subject {subject!r}"):
        found = repeats.measure(parts, runs[kept], options.repeats == "keep", block)
    mean = np.nanmean(repeats.explainable_variance(found))
    note(f"mean explainable variance: {mean:.4f} of one hearing, from {found.n_trs} TRs heard {found.n_hearings} times")
    write_record(output, found)


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
    counts the subjects predicted from, 0 where the ceiling is of the subject's own repeats. `own_trs` is
    ``story/{subject}.trs.tsv`` of a subject with runs of its own.
    """
    import pandas as pd

    cells = read_cells(alignment, subject)[[*CELL, "subject"]].to_dict("records")
    threshold = options.threshold
    row = {"subject": subject, "n_others": n_others, "threshold": threshold}
    if n_others:
        limit = read_scores(ceiling)
        means, chosen = voxel_scores(limit), above(limit, threshold)
        row |= alignment_row(limit, statistics, gap)
        n_trs = len(limit.fold)
        of_cell = partial(ratio_row, ceiling=limit, own_runs=own_trs is not None)
    else:
        heard = read_record(ceiling, repeats.Repeats)
        # All cells of a subject have its folds.
        fold = read_scores(scores_path(folder, cells[0])).fold
        means = repeats.ceiling(repeats.explainable_variance(heard), heard.parts, fold)
        chosen, n_trs = means > threshold, heard.n_trs
        row |= _repeats_row(heard, fold, means, statistics)
        of_cell = partial(repeats_ratio_row, measured=heard)
    if not chosen.any():
        note(f"no voxel has a ceiling above {threshold}: r/ceiling stays empty; lower noise_ceiling.threshold")
    row |= {"n_above": int(chosen.sum()), "mean_r_above": float(means[chosen].mean()) if chosen.any() else np.nan}
    if own_trs is not None:
        series = read_trs(own_trs)
        # Moments of stories, heard once or again.
        n_kept = series.loc[series["kept"] == 1, "first_tr" if "first_tr" in series else "tr"].nunique()
        row |= {"n_trs": n_trs, "n_trs_left_out": n_kept - n_trs}
    ratios = []
    for cell in progress(cells, "r/ceiling: cells"):
        path = scores_path(folder, cell)
        scores = read_scores(path)
        with located(str(path)):
            ratios.append(cell | of_cell(scores, chosen=chosen, settings=statistics, gap=gap))
    write_table(pd.DataFrame(ratios), output)
    write_table(pd.DataFrame([row]), ceiling_output)


def _repeats_row(heard: repeats.Repeats, fold, means: np.ndarray, settings: Statistics) -> dict[str, float]:
    """The ceiling from repeats, as :func:`dynalign.statistics.effects.alignment_row`."""
    scored = np.isfinite(means)
    if not scored.any():
        raise InputError("no voxel varies in every hearing")
    mean, half = repeats.mean_ceiling(heard, fold, scored, settings.alpha)
    return {
        "mean_r": mean,
        "ci_low": mean - half,
        "ci_high": mean + half,
        "inner_score": np.nan,
        "n_voxels": len(means),
        "n_invalid": int((~scored).sum()),
        "share_significant": repeats.share_of_responsive(heard, settings.alpha),
        "n_hearings": heard.n_hearings,
        "explainable_variance": float(repeats.explainable_variance(heard)[scored].mean()),
    }


main = commands(predict, repeated, ratio)

if __name__ == "__main__":
    run(main)
