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
from dynalign.io.errors import InputError


class _Dtype:
    """Stands for ``numpy.dtype``: the letter of its kind and its byte order."""

    __slots__ = ("letter", "order")

    def __init__(self, name: str, *_):
        self.letter, self.order = name[0], "<"

    def __setstate__(self, state):
        self.order = state[1]


class _Array:
    """Stands for ``numpy.ndarray``: the list of its elements."""

    __slots__ = ("elements",)

    def __init__(self, *_):
        self.elements = None

    def __setstate__(self, state):
        self.elements = state[4]


def _scalar(dtype: _Dtype, stored: bytes | str) -> str | bytes:
    """Stands for numpy's string scalar, whose bytes Python 2 stored as text."""
    stored = stored if isinstance(stored, bytes) else stored.encode("latin-1")
    if dtype.letter == "U":
        return stored.decode("utf-32-be" if dtype.order == ">" else "utf-32-le")
    if dtype.letter == "S":
        return stored
    raise ValueError(f"an element is no text: numpy's type {dtype.letter}")


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
    **{(module, "_reconstruct"): _Array for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),
    ("__builtin__", "bytes"): lambda: b"",
}


class TextUnpickler(pickle.Unpickler):
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
    return TextUnpickler(io.BytesIO(data), encoding="latin-1").load()


def _text(value) -> str:
    """An element as text: a string, or bytes (ASCII, as Python 2 stored it)."""
    if isinstance(value, bytes):
        value = value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"an element is no text: {type(value).__name__}")
    return value


def read_text(path: str | Path) -> np.ndarray:
    """Read the text of a ``.npy`` array of objects (or of bytes), without running anything in it.

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
            if dtype.kind in "US":
                flat = np.frombuffer(stream.read(), dtype).astype(str)
            elif dtype.kind == "O":
                stored = _unpickle(stream.read())
                if not isinstance(stored, _Array) or not isinstance(stored.elements, list):
                    raise ValueError("it holds no array")
                flat = np.array([_text(value) for value in stored.elements], dtype=str)
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
    """Take the text out of an array of pickled objects; nothing in the file is run.

    Parameters
    ----------
    array
        ``.npy`` array of objects.
    output
        ``.npy`` array of text to write.
    """
    text = read_text(array)
    write_array(output, text)
    note(f"{output}: {text.dtype} {text.shape}")


if __name__ == "__main__":
    run(main)
