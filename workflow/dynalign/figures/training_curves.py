"""Figures over training steps: 1, 4, 11, 13 and 15."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynalign.figures import style
from dynalign.figures.data import (
    R_LABEL,
    FigureData,
    draw_baselines,
    draw_published,
    enlarged,
    need_steps,
    over_training,
    with_published,
)
from dynalign.io.errors import InputError
from dynalign.statistics import emergence, summaries


def perplexity(figure_data: FigureData):
    """Figure 1: perplexity by training step, log y; beside it the trained checkpoints enlarged."""
    table = summaries.trained(figure_data.tables["perplexity"]).dropna(subset="perplexity")
    if table.empty:
        raise InputError("perplexity table: no checkpoint has a step and a perplexity")
    panels = enlarged(table)
    published = figure_data.published("perplexity", table["step"])
    figure, axes = style.subplots(12.4 if len(panels) == 2 else 8, 5.2, 1, len(panels))
    for panel, (name, rows) in zip(axes[0], panels.items(), strict=True):
        axis = style.StepAxis(rows["step"], figure_data.options.step_axis, 5.2 if len(panels) == 2 else 7)
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


def best_layer_alignment(figure_data: FigureData):
    """Figure 4: alignment over training, best layer of each participant."""
    return over_training(
        figure_data,
        summaries.best_layers(figure_data.tables["alignment"]),
        "alignment_best_layer",
        "Alignment over training: best layer of each participant",
        "Best layer = highest mean r, chosen anew at each step, for baselines too; the choice flatters (figure "
        "16), and the intervals leave it out. Thin bars: each participant's interval at that layer.",
    )


def mean_layer_alignment(figure_data: FigureData):
    """Figure 11: alignment over training, mean over layers."""
    table = figure_data.tables["alignment"]
    return over_training(
        figure_data,
        summaries.layer_means(table),
        "alignment_layer_mean",
        "Alignment over training: mean over layers",
        f"Mean over layers {', '.join(map(str, summaries.layers_of(summaries.original(table))))}. Thin bars: "
        "each participant's interval, layers taken as dependent (bounds averaged).",
    )


def emergence_view(figure_data: FigureData):
    """Figure 13: alignment, perplexity and probing over training on one axis, and when each emerges.

    Filled symbols clear their references, hollow ones do not. The lowest panel draws ``tables/emergence.tsv``.
    """
    import pandas as pd

    alignment, when = figure_data.tables["alignment"], figure_data.tables["emergence"]
    need_steps(alignment, "figure 13")
    values = emergence.at_layer(alignment, "mean")
    means = values[values["subject"] == "mean"]
    line = summaries.trained(means)
    bits = summaries.trained(figure_data.tables["perplexity"]).dropna(subset="bits_per_word")
    probes = emergence.probing_curves(figure_data.tables["probing"])
    probes = summaries.trained(probes[probes["layer"] == "mean"])
    names, colours = figure_data.in_order(probes["property"]), figure_data.marks
    shown = when[when["layer"].isin(["mean", ""]) & when["subject"].isin(["mean", ""])]
    axis = style.StepAxis([*line["step"], *bits["step"], *probes["step"]], figure_data.options.step_axis, 6.6)
    heights = [2.3, 1.9, 2.9, 0.22 * (len(shown) + 1) + 0.3]
    figure, axes = style.subplots(10.5, sum(heights) + 1.9, 4, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    top, middle, lower, strip = axes[:, 0]
    size = 5.5 if len(axis.steps) <= 12 else 4

    def curve(panel, rows, column, clear, mark, **look):
        """A line whose symbols are filled where they clear."""
        places = axis(rows["step"])
        panel.plot(places, rows[column], color=mark.colour, linewidth=1.4, marker=mark.marker, markersize=size, **look)
        faces = [mark.colour if yes else "white" for yes in clear]
        dots = {"marker": mark.marker, "edgecolors": mark.colour, "linewidths": 1.1, "zorder": 3}
        panel.scatter(places, rows[column], s=size**2, c=faces, **dots)

    levels = emergence.references(means)
    apart = {name: level[0] for name, level in levels.items() if name != emergence.UNTRAINED}
    style.baselines(top, apart)
    for subject, mark in figure_data.subjects.items():
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
            level, color=style.BASELINE, linewidth=1.3, dashes=(1, 2), label=f"words without context: {level:.2f}"
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
    columns = ["quantity", "property", "subject", "checkpoint", "step", "value", "ci_low", "ci_high", "chance"]
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
        reference = {emergence.UNTRAINED: "untrained (step 0)", emergence.ZERO: "0"}.get(row.reference, row.reference)
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


def perplexity_alignment(figure_data: FigureData):
    """Figure 15: alignment against perplexity, one point per checkpoint, with Spearman's ρ."""
    alignment, rho = figure_data.tables["alignment"], figure_data.tables["perplexity-alignment"]
    need_steps(alignment, "figure 15")
    values = emergence.at_layer(alignment, "mean")
    known = figure_data.tables["perplexity"].dropna(subset="perplexity").set_index("checkpoint")["perplexity"]
    values = values.assign(perplexity=values["checkpoint"].map(known))
    points = summaries.trained(values).dropna(subset="perplexity")
    rho = rho[rho["layer"] == "mean"].set_index("subject")
    panels = enlarged(points[points["subject"] == "mean"])
    two = len(panels) == 2
    figure, axes = style.subplots(13 if two else 9.5, 5.6, 1, len(panels), sharey=True)
    levels = values[values["step"].isna() & (values["subject"] == "mean")]
    everyone = {"mean": style.Mark("black", "o")} | figure_data.subjects
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
