"""Writing tables: tab-separated text, one row per observation."""

import csv
import os

from dynalign.io.atomic import atomic_path
from dynalign.tables import schema


def _eight(value: float) -> str:
    return f"{value:.8g}"


def write_table(table, path: str | os.PathLike, kind: str | None = None) -> None:
    """Write a data frame as tab-separated text, missing as empty.

    Floats have the digits that read back as the same number; in results (``tables/``, ``figures/``) 8 significant ones.
    `kind` is a table of ``schema.yaml``, whose order columns take; default: the one that `path` stands for, if any. A
    `ValueError` says that columns are not the table's, or that a cell holds a tab or line break, which none can carry.
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
    digits = _eight if kind in schema.RESULTS else str
    with atomic_path(path) as temporary:
        form = {"sep": "\t", "index": False, "na_rep": "", "lineterminator": "\n"}
        # A whole number, such as a count beside a missing one, is written as one.
        whole = "{:.0f}".format
        form["float_format"] = lambda x: whole(x) if float(x).is_integer() and abs(x) < 2**53 else digits(x)
        table.to_csv(temporary, quoting=csv.QUOTE_NONE, **form)
