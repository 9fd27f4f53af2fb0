"""Measured responses of one subject: images or arrays → kept TRs × voxels.

Source: METHOD section 2.2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.brain import Brain
from dynalign.io.arrays import read_array, write_array
from dynalign.io.digests import check_digest
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.responses.cleaning import clean_runs
from dynalign.stimulus.timing import read_trs


def keep_rows(responses: np.ndarray, kept: np.ndarray, source: str) -> np.ndarray:
    """Trim responses, unless they are trimmed already (METHOD section 2.2).

    Raises
    ------
    InputError
        If the rows match neither the whole nor the trimmed number of TRs; all three counts are named.
    """
    rows = len(responses)
    if rows == len(kept):
        return responses[kept]
    if rows == kept.sum():
        return responses
    raise InputError(
        f"{source}: {rows} rows, but the story has {len(kept)} TRs, {int(kept.sum())} after story.trim; "
        "responses must have one of the two counts"
    )


def read_voxels(path: str | Path, n_voxels: int) -> np.ndarray:
    """Read which voxels belong to a set, e.g. a region: a boolean ``.npy`` array with one entry per voxel.

    Raises
    ------
    InputError
        If it is not boolean, has another length, or names no voxel.
    """
    inside = read_array(path)
    if inside.dtype != bool or inside.shape != (n_voxels,):
        raise InputError(
            f"{path}: expected a boolean array of shape ({n_voxels},), an entry per voxel; got {inside.dtype} "
            f"{inside.shape}"
        )
    if not inside.any():
        raise InputError(f"{path}: all {n_voxels} entries are False; a set of voxels needs one at least")
    return inside


def read_images(pattern: str, mask_pattern: str, subject: str, runs: np.ndarray) -> np.ndarray:
    """Read a subject's 4-D images, run by run, inside the brain mask.

    Parameters
    ----------
    pattern, mask_pattern : str
        Paths with ``{subject}`` and ``{run}``.
    runs : array of shape (n_trs,)
        Run of each TR: names the images and their lengths.

    Returns
    -------
    array of shape (n_trs, n_voxels), float32
        Voxels in the mask's C order.

    Raises
    ------
    InputError
        If a file is missing or unreadable, grids differ, or a run has another number of volumes than the story.
    """
    mask_path = mask_pattern.format(subject=subject)
    mask_image = load_image(mask_path)
    mask = np.asarray(mask_image.dataobj) > 0
    if mask.ndim != 3 or not mask.any():
        raise InputError(f"{mask_path}: expected a 3-D mask with voxels above 0, got shape {mask.shape}")
    parts = []
    for name in dict.fromkeys(runs.tolist()):
        path = pattern.format(subject=subject, run=name)
        image = load_image(path)
        expected = int((runs == name).sum())
        if image.ndim != 4 or image.shape[:3] != mask.shape:
            raise InputError(f"{path}: shape {image.shape}, expected {(*mask.shape, expected)} as in {mask_path}")
        if not np.allclose(image.affine, mask_image.affine, atol=1e-4):
            raise InputError(f"{path}: its affine differs from that of {mask_path}; resample one to the other")
        if image.shape[3] != expected:
            raise InputError(f"{path}: {image.shape[3]} volumes, but story.trs gives run {name} {expected} TRs")
        parts.append(np.asarray(image.dataobj, dtype=np.float32)[mask].T)
    return np.concatenate(parts)


@command
def main(trs: str, subject: str, output: str, array: tuple[str, ...] = (), options: Brain = Brain()) -> None:
    """Read, clean and trim the responses of one subject.

    Parameters
    ----------
    trs
        ``story/trs.tsv``.
    subject
        Stands for ``{subject}`` in the paths of the options.
    output
        ``brain/{subject}.npy`` to write: kept TRs × voxels, float32.
    array
        Layout `arrays`: the ``.npy`` of TRs × voxels; without one, images are read.
    options
        Section `brain` as JSON.
    """
    measured = read_trs(trs)
    runs, kept = measured["run"].to_numpy(), measured["kept"].to_numpy().astype(bool)
    if array:
        (source,) = array
        check_digest(source)
        responses = read_array(source)
        if responses.ndim != 2 or responses.dtype.kind not in "fiu":
            raise InputError(f"{source}: expected numbers, TRs × voxels; got {responses.dtype} {responses.shape}")
        if options.voxels is not None:
            responses = responses[:, read_voxels(options.voxels.format(subject=subject), responses.shape[1])]
    else:
        source = options.images.format(subject=subject, run="*")
        responses = read_images(options.images, options.mask, subject, runs)
    # A whole run is cleaned before trimming, a trimmed one as it is: both are "per run".
    rows = np.ones(len(runs), dtype=bool) if len(responses) == len(runs) else kept
    keep_rows(responses, kept, source)
    tr = float(np.median(np.diff(measured["time"])))
    responses = keep_rows(clean_runs(responses, runs[rows], tr, options), kept, source)
    bad = ~np.isfinite(responses).all(axis=0)
    constant = ~bad & (np.ptp(responses, axis=0) == 0)
    note(
        f"{source}: {responses.shape[0]} TRs × {responses.shape[1]} voxels; {int(bad.sum())} not finite, "
        f"{int(constant.sum())} constant (their scores will be NaN)"
    )
    if (bad | constant).all():
        raise InputError(f"{source}: no voxel varies and is finite")
    write_array(output, responses.astype(np.float32))


if __name__ == "__main__":
    run(main)
