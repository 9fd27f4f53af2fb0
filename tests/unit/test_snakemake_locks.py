"""Locks of dead heads go; those that may be alive stay."""

import subprocess
import sys
import textwrap

import pytest

from dynalign import snakemake_locks

#: A head in a process of its own, because a lock ends with its process.
HEAD = """
    import sys
    from dynalign import snakemake_locks
    stream = snakemake_locks.attend(sys.argv[1])
    print("attends", flush=True)
    sys.stdin.read()
    """


@pytest.fixture
def head(tmp_path):
    """Start a head; it lives until it is killed or the test ends."""
    started = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", textwrap.dedent(HEAD), str(tmp_path)]
        environment = {"PYTHONPATH": str(snakemake_locks.__file__).rsplit("/dynalign/", 1)[0]}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout.readline() == "attends\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lock(folder):
    (folder / "locks").mkdir(exist_ok=True)
    (folder / "locks/0.output.lock").write_text("results/a\n")
    return folder / "locks/0.output.lock"


def test_the_lock_of_a_killed_head_is_removed(tmp_path, head):
    first = head()
    left = lock(tmp_path)
    head()
    assert left.exists(), "the first head is alive"
    first.kill()
    first.wait()
    head()
    assert left.exists(), "the second head is alive"


def test_the_lock_goes_when_the_last_head_has_died(tmp_path, head):
    processes = [head(), head()]
    left = lock(tmp_path)
    for process in processes:
        process.kill()
        process.wait()
    head()
    assert not left.exists()


def test_the_lock_of_another_machine_stays(tmp_path, head, monkeypatch):
    """Its head may be alive where a file system does not carry flock from one machine to the other."""
    monkeypatch.setattr(snakemake_locks.socket, "gethostname", lambda: "elsewhere")
    stream = snakemake_locks.attend(tmp_path)
    left = lock(tmp_path)
    stream.close()
    monkeypatch.undo()
    for _ in range(2):
        process = head()
        process.kill()
        process.wait()
        assert left.exists()
    left.unlink()
    for _ in range(2):
        process = head()
        process.kill()
        process.wait()
    left = lock(tmp_path)
    head()
    assert not left.exists(), "with no lock left, the other machine is forgotten"


def test_a_folder_that_cannot_be_written_to_is_snakemakes_to_name(tmp_path):
    (tmp_path / "file").write_text("")
    assert snakemake_locks.attend(tmp_path / "file") is None


def test_a_file_system_without_such_locks_is_left_alone(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(snakemake_locks.fcntl, "flock", refuse)
    left = lock(tmp_path)
    assert snakemake_locks.attend(tmp_path) is None
    assert left.exists()
