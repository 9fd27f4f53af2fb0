"""The data dictionary: complete, in step with the tables, readable by programs."""

import json
import subprocess

import pytest

from dynalign.io.errors import InputError
from dynalign.removal import probing
from dynalign.tables import columns, datapackage, schema

#: First lines of tables as their steps write them; tests/workflow/test_report.py asks a finished study.
HEADERS = {
    "checkpoints": "checkpoint step source revision commit sha256",
    "class_counts": "property level distribution value count",
    "label_correlations": "property_a property_b r p",
    "labels": "word_index word sentence tr run tense tense_raw own own_raw",
    "perplexity": "checkpoint step perplexity bits_per_word n_tokens",
    "probing": " ".join(probing.COLUMNS),
}


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_described_in_the_order_of_the_file(name):
    assert list(schema.TABLES[name].described(["tense", "own"])) == HEADERS[name].split()


def test_every_column_named_has_a_description_and_a_known_type():
    for name, table in schema.TABLES.items():
        described = table.described(["tense"])
        assert set(table.key.split()) <= set(described), name
        for column, about in described.items():
            assert about.type in ("string", "integer", "number", "boolean"), (name, column)
            assert about.text.endswith("."), (name, column)
            assert "{" not in about.text, (name, column)
        # Each entry of its own is used, so that a renamed column leaves no orphan.
        assert set(table.own) <= set(table.columns.split()), name


def test_no_common_column_is_left_over():
    used = {name for table in schema.TABLES.values() for name in table.columns.split()}
    assert set(columns.COLUMNS) <= used


def test_columns_of_the_studys_own_properties_are_described():
    found = datapackage.describe("labels", ["word", "own", "own_raw", "other"], ["own"])
    assert found["own"].text.startswith("Class code of own")
    assert found["own_raw"].type == "string"
    assert found["other"] is None


def test_the_sides_of_the_null_interval_are_those_that_probing_knows():
    (sides,) = {
        table.described()["crossfit_position"].values
        for table in schema.TABLES.values()
        if "crossfit_position" in table.columns
    }
    assert set(sides) == {probing.crossfit_position(value, 0.4, 0.6) for value in (0.3, 0.5, 0.7)}


def test_the_package_says_what_a_program_needs(tmp_path, capsys):
    path = write(
        tmp_path / "tables/perplexity.tsv",
        ["checkpoint", "step", "perplexity", "bits_per_word", "n_tokens", "unheard_of"],
        ["step-0", "0", "1.5", "1", "2", ""],
    )
    output = tmp_path / "tables/datapackage.json"
    datapackage.main([str(path), "--study", "Mine", "--output", str(output)])
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
