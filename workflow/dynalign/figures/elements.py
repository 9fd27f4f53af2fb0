"""What several figures draw alike: the axis of steps, lines, dots with intervals, baselines, ticks, legends.

seaborn draws the lines, dots, bars and heat maps. Intervals come from the tables: it never computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dynalign.figures import style
from dynalign.figures.style import Mark, step_label
from dynalign.statistics import summaries

R_LABEL = "alignment\n(mean Pearson r over voxels)"
LAYER_LABEL = "layer (0 = embeddings)"
PUBLISHED = "Bakalova (published)"
MEAN = "mean of participants"

#: What the vectors add to nuisance features, mean of participants, and how it is drawn in every figure.
UNIQUE = "over nuisance features,\nmean of participants"
UNIQUE_MARK = Mark(style.LINE, "s")


def turn(axes) -> None:
    """Turn the x tick labels by 45 degrees, each ending at its tick."""
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")


class StepAxis:
    """Where training steps stand on an axis about `inches` wide, `baselines` left of the first step.

    The `kind` is ``categorical`` (evenly spaced) or ``log`` (by log10). Step 0 has no logarithm: it stands left of the
    first step, and a break in the axis marks that the distance between them means nothing.
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
        span, n = float(np.ptp(self.places)), len(self.baselines)
        self.pad = max(0.5 * self.spacing, (0.07 if inches > 3 else 0.04) * span)
        self.apart = 2 * self.pad
        if n:
            # Baselines stand as far apart as their names need.
            self.apart = max(self.apart, 0.18 * (span + 2 * self.pad) / max(inches - 0.18 * n, 0.5 * inches))
        self.baseline_places = self.places[0] - self.apart * np.arange(n, 0, -1)
        self.per_unit = inches / (span + 2 * self.pad + n * self.apart)
        #: Small panels have small labels.
        self.small = inches < 3

    def __call__(self, steps: Iterable[float]) -> np.ndarray:
        """Places of `steps`, which are among the axis's."""
        return self.places[np.searchsorted(self.steps, np.asarray(list(steps), dtype=int))]

    def between(self, steps: Iterable[float]) -> np.ndarray:
        """Places of any steps between those of the axis, which stand by log(step + 1) between their neighbours."""
        return np.interp(np.log1p(np.asarray(list(steps), dtype=float)), np.log1p(self.steps), self.places)

    def of(self, rows) -> np.ndarray:
        """Places of the rows of a table: baselines, which have no step, stand left of the first step."""
        place = dict(zip([*self.baselines, *self.steps], [*self.baseline_places, *self.places], strict=True))
        return rows["step"].where(rows["step"].notna(), rows["checkpoint"]).map(place).to_numpy(dtype=float)

    def dodge(self, k: int, n: int) -> float:
        """Shift of the k-th of n symbols that share a place, so that none hides another."""
        return 0.36 * self.spacing * ((k - (n - 1) / 2) / max(n - 1, 1))

    def beside(self, rows, subjects: Sequence[str]):
        """`rows` with the column ``place``, those of different `subjects` side by side."""
        dodge = {subject: self.dodge(k, len(subjects)) for k, subject in enumerate(subjects)}
        return rows.assign(place=self.of(rows) + rows["subject"].map(dodge))

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
        axes.set_xlim([*self.baseline_places, self.places[0]][0] - self.pad, self.places[-1] + self.pad)
        size, room, letter = (8, 0.16, 0.068) if self.small else (10, 0.2, 0.085)
        labelled = self.with_room(room)
        texts = [*self.baselines, *(step_label(self.steps[k]) for k in labelled)]
        axes.set_xticks(np.append(self.baseline_places, self.places[labelled]), texts, fontsize=size)
        axes.set_xticks(np.delete(self.places, labelled), minor=True)
        width = max(len(text) for text in texts) * letter + 0.06
        if len(self.with_room(width)) < len(labelled) or (self.baselines and self.apart * self.per_unit < width):
            turn(axes)
        axes.set_xlabel("training step")
        if self.broken:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            look = {"ha": "center", "va": "center", "fontsize": 9, "bbox": paper, "gid": "axis-break"}
            axes.text(self.places[:2].mean(), 0, "//", transform=axes.get_xaxis_transform(), **look)


def participant(name: str) -> str:
    """A participant, or ``mean``, as legends and titles name it."""
    return MEAN if name == "mean" else f"participant {name}"


def crowded(subjects: Sequence) -> bool:
    """Whether there are more participants than a figure tells apart."""
    return len(subjects) > summaries.MOST_NAMED


def in_legend(subjects: Sequence[str]) -> Callable[[str], str]:
    """What lines of `subjects` are called: each by its name, or of many one for all (``_…`` stands in no legend)."""
    first = next(iter(subjects), "")
    everyone = f"each participant (n = {len(subjects)})"
    return (lambda name: everyone if name == first else f"_{name}") if crowded(subjects) else participant


#: How lines of many participants look.
CROWD = {"linewidth": 0.7, "alpha": 0.7, "markersize": 0, "zorder": 1.2}


def lines(axes, rows, x: str, y: str, by: str, marks: Mapping[str, Mark], text: Callable = str, **look) -> list:
    """A line for each value of the column `by`, in its colour and with its marker, labelled with its `text`.

    The values are drawn as they stand in `rows`, in that order; nothing is averaged.
    """
    import seaborn

    rows = rows.dropna(subset=[x, y])
    order = [name for name in marks if name in set(rows[by])]
    before = len(axes.lines)
    hue = {"hue": by, "hue_order": order, "palette": {name: marks[name].colour for name in order}}
    shape = {"style": by, "style_order": order, "markers": {name: marks[name].marker for name in order}}
    plain = {"dashes": False, "estimator": None, "sort": False, "legend": False}
    seaborn.lineplot(rows, x=x, y=y, ax=axes, **hue, **shape, **plain, **{"markeredgewidth": 0.5} | look)
    drawn = list(axes.lines[before:])
    for line, name in zip(drawn, order, strict=True):
        line.set_label(text(name))
    return drawn


def participants(
    panel, axis: StepAxis, rows, marks: Mapping[str, Mark], y: str = "mean_r", intervals: bool = True
) -> None:
    """Each participant's value and its interval, side by side at each step; of many participants thin lines."""
    rows = summaries.trained(rows[rows["subject"].isin(list(marks))])
    if crowded(marks):
        lines(panel, rows.assign(place=axis.of(rows)), "place", y, "subject", marks, in_legend(marks), **CROWD)
        return
    rows = axis.beside(rows, list(marks))
    if intervals:
        colours = [marks[subject].colour for subject in rows["subject"]]
        panel.vlines(rows["place"], rows["ci_low"], rows["ci_high"], colors=colours, linewidth=1, alpha=0.45)
    size = float(np.clip(axis.spacing * axis.per_unit * 72 / len(marks), 4.5, 6.5))
    lines(panel, rows, "place", y, "subject", marks, participant, linestyle="none", markersize=size)


def thin_lines(panel, axis: StepAxis, rows, marks: Mapping[str, Mark]) -> None:
    """Each participant's alignment as a thin line, in its colour; of many participants, in grey."""
    rows = summaries.trained(rows[rows["subject"].isin(list(marks))])
    look = CROWD if crowded(marks) else {"linewidth": 0.8, "alpha": 0.8, "markersize": 0}
    lines(panel, rows.assign(place=axis.of(rows)), "place", "mean_r", "subject", marks, in_legend(marks), **look)


def mean_line(
    panel, axis: StepAxis, means, y: str = "mean_r", name: str = MEAN, mark: Mark = Mark("black", ""), **look
) -> None:
    """The mean over participants as a line and, where `means` has one, its interval as a band."""
    rows = summaries.trained(means)
    rows = rows.assign(place=axis.of(rows), name=name)
    if "ci_low" in rows:
        band(panel, rows["place"], rows, mark.colour, gid=name)
    lines(panel, rows, "place", y, "name", {name: mark}, **{"zorder": 3} | look)


def band(axes, x, rows, colour: str, alpha: float = 0.12, **look) -> None:
    """The interval of a line, ``ci_low`` to ``ci_high`` of `rows`."""
    axes.fill_between(x, rows["ci_low"], rows["ci_high"], color=colour, alpha=alpha, linewidth=0, **look)


def published_line(panel, axis: StepAxis, published: Mapping[int, float]) -> None:
    """The paper's values, faint, at the steps that `axis` has."""
    if steps := [step for step in published if step in axis.steps]:
        look = {"color": style.REFERENCE, "marker": "o", "markersize": 4, "label": PUBLISHED, "zorder": 0.9}
        panel.plot(axis(steps), [published[step] for step in steps], **look)


def dashes(k: int) -> tuple[int, tuple[float, ...]]:
    """The dashes of the k-th baseline, as a line style of matplotlib."""
    return 0, ((5, 3), (2, 2), (6, 2, 1, 2))[k % 3]


def baselines(axes, means, y: str = "mean_r", colour: str = style.BASELINE, values: bool = True) -> None:
    """A labelled dashed line per baseline among the rows `means`: it has no place on an axis of steps.

    Where one legend serves several panels, no panel's own `values` stand in it.
    """
    rows = means[means["step"].isna()]
    for k, (name, value) in enumerate(zip(rows["checkpoint"], rows[y], strict=True)):
        label = f"{name} baseline: {value:.4f}" if values else f"{name} baseline"
        axes.axhline(value, color=colour, linewidth=1.3, linestyle=dashes(k), label=label, zorder=1.5)


def gridlines(axes, axis: str = "y") -> None:
    """Faint lines behind everything."""
    axes.grid(axis=axis, color=style.GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def key(text: str, **look):
    """A legend entry of its own: a symbol and what it means."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": style.NOTE, "marker": "o", "linestyle": "none", "label": text} | look)


#: What an effect of a removal can mean, by what the encoder reads (:func:`dynalign.statistics.summaries.readings`).
READINGS = {
    "still": {"marker": "x", "label": "the encoder still reads\nthe property"},
    "never": {"marker": "_", "label": "the encoder never read it:\nnothing to remove"},
}


def reading_marks(panel, x, y, reading, size: float = 26) -> None:
    """A grey mark at each place whose effect says little or nothing (:data:`READINGS`)."""
    x, y, reading = np.asarray(x), np.asarray(y), np.asarray(reading)
    for kind, look in READINGS.items():
        at = {"marker": look["marker"], "c": style.NOTE, "linewidths": 0.9, "gid": f"reading: {kind}", "zorder": 4}
        panel.scatter(x[reading == kind], y[reading == kind], s=size, **at)


def reading_keys() -> list:
    """Their legend entries."""
    return [key(look["label"], marker=look["marker"], markersize=5) for look in READINGS.values()]


def band_key(text: str = "interval of the mean"):
    """The legend entry of bands."""
    return key(text, marker="s", markersize=9, color="black", markeredgewidth=0, alpha=0.15)


def interval_keys(subjects: Sequence) -> list:
    """The legend entry of :func:`participants`' intervals, where they are drawn."""
    return [] if crowded(subjects) else [bar_key()]


def bar_key(text: str = "interval of a participant", **look):
    """The legend entry of thin vertical bars."""
    return key(text, **{"marker": "|", "markersize": 12} | look)


def handles(*panels) -> list:
    """What the panels' legends would show."""
    return [each for panel in panels for each in panel.get_legend_handles_labels()[0]]


def beside(panel, keys: Sequence, **look) -> None:
    """A panel's legend, right of it."""
    panel.legend(handles=keys, loc="center left", bbox_to_anchor=(1.01, 0.5), **{"labelspacing": 0.6} | look)


def legend(figure, panels: Iterable, *keys) -> None:
    """One legend for the whole figure, right of the panels: what legends of `panels` would show, and `keys`."""
    figure.legend(handles=[*handles(*panels), *keys], loc="outside right center", labelspacing=0.8)


def point_labels(axes, axis: StepAxis, values: Sequence[float], texts: Sequence[str]) -> None:
    """A number at each point of a line over all steps of `axis`, on the side that the line leaves free."""
    heights = np.asarray(values, dtype=float)
    before = np.append(heights[:1], heights[:-1]) > heights
    after = np.append(heights[1:], heights[-1:]) > heights
    # By whether the point before, and the point after, is higher.
    falling, rising = ((4, 4), "left", "bottom"), ((-4, 4), "right", "bottom")
    sides = ((((0, 6), "center", "bottom"), rising), (falling, ((0, -7), "center", "top")))
    for k in axis.with_room(0.4):
        offset, across, along = sides[int(before[k])][int(after[k])]
        look = {"textcoords": "offset points", "ha": across, "va": along, "fontsize": 9}
        axes.annotate(texts[k], (axis.places[k], heights[k]), offset, **look)


def numbers_above(axes, axis: StepAxis, texts: Sequence[str]) -> None:
    """The mean above the panel for each step of `axis`: inside it would hide the symbols."""
    look = {"va": "bottom", "fontsize": 9, "fontweight": "bold"}
    for k in axis.with_room(0.5):
        axes.text(axis.places[k], 1.01, texts[k], ha="center", transform=axes.get_xaxis_transform(), **look)
    axes.text(-0.01, 1.01, "mean", ha="right", transform=axes.transAxes, **look)


def layer_ticks(axis, places: Sequence[float], layers: Sequence[int] | None = None) -> None:
    """Ticks at the layers studied (at `places`, by default the layers); of many, every second … is labelled."""
    layers = places if layers is None else layers
    every = -(-len(layers) // 14)
    axis.set_ticks(places, [str(layer) if k % every == 0 else "" for k, layer in enumerate(layers)])


def plain_numbers(axis) -> None:
    """Tick labels as plain numbers with thousands apart; none between the powers of a log axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def plain_log_axis(axes, axis=None) -> None:
    """A log axis (by default y) with plain numbers (also within one decade) and room beyond the points."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    upright = axis is None or axis is axes.yaxis
    axis = axes.yaxis if upright else axis
    (axes.set_yscale if upright else axes.set_xscale)("log")
    low, high = axis.get_view_interval()
    span = max(high / low, 1.02)
    (axes.set_ylim if upright else axes.set_xlim)(low / span**0.06, high * span**0.08)
    several = LogLocator(subs=(1, 2, 5)) if span <= 300 else LogLocator()
    axis.set_major_locator(several if span > 6 else MaxNLocator(6, steps=[1, 2, 5, 10]))
    plain_numbers(axis)
