"""What several tests share."""

import numpy as np

from dynalign import folds
from dynalign.encoding.scores import Partition, Scores


def made_scores(r, fold, timecourse=None, block: int = 20) -> Scores:
    """Scores with r, (n_folds, n_voxels): all blocks of a fold are alike; c(t) is their mean by default."""
    r, fold = np.asarray(r, dtype=np.float32), np.asarray(fold)
    sizes = [len(folds.blocks(int((fold == name).sum()), block)) for name in np.unique(fold)]
    blocks = np.repeat(r, sizes, axis=0).astype(np.float16)
    timecourse = np.nanmean(r, axis=1)[fold] if timecourse is None else timecourse
    return Scores(r, np.ones_like(r), r / 2, timecourse, fold, blocks)


def made_partition(rng, fold, n_voxels: int, invalid: int, block: int = 20) -> tuple[Partition, np.ndarray]:
    """A partition whose parts add up, with a voxel without a score, and the block means that its scatter is of."""
    sizes = [[len(rows) for rows in folds.blocks(int((fold == name).sum()), block)] for name in np.unique(fold)]
    n_blocks = sum(map(len, sizes))

    def parts(*shape):
        three = rng.normal(0.02, 0.02, (3, *shape))
        return np.concatenate([three, three.sum(axis=0, keepdims=True)])

    # Blocks of one size weigh alike.
    assert len({size for of_fold in sizes for size in of_fold}) <= 2
    means = parts(n_blocks, n_voxels)
    means[..., invalid] = np.nan
    share = means.mean(axis=1)
    scatter = np.square(means - share[:, None]).sum(axis=1) / n_blocks**2
    hole = 0 * share
    more = {"r": parts(n_voxels) + hole, "r2": parts(n_voxels) + hole, "r_timecourse": parts(len(fold))}
    return Partition(share, scatter, parts(len(fold)), **more, fold=fold, n_blocks=np.array(n_blocks)), means


def flags(**values) -> list[str]:
    """Command-line flags from keywords: ``flags(output_dir="x")`` → ``["--output-dir", "x"]``; lists give several."""
    found = []
    for key, value in values.items():
        found += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return found
