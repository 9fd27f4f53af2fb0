"""The figures and tables of the paper, drawn from a made-up study, against independent computations."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dynalign.config.figures import Figures
from dynalign.config.properties import paper_properties
from dynalign.config.study import load
from dynalign.figures import data, distributions, draw, paper_tables, style, training_curves
from dynalign.figures import probing as figures_probing
from dynalign.io.errors import InputError
from dynalign.statistics import emergence, summaries
from dynalign.tables import reader, writer

ROOT = Path(__file__).parents[2]
STEPS = (0, 1000, 15000, 43000, 100000, 143000)
LAYERS = (0, 2, 4, 6)
SUBJECTS = ("F", "M", "H")
PROPERTIES = tuple(paper_properties())
METHODS = ("ridge", "leace")


def class_counts():
    used = {
        "sentence_length": {"1-7": 156, "8-16": 147, "17-80": 114},
        "tree_depth": {"0-3": 278, "4-9": 139},
        "top_constituents": {"NP VP": 89, "other": 328},
        "tense": {"Past": 239, "other": 178},
        "subject_number": {"Sing": 255, "other": 162},
        "object_number": {"UNDEF": 220, "other": 197},
        "pos": {"VERB": 786, "NOUN": 749, "PRON": 592, "ADP": 504, "other": 2545},
        "smallest_constituent": {"NP": 2568, "other": 2608},
        "random_label": {"0": 2600, "1": 2576},
    }
    lengths = (
        [27, 30, 24, 27, 26, 22, 20, 19, 18, 18, 17, 17, 15, 15, 14, 13, 11, 9, 8, 8, 8, 7]
        + [4] * 4
        + [3] * 2
        + [2] * 5
        + [1] * 12
    )
    original = {
        "sentence_length": {str(k + 1): n for k, n in enumerate(lengths)},
        "tree_depth": dict(zip(map(str, range(10)), (8, 93, 95, 82, 67, 31, 22, 11, 7, 1), strict=True)),
        "top_constituents": {
            f"NP VP {k}": n
            for k, n in enumerate([89, 54, 16, 14, 8, 8, 8, 7, 6, 6, 5, 4] + [3] * 12 + [2] * 16 + [1] * 124)
        },
        "tense": {"Past": 239, "UNDEF": 94, "Pres": 84},
        "subject_number": {"Sing": 255, "UNDEF": 118, "Plur": 44},
        "object_number": {"UNDEF": 220, "Sing": 172, "Plur": 25},
        "pos": {"VERB": 786, "NOUN": 749, "PRON": 592, "ADP": 504, "PUNCT": 487, "DET": 381, "ADV": 343}
        | {"PROPN": 259, "ADJ": 221, "AUX": 212, "CCONJ": 201, "PART": 167, "SCONJ": 88, "NUM": 79}
        | {"INTJ": 73, "X": 28, "SYM": 6},
        "smallest_constituent": {"NP": 2568, "VP": 1309, "PP": 477, "ADVP": 281, "ADJP": 218, "PRT": 92}
        | {"WHNP": 64, "INTJ": 50, "QP": 43, "NX": 29, "WHADVP": 15, "X": 14, "FRAG": 8, "UCP": 8},
        "random_label": {"0": 2600, "1": 2576},
    }
    word = ("pos", "smallest_constituent", "random_label")
    return pd.DataFrame(
        {"property": p, "level": "word" if p in word else "sentence", "distribution": d, "value": v, "count": n}
        for d, by_property in (("used", used), ("original", original))
        for p, counts in by_property.items()
        for v, n in counts.items()
    )


def study(seed=0):
    """Tables as the steps write them: 6 checkpoints and `random`, 4 layers, 3 subjects, 2 methods."""
    rng = np.random.default_rng(seed)
    checkpoints = [*((f"step-{step}", step) for step in STEPS), ("random", np.nan)]
    voxels = {"F": 27905, "M": 28752, "H": 24983}
    shift = {"tense": -0.0025, "smallest_constituent": 0.0012, "tree_depth": -0.001}
    alignment, effects, probing = [], [], []
    for checkpoint, step in checkpoints:
        level = 0.002 if np.isnan(step) else 0.004 + 0.0012 * np.log10(1 + step)
        for layer in LAYERS:
            profile = 0 if np.isnan(step) else 0.004 * np.sin(layer + np.log1p(step))
            for subject in SUBJECTS:
                base = level + profile + 0.0015 * rng.standard_normal()
                common = {"checkpoint": checkpoint, "step": step, "layer": layer}
                score = {"subject": subject, "n_voxels": voxels[subject], "n_invalid": 0}
                half = 0.002 + 0.001 * rng.random()
                ci = {"ci_low": base - half, "ci_high": base + 1.1 * half}
                inner = base + 0.002 * rng.standard_normal()
                arm = {"removal": "none", "property": "original", "mean_r": base, **ci, "inner_score": inner}
                alignment.append(common | arm | score)
                for method in METHODS:
                    for name in PROPERTIES:
                        change = shift.get(name, 0) * (0.3 if np.isnan(step) else 1) + 0.0007 * rng.standard_normal()
                        change = change / 10 if name == "random_label" else change
                        arm = {"removal": method, "property": name, "mean_r": base + change}
                        arm |= {"ci_low": base + change - half, "ci_high": base + change + 1.1 * half}
                        alignment.append(common | arm | {"inner_score": inner + change} | score)
                        p = float(np.exp(-abs(change) / 0.0006))
                        effects.append(
                            common
                            | {"removal": method, "property": name, "subject": subject, "mean_difference": change}
                            | {"ci_low": change - 0.0012, "ci_high": change + 0.0014, "t_paper": change / 1e-4}
                            | {"p_paper": p**4, "significant_paper": int(p**4 < 0.05), "p": p, "p_fdr": min(1, 1.5 * p)}
                            | {"significant": int(1.5 * p < 0.3), "n_voxels": voxels[subject]}
                        )
            for method in METHODS:
                for name in PROPERTIES:
                    chance = 0.5 if name == "random_label" else 0.6
                    before, after = chance + 0.15 * rng.random() - 0.02, chance + 0.1 * rng.random() - 0.06
                    low, high = chance - 0.02, chance + 0.02
                    crossfit = chance + 0.03 * rng.standard_normal()
                    probing.append(
                        common
                        | {"removal": method, "property": name, "accuracy_before": before, "accuracy_after": after}
                        | {"accuracy_after_crossfit": crossfit, "balanced_before": before, "balanced_after": after}
                        | {"balanced_after_crossfit": crossfit, "chance": chance, "null_low": low, "null_high": high}
                        | {"selectivity": 0.1, "removed_paper": int(before > chance > after)}
                        | {"removed": int(low <= crossfit <= high), "n_words": 5143, "n_classes": 2}
                        | {"crossfit_position": ["below", "inside", "above"][(crossfit >= low) + (crossfit > high)]}
                        | {"n_masked": 0, "not_converged": 0}
                    )
    perplexity = pd.DataFrame(
        {
            "checkpoint": [f"step-{step}" for step in STEPS],
            "step": STEPS,
            "perplexity": (54321.5, 113.2, 43.77, 39.37, 36.61, 37.75),
            "bits_per_word": (14.1, 9.9, 8.2, 8.7, 8.0, 8.1),
            "n_tokens": 7151,
        }
    )
    pairs = [(a, b) for a in PROPERTIES for b in PROPERTIES]
    r = {frozenset(pair): 1.0 if pair[0] == pair[1] else rng.uniform(-0.3, 0.3) for pair in pairs}
    p = {key: 0.0 if len(key) == 1 else rng.uniform(0, 0.1) for key in r}
    correlations = pd.DataFrame(
        {"property_a": a, "property_b": b, "r": r[frozenset((a, b))], "p": p[frozenset((a, b))]} for a, b in pairs
    )
    tables = {
        "class-counts": class_counts(),
        "perplexity": perplexity,
        "alignment": pd.DataFrame(alignment),
        "removal-effects": pd.DataFrame(effects),
        "probing": pd.DataFrame(probing),
        "label-correlations": correlations,
    }
    three = [tables[name] for name in ("alignment", "probing", "perplexity")]
    tables["emergence"] = emergence.emergence_table(*three, [f"word {k}" for k in range(400)])
    tables["perplexity-alignment"] = emergence.correlation_table(three[0], perplexity, 0.05, 0)
    return tables


@pytest.fixture(scope="module")
def tables():
    return study()


@pytest.fixture(scope="module")
def files_of(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in tables.items():
        writer.write_table(table, folder / f"{name}.tsv")
    return {name: folder / f"{name}.tsv" for name in tables}


@pytest.fixture(scope="module")
def published():
    return draw.read_reference(ROOT / "resources/paper_values.json")


@pytest.fixture(scope="module")
def drawn(tables, published, tmp_path_factory):
    """Every figure, drawn and rendered once: name → (figure, numbers)."""
    folder, made = tmp_path_factory.mktemp("figures"), {}
    with style.context():
        for name, drawing in draw.FIGURES.items():
            figure_data = data.FigureData(
                {kind: tables[kind] for kind in drawing.tables}, Figures(reference=True), PROPERTIES, "ridge", published
            )
            made[name] = drawing.draw(figure_data)
            style.save(made[name][0], folder / f"{name}.png")
    return made


def where(table, **fixed):
    """The rows with these values."""
    for key, value in fixed.items():
        table = table[table[key] == value]
    return table


def pick(drawn, number):
    return drawn[draw.figure_name(str(number))]


def line(axes, label):
    """The y data of the one line so labelled."""
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return np.asarray(found.get_ydata(), dtype=float)


def dots(axes, gid):
    """Points (n, 2) of the scatter so named."""
    (found,) = [each for each in axes.collections if each.get_gid() == gid]
    return np.asarray(found.get_offsets(), dtype=float)


def in_band(axes, gid, rows):
    """The bounds in `rows` are corners of the band so named, at the places 0, 1, 2, …"""
    (found,) = [each for each in axes.collections if each.get_gid() == gid]
    corners = found.get_paths()[0].vertices
    for place, row in enumerate(rows.itertuples()):
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [row.ci_low, row.ci_high], rtol=1e-9)


def cube(table, column, **fixed):
    """Values as an array checkpoint × layer × subject, by explicit look-up: the tests' own aggregation."""
    table = where(table, **fixed)
    cells = {
        (c, la, s): v for c, la, s, v in zip(table.checkpoint, table.layer, table.subject, table[column], strict=True)
    }
    names = [*(f"step-{step}" for step in STEPS), "random"]
    return np.array([[[cells[c, la, s] for s in SUBJECTS] for la in LAYERS] for c in names])


def legend_texts(figure):
    boxes = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for box in boxes for text in box.get_texts()]


def all_texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


# What the figures say


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
    np.testing.assert_array_equal(line(whole, data.PUBLISHED), [113, 43.77, 39.37, 36.61, 37.75])


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
        (points,) = [c for c in axes.collections if c.get_label() == f"participant {subject}"]
        np.testing.assert_allclose(points.get_offsets()[:, 1], best[:-1, k])
    assert {"n = 3" in text for text in all_texts(figure)} == {True, False}
    assert data.PUBLISHED in legend_texts(figure)
    # Each subject has the interval of the layer chosen; the mean that of independent subjects.
    original = tables["alignment"][tables["alignment"]["removal"] == "none"]
    for row in numbers[numbers["subject"] != "mean"].itertuples():
        cell = where(original, checkpoint=row.checkpoint, subject=row.subject, layer=row.layer)
        assert (row.ci_low, row.ci_high) == (cell["ci_low"].item(), cell["ci_high"].item())
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
        hollow = [c for c in axes.collections if c.get_gid() == "inner score"][k]
        np.testing.assert_array_equal(hollow.get_offsets()[:, 1], rows["layer_by_inner_score"])
        assert hollow.get_facecolor().size == 0
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
    legend = " ".join(legend_texts(figure))
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
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == list(map(style.label, names))


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
    assert legend_texts(figure) == [f"random baseline: {level:.4f}", *map(style.label, names)]


def test_probes_before_and_after_against_the_null_interval(drawn, tables):
    figure, numbers = pick(drawn, 12)
    panels = np.array(figure.axes).reshape(len(PROPERTIES), len(LAYERS))
    probing = tables["probing"]
    for row, name in zip(panels, PROPERTIES, strict=True):
        assert row[0].get_ylabel() == style.label(name)
        for panel, layer in zip(row, LAYERS, strict=True):
            curves = {("ridge", "before"): "accuracy_before"}
            for method in METHODS:
                curves[method, f"{method}: after"] = "accuracy_after"
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
            bars = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in panel.patches]
            np.testing.assert_allclose(bars, cell.loc[order, ["null_low", "null_high"]])
    assert [panel.get_title() for panel in panels[0]] == [f"layer {layer}" for layer in LAYERS]
    assert [text.get_text() for text in panels[-1, 0].get_xticklabels()][:3] == ["random", "0", "1,000"]
    assert len(numbers) == len(probing)
    assert {"before", "ridge: after", "leace: crossfit", "null interval"} <= set(legend_texts(figure))
    marks = [style.method_mark(method, 0) for method in METHODS]
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == 2


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
    assert where(numbers, quantity="alignment", checkpoint="step-0", subject="mean")["clears"].item() == 0
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
    assert len(named) == len(shown) == 2 + 1 + 9
    row = where(shown, quantity="alignment", reference="step-0").iloc[0]
    marks = [c.get_offsets()[0] for c in strip.collections if len(c.get_offsets()) == 1]
    place = named["alignment > untrained (step 0)"]
    assert [STEPS.index(row.lasting_step), place] in [list(map(float, mark)) for mark in marks]
    labels = [axes.get_ylabel() for axes in (top, middle, lower)]
    assert [re.search(r"\((.*)\)", text).group(1) for text in labels] == [
        "mean Pearson r",
        "bits per word",
        "percentage points",
    ]


def test_heat_maps_hold_every_cell_and_both_best_layers(drawn, tables):
    figure, numbers = pick(drawn, 14)
    scores = cube(tables["alignment"], "mean_r", removal="none")
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    scales = set()
    for k, subject in enumerate([*SUBJECTS, "mean"]):
        expected = scores.mean(axis=2) if subject == "mean" else scores[:, :, k]
        panel = panels["mean of participants" if subject == "mean" else f"participant {subject}"]
        meshes = {mesh.get_gid(): mesh for mesh in panel.collections if mesh.get_array() is not None}
        np.testing.assert_allclose(meshes[subject].get_array(), expected[:-1].T, rtol=1e-12)
        np.testing.assert_allclose(meshes[f"{subject} random"].get_array(), expected[-1:].T, rtol=1e-12)
        scales.add((meshes[subject].norm.vmin, meshes[subject].norm.vmax))
        if subject != "mean":
            best = dots(panel, "best")
            heights = dict(zip(best[:, 0], best[:, 1], strict=True))
            assert [heights[place] for place in range(len(STEPS))] == list(expected[:-1].argmax(axis=1))
            inner = cube(tables["alignment"], "inner_score", removal="none")[:, :, k].argmax(axis=1)
            rings = dots(panel, "best_by_inner_score")
            assert sorted(rings[rings[:, 0] >= 0].tolist()) == [[i, inner[i]] for i in range(len(STEPS))]
    assert len(scales) == 1
    assert len(numbers) == 4 * scores[:, :, 0].size
    assert style.shades(-0.02, 0.1)[0].vmin == -0.1
    assert style.shades(-0.002, 0.1)[0].vmin == -0.002


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


def number_of(name):
    return int(name.split("-")[1])


def test_of_many_layers_some_get_a_panel_the_first_and_the_last_among_them(tables):
    one = where(tables["probing"], property="tense", removal="ridge", layer=0)
    many = pd.concat([one.assign(layer=layer) for layer in range(25)], ignore_index=True)
    assert summaries.layers_of(summaries.probing_cells(many)) == [0, 4, 8, 12, 16, 20, 24]
    without = one[one["checkpoint"] != "random"]
    with style.context():
        figure, numbers = figures_probing.probing(figure_data({"probing": without}, "probing", step_axis="log"))
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


def rgb(colour):
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


# How they are drawn


def test_a_property_looks_the_same_in_every_figure_and_no_two_look_alike(drawn):
    study_properties = (*PROPERTIES, "animacy", "emotion")
    marks = style.marks(study_properties)
    assert {name: marks[name] for name in style.MARKS} == style.MARKS
    assert len({mark.colour for mark in marks.values()}) == len(marks) == 12
    assert style.marks(reversed(PROPERTIES)) == style.MARKS
    assert len(set(style.marks([f"own {k}" for k in range(36)]).values())) == len(style.MARKS) + 36
    for number, axes in ((8, 0), (7, 3)):
        artists = pick(drawn, number)[0].axes[axes]
        if number == 8:
            (tense,) = [each for each in artists.get_lines() if each.get_label() == "tense"]
            assert rgb(tense.get_color()) == rgb(style.MARKS["tense"].colour)
        else:
            bar = min(artists.patches, key=lambda bar: abs(bar.get_x() + bar.get_width() / 2 - 3))
            assert bar.get_facecolor()[:3] == pytest.approx(rgb(style.MARKS["tense"].colour))


def test_colours_differ_in_lightness_or_hue_for_red_blind_and_green_blind_eyes():
    # Viénot, Brettel & Mollon 1999: linear RGB projected as a protanope or deuteranope sees it.
    views = {
        "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
        "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    }
    shown = ["original", *Figures().properties]
    linear = np.array([rgb(style.MARKS[name].colour) for name in shown]) ** 2.2
    for view in views.values():
        seen = np.clip(linear @ view.T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(len(shown), 1)]
        assert apart.min() > 0.12


@pytest.mark.parametrize("kind", ["categorical", "log"])
@pytest.mark.parametrize("steps", [(0, 8, 512), STEPS, (0, 1, 2, 4, 8, 16, 32, 64, 128, 512), (1000, 142000, 143000)])
def test_step_labels_never_overlap_and_rise(kind, steps):
    with style.context():
        figure, axes = style.subplots(8, 4)
        axis = style.StepAxis(steps, kind, 7)
        axis.dress(axes[0, 0])
        figure.canvas.draw()
        labels = [label for label in axes[0, 0].get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
    assert np.all(np.diff(axis(steps)) > 0)
    assert labels[-1].get_text() == f"{steps[-1]:,}"
    if labels[0].get_rotation() == 0:
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    else:
        # Turned by 45 degrees, lines of 10 points are apart when their ends are 10 · √2 points apart.
        ends = [box.x1 / figure.dpi for box in boxes]
        assert min(np.diff(ends)) > 10 / 72 * 2**0.5 * 0.95
    breaks = [text for text in axes[0, 0].texts if text.get_gid() == "axis-break"]
    assert len(breaks) == (kind == "log" and steps[0] == 0)


@pytest.mark.parametrize("kind", ["categorical", "log"])
@pytest.mark.parametrize("steps", [(0, 8, 512), tuple([0, *(2**k for k in range(10)), *range(1000, 144000, 7000)])])
def test_small_panels_with_baselines_have_labels_that_do_not_touch(kind, steps):
    names = ("random", "random_types", "controls")
    with style.context():
        figure, axes = style.subplots(3.1, 2)
        axis = style.StepAxis(steps, kind, 2.2, names)
        axis.dress(axes[0, 0])
        figure.canvas.draw()
        labels = [label for label in axes[0, 0].get_xticklabels() if label.get_text()]
        ends = [label.get_window_extent().x1 / figure.dpi for label in labels]
    assert [label.get_text() for label in labels][:3] == list(names)
    assert labels[0].get_rotation() == 45
    assert min(np.diff(ends)) > 8 / 72 * 2**0.5 * 0.9
    rows = pd.DataFrame({"checkpoint": ["controls", "step-0"], "step": [np.nan, 0]})
    left, widths = axis.cells(rows)
    assert left[0] < axis.of(rows)[0] < left[0] + widths[0] < left[1] < axis.of(rows)[1] < left[1] + widths[1]
    # Neighbouring cells meet half way between their steps.
    np.testing.assert_allclose(axis.edges[1:-1], (axis.places[1:] + axis.places[:-1]) / 2)
    assert (np.diff(axis.edges) > 0).all()


def test_log_axis_is_log10_and_keeps_step_0_apart():
    axis = style.StepAxis((0, 10, 100, 10000), "log", 7)
    np.testing.assert_allclose(axis((10, 100, 10000)), [1, 2, 4])
    assert axis([0])[0] < 0.7
    assert style.StepAxis((0,), "log", 7)([0]).tolist() == [0]
    dodges = [axis.dodge(k, 3) for k in range(3)]
    assert dodges == sorted(dodges)
    assert dodges[2] - dodges[0] < axis.spacing / 2


# What is shown when not everything is there


def figure_data(tables, *kinds, removal=None, properties=PROPERTIES, **settings):
    return data.FigureData({kind: tables[kind] for kind in kinds}, Figures(**settings), properties, removal)


def test_steps_properties_and_method_fall_back_to_what_there_is(tables):
    assert summaries.shown_steps((43000, 1000, 7), STEPS) == [43000, 1000]
    assert summaries.shown_steps((7,), STEPS) == [1000, 43000, 143000]
    assert summaries.shown_steps((7,), (0,)) == [0]
    with pytest.raises(InputError, match="no checkpoint has a step"):
        summaries.shown_steps((7,), ())
    assert summaries.shown_properties(("tense", "nothing"), PROPERTIES) == ["tense"]
    assert summaries.shown_properties(("nothing",), PROPERTIES) == list(PROPERTIES[:4])
    rows, _, _, method = data.residuals(figure_data(tables, "alignment", removal="leace"), "alignment")
    assert set(rows["removal"]) == {method} == {"leace"}
    assert data.residuals(figure_data(tables, "alignment"), "alignment")[3] == "ridge"
    with pytest.raises(InputError, match="--removal inlp: the table has ridge, leace"):
        data.residuals(figure_data(tables, "alignment", removal="inlp"), "alignment")


def test_only_baselines_cannot_be_drawn_over_training(tables):
    baseline = {name: table[table["checkpoint"] == "random"] for name, table in tables.items() if "step" in table}
    for number, kind in (
        (4, "alignment"),
        (5, "alignment"),
        (6, "removal-effects"),
        (8, "alignment"),
        (11, "alignment"),
        (12, "probing"),
        (13, "alignment"),
        (14, "alignment"),
        (15, "alignment"),
        (16, "alignment"),
    ):
        drawing = draw.FIGURES[draw.figure_name(str(number))]
        shown = baseline | {name: tables[name] for name in ("emergence", "perplexity-alignment")}
        kinds = {kind, *drawing.tables} if number >= 13 else {kind}
        with pytest.raises(InputError, match="no checkpoint has a step"):
            drawing.draw(figure_data(shown, *kinds))
    with pytest.raises(InputError, match="no checkpoint has a step"):
        paper_tables.probing_table(baseline["probing"])


def test_unscored_cells_are_left_out_and_ties_go_to_the_lower_layer(tables):
    alignment = where(tables["alignment"], removal="none").copy()
    step, layer = alignment["step"], alignment["layer"]
    alignment.loc[(step == 0) & (alignment["subject"] == "M"), "mean_r"] = np.nan
    alignment.loc[(step == 1000) & (layer == 4) & (alignment["subject"] == "F"), "mean_r"] = 0.5
    alignment.loc[(step == 1000) & (layer == 2) & (alignment["subject"] == "F"), "mean_r"] = 0.5
    alignment.loc[(step == 1000) & (alignment["subject"] == "H"), "inner_score"] = np.nan
    best = summaries.best_layers(alignment.iloc[::-1]).set_index(["step", "subject"])
    assert (0, "M") not in best.index
    assert best.loc[(1000, "F"), "layer"] == 2
    assert np.isnan(best.loc[(1000, "H"), "layer_by_inner_score"])
    with style.context():
        _, numbers = training_curves.best_layer_alignment(
            data.FigureData({"alignment": alignment}, Figures(), PROPERTIES)
        )
    here = numbers[(numbers["step"] == 0) & (numbers["subject"] == "mean")]["mean_r"].item()
    assert here == pytest.approx(best.loc[0]["mean_r"].mean())


def test_distributions_take_added_properties_and_do_without_a_level(tables):
    counts = tables["class-counts"]
    words = counts[counts["level"] == "word"]
    added = pd.DataFrame({"property": "animacy", "level": "word", "distribution": "used", "value": ["yes", "no"]})
    both = pd.concat([added.assign(count=[3000, 2176]), words], ignore_index=True)
    figure, numbers = distributions.word_classes(figure_data({"class-counts": both}, "class-counts"))
    assert list(dict.fromkeys(numbers["property"])) != ["animacy"]
    panels = [axes.get_xlabel() for axes in figure.axes if axes.axison]
    assert panels == ["part of speech", "smallest constituent", "animacy"]
    figure, numbers = distributions.sentence_classes(figure_data({"class-counts": words}, "class-counts"))
    assert numbers.empty
    assert "This study has no sentence-level property." in all_texts(figure)


# Files


def command(files_of, number, *outputs, extra=()):
    name = draw.figure_name(str(number))
    flags = [word for kind in draw.FIGURES[name].tables for word in (f"--{kind}", str(files_of[kind]))]
    return [name, *flags, *extra, "--output", *map(str, outputs)]


def test_the_same_bytes_in_another_process_with_another_matplotlibrc(files_of, tmp_path):
    first, second = ([tmp_path / run / f"x.{kind}" for kind in ("png", "pdf", "svg", "tsv")] for run in "ab")
    draw.main(command(files_of, 8, *first))
    (tmp_path / "matplotlibrc").write_text("font.size: 21\nlines.linewidth: 9\n")
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    environment["PYTHONPATH"] = str(ROOT / "workflow")
    arguments = command(files_of, 8, *second)
    subprocess.run([sys.executable, "-m", "dynalign.figures.draw", *arguments], check=True, env=environment)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix
    png, pdf = (path.read_bytes() for path in first[:2])
    assert b"CreationDate" not in pdf
    assert b"Matplotlib" not in png + pdf
    assert b"pHYs" + round(150 / 0.0254).to_bytes(4, "big") in png
    assert b"DejaVuSans" in pdf


def test_numbers_beside_a_figure_are_those_drawn(files_of, tmp_path, tables):
    draw.main(command(files_of, 11, tmp_path / "x.tsv", extra=("--options", '{"step_axis": "log"}')))
    written = where(reader.read_table(tmp_path / "x.tsv"), subject="mean")
    means = cube(tables["alignment"], "mean_r", removal="none").mean(axis=(1, 2))
    np.testing.assert_allclose(written["mean_r"], means, rtol=1e-7)
    assert written["checkpoint"].tolist() == [*(f"step-{step}" for step in STEPS), "random"]
    assert "published" not in written


def test_bad_input_gets_one_clear_error(files_of, tmp_path, tables):
    def fails(match, *arguments):
        with pytest.raises(InputError, match=match):
            draw.main([*arguments])

    out = ("--output", str(tmp_path / "x.png"))
    fails("no figure '17'; choose a number from 1 to 16 or one of figure-01", "17", *out)
    fails("figure-07-removal-bars needs --removal-effects", *command(files_of, 4, "x.png")[1:3], "7", *out)
    fails(r"x.gif: figures are written as .png, .pdf, .svg", *command(files_of, 3, tmp_path / "x.gif"))
    on = ("--options", '{"reference": true}')
    fails("--reference JSON must name", *command(files_of, 4, tmp_path / "x.png", extra=on))
    fails(
        "absent.json: cannot be read",
        *command(files_of, 4, tmp_path / "x.png", extra=(*on, "--reference", str(tmp_path / "absent.json"))),
    )
    table = tables["alignment"]
    broken = {
        "has no rows": table.iloc[:0],
        "lacks column 'inner_score'": table.drop(columns="inner_score"),
        "column 'mean_r' must hold numbers, it begins with 'high'": table.assign(mean_r="high"),
        "two rows for checkpoint step-0, layer 0, removal none": pd.concat([table, table.iloc[:1]]),
    }
    for message, bad in broken.items():
        writer.write_table(bad, tmp_path / "bad.tsv")
        fails(f"bad.tsv: .*{message}", "5", "--alignment", str(tmp_path / "bad.tsv"), *out)
    assert not (tmp_path / "x.png").exists()


# The paper's tables


@pytest.fixture(scope="module")
def tidy(files_of, tmp_path_factory):
    """Both tables through the command: name → (tidy table, HTML)."""
    folder, made = tmp_path_factory.mktemp("paper_tables"), {}
    for name, source in (("table-1-probing", "probing"), ("table-2-correlations", "label-correlations")):
        flag = f"--{paper_tables.PAPER_TABLES[name].source}"
        outputs = [str(folder / f"{name}.{suffix}") for suffix in ("tsv", "html")]
        paper_tables.main([name, flag, str(files_of[source]), "--output", *outputs])
        made[name] = reader.read_table(outputs[0]), Path(outputs[1]).read_text(encoding="utf-8")
    return made


def cells(html, table):
    """(Group, row heading) → texts of the cells, tags kept, of the `table`-th table of the page."""
    body = re.findall(r"<table>.*?</table>", html, re.DOTALL)[table]
    found = {}
    for group in re.findall(r"<tbody>.*?</tbody>", body, re.DOTALL):
        heading = re.search(r'scope="rowgroup">(.*?)</th>', group).group(1)
        for row in re.findall(r"<tr>.*?</tr>", group, re.DOTALL):
            name = re.search(r'scope="row">(.*?)</th>', row).group(1)
            found[heading, name] = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
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
            assert text.startswith("<b>") == (row["null_low"] <= row["accuracy_after_crossfit"] <= row["null_high"])
            assert f"[{row['null_low']:.2f}, {row['null_high']:.2f}]" in text
            assert ("▾ below" in text) == (row["accuracy_after_crossfit"] < row["null_low"])
            assert ("▴ above" in text) == (row["accuracy_after_crossfit"] > row["null_high"])
    assert html.count("<b>") > 20
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
    with pytest.raises(InputError, match="table-1-probing needs --probing"):
        paper_tables.main(["table-1-probing", "--output", "x.tsv"])
    arguments = ["table-2-correlations", "--correlations", str(files_of["label-correlations"])]
    arguments += ["--output", str(tmp_path / "x.md")]
    with pytest.raises(InputError, match=r"x.md: tables are written as .tsv or .html"):
        paper_tables.main(arguments)


# The published values and the captions


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


@pytest.mark.parametrize("changes", [{}, {"figures": {"steps": [5], "reference": True}, "subjects": ["A"]}])
def test_captions_state_the_configuration_used(changes):
    import io

    import jinja2
    from docutils.core import publish_parts

    class Job:
        writers = None

    settings = {"model": {"source": "org/model", "steps": [0, 77, 154], "layers": [0, 3], "context_tokens": 33}}
    Job.config = load(settings | changes).model_dump(mode="json")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    texts = {}
    for name in ("workflow", *draw.FIGURES, *paper_tables.PAPER_TABLES):
        source = (ROOT / "workflow/dynalign/captions" / f"{name}.rst").read_text(encoding="utf-8")
        text = environment.from_string(source).render(snakemake=Job)
        warnings = io.StringIO()
        publish_parts(text, writer="html", settings_overrides={"warning_stream": warnings})
        assert warnings.getvalue() == "", name
        texts[name[:9]] = text
    assert "steps 0, 77, 154" in texts["figure-01"]
    assert "33 tokens" in texts["figure-01"]
    assert "layers 0, 3" in texts["figure-11"]
    assert "org/model" in texts["figure-04"]
    assert ("published by Bakalova" in texts["figure-04"]) == bool(changes)
    assert ("1 participant (A)" if changes else "3 participants (F, M, H)") in texts["figure-08"]
    assert "the first, the middle and the last trained checkpoint" in texts["figure-07"]
    assert "step\n154" in texts["table-1-p"]
