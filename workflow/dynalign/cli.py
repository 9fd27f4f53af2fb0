"""What the steps' commands share: options as JSON, one-line errors, progress in the log."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from dynalign.io.errors import InputError


def options(section: type) -> Callable[[str], object]:
    """An argparse type that reads JSON into a configuration section and checks it.

    Examples
    --------
    ``parser.add_argument("--options", type=options(Encoding), default=Encoding())``
    """

    def parse(text: str):
        from pydantic import ValidationError

        try:
            return section.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise argparse.ArgumentTypeError(f"{where}: {first['msg']} (got {first['input']!r})") from None

    return parse


def prepend_to_environment(variable: str, folder: str | os.PathLike) -> None:
    """Put a folder first in a search path that child processes inherit (``PATH``, ``PYTHONPATH``)."""
    os.environ[variable] = os.pathsep.join(filter(None, [os.fspath(folder), os.environ.get(variable)]))


def run(main: Callable[[], None]) -> None:
    """Run a step's `main`; bad input ends it with one line and status 1, a bug with its traceback."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")


def note(message: str) -> None:
    """Write one line of progress to the log (standard error)."""
    print(time.strftime("[%H:%M:%S]"), message, file=sys.stderr, flush=True)


def progress(items: Iterable, label: str, total: int | None = None, every: float = 5.0) -> Iterator:
    """Yield `items`, noting how many are done and the time left about every `every` seconds."""
    total = len(items) if total is None else total  # type: ignore[arg-type]
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= every and done:
            left = (now - start) / done * (total - done)
            note(f"{label}: {done}/{total}, {left:.0f} s left")
            last = now
        yield item
    note(f"{label}: {total}/{total} in {time.monotonic() - start:.1f} s")


def names_from_json(text: str) -> tuple[str, ...]:
    """A tuple of names from a JSON list."""
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise argparse.ArgumentTypeError(f"must be a JSON list of names, got {text}")
    return tuple(names)
