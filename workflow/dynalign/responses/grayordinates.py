"""CIFTI-2 grayordinates: vertices of the cortex and voxels below it."""

from collections.abc import Iterable, Sequence

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError
from dynalign.io.images import open_other, readable
from dynalign.responses.space import Header, inside_of, unmasked

#: Ends of `CIFTI_STRUCTURE_…` of the two hemispheres.
CORTEX = ("CORTEX_LEFT", "CORTEX_RIGHT")


def axes(path: str):
    """An open CIFTI file, the axis of its maps and its brain models; an `InputError` if it has other axes.

    The data are not read.
    """
    image = open_other(path, "Cifti2")
    with readable(path, "CIFTI-2 file"):
        found = [image.header.get_axis(k) for k in range(image.ndim)]
    if len(found) != 2 or type(found[1]).__name__ != "BrainModelAxis":
        named = " × ".join(type(axis).__name__.removesuffix("Axis") for axis in found)
        raise InputError(
            f"{path}: its axes are {named}, but grayordinates are expected (dense: .dtseries.nii; a mask .dscalar.nii "
            "or .dlabel.nii). Parcels can be written as an array, TRs × parcels: .npy"
        )
    return image, *found


def data(image) -> np.ndarray:
    """The data of an open CIFTI file, (n_maps, n_grayordinates); an `InputError` if they are cut short."""
    with readable(image.get_filename(), "CIFTI-2 file"):
        return np.asarray(image.dataobj)


class Grayordinates:
    """The brain models of a subject's first run or mask."""

    rows = "TRs"

    def __init__(self, mask: str | None, first: str):
        self._source = mask or first
        image, maps, self.models = axes(self._source)
        self.inside = np.ones(len(self.models), dtype=bool)
        if mask is not None:
            if len(maps) != 1:
                raise InputError(f"{mask}: {len(maps)} maps, but a mask is one")
            self.inside = inside_of(data(image)[0], mask)

    @property
    def sizes(self) -> list[int]:
        """Vertices of the meshes of the left and the right hemisphere; 0 for one that is not there."""
        return [self.models.nvertices.get(f"CIFTI_STRUCTURE_{name}", 0) for name in CORTEX]

    def header(self, path: str) -> Header:
        """As :meth:`dynalign.responses.space.Space.header`."""
        _, series, models = axes(path)
        if type(series).__name__ != "SeriesAxis" or series.unit != "SECOND":
            kind = getattr(series, "unit", type(series).__name__.removesuffix("Axis"))
            raise InputError(f"{path}: its rows are a {kind} axis, but a run is a series in seconds (.dtseries.nii)")
        if models != self.models:
            raise InputError(
                f"{path}: its {len(models):,} grayordinates are not the {len(self.models):,} of {self._source}; runs "
                "and mask of a subject must have the same brain models (wb_command -cifti-create-dense-from-template)"
            )
        trs = [float(series.step)] if 0 < series.step < np.inf else []
        return Header(len(series), trs, f"{series.step:g} s (its series axis)", "cifti2.SeriesAxis.step")

    def read(self, path: str) -> np.ndarray:
        """As :meth:`dynalign.responses.space.Space.read`."""
        with np.errstate(over="ignore"):
            return data(axes(path)[0]).astype(np.float32)[:, self.inside]

    def write(self, paths: Sequence[str], values: Iterable[np.ndarray], names: Sequence[str], description: str) -> None:
        """As :meth:`dynalign.responses.space.Space.write`: a dense scalar file, each map named."""
        from nibabel import cifti2

        (path,) = paths
        maps = np.array(list(unmasked(values, self.inside))).reshape(-1, len(self.models))
        image = cifti2.Cifti2Image(maps, (cifti2.ScalarAxis(list(names)), self.models))
        image.nifti_header.set_intent("ConnDenseScalar")
        image.nifti_header["descrip"] = description.encode()[:79]
        with atomic_path(path) as temporary:
            image.to_filename(temporary)
