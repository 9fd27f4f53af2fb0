"""Figures of distributions: 2, 3, 9 and 10."""

from __future__ import annotations

from functools import partial

import numpy as np

from dynalign.config.properties import RARE, paper_properties
from dynalign.figures import elements, style
from dynalign.figures.data import FigureData
from dynalign.statistics import summaries

#: Units of the values that have one.
UNITS = {"sentence_length": " (words)", "tree_depth": " (edges)"}


def distribution(figure_data: FigureData, level: str, kind: str, columns: int, size: tuple[float, float]):
    """Bars of class counts, a panel (of `size` in inches) per property, the paper's first and in the paper's order.

    The `level` is ``sentence`` or ``word``; the `kind` is ``used``, the classes of the study, or ``original``, the raw
    values.
    """
    table = figure_data.tables["class-counts"]
    table = table[(table["level"] == level) & (table["distribution"] == kind)]
    # A coin's counts say nothing; the paper leaves it out too.
    names = [name for name in dict.fromkeys(table["property"]) if name != "random_label"]
    paper = list(paper_properties())
    names.sort(key=lambda name: paper.index(name) if name in paper else len(paper))
    table = table[table["property"].isin(names)]
    rows = max(1, -(-len(names) // columns))
    figure, axes = style.subplots(size[0] * columns, size[1] * rows, rows, columns)
    for panel, name in zip(axes.flat, names, strict=False):
        bars = table[table["property"] == name]
        of_rank, scale = bars_of_counts(panel, bars, figure_data.marks[name].colour, size[0] - 0.9)
        panel.set_xlabel(style.label(name) + UNITS.get(name, "") + of_rank, fontsize=11)
        panel.set_ylabel(f"{level}s{scale}")
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    if not names:
        axes[0, 0].text(0.5, 0.5, f"This study has no {level}-level property.", ha="center")
    totals = table.groupby("property")["count"].sum() if names else np.zeros(1)
    note = f"n = {summaries.spread(totals)} {level}s."
    rare = summaries.rare_classes(table) if kind == "used" else table[:0]
    if len(rare):
        shown = [f"{style.label(row.property)} {row.value} ({row.count:,})" for row in rare.itertuples(name="Row")]
        note += f" Classes under {RARE:.0%}: {', '.join(shown)}."
    what = "classes used" if kind == "used" else "original values"
    style.title(figure, f"{level.capitalize()}-level properties: {what}", note)
    return figure, table[["property", "level", "distribution", "value", "count"]]


#: Classes used (figures 2 and 3) and original values (figures 9 and 10), by level.
sentence_classes = partial(distribution, level="sentence", kind="used", columns=3, size=(5, 4))
word_classes = partial(distribution, level="word", kind="used", columns=2, size=(6, 5))
sentence_distributions = partial(distribution, level="sentence", kind="original", columns=3, size=(5, 4))
word_distributions = partial(distribution, level="word", kind="original", columns=2, size=(6, 5))


def bars_of_counts(axes, rows, colour: str, inches: float) -> tuple[str, str]:
    """One bar per value, in the order given, with as many labels as `inches` have room for.

    Many bars get no count above them; where not even the values have room, the axis shows ranks (falling
    counts) or every few values, and counts that differ a lot stand on a log axis. It returns what the labels of the
    axes have to add to say so.
    """
    import seaborn
    from matplotlib.ticker import MaxNLocator

    counts, values = rows["count"].to_numpy(), list(rows["value"])
    n, room, of_rank, scale = len(values), inches / len(values), "", ""
    places = np.arange(1, n + 1)
    look = {"color": colour, "saturation": 1, "width": 0.8 if n <= 60 else 1, "native_scale": True}
    seaborn.barplot(x=places, y=counts, ax=axes, **look)
    axes.set_xlim(0.3, n + 0.7)
    axes.margins(y=0.08)
    elements.gridlines(axes)
    if max(len(f"{count:,}") for count in counts) * 0.075 <= room:
        axes.bar_label(axes.containers[0], fmt="{:,.0f}", padding=2, fontsize=8)
    if room >= 0.17:
        axes.set_xticks(places, values)
        if max(map(len, values)) * 0.095 + 0.05 > room:
            elements.turn(axes)
    elif np.all(np.diff(counts) <= 0):
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        of_rank = f" (rank of {n} values)"
    else:
        every = -(-n // 12)
        axes.set_xticks(places[::every], values[::every])
    if n > 24 and counts.max() >= 50 * counts.min():
        axes.set_yscale("log")
        axes.set_ylim(0.7)
        scale = " (log scale)"
    elements.plain_numbers(axes.yaxis)
    return of_rank, scale
