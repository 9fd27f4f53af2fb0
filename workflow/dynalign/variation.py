"""Which columns are constant but for rounding: the one rule for voxels, features and dimensions."""

import numpy as np

#: float32 keeps a number to 6e-8 of its size; columns that vary by less than this share of it hold rounding alone.
FLAT = 1e-6


def largest(columns) -> np.ndarray:
    """Largest absolute value of each column of (n_rows, n_columns)."""
    return np.maximum(np.abs(np.min(columns, axis=0)), np.abs(np.max(columns, axis=0)))


def constant(columns, size=None, share: float = FLAT) -> np.ndarray:
    """Columns, of (n_rows, n_columns), that vary by no more than `share` of their size: array of bool.

    `size`, (n_columns,), is by default their :func:`largest` value. What was centred or detrended needs the size that
    it had before. A column that is not finite does not count as constant.
    """
    size = largest(columns) if size is None else size
    return np.max(columns, axis=0) - np.min(columns, axis=0) <= share * size
