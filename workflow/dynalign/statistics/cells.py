"""The cells of a study: a representation (removal and property) of a layer of a checkpoint, and a subject."""

from __future__ import annotations

from pathlib import Path

from dynalign.encoding.scores import ORIGINAL, Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.tables.reader import read_table

#: What identifies a cell over subjects.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


def scores_path(folder: str | Path, checkpoint: str, layer: int, subject: str, removal: str, name: str) -> Path:
    """File of a cell's scores; `folder` is ``encoding/``."""
    return Path(folder) / checkpoint / f"layer-{int(layer)}" / subject / f"{removal}.{name}.npz"


def path_of(folder: str | Path, cell) -> Path:
    """File of the scores of a cell, a row of ``tables/alignment.tsv``."""
    return scores_path(folder, cell.checkpoint, cell.layer, cell.subject, cell.removal, cell.property)


def original_of(folder: str | Path, cell) -> Scores:
    """Scores of the original representation of a cell."""
    return read_scores(scores_path(folder, cell.checkpoint, cell.layer, cell.subject, *ORIGINAL))


def read_cells(alignment: str | Path, subject: str):
    """The rows of ``tables/alignment.tsv`` of one subject: every cell whose scores there are.

    Raises
    ------
    InputError
        If there are none.
    """
    table = read_table(alignment, kind="alignment")
    rows = table[table["subject"] == subject]
    if rows.empty:
        raise InputError(f"{alignment}: the alignment table has no subject {subject!r}")
    return rows
