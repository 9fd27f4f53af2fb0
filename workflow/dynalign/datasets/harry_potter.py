"""Fetching the public Harry Potter data, array by array, and checking it (METHOD section 2.1).

Wehbe et al. (2014), PLoS ONE 9(11), preprocessed by Toneva & Wehbe (2019); public copies on Google Drive.

An array that was checked has a record beside it, ``<array>.npy.sha256`` in the format of ``sha256sum``. Readers
compare the two (:func:`dynalign.io.digests.check_digest`), so an array that changed later is found. One placed by hand
is checked in the same way as one that was downloaded.
"""

from __future__ import annotations

from pathlib import Path

from dynalign.cli import commands, note, run
from dynalign.datasets.drive import FILES, by_hand, download
from dynalign.io.arrays import read_array
from dynalign.io.atomic import atomic_path, write_text
from dynalign.io.digests import check_digest, digest_path, write_digest
from dynalign.io.errors import InputError

#: TRs, start (s) and words of each run.
RUNS = ((340, 0, 1303), (352, 680, 1351), (279, 1384, 1059), (380, 1942, 1463))

#: Repetition time, time from a run's start to its first word, time per word, in s.
TR_S, LEAD_S, WORD_S = 2.0, 20.0, 0.5
N_TRS = sum(trs for trs, _, _ in RUNS)
N_WORDS = sum(words for _, _, words in RUNS)

#: Rows of the responses: 20 TRs cut off the front of each run, 15 off its end.
N_ROWS = N_TRS - 35 * len(RUNS)

#: Voxels of each subject.
VOXELS = {"F": 27905, "H": 24983, "I": 25263, "J": 29650, "K": 25003, "L": 24678, "M": 28752, "N": 24397}

#: Shapes that the real arrays have.
SHAPES = {"words_fmri": (N_WORDS,), "time_words_fmri": (N_WORDS,), "time_fmri": (N_TRS,), "runs_fmri": (N_TRS,)} | {
    f"data_subject_{name}": (N_ROWS, voxels) for name, voxels in VOXELS.items()
}


def timing() -> dict:
    """The published ``time_words_fmri`` (s), ``time_fmri`` (s) and ``runs_fmri``, which METHOD's table determines."""
    import numpy as np

    return {
        "time_words_fmri": np.concatenate([start + LEAD_S + WORD_S * np.arange(n) for _, start, n in RUNS]),
        "time_fmri": TR_S * np.arange(N_TRS),
        "runs_fmri": np.repeat(np.arange(1, len(RUNS) + 1), [trs for trs, _, _ in RUNS]),
    }


def fetch(array: str, output: str) -> None:
    """Bring one array and check it; its record (sha256) is written beside `output`, a ``.npy`` file.

    An array that is there is checked; another is downloaded, checked and moved into place. InputError if the file is
    not the published array (a quota page, pickled objects, another shape or timing), differs from its record, or
    cannot be downloaded; says how to bring it by hand.
    """
    if array not in FILES:
        raise InputError(f"--array {array}: there are {', '.join(FILES)}")
    path = Path(output)
    if path.exists():
        note(f"{output}: is there, and is not downloaded")
        check_digest(path)
        try:
            check(path, array)
        except InputError as error:
            raise InputError(f"{error}; remove the file to have it downloaded, or {by_hand(array, output)}") from None
    else:
        try:
            with atomic_path(path) as temporary:
                download(array, temporary)
                check(temporary, array)
        except InputError as error:
            reason = str(error).replace(str(temporary.with_suffix("")), str(path.with_suffix("")))
            raise InputError(
                f"{array}: {reason}. Drive allows a file only so many downloads a day: try again tomorrow, or "
                f"{by_hand(array, output)}"
            ) from None
    note(f"{output}: sha256 {write_digest(path)}")


def check(path: Path, array: str) -> None:
    """Check that a file holds the published array of that name, and note how many voxels cannot be used.

    InputError if it is no array, holds pickled objects, or has another type, shape or timing than METHOD's table says;
    words must be text, some voxel must be finite and vary, and each row of responses have a finite value.
    """
    import numpy as np

    from dynalign.variation import constant

    values = read_array(path, mmap=True)
    if values.shape != SHAPES[array]:
        raise InputError(f"{path.name}: shape {values.shape}, but the published {array} has {SHAPES[array]}")
    kinds, what = "fiu", "numbers"
    if array == "words_fmri":
        kinds, what = "U", "text"
    elif array.startswith("data_"):
        kinds, what = "f", "floating-point numbers"
    if values.dtype.kind not in kinds:
        raise InputError(f"{path.name}: dtype {values.dtype}, but the published {array} holds {what}")
    if array == "words_fmri":
        if blank := [index for index, word in enumerate(values) if not word.strip()]:
            raise InputError(f"{path.name}: word {blank[0]} is empty")
    elif array.startswith("data_"):
        finite = np.isfinite(values)
        whole = finite.all(axis=0)
        with np.errstate(invalid="ignore"):
            varying = whole & ~constant(values)
        if not varying.any():
            raise InputError(f"{path.name}: none of the {values.shape[1]} voxels is finite and varies")
        rows = np.flatnonzero(~finite.any(axis=1))
        if len(rows):
            raise InputError(f"{path.name}: row {rows[0]} has no finite value ({len(rows)} such rows)")
        unusable = f"{int((~whole).sum())} of {len(whole)} voxels not finite, {int((whole & ~varying).sum())} constant"
        note(f"{path.name}: {unusable}")
    else:
        published = timing()[array]
        wrong = np.flatnonzero(values != published)
        if len(wrong):
            raise InputError(
                f"{path.name}: entry {wrong[0]} is {values[wrong[0]]:g}, but {published[wrong[0]]:g} in the "
                f"published {array} ({len(wrong)} of {len(values)} entries differ)"
            )


def _check(folder: str, output: str) -> None:
    """Compare all twelve arrays of a folder with their records; write all to `output`, for ``sha256sum --check``."""
    lines = []
    for array in sorted(FILES):
        path = Path(folder) / f"{array}.npy"
        if not path.is_file() or not digest_path(path).is_file():
            raise InputError(f"{path}: no such file, or no record of it; run `snakemake fetch_harry_potter`")
        lines.append(f"{check_digest(path)}  {path.name}\n")
    write_text(output, "".join(lines))


main = commands(fetch, _check)

if __name__ == "__main__":
    run(main)
