"""NIfTI images."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError, existing


def load_image(path: str | Path):
    """Load an image, and read it once to its end, where gzip keeps its checksum; an `InputError` if it is not whole."""
    import nibabel

    path = existing(path)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while stream.read(1 << 22):
                    pass
        image = nibabel.load(path)
        # Headers that do not fit the data are found out here, not in the midst of a job.
        np.asarray(image.dataobj[..., -1:])
    except (
        OSError, EOFError, ValueError, ArithmeticError, MemoryError, zlib.error, struct.error,
        nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError,
    ) as error:  # fmt: skip
        raise InputError(f"{path}: not a whole NIfTI image: {error}; copy or convert it again") from None
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
