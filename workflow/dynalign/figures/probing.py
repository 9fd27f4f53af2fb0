"""Figure 12: probing over training."""

from __future__ import annotations

import numpy as np

from dynalign.figures import style
from dynalign.figures.data import FigureData
from dynalign.statistics import summaries


def probing(figure_data: FigureData):
    """Figure 12: accuracy before, after and after crossfit removal against the null interval, by step.

    One row of panels per property, one column per layer (of many, :data:`summaries.MOST_LAYERS`).
    """
    table = summaries.probing_cells(figure_data.tables["probing"])
    names = figure_data.in_order(table["property"])
    layers, methods = summaries.layers_of(table), list(dict.fromkeys(table["removal"]))
    looks = {method: style.method_mark(method, k) for k, method in enumerate(methods)}
    steps = set(summaries.trained(table)["step"])
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    width = float(np.clip(0.19 * (len(steps) + len(baselines)), 1.5, 2.4))
    axis = style.StepAxis(steps, figure_data.options.step_axis, width, baselines)
    figure, axes = style.subplots(
        (width + 0.25) * len(layers) + 3.4, 1.35 * len(names) + 1.7, len(names), len(layers), sharex=True, sharey="row"
    )
    size = 4 if len(steps) <= 12 else 2.5
    for row, name in zip(axes, names, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            cell = table[(table["property"] == name) & (table["layer"] == layer)]
            first = cell[cell["removal"] == methods[0]]
            panel.use_sticky_edges = False  # room below the bars
            left, widths = axis.cells(first)
            bars = {"color": style.NULL, "align": "edge", "linewidth": 0, "gid": "null"}
            panel.bar(left, first["null_high"] - first["null_low"], widths, first["null_low"], **bars)
            panel.axhline(first["chance"].iloc[0], color=style.BASELINE, linewidth=0.8, dashes=(1, 2))
            curves = [(first, "accuracy_before", "before", style.Mark("#000000", "o"), {})]
            for method, rows in cell.groupby("removal", sort=False):
                hollow = {"fillstyle": "none", "linestyle": "--", "linewidth": 0.9}
                curves.append((rows, "accuracy_after", f"{method}: after", looks[method], hollow))
                filled = (rows, "accuracy_after_crossfit", f"{method}: crossfit", looks[method], {})
                curves.append(filled)
            for rows, column, label, mark, more in curves:
                look = {"color": mark.colour, "marker": mark.marker, "markersize": size, "linewidth": 1.2} | more
                line = summaries.trained(rows)
                panel.plot(axis(line["step"]), line[column], **look, label=label)
                alone = rows[rows["step"].isna()]
                panel.plot(axis.of(alone), alone[column], **look | {"linestyle": "none"})
            style.gridlines(panel)
        row[0].set_ylabel(style.label(name), rotation=0, ha="right", va="center")
    for panel, layer in zip(axes[0], layers, strict=True):
        panel.set_title(f"layer {layer}")
    for panel in axes[-1]:
        axis.dress(panel)
    figure.supylabel("accuracy of the probe (share of words)")
    handles = [
        *(line for line in axes[0, 0].get_lines() if not line.get_label().startswith("_")),
        style.key("null interval", marker="s", markersize=9, color=style.NULL),
        style.key("chance (largest class)", marker="", linestyle=":", color=style.BASELINE),
    ]
    style.legend(figure, handles)
    every = set(layers) == set(summaries.layers_of(figure_data.tables["probing"]))
    style.title(
        figure,
        "Accuracy of the probes before and after removal",
        "After: removal fitted on all words, as in the paper; it falls below chance even for a label unrelated to "
        "the vectors. Crossfit: removal fitted on the training words of each fold; the property can still be read "
        "only where it lies above the null interval (labels permuted by sentence, 95 %, at least up to chance)."
        + ("" if every else f" {len(layers)} of the layers studied.")
        + f" n = {summaries.spread(table['n_words'])} words.",
    )
    columns = ["checkpoint", "step", "layer", "removal", "property", *summaries.ACCURACIES]
    return figure, table[[*columns, "chance", "null_low", "null_high"]]
