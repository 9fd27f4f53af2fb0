"""The paper's two tables and its published values."""

import re
from pathlib import Path

import numpy as np
import pytest
from tests.figure_study import LAYERS, METHODS, PROPERTIES, STEPS, where
from tests.helpers import flags

from dynalign.figures import paper_tables, style
from dynalign.io.errors import InputError
from dynalign.tables import reader


@pytest.fixture(scope="module")
def tidy(files_of, tmp_path_factory):
    """Both tables through the command: name → (tidy table, HTML)."""
    folder, made = tmp_path_factory.mktemp("paper_tables"), {}
    for name, source in (("table-1-probing", "probing"), ("table-2-correlations", "label-correlations")):
        outputs = [str(folder / f"{name}.{suffix}") for suffix in ("tsv", "html")]
        paper_tables.main([name, *flags(**{source.removeprefix("label-"): files_of[source], "output": outputs})])
        made[name] = reader.read_table(outputs[0]), Path(outputs[1]).read_text(encoding="utf-8")
    return made


def cells(html, table):
    """(Group, row heading) → texts of the cells, tags kept, of the `table`-th table of the page."""
    body = re.findall(r"<tbody>.*?</tbody>", html, re.DOTALL)[table]
    found, group = {}, ""
    for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL):
        *groups, name = re.findall(r"<th[^>]*>(.*?)</th>", row)
        (group,) = groups or [group]
        found[group, name] = re.findall(r"<td>(?:<span[^>]*>)?(.*?)(?:</span>)?</td>", row, re.DOTALL)
    return found


def test_table_1_has_the_papers_rows_and_its_bold_rule(tidy, tables):
    table, html = tidy["table-1-probing"]
    order = ["random_label", *PROPERTIES[:-1]]
    probing = tables["probing"]
    for grid, method in ((0, "ridge"), (2, "leace")):
        shown = cells(html, grid)
        assert list(shown) == [
            *(("last step (143,000)", f"layer {layer}") for layer in LAYERS),
            ("last layer (6)", "random"),
            *(("last layer (6)", f"step-{step}") for step in STEPS),
            ("chance", ""),
        ]
        assert shown["chance", ""] == ["0.50", *["0.60"] * 8]
        for (part, name), texts in list(shown.items())[:-1]:
            checkpoint = "step-143000" if part.startswith("last step") else name
            layer = int(name.split()[1]) if part.startswith("last step") else 6
            for text, prop in zip(texts, order, strict=True):
                row = where(probing, checkpoint=checkpoint, layer=layer, property=prop, removal=method).iloc[0]
                plain = f"{row['accuracy_before']:.2f} | {row['accuracy_after']:.2f}"
                bold = row["accuracy_before"] > row["chance"] > row["accuracy_after"]
                assert text == (f"<b>{plain}</b>" if bold else plain)
        calibrated = cells(html, grid + 1)["last layer (6)", "step-0"]
        rows = where(probing, checkpoint="step-0", layer=6, removal=method).set_index("property")
        for text, prop in zip(calibrated, order, strict=True):
            row = rows.loc[prop]
            assert text.startswith("<b>") == (row["accuracy_after_crossfit"] <= row["null_high"])
            assert f"[{row['null_low']:.2f}, {row['null_high']:.2f}]" in text
            assert ("▾ below" in text) == (row["accuracy_after_crossfit"] < row["null_low"])
            assert ("▴ above" in text) == (row["accuracy_after_crossfit"] > row["null_high"])
    assert html.count("<b>") > 20
    assert html.count("<b>Bold</b>: removed: the accuracy after is not above that interval.") == len(METHODS)
    assert html.count("▾ below</small>") > 5
    assert html.count("▴ above</small>") > 5
    assert set(table["crossfit_position"]) == {"below", "inside", "above"}
    assert len(table) == 2 * 9 * (4 + 7)
    assert where(table, part="last layer")["checkpoint"].iloc[0] == "random"
    assert not where(table, checkpoint="random")["step"].notna().any()


def test_table_2_stars_what_is_not_significant_and_leaves_the_coin_out(tidy, tables):
    table, html = tidy["table-2-correlations"]
    shown = cells(html, 0)
    names = [name for name in PROPERTIES if name != "random_label"]
    assert len(shown) == 8
    source = tables["label-correlations"].set_index(["property_a", "property_b"])
    stars = 0
    for a in names:
        for b, text in zip(names, shown["", style.label(a)], strict=True):
            row = source.loc[(a, b)]
            star = a != b and row["p"] >= 0.05
            stars += star
            assert text.startswith("*") == star
            assert float(text.lstrip("*").replace("−", "-")) == pytest.approx(row["r"], abs=0.0051)
    assert 0 < stars < 56
    assert table["asterisk"].sum() == stars
    assert "random" not in html


def test_missing_values_and_zeros_are_written_plainly():
    assert [paper_tables.number(x) for x in (np.nan, -0.001, -0.25, 0.999)] == ["–", "0.00", "−0.25", "1.00"]


def test_pages_need_nothing_from_outside(tidy):
    for _, html in tidy.values():
        assert html.startswith("<!DOCTYPE html>")
        for outside in ("http", "<script", "<link", "src=", "@import"):
            assert outside not in html


def test_tables_report_bad_input(files_of, tmp_path):
    arguments = flags(correlations=files_of["label-correlations"], output=tmp_path / "x.md")
    with pytest.raises(InputError, match=r"x.md: tables are written as .tsv or .html"):
        paper_tables.main(["table-2-correlations", *arguments])


def test_published_values_are_consistent_with_each_other(published):
    for row in published["class_counts"]:
        total = 5176 if row["property"] in ("pos", "smallest_constituent") else 417
        assert sum(row["counts"].values()) == total
    for row in published["original_counts"][:6]:
        assert sum(row["counts"].values() if "counts" in row else row["by_rank"]) == 417
    # Figure 7's bars are the means over figure 8's layers; figure 11 is the original's bar.
    curves = {(row["step"], row["property"]): row["mean_r"] for row in published["alignment_by_layer"]}
    for row in published["representation_bars"]:
        values = curves[row["step"], row["property"]]
        assert np.mean(values) == pytest.approx(row["mean_r"], abs=1.5e-4)
        assert np.std(values) == pytest.approx(row["std_over_layers"], abs=2e-4)
    means = {row["step"]: row["value"] for row in published["alignment_layer_mean"]}
    for step in (1000, 43000, 143000):
        assert np.mean(curves[step, "original"]) == pytest.approx(means[step], abs=1.5e-4)
    assert set(published["probing"]["properties"]) == set(PROPERTIES)
    assert {len(row["before"]) for row in published["probing"]["rows"]} == {9}
    r = np.array(published["label_correlations"]["r"])
    np.testing.assert_array_equal(r, r.T)
