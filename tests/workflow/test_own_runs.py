"""Subjects with runs of their own, by a table of recordings, against the same data in runs that all share."""

import copy
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest

from dynalign.encoding.scores import read_scores
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table
from tests.workflow.conftest import SMALL, snakemake

RESULTS = "results/ragged"
ENCODING = "encoding/step-256"
#: Volumes that are left out for motion.
SCRUBBED = [100, 150]


def ragged(folder) -> dict:
    """The small study's data as a user's own: F as it is, G with the third and the first run only, in this order.

    G hears the first again, and is scanned to the same numbers: their mean is what it is without.
    """
    words = read_table(folder / "results/small/story/words.tsv")
    write_table(words[["onset", "word", "sentence"]].assign(story="tower"), folder / "words.tsv")
    image = "results/small/data/sub-F_run-{}_bold.nii.gz".format
    starts = dict(enumerate(np.cumsum([0, *SMALL["story"]["trs"]])[:-1] * SMALL["story"]["tr"], 1))
    order = {"F": (1, 2, 3, 4), "G": (3, 1, 1)}
    for run, n in enumerate(SMALL["story"]["trs"], 1):
        # A confound that drift holds already, so that it changes nothing; G moves twice in its first run.
        still = {"cosine00": np.cos(np.pi * (np.arange(n) + 0.5) / n), "framewise_displacement": 0.1, "std_dvars": 1.0}
        write_table(table := pd.DataFrame(still), folder / f"F-{run}_confounds.tsv")
        table.loc[SCRUBBED if run == 3 else [], "framewise_displacement"] = 0.9
        write_table(table, folder / f"G-{run}_confounds.tsv")
    rows = [
        {"subject": subject, "run": run, "story": "tower", "start": starts[old], "images": image(old)}
        | {"confounds": f"{subject}-{old}_confounds.tsv", "repeat": 1 + order[subject][: run - 1].count(old)}
        for subject, old_runs in order.items()
        for run, old in enumerate(old_runs, 1)
    ]
    table = pd.DataFrame(rows).assign(mask="results/small/data/sub-F_mask.nii.gz")
    write_table(table, folder / "recordings.tsv")
    study = copy.deepcopy(SMALL)
    study |= {"study": "ragged", "subjects": ["F", "G"], "recordings": "recordings.tsv"}
    study["story"] = {"layout": "recordings", "download": None, "words": "words.tsv", "tr": 2.0}
    study["story"]["trim"] = SMALL["story"]["trim"]
    study["brain"] = {"detrend": "cosine", "standardize": True, "confounds": {"strategy": ["high_pass", "scrub"]}}
    study["annotation"]["file"] = "results/small/annotation/story.conllu"
    study["model"] |= {"source": "results/small/model", "revision": "step-{step}", "steps": [256]}
    study["baselines"] = ["controls"]
    study |= {"properties": {"tense": SMALL["properties"]["tense"]}, "figures": {"properties": ["tense"]}}
    for subject in "FGH":
        for part, name in enumerate(("front", "back")):
            n = np.asarray(nibabel.load(folder / "results/small/data/sub-F_mask.nii.gz").dataobj).sum()
            np.save(folder / f"{subject}.{name}.npy", (np.arange(n) < n // 2) == (part == 0))
    study["rois"] = {"arrays": "{subject}.{roi}.npy", "names": ["front", "back"]}
    study["noise_ceiling"] = {"compute": True}
    for key in ("simulation", "training"):
        del study[key]
    return study


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ragged") / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    study = ragged(folder)
    names = ("removal_effects_group", "shares", "roi_alignment", "noise_ceiling", "alignment_to_ceiling")
    targets = [f"{RESULTS}/tables/{name}.tsv" for name in names]
    done = snakemake(folder, *targets, f"{RESULTS}/maps/G.nii.gz", "--cores", "2", config=study)
    assert done.status == 0, done.output[-6000:]
    return folder, study


def test_scores_are_those_of_the_same_data_in_shared_runs(run):
    folder, _ = run
    for name in ("none.original", "leace-crossfit.tense"):
        own, shared = (
            read_scores(folder / results / ENCODING / f"F/layer-2/{name}.npz") for results in (RESULTS, "results/small")
        )
        np.testing.assert_allclose(own.r, shared.r, atol=1e-5)
        np.testing.assert_allclose(own.timecourse, shared.timecourse, atol=1e-5)


def test_a_subject_has_its_own_runs(run):
    folder, _ = run
    heard = read_table(folder / RESULTS / "story/G.words.tsv")
    whole = read_table(folder / "results/small/story/words.tsv")
    assert heard["word_index"].tolist() == [
        *whole.query("run == 3")["word_index"],
        *whole.query("run == 1")["word_index"],
    ]
    trs = read_table(folder / RESULTS / "story/G.trs.tsv")
    lengths = SMALL["story"]["trs"]
    assert trs.groupby("run").size().tolist() == [lengths[2], lengths[0]]
    trim = SMALL["story"]["trim"]
    gone = [*range(trim["start"]), *SCRUBBED, *range(lengths[2] - trim["end"], lengths[2])]
    assert trs.query("run == 1 and kept == 0")["tr"].tolist() == gone
    scores = read_scores(folder / RESULTS / ENCODING / "G/layer-2/none.original.npz")
    assert len(scores.fold) == trs["kept"].sum()
    # There is signal in half of the data too.
    assert scores.timecourse.mean() > 0.03


def test_the_group_is_tested_on_what_both_heard(run):
    folder, _ = run
    group = read_table(folder / RESULTS / "tables/removal_effects_group.tsv")
    assert (group["n_subjects"] == 2).all()
    log = (folder / RESULTS / "logs/group_statistics/step-256.log").read_text()
    n = sum(SMALL["story"]["trs"][k] - sum(SMALL["story"]["trim"].values()) for k in (0, 2)) - len(SCRUBBED)
    whole = sum(SMALL["story"]["trs"]) - 4 * sum(SMALL["story"]["trim"].values())
    assert f"{n} TRs are shared, of {n} to {whole} of a subject" in log
    # By hand: c(t) of both at the same time of the story; the first subject's folds weigh alike.
    times = []
    for subject in "FG":
        trs = read_table(folder / RESULTS / f"story/{subject}.trs.tsv").query("kept == 1")
        change = [
            read_scores(folder / RESULTS / ENCODING / subject / f"layer-2/{name}.npz").timecourse
            for name in ("leace-crossfit.tense", "none.original")
        ]
        times.append(pd.Series(change[0] - change[1], index=trs["time"]))
    fold = read_scores(folder / RESULTS / ENCODING / "F/layer-2/none.original.npz").fold
    both = pd.concat([*times, pd.Series(fold, index=times[0].index)], axis=1, join="inner", keys=["F", "G", "fold"])
    by_fold = both[["F", "G"]].mean(axis=1).groupby(both["fold"]).mean()
    group = group.query("checkpoint == 'step-256' and removal == 'leace-crossfit' and property == 'tense'")
    found = group["mean_difference"].item()
    assert found == pytest.approx(by_fold.mean(), rel=1e-6)


def test_regions_and_the_ceiling_of_own_runs(run):
    folder, _ = run
    tables = folder / RESULTS / "tables"
    cell = "checkpoint == 'step-256' and removal == 'none'"
    regions = read_table(tables / "roi_alignment.tsv").query(cell).set_index(["subject", "roi"])
    whole = read_table(tables / "alignment.tsv").query(cell).set_index("subject")
    for subject in "FG":
        r, n = (regions.loc[subject, name] for name in ("mean_r", "n_voxels"))
        assert np.average(r, weights=n) == pytest.approx(whole.loc[subject, "mean_r"], rel=1e-5)
    limit = read_table(tables / "noise_ceiling.tsv").set_index("subject")
    trs = {subject: read_table(folder / RESULTS / f"story/{subject}.trs.tsv")["kept"].sum() for subject in "FG"}
    # F is predicted from G, whose scans are F's own; G heard a run twice, to the same numbers.
    again = SMALL["story"]["trs"][0] - sum(SMALL["story"]["trim"].values())
    assert limit["n_others"].tolist() == [1, 0]
    assert limit["n_trs"].tolist() == [trs["G"], again]
    assert limit["n_trs_left_out"].tolist() == [trs["F"] - trs["G"], trs["G"] - again]
    assert limit.loc["F", "mean_r"] > 0.98
    assert limit.loc["G", ["mean_r", "explainable_variance"]].tolist() == pytest.approx([1, 1], abs=1e-6)
    assert (
        f"{again} of {trs['G']} TRs are means of several hearings"
        in (folder / RESULTS / "logs/responses/G.log").read_text()
    )
    ratios = read_table(tables / "alignment_to_ceiling.tsv").query(cell).set_index("subject")
    assert ratios.loc["F", "mean_r"] == pytest.approx(whole.loc["F", "mean_r"], rel=1e-5)
    assert ratios.loc["G", "ratio"] == pytest.approx(whole.loc["G", "mean_r"], rel=1e-5)
    assert (ratios["ci_low"] < ratios["ratio"]).all()


def test_a_recording_of_a_new_subject_plans_only_its_branch(run):
    folder, study = run
    table = (folder / "recordings.tsv").read_text()
    more = [line.replace("G\t", "H\t", 1) for line in table.splitlines() if line.startswith("G\t")]
    (folder / "recordings.tsv").write_text("\n".join([table.rstrip("\n"), *more]) + "\n")
    targets = [f"{RESULTS}/tables/{name}.tsv" for name in ("removal_effects_group", "shares")]
    plan = snakemake(folder, "-n", *targets, "--cores", "1", config=study | {"subjects": ["F", "G", "H"]})
    assert plan.status == 0, plan.output[-4000:]
    branch = {name: n for name, n in plan.jobs.items() if name in ("timeline", "responses", "features", "encoding")}
    # A checkpoint and a baseline.
    assert branch == {"timeline": 1, "responses": 1, "features": 1, "encoding": 2}
    shared = {"story", "tokens", "baseline", "representation", "removal", "probing", "properties", "annotate"}
    assert not shared & set(plan.jobs)
