"""SHA-256 of files, and the record of it that stands beside a file."""

import hashlib
import os
from pathlib import Path

from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError


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


def write_digests(folder: str | os.PathLike, record: str | os.PathLike) -> None:
    """Record the SHA-256 of every file in and below a folder, as ``sha256sum --check`` reads it there."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    write_text(record, "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths))


def check_digest(path: str | os.PathLike) -> str | None:
    """A file's SHA-256, None where none is recorded; an `InputError` if the file is missing or not the recorded one."""
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
