"""What several tests share."""

import numpy as np

from dynalign import folds
from dynalign.encoding.scores import Scores


def made_scores(r, fold, timecourse=None, block: int = 20) -> Scores:
    """Scores with r, (n_folds, n_voxels): all blocks of a fold are alike; c(t) is their mean by default."""
    r, fold = np.asarray(r, dtype=np.float32), np.asarray(fold)
    sizes = [len(folds.blocks(int((fold == name).sum()), block)) for name in np.unique(fold)]
    blocks = np.repeat(r, sizes, axis=0).astype(np.float16)
    timecourse = np.nanmean(r, axis=1)[fold] if timecourse is None else timecourse
    return Scores(r, np.ones_like(r), r / 2, timecourse, fold, blocks)


def flags(**values) -> list[str]:
    """Command-line flags from keywords: ``flags(output_dir="x")`` → ``["--output-dir", "x"]``; lists give several."""
    found = []
    for key, value in values.items():
        found += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return found
