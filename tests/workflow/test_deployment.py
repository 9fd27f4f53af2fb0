"""The workflow where it does not lie: in another folder, as a module, deployed from a git URL, copied.

That it runs in a checkout is what the other tests of this folder show. Each way finishes the tiny study by itself; the
package and its files come from a wheel that is built from the repository's tag, never from the checkout.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Run, copy_repository, snakemake, tiny_study

URL, TAG = "https://github.com/study/dynalign", "v0.2.0"

MODULE = """
configfile: "config/config.yaml"


module dynalign:
    snakefile:
        {snakefile!r}
    prefix:
        "first"
    config:
        config


use rule * from dynalign as dynalign_*


rule all:
    default_target: True
    input:
        rules.dynalign_all.input,
"""


def call(*command, **options) -> str:
    """Call a program that has to succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A bare repository that stands for the one on GitHub, with a release's tag, and what pip installs of it."""
    folder = tmp_path_factory.mktemp("published")
    source = copy_repository(folder / "source")
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "Release"), ("tag", TAG)):
        call(*git, *command, cwd=source)
    call("git", "clone", "-q", "--bare", source, folder / "hub/study/dynalign")
    shutil.rmtree(source)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    wheel = f"git+file://{folder}/hub/study/dynalign@{TAG}"
    call(sys.executable, "-m", "pip", "install", *options, "--target", folder / "installed", wheel)
    return folder


@pytest.fixture
def elsewhere(published, monkeypatch, tmp_path) -> Path:
    """An empty folder; the package is the installed one, and GitHub is the bare repository."""
    monkeypatch.setenv("PYTHONPATH", str(published / "installed"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    redirection = {"KEY_0": f"url.file://{published}/hub/.insteadOf", "VALUE_0": "https://github.com/", "COUNT": "1"}
    for name, value in redirection.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    (tmp_path / "study/config").mkdir(parents=True)
    return tmp_path / "study"


def configure(folder: Path, steps: list[int]) -> None:
    """Write the tiny study, without its baseline, where a workflow looks for its configuration."""
    study = tiny_study(folder) | {"baselines": []}
    study["model"]["steps"] = steps
    (folder / "config/config.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")


def finishes(folder: Path, *arguments: str, prefix: str = "") -> Run:
    """Run the study of one checkpoint to its tables and a figure; what the default target asks for besides."""
    names = ("tables/removal_effects.tsv", "figures/figure-07-removal-bars.png")
    targets = [f"{prefix}results/tiny/{name}" for name in names]
    configure(folder, [16])
    run = snakemake(folder, "--cores", "2", "--show-failed-logs", *arguments, *targets)
    assert run.status == 0, run.output[-6000:]
    assert all((folder / name).is_file() for name in targets)
    assert snakemake(folder, "-n", "--cores", "1", *arguments, *targets).jobs == {}
    return snakemake(folder, "-n", "--cores", "1", *arguments)


def test_a_checkout_serves_another_folder(elsewhere, published):
    call("git", "clone", "-q", "--branch", TAG, published / "hub/study/dynalign", elsewhere.parent / "checkout")
    finishes(elsewhere, "--snakefile", str(elsewhere.parent / "checkout/workflow/Snakefile"))


def test_a_module_puts_all_results_under_its_prefix(elsewhere):
    (elsewhere / "workflow").mkdir()
    (elsewhere / "workflow/Snakefile").write_text(MODULE.format(snakefile=str(ROOT / "workflow/Snakefile")))
    rest = finishes(elsewhere, prefix="first/").jobs
    assert {path.name for path in (elsewhere / "results/tiny").iterdir()} == {"data"}, "what the configuration names"
    assert rest["dynalign_page"] == 1
    assert not {"dynalign_representation", "dynalign_encoding", "dynalign_cell_statistics"} & set(rest)


def test_snakedeploy_deploys_it_from_a_git_url_into_an_empty_folder(elsewhere):
    (elsewhere / "config").rmdir()
    deploy = (sys.executable, "-c", "from snakedeploy.client import main; main()", "deploy-workflow")
    call(*deploy, URL, ".", "--tag", TAG, cwd=elsewhere)
    assert f'github("study/dynalign", path="workflow/Snakefile", tag="{TAG}")' in (
        elsewhere / "workflow/Snakefile"
    ).read_text(encoding="utf-8")
    plan = snakemake(elsewhere, "-n", "--cores", "16")
    assert plan.jobs["encoding"] == 8 * 3, "what is deployed is the paper's study"
    finishes(elsewhere)


def test_without_the_package_one_line_says_how_to_install_it(tmp_path):
    """Snakemake runs from a Python that has everything but this package."""
    folder = copy_repository(tmp_path)
    hide = "import sys; sys.modules['dynalign'] = None; from snakemake.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", hide, "-n", "--cores", "1"]
    run = Run(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False))
    assert run.status != 0
    assert "has no package dynalign; install it" in run.output
    assert "Traceback" not in run.output


def test_jobs_whose_python_lacks_the_package_stop_before_anything_runs(repository, monkeypatch, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    run = snakemake(repository, "-n", "--cores", "1")
    assert run.status != 0
    assert f"jobs call `python`, here {tmp_path}/python" in run.output
    assert "activate its environment" in run.output
