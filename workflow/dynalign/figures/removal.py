"""Figures of removal: 6 and 7."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynalign.figures import style
from dynalign.figures.data import R_LABEL, FigureData, residuals
from dynalign.figures.layers import with_original
from dynalign.statistics import summaries


def significant(figure_data: FigureData):
    """Figure 6: where removal has an effect significant for all participants, by two tests."""
    effects, steps, names, method = residuals(figure_data, "removal-effects")
    cells = summaries.significant_layers(effects)
    pitch = len(names) + 1.5
    places = {(step, name): g * pitch + k for g, step in enumerate(steps) for k, name in enumerate(names)}
    ticks, layers = list(places.values()), summaries.layers_of(effects)
    figure, axes = style.subplots(max(9.0, 3.6 + 0.5 * len(steps) * pitch), max(5.6, 2.6 + 0.24 * len(layers)))
    panel = axes[0, 0]
    for step in steps:
        first, last = places[step, names[0]], places[step, names[-1]]
        panel.axvspan(first - 0.7, last + 0.7, color="#f6f6f6", zorder=0)
        heading = {"transform": panel.get_xaxis_transform(), "ha": "center", "fontsize": 11}
        panel.text((first + last) / 2, 1.02, f"step {style.step_label(step)}", **heading)
    marks = figure_data.marks
    at = np.array([places[cell] for cell in zip(cells["step"], cells["property"], strict=True)])
    inks = np.array([marks[name].colour for name in cells["property"]])
    paper, calibrated = (cells[rule].to_numpy() == 1 for rule in ("paper", "calibrated"))
    heights = cells["layer"].to_numpy()
    for kind, which, size in (("neither", ~paper & ~calibrated, 7), ("paper", paper, 44)):
        colour = style.FAINT if kind == "neither" else inks[which]
        panel.scatter(at[which], heights[which], s=size, c=colour, gid=kind, zorder=3)
    ring = {"s": 150, "facecolors": "none", "edgecolors": inks[calibrated], "linewidths": 1.8}
    panel.scatter(at[calibrated], heights[calibrated], **ring, gid="calibrated", zorder=3)
    panel.set_xticks(ticks, [style.label(name) for name in names] * len(steps))
    panel.tick_params(axis="x", length=0)
    style.turn(panel)
    panel.set_xlim(ticks[0] - 1, ticks[-1] + 1)
    style.layer_ticks(panel.yaxis, layers)
    panel.margins(y=0.1)
    panel.set_ylabel("layer (0 = embeddings)")
    style.gridlines(panel)
    handles = [
        style.key("paper's rule: t-test over voxels\n(rejects far too often)", markersize=6.5),
        style.key("calibrated test, corrected\nover the whole grid", markersize=12, fillstyle="none"),
        style.key("neither", markersize=3, color=style.FAINT),
    ]
    style.legend(figure, handles)
    subjects = list(dict.fromkeys(effects["subject"]))
    style.title(
        figure,
        "Layers at which removing a property changes the alignment",
        f"Dot or ring: significant for every participant ({', '.join(subjects)}; n = {len(subjects)}), "
        f"in either direction. Removal by {method}.",
    )
    return figure, cells.sort_values(["step", "property", "layer"], kind="stable", ignore_index=True)


def property_bars(figure_data: FigureData, axes, properties, place: Mapping[str, int], values, low, high) -> None:
    """A bar with an error bar for each of `properties`, in its colour, at its place."""
    colours = figure_data.marks
    places = [place[name] for name in properties]
    axes.bar(places, values, color=[colours[name].colour for name in properties], width=0.7)
    style.interval(axes, places, low, high)
    style.gridlines(axes)
    axes.axhline(0, color="black", linewidth=0.8)


def representation_bars(figure_data: FigureData):
    """Figure 7: alignment of each representation (the paper's bars), and its difference to the original."""
    import pandas as pd

    alignment, steps, names, method = with_original(figure_data)
    effects = residuals(figure_data, "removal-effects")[0]
    means, differences = summaries.representation_means(alignment), summaries.mean_differences(effects)
    subjects = figure_data.subjects
    place = {name: k for k, name in enumerate(names)}
    levels = summaries.baseline_levels(figure_data.tables["alignment"])
    width = max(3.0, 0.62 * len(names) + 0.6)
    figure, axes = style.subplots(width * len(steps) + 2.6, 7, 2, len(steps), sharex=True, sharey="row")
    for (upper, lower), step in zip(axes.T, steps, strict=True):
        rows = means[means["step"] == step]
        spread = (rows["mean_r"] - rows["std_over_layers"], rows["mean_r"] + rows["std_over_layers"])
        property_bars(figure_data, upper, rows["property"], place, rows["mean_r"], *spread)
        style.baselines(upper, levels)
        upper.set_title(f"step {style.step_label(step)}")
        rows = differences[(differences["step"] == step) & (differences["subject"] == "mean")]
        bounds = (rows["mean_difference"], rows["ci_low"], rows["ci_high"])
        property_bars(figure_data, lower, rows["property"], place, *bounds)
        for k, (subject, mark) in enumerate(subjects.items()):
            rows = differences[(differences["step"] == step) & (differences["subject"] == subject)]
            dots = rows["property"].map(place) + 0.5 * ((k + 0.5) / len(subjects) - 0.5)
            look = {"color": mark.colour, "marker": mark.marker, "edgecolors": "white", "linewidths": 0.6}
            lower.scatter(dots, rows["mean_difference"], s=24, **look, label=f"participant {subject}", zorder=3)
        lower.set_xticks(range(len(names)), [style.label(name) for name in names])
        style.turn(lower)
    axes[0, 0].set_ylabel(R_LABEL)
    axes[1, 0].set_ylabel("difference to the original\n(residual − original, mean r)")
    handles = [line for panel in axes[:, 0] for line in panel.get_legend_handles_labels()[0]]
    style.legend(figure, handles)
    layers = summaries.layers_of(alignment)
    style.title(
        figure,
        "Alignment of the representations with one property removed",
        f"Above: mean over voxels, participants and {len(layers)} layers; error bars: standard deviation "
        "over layers of the means over voxels and participants, as in the paper. Below: symbols are "
        "participants; interval of their mean, layers and participants, who share the text, taken as dependent "
        "(bounds averaged). "
        f"Removal by {method}. Shown: {summaries.in_words(alignment)}.",
    )
    bars = means.rename(columns={"mean_r": "value"}).assign(quantity="alignment", subject="mean")
    changes = differences.rename(columns={"mean_difference": "value"}).assign(quantity="difference")
    columns = ["quantity", "step", "property", "subject", "value", "std_over_layers", "ci_low", "ci_high"]
    return figure, pd.concat([bars, changes], ignore_index=True)[columns]
