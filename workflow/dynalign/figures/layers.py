"""Figures by layer: 5, 8, 14 and 16."""

from __future__ import annotations

import numpy as np

from dynalign.figures import style
from dynalign.figures.data import R_LABEL, FigureData, draw_mean, need_steps, residuals
from dynalign.statistics import summaries


def best_layer(figure_data: FigureData):
    """Figure 5: best layer of each participant by step; hollow: the layer that the inner score chooses.

    Of many participants and steps, each choice gets a panel of its own.
    """
    table = figure_data.tables["alignment"]
    best = summaries.trained(summaries.best_layers(table))
    need_steps(best, "figure 5")
    axis = style.StepAxis(best["step"], figure_data.options.step_axis, 6.5)
    crowded = len(best) > 60
    figure, axes = style.subplots(10, 7.6 if crowded else 4.8, 1 + crowded, 1, sharex=True)
    upper, lower = axes[0, 0], axes[-1, 0]
    for k, (subject, mark) in enumerate(figure_data.subjects.items()):
        rows = best[best["subject"] == subject]
        places = axis(rows["step"]) + axis.dodge(k, len(figure_data.subjects))
        look = {"color": mark.colour, "marker": mark.marker, "linestyle": "--"}
        size = {"markersize": 4, "linewidth": 0.7} if crowded else {"markersize": 6.5, "linewidth": 1.1}
        upper.plot(places, rows["layer"], **look, **size, label=f"participant {subject}")
        ring = {"facecolors": "none", "edgecolors": mark.colour, "marker": mark.marker, "linewidths": 1.3}
        lower.scatter(places, rows["layer_by_inner_score"], s=30 if crowded else 140, **ring, gid="inner score")
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


def with_original(figure_data: FigureData):
    """As :func:`residuals` of the alignment, with the original representation before the properties."""
    import pandas as pd

    removed, steps, names, method = residuals(figure_data, "alignment")
    first = summaries.original(figure_data.tables["alignment"])
    rows = pd.concat([first[first["step"].isin(steps)], removed], ignore_index=True)
    return rows, steps, ["original", *names], method


def alignment_by_layer(figure_data: FigureData):
    """Figure 8: alignment by layer, one line per representation, one panel per step, baselines dashed."""
    alignment, steps, names, method = with_original(figure_data)
    curves = summaries.layer_curves(alignment)
    colours = figure_data.marks
    layers = summaries.layers_of(alignment)
    levels = summaries.baseline_levels(figure_data.tables["alignment"])
    figure, axes = style.subplots(4.3 * len(steps) + 2.4, 5.2, 1, len(steps), sharey=True)
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


def layer_step(figure_data: FigureData):
    """Figure 14: alignment by layer and step, a heat map per participant and one of their mean."""
    import pandas as pd

    table = summaries.original(figure_data.tables["alignment"])
    need_steps(table, "figure 14")
    baselines = list(dict.fromkeys(table.loc[table["step"].isna(), "checkpoint"]))
    layers = summaries.layers_of(table)
    cells = table[[*summaries.CELL, "layer", "mean_r"]]
    means = cells.groupby(["checkpoint", "step", "layer"], dropna=False, sort=False)["mean_r"].mean()
    subjects = list(figure_data.subjects)
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
    axis = style.StepAxis(steps, figure_data.options.step_axis, width, baselines)
    scale, colours = style.shades(shown["mean_r"].min(), shown["mean_r"].max())
    figure, axes = style.subplots(
        (width + 0.35) * columns + 3.6, (height + 0.5) * n_rows + 1.5, n_rows, columns, sharex=True, sharey=True
    )
    for panel, subject in zip(axes.flat, panels, strict=False):
        rows = shown[shown["subject"] == subject]
        grid = rows.pivot_table(index="layer", columns="checkpoint", values="mean_r", dropna=False).reindex(layers)
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
                    axis.of(dots), heights, s=size, linewidths=0.8 if face == "white" else 1.3, gid=rule, **ink
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
    axis = style.StepAxis(summaries.trained(best)["step"], figure_data.options.step_axis, 6.3)
    figure, axes = style.subplots(10, 7.2, 2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    upper, lower = axes[:, 0]
    size = 5.5 if len(axis.steps) <= 12 else 4
    numbers = []
    for rule, (values, mark) in rules.items():
        means = summaries.over_subjects(values)
        draw_mean(upper, axis, means, rule, mark.colour, marker=mark.marker, markersize=size)
        style.baselines(
            upper, dict(means[means["step"].isna()][["checkpoint", "mean_r"]].itertuples(index=False)), mark.colour
        )
        numbers.append(pd.concat([values[[*summaries.CELL, *summaries.BOUNDS]], means]).assign(rule=rule))
    gain = best.assign(mean_r=best["mean_r"] - best["mean_r_by_inner_score"])[[*summaries.CELL, "mean_r"]]
    mean = gain.groupby(["checkpoint", "step"], dropna=False, sort=False)["mean_r"].mean().reset_index()
    gain = pd.concat([gain, mean.assign(subject="mean")], ignore_index=True).assign(rule="gain")
    numbers.append(gain)
    gain = summaries.trained(gain)
    for k, (subject, mark) in enumerate(figure_data.subjects.items()):
        rows = gain[gain["subject"] == subject]
        places = axis(rows["step"]) + axis.dodge(k, len(figure_data.subjects))
        look = {"s": size**2, "color": mark.colour, "marker": mark.marker}
        lower.scatter(places, rows["mean_r"], **look, label=f"participant {subject}")
    rows = gain[gain["subject"] == "mean"]
    lower.plot(
        axis(rows["step"]), rows["mean_r"], color="black", marker="_", markersize=2 * size, label="mean of participants"
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
        style.key(f"{name} baseline", marker="", linestyle=style.baseline_dashes(k)) for k, name in enumerate(names)
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
