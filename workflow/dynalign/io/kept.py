"""What each plan would work out again, kept in a file."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError


class Kept:
    """Answers by name, each with the state of things that it was found in.

    A file that is broken keeps none; nor does a folder that cannot be written to.
    """

    def __init__(self, path: str | os.PathLike):
        self._path, self._new = Path(path).absolute(), False
        self._known: dict[str, list] = {}
        with suppress(OSError, ValueError, AttributeError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = {name: entry for name, entry in found.items() if isinstance(entry, list)}

    def __call__(self, name: str, state: Sequence, find: Callable[[], str]) -> str:
        """The answer of this name, found now if none is kept of this state (numbers or strings)."""
        if self._known.get(name, [])[:-1] != list(state):
            self._known[name], self._new = [*state, find()], True
        return self._known[name][-1]

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if self._new:
            with suppress(InputError, OSError):
                write_text(self._path, json.dumps(self._known, indent=0, sort_keys=True) + "\n")
            self._new = False
