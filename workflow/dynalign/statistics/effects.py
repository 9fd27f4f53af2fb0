"""Alignment and effects of removal of each cell, by subject and over subjects."""

from __future__ import annotations

import argparse

import numpy as np

from dynalign.cli import note, options, progress, run
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import block_means, block_test, corrected_t, paper_t
from dynalign.statistics.collect import collect
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: What identifies a cell over subjects.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


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
    valid = np.isfinite(after) & np.isfinite(before)
    return {
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "effect_size": test["effect_size"],
        "effect_low": test["effect_low"],
        "effect_high": test["effect_high"],
        "t_paper": t,
        "p_paper": p,
        "significant_paper": int(p < settings.alpha),
        "p": test["p"],
        "n_voxels": int(valid.sum()),
    }


def group_row(differences: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal over subjects: in these subjects, and in other listeners.

    Subjects took in the same story, so their time courses share what the features do by chance: they are averaged
    TR by TR, and the calibrated test of the average (``p``) says whether the effect on the mean of THESE subjects
    would be found with other text and other noise. Whether it would be found in OTHER listeners of this same text is
    a question for a t-test over the subjects' means (``p_population``, n − 1 degrees of freedom: 2 for three
    subjects, a critical t of 4.3). It cannot see what chance in the text does to all of them alike.

    Parameters
    ----------
    differences : array of shape (n_subjects, n_trs)
        Residual minus original, c(t) of each subject.
    fold : array of shape (n_trs,)
    settings : Statistics
    gap : int

    Returns
    -------
    dict
        Population columns are NaN for one subject.
    """
    test = block_test(differences.mean(axis=0), fold, settings, gap)
    row = {
        "n_subjects": len(differences),
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "effect_size": test["effect_size"],
        "effect_low": test["effect_low"],
        "effect_high": test["effect_high"],
        "p": test["p"],
    }
    columns = {"p_population": "p", "ci_low_population": "ci_low", "ci_high_population": "ci_high"}
    if len(differences) == 1:
        return row | dict.fromkeys(columns, np.nan)
    parts = [block_means(one, fold, settings.block) for one in differences]
    population = corrected_t(np.array([weights @ means for means, weights in parts]), 0.0, settings.alpha)
    return row | {column: population[name] for column, name in columns.items()}


def subject_tables(
    cells: list[tuple[int, dict[tuple[str, str], str]]], names: dict, settings: Statistics, gap: int
) -> tuple:
    """Alignment and effects of one checkpoint and subject over its layers.

    Parameters
    ----------
    cells : list of (layer, arm → path of its scores)
    names : dict
        ``checkpoint``, ``step``, ``subject``.
    settings : Statistics
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    alignment, effects : pandas.DataFrame
    """
    import pandas as pd

    alignment, effects = [], []
    for layer, arms in progress(cells, f"{names['checkpoint']}, subject {names['subject']}: layers"):
        original = read_scores(arms["none", "original"])
        for (removal, name), path in arms.items():
            scores = original if removal == "none" else read_scores(path)
            key = {
                "checkpoint": names["checkpoint"],
                "step": names["step"],
                "layer": layer,
                "removal": removal,
                "property": name,
                "subject": names["subject"],
            }
            alignment.append(key | alignment_row(scores, settings, gap))
            if removal != "none":
                effects.append(key | effect_row(scores, original, settings, gap))
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def group_table(cells: list[tuple[int, dict[tuple[str, str], list[str]]]], names: dict, settings: Statistics, gap: int):
    """Effects over subjects of one checkpoint.

    Parameters
    ----------
    cells : list of (layer, arm → paths of its scores, one per subject in the same order)
    names : dict
        ``checkpoint``, ``step``.
    settings : Statistics
    gap : int

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If subjects' scores have other rows or folds.
    """
    import pandas as pd

    rows = []
    for layer, arms in progress(cells, f"{names['checkpoint']}, all subjects: layers"):
        originals = [read_scores(path) for path in arms["none", "original"]]
        fold = originals[0].fold
        for path, scores in zip(arms["none", "original"], originals, strict=True):
            if not np.array_equal(scores.fold, fold):
                raise InputError(f"{path}: other rows or folds than {arms['none', 'original'][0]}; encode both again")
        for (removal, name), paths in arms.items():
            if removal != "none":
                pairs = zip(paths, originals, strict=True)
                courses = np.array([difference(read_scores(path), original) for path, original in pairs])
                key = names | {"layer": layer, "removal": removal, "property": name}
                rows.append(key | group_row(courses, fold, settings, gap))
    return pd.DataFrame(rows)


def collect_group(paths: list[str], effects: str, alpha: float):
    """Stack the checkpoints' group tables, adjust p, and count the subjects that are significant alone.

    Parameters
    ----------
    paths : list of str
    effects : str
        ``tables/removal_effects.tsv``.
    alpha : float

    Returns
    -------
    pandas.DataFrame
        With ``n_significant``: subjects whose own ``significant`` is 1 in `effects`.
    """
    table = collect(paths, alpha)
    single = read_table(effects, [*CELL, "significant"])
    # A baseline has no step, and missing values would not meet in a join.
    key = [name for name in CELL if name != "step"]
    counts = single.groupby(key)["significant"].sum().rename("n_significant").reset_index()
    return table.merge(counts, on=key, how="left", validate="one_to_one")


def _add_cells(parser: argparse.ArgumentParser) -> None:
    """What both commands that read scores need."""
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--step", default="", help="training step; empty for a baseline")
    parser.add_argument("--folder", required=True, help="encoding/{checkpoint}")
    parser.add_argument("--layers", nargs="+", type=int, required=True)
    parser.add_argument("--arms", nargs="+", required=True, metavar="METHOD.PROPERTY")
    parser.add_argument("--options", type=options(Statistics), default=Statistics())
    parser.add_argument("--gap", type=int, required=True, help="TRs left out around a test block (encoding.gap)")


def main(argv: list[str] | None = None) -> None:
    """Command: `cell` and `group` test a checkpoint, one subject or all; `collect` and `collect-group` stack tables."""
    parser = argparse.ArgumentParser(prog="dynalign.statistics.effects", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cell = commands.add_parser("cell", help="scores of one checkpoint and subject → alignment and effects")
    _add_cells(cell)
    cell.add_argument("--subject", required=True)
    cell.add_argument("--alignment", required=True, help="table to write")
    cell.add_argument("--effects", required=True, help="table to write")
    group = commands.add_parser("group", help="scores of one checkpoint and all subjects → effects")
    _add_cells(group)
    group.add_argument("--subjects", nargs="+", required=True)
    group.add_argument("--output", required=True)
    stack = commands.add_parser("collect", help="tables of many cells → one")
    stack.add_argument("tables", nargs="+")
    stack.add_argument("--fdr", type=float, metavar="ALPHA", help="adjust p over all rows at this level")
    stack.add_argument("--output", required=True)
    stack_group = commands.add_parser("collect-group", help="group tables of all checkpoints → one")
    stack_group.add_argument("tables", nargs="+")
    stack_group.add_argument("--effects", required=True, help="tables/removal_effects.tsv")
    stack_group.add_argument("--fdr", type=float, metavar="ALPHA", required=True)
    stack_group.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    if args.command == "collect":
        write_table(collect(args.tables, args.fdr), args.output)
        return
    if args.command == "collect-group":
        write_table(collect_group(args.tables, args.effects, args.fdr), args.output)
        return

    arms = [tuple(arm.split(".", 1)) for arm in args.arms]
    names = {"checkpoint": args.checkpoint, "step": args.step}

    def paths(layer: int, subject: str) -> dict[tuple[str, str], str]:
        return {arm: f"{args.folder}/layer-{layer}/{subject}/{arm[0]}.{arm[1]}.npz" for arm in arms}

    if args.command == "group":
        cells = []
        for layer in args.layers:
            each = [paths(layer, subject) for subject in args.subjects]
            cells.append((layer, {arm: [one[arm] for one in each] for arm in arms}))
        table = group_table(cells, names, args.options, args.gap)
        write_table(table, args.output)
        note(f"{len(table)} effects over {len(args.subjects)} subjects")
        return
    cells = [(layer, paths(layer, args.subject)) for layer in args.layers]
    alignment, effects = subject_tables(cells, names | {"subject": args.subject}, args.options, args.gap)
    write_table(alignment, args.alignment)
    write_table(effects, args.effects)
    note(f"{len(alignment)} cells, {len(effects)} effects")


if __name__ == "__main__":
    run(main)
