"""Published suites of checkpoints by name, as ``suites.tsv`` lists them.

A row is a repository, or one stage of a training whose stages are named apart. ``steps`` are numbers and ranges
``first:last:stride``; empty where it is not known which steps there are. Sources: Biderman et al. (2023), section 2.1,
and the model cards of Pythia, PolyPythias (van der Wal et al. 2025), OLMo 2, Olmo 3 and SmolLM3.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("suites.tsv")


@dataclass(frozen=True)
class Suite:
    """The checkpoints of one training run."""

    source: str  #: hub id
    depth: int  #: transformer layers
    tokens_per_step: int
    stages: tuple[tuple[str, tuple[int, ...]], ...]  #: pattern of revisions and published steps, of each stage

    @property
    def steps(self) -> tuple[int, ...]:
        """Published steps; empty where they are not known."""
        return tuple(step for _, steps in self.stages for step in steps)

    def revision(self, steps: tuple[int, ...]) -> str | dict[int, str]:
        """Revisions of these steps, as `model.revision` has them; a ValueError names a step that is not published."""
        names = {step: self._revision_of(step) for step in steps}
        (pattern, _), *more = self.stages
        return names if more or "{tokens}" in pattern else pattern

    def _revision_of(self, step: int) -> str:
        for pattern, published in self.stages:
            if step in published or not published:
                # In names, billions of tokens are rounded up.
                return pattern.format(step=step, tokens=-(-step * self.tokens_per_step // 10**9))
        near = sorted(sorted(self.steps, key=lambda other: abs(other - step))[:2])
        raise ValueError(
            f"steps: {self.source} publishes no step {step}; near it are {' and '.join(map(str, near))}, "
            f"and `all` are {len(self.steps)}"
        )


def _steps(text: str) -> tuple[int, ...]:
    steps: list[int] = []
    for part in text.split():
        first, *more = map(int, part.split(":"))
        steps += range(first, more[0] + 1, more[1]) if more else [first]
    return tuple(steps)


@cache
def suites() -> dict[str, Suite]:
    """Every suite by its name, ``pythia-160m`` say."""
    found: dict[str, Suite] = {}
    with open(FILE, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            before = found[row["suite"]].stages if row["suite"] in found else ()
            stage = row["revision"], _steps(row["steps"])
            size = int(row["depth"]), int(row["tokens_per_step"])
            found[row["suite"]] = Suite(row["source"], *size, (*before, stage))
    return found


def suite_of(source: str) -> Suite | None:
    """The suite that has this name or this repository."""
    return suites().get(source) or next((one for one in suites().values() if one.source == source), None)
