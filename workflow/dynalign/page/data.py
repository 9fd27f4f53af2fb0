"""Tables as the page's script reads them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from dynalign.figures import style
from dynalign.figures.elements import StepAxis
from dynalign.tables import datapackage, reader, schema

#: Tables of more rows are linked, and described, but not embedded; the same for the numbers behind a figure.
MOST_ROWS, MOST_FIGURE_ROWS = 200_000, 2_000


def embedded_json(value) -> str:
    """JSON for a ``<script>`` element: nothing in it can end the element or begin another.

    NaN becomes null, and infinity a number that JavaScript reads as infinity.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.replace('"\\u0000inf"', "1e999").replace('"-\\u0000inf"', "-1e999")


def _finite(value):
    """`value` with NaN as None and infinities as marks; numbers that are whole as int, which is shorter."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "\0inf" if value > 0 else "-\0inf"
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def column_json(values: Sequence) -> dict:
    """One column as the shortest of its values, levels and codes, or levels and runs of codes.

    That is ``{"values": …}``, ``{"levels": …, "codes": …}`` or ``{"levels": …, "runs": [code, length, …]}``.
    """
    values = [_finite(value) for value in values]
    levels = list(dict.fromkeys(values))
    forms: list[dict] = [{"values": values}]
    if 2 * len(levels) <= len(values):
        place = {level: code for code, level in enumerate(levels)}
        codes = [place[value] for value in values]
        runs = [number for code, run in groupby(codes) for number in (code, len(list(run)))]
        forms += [{"levels": levels, "codes": codes}, {"levels": levels, "runs": runs}]
    return min(forms, key=lambda form: len(json.dumps(form, ensure_ascii=False)))


def table_view(path: Path, properties: Sequence[str], folder: Path, most: int = MOST_ROWS) -> dict:
    """A table as the page in `folder` shows it, with what the tables' schema says about it.

    ``row`` says what a row is, ``href`` leads from the page to the file; ``data`` are the columns as JSON, None for a
    table of more than `most` rows.
    """
    import pandas as pd

    frame = reader.read_table(path)
    columns = []
    for name, column in datapackage.describe(path.stem, list(frame.columns), properties).items():
        # `value` is text in one table and a number in another: the schema knows which.
        if column and column.type != "string" and frame[name].dtype == object:
            frame[name] = pd.to_numeric(frame[name].replace("", None))
        about = {"type": column.type, "text": column.text, "unit": column.unit} if column else {"type": "any"}
        columns.append({"name": name} | about)
    entry = schema.TABLES.get(path.stem)
    return {
        "name": path.stem,
        "title": entry.title if entry else style.label(path.stem.replace("-", "_")),
        "row": entry.row if entry else "",
        "href": os.path.relpath(path, folder),
        "columns": columns,
        "frame": frame,
        "data": embedded_json([column_json(frame[name].tolist()) for name in frame]) if len(frame) <= most else None,
    }


def outline(marker: str | tuple[int, int, float]) -> str:
    """A marker of the figures as an SVG path between -1 and 1."""
    import numpy as np
    from matplotlib.markers import MarkerStyle

    drawn = MarkerStyle(marker)
    if marker == "o":
        return "M-0.9,0a0.9,0.9,0,1,1,1.8,0a0.9,0.9,0,1,1,-1.8,0Z"
    (polygon,) = drawn.get_path().transformed(drawn.get_transform()).to_polygons()
    # In SVG, y runs down; + 0 turns -0 into 0.
    corners = np.asarray(polygon, dtype=float)
    places = (corners[:-1] / abs(corners).max() * (1, -1)).round(3) + 0
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in places) + "Z"


def explorer(configuration: Mapping, alignment) -> dict:
    """What the explorer offers and how it draws it, from the study as JSON has it and ``tables/alignment.tsv``.

    Names stand in the study's order, those that the table alone has after them. ``choices`` are values with texts,
    ``start`` is the first choice; ``places`` of the trained checkpoints on an axis are even or, "1", by log step.
    """

    def ordered(column: str, names: Sequence) -> list:
        present = alignment[column].drop_duplicates().tolist()
        return [name for name in names if name in present] + [name for name in present if name not in names]

    steps = {name: step for name, step in zip(alignment["checkpoint"], alignment["step"], strict=True) if step == step}
    named = [*(f"step-{step}" for step in configuration["model"]["steps"]), *configuration["baselines"]]
    checkpoints = ordered("checkpoint", named)
    trained = sorted((name for name in checkpoints if name in steps), key=lambda name: steps[name])
    properties = [name for name in ordered("property", list(configuration["properties"])) if name != "original"]
    removals = [name for name in ordered("removal", configuration["removal"]["methods"]) if name != "none"]
    subjects, layers = ordered("subject", configuration["subjects"]), sorted(alignment["layer"].unique().tolist())
    labels = {name: style.step_label(steps[name]) if name in steps else style.label(name) for name in checkpoints}
    labels |= {name: style.label(name) for name in ("original", *properties)}
    marks = style.marks(properties)
    # The layer of the last checkpoint with the best inner score: the choice that does not look at the alignment.
    last = trained[-1] if trained else checkpoints[0]
    rows = alignment[(alignment["checkpoint"] == last) & (alignment["removal"] == "none")]
    scores = rows.groupby("layer")["inner_score"].mean().dropna()
    shown = configuration["figures"]["properties"]
    preferred = [name for name in shown if name in properties and name != "random_label"]

    def places(kind: str) -> list[float]:
        return StepAxis([steps[name] for name in trained], kind, 6).places.tolist() if trained else []

    return {
        "choices": {
            "checkpoint": [(name, f"{'step' if name in steps else 'baseline'} {labels[name]}") for name in checkpoints],
            "layer": [(str(layer), "0 (embeddings)" if layer == 0 else str(layer)) for layer in layers],
            "property": [(name, labels[name]) for name in properties],
            "removal": [(name, name) for name in removals],
            "subject": [(name, name) for name in subjects],
        },
        "start": {
            "checkpoint": last,
            "layer": str(scores.idxmax() if len(scores) else layers[0]),
            "property": next(iter([*preferred, *properties]), ""),
            "removal": next(iter(removals), ""),
            "subject": subjects[0],
            "log": "1" if configuration["figures"]["step_axis"] == "log" else "",
        },
        "trained": trained,
        "baselines": [name for name in checkpoints if name not in steps],
        "places": {log: places(kind) for log, kind in (("", "categorical"), ("1", "log"))},
        "steps": {name: int(step) for name, step in steps.items()},
        "layers": layers,
        "labels": labels,
        "marks": {name: {"colour": colour, "shape": outline(marker)} for name, (colour, marker) in marks.items()},
        "alpha": configuration["statistics"]["alpha"],
    }
