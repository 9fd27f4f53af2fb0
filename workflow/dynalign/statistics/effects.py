"""Alignment and effects of removal of each cell, by subject: ``python -m dynalign.statistics.effects``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import ORIGINAL, Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import block_test, paper_t, voxel_test
from dynalign.statistics.shared import same_rows
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: What identifies a cell over subjects.
CELL = ["checkpoint", "step", "layer", "removal", "property"]

#: Ends the name of a removal of permuted labels.
CONTROL = "-control"

#: What a test says of an effect.
TESTED = ("ci_low", "ci_high", "effect_size", "effect_low", "effect_high")


def scores_path(folder: str | Path, cell: Mapping) -> Path:
    """File of a cell's scores; `folder` is ``encoding/``, a cell has the names in :data:`CELL` and ``subject``."""
    place = Path(folder) / cell["checkpoint"] / cell["subject"] / f"layer-{int(cell['layer'])}"
    return place / f"{cell['removal']}.{cell['property']}.npz"


def original_path(folder: str | Path, cell: Mapping) -> Path:
    """File of the scores of a cell's original representation."""
    removal, name = ORIGINAL
    return scores_path(folder, {**cell, "removal": removal, "property": name})


def read_cells(alignment: str | Path, subject: str):
    """The rows of ``tables/alignment.tsv`` of one subject, every cell whose scores there are; InputError if none."""
    table = read_table(alignment, kind="alignment")
    rows = table[table["subject"] == subject]
    if rows.empty:
        raise InputError(f"{alignment}: the alignment table has no subject {subject!r}")
    return rows


def voxel_scores(scores: Scores) -> np.ndarray:
    """Mean over outer folds of each voxel's Pearson r; NaN where a fold has none."""
    return scores.r.mean(axis=0, dtype=float)


def voxel_shares(test: Mapping[str, np.ndarray], level: float) -> tuple[float, float]:
    """Shares of the scored voxels that are significantly below and above 0, from a test adjusted over voxels."""
    n_scored = np.isfinite(test["q"]).sum()
    found = test["q"] < level
    return float((found & (test["mean"] < 0)).sum() / n_scored), float((found & (test["mean"] > 0)).sum() / n_scored)


def alignment_row(scores: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Alignment of one cell: mean r over voxels, with its interval over blocks of c(t); InputError without a score."""
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
        "share_significant": voxel_shares(voxel_test(scores.blocks, scores.fold, settings, gap), settings.alpha)[1],
    }


def difference(residual: Scores, original: Scores) -> np.ndarray:
    """Residual minus original: c(t) of two arms on the same rows, shape (n_trs,); InputError if their folds differ."""
    if not np.array_equal(residual.fold, original.fold):
        raise InputError("the residual's and the original's scores have other folds; encode both again")
    return residual.timecourse - original.timecourse


def effect_row(residual: Scores, original: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal: residual minus original, by the paper's test and by the calibrated one."""
    test = block_test(difference(residual, original), original.fold, settings, gap)
    after, before = voxel_scores(residual), voxel_scores(original)
    t, p = paper_t(after, before, settings.paper_test)
    changes = residual.blocks.astype(float) - original.blocks
    harmed, relieved = voxel_shares(voxel_test(changes, original.fold, settings, gap), settings.alpha)
    return (
        {"mean_difference": test["mean"]}
        | {name: test[name] for name in TESTED}
        | {"t_paper": t, "p_paper": p, "significant_paper": int(p < settings.alpha)}
        | {"p": test["p"], "n_voxels": int((np.isfinite(after) & np.isfinite(before)).sum())}
        | {"share_harmed": harmed, "share_relieved": relieved}
    )


def readable(residual: Scores, original: Scores, position: int) -> dict[str, float]:
    """What the encoder could read of a property before and after its removal (METHOD section 5).

    Mean r with the true labels, and the 97.5th percentile of those with permuted ones; NaN where none was kept.
    `position` is the property's among those of the encoding job.
    """
    row = {}
    for name, scores in (("before", original), ("after", residual)):
        true, *null = scores.readable[position].astype(float) if len(scores.readable) else [np.nan]
        row[f"readable_{name}"] = true
        row[f"readable_{name}_null"] = float(np.nanpercentile(null, 97.5)) if np.isfinite(null).any() else np.nan
    return row


def reader(
    folder: str, cell: dict, subjects: Sequence[str], rows: Sequence[np.ndarray] | None = None
) -> Callable[[str, str], list[Scores]]:
    """Function of a removal and a property to each subject's scores, in the checkpoint and layer of `cell`.

    On the `rows` that subjects share (:func:`dynalign.statistics.shared.shared_rows`), if given. It raises InputError
    where subjects have other rows or folds.
    """

    def read(removal: str, name: str) -> list[Scores]:
        arm = cell | {"removal": removal, "property": name}
        paths = [scores_path(folder, arm | {"subject": subject}) for subject in subjects]
        return same_rows([read_scores(path) for path in paths], paths, rows)

    return read


def removals(
    read: Callable[[str, str], list[Scores]], arms: Sequence[str], settings: Statistics, gap: int
) -> Iterator[tuple[dict, list[Scores], np.ndarray, dict]]:
    """The removals from one layer, in one subject or in several.

    `read` comes from :func:`reader`; `arms` are ``<removal>.<property>``; `settings` and `gap` are as for
    :func:`dynalign.statistics.block_tests.block_test`.

    Yields
    ------
    arm : dict
        ``removal``, ``property``.
    residuals : list of Scores
    effects : array of shape (n_subjects, n_trs)
        Residual minus original, c(t).
    beside : dict
        Means over subjects of what is :func:`readable`; the effect less that of its control, the same labels permuted
        by sentence and erased alike, with interval and p (NaN without one).
    """
    named = [(removal, name) for removal, _, name in (arm.partition(".") for arm in arms)]
    properties = list(dict.fromkeys(name for removal, name in named if removal != "none"))
    originals = read(*ORIGINAL)
    for removal, name in named:
        if removal == "none" or removal.endswith(CONTROL):
            continue
        residuals = read(removal, name)
        effects = np.array(list(map(difference, residuals, originals)))
        read_back = [readable(*pair, properties.index(name)) for pair in zip(residuals, originals, strict=True)]
        over = dict.fromkeys(("mean", "ci_low", "ci_high", "p"), np.nan)
        if (removal + CONTROL, name) in named:
            control = np.mean(list(map(difference, read(removal + CONTROL, name), originals)), axis=0)
            over = block_test(effects.mean(axis=0) - control, originals[0].fold, settings, gap)
        beside = {key: float(np.mean([one[key] for one in read_back])) for key in read_back[0]} | {
            "over_control": over["mean"],
            "over_control_low": over["ci_low"],
            "over_control_high": over["ci_high"],
            "p_over_control": over["p"],
        }
        yield {"removal": removal, "property": name}, residuals, effects, beside


def subject_tables(
    folder: str, place: dict, subject: str, layers: Sequence[int], arms: Sequence[str], settings: Statistics, gap: int
) -> tuple:
    """Alignment and effects of one checkpoint and subject over its layers, two data frames.

    `folder` is ``encoding/``, `place` holds ``checkpoint`` and ``step``; the others are those of :func:`removals`.
    """
    import pandas as pd

    alignment, effects = [], []
    for layer in progress(layers, f"{place['checkpoint']}, subject {subject}: layers"):
        cell = place | {"layer": layer}
        read = cache(reader(folder, cell, [subject]))
        for removal, _, name in (arm.partition(".") for arm in arms):
            key = cell | {"removal": removal, "property": name, "subject": subject}
            alignment.append(key | alignment_row(read(removal, name)[0], settings, gap))
        for arm, residuals, _, beside in removals(read, arms, settings, gap):
            effect = effect_row(residuals[0], read(*ORIGINAL)[0], settings, gap)
            effects.append(cell | arm | {"subject": subject} | effect | beside)
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
    folder, layers, arms, gap
        ``encoding/``, which scores there (arms: ``<removal>.<property>``), and ``encoding.gap``.
    alignment, effects
        Tables to write.
    """
    place = {"checkpoint": checkpoint, "step": step}
    tables = subject_tables(folder, place, subject, layers, arms, options, gap)
    for table, path in zip(tables, (alignment, effects), strict=True):
        write_table(table, path)
    note(f"{len(tables[0])} cells, {len(tables[1])} effects")


if __name__ == "__main__":
    run(main)
