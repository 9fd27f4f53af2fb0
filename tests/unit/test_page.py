"""The study's page as HTML and JSON; tests/browser looks at it in a browser."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests import page_study

from dynalign.config.study import load
from dynalign.figures import style
from dynalign.io import atomic
from dynalign.io.errors import InputError
from dynalign.page import figures as page_figures
from dynalign.page import write as page_write
from dynalign.page.data import column_json, embedded_json, explorer, outline, table_view
from dynalign.page.highlights import highlights
from dynalign.tables import schema, writer
from dynalign.tables.reader import read_table

ROOT = Path(__file__).parents[2]


class Reader(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self._script = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = (dict(attrs), [])

    def handle_data(self, data):
        if self._script:
            self._script[1].append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            attributes, text = self._script
            self.scripts.append((attributes, "".join(text)))
            self._script = None

    def values(self, *names):
        return [value for _, given in self.elements for name, value in given.items() if name in names]


def decoded(column, rows):
    """A column's values, as the page's script reads them."""
    if "values" in column:
        return column["values"]
    codes = column.get("codes")
    if codes is None:
        runs = column["runs"]
        codes = [code for code, n in zip(runs[::2], runs[1::2], strict=True) for _ in range(n)]
    assert len(codes) == rows
    return [column["levels"][code] for code in codes]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = page_study.configuration()
    found = page_study.tables(study)
    path = page_study.write(tmp_path_factory.mktemp("made"), study, found)
    return path, Reader(path.read_text(encoding="utf-8"))


def test_maps_of_many_subjects_are_linked_not_embedded(tmp_path):
    names = [f"{k:02d}" for k in range(1, 46)]
    study = page_study.configuration(subjects=names)
    folder = tmp_path / "figures"
    folder.mkdir()
    shown = []
    for name in names:
        (folder / f"map-{name}.png").write_bytes(page_study.PIXEL)
        more = {"category": "Maps of the brain", "labels": {"shows": "scores", "subject": name}}
        shown.append(
            page_figures.Figure(path=folder / f"map-{name}.png", caption="map.rst", wildcards={"subject": name}, **more)
        )
    reader = Reader(page_write.study_page(study, [], shown, [], tmp_path))
    images = [given["src"] for tag, given in reader.elements if tag == "img"]
    assert len(images) == page_figures.MOST_MAPS
    links = {given["href"] for tag, given in reader.elements if tag == "a"}
    assert {f"figures/map-{name}.png" for name in names} <= links
    assert "#map-06" in links
    assert "#map-07" not in links


def test_the_tables_are_embedded_as_they_are(made):
    path, reader = made
    shown = {given["data-table"]: (given, text) for given, text in reader.scripts if "data-table" in given}
    for name in ("alignment", "removal_effects", "probing", "labels", "perplexity"):
        table = read_table(path.parent / f"tables/{name}.tsv")
        given, text = shown[name]
        stored = json.loads(text)
        about = json.loads(given["data-columns"])
        assert [column["name"] for column in about] == list(table.columns)
        for column, values in zip(stored, table.items(), strict=True):
            expected = [None if value != value else value for value in values[1]]
            assert decoded(column, len(table)) == expected, values[0]
    assert "figures/figure-01-perplexity" in shown


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.125, 0.25, 0.5], "values"),
        (["a"] * 50 + ["b"] * 50, "runs"),
        (["long text", "other text"] * 50, "codes"),
        ([], "values"),
        ([np.nan] * 9 + [1.0] * 9, "runs"),
    ],
)
def test_a_column_takes_the_shortest_form(values, kind):
    column = column_json(values)
    assert kind in column
    expected = [None if value != value else value for value in values]
    assert decoded(json.loads(embedded_json(column)), len(values)) == expected


def test_json_cannot_leave_its_element():
    value = ["</script><script>", "<!--", "&amp;", "\u2028", float("nan"), float("inf"), -float("inf"), 2.0]
    text = embedded_json(value)
    assert not set("<>&\u2028") & set(text)
    assert "2.0" not in text
    # Python's reader, like JavaScript's, reads a number beyond all floats as infinity.
    assert json.loads(text) == [*value[:4], None, float("inf"), -float("inf"), 2]


def test_nothing_is_fetched_and_only_the_pages_script_may_run(made):
    path, reader = made
    for value in reader.values("src", "srcset", "poster", "data", "action"):
        assert value.startswith("data:"), value
    assert not [tag for tag, _ in reader.elements if tag in ("iframe", "object", "embed", "base", "form")][1:]
    for value in reader.values("href"):
        assert value.startswith(("#", "data:,")) or (path.parent / value).is_file(), value
    (policy,) = [
        given["content"]
        for tag, given in reader.elements
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"
    ]
    scripts = [text for given, text in reader.scripts if given.get("type") != "application/json"]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2
    assert policy.endswith("script-src " + " ".join(f"'sha256-{digest}'" for digest in digests))
    assert "unsafe-eval" not in policy
    assert policy.startswith("default-src 'none'")
    assert "url(" not in page_write.asset("page.css")
    assert "@import" not in page_write.asset("page.css")
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch("):
        assert forbidden not in scripts[-1]


def test_every_anchor_and_every_identifier_is_one(made):
    _, reader = made
    names = reader.values("id")
    assert len(names) == len(set(names))
    for value in reader.values("href"):
        assert not value.startswith("#") or value[1:] in names, value


def test_the_page_reads_aloud(made):
    _, reader = made
    for tag, given in reader.elements:
        if tag == "img":
            assert given["alt"]
        if given.get("role") == "region":
            assert given["aria-label"]
    headings = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings)), headings


def test_the_same_study_gives_the_same_bytes_wherever_it_lies(tmp_path):
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b/c"):
        study = page_study.configuration()
        texts.append(page_study.write(folder, study, page_study.tables(study)).read_bytes())
    assert texts[0] == texts[1]
    text = texts[0].decode()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    # The model's folder is named, not where the machine keeps it.
    assert "/somewhere" not in text
    assert "mine" in text


def test_captions_state_the_configuration(made):
    path, _ = made
    text = path.read_text(encoding="utf-8")
    assert "<strong>Figure 4.</strong>" in text
    assert "(steps 0, 1, 8, 64)" in text
    assert "Score of every voxel of participant F" in text
    for leftover in ("{{", "{%", "system-message", "Undefined"):
        assert leftover not in text.split("<script")[0], leftover


@pytest.mark.parametrize("name", ["demo", "published-code"])
def test_every_caption_renders_for_the_configurations_that_come_with_the_project(name):
    study = load(yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")))
    for path in sorted(page_figures.CAPTIONS.glob("*.rst")):
        html = page_figures.caption_html(path, study.model_dump(mode="json"), {"subject": "F"})
        assert html.strip()
        assert "system-message" not in html


def test_a_caption_holds_no_raw_html_and_includes_no_file(tmp_path):
    path = tmp_path / "evil.rst"
    secret = atomic.write_text(tmp_path / "secret.txt", "hidden words") or tmp_path / "secret.txt"
    path.write_text(
        f"{{{{ snakemake.config.study }}}}\n\n.. include:: {secret}\n\n.. raw:: html\n   :file: {secret}\n",
        encoding="utf-8",
    )
    html = page_figures.caption_html(path, {"study": "<b>x</b>\n\n.. raw:: html\n\n   <img src=x>\n"}, {})
    assert "<img" not in html
    assert "<b>" not in html
    assert "hidden words" not in html
    path.write_text("{{ snakemake.config.nothing }}", encoding="utf-8")
    with pytest.raises(InputError, match=r"evil\.rst: the caption cannot be rendered: .*nothing"):
        page_figures.caption_html(path, {}, {})


def test_a_vector_drawing_is_taken_unless_it_is_large(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(page_study.PIXEL)
    assert page_figures.image_uri(path).startswith("data:image/png;base64,")
    vector = tmp_path / "figure.svg"
    vector.write_bytes(b"<svg/>")
    assert page_figures.image_uri(path) == "data:image/svg+xml;base64,PHN2Zy8+"
    vector.write_bytes(b" " * (page_figures.LARGEST_SVG + 1))
    assert page_figures.image_uri(path).startswith("data:image/png;base64,")
    with pytest.raises(InputError, match=r"missing\.png: the figure cannot be read"):
        page_figures.image_uri(tmp_path / "missing.png")


def test_a_table_that_is_too_large_is_linked_and_described(tmp_path):
    table = page_study.tables(page_study.configuration())["alignment"]
    path = tmp_path / "tables/alignment.tsv"
    writer.write_table(table, path)
    for most, embedded in ((len(table), True), (len(table) - 1, False)):
        view = table_view(path, [], tmp_path, most)
        assert (view["data"] is not None) == embedded
        assert view["href"] == "tables/alignment.tsv"
        assert view["columns"][0]["text"]


def test_a_column_is_a_number_where_the_dictionary_says_so(tmp_path):
    """``value`` holds classes in one table and alignment in another, and must sort as such."""
    for name, cells in (("tables/class_counts", ["10", "9"]), ("figures/figure-07-removal-bars", ["-0.5", ""])):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir()
        path.write_text("property\tvalue\n" + "".join(f"tense\t{cell}\n" for cell in cells), "utf-8")
        _, column = json.loads(table_view(path, [], tmp_path)["data"])
        assert decoded(column, 2) == (["10", "9"] if "counts" in name else [-0.5, None])


def test_the_explorer_has_the_figures_colours():
    study = page_study.configuration()
    given = explorer(study, page_study.tables(study)["alignment"])
    marks = style.marks(study["properties"])
    assert given["marks"]["tense"] == {"colour": marks["tense"].colour, "shape": "M0,-1L-1,1L1,1Z"}
    assert given["marks"]["added"]["colour"] == marks["added"].colour
    names = [name for name, _ in given["choices"]["checkpoint"]]
    assert names == ["step-0", "step-1", "step-8", "step-64", "random"]
    for mark in (*style.MARKS.values(), *style.FURTHER_MARKS):
        corners = re.findall(r"(-?[\d.]+),(-?[\d.]+)", outline(mark.marker))
        assert len(corners) >= 3, mark.marker
        assert max(abs(float(place)) for corner in corners for place in corner) <= 2, mark.marker


def test_the_headline_is_the_first_that_the_study_has(made):
    views = [{"name": "figure-02-sentence-classes"}, {"name": "figure-04-best-layer"}, {"name": "figure-13-emergence"}]
    assert [page_figures.headline(views[:n]) for n in (1, 2, 3)] == [None, views[1], views[2]]
    _, reader = made
    figures = [given["id"] for tag, given in reader.elements if tag == "figure"]
    assert figures == ["figure-04-best-layer-alignment", "figure-01-perplexity", "map-F"]


def test_categories_come_in_the_order_of_the_reports_menu():
    a, b, c = ({"name": name, "category": kind} for name, kind in (("a", "Tables"), ("b", "Figures"), ("c", "Tables")))
    assert page_figures.categories([a, b, c]) == [("Figures", [b]), ("Tables", [a, c])]


def test_the_highlights_are_the_tables_numbers():
    study = page_study.configuration()
    found = page_study.tables(study)
    shown = dict(highlights(found, study))
    table = found["alignment"]
    original = table[(table["removal"] == "none") & (table["checkpoint"] == "step-64")]
    expected = np.mean([rows["mean_r"].max() for _, rows in original.groupby("subject")])
    assert "alignment at step 64" in shown[f"{expected:.3f}"]
    effects = found["removal_effects"]
    assert f"{sum(effects['significant'] == 1):,} of {len(effects):,}" in shown
    headline = effects[(effects["removal"] == study["removal"]["methods"][0]) & effects["step"].notna()]
    removed = (headline["readable_after"] <= headline["readable_after_null"]).groupby(
        [headline[name] for name in ("step", "layer", "property")]
    ).all() & (headline["readable_before"] > headline["readable_before_null"]).groupby(
        [headline[name] for name in ("step", "layer", "property")]
    ).any()
    assert f"{removed.sum()} of {len(removed)}" in shown
    assert list(highlights({}, study)) == []


def test_alignment_over_nuisance_stands_beside_alignment_with_its_interval():
    study = page_study.configuration()
    found = page_study.tables(study)
    table = found["alignment"]
    rng = np.random.default_rng(3)
    original = table[table["removal"] == "none"].drop(columns=["removal", "property"])
    unique = original.assign(mean_r=rng.uniform(0.01, 0.09, len(original)), features="nuisance", part="unique_model")
    unique = unique.assign(ci_low=unique["mean_r"] - 0.011, ci_high=unique["mean_r"] + 0.013)
    shown = list(highlights(found | {"shares": unique}, study))
    expected = {}
    for step in (0, 64):
        here = original[original["step"] == step]
        best = here.loc[here.groupby("subject")["mean_r"].idxmax()].index
        expected[step] = unique.loc[best, "mean_r"].mean()
    number, text = shown[1]
    assert "alignment at step 64" in shown[0][1]
    assert number == f"{expected[64]:.3f}"
    assert f"over nuisance at step 64 ({expected[64] - 0.011:.3f} to {expected[64] + 0.013:.3f})" in text
    assert f"{expected[0]:.3f} ({expected[0] - 0.011:.3f} to {expected[0] + 0.013:.3f}) at step 0" in text
    assert not any("over nuisance" in text for _, text in highlights(found, study))


def test_the_page_says_by_when_alignment_clears_its_references_and_where_half_of_its_rise_is():
    nan, half = float("nan"), (1234.4, 500.2, 3000.0)
    rows = [
        ("alignment", "mean", "mean", "random", 0, nan, *half),
        ("alignment", "mean", "mean", "step-0", 15000, 1000, *half),
        ("alignment", "F", "mean", "random", 7, 6, *half),
        ("alignment", "mean", "2", "random", 8, 6, *half),
        ("unique_alignment", "mean", "mean", "zero", nan, nan, nan, nan, nan),
        ("perplexity", "", "", "unigram", 9, 6, nan, nan, nan),
    ]
    names = ["quantity", "subject", "layer", "reference", "clears_by", "clears_after"]
    table = pd.DataFrame(rows, columns=[*names, "half_rise_step", "half_rise_low", "half_rise_high"])
    whole = "alignment (mean over subjects and layers)"
    over = "alignment over nuisance (mean over subjects and layers)"
    assert list(highlights({"emergence": table}, page_study.configuration())) == [
        ("step 0", f"first checkpoint from which {whole} stays above that of the baseline random"),
        (
            "step 15,000",
            f"first checkpoint from which {whole} stays above that of the untrained network; not yet at step 1,000",
        ),
        (
            "step 1,234",
            f"where {whole} has made half of its rise from the first checkpoint to the last (interval 500 to 3,000)",
        ),
        ("no step", f"from which {over} stays above 0"),
    ]


def test_harm_by_a_property_that_no_model_holds_is_called_invented():
    study = page_study.configuration() | {"simulation": {"brain_only": "added"}}
    found = page_study.tables(study)
    effects = found["removal_effects"]
    effects["p"] = 0.5
    paper = (effects["removal"] == "ridge-in-sample") & (effects["property"] == "added")
    effects.loc[np.flatnonzero(paper)[:3], ["p", "mean_difference"]] = [0.01, -0.02]
    shown = dict(highlights(found, study))
    assert "by leace-crossfit: 0 of" in shown[f"3 of {paper.sum()}"]
    assert any("probes that can still read" in text for text in shown.values())


def test_a_figure_is_named_by_its_labels():
    def named(**labels):
        return page_figures.Figure(path="map-F.png", labels=labels).heading

    assert named(figure="4", shows="best layer alignment") == "Figure 4: best layer alignment"
    assert named(figure="Table 1", shows="probing") == "Table 1: probing"
    assert named(subject="F") == "Subject F"
    assert named() == "Map F"


def test_the_command_refuses_what_it_cannot_read(capsys):
    for flag, text in (("--configuration", "{"), ("--configuration", '{"a": 1}'), ("--figures", "[1]")):
        with pytest.raises(SystemExit):
            page_write.main(["--configuration", "{}", "--tables", "a.tsv", flag, text, "--output", "index.html"])
        assert flag in capsys.readouterr().err


def test_the_installed_package_brings_the_pages_files():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["dynalign"]
    packed = {path for pattern in patterns for path in page_write.ASSETS.parents[1].glob(pattern)}
    assert packed >= {*page_write.ASSETS.iterdir(), *page_figures.CAPTIONS.iterdir(), schema.FILE}
    assert {path.name for path in page_write.ASSETS.iterdir()} == {"index.html.j2", "page.css", *page_write.SCRIPTS}
