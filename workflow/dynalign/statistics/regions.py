"""Regions of interest: which voxels they are, and alignment and effects of removal in each.

A region's score is the mean of r over its voxels. Intervals rest on the outer folds' means of r over the region: time
courses are kept of the whole brain only, so that a part of it has no blocks to test over
(:func:`dynalign.statistics.block_tests.block_test`); folds are few, and the test is the weaker for it. Regions may
overlap: each is a question of its own.

Source: METHOD sections 7 and 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.rois import Rois
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.responses.recordings import read_voxels
from dynalign.responses.regions import count_voxels, from_arrays, from_image, read_regions, subset, write_regions
from dynalign.statistics.block_tests import fold_test
from dynalign.statistics.cells import CELL, original_of, path_of, read_cells
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def restrict(scores: Scores, inside: np.ndarray) -> Scores:
    """Scores of the voxels `inside`, boolean of shape (n_voxels,); the time course stays the whole brain's."""
    parts = {name: getattr(scores, name)[:, inside] for name in ("r", "alpha", "inner_score")}
    return replace(scores, **parts)


def over_folds(r: np.ndarray, fold: np.ndarray, level: float, gap: int) -> dict[str, float]:
    """Mean over folds and voxels, with interval and test over the folds' means.

    Parameters
    ----------
    r : array of shape (n_folds, n_voxels)
        NaN in all folds where a voxel has no score.
    fold, level, gap
        As :func:`dynalign.statistics.block_tests.fold_test`.

    Returns
    -------
    dict
        ``mean``, ``ci_low``, ``ci_high``, ``p``, NaN where no voxel has a score; ``n_voxels``, ``n_invalid``.
    """
    valid = np.isfinite(r).all(axis=0)
    test: dict[str, float] = dict.fromkeys(("mean", "ci_low", "ci_high", "p"), np.nan)
    if valid.any():
        test = fold_test(r[:, valid].mean(axis=1, dtype=float), fold, level, gap)
    return test | {"n_voxels": len(valid), "n_invalid": int((~valid).sum())}


def region_alignment(scores: Scores, level: float, gap: int) -> dict[str, float]:
    """Alignment of a region: mean r over its voxels, with its interval (:func:`over_folds`)."""
    found = over_folds(scores.r, scores.fold, level, gap)
    inner = scores.inner_score[:, np.isfinite(scores.r).all(axis=0)]
    found |= {"mean_r": found["mean"], "inner_score": float(np.mean(inner, dtype=float)) if inner.size else np.nan}
    return {name: found[name] for name in ("mean_r", "ci_low", "ci_high", "inner_score", "n_voxels", "n_invalid")}


def region_effect(residual: Scores, original: Scores, level: float, gap: int) -> dict[str, float]:
    """Effect of a removal on a region: residual − original, with interval and test (:func:`over_folds`)."""
    found = over_folds(residual.r.astype(float) - original.r, original.fold, level, gap)
    found["mean_difference"] = found["mean"]
    return {name: found[name] for name in ("n_voxels", "n_invalid", "mean_difference", "ci_low", "ci_high", "p")}


def subject_tables(cells, folder: str | Path, regions: Mapping[str, np.ndarray], level: float, gap: int) -> tuple:
    """Alignment and effects of one subject, region by region, for every cell.

    Parameters
    ----------
    cells : pandas.DataFrame
        From :func:`dynalign.statistics.cells.read_cells`.
    folder : path-like
        ``encoding/``.
    regions : mapping of region to boolean array of shape (n_voxels,)
    level, gap
        As :func:`dynalign.statistics.block_tests.fold_test`.

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
    for _, layer in progress(list(cells.groupby(["checkpoint", "layer"], sort=False)), "regions: layers"):
        original = original_of(folder, layer.iloc[0])
        for row in layer.itertuples(index=False):
            scores = original if row.removal == "none" else read_scores(path_of(folder, row))
            if scores.r.shape[1] != n_voxels:
                raise InputError(
                    f"{path_of(folder, row)}: scores of {scores.r.shape[1]} voxels, regions of {n_voxels}; make both "
                    "from the same responses"
                )
            for name, inside in regions.items():
                key = {column: getattr(row, column) for column in [*CELL, "subject"]} | {"roi": name}
                here = restrict(scores, inside)
                alignment.append(key | region_alignment(here, level, gap))
                if row.removal != "none":
                    effects.append(key | region_effect(here, restrict(original, inside), level, gap))
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def voxels(
    subject: str,
    output: str,
    options: Rois,
    mask: str | None = None,
    array: str | None = None,
    kept: tuple[str, ...] = (),
) -> None:
    """Find a subject's regions (section `rois`): ``rois/{subject}.npz``.

    Parameters
    ----------
    mask, array
        One of the subject's brain mask (layout `table`) and responses (`arrays`), for the number of voxels.
    kept
        Boolean ``.npy`` of the voxels that the study keeps, if it does not keep all.
    """
    if (mask is None) == (array is None):
        raise InputError("give one of --mask and --array")
    if options.image is not None:
        if mask is None:
            raise InputError("rois.image: needs the brain mask (--mask)")
        regions = from_image(options, subject, mask)
    else:
        regions = from_arrays(options, subject, count_voxels(mask, array))
    for path in kept:
        regions = subset(regions, read_voxels(path, len(next(iter(regions.values())))), path)
    for name, inside in regions.items():
        note(f"subject {subject}: {name}: {int(inside.sum())} of {len(inside)} voxels")
    write_regions(output, regions)


def subject(
    subject: str,
    alignment: str,
    folder: str,
    rois: str,
    readable: str,
    alignment_output: str,
    effects_output: str,
    gap: int,
    options: Statistics = Statistics(),
) -> None:
    """Scores of one subject → alignment and effects by region.

    Parameters
    ----------
    alignment, folder, rois, readable
        ``tables/alignment.tsv``, ``encoding/``, ``rois/{subject}.npz``, and ``tables/removal_effects.tsv``, which says
        what the encoder reads of each property.
    alignment_output, effects_output
        Tables to write.
    options, gap
        Section `statistics` as JSON, and ``encoding.gap``.
    """
    cells = read_cells(alignment, subject)
    aligned, effects = subject_tables(cells, folder, read_regions(rois), options.alpha, gap)
    key = [*CELL, "subject"]
    read = read_table(readable, kind="removal_effects")
    names = [name for name in read if name.startswith("readable_")]
    write_table(aligned, alignment_output)
    write_table(effects.merge(read[key + names], on=key, how="left", validate="many_to_one"), effects_output)


main = commands(voxels, subject)

if __name__ == "__main__":
    run(main)
