"""Kinds of values that several sections share."""

import os
import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def powers_of_ten(first: int, last: int) -> tuple[float, ...]:
    """The floats nearest to 10^first … 10^last."""
    return tuple(float(f"1e{exponent}") for exponent in range(first, last + 1))


def unique(values):
    """Refuse a value that stands twice."""
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value!r} stands twice")
    return values


def _rising(values):
    if list(values) != sorted(set(values)):
        raise ValueError(f"must rise, got {list(values)}")
    return values


def _filename(name: str) -> str:
    if not 0 < len(name) <= 64 or name[0] in ".-" or not all(c.isalnum() or c in "-_.+" for c in name):
        raise ValueError(
            f"{name!r} names files: use letters, digits, '-', '_', '.', '+', not beginning with '.' or '-', 64 at most"
        )
    return name


def _path(path: str) -> str:
    path = os.path.expanduser(path)
    if path.startswith("~"):
        raise ValueError(f"{path!r}: '~' is a home folder, but there is no such user; a name is written './~…'")
    # Snakemake reads braces as wildcards, commands a leading hyphen as an option. The rest is quoted.
    if not path or path[0] == "-" or not path.isprintable() or any(c in path for c in "{}"):
        raise ValueError(
            f"{path!r} is a path: it may not be empty, begin with '-', or hold braces or control characters"
        )
    return path


#: What may follow `run` in {run:02d}.
_PADDED = "(:(0[1-9])?d?)?"


def _pattern(*fields: str) -> Callable[[str], str]:
    """A path that may hold these fields; {run} is a number, which may be padded with zeros."""

    def check(path: str) -> str:
        filled = path
        for field in fields:
            filled = re.sub(rf"\{{{field}{_PADDED if field == 'run' else ''}\}}", "1", filled)
        if set("{}") & set(filled):
            *others, last = (f"{{{field}}}" for field in fields)
            allowed = f"{', '.join(others)} and {last}" if others else last
            padded = "; {run:02d} pads with zeros" if "run" in fields else ""
            named = "; subjects stand as in `subjects`, e.g. ['01', '02']" if "subject" in fields else ""
            raise ValueError(f"{path!r}: this path may hold {allowed}{padded}{named}")
        _path(filled)
        return os.path.expanduser(path)

    return check


def need_placeholders(section, prefix: str = "", /, **holders) -> None:
    """Refuse a path that lacks a placeholder which tells its files apart; `prefix` stands before the key named."""
    for key, needed in holders.items():
        value = getattr(section, key)
        if absent := [name for name in needed if value is not None and not re.search(rf"\{{{name}[:}}]", value)]:
            raise ValueError(f"{prefix}{key}: {value!r} lacks {{{absent[0]}}}")


Name = Annotated[str, AfterValidator(_filename)]
FilePath = Annotated[str, AfterValidator(_path)]
SubjectPath = Annotated[str, AfterValidator(_pattern("subject"))]
RunPath = Annotated[str, AfterValidator(_pattern("subject", "run", "hemi"))]
MaskPath = Annotated[str, AfterValidator(_pattern("subject", "hemi"))]
WordsPath = Annotated[str, AfterValidator(_pattern("run", "story"))]
RoiPath = Annotated[str, AfterValidator(_pattern("subject", "roi"))]
Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Grid = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_rising)]


class Section(BaseModel):
    """A part of the configuration: unknown keys and numbers that are not finite are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
