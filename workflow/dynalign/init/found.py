"""What a study's data say of its configuration, and what they leave open."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Found:
    """Values of the configuration by key (``story.tr``), and what is said of them."""

    values: dict[str, Any] = field(default_factory=dict)
    #: Keys that are written as comments: their values are examples.
    left_out: set[str] = field(default_factory=set)
    #: Comments, and what is left to the user with the way out, by key.
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    todo: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Lines for the screen, each after a word that says what it is about.
    said: list[tuple[str, str]] = field(default_factory=list)
    #: Rows of a table of recordings, where subjects have runs of their own.
    recordings: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, key: str, example: Any, problem: str) -> None:
        """Leave a key open: write an example of its value as a comment, and what the user is to do."""
        self.values[key] = example
        self.left_out.add(key)
        self.todo[key].append(problem)

    def others(self, what: str, paths: Iterable[str], taken: str) -> None:
        """Say which paths would do as well as the one that is taken."""
        if rest := [path for path in paths if path != taken]:
            self.said.append(("", f"other {what}, not taken: {listed(rest, 3)}"))

    def nested(self) -> dict[str, Any]:
        """The values by section, examples too."""
        sections: dict[str, Any] = {}
        for key, value in self.values.items():
            section, _, name = key.rpartition(".")
            (sections.setdefault(section, {}) if section else sections)[name] = value
        return sections


def listed(items: Iterable, most: int = 12) -> str:
    """The first few items, and how many there are where these are not all."""
    items = [str(item) for item in items]
    return ", ".join(items if len(items) <= most else [*items[: most - 1], f"… ({len(items)} in all)"])
