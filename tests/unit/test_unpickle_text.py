"""Text is taken out of pickled arrays without running what is in them."""

import pickle
import struct

import numpy as np
import pytest
from tests.helpers import flags

from dynalign.datasets import unpickle_text
from dynalign.io.errors import InputError

WORDS = ["+", "Harry", "@never@", "", "naïve", "“No”,", "Harry", "x" * 300, "\N{SNOWMAN}"]


def store(path, value, protocol):
    """An object array as numpy stores it, with any pickle protocol."""
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": value.shape})
        stream.write(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [str, np.str_, lambda word: word.encode("ascii", "ignore")])
def test_text_comes_out_as_it_was(tmp_path, protocol, kind):
    words = [kind(word) for word in WORDS]
    array = np.empty(len(words), dtype=object)
    array[:] = words
    expected = [word.decode() if isinstance(word, bytes) else str(word) for word in words]
    path = store(tmp_path / "x.npy", array, protocol)
    assert unpickle_text.read_text(path).tolist() == expected
    store(path, array[:8].reshape(4, 2), protocol)
    assert unpickle_text.read_text(path).tolist() == np.array(expected[:8]).reshape(4, 2).tolist()


def test_the_command_writes_what_the_workflow_reads(tmp_path):
    np.save(tmp_path / "words.npy", np.array(WORDS, dtype=object), allow_pickle=True)
    unpickle_text.main(flags(array=tmp_path / "words.npy", output=tmp_path / "plain.npy"))
    plain = np.load(tmp_path / "plain.npy", allow_pickle=False)
    assert plain.dtype.kind == "U"
    assert plain.tolist() == WORDS
    np.save(tmp_path / "bytes.npy", np.array([b"a", b"bc"]))
    assert unpickle_text.read_text(tmp_path / "bytes.npy").tolist() == ["a", "bc"]


def test_what_python_2_stored_is_read(tmp_path):
    """Its strings are bytes with instructions of their own, which Python 3 writes no more."""
    words = [b"Harry", b"+"]
    pickled = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]("
        + b"".join(b"U" + struct.pack("B", len(word)) + word for word in words)
        + b"etb."
    )
    assert pickle.loads(pickled, encoding="latin-1").tolist() == ["Harry", "+"]
    header = np.empty(2, dtype=object)
    path = store(tmp_path / "x.npy", header, 2)
    path.write_bytes(path.read_bytes()[:128] + pickled)
    assert unpickle_text.read_text(path).tolist() == ["Harry", "+"]


class Trap:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [open, exec, __import__("os").system, np.save, np.ndarray.tofile, getattr])
def test_nothing_is_called_whatever_the_pickle_asks_for(tmp_path, protocol, function):
    sprung = tmp_path / "sprung"
    arguments = (f"open({str(sprung)!r}, 'w')",) if function is exec else (str(sprung), "w")
    path = store(tmp_path / "x.npy", np.array([Trap(function, arguments), "word"], dtype=object), protocol)
    with pytest.raises(InputError, match=r"x\.npy: holds no plain text that can be taken out safely"):
        unpickle_text.read_text(path)
    assert not sprung.exists()


NAME = b"cnumpy.core.multiarray\nscalar\n"

#: Pickles, by what they try: each leaves `sprung` behind if it gets its way.
HOSTILE = {
    "a call": b"cos\nsystem\n(S'touch sprung'\ntR.",
    "an instance": b"(S'touch sprung'\nios\nsystem\n.",
    "an object": b"(cos\nsystem\nS'touch sprung'\no.",
    "a new object": b"\x80\x02csubprocess\nPopen\nS'touch sprung'\n\x85\x81.",
    "a name on the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch sprung\x85R.",
    "an attribute of what is allowed": b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x12scalar.__globals__\x93.",
    "a chain of attributes": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    "a helper of numpy": b"cnumpy.f2py.diagnose\nrun_command\n(S'touch sprung'\ntR.",
    "a state for a name": NAME + b"}(S'_function'\ncos\nsystem\nsb.",
    "a plain state for a name": NAME + b"}S'_function'\nS'x'\nsb.",
    "slots for a name": NAME + b"(N}S'__call__'\nS'x'\nstb.",
    "a call of what is no function": b"S'touch sprung'\n(tR.",
    "a name as a class": b"\x80\x02" + NAME + b")\x81.",
    "a state for a list": b"](N}S'append'\nS'x'\nstb.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "something kept elsewhere": b"Pos.system\n.",
    "all memory": b"\x80\x02]r\xff\xff\xff\x7f.",
    "more bytes than there are": b"\x80\x05\x96\xff\xff\xff\xff\x0f\x00\x00\x00a.",
    "bytes for objects": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'AAAAAAAA'\ntb.",
}


@pytest.mark.parametrize("pickled", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, monkeypatch, pickled):
    monkeypatch.chdir(tmp_path)
    path = store(tmp_path / "x.npy", np.empty(1, dtype=object), 2)
    path.write_bytes(path.read_bytes()[:128] + pickled)
    with pytest.raises(InputError, match="no plain text that can be taken out safely"):
        unpickle_text.read_text(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npy"]


def test_what_stands_for_names_stays_as_it_was(tmp_path):
    """A pickle cannot change what the next one calls."""
    before = dict(unpickle_text.ALLOWED)
    slots = {name: vars(kind).copy() for name, kind in vars(unpickle_text).items() if isinstance(kind, type)}
    for pickled in HOSTILE.values():
        path = store(tmp_path / "x.npy", np.empty(1, dtype=object), 2)
        path.write_bytes(path.read_bytes()[:128] + pickled)
        with pytest.raises(InputError):
            unpickle_text.read_text(path)
    assert before == unpickle_text.ALLOWED
    assert slots == {name: vars(kind) for name, kind in vars(unpickle_text).items() if isinstance(kind, type)}


@pytest.mark.parametrize("value", [np.array([{}], dtype=object), np.array([1, "a"], dtype=object), np.zeros(3)])
def test_what_is_no_text_is_refused(tmp_path, value):
    np.save(tmp_path / "x.npy", value, allow_pickle=True)
    with pytest.raises(InputError, match="no plain text"):
        unpickle_text.read_text(tmp_path / "x.npy")


def test_a_broken_pickle_ends_in_one_clear_message(tmp_path):
    """Every cut and many flipped bits of a real one."""
    path = store(tmp_path / "x.npy", np.array(["Harry", np.str_("a"), "+"], dtype=object), 3)
    body = path.read_bytes()
    rng = np.random.default_rng(0)
    broken = [body[:end] for end in range(len(body))]
    for _ in range(300):
        flipped = bytearray(body)
        flipped[rng.integers(128, len(body))] ^= 1 << rng.integers(8)
        broken.append(bytes(flipped))
    refused = 0
    for content in broken:
        path.write_bytes(content)
        try:
            assert unpickle_text.read_text(path).shape == (3,)
        except InputError:
            refused += 1
    assert refused >= len(body)
