"""Every format that is read, cut short at every length and with bits flipped all over: seen, or without effect."""

import csv
import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dynalign.datasets import training_text
from dynalign.figures import draw, style
from dynalign.io import arrays, errors, images
from dynalign.io import atomic as atomic_writing
from dynalign.io.atomic import check_writable, write_text
from dynalign.io.errors import InputError
from dynalign.models import checkpoints, layers
from dynalign.models.tokens import Tokens
from dynalign.stimulus import timing
from dynalign.stimulus.conllu import read_sentences
from dynalign.tables import reader, writer

RNG = np.random.default_rng(0)


def write_npy(path):
    arrays.write_array(path, RNG.standard_normal((3, 5)).astype(np.float32))


def write_npz(path):
    arrays.write_arrays(path, {"r": RNG.standard_normal((2, 7)), "fold": np.arange(4, dtype=np.int16)})


def write_layers(path, hidden=4):
    tokens = Tokens(
        ids=np.arange(6),
        word_index=np.arange(4),
        first=np.arange(4) + 2,
        last=np.arange(4) + 2,
        represented=np.array([False, True, True, True]),
        context_tokens=2,
        depth=1,
        hidden=hidden,
        max_context=0,
    )
    layers.write_layers(path, RNG.random((2, 3, hidden)).astype(np.float32), tokens, "step-0")


def write_nifti(path):
    images.write_image(path, RNG.standard_normal((2, 3, 2, 4)).astype(np.float32), np.diag([2, 2, 2, 1]), 2.0)


def read_npz(path):
    return arrays.read_arrays(path)


def read_layer(path):
    return dict(zip("Xw", layers.read_layer(path, 1), strict=True))


def read_nifti(path):
    image = images.load_image(path)
    return {"data": np.asarray(image.dataobj), "affine": image.affine}


#: Formats of the package's own files that carry checksums: name → (write, read to a dict of arrays).
SEALED = {
    "x.npy": (write_npy, lambda path: {"x": arrays.read_array(path)}),
    "mapped.npy": (write_npy, lambda path: {"x": np.array(arrays.read_array(path, mmap=True))}),
    "x.npz": (write_npz, read_npz),
    "x.safetensors": (write_layers, read_layer),
    "x.nii.gz": (write_nifti, read_nifti),
}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


def attempt(read, path) -> tuple[dict | None, str]:
    """What was read, or else the one line that says what is wrong with the file."""
    try:
        return read(path), ""
    except InputError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None, message


@pytest.mark.parametrize("name", SEALED)
def test_no_flipped_bit_changes_what_is_read(tmp_path, name):
    write, read = SEALED[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    expected = read(path)
    seen = 0
    # Every third: each place in a byte, in every third byte.
    for bit in range(0, 8 * len(whole), 3):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found, message = attempt(read, path)
        # Without effect is a time stamp of an archive, say.
        assert message or same(found, expected), f"bit {bit % 8} of byte {bit // 8}"
        seen += bool(message)
    assert seen > 0.6 * 8 / 3 * len(whole)


@pytest.mark.parametrize("name", SEALED)
def test_a_file_cut_short_is_refused(tmp_path, name):
    write, read = SEALED[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    expected = read(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found, message = attempt(read, path)
        if not message:
            # Without its checksum an array is as any other program writes it.
            assert name.endswith(".npy")
            assert length == len(whole) - arrays.SEAL_LENGTH
            assert same(found, expected)
    path.write_bytes(whole + b"more")
    if name != "x.npz":
        with pytest.raises(InputError):
            read(path)


def test_arrays_of_other_programs_are_read_and_ours_by_others(tmp_path):
    for array in (np.arange(6.0).reshape(2, 3), np.array(["a", "bcd"]), np.zeros((0, 4)), np.array([True])):
        np.save(tmp_path / "theirs.npy", array)
        assert same({"x": arrays.read_array(tmp_path / "theirs.npy")}, {"x": array})
        arrays.write_array(tmp_path / "ours.npy", array)
        assert same({"x": np.load(tmp_path / "ours.npy")}, {"x": array})
        assert (tmp_path / "ours.npy").read_bytes().startswith((tmp_path / "theirs.npy").read_bytes())
    with open(tmp_path / "two.npy", "wb") as stream:
        np.save(stream, np.arange(3))
        np.save(stream, np.arange(3))
    with pytest.raises(InputError, match=r"two\.npy.*its header says"):
        arrays.read_array(tmp_path / "two.npy")


def test_a_table_cut_short_is_refused_unless_whole_lines_are_left(tmp_path):
    path = tmp_path / "t.tsv"
    table = pd.DataFrame({"word": ["the", "fox", "ran"], "tr": [1, 2, 13], "onset": [0.5, 1.25, 26.5]})
    writer.write_table(table, path)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if whole[:length].endswith(b"\n"):
            # What a row stands for is checked where tables meet (every word, every TR, every cell).
            assert len(reader.read_table(path)) == whole[:length].count(b"\n") - 1
            continue
        with pytest.raises(InputError, match=r"t\.tsv: ends inside a line"):
            reader.read_table(path)
    path.write_bytes(whole.replace(b"fox\t2\t1.25", b"fox\t2"))
    with pytest.raises(InputError, match=r"t\.tsv: line 3 has 2 cells, but there are 3"):
        reader.read_table(path)
    path.write_bytes(whole.replace(b"fox", b"f\xefx"))
    with pytest.raises(InputError, match=r"t\.tsv: not UTF-8 text \(line 3 holds b'\\xef'\); save it as UTF-8"):
        reader.read_table(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"t\.tsv: not a tab-separated"):
        reader.read_table(path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_csv_says_what_its_tab_separated_twin_does(tmp_path, separator):
    rows = [["word_index", "label"], ["0", 'say "a, b; c"'], ["1", ""], ["2", "n/a"]]
    (tmp_path / "t.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    with open(tmp_path / "t.csv", "w", newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)
    assert reader.read_table(tmp_path / "t.csv").equals(reader.read_table(tmp_path / "t.tsv"))
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.csv").read_bytes()[:-2])
    with pytest.raises(InputError, match=r"t\.csv: ends inside a line"):
        reader.read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("read", "name", "header", "rows"),
    [
        (
            timing.read_words,
            "words.tsv",
            ["word_index", "word", "sentence", "run", "onset", "tr", "dropped"],
            [["0", "a", "0", "1", "1", "0", "0"], ["1", "b", "0", "1", "3", "1", "0"]],
        ),
        (timing.read_trs, "trs.tsv", ["tr", "run", "time", "kept"], [["0", "1", "0", "1"], ["1", "1", "2", "0"]]),
    ],
)
def test_a_story_that_lost_lines_is_refused(tmp_path, read, name, header, rows):
    def table(*lines):
        (tmp_path / name).write_text("".join("\t".join(line) + "\n" for line in lines))
        return read(tmp_path / name)

    assert len(table(header, *rows)) == 2
    for damaged in ([rows[1]], [rows[0], rows[0]], []):
        with pytest.raises(InputError, match=rf"{name}: .*must count the rows"):
            table(header, *damaged)
    with pytest.raises(InputError, match=rf"{name}: column {header[-1]} must hold numbers"):
        table(header, rows[0], [*rows[1][:-1], "q"])


def test_text_formats_name_the_file_that_cannot_be_read(tmp_path):
    (tmp_path / "checkpoint.json").write_text('{"source": "x", "revision": "y"}')
    for read in (checkpoints.check_download, lambda folder: checkpoints.describe(folder, "safetensors")):
        with pytest.raises(InputError, match=r"checkpoint\.json: broken; remove the folder"):
            read(tmp_path)
    (tmp_path / "values.json").write_text('{"a": 1')
    with pytest.raises(InputError, match=r"values\.json: cannot be read"):
        draw.read_reference(tmp_path / "values.json")
    (tmp_path / "grammar.yaml").write_text("a: [1")
    with pytest.raises(InputError, match=r"grammar\.yaml: not YAML"):
        training_text.main(["--grammar", str(tmp_path / "grammar.yaml"), "--output", str(tmp_path / "x.txt")])
    (tmp_path / "grammar.yaml").write_text("rules: {a: 1}\nwords: {}\nrules: {}\n")
    with pytest.raises(InputError, match=r"grammar\.yaml: the key 'rules' stands twice, in lines 1 and 3"):
        training_text.main(["--grammar", str(tmp_path / "grammar.yaml"), "--output", str(tmp_path / "x.txt")])
    (tmp_path / "story.conllu").write_bytes(b"# text = a\n1\ta\ta\n")
    with pytest.raises(InputError, match=r"story\.conllu: sentence 0"):
        read_sentences(tmp_path / "story.conllu")


def test_weights_that_changed_after_the_download_are_refused(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    record = {"source": "s", "revision": "r", "commit": "c", "weights": {weights.name: checkpoints.sha256(weights)}}
    (tmp_path / "checkpoint.json").write_text(json.dumps(record))
    checkpoints.check_download(tmp_path)
    weights.write_bytes(b"wfights")
    with pytest.raises(InputError, match=r"model\.safetensors: missing, or damaged since it was downloaded"):
        checkpoints.check_download(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: missing"):
        checkpoints.check_download(tmp_path)


def save_picture(path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6))
    figure.add_subplot().imshow(RNG.random((300, 300)))
    style.save(figure, path)


WRITERS = {
    "x.npy": lambda path: arrays.write_array(path, RNG.random((200, 200))),
    "x.npz": lambda path: arrays.write_arrays(path, {"x": RNG.random((200, 200))}),
    "x.tsv": lambda path: writer.write_table(pd.DataFrame({"x": RNG.random(20_000)}), path),
    "x.txt": lambda path: write_text(path, "text " * 20_000),
    "x.nii.gz": lambda path: images.write_image(path, RNG.random((20, 20, 20, 4)), np.eye(4)),
    "x.safetensors": lambda path: write_layers(path, 9000),
    "x.png": save_picture,
}


@contextmanager
def little_room(tmp_path: Path):
    """A folder on a full disk: a small file system where one may be mounted, else a limit on sizes of files."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield folder, os.strerror(errno.ENOSPC)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    with limited_files(32 * 1024):
        yield folder, os.strerror(errno.EFBIG)


@contextmanager
def limited_files(size: int):
    """No file of this process may grow beyond `size` bytes (as `ulimit -f`)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, name):
    with little_room(tmp_path) as (folder, answer):
        (folder / name).write_text("old")
        with pytest.raises(
            InputError, match=rf"{re.escape(str(folder / name))}: cannot be written: {answer}.*run again"
        ):
            WRITERS[name](folder / name)
        assert (folder / name).read_text() == "old"
        assert os.listdir(folder) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_files_is_one_line_too(tmp_path, name):
    with limited_files(32 * 1024), pytest.raises(InputError, match=os.strerror(errno.EFBIG)):
        WRITERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == []


def as_another_user(program: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a program that has `files`; where root would pass every permission, as nobody."""
    start = """
        import os, sys, tempfile
        from dynalign import cli
        from dynalign.io import atomic
        if os.getuid() == 0:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        """
    code = textwrap.dedent(start) + f"cli.run(lambda: {program})"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(errors.__file__).parents[2])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def passable():
    """A temporary folder that others can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_that_is_not_ours_is_one_line(passable):
    folder = passable / "results"
    folder.mkdir(mode=0o555)
    for path in (folder / "x.txt", folder / "new/x.txt"):
        run = as_another_user("atomic.write_text(sys.argv[1], 'text')", path)
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert re.match(rf"error: {path}: cannot be written: Permission denied: {folder}", run.stderr), run.stderr
    folder.chmod(0o755)
    assert os.listdir(folder) == []


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "figures").write_text("not a folder")
    for path in (tmp_path / "figures/x.txt", tmp_path / "figures/a/x.txt"):
        with pytest.raises(InputError, match=rf"{path}: cannot be written: .*: {tmp_path}/figures"):
            write_text(path, "text")


def test_a_study_folder_is_checked_before_anything_runs(passable):
    results = passable / "results/paper"
    check_writable(results)
    (results / "tables").mkdir(parents=True)
    (results / "report.zip").write_text("")
    check_writable(results)
    results.chmod(0o555)
    run = as_another_user("atomic.check_writable(sys.argv[1])", results)
    assert run.stderr == f"error: {results}: cannot be written to; make it a folder that you may write to\n"
    results.chmod(0o777)
    (results / "tables").chmod(0o555)
    run = as_another_user("atomic.check_writable(sys.argv[1])", results)
    assert run.stderr.startswith(f"error: {results}/tables: cannot be written to")
    (results / "figures").write_text("")
    with pytest.raises(InputError, match=r"figures: a file where a folder is needed"):
        check_writable(results)
    with pytest.raises(InputError, match=r"figures: a file where a folder is needed"):
        check_writable(results / "figures/more")


@pytest.mark.parametrize("atomic", ["atomic_path", "atomic_folder"])
def test_what_a_kill_left_goes_with_the_next_writing(tmp_path, atomic):
    """Only what dead processes left of the same output: others may be at work."""
    program = f"""
        import os, signal, sys
        from dynalign.io import atomic
        with atomic.{atomic}(sys.argv[1]) as temporary:
            (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
            print("written", flush=True)
            sys.stdin.read()
        """
    environment = os.environ | {"PYTHONPATH": str(Path(errors.__file__).parents[2])}
    processes = {}
    for name in ("out", "other"):
        command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / name)]
        pipe = subprocess.PIPE
        processes[name] = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(2)
        ]
    for process in [*processes["out"], *processes["other"]]:
        assert process.stdout.readline() == "written\n"
    killed, alive = processes["out"]
    for process in (killed, processes["other"][0]):
        process.kill()
        process.wait()
    assert len(os.listdir(tmp_path)) == 4
    with getattr(atomic_writing, atomic)(tmp_path / "out") as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("whole")
    left = [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert sum(name.startswith(".out.") for name in left) == 1
    assert sum(name.startswith(".other.") for name in left) == 2
    # The one that was still writing ends well; last come, last kept.
    for process in (alive, processes["other"][1]):
        process.communicate("")
        assert process.returncode == 0
    left = [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert len(left) == 1
    assert left[0].startswith(".other.")
