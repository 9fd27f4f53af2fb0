"""Figure 19: several models over training, and the mean over those of one kind."""

from __future__ import annotations

from dynalign.figures import elements, style
from dynalign.figures.data import FigureData
from dynalign.figures.elements import StepAxis
from dynalign.statistics.models import MEAN

#: What is drawn of each model, where it is known: relative depth, label.
SHOWN = {
    "alignment": (MEAN, "alignment\n(mean Pearson r)"),
    "unique_alignment": (MEAN, "alignment over nuisance\n(Pearson r)"),
    "perplexity": ("", "log₂ perplexity\n(bits per word)"),
}

MEAN_OF_MODELS = "mean over models"


def over_training(figure_data: FigureData):
    """Each model's curve and the mean over models with its interval: a column for each group, a row for each quantity.

    Steps stand on a log axis whatever the options say: models are trained over orders of magnitude.
    """
    import pandas as pd

    parts = []
    for kind, value in (("model-curves", "value"), ("models", "mean")):
        table = figure_data.tables[kind].rename(columns={value: "value"})
        for quantity, (place, _) in SHOWN.items():
            parts.append(table[(table["quantity"] == quantity) & (table["relative_depth"] == place)])
    numbers = pd.concat(parts, ignore_index=True)
    numbers = numbers.assign(model=numbers["model"].fillna(MEAN), n_models=numbers["n_models"].fillna(1))
    quantities = [name for name in SHOWN if name in set(numbers["quantity"])]
    groups = list(dict.fromkeys(numbers["group"]))
    names = [name for name in dict.fromkeys(numbers["model"]) if name != MEAN]
    marks = {name: mark._replace(marker="") for name, mark in style.subject_marks(names).items()}
    width = {1: 6.5, 2: 4.2}.get(len(groups), 3.2)
    axis = StepAxis(numbers["step"], "log", width - 0.9)
    size = (width * len(groups) + 2.2, 2.7 * len(quantities) + 1.1)
    figure, axes = style.subplots(*size, len(quantities), len(groups), sharex=True, sharey="row")
    for row, quantity in zip(axes, quantities, strict=True):
        for panel, group in zip(row, groups, strict=True):
            cells = numbers[(numbers["quantity"] == quantity) & (numbers["group"] == group)].sort_values("step")
            cells = cells.assign(place=axis(cells["step"]))
            means = cells[cells["model"] == MEAN]
            look = {"linewidth": 0.9, "alpha": 0.85, "markersize": 0}
            elements.lines(panel, cells[cells["model"] != MEAN], "place", "value", "model", marks, **look)
            if means["n_models"].max() > 1:
                elements.band(panel, means["place"], means, "black", gid=MEAN_OF_MODELS)
                mean = {"linewidth": 2.2, "zorder": 3, "markersize": 4}
                mark = {MEAN: style.Mark("black", "o")}
                elements.lines(panel, means, "place", "value", "model", mark, lambda _: MEAN_OF_MODELS, **mean)
            elements.gridlines(panel)
            if quantity == quantities[-1]:
                axis.dress(panel)
            if quantity == quantities[0]:
                panel.set_title(f"{group} (n = {int(means['n_models'].max())})")
            panel.set_ylabel(SHOWN[quantity][1] if panel is row[0] else "")
    keys = {handle.get_label(): handle for panel in axes[0] for handle in elements.handles(panel)}
    if elements.crowded(names):
        keys = {name: handle for name, handle in keys.items() if name == MEAN_OF_MODELS}
        keys["a model"] = elements.key("a model", marker="", linestyle="-", linewidth=0.9)
    if MEAN_OF_MODELS in keys:
        # Last, behind all names.
        keys[MEAN_OF_MODELS] = keys.pop(MEAN_OF_MODELS)
        keys["interval"] = elements.band_key("interval over models,\nsubjects and text")
    elements.legend(figure, [], *keys.values())
    figure.align_ylabels(axes[:, 0])
    style.title(figure, "Models over training", "Alignment: mean over voxels, subjects and layers. Thin: each model.")
    columns = ["quantity", "group", "model", "step", "value", "ci_low", "ci_high", "sd_between", "n_models"]
    return figure, numbers[columns]
