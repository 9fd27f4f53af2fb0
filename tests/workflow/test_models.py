"""Several models in one study: shared stages run once, each model has its branch, tables hold all."""

import copy
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from dynalign.tables.reader import read_table
from tests.workflow.conftest import SMALL, snakemake, tiny_study
from tests.workflow.test_growth import branch

KINDS = ("checkpoints", "perplexity", "alignment", "removal_effects", "removal_effects_group")
TARGETS = [f"results/tiny/tables/{name}.tsv" for name in KINDS]
COMPARED = "results/tiny/tables/models.tsv"
#: A seed each; they differ in their steps too.
MODELS = {"one": {"seed": 1}, "two": {"seed": 2, "steps": [16]}}


def study_of(folder: Path, **models: dict) -> dict:
    return tiny_study(folder) | {"baselines": [], "models": models}


@pytest.fixture(scope="module")
def folder(finished_tiny, tmp_path_factory) -> Path:
    """A copy in which the tables of two models are made; what belongs to no model is there already."""
    folder = tmp_path_factory.mktemp("models") / "copy"
    shutil.copytree(finished_tiny[0], folder, symlinks=True)
    shared = {"labels.tsv", "class_counts.tsv", "label_correlations.tsv", "corpus.txt"}
    shared |= {"annotation", "benchmarks", "brain", "data", "logs", "model", "story", "tables"}
    for place in ("", "model", "tables"):
        for path in (folder / "results/tiny" / place).iterdir():
            if path.name not in shared:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = snakemake(folder, "--cores", "2", *TARGETS, COMPARED, config=study_of(folder, **MODELS))
    assert run.status == 0, run.output[-6000:]
    assert not {"annotate", "simulate_subject", "responses", "generate_text"} & set(run.jobs)
    return folder


def plan(folder: Path, **models: dict) -> dict[str, int]:
    run = snakemake(folder, "-n", "--cores", "2", *TARGETS, config=study_of(folder, **models))
    assert run.status == 0, run.output
    return run.jobs


def test_seeds_are_training_runs_of_their_own_on_one_story_and_one_text(folder):
    results = folder / "results/tiny"
    weights = [results / f"models/{name}/model/step-16/model.safetensors" for name in MODELS]
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in weights}) == 2
    assert {path.name for path in results.iterdir()} == {
        *("annotation", "benchmarks", "brain", "data", "logs", "model", "models", "story", "tables")
    }
    assert [path.name for path in (results / "model").iterdir()] == ["corpus.txt"]
    assert not {"story", "brain", "data"} & {path.name for path in (results / "models/one").iterdir()}


def test_tables_of_the_study_hold_those_of_its_models(folder):
    for kind in KINDS:
        whole = read_table(folder / f"results/tiny/tables/{kind}.tsv", kind=kind)
        assert whole.columns[0] == "model"
        assert whole["model"].drop_duplicates().tolist() == list(MODELS)
        for name in MODELS:
            own = read_table(folder / f"results/tiny/models/{name}/tables/{kind}.tsv", kind=kind)
            rows = whole[whole["model"] == name].drop(columns="model").reset_index(drop=True)
            # Over more tests, p is adjusted to more or the same.
            adjusted = [column for column in ("p_fdr", "significant", "n_significant") if column in own]
            assert rows.drop(columns=adjusted).equals(own.drop(columns=adjusted)), (kind, name)
            if adjusted:
                assert len(own) < len(whole)
                assert not np.allclose(rows["p_fdr"], own["p_fdr"])


def test_means_over_models_are_of_the_step_that_both_have(folder):
    rows = read_table(folder / COMPARED, kind="models").query("quantity == 'alignment' and relative_depth == 'best'")
    assert rows["step"].tolist() == [16]
    whole = read_table(folder / "results/tiny/tables/alignment.tsv").query("removal == 'none' and step == 16")
    assert rows["n_models"].item() == 2
    assert rows["mean"].item() == pytest.approx(whole["mean_r"].mean(), abs=1e-6)
    assert rows["sd_between_raw"].item() == pytest.approx(whole["mean_r"].std(), abs=1e-6)


def test_one_more_model_plans_its_branch_and_the_tables(folder):
    assert plan(folder, **MODELS) == {}
    jobs = plan(folder, **MODELS, three={"seed": 3, "steps": [16]})
    assert branch(jobs) == {
        **{"train_model": 1, "tokens": 1, "representation": 1, "check": 1, "removal": 1, "encoding": 1},
        **{f"models_{kind}_table": 1 for kind in KINDS},
    }
    assert all(jobs[f"{kind}_table"] == 1 for kind in KINDS)
    assert jobs["cell_statistics"] == jobs["group_statistics"] == 1


def test_a_change_of_one_model_leaves_the_others(folder):
    jobs = plan(folder, one=MODELS["one"] | {"steps": [0, 4, 16]}, two=MODELS["two"])
    assert jobs["representation"] == jobs["removal"] == jobs["encoding"] == jobs["cell_statistics"] == 1
    assert jobs["alignment_table"] == jobs["models_alignment_table"] == 1
    assert "train_model" not in jobs


def test_models_of_one_source_share_its_downloads(repository):
    study = copy.deepcopy(SMALL)
    for key in ("training", "simulation"):
        del study[key]
    folder = repository / "data"
    folder.mkdir(exist_ok=True)
    names = ["words.tsv", "F_mask.nii.gz", *(f"F_{run}.nii.gz" for run in range(1, 5))]
    for name in names:
        (folder / name).touch()
    study["story"]["words"] = "data/words.tsv"
    study["brain"] |= {"images": "data/{subject}_{run}.nii.gz", "mask": "data/{subject}_mask.nii.gz"}
    study["model"] = {"device": "cpu", "steps": [0, 1000]}
    study["models"] = {
        "early": {"source": "pythia-70m", "layers": [6]},
        "late": {"source": "pythia-70m", "steps": [1000, 2000], "layers": [0, 6]},
        "seed": {"source": "pythia-70m-seed1", "steps": [512], "layers": [3]},
    }
    run = snakemake(repository, "-n", "-p", "--cores", "1", config=study)
    assert run.status == 0, run.output
    assert run.jobs["fetch_checkpoint"] == 3 + 1
    assert run.jobs["fetch_tokenizer"] == 2
    assert run.jobs["audit"] == run.jobs["tokens"] == run.jobs["check"] == 3
    assert run.jobs["representation"] == 2 + 2 + 1
    # Checkpoints and `random`, layers.
    assert run.jobs["removal"] == 3 * 1 + 3 * 2 + 2 * 1
    assert run.jobs["encoding"] == 3 + 3 + 2
    assert run.jobs["page"] == run.jobs["figure_01_perplexity"] == 3
    # Of no model, and of all.
    for rule in ("responses", "annotate", "figure_02_sentence_classes", "models_page", "models_audit_table"):
        assert run.jobs[rule] == 1
    assert "--layers 0 6 --arms" in run.output
    # One job encodes both layers: each with its own erasers.
    erasers = " ".join(f"results/small/models/late/removal/step-1000/layer-{layer}.npz" for layer in (0, 6))
    assert f"--layers 0 6 --labels results/small/tables/labels.tsv --erasers {erasers} --words" in run.output
    assert "--folder results/small/models/late/encoding" in run.output
    assert "--steps 1000 2000 --layers 0 6" in run.output
