"""The SLURM profiles on a real SLURM: what is submitted, what stays, what happens when jobs fail and heads die."""

import re
import subprocess
import sys
from collections import Counter

import yaml

from tests.slurm.conftest import CLUSTER, TINY, outputs, wait_until
from tests.workflow.conftest import copy_repository, snakemake

#: The study's jobs on the cluster: one checkpoint, one baseline, one layer, one subject.
JOBS = Counter(annotate=1, train_model=1, simulate_subject=1, responses=1, representation=1, baseline=1)
JOBS += Counter(removal=2, probing=2, encoding=2, cell_statistics=2)


def test_a_study_ends_well(story):
    assert story.last.status == 0, story.last.log[-6000:]
    again = snakemake(story.folder, "-n", "--cores", "1", config="config/test.yaml")
    assert not {"representation", "encoding", "probing", "train_model"} & set(again.jobs), again.output


def test_jobs_ask_for_what_their_rules_say(story):
    for head in (story.failing, story.last):
        stated = Counter(
            (job["rule"], job["threads"], int(job["mem_mb"]), int(job["runtime"]), int(job.get("gpu", 0)))
            for job in head.started()
        )
        asked = Counter((job.rule, job.cpus, job.mem_mb, job.minutes, job.gpus) for job in head.jobs)
        assert asked == stated
    assert ("encoding", 2, 4000, 60, 0) in asked


def test_gpu_jobs_go_to_the_gpu_partition_and_are_given_a_gpu(story):
    jobs = [*story.killed.jobs, *story.failing.jobs, *story.last.jobs]
    on_gpus = [job for job in jobs if job.gpus]
    assert {job.rule for job in on_gpus} == {"representation"}
    assert {(job.partition, job.gpus) for job in on_gpus} == {("gpu", 1)}
    assert {job.partition for job in jobs if not job.gpus} == {"main"}
    # What SLURM gives to such a job.
    given = ["srun", "--partition=gpu", "--gpus=1", "--time=1", "printenv", "CUDA_VISIBLE_DEVICES"]
    assert subprocess.run(given, capture_output=True, text=True, check=True).stdout == "0\n"
    # With model.device: cpu the same rule asks for none.
    assert [job.partition for job in story.last.jobs if job.rule == "representation"] == ["main"]


def test_small_steps_stay_with_the_head(story):
    on_cluster, local = set(), set()
    for head in (story.killed, story.failing, story.last):
        on_cluster |= {job.rule for job in head.jobs}
        local |= {job["rule"] for job in head.started("localrule")}
    assert on_cluster == set(JOBS)
    assert local == {
        *("check", "time_story", "story", "features", "properties", "generate_text", "tokens"),
        *("probing_table", "alignment_table"),
    }


def test_a_failing_job_is_tried_again_with_more_memory_and_time_and_each_time_its_log_is_shown(story):
    assert story.failing.status == 1
    attempts = [job for job in story.failing.jobs if job.rule == "representation"]
    asked = [(job.state, job.mem_mb, job.minutes) for job in attempts]
    assert asked == [("FAILED", 8000 * attempt, 60 * attempt) for attempt in (1, 2, 3)]
    shown = (
        r"\nRule representation failed\.\nresults/small/logs/representation/step-16\.log ends:\n(?:    .*\n)*"
        r"    error: .*finds no GPU here; set model\.device: cpu.*\n.*/slurm_logs/.* ends:\n(?:    .*\n)+"
    )
    assert len(re.findall(shown, story.failing.log)) == 3, story.failing.log[-6000:]
    # What does not depend on it was done all the same.
    assert {"removal", "probing", "encoding"} <= {*story.killed.finished, *story.failing.finished}


def test_a_killed_head_is_resumed(story):
    assert story.killed.status == -9
    assert story.killed.finished
    assert story.running_at_kill
    later = Counter(job["output"] for head in (story.failing, story.last) for job in head.started())
    finished = re.findall(r"Finished jobid: (\d+) ", story.killed.log)
    for job in story.killed.started():
        paths = [path.removeprefix("results/") for path in job["output"].split(", ")]
        whole = all(any(name == path or name.startswith(f"{path}/") for name in story.left_by_kill) for path in paths)
        # Nothing that had been finished is done again, what was cut short is. One that ended after the head, or in
        # the second in which it was cancelled, may be either.
        if job["jobid"] in finished:
            assert not later[job["output"]], job
        elif not whole:
            assert later[job["output"]], job
    # Each of the others is done once, but for the one that failed three times.
    for job in (*story.failing.started(), *story.last.started()):
        assert later[job["output"]] == (4 if job["rule"] == "representation" else 1), job


def test_a_killed_head_leaves_nothing_half_written(story):
    final = outputs(story.folder)
    assert story.left_by_kill
    assert {name: final.get(name) for name in story.left_by_kill} == story.left_by_kill


def test_states_are_asked_of_the_controller_where_accounting_is_off(story, accounting):
    asked = "sacct" if accounting else "squeue"
    assert f"Status query timing (cycle): command={asked}," in story.last.log


def test_a_study_runs_inside_one_allocation(story, tmp_path):
    copy_repository(tmp_path)
    (tmp_path / "config/test.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False), encoding="utf-8")
    labels = "results/small/tables/labels.tsv"
    command = f"{sys.executable} -m snakemake --workflow-profile workflow/profiles/allocation"
    before = last_job()
    wrapped = f"--wrap={command} --configfile config/test.yaml -- {labels}"
    request = ["sbatch", "--cpus-per-task=2", "--mem=5000", "--output=head.log", wrapped]
    subprocess.run(request, cwd=tmp_path, check=True)
    ends = ["squeue", f"--jobs={before + 1}", "--states=COMPLETED,FAILED", "--noheader", "--format=%T"]
    state = wait_until(lambda: subprocess.run(ends, capture_output=True, text=True).stdout.strip(), "its end")
    log = (tmp_path / "head.log").read_text(encoding="utf-8")
    assert state == "COMPLETED", log[-6000:]
    # It was the only submission.
    assert last_job() == before + 1
    assert "Provided cores: 2\n" in log
    # `annotate` asks for 6000 MB: it is given what the allocation has.
    assert 'Provided resources: mem_mb=Resource("mem_mb", 5000)' in log
    assert "mem_mb=5000" in log[log.index("rule annotate:") :]
    assert (tmp_path / labels).read_bytes() == (story.folder / labels).read_bytes()


def last_job() -> int:
    """Number of the last job that was submitted."""
    listed = subprocess.run(
        ["squeue", "--states=all", "--noheader", "--format=%A"], capture_output=True, text=True, check=True
    )
    return max(map(int, listed.stdout.split()))


def test_a_machine_that_runs_slurm_is_left_alone(cluster, tmp_path):
    second = subprocess.run([CLUSTER, "up", tmp_path / "second"], capture_output=True, text=True)
    assert second.returncode == 1
    assert "a SLURM runs on this machine already" in second.stderr
    assert not (tmp_path / "second").exists()
    # Nor does the end of another take this one down.
    subprocess.run([CLUSTER, "down", tmp_path / "second"], check=True)
    subprocess.run(["scontrol", "ping"], check=True, capture_output=True)
