"""Measured responses of one subject: images or arrays → kept TRs × voxels (METHOD section 2.2)."""

from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.brain import Brain
from dynalign.io.arrays import read_array, write_array
from dynalign.io.digests import check_digest, write_digest
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.stimulus.timing import read_trs


def clean_runs(responses: np.ndarray, runs: np.ndarray, tr: float, brain: Brain) -> np.ndarray:
    """Detrend and standardise responses, shape (n_trs, n_voxels), in each of the `runs`, shape (n_trs,).

    As the configuration says, a line, or discrete cosines with periods longer than `high_pass_s` (order up to
    ``floor(2 n_trs tr / high_pass_s)``, as in SPM; `tr` in s), is taken out with the mean by least squares (nilearn).
    The result is float64; a constant voxel becomes 0 (its score will be NaN).
    """
    drift = {"filter": "cosine", "high_pass": 1 / brain.high_pass_s, "t_r": tr} if brain.detrend == "cosine" else {}
    cleaned = np.array(responses, dtype=float)
    for name in dict.fromkeys(runs.tolist()):
        rows = runs == name
        block = cleaned[rows]
        if brain.detrend != "none":
            # Imported here: it costs more than all the rest of the step.
            from nilearn.signal import clean

            constant = block.max(axis=0) == block.min(axis=0)
            block = clean(block, detrend=brain.detrend == "linear", standardize=None, **{"filter": False} | drift)
            # nilearn leaves the mean where only cosines are taken out, and of a constant what rounding leaves.
            block = np.where(constant, 0.0, block - block.mean(axis=0))
        if brain.standardize:
            # Not nilearn's: it divides by the sample's deviation (n - 1) from its next version on.
            block = block - block.mean(axis=0)
            scale = block.std(axis=0)
            block /= np.where(scale > 0, scale, 1.0)
        cleaned[rows] = block
    return cleaned


def keep_rows(responses: np.ndarray, kept: np.ndarray, source: str) -> np.ndarray:
    """Trim responses, TRs × voxels, unless they are trimmed already; `kept` is boolean of shape (n_trs,).

    InputError if the rows match neither the whole nor the trimmed number of TRs; all three counts are named.
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

    InputError if it is not boolean, has another length, or names no voxel.
    """
    inside = read_array(path)
    if inside.dtype != bool or inside.shape != (n_voxels,):
        expected = f"a boolean array of shape ({n_voxels},), an entry per voxel"
        raise InputError(f"{path}: expected {expected}; got {inside.dtype} {inside.shape}")
    if not inside.any():
        raise InputError(f"{path}: all {n_voxels} entries are False; a set of voxels needs one at least")
    return inside


def read_images(pattern: str, mask_pattern: str, subject: str, runs: np.ndarray) -> np.ndarray:
    """Read a subject's 4-D images, run by run, inside the brain mask: float32 of shape (n_trs, n_voxels).

    The patterns are paths with ``{subject}`` and ``{run}``; `runs`, shape (n_trs,), names the images and their lengths.
    Voxels are in the mask's C order. InputError: a file is missing or unreadable, grids or numbers of volumes differ.
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
    keep_rows(responses, kept, source)
    tr = float(np.median(np.diff(measured["time"])))
    cleaned = clean_runs(responses, runs if len(responses) == len(runs) else runs[kept], tr, options)
    responses = keep_rows(cleaned, kept, source)
    bad = ~np.isfinite(responses).all(axis=0)
    constant = ~bad & (np.ptp(responses, axis=0) == 0)
    note(
        f"{source}: {responses.shape[0]} TRs × {responses.shape[1]} voxels; {int(bad.sum())} not finite, "
        f"{int(constant.sum())} constant (their scores will be NaN)"
    )
    if (bad | constant).all():
        raise InputError(f"{source}: no voxel varies and is finite")
    write_array(output, responses.astype(np.float32))
    write_digest(output)


if __name__ == "__main__":
    run(main)
