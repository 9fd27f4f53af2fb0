"""The study's page in a real browser: it reacts, shows the tables' numbers, asks for nothing, lets nothing in."""

import json
import math

import pytest

from dynalign.config import model, properties
from dynalign.tables import reader
from tests import page_study

STUDY = {"baselines": ["random", "controls"], "removal": {"methods": ["ridge-in-sample", "leace-in-sample"]}}
#: Whether every drawing is made of numbers.
DRAWN = (
    "[...document.querySelectorAll('#charts .plot')].every(plot => plot.querySelectorAll('path').length > 3"
    " && !/NaN|Infinity|undefined/.test(plot.innerHTML))"
)
KEYS = ["checkpoint", "layer", "removal", "property", "subject"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page with several of everything."""
    study = page_study.configuration(**STUDY)
    return page_study.write(tmp_path_factory.mktemp("made"), study, page_study.tables(study))


@pytest.fixture(scope="module")
def tables(made):
    return {path.stem: reader.read_table(path) for path in (made.parent / "tables").glob("*.tsv")}


@pytest.fixture
def opened(browser, made):
    """The page, open anew in a wide window."""
    browser.look(1400, 900)
    browser.open(made)
    yield browser
    assert browser.problems == []
    assert browser.requests == [made.as_uri()]


def choose(browser, **choices):
    """Choose in the explorer's form, as a reader does."""
    for name, value in choices.items():
        browser.run(
            f"(() => {{ const field = document.querySelector('#choices').elements[{json.dumps(name)}];"
            f"field.value = {json.dumps(str(value))};"
            "field.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )


def chosen(browser) -> dict:
    return browser.run(
        "Object.fromEntries([...document.querySelectorAll('#choices select')].map(s => [s.name, s.value]))"
    )


def cells(browser) -> dict:
    """The chosen cell's numbers: what is written, and the values behind."""
    return browser.run(
        "Object.fromEntries([...document.querySelectorAll('[data-cell]')]"
        ".map(s => [s.dataset.cell, [s.textContent, s.dataset.value]]))"
    )


def row(table, **cell):
    """The one row of a table with these values."""
    for name, value in cell.items():
        table = table[table[name] == value]
    (found,) = table.to_dict("records")
    return found


def marks(browser, chart, kind, give):
    """A JavaScript expression `give` of each `mark` of one kind (``point``, ``curve``, ``cell``) of a chart."""
    nodes = f"#chart-{chart} .{kind}_marks path"
    return browser.run(f"[...document.querySelectorAll({json.dumps(nodes)})].map(mark => {give})")


def points(browser, chart, series):
    """The values that a curve draws: Vega keeps each mark's row beside its element."""
    drawn = marks(browser, chart, "point", "[mark.__data__.datum.series, mark.__data__.datum.y]")
    return [value for name, value in drawn if name == series]


def test_the_page_opens_on_a_whole_view(opened):
    assert opened.run("[...document.querySelectorAll('.chart')].map(c => c.id)") == [
        f"chart-{name}" for name in ("training", "layers", "effect-training", "effects", "probing", "map", "readout")
    ]
    assert chosen(opened)["checkpoint"] == "step-64"
    assert "alignment" in opened.run("document.querySelector('#sentence').textContent")


@pytest.mark.parametrize(
    "choice",
    [
        {"checkpoint": "step-8", "layer": 2, "removal": "ridge-in-sample", "property": "pos", "subject": "M"},
        {"checkpoint": "step-0", "layer": 0, "removal": "leace-in-sample", "property": "added", "subject": "F"},
        {"checkpoint": "random", "layer": 4, "removal": "leace-in-sample", "property": "tense", "subject": "M"},
    ],
)
def test_the_numbers_of_a_cell_are_the_tables(opened, tables, choice):
    choose(opened, **choice)
    assert chosen(opened) == {name: str(value) for name, value in choice.items()}
    shown = cells(opened)
    cell = {name: choice[name] for name in KEYS}
    expected = {
        "original": row(tables["alignment"], **(cell | {"removal": "none", "property": "original"})),
        "residual": row(tables["alignment"], **cell),
        "effect": row(tables["removal_effects"], **cell),
        "probe": row(tables["probing"], **{name: cell[name] for name in KEYS[:-1]}),
    }
    four_digits = {
        ("original", "mean_r"),
        ("residual", "mean_r"),
        ("effect", "mean_difference"),
        ("probe", "accuracy_before"),
        ("probe", "accuracy_after"),
        ("probe", "accuracy_after_crossfit"),
    }
    for which, column in four_digits | {("effect", "p"), ("effect", "p_fdr"), ("effect", "p_paper")}:
        text, value = shown[f"{which}.{column}"]
        assert float(value) == expected[which][column]
        if (which, column) in four_digits:
            assert text.replace("−", "-") == f"{expected[which][column]:.4f}"
    assert float(shown["effect.p_paper"][0].replace("−", "-")) == pytest.approx(expected["effect"]["p_paper"], rel=0.06)
    assert shown["probe.crossfit_position"][0] == expected["probe"]["crossfit_position"]


def test_the_curves_are_the_tables_rows_and_follow_the_choice(opened, tables):
    table = tables["alignment"]
    table = table[table["removal"].isin(["none", "ridge-in-sample"])]
    for choice in (
        {"layer": 2, "property": "pos", "subject": "M", "checkpoint": "step-8", "removal": "ridge-in-sample"},
        {"layer": 4, "property": "tense", "subject": "F", "checkpoint": "step-1", "removal": "ridge-in-sample"},
    ):
        choose(opened, **choice)
        here = table[table["subject"] == choice["subject"]]
        along = here[(here["layer"] == choice["layer"]) & here["step"].notna()].sort_values("step")
        down = here[here["checkpoint"] == choice["checkpoint"]].sort_values("layer")
        for name in ("original", choice["property"]):
            assert points(opened, "training", name) == list(along[along["property"] == name]["mean_r"])
            assert points(opened, "layers", name) == list(down[down["property"] == name]["mean_r"])
        effects = tables["removal_effects"]
        effects = effects[(effects["removal"] == "ridge-in-sample") & (effects["subject"] == choice["subject"])]
        at = effects[(effects["layer"] == choice["layer"]) & (effects["property"] == choice["property"])]
        assert points(opened, "effect-training", choice["property"]) == list(
            at[at["step"].notna()].sort_values("step")["mean_difference"]
        )
        shown = [points(opened, "effects", name)[0] for name in ("tense", "pos", "added")]
        here = effects[(effects["layer"] == choice["layer"]) & (effects["checkpoint"] == choice["checkpoint"])]
        assert shown == [row(here, property=name)["mean_difference"] for name in ("tense", "pos", "added")]
        probing = tables["probing"]
        probing = probing[(probing["removal"] == "ridge-in-sample") & (probing["property"] == choice["property"])]
        named = [row(probing, checkpoint="random", layer=choice["layer"])]
        named += [row(probing, checkpoint="controls", layer=0)]
        trained = probing[(probing["layer"] == choice["layer"]) & probing["step"].notna()].sort_values("step")
        assert points(opened, "probing", "accuracy_after_crossfit") == [
            *(entry["accuracy_after_crossfit"] for entry in named),
            *trained["accuracy_after_crossfit"],
        ]


def test_the_numbers_drawn_are_a_table_below_the_chart(opened, tables):
    opened.page.locator("#chart-effects summary").click()
    effects = tables["removal_effects"]
    for layer in (2, 4):
        choose(opened, layer=layer, property="pos", subject="M", checkpoint="step-8", removal="ridge-in-sample")
        shown = effects.query(
            f"layer == {layer} and subject == 'M' and checkpoint == 'step-8' and removal == 'ridge-in-sample'"
        )
        heads = opened.page.locator("#chart-effects thead th").all_text_contents()
        # What all rows share stands in the chart's note.
        assert heads == [name for name in effects if name not in {*KEYS, "step"} - {"property"}]
        cells = opened.page.locator(f"#chart-effects tbody td:nth-child({heads.index('mean_difference') + 1})")
        numbers = [float(cell.get_attribute("title")) for cell in cells.all()]
        assert sorted(numbers) == sorted(shown["mean_difference"])


def test_baselines_stand_at_the_layer_that_they_have(opened, tables):
    choose(opened, layer=4, subject="F", property="tense")
    legend = opened.run("document.querySelector('#chart-training .legend').textContent")
    for name, layer in (("random", 4), ("controls", 0)):
        value = row(
            tables["alignment"], checkpoint=name, layer=layer, property="original", subject="F", removal="none"
        )["mean_r"]
        assert f"baseline {name}: {value:.4f}" in legend


def test_colours_are_those_of_the_figures(opened):
    from dynalign.figures import style

    choose(opened, property="tense")
    tense = marks(opened, "training", "point", "[mark.__data__.datum.series, getComputedStyle(mark).fill]")
    (fill,) = {fill for name, fill in tense if name == "tense"}
    red, green, blue = (int(style.MARKS["tense"].colour[k : k + 2], 16) for k in (1, 3, 5))
    # Chromium gives a mixed colour as oklab(): draw it and read the pixel.
    pixel = opened.run(
        "(() => { const c = document.createElement('canvas').getContext('2d'); "
        f"c.fillStyle = {json.dumps(fill)}; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; }})()"
    )
    assert pixel[:3] == pytest.approx([red, green, blue], abs=1)


def test_the_address_holds_the_choice(opened, made):
    choice = {"checkpoint": "step-1", "layer": "2", "removal": "leace-in-sample", "property": "added", "subject": "M"}
    choose(opened, **choice)
    fragment = opened.run("location.hash")
    before = cells(opened)
    opened.open(made, fragment)
    assert chosen(opened) == choice
    assert cells(opened) == before
    # An address of another study, or of none, shows what there is.
    opened.open(made, "#explorer?checkpoint=step-9999&layer=2&property=%3Cb%3E")
    assert chosen(opened)["layer"] == "2"
    assert chosen(opened)["checkpoint"] == "step-64"


def test_the_explorer_works_from_the_keyboard(opened):
    opened.run("document.querySelector('select[name=layer]').focus()")
    before = chosen(opened)["layer"]
    opened.page.keyboard.press("ArrowUp" if before != "0" else "ArrowDown")
    assert chosen(opened)["layer"] != before
    assert f"layer {chosen(opened)['layer']}," in opened.run("document.querySelector('#sentence').textContent")


def test_a_click_on_a_point_or_a_shade_chooses_it(opened):
    choose(opened, checkpoint="step-64", layer=4)
    opened.page.locator("#chart-training .point_marks path").first.click(force=True)
    assert chosen(opened)["checkpoint"] == "step-0"
    choose(opened, checkpoint="step-64")
    opened.page.locator("#chart-map .cell_marks path").first.click(force=True)
    assert (chosen(opened)["checkpoint"], chosen(opened)["layer"]) == ("step-0", "0")


def test_the_logarithmic_axis_moves_points_and_no_numbers(opened):
    def across():
        return sorted(set(marks(opened, "training", "point", "mark.__data__.x")))

    even, numbers = across(), points(opened, "training", "original")
    opened.run("document.querySelector('input[name=log]').click()")
    logs = across()
    assert points(opened, "training", "original") == numbers
    assert even[2] - even[1] == pytest.approx(even[3] - even[2], abs=0.2)
    # 1 → 8 → 64 is even on a logarithmic axis; 0 stands left of 1.
    assert logs[2] - logs[1] == pytest.approx(logs[3] - logs[2], abs=0.2)
    assert logs[0] < logs[1]


def column(browser, name, k):
    """The shown cells of a table's k-th column, as exact as the page knows them."""
    return browser.run(
        f"[...document.querySelectorAll('details[data-table={name}] tbody tr')]"
        f".map(row => row.children[{k}]).map(cell => cell.title || cell.textContent)"
    )


def test_a_table_sorts_filters_turns_pages_and_is_saved(opened, tables):
    name, table = "alignment", tables["alignment"]
    details = f"document.querySelector('details[data-table={name}]')"
    opened.run(f"{details}.open = true; new Promise(done => setTimeout(done, 50))")
    k = list(table.columns).index("mean_r")

    def shown():
        return [float(text.replace("−", "-")) for text in column(opened, name, k)]

    assert shown() == list(table["mean_r"][:50])
    head = f"{details}.querySelectorAll('thead button')[{k}]"
    opened.run(f"{head}.click()")
    assert shown() == sorted(table["mean_r"])[:50]
    assert opened.run(f"{head}.parentElement.getAttribute('aria-sort')") == "ascending"
    opened.run(f"{head}.click()")
    assert shown() == sorted(table["mean_r"], reverse=True)[:50]
    opened.run(f"[...{details}.querySelectorAll('.bar button')].find(b => b.textContent === 'Next').click()")
    assert shown() == sorted(table["mean_r"], reverse=True)[50:100]
    opened.run(
        f"(() => {{ const f = {details}.querySelector('input'); f.value = 'ADDED leace layer=4 mean_r>0.1';"
        "f.dispatchEvent(new Event('input')); })()"
    )
    wanted = table[
        (table["property"] == "added")
        & (table["removal"] == "leace-in-sample")
        & (table["layer"] == 4)
        & (table["mean_r"] > 0.1)
    ]
    assert 0 < len(wanted) < len(table)
    assert shown() == sorted(wanted["mean_r"], reverse=True)
    opened.run(f"{head}.click()")
    assert shown() == list(wanted["mean_r"])
    # What is saved is the file's text, but for the notation of numbers.
    with opened.page.expect_download() as saved:
        opened.page.locator(f"details[data-table={name}]").get_by_text("Download rows").click()
    assert saved.value.suggested_filename == f"{name}.tsv"
    lines = [line.split("\t") for line in saved.value.path().read_text("utf-8").splitlines()]
    assert lines[0] == list(table.columns)
    assert [float(line[k]) for line in lines[1:]] == list(wanted["mean_r"])


def test_headings_say_what_columns_mean(opened):
    opened.run(
        "document.querySelector('details[data-table=removal_effects]').open = true; new Promise(d => setTimeout(d, 50))"
    )
    title = opened.run(
        "[...document.querySelectorAll('details[data-table=removal_effects] thead button')]"
        ".find(b => b.textContent === 'p_fdr').title"
    )
    assert "Benjamini" in title


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_is_wider_than_the_window(browser, made, width, dark):
    browser.look(width, 800, dark)
    browser.open(made)
    browser.run(
        "document.querySelectorAll('details').forEach(d => d.open = true); new Promise(d => setTimeout(d, 100))"
    )
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == []


CASES = {
    "one checkpoint": ({"steps": [8]}, ()),
    "one layer, one subject, no baseline": ({"layers": [3], "subjects": ["F"], "baselines": []}, ()),
    "no probing": ({}, ("probing",)),
    "no effects": ({}, ("removal_effects",)),
    "alignment alone": ({}, ("probing", "removal_effects", "perplexity", "labels")),
    "no alignment": ({}, ("alignment", "removal_effects")),
    "nothing": ({}, ("alignment", "removal_effects", "probing", "perplexity", "labels")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_study_with_missing_parts_still_has_a_page(browser, tmp_path, case):
    options, without = CASES[case]
    study = page_study.configuration(**options)
    found = {name: table for name, table in page_study.tables(study).items() if name not in without}
    path = page_study.write(tmp_path, study, found, figures=case != "nothing")
    browser.look(1200, 900)
    browser.open(path)
    assert browser.problems == []
    assert browser.requests == [path.as_uri()]
    if "alignment" in found:
        assert "alignment" in browser.run("document.querySelector('#sentence').textContent")
        assert browser.run(DRAWN)
    else:
        assert browser.run("document.querySelector('#explorer')") is None


def test_baselines_alone_and_empty_cells_still_have_a_page(browser, tmp_path):
    study = page_study.configuration(steps=[0, 8], baselines=["random"])
    found = page_study.tables(study)
    alone = {
        name: table[table["checkpoint"] == "random"] if "checkpoint" in table else table
        for name, table in found.items()
        if name != "perplexity"
    }
    holes = {name: table.copy() for name, table in found.items()}
    holes["alignment"].loc[::3, ["mean_r", "ci_low", "ci_high"]] = math.nan
    holes["removal_effects"].loc[::2, ["ci_low", "p", "p_fdr"]] = math.nan
    holes["removal_effects"].loc[1::2, "t_paper"] = math.inf
    for k, tables in enumerate((alone, holes)):
        path = page_study.write(tmp_path / str(k), study, tables)
        browser.open(path)
        assert browser.problems == []
        for subject in study["subjects"]:
            choose(browser, subject=subject)
            assert browser.run(DRAWN)
        assert browser.problems == []


def test_no_name_becomes_markup_or_script(browser, tmp_path):
    """Names that a configuration would refuse, and words that a story may hold, stay text."""
    evil = '</script><img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    study = page_study.configuration()
    study["properties"] = {evil: study["properties"]["added"], "tense": study["properties"]["tense"]}
    study["subjects"] = [evil + "S", "`x <javascript:window.owned=1>`_"]
    study["study"] = evil + "\n\n.. raw:: html\n\n   <script>window.owned=1</script>\n"
    study["figures"]["properties"] = [evil]
    found = page_study.tables(study)
    found["labels"]["word"] = [evil, "<!--", "--><script>"]
    path = page_study.write(tmp_path, study, found)
    browser.open(path)
    browser.run(
        "document.querySelectorAll('details').forEach(d => d.open = true); new Promise(d => setTimeout(d, 100))"
    )
    choose(browser, property=evil, subject=study["subjects"][1])
    browser.run("document.querySelectorAll('a[href^=javascript]').forEach(a => a.click())")
    assert browser.run("window.owned") is None
    assert browser.run("[...document.images].every(i => i.src.startsWith('data:'))")
    assert browser.run("document.scripts.length") == 2 + len(found) + 2
    assert evil in browser.run("document.querySelector('select[name=property] option').value")
    assert browser.requests == [path.as_uri()]


def test_the_largest_study_opens_and_reacts(browser, tmp_path):
    """All of Pythia's checkpoints, 13 layers, 9 properties: 20,020 alignments of one subject."""
    study = page_study.configuration(
        steps=model.Model(steps="pythia-all").steps,
        layers=range(13),
        properties=tuple(properties.paper_properties()),
        subjects=["N"],
        baselines=[],
        removal={"methods": ["ridge-in-sample"]},
    )
    found = page_study.tables(study)
    assert len(found["alignment"]) == 154 * 13 * 10
    path = page_study.write(tmp_path, study, found)
    assert path.stat().st_size < 6e6
    browser.open(path)
    choose(browser, layer=7, property="pos", subject="N")
    table = found["alignment"]
    cell = row(table, checkpoint="step-143000", layer=7, removal="ridge-in-sample", property="pos", subject="N")[
        "mean_r"
    ]
    assert float(cells(browser)["residual.mean_r"][1]) == pytest.approx(cell, rel=1e-7)
    assert len(points(browser, "training", "original")) == 154
    assert browser.problems == []
