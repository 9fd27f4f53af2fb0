"""Fetching the public Harry Potter data, array by array (METHOD section 2.1).

Wehbe et al. (2014), PLoS ONE 9(11), preprocessed by Toneva & Wehbe (2019); public copies on Google Drive.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import time
from pathlib import Path

from dynalign.cli import note, run
from dynalign.files import InputError, atomic_path, read_array, write_text

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

#: Shapes that the real arrays have.
SHAPES = {
    "words_fmri": (5176,),
    "time_words_fmri": (5176,),
    "time_fmri": (1351,),
    "runs_fmri": (1351,),
} | {
    f"data_subject_{name}": (1211, voxels)
    for name, voxels in {
        "F": 27905, "H": 24983, "I": 25263, "J": 29650, "K": 25003, "L": 24678, "M": 28752, "N": 24397
    }.items()
}  # fmt: skip

#: Where downloads start; the environment variable points tests at a stand-in.
DRIVE = "https://drive.usercontent.google.com/download"
DRIVE_VARIABLE = "DYNALIGN_DRIVE"


def fetch(array: str, output: str | Path, tries: int = 4, wait_s: float = 2.0) -> str:
    """Download one array, check it, and move it into place.

    Parameters
    ----------
    array : str
        A key of :data:`FILES`.
    output : path-like
    tries : int
        Attempts; the wait doubles after each.
    wait_s : float
        First wait, s.

    Returns
    -------
    str
        sha256 of the file.

    Raises
    ------
    InputError
        If the server sends something else (a quota page, pickled objects, another shape) or cannot be reached.
    """
    import urllib.error
    import urllib.parse
    import urllib.request

    query = urllib.parse.urlencode({"id": FILES[array], "export": "download", "confirm": "t"})
    url = f"{os.environ.get(DRIVE_VARIABLE, DRIVE)}?{query}"
    by_hand = f"download it in a browser from https://drive.google.com/file/d/{FILES[array]} and save it as {output}"
    for attempt in range(tries):
        try:
            with atomic_path(output) as temporary:
                with urllib.request.urlopen(url, timeout=60) as response, open(temporary, "wb") as stream:
                    expected = response.headers.get("Content-Length")
                    kind = response.headers.get("Content-Type", "")
                    if kind.startswith("text/html"):
                        raise InputError(
                            f"{array}: Google Drive sent a web page, not the file (its download quota is used up, "
                            f"or it asks for a confirmation); try again tomorrow, or {by_hand}"
                        )
                    shutil.copyfileobj(response, stream, 1 << 20)
                if expected is not None and temporary.stat().st_size != int(expected):
                    raise ConnectionError(f"{temporary.stat().st_size} of {expected} bytes came")
                check(temporary, array)
                digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
            return digest
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            note(f"{array}: attempt {attempt + 1} of {tries}: {error}")
            if attempt + 1 == tries:
                raise InputError(
                    f"{array}: cannot be downloaded ({error}); check the network, or {by_hand}"
                ) from None
            time.sleep(wait_s * 2**attempt)
    raise AssertionError("unreachable")


def check(path: Path, array: str) -> None:
    """Check that a file holds the published array.

    Raises
    ------
    InputError
        If it is no array, holds pickled objects, or has another shape.
    """
    shape = read_array(path, mmap=True).shape
    if shape != SHAPES[array]:
        raise InputError(f"{path.name}: shape {shape}, but the published {array} has {SHAPES[array]}")


def main(argv: list[str] | None = None) -> None:
    """Command: fetch one array of the Harry Potter data."""
    parser = argparse.ArgumentParser(prog="dynalign.harry_potter", description=main.__doc__)
    parser.add_argument("--array", choices=list(FILES), required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    digest = fetch(args.array, args.output)
    write_text(Path(args.output).with_suffix(".sha256"), f"{digest}  {Path(args.output).name}\n")
    note(f"{args.output}: sha256 {digest}")


if __name__ == "__main__":
    run(main)
