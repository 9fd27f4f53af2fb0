"""A subject's recordings, of whatever kind their names tell: where they lie, and whether they fit the story."""

from collections.abc import Callable, Mapping

from dynalign.cli import note
from dynalign.config.brain import Brain
from dynalign.io.errors import InputError
from dynalign.responses.grayordinates import Grayordinates
from dynalign.responses.matrices import Matrices
from dynalign.responses.space import Header, Space
from dynalign.responses.surfaces import Surfaces
from dynalign.responses.volumes import Volumes

_SPACES: dict[str, Callable[[str | None, str], Space]] = {
    "gifti": Surfaces,
    "cifti": Grayordinates,
    "npy": Matrices,
    "hdf5": Matrices,
}


def space_of(brain: Brain, subject: str) -> Space:
    """Where a subject's recordings lie: as the mask says, or where there is none the first run.

    Masks are read, of a run the header alone.
    """
    mask = brain.mask_of(subject)
    return Volumes(mask) if brain.kind == "nifti" else _SPACES[brain.kind](mask, brain.first_image(subject))


def check_tr(path: str, header: Header, tr: float) -> None:
    """Compare the TR that a run's file states with `tr`, in s, to a thousandth."""
    if header.trs and not any(abs(one - tr) <= 1e-3 * tr for one in header.trs):
        raise InputError(
            f"{path}: its header gives a TR of {header.stated}, but story.tr is {tr:g} s; correct the one that is "
            f"wrong (a header with nibabel: {header.correction})"
        )


def check_images(brain: Brain, subject: str, runs: Mapping[int, tuple[int, int]], tr: float) -> None:
    """Check a subject's mask and runs by their headers: kind, shape, space, TR, measurements of each run.

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
        For the first that does not fit. Headers that state no TR are noted, of kinds that can state one.
    """
    space = space_of(brain, subject)
    silent = []
    for run, (whole, trimmed) in runs.items():
        path = brain.image(subject, run)
        header = space.header(path)
        if header.n_rows not in (whole, trimmed):
            raise InputError(
                f"{path}: {header.n_rows} {space.rows}, but run {run} has {whole} TRs (story.trs), {trimmed} after "
                "story.trim; an image must have one of the two counts"
            )
        check_tr(path, header, tr)
        if header.stated and not header.trs:
            silent.append(path)
    if silent:
        note(f"{silent[0]}: its header states no TR ({len(silent)} of {len(runs)} runs); story.tr, {tr:g} s, is taken")
