"""The tables of a folder described for programs: a tabular data package beside them.

Data Package (v1), Tabular Data Resource and Table Schema: https://specs.frictionlessdata.io
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from dynalign.cli import command, note, run
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError
from dynalign.tables.schema import FILE, TABLES, Column, describe


def header(path: str | Path) -> list[str]:
    """The column names of a table; an `InputError` if the file is missing or empty."""
    try:
        with open(path, encoding="utf-8") as stream:
            names = stream.readline().rstrip("\n").split("\t")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if names == [""]:
        raise InputError(f"{path}: is empty; run its step again")
    return names


def _field(name: str, column: Column | None) -> dict:
    if column is None:
        return {"name": name, "type": "any"}
    described: dict = {"name": name, "type": column.type, "description": column.text}
    if column.unit:
        described["unit"] = column.unit
    if column.type == "boolean":
        described |= {"trueValues": ["1"], "falseValues": ["0"]}
    if column.values:
        described["constraints"] = {"enum": list(column.values)}
    return described


def resource(path: str | Path, properties: Iterable[str] = ()) -> dict:
    """One table as a Tabular Data Resource, with its size and hash."""
    path = Path(path)
    columns = describe(path.stem, header(path), properties)
    content = path.read_bytes()
    schema: dict = {"fields": [_field(*item) for item in columns.items()], "missingValues": [""]}
    described: dict = {
        "name": path.stem,
        "path": path.name,
        "profile": "tabular-data-resource",
        "format": "tsv",
        "mediatype": "text/tab-separated-values",
        "encoding": "utf-8",
        # No cell is quoted (a quotation mark is a word of the story), and readers want some character here.
        "dialect": {"delimiter": "\t", "lineTerminator": "\n", "quoteChar": "\x1f", "doubleQuote": False},
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "schema": schema,
    }
    if path.stem in TABLES:
        table = TABLES[path.stem]
        described |= {"title": table.title, "description": f"One row per {table.row}."}
        schema["primaryKey"] = table.key_of(list(columns))
    return described


def package(study: str, paths: Sequence[str | Path], properties: Iterable[str] = ()) -> dict:
    """The tables of one folder as a Tabular Data Package, which names them relative to itself.

    An `InputError` names the folders, if there are several.
    """
    folders = sorted({str(Path(path).parent) for path in paths})
    if len(folders) > 1:
        raise InputError(f"a data package describes the tables of one folder, got {', '.join(folders)}")
    properties = tuple(properties)
    return {
        "profile": "tabular-data-package",
        "name": f"{study.lower()}-{Path(folders[0]).name}" if folders else study.lower(),
        "title": f"Study {study}",
        "resources": [resource(path, properties) for path in paths],
    }


@command
def main(tables: list[str], study: str, output: list[str], properties: tuple[str, ...] = ()) -> None:
    """Describe the tables of a study, by its name and its linguistic properties, in one folder or several.

    `output` is ``datapackage.json`` beside the tables, one for each folder.
    """
    for target in output:
        beside = [path for path in tables if Path(path).parent == Path(target).parent] if len(output) > 1 else tables
        described = package(study, beside, properties)
        for table in described["resources"]:
            for column in table["schema"]["fields"]:
                if "description" not in column:
                    note(f"{table['path']}: column {column['name']} has no description in {FILE.name}")
        write_text(target, json.dumps(described, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run(main)
