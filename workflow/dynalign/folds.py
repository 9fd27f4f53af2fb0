"""Contiguous folds, with a gap and without cutting a group; METHOD section 7 says why there are no others."""

from itertools import pairwise

import numpy as np

from dynalign.io.errors import InputError


def contiguous(n: int, k: int, groups=None) -> list[np.ndarray]:
    """Cut ``0 … n-1`` into `k` contiguous blocks of nearly equal size.

    No cut falls into a run of equal `groups` (a sentence), of shape (n,): each moves to the nearest boundary. Returned
    are the row indices of each block, in order; an `InputError` says that one would be empty.
    """
    cuts = np.round(np.linspace(0, n, k + 1)).astype(int)
    if groups is not None:
        groups = np.asarray(groups)
        if len(groups) != n:
            raise InputError(f"{len(groups)} group labels for {n} rows")
        boundaries = np.concatenate([[0], 1 + np.flatnonzero(groups[1:] != groups[:-1]), [n]])
        cuts = boundaries[np.abs(boundaries[None, :] - cuts[:, None]).argmin(axis=1)]
    if (np.diff(cuts) <= 0).any():
        raise InputError(f"{n} rows cannot be cut into {k} folds; ask for fewer folds")
    return [np.arange(first, last) for first, last in pairwise(cuts)]


def blocks(n: int, size: int) -> list[np.ndarray]:
    """Cut the `n` rows of a fold into equal blocks of nearly `size` rows, or one block: arrays of row indices."""
    return contiguous(n, max(1, round(n / size)))


def training_rows(n: int, block: np.ndarray, gap: int = 0, within=None, groups=None) -> np.ndarray:
    """Rows that may train when `block` is held out: all but the block and `gap` rows on both sides of any of it.

    They are chosen from the rows `within`, by default from all `n`. Where runs of equal `groups`, (n,), stay together,
    the gap is of `gap` groups. An `InputError` says that fewer than two are left.
    """
    rows = np.arange(n) if within is None else np.asarray(within)
    place = np.arange(n) if groups is None else np.cumsum(np.diff(groups, prepend=groups[0]) != 0)
    near = np.zeros(place[-1] + 1, dtype=bool)
    for shift in range(-gap, gap + 1):
        near[(place[block] + shift).clip(0, len(near) - 1)] = True
    left = rows[~near[place[rows]]]
    if len(left) < 2:
        raise InputError(
            f"holding out rows {block[0]} to {block[-1]} with a gap of {gap} leaves {len(left)} of {len(rows)} rows "
            "to train on; ask for fewer folds or a smaller gap"
        )
    return left
