"""Scores back in the brain: NIfTI images in mask space and a table of what each volume is.

Three images per subject, each with one kind of number, so that a viewer's colour scale fits the whole image:

========================= =============== ================================================================
``maps/{subject}``        ``r``           score of the original: Pearson r, mean over folds; every checkpoint and layer
``maps/alpha/{subject}``  ``log10_alpha`` penalty chosen, log10, median over folds; the same cells
``maps/effects/{subject}`` ``difference`` residual − original, difference of r; each checkpoint's best layer
========================= =============== ================================================================

The best layer is the one with the highest inner score, which does not look at the reported score. Volumes are written
one after the other, so that memory holds one, however many checkpoints a study has.

Source: METHOD sections 2.2 and 9.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dynalign.cli import progress, run
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.responses.maps import write_volumes
from dynalign.statistics.effects import voxel_scores
from dynalign.statistics.regions import CELL, scores_path, subject_cells
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def best_layers(cells) -> dict[str, int]:
    """Each checkpoint's layer with the highest inner score (chosen without looking at the reported score).

    Parameters
    ----------
    cells : pandas.DataFrame
        One subject's rows of ``tables/alignment.tsv``. Ties go to the lower layer.
    """
    rows = cells[cells["removal"] == "none"].sort_values("layer", kind="stable")
    if rows["inner_score"].isna().any():
        raise InputError("alignment table: inner_score is empty in some row; run the encoding again")
    best = rows.loc[rows.groupby("checkpoint", sort=False)["inner_score"].idxmax()]
    return dict(zip(best["checkpoint"], best["layer"].astype(int), strict=True))


def log10_alpha(scores: Scores) -> np.ndarray:
    """log10 of the penalty chosen, median over folds; NaN for a voxel without a score.

    Returns
    -------
    array of shape (n_voxels,)
    """
    return np.median(np.log10(scores.alpha.astype(float)), axis=0)


def subject_maps(cells, folder: str | Path) -> Iterator[tuple[str, str, list, Callable]]:
    """The images of one subject.

    Parameters
    ----------
    cells : pandas.DataFrame
        From :func:`dynalign.statistics.regions.subject_cells`.
    folder : path-like
        ``encoding/``.

    Yields
    ------
    image : {"score", "alpha", "effects"}
    quantity : {"r", "log10_alpha", "difference"}
    rows : list of rows of `cells`
        One per volume.
    value : function of a row to an array of shape (n_voxels,)
    """
    rows = list(cells.itertuples(index=False))
    best = best_layers(cells)
    original = [row for row in rows if row.removal == "none"]
    removed = [row for row in rows if row.removal != "none" and int(row.layer) == best[row.checkpoint]]

    def scores(row, *arm) -> Scores:
        return read_scores(scores_path(folder, row, *arm))

    yield "score", "r", original, lambda row: voxel_scores(scores(row))
    yield "alpha", "log10_alpha", original, lambda row: log10_alpha(scores(row))
    yield (
        "effects",
        "difference",
        removed,
        lambda row: voxel_scores(scores(row)) - voxel_scores(scores(row, "none", "original")),
    )


def main(argv: list[str] | None = None) -> None:
    """Command: a subject's scores, penalties and effects of removal → NIfTI in mask space, and their index."""
    parser = argparse.ArgumentParser(prog="dynalign.statistics.maps", description=main.__doc__)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--alignment", required=True, help="tables/alignment.tsv")
    parser.add_argument("--folder", required=True, help="encoding/")
    parser.add_argument("--mask", required=True, help="the subject's brain mask")
    parser.add_argument("--score", required=True, help="4-D NIfTI to write (.nii.gz): r of the original")
    parser.add_argument("--alpha", required=True, help="4-D NIfTI to write: log10 of the penalties")
    parser.add_argument("--effects", required=True, help="4-D NIfTI to write: residual − original")
    parser.add_argument("--index", required=True, help="table to write: what each volume is")
    args = parser.parse_args(argv)

    import pandas as pd

    cells = subject_cells(read_table(args.alignment, [*CELL, "subject", "inner_score"]), args.subject)
    best = best_layers(cells)
    mask_image = load_image(args.mask)
    index = []

    def values(name, quantity, rows, value):
        for volume, row in enumerate(progress(rows, f"maps: {name}")):
            voxels = value(row)
            valid = np.isfinite(voxels)
            index.append(
                {"image": name, "volume": volume, "quantity": quantity}
                | {key: getattr(row, key) for key in CELL}
                | {
                    "best_layer": int(int(row.layer) == best[row.checkpoint]),
                    "mean": float(voxels[valid].mean()) if valid.any() else np.nan,
                    "n_invalid": int((~valid).sum()),
                }
            )
            yield voxels

    for name, quantity, rows, value in subject_maps(cells, args.folder):
        described = f"dynalign {quantity}, subject {args.subject}"[:79]
        path = {"score": args.score, "alpha": args.alpha, "effects": args.effects}[name]
        write_volumes(path, values(name, quantity, rows, value), len(rows), mask_image, described)
    write_table(pd.DataFrame(index), args.index)


if __name__ == "__main__":
    run(main)
