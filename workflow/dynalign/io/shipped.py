"""The files that a study names: its own, or those that come with the workflow; what tells them apart by content."""

import hashlib
import os
import time
from pathlib import Path

from dynalign.io.kept import Kept

PACKAGE = Path(__file__).parents[1]
#: Larger files are told apart by their size and both ends.
WHOLE_BYTES = 64_000_000


def shipped(path: str | os.PathLike, root: str | os.PathLike = ".") -> Path:
    """The file that a study names (``resources/demo/story.txt``, say): in `root`, unless it is only in the package."""
    own, packaged = Path(root, path), PACKAGE / path
    return packaged if packaged.exists() and not own.exists() else own


def fingerprint(path: str | os.PathLike) -> str:
    """A file's size and a digest, which do not change with its time stamps; empty where there is no such file."""
    path = shipped(path)
    if not path.is_file():
        return ""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        digest = hashlib.sha256(stream.read(WHOLE_BYTES // 2))
        stream.seek(max(stream.tell(), size - WHOLE_BYTES // 2))
        digest.update(stream.read())
    return f"{size}-{digest.hexdigest()[:12]}"


class Fingerprints:
    """:func:`fingerprint`, kept in a file: of a large file that has not changed since, no byte is read again.

    A study of many subjects has a thousand images, of which every plan would else read gigabytes. Whether one has
    changed is asked of its size, its times (also that of its inode, which nothing sets back) and its inode.
    """

    #: Smaller files are always read.
    LARGE_BYTES = 1_000_000
    #: A file written within so many s may change again without a new time.
    RECENT_S = 5.0

    def __init__(self, kept: str | os.PathLike):
        self._kept = Kept(kept)
        self.save = self._kept.save

    def __call__(self, path: str | os.PathLike) -> str:
        """The fingerprint of a file; empty where there is none."""
        file = shipped(path)
        if not file.is_file():
            return ""
        seen = file.stat()
        if seen.st_size < self.LARGE_BYTES or time.time() - max(seen.st_mtime, seen.st_ctime) < self.RECENT_S:
            return fingerprint(path)
        state = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
        return self._kept(str(file.absolute()), state, lambda: fingerprint(path))
