"""Reading tables: tab-separated text that must be whole to its last line end."""

import csv
import io
import os
import re
from collections.abc import Sequence

from dynalign.io.errors import InputError
from dynalign.io.text import read_text
from dynalign.tables import schema


def read_table(path: str | os.PathLike, columns: Sequence[str] = (), kind: str | None = None):
    """Read a table written by :func:`write_table` (or any tab-separated file, see `read_text`) as a data frame.

    Of a ``.csv``, commas or semicolons separate the cells, which may stand in quotes.

    Text stays text where the schema says so (a subject may be called "18"); any other column is numeric when all its
    entries are numbers or empty. An `InputError` says that the file is missing, no table, cut short, lacks a column,
    or is not of its kind.

    Parameters
    ----------
    path : path-like
    columns : sequence of str
        Columns that must be there.
    kind : str, optional
        Table of ``schema.yaml`` that it must be: all columns there, numbers where they belong, no key twice.
    """
    import pandas as pd

    text = read_text(path)
    if text and not text.endswith("\n"):
        raise InputError(
            f"{path}: ends inside a line: it may be cut short; make it again, or, if it is whole, end its last line"
        )
    kind_of_file = "tab-separated"
    if os.fspath(path).lower().endswith(".csv"):
        text, kind_of_file = _tab_separated(path, text), "comma-separated"
    try:
        table = pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a {kind_of_file} table: {error}") from None
    # pandas fills a row that is too short.
    for number, line in enumerate(text.split("\n"), start=1):
        if line and (cells := line.count("\t") + 1) != len(table.columns):
            raise InputError(
                f"{path}: line {number} has {cells} cells, but there are {len(table.columns)} columns; "
                "correct it or make the file again"
            )
    wanted = schema.TABLES[kind] if kind else None
    known = wanted or schema.TABLES.get(schema.name_of(path) or "")
    needed = (*columns, *(wanted.columns if wanted else ()))
    if missing := [name for name in needed if name not in table.columns]:
        raise InputError(f"{path}: lacks column {missing[0]!r}; it has {', '.join(table.columns)}")
    for name in table.columns:
        numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
        wrong = table[name][numbers.isna() & (table[name] != "")]
        is_text = (known or schema).is_text(name) or table.empty
        if wanted and not is_text and len(wrong):
            raise InputError(f"{path}: column {name!r} must hold numbers, it begins with {wrong.iloc[0]!r}")
        table[name] = table[name].astype(object) if is_text or len(wrong) else numbers
    if wanted:
        key = wanted.key_of(list(table.columns))
        twice = table[table.duplicated(key)]
        if len(twice):
            cell = ", ".join(f"{name} {twice.iloc[0][name]}" for name in key)
            raise InputError(f"{path}: two rows for {cell}; there must be one")
    return table


def _tab_separated(path: str | os.PathLike, text: str) -> str:
    """A text of comma-separated values with tabs in place of its commas (or semicolons), and no quotes."""
    separator = max(",;", key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: its quotes do not fit: {error}; a quote in a cell is written twice") from None
    if broken := [cell for row in rows for cell in row if set("\t\n") & set(cell)]:
        raise InputError(
            f"{path}: a cell holds a tab or a line end: {broken[0][:60]!r}; close its quotes, or correct it"
        )
    return "".join("\t".join(row) + "\n" for row in rows)


def finite_numbers(table, column: str, way_out: str = "correct it, or remove the row"):
    """A column as float64; an `InputError` names the first row (from 0) whose cell is no finite number, and says how
    to mend it.
    """
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    if len(wrong := np.flatnonzero(~np.isfinite(numbers))):
        cell = table[column].iloc[wrong[0]]
        shown = cell if isinstance(cell, str) else "" if np.isnan(cell) else str(cell)
        way_out = "write decimals with a point" if decimal_comma(shown) else way_out
        raise InputError(f"row {table.index[wrong[0]]}: {column} is {shown!r}, but each row needs a number; {way_out}")
    return numbers


def decimal_comma(cell) -> bool:
    """Whether a cell is a number written with a decimal comma."""
    return isinstance(cell, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell) is not None
