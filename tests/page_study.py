"""A study on disk without a run: tables with planted numbers, figures of a few bytes."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd

from dynalign.config.properties import paper_properties
from dynalign.config.study import load
from dynalign.io import atomic
from dynalign.page import write as page_write
from dynalign.page.figures import Figure
from dynalign.statistics import summaries
from dynalign.tables import schema, writer

#: The smallest PNG: one transparent pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def configuration(
    steps=(0, 1, 8, 64), layers=(0, 2, 4), properties=("tense", "pos", "added"), subjects=("F", "M"), **more
) -> dict:
    """A study as JSON has it; `added` is a property of the study's own."""
    known = paper_properties()
    named = {name: known[name].model_dump(exclude_none=True) if name in known else {"random": 2} for name in properties}
    values = {
        "study": "made",
        "subjects": list(subjects),
        "properties": named,
        "model": {"steps": list(steps), "layers": list(layers), "depth": 12, "source": "/somewhere/of/mine"},
        "figures": {"properties": list(properties)[:2], "steps": list(steps)[:1]},
    }
    return load(values | more).model_dump(mode="json")


def tables(study: dict, seed: int = 0) -> dict[str, pd.DataFrame]:
    """The tables of a finished study, every number different."""
    rng = np.random.default_rng(seed)
    checkpoints = [(f"step-{step}", step) for step in study["model"]["steps"]]
    checkpoints += [(name, np.nan) for name in study["baselines"]]
    arms = [("none", "original")] + [
        (removal, name) for removal in study["removal"]["methods"] for name in study["properties"]
    ]
    cells = [
        {"checkpoint": checkpoint, "step": step, "layer": layer, "removal": removal, "property": name}
        for checkpoint, step in checkpoints
        for layer in ([0] if checkpoint in ("controls", *study["features"]) else study["model"]["layers"])
        for removal, name in arms
    ]
    alignment = pd.DataFrame([cell | {"subject": subject} for cell in cells for subject in study["subjects"]])
    n = len(alignment)
    mean, half = rng.normal(0.1, 0.03, n), rng.uniform(0.01, 0.03, n)
    alignment = alignment.assign(
        mean_r=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        inner_score=rng.normal(0.02, 0.01, n),
        n_voxels=[20_000 + 1_000 * study["subjects"].index(subject) for subject in alignment["subject"]],
        n_invalid=0,
        share_significant=0.2,
    )
    effects = alignment.loc[
        alignment["removal"] != "none", ["checkpoint", "step", "layer", "removal", "property", "subject"]
    ].reset_index(drop=True)
    n = len(effects)
    mean, half, p = rng.normal(0, 0.02, n), rng.uniform(0.005, 0.02, n), rng.uniform(0, 1, n)
    effects = effects.assign(
        mean_difference=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        t_paper=rng.normal(0, 9, n),
        p_paper=10.0 ** -rng.uniform(0, 200, n),
        significant_paper=1,
        p=p,
        n_voxels=20_000,
        share_harmed=0.1,
        share_relieved=0.0,
        readable_before=rng.uniform(0.1, 0.5, n),
        readable_before_null=0.2,
        readable_after=rng.uniform(-0.1, 0.2, n),
        readable_after_null=0.1,
        over_control=mean + 0.001,
        p_fdr=np.minimum(1, 2 * p),
        significant=(2 * p < 0.05).astype(int),
    )
    probing = pd.DataFrame([cell for cell in cells if cell["removal"] != "none"])
    n = len(probing)
    probing = probing.assign(
        **{name: rng.uniform(0.3, 0.9, n) for name in summaries.ACCURACIES},
        chance=0.5,
        null_low=rng.uniform(0.4, 0.45, n),
        null_high=rng.uniform(0.55, 0.6, n),
    )
    after, low, high = (probing[name] for name in ("accuracy_after_crossfit", "null_low", "null_high"))
    probing = probing.assign(
        removed=(after <= high).astype(int),
        crossfit_position=np.select([after < low, after > high], ["below", "above"], default="inside"),
    )
    steps = [entry for entry in checkpoints if entry[1] == entry[1]]
    perplexity = pd.DataFrame(steps, columns=["checkpoint", "step"]).assign(
        perplexity=rng.uniform(30, 200, len(steps)), bits_per_word=8.0, n_tokens=999
    )
    labels = pd.DataFrame({"word_index": [0, 1, 2], "word": ['"', "</script>", "<b>1984</b>"], "tense": [0, np.nan, 1]})
    found = {
        "labels": labels,
        "perplexity": perplexity,
        "probing": probing,
        "alignment": alignment,
        "removal_effects": effects,
    }
    return {name: table for name, table in found.items() if len(table)}


def write(folder: Path, study: dict, found: dict[str, pd.DataFrame], figures: bool = True) -> Path:
    """Write tables, two figures and the page; the page's path."""
    paths = []
    for name, table in found.items():
        paths.append(folder / "tables" / f"{name}.tsv")
        # What the study left out stays empty.
        names = schema.TABLES[name].described([column for column in table.columns if column in study["properties"]])
        writer.write_table(table.reindex(columns=list(names)), paths[-1])
    shown = []
    if figures:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, caption, labels in (
            ("figure-01-perplexity", "figure-01-perplexity.rst", {"figure": "1", "shows": "perplexity"}),
            ("figure-04-best-layer-alignment", "figure-04-best-layer-alignment.rst", {"figure": "4"}),
            ("map-F", "map.rst", {"subject": "F"}),
        ):
            path = folder / "figures" / f"{name}.png"
            path.write_bytes(PIXEL)
            category = "Maps of the brain" if name.startswith("map") else "Figures"
            more = {"category": category, "labels": labels, "wildcards": {"subject": "F"}}
            shown.append(Figure(path=path, caption=caption, **more))
        if "perplexity" in found:
            writer.write_table(
                found["perplexity"].drop(columns="bits_per_word"), folder / "figures/figure-01-perplexity.tsv"
            )
    atomic.write_text(folder / "index.html", page_write.study_page(study, paths, shown, [], folder))
    return folder / "index.html"
