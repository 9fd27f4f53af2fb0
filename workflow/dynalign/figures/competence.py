"""Figure 20: scores on tasks beside alignment over training."""

from __future__ import annotations

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData, need_steps
from dynalign.figures.elements import StepAxis
from dynalign.figures.training_curves import rho_in_words
from dynalign.statistics import emergence, summaries

#: Tasks that are drawn; of more, those whose scores range furthest.
MOST_TASKS = 8


def over_training(figure_data: FigureData):
    """Alignment of participants and their mean above, the score on each task below, over training steps."""
    import pandas as pd

    need_steps(figure_data.tables["alignment"], "figure 20")
    values = emergence.at_layer(figure_data.tables["alignment"], "mean")
    scores, related = figure_data.tables["competence"], figure_data.tables["competence-alignment"]
    ranges = scores.groupby("task")["score"].agg(lambda one: one.max() - one.min())
    tasks = sorted(ranges.sort_values(ascending=False, kind="stable").index[:MOST_TASKS])
    shown = scores[scores["task"].isin(tasks)].sort_values(["task", "step"], kind="stable")
    rho = related[(related["layer"] == "mean") & (related["subject"] == "mean")].set_index("task")
    marks = dict(zip(tasks, list(style.MARKS.values())[2:], strict=False))
    axis = StepAxis(summaries.trained(values)["step"], figure_data.options.step_axis, 6.6)
    figure, ((top,), (lower,)) = style.subplots(10.5, 6.6, 2, 1, sharex=True)
    means = values[values["subject"] == "mean"]
    elements.baselines(top, means)
    elements.thin_lines(top, axis, values, figure_data.subjects)
    elements.mean_line(top, axis, means)
    top.set_ylabel(elements.R_LABEL)

    def text(task: str) -> str:
        return f"{task}\n{rho_in_words(rho.loc[task])}" if task in rho.index else task

    elements.lines(lower, shown.assign(place=axis.of(shown)), "place", "score", "task", marks, text, markersize=5)
    lower.set_ylabel("score")
    axis.dress(lower)
    for panel in (top, lower):
        elements.gridlines(panel)
        elements.beside(panel, [*elements.handles(panel), *([elements.band_key()] if panel is top else [])])
    figure.align_ylabels([top, lower])
    more = f" Drawn: the {len(tasks)} of {len(ranges)} tasks that range furthest." if len(ranges) > len(tasks) else ""
    style.title(figure, "Competence and alignment over training", f"ρ: with the mean of participants.{more}")
    found = ["rho", "rho_given_step", "rho_of_changes"]
    parts = [
        values.rename(columns={"mean_r": "value"}).assign(quantity="alignment"),
        shown.rename(columns={"score": "value"})
        .assign(quantity="competence")
        .merge(rho[found], how="left", left_on="task", right_index=True),
    ]
    columns = ["quantity", "task", "subject", "checkpoint", "step", "value", "ci_low", "ci_high"]
    return figure, pd.concat(parts, ignore_index=True)[[*columns, *found]]
