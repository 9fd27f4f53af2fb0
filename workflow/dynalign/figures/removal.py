"""Figures of removal: 6 and 7."""

from __future__ import annotations

import numpy as np

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, residuals, with_original
from dynalign.figures.step_axis import turn
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
    inks = np.array([figure_data.marks[name].colour for name in cells["property"]])
    paper, calibrated = (cells[rule].to_numpy() == 1 for rule in ("paper", "calibrated"))
    looks = {
        "neither": (~paper & ~calibrated, 7, {"c": style.FAINT}),
        "paper": (paper, 44, {"c": inks[paper]}),
        "calibrated": (calibrated, 150, {"facecolors": "none", "edgecolors": inks[calibrated], "linewidths": 1.8}),
    }
    for kind, (which, size, look) in looks.items():
        panel.scatter(at[which], cells["layer"].to_numpy()[which], s=size, gid=kind, zorder=3, **look)
    elements.reading_marks(panel, at, cells["layer"], cells["reading"])
    panel.set_xticks(ticks, [style.label(name) for name in names] * len(steps))
    panel.tick_params(axis="x", length=0)
    turn(panel)
    panel.set_xlim(ticks[0] - 1, ticks[-1] + 1)
    elements.layer_ticks(panel.yaxis, layers)
    panel.margins(y=0.1)
    panel.set_ylabel(elements.LAYER_LABEL)
    elements.gridlines(panel)
    keys = [
        elements.key("paper's rule: t-test over voxels\n(rejects far too often)", markersize=6.5),
        elements.key("calibrated test, corrected\nover the whole grid", markersize=12, fillstyle="none"),
        elements.key("neither", markersize=3, color=style.FAINT),
        *elements.reading_keys(),
    ]
    elements.legend(figure, keys)
    subjects = list(dict.fromkeys(effects["subject"]))
    style.title(
        figure,
        "Layers at which removing a property changes the alignment",
        f"Removal by {method}. Significant for every participant ({', '.join(subjects)}; n = {len(subjects)}).",
    )
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
        look = {"linestyle": "none", "markersize": 5.5, "zorder": 3}
        elements.lines(lower, each, "place", "mean_difference", "subject", subjects, elements.participant, **look)
        readable_dots(bottom, reads[reads["step"] == step], names, figure_data.marks)
        bottom.set_xticks(range(len(names)), [style.label(name) for name in names])
        bottom.set_ylabel("property as read\nby the encoder (r)")
        turn(bottom)
        upper.set(title=f"step {style.step_label(step)}", ylabel=elements.R_LABEL)
        lower.set(xlabel="", ylabel="difference to the original\n(residual − original, mean r)")
    bars = ("top row: standard deviation\nover layers", "middle row: interval\nof the mean")
    keys = [elements.bar_key(text, color="#262626", markeredgewidth=1.6) for text in bars]
    keys += [
        elements.key("readable before removal", fillstyle="none", markeredgewidth=1.4),
        elements.key("readable after removal"),
        elements.key("readable by chance\n(97.5th percentile)", marker="_", markersize=10),
    ]
    elements.legend(figure, [*elements.handles(*axes[:2, 0]), *keys])
    for panel in axes[:, 1:].flat:
        panel.set_ylabel("")
    style.title(
        figure,
        "Alignment of the representations with one property removed",
        f"Removal by {method}. Mean over {len(summaries.layers_of(alignment))} layers. "
        f"Shown: {summaries.in_words(alignment)}.",
    )
    bars = means.rename(columns={"mean_r": "value"}).assign(quantity="alignment", subject="mean")
    changes = differences.rename(columns={"mean_difference": "value"}).assign(quantity="difference")
    read = reads.melt(["step", "property"], var_name="quantity").assign(subject="mean")
    columns = ["quantity", "step", "property", "subject", "value", "std_over_layers", "ci_low", "ci_high"]
    return figure, pd.concat([bars, changes, read], ignore_index=True)[columns]
