"""What a finished study shows: its page, its data dictionary, Snakemake's report."""

import hashlib
import json
import zipfile

import frictionless
import pytest

from dynalign.config import study
from dynalign.tables import datapackage
from dynalign.tables.schema import TABLES
from tests.workflow.conftest import SMALL, snakemake

#: The report's menu sorts categories by name: these names sort in the order of the paper.
CATEGORIES = ["Figures", "Figures beyond the paper", "Maps of the brain", "Tables"]


@pytest.fixture(scope="session")
def results(finished):
    return finished / "results/small"


def test_every_table_is_in_the_schema_and_every_one_of_the_schema_is_written(results):
    found = {folder: {path.stem for path in (results / folder).glob("*.tsv")} for folder in ("tables", "figures")}
    # The small study has no regions, no noise ceiling, no checkpoints of the hub, one model, no scores on tasks.
    others = ("roi", "noise", "alignment_to", "audit", "model", "competence", "figure-19", "figure-20")
    for folder, names in found.items():
        described = {name for name, table in TABLES.items() if table.file.startswith(f"{folder}/")}
        assert names == {name for name in described if not name.startswith(others)}
    properties = list(study.load(SMALL).properties)
    for path in [*(results / "tables").glob("*.tsv"), *(results / "figures").glob("*.tsv")]:
        table, header = TABLES[path.stem], datapackage.header(path)
        asked = [name for name in table.optional if name in header]
        # Shares with nuisance are on, and so is what figures 4 and 11 show of them; all subjects share their runs.
        assert bool(asked) == (path.stem[:9] in ("figure-04", "figure-11", "labels")), path.name
        described, n = list(table.described(properties)), len(table.columns)
        assert header == [*described[:n], *asked, *described[n:]], path.name
    for name, path in (("words", "story/words.tsv"), ("maps", "maps/F.tsv"), ("layers", "representation/x.layers.tsv")):
        for written in results.glob(path.replace("x.", "*.")):
            asked = ["run", "tr"] if name == "words" else []
            assert datapackage.header(written) == [*TABLES[name].columns, *asked], written


def test_the_data_packages_hold_for_the_tables(results):
    for folder in ("tables", "figures"):
        path = results / folder / "datapackage.json"
        hashes = {table["path"]: table["hash"] for table in json.loads(path.read_text(encoding="utf-8"))["resources"]}
        assert hashes == {
            table.name: f"sha256:{hashlib.sha256(table.read_bytes()).hexdigest()}"
            for table in (results / folder).glob("*.tsv")
        }
        report = frictionless.validate(str(path))
        assert report.valid, report.flatten(["name", "rowNumber", "fieldName", "note"])[:5]


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


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("page/assets/page.css", {"page": 1}),
        ("captions/figure-08-alignment-by-layer.rst", {"page": 1}),
        ("tables/schema.yaml", {"table_dictionary": 1, "page": 1}),
    ],
)
def test_an_edit_to_the_pages_files_a_caption_or_the_schema_plans_what_shows_it(finished, name, jobs):
    path = finished / "workflow/dynalign" / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        run = snakemake(finished, "-n", "--cores", "1", config=SMALL)
    finally:
        path.write_bytes(before)
    assert run.status == 0, run.output
    assert run.jobs == jobs


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
    assert "steps 0, 256" in shown["results/small/figures/figure-01-perplexity.png"]["caption"]
