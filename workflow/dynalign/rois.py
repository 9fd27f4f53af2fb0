"""Regions of interest: which voxels they are, and alignment and effects of removal in each.

A region's score is the mean of r over its voxels. Intervals rest on the outer folds' means of r over the region, like
those of the whole brain (:mod:`dynalign.statistics`). Regions may overlap: each is a question of its own.

Source: METHOD sections 7 and 8.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dynalign.brain import load_image, read_voxels
from dynalign.cli import note, options, progress, run
from dynalign.config import Encoding, Rois, Statistics
from dynalign.encoding import Scores, read_scores
from dynalign.files import InputError, read_array, read_arrays, read_table, write_arrays, write_table
from dynalign.statistics import benjamini_hochberg, collect, corrected_t, test_share

#: Columns of ``tables/alignment.tsv`` that say which cell a file of scores is.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


def from_arrays(rois: Rois, subject: str, n_voxels: int) -> dict[str, np.ndarray]:
    """Regions given as one boolean array each.

    Parameters
    ----------
    rois : Rois
    subject : str
    n_voxels : int
        Entries that each array must have.

    Returns
    -------
    dict of region to boolean array of shape (n_voxels,)
    """
    return {name: read_voxels(rois.arrays.format(subject=subject, roi=name), n_voxels) for name in rois.names}


def from_image(rois: Rois, subject: str, mask_path: str) -> dict[str, np.ndarray]:
    """Regions given as a label image with a table of its labels.

    Parameters
    ----------
    rois : Rois
    subject : str
    mask_path : str
        The subject's brain mask; labels outside it do not count.

    Returns
    -------
    dict of region to boolean array of shape (n_voxels,)
        Voxels in the mask's C order.

    Raises
    ------
    InputError
        If the image's grid is not the mask's, it holds other than whole numbers or a label without a name, the table
        names one twice, or a region has no voxel.
    """
    (_, image_path), (_, table_path) = rois.files(subject)
    mask_image, image = load_image(mask_path), load_image(image_path)
    if image.shape != mask_image.shape or not np.allclose(image.affine, mask_image.affine, atol=1e-4):
        raise InputError(
            f"{image_path}: shape {image.shape} or affine differ from those of {mask_path} "
            f"({mask_image.shape}); resample it to the mask (nearest neighbour)"
        )
    values = np.asarray(image.dataobj)[np.asarray(mask_image.dataobj) > 0]
    if not (np.isfinite(values).all() and (values == np.round(values)).all()):
        raise InputError(f"{image_path}: holds other than whole numbers; give a label image")
    table = read_table(table_path, ["index", "name"])
    if table["index"].dtype.kind not in "iu":
        raise InputError(f"{table_path}: column 'index' must hold the whole numbers of the label image")
    for column in ("index", "name"):
        if table[column].duplicated().any():
            twice = table.loc[table[column].duplicated(), column].iloc[0]
            raise InputError(f"{table_path}: {column} {twice!r} stands twice")
    index = dict(zip(table["name"], table["index"], strict=True))
    unknown = np.setdiff1d(values, [0, *index.values()])
    if len(unknown):
        raise InputError(
            f"{image_path}: label {int(unknown[0])} has no name in {table_path} (it names "
            f"{', '.join(str(int(value)) for value in index.values())}); add a row for it, or set it to 0 in the image"
        )
    names = rois.names or tuple(name for name, value in index.items() if value != 0)
    regions = {}
    for name in names:
        if name not in index:
            raise InputError(f"rois.names: {name!r} is not in {table_path}; it names {', '.join(index)}")
        regions[name] = values == index[name]
        if not regions[name].any():
            raise InputError(
                f"{image_path}: no voxel of {mask_path} has label {int(index[name])} ({name}); leave the region out "
                "of rois.names"
            )
    return regions


def subset(regions: Mapping[str, np.ndarray], kept: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Regions among the voxels that the study keeps (``brain.voxels``).

    Raises
    ------
    InputError
        If a region has no voxel left.
    """
    left = {name: inside[kept] for name, inside in regions.items()}
    for name, inside in left.items():
        if not inside.any():
            raise InputError(f"rois: {name!r} has no voxel in {source} (brain.voxels); drop one of the two")
    return left


def write_regions(path: str | Path, regions: Mapping[str, np.ndarray]) -> None:
    """Write a subject's regions (``rois/{subject}.npz``): `name` (n_rois), `inside` (n_rois × n_voxels)."""
    write_arrays(path, {"name": np.array(list(regions)), "inside": np.stack(list(regions.values()))})


def read_regions(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_regions` wrote."""
    stored = read_arrays(path, ["name", "inside"])
    return dict(zip(stored["name"].tolist(), stored["inside"], strict=True))


def restrict(scores: Scores, inside: np.ndarray) -> Scores:
    """Scores of the voxels `inside`, boolean of shape (n_voxels,); the time course stays the whole brain's."""
    parts = {name: getattr(scores, name)[:, inside] for name in ("r", "alpha", "inner_score")}
    return replace(scores, **parts)


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
    :func:`dynalign.statistics.block_test` has: the outer folds are few, and the test is the weaker for it.

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
    test = corrected_t(means, test_share(fold, gap), level)
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


def subject_tables(
    cells, folder: str | Path, regions: Mapping[str, np.ndarray], level: float, gap: int
) -> tuple:
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
    parser = argparse.ArgumentParser(prog="dynalign.rois", description=main.__doc__)
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
        regions = from_arrays(args.options, args.subject, _n_voxels(args.mask, args.array))
    if args.kept:
        regions = subset(regions, read_voxels(args.kept, len(next(iter(regions.values())))), args.kept)
    for name, inside in regions.items():
        note(f"subject {args.subject}: {name}: {int(inside.sum())} of {len(inside)} voxels")
    write_regions(args.output, regions)


def _n_voxels(mask_path: str | None, array_path: str | None) -> int:
    """Voxels of a subject's mask, or of the array of responses (its shape alone is read)."""
    if array_path is not None:
        return read_array(array_path, mmap=True).shape[-1]
    return int((np.asarray(load_image(mask_path).dataobj) > 0).sum())


if __name__ == "__main__":
    run(main)
