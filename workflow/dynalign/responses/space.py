"""What all kinds of recordings share: where a subject's voxels lie, and how runs are read there and maps written."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from dynalign.io.errors import InputError


class Header(NamedTuple):
    """What a run's file tells before its data are read."""

    n_rows: int  #: measurements
    trs: Sequence[float] = ()  #: in s, what a TR in it may mean; empty where none is stated
    stated: str = ""  #: the TR as it stands there, and where
    correction: str = ""  #: what of nibabel corrects it


class Space(Protocol):
    """Where a subject's voxels (or vertices) lie; runs are read there, and maps written."""

    rows: str  #: what a run's measurements are called in messages

    @property
    def inside(self) -> np.ndarray:
        """Places that are studied, boolean, all places in the order of the files."""

    def header(self, path: str) -> Header:
        """A run's header; an `InputError` if the run is of another kind, or lies in another space."""

    def read(self, path: str) -> np.ndarray:
        """Responses of a run, float32 of shape (n_rows, n_voxels), the places of `inside` in C order."""

    def write(self, paths: Sequence[str], values: Iterable[np.ndarray], names: Sequence[str], description: str) -> None:
        """Write maps, `values` of shape (n_voxels,) each and as many as `names`; NaN at places that are not studied."""


def inside_of(values: np.ndarray, source: str, hint: str = "values > 0.5") -> np.ndarray:
    """Places of a mask that are not 0, boolean.

    InputError unless it is finite and holds one value besides 0, as :mod:`nilearn` has it (``load_mask_img``, whose
    import would cost more than the step): a rim of small values left by resampling is no brain.
    """
    if n_bad := int((~np.isfinite(values)).sum()):
        raise InputError(f"{source}: {n_bad} voxels are not finite; a mask holds 0 and one other value: write 0 there")
    found = np.unique(values)
    if len(found[found != 0]) == 0:
        raise InputError(f"{source}: all voxels are 0; a mask needs one at least that is not")
    if len(found[found != 0]) > 1:
        listed = [f"{value:g}" for value in found]
        listed = listed if len(listed) < 6 else [*listed[:3], "…", listed[-1]]
        raise InputError(
            f"{source}: holds {len(found)} values ({', '.join(listed)}), but a mask holds 0 and one other. After "
            f"resampling, threshold it: {hint}"
        )
    return values != 0


def unmasked(values: Iterable[np.ndarray], inside: np.ndarray) -> Iterator[np.ndarray]:
    """Each of the values, shape (n_voxels,), at its places, float32 of the shape of `inside`; NaN elsewhere."""
    n = int(inside.sum())
    for voxels in values:
        if len(voxels) != n:
            raise InputError(f"scores have {len(voxels)} voxels, the mask {n}")
        placed = np.full(inside.shape, np.nan, dtype=np.float32)
        placed[inside] = voxels
        yield placed


def check_length(n: int, inside: np.ndarray, path: str, source: str, places: str = "voxels") -> None:
    """Check that a run has as many places as the mask, or as the first run (`source`)."""
    if n != len(inside):
        raise InputError(
            f"{path}: {n:,} {places}, but {source} has {len(inside):,}; runs and mask of a subject must have the same "
            "places in the same order"
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
