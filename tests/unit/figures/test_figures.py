"""The figures of a made-up study, against independent computations."""

import re

import numpy as np
import pandas as pd
import pytest
from tests.figure_study import (
    LAYERS,
    METHODS,
    PROPERTIES,
    STEPS,
    SUBJECTS,
    all_texts,
    bars,
    cube,
    dots,
    figure_data,
    in_band,
    legend_texts,
    line,
    number_of,
    pick,
    rgb,
    where,
)

from dynalign.config.figures import Figures
from dynalign.figures import data, distributions, draw, elements, layers, removal, shares, style, training_curves
from dynalign.statistics import summaries


def test_perplexity_on_a_log_axis_with_its_values(drawn, tables):
    figure, numbers = pick(drawn, 1)
    whole, enlarged = figure.axes
    expected = tables["perplexity"]["perplexity"].to_numpy()
    np.testing.assert_array_equal(line(whole, "this study"), expected)
    np.testing.assert_array_equal(line(enlarged, "this study"), expected[expected <= 1.5 * expected.min()])
    np.testing.assert_array_equal(numbers["perplexity"], expected)
    assert whole.get_yscale() == enlarged.get_yscale() == "log"
    assert {"54,322", "113.2", "43.8", "37.8"} <= set(all_texts(figure))
    # The published curve has no value at step 0, none of ours at step 72000.
    assert numbers["published"].tolist()[1:] == [113, 43.77, 39.37, 36.61, 37.75]
    assert np.isnan(numbers["published"][0])
    np.testing.assert_array_equal(line(whole, elements.PUBLISHED), [113, 43.77, 39.37, 36.61, 37.75])


def test_best_layer_alignment_is_the_mean_over_subjects_of_the_maximum_over_layers(drawn, tables):
    figure, numbers = pick(drawn, 4)
    best = cube(tables["alignment"], "mean_r", removal="none").max(axis=1)
    (axes,) = figure.axes
    np.testing.assert_allclose(line(axes, "mean of participants"), best[:-1].mean(axis=1), rtol=1e-12)
    baseline = best[-1].mean()
    np.testing.assert_allclose(line(axes, f"random baseline: {baseline:.4f}"), baseline)
    means = numbers[numbers["subject"] == "mean"].set_index("checkpoint")["mean_r"]
    np.testing.assert_allclose(means["random"], baseline)
    for k, subject in enumerate(SUBJECTS):
        rows = numbers[(numbers["subject"] == subject) & numbers["step"].notna()]
        np.testing.assert_allclose(rows["mean_r"], best[:-1, k])
        np.testing.assert_allclose(line(axes, f"participant {subject}"), best[:-1, k])
    assert {"n = 3" in text for text in all_texts(figure)} == {True, False}
    assert elements.PUBLISHED in legend_texts(figure)
    # Each subject has the interval of the layer chosen; the mean that of independent subjects.
    original = tables["alignment"][tables["alignment"]["removal"] == "none"]
    for row in numbers[numbers["subject"] != "mean"].itertuples():
        cell = where(original, checkpoint=row.checkpoint, subject=row.subject, layer=row.layer)
        assert (row.ci_low, row.ci_high) == (cell["ci_low"].item(), cell["ci_high"].item())
    drawn_rows = numbers[(numbers["subject"] != "mean") & numbers["step"].notna()]
    np.testing.assert_allclose(
        sorted(bars(axes).tolist()), sorted(drawn_rows[["ci_low", "ci_high"]].to_numpy().tolist())
    )
    means = numbers[numbers["subject"] == "mean"].set_index("checkpoint")
    for name, cell in numbers[numbers["subject"] != "mean"].groupby("checkpoint"):
        assert means["ci_low"][name] == pytest.approx(sum(cell["ci_low"]) / 3, rel=1e-9)
    in_band(axes, "mean of participants", means[means["step"].notna()])


def test_mean_layer_alignment_is_the_plain_mean(drawn, tables):
    figure, numbers = pick(drawn, 11)
    means = cube(tables["alignment"], "mean_r", removal="none").mean(axis=(1, 2))
    np.testing.assert_allclose(line(figure.axes[0], "mean of participants"), means[:-1], rtol=1e-12)
    np.testing.assert_allclose(line(figure.axes[0], f"random baseline: {means[-1]:.4f}"), means[-1])
    # The layers of a subject share their noise, and the subjects the text.
    expected = cube(tables["alignment"], "ci_low", removal="none").mean(axis=(1, 2))
    rows = numbers[numbers["subject"] == "mean"]
    np.testing.assert_allclose(rows["ci_low"], expected, rtol=1e-9)
    in_band(figure.axes[0], "mean of participants", rows[rows["step"].notna()])
    shown = numbers[(numbers["subject"] == "mean") & numbers["step"].notna()]["published"]
    np.testing.assert_array_equal(shown, [-0.0007, 0.0055, 0.0059, 0.0065, 0.008, 0.004])


def test_best_layers_by_both_rules(drawn, tables):
    figure, numbers = pick(drawn, 5)
    (axes,) = figure.axes
    for column, rule in (("mean_r", "layer"), ("inner_score", "layer_by_inner_score")):
        highest = cube(tables["alignment"], column, removal="none").argmax(axis=1)[:-1]
        for k, subject in enumerate(SUBJECTS):
            expected = [LAYERS[i] for i in highest[:, k]]
            assert numbers[numbers["subject"] == subject][rule].tolist() == expected
    for k, subject in enumerate(SUBJECTS):
        rows = numbers[numbers["subject"] == subject]
        np.testing.assert_array_equal(line(axes, f"participant {subject}"), rows["layer"])
        hollow = [each for each in axes.lines if each.get_gid() == "inner score"][k]
        np.testing.assert_array_equal(hollow.get_ydata(), rows["layer_by_inner_score"])
        assert hollow.get_fillstyle() == "none"
    assert (numbers["layer"] != numbers["layer_by_inner_score"]).any(), "the study must tell the rules apart"
    assert sum("hollow" in text for text in legend_texts(figure)) == 1


def test_significant_for_all_subjects_by_both_rules(drawn, tables):
    figure, numbers = pick(drawn, 6)
    (axes,) = figure.axes
    names = Figures().properties
    effects = where(tables["removal-effects"], removal="ridge")
    expected = {"significant_paper": [], "significant": []}
    for rule, cells in expected.items():
        for g, step in enumerate(Figures().steps):
            for k, name in enumerate(names):
                for layer in LAYERS:
                    rows = where(effects, step=step, property=name, layer=layer)
                    assert len(rows) == 3
                    if all(rows[rule] == 1):
                        cells.append((g * (len(names) + 1.5) + k, layer))
    for gid, rule in (("paper", "significant_paper"), ("calibrated", "significant")):
        assert sorted(map(tuple, dots(axes, gid))) == sorted(expected[rule])
        assert numbers[gid].sum() == len(expected[rule])
    assert 0 < len(expected["significant"]) < len(expected["significant_paper"]) < len(numbers)
    either = set(expected["significant"]) | set(expected["significant_paper"])
    assert len(dots(axes, "neither")) == len(numbers) - len(either)
    still = [(g * (len(names) + 1.5) + 3, layer) for g in range(3) for layer in LAYERS if layer]
    assert names[3] == "smallest_constituent"
    assert sorted(map(tuple, dots(axes, "reading: still"))) == sorted(still)
    never = [(g * (len(names) + 1.5) + names.index("random_label"), layer) for g in range(3) for layer in LAYERS]
    assert sorted(map(tuple, dots(axes, "reading: never"))) == sorted(never)
    legend = " ".join(legend_texts(figure))
    assert "still reads" in legend
    assert "never read" in legend
    assert "paper's rule" in legend
    assert "calibrated" in legend


def test_a_cell_that_lacks_a_subject_is_not_significant(tables):
    effects = where(tables["removal-effects"], removal="ridge", step=43000, property="tense")
    first = effects["layer"].min()
    complete = effects.assign(significant=1, significant_paper=1)
    assert summaries.significant_layers(complete)["calibrated"].all()
    lacking = complete[~((complete["layer"] == first) & (complete["subject"] == "M"))]
    table = summaries.significant_layers(lacking).set_index("layer")
    assert table.loc[first, ["paper", "calibrated"]].tolist() == [0, 0]
    assert table.drop(first)[["paper", "calibrated"]].to_numpy().all()


def test_bars_are_means_with_the_population_deviation_over_layers_and_differences_below(drawn, tables):
    figure, numbers = pick(drawn, 7)
    names = ["original", *Figures().properties]
    for column, step in enumerate(Figures().steps):
        k = STEPS.index(step)
        upper, lower = figure.axes[column], figure.axes[3 + column]
        heights, spreads = [], []
        for name in names:
            method = "none" if name == "original" else "ridge"
            by_layer = cube(tables["alignment"], "mean_r", removal=method, property=name)[k].mean(axis=1)
            heights.append(by_layer.mean())
            spreads.append(np.sqrt(np.mean((by_layer - by_layer.mean()) ** 2)))
        drawn_bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in upper.patches}
        np.testing.assert_allclose([drawn_bars[i] for i in range(5)], heights, rtol=1e-12)
        rows = where(numbers, quantity="alignment", step=step).set_index("property").loc[names]
        np.testing.assert_allclose(rows["value"], heights, rtol=1e-12)
        np.testing.assert_allclose(rows["std_over_layers"], spreads, rtol=1e-12)
        drawn_bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in lower.patches}
        for i, name in enumerate(names[1:], start=1):
            effects = {"removal": "ridge", "property": name}
            difference = cube(tables["removal-effects"], "mean_difference", **effects)[k]
            assert drawn_bars[i] == pytest.approx(difference.mean(), rel=1e-9)
            # Residual minus original is also what the alignments themselves give.
            assert drawn_bars[i] == pytest.approx(heights[i] - heights[0], abs=1e-12)
            low = cube(tables["removal-effects"], "ci_low", **effects)[k]
            row = where(numbers, quantity="difference", step=step, property=name)
            row = row[row["subject"] == "mean"].iloc[0]
            assert row["ci_low"] == pytest.approx(low.mean(), rel=1e-9)
            for when in ("before", "after"):
                read = cube(tables["removal-effects"], f"readable_{when}", **effects)[k].mean()
                at = dots(figure.axes[6 + column], f"readable {when}")
                assert dict(map(tuple, at))[i] == pytest.approx(read, rel=1e-9)
                row = where(numbers, quantity=f"readable_{when}", step=step, property=name)
                assert row["value"].item() == pytest.approx(read, rel=1e-9)
    assert [text.get_text() for text in figure.axes[6].get_xticklabels()] == list(map(style.label, names))


def test_curves_by_layer_with_bands_and_the_random_line(drawn, tables):
    figure, numbers = pick(drawn, 8)
    names = ["original", *Figures().properties]
    level = cube(tables["alignment"], "mean_r", removal="none")[-1].mean()
    for axes, step in zip(figure.axes, Figures().steps, strict=True):
        assert axes.get_title() == f"step {step:,}"
        for name in names:
            fixed = {"removal": "none" if name == "original" else "ridge", "property": name}
            r, low, high = (
                cube(tables["alignment"], c, **fixed)[STEPS.index(step)] for c in ("mean_r", "ci_low", "ci_high")
            )
            np.testing.assert_allclose(line(axes, style.label(name)), r.mean(axis=1), rtol=1e-12)
            rows = where(numbers, step=step, property=name)
            assert rows["layer"].tolist() == list(LAYERS)
            for i, row in enumerate(rows.itertuples()):
                assert row.ci_low == pytest.approx(sum(low[i, s] for s in range(3)) / 3, rel=1e-9)
                assert row.ci_high == pytest.approx(sum(high[i, s] for s in range(3)) / 3, rel=1e-9)
        np.testing.assert_allclose(line(axes, f"random baseline: {level:.4f}"), level)
        still = [(layer, line(axes, "smallest constituent")[i]) for i, layer in enumerate(LAYERS) if layer]
        np.testing.assert_allclose(sorted(map(tuple, dots(axes, "reading: still"))), sorted(still))
    assert legend_texts(figure)[:-3] == [f"random baseline: {level:.4f}", *map(style.label, names)]


def test_probes_before_and_after_against_the_null_interval(drawn, tables):
    figure, numbers = pick(drawn, 12)
    panels = np.array(figure.axes).reshape(len(PROPERTIES), len(LAYERS))
    probing = tables["probing"]
    for row, name in zip(panels, PROPERTIES, strict=True):
        assert row[0].get_ylabel() == style.label(name)
        for panel, layer in zip(row, LAYERS, strict=True):
            curves = {("ridge", "before"): "accuracy_before"}
            for method in METHODS:
                curves[method, f"{method}: all words"] = "accuracy_after"
                curves[method, f"{method}: crossfit"] = "accuracy_after_crossfit"
            alone = [each for each in panel.get_lines() if len(each.get_ydata()) == 1]
            for (method, label), column in curves.items():
                cell = where(probing, property=name, layer=layer, removal=method).set_index("checkpoint")
                np.testing.assert_array_equal(line(panel, label), cell[column].iloc[: len(STEPS)])
                shown = [each for each in alone if each.get_ydata()[0] == cell[column]["random"]]
                assert shown
                assert all(each.get_xdata()[0] < 0 for each in shown)
            # The grey bars are the null intervals, the baseline's first.
            order = ["random", *(f"step-{step}" for step in STEPS)]
            np.testing.assert_allclose(bars(panel, "null"), cell.loc[order, ["null_low", "null_high"]])
    assert [panel.get_title() for panel in panels[0]] == [f"layer {layer}" for layer in LAYERS]
    assert [text.get_text() for text in panels[-1, 0].get_xticklabels()][:3] == ["random", "0", "1,000"]
    assert len(numbers) == len(probing)
    assert {"before", "ridge: all words", "leace: crossfit", "null interval"} <= set(legend_texts(figure))
    labels = [f"{name}: all words" for name in METHODS]
    after = [each for each in panels[0, 0].get_lines() if each.get_label() in labels]
    assert len({each.get_color() for each in after}) == len({each.get_marker() for each in after}) == 2


def test_everything_over_training_on_one_axis_filled_where_it_clears(drawn, tables):
    figure, numbers = pick(drawn, 13)
    top, middle, lower, strip = figure.axes
    means = cube(tables["alignment"], "mean_r", removal="none").mean(axis=(1, 2))
    np.testing.assert_allclose(line(top, "mean of participants"), means[:-1], rtol=1e-12)
    np.testing.assert_allclose(line(top, f"random baseline: {means[-1]:.4f}"), means[-1])
    bits = tables["perplexity"]["bits_per_word"].to_numpy()
    np.testing.assert_array_equal(line(middle, "log₂ perplexity per word"), bits)
    np.testing.assert_allclose(line(middle, f"words without context: {np.log2(400):.2f}"), np.log2(400))
    assert where(numbers, quantity="perplexity")["clears"].tolist() == list(bits < np.log2(400))
    # More than 0.002 above both references is planted as clear: from step 1,000 on.
    clear = (means[:-1] - means[-1] > 0.002) & (means[:-1] - means[0] > 0.002)
    assert where(numbers, quantity="alignment", subject="mean")["clears"].iloc[:-1].tolist() == clear.tolist()
    assert clear.tolist() == [False] + 5 * [True]
    for name in PROPERTIES:
        cells = where(tables["probing"], property=name, removal="ridge").set_index(["layer", "checkpoint"])
        rows = where(numbers, quantity="probing", property=name)
        for row in rows.itertuples():
            cell = cells.loc[[(layer, row.checkpoint) for layer in LAYERS]]
            assert row.value == pytest.approx(cell["accuracy_before"].mean(), rel=1e-12)
            assert row.clears == (cell["accuracy_before"].mean() > cell["null_high"].mean())
        np.testing.assert_allclose(line(lower, style.label(name)), 100 * (rows["value"] - rows["chance"]))
        dots = [
            c for c in lower.collections if c.get_edgecolor()[0, :3] == pytest.approx(rgb(style.MARKS[name].colour))
        ]
        hollow = [tuple(face[:3]) == (1, 1, 1) for face in dots[0].get_facecolor()]
        assert hollow == [not clear for clear in rows["clears"]]
    # The bars of the lowest panel are the table's.
    when = tables["emergence"]
    shown = when[when["layer"].isin(["mean", ""]) & when["subject"].isin(["mean", ""])]
    named = {text.get_text(): k for k, text in enumerate(strip.get_yticklabels())}
    assert len(shown) == 2 + 1 + 1 + 9
    assert len(named) == len(shown) + 2
    row = where(shown, quantity="alignment", reference="step-0").iloc[0]
    marks = [c.get_offsets()[0] for c in strip.collections if len(c.get_offsets()) == 1]
    place = named["alignment > untrained (step 0)"]
    assert [STEPS.index(row.clears_by), place] in [list(map(float, mark)) for mark in marks]
    # A rise that is half at step 3,000.5, between 1,000 and 15,000.
    (half,) = [
        c
        for c in strip.collections
        if c.get_gid() == "half-rise" and c.get_segments()[0][0, 1] == named["half of the rise in alignment"]
    ]
    # Perplexity and a property have theirs in their own rows.
    lines = [c.get_segments()[0][0, 1] for c in strip.collections if c.get_gid() == "half-rise"]
    assert {named["use of context"], named["tense"]} < set(lines)
    assert len(lines) == 4
    at = 1 + np.log(3001.5 / 1001) / np.log(15001 / 1001)
    ends = half.get_segments()[0][:, 0]
    assert ends[0] < 1 < at < ends[1] < 2
    assert [pytest.approx(at), named["half of the rise in alignment"]] in [list(map(float, mark)) for mark in marks]
    labels = [axes.get_ylabel() for axes in (top, middle, lower)]
    assert [re.search(r"\((.*)\)", text).group(1) for text in labels] == [
        "mean Pearson r",
        "bits per word",
        "percentage points",
    ]


def over_nuisance(tables, column):
    """What the vectors add to nuisance features as an array checkpoint × layer × subject."""
    return cube(tables["shares"], column, features="nuisance", part="unique_model")


def test_alignment_over_nuisance_is_drawn_beside_alignment_in_the_same_layers(drawn, tables):
    best = cube(tables["alignment"], "mean_r", removal="none").argmax(axis=1)[:, None]
    for number in (4, 11):
        figure, numbers = pick(drawn, number)
        rows = numbers.set_index(["subject", "checkpoint"])
        for column, source in (("unique_r", "mean_r"), ("unique_low", "ci_low"), ("unique_high", "ci_high")):
            cells = over_nuisance(tables, source)
            expected = np.take_along_axis(cells, best, axis=1)[:, 0] if number == 4 else cells.mean(axis=1)
            np.testing.assert_allclose(rows.loc["mean", column], expected.mean(axis=1), rtol=1e-9)
            for k, subject in enumerate(SUBJECTS):
                np.testing.assert_allclose(rows.loc[subject, column], expected[:, k], rtol=1e-9)
        curve = rows.loc["mean"].iloc[:-1]
        np.testing.assert_allclose(line(figure.axes[0], elements.UNIQUE), curve["unique_r"], rtol=1e-12)
        bounds = curve.assign(ci_low=curve["unique_low"], ci_high=curve["unique_high"])
        in_band(figure.axes[0], elements.UNIQUE, bounds)


def test_figures_do_without_shares(tables):
    for number, column in ((4, "unique_r"), (11, "unique_r"), (13, None), (18, None)):
        drawing = draw.FIGURES[draw.figure_name(str(number))]
        for kinds in (drawing.tables, (*drawing.tables, "shares")):
            # A study without nuisance features among its spaces is like one without shares.
            known = tables | {"shares": where(tables["shares"], features="tense")}
            with style.context():
                figure, numbers = drawing.draw(figure_data(known, *kinds, removal="ridge"))
            assert column not in numbers
            assert elements.UNIQUE not in legend_texts(figure)
            assert "quantity" not in numbers or "unique_alignment" not in set(numbers["quantity"])


def test_emergence_shows_alignment_over_nuisance_filled_where_it_clears_zero(drawn, tables):
    figure, numbers = pick(drawn, 13)
    expected = over_nuisance(tables, "mean_r").mean(axis=(1, 2))[:-1]
    np.testing.assert_allclose(line(figure.axes[0], elements.UNIQUE), expected, rtol=1e-12)
    rows = where(numbers, quantity="unique_alignment", subject="mean").iloc[:-1]
    clear = expected > 0.002
    assert rows["clears"].tolist() == clear.tolist()
    assert 0 < clear.sum() < len(clear)
    when = where(tables["emergence"], quantity="unique_alignment", subject="mean", layer="mean")["clears_by"]
    assert when.item() == STEPS[clear.argmax()]
    assert "alignment over nuisance > 0" in [text.get_text() for text in figure.axes[3].get_yticklabels()]


def test_shares_of_variance_at_the_layer_of_the_inner_score_and_they_add_up(drawn, tables):
    figure, numbers = pick(drawn, 17)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.axison}
    assert list(panels) == ["nuisance features", *map(style.label, PROPERTIES)]
    inner = cube(tables["alignment"], "inner_score", removal="none").argmax(axis=1)[:-1, None]
    for space in (*PROPERTIES, "nuisance"):
        own = "unique_nuisance" if space == "nuisance" else "unique_property"
        panel = panels["nuisance features" if space == "nuisance" else style.label(space)]
        heights = {}
        for part, text in shares.PARTS.items():
            name = own if part == "unique_property" else part
            cells = cube(tables["shares"], "share", features=space, part=name)[:-1]
            at_best = np.take_along_axis(cells, inner, axis=1)[:, 0]
            heights[part] = line(panel, text)
            np.testing.assert_allclose(heights[part], at_best.mean(axis=1), rtol=1e-9)
            rows = where(numbers, features=space, part=name)
            np.testing.assert_allclose(where(rows, subject="M")["share"], at_best[:, 1], rtol=1e-9)
            np.testing.assert_allclose(where(rows, subject="mean")["share"], heights[part], rtol=1e-9)
        np.testing.assert_allclose(sum(heights[part] for part in heights if part != "joint"), heights["joint"])


def test_shares_of_significant_voxels(drawn, tables):
    figure, numbers = pick(drawn, 18)
    left, right = figure.axes
    inner = cube(tables["alignment"], "inner_score", removal="none").argmax(axis=1)[:, None]
    curves = {
        (left, "predicted above 0"): cube(tables["alignment"], "share_significant", removal="none"),
        (left, "predicted better than\nby nuisance features alone"): over_nuisance(tables, "share_significant"),
    }
    for name in Figures().properties:
        effects = cube(tables["removal-effects"], "share_harmed", removal="ridge", property=name)
        curves[right, style.label(name)] = effects
    for (panel, text), cells in curves.items():
        expected = np.take_along_axis(cells, inner, axis=1)[:, 0]
        np.testing.assert_allclose(line(panel, text), expected[:-1].mean(axis=1), rtol=1e-9)
        thin = [np.asarray(one.get_ydata()) for one in panel.lines if one.get_label() == "_H"]
        assert sum(np.allclose(one, expected[:-1, 2]) for one in thin) >= 1, text
    level = np.take_along_axis(cube(tables["alignment"], "share_significant", removal="none"), inner, axis=1)[-1].mean()
    np.testing.assert_allclose(line(left, "random baseline"), level)
    assert set(numbers["quantity"]) == {"alignment", "unique_alignment", "harmed"}
    assert len(numbers) == 7 * 4 * 2 + 6 * 4 * len(Figures().properties)


def test_heat_maps_hold_every_cell_and_both_best_layers(drawn, tables):
    figure, numbers = pick(drawn, 14)
    scores = cube(tables["alignment"], "mean_r", removal="none")
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    scales = set()
    for k, subject in enumerate([*SUBJECTS, "mean"]):
        expected = scores.mean(axis=2) if subject == "mean" else scores[:, :, k]
        panel = panels["mean of participants" if subject == "mean" else f"participant {subject}"]
        # The baseline is the first column; the lowest layer is the lowest row.
        expected = np.roll(expected, 1, axis=0)
        (mesh,) = panel.collections
        np.testing.assert_allclose(mesh.get_array().reshape(len(LAYERS), -1), expected.T, rtol=1e-12)
        assert panel.get_ylim() == (0, len(LAYERS))
        texts = [text.get_text() for text in panel.get_xticklabels()]
        assert texts == ["random", *(f"{step:,}" for step in STEPS)]
        scales.add((mesh.norm.vmin, mesh.norm.vmax))
        if subject != "mean":
            inner = np.roll(cube(tables["alignment"], "inner_score", removal="none")[:, :, k], 1, axis=0)
            for gid, scored in (("best", expected), ("best_by_inner_score", inner)):
                (symbols,) = [each for each in panel.lines if each.get_gid() == gid]
                chosen = [(i + 0.5, layer + 0.5) for i, layer in enumerate(scored.argmax(axis=1))]
                assert sorted(map(tuple, symbols.get_xydata())) == chosen
    assert len(scales) == 1
    assert len(numbers) == 4 * scores[:, :, 0].size
    assert layers.shades(-0.02, 0.1)["vmin"] == -0.1
    assert layers.shades(-0.002, 0.1)["vmin"] == -0.002


def test_alignment_against_perplexity_with_its_correlation(drawn, tables):
    from scipy.stats import spearmanr

    figure, numbers = pick(drawn, 15)
    whole = figure.axes[0]
    scores = cube(tables["alignment"], "mean_r", removal="none")[:-1].mean(axis=1)
    perplexity = tables["perplexity"]["perplexity"].to_numpy()
    lines = {each.get_label().split("\n")[0]: each for each in whole.get_lines()}
    for k, subject in enumerate(SUBJECTS):
        drawn_line = lines[f"participant {subject}"]
        np.testing.assert_allclose(drawn_line.get_xdata(), perplexity)
        np.testing.assert_allclose(drawn_line.get_ydata(), scores[:, k], rtol=1e-12)
        rho = spearmanr(perplexity, scores[:, k]).statistic
        assert where(numbers, subject=subject)["rho"].iloc[0] == pytest.approx(rho, abs=1e-12)
        assert f"ρ = {rho:.2f}".replace("-", "−") in drawn_line.get_label()
    mean = lines["mean of participants"]
    assert f"n = {len(STEPS)}" in mean.get_label()
    assert whole.xaxis_inverted()
    assert whole.get_xscale() == "log"
    steps = {text.get_text() for text in whole.texts if text.get_gid() == "step"}
    assert {"143,000", "0"} <= steps <= {f"{step:,}" for step in STEPS}
    assert training_curves.rho_in_words({"rho": -0.5, "ci_low": np.nan, "n_checkpoints": 5.0}) == "ρ = −0.50, n = 5"


def test_what_the_choice_of_the_layer_adds(drawn, tables):
    figure, numbers = pick(drawn, 16)
    upper, lower = figure.axes
    scores, inner = (cube(tables["alignment"], c, removal="none") for c in ("mean_r", "inner_score"))
    best = scores.max(axis=1)
    chosen = np.take_along_axis(scores, inner.argmax(axis=1)[:, None], axis=1)[:, 0]
    curves = {
        "highest mean r (the paper's rule)": best,
        "highest inner score": chosen,
        "mean over layers": scores.mean(axis=1),
    }
    for rule, values in curves.items():
        np.testing.assert_allclose(line(upper, rule), values[:-1].mean(axis=1), rtol=1e-12)
        rows = where(numbers, rule=rule, subject="mean")
        np.testing.assert_allclose(rows["mean_r"], values.mean(axis=1), rtol=1e-12)
        in_band(upper, rule, rows[rows["step"].notna()])
    np.testing.assert_allclose(line(lower, "mean of participants"), (best - chosen)[:-1].mean(axis=1), atol=1e-15)
    gains = where(numbers, rule="gain")
    assert (gains["mean_r"] >= 0).all()
    assert (gains["mean_r"] > 0).any()


def test_models_are_thin_lines_about_their_mean(drawn, tables):
    figure, numbers = pick(drawn, 19)
    upper, lower = figure.axes[:2], figure.axes[2:]
    assert [panel.get_title() for panel in upper] == ["6 layers × 512 (n = 3)", "12 layers × 768 (n = 2)"]
    curves, means = tables["model-curves"], tables["models"]
    for panels, quantity, place in ((upper, "alignment", "mean"), (lower, "perplexity", "")):
        for panel, group, names in zip(panels, means["group"].unique(), ("abc", "de"), strict=True):
            for name in names:
                rows = where(curves, model=name, quantity=quantity, relative_depth=place)
                np.testing.assert_array_equal(line(panel, name), rows["value"])
            rows = where(means, group=group, quantity=quantity, relative_depth=place)
            np.testing.assert_array_equal(line(panel, "mean over models"), rows["mean"])
            (band,) = [each for each in panel.collections if each.get_gid() == "mean over models"]
            heights = band.get_paths()[0].vertices[:, 1]
            assert {*rows["ci_low"], *rows["ci_high"]} == set(heights)
    assert legend_texts(figure) == [*"abcde", "mean over models", "interval over models,\nsubjects and text"]
    # Nothing is drawn of the best layer.
    assert len(numbers) == 2 * 5 * 6 + 2 * 2 * 6
    assert set(numbers["n_models"]) == {1, 2, 3}


def test_many_models_are_not_named_and_one_has_no_mean(tables):
    curves, means = (tables[name] for name in ("model-curves", "models"))
    copies = [curves.assign(model=curves["model"] + str(k)) for k in range(3)]
    many = {"models": means, "model-curves": pd.concat(copies, ignore_index=True)}
    with style.context():
        figure, _ = draw.FIGURES["figure-19-models"].draw(data.FigureData(many, Figures(), PROPERTIES))
        assert "a model" in legend_texts(figure)
        assert "a0" not in legend_texts(figure)
        alone = means.assign(n_models=1, ci_low=np.nan, ci_high=np.nan)
        one = {"models": alone, "model-curves": curves}
        figure, _ = draw.FIGURES["figure-19-models"].draw(data.FigureData(one, Figures(), PROPERTIES))
        assert legend_texts(figure) == list("abcde")


def test_competence_stands_beside_alignment(drawn, tables):
    figure, numbers = pick(drawn, 20)
    top, lower = figure.axes
    means = cube(tables["alignment"], "mean_r", removal="none").mean(axis=(1, 2))
    np.testing.assert_allclose(line(top, "mean of participants"), means[:-1], rtol=1e-12)
    # Of ten tasks, the eight that range furthest, and what the table says of each.
    tasks = [f"task {k}" for k in range(2, 10)]
    assert [text.partition("\n")[0] for text in legend_texts(figure) if text.startswith("task")] == tasks
    assert set(numbers["task"].dropna()) == set(tasks)
    for task in tasks:
        (row,) = where(tables["competence-alignment"], task=task, subject="mean", layer="mean").itertuples()
        label = f"{task}\n{training_curves.rho_in_words(row._asdict())}"
        np.testing.assert_array_equal(line(lower, label), where(tables["competence"], task=task)["score"])
        assert set(where(numbers, task=task)["rho"]) == {row.rho}


def test_a_figure_has_at_most_one_line_of_notes_that_fits(drawn):
    for name, (figure, _) in drawn.items():
        note = figure._supxlabel
        assert "\n" not in note.get_text(), name
        assert not note.get_text().endswith("…"), name
        assert note.get_window_extent().x1 < figure.bbox.x1, name


def test_names_of_rows_keep_off_the_numbers_of_their_axes(tables):
    """At 8 points at the least: the names are horizontal, and the numbers follow them on the same line."""
    with style.context():
        figure, _ = removal.probing(figure_data(tables, "probing"))
        style.settle(figure)
        figure.draw_without_rendering()
        for panel in figure.axes[:: len(LAYERS)]:
            numbers = [text.get_window_extent().x0 for text in panel.get_yticklabels() if text.get_text()]
            assert min(numbers) - panel.yaxis.label.get_window_extent().x1 > 8 / 72 * figure.dpi


def test_every_axis_has_a_label_that_names_its_unit(drawn):
    for name, (figure, _) in drawn.items():
        panels = [axes for axes in figure.axes if axes.axison]
        across = " ".join(axes.get_xlabel() for axes in panels)
        along = " ".join([*(axes.get_ylabel() for axes in panels), figure.get_supylabel()])
        assert along.strip(), name
        if number_of(name) not in (6, 7):  # their x axes name representations
            assert across.strip(), name
        unit = {1: "perplexity", 5: "layer", 6: "layer", 12: "accuracy", 14: "layer"}.get(number_of(name))
        unit = unit or ("s" if number_of(name) in (2, 3, 9, 10) else "mean")
        assert unit in along, name


def test_of_many_layers_some_get_a_panel_the_first_and_the_last_among_them(tables):
    one = where(tables["probing"], property="tense", removal="ridge", layer=0)
    many = pd.concat([one.assign(layer=layer) for layer in range(25)], ignore_index=True)
    assert summaries.layers_of(summaries.probing_cells(many)) == [0, 4, 8, 12, 16, 20, 24]
    without = one[one["checkpoint"] != "random"]
    with style.context():
        figure, numbers = removal.probing(figure_data({"probing": without}, "probing", step_axis="log"))
    assert len(figure.axes) == 1
    assert numbers["checkpoint"].tolist() == [f"step-{step}" for step in STEPS]


@pytest.mark.parametrize(("shared", "expected"), [(1.0, 0.95), (0.8, 0.963), (0.0, 0.997)])
def test_interval_of_a_mean_covers_errors_that_subjects_share(shared, expected):
    rng = np.random.default_rng(1)
    sigma = np.array([0.5, 1.0, 2.0])
    inside = 0
    for _ in range(4000):
        common = rng.standard_normal()
        values = sigma * (np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.standard_normal(3))
        _, low, high = summaries.mean_interval(values, values - 1.96 * sigma, values + 1.96 * sigma)
        inside += low <= 0 <= high
    # Exact for errors that all share, conservative for the rest.
    assert inside / 4000 == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("number", "level", "kind", "shape"),
    [(2, "sentence", "used", 6), (3, "word", "used", 2), (9, "sentence", "original", 6), (10, "word", "original", 2)],
)
def test_distributions_show_every_count_in_the_papers_arrangement(drawn, tables, number, level, kind, shape):
    figure, numbers = pick(drawn, number)
    order = [name for name in PROPERTIES if (name in ("pos", "smallest_constituent")) == (level == "word")][:shape]
    assert len(figure.axes) == shape
    counts = where(tables["class-counts"], distribution=kind, level=level)
    for axes, name in zip(figure.axes, order, strict=True):
        expected = counts[counts["property"] == name]["count"].tolist()
        assert [bar.get_height() for bar in axes.patches] == expected
        assert axes.get_xlabel().startswith(style.label(name))
        assert axes.get_ylabel().startswith(f"{level}s")
        assert axes.patches[0].get_facecolor()[:3] == pytest.approx(rgb(style.MARKS[name].colour))
    assert "random_label" not in set(numbers["property"])
    assert any(f"n = {417 if level == 'sentence' else '5,176'} {level}s" in text for text in all_texts(figure))
    scales = [axes.get_yscale() for axes in figure.axes]
    assert scales == ["log" if number == 9 and name == "top_constituents" else "linear" for name in order]


def test_rare_classes_are_named_where_classes_are_shown(tables):
    counts = tables["class-counts"]
    assert not any(
        "under 5" in text for text in all_texts(distributions.sentence_classes(figure_data(tables, "class-counts"))[0])
    )
    rare = (counts["property"] == "tense") & (counts["distribution"] == "used")
    table = counts.assign(count=counts["count"].mask(rare & (counts["value"] == "Past"), 9))  # 9 of 187: 4.8 %
    table["count"] = table["count"].mask((counts["property"] == "tree_depth") & (counts["value"] == "4-9"), 15)  # 5.1 %
    figure, _ = distributions.sentence_classes(figure_data({"class-counts": table}, "class-counts"))
    assert any("Classes under 5%: tense Past (9)." in text.replace("\n", " ") for text in all_texts(figure))
