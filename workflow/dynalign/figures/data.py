"""What a figure is drawn from, and what several figures draw alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynalign.config.figures import Figures
from dynalign.figures import style
from dynalign.io.errors import InputError
from dynalign.statistics import summaries

R_LABEL = "alignment\n(mean Pearson r over voxels)"
PUBLISHED = "Bakalova (published)"


@dataclass(frozen=True)
class FigureData:
    """What a figure is drawn from.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By their names with dashes (``removal-effects``); a baseline's ``step`` is NaN.
    options : dynalign.config.writers.Figures
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
        others = {name for table in self.tables.values() if "property" in table for name in table["property"] if name}
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
        return {row["step"]: row["value"] for row in rows if row["value"] is not None and row["step"] in set(steps)}


def residuals(figure_data: FigureData, name: str):
    """What figures 6 to 8 show of table `name`.

    Returns
    -------
    rows : pandas.DataFrame
        Those of the shown removal method, steps and properties.
    steps, properties : list
        As shown, in order.
    method : str
    """
    table = summaries.trained(figure_data.tables[name])
    removed = table[table["removal"] != "none"]
    steps = summaries.shown_steps(figure_data.options.steps, removed["step"])
    methods = list(removed["removal"].unique())
    method = figure_data.removal or (methods[0] if methods else None)
    if method not in methods:
        raise InputError(f"--removal {method}: the table has {', '.join(methods) or 'no removal'}; name one of these")
    removed = removed[removed["removal"] == method]
    properties = figure_data.in_order(removed["property"])
    names = summaries.shown_properties(figure_data.options.properties, properties)
    return removed[removed["step"].isin(steps) & removed["property"].isin(names)], steps, names, method


def draw_published(axes, axis: style.StepAxis, published: Mapping[int, float]) -> None:
    """The paper's values, faint, at the steps that `axis` has."""
    steps = [step for step in published if step in axis.steps]
    if steps:
        values = [published[step] for step in steps]
        axes.plot(axis(steps), values, color=style.REFERENCE, marker="o", markersize=4, label=PUBLISHED, zorder=0.9)


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


def over_training(figure_data: FigureData, values, key: str, heading: str, note: str):
    """Alignment by training step: subjects, their mean, dashed baselines (figures 4 and 11)."""
    import pandas as pd

    need_steps(values, "this figure")
    means = summaries.over_subjects(values)
    line = summaries.trained(means)
    axis = style.StepAxis(line["step"], figure_data.options.step_axis, 6.5)
    figure, axes = style.subplots(9.5, 6)
    panel = axes[0, 0]
    published = figure_data.published(key, line["step"])
    draw_published(panel, axis, published)
    draw_baselines(panel, means)
    draw_participants(panel, axis, values, figure_data.subjects)
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
        f"participants, not of others. Shown: {summaries.in_words(figure_data.tables['alignment'])}.",
    )
    return figure, with_published(pd.concat([values, means], ignore_index=True), published)


class Drawing(NamedTuple):
    """How a figure is made: its function, the tables it reads, whether it can show the published values."""

    draw: Callable[[FigureData], tuple]
    tables: tuple[str, ...]
    reference: bool = False
