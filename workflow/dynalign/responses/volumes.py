"""A subject's images: the brain mask, and what headers tell before any volume is read (METHOD section 2.2)."""

from collections.abc import Mapping

import numpy as np

from dynalign.cli import note
from dynalign.config.brain import Brain
from dynalign.io.errors import InputError
from dynalign.io.images import open_image

#: Units of time that a NIfTI header can state, in s.
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def brain_mask(image) -> np.ndarray:
    """Voxels of a brain mask, boolean and 3-D: those that are not 0.

    InputError unless the image is 3-D and finite, and holds one value besides 0, as :mod:`nilearn` has it
    (``load_mask_img``, whose import would cost more than the step): a rim of small values left by resampling is no
    brain.
    """
    path = image.get_filename()
    if image.ndim != 3:
        raise InputError(f"{path}: shape {image.shape}, but a brain mask is a 3-D image")
    values = np.asarray(image.dataobj)
    if n_bad := int((~np.isfinite(values)).sum()):
        raise InputError(f"{path}: {n_bad} voxels are not finite; a mask holds 0 and one other value: write 0 there")
    found = np.unique(values)
    if len(found[found != 0]) == 0:
        raise InputError(f"{path}: all voxels are 0; a mask needs one at least that is not")
    if len(found[found != 0]) > 1:
        listed = [f"{value:g}" for value in found]
        listed = listed if len(listed) < 6 else [*listed[:3], "…", listed[-1]]
        raise InputError(
            f"{path}: holds {len(found)} values ({', '.join(listed)}), but a mask holds 0 and one other. After "
            f"resampling, threshold it: nilearn.image.math_img('img > 0.5', img='{path}'); resampling with "
            "interpolation='nearest' leaves two values"
        )
    return values != 0


def check_grid(image, reference) -> None:
    """Check that an image has the grid of another in its first three dimensions: shape, and affine to 1e-4 mm."""
    import nibabel

    path, other = image.get_filename(), reference.get_filename()
    resample = f"resample one to the other (nilearn.image.resample_to_img) so that it has the grid of {other}"
    if image.shape[:3] != reference.shape[:3]:
        sizes = [" × ".join(map(str, one.shape[:3])) for one in (image, reference)]
        raise InputError(f"{path}: a grid of {sizes[0]} voxels, that of {other} has {sizes[1]}; {resample}")
    if not np.allclose(image.affine, reference.affine, atol=1e-4):
        axes = ["".join(map(str, nibabel.aff2axcodes(one.affine))) for one in (image, reference)]
        furthest = np.abs(image.affine - reference.affine).max()
        raise InputError(
            f"{path}: its affine differs from that of {other} by up to {furthest:.3g} mm (axes {axes[0]} and "
            f"{axes[1]}); {resample}"
        )


def measured_rows(n_rows: int, kept: np.ndarray, source: str) -> np.ndarray:
    """TRs that rows of responses stand for: all, or those that trimming leaves; int, indices into `kept` (n_trs,).

    InputError if `n_rows` is neither of the two numbers of TRs; all three are named.
    """
    if n_rows == len(kept):
        return np.arange(n_rows)
    if n_rows == kept.sum():
        return np.flatnonzero(kept)
    raise InputError(
        f"{source}: {n_rows} rows, but the story has {len(kept)} TRs, {int(kept.sum())} after story.trim; "
        "responses must have one of the two counts"
    )


def _stated(image) -> tuple[float, str]:
    """The TR in an image's header, 0 if it has none, and its unit."""
    zooms = image.header.get_zooms()
    try:
        unit = image.header.get_xyzt_units()[1]
    except (AttributeError, KeyError):
        unit = "unknown"
    return float(zooms[3]) if len(zooms) > 3 else 0.0, unit


def possible_trs(image) -> list[float]:
    """TRs in s that an image's header may mean: one, two without a unit (s, ms), none if it states none."""
    stated, unit = _stated(image)
    # 1 without a unit is what many programs write when they know no TR.
    if not 0 < stated < np.inf or (stated == 1 and unit not in _SECONDS):
        return []
    return [stated * scale for scale in ([_SECONDS[unit]] if unit in _SECONDS else [1.0, 1e-3])]


def _check_tr(image, tr: float) -> bool:
    """Compare the TR in an image's header with `tr`, in s, to a thousandth; whether the header has one."""
    possible = possible_trs(image)
    if not possible or any(abs(one - tr) <= 1e-3 * tr for one in possible):
        return bool(possible)
    stated, unit = _stated(image)
    raise InputError(
        f"{image.get_filename()}: its header gives a TR of {stated:g} (pixdim[4], unit: {unit}), but story.tr is "
        f"{tr:g} s; correct the one that is wrong (a header with nibabel: header.set_zooms, header.set_xyzt_units)"
    )


def check_images(brain: Brain, subject: str, runs: Mapping[int, tuple[int, int]], tr: float) -> None:
    """Check a subject's mask and images by their headers: kind, shape, grid, TR, volumes of each run.

    Parameters
    ----------
    brain
        Its `images` and `mask` count.
    runs
        Number of each run to its TRs, and to those that trimming leaves.
    tr
        In s.

    Raises
    ------
    InputError
        For the first that does not fit. Headers that state no TR are noted.
    """
    mask = open_image(brain.mask.format(subject=subject))
    if mask.ndim != 3:
        raise InputError(f"{mask.get_filename()}: shape {mask.shape}, but a brain mask is a 3-D image")
    silent = []
    for run, (whole, trimmed) in runs.items():
        image = open_image(brain.image(subject, run))
        path = image.get_filename()
        if image.ndim != 4:
            hint = "; take the dimension of length 1 out" if image.ndim > 4 and 1 in image.shape[3:] else ""
            raise InputError(f"{path}: shape {image.shape}, but a run is a 4-D image, a volume per TR{hint}")
        check_grid(image, mask)
        if image.shape[3] not in (whole, trimmed):
            raise InputError(
                f"{path}: {image.shape[3]} volumes, but run {run} has {whole} TRs (story.trs), {trimmed} after "
                "story.trim; an image must have one of the two counts"
            )
        if not _check_tr(image, tr):
            silent.append(path)
    if silent:
        note(f"{silent[0]}: its header states no TR ({len(silent)} of {len(runs)} runs); story.tr, {tr:g} s, is taken")
