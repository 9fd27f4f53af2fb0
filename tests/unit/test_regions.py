"""Regions of interest: reading them, and what is computed in each."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.helpers import flags, made_scores

from dynalign.config.brain import Brain, Rois
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import Scores
from dynalign.io.arrays import write_array, write_arrays
from dynalign.io.errors import InputError
from dynalign.responses import regions as responses_regions
from dynalign.responses.regions import from_arrays, read_regions, subset, write_regions
from dynalign.statistics.effects import CELL, read_cells
from dynalign.statistics.regions import main, region_alignment, region_effect, subject_tables
from dynalign.tables import collect, schema
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

AFFINE = np.diag([-3.0, 3, 3, 1])


#: A block is a fold.
WHOLE = Statistics(block=4)


def scores(r) -> Scores:
    return made_scores(r, np.repeat(np.arange(len(r)), 4).astype(np.int16), block=WHOLE.block)


@pytest.fixture
def labelled(tmp_path):
    """A mask, a label image (0, 3, 7) and its table."""
    mask = np.zeros((3, 4, 2), dtype=bool)
    mask[:, 1:, :] = True
    labels = np.zeros(mask.shape, dtype=np.int16)
    labels[0], labels[2, 2:] = 3, 7
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE), tmp_path / "S_mask.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "S_labels.nii.gz")
    write_table(pd.DataFrame({"index": [7, 3], "name": ["45", "language"]}), tmp_path / "labels.tsv")
    return tmp_path, mask, labels


def from_image(folder, **options):
    choices = Rois(image=f"{folder}/{{subject}}_labels.nii.gz", labels=f"{folder}/labels.tsv", **options)
    return responses_regions.from_image(choices, "S", f"{folder}/S_mask.nii.gz")


def test_a_label_image_gives_the_masks_voxels_in_its_order(labelled):
    folder, mask, labels = labelled
    regions = from_image(folder)
    assert list(regions) == ["45", "language"]
    for name, value in (("45", 7), ("language", 3)):
        expected = [labels[tuple(place)] == value for place in np.argwhere(mask)]
        assert regions[name].tolist() == expected
    assert list(from_image(folder, names=("language",))) == ["language"]


def test_what_is_wrong_with_a_label_image_is_told(labelled):
    folder, _, labels = labelled
    with pytest.raises(InputError, match=r"rois\.names: 'speech' is not in .*labels\.tsv; it names 45, lang"):
        from_image(folder, names=("speech",))
    write_table(pd.DataFrame({"index": [3], "name": ["language"]}), folder / "labels.tsv")
    with pytest.raises(InputError, match=r"label 7 has no name in .*labels\.tsv \(it names 3\)"):
        from_image(folder)
    write_table(pd.DataFrame({"index": [3, 7, 9], "name": list("abc")}), folder / "labels.tsv")
    with pytest.raises(InputError, match=r"no voxel of .*S_mask.nii.gz has label 9 \(c\); leave the region out"):
        from_image(folder)
    assert list(from_image(folder, names=("b", "a"))) == ["b", "a"]
    write_table(pd.DataFrame({"index": [3, 7, 9], "name": list("aba")}), folder / "labels.tsv")
    with pytest.raises(InputError, match="name 'a' stands twice"):
        from_image(folder)
    for cell, message in (("n/a", "row 1: index is 'n/a', but"), ("7,0", "write decimals with"), ("7.5", "no whole")):
        (folder / "labels.tsv").write_text(f"index\tname\n3\ta\n{cell}\tb\n")
        with pytest.raises(InputError, match=rf"labels\.tsv: .*{message}"):
            from_image(folder)
    (folder / "labels.tsv").write_bytes("index\tname\r\n3\tä\r\n7\tb\r\n".encode("utf-16"))
    assert list(from_image(folder)) == ["ä", "b"]
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / "S_labels.nii.gz")
    with pytest.raises(InputError, match=r"S_labels.*affine differs from that of .*S_mask.*; resample one"):
        from_image(folder)
    nibabel.save(nibabel.Nifti1Image(labels + 0.5, AFFINE), folder / "S_labels.nii.gz")
    with pytest.raises(
        InputError,
        match=r"S_labels\.nii\.gz: holds 3\.5 \(18 such voxels in the mask\), but labels are whole numbers; .*nearest",
    ):
        from_image(folder)


def test_a_rim_of_small_values_is_no_brain(labelled):
    """Voxels of the mask are counted, and chosen among the labels, by the same rule as in the responses."""
    folder, mask, _ = labelled
    brain = Brain(images="{subject}.nii", mask=f"{folder}/{{subject}}_mask.nii.gz")
    assert responses_regions.count_voxels(brain, "S", None) == mask.sum()
    rim = np.where(mask, 1, np.where(np.arange(2) == 1, 1e-6, 0)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(rim, AFFINE), folder / "S_mask.nii.gz")
    for asked in (from_image, lambda _: responses_regions.count_voxels(brain, "S", None)):
        with pytest.raises(InputError, match=r"S_mask\.nii\.gz: holds 3 values \(0, 1e-06, 1\).*threshold it"):
            asked(folder)


def test_arrays_may_overlap_and_are_cut_to_the_voxels_kept(tmp_path):
    left, right = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([0, 0, 1, 1, 0], dtype=bool)
    kept = np.array([0, 1, 1, 1, 1], dtype=bool)
    for name, inside in (("left", left), ("right", right), ("kept", kept)):
        write_array(tmp_path / "S" / f"{name}.npy", inside)
    write_array(tmp_path / "data.npy", np.zeros((7, 5), dtype=np.float32))
    choices = {"arrays": f"{tmp_path}/{{subject}}/{{roi}}.npy", "names": ["left", "right"]}
    command = ["voxels", *flags(subject="S", options=json.dumps(choices), array=tmp_path / "data.npy")]
    main([*command, *flags(output=tmp_path / "all.npz")])
    regions = read_regions(tmp_path / "all.npz")
    assert {name: inside.tolist() for name, inside in regions.items()} == {
        "left": left.tolist(),
        "right": right.tolist(),
    }
    with pytest.raises(InputError, match="give one of --brain and --array"):
        main([*command, *flags(brain="{}", output="x.npz")])
    main([*command, *flags(kept=tmp_path / "S/kept.npy", output=tmp_path / "cut.npz")])
    regions = read_regions(tmp_path / "cut.npz")
    assert regions["left"].tolist() == [True, True, False, False]
    assert regions["right"].tolist() == [False, True, True, False]


def test_regions_of_a_subject_with_own_runs_lie_in_its_own_space(tmp_path):
    """The table of recordings names the mask of a label image, and the first run, by which voxels are counted."""
    labels = np.arange(24).reshape(2, 3, 4) % 3
    for subject, mask in {"S": labels > 0, "T": labels < 2}.items():
        for name, values in (("mask", mask), ("labels", labels)):
            nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), AFFINE), tmp_path / f"{subject}_{name}.nii.gz")
    (tmp_path / "names.tsv").write_text("index\tname\n1\tone\n2\ttwo\n")
    rows = [
        {"subject": subject, "run": 2, "story": "a", "images": "x.nii", "mask": f"{tmp_path}/{subject}_mask.nii.gz"}
        for subject in "ST"
    ]
    rois = {"image": f"{tmp_path}/{{subject}}_labels.nii.gz", "labels": f"{tmp_path}/names.tsv", "names": ["one"]}
    for subject, expected in {"S": labels[labels > 0] == 1, "T": labels[labels < 2] == 1}.items():
        given = json.dumps([row for row in rows if row["subject"] == subject])
        command = flags(subject=subject, options=json.dumps(rois), brain="{}", recordings=given)
        main(["voxels", *command, *flags(output=tmp_path / f"{subject}.npz")])
        assert read_regions(tmp_path / f"{subject}.npz")["one"].tolist() == expected.tolist()
    # Arrays are counted by the first run where there is no mask.
    np.save(tmp_path / "U.npy", np.zeros((9, 5), dtype=np.float32))
    np.save(tmp_path / "U.one.npy", np.arange(5) < 2)
    given = json.dumps([{"subject": "U", "run": 3, "story": "a", "images": f"{tmp_path}/U.npy"}])
    rois = {"arrays": f"{tmp_path}/{{subject}}.{{roi}}.npy", "names": ["one"]}
    command = flags(subject="U", options=json.dumps(rois), brain="{}", recordings=given, output=tmp_path / "U.npz")
    main(["voxels", *command])
    assert read_regions(tmp_path / "U.npz")["one"].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (np.ones(4, dtype=bool), r"expected a boolean array of shape \(5,\).*got bool \(4,\)"),
        (np.ones(5), r"shape \(5,\), an entry per voxel; got float64 \(5,\)"),
        (np.zeros(5, dtype=bool), "all 5 entries are False"),
    ],
)
def test_a_wrong_array_is_told(tmp_path, inside, message):
    write_array(tmp_path / "S.left.npy", inside)
    with pytest.raises(InputError, match=message):
        from_arrays(Rois(arrays=f"{tmp_path}/{{subject}}.{{roi}}.npy", names=("left",)), "S", 5)


def test_a_region_that_the_voxels_kept_leave_empty_is_told():
    with pytest.raises(InputError, match="'left' has no voxel in kept"):
        subset({"left": np.array([True, False])}, np.array([False, True]), "kept.npy")


def test_a_regions_alignment_is_the_mean_over_its_voxels_and_its_interval_that_of_the_blocks():
    r = np.random.default_rng(0).normal(0.2, 0.1, (5, 20))
    r[:, 4] = np.nan
    inside = np.arange(20) < 8
    row = region_alignment(scores(r), inside, WHOLE, 0)
    valid = r[:, [0, 1, 2, 3, 5, 6, 7]]
    assert row["mean_r"] == pytest.approx(valid.mean(), rel=1e-6)
    assert (row["n_voxels"], row["n_invalid"]) == (8, 1)
    whole = region_alignment(scores(r), np.ones(20, dtype=bool), WHOLE, 0)
    assert whole["n_voxels"] == 20
    empty = region_alignment(scores(r), np.arange(20) == 4, WHOLE, 0)
    assert (empty["n_voxels"], empty["n_invalid"]) == (1, 1)
    assert np.isnan(empty["mean_r"])


def test_an_effects_test_is_the_corrected_t_over_the_blocks_means():
    rng = np.random.default_rng(1)
    before, after = rng.normal(0.2, 0.1, (5, 12)), rng.normal(0.15, 0.1, (5, 12))
    row = region_effect(scores(after), scores(before), np.ones(12, dtype=bool), WHOLE, 0)
    means = (after - before).mean(axis=1)
    # scipy's t, with the variance of the mean as 1/5 + 1/4 instead of 1/5 (five folds).
    t = stats.ttest_1samp(means, 0).statistic / 1.5
    assert row["mean_difference"] == pytest.approx(means.mean(), rel=1e-5)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), 4), rel=2e-3)
    nothing = region_effect(scores(after * np.nan), scores(before), np.ones(12, dtype=bool), WHOLE, 0)
    assert np.isnan(nothing["p"])
    assert nothing["n_invalid"] == 12


@pytest.fixture
def study(tmp_path):
    """Region 'planted' aligns at step 9 and loses it when `tense` is removed; 'silent' never does."""
    rng = np.random.default_rng(2)
    regions = {"planted": np.arange(60) < 20, "silent": np.arange(60) >= 30}
    rows = []
    for checkpoint, step in (("step-0", 0), ("step-9", 9), ("random", None)):
        for removal, name in (("none", "original"), ("ridge", "tense"), ("ridge", "pos")):
            r = rng.normal(0, 0.01, (5, 60))
            if checkpoint == "step-9" and name != "tense":
                r[:, regions["planted"]] += 0.3
            arrays = {key: np.asarray(value) for key, value in vars(scores(r)).items()}
            write_arrays(tmp_path / f"encoding/{checkpoint}/S/layer-2/{removal}.{name}.npz", arrays)
            rows += [[checkpoint, step, 2, removal, name, subject] for subject in ("S", "T")]
    table = pd.DataFrame(rows, columns=[*CELL, "subject"]).assign(mean_r=0.1, ci_low=0, ci_high=1)
    write_table(table.assign(inner_score=0, n_voxels=60, n_invalid=0, share_significant=0), tmp_path / "alignment.tsv")
    write_regions(tmp_path / "S.npz", regions)
    return tmp_path


def test_the_planted_region_aligns_and_no_other(study):
    command = flags(subject="S", alignment=study / "alignment.tsv", folder=study / "encoding")
    effects = read_table(study / "alignment.tsv").query("removal != 'none'")[[*CELL, "subject"]]
    columns = [name for name in schema.TABLES["removal_effects"].columns if name not in effects]
    effects = effects.assign(**dict.fromkeys(columns, 0.0)).assign(readable_before=np.arange(len(effects)) / 10)
    write_table(effects, study / "readable.tsv")
    command += flags(rois=study / "S.npz", readable=study / "readable.tsv", gap=0)
    command += flags(options=Statistics().model_dump_json())
    main(["subject", *command, *flags(alignment_output=study / "a.tsv", effects_output=study / "e.tsv")])
    collect.main(flags(tables=study / "e.tsv", fdr=0.05, output=study / "effects.tsv"))
    alignment = read_table(study / "a.tsv")
    columns = "checkpoint step layer removal property subject roi mean_r ci_low ci_high inner_score n_voxels n_invalid"
    assert alignment.columns.tolist() == columns.split()
    assert len(alignment) == 3 * 3 * 2
    assert alignment.loc[alignment["checkpoint"] == "random", "step"].isna().all()
    at = alignment.query("removal == 'none'").set_index(["checkpoint", "roi"])
    assert at.loc[("step-9", "planted"), "ci_low"] > 0.25
    for cell in (("step-9", "silent"), ("step-0", "planted"), ("random", "planted")):
        assert abs(at.loc[cell, "mean_r"]) < 0.02
    read = effects.set_index(["checkpoint", "property", "subject"])["readable_before"]
    effects = read_table(study / "effects.tsv").set_index(["checkpoint", "property", "roi"])
    for cell, row in effects.iterrows():
        assert row["readable_before"] == read[(*cell[:2], "S")]
    assert effects.loc[("step-9", "tense", "planted"), "mean_difference"] == pytest.approx(-0.3, abs=0.02)
    assert effects["significant"].sum() == effects.loc[("step-9", "tense", "planted"), "significant"] == 1


def test_regions_of_another_subject_are_told(study):
    write_regions(study / "S.npz", {"planted": np.ones(59, dtype=bool)})
    cells = read_cells(study / "alignment.tsv", "S")
    with pytest.raises(InputError, match="scores of 60 voxels, regions of 59"):
        subject_tables(cells, study / "encoding", read_regions(study / "S.npz"), WHOLE, 0)
    with pytest.raises(InputError, match="has no subject 'X'"):
        read_cells(study / "alignment.tsv", "X")
