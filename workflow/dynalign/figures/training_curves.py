"""Figures over training steps: 1, 4, 11, 13 and 15."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, need_steps
from dynalign.figures.elements import StepAxis
from dynalign.io.errors import InputError
from dynalign.statistics import emergence, summaries

BLACK, BLUE = style.Mark("black", "o"), style.Mark(style.LINE, "o")

#: Columns of alignment over nuisance features beside alignment.
UNIQUE = dict(zip(summaries.BOUNDS, ("unique_r", "unique_low", "unique_high"), strict=True))


def with_published(table, published: Mapping[int, float]):
    """`table` with the column ``published`` where there is anything published."""
    return table.assign(published=table["step"].map(published)) if published else table


def enlarged(table) -> dict:
    """Panels for perplexities: all checkpoints, and, as in the paper, those near the best where others hide them."""
    near = table[table["perplexity"] <= 1.5 * table["perplexity"].min()]
    if not 3 <= len(near) < len(table):
        return {"": table}
    return {"all checkpoints": table, "enlarged: within 1.5 × the lowest": near}


def perplexity(figure_data: FigureData):
    """Figure 1: perplexity by training step, log y; beside it the trained checkpoints enlarged."""
    table = summaries.trained(figure_data.tables["perplexity"]).dropna(subset="perplexity")
    if table.empty:
        raise InputError("perplexity table: no checkpoint has a step and a perplexity")
    panels = enlarged(table)
    published = figure_data.published("perplexity", table["step"])
    figure, axes = style.subplots(12.4 if len(panels) == 2 else 8, 5.2, 1, len(panels))
    for panel, (name, rows) in zip(axes[0], panels.items(), strict=True):
        axis = StepAxis(rows["step"], figure_data.options.step_axis, 5.2 if len(panels) == 2 else 7)
        elements.published_line(panel, axis, published)
        elements.mean_line(panel, axis, rows, "perplexity", "this study", BLUE, markersize=7)
        texts = [f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" for value in rows["perplexity"]]
        elements.point_labels(panel, axis, rows["perplexity"], texts)
        elements.plain_log_axis(panel)
        axis.dress(panel)
        elements.gridlines(panel)
        panel.set(title=name, ylabel="perplexity (log scale)" if panel is axes[0, 0] else "")
    if published:
        axes[0, 0].legend(loc="upper right")
    style.title(figure, "Perplexity over training", f"{int(table['n_tokens'].max()):,} predicted tokens.")
    return figure, with_published(table[["checkpoint", "step", "perplexity", "n_tokens"]], published)


def over_training(figure_data: FigureData, chosen: Callable, key: str, what: str):
    """Alignment by training step, of what is `chosen` of the layers: participants, their mean, baselines."""
    import pandas as pd

    values = chosen(figure_data.tables["alignment"])
    need_steps(values, "this figure")
    means = summaries.over_subjects(values)
    line = summaries.trained(means)
    axis = StepAxis(line["step"], figure_data.options.step_axis, 6.5)
    figure, ((panel,),) = style.subplots(9.5, 5.6)
    published = figure_data.published(key, line["step"])
    elements.published_line(panel, axis, published)
    elements.baselines(panel, means)
    elements.participants(panel, axis, values, figure_data.subjects)
    elements.mean_line(panel, axis, means)
    numbers = pd.concat([values, means], ignore_index=True)
    if figure_data.shares is not None:
        unique = summaries.over_nuisance_of(values, figure_data.shares)
        unique = pd.concat([unique, summaries.over_subjects(unique)], ignore_index=True).drop(columns="step")
        numbers = numbers.merge(unique.rename(columns=UNIQUE), on=["checkpoint", "subject"], how="left")
        beside = means[["checkpoint", "step", "subject"]].merge(unique, on=["checkpoint", "subject"])
        elements.mean_line(panel, axis, beside, name=elements.UNIQUE, mark=elements.UNIQUE_MARK, markersize=5)
    elements.numbers_above(panel, axis, [f"{value:.3f}" for value in line["mean_r"]])
    axis.dress(panel)
    elements.gridlines(panel)
    panel.set_ylabel(elements.R_LABEL)
    elements.legend(figure, [panel], *elements.interval_keys(figure_data.subjects), elements.band_key())
    shown = f"Shown: {summaries.in_words(figure_data.tables['alignment'])}."
    style.title(figure, f"Alignment over training: {what}", shown)
    return figure, with_published(numbers, published)


#: Figures 4 and 11.
best_layer_alignment = partial(
    over_training, chosen=summaries.best_layers, key="alignment_best_layer", what="best layer of each participant"
)
mean_layer_alignment = partial(
    over_training, chosen=summaries.layer_means, key="alignment_layer_mean", what="mean over layers"
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
    colours = figure_data.marks
    known = emergence.cleared(figure_data.tables["contrasts"])
    shown = when[when["layer"].isin(["mean", ""]) & when["subject"].isin(["mean", ""])]
    rises = shown[shown["half_rise_step"].notna()].drop_duplicates(["quantity", "property"])
    axis = StepAxis([*line["step"], *bits["step"], *probes["step"]], figure_data.options.step_axis, 6.6)
    own_rows = rises["quantity"].isin(["alignment", "unique_alignment"]).sum()
    heights = [2.3, 1.9, 2.9, 0.22 * (len(shown) + own_rows + 1) + 0.3]
    figure, axes = style.subplots(10.5, sum(heights) + 1.6, 4, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    top, middle, lower, strip = axes[:, 0]
    size = 5.5 if len(axis.steps) <= 12 else 4

    def curves(panel, rows, y, by, marks, text=str):
        """Lines whose symbols are filled where they clear."""
        rows = rows.assign(place=axis.of(rows))
        elements.lines(panel, rows, "place", y, by, marks, text, linewidth=1.4, markersize=size)
        for name in [name for name in marks if name in set(rows[by])]:
            some, (colour, marker) = rows[rows[by] == name], marks[name]
            look = {"marker": marker, "edgecolors": colour, "linewidths": 1.1, "zorder": 3}
            faces = np.where(some["clears"], colour, "white")
            panel.scatter(some["place"], some[y], s=size**2, c=faces, **look)

    elements.baselines(top, means)
    elements.thin_lines(top, axis, values, figure_data.subjects)
    elements.band(top, axis.of(line), line, "black", gid=elements.MEAN)
    cells = [("alignment", "mean", "mean", name) for name in emergence.references(means)]
    clear = np.all([line["checkpoint"].isin(known.get(cell, set())) for cell in cells], axis=0)
    curves(top, line.assign(name=elements.MEAN, clears=clear), "mean_r", "name", {elements.MEAN: BLACK})
    parts = []
    if figure_data.shares is not None:
        unique = emergence.unique_at_layer(figure_data.shares, "mean")
        cells = [("unique_alignment", subject, "mean", emergence.ZERO) for subject in unique["subject"]]
        above = [name in known.get(cell, set()) for name, cell in zip(unique["checkpoint"], cells, strict=True)]
        unique = unique.assign(clears=above)
        mean = summaries.trained(unique[unique["subject"] == "mean"])
        mean = mean.assign(name=elements.UNIQUE)
        elements.band(top, axis.of(mean), mean, elements.UNIQUE_MARK.colour, gid=elements.UNIQUE)
        curves(top, mean, "mean_r", "name", {elements.UNIQUE: elements.UNIQUE_MARK})
        parts = [unique.assign(quantity="unique_alignment", property="original")]
    top.set_ylabel("alignment\n(mean Pearson r)")
    unigram = when.loc[when["quantity"] == "perplexity", "level"]
    dotted = {"color": style.BASELINE, "dashes": (1, 2)}
    for level in unigram:
        middle.axhline(level, linewidth=1.3, label=f"words without context: {level:.2f}", **dotted)
    below = bits["bits_per_word"] < (unigram.iloc[0] if len(unigram) else -np.inf)
    name = "log₂ perplexity per word"
    curves(middle, bits.assign(name=name, clears=below), "bits_per_word", "name", {name: BLUE})
    middle.set_ylabel("log₂ perplexity\n(bits per word)")
    lower.axhline(0, linewidth=0.8, **dotted)
    marks = {name: colours[name] for name in figure_data.in_order(probes["property"])}
    above = probes.assign(above_chance=100 * (probes["accuracy_before"] - probes["chance"]))
    curves(lower, above, "above_chance", "property", marks, style.label)
    lower.set_ylabel("probing accuracy above chance\n(percentage points)")
    emergence_strip(strip, axis, shown, rises, colours)
    axis.dress(strip)
    for panel in (top, middle, lower):
        elements.gridlines(panel)
        elements.beside(panel, [*elements.handles(panel), *([elements.band_key()] if panel is top else [])])
    figure.align_ylabels([top, middle, lower])
    keys = [
        elements.key("clears its reference here\nand at every later checkpoint", markersize=6),
        elements.key("first to clear it,\nbut a later one does not", markersize=6, fillstyle="none"),
        elements.key("checkpoints between\nwhich it emerged", marker="", linestyle="-", linewidth=3, alpha=0.4),
        elements.key(
            "half of the rise from first to\nlast checkpoint, interval", marker="|", linestyle="-", linewidth=1
        ),
    ]
    elements.beside(strip, keys)
    note = f"Filled: clears its reference; hollow: does not. Shown: {summaries.in_words(alignment)}."
    style.title(figure, "What emerges when in training", note)
    cleared = values["checkpoint"].map(dict(zip(line["checkpoint"], clear, strict=True)))
    cleared = cleared.where(values["subject"] == "mean")
    parts = [
        values.assign(quantity="alignment", property="original", clears=cleared),
        *parts,
        bits.rename(columns={"bits_per_word": "value"}).assign(quantity="perplexity", clears=below),
        probes.rename(columns={"accuracy_before": "value"}).assign(quantity="probing"),
    ]
    numbers = pd.concat([part.rename(columns={"mean_r": "value"}) for part in parts], ignore_index=True)
    numbers["clears"] = numbers["clears"].map({True: 1, False: 0})
    columns = ["quantity", "property", "subject", "checkpoint", "step", "value", "ci_low", "ci_high", "chance"]
    return figure, numbers[[*columns, "null_low", "null_high", "clears"]]


def emergence_strip(panel, axis: StepAxis, when, rises, colours: Mapping[str, style.Mark]) -> None:
    """For each row of `when` (``tables/emergence.tsv``) a bar from the checkpoint before to the first that clears.

    For each row of `rises`, the step by which half of the quantity's rise is reached, and its interval: of perplexity
    and of properties in the same row, of alignment, which has several references, in a row below.
    """

    def mark_of(row):
        return elements.UNIQUE_MARK if row.quantity == "unique_alignment" else colours.get(row.property, BLUE)

    order = when.sort_values(["clears_by", "emergence_step"], kind="stable", na_position="last")
    references = {emergence.UNTRAINED: "untrained (step 0)", emergence.ZERO: "0"}
    names, rows_of = [], {}
    for height, row in enumerate(order.itertuples()):
        mark = mark_of(row)
        rows_of[row.quantity, row.property] = height
        reference = references.get(row.reference, row.reference)
        name = {"alignment": f"alignment > {reference}", "perplexity": "use of context"}
        name["unique_alignment"] = "alignment over nuisance > 0"
        names.append(name.get(row.quantity, style.label(row.property)))
        if np.isnan(row.emergence_step):
            look = {"ha": "right", "va": "center", "fontsize": 8, "color": style.NOTE}
            panel.text(0.995, height, "not in this training", transform=panel.get_yaxis_transform(), **look)
            continue
        last = row.emergence_step if np.isnan(row.clears_by) else row.clears_by
        first = row.emergence_step if np.isnan(row.emergence_after) else row.emergence_after
        panel.hlines(height, *axis([first, last]), color=mark.colour, linewidth=4, alpha=0.4)
        look = {"marker": mark.marker, "edgecolors": mark.colour, "linewidths": 1.2, "zorder": 3}
        for step, face in {row.emergence_step: "white", row.clears_by: mark.colour}.items():
            if not np.isnan(step):
                panel.scatter(axis([step]), [height], s=36, c=face, **look)
    for row in rises.itertuples():
        height = rows_of[row.quantity, row.property]
        if row.quantity in (whose := {"alignment": "alignment", "unique_alignment": "alignment over nuisance"}):
            height = len(names)
            names.append(f"half of the rise in {whose[row.quantity]}")
        low, middle, high = axis.between([row.half_rise_low, row.half_rise_step, row.half_rise_high])
        colour = mark_of(row).colour
        panel.hlines(height, low, high, color=colour, linewidth=1.2, gid="half-rise")
        panel.scatter([middle], [height], s=70, c=colour, marker="|", linewidths=1.8, zorder=3)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
    elements.gridlines(panel, "x")
    panel.tick_params(axis="y", length=0)


def perplexity_alignment(figure_data: FigureData):
    """Figure 15: alignment against perplexity, one point per checkpoint, with Spearman's ρ."""
    alignment, rho = figure_data.tables["alignment"], figure_data.tables["perplexity-alignment"]
    need_steps(alignment, "figure 15")
    values = emergence.at_layer(alignment, "mean")
    known = figure_data.tables["perplexity"].dropna(subset="perplexity").set_index("checkpoint")["perplexity"]
    values = values.assign(perplexity=values["checkpoint"].map(known))
    points = summaries.trained(values).dropna(subset="perplexity")
    rho = rho[rho["layer"] == "mean"].set_index("subject")

    people = figure_data.subjects
    crowded, called = elements.crowded(people), elements.in_legend(people)

    def name(subject):
        if crowded and subject != "mean":
            return called(subject)
        whole = elements.participant(subject)
        return f"{whole}\n{rho_in_words(rho.loc[subject])}" if subject in rho.index else whole

    panels = enlarged(points[points["subject"] == "mean"])
    figure, axes = style.subplots(13 if len(panels) == 2 else 9.5, 5.2, 1, len(panels), sharey=True)
    for panel, (heading, mean) in zip(axes[0], panels.items(), strict=True):
        elements.baselines(panel, values[values["subject"] == "mean"])
        rows = points[points["checkpoint"].isin(mean["checkpoint"])]
        strong = {"linewidth": 1.8, "markersize": 7, "zorder": 3}
        thin = elements.CROWD if crowded else {"linewidth": 0.8, "markersize": 5, "alpha": 0.75}
        for marks, look in (({"mean": BLACK}, strong), (people, thin)):
            some = rows[rows["subject"].isin(list(marks))]
            elements.lines(panel, some, "perplexity", "mean_r", "subject", marks, name, **look)
        panel.vlines(mean["perplexity"], mean["ci_low"], mean["ci_high"], color="black", linewidth=1, zorder=2.5)
        elements.plain_log_axis(panel, panel.xaxis)
        panel.invert_xaxis()
        panel.set(xlabel="perplexity (log scale; training runs to the right)", ylabel=elements.R_LABEL, title=heading)
        elements.gridlines(panel)
        label_points(panel, mean["perplexity"], mean["mean_r"], mean["step"].map(style.step_label))
    elements.legend(figure, [axes[0, 0]], elements.bar_key("interval of the mean", color="black"))
    note = f"Numbers beside the points: training steps. Shown: {summaries.in_words(alignment)}."
    style.title(figure, "Alignment against perplexity over training", note)
    columns = ["checkpoint", "step", "subject", "perplexity", "mean_r", "ci_low", "ci_high"]
    shown = values.loc[values["step"].isna() | values["perplexity"].notna(), columns]
    bounds = rho.rename(columns={"ci_low": "rho_low", "ci_high": "rho_high"}).drop(columns="layer").reset_index()
    return figure, shown.merge(bounds, how="left", on="subject")


def rho_in_words(row) -> str:
    """``ρ = −0.68 [−0.95, −0.10], n = 7``, without an interval where there is none."""
    bounds = "" if np.isnan(row["ci_low"]) else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"ρ = {row['rho']:.2f}{bounds}, n = {row['n_checkpoints']:.0f}".replace("-", "−")


def label_points(axes, x, y, texts) -> None:
    """A text beside each point, the last points first, leaving out those that would touch another text.

    Call it when the limits and the scales of `axes` stand.
    """
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()
    look = {"fontsize": 8, "gid": "step", "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
    sides = ((-6, 6, "right", "bottom"), (6, -6, "left", "top"), (6, 6, "left", "bottom"), (-6, -6, "right", "top"))
    taken = []
    for k, (*point, text) in enumerate(list(zip(x, y, texts, strict=True))[::-1]):
        # Right of the last point there is nothing.
        for dx, dy, across, along in sides if k else (sides[2], *sides):
            offset = {"xytext": (dx, dy), "textcoords": "offset points", "ha": across, "va": along}
            label = axes.annotate(text, point, **offset, **look, zorder=4)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box.padded(2))
                break
            label.remove()
