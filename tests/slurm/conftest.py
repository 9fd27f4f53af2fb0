"""A SLURM on this machine, and one small study that is interrupted, fails and is finished on it."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dynalign.config.study import load
from tests.workflow.conftest import SMALL, copy_repository

CLUSTER = Path(__file__).with_name("cluster")
PROFILE = "workflow/profiles/slurm"
HEAD = Path(__file__).with_name("head.py")
TARGETS = ["results/small/tables/alignment.tsv", "results/small/tables/probing.tsv"]
#: Long enough for a machine that does much else.
PATIENCE_S = 600

_defaults = load({}).properties
#: The small study with one checkpoint, two properties and less text; two threads where a rule can use them.
TINY = SMALL | {
    "model": {"source": "trained", "depth": 2, "steps": [16], "layers": [2], "device": "cpu"},
    "training": {"steps": 16, "depth": 2, "characters": 100_000},
    "properties": {
        name: _defaults[name].model_dump(mode="json", exclude_none=True) for name in ("tense", "sentence_length")
    },
    "simulation": SMALL["simulation"]
    | {"shape": [6, 6, 4], "properties": ["tense", "sentence_length"], "brain_only": None},
    "figures": {"properties": ["tense", "sentence_length"], "steps": [16]},
    "threads": {"representation": 2, "encoding": 2, "training": 2},
}
#: The same on GPUs. There is none: the job is given the stand-in, looks for CUDA and fails.
TINY_ON_GPUS = TINY | {"model": TINY["model"] | {"device": "cuda"}}


def wait_until(condition: Callable[[], object], what: str):
    """Wait for something to become true and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.3)
    return value


@dataclass(frozen=True)
class Job:
    """What SLURM says of a job that a head submitted."""

    run: str
    rule: str
    state: str
    partition: str
    node: str
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int
    age_s: int

    @classmethod
    def parse(cls, record: str) -> "Job":
        """Read one line of `scontrol --oneliner show job`."""
        says = dict(re.findall(r"(\S+?)=(\S*)", record))
        memory, unit = re.fullmatch(r"(\d+)([MG])", says["MinMemoryNode"]).groups()
        minutes = seconds_of(says["TimeLimit"]) // 60
        asked = re.search(r"gpu:(\d+)", says.get("TresPerJob", ""))
        return cls(
            run=says["JobName"],
            rule=re.sub(r"_wildcards_.*", "", says["Comment"].removeprefix("rule_")),
            state=says["JobState"],
            partition=says["Partition"],
            node=says["NodeList"],
            cpus=int(says["CPUs/Task"]),
            mem_mb=int(memory) * {"M": 1, "G": 1024}[unit],
            minutes=minutes,
            gpus=int(asked[1]) if asked else 0,
            age_s=seconds_of(says["RunTime"]),
        )


def seconds_of(time: str) -> int:
    """Seconds of SLURM's `days-hours:minutes:seconds`, the days left out where there are none."""
    days, *parts = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", time).groups()
    hours, minutes, seconds = map(int, parts)
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def submitted(run: str) -> list[Job]:
    """A head's jobs, in the order of submission."""
    records = subprocess.run(
        ["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, check=True
    ).stdout
    return [Job.parse(line) for line in records.splitlines() if f"JobName={run} " in line]


class Head:
    """A snakemake that submits, in a process of its own."""

    def __init__(self, folder: Path, study: dict, *arguments: str):
        (folder / "config/test.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        self.file = folder / f"head-{len(list(folder.glob('head-*.log')))}.log"
        command = [sys.executable, HEAD, *arguments, "--workflow-profile", PROFILE]
        command += ["--max-status-checks-per-second", "10", "--configfile", "config/test.yaml", "--", *TARGETS]
        self.command = command
        with open(self.file, "w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self.file.read_text(encoding="utf-8")

    def wait(self) -> "Head":
        self.status = self.process.wait(PATIENCE_S)
        return self

    @property
    def run(self) -> str:
        """Name of the run, which SLURM's jobs bear."""

        def told():
            assert "SLURM run ID: " in self.log or self.process.poll() is None, self.log[-6000:]
            return re.search(r"SLURM run ID: (\S+)", self.log)

        return wait_until(told, "a run's name")[1]

    @property
    def jobs(self) -> list[Job]:
        return submitted(self.run)

    def started(self, kind: str = "rule") -> list[dict]:
        """What the log says of the jobs that were started: `rule` on the cluster, `localrule` by the head itself."""
        found = []
        for name, block in re.findall(rf"^{kind} (\w+):\n((?: +.*\n)+)", self.log, re.MULTILINE):
            stated = dict(re.findall(r"(\w+)=(\d+)\b", re.search(r"resources: (.*)", block)[1]))
            threads = re.search(r"threads: (\d+)", block)
            stated |= {"output": re.search(r"output: (.*)", block)[1], "jobid": re.search(r"jobid: (\d+)", block)[1]}
            found.append({"rule": name, "threads": int(threads[1]) if threads else 1} | stated)
        return found

    @property
    def finished(self) -> list[str]:
        """Rules of finished jobs."""
        return re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", self.log)


def outputs(folder: Path) -> dict[str, str]:
    """Digest of every result; logs and benchmarks tell times, hidden folders are what a kill left."""
    root = folder / "results"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not any(part in ("logs", "benchmarks") or part[0] == "." for part in path.relative_to(root).parts)
    }


#: What the summary prints: each head's jobs.
RUNS: dict[str, list[Job]] = {}


@dataclass
class Story:
    """A study's run: its head is killed, then its GPU jobs fail, then it is finished on CPUs."""

    folder: Path
    killed: Head
    running_at_kill: list[Job]
    left_by_kill: dict[str, str]
    failing: Head
    last: Head


@pytest.fixture(scope="session")
def cluster():
    """A SLURM of two nodes; a machine that cannot have one is told why, in one line."""
    up = subprocess.run([CLUSTER, "up"], capture_output=True, text=True, timeout=PATIENCE_S)
    if up.returncode:
        pytest.exit(up.stderr.strip() or up.stdout, returncode=1)
    yield
    subprocess.run([CLUSTER, "down"], check=True, timeout=120)


def clone(folder: Path) -> Path:
    """A copy of the repository whose profile knows the cluster's partitions, set up as the profile says."""
    copy_repository(folder)
    profile = folder / PROFILE / "config.yaml"
    text = profile.read_text(encoding="utf-8")
    assert text.count("#slurm-partition-config:") == 1
    profile.write_text(text.replace("#slurm-partition-config:", "slurm-partition-config:"), encoding="utf-8")
    write = [Path(sys.executable).with_name("generate-slurm-partition-config"), "-o", PROFILE + "/partitions.yaml"]
    subprocess.run(write, cwd=folder, check=True, capture_output=True)
    # As config/README.md says: without accounting a cluster does not count its GPUs.
    partitions = yaml.safe_load((folder / PROFILE / "partitions.yaml").read_text(encoding="utf-8"))
    partitions["partitions"]["gpu"]["max_gpu"] = 1
    (folder / PROFILE / "partitions.yaml").write_text(yaml.safe_dump(partitions), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def story(cluster, tmp_path_factory) -> Story:
    folder = clone(tmp_path_factory.mktemp("story"))

    killed = Head(folder, TINY_ON_GPUS)

    def worth_killing():
        on_cluster = {job["rule"] for job in killed.started()}
        # One that has only just begun: an older one may end while it is looked at.
        running = [job for job in killed.jobs if job.state == "RUNNING" and job.age_s < 2]
        assert killed.process.poll() is None, killed.log[-6000:]
        return running if on_cluster & set(killed.finished) else []

    running = wait_until(worth_killing, "a finished and a running job")
    killed.process.kill()
    killed.wait()
    # As the README says: its jobs are stopped, and its lock is removed.
    subprocess.run(["scancel", "--name", killed.run], check=True)
    unlock = [*killed.command[:2], "--unlock", *killed.command[2:]]
    subprocess.run(unlock, cwd=folder, check=True, capture_output=True)
    wait_until(lambda: not {"PENDING", "RUNNING", "COMPLETING"} & {job.state for job in killed.jobs}, "jobs to stop")
    left = outputs(folder)
    failing = Head(folder, TINY_ON_GPUS).wait()
    last = Head(folder, TINY, "--verbose").wait()
    RUNS.update({"killed": killed.jobs, "failing": failing.jobs, "last": last.jobs})
    return Story(folder, killed, running, left, failing, last)


@pytest.fixture
def accounting() -> bool:
    """Whether the cluster has accounting."""
    return os.environ.get("SLURM_DBD") == "1"


def pytest_terminal_summary(terminalreporter):
    """Print what was submitted, one line for each rule and request."""
    rows = Counter()
    for heading, run in RUNS.items():
        for job in run:
            request = f"{job.cpus:>4} {job.mem_mb:>7} {job.minutes:>4} {job.gpus:>4}"
            rows[f"{heading:9} {job.rule:18} {job.partition:9} {job.node:4} {request}  {job.state}"] += 1
    if rows:
        terminalreporter.section("jobs on SLURM")
        terminalreporter.write_line(
            f"{'head':9} {'rule':18} {'partition':9} {'node':4} cpus  mem_mb  min gpus  state      jobs"
        )
        for row, count in rows.items():
            terminalreporter.write_line(f"{row:77} {count}")
