"""How far a study can grow: all 154 checkpoints of Pythia × 13 layers × 9 properties × 8 subjects.

``python tests/benchmarks/growth.py`` plans this study in a copy of the repository (``snakemake -n``), finishes all but
one checkpoint without computing anything, lets Snakemake recognise that as finished, and plans the last checkpoint on
top. The outputs are empty files; what Snakemake knows of them (inputs, parameters, code) is recorded by its own code
as after a real job, and the triggers of reruns are the default ones. Then one cell of the paper's size is computed
from random responses, for its size on disk. ``--checkpoints``, ``--layers`` and ``--subjects`` ask for less.

In the last line, `plan_seconds` and `finished_seconds` are the wall's (with ``--clock cpu`` the process's own, which
neighbours on a busy machine touch least), `plan_gib` and `finished_gib` the process's
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

from dynalign.encoding import arms, encode
from dynalign.encoding.scores import write_scores

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.workflow.conftest import AGGREGATIONS, Run, copy_repository

from dynalign.config.brain import HARRY_POTTER_SUBJECTS
from dynalign.config.study import Study
from dynalign.io.arrays import write_arrays

#: Snakemake, with jobs that end at once: outputs are made empty and recorded as finished.
FINISH = """
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
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
# Of the terabytes that are checked for nothing is written.
shutil.disk_usage = lambda path: SimpleNamespace(free=10**15)
main(sys.argv[1:])
"""

#: A downloaded checkpoint of Pythia-160m: 162 million float16 weights and its masks.
CHECKPOINT_BYTES = 375e6


def run_snakemake(
    folder: Path, study: dict, *flags: str, code: str = "", clock: str = "wall"
) -> tuple[Run, float, float]:
    """One call: what it did, seconds, peak GiB."""
    (folder / "config/growth.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    program = ["-c", code] if code else ["-m", "snakemake"]
    command = [sys.executable, *program, *flags, "--cores", "16", "--configfile", "config/growth.yaml"]
    report = folder / "usage"
    # A process in between, so that the peak is this call's alone.
    wrapper = (
        "import resource, subprocess, sys; status = subprocess.run(sys.argv[2:]).returncode; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime, file=open(sys.argv[1], 'w')); sys.exit(status)"
    )
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", wrapper, str(report), *command], cwd=folder, capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - start
    result = Run(process)
    if result.status:
        sys.exit(result.output[-4000:])
    peak, cpu = map(float, report.read_text().split())
    print(f"snakemake {' '.join(flags)}: {wall:.0f} s, of them {cpu:.0f} s of CPU; {peak / 2**20:.2f} GiB", flush=True)
    return result, cpu if clock == "cpu" else wall, peak / 2**20


def study_of(steps: list[int], layers: int, subjects: int) -> dict:
    return {
        "study": "growth",
        "subjects": list(HARRY_POTTER_SUBJECTS)[:subjects],
        "model": {"steps": steps, "layers": list(range(layers)), "device": "cpu"},
        "encoding": {"device": "cpu"},
        "figures": {"steps": steps[-2:]},
    }


def of_one_checkpoint(jobs: dict[str, int]) -> dict[str, int]:
    """Planned jobs that are not shared by all checkpoints."""
    shared = AGGREGATIONS - {"cell_statistics"}
    return {rule: n for rule, n in jobs.items() if rule not in shared and not rule.startswith("figure")}


def cell_bytes(folder: Path, n_voxels: int) -> float:
    """Bytes of one arm's scores at the paper's size: 1211 TRs, random responses, five folds, 17 penalties.

    Of the voxels a tenth is computed: what compression saves per voxel does not depend on their number.
    """
    computed = -(-n_voxels // 10)
    rng = np.random.default_rng(0)
    runs = np.repeat([1, 2, 3, 4], [340, 352, 279, 380])
    kept = np.concatenate([np.r_[np.zeros(20), np.ones(n - 35), np.zeros(15)] for n in (340, 352, 279, 380)]) == 1
    word_trs = np.sort(rng.integers(0, len(runs), 5143))
    design = arms.make_design(word_trs, runs, kept, [1, 2])
    # A few dimensions and inner folds: they change the time, not the size.
    vectors = rng.standard_normal((len(word_trs), 20))
    responses = rng.standard_normal((kept.sum(), computed)).astype(np.float32)
    responses += (rng.random(computed) * 0.3 * rng.standard_normal((kept.sum(), 1))).astype(np.float32)
    options = encode.Encoding(inner_folds=2)
    (scores,) = encode.encode(vectors, {}, design, responses, options).values()
    write_scores(folder / "cell.npz", scores)
    write_arrays(folder / "trs.npz", {"timecourse": scores.timecourse, "fold": scores.fold})
    sizes = [(folder / f"{name}.npz").stat().st_size for name in ("cell", "trs")]
    return (sizes[0] - sizes[1]) * n_voxels / computed + sizes[1]


def disk_bytes(study: Study, per_arm: float, downloads: int) -> float:
    """Downloads, representations and scores of a study."""
    represented, hidden = 5143, 768
    representation = represented * (study.model.depth + 1) * hidden * 4
    cells = sum(len(study.layers_of(name)) for name in study.checkpoints) * len(study.subjects)
    return downloads * CHECKPOINT_BYTES + len(study.checkpoints) * representation + cells * len(study.arms) * per_arm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=154)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--voxels", type=int, default=27905)
    args = parser.parse_args()

    steps = Study.model_validate({"model": {"steps": "pythia-all"}}).model.steps[: args.checkpoints]
    study, smaller = (study_of(chosen, args.layers, args.subjects) for chosen in (steps, [*steps[:-3], *steps[-2:]]))
    with tempfile.TemporaryDirectory() as name:
        folder = copy_repository(Path(name))
        planned, plan_seconds, plan_gib = run_snakemake(folder, study, "-n", "--quiet", "rules", clock=args.clock)
        print(f"{sum(planned.jobs.values())} jobs planned")
        run_snakemake(folder, smaller, "--quiet", "all", code=FINISH)
        finished, finished_seconds, finished_gib = run_snakemake(
            folder, smaller, "-n", "--quiet", "rules", clock=args.clock
        )
        assert finished.jobs == {}, finished.output
        records = sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder / ".snakemake/metadata"))
        print(f"recognised as finished in {finished_seconds:.0f} s; Snakemake's records take {records / 2**30:.2f} GiB")
        grown, _, _ = run_snakemake(folder, study, "-n", "--quiet", "rules", clock=args.clock)
        new = of_one_checkpoint(grown.jobs)
        aggregations = {rule: count for rule, count in grown.jobs.items() if rule not in new}
        print(f"one more checkpoint plans {new} and {sum(aggregations.values())} aggregations")
        per_arm = cell_bytes(folder, args.voxels)
        paper = Study()
        everything = Study.model_validate(study)
        print(
            f"plan_seconds={plan_seconds:.1f} plan_gib={plan_gib:.2f} finished_seconds={finished_seconds:.1f} "
            f"finished_gib={finished_gib:.2f} new_jobs={sum(new.values())} aggregations={sum(aggregations.values())} "
            f"record_gib={records / 2**30:.2f} bytes_per_cell={per_arm * len(paper.arms):.0f} "
            f"paper_gib={disk_bytes(paper, per_arm, len(paper.model.steps)) / 2**30:.1f} "
            f"all_gib={disk_bytes(everything, per_arm, len(everything.model.steps)) / 2**30:.1f}"
        )


if __name__ == "__main__":
    main()
