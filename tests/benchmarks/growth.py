"""How far a study can grow: all 154 checkpoints of Pythia × 13 layers × 9 properties × 8 subjects.

``python tests/benchmarks/growth.py`` plans this study in a copy of the repository (``snakemake -n``), finishes all but
one checkpoint without computing anything, lets Snakemake recognise that as finished, and plans the last checkpoint on
top. The outputs are empty files; what Snakemake knows of them (inputs, parameters, code) is recorded by its own code
as after a real job, and the triggers of reruns are the default ones. Then one cell of the paper's size is computed
from random responses, for its size on disk. ``--checkpoints``, ``--layers`` and ``--subjects`` ask for less.

In the last line, `plan_seconds` and `finished_seconds` are the wall's, `plan_gib` and `finished_gib` the process's
peak memory, `new_jobs` the jobs of one more checkpoint, `aggregations` the tables and figures that are made anew
with it, `record_gib` what Snakemake's records take, `bytes_per_cell` the files of one checkpoint, layer and subject
(original and nine arms), `paper_gib` and `all_gib` what the paper's study and this one leave on disk (downloads,
representations, scores).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from tests.workflow.conftest import AGGREGATIONS, Run, copy_repository

from dynalign import encoding
from dynalign.config import HARRY_POTTER_SUBJECTS, Study

#: Snakemake, with jobs that end at once: outputs are made empty and recorded as finished.
FINISH = """
import sys
from pathlib import Path
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

def schedule(scheduler):
    dag, persistence = scheduler.workflow.dag, scheduler.workflow.persistence
    async def finish():
        for job in (job for level in dag.toposorted() for job in level if dag.needrun(job) and not job.is_norun):
            for path in job.output:
                path.prepare()
                Path(path).mkdir(exist_ok=True) if path.is_directory else Path(path).touch()
                path.touch()
            await persistence.finished(job)
    scheduler.workflow.async_run(finish())
    return True

JobScheduler.schedule = schedule
main(sys.argv[1:])
"""

#: A downloaded checkpoint of Pythia-160m: 162 million float16 weights and its masks.
CHECKPOINT_BYTES = 375e6


def run_snakemake(folder: Path, study: dict, *flags: str, code: str = "") -> tuple[Run, float, float]:
    """One call: what it did, seconds, peak GiB."""
    (folder / "config/growth.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    program = ["-c", code] if code else ["-m", "snakemake"]
    command = [sys.executable, *program, *flags, "--cores", "16", "--configfile", "config/growth.yaml"]
    report = folder / "usage"
    # A process in between, so that the peak is this call's alone.
    wrapper = (
        "import resource, subprocess, sys; status = subprocess.run(sys.argv[2:]).returncode; "
        "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(status)"
    )
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", wrapper, str(report), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    result = Run(process)
    if result.status:
        sys.exit(result.output[-4000:])
    return result, seconds, int(report.read_text()) / 2**20


def study_of(steps: list[int], layers: int, subjects: int) -> dict:
    return {
        "study": "growth",
        "subjects": list(HARRY_POTTER_SUBJECTS)[:subjects],
        "model": {"steps": steps, "layers": list(range(layers)), "device": "cpu"},
        "encoding": {"device": "cpu"},
        "figures": {"steps": steps[-2:]},
    }


def cell_bytes(folder: Path, n_voxels: int) -> int:
    """Bytes of one arm's scores at the paper's size: 1211 TRs, random responses, five folds, 17 penalties."""
    rng = np.random.default_rng(0)
    runs = np.repeat([1, 2, 3, 4], [340, 352, 279, 380])
    kept = (
        np.concatenate([np.r_[np.zeros(20), np.ones(n - 35), np.zeros(15)] for n in (340, 352, 279, 380)])
        == 1
    )
    word_trs = np.sort(rng.integers(0, len(runs), 5143))
    design = encoding.make_design(word_trs, runs, kept, [1, 2])
    # A few dimensions and inner folds: they change the time, not the size.
    vectors = rng.standard_normal((len(word_trs), 20))
    responses = rng.standard_normal((kept.sum(), n_voxels)).astype(np.float32)
    responses += (rng.random(n_voxels) * 0.3 * rng.standard_normal((kept.sum(), 1))).astype(np.float32)
    options = encoding.Encoding(inner_folds=2)
    (scores,) = encoding.encode(vectors, {}, design, responses, options).values()
    encoding.write_scores(folder / "cell.npz", scores)
    return (folder / "cell.npz").stat().st_size


def disk_bytes(study: Study, per_arm: float, downloads: int) -> float:
    """Downloads, representations and scores of a study."""
    represented, hidden = 5143, 768
    representation = represented * (study.model.depth + 1) * hidden * 4
    cells = sum(len(study.layers_of(name)) for name in study.checkpoints) * len(study.subjects)
    return (
        downloads * CHECKPOINT_BYTES
        + len(study.checkpoints) * representation
        + cells * len(study.arms) * per_arm
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=154)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--voxels", type=int, default=27905)
    args = parser.parse_args()

    steps = Study.model_validate({"model": {"steps": "pythia-all"}}).model.steps[: args.checkpoints]
    study, smaller = (
        study_of(chosen, args.layers, args.subjects) for chosen in (steps, [*steps[:-3], *steps[-2:]])
    )
    with tempfile.TemporaryDirectory() as name:
        folder = copy_repository(Path(name))
        planned, plan_seconds, plan_gib = run_snakemake(folder, study, "-n", "--quiet", "rules")
        print(f"{sum(planned.jobs.values())} jobs planned in {plan_seconds:.0f} s, {plan_gib:.2f} GiB")
        _, seconds, _ = run_snakemake(folder, smaller, "--quiet", "all", code=FINISH)
        print(f"all but one checkpoint finished in {seconds:.0f} s")
        finished, finished_seconds, finished_gib = run_snakemake(folder, smaller, "-n", "--quiet", "rules")
        assert finished.jobs == {}, finished.output
        records = sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder / ".snakemake/metadata"))
        print(
            f"recognised as finished in {finished_seconds:.0f} s; Snakemake's records take {records / 2**30:.2f} GiB"
        )
        grown, seconds, _ = run_snakemake(folder, study, "-n", "--quiet", "rules")
        aggregations = {
            rule: count
            for rule, count in grown.jobs.items()
            if rule.startswith("figure") or rule in AGGREGATIONS - {"cell_statistics"}
        }
        new = {rule: count for rule, count in grown.jobs.items() if rule not in aggregations}
        print(
            f"one more checkpoint planned in {seconds:.0f} s: {new}, and {sum(aggregations.values())} aggregations"
        )
        per_arm = cell_bytes(folder, args.voxels)
        paper = Study()
        everything = Study.model_validate(study)
        print(
            f"plan_seconds={plan_seconds:.1f} plan_gib={plan_gib:.2f} finished_seconds={finished_seconds:.1f} "
            f"finished_gib={finished_gib:.2f} new_jobs={sum(new.values())} aggregations={sum(aggregations.values())} "
            f"record_gib={records / 2**30:.2f} bytes_per_cell={per_arm * len(paper.arms)} "
            f"paper_gib={disk_bytes(paper, per_arm, len(paper.model.steps)) / 2**30:.1f} "
            f"all_gib={disk_bytes(everything, per_arm, len(everything.model.steps)) / 2**30:.1f}"
        )


if __name__ == "__main__":
    main()
