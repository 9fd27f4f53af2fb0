"""What is said to a user about bad input."""

from os import PathLike
from pathlib import Path


class InputError(Exception):
    """Bad input; the message names the file or key, the value, and the way out."""


def existing(path: str | PathLike) -> Path:
    """The path of a file; an `InputError` if there is none."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    return Path(path)
