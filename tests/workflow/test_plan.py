"""What would run: counts of jobs, refusals before anything starts."""

import copy
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import SMALL, copy_repository, snakemake, tiny_study

#: The profiles under which jobs are tried again; no cluster is needed.
PROFILES = {name: ("--workflow-profile", f"workflow/profiles/{name}") for name in ("slurm", "allocation")}
PROFILES["slurm"] += ("--executor", "local")


def test_the_papers_study_is_under_300_jobs(repository):
    run = snakemake(repository, "-n", "-p", "--cores", "16")
    assert run.status == 0, run.output
    folder = "resources/models/EleutherAI--pythia-160m"
    assert f" --folders {folder}/step0 {folder}/step1000 " in run.output
    assert run.jobs["encoding"] == 8 * 3
    assert run.jobs["probing"] == run.jobs["removal"] == 8 * 7
    assert run.jobs["representation"] == run.jobs["fetch_checkpoint"] == 7
    assert sum(run.jobs.values()) < 300


def test_the_published_codes_study_is_planned_too(repository):
    run = snakemake(repository, "-n", "--cores", "16", config="config/published-code.yaml")
    assert run.status == 0, run.output
    assert run.jobs["encoding"] == 24


def changed(**sections) -> dict:
    study = copy.deepcopy(SMALL)
    for key, value in sections.items():
        if isinstance(value, dict) and isinstance(study.get(key), dict):
            study[key] |= value
        else:
            study[key] = value
    return study


def test_arms_are_named_by_method_and_a_parse_of_ones_own_needs_no_parser(repository):
    (repository / "config/parse.conllu").write_text("checked when it is read\n")
    methods = {"methods": ["ridge-in-sample", "leace-in-sample"], "coding": "onehot", "controls": False}
    annotation = {"file": "config/parse.conllu", "download": True}
    study = changed(removal=methods, annotation=annotation)
    run = snakemake(repository, "-n", "-p", "--cores", "1", config=study)
    assert run.status == 0, run.output
    arms = re.search(r"--folder results/small/encoding --layers 2 --arms (.*?) --options", run.output)
    assert arms
    assert {"none.original"} | {
        f"{way}-in-sample.{name}" for way in ("ridge", "leace") for name in ("tense", "pos")
    } < set(arms[1].split())
    assert "output: results/small/encoding/step-256/F, " in run.output
    assert run.jobs["encoding"] == run.jobs["probing"] == run.jobs["removal"] == 3
    assert run.jobs["annotate"] == 1
    assert "fetch_stanza" not in run.jobs
    assert "input: results/small/story/words.tsv, config/parse.conllu" in run.output


def test_shares_of_variance_are_planned_where_they_are_asked_for(repository):
    for subjects in (["F"], ["F", "M"]):
        run = snakemake(
            repository, "-n", "-p", "--cores", "1", config=changed(subjects=subjects, shares={"compute": True})
        )
        assert run.status == 0, run.output
        n = len(subjects)
        # Three checkpoints, the baseline among them; a table of the mean where there are several subjects.
        assert run.jobs["shares_statistics"] == 3 * n
        assert run.jobs.get("group_shares_statistics", 0) == 3 * (n > 1)
        assert run.jobs["figure_unique_map"] == n
        assert run.jobs["figure_17_shares"] == run.jobs["shares_table"] == 1
        assert "emergence steps" in run.output
        assert "--unique --gap" in run.output
    run = snakemake(repository, "-n", "--cores", "1", config=changed(shares={"compute": False}))
    assert run.status == 0, run.output
    assert not [name for name in run.jobs if "shares" in name or "unique" in name]
    assert run.jobs["figure_18_voxels"] == 1


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (changed(encodng={"folds": 5}), "encodng: unknown key (value {'folds': 5}); did you mean 'encoding'?"),
        (changed(model={"layers": [0, 3]}), "layers: unknown layer 3; allowed are 0 to 2 (depth)"),
        (
            changed(model={"steps": [0, 100]}),
            "training saves no step 100; it saves [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]",
        ),
        (changed(subjects=["F", "F"]), "subjects: 'F' stands twice"),
        ({"subjects": ["Z"]}, "subjects: unknown 'Z'; the Harry Potter data has F, H, I, J, K, L, M, N"),
    ],
)
def test_a_wrong_configuration_stops_before_anything_runs(repository, study, message):
    run = snakemake(repository, "-n", "--cores", "1", config=study)
    assert run.status != 0
    assert message in run.output
    assert "Traceback" not in run.output


def test_rules_ask_for_a_gpu_exactly_when_they_run_on_one(repository):
    for device, expected in (("cuda", 1), ("cpu", 0)):
        study = changed(model={"device": device}, encoding={"device": device})
        run = snakemake(repository, "-n", "--cores", "1", config=study)
        assert run.status == 0, run.output
        rules = run.output.split("\nrule ")
        gpus = {
            text.split(":")[0]: f"gpu={expected}" in text
            for text in rules
            if text.startswith(("representation:", "encoding:"))
        }
        assert gpus == {"representation": True, "encoding": True}
        assert not any("gpu=" in text for text in rules if text.startswith(("probing:", "annotate:")))


@pytest.mark.parametrize("study", ["config/config.yaml", "config/seeds.yaml"])
def test_every_job_has_a_log_memory_and_a_limit_of_time(repository, study):
    """Rules say what goes beyond the defaults, which stand once, in the cluster's profile."""
    run = snakemake(repository, "-n", "--cores", "16", *PROFILES["slurm"], config=study)
    assert run.status == 0, run.output
    jobs = re.findall(r"\n(?:local)?rule (\w+):\n((?: +.*\n)+)", run.output)
    assert len(jobs) == sum(run.jobs.values()) + 1
    for name, text in jobs:
        if name == "default":
            continue
        assert re.search(r"\n? +log: results/", text), name
        for resource in ("mem_mb", "runtime"):
            assert re.search(rf"\b{resource}=\d+", text), (name, resource)
    # Representations may come from a cache, of which Snakemake keeps no benchmark: their log tells the time.
    heavy = {"annotate", "probing", "encoding"}
    assert {name for name, text in jobs if " benchmark: " in text} >= heavy


def test_a_key_that_stands_twice_is_refused_with_its_lines(repository):
    text = yaml.safe_dump(SMALL, sort_keys=False) + "probing:\n  permutations: 10\nseed: 1\n"
    first, last = (1 + [line.split(":")[0] for line in text.split("\n")].index("probing"), text.count("\n") - 2)
    (repository / "config/twice.yaml").write_text(text, encoding="utf-8")
    run = snakemake(repository, "-n", "--cores", "1", config="config/twice.yaml")
    assert run.status != 0
    assert f"twice.yaml: the key 'probing' stands twice, in lines {first} and {last}; keep one" in run.output
    assert "Traceback" not in run.output


#: In place of `python`: a job fails the first time; the second time all outputs of the plan are there, though empty.
FAILS_ONCE = """#!/bin/sh
[ "$1" = -c ] && exec {python} "$@"
tried={folder}/tried/$(printf %s "$*" | sha1sum | cut -c1-40)
[ -e $tried ] || {{ : > $tried; exit 1; }}
while read -r path; do
    case $path in *.*) [ -e "$path" ] || : > "$path" ;; *) mkdir -p "$path" ;; esac
done < {folder}/outputs
"""


@pytest.fixture
def fails_once(tmp_path, monkeypatch) -> Path:
    """A copy in which every job fails once, and a study in which every rule that downloads nothing has one."""
    folder = copy_repository(tmp_path / "repository")
    study = tiny_study(folder)
    study |= {"subjects": ["F", "M"], "baselines": ["controls"], "noise_ceiling": {"compute": True}}
    study |= {"shares": {"ratios": [1e-3, 1.0, 1e3]}, "model": study["model"] | {"steps": [16]}}
    regions = {"image": "nii.gz", "labels": "tsv"}
    study["rois"] = {key: f"results/tiny/data/{{subject}}_{key}.{suffix}" for key, suffix in regions.items()}
    plan = snakemake(folder, "-n", "--cores", "16", config=study)
    assert plan.status == 0, plan.output
    outputs = [path for line in re.findall(r"\n +output: (.*)", plan.output) for path in line.split(", ")]
    (tmp_path / "outputs").write_text("".join(f"{path}\n" for path in outputs), encoding="utf-8")
    for path in outputs:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "tried").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(FAILS_ONCE.format(python=sys.executable, folder=tmp_path), encoding="utf-8")
    (tmp_path / "bin/python").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]))
    return folder


@pytest.mark.parametrize("profile", PROFILES)
def test_every_job_is_given_twice_the_memory_and_time_when_it_is_tried_again(fails_once, profile, monkeypatch):
    for name, value in {"JOB_ID": 1, "CPUS_PER_TASK": 16, "MEM_PER_NODE": 1_000_000}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    run = snakemake(fails_once, "--cores", "16", *PROFILES[profile], config="config/test.yaml")
    assert run.status == 0, run.output[-6000:]
    attempts = {}
    for name, text in re.findall(r"\n(?:local)?rule (\w+):\n((?: +.*\n)+)", run.output):
        asked = {key: int(value) for key, value in re.findall(r"\b(mem_mb|runtime)=(\d+)", text)}
        attempts.setdefault((name, re.search(r"jobid: (\d+)", text)[1]), []).append(asked)
    attempts = {job: asked for job, asked in attempts.items() if job[0] != "default"}
    assert {"annotate", "train_model", "representation", "encoding", "noise_ceiling"} < {name for name, _ in attempts}
    for job, (first, second) in attempts.items():
        assert set(first) >= {"slurm": {"mem_mb", "runtime"}, "allocation": {"mem_mb"}}[profile], job
        assert second == {key: 2 * value for key, value in first.items()}, job
