"""The paper's eleven figures and one on probing, drawn from the study's tables.

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

from dynalign import files, style, summaries
from dynalign.cli import options
from dynalign.config import RARE, Figures, paper_properties
from dynalign.files import InputError

#: Each table: the columns that tell its rows apart, and the columns of numbers.
TABLES = {
    "class-counts": (("property", "level", "distribution", "value"), ("count",)),
    "perplexity": (("checkpoint",), ("step", "perplexity", "n_tokens")),
    "alignment": (
        ("checkpoint", "layer", "removal", "property", "subject"),
        ("step", "layer", "mean_r", "ci_low", "ci_high", "inner_score", "n_voxels"),
    ),
    "removal-effects": (
        ("checkpoint", "layer", "removal", "property", "subject"),
        ("step", "layer", "mean_difference", "ci_low", "ci_high", "significant_paper", "significant"),
    ),
    "probing": (
        ("checkpoint", "layer", "removal", "property"),
        ("step", "layer", *summaries.ACCURACIES, "chance", "null_low", "null_high"),
    ),
}

R_LABEL = "alignment\n(mean Pearson r over voxels)"
PUBLISHED = "Bakalova (published)"


@dataclass(frozen=True)
class Material:
    """What a figure is drawn from.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By the names of :data:`TABLES`; a baseline's ``step`` is NaN.
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
        others = {name for table in self.tables.values() if "property" in table for name in table["property"]}
        return style.marks(dict.fromkeys([*self.properties, *sorted(others)]))

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
    present = set(removed["property"])
    properties = [name for name in material.properties if name in present]
    properties += sorted(present - set(properties))
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


def perplexity(material: Material):
    """Figure 1: perplexity by training step, log y; beside it the trained checkpoints enlarged."""
    table = summaries.trained(material.tables["perplexity"]).dropna(subset="perplexity")
    if table.empty:
        raise InputError("perplexity table: no checkpoint has a step and a perplexity")
    # The paper's axis (35 to 45) leaves out the first checkpoints; the whole curve hides the others.
    near = table[table["perplexity"] <= 1.5 * table["perplexity"].min()]
    panels = {"all checkpoints": table}
    if 3 <= len(near) < len(table):
        panels["enlarged: within 1.5 × the lowest"] = near
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


def over_training(material: Material, values, key: str, heading: str, note: str):
    """Alignment by training step: subjects, their mean, dashed baselines (figures 4 and 11)."""
    import pandas as pd

    means = summaries.over_subjects(values)
    line = summaries.trained(means)
    if line.empty:
        raise InputError(
            "alignment table: no checkpoint has a step; this figure needs one beside the baselines"
        )
    axis = style.StepAxis(line["step"], material.options.step_axis, 6.5)
    subjects = style.subject_marks(list(dict.fromkeys(material.tables["alignment"]["subject"])))
    figure, axes = style.sheet(9.5, 6)
    panel = axes[0, 0]
    published = material.published(key, line["step"])
    draw_published(panel, axis, published)
    levels = means[means["step"].isna()]
    style.baselines(panel, dict(zip(levels["checkpoint"], levels["mean_r"], strict=True)))
    for k, (subject, mark) in enumerate(subjects.items()):
        dots = summaries.trained(values[values["subject"] == subject])
        places = axis(dots["step"]) + axis.dodge(k, len(subjects))
        if "ci_low" in dots:
            panel.vlines(places, dots["ci_low"], dots["ci_high"], color=mark.colour, linewidth=1, alpha=0.5)
        dot = {"s": 34, "color": mark.colour, "marker": mark.marker, "alpha": 0.85}
        panel.scatter(places, dots["mean_r"], **dot, label=f"participant {subject}")
    places = axis(line["step"])
    panel.plot(
        places,
        line["mean_r"],
        color="black",
        marker="_",
        markersize=13,
        label="mean of participants",
        zorder=3,
    )
    style.numbers_above(panel, axis, [f"{value:.3f}" for value in line["mean_r"]], "mean")
    panel.set_ylabel(R_LABEL)
    axis.dress(panel)
    style.gridlines(panel)
    style.legend(figure, panel.get_legend_handles_labels()[0])
    style.title(figure, heading, f"{note} Shown: {summaries.in_words(material.tables['alignment'])}.")
    return figure, with_published(pd.concat([values, means], ignore_index=True), published)


def best_layer_alignment(material: Material):
    """Figure 4: alignment over training, best layer of each participant."""
    return over_training(
        material,
        summaries.best_layers(material.tables["alignment"]),
        "alignment_best_layer",
        "Alignment over training: best layer of each participant",
        "Best layer = highest mean r, chosen anew at each step, for baselines too. Thin bars: each "
        "participant's own interval at that layer; a mean of so few has none.",
    )


def mean_layer_alignment(material: Material):
    """Figure 11: alignment over training, mean over layers."""
    table = material.tables["alignment"]
    return over_training(
        material,
        summaries.layer_means(table),
        "alignment_layer_mean",
        "Alignment over training: mean over layers",
        f"Mean over layers {', '.join(map(str, summaries.layers_of(summaries.original(table))))}. "
        "A mean of so few participants has no interval.",
    )


def best_layer(material: Material):
    """Figure 5: best layer of each participant by step; hollow: the layer that the inner score chooses."""
    table = material.tables["alignment"]
    best = summaries.trained(summaries.best_layers(table))
    if best.empty:
        raise InputError("alignment table: no checkpoint has a step; figure 5 needs one beside the baselines")
    axis = style.StepAxis(best["step"], material.options.step_axis, 6.5)
    subjects = style.subject_marks(list(dict.fromkeys(table["subject"])))
    figure, axes = style.sheet(10, 4.8)
    panel = axes[0, 0]
    for k, (subject, mark) in enumerate(subjects.items()):
        rows = best[best["subject"] == subject]
        places = axis(rows["step"]) + axis.dodge(k, len(subjects))
        line = {
            "color": mark.colour,
            "marker": mark.marker,
            "markersize": 6.5,
            "linestyle": "--",
            "linewidth": 1.1,
        }
        panel.plot(places, rows["layer"], **line, label=f"participant {subject}")
        ring = {"facecolors": "none", "edgecolors": mark.colour, "marker": mark.marker, "linewidths": 1.3}
        panel.scatter(places, rows["layer_by_inner_score"], s=140, **ring, gid="inner score")
    style.layer_ticks(panel.yaxis, summaries.layers_of(summaries.original(table)))
    panel.margins(y=0.1)
    panel.set_ylabel("best layer (0 = embeddings)")
    axis.dress(panel)
    style.gridlines(panel)
    handles = [
        *panel.get_legend_handles_labels()[0],
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
    subjects = style.subject_marks(list(dict.fromkeys(alignment["subject"])))
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
        "participants; interval of their mean, layers taken as dependent (bounds averaged), participants as "
        "independent. "
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
        "Mean over voxels and participants. Bands: the participants' intervals taken as independent "
        "(half-widths in quadrature, divided by n): they speak of these participants, not of others. "
        f"Removal by {method}. Shown: {summaries.in_words(alignment)}.",
    )
    return figure, curves


def probing(material: Material):
    """Figure 12: accuracy before, after and after crossfit removal against the null interval, by step.

    One row of panels per property, one column per layer (of many, :data:`summaries.MOST_LAYERS`).
    """
    table = summaries.probing_cells(material.tables["probing"])
    names = [name for name in material.properties if name in set(table["property"])]
    names += sorted(set(table["property"]) - set(names))
    layers, methods = summaries.layers_of(table), list(dict.fromkeys(table["removal"]))
    looks = {method: style.method_mark(method, k) for k, method in enumerate(methods)}
    axis = style.StepAxis(summaries.trained(table)["step"], material.options.step_axis, 1.6)
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    figure, axes = style.sheet(
        1.8 * len(layers) + 3.4,
        1.35 * len(names) + 1.7,
        len(names),
        len(layers),
        sharex=True,
        sharey="row",
    )
    for row, name in zip(axes, names, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            cell = table[(table["property"] == name) & (table["layer"] == layer)]
            first = cell[cell["removal"] == methods[0]]
            bars = {"color": style.NULL, "width": 0.9 * axis.spacing, "gid": "null"}
            panel.use_sticky_edges = False  # room below the bars
            places = axis.with_baselines(first, baselines)
            panel.bar(places, first["null_high"] - first["null_low"], bottom=first["null_low"], **bars)
            panel.axhline(first["chance"].iloc[0], color=style.BASELINE, linewidth=0.8, dashes=(1, 2))
            curves = [(first, "accuracy_before", "before", style.Mark("#000000", "o"), {})]
            for method, rows in cell.groupby("removal", sort=False):
                hollow = {"fillstyle": "none", "linestyle": "--", "linewidth": 0.9}
                curves.append((rows, "accuracy_after", f"{method}: after", looks[method], hollow))
                filled = (rows, "accuracy_after_crossfit", f"{method}: crossfit", looks[method], {})
                curves.append(filled)
            for rows, column, label, mark, more in curves:
                look = {"color": mark.colour, "marker": mark.marker, "markersize": 4, "linewidth": 1.2} | more
                steps = summaries.trained(rows)
                panel.plot(axis(steps["step"]), steps[column], **look, label=label)
                alone = rows[rows["step"].isna()]
                panel.plot(
                    axis.with_baselines(alone, baselines), alone[column], **look | {"linestyle": "none"}
                )
            style.gridlines(panel)
        row[0].set_ylabel(style.label(name), rotation=0, ha="right", va="center")
    for panel, layer in zip(axes[0], layers, strict=True):
        panel.set_title(f"layer {layer}")
    for panel in axes[-1]:
        axis.dress(panel, baselines)
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
        + ("" if every else f" {len(layers)} of the layers studied."),
    )
    columns = ["checkpoint", "step", "layer", "removal", "property", *summaries.ACCURACIES]
    return figure, table[[*columns, "chance", "null_low", "null_high"]]


class Drawing(NamedTuple):
    """How a figure is made: its function, the tables it reads, whether it can show the published values."""

    draw: Callable[[Material], tuple]
    tables: tuple[str, ...]
    reference: bool = False


#: All figures by name: the paper's in its order, then one it does not have. The names of tables are also the
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
}


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
    for kind in TABLES:
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
        {kind: summaries.read(given[kind], *TABLES[kind]) for kind in drawing.tables},
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
