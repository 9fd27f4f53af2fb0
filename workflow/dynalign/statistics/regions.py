"""Regions of interest: which voxels they are, and alignment and effects of removal in each.

A region's score is the mean of r over its voxels. Intervals rest on the outer folds' means of r over the region, like
those of the whole brain (:mod:`dynalign.statistics.effects`). Regions may overlap: each is a question of its own.

Source: METHOD sections 7 and 8.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dynalign.cli import note, options, progress, run
from dynalign.config.encoding import Encoding
from dynalign.config.rois import Rois
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.responses.recordings import read_voxels
from dynalign.responses.regions import count_voxels, from_arrays, from_image, read_regions, subset, write_regions
from dynalign.statistics.block_tests import benjamini_hochberg, corrected_t, test_train_ratio
from dynalign.statistics.collect import collect
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Columns of ``tables/alignment.tsv`` that say which cell a file of scores is.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


def fold_means(r: np.ndarray) -> np.ndarray | None:
    """Mean over voxels in each fold, or None where no voxel has a score.

    Parameters
    ----------
    r : array of shape (n_folds, n_voxels)
        NaN in all folds where a voxel has no score.
    """
    valid = np.isfinite(r).all(axis=0)
    return r[:, valid].mean(axis=1, dtype=float) if valid.any() else None


def over_folds(r: np.ndarray, fold: np.ndarray, level: float, gap: int) -> dict[str, float]:
    """Mean over folds and voxels with interval and test over the folds' means.

    Time courses are kept of the whole brain only, so that a part of it has no blocks to test over, as
    :func:`dynalign.statistics.effects.block_test` has: the outer folds are few, and the test is the weaker for it.

    Parameters
    ----------
    r : array of shape (n_folds, n_voxels)
    fold : array of shape (n_trs,)
        Outer fold that tests each TR.
    level : float
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    dict
        ``mean``, ``ci_low``, ``ci_high``, ``p``; NaN where no voxel has a score.
    """
    names = ("mean", "ci_low", "ci_high", "p")
    means = fold_means(r)
    if means is None:
        return dict.fromkeys(names, np.nan)
    test = corrected_t(means, test_train_ratio(fold, gap), level)
    return {name: test[name] for name in names}


def region_alignment(scores: Scores, level: float, gap: int) -> dict[str, float]:
    """Alignment of a region: mean r over its voxels, with its interval (:func:`over_folds`)."""
    test = over_folds(scores.r, scores.fold, level, gap)
    valid = np.isfinite(scores.r).all(axis=0)
    return {
        "mean_r": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "inner_score": float(np.mean(scores.inner_score[:, valid], dtype=float)) if valid.any() else np.nan,
        "n_voxels": len(valid),
        "n_invalid": int((~valid).sum()),
    }


def region_effect(residual: Scores, original: Scores, level: float, gap: int) -> dict[str, float]:
    """Effect of a removal on a region: residual − original, with interval and test (:func:`over_folds`)."""
    difference = residual.r.astype(float) - original.r
    test = over_folds(difference, original.fold, level, gap)
    return {
        "n_voxels": difference.shape[1],
        "n_invalid": int((~np.isfinite(difference).all(axis=0)).sum()),
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "p": test["p"],
    }


def subject_cells(alignment, subject: str):
    """The rows of ``tables/alignment.tsv`` of one subject: every cell whose scores there are.

    Raises
    ------
    InputError
        If there are none.
    """
    rows = alignment[alignment["subject"] == subject]
    if rows.empty:
        raise InputError(f"the alignment table has no subject {subject!r}")
    return rows


def scores_path(folder: str | Path, row, removal: str | None = None, name: str | None = None) -> Path:
    """File of the scores of a cell (a row of the alignment table), or of another arm of it."""
    arm = f"{removal or row.removal}.{name or row.property}.npz"
    return Path(folder) / row.checkpoint / f"layer-{int(row.layer)}" / row.subject / arm


def subject_tables(cells, folder: str | Path, regions: Mapping[str, np.ndarray], level: float, gap: int) -> tuple:
    """Alignment and effects of one subject, region by region, for every cell.

    Parameters
    ----------
    cells : pandas.DataFrame
        From :func:`subject_cells`.
    folder : path-like
        ``encoding/``.
    regions : mapping of region to boolean array of shape (n_voxels,)
    level : float
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    alignment, effects : pandas.DataFrame

    Raises
    ------
    InputError
        If the scores are of another number of voxels than the regions.
    """
    import pandas as pd

    alignment, effects = [], []
    n_voxels = len(next(iter(regions.values())))
    original, place = None, None
    for row in progress(list(cells.itertuples(index=False)), "regions: cells"):
        if (row.checkpoint, row.layer) != place:
            place = (row.checkpoint, row.layer)
            original = read_scores(scores_path(folder, row, "none", "original"))
        scores = original if row.removal == "none" else read_scores(scores_path(folder, row))
        if scores.r.shape[1] != n_voxels:
            raise InputError(
                f"{scores_path(folder, row)}: scores of {scores.r.shape[1]} voxels, regions of {n_voxels}; make both "
                "from the same responses"
            )
        key = {name: getattr(row, name) for name in [*CELL, "subject"]}
        for name, inside in regions.items():
            here = restrict(scores, inside)
            alignment.append(key | {"roi": name} | region_alignment(here, level, gap))
            if row.removal != "none":
                effect = region_effect(here, restrict(original, inside), level, gap)
                effects.append(key | {"roi": name} | effect)
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def adjust(effects, level: float):
    """Adjust ``p`` over all regions and cells (columns ``p_fdr``, ``significant``); a missing p stays missing."""
    tested = effects["p"].notna().to_numpy()
    adjusted = np.full(len(effects), np.nan)
    adjusted[tested] = benjamini_hochberg(effects.loc[tested, "p"].to_numpy())
    return effects.assign(p_fdr=adjusted, significant=(adjusted < level).astype(int))


def main(argv: list[str] | None = None) -> None:
    """Command: `voxels` reads a subject's regions, `subject` scores them, `collect` stacks subjects."""
    parser = argparse.ArgumentParser(prog="dynalign.statistics.regions", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    voxels = commands.add_parser("voxels", help="arrays or a label image → rois/{subject}.npz")
    voxels.add_argument("--subject", required=True)
    voxels.add_argument("--options", type=options(Rois), required=True, help="JSON of the section `rois`")
    space = voxels.add_mutually_exclusive_group(required=True)
    space.add_argument("--mask", help="layout `table`: the subject's brain mask")
    space.add_argument("--array", help="layout `arrays`: the subject's responses, for their number of voxels")
    voxels.add_argument("--kept", nargs="?", help="boolean .npy of the voxels that the study keeps")
    voxels.add_argument("--output", required=True)
    subject = commands.add_parser("subject", help="scores of one subject → alignment and effects by region")
    subject.add_argument("--subject", required=True)
    subject.add_argument("--alignment", required=True, help="tables/alignment.tsv")
    subject.add_argument("--folder", required=True, help="encoding/")
    subject.add_argument("--rois", required=True, help="rois/{subject}.npz")
    subject.add_argument("--options", type=options(Statistics), default=Statistics())
    subject.add_argument("--gap", type=int, default=Encoding().gap, help="TRs between training and test rows")
    subject.add_argument("--alignment-output", required=True)
    subject.add_argument("--effects-output", required=True)
    stack = commands.add_parser("collect", help="tables of all subjects → one")
    stack.add_argument("tables", nargs="+")
    stack.add_argument("--fdr", type=float, metavar="ALPHA", help="adjust p over all rows at this level")
    stack.add_argument("--output", required=True)
    args = parser.parse_args(argv)

    if args.command == "collect":
        table = collect(args.tables)
        write_table(table if args.fdr is None else adjust(table, args.fdr), args.output)
        return
    if args.command == "subject":
        regions = read_regions(args.rois)
        cells = subject_cells(read_table(args.alignment, [*CELL, "subject"]), args.subject)
        alignment, effects = subject_tables(cells, args.folder, regions, args.options.alpha, args.gap)
        write_table(alignment, args.alignment_output)
        write_table(effects, args.effects_output)
        return
    if args.options.image is not None:
        if args.mask is None:
            raise InputError("rois.image: needs the brain mask (--mask)")
        regions = from_image(args.options, args.subject, args.mask)
    else:
        regions = from_arrays(args.options, args.subject, count_voxels(args.mask, args.array))
    if args.kept:
        regions = subset(regions, read_voxels(args.kept, len(next(iter(regions.values())))), args.kept)
    for name, inside in regions.items():
        note(f"subject {args.subject}: {name}: {int(inside.sum())} of {len(inside)} voxels")
    write_regions(args.output, regions)


def restrict(scores: Scores, inside: np.ndarray) -> Scores:
    """Scores of the voxels `inside`, boolean of shape (n_voxels,); the time course stays the whole brain's."""
    parts = {name: getattr(scores, name)[:, inside] for name in ("r", "alpha", "inner_score")}
    return replace(scores, **parts)


if __name__ == "__main__":
    run(main)
