"""Figures of removal: 6, 7 and 12."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, residuals, with_original
from dynalign.statistics import summaries


def significant(figure_data: FigureData):
    """Figure 6: where removal has an effect significant for all participants, by two tests."""
    effects, steps, names, method = residuals(figure_data, "removal-effects")
    cells = summaries.significant_layers(effects)
    pitch = len(names) + 1.5
    places = {(step, name): g * pitch + k for g, step in enumerate(steps) for k, name in enumerate(names)}
    ticks, layers = list(places.values()), summaries.layers_of(effects)
    figure, ((panel,),) = style.subplots(max(9.0, 3.6 + 0.5 * len(steps) * pitch), max(5.6, 2.6 + 0.24 * len(layers)))
    for step in steps:
        first, last = places[step, names[0]], places[step, names[-1]]
        panel.axvspan(first - 0.7, last + 0.7, color="#f6f6f6", zorder=0)
        heading = {"transform": panel.get_xaxis_transform(), "ha": "center", "fontsize": 11}
        panel.text((first + last) / 2, 1.02, f"step {style.step_label(step)}", **heading)
    at = np.array([places[cell] for cell in zip(cells["step"], cells["property"], strict=True)])
    heights = cells["layer"].to_numpy()
    inks = np.array([figure_data.marks[name].colour for name in cells["property"]])
    paper, calibrated = (cells[rule].to_numpy() == 1 for rule in ("paper", "calibrated"))
    ring = {"facecolors": "none", "edgecolors": inks[calibrated], "linewidths": 1.8}
    looks = {
        "neither": (~paper & ~calibrated, 7, {"c": style.FAINT}),
        "paper": (paper, 44, {"c": inks[paper]}),
        "calibrated": (calibrated, 150, ring),
    }
    for kind, (which, size, look) in looks.items():
        panel.scatter(at[which], heights[which], s=size, gid=kind, zorder=3, **look)
    elements.reading_marks(panel, at, heights, cells["reading"])
    panel.set_xticks(ticks, [style.label(name) for name in names] * len(steps))
    panel.tick_params(axis="x", length=0)
    elements.turn(panel)
    elements.layer_ticks(panel.yaxis, layers)
    panel.margins(y=0.1)
    panel.set(xlim=(ticks[0] - 1, ticks[-1] + 1), ylabel=elements.LAYER_LABEL)
    elements.gridlines(panel)
    keys = [
        elements.key("paper's rule: t-test over voxels\n(rejects far too often)", markersize=6.5),
        elements.key("calibrated test, corrected\nover the whole grid", markersize=12, fillstyle="none"),
        elements.key("neither", markersize=3, color=style.FAINT),
    ]
    elements.legend(figure, (), *keys, *elements.reading_keys())
    subjects = list(dict.fromkeys(effects["subject"]))
    named = "" if elements.crowded(subjects) else f"{', '.join(subjects)}; "
    note = f"Removal by {method}. Significant for every participant ({named}n = {len(subjects)})."
    style.title(figure, "Layers at which removing a property changes the alignment", note)
    return figure, cells.sort_values(["step", "property", "layer"], kind="stable", ignore_index=True)


def property_bars(figure_data: FigureData, axes, rows, y: str, names, low, high) -> None:
    """A bar for each property in its colour, and its interval, dark with a white rim to show on any colour."""
    import seaborn

    colours = {name: figure_data.marks[name].colour for name in names}
    look = {"order": names, "hue_order": names, "palette": colours, "saturation": 1, "width": 0.7, "legend": False}
    seaborn.barplot(rows, x="property", y=y, hue="property", errorbar=None, ax=axes, **look)
    places = rows["property"].map(names.index)
    axes.vlines(places, low, high, color="white", linewidth=3.4, zorder=2.5)
    axes.vlines(places, low, high, color="#262626", linewidth=1.6, zorder=2.6, gid="interval")
    axes.axhline(0, color="black", linewidth=0.8)
    elements.gridlines(axes)


def readable_dots(panel, rows, names, marks) -> None:
    """What the encoder reads of each property: hollow before its removal, filled after, a dash for chance."""
    places = rows["property"].map(names.index)
    colours = [marks[name].colour for name in rows["property"]]
    panel.vlines(places, rows["readable_before"], rows["readable_after"], color=style.FAINT, linewidth=1.2)
    look = {"edgecolors": colours, "s": 38, "linewidths": 1.4, "zorder": 3}
    panel.scatter(places, rows["readable_before"], facecolors="white", gid="readable before", **look)
    panel.scatter(places, rows["readable_after"], facecolors=colours, gid="readable after", **look)
    look = {"marker": "_", "s": 130, "linewidths": 1.2, "c": style.NOTE, "gid": "readable by chance"}
    panel.scatter(places, rows["readable_after_null"], **look)
    panel.axhline(0, color="black", linewidth=0.8)
    elements.gridlines(panel)


def representation_bars(figure_data: FigureData):
    """Figure 7: alignment of each representation (the paper's bars), its difference to the original, what is read."""
    import pandas as pd

    alignment, steps, names, method = with_original(figure_data)
    effects = residuals(figure_data, "removal-effects")[0]
    means, differences = summaries.representation_means(alignment), summaries.mean_differences(effects)
    subjects = figure_data.subjects
    dodge = {subject: 0.5 * ((k + 0.5) / len(subjects) - 0.5) for k, subject in enumerate(subjects)}
    levels = summaries.over_subjects(summaries.layer_means(figure_data.tables["alignment"]))
    width = max(3.0, 0.62 * len(names) + 0.6)
    reads = summaries.readable_means(effects)
    rows_of_panels = {"gridspec_kw": {"height_ratios": [3, 3, 2]}, "sharex": True, "sharey": "row"}
    figure, axes = style.subplots(width * len(steps) + 2.6, 8.6, 3, len(steps), **rows_of_panels)
    for (upper, lower, bottom), step in zip(axes.T, steps, strict=True):
        rows = means[means["step"] == step]
        low, high = (rows["mean_r"] + sign * rows["std_over_layers"] for sign in (-1, 1))
        property_bars(figure_data, upper, rows, "mean_r", names, low, high)
        elements.baselines(upper, levels)
        rows = differences[differences["step"] == step]
        whole, each = rows[rows["subject"] == "mean"], rows[rows["subject"] != "mean"]
        property_bars(figure_data, lower, whole, "mean_difference", names, whole["ci_low"], whole["ci_high"])
        each = each.assign(place=each["property"].map(names.index) + each["subject"].map(dodge))
        look = {"linestyle": "none", "markersize": 3 if elements.crowded(subjects) else 5.5, "zorder": 3}
        called = elements.in_legend(subjects)
        elements.lines(lower, each, "place", "mean_difference", "subject", subjects, called, **look)
        readable_dots(bottom, reads[reads["step"] == step], names, figure_data.marks)
        bottom.set_xticks(range(len(names)), [style.label(name) for name in names])
        bottom.set_ylabel("property as read\nby the encoder (r)")
        elements.turn(bottom)
        upper.set(title=f"step {style.step_label(step)}", ylabel=elements.R_LABEL)
        lower.set(xlabel="", ylabel="difference to the original\n(residual − original, mean r)")
    bars = ("top row: standard deviation\nover layers", "middle row: interval\nof the mean")
    keys = [elements.bar_key(text, color="#262626", markeredgewidth=1.6) for text in bars]
    keys += [
        elements.key("readable before removal", fillstyle="none", markeredgewidth=1.4),
        elements.key("readable after removal"),
        elements.key("readable by chance\n(97.5th percentile)", marker="_", markersize=10),
    ]
    elements.legend(figure, axes[:2, 0], *keys)
    for panel in axes[:, 1:].flat:
        panel.set_ylabel("")
    note = f"Removal by {method}. Mean over {len(summaries.layers_of(alignment))} layers. "
    note += f"Shown: {summaries.in_words(alignment)}."
    style.title(figure, "Alignment of the representations with one property removed", note)
    bars = means.rename(columns={"mean_r": "value"}).assign(quantity="alignment", subject="mean")
    changes = differences.rename(columns={"mean_difference": "value"}).assign(quantity="difference")
    read = reads.melt(["step", "property"], var_name="quantity").assign(subject="mean")
    columns = ["quantity", "step", "property", "subject", "value", "std_over_layers", "ci_low", "ci_high"]
    return figure, pd.concat([bars, changes, read], ignore_index=True)[columns]


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
    axis = elements.StepAxis(steps, figure_data.options.step_axis, width, baselines)
    # Every accuracy that is drawn: a row per curve and place.
    curves = {"before": (methods[0], "accuracy_before")}
    for method in methods:
        # Wherever a study's encoding fits a removal, probes see it fitted both ways.
        family = method.partition("-")[0]
        curves[f"{family}: all words"] = (method, "accuracy_after")
        curves[f"{family}: crossfit"] = (method, "accuracy_after_crossfit")
    looks = dict(zip(methods, cycle(style.FURTHER_MARKS), strict=False))
    marks = {curve: looks[method] for curve, (method, _) in curves.items()} | {"before": style.Mark("#000000", "o")}
    placed = table.assign(place=axis.of(table))
    points = pd.concat(
        placed[placed["removal"] == method].assign(curve=curve, accuracy=placed[column])
        for curve, (method, column) in curves.items()
    )
    size = (width + 0.25) * len(layers) + 3.4, 1.35 * len(names) + 1.4
    figure, axes = style.subplots(*size, len(names), len(layers), sharex=True, sharey="row")
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
            low, high = steady["null_low"], steady["null_high"]
            panel.fill_between(steady["place"], low, high, step="mid", linewidth=0, **null)
            panel.axhline(first["chance"].iloc[0], color=style.BASELINE, linewidth=0.8, dashes=(1, 2))
            for line in elements.lines(panel, summaries.trained(cell), "place", "accuracy", "curve", marks, **look):
                if line.get_label().endswith(": all words"):
                    edge = {"markerfacecolor": "white", "markeredgecolor": line.get_color(), "markeredgewidth": 0.8}
                    line.set(linestyle="--", linewidth=0.9, **edge)
                alone = cell[cell["step"].isna() & (cell["curve"] == line.get_label())]
                (dots,) = panel.plot(alone["place"], alone["accuracy"])
                dots.update_from(line)
                dots.set(linestyle="none", label="_baseline")
            elements.gridlines(panel)
            panel.set(xlabel="", ylabel="")
        row[0].set_ylabel(style.label(name), rotation=0, ha="right", va="center", labelpad=10)
    for highest, lowest, layer in zip(axes[0], axes[-1], layers, strict=True):
        highest.set_title(f"layer {layer}")
        axis.dress(lowest)
    figure.supylabel("accuracy of the probe (share of words)")
    null = elements.key("null interval", marker="s", markersize=9, color=style.NULL)
    chance = elements.key("chance (largest class)", marker="", linestyle=":", color=style.BASELINE)
    elements.legend(figure, [axes[0, 0]], null, chance)
    n_layers = len(summaries.layers_of(figure_data.tables["probing"]))
    note = f"n = {summaries.spread(table['n_words'])} words."
    some = "" if len(layers) == n_layers else f" {len(layers)} of {n_layers} layers."
    style.title(figure, "Accuracy of the probes before and after removal", note + some)
    columns = ["checkpoint", "step", "layer", "removal", "property", *summaries.ACCURACIES]
    return figure, table[[*columns, "chance", "null_low", "null_high"]]
