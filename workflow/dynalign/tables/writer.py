"""Writing tables: tab-separated text, one row per observation."""

from __future__ import annotations

import csv
import os

from dynalign.io.atomic import atomic_path
from dynalign.tables import schema


def write_table(table, path: str | os.PathLike, kind: str | None = None) -> None:
    """Write a data frame as tab-separated text; floats with 8 significant digits, missing as empty.

    Parameters
    ----------
    table : pandas.DataFrame
    path : path-like
    kind : str, optional
        Table of ``schema.yaml``; default: the one that `path` stands for, if any. Its columns are written in its order.

    Raises
    ------
    ValueError
        If the columns are not those of the table, or a text cell holds a tab or a line break, which the format cannot
        carry.
    """
    kind = kind or schema.name_of(path)
    if kind is not None:
        try:
            table = table[schema.TABLES[kind].in_order(list(table.columns))]
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {schema.FILE.name} describes the columns of {kind}") from None
    for name in table.columns:
        if table[name].dtype.kind not in "OUTS" and str(table[name].dtype) not in ("str", "string"):
            continue
        for row, cell in enumerate(table[name]):
            if isinstance(cell, str) and any(mark in cell for mark in "\t\r\n"):
                raise ValueError(f"{path}: row {row}, column {name}: {cell!r} holds a tab or line break")
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary,
            sep="\t",
            index=False,
            float_format="%.8g",
            na_rep="",
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
        )
