"""GIFTI surfaces: the vertices of the left and then of the right hemisphere."""

import gzip
from collections.abc import Iterable, Sequence
from xml.parsers import expat

import numpy as np

from dynalign.config.brain import hemispheres
from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError, existing
from dynalign.io.images import open_other, readable
from dynalign.responses.space import Header, check_length, inside_of, unmasked

#: Of a run 2-D: vertices × TRs (GIFTI: the first dimension of an array counts nodes).
_EXPECTED = "expected values at vertices: an array per TR, or one of vertices × TRs"


def shape(path: str) -> tuple[int, int]:
    """Measurements and vertices of a GIFTI file, told by the attributes of its arrays; no array is decoded.

    InputError: the file is missing or broken, or its arrays are no values at vertices.
    """
    arrays: list[tuple[tuple[int, ...], str]] = []

    def start(name: str, has: dict[str, str]) -> None:
        if name == "DataArray":
            arrays.append((tuple(int(has[f"Dim{k}"]) for k in range(int(has["Dimensionality"]))), has["Intent"]))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with readable(existing(path), "GIFTI file"), (gzip.open if path.endswith(".gz") else open)(path, "rb") as stream:
        try:
            parser.ParseFile(stream)
        except KeyError as absent:
            raise ValueError(f"an array lacks the attribute {absent}") from None
    # A column per array is a vector.
    sizes = [size[:1] if size[1:] == (1,) else size for size, _ in arrays]
    if mesh := [kind for _, kind in arrays if kind in ("NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE")]:
        raise InputError(f"{path}: holds a mesh ({mesh[0]}); {_EXPECTED}")
    if len(sizes) == 1 and len(sizes[0]) == 2:
        return sizes[0][1], sizes[0][0]
    if not sizes or len(set(sizes)) > 1 or len(sizes[0]) != 1:
        listed = ", ".join(" × ".join(map(str, size)) for size in dict.fromkeys(sizes))
        raise InputError(f"{path}: {len(sizes)} arrays of {listed or 'nothing'}; {_EXPECTED}")
    return len(sizes), sizes[0][0]


def read_vertices(path: str) -> np.ndarray:
    """Values of a GIFTI file, shape (n_maps, n_vertices); an `InputError` as for :func:`shape`."""
    n, vertices = shape(path)
    image = open_other(path, "Gifti")
    with readable(path, "GIFTI file"):
        values = [array.data for array in image.darrays]
        if len(values) == 1 and values[0].ndim == 2:
            values = [*values[0].T]
        return np.stack(values).reshape(n, vertices)


class Surfaces:
    """The vertices of both hemispheres, in the order L, R."""

    rows = "TRs"

    def __init__(self, mask: str | None, first: str):
        self._source = mask or first
        files = hemispheres(self._source)
        #: Vertices of each hemisphere.
        self.sizes = [shape(path)[1] for path in files]
        self.inside = np.ones(sum(self.sizes), dtype=bool)
        if mask is not None:
            parts = [read_vertices(path) for path in files]
            for path, part in zip(files, parts, strict=True):
                if len(part) != 1:
                    raise InputError(f"{path}: {len(part)} arrays, but a mask is one value per vertex")
            self.inside = inside_of(np.concatenate(parts, axis=1)[0], mask)

    def header(self, path: str) -> Header:
        """As :meth:`dynalign.responses.space.Space.header`; GIFTI states no TR."""
        rows = []
        for one, source, size in zip(hemispheres(path), hemispheres(self._source), self.sizes, strict=True):
            n, vertices = shape(one)
            check_length(vertices, np.empty(size), one, source, "vertices")
            rows.append(n)
        if rows[0] != rows[1]:
            counts = f"{rows[0]} TRs of the left hemisphere, {rows[1]} of the right"
            raise InputError(f"{path}: {counts}; cut the longer, or get the shorter again")
        return Header(rows[0])

    def read(self, path: str) -> np.ndarray:
        """As :meth:`dynalign.responses.space.Space.read`."""
        with np.errstate(over="ignore"):
            parts = [read_vertices(one).astype(np.float32) for one in hemispheres(path)]
        return np.concatenate(parts, axis=1)[:, self.inside]

    def write(self, paths: Sequence[str], values: Iterable[np.ndarray], names: Sequence[str], description: str) -> None:
        """As :meth:`dynalign.responses.space.Space.write`: a file per hemisphere, an array per map, named."""
        import nibabel
        from nibabel.gifti import GiftiDataArray, GiftiMetaData

        maps = list(unmasked(values, self.inside))
        structures = ("CortexLeft", "CortexRight")
        parts = np.split(np.array(maps).reshape(-1, sum(self.sizes)), [self.sizes[0]], axis=1)
        for path, part, structure in zip(paths, parts, structures, strict=True):
            about = GiftiMetaData(AnatomicalStructurePrimary=structure, Description=description)
            arrays = [
                GiftiDataArray(np.ascontiguousarray(row), intent="NIFTI_INTENT_NONE", meta=GiftiMetaData(Name=name))
                for row, name in zip(part, names, strict=True)
            ]
            with atomic_path(path) as temporary:
                temporary.write_bytes(nibabel.GiftiImage(meta=about, darrays=arrays).to_xml())
