"""NIfTI images, and other files that nibabel reads."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.parsers.expat import ExpatError

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError, existing


@contextmanager
def readable(path: str | Path, kind: str = "NIfTI image") -> Iterator[None]:
    """Turn what nibabel raises on a broken file, or on one of a format that it lacks a package for, into one line."""
    import nibabel
    from nibabel.tripwire import TripWireError

    try:
        yield
    except (
        OSError, EOFError, ValueError, ArithmeticError, MemoryError, zlib.error, struct.error, ExpatError,
        nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, TripWireError,
    ) as error:  # fmt: skip
        raise InputError(f"{path}: not a whole {kind}: {error}; copy or convert it again") from None


def open_image(path: str | Path):
    """Open an image of real numbers by its header; its data are not read.

    InputError: the file is missing or broken, holds surfaces or grayordinates (GIFTI, CIFTI), or complex numbers or
    colours.
    """
    import nibabel

    path = existing(path)
    with readable(path):
        image = nibabel.load(path)
        kind = type(image).__name__.removesuffix("Image")
        numbers = image.get_data_dtype() if isinstance(image, nibabel.spatialimages.SpatialImage) else None
    if numbers is None:
        hint = "; name it .dtseries.nii, which tells the kind" if kind == "Cifti2" else ""
        raise InputError(
            f"{path}: is a {kind} file; expected a NIfTI image of real numbers on a grid of voxels (responses: 4-D)"
            f"{hint}"
        )
    if numbers.kind not in "fiu":
        held = f"colours ({', '.join(numbers.names)})" if numbers.names else f"{numbers} numbers"
        raise InputError(
            f"{path}: holds {held}; expected a NIfTI image of real numbers (responses: 4-D): write the magnitude, or "
            "whatever is meant, as an image of its own"
        )
    return image


def open_other(path: str | Path, kind: str):
    """Open a file of surfaces (`kind` Gifti) or grayordinates (Cifti2), its data unread where the format allows it.

    InputError: the file is missing, broken, or of another kind.
    """
    import nibabel

    path, name = existing(path), {"Gifti": "GIFTI file", "Cifti2": "CIFTI-2 file"}[kind]
    with readable(path, name):
        image = nibabel.load(path)
    if (found := type(image).__name__.removesuffix("Image")) != kind:
        raise InputError(f"{path}: is a {found} file, but its name is that of a {name}; rename or convert it")
    return image


def load_image(path: str | Path):
    """Open an image, and read it once to its end, where gzip keeps its checksum.

    InputError if it is not whole, or as for :func:`open_image`.
    """
    path = existing(path)
    with readable(path):
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while stream.read(1 << 22):
                    pass
    image = open_image(path)
    with readable(path):
        # Headers that do not fit the data are found out here, not in the midst of a job.
        np.asarray(image.dataobj[..., -1:])
    return image


@contextmanager
def gzipped(path: str | Path) -> Iterator[gzip.GzipFile]:
    """A compressed file to write, whose bytes depend on the content alone (no time stamp in its header)."""
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=4) as stream,
    ):
        yield stream


def write_image(path: str | Path, data: np.ndarray, affine: np.ndarray, tr: float | None = None) -> None:
    """Write a NIfTI image."""
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    if tr is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    with gzipped(path) as stream:
        stream.write(image.to_bytes())
