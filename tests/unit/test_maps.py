"""Scores back in the brain."""

from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.helpers import flags, made_partition, made_scores

from dynalign.config.brain import Brain
from dynalign.encoding.scores import write_scores
from dynalign.io.arrays import write_record
from dynalign.io.errors import InputError
from dynalign.responses.volumes import Volumes
from dynalign.statistics import maps
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Voxel axes against the subject's: as they are, flipped left–right, permuted, and oblique.
AFFINES = {
    "right-front-up": np.diag([3.0, 3, 4, 1]),
    "flipped": np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]]),
    "permuted": np.array([[0, 0, 3.0, -20], [-3, 0, 0, 40], [0, 4, 0, -10], [0, 0, 0, 1]]),
    "oblique": np.array([[2.9, -0.6, 0, -50], [0.6, 2.9, 0.2, -60], [0, -0.2, 4, -30], [0, 0, 0, 1]]),
}
COLUMNS = ["checkpoint", "step", "layer", "removal", "property", "subject", "mean_r", "inner_score"]
INVALID = 3
FOLD = np.repeat(np.arange(5), 2).astype(np.int16)


def build(folder, affine=AFFINES["flipped"], codes=(2, 1)):
    """A study of three checkpoints, two layers, two removals; returns mask and r of every cell."""
    rng = np.random.default_rng(0)
    mask = rng.random((4, 5, 3)) > 0.4
    image = nibabel.Nifti1Image(mask.astype(np.uint8), affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nibabel.save(image, folder / "mask.nii.gz")
    rows, r, alpha = [], {}, {}
    n = int(mask.sum())
    for checkpoint, step in (("step-0", 0), ("step-9", 9), ("random", None)):
        for layer in (0, 2):
            for arm in (("none", "original"), ("ridge", "tense"), ("ridge", "pos")):
                key = (checkpoint, layer, *arm)
                r[key] = rng.normal(0.1, 0.1, (5, n)).astype(np.float32)
                alpha[key] = (10.0 ** rng.integers(-3, 4, (5, n))).astype(np.float32)
                r[key][:, INVALID] = alpha[key][:, INVALID] = np.nan
                made = made_scores(r[key], FOLD)
                path = folder / f"encoding/{checkpoint}/S/layer-{layer}/{arm[0]}.{arm[1]}.npz"
                write_scores(path, replace(made, alpha=alpha[key], inner_score=np.zeros_like(r[key])))
                for subject in ("S", "T"):
                    # The reported score prefers layer 0; the inner score layer 2, but for step-9.
                    inner = 0.2 if (layer == 2) != (checkpoint == "step-9") else 0.1
                    rows.append([checkpoint, step, layer, *arm, subject, 0.3 - inner, inner])
            r[checkpoint, layer, "shares"] = made_partition(rng, FOLD, n, INVALID)
            path = folder / f"encoding/{checkpoint}/S/layer-{layer}/shares.nuisance.npz"
            write_record(path, r[checkpoint, layer, "shares"][0])
    table = pd.DataFrame(rows, columns=COLUMNS).assign(ci_low=0, ci_high=1, n_voxels=n, n_invalid=1)
    write_table(table.assign(share_significant=0), folder / "alignment.tsv")
    return mask, r, alpha


def brain(folder) -> str:
    return Brain(images=f"{folder}/{{subject}}.nii.gz", mask=f"{folder}/mask.nii.gz").model_dump_json()


def run(folder, output):
    maps.main(
        flags(subject="S", alignment=folder / "alignment.tsv", folder=folder / "encoding")
        + flags(brain=brain(folder), score=output / "S.nii.gz", index=output / "S.tsv")
        + flags(alpha=output / "alpha.nii.gz", effects=output / "effects.nii.gz", gap=0)
        + flags(q=output / "q.nii.gz", effects_q=output / "effects_q.nii.gz")
        + flags(unique=output / "unique.nii.gz", unique_q=output / "unique_q.nii.gz")
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    mask, r, alpha = build(folder)
    run(folder, folder)
    return folder, mask, r, alpha, read_table(folder / "S.tsv")


def volumes(folder, name, index, image):
    data = np.asarray(nibabel.load(folder / name).dataobj)
    rows = index[index["image"] == image]
    assert rows["volume"].tolist() == list(range(data.shape[3]))
    return data, rows


def test_every_checkpoint_and_layer_has_its_scores_and_penalties(study):
    folder, mask, r, alpha, index = study
    scores, rows = volumes(folder, "S.nii.gz", index, "score")
    penalties, again = volumes(folder, "alpha.nii.gz", index, "alpha")
    assert len(rows) == len(again) == 6
    for row in rows.itertuples():
        key = (row.checkpoint, row.layer, "none", "original")
        here = np.flatnonzero(np.arange(mask.sum()) != INVALID)
        for voxel, (i, j, k) in enumerate(np.argwhere(mask)):
            if voxel == INVALID:
                assert np.isnan(scores[i, j, k, row.volume])
                assert np.isnan(penalties[i, j, k, row.volume])
                continue
            assert scores[i, j, k, row.volume] == pytest.approx(np.mean(r[key][:, voxel]), abs=1e-6)
            middle = sorted(np.log10(alpha[key][:, voxel]))[2]
            assert penalties[i, j, k, row.volume] == pytest.approx(middle, abs=1e-6)
        assert row.mean == pytest.approx(r[key][:, here].mean(), rel=1e-5)
        assert row.n_invalid == 1
    assert np.isnan(scores[~mask]).all()
    assert rows["best_layer"].tolist() == [0, 1, 1, 0, 0, 1]


def test_effects_are_those_of_the_layer_chosen_by_inner_score(study):
    folder, mask, r, _, index = study
    data, rows = volumes(folder, "effects.nii.gz", index, "effects")
    cells = rows[["checkpoint", "layer", "property"]].apply(tuple, axis=1).tolist()
    best = {"step-0": 2, "step-9": 0, "random": 2}
    assert cells == [(name, layer, prop) for name, layer in best.items() for prop in ("tense", "pos")]
    for volume, (name, layer, prop) in enumerate(cells):
        difference = (r[name, layer, "ridge", prop] - r[name, layer, "none", "original"]).mean(axis=0)
        np.testing.assert_allclose(data[mask][:, volume], difference, atol=1e-6)


def test_what_the_vectors_add_is_that_of_the_same_layers_and_only_where_it_is_asked_for(study, tmp_path):
    folder, mask, r, _, index = study
    data, rows = volumes(folder, "unique.nii.gz", index, "unique")
    assert rows[["checkpoint", "layer"]].apply(tuple, axis=1).tolist() == [("step-0", 2), ("step-9", 0), ("random", 2)]
    for row in rows.itertuples():
        partition, _ = r[row.checkpoint, row.layer, "shares"]
        np.testing.assert_allclose(data[mask][:, row.volume], partition.r[0], atol=1e-6)
    asked = flags(subject="S", alignment=folder / "alignment.tsv", folder=folder / "encoding", gap=0)
    asked += flags(brain=brain(folder), index=tmp_path / "S.tsv")
    images = ("score", "alpha", "q", "effects", "effects_q")
    maps.main(asked + flags(**{name: tmp_path / f"{name}.nii.gz" for name in images}))
    assert set(read_table(tmp_path / "S.tsv")["image"]) == set(images)
    assert (tmp_path / "effects.nii.gz").read_bytes() == (folder / "effects.nii.gz").read_bytes()


def test_every_voxel_is_tested_over_blocks_and_p_adjusted_over_voxels(study):
    """A block is a fold here: scipy's t over the five folds, its variance 1/5 + 1/4 instead of 1/5."""
    folder, mask, r, _, index = study
    for image, name, original in (
        ("q", "q.nii.gz", None),
        ("effects_q", "effects_q.nii.gz", ("none", "original")),
        ("unique_q", "unique_q.nii.gz", None),
    ):
        data, rows = volumes(folder, name, index, image)
        for row in rows.itertuples():
            if image == "unique_q":
                values = r[row.checkpoint, row.layer, "shares"][1][0]
            else:
                values = r[row.checkpoint, row.layer, row.removal, row.property].astype(np.float16).astype(float)
            if original:
                values -= r[row.checkpoint, row.layer, *original].astype(np.float16)
            t = stats.ttest_1samp(values, 0).statistic / 1.5
            expected = 2 * stats.t.sf(np.abs(t), 4)
            scored = np.isfinite(expected)
            expected[scored] = stats.false_discovery_control(expected[scored])
            np.testing.assert_allclose(data[mask][:, row.volume], expected, rtol=1e-5)
            assert np.isnan(expected).nonzero()[0].tolist() == [INVALID]


@pytest.mark.parametrize("name", AFFINES)
def test_a_planted_voxel_comes_back_at_its_place_in_the_scanner(tmp_path, name):
    """Read by another route: the value at a place in mm, through the written image's own affine."""
    mask, r, _ = build(tmp_path, AFFINES[name])
    planted = 7
    place = (AFFINES[name] @ [*np.argwhere(mask)[planted], 1])[:3]
    run(tmp_path, tmp_path)
    image = nibabel.as_closest_canonical(nibabel.load(tmp_path / "S.nii.gz"))
    i, j, k = np.round(np.linalg.inv(image.affine) @ [*place, 1]).astype(int)[:3]
    expected = r["step-0", 0, "none", "original"][:, planted].mean()
    assert np.asarray(image.dataobj)[i, j, k, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("codes", [(4, 0), (0, 1), (2, 1)])
def test_the_space_is_the_masks(tmp_path, codes):
    build(tmp_path, AFFINES["oblique" if not codes[1] else "flipped"], codes)
    run(tmp_path, tmp_path)
    mask, image = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(tmp_path / "effects.nii.gz")
    np.testing.assert_array_equal(image.affine, mask.affine)
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(image.header[field], mask.header[field], err_msg=field)
    np.testing.assert_array_equal(image.header["pixdim"][:4], mask.header["pixdim"][:4])
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units() == ("mm", "unknown")


def test_the_same_scores_give_the_same_bytes(study, tmp_path):
    folder = study[0]
    run(folder, tmp_path)
    images = ("S", "alpha", "q", "effects", "effects_q", "unique", "unique_q")
    for name in ("S.tsv", *(f"{image}.nii.gz" for image in images)):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_without_an_inner_score_there_is_no_best_layer(tmp_path):
    build(tmp_path)
    write_table(read_table(tmp_path / "alignment.tsv").assign(inner_score=None), tmp_path / "alignment.tsv")
    with pytest.raises(InputError, match=r"alignment\.tsv: inner_score is empty in some row"):
        run(tmp_path, tmp_path)


def test_a_mask_of_another_subject_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), dtype=np.uint8), np.eye(4)), tmp_path / "mask.nii")
    with pytest.raises(InputError, match="scores have 7 voxels, the mask 8"):
        Volumes(f"{tmp_path}/mask.nii").write([f"{tmp_path}/x.nii.gz"], [np.zeros(7)], ["a"], "")
    nibabel.save(nibabel.Nifti1Image(np.array([[[1.0, 1e-6, 0]]]), np.eye(4)), tmp_path / "rim.nii")
    with pytest.raises(InputError, match=r"holds 3 values \(0, 1e-06, 1\), but a mask holds 0 and one other"):
        Volumes(f"{tmp_path}/rim.nii").write([f"{tmp_path}/x.nii.gz"], [np.zeros(2)], ["a"], "")
    assert {path.name for path in tmp_path.iterdir()} == {"mask.nii", "rim.nii"}
