"""What a check finds: lines of what there is, and every problem."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dynalign.io.errors import InputError

#: Columns of the longest title, and a space.
_INDENT = 12


@dataclass
class Findings:
    """Lines of what was found, and the problems, in the order in which they were met."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def say(self, title: str, *texts: str) -> None:
        """Add a line under a title, and more below it."""
        if len(title) >= _INDENT:
            self.lines.append(title)
            title = ""
        for number, text in enumerate(texts):
            self.lines.append(f"{'' if number else title:{_INDENT}}{text}")

    def note(self, problem: str) -> None:
        """Add a problem, unless it is told already."""
        if not self._known(problem):
            self.problems.append(problem)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Note bad input as a problem, and go on; several problems in one error stand on lines of their own."""
        try:
            yield
        except InputError as error:
            # Of several, the first line only says that they follow.
            first, *more = str(error).split("\n  ")
            for text in more or [first]:
                self.note(text)

    def _known(self, text: str) -> bool:
        path, _, missing = text.rpartition(": no such file")
        told = (
            bool(path) and not missing and any(f"no such file {path.split(': ')[-1]}" in one for one in self.problems)
        )
        return told or text in self.problems

    def screen(self) -> str:
        """All of it as text."""
        if not self.problems:
            return "\n".join([*self.lines, "", "no problem found", ""])
        n = len(self.problems)
        listed = [f"{k}. {text}" for k, text in enumerate(self.problems, 1)]
        return "\n".join([*self.lines, "", f"{n} problem{'s' if n > 1 else ''}:", *listed, ""])
