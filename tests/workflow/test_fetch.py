"""Fetching by the workflow, from stand-ins: the Harry Potter data in true shapes, and checkpoints of a model."""

import subprocess

import numpy as np
import pytest
import yaml

from dynalign.datasets import harry_potter, rehearsal
from dynalign.datasets.drive import DRIVE_VARIABLE
from dynalign.tables.reader import read_table
from tests import drive as stand_in
from tests import hub as hub_stand_in
from tests.drive import cut, npy, page, status
from tests.workflow.conftest import ROOT, copy_repository, snakemake

DATA = "resources/harry-potter"


def responses(voxels: int) -> bytes:
    """Responses of the true shape in few bytes: half precision, one voxel that varies."""
    values = np.zeros((1211, voxels), dtype=np.float16)
    values[:, 0] = np.arange(1211)
    return npy(values)


@pytest.fixture
def drive(monkeypatch):
    grammar = yaml.safe_load((ROOT / "resources/demo/grammar.yaml").read_text(encoding="utf-8"))
    arrays = {"words_fmri": rehearsal.words(grammar, 0), **harry_potter.timing()}
    with stand_in.serve() as served:
        for name, number in harry_potter.FILES.items():
            if name in arrays:
                served.files[number] = npy(arrays[name])
            else:
                served.files[number] = responses(harry_potter.SHAPES[name][1])
        monkeypatch.setenv(DRIVE_VARIABLE, served.url)
        yield served


def test_the_twelve_files_come_through_faults_and_are_watched_afterwards(drive, tmp_path):
    folder = copy_repository(tmp_path / "repository")
    (folder / DATA).mkdir()
    ids = harry_potter.FILES
    # One array placed by hand, one whose connection breaks off, one that is busy first, one whose quota is used up.
    (folder / DATA / "data_subject_N.npy").write_bytes(drive.files[ids["data_subject_N"]])
    faults = {
        "data_subject_F": [cut(10_000_000)],
        "runs_fmri": [status(503)],
        "data_subject_J": [page("Google Drive - Quota exceeded")],
    }
    drive.faults_of |= {ids[name]: answers for name, answers in faults.items()}

    run = snakemake(folder, "--cores", "2", "--keep-going", "--show-failed-logs", "fetch_harry_potter")
    assert run.status != 0
    refusal = [line for line in run.output.splitlines() if line.startswith("error: ")]
    assert len(refusal) == 1
    assert "data_subject_J: Google Drive sent a web page (Google Drive - Quota exceeded)" in refusal[0]
    assert f"https://drive.google.com/file/d/{ids['data_subject_J']}/view" in refusal[0]
    assert f"save it as {DATA}/data_subject_J.npy and run again" in refusal[0]
    there = {path.name for path in (folder / DATA).iterdir()}
    assert there == {f"{name}.npy{end}" for name in ids if name != "data_subject_J" for end in ("", ".sha256")}
    assert ids["data_subject_N"] not in {query["id"] for query, _ in drive.asked}

    before = len(drive.asked)
    run = snakemake(folder, "--cores", "2", "--show-failed-logs", "fetch_harry_potter")
    assert run.status == 0, run.output
    assert [query["id"] for query, _ in drive.asked[before:]] == [ids["data_subject_J"]]
    for name, number in ids.items():
        assert (folder / DATA / f"{name}.npy").read_bytes() == drive.files[number]
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(check, cwd=folder / DATA, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK\n") == 12
    plan = snakemake(folder, "-n", "--cores", "2")
    assert "fetch_array" not in plan.jobs
    assert plan.jobs["encoding"] == 8 * 3

    # Whoever reads a file that changed is told, and nothing is made of it.
    with open(folder / DATA / "words_fmri.npy", "r+b") as stream:
        stream.seek(1000)
        stream.write(b"x")
    run = snakemake(folder, "--cores", "1", "--show-failed-logs", "results/paper/story/words.tsv")
    assert run.status != 0
    assert f"{DATA}/words_fmri.npy: changed since it was checked" in run.output
    assert not (folder / "results/paper/story/words.tsv").exists()
    # What it says to do helps.
    for end in ("", ".sha256"):
        (folder / DATA / f"words_fmri.npy{end}").unlink()
    run = snakemake(folder, "--cores", "1", "--show-failed-logs", "results/paper/story/words.tsv")
    assert run.status == 0, run.output
    assert len((folder / "results/paper/story/words.tsv").read_text().splitlines()) == 5177


def checkpoints_at_the_hub(folder, hub, contents: dict[int, bytes], *arguments: str):
    """Run the rules that fetch checkpoints, on two cores."""
    for step, content in contents.items():
        hub.add(f"step{step}", {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": content})
    hub.add("main", {"config.json": b"{}", "tokenizer.json": b"{}"})
    study = {"study": "hub", "model": {"source": hub_stand_in.SOURCE, "steps": list(contents)}}
    targets = [f"results/hub/tables/{name}.tsv" for name in ("checkpoints", "audit")]
    return snakemake(folder, "--cores", "2", "--show-failed-logs", *arguments, *targets, config=study)


def test_checkpoints_that_are_not_what_they_say_stop_a_study_before_any_is_fetched(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "repository")
    with hub_stand_in.serve() as hub:
        for name, value in {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        run = checkpoints_at_the_hub(folder, hub, {0: b"a", 1: b"a", 1000: b"b", 2000: b"b"})
        assert run.status != 0
        assert "step-1000, step-2000: the same weights" in run.output
        assert not [path for _, path in hub.requests if "/resolve/" in path]
        assert not (folder / "resources/models").exists()

        run = checkpoints_at_the_hub(folder, hub, {0: b"a", 1: b"a", 1000: b"b", 2000: b"c"})
        assert run.status == 0, run.output
        tables = [read_table(folder / f"results/hub/tables/{name}.tsv", kind=name) for name in ("audit", "checkpoints")]
        for column in ("checkpoint", "revision", "commit", "sha256"):
            assert tables[0][column].tolist() == tables[1][column].tolist()

        assert checkpoints_at_the_hub(folder, hub, {0: b"a", 1: b"a", 1000: b"b", 2000: b"c"}, "-n").jobs == {}
        more = checkpoints_at_the_hub(folder, hub, {0: b"a", 1: b"a", 1000: b"b", 2000: b"c", 3000: b"d"}, "-n")
        assert more.jobs == {"audit": 1, "checkpoints_table": 1, "fetch_checkpoint": 1}
