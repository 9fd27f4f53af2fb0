"""The small study, run to its end: the contract is there and the planted truth is found."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import read_scores
from dynalign.statistics.block_tests import voxel_test
from dynalign.statistics.effects import voxel_scores
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table
from tests.helpers import flags
from tests.workflow.conftest import SMALL, copy_repository, snakemake

HEADLINE = "leace-crossfit"
CONTRACT = {
    name: columns.split()
    for name, columns in {
        "labels": "word_index word sentence tr run tense tense_raw",
        "label_correlations": "property_a property_b r p",
        "checkpoints": "checkpoint step source revision commit sha256",
        "perplexity": "checkpoint step perplexity n_tokens",
        "probing": "checkpoint step layer removal property accuracy_before accuracy_after accuracy_after_crossfit "
        "chance null_low null_high removed_paper removed",
        "alignment": "checkpoint step layer removal property subject mean_r ci_low ci_high inner_score n_voxels "
        "n_invalid share_significant",
        "removal_effects": "checkpoint step layer removal property subject mean_difference ci_low ci_high t_paper "
        "p_paper significant_paper p p_fdr significant effect_size effect_low effect_high readable_before "
        "readable_after over_control p_over_control share_harmed share_relieved",
        "removal_effects_group": "checkpoint step layer removal property n_subjects mean_difference ci_low ci_high p "
        "p_fdr significant p_other_subjects_same_text n_significant",
        "contrasts": "quantity subject layer checkpoint step comparison reference mean_difference p p_fdr clears",
        "emergence": "quantity property subject layer reference clears_by clears_after emergence_step half_rise_step",
        "perplexity_alignment": "subject layer n_checkpoints rho ci_low ci_high",
    }.items()
}


@pytest.fixture(scope="session")
def results(finished):
    return finished / "results/small"


def table(results, name):
    return read_table(results / "tables" / f"{name}.tsv", CONTRACT[name])


def arm(results, name="none.original", checkpoint="step-256", layer=2):
    return voxel_scores(read_scores(results / f"encoding/{checkpoint}/F/layer-{layer}/{name}.npz"))


@pytest.fixture(scope="session")
def region(results):
    return read_table(results / "data/sub-F_truth.tsv", ["region"])["region"].to_numpy()


def test_the_contract_is_there(results):
    for name in CONTRACT:
        assert len(table(results, name)) > 0
    figures = {path.name for path in (results / "figures").iterdir()}
    for number in range(1, 17):
        for suffix in ("png", "pdf", "svg"):
            assert sum(f.startswith(f"figure-{number:02d}-") and f.endswith(suffix) for f in figures) == 1
    assert {"table-1-probing.html", "table-1-probing.tsv", "table-2-correlations.html", "map-F.png"} <= figures
    scores = np.load(results / "encoding/step-256/F/layer-2/leace-crossfit.tense.npz", allow_pickle=False)
    kept = int(read_table(results / "story/trs.tsv")["kept"].sum())
    assert scores["r"].shape == scores["alpha"].shape
    assert scores["timecourse"].shape == (kept,)


def test_tables_have_one_row_per_observation(results):
    alignment = table(results, "alignment")
    key = ["checkpoint", "layer", "removal", "property", "subject"]
    assert not alignment.duplicated(key).any()
    n = len(SMALL["properties"])
    assert len(alignment) == 3 * 1 * (1 + 3 * n) * 1
    assert len(table(results, "removal_effects")) == 3 * 2 * n
    assert len(table(results, "probing")) == 3 * 2 * n
    assert table(results, "perplexity")["checkpoint"].tolist() == ["step-0", "step-256"]


def test_alignment_is_what_the_scores_say(results):
    rows = table(results, "alignment").query("removal in ('none', @HEADLINE)").set_index(["checkpoint", "property"])
    for checkpoint, name in (("step-256", "original"), ("random", "tense")):
        removal = "none" if name == "original" else HEADLINE
        expected = np.nanmean(arm(results, f"{removal}.{name}", checkpoint))
        assert rows.loc[(checkpoint, name), "mean_r"] == pytest.approx(expected, rel=1e-6)


def test_training_lowers_perplexity_and_raises_alignment(results):
    perplexity = table(results, "perplexity").set_index("checkpoint")["perplexity"]
    assert perplexity["step-256"] < perplexity["step-0"] / 5
    alignment = table(results, "alignment").query("removal == 'none'").set_index("checkpoint")
    assert alignment.loc["step-256", "mean_r"] > alignment.loc["step-0", "mean_r"] + 0.03
    assert alignment.loc["step-0", "mean_r"] > alignment.loc["random", "mean_r"] + 0.03
    assert alignment.loc["step-256", "ci_low"] > alignment.loc["random", "mean_r"]


def test_alignment_rises_where_the_simulation_says_that_a_model_must_learn(results, region):
    rise = arm(results) - arm(results, checkpoint="step-0")
    assert rise[region == "meaning"].mean() > 0.08
    assert abs(rise[region == "noise"].mean()) < 0.05


@pytest.mark.parametrize("name", ["tense", "sentence_length"])
def test_removing_a_property_hurts_its_voxels_and_no_others(results, region, name):
    """Over its control: erasing permuted labels costs something too."""
    change = arm(results, f"{HEADLINE}.{name}") - arm(results, f"{HEADLINE}-control.{name}")
    assert change[region == name].mean() < -0.07
    for other in set(region) - {name}:
        assert change[region == other].mean() > -0.045, other


def test_removing_what_drives_nothing_hurts_nothing(results, region):
    for name in ("random_label", "top_constituents"):
        change = arm(results, f"{HEADLINE}.{name}") - arm(results)
        for part in set(region):
            assert abs(change[region == part].mean()) < 0.03, (name, part)


def test_the_effects_table_finds_the_planted_properties(results):
    effects = table(results, "removal_effects").query("checkpoint == 'step-256' and removal == @HEADLINE")
    effects = effects.set_index("property")
    assert set(effects["mean_difference"].nsmallest(2).index) == {"tense", "sentence_length"}
    assert effects.loc["random_label", "significant"] == 0
    for name in ("tense", "sentence_length"):
        row = effects.loc[name]
        assert row["over_control"] < 0
        assert row["readable_before"] > row["readable_before_null"]
        assert row["readable_after"] < row["readable_before"] / 2


@pytest.mark.parametrize(
    ("held", "followed", "names"),
    [
        (True, True, ["tense", "sentence_length"]),
        (True, False, ["pos", "smallest_constituent"]),
        (False, True, ["mood"]),
        (False, False, ["random_label"]),
    ],
)
def test_harm_appears_where_the_model_holds_what_the_brain_follows_alone(results, region, held, followed, names):
    """The planted 2 × 2 (METHOD section 5) through the whole workflow; the paper's removal gets it wrong."""
    effects = table(results, "removal_effects").query("property in @names")
    headline = effects.query("removal == @HEADLINE")
    trained = headline.query("checkpoint == 'step-256'")
    assert all((trained["readable_before"] > trained["readable_before_null"]) == held)
    assert set(names).intersection(region) == (set(names) if followed else set())
    for row in headline.itertuples():
        harm = row.mean_difference < 0 and row.p < 0.05 and row.over_control < -0.01
        assert not harm or (held and followed and row.checkpoint != "random"), row
    if held and followed:
        assert all(trained["over_control"] < -0.01)
    if followed and not held:
        invented = effects.query("removal == 'ridge-in-sample' and checkpoint == 'random'")
        assert (invented["mean_difference"] < 0).all()
        assert (invented["p"] < 0.01).all()


@pytest.mark.parametrize("name", ["tense", "pos", "mood"])
def test_a_control_takes_the_penalties_of_its_own_removal(results, name):
    folder = results / "encoding/step-256/F/layer-2"
    removal, control = (read_scores(folder / f"{HEADLINE}{kind}.{name}.npz") for kind in ("", "-control"))
    np.testing.assert_array_equal(control.alpha, removal.alpha)
    assert not np.array_equal(control.r, removal.r)


def test_the_tables_agree_with_each_other(results):
    """Differences come from c(t), alignment from r; one subject is its own group."""
    key = ["checkpoint", "layer", "removal", "property", "subject"]
    alignment = table(results, "alignment").set_index(key)["mean_r"]
    effects = table(results, "removal_effects")
    expected = [
        alignment[row.checkpoint, row.layer, row.removal, row.property, row.subject]
        - alignment[row.checkpoint, row.layer, "none", "original", row.subject]
        for row in effects.itertuples()
    ]
    np.testing.assert_allclose(effects["mean_difference"], expected, atol=1e-6)
    group = table(results, "removal_effects_group")
    both = effects.merge(group, on=["checkpoint", "layer", "removal", "property"], suffixes=("", "_group"))
    assert len(both) == len(effects) == len(group)
    for name in ("mean_difference", "ci_low", "p", "significant"):
        np.testing.assert_allclose(both[name], both[f"{name}_group"], rtol=1e-6)
    assert group["p_other_subjects_same_text"].isna().all()


def test_noise_voxels_and_the_random_baseline_score_nothing(results, region):
    assert abs(arm(results)[region == "noise"].mean()) < 0.05
    assert abs(arm(results, checkpoint="random").mean()) < 0.06


@pytest.mark.parametrize("shift", [3, -3])
def test_shifting_the_words_by_three_trs_destroys_alignment(finished, results, region, tmp_path, shift):
    """Delays 2 and 3 (4 to 6 s) hold the response's peak: words moved by 3 TRs lie outside of it on either side."""
    from dynalign.encoding import encode

    words = read_table(results / "story/words.tsv")
    runs = read_table(results / "story/trs.tsv")["run"].to_numpy()
    scores = {}
    for moved in (0, shift):
        there = words["tr"] + moved
        inside = (there >= 0) & (there < len(runs))
        target = np.clip(there, 0, len(runs) - 1)
        inside &= runs[target] == words["run"]
        write_table(words.assign(tr=target)[inside], tmp_path / f"words{moved}.tsv")
        encode.main(
            flags(representation=results / "representation/step-256.safetensors", layers=2)
            + flags(labels=results / "tables/labels.tsv", erasers=results / "removal/step-256/layer-2.npz")
            + flags(words=tmp_path / f"words{moved}.tsv", trs=results / "story/trs.tsv")
            + flags(responses=results / "brain/F.npy", properties="tense", output_dir=tmp_path / str(moved))
            + flags(options=json.dumps({"delays": [2, 3], "inner_folds": 5}))
        )
        scores[moved] = voxel_scores(read_scores(tmp_path / f"{moved}/layer-2/none.original.npz"))
    driven = region == "meaning"
    assert scores[0][driven].mean() > 0.15
    assert scores[shift][driven].mean() < 0.4 * scores[0][driven].mean()


def test_the_score_map_puts_each_voxel_where_it_was_planted(results):
    image = nibabel.load(results / "maps/F.nii.gz")
    index = read_table(results / "maps/F.tsv", ["volume", "checkpoint", "layer"])
    mask = np.asarray(nibabel.load(results / "data/sub-F_mask.nii.gz").dataobj) > 0
    assert image.shape == (*mask.shape, 3)
    volume = int(index.loc[index["checkpoint"] == "step-256", "volume"].iloc[0])
    data = np.asarray(image.dataobj)[..., volume]
    truth = read_table(results / "data/sub-F_truth.tsv")
    placed = [data[i, j, k] for i, j, k in truth[["i", "j", "k"]].astype(int).itertuples(index=False)]
    np.testing.assert_allclose(placed, arm(results), atol=1e-6)
    assert np.isnan(data[~mask]).all()


def test_significant_voxels_are_those_planted(results, region):
    """Of voxels that follow nothing, few; removing tense harms those that follow it (each by itself: p unadjusted)."""
    mask = np.asarray(nibabel.load(results / "data/sub-F_mask.nii.gz").dataobj) > 0
    index = read_table(results / "maps/F.tsv").query("checkpoint == 'step-256'")

    def volume(image, path, removal, name):
        row = index.query("image == @image and removal == @removal and property == @name").iloc[0]
        return np.asarray(nibabel.load(results / f"maps/{path}F.nii.gz").dataobj)[mask][:, row["volume"]]

    found = volume("q", "q/", "none", "original") < 0.05
    aligned = found & (volume("score", "", "none", "original") > 0)
    assert aligned[region == "meaning"].mean() > 0.5
    assert aligned[region == "noise"].mean() < 0.06
    row = table(results, "alignment").query("checkpoint == 'step-256' and removal == 'none'").iloc[0]
    assert row["share_significant"] == pytest.approx(aligned.mean(), abs=1e-6)
    effects = table(results, "removal_effects").query("checkpoint == 'step-256' and removal == @HEADLINE")
    folder = results / "encoding/step-256/F/layer-2"
    original = read_scores(folder / "none.original.npz")
    for name in ("tense", "random_label"):
        change = read_scores(folder / f"{HEADLINE}.{name}.npz").blocks.astype(float) - original.blocks
        test = voxel_test(change, original.fold, Statistics(), 5)
        harmed = (test["p"] < 0.05) & (test["mean"] < 0)
        assert (harmed[region == name].mean() > 0.25) if name == "tense" else (harmed.mean() < 0.06)
        assert harmed[region == "noise"].mean() < 0.1
        np.testing.assert_allclose(volume("effects_q", "effects_q/", HEADLINE, name), test["q"], rtol=1e-6)
        share = ((test["q"] < 0.05) & (test["mean"] < 0)).mean()
        assert effects.set_index("property").loc[name, "share_harmed"] == pytest.approx(share, abs=1e-6)


def copied(finished, target):
    """The finished study in a folder of its own, for tests that change it."""
    for part in ("results", ".snakemake"):
        shutil.copytree(finished / part, copy_repository(target) / part, dirs_exist_ok=True)
    return target


def test_a_second_run_makes_the_same_bytes_on_one_core(finished, tmp_path):
    """A removal of results and a run on one core instead of two: the same scores, erasers, tables, maps, figures.

    Of the figures, which one function writes, one of lines, one of bars and one of the brain.
    """
    folder = copied(finished, tmp_path)
    results = folder / "results/small"
    # Labels stay: without them the other checkpoints' jobs would be planned too.
    labels = ("labels.tsv", "class_counts.tsv", "label_correlations.tsv")
    made = [path for path in (results / "tables").glob("*.tsv") if path.name not in labels]
    made += [results / "maps/F.nii.gz", results / "maps/effects/F.nii.gz"]
    made += [results / f"figures/{name}.png" for name in ("figure-04-best-layer-alignment", "figure-07-removal-bars")]
    made.append(results / "figures/map-F.png")
    parts = [results / part for part in ("encoding/step-256/F/layer-2", "removal/step-256", "probing/step-256")]
    before = {path: path.read_bytes() for path in made}
    before |= {path: path.read_bytes() for part in parts for path in sorted(part.rglob("*")) if path.is_file()}
    for path in before:
        path.unlink()
    for part in parts:
        shutil.rmtree(part)
    run = snakemake(folder, *(str(path.relative_to(folder)) for path in made), "--cores", "1", config=SMALL)
    assert run.status == 0, run.output[-4000:]
    assert run.jobs["encoding"] == run.jobs["probing"] == 1
    for path, content in before.items():
        assert path.read_bytes() == content, path


def test_controls_go_through_the_same_stages(finished, results, tmp_path):
    """Five dimensions and no layers: one cell, whose words' position in the run is no meaning."""
    copied(finished, tmp_path)
    study = SMALL | {"baselines": ["random", "controls"]}
    names = ("alignment", "removal_effects", "probing")
    targets = [f"results/small/tables/{name}.tsv" for name in names]
    run = snakemake(tmp_path, *targets, "--cores", "1", "--show-failed-logs", config=study)
    assert run.status == 0, run.output[-4000:]
    branch = {name: run.jobs[name] for name in ("baseline", "removal", "probing", "encoding")}
    assert branch == dict.fromkeys(branch, 1)
    for name in names:
        rows = table(tmp_path / "results/small", name).query("checkpoint == 'controls'")
        assert set(rows["layer"]) == {0}
        assert rows["step"].isna().all()
        n = len(SMALL["properties"])
        assert len(rows) == {"alignment": 1 + 3 * n}.get(name, 2 * n)
    before = table(results, "alignment").query("checkpoint != 'controls'")
    after = table(tmp_path / "results/small", "alignment").query("checkpoint != 'controls'")
    assert after.reset_index(drop=True).equals(before.reset_index(drop=True))
