"""Arrays of TRs × voxels without coordinates, a ``.npy`` file or an HDF5 dataset per run."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dynalign.config.brain import kind_of, split_dataset
from dynalign.io.arrays import read_array, write_array
from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError, existing
from dynalign.responses.space import Header, check_length, inside_of, unmasked


def check_matrix(values, source: str) -> None:
    """Check that values are real numbers, TRs × voxels."""
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(f"{source}: expected real numbers, TRs × voxels; got {values.dtype} {values.shape}")


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """An array or an HDF5 dataset, its data unread.

    InputError: the file is missing or broken, holds no such dataset, or several of which none is named.
    """
    if kind_of(path) == "npy":
        yield read_array(path, mmap=True)
        return
    import h5py

    file, name = split_dataset(path)
    existing(file)
    try:
        with h5py.File(file, "r") as stored:
            found: list[str] = []
            stored.visititems(lambda key, one: found.append(key) if isinstance(one, h5py.Dataset) else None)
            name = name or (found[0] if len(found) == 1 else "")
            if not (name and isinstance(stored.get(name), h5py.Dataset)):
                problem = f"has no dataset {name!r}" if name else f"holds {len(found)} datasets, of which none is named"
                listed = ", ".join(found[:12]) + (" …" if len(found) > 12 else "")
                raise InputError(f"{file}: {problem} (it has {listed or 'none'}); name one: {file}::dataset")
            yield stored[name]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a whole HDF5 file: {error}; copy or write it again") from None


class Matrices:
    """Columns of arrays, without coordinates."""

    rows = "rows"

    def __init__(self, mask: str | None, first: str):
        self._source = mask or first
        with opened(self._source) as values:
            if mask is None:
                check_matrix(values, first)
                self.inside = np.ones(values.shape[1], dtype=bool)
            elif values.ndim != 1 or values.dtype.kind not in "fiub":
                raise InputError(f"{mask}: {values.dtype} {values.shape}, but a mask is one number per voxel, 1-D")
            else:
                self.inside = inside_of(np.asarray(values[:]), mask)

    def header(self, path: str) -> Header:
        """As :meth:`dynalign.responses.space.Space.header`; arrays state no TR."""
        with opened(path) as values:
            check_matrix(values, path)
            check_length(values.shape[1], self.inside, path, self._source)
            return Header(values.shape[0])

    def read(self, path: str) -> np.ndarray:
        """As :meth:`dynalign.responses.space.Space.read`."""
        with opened(path) as values, np.errstate(over="ignore"):
            return np.asarray(values[:]).astype(np.float32)[:, self.inside]

    def write(self, paths: Sequence[str], values: Iterable[np.ndarray], names: Sequence[str], description: str) -> None:
        """As :meth:`dynalign.responses.space.Space.write`: maps × voxels, ``.npy`` or the HDF5 dataset ``maps``."""
        (path,) = paths
        maps = np.array(list(unmasked(values, self.inside))).reshape(-1, len(self.inside))
        if kind_of(path) == "npy":
            write_array(path, maps)
            return
        import h5py

        with atomic_path(path) as temporary, h5py.File(temporary, "w") as stored:
            stored.attrs["description"] = description
            stored.create_dataset("maps", data=maps, fletcher32=True)
