"""Where jobs run: conda environments, partitions, login node or compute node. Nothing here needs a cluster."""

import json
import re
import sys

import pytest

from tests.workflow.conftest import ROOT, SMALL, copy_repository, snakemake

#: Answers what Snakemake asks of conda. An environment is a python that notes its calls and is this one.
CONDA = """#!/usr/bin/env bash
case "$1 $2" in
    "info --json") echo '{info}' ;;
    "--version ") echo "conda 24.9.2" ;;
    "config --get") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    "env create")
        prefix=$(sed 's/.*--prefix //' <<<"$*")
        mkdir -p "$prefix/bin"
        printf '#!/usr/bin/env bash\\necho "$@" >>%q/calls\\nexec %q "$@"\\n' "$prefix" {python} >"$prefix/bin/python"
        chmod +x "$prefix/bin/python" ;;
    "clean -y") ;;
    *) echo "not asked before: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """A stand-in for conda, first on the PATH."""
    (tmp_path / "bin").mkdir()
    info = json.dumps({"conda_prefix": str(tmp_path), "platform": "linux-64"})
    (tmp_path / "bin/conda").write_text(CONDA.format(info=info, python=sys.executable))
    (tmp_path / "bin/conda").chmod(0o755)
    (tmp_path / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_every_rule_is_planned_with_conda(repository, conda):
    for config in ("config/config.yaml", "config/demo.yaml"):
        run = snakemake(repository, "-n", "--cores", "1", "--software-deployment-method", "conda", config=config)
        assert run.status == 0, run.output
        created = re.findall(r"Conda environment (\S+) will be created", run.output)
        assert {name.rsplit("/", 1)[1] for name in created} == {"language.yaml", "analysis.yaml"}


def test_a_job_runs_in_its_environment_not_in_that_of_the_head(conda, tmp_path):
    folder = copy_repository(tmp_path / "study")
    words = "results/small/data/words.tsv"
    run = snakemake(folder, words, "--cores", "1", "--software-deployment-method", "conda", config=SMALL)
    assert run.status == 0, run.output
    calls = [path.read_text() for path in folder.glob(".snakemake/conda/*/calls")]
    assert len(calls) == 1
    assert calls[0].startswith("-m dynalign.datasets.simulation words ")


def blocks(output: str) -> list[tuple[str, str, str]]:
    """Planned jobs: `rule` or `localrule`, its name, what is printed of it."""
    return re.findall(r"^(rule|localrule) (\w+):\n((?: +.*\n)+)", output, re.MULTILINE)


def on_slurm(repository, device: str) -> list[tuple[str, str, str]]:
    """The paper's study as the SLURM profile plans it."""
    study = {"model": {"device": device}, "encoding": {"device": device}}
    run = snakemake(repository, "-n", "--workflow-profile", "profiles/slurm", config=study)
    assert run.status == 0, run.output
    return blocks(run.output)


def test_what_needs_a_network_runs_on_the_login_node(repository):
    """Compute nodes often have none; a plan does not tell where a job runs, the rules do."""
    downloads = {name for _, name, _ in on_slurm(repository, "cpu") if name.startswith("fetch_")}
    assert downloads == {"fetch_checkpoint", "fetch_tokenizer", "fetch_stanza", "fetch_array"}
    rules = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    text = {block.split(":")[0].strip(): block for block in re.split(r"\n *rule\b", rules)[1:]}
    assert {name for name in downloads if "localrule: True" in text[name]} == downloads
    assert "localrule" not in text["annotate"] + text["representation"] + text["encoding"]


def test_only_rules_with_a_device_ask_for_gpus(repository):
    for device, expected in (("cuda", {"representation", "encoding"}), ("cpu", set())):
        planned = on_slurm(repository, device)
        assert {name for _, name, text in planned if re.search(r"\bgpu=1\b", text)} == expected
        stated = {name for _, name, text in planned if re.search(r"mem_mb=\d+.*runtime=\d+.*gpu=\d", text)}
        assert stated == {name for _, name, _ in planned} - {"all"}


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml")))
def test_a_profile_says_why_each_key_has_its_value(profile):
    lines = (ROOT / f"profiles/{profile}/config.yaml").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"[a-z]", line)]
    assert keys
    assert [lines[number] for number in keys if not lines[number - 1].startswith("# ")] == []


def test_the_allocations_profile_is_refused_outside_one(repository, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    run = snakemake(repository, "-n", "--workflow-profile", "profiles/allocation", config=SMALL)
    assert run.status != 0
    assert "this profile runs inside a SLURM allocation: sbatch -c 16" in run.output


def test_an_allocation_gives_its_own_cores_and_memory(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "6")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1500")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    profile = ("--workflow-profile", "profiles/allocation")
    run = snakemake(folder, *profile, "results/small/data/words.tsv", config=SMALL)
    assert run.status == 0, run.output
    assert "Provided cores: 6\n" in run.output
    assert 'Provided resources: mem_mb=Resource("mem_mb", 9000)' in run.output
