"""The study in a few numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dynalign.config.removal import PAPER
from dynalign.config.study import Study
from dynalign.figures import style
from dynalign.statistics import summaries


def highlights(tables: Mapping, configuration: Mapping) -> Iterator[tuple[str, str]]:
    """Numbers, each with what it says; only those that the study's tables (data frames by name) can give."""
    found = {name: table for name, table in tables.items() if len(table)}
    if "alignment" in found:
        chosen = summaries.best_layers(found["alignment"])
        best = summaries.over_subjects(chosen)
        line = summaries.trained(best)
        if len(line):
            first, last = line.iloc[0], line.iloc[-1]
            yield (
                f"{last['mean_r']:.3f}",
                f"alignment at step {style.step_label(last['step'])} (mean r at each subject's best layer, mean of "
                f"subjects); {first['mean_r']:.3f} at step {style.step_label(first['step'])}",
            )
            if "shares" in found:
                yield from over_nuisance(summaries.over_nuisance_of(chosen, found["shares"]))
        for row in best[best["step"].isna()].itertuples():
            name = style.label(row.checkpoint)
            yield f"{row.mean_r:.3f}", f"alignment of the baseline {name}, chosen the same way"
    if "emergence" in found:
        yield from by_when(found["emergence"])
    if "perplexity" in found:
        line = summaries.trained(found["perplexity"])
        first, last = line.iloc[0], line.iloc[-1]
        yield (
            f"{last['perplexity']:,.1f}",
            f"perplexity at step {style.step_label(last['step'])}; {first['perplexity']:,.0f} at step "
            f"{style.step_label(first['step'])}",
        )
    if "removal_effects" in found:
        effects = found["removal_effects"]
        yield (
            f"{int(effects['significant'].sum()):,} of {len(effects):,}",
            "effects of a removal that are significant by the calibrated test; "
            f"{int(effects['significant_paper'].sum()):,} by the paper's, which rejects far too often",
        )
        headline = configuration["removal"]["methods"][0]
        read = summaries.readings(effects[effects["removal"] == headline])["reading"]
        still, never, removed = ((read == kind).sum() for kind in ("still", "never", "removed"))
        yield (
            f"{removed:,} of {len(read):,}",
            f"removals by {headline} (step, layer, property) that took away what the encoder reads of the property; it "
            f"still reads {still:,} and never read {never:,}, whose effects say little or nothing",
        )
        name = (configuration["simulation"] or {}).get("brain_only")
        if name:
            rows = effects[effects["property"] == name]
            harm = ((rows["mean_difference"] < 0) & (rows["p"] < 0.05)).groupby(rows["removal"]).agg(["sum", "size"])
            cells = {removal: f"{row['sum']} of {row['size']}" for removal, row in harm.iterrows()}
            yield (
                cells[PAPER],
                f"cells in which removing {style.label(name)} by the paper's {PAPER} seems to hurt (p < .05, not "
                f"adjusted); by {headline}: {cells[headline]}. Simulated readers follow {style.label(name)} and no "
                "model holds it: such harm is invented by the removal",
            )
    if "probing" in found:
        above = int((found["probing"]["crossfit_position"] == "above").sum())
        yield (
            f"{above:,} of {len(found['probing']):,}",
            "probes that can still read their property after its removal (crossfit)",
        )


def by_when(emergence) -> Iterator[tuple[str, str]]:
    """By which step alignment (mean over subjects and layers) clears each reference, and half of its rise is there."""
    whole = emergence[(emergence["subject"] == "mean") & (emergence["layer"] == "mean")]
    names = {"step-0": "that of the untrained network", "zero": "0"}
    for quantity, rows in whole.groupby("quantity", sort=False):
        what = f"alignment{' over nuisance' if quantity == 'unique_alignment' else ''} (mean over subjects and layers)"
        for row in rows.itertuples():
            reference = names.get(row.reference, f"that of the baseline {style.label(row.reference)}")
            if np.isnan(row.clears_by):
                yield "no step", f"from which {what} stays above {reference}"
                continue
            since = "" if np.isnan(row.clears_after) else f"; not yet at step {style.step_label(row.clears_after)}"
            number = f"step {style.step_label(row.clears_by)}"
            yield number, f"first checkpoint from which {what} stays above {reference}{since}"
        low, middle, high = rows[["half_rise_low", "half_rise_step", "half_rise_high"]].iloc[0].round()
        if not np.isnan(middle):
            interval = f"interval {style.step_label(low)} to {style.step_label(high)}"
            text = f"where {what} has made half of its rise from the first checkpoint to the last ({interval})"
            yield f"step {style.step_label(middle)}", text


def over_nuisance(values) -> Iterator[tuple[str, str]]:
    """Alignment over nuisance features (rows of each subject) at the last checkpoint and, beside it, the first."""
    line = summaries.trained(summaries.over_subjects(values))
    if len(line):
        first, last = (f"({row.ci_low:.3f} to {row.ci_high:.3f})" for row in (line.iloc[0], line.iloc[-1]))
        yield (
            f"{line['mean_r'].iloc[-1]:.3f}",
            f"alignment over nuisance at step {style.step_label(line['step'].iloc[-1])} {last}: mean r that the same "
            "layers add to what position, word rate, length, frequency and other nuisance features predict; "
            f"{line['mean_r'].iloc[0]:.3f} {first} at step {style.step_label(line['step'].iloc[0])}. In brackets: "
            "intervals of the mean of subjects; one that holds 0 shows no alignment beyond these features",
        )


def compared_models(tables: Mapping, study: Study, configuration: Mapping) -> list[dict]:
    """The models of a study, each with where its page lies from the study's, what it is and what came of it.

    `configuration` is the study as the page shows it.
    ``perplexity`` is that of the last checkpoint; ``peak`` the highest alignment of a trained checkpoint (mean r at
    each subject's best layer, mean of subjects) and ``peak_step`` its step; empty where the tables lack them.
    """
    rows = []
    for name in study.models:
        one = study.of(name)
        steps = list(map(style.step_label, sorted(one.model.steps)))
        listed = ", ".join(steps) if len(steps) < 9 else f"{steps[0]} to {steps[-1]}"
        found = {
            kind: tables[kind][tables[kind]["model"] == name] for kind in ("perplexity", "alignment") if kind in tables
        }
        row = {
            "name": name,
            "href": f"{os.path.relpath(one.model_results, study.results)}/index.html",
            "source": configuration["models"][name]["source"],
            "steps": f"{len(steps)}: {listed}",
            "depth": one.model.depth,
            "seed": one.training_seed if study.training else "",
            "perplexity": "",
            "peak": "",
            "peak_step": "",
        }
        if "perplexity" in found:
            row["perplexity"] = f"{summaries.trained(found['perplexity'])['perplexity'].iloc[-1]:,.1f}"
        if "alignment" in found:
            line = summaries.trained(summaries.over_subjects(summaries.best_layers(found["alignment"])))
            highest = line.loc[line["mean_r"].idxmax()]
            row |= {"peak": f"{highest['mean_r']:.3f}", "peak_step": style.step_label(highest["step"])}
        rows.append(row)
    return rows


def participants(tables: Mapping, subjects: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each subject with the number of voxels and of those without a score, empty where the tables lack it."""
    if "alignment" not in tables:
        return [(subject, "", "") for subject in subjects]
    counts = summaries.original(tables["alignment"]).groupby("subject")[["n_voxels", "n_invalid"]].max()
    shown = {subject: [f"{int(number):,}" for number in row] for subject, row in counts.T.items()}
    return [(subject, *shown.get(subject, ("", ""))) for subject in subjects]
