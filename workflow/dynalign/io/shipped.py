"""Files that come with the workflow: the embedded study's text and models, and the published values."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped(path: str | os.PathLike, root: str | os.PathLike = ".") -> Path:
    """The file that a study names: its own, or else the one of that name that comes with the workflow.

    Parameters
    ----------
    path : path-like
        ``resources/demo/story.txt``, say.
    root : path-like
        Folder that relative paths start from.

    Returns
    -------
    Path
        In `root`, unless it is only in the package.
    """
    own, packaged = Path(root, path), PACKAGE / path
    return packaged if packaged.exists() and not own.exists() else own
