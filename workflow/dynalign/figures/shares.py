"""Figures of shares of variance and of significant voxels: 17 and 18."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dynalign.config.shares import NUISANCE
from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, need_steps, residuals
from dynalign.statistics import summaries

#: The parts of the joint model's score, as legends name and figures draw them.
PARTS = {
    "unique_model": "unique to the\nmodel's vectors",
    "shared": "shared by the two",
    "unique_property": "unique to the\nfeatures",
    "joint": "all, by the joint model",
}
PART_MARKS = dict(
    zip(
        PARTS,
        (elements.UNIQUE_MARK, style.Mark("#777777", "o"), style.Mark("#D55E00", "^"), style.Mark("black", "D")),
        strict=True,
    )
)


def with_mean(rows, by: Sequence[str], value: str):
    """The columns `by`, subject and `value` of `rows`, and their means over subjects as rows of subject ``mean``."""
    import pandas as pd

    means = rows.groupby(list(by), dropna=False, sort=False)[value].mean().reset_index().assign(subject="mean")
    return pd.concat([rows[[*by, "subject", value]], means], ignore_index=True)


def parts_over_training(figure_data: FigureData):
    """Figure 17: shares of variance over training, a panel for nuisance features and for each property."""
    alignment = figure_data.tables["alignment"]
    need_steps(alignment, "figure 17")
    rows = summaries.at_best(summaries.trained(figure_data.tables["shares"]), alignment)
    numbers = with_mean(rows, ["features", "part", "checkpoint", "step"], "share")
    there = set(numbers["features"])
    spaces = [name for name in (NUISANCE, *figure_data.in_order(there - {NUISANCE})) if name in there]
    shown = summaries.trained(numbers[numbers["subject"] == "mean"]).replace("unique_nuisance", "unique_property")
    columns = min(5, len(spaces))
    n_rows = -(-len(spaces) // columns)
    axis = elements.StepAxis(shown["step"], figure_data.options.step_axis, 2.3)
    shown = shown.assign(place=axis.of(shown))
    figure, axes = style.subplots(2.7 * columns + 2.2, 2.6 * n_rows + 1, n_rows, columns, sharex=True, sharey=True)
    size = 5 if len(axis.steps) <= 12 else 3
    for k, (panel, space) in enumerate(zip(axes.flat, spaces, strict=False)):
        panel.axhline(0, color="black", linewidth=0.8)
        here = shown[shown["features"] == space]
        *_, joint = elements.lines(panel, here, "place", "share", "part", PART_MARKS, PARTS.get, markersize=size)
        joint.set(linewidth=1, linestyle=":", markersize=0)
        axis.dress(panel)
        elements.gridlines(panel)
        last = k + columns >= len(spaces)
        panel.tick_params(labelbottom=last)
        panel.set(title="nuisance features" if space == NUISANCE else style.label(space))
        panel.set(
            xlabel="training step" if last else "",
            ylabel="" if k % columns else "share of variance\n(R², mean over voxels)",
        )
    for panel in axes.flat[len(spaces) :]:
        panel.set_axis_off()
    elements.legend(figure, [axes[0, 0]])
    note = f"Each participant's layer with the highest inner score. Shown: {summaries.in_words(alignment)}."
    style.title(figure, "Shares of variance of the model's vectors and of other features over training", note)
    return figure, numbers


def voxel_curves(panel, axis, rows, by: str, marks: Mapping[str, style.Mark], text) -> None:
    """The participants' shares of voxels as thin lines, their mean as a broad one; a colour for each value of `by`."""
    rows = summaries.trained(rows)
    rows = rows.assign(place=axis.of(rows))
    for subject, some in rows[rows["subject"] != "mean"].groupby("subject", sort=False):
        thin = {"linewidth": 0.7, "alpha": 0.6, "markersize": 0, "zorder": 1.8}
        for one in elements.lines(panel, some, "place", "share", by, marks, text, **thin):
            one.set(label=f"_{subject}")
    size = 6 if len(axis.steps) <= 12 else 4
    elements.lines(panel, rows[rows["subject"] == "mean"], "place", "share", by, marks, text, markersize=size)


def significant_voxels(figure_data: FigureData):
    """Figure 18: share of significant voxels over training: aligned, aligned over nuisance, harmed by a removal."""
    import pandas as pd

    alignment = figure_data.tables["alignment"]
    need_steps(alignment, "figure 18")
    effects, _, names, method = residuals(figure_data, "removal-effects", every_step=True)
    tables = {"alignment": summaries.original(alignment)}
    if figure_data.shares is not None:
        tables["unique_alignment"] = summaries.over_nuisance(figure_data.shares)
    shares = {name: table.assign(share=table["share_significant"]) for name, table in tables.items()}
    shares["harmed"] = effects.assign(share=effects["share_harmed"])
    rows = [summaries.at_best(table, alignment).assign(quantity=name) for name, table in shares.items()]
    by = ["quantity", "property", "checkpoint", "step"]
    numbers = with_mean(pd.concat(rows, ignore_index=True), by, "share")
    axis = elements.StepAxis(summaries.trained(numbers)["step"], figure_data.options.step_axis, 4.0)
    figure, ((left, right),) = style.subplots(14, 4.8, 1, 2)
    marks = {"alignment": style.Mark("black", "o"), "unique_alignment": elements.UNIQUE_MARK}
    texts = {"alignment": "predicted above 0", "unique_alignment": "predicted better than\nby nuisance features alone"}
    harmed = numbers["quantity"] == "harmed"
    voxel_curves(left, axis, numbers[~harmed], "quantity", marks, texts.get)
    elements.baselines(
        left, numbers[(numbers["quantity"] == "alignment") & (numbers["subject"] == "mean")], "share", values=False
    )
    colours = {name: figure_data.marks[name] for name in names}
    voxel_curves(right, axis, numbers[harmed], "property", colours, style.label)
    heading = f"harmed by removing a property (by {method})"
    for panel, title in ((left, "aligned with the model's vectors"), (right, heading)):
        axis.dress(panel)
        elements.gridlines(panel)
        panel.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")
        # No share is below 0, also where all are 0.
        high = max(panel.get_ylim()[1], 0.05)
        panel.set_ylim(-0.04 * high, high)
        panel.set(title=title, ylabel="significant voxels\n(% of those with a score, mean)")
    thin = elements.key("each participant", marker="", linestyle="-", linewidth=0.7)
    elements.beside(left, [*elements.handles(left), thin])
    elements.beside(right, elements.handles(right))
    note = f"Each participant's layer with the highest inner score. Shown: {summaries.in_words(alignment)}."
    style.title(figure, "Significant voxels over training", note)
    return figure, numbers
