"""Object arrays of text → plain arrays of text, without running what a pickle asks for.

numpy stores an array of Python objects as a pickle, and loading a pickle runs whatever functions it names. Here the
only names that a pickle may use are those by which numpy stores text, and each stands for a small function or class of
this module, never for what it names: numpy's own would trust the sizes and addresses that the file states.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.io.arrays import array_header, write_array
from dynalign.io.errors import InputError, existing


class _Object:
    """Stands for an array or a type of numpy: what it was made from, and its state."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments):
        self.arguments, self.state = arguments, None

    def __setstate__(self, state):
        self.state = state


def _scalar(dtype: _Object, stored: bytes | str) -> str | bytes:
    """Stands for numpy's string scalar, whose bytes Python 2 stored as text."""
    stored = stored if isinstance(stored, bytes) else stored.encode("latin-1")
    letter, order = dtype.arguments[0][0], dtype.state[1] if dtype.state else "<"
    if letter == "U":
        return stored.decode("utf-32-be" if order == ">" else "utf-32-le")
    if letter == "S":
        return stored
    raise ValueError(f"an element is no text: numpy's type {letter}")


class _Named:
    """What a pickle finds under a name: it can be called, and nothing can be set on it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("it wants to change what it calls, which text does not need")


#: Module and name → what stands for it; numpy's modules were renamed with numpy 2, and protocol 2 spells bytes as text
#: to be encoded as Latin-1, or as a call of the type.
ALLOWED: dict[tuple[str, str], Callable] = {
    **{(module, "_reconstruct"): _Object for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    ("numpy", "ndarray"): _Object,
    ("numpy", "dtype"): _Object,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),
    ("__builtin__", "bytes"): lambda: b"",
}


class _TextUnpickler(pickle.Unpickler):
    """Reads plain values and arrays of text; any name outside of :data:`ALLOWED` ends the reading."""

    def find_class(self, module: str, name: str) -> _Named:
        """Find what stands for a name; nothing is imported, and no attribute is looked up."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}, which text does not need")
        return _Named(ALLOWED[module, name])


def _unpickle(data: bytes):
    """What a pickle holds, after a walk over its instructions, which carries none of them out.

    The walk sees sizes that the data cannot have; a place in the memo that is beyond all reason takes all memory.
    """
    for instruction, argument, _ in pickletools.genops(data):
        if "PUT" in instruction.name and argument > len(data):
            raise ValueError(f"it counts {argument} values, but has {len(data)} bytes")
    return _TextUnpickler(io.BytesIO(data), encoding="latin-1").load()


def _text(value) -> str:
    """An element as text: a string, or bytes (ASCII, as Python 2 stored it)."""
    if isinstance(value, bytes):
        value = value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"an element is no text: {type(value).__name__}")
    return value


def read_text(path: str | Path) -> np.ndarray:
    """Read the text of a ``.npy`` array of objects (or of bytes), in its shape, without running anything in it.

    InputError if the file is no ``.npy`` array, or holds anything but text.
    """
    path = existing(path)
    try:
        with open(path, "rb") as stream:
            shape, fortran, dtype = array_header(stream)
            if dtype.kind in "US":
                flat = np.frombuffer(stream.read(), dtype).astype(str)
            elif dtype.kind == "O":
                stored = _unpickle(stream.read())
                # The fifth part of an array's state is the list of its elements.
                elements = stored.state[4] if isinstance(stored, _Object) and stored.state else None
                if not isinstance(elements, list):
                    raise ValueError("it holds no array")
                flat = np.array([_text(value) for value in elements], dtype=str)
            else:
                raise ValueError(f"its type is {dtype}; only text needs converting")
        if len(flat) != math.prod(shape):
            raise ValueError(f"{len(flat)} elements for the shape {shape}")
    # Whatever a broken or hostile pickle does with plain values ends here.
    except (
        pickle.UnpicklingError, ValueError, EOFError, LookupError, TypeError, AttributeError, OverflowError, MemoryError
    ) as error:  # fmt: skip
        raise InputError(f"{path}: holds no plain text that can be taken out safely: {error}") from None
    return flat.reshape(shape, order="F" if fortran else "C")


@command
def main(array: str, output: str) -> None:
    """Take the text out of an array of pickled objects (``.npy``) into one of text; nothing in the file is run."""
    text = read_text(array)
    write_array(output, text)
    note(f"{output}: {text.dtype} {text.shape}")


if __name__ == "__main__":
    run(main)
