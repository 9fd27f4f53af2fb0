"""The cells of a study: a representation (removal and property) of a layer of a checkpoint, and a subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dynalign.encoding.scores import ORIGINAL
from dynalign.io.errors import InputError
from dynalign.tables.reader import read_table

#: What identifies a cell over subjects.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


def scores_path(folder: str | Path, cell: Mapping) -> Path:
    """File of a cell's scores; `folder` is ``encoding/``, a cell has the names in :data:`CELL` and ``subject``."""
    place = Path(folder) / cell["checkpoint"] / f"layer-{int(cell['layer'])}" / cell["subject"]
    return place / f"{cell['removal']}.{cell['property']}.npz"


def original_path(folder: str | Path, cell: Mapping) -> Path:
    """File of the scores of a cell's original representation."""
    removal, name = ORIGINAL
    return scores_path(folder, {**cell, "removal": removal, "property": name})


def read_cells(alignment: str | Path, subject: str):
    """The rows of ``tables/alignment.tsv`` of one subject, every cell whose scores there are; InputError if none."""
    table = read_table(alignment, kind="alignment")
    rows = table[table["subject"] == subject]
    if rows.empty:
        raise InputError(f"{alignment}: the alignment table has no subject {subject!r}")
    return rows
