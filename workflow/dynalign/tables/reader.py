"""Reading tables: tab-separated text that must be whole to its last line end."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from dynalign.io.errors import InputError

#: Columns that hold text even where every entry looks like a number (a subject may be called "18").
TEXT_COLUMNS = frozenset(
    {
        "word",
        "checkpoint",
        "subject",
        "property",
        "property_a",
        "property_b",
        "removal",
        "value",
        "label",
        "class_name",
        "region",
        "roi",
        "name",
    }
)


def read_table(path: str | os.PathLike, columns: Sequence[str] = ()):
    """Read a table written by :func:`write_table` (or any plain tab-separated file).

    Parameters
    ----------
    path : path-like
    columns : sequence of str
        Columns that must be there.

    Returns
    -------
    pandas.DataFrame
        Text stays text in :data:`TEXT_COLUMNS` and in ``*_raw`` columns (a word may be "null" or "1984");
        any other column is numeric when all its entries are numbers or empty.

    Raises
    ------
    InputError
        If the file is missing, is no table, is cut short, or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        raise InputError(
            f"{path}: ends inside a line: it may be cut short; make it again, or, if it is whole, end its last line"
        )
    try:
        table = pd.read_csv(
            io.BytesIO(content), sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, encoding="utf-8"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a tab-separated UTF-8 table: {error}") from None
    # pandas fills a row that is too short.
    for number, line in enumerate(content.splitlines(), start=1):
        if line and line.count(TAB) + 1 != len(table.columns):
            raise InputError(
                f"{path}: line {number} has {line.count(TAB) + 1} cells, but there are {len(table.columns)} columns; "
                "correct it or make the file again"
            )
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path}: lacks column {missing[0]!r}; it has {', '.join(table.columns)}")
    for name in table.columns:
        if name in TEXT_COLUMNS or name.endswith("_raw"):
            table[name] = table[name].astype(object)
            continue
        numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
        if (numbers.notna() | (table[name] == "")).all() and len(table):
            table[name] = numbers
        else:
            table[name] = table[name].astype(object)
    return table


#: Separates the cells of a table.
TAB = b"\t"
