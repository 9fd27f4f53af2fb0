"""Tables as the page's script reads them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynalign.figures import style
from dynalign.tables import datapackage, reader, schema

#: Tables of more rows are linked, and described, but not embedded.
MOST_ROWS = 200_000

#: The same for the numbers behind a figure.
MOST_FIGURE_ROWS = 2_000


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
    """One column as the shortest of: its values; levels and codes; levels and runs of codes.

    Returns
    -------
    dict
        ``{"values": …}``, ``{"levels": …, "codes": …}`` or ``{"levels": …, "runs": [code, length, …]}``.
    """
    values = [_finite(value) for value in values]
    levels = list(dict.fromkeys(values))
    plain = {"values": values}
    if 2 * len(levels) > len(values):
        return plain
    place = {level: code for code, level in enumerate(levels)}
    codes = [place[value] for value in values]
    runs: list[int] = []
    for code in codes:
        if runs and runs[-2] == code:
            runs[-1] += 1
        else:
            runs += [code, 1]
    candidates = (plain, {"levels": levels, "codes": codes}, {"levels": levels, "runs": runs})
    return min(candidates, key=lambda column: len(json.dumps(column, ensure_ascii=False)))


@dataclass(frozen=True)
class TableView:
    """A table as the page shows it.

    Parameters
    ----------
    name, title, row, href : str
        ``href`` leads from the page to the file.
    columns : list of dict
        ``name``, and from the dictionary ``type``, ``text`` and ``unit``.
    rows : int
    data : str, optional
        The columns as JSON; None where the table is too large.
    """

    name: str
    title: str
    row: str
    href: str
    columns: list
    rows: int
    data: str | None


def table_view(path: Path, properties: Sequence[str], folder: Path, most: int = MOST_ROWS) -> tuple[TableView, object]:
    """How a table is shown, and the table itself (a data frame)."""
    import pandas as pd

    frame = reader.read_table(path)
    described = datapackage.describe(path.stem, list(frame.columns), properties)
    for name, column in described.items():
        # `value` is text in one table and a number in another: the dictionary knows which.
        if column and column.type != "string" and frame[name].dtype == object:
            frame[name] = pd.to_numeric(frame[name].replace("", None))
    entry = schema.TABLES.get(path.stem)
    columns = [
        {"name": name}
        | ({"type": column.type, "text": column.text, "unit": column.unit} if column else {"type": "any"})
        for name, column in described.items()
    ]
    data = None
    if len(frame) <= most:
        data = embedded_json(
            {"rows": len(frame), "columns": [column_json(frame[name].tolist()) for name in frame.columns]}
        )
    view = TableView(
        path.stem,
        entry.title if entry else style.label(path.stem.replace("-", "_")),
        entry.row if entry else "",
        os.path.relpath(path, folder),
        columns,
        len(frame),
        data,
    )
    return view, frame


def outline(marker: str | tuple[int, int, float]) -> str:
    """A marker of the figures as an SVG path between -1 and 1."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker)
    if marker == "o":
        return "M-0.9,0a0.9,0.9,0,1,1,1.8,0a0.9,0.9,0,1,1,-1.8,0Z"
    (corners,) = style.get_path().transformed(style.get_transform()).to_polygons()
    largest = abs(corners).max()
    return "M" + "L".join(f"{x / largest:.3g},{-y / largest:.3g}" for x, y in corners[:-1]) + "Z"


def explorer(configuration: Mapping, properties: Sequence[str]) -> dict:
    """What the explorer needs besides the tables: names in their order, colours, the axis of steps."""
    model = configuration["model"]
    return {
        "study": configuration["study"],
        "alpha": configuration["statistics"]["alpha"],
        "stepAxis": configuration["figures"]["step_axis"],
        "checkpoints": [f"step-{step}" for step in model["steps"]] + list(configuration["baselines"]),
        "subjects": list(configuration["subjects"]),
        "properties": ["original", *properties],
        "removals": list(configuration["removal"]["methods"]),
        "preferred": list(configuration["figures"]["properties"]),
        "labels": {name: style.label(name) for name in ("original", *properties)},
        "marks": {
            name: {"colour": mark.colour, "shape": outline(mark.marker)}
            for name, mark in style.marks(properties).items()
        },
    }
