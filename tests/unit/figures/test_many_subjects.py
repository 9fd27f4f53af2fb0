"""Figures of more participants than can be told apart: thin grey lines or circles, and no legend of their names."""

import numpy as np
import pandas as pd
import pytest
from tests.figure_study import LAYERS, PROPERTIES, STEPS, legend_texts, where

from dynalign.config.figures import Figures
from dynalign.figures import brain_images, data, draw, style
from dynalign.statistics import summaries

N = 45
NAMES = [f"{k:02d}" for k in range(1, N + 1)]
#: Of the figures that show participants.
SHOWN = (4, 5, 6, 7, 11, 13, 14, 15, 16, 18, 20)


def crowd_of(table):
    """The rows of participants copied for 45, each a little different; those of all stay."""
    if "subject" not in table:
        return table
    rng = np.random.default_rng(0)
    values = [name for name in ("mean_r", "mean_difference") if name in table]
    one = table[table["subject"] == "F"]
    parts = [
        one.assign(subject=name, **{c: one[c] + 0.001 * rng.standard_normal(len(one)) for c in values})
        for name in NAMES
    ]
    return pd.concat([*parts, table[table["subject"] == "mean"]], ignore_index=True)


@pytest.fixture(scope="module")
def crowd(tables):
    return {name: crowd_of(table) for name, table in tables.items()}


@pytest.fixture(scope="module")
def many(crowd):
    made = {}
    with style.context():
        for number in SHOWN:
            name = draw.figure_name(str(number))
            drawing = draw.FIGURES[name]
            shown = {kind: crowd[kind] for kind in (*drawing.tables, *drawing.optional)}
            made[number] = drawing.draw(data.FigureData(shown, Figures(steps=STEPS[1:4]), PROPERTIES, "ridge"))
            style.settle(made[number][0])
    return made


@pytest.mark.parametrize("number", SHOWN)
def test_no_legend_leaves_the_figure_and_panels_stay_large(many, number):
    figure = many[number][0]
    boxes = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    for box in boxes:
        corners = box.get_window_extent()
        assert corners.y0 >= -1
        assert corners.y1 <= figure.bbox.height + 1
        assert corners.x1 <= figure.bbox.width + 1
    assert figure.axes[0].get_position().height > 0.1
    assert not [text for text in legend_texts(figure) if text.startswith("participant ")]
    assert max(figure.get_size_inches()) < 20


@pytest.mark.parametrize("number", [4, 7, 11, 13, 15, 16, 20])
def test_one_entry_stands_for_all_participants(many, number):
    assert [text for text in legend_texts(many[number][0]) if "each participant" in text] == [
        f"each participant (n = {N})"
    ]


def test_every_participant_is_drawn_at_its_values(many, crowd):
    panel = many[11][0].axes[0]
    thin = [line for line in panel.get_lines() if line.get_linewidth() == 0.7]
    values = summaries.trained(summaries.layer_means(crowd["alignment"]))
    assert len(thin) == N
    for line, name in zip(thin, NAMES, strict=True):
        np.testing.assert_allclose(line.get_ydata(), where(values, subject=name)["mean_r"])
    assert set(where(many[11][1], step=1000)["subject"]) == {*NAMES, "mean"}


def test_circles_count_the_participants_with_each_best_layer(many):
    figure, best = many[5]
    for axes, column in zip(figure.axes, ("layer", "layer_by_inner_score"), strict=True):
        (found,) = [each for each in axes.collections if each.get_gid() == column]
        areas = dict(zip(map(tuple, found.get_offsets()), found.get_sizes(), strict=True))
        for place, step in enumerate(STEPS):
            for layer in LAYERS:
                n = len(best[(best["step"] == step) & (best[column] == layer)])
                assert areas.get((place, layer), 0) == pytest.approx(200 * n / N)
        assert sum(areas.values()) == pytest.approx(200 * len(STEPS))


def test_the_heat_map_is_of_the_mean_and_the_numbers_of_each(many):
    figure, numbers = many[14]
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["mean of participants"]
    assert set(numbers["subject"]) == {*NAMES, "mean"}


def test_notes_count_participants(many):
    for number in (4, 6):
        assert f"{N}" in many[number][0]._supxlabel.get_text()
        assert "01, 02" not in many[number][0]._supxlabel.get_text()


def test_regions_and_the_ceiling_of_many(crowd):
    alignment = crowd["alignment"]
    regions = pd.concat([alignment.assign(roi=name) for name in ("front", "back")])
    ceilings = pd.DataFrame({"subject": NAMES, "mean_r_above": 0.3, "n_above": 9, "n_voxels": 10})
    ratios = alignment.assign(ratio=alignment["mean_r"] / 0.3, mean_ceiling=0.3)
    with style.context():
        for figure, _ in (
            brain_images.regions_over_training(regions, Figures()),
            brain_images.ceiling_over_training(ratios, alignment, ceilings, Figures()),
        ):
            assert f"each participant (n = {N})" in legend_texts(figure)
            assert not [text for text in legend_texts(figure) if text.startswith(("participant ", "interval of a"))]
    assert "0.300 to 0.300 in 45 participants" in figure._supxlabel.get_text()
