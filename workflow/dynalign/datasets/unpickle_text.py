"""Object arrays of text → plain arrays of text, without unpickling.

numpy stores an array of Python objects as a pickle, and loading a pickle runs whatever functions it names. The words
of a story need none of that: :func:`read_text` walks the pickle's instructions (:mod:`pickletools` lists them without
carrying them out) on a stack of plain values. A call is only written down, never made, and one that is not part of
how numpy stores text ends the reading.
"""

from __future__ import annotations

import argparse
import math
import pickletools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.cli import note, run
from dynalign.io.arrays import array_header, write_array
from dynalign.io.errors import InputError

#: What a pickled array of text may name; module names changed with numpy 2.
ARRAY = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
SCALAR = frozenset({"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"})

#: How protocol 2 spells bytes: text to be encoded as Latin-1, or nothing at all.
BYTES = frozenset({"_codecs encode", "__builtin__ bytes"})
KNOWN = ARRAY | SCALAR | BYTES | {"numpy ndarray", "numpy dtype"}

#: Instructions that put a plain value on the stack.
PLAIN = frozenset(
    {
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1"),
    }
)

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class Call:
    """A call that the pickle asks for and that is not made: its function's name, its arguments, its state."""

    def __init__(self, function: str, arguments: tuple):
        self.function, self.arguments, self.state = function, arguments, ()


class Global(NamedTuple):
    """The name of a function or class."""

    name: str


class _Stack(list):
    def to_mark(self) -> list:
        position = max(i for i, value in enumerate(self) if value is MARK)
        values = self[position + 1 :]
        del self[position:]
        return values


def parse(data: bytes):
    """Read a pickle of plain values, tuples, lists and numpy's arrays of them, carrying nothing out.

    Returns
    -------
    object
        The pickled value; calls stay :class:`Call`.

    Raises
    ------
    ValueError
        If it is no pickle, or holds an instruction or a name that text does not need.
    """
    stack, memo = _Stack(), {}
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        elif name == "STOP":
            return stack.pop()
        elif name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "TUPLE":
            stack.append(tuple(stack.to_mark()))
        elif name in TUPLES:
            values = tuple(stack[-TUPLES[name] :])
            del stack[-TUPLES[name] :]
            stack.append(values)
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif name == "APPENDS":
            values = stack.to_mark()
            stack[-1].extend(values)
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                argument = f"{module} {attribute}"
            if argument not in KNOWN:
                raise ValueError(f"it wants to call {'.'.join(argument.split())}, which text does not need")
            stack.append(Global(argument))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(Call(function.name, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        else:
            raise ValueError(f"it holds the instruction {name}, which text does not need")
    raise ValueError("it ends too early")


def text_of(value) -> str:
    """A parsed element as text: a string, bytes (ASCII, as Python 2 stored it), or numpy's string scalar.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(value, Call) and value.function in SCALAR:
        kind, stored = value.arguments
        letter = kind.arguments[0][0]
        stored = _bytes(stored)
        if letter == "U":
            order = "be" if kind.state and kind.state[1] == ">" else "le"
            return stored.decode(f"utf-32-{order}")
        value = stored if letter == "S" else value
    if isinstance(value, bytes) or (isinstance(value, Call) and value.function in BYTES):
        value = _bytes(value).decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"an element is no text: {type(value).__name__}")
    return value


def _bytes(value) -> bytes:
    """Bytes, also as protocol 2 spells them."""
    if isinstance(value, Call) and value.function in BYTES:
        value = value.arguments[0] if value.arguments else b""
    return value if isinstance(value, bytes) else value.encode("latin-1")


def read_text(path: str | Path) -> np.ndarray:
    """Read the text of a ``.npy`` array of objects (or of bytes), without unpickling.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    array of text, of the stored shape

    Raises
    ------
    InputError
        If the file is no ``.npy`` array, or holds anything but text.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with open(path, "rb") as stream:
            shape, fortran, dtype = array_header(stream)
            data = stream.read()
        if dtype.kind in "US":
            flat = np.frombuffer(data, dtype).astype(str)
        elif dtype.kind == "O":
            stored = parse(data)
            if not isinstance(stored, Call) or stored.function not in ARRAY:
                raise ValueError("it holds no array")
            flat = np.array([text_of(value) for value in stored.state[4]], dtype=str)
        else:
            raise ValueError(f"its type is {dtype}; only text needs converting")
        if len(flat) != math.prod(shape):
            raise ValueError(f"{len(flat)} elements for the shape {shape}")
    # Whatever a broken or hostile pickle does to the stack of plain values ends here.
    except (ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: holds no plain text that can be taken out safely: {error}") from None
    return flat.reshape(shape, order="F" if fortran else "C")


def main(argv: list[str] | None = None) -> None:
    """Command: a ``.npy`` of pickled text → a plain ``.npy`` of text; nothing in the file is run."""
    parser = argparse.ArgumentParser(prog="dynalign.datasets.unpickle_text", description=main.__doc__)
    parser.add_argument("input", help=".npy array of objects")
    parser.add_argument("--output", required=True, help=".npy array of text to write")
    args = parser.parse_args(argv)
    text = read_text(args.input)
    write_array(args.output, text)
    note(f"{args.output}: {text.dtype} {text.shape}")


if __name__ == "__main__":
    run(main)
