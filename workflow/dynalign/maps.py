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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from dynalign.brain import load_image
from dynalign.cli import progress, run
from dynalign.encoding import Scores, read_scores
from dynalign.files import InputError, atomic_path, read_table, write_table
from dynalign.rois import CELL, scores_path, subject_cells
from dynalign.statistics import voxel_scores


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


def into_mask(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Put voxel values back into the image grid; NaN outside the mask.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        In the mask's C order.
    mask : boolean array, 3-D

    Returns
    -------
    array of the mask's shape, float32

    Raises
    ------
    InputError
        If the number of voxels differs from the mask's.
    """
    if len(values) != mask.sum():
        raise InputError(f"scores have {len(values)} voxels, the mask {int(mask.sum())}")
    volume = np.full(mask.shape, np.nan, dtype=np.float32)
    volume[mask] = values
    return volume


def write_volumes(
    path: str | Path, values: Iterable[np.ndarray], n: int, mask_image, description: str
) -> None:
    """Write a 4-D NIfTI-1 image in the space of a mask, one volume in memory at a time.

    Its space is the mask's: affine, qform and sform with their codes, voxel sizes. The bytes depend on the values and
    the mask alone.

    Parameters
    ----------
    path : path-like
        A ``.nii.gz`` file.
    values : iterable of `n` arrays of shape (n_voxels,)
    n : int
        Volumes; what they are stands in the index table.
    mask_image : nibabel image, 3-D
    description : str
        At most 79 bytes, for the header.
    """
    import gzip

    import nibabel

    mask = np.asarray(mask_image.dataobj) > 0
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
    written = 0
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=4) as stream,
    ):
        stream.write(header.binaryblock)
        stream.write(bytes(352 - len(header.binaryblock)))
        for volume in values:
            stream.write(into_mask(volume, mask).astype(header.get_data_dtype()).tobytes(order="F"))
            written += 1
        if written != n:
            raise ValueError(f"{path}: {n} volumes announced, {written} written")


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
        From :func:`dynalign.rois.subject_cells`.
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
    parser = argparse.ArgumentParser(prog="dynalign.maps", description=main.__doc__)
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
