"""Scores back in the brain: NIfTI images in mask space and a table of what each volume is.

Five images per subject, seven where it asks for shares of variance, each with one kind of number, so that a viewer's
colour scale fits the whole image:

============================ =============== ========================================================
``maps/{subject}``           ``r``           score of the original: Pearson r, mean over folds
``maps/alpha/{subject}``     ``log10_alpha`` penalty chosen, log10, median over folds
``maps/q/{subject}``         ``q``           p of the score
``maps/effects/{subject}``   ``difference``  residual − original, difference of r
``maps/effects_q/{subject}`` ``q``           p of the difference
``maps/unique/{subject}``    ``difference``  nuisance features and vectors − nuisance features alone
``maps/unique_q/{subject}``  ``q``           p of the vectors' unique share of variance
============================ =============== ========================================================

The first three hold every checkpoint and layer, the others each checkpoint's best layer: the one with the highest inner
score, which does not look at the reported score (METHOD section 7). p is that of the block test, adjusted over the
voxels of a volume (METHOD section 8). Memory holds one volume. NaN: a voxel without a score.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from dynalign.cli import command, progress, run
from dynalign.config.shares import NUISANCE
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, SHARES, Scores, read_partition, read_scores
from dynalign.io.errors import InputError
from dynalign.io.images import gzipped, load_image
from dynalign.responses.volumes import brain_mask
from dynalign.statistics import summaries
from dynalign.statistics.block_tests import part_test, voxel_test
from dynalign.statistics.effects import CELL, original_path, read_cells, scores_path, voxel_scores
from dynalign.tables.writer import write_table


def write_volumes(path: str | Path, values: Iterable[np.ndarray], n: int, mask_image, description: str) -> None:
    """Write a 4-D NIfTI-1 image in the space of a mask, one volume in memory at a time.

    Its space is the mask's: affine, qform and sform with their codes, voxel sizes. The bytes depend on the values and
    the mask alone. InputError if there are other than as many values as voxels in the mask.

    Parameters
    ----------
    path : path-like
        A ``.nii.gz`` file.
    values : iterable of `n` arrays of shape (n_voxels,)
        In the mask's C order; float32 in the image, NaN outside the mask.
    n : int
        Volumes; what they are stands in the index table.
    mask_image : nibabel image, 3-D
    description : str
        At most 79 bytes, for the header.
    """
    import nibabel

    mask = brain_mask(mask_image)
    header = nibabel.Nifti1Header.from_header(mask_image.header, check=False)
    if not (header["sform_code"] or header["qform_code"]):
        # Formats without codes (Analyze): what nibabel reads as their affine.
        header.set_sform(mask_image.affine, code="aligned")
    header.set_data_dtype(np.float32)
    header.set_data_shape((*mask.shape, n))
    # The fourth dimension counts volumes, not seconds.
    header.set_zooms((*mask_image.header.get_zooms()[:3], 1.0))
    header.set_xyzt_units(xyz="mm", t="unknown")
    header.set_slope_inter(1, 0)
    header.set_data_offset(352)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = description.encode()
    header.extensions.clear()
    with gzipped(path) as stream:
        stream.write(header.binaryblock)
        stream.write(bytes(352 - len(header.binaryblock)))
        for voxels, _ in zip(values, range(n), strict=True):
            if len(voxels) != mask.sum():
                raise InputError(f"scores have {len(voxels)} voxels, the mask {int(mask.sum())}")
            volume = np.full(mask.shape, np.nan, dtype=np.float32)
            volume[mask] = voxels
            stream.write(volume.astype(header.get_data_dtype()).tobytes(order="F"))


@command
def main(
    subject: str,
    alignment: str,
    folder: str,
    mask: str,
    score: str,
    alpha: str,
    q: str,
    effects: str,
    effects_q: str,
    index: str,
    gap: int,
    unique: str | None = None,
    unique_q: str | None = None,
    options: Statistics = Statistics(),
) -> None:
    """A subject's scores, penalties and effects of removal → NIfTI in mask space, and their index.

    Reads ``tables/alignment.tsv``, ``encoding/`` (`folder`) and the subject's brain `mask`; writes the images and the
    `index`. `unique` and `unique_q`, both or neither, are what the vectors add to nuisance features. `gap` is
    ``encoding.gap``, `options` are section `statistics`.
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

    def adjusted_p(cell: dict) -> np.ndarray:
        one = scores(cell)
        blocks = one.blocks.astype(float)
        if cell["removal"] != "none":
            blocks -= read_scores(original_path(folder, cell)).blocks
        return voxel_test(blocks, one.fold, options, gap)["q"]

    def over_nuisance(cell: dict) -> np.ndarray:
        return read_partition(scores_path(folder, cell)).r[PARTS.index("unique_model")]

    def unique_q_of(cell: dict) -> np.ndarray:
        return part_test(read_partition(scores_path(folder, cell)), "unique_model", options, gap)["q"]

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
    shared = [{**cell, "removal": SHARES, "property": NUISANCE} for cell in original if cell["best_layer"]]
    for path, image, quantity, shown, value in (
        (score, "score", "r", original, lambda cell: voxel_scores(scores(cell))),
        (alpha, "alpha", "log10_alpha", original, log10_alpha),
        (q, "q", "q", original, adjusted_p),
        (effects, "effects", "difference", removed, effect),
        (effects_q, "effects_q", "q", removed, adjusted_p),
        (unique, "unique", "difference", shared, over_nuisance),
        (unique_q, "unique_q", "q", shared, unique_q_of),
    ):
        if path is None:
            continue
        text = f"dynalign {quantity}, subject {subject}"[:79]
        write_volumes(path, volumes(image, quantity, shown, value), len(shown), mask_image, text)
    write_table(pd.DataFrame(described), index)


if __name__ == "__main__":
    run(main)
