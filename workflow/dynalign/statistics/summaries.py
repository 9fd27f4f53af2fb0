"""The numbers that the figures draw, computed from the study's tables; nothing here draws."""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from dynalign.config.properties import RARE
from dynalign.config.shares import NUISANCE
from dynalign.io.errors import InputError
from dynalign.tables import reader

CELL = ["checkpoint", "step", "subject"]

#: A probe's accuracies: without removal, after the paper's removal, after removal in each training fold.
ACCURACIES = ("accuracy_before", "accuracy_after", "accuracy_after_crossfit")

#: Layers that get a panel each.
MOST_LAYERS = 7

#: Participants that are told apart in figures, and named in their notes; more are drawn alike.
MOST_NAMED = 12

#: An estimate of alignment and its interval.
BOUNDS = ["mean_r", "ci_low", "ci_high"]


def read(path: str | PathLike, kind: str):
    """Read a table of the study to draw it (:func:`dynalign.tables.reader.read_table`); InputError without rows."""
    table = reader.read_table(path, kind=kind.replace("-", "_"))
    if table.empty:
        raise InputError(f"{path}: the table has no rows, so there is nothing to show; run its step again")
    return table


def trained(table):
    """The rows of checkpoints in order of training (a baseline has no step)."""
    return table[table["step"].notna()].sort_values("step", kind="stable")


def original(alignment):
    """The rows of the original representations, none removed."""
    return alignment[alignment["removal"] == "none"]


def best_layers(alignment):
    """Best layer per checkpoint and subject: by the reported alignment (the paper's rule) and by inner score.

    Choosing by the reported score looks at the answer; the inner cross-validation score does not (METHOD section 7).
    Ties go to the lower layer. A data frame ``checkpoint step subject layer mean_r ci_low ci_high`` and, of the layer
    that the inner score chooses, the last four with the ending ``_by_inner_score``. InputError if nothing is finite.
    """
    import pandas as pd

    rows = []
    shown = ["layer", *BOUNDS]
    cells = original(alignment).sort_values("layer", kind="stable")
    for key, cell in cells.groupby(CELL, dropna=False, sort=False):
        if cell["mean_r"].isna().all():
            continue
        best = cell.loc[cell["mean_r"].idxmax()]
        inner = cell.loc[cell["inner_score"].idxmax()] if cell["inner_score"].notna().any() else None
        rows.append(
            dict(zip(CELL, key, strict=True))
            | {name: best[name] for name in shown}
            | {f"{name}_by_inner_score": np.nan if inner is None else inner[name] for name in shown}
        )
    if not rows:
        raise InputError("alignment table: no original representation has a finite mean_r; see its n_invalid")
    return pd.DataFrame(rows).sort_values(["step", "checkpoint"], kind="stable", ignore_index=True)


def layer_means(alignment):
    """Alignment of the originals, mean over layers: ``checkpoint step subject mean_r ci_low ci_high``.

    A subject's layers share their noise: bounds are averaged, as if fully dependent (no interval is wider).
    """
    means = original(alignment).groupby(CELL, dropna=False, sort=False)[BOUNDS].mean().reset_index()
    return means.dropna(subset="mean_r").sort_values(["step", "checkpoint"], kind="stable", ignore_index=True)


def at_best(table, alignment):
    """The rows of `table` in the layer of their checkpoint and subject with the highest inner score."""
    best = best_layers(alignment)[["checkpoint", "subject", "layer_by_inner_score"]]
    return table.merge(best.rename(columns={"layer_by_inner_score": "layer"}), on=["checkpoint", "subject", "layer"])


def over_nuisance(shares):
    """Rows of the table of shares as rows of the table of alignment: what the vectors add to nuisance features."""
    rows = shares[(shares["features"] == NUISANCE) & (shares["part"] == "unique_model")]
    return rows.assign(removal="none", property="original")


def over_nuisance_of(values, shares):
    """Alignment over nuisance features of the subjects and layers that `values` are of.

    `values` come from :func:`best_layers` (its layers by the reported alignment) or from :func:`layer_means`. A data
    frame ``checkpoint step subject mean_r ci_low ci_high``.
    """
    rows = over_nuisance(shares)
    rows = rows if "layer" in values else layer_means(rows)
    key = [name for name in (*CELL, "layer") if name in values and name != "step"]
    return values[[*key, "step"]].merge(rows[[*key, *BOUNDS]], on=key)[[*CELL, *BOUNDS]]


def _averaged(values, by: Sequence[str], bounds: Sequence[str] = BOUNDS):
    """Mean and interval (:func:`mean_interval`) of each group of subjects' estimates, one row per group."""
    import pandas as pd

    return pd.DataFrame(
        dict(zip(by, key, strict=True))
        | dict(zip(bounds, mean_interval(*(cell[name] for name in bounds)), strict=True))
        | {"n_subjects": len(cell)}
        for key, cell in values.groupby(list(by), dropna=False, sort=False)
    )


def over_subjects(values):
    """Mean over subjects and its interval of ``checkpoint step mean_r ci_low ci_high``, as rows of subject ``mean``."""
    means = _averaged(values, ["checkpoint", "step"]).assign(subject="mean")
    return means.reindex(columns=[*CELL, *BOUNDS])


def mean_interval(values, low, high) -> tuple[float, float, float]:
    """Mean of subjects' estimates, shape (n,), with its interval: their bounds are averaged.

    The subjects read the same words, so that what chance in the text does to a model's fit is shared by all:
    on the embedded study the interval of the subjects' mean c(t) (:func:`dynalign.statistics.group.group_row`) is 1.6
    times as wide as three independent subjects would give. Averaging takes them as fully dependent; no interval is
    wider. It is that of the mean of these subjects, not of a population of subjects.
    """
    return float(np.mean(values)), float(np.mean(low)), float(np.mean(high))


def shown_steps(asked: Sequence[int], available: Sequence[float]) -> list[int]:
    """The steps that get a panel: those asked for that exist, else the first, middle and last trained one."""
    steps = sorted({int(step) for step in available})
    if not steps:
        raise InputError("no checkpoint has a step; figures 6 to 8 need at least one beside the baselines")
    chosen = [step for step in asked if step in steps]
    if chosen:
        return chosen
    after_start = [step for step in steps if step > 0] or steps
    return sorted({after_start[0], after_start[len(after_start) // 2], after_start[-1]})


def shown_properties(asked: Sequence[str], available: Sequence[str]) -> list[str]:
    """The properties shown: those asked for that exist, else the first four there are."""
    return [name for name in asked if name in set(available)] or list(available)[:4]


def significant_layers(effects):
    """Per step, layer and property: is the effect significant for ALL subjects, by either rule? (figure 6)

    A data frame ``step property layer paper calibrated mean_difference n_subjects reading``; a cell that lacks a
    subject is significant by neither rule.
    """
    n_subjects = effects["subject"].nunique()
    cells = effects.groupby(["step", "property", "layer"], sort=False)
    table = cells.agg(
        paper=("significant_paper", "min"),
        calibrated=("significant", "min"),
        mean_difference=("mean_difference", "mean"),
        n_subjects=("subject", "nunique"),
    ).reset_index()
    table = table.merge(readings(effects), on=["step", "property", "layer"])
    complete = table["n_subjects"] == n_subjects
    for rule in ("paper", "calibrated"):
        table[rule] = ((table[rule] == 1) & complete).astype(int)
    return table


def readings(effects):
    """What the encoder reads of a property (METHOD section 5): what an effect of its removal can mean.

    A data frame ``step property layer reading``: ``still`` where more of the property than by chance is read after its
    removal, in a subject at least; ``never`` where it is read in no subject before, so that there is nothing to remove;
    else ``removed``; empty where it was not asked.
    """
    cells = effects.assign(
        known=effects["readable_before_null"].notna(),
        before=effects["readable_before"] > effects["readable_before_null"],
        after=effects["readable_after"] > effects["readable_after_null"],
    ).groupby(["step", "property", "layer"], sort=False)[["known", "before", "after"]]
    found = cells.max()
    cases = [~found["known"], found["after"], ~found["before"]]
    found["reading"] = np.select(cases, ["", "still", "never"], default="removed")
    return found["reading"].reset_index()


def readable_means(effects):
    """What the encoder reads of each property, mean over layers and subjects (figure 7).

    A data frame ``step property readable_before readable_after readable_before_null readable_after_null``.
    """
    names = [f"readable_{name}" for name in ("before", "after", "before_null", "after_null")]
    return effects.groupby(["step", "property"], sort=False)[names].mean().reset_index()


def representation_means(alignment):
    """Alignment over subjects, then layers (figure 7, upper row): ``step property mean_r std_over_layers``.

    The spread is the population standard deviation (ddof 0) over layers, the paper's error bar.
    """
    by_layer = alignment.groupby(["step", "property", "layer"], sort=False)["mean_r"].mean()
    cells = by_layer.groupby(["step", "property"], sort=False)
    return cells.agg(mean_r="mean", std_over_layers=lambda values: values.std(ddof=0)).reset_index()


def mean_differences(effects):
    """Residual − original over layers, per subject and over subjects (subject ``mean``; figure 7).

    A data frame ``step property subject mean_difference ci_low ci_high``. The layers of one subject share their noise,
    and the subjects the text: bounds are averaged, as if fully dependent (:func:`mean_interval`).
    """
    import pandas as pd

    bounds = ["mean_difference", "ci_low", "ci_high"]
    subjects = effects.groupby(["step", "property", "subject"], sort=False)[bounds].mean().reset_index()
    means = _averaged(subjects, ["step", "property"], bounds).assign(subject="mean")
    return pd.concat([subjects, means[subjects.columns]], ignore_index=True)


def layer_curves(alignment):
    """Mean over subjects and its interval (figure 8): ``step property layer mean_r ci_low ci_high n_subjects``."""
    by = ["step", "property", "layer"]
    return _averaged(alignment, by).sort_values(by, kind="stable", ignore_index=True)


def rare_classes(counts):
    """Rows of class counts that hold under :data:`RARE` of their property's sentences or words."""
    totals = counts.groupby("property")["count"].transform("sum")
    return counts[counts["count"] < RARE * totals]


def probing_cells(probing):
    """The rows of the probing table that are drawn, by step: all of them at no more than `MOST_LAYERS` layers.

    Of more layers, evenly spaced ones are kept, the first and last too. InputError if no checkpoint has a step.
    """
    if probing["step"].isna().all():
        raise InputError("probing table: no checkpoint has a step; this figure needs one beside the baselines")
    layers = layers_of(probing)
    kept = {layers[round(k)] for k in np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS))}
    shown = probing[probing["layer"].isin(kept)]
    return shown.sort_values("step", kind="stable", na_position="first", ignore_index=True)


def spread(counts) -> str:
    """A range of counts in words: ``24,983 to 27,905``."""
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def in_words(alignment) -> str:
    """Subjects and voxels in words: ``participants F, M, H (n = 3), 24,983 to 27,905 voxels each``; many unnamed."""
    counts = original(alignment).groupby("subject", sort=False)["n_voxels"].max()
    people, each = ("participant", "") if len(counts) == 1 else ("participants", " each")
    n = len(counts)
    who = f"{n} {people}" if n > MOST_NAMED else f"{people} {', '.join(counts.index)} (n = {n})"
    return f"{who}, {spread(counts)} voxels{each}"


def layers_of(table) -> list[int]:
    """The layers in `table`, rising."""
    return [int(layer) for layer in np.unique(table["layer"])]
