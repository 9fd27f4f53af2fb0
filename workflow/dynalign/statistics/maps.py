"""Scores back in the brain: NIfTI images in mask space and a table of what each volume is.

Three images per subject, each with one kind of number, so that a viewer's colour scale fits the whole image:

========================= =============== ================================================================
``maps/{subject}``        ``r``           score of the original: Pearson r, mean over folds; every checkpoint and layer
``maps/alpha/{subject}``  ``log10_alpha`` penalty chosen, log10, median over folds; the same cells
``maps/effects/{subject}`` ``difference`` residual − original, difference of r; each checkpoint's best layer
========================= =============== ================================================================

The best layer is the one with the highest inner score, which does not look at the reported score (METHOD section 7).
Volumes are written one after the other, so that memory holds one, however many checkpoints a study has. The penalty of
a voxel without a score is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dynalign.cli import command, progress, run
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.responses.maps import write_volumes
from dynalign.statistics import summaries
from dynalign.statistics.cells import CELL, original_path, read_cells, scores_path
from dynalign.statistics.effects import voxel_scores
from dynalign.tables.writer import write_table


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
    cells = [
        {"best_layer": int(int(cell["layer"]) == best[cell["checkpoint"]]), **cell}
        for cell in cells[[*CELL, "subject"]].to_dict("records")
    ]
    mask_image = load_image(mask)
    described = []

    def scores(cell: dict) -> Scores:
        return read_scores(scores_path(folder, cell))

    def log10_alpha(cell: dict) -> np.ndarray:
        return np.median(np.log10(scores(cell).alpha.astype(float)), axis=0)

    def effect(cell: dict) -> np.ndarray:
        return voxel_scores(scores(cell)) - voxel_scores(read_scores(original_path(folder, cell)))

    def volumes(image: str, quantity: str, shown: list[dict], value: Callable) -> Iterator[np.ndarray]:
        for volume, cell in enumerate(progress(shown, f"maps: {image}")):
            voxels = value(cell)
            valid = np.isfinite(voxels)
            mean = float(voxels[valid].mean()) if valid.any() else np.nan
            described.append(
                {"image": image, "volume": volume, "quantity": quantity}
                | {key: cell[key] for key in [*CELL, "best_layer"]}
                | {"mean": mean, "n_invalid": int((~valid).sum())}
            )
            yield voxels

    original = [cell for cell in cells if cell["removal"] == "none"]
    removed = [cell for cell in cells if cell["removal"] != "none" and cell["best_layer"]]
    for path, image, quantity, shown, value in (
        (score, "score", "r", original, lambda cell: voxel_scores(scores(cell))),
        (alpha, "alpha", "log10_alpha", original, log10_alpha),
        (effects, "effects", "difference", removed, effect),
    ):
        text = f"dynalign {quantity}, subject {subject}"[:79]
        write_volumes(path, volumes(image, quantity, shown, value), len(shown), mask_image, text)
    write_table(pd.DataFrame(described), index)


if __name__ == "__main__":
    run(main)
