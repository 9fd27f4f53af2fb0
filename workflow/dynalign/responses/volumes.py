"""NIfTI volumes: the brain mask, what headers tell before any volume is read, and maps (METHOD section 2.2)."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from dynalign.io.errors import InputError
from dynalign.io.images import gzipped, load_image, open_image
from dynalign.responses.space import Header, inside_of, unmasked

#: Units of time that a NIfTI header can state, in s.
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def brain_mask(image) -> np.ndarray:
    """Voxels of a brain mask, boolean and 3-D: those that are not 0.

    InputError unless the image is 3-D, or as in :func:`dynalign.responses.space.inside_of`.
    """
    path = image.get_filename()
    if image.ndim != 3:
        raise InputError(f"{path}: shape {image.shape}, but a brain mask is a 3-D image")
    hint = f"nilearn.image.math_img('img > 0.5', img='{path}'); "
    hint += "resampling with interpolation='nearest' leaves two values"
    return inside_of(np.asarray(image.dataobj), path, hint)


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


class Volumes:
    """A grid of voxels and the brain mask on it."""

    rows = "volumes"

    def __init__(self, mask: str):
        self._reference = open_image(mask)
        if self._reference.ndim != 3:
            raise InputError(f"{mask}: shape {self._reference.shape}, but a brain mask is a 3-D image")
        self._path = mask

    @cached_property
    def inside(self) -> np.ndarray:
        """The brain mask, boolean and 3-D."""
        return brain_mask(load_image(self._path))

    def header(self, path: str) -> Header:
        """As :meth:`dynalign.responses.space.Space.header`."""
        image = open_image(path)
        if image.ndim != 4:
            hint = "; take the dimension of length 1 out" if image.ndim > 4 and 1 in image.shape[3:] else ""
            raise InputError(f"{path}: shape {image.shape}, but a run is a 4-D image, a volume per TR{hint}")
        check_grid(image, self._reference)
        stated, unit = _stated(image)
        where = f"{stated:g} (pixdim[4], unit: {unit})"
        return Header(image.shape[3], possible_trs(image), where, "header.set_zooms, header.set_xyzt_units")

    def read(self, path: str) -> np.ndarray:
        """As :meth:`dynalign.responses.space.Space.read`, voxels in the mask's C order."""
        # What is beyond float32 becomes infinite, and is counted as not finite.
        with np.errstate(over="ignore"):
            return np.asarray(load_image(path).dataobj, dtype=np.float32)[self.inside].T

    def write(self, paths: Sequence[str], values: Iterable[np.ndarray], names: Sequence[str], description: str) -> None:
        """As :meth:`dynalign.responses.space.Space.write`: a 4-D NIfTI-1 image, one volume in memory at a time.

        Its space is the mask's: affine, qform and sform with their codes, voxel sizes. The bytes depend on the values
        and the mask alone.
        """
        import nibabel

        (path,) = paths
        mask_image = self._reference
        header = nibabel.Nifti1Header.from_header(mask_image.header, check=False)
        if not (header["sform_code"] or header["qform_code"]):
            # Formats without codes (Analyze): what nibabel reads as their affine.
            header.set_sform(mask_image.affine, code="aligned")
        header.set_data_dtype(np.float32)
        header.set_data_shape((*self.inside.shape, len(names)))
        # The fourth dimension counts volumes, not seconds.
        header.set_zooms((*mask_image.header.get_zooms()[:3], 1.0))
        header.set_xyzt_units(xyz="mm", t="unknown")
        header.set_slope_inter(1, 0)
        header.set_data_offset(352)
        header["cal_min"] = header["cal_max"] = 0
        header["descrip"] = description.encode()[:79]
        header.extensions.clear()
        with gzipped(path) as stream:
            stream.write(header.binaryblock)
            stream.write(bytes(352 - len(header.binaryblock)))
            for volume, _ in zip(unmasked(values, self.inside), names, strict=True):
                stream.write(volume.astype(header.get_data_dtype()).tobytes(order="F"))
