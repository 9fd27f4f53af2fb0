"""The axis of training steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dynalign.figures.style import step_label


def turn(axes) -> None:
    """Turn the x tick labels by 45 degrees, each ending at its tick."""
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")


class StepAxis:
    """Where training steps stand on an axis.

    Parameters
    ----------
    steps : sequence of int
    kind : {"categorical", "log"}
        Evenly spaced, or by log10. Step 0 has no logarithm: it stands left of the first step, and a break in
        the axis marks that the distance between them means nothing.
    inches : float
        About how wide the axis is drawn: what decides which labels have room.
    baselines : sequence of str
        Baselines that stand left of the first step.
    """

    def __init__(self, steps: Iterable[float], kind: str, inches: float, baselines: Sequence[str] = ()):
        self.steps = sorted({int(step) for step in steps})
        self.baselines = list(baselines)
        self.broken = kind == "log" and self.steps[0] == 0 and len(self.steps) > 1
        self.places = np.arange(len(self.steps), dtype=float)
        if kind == "log":
            logs = np.log10([step for step in self.steps if step > 0])
            typical = np.median(np.diff(logs)) if len(logs) > 1 else 1.0
            zero = [logs[0] - max(typical, 0.12 * np.ptp(logs))] if self.broken else [0.0]
            self.places = np.concatenate([zero, logs]) if self.steps[0] == 0 else logs
        self.spacing = float(np.diff(self.places).min()) if len(self.steps) > 1 else 1.0
        span = float(np.ptp(self.places))
        self.pad = max(0.5 * self.spacing, (0.07 if inches > 3 else 0.04) * span)
        n = len(self.baselines)
        # Baselines stand as far apart as their names need.
        self.apart = 2 * self.pad
        if n:
            self.apart = max(self.apart, 0.18 * (span + 2 * self.pad) / max(inches - 0.18 * n, 0.5 * inches))
        self.per_unit = inches / (span + 2 * self.pad + n * self.apart)
        #: Small panels have small labels.
        self.small = inches < 3

    def __call__(self, steps: Iterable[float]) -> np.ndarray:
        """Places of `steps`, which are among the axis's."""
        return self.places[np.searchsorted(self.steps, np.asarray(list(steps), dtype=int))]

    def of(self, rows) -> np.ndarray:
        """Places of the rows of a table: baselines, which have no step, stand left of the first step."""
        place = dict(zip([*self.baselines, *self.steps], [*self.baseline_places, *self.places], strict=True))
        steps = rows["step"].where(rows["step"].notna(), rows["checkpoint"])
        return steps.map(place).to_numpy(dtype=float)

    @property
    def baseline_places(self) -> np.ndarray:
        """Places of the baselines, side by side."""
        return self.places[0] - self.apart * np.arange(len(self.baselines), 0, -1)

    def dodge(self, k: int, n: int) -> float:
        """Shift of the k-th of n symbols that share a place, so that none hides another."""
        return 0.36 * self.spacing * ((k - (n - 1) / 2) / max(n - 1, 1))

    def with_room(self, inches: float) -> list[int]:
        """Which steps (their indices) can have labels `inches` wide; the last step always can."""
        chosen = [len(self.steps) - 1]
        for k in range(len(self.steps) - 2, -1, -1):
            if (self.places[chosen[-1]] - self.places[k]) * self.per_unit >= inches:
                chosen.append(k)
        return chosen[::-1]

    def dress(self, axes) -> None:
        """Ticks, labels, limits and the break on the x axis of `axes`, baselines left of the steps.

        Labels turn when they are too long for their room; a step too near to the next keeps its tick alone.
        """
        apart = self.baseline_places
        axes.set_xlim([*apart, self.places[0]][0] - self.pad, self.places[-1] + self.pad)
        size, room, letter = (8, 0.16, 0.068) if self.small else (10, 0.2, 0.085)
        labelled = self.with_room(room)
        texts = [*self.baselines, *(step_label(self.steps[k]) for k in labelled)]
        axes.set_xticks(np.append(apart, self.places[labelled]), texts, fontsize=size)
        axes.set_xticks(np.delete(self.places, labelled), minor=True)
        width = max(len(text) for text in texts) * letter + 0.06
        crowded = len(self.with_room(width)) < len(labelled)
        if crowded or (self.baselines and self.apart * self.per_unit < width):
            turn(axes)
        axes.set_xlabel("training step")
        if self.broken:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            look = {"ha": "center", "va": "center", "fontsize": 9, "bbox": paper, "gid": "axis-break"}
            axes.text(self.places[:2].mean(), 0, "//", transform=axes.get_xaxis_transform(), **look)
