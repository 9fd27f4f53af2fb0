"""A finished study: nothing runs again without reason, and growth plans only what is new."""

import copy
import os
import re
import shutil

import pytest

from tests.benchmarks import growth
from tests.workflow.conftest import AGGREGATIONS, SMALL, copy_repository, snakemake

FILES_OF_REGIONS = {"image": "nii.gz", "labels": "tsv"}


def plan(folder, *arguments, **changes) -> dict[str, int]:
    study = copy.deepcopy(SMALL)
    for key, value in changes.items():
        study[key] = study.get(key, {}) | value if isinstance(value, dict) else value
    run = snakemake(folder, "-n", "--cores", "1", *arguments, config=study)
    assert run.status == 0, run.output
    return run.jobs


def branch(jobs: dict[str, int]) -> dict[str, int]:
    """Planned jobs that are no aggregation."""
    return {name: count for name, count in jobs.items() if name not in AGGREGATIONS and not name.startswith("figure")}


def test_running_again_plans_nothing(finished):
    assert plan(finished) == {}


def test_one_more_checkpoint(finished):
    jobs = plan(finished, model={"steps": [0, 32, 256]})
    assert branch(jobs) == {"representation": 1, "removal": 1, "probing": 1, "encoding": 1}
    assert jobs["cell_statistics"] == 1


def test_one_more_subject(finished):
    jobs = plan(finished, subjects=["F", "M"])
    assert branch(jobs) == {"simulate_subject": 1, "responses": 1, "encoding": 3}
    assert jobs["cell_statistics"] == 3
    assert jobs["score_maps"] == 1 + 1


def test_one_more_layer(finished):
    jobs = plan(finished, model={"layers": [0, 2]})
    assert branch(jobs) == {"removal": 3, "probing": 3, "encoding": 3}


def test_regions_and_a_ceiling_ask_for_no_encoding(finished):
    rois = {key: f"results/small/data/sub-{{subject}}_rois.{end}" for key, end in FILES_OF_REGIONS.items()}
    jobs = plan(finished, rois=rois)
    assert jobs.pop("figure_roi_alignment") == 1
    assert set(jobs) == {
        "simulate_rois",
        "rois",
        "roi_statistics",
        "roi_alignment_table",
        "roi_effects_table",
        "table_dictionary",
        "page",
    }
    two = plan(finished, subjects=["F", "M"])
    jobs = plan(finished, subjects=["F", "M"], noise_ceiling={"compute": True})
    assert {name: count for name, count in jobs.items() if count != two.get(name)} == {
        "noise_ceiling": 2,
        "ceiling_statistics": 2,
        "noise_ceiling_table": 1,
        "alignment_to_ceiling_table": 1,
        "figure_noise_ceiling": 1,
    }


def test_an_option_reruns_what_uses_it(finished):
    assert branch(plan(finished, encoding={"gap": 6})) == {"encoding": 3}
    assert branch(plan(finished, probing={"permutations": 11})) == {"probing": 3}
    assert branch(plan(finished, encoding={"block_voxels": 100, "device": "auto"}, model={"device": "auto"})) == {}
    assert plan(finished, figures={"step_axis": "log"}).keys() == {
        f"figure_{name}"
        for name in (
            "01_perplexity",
            "02_sentence_classes",
            "03_word_classes",
            "04_best_layer_alignment",
            "05_best_layer",
            "06_significant_layers",
            "07_removal_bars",
            "08_alignment_by_layer",
            "09_sentence_distributions",
            "10_word_distributions",
            "11_mean_layer_alignment",
            "12_probing",
            "13_emergence",
            "14_layer_step",
            "15_perplexity_alignment",
            "16_layer_choice",
            "17_shares",
            "18_voxels",
        )
    } | {"table_dictionary", "page"}


def test_a_fresh_clone_with_copied_results_plans_nothing(finished, tmp_path):
    clone = copy_repository(tmp_path / "clone")
    shutil.copytree(finished / "results", clone / "results", dirs_exist_ok=True)
    assert plan(clone) == {}
    shutil.copytree(finished / ".snakemake", clone / ".snakemake", dirs_exist_ok=True)
    assert plan(clone) == {}


def test_a_copied_folder_plans_nothing(finished, tmp_path):
    """`cp -r`: every file has a new time stamp, in no order; what users edit is seen all the same."""
    copied = shutil.copytree(finished, tmp_path / "copied", symlinks=True, copy_function=shutil.copy)
    for number, path in enumerate(sorted((copied / "results").rglob("*"), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
    assert plan(copied) == {}
    story = copied / "resources/demo/story.txt"
    story.write_text(story.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert plan(copied)["time_story"] == 1


def test_other_memory_and_time_plan_nothing(finished):
    """A second attempt asks for more of both."""
    asked = ["--default-resources", "mem_mb=1 * attempt", "runtime=7", "--set-resources"]
    asked += [f"{rule}:{name}=9" for rule in ("representation", "encoding") for name in ("mem_mb", "runtime")]
    assert plan(finished, *asked) == {}


def test_touched_code_plans_nothing(finished):
    for path in [*(finished / "workflow").rglob("*"), *(finished / "resources").rglob("*")]:
        if path.is_file():
            path.touch()
    assert plan(finished) == {}


@pytest.fixture
def edit(finished):
    """Edit a module of the finished copy, and undo it."""
    undo = {}

    def change(module: str, old: str, new: str) -> None:
        path = finished / "workflow/dynalign" / f"{module}.py"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{module} has no {old!r}"
        undo.setdefault(path, text)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    yield change
    for path, text in undo.items():
        path.write_text(text, encoding="utf-8")


def test_a_comment_or_a_docstring_plans_nothing(finished, edit):
    edit("encoding/encode", '"""', '"""Reworded. ')
    edit("statistics/effects", "import numpy as np", "import numpy as np  # arrays")
    assert plan(finished) == {}


@pytest.mark.parametrize(
    ("module", "old", "new", "rules"),
    # Snakemake names the rules where the change enters; those behind them run because their input changes.
    [
        ("encoding/ridge", "TIE = 1e-6", "TIE = 2e-6", {"encoding"}),
        ("removal/logistic", "float = 1e-5", "float = 1e-6", {"probing"}),
        ("folds", "np.round(np.linspace(", "np.rint(np.linspace(", {"removal"}),
        ("datasets/simulation", "_AR = 0.4", "_AR = 0.5", {"time_story"}),
        # The page names the code of every step by its digest.
        ("provenance", "[:12]", "[:12].lower()", {"page"}),
    ],
)
def test_an_edit_to_an_imported_function_reruns_exactly_the_rules_that_use_it(finished, edit, module, old, new, rules):
    edit(module, old, new)
    run = snakemake(finished, "-n", "--cores", "1", config=SMALL)
    assert run.status == 0, run.output
    changed = re.search(r"Rules with provenance triggered jobs: (.*)", run.output)
    assert set(changed[1].split() if changed else []) == rules


def test_code_that_nobody_uses_reruns_nothing(finished, edit):
    edit("encoding/delays", "\n\n\ndef ", "\n\n\ndef unused_helper():\n    return 1\n\n\ndef ")
    assert plan(finished) == {}


def test_one_more_checkpoint_of_a_large_study_plans_its_own_jobs(tmp_path):
    """The grid of tests/benchmarks/growth.py, cut down: finished without computing, with the default triggers."""
    folder = copy_repository(tmp_path)
    steps = [0, 1, 2, 4, 8, 16]
    growth.run_snakemake(folder, growth.study_of(steps[:-1], 3, 2), code=growth.FINISH)
    finished, *_ = growth.run_snakemake(folder, growth.study_of(steps[:-1], 3, 2), "-n")
    assert finished.jobs == {}
    grown, *_ = growth.run_snakemake(folder, growth.study_of(steps, 3, 2), "-n")
    assert growth.of_one_checkpoint(grown.jobs) == {
        "fetch_checkpoint": 1,
        "representation": 1,
        "removal": 3,
        "probing": 3,
        "encoding": 2,
        "cell_statistics": 2,
    }
