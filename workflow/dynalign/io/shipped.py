"""The files that a study names: its own, or those that come with the workflow; what tells them apart by content."""

import hashlib
import os
from pathlib import Path

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
