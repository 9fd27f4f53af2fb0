"""The paper's eleven figures and five beyond it, drawn from the study's tables.

One call draws one figure: ``python -m dynalign.figures 4 --alignment alignment.tsv --output X.png X.tsv``. A
``.tsv`` output holds the numbers drawn. :data:`FIGURES` says which tables each figure needs.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign import emergence, files, style, summaries
from dynalign.cli import options
from dynalign.config import RARE, Figures, paper_properties
from dynalign.files import InputError

R_LABEL = "alignment\n(mean Pearson r over voxels)"
PUBLISHED = "Bakalova (published)"


@dataclass(frozen=True)
class Material:
    """What a figure is drawn from.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By the names of :data:`dynalign.summaries.TABLES`; a baseline's ``step`` is NaN.
    options : dynalign.config.Figures
    properties : tuple of str
        All properties of the study in its order (colours follow it).
    removal : str, optional
        The removal method of figures 6 to 8; default: the first in the table.
    reference : mapping, optional
        The paper's published values (``resources/paper_values.json``).
    """

    tables: Mapping[str, object]
    options: Figures
    properties: tuple[str, ...]
    removal: str | None = None
    reference: Mapping[str, object] | None = None

    @property
    def marks(self) -> dict[str, style.Mark]:
        """The mark of every property of the study, and of any other in the tables."""
        others = {
            name
            for table in self.tables.values()
            if "property" in table
            for name in table["property"]
            if name
        }
        return style.marks(dict.fromkeys([*self.properties, *sorted(others)]))

    @property
    def subjects(self) -> dict[str, style.Mark]:
        """The mark of every participant."""
        return style.subject_marks(list(dict.fromkeys(self.tables["alignment"]["subject"])))

    def in_order(self, names) -> list[str]:
        """The properties among `names`: the study's in its order, then others."""
        found = set(names)
        return [name for name in self.properties if name in found] + sorted(found - set(self.properties))

    def published(self, key: str, steps: Sequence[float]) -> dict[int, float]:
        """The paper's values of `key` at those of `steps` for which it has one."""
        rows = (self.reference or {}).get(key, [])
        return {
            row["step"]: row["value"]
            for row in rows
            if row["value"] is not None and row["step"] in set(steps)
        }


def residuals(material: Material, name: str):
    """What figures 6 to 8 show of table `name`.

    Returns
    -------
    rows : pandas.DataFrame
        Those of the shown removal method, steps and properties.
    steps, properties : list
        As shown, in order.
    method : str
    """
    table = summaries.trained(material.tables[name])
    removed = table[table["removal"] != "none"]
    steps = summaries.shown_steps(material.options.steps, removed["step"])
    methods = list(removed["removal"].unique())
    method = material.removal or (methods[0] if methods else None)
    if method not in methods:
        raise InputError(
            f"--removal {method}: the table has {', '.join(methods) or 'no removal'}; name one of these"
        )
    removed = removed[removed["removal"] == method]
    properties = material.in_order(removed["property"])
    names = summaries.shown_properties(material.options.properties, properties)
    return removed[removed["step"].isin(steps) & removed["property"].isin(names)], steps, names, method


def draw_published(axes, axis: style.StepAxis, published: Mapping[int, float]) -> None:
    """The paper's values, faint, at the steps that `axis` has."""
    steps = [step for step in published if step in axis.steps]
    if steps:
        values = [published[step] for step in steps]
        axes.plot(
            axis(steps), values, color=style.REFERENCE, marker="o", markersize=4, label=PUBLISHED, zorder=0.9
        )


def with_published(table, published: Mapping[int, float]):
    """`table` with the column ``published`` where there is anything published."""
    return table.assign(published=table["step"].map(published)) if published else table


def enlarged(table) -> dict:
    """Panels for perplexities: all checkpoints, and those near the best where the others hide them.

    The paper's axis (35 to 45) leaves out the first checkpoints.
    """
    near = table[table["perplexity"] <= 1.5 * table["perplexity"].min()]
    few = not 3 <= len(near) < len(table)
    return {"all checkpoints": table} | ({} if few else {"enlarged: within 1.5 × the lowest": near})


def perplexity(material: Material):
    """Figure 1: perplexity by training step, log y; beside it the trained checkpoints enlarged."""
    table = summaries.trained(material.tables["perplexity"]).dropna(subset="perplexity")
    if table.empty:
        raise InputError("perplexity table: no checkpoint has a step and a perplexity")
    panels = enlarged(table)
    published = material.published("perplexity", table["step"])
    figure, axes = style.sheet(12.4 if len(panels) == 2 else 8, 5.2, 1, len(panels))
    for panel, (name, rows) in zip(axes[0], panels.items(), strict=True):
        axis = style.StepAxis(rows["step"], material.options.step_axis, 5.2 if len(panels) == 2 else 7)
        draw_published(panel, axis, published)
        panel.plot(axis(rows["step"]), rows["perplexity"], color=style.LINE, marker="o", label="this study")
        texts = [f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" for value in rows["perplexity"]]
        style.point_labels(panel, axis, rows["perplexity"], texts)
        panel.set_title(name if len(panels) == 2 else "")
        style.plain_log_axis(panel)
        axis.dress(panel)
        style.gridlines(panel)
    axes[0, 0].set_ylabel("perplexity (log scale)")
    if published:
        axes[0, 0].legend(loc="upper right")
    style.title(
        figure,
        "Perplexity of the model over training",
        f"exp(mean negative log-likelihood) over {int(table['n_tokens'].max()):,} predicted tokens.",
    )
    return figure, with_published(table[["checkpoint", "step", "perplexity", "n_tokens"]], published)


def distribution(material: Material, level: str, kind: str, columns: int, size: tuple[float, float]):
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
    table = material.tables["class-counts"]
    table = table[(table["level"] == level) & (table["distribution"] == kind)]
    # A coin's counts say nothing; the paper leaves it out too.
    names = [name for name in dict.fromkeys(table["property"]) if name != "random_label"]
    paper = list(paper_properties())
    names.sort(key=lambda name: paper.index(name) if name in paper else len(paper))
    table = table[table["property"].isin(names)]
    rows = max(1, -(-len(names) // columns))
    figure, axes = style.sheet(size[0] * columns, size[1] * rows, rows, columns)
    colours = material.marks
    for panel, name in zip(axes.flat, names, strict=False):
        bars = table[table["property"] == name]
        style.bars_of_counts(
            panel, list(bars["value"]), bars["count"].to_numpy(), colours[name].colour, size[0] - 0.9
        )
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
        shown = [
            f"{style.label(row.property)} {row.value} ({row.count:,})" for row in rare.itertuples(name="Row")
        ]
        note += f" Classes under {RARE:.0%}: {', '.join(shown)}."
    style.title(
        figure,
        f"{level.capitalize()}-level properties: {'classes used' if kind == 'used' else 'original values'}",
        note,
    )
    return figure, table[["property", "level", "distribution", "value", "count"]]


def sentence_classes(material: Material):
    """Figure 2: classes used, sentence-level properties."""
    return distribution(material, "sentence", "used", 3, (5, 4))


def word_classes(material: Material):
    """Figure 3: classes used, word-level properties."""
    return distribution(material, "word", "used", 2, (6, 5))


def sentence_distributions(material: Material):
    """Figure 9: original distributions, sentence-level properties."""
    return distribution(material, "sentence", "original", 3, (5, 4))


def word_distributions(material: Material):
    """Figure 10: original distributions, word-level properties."""
    return distribution(material, "word", "original", 2, (6, 5))


def draw_participants(panel, axis: style.StepAxis, values, subjects: Mapping[str, style.Mark]) -> None:
    """Each participant's alignment and its interval, side by side at each step."""
    room = axis.spacing * axis.per_unit * 72 / len(subjects)
    for k, (subject, mark) in enumerate(subjects.items()):
        dots = summaries.trained(values[values["subject"] == subject])
        places = axis(dots["step"]) + axis.dodge(k, len(subjects))
        panel.vlines(places, dots["ci_low"], dots["ci_high"], color=mark.colour, linewidth=1, alpha=0.45)
        dot = {"s": np.clip(room, 3.5, 5.8) ** 2, "color": mark.colour, "marker": mark.marker, "alpha": 0.85}
        panel.scatter(places, dots["mean_r"], **dot, label=f"participant {subject}")


def draw_mean(panel, axis: style.StepAxis, means, name: str, colour: str = "black", **look) -> None:
    """The mean over participants as a line, its interval as a band."""
    line = summaries.trained(means)
    places = axis(line["step"])
    band = {"color": colour, "alpha": 0.12, "linewidth": 0, "zorder": 1, "gid": name}
    panel.fill_between(places, line["ci_low"], line["ci_high"], **band)
    look = {"color": colour, "marker": "_", "markersize": 13, "zorder": 3} | look
    panel.plot(places, line["mean_r"], label=name, **look)


def draw_baselines(panel, means) -> None:
    """The dashed lines of the baselines among `means`."""
    levels = means[means["step"].isna()]
    style.baselines(panel, dict(zip(levels["checkpoint"], levels["mean_r"], strict=True)))


def need_steps(table, what: str) -> None:
    """Refuse a `table` without any checkpoint that has a step."""
    if table["step"].isna().all():
        raise InputError(f"alignment table: no checkpoint has a step; {what} needs one beside the baselines")


def over_training(material: Material, values, key: str, heading: str, note: str):
    """Alignment by training step: subjects, their mean, dashed baselines (figures 4 and 11)."""
    import pandas as pd

    need_steps(values, "this figure")
    means = summaries.over_subjects(values)
    line = summaries.trained(means)
    axis = style.StepAxis(line["step"], material.options.step_axis, 6.5)
    figure, axes = style.sheet(9.5, 6)
    panel = axes[0, 0]
    published = material.published(key, line["step"])
    draw_published(panel, axis, published)
    draw_baselines(panel, means)
    draw_participants(panel, axis, values, material.subjects)
    draw_mean(panel, axis, means, "mean of participants")
    style.numbers_above(panel, axis, [f"{value:.3f}" for value in line["mean_r"]], "mean")
    panel.set_ylabel(R_LABEL)
    axis.dress(panel)
    style.gridlines(panel)
    style.legend(figure, panel.get_legend_handles_labels()[0])
    style.title(
        figure,
        heading,
        f"{note} Band: interval of the mean, bounds averaged over participants, who share the text; it speaks of these "
        f"participants, not of others. Shown: {summaries.in_words(material.tables['alignment'])}.",
    )
    return figure, with_published(pd.concat([values, means], ignore_index=True), published)


def best_layer_alignment(material: Material):
    """Figure 4: alignment over training, best layer of each participant."""
    return over_training(
        material,
        summaries.best_layers(material.tables["alignment"]),
        "alignment_best_layer",
        "Alignment over training: best layer of each participant",
        "Best layer = highest mean r, chosen anew at each step, for baselines too; the choice flatters (figure "
        "16), and the intervals leave it out. Thin bars: each participant's interval at that layer.",
    )


def mean_layer_alignment(material: Material):
    """Figure 11: alignment over training, mean over layers."""
    table = material.tables["alignment"]
    return over_training(
        material,
        summaries.layer_means(table),
        "alignment_layer_mean",
        "Alignment over training: mean over layers",
        f"Mean over layers {', '.join(map(str, summaries.layers_of(summaries.original(table))))}. Thin bars: "
        "each participant's interval, layers taken as dependent (bounds averaged).",
    )


def best_layer(material: Material):
    """Figure 5: best layer of each participant by step; hollow: the layer that the inner score chooses.

    Of many participants and steps, each choice gets a panel of its own.
    """
    table = material.tables["alignment"]
    best = summaries.trained(summaries.best_layers(table))
    need_steps(best, "figure 5")
    axis = style.StepAxis(best["step"], material.options.step_axis, 6.5)
    crowded = len(best) > 60
    figure, axes = style.sheet(10, 7.6 if crowded else 4.8, 1 + crowded, 1, sharex=True)
    upper, lower = axes[0, 0], axes[-1, 0]
    for k, (subject, mark) in enumerate(material.subjects.items()):
        rows = best[best["subject"] == subject]
        places = axis(rows["step"]) + axis.dodge(k, len(material.subjects))
        look = {"color": mark.colour, "marker": mark.marker, "linestyle": "--"}
        size = {"markersize": 4, "linewidth": 0.7} if crowded else {"markersize": 6.5, "linewidth": 1.1}
        upper.plot(places, rows["layer"], **look, **size, label=f"participant {subject}")
        ring = {"facecolors": "none", "edgecolors": mark.colour, "marker": mark.marker, "linewidths": 1.3}
        lower.scatter(
            places, rows["layer_by_inner_score"], s=30 if crowded else 140, **ring, gid="inner score"
        )
        if crowded:
            lower.plot(places, rows["layer_by_inner_score"], color=mark.colour, linestyle="--", linewidth=0.7)
    for panel in axes[:, 0]:
        style.layer_ticks(panel.yaxis, summaries.layers_of(summaries.original(table)))
        panel.margins(y=0.1)
        panel.set_ylabel("best layer (0 = embeddings)")
        style.gridlines(panel)
    axis.dress(lower)
    handles = [
        *upper.get_legend_handles_labels()[0],
        style.key("filled: highest mean r\n(the paper's rule)", markersize=6.5),
        style.key("hollow: highest inner score\n(not the score reported)", markersize=11, fillstyle="none"),
    ]
    style.legend(figure, handles)
    style.title(
        figure,
        "Best layer of each participant over training",
        f"Symbols of one step stand side by side. Shown: {summaries.in_words(table)}.",
    )
    return figure, best


def significant(material: Material):
    """Figure 6: where removal has an effect significant for all participants, by two tests."""
    effects, steps, names, method = residuals(material, "removal-effects")
    cells = summaries.significant_layers(effects)
    pitch = len(names) + 1.5
    places = {(step, name): g * pitch + k for g, step in enumerate(steps) for k, name in enumerate(names)}
    ticks, layers = list(places.values()), summaries.layers_of(effects)
    figure, axes = style.sheet(max(9.0, 3.6 + 0.5 * len(steps) * pitch), max(5.6, 2.6 + 0.24 * len(layers)))
    panel = axes[0, 0]
    for step in steps:
        first, last = places[step, names[0]], places[step, names[-1]]
        panel.axvspan(first - 0.7, last + 0.7, color="#f6f6f6", zorder=0)
        heading = {"transform": panel.get_xaxis_transform(), "ha": "center", "fontsize": 11}
        panel.text((first + last) / 2, 1.02, f"step {style.step_label(step)}", **heading)
    marks = material.marks
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


def with_original(material: Material):
    """As :func:`residuals` of the alignment, with the original representation before the properties."""
    import pandas as pd

    removed, steps, names, method = residuals(material, "alignment")
    first = summaries.original(material.tables["alignment"])
    rows = pd.concat([first[first["step"].isin(steps)], removed], ignore_index=True)
    return rows, steps, ["original", *names], method


def property_bars(material: Material, axes, properties, place: Mapping[str, int], values, low, high) -> None:
    """A bar with an error bar for each of `properties`, in its colour, at its place."""
    colours = material.marks
    places = [place[name] for name in properties]
    axes.bar(places, values, color=[colours[name].colour for name in properties], width=0.7)
    style.interval(axes, places, low, high)
    style.gridlines(axes)
    axes.axhline(0, color="black", linewidth=0.8)


def representation_bars(material: Material):
    """Figure 7: alignment of each representation (the paper's bars), and its difference to the original."""
    import pandas as pd

    alignment, steps, names, method = with_original(material)
    effects = residuals(material, "removal-effects")[0]
    means, differences = summaries.representation_means(alignment), summaries.mean_differences(effects)
    subjects = material.subjects
    place = {name: k for k, name in enumerate(names)}
    levels = summaries.baseline_levels(material.tables["alignment"])
    width = max(3.0, 0.62 * len(names) + 0.6)
    figure, axes = style.sheet(width * len(steps) + 2.6, 7, 2, len(steps), sharex=True, sharey="row")
    for (upper, lower), step in zip(axes.T, steps, strict=True):
        rows = means[means["step"] == step]
        spread = (rows["mean_r"] - rows["std_over_layers"], rows["mean_r"] + rows["std_over_layers"])
        property_bars(material, upper, rows["property"], place, rows["mean_r"], *spread)
        style.baselines(upper, levels)
        upper.set_title(f"step {style.step_label(step)}")
        rows = differences[(differences["step"] == step) & (differences["subject"] == "mean")]
        bounds = (rows["mean_difference"], rows["ci_low"], rows["ci_high"])
        property_bars(material, lower, rows["property"], place, *bounds)
        for k, (subject, mark) in enumerate(subjects.items()):
            rows = differences[(differences["step"] == step) & (differences["subject"] == subject)]
            dots = rows["property"].map(place) + 0.5 * ((k + 0.5) / len(subjects) - 0.5)
            look = {"color": mark.colour, "marker": mark.marker, "edgecolors": "white", "linewidths": 0.6}
            lower.scatter(
                dots, rows["mean_difference"], s=24, **look, label=f"participant {subject}", zorder=3
            )
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


def alignment_by_layer(material: Material):
    """Figure 8: alignment by layer, one line per representation, one panel per step, baselines dashed."""
    alignment, steps, names, method = with_original(material)
    curves = summaries.layer_curves(alignment)
    colours = material.marks
    layers = summaries.layers_of(alignment)
    levels = summaries.baseline_levels(material.tables["alignment"])
    figure, axes = style.sheet(4.3 * len(steps) + 2.4, 5.2, 1, len(steps), sharey=True)
    for panel, step in zip(axes[0], steps, strict=True):
        style.baselines(panel, levels)
        for name in names:
            rows = curves[(curves["step"] == step) & (curves["property"] == name)]
            colour, marker = colours[name]
            # The original lies under the residuals and often equals them: a broad line that still shows.
            breadth = 3.8 if name == "original" else 1.5
            look = {"color": colour, "marker": marker, "markersize": 5.5, "linewidth": breadth}
            panel.plot(rows["layer"], rows["mean_r"], **look, label=style.label(name))
            band = {"color": colour, "alpha": 0.08, "linewidth": 0}
            panel.fill_between(rows["layer"], rows["ci_low"], rows["ci_high"], **band)
        panel.set_title(f"step {style.step_label(step)}")
        panel.set_xlabel("layer (0 = embeddings)")
        style.layer_ticks(panel.xaxis, layers)
        style.gridlines(panel)
    axes[0, 0].set_ylabel(R_LABEL)
    style.legend(figure, axes[0, 0].get_legend_handles_labels()[0])
    style.title(
        figure,
        "Alignment by layer, with one property removed at a time",
        "Mean over voxels and participants. Bands: the participants' intervals averaged, as they share the text: "
        "they speak of these participants, not of others. "
        f"Removal by {method}. Shown: {summaries.in_words(alignment)}.",
    )
    return figure, curves


def probing(material: Material):
    """Figure 12: accuracy before, after and after crossfit removal against the null interval, by step.

    One row of panels per property, one column per layer (of many, :data:`summaries.MOST_LAYERS`).
    """
    table = summaries.probing_cells(material.tables["probing"])
    names = material.in_order(table["property"])
    layers, methods = summaries.layers_of(table), list(dict.fromkeys(table["removal"]))
    looks = {method: style.method_mark(method, k) for k, method in enumerate(methods)}
    steps = set(summaries.trained(table)["step"])
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    width = float(np.clip(0.19 * (len(steps) + len(baselines)), 1.5, 2.4))
    axis = style.StepAxis(steps, material.options.step_axis, width, baselines)
    figure, axes = style.sheet(
        (width + 0.25) * len(layers) + 3.4,
        1.35 * len(names) + 1.7,
        len(names),
        len(layers),
        sharex=True,
        sharey="row",
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
                look = {
                    "color": mark.colour,
                    "marker": mark.marker,
                    "markersize": size,
                    "linewidth": 1.2,
                } | more
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
    every = set(layers) == set(summaries.layers_of(material.tables["probing"]))
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


def emergence_view(material: Material):
    """Figure 13: alignment, perplexity and probing over training on one axis, and when each emerges.

    Filled symbols clear their references, hollow ones do not. The lowest panel draws ``tables/emergence.tsv``.
    """
    import pandas as pd

    alignment, when = material.tables["alignment"], material.tables["emergence"]
    need_steps(alignment, "figure 13")
    values = emergence.at_layer(alignment, "mean")
    means = values[values["subject"] == "mean"]
    line = summaries.trained(means)
    bits = summaries.trained(material.tables["perplexity"]).dropna(subset="bits_per_word")
    probes = emergence.probing_curves(material.tables["probing"])
    probes = summaries.trained(probes[probes["layer"] == "mean"])
    names, colours = material.in_order(probes["property"]), material.marks
    shown = when[when["layer"].isin(["mean", ""]) & when["subject"].isin(["mean", ""])]
    axis = style.StepAxis([*line["step"], *bits["step"], *probes["step"]], material.options.step_axis, 6.6)
    heights = [2.3, 1.9, 2.9, 0.22 * (len(shown) + 1) + 0.3]
    figure, axes = style.sheet(
        10.5, sum(heights) + 1.9, 4, 1, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    top, middle, lower, strip = axes[:, 0]
    size = 5.5 if len(axis.steps) <= 12 else 4

    def curve(panel, rows, column, clear, mark, **look):
        """A line whose symbols are filled where they clear."""
        places = axis(rows["step"])
        panel.plot(
            places,
            rows[column],
            color=mark.colour,
            linewidth=1.4,
            marker=mark.marker,
            markersize=size,
            **look,
        )
        faces = [mark.colour if yes else "white" for yes in clear]
        dots = {"marker": mark.marker, "edgecolors": mark.colour, "linewidths": 1.1, "zorder": 3}
        panel.scatter(places, rows[column], s=size**2, c=faces, **dots)

    levels = emergence.references(means)
    apart = {name: level[0] for name, level in levels.items() if name != emergence.UNTRAINED}
    style.baselines(top, apart)
    for subject, mark in material.subjects.items():
        rows = summaries.trained(values[values["subject"] == subject])
        top.plot(
            axis(rows["step"]),
            rows["mean_r"],
            color=mark.colour,
            linewidth=0.8,
            alpha=0.8,
            label=f"participant {subject}",
        )
    band = {"color": "black", "alpha": 0.12, "linewidth": 0, "gid": "mean of participants"}
    top.fill_between(axis(line["step"]), line["ci_low"], line["ci_high"], **band)
    clear = np.all([emergence.clears(line, level) for level in levels.values()], axis=0)
    curve(top, line, "mean_r", clear, style.Mark("black", "o"), label="mean of participants")
    top.set_ylabel("alignment\n(mean Pearson r)")
    unigram = when.loc[when["quantity"] == "perplexity", "level"]
    for level in unigram:
        middle.axhline(
            level,
            color=style.BASELINE,
            linewidth=1.3,
            dashes=(1, 2),
            label=f"words without context: {level:.2f}",
        )
    below = bits["bits_per_word"] < (unigram.iloc[0] if len(unigram) else -np.inf)
    curve(middle, bits, "bits_per_word", below, style.Mark(style.LINE, "o"), label="log₂ perplexity per word")
    middle.set_ylabel("log₂ perplexity\n(bits per word)")
    lower.axhline(0, color=style.BASELINE, linewidth=0.8, dashes=(1, 2))
    probes = probes.assign(above_chance=100 * (probes["accuracy_before"] - probes["chance"]))
    for name in names:
        rows = probes[probes["property"] == name]
        curve(lower, rows, "above_chance", rows["clears"], colours[name], label=style.label(name))
    lower.set_ylabel("probing accuracy above chance\n(percentage points)")
    draw_emergence(strip, axis, shown, colours)
    for panel in (top, middle, lower):
        style.gridlines(panel)
    axis.dress(strip)
    figure.align_ylabels([top, middle, lower])
    for panel in (top, middle, lower):
        panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.5)
    keys = [
        style.key("from here on, each checkpoint\nclears its reference", markersize=6),
        style.key("first to clear it, but a later\none does not", markersize=6, fillstyle="none"),
        style.key("checkpoints between which\nit emerged", marker="", linestyle="-", linewidth=3, alpha=0.4),
    ]
    strip.legend(handles=keys, loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.6)
    style.title(
        figure,
        "What emerges when in training",
        "Filled: clears its reference, hollow: does not. Alignment (mean over layers, band: interval of the mean of "
        "these participants): all baselines and the untrained network, with the interval of the difference; "
        "perplexity: fewer bits than any model that ignores the context; probing (mean over layers, without removal): "
        f"the null interval of labels permuted by sentence. Shown: {summaries.in_words(alignment)}.",
    )
    parts = [
        values.rename(columns={"mean_r": "value"}).assign(quantity="alignment", property="original"),
        bits.rename(columns={"bits_per_word": "value"}).assign(quantity="perplexity", clears=below),
        probes.rename(columns={"accuracy_before": "value"}).assign(quantity="probing"),
    ]
    numbers = pd.concat(parts, ignore_index=True)
    drawn = (numbers["subject"] == "mean") & numbers["step"].notna()
    numbers["clears"] = numbers["clears"].astype(object)
    numbers.loc[drawn, "clears"] = numbers.loc[drawn, "checkpoint"].map(
        dict(zip(line["checkpoint"], clear, strict=True))
    )
    numbers["clears"] = numbers["clears"].map({True: 1, False: 0})
    columns = [
        "quantity",
        "property",
        "subject",
        "checkpoint",
        "step",
        "value",
        "ci_low",
        "ci_high",
        "chance",
    ]
    return figure, numbers[[*columns, "null_low", "null_high", "clears"]]


def draw_emergence(panel, axis: style.StepAxis, when, colours: Mapping[str, style.Mark]) -> None:
    """A row for each thing that emerges: bar from the checkpoint before to the first that clears, and its symbols.

    Parameters
    ----------
    when : pandas.DataFrame
        Rows of ``tables/emergence.tsv``.
    """
    order = when.sort_values(["lasting_step", "emergence_step"], kind="stable", na_position="last")
    names = []
    for height, row in enumerate(order.itertuples()):
        mark = colours.get(row.property, style.Mark(style.LINE, "o"))
        reference = {emergence.UNTRAINED: "untrained (step 0)", emergence.ZERO: "0"}.get(
            row.reference, row.reference
        )
        name = {"alignment": f"alignment > {reference}", "perplexity": "use of context"}
        names.append(name.get(row.quantity, style.label(row.property)))
        if row.emergence_step != row.emergence_step:
            panel.text(
                0.995,
                height,
                "not in this training",
                transform=panel.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
                color=style.NOTE,
            )
            continue
        last = row.lasting_step if row.lasting_step == row.lasting_step else row.emergence_step
        first = row.emergence_after if row.emergence_after == row.emergence_after else row.emergence_step
        panel.hlines(height, *axis([first, last]), color=mark.colour, linewidth=4, alpha=0.4)
        for step, face in ((row.emergence_step, "white"), (row.lasting_step, mark.colour)):
            if step == step and (face != "white" or row.lasting_step != row.emergence_step):
                panel.scatter(
                    axis([step]),
                    [height],
                    s=36,
                    c=face,
                    marker=mark.marker,
                    edgecolors=mark.colour,
                    linewidths=1.2,
                    zorder=3,
                )
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(axis="x", color=style.GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    panel.set_ylabel("")


def layer_step(material: Material):
    """Figure 14: alignment by layer and step, a heat map per participant and one of their mean."""
    import pandas as pd

    table = summaries.original(material.tables["alignment"])
    need_steps(table, "figure 14")
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    layers = summaries.layers_of(table)
    cells = table[[*summaries.CELL, "layer", "mean_r"]]
    means = cells.groupby(["checkpoint", "step", "layer"], dropna=False, sort=False)["mean_r"].mean()
    subjects = list(material.subjects)
    shown = pd.concat([cells, means.reset_index().assign(subject="mean")], ignore_index=True)
    best = summaries.best_layers(table).set_index(["checkpoint", "subject"])
    at = pd.MultiIndex.from_frame(shown[["checkpoint", "subject"]])
    for rule, column in (("best", "layer"), ("best_by_inner_score", "layer_by_inner_score")):
        chosen = best[column].reindex(at).to_numpy() == shown["layer"].to_numpy()
        shown[rule] = np.where(shown["subject"] == "mean", np.nan, chosen)
    panels = [*subjects, *(["mean"] if len(subjects) > 1 else [])]
    columns = min(len(panels), 4 if len(panels) in (4, 7, 8) else 3)
    n_rows = -(-len(panels) // columns)
    steps = set(table["step"].dropna())
    width = float(np.clip(0.3 * (len(steps) + len(baselines)), 2.6, 3.6))
    height = float(np.clip(0.27 * len(layers), 1.8, 4.5))
    axis = style.StepAxis(steps, material.options.step_axis, width, baselines)
    scale, colours = style.shades(shown["mean_r"].min(), shown["mean_r"].max())
    figure, axes = style.sheet(
        (width + 0.35) * columns + 3.6,
        (height + 0.5) * n_rows + 1.5,
        n_rows,
        columns,
        sharex=True,
        sharey=True,
    )
    for panel, subject in zip(axes.flat, panels, strict=False):
        rows = shown[shown["subject"] == subject]
        grid = rows.pivot_table(index="layer", columns="checkpoint", values="mean_r", dropna=False).reindex(
            layers
        )
        borders = np.arange(len(layers) + 1) - 0.5
        look = {"norm": scale, "cmap": colours, "gid": subject}
        trained = list(dict.fromkeys(summaries.trained(rows)["checkpoint"]))
        image = panel.pcolormesh(axis.edges, borders, grid[trained].to_numpy(), **look)
        for name, place in zip(baselines, axis.baseline_places, strict=True):
            edges = place + 0.42 * axis.apart * np.array([-1, 1])
            panel.pcolormesh(edges, borders, grid[[name]].to_numpy(), **look | {"gid": f"{subject} {name}"})
        if subject != "mean":
            for rule, face, size in (("best", "white", 16), ("best_by_inner_score", "none", 52)):
                dots = rows[rows[rule] == 1]
                ink = {"facecolors": face, "edgecolors": "black" if face == "white" else "white", "zorder": 3}
                heights = [layers.index(layer) for layer in dots["layer"]]
                if face == "none":  # a dark rim, so that the ring shows on any colour
                    panel.scatter(
                        axis.of(dots),
                        heights,
                        s=size,
                        facecolors="none",
                        edgecolors="black",
                        linewidths=2.6,
                        zorder=2.9,
                    )
                panel.scatter(
                    axis.of(dots),
                    heights,
                    s=size,
                    linewidths=0.8 if face == "white" else 1.3,
                    gid=rule,
                    **ink,
                )
        panel.set_title(f"participant {subject}" if subject != "mean" else "mean of participants")
        style.layer_ticks(panel.yaxis, range(len(layers)), layers)
        panel.tick_params(length=2)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    for k, panel in enumerate(axes.flat[: len(panels)]):
        axis.dress(panel)
        below = k + columns < len(panels)
        panel.tick_params(axis="x", labelbottom=not below)
        panel.set_xlabel("" if below else "training step")
    for panel in axes[:, 0]:
        panel.set_ylabel("layer (0 = embeddings)")
    figure.colorbar(image, ax=axes, label="alignment (mean Pearson r)", aspect=30, pad=0.015)
    dot = {"marker": "o", "color": "white", "markeredgecolor": "black"}
    style.legend(
        figure,
        [
            style.key("best layer by mean r\n(the paper's rule)", **dot, markersize=4, markeredgewidth=0.8),
            style.key(
                "best layer by inner score\n(not the score reported)",
                fillstyle="none",
                markersize=7,
                color="black",
                markeredgewidth=1.8,
            ),
        ],
    )
    style.title(
        figure,
        "Alignment by layer and training step",
        f"One colour scale for all panels{', symmetric about 0' if colours == 'RdBu_r' else ''}. "
        f"{'Left of the steps: baselines. ' if baselines else ''}Shown: {summaries.in_words(table)}.",
    )
    return figure, shown[["checkpoint", "step", "layer", "subject", "mean_r", "best", "best_by_inner_score"]]


def perplexity_alignment(material: Material):
    """Figure 15: alignment against perplexity, one point per checkpoint, with Spearman's ρ."""
    alignment, rho = material.tables["alignment"], material.tables["perplexity-alignment"]
    need_steps(alignment, "figure 15")
    values = emergence.at_layer(alignment, "mean")
    known = material.tables["perplexity"].dropna(subset="perplexity").set_index("checkpoint")["perplexity"]
    values = values.assign(perplexity=values["checkpoint"].map(known))
    points = summaries.trained(values).dropna(subset="perplexity")
    rho = rho[rho["layer"] == "mean"].set_index("subject")
    panels = enlarged(points[points["subject"] == "mean"])
    two = len(panels) == 2
    figure, axes = style.sheet(13 if two else 9.5, 5.6, 1, len(panels), sharey=True)
    levels = values[values["step"].isna() & (values["subject"] == "mean")]
    everyone = {"mean": style.Mark("black", "o")} | material.subjects
    for panel, (name, near) in zip(axes[0], panels.items(), strict=True):
        draw_baselines(panel, levels)
        for subject, mark in everyone.items():
            rows = points[(points["subject"] == subject) & points["checkpoint"].isin(near["checkpoint"])]
            whole = subject == "mean"
            look = {"color": mark.colour, "marker": mark.marker, "markersize": 6 if whole else 4.5}
            label = "mean of participants" if whole else f"participant {subject}"
            if subject in rho.index:
                label += f"\n{rho_in_words(rho.loc[subject])}"
            strength = {"linewidth": 1.8, "zorder": 3} if whole else {"linewidth": 0.8, "alpha": 0.75}
            panel.plot(rows["perplexity"], rows["mean_r"], **look, **strength, label=label)
            if whole:
                bars = {"color": "black", "linewidth": 1, "zorder": 2.5}
                panel.vlines(rows["perplexity"], rows["ci_low"], rows["ci_high"], **bars)
                mean = rows
        style.plain_log_axis(panel, panel.xaxis)
        panel.invert_xaxis()
        panel.set_xlabel("perplexity (log scale; training runs to the right)")
        panel.set_title(name if two else "")
        style.gridlines(panel)
        style.scatter_labels(
            panel, mean["perplexity"], mean["mean_r"], [style.step_label(step) for step in mean["step"]]
        )
    axes[0, 0].set_ylabel(R_LABEL)
    style.legend(figure, axes[0, 0].get_legend_handles_labels()[0])
    style.title(
        figure,
        "Alignment against perplexity over training",
        "Numbers beside the points: training steps. Alignment: mean over layers; bars: interval of the mean of these "
        "participants. ρ: Spearman's correlation over checkpoints with its bootstrap interval (none for fewer than "
        f"{emergence.FEWEST} checkpoints or a perfect order). Checkpoints of one training follow each other, so ρ "
        f"describes this training and tests nothing. Shown: {summaries.in_words(alignment)}.",
    )
    columns = ["checkpoint", "step", "subject", "perplexity", "mean_r", "ci_low", "ci_high"]
    shown = values[values["step"].isna() | values["perplexity"].notna()]
    return figure, shown[columns].merge(
        rho.rename(columns={"ci_low": "rho_low", "ci_high": "rho_high"}).drop(columns="layer").reset_index(),
        how="left",
        on="subject",
    )


def rho_in_words(row) -> str:
    """``ρ = −0.68 [−0.95, −0.10], n = 7``, without an interval where there is none."""
    bounds = "" if np.isnan(row["ci_low"]) else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"ρ = {row['rho']:.2f}{bounds}, n = {row['n_checkpoints']:.0f}".replace("-", "−")


def layer_choice(material: Material):
    """Figure 16: alignment at the best layer by the paper's rule and by inner score, and what the first adds."""
    import pandas as pd

    table = material.tables["alignment"]
    best = summaries.best_layers(table)
    need_steps(best, "figure 16")
    names = {f"{bound}_by_inner_score": bound for bound in summaries.BOUNDS}
    inner = best[summaries.CELL + list(names)].rename(columns=names).dropna(subset="mean_r")
    rules = {
        "highest mean r (the paper's rule)": (best, style.Mark("#D55E00", "o")),
        "highest inner score": (inner, style.Mark(style.LINE, "s")),
        "mean over layers": (summaries.layer_means(table), style.Mark("black", "D")),
    }
    axis = style.StepAxis(summaries.trained(best)["step"], material.options.step_axis, 6.3)
    figure, axes = style.sheet(10, 7.2, 2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    upper, lower = axes[:, 0]
    size = 5.5 if len(axis.steps) <= 12 else 4
    numbers = []
    for rule, (values, mark) in rules.items():
        means = summaries.over_subjects(values)
        draw_mean(upper, axis, means, rule, mark.colour, marker=mark.marker, markersize=size)
        style.baselines(
            upper,
            dict(means[means["step"].isna()][["checkpoint", "mean_r"]].itertuples(index=False)),
            mark.colour,
        )
        numbers.append(pd.concat([values[[*summaries.CELL, *summaries.BOUNDS]], means]).assign(rule=rule))
    gain = best.assign(mean_r=best["mean_r"] - best["mean_r_by_inner_score"])[[*summaries.CELL, "mean_r"]]
    mean = gain.groupby(["checkpoint", "step"], dropna=False, sort=False)["mean_r"].mean().reset_index()
    gain = pd.concat([gain, mean.assign(subject="mean")], ignore_index=True).assign(rule="gain")
    numbers.append(gain)
    gain = summaries.trained(gain)
    for k, (subject, mark) in enumerate(material.subjects.items()):
        rows = gain[gain["subject"] == subject]
        places = axis(rows["step"]) + axis.dodge(k, len(material.subjects))
        look = {"s": size**2, "color": mark.colour, "marker": mark.marker}
        lower.scatter(places, rows["mean_r"], **look, label=f"participant {subject}")
    rows = gain[gain["subject"] == "mean"]
    lower.plot(
        axis(rows["step"]),
        rows["mean_r"],
        color="black",
        marker="_",
        markersize=2 * size,
        label="mean of participants",
    )
    lower.axhline(0, color="black", linewidth=0.8)
    upper.set_ylabel(R_LABEL)
    lower.set_ylabel("gain of choosing by\nthe reported score (mean r)")
    for panel in (upper, lower):
        style.gridlines(panel)
    axis.dress(lower)
    lines = [line for line in upper.get_lines() if line.get_label() in rules]
    names = dict.fromkeys(summaries.layer_means(table).query("step.isna()")["checkpoint"])
    lines += [
        style.key(f"{name} baseline", marker="", linestyle=style.baseline_dashes(k))
        for k, name in enumerate(names)
    ]
    upper.legend(
        handles=lines,
        title="layer of each participant",
        alignment="left",
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )
    lower.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    style.title(
        figure,
        "What the choice of the best layer adds to alignment",
        "Above: mean of participants, band: its interval for these participants; dashed: baselines under the same "
        "rule. Below: alignment at the layer with the highest reported score minus that at the layer that the inner "
        f"validation folds choose. Shown: {summaries.in_words(table)}.",
    )
    return figure, pd.concat(numbers, ignore_index=True)[["rule", *summaries.CELL, *summaries.BOUNDS]]


class Drawing(NamedTuple):
    """How a figure is made: its function, the tables it reads, whether it can show the published values."""

    draw: Callable[[Material], tuple]
    tables: tuple[str, ...]
    reference: bool = False


#: All figures by name: the paper's in its order, then those that it does not have. The names of tables are also the
#: command's flags.
FIGURES = {
    "figure-01-perplexity": Drawing(perplexity, ("perplexity",), True),
    "figure-02-sentence-classes": Drawing(sentence_classes, ("class-counts",)),
    "figure-03-word-classes": Drawing(word_classes, ("class-counts",)),
    "figure-04-best-layer-alignment": Drawing(best_layer_alignment, ("alignment",), True),
    "figure-05-best-layer": Drawing(best_layer, ("alignment",)),
    "figure-06-significant-layers": Drawing(significant, ("removal-effects",)),
    "figure-07-removal-bars": Drawing(representation_bars, ("alignment", "removal-effects")),
    "figure-08-alignment-by-layer": Drawing(alignment_by_layer, ("alignment",)),
    "figure-09-sentence-distributions": Drawing(sentence_distributions, ("class-counts",)),
    "figure-10-word-distributions": Drawing(word_distributions, ("class-counts",)),
    "figure-11-mean-layer-alignment": Drawing(mean_layer_alignment, ("alignment",), True),
    "figure-12-probing": Drawing(probing, ("probing",)),
    "figure-13-emergence": Drawing(emergence_view, ("alignment", "perplexity", "probing", "emergence")),
    "figure-14-layer-step": Drawing(layer_step, ("alignment",)),
    "figure-15-perplexity-alignment": Drawing(
        perplexity_alignment, ("alignment", "perplexity", "perplexity-alignment")
    ),
    "figure-16-layer-choice": Drawing(layer_choice, ("alignment",)),
}

#: The figures that the paper has.
PAPER_FIGURES = list(FIGURES)[:11]


def figure_name(text: str) -> str:
    """A figure's name from its name or its number.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    names = list(FIGURES)
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    if text not in names:
        raise InputError(
            f"no figure {text!r}; choose a number from 1 to {len(names)} or one of {', '.join(names)}"
        )
    return text


def read_reference(path: str | Path) -> dict:
    """Read the published values (``resources/paper_values.json``).

    Raises
    ------
    InputError
        If the file is missing or no JSON object.
    """
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as published values (a JSON object): {error}") from None


def names_from_json(text: str) -> tuple[str, ...]:
    """A tuple of names from a JSON list."""
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise argparse.ArgumentTypeError(f"must be a JSON list of names, got {text}")
    return tuple(names)


def main(argv: list[str] | None = None) -> None:
    """Draw one figure."""
    parser = argparse.ArgumentParser(prog="python -m dynalign.figures", description=main.__doc__)
    parser.add_argument("figure", help=f"a number from 1 to {len(FIGURES)}, or a name: {', '.join(FIGURES)}")
    for kind in summaries.TABLES:
        users = [name[7:9] for name, figure in FIGURES.items() if kind in figure.tables]
        parser.add_argument(
            f"--{kind}", dest=kind, metavar="TSV", help=f"needed by figures {', '.join(users)}"
        )
    parser.add_argument(
        "--options", type=options(Figures), default=Figures(), help="the section `figures` as JSON"
    )
    parser.add_argument(
        "--properties",
        type=names_from_json,
        default=tuple(paper_properties()),
        help="all properties of the study as a JSON list; its order decides the colours of added ones",
    )
    parser.add_argument("--removal", help="removal method of figures 6 to 8; default: the first in the table")
    parser.add_argument(
        "--reference", help="the paper's published values; drawn where the option `reference` is on"
    )
    parser.add_argument(
        "--output",
        required=True,
        nargs="+",
        action="extend",
        help=".png, .pdf, .svg; .tsv for the numbers drawn",
    )
    arguments = parser.parse_args(argv)
    drawing = FIGURES[figure_name(arguments.figure)]
    given = vars(arguments)
    for kind in drawing.tables:
        if given[kind] is None:
            raise InputError(f"{figure_name(arguments.figure)} needs --{kind} TSV")
    reference = None
    if arguments.options.reference and drawing.reference:
        if arguments.reference is None:
            raise InputError(
                "the option `reference` is on, so --reference JSON must name the published values"
            )
        reference = read_reference(arguments.reference)
    material = Material(
        {kind: summaries.read(given[kind], *summaries.TABLES[kind]) for kind in drawing.tables},
        arguments.options,
        arguments.properties,
        arguments.removal,
        reference,
    )
    with style.house():
        figure, numbers = drawing.draw(material)
        for path in arguments.output:
            if Path(path).suffix == ".tsv":
                files.write_table(numbers, path)
            else:
                style.save(figure, path)


if __name__ == "__main__":
    from dynalign.cli import run

    run(main)
