"""Figures of distributions: 2, 3, 9 and 10."""

from __future__ import annotations

from dynalign.config.properties import RARE, paper_properties
from dynalign.figures import style
from dynalign.figures.data import FigureData
from dynalign.statistics import summaries


def distribution(figure_data: FigureData, level: str, kind: str, columns: int, size: tuple[float, float]):
    """Bars of class counts, one panel per property, the paper's properties first in the paper's order.

    Parameters
    ----------
    level : {"sentence", "word"}
    kind : {"used", "original"}
        The classes of the study, or the raw values.
    columns : int
        Panels side by side.
    size : (float, float)
        Width and height of a panel, inches.
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
    colours = figure_data.marks
    for panel, name in zip(axes.flat, names, strict=False):
        bars = table[table["property"] == name]
        style.bars_of_counts(panel, list(bars["value"]), bars["count"].to_numpy(), colours[name].colour, size[0] - 0.9)
        panel.set_xlabel(f"{style.label_with_unit(name)}{panel.get_xlabel()}", fontsize=11)
        panel.set_ylabel(f"{level}s{panel.get_ylabel()}")
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    if not names:
        axes[0, 0].text(0.5, 0.5, f"This study has no {level}-level property.", ha="center")
    totals = sorted(set(table.groupby("property")["count"].sum())) or [0]
    n = " to ".join(f"{total:,}" for total in dict.fromkeys((totals[0], totals[-1])))
    note = f"n = {n} {level}s. UNDEF: the value is unclear or does not apply."
    rare = summaries.rare_classes(table) if kind == "used" else table[:0]
    if len(rare):
        shown = [f"{style.label(row.property)} {row.value} ({row.count:,})" for row in rare.itertuples(name="Row")]
        note += f" Classes under {RARE:.0%}: {', '.join(shown)}."
    style.title(
        figure,
        f"{level.capitalize()}-level properties: {'classes used' if kind == 'used' else 'original values'}",
        note,
    )
    return figure, table[["property", "level", "distribution", "value", "count"]]


def sentence_classes(figure_data: FigureData):
    """Figure 2: classes used, sentence-level properties."""
    return distribution(figure_data, "sentence", "used", 3, (5, 4))


def word_classes(figure_data: FigureData):
    """Figure 3: classes used, word-level properties."""
    return distribution(figure_data, "word", "used", 2, (6, 5))


def sentence_distributions(figure_data: FigureData):
    """Figure 9: original distributions, sentence-level properties."""
    return distribution(figure_data, "sentence", "original", 3, (5, 4))


def word_distributions(figure_data: FigureData):
    """Figure 10: original distributions, word-level properties."""
    return distribution(figure_data, "word", "original", 2, (6, 5))
