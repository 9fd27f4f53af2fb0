"""Tables as the page's script reads them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
        ``name``, and from the tables' schema ``type``, ``text`` and ``unit``.
    frame : pandas.DataFrame
    most : int
        Tables of more rows are not embedded.
    """

    name: str
    title: str
    row: str
    href: str
    columns: list
    frame: Any
    most: int

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return len(self.frame)

    @cached_property
    def data(self) -> str | None:
        """The columns as JSON; None where the table is too large."""
        if self.rows > self.most:
            return None
        return embedded_json([column_json(self.frame[name].tolist()) for name in self.frame])


def table_view(path: Path, properties: Sequence[str], folder: Path, most: int = MOST_ROWS) -> TableView:
    """A table with what the tables' schema says about it, for a page in `folder`."""
    import pandas as pd

    frame = reader.read_table(path)
    described = datapackage.describe(path.stem, list(frame.columns), properties)
    columns = []
    for name, column in described.items():
        # `value` is text in one table and a number in another: the schema knows which.
        if column and column.type != "string" and frame[name].dtype == object:
            frame[name] = pd.to_numeric(frame[name].replace("", None))
        about = {"type": column.type, "text": column.text, "unit": column.unit} if column else {"type": "any"}
        columns.append({"name": name} | about)
    entry = schema.TABLES.get(path.stem)
    title, row = (entry.title, entry.row) if entry else (style.label(path.stem.replace("-", "_")), "")
    return TableView(path.stem, title, row, os.path.relpath(path, folder), columns, frame, most)


def outline(marker: str | tuple[int, int, float]) -> str:
    """A marker of the figures as an SVG path between -1 and 1."""
    from matplotlib.markers import MarkerStyle

    drawn = MarkerStyle(marker)
    if marker == "o":
        return "M-0.9,0a0.9,0.9,0,1,1,1.8,0a0.9,0.9,0,1,1,-1.8,0Z"
    (corners,) = drawn.get_path().transformed(drawn.get_transform()).to_polygons()
    # In SVG, y runs down; + 0 turns -0 into 0.
    places = (corners[:-1] / abs(corners).max() * (1, -1)).round(3) + 0
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in places) + "Z"


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
