"""Regions of interest: which voxels belong to which region."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dynalign.config.brain import Brain, Rois
from dynalign.io.arrays import read_arrays, write_arrays
from dynalign.io.errors import InputError, located
from dynalign.io.images import load_image
from dynalign.responses.kinds import space_of
from dynalign.responses.recordings import read_responses, read_voxels
from dynalign.responses.volumes import brain_mask, check_grid
from dynalign.tables.reader import finite_numbers, read_table


def from_arrays(rois: Rois, subject: str, n_voxels: int) -> dict[str, np.ndarray]:
    """Regions given as one boolean array of `n_voxels` entries each."""
    return {name: read_voxels(rois.arrays.format(subject=subject, roi=name), n_voxels) for name in rois.names}


def from_image(rois: Rois, subject: str, mask_path: str) -> dict[str, np.ndarray]:
    """Regions given as a label image with a table of its labels; labels outside the brain mask do not count.

    Boolean arrays of shape (n_voxels,) by region, voxels in the mask's C order. InputError: the image's grid is not the
    mask's, a number in it is not whole or has no name, the table names one twice, or a region has no voxel.
    """
    (_, image_path), (_, table_path) = rois.files(subject)
    mask_image, image = load_image(mask_path), load_image(image_path)
    mask = brain_mask(mask_image)
    if image.ndim != 3:
        raise InputError(f"{image_path}: shape {image.shape}, but a label image is 3-D")
    check_grid(image, mask_image)
    values = np.asarray(image.dataobj)[mask]
    if len(other := values[~np.isfinite(values) | (values != np.round(values))]):
        raise InputError(
            f"{image_path}: holds {other[0]:g} ({len(other)} such voxels in the mask), but labels are whole numbers; "
            "resample labels with nilearn.image.resample_to_img(…, interpolation='nearest')"
        )
    table = read_table(table_path, ["index", "name"])
    with located(str(table_path)):
        numbers = finite_numbers(table, "index")
        if (split := numbers != np.round(numbers)).any():
            row = int(np.argmax(split))
            raise InputError(f"row {row}: index {numbers[row]:g} is no whole number, as the label image holds")
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
            label = f"label {int(index[name])} ({name})"
            raise InputError(f"{image_path}: no voxel of {mask_path} has {label}; leave the region out of rois.names")
    return regions


def subset(regions: Mapping[str, np.ndarray], kept: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Regions among the voxels that the study keeps (``brain.voxels``); each must keep one."""
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


def count_voxels(brain: Brain | None, subject: str, array_path: str | None) -> int:
    """Voxels of a subject's mask (or first run), or of the array of responses (its shape alone is read)."""
    if array_path is not None:
        return read_responses(array_path, mmap=True).shape[1]
    return int(space_of(brain, subject).inside.sum())
