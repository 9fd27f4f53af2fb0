"""Arrays on disk, never unpickled; archives carry checksums, a ``.npy`` array gets one behind its data."""

import hashlib
import io
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, BinaryIO, TypeVar

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError, existing

#: A dataclass of arrays.
Record = TypeVar("Record", bound=Any)

#: What readers of numpy and zip raise on damaged files (an encrypted or unknown kind of member, say).
_DAMAGE = (ValueError, EOFError, KeyError, RuntimeError, SyntaxError, struct.error, zlib.error)

#: Marks the checksum behind the data of a ``.npy`` file.
SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + hashlib.sha256().digest_size * 2


def read_array(path: str | os.PathLike, mmap: bool = False):
    """Read one ``.npy`` array, never unpickling.

    An `InputError` says that the file is missing, no ``.npy`` file (an HTML page, say), of another length than its
    header says, other than its checksum says, or holds pickled objects.
    """
    import numpy as np

    path = existing(path)
    try:
        with open(path, "rb") as stream:
            magic = stream.read(6)
            if magic != b"\x93NUMPY":
                raise InputError(f"{path}: not a .npy file, it begins with {magic!r}; download it again")
            size = path.stat().st_size
            stream.seek(max(0, size - SEAL_LENGTH))
            seal = stream.read()
            stream.seek(0)
            if seal.startswith(SEAL):
                size -= SEAL_LENGTH
                if seal != SEAL + _digest(stream, size):
                    damaged = "damaged since it was written; delete it and run again"
                    raise InputError(f"{path}: differs from its checksum: {damaged}")
                stream.seek(0)
            expected = _stated_size(stream)
        if expected is None:
            raise InputError(
                f"{path}: holds pickled Python objects, which can run code when read; dynalign never unpickles. "
                "If it holds text, take that out without running anything: python -m dynalign.datasets.unpickle_text "
                f"--array {path} --output {path.with_suffix('')}.plain.npy, and put the new file in the old one's place"
            )
        if size != expected:
            raise InputError(
                f"{path}: cannot be read as a .npy array: {size} bytes, but its header says {expected}; it was "
                "damaged or cut short: get or make it again"
            )
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (*_DAMAGE, OSError) as error:
        raise InputError(f"{path}: cannot be read as a .npy array: {error}; get or make it again") from None


def _digest(stream, length: int) -> bytes:
    """SHA-256 of the next `length` bytes, in hexadecimal."""
    total = hashlib.sha256()
    while length and (block := stream.read(min(length, 1 << 20))):
        total.update(block)
        length -= len(block)
    return total.hexdigest().encode()


def _stated_size(stream: BinaryIO) -> int | None:
    """Bytes that a ``.npy`` file must have by its own header; None if it holds objects."""
    shape, _, dtype = array_header(stream)
    return None if dtype.hasobject else stream.tell() + math.prod(shape) * dtype.itemsize


def array_file_size(path: str | os.PathLike) -> int | None:
    """Bytes that a ``.npy`` file must have, by its own header; None if that is not whole or tells of objects."""
    try:
        with open(path, "rb") as stream:
            return _stated_size(stream)
    except (ValueError, EOFError):
        return None


def array_header(stream: BinaryIO) -> tuple:
    """Shape, order and type that a ``.npy`` file's header states; leaves `stream` at the data."""
    import numpy as np

    first = np.lib.format.read_magic(stream) == (1, 0)
    return (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(stream)


def write_array(path: str | os.PathLike, array) -> None:
    """Write one array as ``.npy``, with a checksum behind the data, where other readers do not look."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with atomic_path(path) as temporary, open(temporary, "w+b") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        # Not numpy's own writing, which hides what the system answers on a full disk.
        stream.write(array.reshape(-1).view(np.uint8).data)
        length = stream.tell()
        stream.seek(0)
        stream.write(SEAL + _digest(stream, length))


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as a compressed ``.npz`` whose bytes depend on the arrays alone."""
    import numpy as np

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike, names: Sequence[str] = ()) -> dict:
    """Read a ``.npz``, only the arrays `names` when given; an `InputError` if it is missing, broken or lacks one."""
    import zipfile

    import numpy as np

    path = existing(path)
    try:
        with zipfile.ZipFile(path) as stored:
            there = [name.removesuffix(".npy") for name in stored.namelist()]
            # The record at the end counts the members; zipfile itself does not compare.
            with open(path, "rb") as stream:
                stream.seek(-22 - len(stored.comment), os.SEEK_END)
                count = int.from_bytes(stream.read(22)[10:12], "little")
            if count not in (len(there), 0xFFFF):
                raise ValueError(f"{len(there)} members where {count} are counted")
            if missing := [name for name in names if name not in there]:
                raise InputError(f"{path}: lacks array {missing[0]!r}; it has {', '.join(there)}")
            # The whole of a member is read, because only then its checksum is looked at.
            return {
                name: np.lib.format.read_array(io.BytesIO(stored.read(f"{name}.npy")), allow_pickle=False)
                for name in (names or there)
            }
    except (*_DAMAGE, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a .npz archive: {error}; delete it and run again") from None


def write_record(path: str | os.PathLike, record: object) -> None:
    """Write a dataclass of arrays and whole numbers as ``.npz``, one array per field."""
    write_arrays(path, vars(record))


def read_record(path: str | os.PathLike, kind: type[Record]) -> Record:
    """Read a dataclass `kind` that :func:`write_record` wrote; an array without axes becomes a number."""
    arrays = read_arrays(path, [field.name for field in fields(kind)])
    return kind(**{name: array if array.ndim else array.item() for name, array in arrays.items()})
