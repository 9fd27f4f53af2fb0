"""Alignment and effects of removal of each cell, by subject: ``python -m dynalign.statistics.effects``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import ORIGINAL, Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import block_test, paper_t
from dynalign.statistics.cells import scores_path
from dynalign.tables.writer import write_table

#: Ends the name of a removal of permuted labels.
CONTROL = "-control"

#: What a test says of an effect.
TESTED = ("ci_low", "ci_high", "effect_size", "effect_low", "effect_high")


def voxel_scores(scores: Scores) -> np.ndarray:
    """Mean over outer folds of each voxel's Pearson r; NaN where a fold has none."""
    return scores.r.mean(axis=0, dtype=float)


def alignment_row(scores: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Alignment of one cell: mean r over voxels, with its interval over blocks of c(t)."""
    voxels = voxel_scores(scores)
    valid = np.isfinite(voxels)
    if not valid.any():
        raise InputError("no voxel has a score")
    test = block_test(scores.timecourse, scores.fold, settings, gap)
    return {
        "mean_r": float(voxels[valid].mean()),
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "inner_score": float(np.mean(scores.inner_score[:, valid], dtype=float)),
        "n_voxels": len(voxels),
        "n_invalid": int((~valid).sum()),
    }


def difference(residual: Scores, original: Scores) -> np.ndarray:
    """Residual minus original: c(t) of two arms on the same rows, an array of shape (n_trs,)."""
    if not np.array_equal(residual.fold, original.fold):
        raise InputError("the residual's and the original's scores have other folds; encode both again")
    return residual.timecourse - original.timecourse


def effect_row(residual: Scores, original: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal: residual minus original, by the paper's test and by the calibrated one."""
    test = block_test(difference(residual, original), original.fold, settings, gap)
    after, before = voxel_scores(residual), voxel_scores(original)
    t, p = paper_t(after, before, settings.paper_test)
    return (
        {"mean_difference": test["mean"]}
        | {name: test[name] for name in TESTED}
        | {"t_paper": t, "p_paper": p, "significant_paper": int(p < settings.alpha)}
        | {"p": test["p"], "n_voxels": int((np.isfinite(after) & np.isfinite(before)).sum())}
    )


def readable(residual: Scores, original: Scores, position: int) -> dict[str, float]:
    """What the encoder could read of a property before and after its removal (METHOD section 5).

    Parameters
    ----------
    residual, original : Scores
    position : int
        The property's, among those of the encoding job.

    Returns
    -------
    dict
        Mean r with the true labels, and the 97.5th percentile of those with permuted ones; NaN where none was kept.
    """
    row = {}
    for name, scores in (("before", original), ("after", residual)):
        true, *null = scores.readable[position].astype(float) if len(scores.readable) else [np.nan]
        row[f"readable_{name}"] = true
        row[f"readable_{name}_null"] = float(np.nanpercentile(null, 97.5)) if np.isfinite(null).any() else np.nan
    return row


def over_control(effect: np.ndarray, control: np.ndarray | None, fold, settings: Statistics, gap: int) -> dict:
    """An effect less that of its control, the same labels permuted by sentence and erased alike; NaN without one.

    Parameters
    ----------
    effect, control : arrays of shape (n_trs,)
        Residual minus original, c(t) on the same rows.
    fold, settings, gap
        As :func:`dynalign.statistics.block_tests.block_test`.
    """
    names = {
        "over_control": "mean",
        "over_control_low": "ci_low",
        "over_control_high": "ci_high",
        "p_over_control": "p",
    }
    if control is None:
        return dict.fromkeys(names, np.nan)
    test = block_test(effect - control, fold, settings, gap)
    return {column: test[name] for column, name in names.items()}


def subject_tables(
    folder: str, place: dict, layers: Sequence[int], arms: Sequence[str], settings: Statistics, gap: int
) -> tuple:
    """Alignment and effects of one checkpoint and subject over its layers.

    Parameters
    ----------
    folder : str
        ``encoding/``.
    place : dict
        ``checkpoint``, ``step``, ``subject``.
    layers : sequence of int
    arms : sequence of str
        ``<removal>.<property>``.
    settings, gap
        As :func:`dynalign.statistics.block_tests.block_test`.

    Returns
    -------
    alignment, effects : pandas.DataFrame
    """
    import pandas as pd

    checkpoint, step, subject = (place[name] for name in ("checkpoint", "step", "subject"))
    named = [(removal, name) for removal, _, name in (arm.partition(".") for arm in arms)]
    properties = list(dict.fromkeys(name for removal, name in named if removal != "none"))
    alignment, effects = [], []
    for layer in progress(layers, f"{checkpoint}, subject {subject}: layers"):

        def read(removal: str, name: str, layer=layer) -> Scores:
            return read_scores(scores_path(folder, checkpoint, layer, subject, removal, name))

        original = read(*ORIGINAL)
        for removal, name in named:
            scores = original if removal == "none" else read(removal, name)
            cell = {"checkpoint": checkpoint, "step": step, "layer": layer, "removal": removal, "property": name}
            cell["subject"] = subject
            alignment.append(cell | alignment_row(scores, settings, gap))
            if removal != "none" and not removal.endswith(CONTROL):
                effect = difference(scores, original)
                has_control = (removal + CONTROL, name) in named
                control = difference(read(removal + CONTROL, name), original) if has_control else None
                effects.append(
                    cell
                    | effect_row(scores, original, settings, gap)
                    | readable(scores, original, properties.index(name))
                    | over_control(effect, control, original.fold, settings, gap)
                )
    return pd.DataFrame(alignment), pd.DataFrame(effects)


@command
def main(
    checkpoint: str,
    subject: str,
    folder: str,
    layers: list[int],
    arms: list[str],
    gap: int,
    alignment: str,
    effects: str,
    step: str = "",
    options: Statistics = Statistics(),
) -> None:
    """Scores of one checkpoint and subject → alignment and effects of its cells.

    Parameters
    ----------
    checkpoint, step, subject
        The step is empty for a baseline.
    folder, layers, arms
        ``encoding/``, and which scores there (arms: ``<removal>.<property>``).
    alignment, effects
        Tables to write.
    options, gap
        Section `statistics` as JSON, and ``encoding.gap``.
    """
    place = {"checkpoint": checkpoint, "step": step, "subject": subject}
    tables = subject_tables(folder, place, layers, arms, options, gap)
    for table, path in zip(tables, (alignment, effects), strict=True):
        write_table(table, path)
    note(f"{len(tables[0])} cells, {len(tables[1])} effects")


if __name__ == "__main__":
    run(main)
