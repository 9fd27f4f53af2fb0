"""Every table of a study and every column of it, as ``schema.yaml`` describes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePath

import yaml

#: The description of all tables.
FILE = Path(__file__).with_name("schema.yaml")


@dataclass(frozen=True)
class Column:
    """One column: its type as in Table Schema, what it says, its unit, and the values that can occur where few can."""

    type: str
    text: str
    unit: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table."""

    title: str
    #: What one row stands for.
    row: str
    #: Columns that tell the rows apart.
    key: tuple[str, ...]
    #: All columns in order, and those that may follow.
    columns: Mapping[str, Column]
    optional: Mapping[str, Column]
    #: Columns that the table has for each property of the study, by what follows the property's name.
    per_property: Mapping[str, Column]
    #: Pattern of the end of its path; empty where it may lie anywhere.
    file: str
    #: Whether it is the same for every model of a study.
    shared: bool = False
    #: Whether it compares the models of a study.
    compares: bool = False

    def described(self, properties: Iterable[str] = ()) -> dict[str, Column]:
        """Every column by name, in order; those per property last."""
        return dict(self.columns) | {
            name + ending: Column(column.type, column.text.format(property=name), column.unit, column.values)
            for name in properties
            for ending, column in self.per_property.items()
        }

    def in_order(self, names: Sequence[str]) -> list[str]:
        """`names` in the table's order; a `ValueError` if a column lacks or is unknown here."""
        others = [name for name in names if name not in self.columns and name not in self.optional]
        properties = [name for name in others if all(name + ending in others for ending in self.per_property)]
        if lacking := [name for name in self.columns if name not in names]:
            raise ValueError(f"lacks column {lacking[0]!r}")
        if unknown := [name for name in others if name not in self.described(properties)]:
            raise ValueError(f"column {unknown[0]!r} is unknown")
        optional = [name for name in self.optional if name in names]
        model = [name for name in optional if name == "model"]
        return [*model, *self.columns, *optional[len(model) :], *others]

    def key_of(self, names: Sequence[str]) -> list[str]:
        """The columns, of these, that tell the rows apart."""
        return [*(["model"] if "model" in names and "model" in self.optional else []), *self.key]

    def is_text(self, name: str) -> bool:
        """Whether a column of this name holds text."""
        if column := self.columns.get(name) or self.optional.get(name):
            return column.type == "string"
        return name.endswith(tuple(end for end, column in self.per_property.items() if column.type == "string"))


def _column(entry: Mapping) -> Column:
    return Column(entry["type"], entry["description"], entry.get("unit", ""), tuple(entry.get("enum", ())))


def _columns(listed: Sequence[str | Mapping], shared: Mapping[str, Mapping]) -> dict[str, Column]:
    """A table's columns from its list of names and of columns of its own."""
    own = [{name: {} for name in entry.split()} if isinstance(entry, str) else entry for entry in listed]
    columns = {name: column for entry in own for name, column in entry.items()}
    return {name: _column(one if "type" in one else shared[name] | one) for name, one in columns.items()}


def _of_models(part: str, described: Mapping) -> list[str]:
    """The column that a table has where those of several models are put together."""
    return ["model"] if part == "tables" and not (described.get("shared") or described.get("compares")) else []


def _read() -> dict[str, Table]:
    # The safe loader of libyaml is ten times faster, and every job that reads a table waits for it.
    schema = yaml.load(FILE.read_bytes(), Loader=yaml.CSafeLoader)
    shared = schema["columns"]
    return {
        name: Table(
            title=described["title"],
            row=described["row"],
            key=tuple(described["key"]),
            columns=_columns(described["columns"], shared),
            optional=_columns([*_of_models(part, described), *described.get("optional", ())], shared),
            per_property={end: _column(column) for end, column in described.get("per_property", {}).items()},
            file=described.get("file", "" if part == "steps" else f"{part}/{name}.tsv"),
            shared=described.get("shared", False),
            compares=described.get("compares", False),
        )
        for part in ("tables", "figures", "steps")
        for name, described in schema[part].items()
    }


#: Every table by its name: those of tables/, the numbers that the figures draw, those between steps.
TABLES = _read()

#: What a study says and what its figures draw: nothing that is computed from these needs more than 8 digits.
RESULTS = frozenset(name for name, table in TABLES.items() if table.file.startswith(("tables/", "figures/")))

#: Text in every table that has a column of this name.
_TYPES = {
    (name, column.type == "string")
    for table in TABLES.values()
    for name, column in (*table.columns.items(), *table.optional.items())
}
_TEXT = {name for name, text in _TYPES if text and (name, False) not in _TYPES}


def describe(table: str, columns: Iterable[str], properties: Iterable[str] = ()) -> dict[str, Column | None]:
    """The description of each of a table's columns, None where there is none."""
    known = TABLES[table].described(properties) | dict(TABLES[table].optional) if table in TABLES else {}
    return {name: known.get(name) for name in columns}


def name_of(path: str | PathLike) -> str | None:
    """The table that a path within a study stands for (``results/demo/tables/labels.tsv``: ``labels``), if any."""
    path = PurePath(path)
    return next((name for name, table in TABLES.items() if table.file and path.match(table.file)), None)


def is_text(name: str) -> bool:
    """Whether a column of a table that is not known holds text, even where every entry looks like a number."""
    return name in _TEXT or any(table.is_text(name) for table in TABLES.values() if table.per_property)
