"""What is said to a user about bad input."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


class InputError(Exception):
    """Bad input; the message names the file or key, the value, and the way out."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Say where bad input stands."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def existing(path: str | PathLike) -> Path:
    """The path of a file; an `InputError` if there is none."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    return Path(path)
