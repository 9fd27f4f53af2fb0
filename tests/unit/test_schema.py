"""The schema of tables: complete, in step with the tables, readable by programs, held to by readers and writers."""

import json
import subprocess

import pandas as pd
import pytest
import yaml

from dynalign.io.errors import InputError
from dynalign.removal import probing
from dynalign.tables import datapackage, reader, schema, writer


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_every_column_named_has_a_description_and_a_known_type():
    for name, table in schema.TABLES.items():
        described = table.described(["tense"]) | dict(table.optional)
        assert set(table.key) <= set(described), name
        for column, about in described.items():
            assert about.type in ("string", "integer", "number", "boolean"), (name, column)
            assert about.text.endswith("."), (name, column)
            assert "{" not in about.text, (name, column)


def test_no_column_is_left_over():
    """A shared one is used, and one of a table's own differs from the shared one, so that neither is an orphan."""
    raw = yaml.safe_load(schema.FILE.read_text(encoding="utf-8"))
    # Of any table that is not the same for every model.
    used = {"model"}
    for part in ("tables", "figures", "steps"):
        for name, table in raw[part].items():
            for entry in [*table["columns"], *table.get("optional", ())]:
                if isinstance(entry, str):
                    used |= set(entry.split())
                    continue
                for column, own in entry.items():
                    shared = raw["columns"].get(column, {})
                    assert any(shared.get(key) != value for key, value in own.items()), (name, column)
                    used |= set() if "type" in own else {column}
    assert used == set(raw["columns"])


def test_a_table_of_the_study_is_written_in_the_schemas_order_and_no_other(tmp_path):
    path = tmp_path / "tables/class_counts.tsv"
    path.parent.mkdir()
    table = pd.DataFrame({"property": ["tense"], "level": "word", "distribution": "used", "count": 3, "value": "18"})
    writer.write_table(table, path)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "property level distribution value count".replace(
        " ", "\t"
    )
    # A value is text there, whatever it looks like.
    assert reader.read_table(path)["value"].tolist() == ["18"]
    for bad, message in (
        (table.drop(columns="level"), "lacks column 'level'"),
        (table.assign(more=1), "column 'more' is unknown"),
    ):
        with pytest.raises(
            ValueError, match=rf"class_counts\.tsv: {message}; schema\.yaml describes .* of class_counts"
        ):
            writer.write_table(bad, path)
    labels = pd.DataFrame({"word_index": [0], "word": "a", "sentence": 0, "tr": 1, "run": 1, "own": 1, "own_raw": "1"})
    writer.write_table(labels, tmp_path / "tables/labels.tsv")
    read = reader.read_table(tmp_path / "tables/labels.tsv")
    assert (read["own"].tolist(), read["own_raw"].tolist()) == ([1], ["1"])
    with pytest.raises(ValueError, match="column 'own_raw' is unknown"):
        writer.write_table(labels.drop(columns="own"), tmp_path / "tables/labels.tsv")
    # Elsewhere a table may be of any kind.
    writer.write_table(table.assign(more=1), tmp_path / "class_counts.tsv")
    figure = pd.DataFrame({"checkpoint": ["step-0"], "step": 0, "published": 9.0, "perplexity": 8.0, "n_tokens": 2})
    assert schema.TABLES["figure-01-perplexity"].in_order(figure.columns)[-1] == "published"


def test_a_table_asked_for_by_its_kind_is_checked(tmp_path):
    header = ["checkpoint", "step", "perplexity", "bits_per_word", "n_tokens"]
    good = ["step-0", "0", "1.5", "1", "2"]
    table = reader.read_table(write(tmp_path / "p.tsv", header, good, ["random", "", "1", "1", ""]), kind="perplexity")
    assert table["step"].isna().tolist() == [False, True]
    for lines, message in (
        ((header[:-1], good[:-1]), "lacks column 'n_tokens'; it has checkpoint, step"),
        ((header, [*good[:-1], "many"]), "column 'n_tokens' must hold numbers, it begins with 'many'"),
        ((header, good, good), "two rows for checkpoint step-0; there must be one"),
    ):
        with pytest.raises(InputError, match=rf"p\.tsv: {message}"):
            reader.read_table(write(tmp_path / "p.tsv", *lines), kind="perplexity")


def test_columns_of_the_studys_own_properties_are_described():
    found = datapackage.describe("labels", ["word", "own", "own_raw", "other"], ["own"])
    assert found["own"].text.startswith("Class code of own")
    assert found["own_raw"].type == "string"
    assert found["other"] is None


def test_the_sides_of_the_null_interval_are_those_that_probing_knows():
    known = [table.described() for table in schema.TABLES.values() if "crossfit_position" in table.columns]
    (sides,) = {columns["crossfit_position"].values for columns in known}  # noqa: PD011
    assert set(sides) == {probing.crossfit_position(value, 0.4, 0.6) for value in (0.3, 0.5, 0.7)}
    rules = {table.described()["removed"].text for table in schema.TABLES.values() if "removed" in table.columns}
    assert rules == {"Calibrated rule: accuracy_after_crossfit is not above the null interval."}


def test_the_package_says_what_a_program_needs(tmp_path, capsys):
    path = write(
        tmp_path / "tables/perplexity.tsv",
        ["checkpoint", "step", "perplexity", "bits_per_word", "n_tokens", "unheard_of"],
        ["step-0", "0", "1.5", "1", "2", ""],
    )
    output = tmp_path / "tables/datapackage.json"
    datapackage.main(["--tables", str(path), "--study", "Mine", "--output", str(output)])
    assert "unheard_of has no description" in capsys.readouterr().err
    package = json.loads(output.read_text(encoding="utf-8"))
    assert (package["profile"], package["name"]) == ("tabular-data-package", "mine-tables")
    (table,) = package["resources"]
    assert table["path"] == "perplexity.tsv"
    assert table["dialect"]["delimiter"] == "\t"
    assert table["bytes"] == path.stat().st_size
    digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert table["hash"] == f"sha256:{digest}"
    fields = {field["name"]: field for field in table["schema"]["fields"]}
    assert list(fields) == datapackage.header(path)
    assert fields["bits_per_word"]["unit"] == "bits"
    assert fields["step"]["type"] == "integer"
    assert fields["unheard_of"] == {"name": "unheard_of", "type": "any"}
    assert table["schema"]["primaryKey"] == ["checkpoint"]
    assert table["schema"]["missingValues"] == [""]


def test_tables_that_make_no_package_are_refused(tmp_path):
    first = write(tmp_path / "a/x.tsv", ["a"])
    second = write(tmp_path / "b/y.tsv", ["a"])
    with pytest.raises(InputError, match="of one folder"):
        datapackage.package("s", [first, second])
    with pytest.raises(InputError, match="is empty"):
        datapackage.package("s", [write(tmp_path / "a/empty.tsv")])
    with pytest.raises(InputError, match="cannot be read"):
        datapackage.package("s", [tmp_path / "missing.tsv"])


def test_the_same_tables_give_the_same_bytes(tmp_path):
    paths = [write(tmp_path / f"{k}/tables/checkpoints.tsv", ["checkpoint", "step"], ["step-0", "0"]) for k in range(2)]
    first, second = (json.dumps(datapackage.package("s", [path])) for path in paths)
    assert first == second
    assert str(tmp_path) not in first
