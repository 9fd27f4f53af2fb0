"""Values of voxels as images in the space of the brain mask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dynalign.io.errors import InputError
from dynalign.io.images import gzipped


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
    with gzipped(path) as stream:
        stream.write(header.binaryblock)
        stream.write(bytes(352 - len(header.binaryblock)))
        for voxels, _ in zip(values, range(n), strict=True):
            if len(voxels) != mask.sum():
                raise InputError(f"scores have {len(voxels)} voxels, the mask {int(mask.sum())}")
            volume = np.full(mask.shape, np.nan, dtype=np.float32)
            volume[mask] = voxels
            stream.write(volume.astype(header.get_data_dtype()).tobytes(order="F"))
