"""TextGrids of Praat, as its manual defines them ("TextGrid file formats"), long and short alike."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dynalign.io.errors import InputError
from dynalign.io.text import read_text

#: A text, a comment, or a number that stands free; all else (`xmin =`, `intervals [1]:`, `<exists>`) says nothing.
_TOKEN = re.compile(r'(?<!\S)(?:!.*|(?:"((?:[^"]|"")*)"|([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?))(?!\S))')


@dataclass(frozen=True)
class Tier:
    """A tier of intervals: start and end in s, and what stands in each."""

    name: str
    intervals: list[tuple[float, float, str]]


def read_textgrid(path: str | Path) -> list[Tier]:
    """Read the interval tiers of a TextGrid that was saved as text, in UTF-8, or UTF-16 with its byte order mark.

    Here and not by praatio, which reads a file that was cut short as far as it goes, and takes signs off times.
    InputError: it is missing, no TextGrid, or not whole.
    """
    tokens = _tokens(read_text(path))

    def take(kind: type):
        token = next(tokens, None)
        if type(token) is not kind:
            met = "its end" if token is None else repr(token)
            expected = {str: "a text in quotes", float: "a number"}[kind]
            raise InputError(
                f"{path}: not a whole TextGrid ({met} where {expected} was expected); save it again in Praat "
                "(Save as text file)"
            )
        return token

    if take(str).split()[:1] != ["ooTextFile"] or take(str) != "TextGrid":
        raise InputError(f"{path}: no TextGrid; save one in Praat (Save as text file)")
    take(float), take(float)
    tiers = []
    for _ in range(int(take(float))):
        kind, name = take(str), take(str).strip()
        take(float), take(float)
        n = int(take(float))
        if kind == "IntervalTier":
            tiers.append(Tier(name, [(take(float), take(float), take(str).strip()) for _ in range(n)]))
        else:
            for _ in range(n):
                take(float), take(str)
    return tiers


def _tokens(text: str) -> Iterator[str | float]:
    for found in _TOKEN.finditer(text):
        quoted, number = found.groups()
        if quoted is not None:
            yield quoted.replace('""', '"')
        elif number is not None:
            yield float(number)
