"""Figure 12: probing over training."""

from __future__ import annotations

import numpy as np

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData
from dynalign.figures.step_axis import StepAxis
from dynalign.statistics import summaries


def probing(figure_data: FigureData):
    """Figure 12: accuracy before, after and after crossfit removal against the null interval, by step.

    One row of panels per property, one column per layer (of many, :data:`summaries.MOST_LAYERS`).
    """
    import pandas as pd

    table = summaries.probing_cells(figure_data.tables["probing"])
    names = figure_data.in_order(table["property"])
    layers, methods = summaries.layers_of(table), list(dict.fromkeys(table["removal"]))
    steps = set(summaries.trained(table)["step"])
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    width = float(np.clip(0.19 * (len(steps) + len(baselines)), 1.5, 2.4))
    axis = StepAxis(steps, figure_data.options.step_axis, width, baselines)
    # Every accuracy that is drawn: a row per curve and place.
    curves = {"before": (methods[0], "accuracy_before", style.Mark("#000000", "o"))}
    for k, method in enumerate(methods):
        mark = style.method_mark(method, k)
        curves[f"{method}: after"] = (method, "accuracy_after", mark)
        curves[f"{method}: crossfit"] = (method, "accuracy_after_crossfit", mark)
    marks = {curve: mark for curve, (_, _, mark) in curves.items()}
    placed = table.assign(place=axis.of(table))
    points = pd.concat(
        placed[placed["removal"] == method].assign(curve=curve, accuracy=placed[column])
        for curve, (method, column, _) in curves.items()
    )
    figure, axes = style.subplots(
        (width + 0.25) * len(layers) + 3.4, 1.35 * len(names) + 1.4, len(names), len(layers), sharex=True, sharey="row"
    )
    look = {"markersize": 5 if len(steps) <= 12 else 3, "markeredgewidth": 0.3, "linewidth": 1.2}
    bar = min(0.84 * axis.spacing * axis.per_unit * 72, 14)
    for row, name in zip(axes, names, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            cell = points[(points["property"] == name) & (points["layer"] == layer)]
            first = cell[cell["curve"] == "before"]
            # Bars of one width, and between near and far steps alike the cells that they stand for.
            null = {"color": style.NULL, "gid": "null", "zorder": 1}
            panel.vlines(first["place"], first["null_low"], first["null_high"], linewidth=bar, **null)
            steady = summaries.trained(first)
            panel.fill_between(
                steady["place"], steady["null_low"], steady["null_high"], step="mid", linewidth=0, **null
            )
            panel.axhline(first["chance"].iloc[0], color=style.BASELINE, linewidth=0.8, dashes=(1, 2))
            drawn = elements.lines(panel, summaries.trained(cell), "place", "accuracy", "curve", marks, **look)
            for line in drawn:
                if line.get_label().endswith(": after"):
                    edge = {"markerfacecolor": "white", "markeredgecolor": line.get_color(), "markeredgewidth": 0.8}
                    line.set(linestyle="--", linewidth=0.9, **edge)
                alone = cell[cell["step"].isna() & (cell["curve"] == line.get_label())]
                (dots,) = panel.plot(alone["place"], alone["accuracy"])
                dots.update_from(line)
                dots.set(linestyle="none", label="_baseline")
            elements.gridlines(panel)
            panel.set(xlabel="", ylabel="")
        row[0].set_ylabel(style.label(name), rotation=0, ha="right", va="center")
    for panel, layer in zip(axes[0], layers, strict=True):
        panel.set_title(f"layer {layer}")
    for panel in axes[-1]:
        axis.dress(panel)
    figure.supylabel("accuracy of the probe (share of words)")
    keys = [
        *(line for line in axes[0, 0].lines if line.get_label() in marks),
        elements.key("null interval", marker="s", markersize=9, color=style.NULL),
        elements.key("chance (largest class)", marker="", linestyle=":", color=style.BASELINE),
    ]
    elements.legend(figure, keys)
    n_layers = len(summaries.layers_of(figure_data.tables["probing"]))
    note = f"n = {summaries.spread(table['n_words'])} words."
    some = "" if len(layers) == n_layers else f" {len(layers)} of {n_layers} layers."
    style.title(figure, "Accuracy of the probes before and after removal", note + some)
    columns = ["checkpoint", "step", "layer", "removal", "property", *summaries.ACCURACIES]
    return figure, table[[*columns, "chance", "null_low", "null_high"]]
