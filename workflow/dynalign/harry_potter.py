"""Fetching the public Harry Potter data, array by array, and checking it (METHOD section 2.1).

Wehbe et al. (2014), PLoS ONE 9(11), preprocessed by Toneva & Wehbe (2019); public copies on Google Drive.

An array that was checked has a record beside it, ``<array>.npy.sha256`` in the format of ``sha256sum``. Readers
compare the array with its record (:func:`dynalign.files.check_digest`), so one that changed later is found. An array
placed by hand is checked in the same way as one that was downloaded.

The standard library does the downloading. gdown knows more of Drive (cookies, folders, documents), but it takes
Drive's pages apart only on Drive's own host names, so a test against another server would show nothing about it;
pooch knows no Drive, and its registry wants digests that nobody has published.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

from dynalign.cli import note, run
from dynalign.files import (
    InputError,
    array_file_size,
    atomic_path,
    check_digest,
    digest_path,
    read_array,
    write_digest,
    write_text,
)

#: Google Drive ids of the arrays.
FILES = {
    "data_subject_F": "1olS7TuykmJOlnIvCvn4PxXUm-k9KGCYi",
    "data_subject_H": "12cjnpyyEVUIZX4y_LZL5Hanwfzy3ppzB",
    "data_subject_I": "1QNQQ0xnbYEMTqnMf3_-wF0dbbfuuhNu1",
    "data_subject_J": "1GQmzSuaBCseWI3m-tb1CRaiU63jD3Bx-",
    "data_subject_K": "1o54oxuTM-p9Nmcw2UQ5IPtnKENNROp8s",
    "data_subject_L": "1C6UEa3hlm-3U82zJ8jZnGmDm1_tgp28o",
    "data_subject_M": "1xeB42pbVGO9X8kSBVuVrJYpGIoSuNe8v",
    "data_subject_N": "1TuJLRXPMLhN4am9dleU1x8xYzkOOSTpi",
    "runs_fmri": "1lMGJ6V2oy60axMW7wmh_a77EQOxX28YC",
    "time_fmri": "1BHaMgbs78EQJ4MFWEelQAbwaXcDXLSGd",
    "time_words_fmri": "1cGjm4vVuMF5BduJitvY05KGfueYYo4Fu",
    "words_fmri": "1EBF2nFcQiSLt6Vk_Yg8qrXQSOmcHogRa",
}

#: TRs, start (s) and words of each run.
RUNS = ((340, 0, 1303), (352, 680, 1351), (279, 1384, 1059), (380, 1942, 1463))

#: Repetition time, time from a run's start to its first word, time per word, in s.
TR_S, LEAD_S, WORD_S = 2.0, 20.0, 0.5

N_TRS = sum(trs for trs, _, _ in RUNS)
N_WORDS = sum(words for _, _, words in RUNS)

#: Rows of the responses: 20 TRs cut off the front of each run, 15 off its end.
N_ROWS = N_TRS - 35 * len(RUNS)

#: Voxels of each subject.
VOXELS = {
    "F": 27905, "H": 24983, "I": 25263, "J": 29650, "K": 25003, "L": 24678, "M": 28752, "N": 24397
}  # fmt: skip

#: Shapes that the real arrays have.
SHAPES = {
    "words_fmri": (N_WORDS,),
    "time_words_fmri": (N_WORDS,),
    "time_fmri": (N_TRS,),
    "runs_fmri": (N_TRS,),
} | {f"data_subject_{name}": (N_ROWS, voxels) for name, voxels in VOXELS.items()}

#: Where downloads start; the environment variable points tests at a stand-in.
DRIVE = "https://drive.usercontent.google.com/download"
DRIVE_VARIABLE = "DYNALIGN_DRIVE"

#: Answers of a server that may be better the next time.
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


def timing() -> dict:
    """The published arrays of times and runs, which METHOD's table determines.

    Returns
    -------
    dict of str to array
        ``time_words_fmri`` (s), ``time_fmri`` (s), ``runs_fmri`` (1 to 4).
    """
    import numpy as np

    return {
        "time_words_fmri": np.concatenate([start + LEAD_S + WORD_S * np.arange(n) for _, start, n in RUNS]),
        "time_fmri": TR_S * np.arange(N_TRS),
        "runs_fmri": np.repeat(np.arange(1, len(RUNS) + 1), [trs for trs, _, _ in RUNS]),
    }


class Page(HTMLParser):
    """What a web page that came in place of a file says: its title, and the hidden fields of its forms."""

    def __init__(self, html: str):
        super().__init__()
        self.title = ""
        self.fields: dict[str, str] = {}
        self._in_title = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self._in_title = tag == "title"
        if tag == "input" and values.get("type") == "hidden" and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""

    def handle_endtag(self, tag):
        self._in_title = False

    def handle_data(self, data):
        if self._in_title:
            self.title = " ".join((self.title + data).split())


def link(array: str) -> str:
    """Where a browser finds an array."""
    return f"https://drive.google.com/file/d/{FILES[array]}/view"


def by_hand(array: str, output: str | Path) -> str:
    """How to bring an array without this program."""
    return f"download it in a browser from {link(array)}, save it as {output} and run again, which checks it"


def transfer(array: str, fields: dict[str, str], target: Path) -> dict[str, str]:
    """Make one request and write what comes to `target`, after what an earlier request left there.

    Parameters
    ----------
    array : str
    fields : dict
        Query of the request.
    target : Path

    Returns
    -------
    dict
        Empty when `target` is whole; else the fields of the form in which Drive asks whether a file that it
        cannot scan for viruses is wanted.

    Raises
    ------
    InputError
        If a web page came that is no such form.
    OSError or http.client.HTTPException
        If the request failed, or the connection ended before the file did.
    """
    import urllib.parse
    import urllib.request

    url = f"{os.environ.get(DRIVE_VARIABLE, DRIVE)}?{urllib.parse.urlencode(fields)}"
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            page = Page(response.read(1 << 20).decode("utf-8", "replace"))
            if page.fields:
                return page.fields
            raise InputError(f"Google Drive sent a web page ({page.title or 'no title'}), not the file")
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        length = response.headers.get("Content-Length")
        expected = None if length is None else int(length) + (have if resumed else 0)
        with open(target, "ab" if resumed else "wb") as stream:
            shutil.copyfileobj(response, stream, 1 << 20)
    arrived = target.stat().st_size
    # Without Content-Length the array's own header tells how long the file must be.
    expected = array_file_size(target) if expected is None else expected
    if expected is not None and arrived < expected:
        raise ConnectionError(f"the connection ended after {arrived} of {expected} bytes")
    return {}


def download(array: str, target: Path, tries: int = 6, wait_s: float = 2.0) -> None:
    """Download one array; a transfer that breaks off goes on where it stopped.

    Parameters
    ----------
    array : str
        A key of :data:`FILES`.
    target : Path
    tries : int
        Attempts; the wait doubles after each.
    wait_s : float
        First wait, s.

    Raises
    ------
    InputError
        If a web page came in place of the file, the server refuses or cannot be reached, or the disk is full.
    """
    import http.client
    import urllib.error

    fields = {"id": FILES[array], "export": "download", "confirm": "t"}
    for attempt in range(1, tries + 1):
        try:
            asked = transfer(array, fields, target)
            if asked:
                # What is asked for stays our file, whatever the form says.
                asked = transfer(array, asked | {"id": FILES[array]}, target)
            if asked:
                raise InputError("Google Drive asks for a confirmation again and again")
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(f"the disk is full after {target.stat().st_size} bytes; make room") from None
            reason = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code not in TRY_AGAIN:
                    raise InputError(f"cannot be downloaded ({reason})") from None
            note(f"{array}: attempt {attempt} of {tries}: {reason}")
            if attempt == tries:
                raise InputError(f"cannot be downloaded ({reason}); check the network") from None
            time.sleep(wait_s * 2 ** (attempt - 1))


def fetch(array: str, output: str | Path, tries: int = 6, wait_s: float = 2.0) -> str:
    """Bring one array: check the one that is there, or download it, check it and move it into place.

    Its sha256 is recorded beside it.

    Parameters
    ----------
    array : str
        A key of :data:`FILES`.
    output : path-like
    tries, wait_s : int, float
        As for :func:`download`.

    Returns
    -------
    str
        sha256 of the file.

    Raises
    ------
    InputError
        If the file is not the published array (a quota page, pickled objects, another shape or timing), differs
        from its record, or cannot be downloaded; says how to bring it by hand.
    """
    output = Path(output)
    if output.exists():
        note(f"{output}: is there, and is not downloaded")
        check_digest(output)
        try:
            check(output, array)
        except InputError as error:
            raise InputError(
                f"{error}; remove the file to have it downloaded, or {by_hand(array, output)}"
            ) from None
        return write_digest(output)
    try:
        with atomic_path(output) as temporary:
            download(array, temporary, tries, wait_s)
            check(temporary, array)
    except InputError as error:
        reason = str(error).replace(str(temporary.with_suffix("")), str(output.with_suffix("")))
        raise InputError(
            f"{array}: {reason}. Drive allows a file only so many downloads a day: try again tomorrow, or "
            f"{by_hand(array, output)}"
        ) from None
    return write_digest(output)


def check(path: Path, array: str) -> None:
    """Check that a file holds the published array.

    Parameters
    ----------
    path : Path
    array : str
        A key of :data:`FILES`.

    Raises
    ------
    InputError
        If it is no array, holds pickled objects, or has another type, shape or timing than METHOD's table says;
        words must be text, responses must not be all NaN or constant.
    """
    import numpy as np

    values = read_array(path, mmap=True)
    if values.shape != SHAPES[array]:
        raise InputError(f"{path.name}: shape {values.shape}, but the published {array} has {SHAPES[array]}")
    kinds, what = {"words_fmri": ("U", "text")}.get(array, ("fiu", "numbers"))
    if array.startswith("data_"):
        kinds, what = "f", "floating-point numbers"
    if values.dtype.kind not in kinds:
        raise InputError(f"{path.name}: dtype {values.dtype}, but the published {array} holds {what}")
    if array == "words_fmri":
        blank = [index for index, word in enumerate(values) if not word.strip()]
        if blank:
            raise InputError(f"{path.name}: word {blank[0]} is empty")
    elif array.startswith("data_"):
        check_responses(values, path.name)
    else:
        published = timing()[array]
        wrong = np.flatnonzero(values != published)
        if len(wrong):
            raise InputError(
                f"{path.name}: entry {wrong[0]} is {values[wrong[0]]:g}, but {published[wrong[0]]:g} in the "
                f"published {array} ({len(wrong)} of {len(values)} entries differ)"
            )


def check_responses(values, name: str) -> None:
    """Check that some voxels can be used, and note how many cannot.

    Parameters
    ----------
    values : array of shape (n_rows, n_voxels)
    name : str
        How messages name it.

    Raises
    ------
    InputError
        If no voxel is finite and varies, or a row has no finite value.
    """
    import numpy as np

    finite = np.isfinite(values)
    whole = finite.all(axis=0)
    varying = whole & (np.max(values, axis=0) > np.min(values, axis=0))
    rows = np.flatnonzero(~finite.any(axis=1))
    if not varying.any():
        raise InputError(f"{name}: none of the {values.shape[1]} voxels is finite and varies")
    if len(rows):
        raise InputError(f"{name}: row {rows[0]} has no finite value ({len(rows)} such rows)")
    note(
        f"{name}: {int((~whole).sum())} of {len(whole)} voxels not finite, {int((whole & ~varying).sum())} constant"
    )


def check_all(folder: str | Path) -> str:
    """Compare all twelve arrays with their records.

    Returns
    -------
    str
        The records as ``sha256sum --check`` reads them in that folder.

    Raises
    ------
    InputError
        If an array or its record is missing, or they differ.
    """
    lines = []
    for array in sorted(FILES):
        path = Path(folder) / f"{array}.npy"
        if not path.is_file() or not digest_path(path).is_file():
            raise InputError(f"{path}: no such file, or no record of it; run `snakemake fetch_harry_potter`")
        lines.append(f"{check_digest(path)}  {path.name}\n")
    return "".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Command: `fetch` brings and checks one array of the Harry Potter data, `check` compares all with records."""
    parser = argparse.ArgumentParser(prog="dynalign.harry_potter", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("fetch", help="one array → its file and its record")
    one.add_argument("--array", choices=list(FILES), required=True)
    one.add_argument("--output", required=True, help=".npy; the record is written beside it")
    every = commands.add_parser("check", help="all twelve arrays → SHA256SUMS")
    every.add_argument("--folder", required=True)
    every.add_argument("--output", required=True, help="file of all sums")
    args = parser.parse_args(argv)
    if args.command == "fetch":
        note(f"{args.output}: sha256 {fetch(args.array, args.output)}")
    else:
        write_text(args.output, check_all(args.folder))


if __name__ == "__main__":
    run(main)
