"""Where jobs run: partitions, login node or compute node. Nothing here needs a cluster."""

import re

import pytest

from tests.workflow.conftest import ROOT, SMALL, copy_repository, snakemake


def blocks(output: str) -> list[tuple[str, str, str]]:
    """Planned jobs: `rule` or `localrule`, its name, what is printed of it."""
    return re.findall(r"^(rule|localrule) (\w+):\n((?: +.*\n)+)", output, re.MULTILINE)


def on_slurm(repository, device: str) -> list[tuple[str, str, str]]:
    """The paper's study as the SLURM profile plans it."""
    study = {"model": {"device": device}, "encoding": {"device": device}}
    run = snakemake(repository, "-n", "--workflow-profile", "workflow/profiles/slurm", config=study)
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
        stated = {name for _, name, text in planned if re.search(r"mem_mb=\d+.*runtime=\d+", text)}
        assert stated == {name for _, name, _ in planned}


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in ROOT.glob("workflow/profiles/*/config.yaml")))
def test_a_profile_says_why_each_key_has_its_value(profile):
    lines = (ROOT / f"workflow/profiles/{profile}/config.yaml").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"[a-z]", line)]
    assert keys
    assert [lines[number] for number in keys if not lines[number - 1].startswith("# ")] == []


def test_the_allocations_profile_is_refused_outside_one(repository, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    run = snakemake(repository, "-n", "--workflow-profile", "workflow/profiles/allocation", config=SMALL)
    assert run.status != 0
    assert "this profile runs inside a SLURM allocation: sbatch -c 16" in run.output


def test_an_allocation_gives_its_own_cores_and_memory(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "6")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1500")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    profile = ("--workflow-profile", "workflow/profiles/allocation")
    run = snakemake(folder, *profile, "results/small/data/words.tsv", config=SMALL)
    assert run.status == 0, run.output
    assert "Provided cores: 6\n" in run.output
    assert 'Provided resources: mem_mb=Resource("mem_mb", 9000)' in run.output
