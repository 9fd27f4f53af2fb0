"""Reading and writing: every file appears whole or not at all, and nothing is ever unpickled."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto it when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The file to write. Missing parent folders are created. The temporary name keeps the suffixes,
        because libraries choose their format by them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
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
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as outer:
        temporary = Path(outer) / path.name
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
        If the file is missing, is no table, or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, encoding="utf-8"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a tab-separated UTF-8 table: {error}") from None
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


def read_array(path: str | os.PathLike, mmap: bool = False):
    """Read one ``.npy`` array, never unpickling.

    Raises
    ------
    InputError
        If the file is missing, is no ``.npy`` file (an HTML page, say), is cut short, or holds pickled objects.
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
            stream.seek(0)
            version = np.lib.format.read_magic(stream)
            reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            dtype = reader(stream)[2]
        if dtype.hasobject:
            raise InputError(
                f"{path}: holds pickled Python objects, which can run code when read; dynalign never unpickles. "
                "If you trust the file, convert it once: python -c \"import numpy as np; a = np.load('IN.npy', "
                "allow_pickle=True); np.save('OUT.npy', a.astype(str))\""
            )
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a .npy array: {error}") from None


def write_array(path: str | os.PathLike, array) -> None:
    """Write one array as ``.npy``."""
    import numpy as np

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


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
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored.files]
            if missing:
                raise InputError(f"{path}: lacks array {missing[0]!r}; it has {', '.join(stored.files)}")
            return {name: stored[name] for name in (names or stored.files)}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a .npz archive: {error}") from None
