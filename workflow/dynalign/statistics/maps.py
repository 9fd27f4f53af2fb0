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

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from dynalign.cli import command, progress, run
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.responses.maps import write_volumes
from dynalign.statistics import summaries
from dynalign.statistics.cells import CELL, original_of, path_of, read_cells
from dynalign.statistics.effects import voxel_scores
from dynalign.tables.writer import write_table


def log10_alpha(scores: Scores) -> np.ndarray:
    """log10 of the penalty chosen, median over folds; NaN for a voxel without a score.

    Returns
    -------
    array of shape (n_voxels,)
    """
    return np.median(np.log10(scores.alpha.astype(float)), axis=0)


def subject_maps(cells, best: Mapping[str, int], folder: str | Path) -> Iterator[tuple[str, str, list, Callable]]:
    """The images of one subject.

    Parameters
    ----------
    cells : pandas.DataFrame
        From :func:`dynalign.statistics.cells.read_cells`.
    best : mapping of checkpoint to layer
        Whose effects are shown.
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

    def scores(row) -> Scores:
        return read_scores(path_of(folder, row))

    def effect(row) -> np.ndarray:
        return voxel_scores(scores(row)) - voxel_scores(original_of(folder, row))

    rows = list(cells.itertuples(index=False))
    original = [row for row in rows if row.removal == "none"]
    removed = [row for row in rows if row.removal != "none" and int(row.layer) == best[row.checkpoint]]
    yield "score", "r", original, lambda row: voxel_scores(scores(row))
    yield "alpha", "log10_alpha", original, lambda row: log10_alpha(scores(row))
    yield "effects", "difference", removed, effect


@command
def main(
    subject: str, alignment: str, folder: str, mask: str, score: str, alpha: str, effects: str, index: str
) -> None:
    """A subject's scores, penalties and effects of removal → NIfTI in mask space, and their index.

    Parameters
    ----------
    subject
    alignment, folder, mask
        ``tables/alignment.tsv``, ``encoding/``, and the subject's brain mask.
    score, alpha, effects
        4-D NIfTI to write (``.nii.gz``): r of the original, log10 of the penalties, residual − original.
    index
        Table to write: what each volume is.
    """
    import pandas as pd

    cells = read_cells(alignment, subject)
    chosen = summaries.best_layers(cells)
    if chosen["layer_by_inner_score"].isna().any():
        raise InputError(f"{alignment}: inner_score is empty in some row; run the encoding again")
    best = dict(zip(chosen["checkpoint"], chosen["layer_by_inner_score"].astype(int), strict=True))
    mask_image = load_image(mask)
    described = []

    def values(name, quantity, rows, value):
        for volume, row in enumerate(progress(rows, f"maps: {name}")):
            voxels = value(row)
            valid = np.isfinite(voxels)
            described.append(
                {"image": name, "volume": volume, "quantity": quantity}
                | {key: getattr(row, key) for key in CELL}
                | {
                    "best_layer": int(int(row.layer) == best[row.checkpoint]),
                    "mean": float(voxels[valid].mean()) if valid.any() else np.nan,
                    "n_invalid": int((~valid).sum()),
                }
            )
            yield voxels

    paths = {"score": score, "alpha": alpha, "effects": effects}
    for name, quantity, rows, value in subject_maps(cells, best, folder):
        text = f"dynalign {quantity}, subject {subject}"[:79]
        write_volumes(paths[name], values(name, quantity, rows, value), len(rows), mask_image, text)
    write_table(pd.DataFrame(described), index)


if __name__ == "__main__":
    run(main)
