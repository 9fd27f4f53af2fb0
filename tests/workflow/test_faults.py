"""Kills at random moments, a full disk, damage, two heads: what is lost is nothing, and the same command goes on.

After a killed head, ``snakemake --unlock`` comes first.

Every try ends in the same check: no output that stands in the folder differs from an undisturbed run's, whether the
run had ended or not, and a rerun brings the missing ones. ``FAULTS=20 pytest tests/workflow/test_faults.py`` sets the
number of kills.
"""

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.workflow.conftest import PROFILE, ROOT, TARGETS, copy_repository, snakemake, tiny_study
from tests.workflow.test_deployment import MODULE

KILLS = int(os.environ.get("FAULTS", "5"))


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every output; logs and benchmarks tell times, hidden folders are what a kill left."""
    results, found = folder / "results/tiny", {}
    # Orphans are at work: a hidden folder, or one that is replaced, may be gone when its turn comes.
    for where, folders, files in os.walk(results):
        folders[:] = [name for name in folders if name[0] != "." and name not in ("logs", "benchmarks")]
        for path in (Path(where, name) for name in files if name[0] != "."):
            with contextlib.suppress(FileNotFoundError):
                found[str(path.relative_to(results))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(folder: Path) -> list[Path]:
    return [path for path in (folder / "results").rglob(".*") if path.name != ".snakemake_timestamp"]


class Undisturbed:
    """A folder in which the tiny study ran once, its outputs, and how long that took."""

    def __init__(self, folder: Path, study: dict, seconds: float):
        self.folder, self.study, self.seconds = folder, study, seconds
        self.outputs = outputs(folder)
        assert not leftovers(folder)

    def copy(self, target: Path, without: tuple[str, ...] = ()) -> Path:
        """A copy of all, without some outputs."""
        shutil.copytree(self.folder, target, symlinks=True)
        for name in without:
            path = target / "results/tiny" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return target

    def run(self, folder: Path, *arguments: str):
        targets = [name for name in arguments if not name.startswith("-")]
        flags = [name for name in arguments if name.startswith("-")]
        targets = [f"results/tiny/{name}" for name in targets] or TARGETS
        return snakemake(folder, *PROFILE, "--cores", "2", *flags, *targets, config=self.study)

    def check(self, folder: Path, complete: bool = True) -> None:
        """Nothing that stands there differs; if `complete`, nothing is missing and nothing lies about."""
        found = outputs(folder)
        different = {name for name, digest in found.items() if self.outputs.get(name) != digest}
        assert not different
        if complete:
            assert found.keys() == self.outputs.keys()
            assert not leftovers(folder)


@pytest.fixture(scope="module")
def undisturbed(finished_tiny) -> Undisturbed:
    return Undisturbed(*finished_tiny)


def test_kills_at_random_moments_lose_nothing(undisturbed, tmp_path, record_property):
    """SIGKILL of the head (its jobs go on as orphans, beside those of the next head) or of one job."""
    rng = random.Random(7)
    folder = copy_repository(tmp_path / "killed")
    tiny_study(folder)
    (folder / "config/test.yaml").write_text(yaml.safe_dump(undisturbed.study, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--cores", "2", *PROFILE]
    command += ["--configfile", "config/test.yaml"]
    groups, killed, parts = [], {"head": 0, "job": 0}, []
    while sum(killed.values()) < KILLS:
        with open(folder / "head.log", "w") as log:
            head = psutil.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        groups.append(head.pid)
        end = time.monotonic() + rng.uniform(0, undisturbed.seconds / 6)
        victim = ("job", "head")[sum(killed.values()) % 2]
        while head.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        jobs, failed = [], False
        while victim == "job" and head.poll() is None and not jobs:
            jobs = steps_of(head)
        if head.poll() is None and victim == "head":
            head.kill()
            killed["head"] += 1
        elif jobs and head.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(jobs).kill()
                killed["job"] += 1
                failed = True
        status = head.wait(timeout=1200)
        output = (folder / "head.log").read_text(encoding="utf-8")
        # The killed job is all that went wrong: no file was found broken.
        assert status in ({0, 1} if failed else {0, -signal.SIGKILL}), output[-3000:]
        # It may have been killed just before it locked the folder, or after all was done.
        if status == -signal.SIGKILL and (second := undisturbed.run(folder)).status:
            assert "cannot be locked" in second.output
            assert undisturbed.run(folder, "--unlock").status == 0
        assert "    error: " not in output, output[-3000:]
        undisturbed.check(folder, complete=False)
        if status == 0:
            for group in groups:
                wait_for_orphans(group)
            parts.append(remove_a_part(folder, rng))
    run = undisturbed.run(folder)
    assert run.status == 0, run.output[-6000:]
    for group in groups:
        wait_for_orphans(group)
    undisturbed.check(folder)
    assert undisturbed.run(folder, "-n").jobs == {}
    record_property("kills", killed)
    print(f"killed {killed}, removed {parts}")


def steps_of(head: psutil.Process) -> list[psutil.Process]:
    """The steps' processes that a head has started."""
    found = []
    for process in head.children(recursive=True):
        try:
            if process.name().startswith("python") and any("dynalign." in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


#: Folders in the order of their making, from the first that a rerun may have to make again.
STAGES = ("representation", "removal", "probing", "encoding", "statistics", "maps", "figures")
EARLY_TABLES = ("labels.tsv", "class_counts.tsv", "label_correlations.tsv")


def remove_a_part(folder: Path, rng: random.Random) -> str:
    """Remove what a random stage made, and all that follows."""
    first = rng.choice(STAGES[:5])
    for stage in STAGES[STAGES.index(first) :]:
        shutil.rmtree(folder / "results/tiny" / stage)
    for path in (folder / "results/tiny/tables").iterdir():
        if path.name not in EARLY_TABLES:
            path.unlink()
    return first


def wait_for_orphans(group: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"processes of group {group} are still alive")


STEP = "representation/step-16.safetensors"
ERASERS = "removal/step-16/layer-1.npz"


def test_a_full_disk_says_so_and_a_rerun_goes_on(undisturbed, tmp_path):
    folder = undisturbed.copy(tmp_path / "full", without=(STEP, "representation/step-16.layers.tsv"))
    whole = (undisturbed.folder / "results/tiny" / STEP).stat().st_size
    limit = f'ulimit -f {whole // 2 // 1024}; exec "$@"'
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--show-failed-logs", f"results/tiny/{STEP}"]
    command += ["--configfile", "config/test.yaml"]
    full = subprocess.run(["bash", "-c", limit, "bash", *command], cwd=folder, capture_output=True, text=True)
    output = full.stdout + full.stderr
    assert full.returncode == 1
    assert re.search(rf"error: results/tiny/{STEP}: cannot be written: File too large .*run again", output), output
    assert "Traceback" not in output
    undisturbed.check(folder, complete=False)
    assert STEP not in outputs(folder)
    assert undisturbed.run(folder, STEP).status == 0
    undisturbed.check(folder)


def flip(path: Path, share: float) -> None:
    """Flip one bit, at a place given as a share of the file, and leave the time stamp as it was."""
    data, times = bytearray(path.read_bytes()), path.stat()
    data[int(share * len(data))] ^= 16
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(path: Path) -> None:
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(data[: len(data) * 3 // 4])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_damaged_files_are_named_and_made_again(undisturbed, tmp_path):
    """Time stamps stay as they were, so that Snakemake sees nothing: the steps do."""
    damaged = {
        # file: (damage, an output that is made from it, what the log says)
        STEP: (lambda path: flip(path, 0.6), "probing/step-16/layer-1.tsv", "differs from its checksum"),
        "brain/F.npy": (lambda path: flip(path, 0.5), "encoding/random/F", "differs from its checksum"),
        "removal/step-0/layer-1.npz": (
            lambda path: flip(path, 0.5),
            "probing/step-0/layer-1.tsv",
            r"cannot be read as a \.npz archive",
        ),
        # Of the same job as the vectors above, which makes both again.
        "representation/step-16.perplexity.tsv": (cut, "tables/perplexity.tsv", "ends inside a line"),
    }
    folder = undisturbed.copy(tmp_path / "damaged", without=tuple(output for _, output, _ in damaged.values()))
    for name, (damage, _, _) in damaged.items():
        damage(folder / "results/tiny" / name)
    run = undisturbed.run(folder, "--keep-going", *(output for _, output, _ in damaged.values()))
    assert run.status == 1
    assert "Traceback" not in run.output
    for name, (_, output, message) in damaged.items():
        assert re.search(rf"\n    error: .*{name}: .*{message}.*(delete it and|make it again)", run.output), run.output
        assert not (folder / "results/tiny" / output).exists()
        # As the message says.
        (folder / "results/tiny" / name).unlink()
    assert undisturbed.run(folder, *(output for _, output, _ in damaged.values())).status == 0
    undisturbed.check(folder)


def test_a_folder_that_cannot_be_written_to_is_named(undisturbed, tmp_path):
    """Also where root may write everywhere: a file stands in the folder's place."""
    folder = undisturbed.copy(tmp_path / "closed", without=("removal",))
    (folder / "results/tiny/removal").write_text("not a folder")
    run = undisturbed.run(folder, "removal/step-16/layer-1.npz")
    assert run.status == 1
    assert "results/tiny/removal: a file where a folder is needed; move it away" in run.output
    assert "Traceback" not in run.output
    names = [f"removal/{name}/layer-1.npz" for name in ("step-0", "step-16", "random")]
    assert undisturbed.run(folder, "-n", *names).status == 0
    (folder / "results/tiny/removal").unlink()
    assert undisturbed.run(folder, *names).status == 0
    undisturbed.check(folder)


def test_the_second_head_on_a_folder_stops_and_the_first_goes_on(undisturbed, tmp_path):
    folder = undisturbed.copy(tmp_path / "two", without=(ERASERS,))
    command = [sys.executable, "-m", "snakemake", f"results/tiny/{ERASERS}", "--cores", "1"]
    command += ["--configfile", "config/test.yaml"]
    first = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in first.stdout:
        if "localrule" in line or "rule removal" in line:
            break
    # It is held, so that it cannot end before the second has come so far.
    first.send_signal(signal.SIGSTOP)
    second = undisturbed.run(folder, ERASERS)
    assert second.status == 1
    assert "cannot be locked" in second.output
    assert "Traceback" not in second.output
    assert undisturbed.run(folder, "-n", ERASERS).status == 0
    first.send_signal(signal.SIGCONT)
    rest = first.communicate()[0]
    assert first.returncode == 0, rest
    undisturbed.check(folder)
    assert undisturbed.run(folder, ERASERS).status == 0


def test_what_a_finished_study_can_do_without_may_be_deleted(undisturbed, tmp_path):
    """workflow/README.md says so: nothing is planned until something new needs it."""
    parts = ("model", "representation", "encoding", "removal", "probing", "statistics", "brain")
    folder = undisturbed.copy(tmp_path / "lean", without=parts)
    assert undisturbed.run(folder, "-n").jobs == {}


#: What `make demo` types after the study.
MAKE_DEMO = re.search(r"--configfile config/demo\.yaml (--quiet .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))[
    1
]


def of_a_wrong_story(folder: Path) -> dict:
    """The tiny study with a text of another length, which no check at the start reads, but its first job."""
    study = tiny_study(folder)
    (folder / "tiny.txt").write_text("It rained.\n---\nIt did.\n", encoding="utf-8")
    return study


@pytest.fixture(scope="module")
def wrong(tmp_path_factory) -> Path:
    """A copy with that study in config/wrong.yaml."""
    folder = copy_repository(tmp_path_factory.mktemp("wrong"))
    study = yaml.safe_dump(of_a_wrong_story(folder), sort_keys=False)
    (folder / "config/wrong.yaml").write_text(study, encoding="utf-8")
    return folder


WORDS = "results/tiny/data/words.tsv"
FAILED = "\nRule time_story failed.\nresults/tiny/logs/time_story.log ends:\n    error: story.trs is"


# `make demo` is quiet about rules.
@pytest.mark.parametrize("flags", ["--quiet all", MAKE_DEMO, " ".join(PROFILE)])
def test_what_a_failed_job_says_is_shown_whatever_was_typed(wrong, flags):
    run = snakemake(wrong, WORDS, "--cores", "1", *flags.split(), config="config/wrong.yaml")
    assert run.status == 1
    assert run.output.count(FAILED) == 1, run.output
    assert "No error stands there" not in run.output


def test_what_a_failed_job_says_is_shown_once_by_modules_too(tmp_path):
    """A module's start is not checked, which is Snakemake's rule: its first job sees a words table without runs."""
    for part in ("config", "workflow"):
        (tmp_path / part).mkdir()
    study = tiny_study(tmp_path) | {"simulation": None}
    (tmp_path / "words.tsv").write_text("onset\tword\n0\tIt\n", encoding="utf-8")
    for name in ("F_1.nii", "F_2.nii", "F_mask.nii"):
        (tmp_path / name).touch()
    study["story"]["words"] = "words.tsv"
    study["brain"] |= {"images": "{subject}_{run}.nii", "mask": "{subject}_mask.nii"}
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    module = MODULE.format(snakefile=str(ROOT / "workflow/Snakefile"))
    second = module.partition("use rule")[0].partition("module")[2].replace("dynalign", "again").replace("first", "2")
    snakefile = f"{module}\n\nmodule{second}\n\nuse rule * from again as again_*\n"
    (tmp_path / "workflow/Snakefile").write_text(snakefile, encoding="utf-8")
    run = snakemake(tmp_path, "first/results/tiny/story/words.tsv", "--cores", "1", "--quiet", "rules")
    assert run.status == 1
    ending = "first/results/tiny/logs/story.log ends:\n    error: words.tsv: lacks column 'run'"
    assert run.output.count(f"\nRule dynalign_story failed.\n{ending}") == 1, run.output


def pretend_python(folder: Path, monkeypatch, *lines: str) -> None:
    """A `python` for jobs that does this instead."""
    (folder / "bin").mkdir()
    script = "\n".join(["#!/bin/sh", f'[ "$1" = -c ] && exec {sys.executable} "$@"', *lines, ""])
    (folder / "bin/python").write_text(script, encoding="utf-8")
    (folder / "bin/python").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]))


@pytest.mark.parametrize(("before", "shown"), [(":", " is empty\n"), ("echo reading", " ends:\n    reading\n")])
def test_a_killed_job_is_known_by_the_error_that_it_lacks(wrong, tmp_path, monkeypatch, before, shown):
    pretend_python(tmp_path, monkeypatch, before, "kill -9 $$")
    run = snakemake(wrong, WORDS, "--cores", "1", "--quiet", "rules", config="config/wrong.yaml")
    assert run.status == 1
    expected = (
        f"\nRule time_story failed.\nresults/tiny/logs/time_story.log{shown}No error stands there: the job was killed"
    )
    assert expected in run.output, run.output


def test_a_killed_make_demo_goes_on_as_the_message_says(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "demo")
    words = "results/tiny/data/words.tsv"
    with monkeypatch.context() as patch:
        pretend_python(tmp_path, patch, f"echo half > {words}", "exec sleep 600")
        patch.setenv("PYTHONPATH", str(folder / "workflow"))
        (folder / "config/test.yaml").write_text(yaml.safe_dump(tiny_study(folder)), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", words, "--cores", "1", *MAKE_DEMO.split()]
        with open(folder / "head.log", "w") as log:
            head = psutil.Popen([*command, "--configfile", "config/test.yaml"], cwd=folder, stdout=log, stderr=log)
        while not (folder / words).exists():
            assert head.poll() is None, (folder / "head.log").read_text(encoding="utf-8")
            time.sleep(0.05)
        jobs = head.children(recursive=True)
        for process in (head, *jobs):
            process.kill()
        head.wait()
    again = (words, "--cores", "1", *MAKE_DEMO.split())
    assert "cannot be locked" in snakemake(folder, *again, config="config/test.yaml").output
    # Without a word of which study it was.
    assert snakemake(folder, "--unlock").status == 0
    run = snakemake(folder, *again, config="config/test.yaml")
    assert run.status == 0, run.output
    assert (folder / words).read_text(encoding="utf-8").startswith("onset\t")
