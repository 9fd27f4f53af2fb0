"""Pictures of the brain, of regions and of the ceiling: the right voxel at the right place, the numbers drawn."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags
from tests.unit.test_maps import AFFINES

from dynalign.config.figures import Figures
from dynalign.figures import brain_images
from dynalign.io.errors import InputError
from dynalign.tables import schema
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

CELL = ["checkpoint", "step", "layer", "removal", "property"]


def pictures(figure):
    """What the panels show, without the colour bar."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def outlined(figure) -> dict[int, list[float]]:
    """Panels with an outline, and its right upper corner."""
    found = {}
    for number, panel in enumerate(figure.axes):
        for one in panel.collections if panel.images else ():
            found[number] = one.get_paths()[0].vertices.max(axis=0).round(1).tolist()
    return found


def index(rows) -> pd.DataFrame:
    """An index table from (image, checkpoint, step, layer, removal, property, best_layer)."""
    table = pd.DataFrame(rows, columns=["image", *CELL, "best_layer"])
    return table.assign(volume=table.groupby("image").cumcount(), quantity="r", mean=0.0, n_invalid=0)


@pytest.mark.parametrize("name", AFFINES)
def test_the_subjects_right_front_and_top_are_the_pictures(name):
    affine = AFFINES[name]
    corners = np.array([[0, 0, 0], [5, 0, 0], [0, 6, 0], [0, 0, 7], [5, 6, 7]])
    data = np.zeros((6, 7, 8))
    places = np.c_[corners, np.ones(len(corners))] @ affine[:3].T
    data[tuple(corners.T)] = np.arange(1, 6)
    turned, new = brain_images.upright(nibabel.Nifti1Image(data, affine))
    for value, place in enumerate(places, start=1):
        where = np.argwhere(turned == value)[0]
        np.testing.assert_allclose(new[:3] @ [*where, 1], place, atol=1e-4)
    for axis in range(3):
        assert new[axis, axis] == np.abs(new[:3, axis]).max() > 0


def test_the_value_furthest_from_zero_is_seen():
    volume = np.array([[[0.1, -0.4, np.nan], [0.2, 0.1, 0.0], [np.nan] * 3]])
    q = np.arange(9).reshape(volume.shape)
    value, adjusted = brain_images.extreme(volume, q)
    np.testing.assert_array_equal(value, [[-0.4, 0.2, np.nan]])
    np.testing.assert_array_equal(adjusted, [[1, 3, 6]])


def test_of_many_checkpoints_evenly_spaced_ones_are_drawn():
    names = [f"step-{k}" for k in range(100)]
    shown = brain_images.evenly_spaced(names, 12)
    assert len(set(shown)) == 12
    assert (shown[0], shown[-1]) == ("step-0", "step-99")
    assert brain_images.evenly_spaced(["b", "a"], 12) == ["b", "a"]


@pytest.fixture
def images(tmp_path):
    """Scores and effects, stored with left and right exchanged; +0.5 planted far right, front and top."""
    affine = np.diag([-2.0, 2, 3, 1])
    rng = np.random.default_rng(0)
    rows, scores = [], []
    for checkpoint, step in (("step-0", 0), ("step-64", 64), ("random", None)):
        for layer in (0, 2):
            rows.append(["score", checkpoint, step, layer, "none", "original", int(layer == 2)])
            scores.append(rng.normal(0, 0.01, (6, 7, 4)))
    scores[3][0, 6, 3] = 0.5
    effects = []
    for checkpoint, step in (("step-0", 0), ("step-64", 64), ("random", None)):
        for name in ("pos", "tense"):
            rows.append(["effects", checkpoint, step, 2, "ridge", name, 1])
            effects.append(rng.normal(0, 0.01, (6, 7, 4)))
    effects[3][0, 6, 1] = -0.4
    for name, volumes in (("score", scores), ("effects", effects)):
        data = np.stack(volumes, axis=3).astype(np.float32)
        data[5, 0] = np.nan
        nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / f"{name}.nii.gz")
        # What was planted is significant, and nothing else.
        q = np.where(np.abs(data) > 0.1, 0.01, np.where(np.isnan(data), np.nan, 0.5)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(q, affine), tmp_path / f"{name}_q.nii.gz")
    write_table(index(rows), tmp_path / "index.tsv")
    removed = [row[1:6] for row in rows if row[0] == "effects"]
    read = np.linspace(0.5, 0.1, len(removed))
    columns = [name for name in schema.TABLES["removal_effects"].columns if name not in [*CELL, "subject"]]
    table = pd.DataFrame(removed, columns=CELL).assign(subject="F", **dict.fromkeys(columns, 0.0))
    write_table(table.assign(readable_before=read, readable_after=read - 0.2), tmp_path / "effects.tsv")
    return tmp_path


def test_slices_show_each_checkpoints_best_layer_on_one_scale(images):
    paths = [[images / "score.nii.gz"], [images / "score_q.nii.gz"], images / "index.tsv"]
    figure, _ = brain_images.slices(*paths, "F", 0.05)
    panels = pictures(figure)
    assert len(panels) == 3 * 4
    assert {panel.get_clim() for panel in panels} == {panels[0].get_clim()}
    low, high = panels[0].get_clim()
    assert low == -high < 0
    # Row of step 64, topmost slice: the planted voxel stands in the picture's right upper corner.
    top = panels[4 + 3].get_array()
    assert outlined(figure) == {4 + 3: [5.5, 6.5]}
    assert top[-1, -1] == pytest.approx(0.5)
    assert np.isnan(top.filled(np.nan)[0, 0])
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert [text for text in labels if "layer" in text] == ["step 0\nlayer 2", "step 64\nlayer 2", "random\nlayer 2"]
    assert [axes.get_title() for axes in figure.axes[:4]] == ["z = 0 mm", "z = 3 mm", "z = 6 mm", "z = 9 mm"]
    letters = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert letters["L"] < letters["R"]


def test_notes_say_that_nothing_is_outlined(images):
    def said(figure):
        return " ".join(text.get_text() for text in figure.texts)

    files = [[images / f"{name}.nii.gz"] for name in ("score", "score_q", "effects", "effects_q")]
    for level, none in ((0.05, False), (0.0, True)):
        scores, _ = brain_images.slices(*files[:2], images / "index.tsv", "F", level)
        index = (images / "index.tsv", images / "effects.tsv")
        effects, _ = brain_images.effect_projections(*files[2:], *index, "F", None, ["tense", "pos"], level)
        for figure in (scores, effects):
            assert (outlined(figure) == {}) == none
            assert ("(none)" in said(figure)) == none


def test_what_the_model_adds_is_drawn_as_scores_are(images):
    table = read_table(images / "index.tsv")
    unique = table[table["image"] == "score"].assign(image="unique", removal="joint", property="nuisance")
    write_table(unique, images / "unique.tsv")
    paths = [[images / "score.nii.gz"], [images / "score_q.nii.gz"], images / "unique.tsv"]
    figure, _ = brain_images.slices(*paths, "F", 0.05, "unique")
    assert len(pictures(figure)) == 3 * 4
    assert outlined(figure) == {4 + 3: [5.5, 6.5]}
    assert "r with the vectors − r of nuisance alone" in [axes.get_ylabel() for axes in figure.axes]
    assert "adds to nuisance features" in figure.get_suptitle()


def test_effects_are_seen_from_above_by_checkpoint_and_property(images):
    paths = [[images / "effects.nii.gz"], [images / "effects_q.nii.gz"], images / "index.tsv", images / "effects.tsv"]
    figure, _ = brain_images.effect_projections(*paths, "F", None, ["tense", "pos"], 0.05)
    panels = pictures(figure)
    assert len(panels) == 2 * 2
    assert [axes.get_title() for axes in figure.axes[:2]] == ["tense", "part\nof\nspeech"]
    assert {panel.get_clim() for panel in panels} == {panels[0].get_clim()}
    # What the encoder reads of tense and pos at step 0, before and after.
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["0.42 → 0.22", "0.50 → 0.30"]
    assert panels[2].get_array()[-1, -1] == pytest.approx(-0.4)
    assert list(outlined(figure)) == [2]
    assert abs(panels[3].get_array()[-1, -1]) < 0.1


def test_an_index_of_another_image_is_told(images):
    with pytest.raises(InputError, match=r"lists 6 volumes of 'score', the image has 5"):
        brain_images.read_index(images / "index.tsv", "score", 5)


def roi_table():
    rows = []
    for region, gain in (("language", 0.2), ("45", 0.0)):
        for checkpoint, step in (("step-0", 0), ("step-64", 64), ("random", None)):
            for layer in (0, 2):
                for subject in ("F", "M"):
                    # The score prefers layer 0, the inner score layer 2.
                    r = gain * (step == 64) - 0.01 * layer
                    rows.append([checkpoint, step, layer, "none", "original", subject, region, r, r - 0.1, r + 0.1])
                    rows[-1] += [0.1 * layer, 12, 0]
    columns = ["subject", "roi", "mean_r", "ci_low", "ci_high", "inner_score", "n_voxels", "n_invalid"]
    return pd.DataFrame(rows, columns=[*CELL, *columns])


def test_regions_are_drawn_at_their_best_layer_by_inner_score(tmp_path):
    write_table(roi_table(), tmp_path / "roi.tsv")
    outputs = [str(tmp_path / f"roi.{suffix}") for suffix in ("png", "svg", "tsv")]
    brain_images.main(["rois", *flags(alignment=tmp_path / "roi.tsv"), "--output", *outputs])
    drawn = read_table(outputs[-1])
    assert set(drawn["layer"]) == {2}
    assert len(drawn) == 2 * 3 * 2
    np.testing.assert_allclose(drawn.query("roi == 'language' and step == 64")["mean_r"], 0.18)
    figure, _ = brain_images.regions_over_training(roi_table(), Figures())
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["language (12 voxels)", "45 (12 voxels)"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "mean of participants")
    np.testing.assert_allclose(line.get_ydata(), [-0.02, 0.18])


def test_more_regions_than_panels_are_said():
    table = pd.concat([roi_table().assign(roi=f"area {k}") for k in range(13)])
    table = pd.concat([table, table.assign(roi=table["roi"] + "b")])
    figure, drawn = brain_images.regions_over_training(table.drop_duplicates([*CELL, "subject", "roi"]), Figures())
    assert drawn["roi"].nunique() == 26
    assert "24 of 26 regions" in " ".join(figure._supxlabel.get_text().split())


def test_the_ceiling_figure_shows_the_ratio_at_the_best_layer_by_inner_score(tmp_path):
    alignment = roi_table().query("roi == 'language'").drop(columns="roi")
    ratios = alignment.drop(columns=["inner_score", "n_invalid"])
    ratios = ratios.assign(ratio=ratios["mean_r"] / 0.5, mean_ceiling=0.5)
    ceilings = pd.DataFrame({"subject": ["F", "M"], "n_others": 1, "mean_r": 0.4, "ci_low": 0.3, "ci_high": 0.5})
    ceilings = ceilings.assign(inner_score=0.1, mean_r_above=0.5, n_above=9, n_voxels=12, n_invalid=0, threshold=0.1)
    alignment, ceilings = (table.assign(share_significant=0.2) for table in (alignment, ceilings))
    tables = {"alignment": alignment, "ratios": ratios, "ceilings": ceilings}
    for name, table in tables.items():
        write_table(table, tmp_path / f"{name}.tsv")
    outputs = [str(tmp_path / f"ceiling.{suffix}") for suffix in ("pdf", "tsv")]
    paths = {name: tmp_path / f"{name}.tsv" for name in ("alignment", "ratios", "ceilings")}
    brain_images.main(["ceiling", *flags(**paths), "--output", *outputs])
    drawn = read_table(outputs[-1])
    assert set(drawn["layer"]) == {2}
    assert drawn.query("step == 64")["ratio"].tolist() == pytest.approx([0.36, 0.36])
    write_table(ratios.assign(ratio=np.nan), tmp_path / "ratios.tsv")
    with pytest.raises(InputError, match=r"lower noise_ceiling\.threshold"):
        brain_images.main(["ceiling", *flags(**paths), "--output", *outputs])


def test_the_same_image_gives_the_same_picture(images, tmp_path):
    command = ["scores", *flags(subject="F", image=images / "score.nii.gz", q=images / "score_q.nii.gz")]
    command += flags(index=images / "index.tsv", level=0.05)
    for name in ("one.png", "two.png"):
        brain_images.main([*command, *flags(output=tmp_path / name)])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with pytest.raises(InputError, match="name pictures only"):
        brain_images.main([*command, *flags(output=tmp_path / "numbers.tsv")])
