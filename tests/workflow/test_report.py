"""What a finished study shows: its page, its data dictionary, Snakemake's report."""

import hashlib
import json
import zipfile

import pandas as pd
import pytest

from dynalign.config import study
from dynalign.tables import datapackage
from dynalign.tables.reader import read_table
from dynalign.tables.schema import TABLES
from tests.workflow.conftest import SMALL, snakemake

#: The report's menu sorts categories by name: these names sort in the order of the paper.
CATEGORIES = ["Figures", "Figures beyond the paper", "Maps of the brain", "Tables"]


@pytest.fixture(scope="session")
def results(finished):
    return finished / "results/small"


def test_every_column_of_every_table_is_described_and_none_besides(results):
    """A table that fails here needs an entry in ``dynalign.tables.datapackage.TABLES``."""
    properties = list(study.load(SMALL).properties)
    for path in [*(results / "tables").glob("*.tsv"), *(results / "figures").glob("*.tsv")]:
        assert path.stem in TABLES, f"{path.name}: no entry"
        described = TABLES[path.stem].described(properties)
        assert set(datapackage.header(path)) == set(described), path.name


def test_the_data_packages_hold_for_the_tables(results):
    for folder in ("tables", "figures"):
        package = json.loads((results / folder / "datapackage.json").read_text(encoding="utf-8"))
        names = {path.name for path in (results / folder).glob("*.tsv")}
        assert {resource["path"] for resource in package["resources"]} == names
        for resource in package["resources"]:
            path = results / folder / resource["path"]
            assert resource["hash"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
            table = read_table(path)
            schema = resource["schema"]
            assert not table.duplicated(schema["primaryKey"]).any(), path.name
            for field in schema["fields"]:
                values = table[field["name"]].dropna()
                if field["type"] in ("integer", "number"):
                    values = pd.to_numeric(values)
                if field["type"] == "integer":
                    assert (values == values.round()).all(), (path.name, field)
                if field["type"] == "boolean":
                    assert set(values) <= {0, 1}, (path.name, field)
                if "constraints" in field:
                    assert set(values) <= set(field["constraints"]["enum"]), (path.name, field)


def test_the_page_opens_with_every_figure(finished, results, browser):
    page = results / "index.html"
    text = page.read_text(encoding="utf-8")
    assert str(finished) not in text
    assert page.stat().st_size < 10e6
    browser.look(1400, 900)
    browser.open(page)
    assert browser.problems == []
    assert browser.requests == [page.as_uri()]
    drawn = {path.stem for path in (results / "figures").glob("*.png")}
    drawn |= {path.stem for path in (results / "figures").glob("*.html")}
    shown = browser.run("[...document.querySelectorAll('figure.result')].map(f => f.id)")
    assert set(shown) == drawn
    assert browser.run(
        "[...document.images].map(i => { i.loading = 'eager'; return i.decode() }).reduce((a, b) => a.then(() => b))"
        ".then(() => [...document.images].every(i => i.naturalWidth > 100))"
    )
    links = browser.run("[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    for link in links:
        if link.startswith("#"):
            assert browser.run(f"document.getElementById({json.dumps(link[1:])}) !== null"), link
        else:
            assert (results / link).is_file(), link


@pytest.mark.parametrize("name", ["page/assets/page.css", "captions/figure-08-alignment-by-layer.rst"])
def test_an_edit_to_the_pages_files_or_a_caption_plans_the_page_alone(finished, name):
    path = finished / "workflow/dynalign" / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        run = snakemake(finished, "-n", "--cores", "1", config=SMALL)
    finally:
        path.write_bytes(before)
    assert run.status == 0, run.output
    assert run.jobs == {"page": 1}


def embedded(html: str, name: str):
    """The value of a script variable of Snakemake's report."""
    start = html.index(f"var {name} = {{") + len(f"var {name} = ")
    return json.JSONDecoder().raw_decode(html[start:])[0]


def test_the_report_has_every_result_with_its_caption(finished, results):
    run = snakemake(finished, "--cores", "1", "--report", "results/small/report.zip", config=SMALL)
    assert run.status == 0, run.output[-4000:]
    with zipfile.ZipFile(results / "report.zip") as archive:
        names = archive.namelist()
        (page,) = [name for name in names if name.endswith("report.html")]
        html = archive.read(page).decode()
    categories, shown = embedded(html, "categories"), embedded(html, "results")
    assert sorted(categories) == [name for name in CATEGORIES if name in categories]
    assert {"Figures", "Maps of the brain", "Tables"} <= set(categories)
    expected = {path.name for path in (results / "tables").glob("*.tsv")}
    expected |= {path.name for path in (results / "figures").iterdir() if path.suffix in (".png", ".html")}
    assert {path.split("/")[-1] for path in shown} == expected
    for path, result in shown.items():
        assert any(name.endswith("/" + path.split("/")[-1]) for name in names), path
        assert result["labels"], path
        caption = result["caption"]
        assert caption, path
        for leftover in ("{{", "{%", "}}", "%}", "system-message", "Undefined"):
            assert leftover not in caption, (path, leftover)
    (figures,) = categories["Figures"].values()
    drawn = [path.split("/")[-1] for path in figures if "/figure-" in path]
    assert drawn == sorted(drawn)
    # Captions speak of this study, not of the paper's.
    assert "steps 0, 128" in shown["results/small/figures/figure-01-perplexity.png"]["caption"]
