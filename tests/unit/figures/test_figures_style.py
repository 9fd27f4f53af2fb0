"""How figures look, what they show of an incomplete study, and the files they are written to."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.figure_study import PROPERTIES, STEPS, all_texts, cube, figure_data, pick, rgb, where
from tests.helpers import flags

from dynalign.config.figures import Figures
from dynalign.figures import data, distributions, draw, paper_tables, style, training_curves
from dynalign.figures.elements import StepAxis
from dynalign.io.errors import InputError
from dynalign.statistics import summaries
from dynalign.tables import reader, writer

ROOT = Path(__file__).parents[3]


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
        axis = StepAxis(steps, kind, 7)
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
        axis = StepAxis(steps, kind, 2.2, names)
        axis.dress(axes[0, 0])
        figure.canvas.draw()
        labels = [label for label in axes[0, 0].get_xticklabels() if label.get_text()]
        ends = [label.get_window_extent().x1 / figure.dpi for label in labels]
    assert [label.get_text() for label in labels][:3] == list(names)
    assert labels[0].get_rotation() == 45
    assert min(np.diff(ends)) > 8 / 72 * 2**0.5 * 0.9
    rows = pd.DataFrame({"checkpoint": ["controls", "step-0"], "step": [np.nan, 0]})
    np.testing.assert_array_equal(axis.of(rows), [axis.baseline_places[2], axis.places[0]])


def test_log_axis_is_log10_and_keeps_step_0_apart():
    axis = StepAxis((0, 10, 100, 10000), "log", 7)
    np.testing.assert_allclose(axis((10, 100, 10000)), [1, 2, 4])
    assert axis([0])[0] < 0.7
    assert StepAxis((0,), "log", 7)([0]).tolist() == [0]
    dodges = [axis.dodge(k, 3) for k in range(3)]
    assert dodges == sorted(dodges)
    assert dodges[2] - dodges[0] < axis.spacing / 2


# What is shown when not everything is there


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
    baseline = {name: table[table["checkpoint"] == "random"] for name, table in tables.items() if "checkpoint" in table}
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
        (17, "alignment"),
        (18, "alignment"),
    ):
        drawing = draw.FIGURES[draw.figure_name(str(number))]
        shown = baseline | {name: tables[name] for name in ("contrasts", "emergence", "perplexity-alignment")}
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
    drawing = draw.FIGURES[name]
    paths = [files_of[kind] for kind in (*drawing.tables, *drawing.optional)]
    return [*flags(figure=name, tables=paths, output=outputs), *extra]


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

    out = flags(output=tmp_path / "x.png")
    alignment = flags(tables=files_of["alignment"])
    n = len(draw.FIGURES)
    fails(
        f"no figure '{n + 1}'; choose a number from 1 to {n} or one of figure-01", f"--figure={n + 1}", *alignment, *out
    )
    needs = "figure-07-removal-bars needs removal_effects.tsv among its --tables"
    fails(needs, "--figure", "7", *alignment, *out)
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
        writer.write_table(bad, tmp_path / "alignment.tsv")
        fails(f"alignment.tsv: .*{message}", *flags(figure=5, tables=tmp_path / "alignment.tsv"), *out)
    assert not (tmp_path / "x.png").exists()
