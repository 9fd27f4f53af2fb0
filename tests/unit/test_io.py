"""Files appear whole or not at all, keep their bytes, and are never unpickled."""

import subprocess
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from dynalign.io import atomic, digests
from dynalign.io.arrays import read_array, read_arrays, read_record, write_array, write_arrays, write_record
from dynalign.io.errors import InputError
from dynalign.io.yaml import read_yaml
from dynalign.tables import reader, writer


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a" / "x.txt"
    atomic.write_text(path, "old")

    def fail():
        with atomic.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.txt"]


def test_tables_keep_text_text_and_numbers_numbers(tmp_path):
    table = pd.DataFrame(
        {
            "subject": ["18", "F"],
            "word": ["NA", '"'],
            "step": [1000, None],
            "mean_r": [0.1 + 0.2, -1e-9],
            "tense_raw": ["1", ""],
        }
    )
    writer.write_table(table, tmp_path / "t.tsv")
    read = reader.read_table(tmp_path / "t.tsv", ["subject"])
    assert read["subject"].tolist() == ["18", "F"]
    assert read["word"].tolist() == ["NA", '"']
    assert read["tense_raw"].tolist() == ["1", ""]
    assert read["step"].iloc[0] == 1000
    assert np.isnan(read["step"].iloc[1])
    np.testing.assert_allclose(read["mean_r"], table["mean_r"], rtol=1e-7)


def test_a_cell_that_would_break_the_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="row 0, column word"):
        writer.write_table(pd.DataFrame({"word": ["a\tb"]}), tmp_path / "t.tsv")


def test_archives_have_the_same_bytes_every_time(tmp_path, monkeypatch):
    import time

    arrays = {"r": np.arange(6.0).reshape(2, 3), "fold": np.arange(3)}
    write_arrays(tmp_path / "a.npz", arrays)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(10**9))
    write_arrays(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", ["r"])["r"], arrays["r"])
    with pytest.raises(InputError, match=r"lacks array 'x'.*r, fold"):
        read_arrays(tmp_path / "a.npz", ["x"])


@dataclass(frozen=True)
class Reading:
    ids: np.ndarray
    seen: np.ndarray
    depth: int


def test_a_record_is_a_plain_archive_of_its_fields(tmp_path):
    """Scores and tokens of a finished study were written by numpy's own function, and stay what they are."""
    ids, seen = np.arange(5), np.array([True, False])
    np.savez_compressed(tmp_path / "before.npz", ids=ids, seen=seen, depth=12)
    write_record(tmp_path / "now.npz", Reading(ids, seen, 12))
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "before.npz").read_bytes()
    read = read_record(tmp_path / "before.npz", Reading)
    np.testing.assert_array_equal(read.ids, ids)
    np.testing.assert_array_equal(read.seen, seen)
    assert type(read.depth) is int
    assert read.depth == 12
    np.savez_compressed(tmp_path / "less.npz", ids=ids, depth=12)
    with pytest.raises(InputError, match=r"less\.npz: lacks array 'seen'; it has ids, depth"):
        read_record(tmp_path / "less.npz", Reading)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>quota</html>", "not a .npy file"), (b"\x93NUMPY\x01\x00", "cannot be read"), (b"", "not a .npy file")],
)
def test_what_is_no_array_is_refused(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_array(tmp_path / "x.npy")


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="never unpickles"):
        read_array(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", a=np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match=r"x\.npz"):
        read_arrays(tmp_path / "x.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_cut_file_is_refused(tmp_path):
    write_array(tmp_path / "x.npy", np.arange(100.0))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match=r"x\.npy: cannot be read"):
        read_array(tmp_path / "x.npy")
    write_arrays(tmp_path / "x.npz", {"a": np.arange(100.0)})
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"x\.npz: cannot be read"):
        read_arrays(tmp_path / "x.npz")


def test_folder_appears_whole_or_not_at_all(tmp_path):
    def broken(target):
        with atomic.atomic_folder(target) as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        broken(tmp_path / "step-1")
    assert list(tmp_path.iterdir()) == []
    with atomic.atomic_folder(tmp_path / "step-1") as folder:
        (folder / "old").write_text("old")
        assert not (tmp_path / "step-1").exists()
    with pytest.raises(RuntimeError, match="killed"):
        broken(tmp_path / "step-1")
    assert (tmp_path / "step-1/old").read_text() == "old"
    with atomic.atomic_folder(tmp_path / "step-1") as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in (tmp_path / "step-1").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_digests_of_a_folder_are_those_of_sha256sum(tmp_path):
    with atomic.atomic_folder(tmp_path / "F") as folder:
        (folder / "layer-2").mkdir()
        (folder / "layer-2/b.npz").write_text("b")
        (folder / "a.npz").write_text("a")
    digests.write_digests(tmp_path / "F", tmp_path / "F.sha256")
    check = ["sha256sum", "--check", "--strict", tmp_path / "F.sha256"]
    shown = subprocess.run(check, cwd=tmp_path / "F", capture_output=True, text=True, check=True).stdout
    assert shown == "a.npz: OK\nlayer-2/b.npz: OK\n"


def test_numbers_between_steps_come_back_to_the_bit_and_results_have_eight_digits(tmp_path):
    rng = np.random.default_rng(0)
    onsets = np.concatenate([1.6e9 + np.round(rng.uniform(0, 3e3, 500), 3), rng.standard_normal(500) * 1e-9])
    table = pd.DataFrame(
        {"onset": onsets, "dB": onsets.astype(np.float32), "count": np.where(onsets < 0, np.nan, 2**40)}
    )
    writer.write_table(table, tmp_path / "own.tsv")
    read = reader.read_table(tmp_path / "own.tsv")
    assert read["onset"].tolist() == onsets.tolist()
    assert read["dB"].astype(np.float32).tolist() == table["dB"].tolist()
    # A count stays a whole number beside a missing one.
    assert set((tmp_path / "own.tsv").read_text().split("\n")[1:-1][0].split("\t")[2:]) == {"1099511627776"}
    shown = pd.DataFrame({"checkpoint": "step-1", "step": [123456789.0, None], "perplexity": [100 / 3, 2.0]})
    shown = shown.assign(bits_per_word=1.5, n_tokens=[9876543210, 1])
    writer.write_table(shown, tmp_path / "tables/perplexity.tsv")
    rows = [line.split("\t") for line in (tmp_path / "tables/perplexity.tsv").read_text().splitlines()]
    assert rows[1:] == [["step-1", "123456789", "33.333333", "1.5", "9876543210"], ["step-1", "", "2", "1.5", "1"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: a\nseed: 1\n# again\nstudy: b\n", r"the key 'study' stands twice, in lines 1 and 4; keep one"),
        (
            "story:\n  trim: {start: 1, end: 1, 'start': 2}\n",
            r"the key 'story\.trim\.start' stands twice, in lines 2 and 2",
        ),
        ("a:\n- {b: 1}\n- b: 1\n  c: 2\n  b: 1\n", r"the key 'a\.1\.b' stands twice, in lines 3 and 5"),
        ('{"a": {"b": 1,\n\t"b": 2}}', r"the key 'b' stands twice in one section"),
        ("a: [1", "not YAML: while parsing"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"c\.yaml: {message}"):
        read_yaml(tmp_path / "c.yaml")


def test_yaml_without_such_a_key_is_read(tmp_path):
    (tmp_path / "c.yaml").write_bytes("a: &x {k: 1, m: é}\nb: {<<: *x, k: 3}\nc: [*x, *x]\n".encode("utf-16"))
    first = {"k": 1, "m": "é"}
    assert read_yaml(tmp_path / "c.yaml") == {"a": first, "b": {"k": 3, "m": "é"}, "c": [first, first]}
    (tmp_path / "c.json").write_text('{"a":\t{"b": 1},\n\t"b": 2}')
    assert read_yaml(tmp_path / "c.json") == {"a": {"b": 1}, "b": 2}
