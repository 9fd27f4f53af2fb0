"""Writing: every file appears whole or not at all."""

import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynalign.io.errors import InputError

#: What a full disk, a quota and a limit on sizes of files answer, and what a folder that cannot be written to does.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ENTRY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})


def _system_error(error: Exception) -> int | None:
    """The system's number of an error, also where a library (safetensors) passes it on as text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return error.errno if isinstance(error, OSError) else int(found[1]) if found else None


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

    An `InputError` names one that cannot be written to, or a file in its place (a name without suffix).
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
    """Yield a temporary folder beside `path`; by its name (host, process) the next writer knows what a kill left."""
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


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path of the same name, moved to `path` when the block ends without an error.

    Missing parent folders are created. A full disk and a folder that cannot be written to are an `InputError`.
    """
    path = Path(path)
    with _folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        for file in _files_below(temporary) if temporary.is_dir() else [temporary]:
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
        if temporary.is_dir() and path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """As :func:`atomic_path`, for a folder of files and folders; one that stands there is replaced."""
    with atomic_path(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in _files_below(temporary):
            # safetensors writes files that only their owner can read; a cluster's other users need them too.
            file.chmod(temporary.stat().st_mode & 0o666)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8 with ``\\n`` line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
