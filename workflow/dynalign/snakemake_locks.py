"""Which Snakemake heads are at work in a folder, and the locks of those that died.

A head locks the files that it works on in ``.snakemake/locks`` and removes the lock when it ends. One that is killed,
or whose machine loses power, leaves it, and Snakemake asks for ``--unlock``, because it cannot know. The kernel does: a
head keeps a shared lock (flock) on ``.snakemake/heads``, which ends with the process. Whoever can have this lock
alone is the only head, so that every other lock was left by a dead one.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import TextIO


def attend(folder: str | Path) -> TextIO | None:
    """Register this process as a head until it ends, however it ends; remove what dead heads left locked.

    Where heads of several machines work in one folder, nothing is removed, because not every shared file system
    carries flock from one machine to the other.

    Parameters
    ----------
    folder : path-like
        ``.snakemake``.

    Returns
    -------
    stream or None
        To be kept open as long as the process works; None where the file system has no such locks.
    """
    folder = Path(folder)
    host = socket.gethostname()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(folder / "heads", "a+", encoding="utf-8")  # noqa: SIM115
    except OSError:
        # Snakemake itself will say that it cannot write here.
        return None
    try:
        with suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_locks(folder / "locks", stream, host)
        fcntl.flock(stream, fcntl.LOCK_SH)
    except OSError:
        stream.close()
        return None
    stream.seek(0)
    if host not in stream.read().split():
        stream.write(f"{host}\n")
        stream.flush()
    return stream


def _remove_locks(locks: Path, stream: TextIO, host: str) -> None:
    """Remove the locks unless a head of another machine may have them; forget machines that have none."""
    stream.seek(0)
    if any(locks.glob("*.lock")):
        if set(stream.read().split()) - {host}:
            return
        shutil.rmtree(locks)
    stream.truncate(0)
