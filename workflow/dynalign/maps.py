"""Scores back in the brain: NIfTI images in mask space and slices of them.

Source: METHOD sections 2.2 and 9.
"""

from __future__ import annotations

import argparse

import numpy as np

from dynalign import style
from dynalign.brain import load_image, write_image
from dynalign.cli import progress, run
from dynalign.encoding import read_scores
from dynalign.files import InputError, read_table, write_table
from dynalign.statistics import voxel_scores


def best_layers(alignment, subject: str):
    """Each checkpoint's layer with the highest inner score (chosen without looking at the reported score).

    Parameters
    ----------
    alignment : pandas.DataFrame
        ``tables/alignment.tsv``.
    subject : str

    Returns
    -------
    pandas.DataFrame
        One row per checkpoint in the table's order: checkpoint, step, layer, mean_r, inner_score.
    """
    rows = alignment[(alignment["subject"] == subject) & (alignment["removal"] == "none")]
    if rows.empty:
        raise InputError(f"the alignment table has no subject {subject!r}")
    best = rows.loc[rows.groupby("checkpoint", sort=False)["inner_score"].idxmax()]
    return best[["checkpoint", "step", "layer", "mean_r", "inner_score"]].reset_index(drop=True)


def into_mask(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Put voxel values back into the image grid; NaN outside the mask.

    Parameters
    ----------
    values : array of shape (n_maps, n_voxels)
    mask : boolean array, 3-D

    Returns
    -------
    array of shape (*mask.shape, n_maps), float32

    Raises
    ------
    InputError
        If the number of voxels differs from the mask's.
    """
    if values.shape[1] != mask.sum():
        raise InputError(f"scores have {values.shape[1]} voxels, the mask {int(mask.sum())}")
    volumes = np.full((*mask.shape, len(values)), np.nan, dtype=np.float32)
    volumes[mask] = values.T
    return volumes


def draw_slices(volumes: np.ndarray, titles: list[str], subject: str, label: str, paths: list[str]) -> None:
    """Draw axial slices, one row per map, on one symmetric colour scale.

    Parameters
    ----------
    volumes : array of shape (x, y, z, n_maps)
    titles : list of str
        One per map.
    subject, label : str
        For the title and the colour bar.
    paths : list of str
        Images to write.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    # Slices with brain in them, evenly spread.
    inside = np.flatnonzero(np.isfinite(volumes[..., 0]).any(axis=(0, 1)))
    chosen = inside[np.unique(np.linspace(0, len(inside) - 1, min(6, len(inside))).round().astype(int))]
    limit = float(np.nanmax(np.abs(volumes)))
    width = 1.5 * len(chosen) + 2.6
    figure = Figure(figsize=(width, 1.55 * len(titles) + 0.9), layout="constrained")
    # Room for the row titles, which the layout does not see.
    figure.get_layout_engine().set(rect=(0.4 / width, 0, 1 - 0.4 / width, 1))
    axes = figure.subplots(len(titles), len(chosen), squeeze=False)
    colours = colormaps["RdBu_r"].with_extremes(bad="white")
    for row, title in enumerate(titles):
        for column, z in enumerate(chosen):
            axis = axes[row, column]
            shown = axis.imshow(
                volumes[:, :, z, row].T,
                origin="lower",
                cmap=colours,
                vmin=-limit,
                vmax=limit,
                interpolation="nearest",
            )
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_frame_on(False)
            if row == 0:
                axis.set_title(f"z = {z}", fontsize=9)
        axes[row, 0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=min(1.0, 2.0 / len(titles)), label=label)
    figure.suptitle(
        f"Subject {subject}: alignment of each checkpoint's best layer (by inner score)", fontsize=11
    )
    for path in paths:
        style.save(figure, path)


def main(argv: list[str] | None = None) -> None:
    """Command: a subject's scores → NIfTI (one volume per checkpoint, at its best layer), its index, slices."""
    parser = argparse.ArgumentParser(prog="dynalign.maps", description=main.__doc__)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--alignment", required=True, help="tables/alignment.tsv")
    parser.add_argument("--folder", required=True, help="encoding/")
    parser.add_argument("--mask", required=True, help="the subject's brain mask")
    parser.add_argument("--image", required=True, help="4-D NIfTI to write (.nii.gz): mean r over folds")
    parser.add_argument("--index", required=True, help="table to write: what each volume is")
    parser.add_argument("--slices", nargs="+", required=True, help="pictures to write")
    args = parser.parse_args(argv)

    best = best_layers(
        read_table(args.alignment, ["checkpoint", "layer", "inner_score", "subject"]), args.subject
    )
    mask_image = load_image(args.mask)
    mask = np.asarray(mask_image.dataobj) > 0
    values = [
        voxel_scores(
            read_scores(
                f"{args.folder}/{row.checkpoint}/layer-{int(row.layer)}/{args.subject}/none.original.npz"
            )
        )
        for row in progress(list(best.itertuples()), "maps")
    ]
    volumes = into_mask(np.stack(values), mask)
    titles = [f"{row.checkpoint}\nlayer {int(row.layer)}" for row in best.itertuples()]
    with style.house():
        draw_slices(volumes, titles, args.subject, "Pearson r (mean over folds)", args.slices)
    best.insert(0, "volume", np.arange(len(best)))
    write_table(best, args.index)
    write_image(args.image, volumes, mask_image.affine)


if __name__ == "__main__":
    run(main)
