"""What several figures draw alike: lines, dots with intervals, baselines, ticks, legends.

seaborn draws the lines, dots, bars and heat maps. Intervals come from the tables: it never computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dynalign.figures import style
from dynalign.figures.step_axis import StepAxis
from dynalign.figures.style import Mark
from dynalign.statistics import summaries

R_LABEL = "alignment\n(mean Pearson r over voxels)"
LAYER_LABEL = "layer (0 = embeddings)"
PUBLISHED = "Bakalova (published)"
MEAN = "mean of participants"


def participant(name: str) -> str:
    """A participant as legends and titles name it."""
    return f"participant {name}"


def lines(
    axes, rows, x: str, y: str, by: str, marks: Mapping[str, Mark], text: Callable[[str], str] = str, **look
) -> list:
    """A line for each value of the column `by`, in its colour and with its marker, labelled with its `text`.

    The values are drawn as they stand in `rows`, in that order; nothing is averaged.
    """
    import seaborn

    rows = rows.dropna(subset=[x, y])
    order = [name for name in marks if name in set(rows[by])]
    before = len(axes.lines)
    seaborn.lineplot(
        rows,
        x=x,
        y=y,
        hue=by,
        style=by,
        hue_order=order,
        style_order=order,
        palette={name: marks[name].colour for name in order},
        markers={name: marks[name].marker for name in order},
        dashes=False,
        estimator=None,
        sort=False,
        legend=False,
        ax=axes,
        **{"markeredgewidth": 0.5} | look,
    )
    drawn = list(axes.lines[before:])
    for line, name in zip(drawn, order, strict=True):
        line.set_label(text(name))
    return drawn


def participants(
    panel, axis: StepAxis, rows, marks: Mapping[str, Mark], y: str = "mean_r", intervals: bool = True
) -> None:
    """Each participant's value and its interval, side by side at each step."""
    rows = summaries.trained(rows[rows["subject"].isin(list(marks))])
    dodge = {subject: axis.dodge(k, len(marks)) for k, subject in enumerate(marks)}
    rows = rows.assign(place=axis.of(rows) + rows["subject"].map(dodge))
    if intervals:
        colours = [marks[subject].colour for subject in rows["subject"]]
        panel.vlines(rows["place"], rows["ci_low"], rows["ci_high"], colors=colours, linewidth=1, alpha=0.45)
    size = float(np.clip(axis.spacing * axis.per_unit * 72 / len(marks), 4.5, 6.5))
    lines(panel, rows, "place", y, "subject", marks, participant, linestyle="none", markersize=size)


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
    steps = [step for step in published if step in axis.steps]
    if steps:
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


def bar_key(text: str = "interval of a participant", **look):
    """The legend entry of thin vertical bars."""
    return key(text, **{"marker": "|", "markersize": 12} | look)


def handles(*panels) -> list:
    """What the panels' legends would show."""
    return [each for panel in panels for each in panel.get_legend_handles_labels()[0]]


def beside(panel, handles: Sequence, **look) -> None:
    """A panel's legend, right of it."""
    panel.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), **{"labelspacing": 0.6} | look)


def legend(figure, handles: Sequence) -> None:
    """One legend for the whole figure, right of the panels."""
    figure.legend(handles=handles, loc="outside right center", labelspacing=0.8)


def point_labels(axes, axis: StepAxis, values: Sequence[float], texts: Sequence[str]) -> None:
    """A number at each point of a line over all steps of `axis`, on the side that the line leaves free."""
    heights = np.asarray(values, dtype=float)
    before = np.append(heights[:1], heights[:-1]) > heights
    after = np.append(heights[1:], heights[-1:]) > heights
    sides = {
        (False, False): ((0, 6), "center", "bottom"),
        (True, True): ((0, -7), "center", "top"),
        (True, False): ((4, 4), "left", "bottom"),
        (False, True): ((-4, 4), "right", "bottom"),
    }
    for k in axis.with_room(0.4):
        offset, across, along = sides[bool(before[k]), bool(after[k])]
        point, look = (axis.places[k], heights[k]), {"ha": across, "va": along, "fontsize": 9}
        axes.annotate(texts[k], point, offset, textcoords="offset points", **look)


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
