"""Reading and writing: every file appears whole or not at all, and nothing is ever unpickled.

What is damaged later is seen when it is read: archives carry checksums, arrays get one behind their data (other
readers do not look there), tables must be whole to their last line end.
"""

import csv
import errno
import hashlib
import io
import math
import os
import re
import shutil
import socket
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO, TypeVar

#: A dataclass of arrays.
Record = TypeVar("Record")

#: Columns that hold text even where every entry looks like a number (a subject may be called "18").
TEXT_COLUMNS = frozenset(
    {
        "word",
        "checkpoint",
        "subject",
        "property",
        "property_a",
        "property_b",
        "removal",
        "value",
        "label",
        "class_name",
        "region",
        "roi",
        "name",
    }
)


class InputError(Exception):
    """Bad input; the message names the file or key, the value, and the way out."""


#: What readers of numpy and zip raise on damaged files (an encrypted or unknown kind of member, say).
_DAMAGE = (ValueError, EOFError, KeyError, RuntimeError, SyntaxError, struct.error, zlib.error)


#: What a full disk, a quota and a limit on sizes of files answer, and what a folder that cannot be written to does.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ENTRY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})


def _system_error(error: Exception) -> int | None:
    """The system's number of an error, also where a library (safetensors) passes it on as text."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _remove_leftovers(path: Path, host: str) -> None:
    """Remove temporary folders beside `path` whose writer, a process of this machine, was killed."""
    left = re.compile(rf"{re.escape(f'.{path.name}.{host}-')}(\d+)\..+")
    for name in os.listdir(path.parent):
        if found := left.fullmatch(name):
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                shutil.rmtree(path.parent / name, ignore_errors=True)
            except OSError:
                continue


def check_writable(folder: str | os.PathLike) -> None:
    """Check that files can be written into a folder, which may not exist yet, and into the folders in it.

    Raises
    ------
    InputError
        If one of them cannot be written to, or a file stands in its place (a name without suffix).
    """
    folder = Path(folder)
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        inside = [path for path in folder.iterdir() if not path.suffix] if folder.is_dir() else []
    except PermissionError as error:
        raise InputError(f"{error.filename}: cannot be read; make it a folder that you may read") from None
    for path in (there, *inside):
        if not path.is_dir():
            raise InputError(f"{path}: a file where a folder is needed; move it away")
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"{path}: cannot be written to; make it a folder that you may write to")


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, removed in the end.

    Its name tells who writes (host and process), so that the next writer of `path` removes what a kill left.

    Raises
    ------
    InputError
        If the folder cannot be written to, or there is no room.
    """
    host = socket.gethostname()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path, host)
        folder = tempfile.TemporaryDirectory(prefix=f".{path.name}.{host}-{os.getpid()}.", dir=path.parent)
    except OSError as error:
        if error.errno not in NO_ROOM | NO_ENTRY:
            raise
        raise InputError(
            f"{path}: cannot be written: {error.strerror}: {error.filename}; make this a folder that you may write to"
        ) from None
    with folder as name:
        try:
            yield Path(name)
        except Exception as error:
            code = _system_error(error)
            if code not in NO_ROOM:
                raise
            free = shutil.disk_usage(path.parent).free
            raise InputError(
                f"{path}: cannot be written: {os.strerror(code)} ({free / 1e6:.0f} MB free); make room (disk, quota, "
                "ulimit -f) and run again: nothing half-written stays"
            ) from None


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto it when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The file to write. Missing parent folders are created. The temporary name keeps the suffixes,
        because libraries choose their format by them.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    with _folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder (of files) beside `path`, moved onto it when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The folder to write. Missing parent folders are created; a folder that stands there is replaced.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    with _folder_beside(path) as outer:
        temporary = outer / path.name
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            # safetensors writes files that only their owner can read; a cluster's other users need them too.
            file.chmod(temporary.stat().st_mode & 0o666)
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8 with ``\\n`` line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_table(table, path: str | os.PathLike) -> None:
    """Write a data frame as tab-separated text; floats with 8 significant digits, missing as empty.

    Raises
    ------
    ValueError
        If a text cell holds a tab or a line break, which the format cannot carry.
    """
    for name in table.columns:
        if table[name].dtype.kind not in "OUTS" and str(table[name].dtype) not in ("str", "string"):
            continue
        for row, cell in enumerate(table[name]):
            if isinstance(cell, str) and any(mark in cell for mark in "\t\r\n"):
                raise ValueError(f"{path}: row {row}, column {name}: {cell!r} holds a tab or line break")
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary,
            sep="\t",
            index=False,
            float_format="%.8g",
            na_rep="",
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
        )


def read_table(path: str | os.PathLike, columns: Sequence[str] = ()):
    """Read a table written by :func:`write_table` (or any plain tab-separated file).

    Parameters
    ----------
    path : path-like
    columns : sequence of str
        Columns that must be there.

    Returns
    -------
    pandas.DataFrame
        Text stays text in :data:`TEXT_COLUMNS` and in ``*_raw`` columns (a word may be "null" or "1984");
        any other column is numeric when all its entries are numbers or empty.

    Raises
    ------
    InputError
        If the file is missing, is no table, is cut short, or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        raise InputError(
            f"{path}: ends inside a line: it may be cut short; make it again, or, if it is whole, end its last line"
        )
    try:
        table = pd.read_csv(
            io.BytesIO(content),
            sep="\t",
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a tab-separated UTF-8 table: {error}") from None
    # pandas fills a row that is too short.
    for number, line in enumerate(content.splitlines(), start=1):
        if line and line.count(TAB) + 1 != len(table.columns):
            raise InputError(
                f"{path}: line {number} has {line.count(TAB) + 1} cells, but there are {len(table.columns)} columns; "
                "correct it or make the file again"
            )
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path}: lacks column {missing[0]!r}; it has {', '.join(table.columns)}")
    for name in table.columns:
        if name in TEXT_COLUMNS or name.endswith("_raw"):
            table[name] = table[name].astype(object)
            continue
        numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
        if (numbers.notna() | (table[name] == "")).all() and len(table):
            table[name] = numbers
        else:
            table[name] = table[name].astype(object)
    return table


#: Separates the cells of a table.
TAB = b"\t"
#: Marks the checksum behind the data of a ``.npy`` file.
SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + hashlib.sha256().digest_size * 2


def read_array(path: str | os.PathLike, mmap: bool = False):
    """Read one ``.npy`` array, never unpickling; what :func:`write_array` wrote must be as it was written.

    Raises
    ------
    InputError
        If the file is missing, is no ``.npy`` file (an HTML page, say), is cut short, is longer than its header
        says, differs from its checksum, or holds pickled objects.
    """
    import numpy as np

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
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
                    raise InputError(
                        f"{path}: differs from its checksum: damaged since it was written; delete it and run again"
                    )
                stream.seek(0)
            shape, _, dtype = array_header(stream)
            expected = stream.tell() + math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise InputError(
                f"{path}: holds pickled Python objects, which can run code when read; dynalign never unpickles. "
                f"If it holds text, take that out without running anything: python -m dynalign.convert {path} "
                f"--output {path.with_suffix('')}.plain.npy, and put the new file in place of the old one"
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


def array_file_size(path: str | os.PathLike) -> int | None:
    """Bytes that a ``.npy`` file must have, by its own header; None if that is not whole or tells of objects."""
    try:
        with open(path, "rb") as stream:
            shape, _, dtype = array_header(stream)
            return None if dtype.hasobject else stream.tell() + dtype.itemsize * math.prod(shape)
    except (ValueError, EOFError):
        return None


def array_header(stream: BinaryIO) -> tuple:
    """Shape, order and type that a ``.npy`` file's header states; leaves `stream` at the data."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def write_array(path: str | os.PathLike, array) -> None:
    """Write one array as ``.npy``, with a checksum behind the data, which other readers pass over."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with atomic_path(path) as temporary, open(temporary, "w+b") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        # Not numpy's own writing, which hides what the system answers on a full disk.
        stream.write(array.reshape(-1).view(np.uint8).data)
        length = stream.tell()
        stream.seek(0)
        seal = SEAL + _digest(stream, length)
        stream.seek(0, os.SEEK_END)
        stream.write(seal)


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, object]) -> None:
    """Write named arrays as a compressed ``.npz`` whose bytes depend on the arrays alone."""
    import numpy as np

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike, names: Sequence[str] = ()) -> dict:
    """Read a ``.npz`` of named arrays; `names` must be there, and only they are read when given.

    Raises
    ------
    InputError
        If the file is missing, broken, or lacks a name.
    """
    import zipfile

    import numpy as np

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as stored:
            there = [name.removesuffix(".npy") for name in stored.namelist()]
            # The record at the end counts the members; zipfile itself does not compare.
            with open(path, "rb") as stream:
                stream.seek(-22 - len(stored.comment), os.SEEK_END)
                count = int.from_bytes(stream.read(22)[10:12], "little")
            if count not in (len(there), 0xFFFF):
                raise ValueError(f"{len(there)} members where {count} are counted")
            missing = [name for name in names if name not in there]
            if missing:
                raise InputError(f"{path}: lacks array {missing[0]!r}; it has {', '.join(there)}")
            # The whole of a member is read, because only then its checksum is looked at.
            return {
                name: np.lib.format.read_array(io.BytesIO(stored.read(f"{name}.npy")), allow_pickle=False)
                for name in (names or there)
            }
    except (*_DAMAGE, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read as a .npz archive: {error}; delete it and run again"
        ) from None


def write_record(path: str | os.PathLike, record: object) -> None:
    """Write a dataclass of arrays and whole numbers as ``.npz``, one array per field."""
    write_arrays(path, vars(record))


def read_record(path: str | os.PathLike, kind: type[Record]) -> Record:
    """Read what :func:`write_record` wrote of a dataclass `kind`; an array without axes becomes a Python number.

    Raises
    ------
    InputError
        If the file is missing, broken, or lacks a field.
    """
    arrays = read_arrays(path, [field.name for field in fields(kind)])
    return kind(**{name: array if array.ndim else array.item() for name, array in arrays.items()})


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_path(path: str | os.PathLike) -> Path:
    """Where a file's digest is recorded: beside it."""
    return Path(f"{os.fspath(path)}.sha256")


def write_digest(path: str | os.PathLike) -> str:
    """Record a file's SHA-256 beside it, as ``sha256sum --check`` reads it; return it."""
    digest = sha256(path)
    write_text(digest_path(path), f"{digest}  {Path(path).name}\n")
    return digest


def check_digest(path: str | os.PathLike) -> str | None:
    """Compare a file with the SHA-256 recorded beside it.

    Returns
    -------
    str or None
        The digest; None where none is recorded.

    Raises
    ------
    InputError
        If the file is missing or is not the one that was recorded.
    """
    record = digest_path(path)
    if not record.is_file():
        return None
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file, but {record} tells of it; remove the record and run again")
    stated, found = record.read_text(encoding="utf-8").split(maxsplit=1)[:1], sha256(path)
    if stated != [found]:
        raise InputError(
            f"{path}: changed since it was checked: its sha256 is {found}, {record.name} has "
            f"{stated[0] if stated else 'none'}. Remove the file and the record to fetch it again; if the new "
            "content is meant, remove the record alone"
        )
    return found
