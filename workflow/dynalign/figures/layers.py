"""Figures by layer: 5, 8, 14 and 16."""

from __future__ import annotations

import numpy as np

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, need_steps, residuals, with_original
from dynalign.statistics import summaries

#: The two rules that choose a layer.
PAPER_RULE, INNER_RULE = "highest mean r\n(the paper's rule)", "highest inner score\n(not the score reported)"

#: Symbols of the layers that either rule chooses, to be seen on any colour.
RING = {"markersize": 8.5, "markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 0.9}
DOT = {"markersize": 5, "markerfacecolor": "#D55E00", "markeredgecolor": "white"}
#: Area, in square points, of figure 5's circle for all participants.
CIRCLE = 200

CHOICES = {"best_by_inner_score": (INNER_RULE, RING), "best": (PAPER_RULE, DOT)}


def best_layer(figure_data: FigureData):
    """Figure 5: best layer of each participant by step; hollow: the layer that the inner score chooses.

    Of many participants and steps, each choice gets a panel of its own; of very many participants, the areas of
    circles say how many have the layer as their best.
    """
    table, subjects = figure_data.tables["alignment"], figure_data.subjects
    best = summaries.trained(summaries.best_layers(table))
    need_steps(best, "figure 5")
    axis = elements.StepAxis(best["step"], figure_data.options.step_axis, 6.5)
    many = elements.crowded(subjects)
    crowded = len(best) > 60 or many
    figure, axes = style.subplots(10, 7.6 if crowded else 4.8, 1 + crowded, 1, sharex=True)
    upper, lower = axes[0, 0], axes[-1, 0]
    filled = elements.key(f"filled: {PAPER_RULE}", markersize=6.5)
    hollow = elements.key(f"hollow: {INNER_RULE}", markersize=11, fillstyle="none")
    keys = [filled, hollow]
    if many:
        for panel, column, face in ((upper, "layer", style.NOTE), (lower, "layer_by_inner_score", "white")):
            rows = best.assign(place=axis.of(best)).dropna(subset=column)
            counts = rows.groupby(["place", column]).size().reset_index(name="n")
            ink = {"c": face, "edgecolors": style.NOTE, "linewidths": 1.3, "gid": column, "zorder": 3}
            panel.scatter(counts["place"], counts[column], s=CIRCLE * counts["n"] / len(subjects), **ink)
        whole = f"all {len(subjects)} participants; the area of\na circle is their number"
        keys.append(elements.key(whole, markersize=CIRCLE**0.5, color=style.GRID))
    else:
        rows = axis.beside(best, list(subjects))
        look = {"linestyle": "--", "linewidth": 0.7 if crowded else 1.1}
        size = {"markersize": 4 if crowded else 6.5}
        elements.lines(upper, rows, "place", "layer", "subject", subjects, elements.participant, **size, **look)
        if not crowded:
            look |= {"linestyle": "none"}
        for ring in elements.lines(lower, rows, "place", "layer_by_inner_score", "subject", subjects, **look):
            edge = {"markeredgecolor": ring.get_color(), "markeredgewidth": 1.3, "gid": "inner score"}
            ring.set(fillstyle="none", markersize=5.5 if crowded else 12, label="_inner", **edge)
    for panel in axes[:, 0]:
        elements.layer_ticks(panel.yaxis, summaries.layers_of(summaries.original(table)))
        panel.margins(y=0.1)
        panel.set_ylabel(f"best {elements.LAYER_LABEL}")
        elements.gridlines(panel)
    axis.dress(lower)
    elements.legend(figure, [upper], *keys)
    style.title(figure, "Best layer of each participant over training", f"Shown: {summaries.in_words(table)}.")
    return figure, best


def alignment_by_layer(figure_data: FigureData):
    """Figure 8: alignment by layer, one line per representation, one panel per step, baselines dashed."""
    alignment, steps, names, method = with_original(figure_data)
    readings = summaries.readings(residuals(figure_data, "removal-effects")[0])
    curves = summaries.layer_curves(alignment).merge(readings, on=["step", "property", "layer"], how="left")
    marks = {name: figure_data.marks[name] for name in names}
    levels = summaries.over_subjects(summaries.layer_means(figure_data.tables["alignment"]))
    figure, axes = style.subplots(4.3 * len(steps) + 2.4, 5, 1, len(steps), sharey=True)
    for panel, step in zip(axes[0], steps, strict=True):
        elements.baselines(panel, levels)
        here = curves[curves["step"] == step]
        for name in names:
            rows = here[here["property"] == name]
            elements.band(panel, rows["layer"], rows, marks[name].colour, alpha=0.08)
        drawn = elements.lines(panel, here, "layer", "mean_r", "property", marks, style.label, linewidth=1.5)
        # The original lies under the residuals and often equals them: a broad line that still shows.
        drawn[0].set(linewidth=3.8)
        elements.reading_marks(panel, here["layer"], here["mean_r"], here["reading"], 40)
        elements.layer_ticks(panel.xaxis, summaries.layers_of(alignment))
        elements.gridlines(panel)
        panel.set(title=f"step {style.step_label(step)}", xlabel=elements.LAYER_LABEL, ylabel=elements.R_LABEL)
    elements.legend(figure, [axes[0, 0]], elements.band_key("bands: interval\nof the mean"), *elements.reading_keys())
    note = f"Removal by {method}. Shown: {summaries.in_words(alignment)}."
    style.title(figure, "Alignment by layer, with one property removed at a time", note)
    return figure, curves


def layer_step(figure_data: FigureData):
    """Figure 14: alignment by layer and step, a heat map per participant and one of their mean; of many that alone."""
    import pandas as pd
    import seaborn

    table = summaries.original(figure_data.tables["alignment"])
    need_steps(table, "figure 14")
    layers, subjects = summaries.layers_of(table), list(figure_data.subjects)
    cells = table[[*summaries.CELL, "layer", "mean_r"]]
    means = cells.groupby(["checkpoint", "step", "layer"], dropna=False, sort=False)["mean_r"].mean()
    shown = pd.concat([cells, means.reset_index().assign(subject="mean")], ignore_index=True)
    best = summaries.best_layers(table).set_index(["checkpoint", "subject"])
    at = pd.MultiIndex.from_frame(shown[["checkpoint", "subject"]])
    for rule, column in (("best", "layer"), ("best_by_inner_score", "layer_by_inner_score")):
        chosen = best[column].reindex(at).to_numpy() == shown["layer"].to_numpy()
        shown[rule] = np.where(shown["subject"] == "mean", np.nan, chosen)
    # A column per checkpoint, baselines first.
    order = table.sort_values("step", kind="stable", na_position="first").drop_duplicates("checkpoint")
    checkpoints, n_baselines = list(order["checkpoint"]), int(order["step"].isna().sum())
    texts = [*checkpoints[:n_baselines], *map(style.step_label, order["step"].dropna())]
    many = elements.crowded(subjects)
    panels = ["mean"] if many else [*subjects, *(["mean"] if len(subjects) > 1 else [])]
    columns = min(len(panels), 4 if len(panels) in (4, 7, 8) else 3)
    n_rows = -(-len(panels) // columns)
    width = float(np.clip(0.3 * len(checkpoints), 2.6, 3.6))
    height = float(np.clip(0.27 * len(layers), 1.8, 4.5))
    size = (width + 0.35) * columns + 3.6, (height + 0.5) * n_rows + 1.4
    figure, axes = style.subplots(*size, n_rows, columns, sharex=True, sharey=True)
    drawn = shown.loc[shown["subject"].isin(panels), "mean_r"]
    colours = shades(drawn.min(), drawn.max())
    # Of many steps, evenly spaced ones are labelled, the last among them.
    places, every = np.arange(len(checkpoints)), -(-len(checkpoints) // int(width / 0.16))
    labelled = np.append(places[:n_baselines], places[n_baselines:][::-every][::-1])
    for k, (panel, subject) in enumerate(zip(axes.flat, panels, strict=False)):
        rows = shown[shown["subject"] == subject]
        grid = rows.pivot_table("mean_r", "layer", "checkpoint", dropna=False)
        grid = grid.reindex(index=layers, columns=checkpoints)
        seaborn.heatmap(grid, ax=panel, cbar=False, xticklabels=False, yticklabels=False, gid=subject, **colours)
        panel.axvline(n_baselines, color="white", linewidth=3 * bool(n_baselines))
        for rule, (_, look) in CHOICES.items():
            chosen = rows[rows[rule] == 1]
            x = [checkpoints.index(name) + 0.5 for name in chosen["checkpoint"]]
            y = [layers.index(layer) + 0.5 for layer in chosen["layer"]]
            panel.plot(x, y, "o", gid=rule, **look)
        panel.set_title(elements.participant(subject))
        panel.set_xticks(labelled + 0.5, [texts[place] for place in labelled], fontsize=8)
        elements.turn(panel)
        elements.layer_ticks(panel.yaxis, np.arange(len(layers)) + 0.5, layers)
        lowest, leftmost = k + columns >= len(panels), k % columns == 0
        panel.tick_params(length=2, labelbottom=lowest, labelleft=leftmost)
        panel.set(xlim=(0, len(checkpoints)), xlabel="training step" if lowest else "")
        panel.set(ylim=(0, len(layers)), ylabel=elements.LAYER_LABEL if leftmost else "")
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    figure.colorbar(axes[0, 0].collections[0], ax=axes, label="alignment (mean Pearson r)", aspect=30, pad=0.015)
    if not many:
        elements.legend(figure, (), *(elements.key(f"best layer: {rule}", **look) for rule, look in CHOICES.values()))
    whose = "Mean of" if many else "Shown:"
    style.title(figure, "Alignment by layer and training step", f"{whose} {summaries.in_words(table)}.")
    return figure, shown[["checkpoint", "step", "layer", "subject", "mean_r", "best", "best_by_inner_score"]]


def shades(low: float, high: float) -> dict[str, object]:
    """Colours that any colour vision reads: diverging about 0 where some is clearly negative, else dark to bright."""
    if -low > 0.1 * high:
        most = max(-low, high)
        return {"vmin": -most, "vmax": most, "cmap": "RdBu_r"}
    return {"vmin": low, "vmax": high, "cmap": "cividis"}


def layer_choice(figure_data: FigureData):
    """Figure 16: alignment at the best layer by the paper's rule and by inner score, and what the first adds."""
    import pandas as pd

    table = figure_data.tables["alignment"]
    best = summaries.best_layers(table)
    need_steps(best, "figure 16")
    names = {f"{bound}_by_inner_score": bound for bound in summaries.BOUNDS}
    inner = best[summaries.CELL + list(names)].rename(columns=names).dropna(subset="mean_r")
    rules = {
        "highest mean r (the paper's rule)": (best, style.Mark("#D55E00", "o")),
        "highest inner score": (inner, style.Mark(style.LINE, "s")),
        "mean over layers": (summaries.layer_means(table), style.Mark("black", "D")),
    }
    axis = elements.StepAxis(summaries.trained(best)["step"], figure_data.options.step_axis, 6.3)
    figure, ((upper,), (lower,)) = style.subplots(10, 7, 2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    size = 6.5 if len(axis.steps) <= 12 else 4.5
    numbers, lines = [], []
    for rule, (values, mark) in rules.items():
        means = summaries.over_subjects(values)
        elements.mean_line(upper, axis, means, name=rule, mark=mark, markersize=size)
        lines.append(upper.lines[-1])
        elements.baselines(upper, means, colour=mark.colour)
        numbers.append(pd.concat([values[[*summaries.CELL, *summaries.BOUNDS]], means]).assign(rule=rule))
    gain = best.assign(mean_r=best["mean_r"] - best["mean_r_by_inner_score"])[[*summaries.CELL, "mean_r"]]
    mean = gain.groupby(["checkpoint", "step"], dropna=False, sort=False)["mean_r"].mean().reset_index()
    elements.mean_line(lower, axis, mean, zorder=1.8)
    elements.participants(lower, axis, gain, figure_data.subjects, intervals=False)
    lower.axhline(0, color="black", linewidth=0.8)
    elements.gridlines(upper)
    elements.gridlines(lower)
    axis.dress(lower)
    upper.set_ylabel(elements.R_LABEL)
    lower.set_ylabel("gain of choosing by\nthe reported score (mean r)")
    for k, name in enumerate(means.loc[means["step"].isna(), "checkpoint"]):
        lines.append(elements.key(f"{name} baseline", marker="", linestyle=elements.dashes(k)))
    lines.append(elements.band_key("bands: interval\nof the mean"))
    elements.beside(upper, lines, title="layer of each participant", alignment="left")
    elements.beside(lower, elements.handles(lower))
    style.title(figure, "What the choice of the best layer adds to alignment", f"Shown: {summaries.in_words(table)}.")
    numbers.append(pd.concat([gain, mean.assign(subject="mean")], ignore_index=True).assign(rule="gain"))
    return figure, pd.concat(numbers, ignore_index=True)[["rule", *summaries.CELL, *summaries.BOUNDS]]
