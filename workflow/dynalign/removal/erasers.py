"""Removing a linguistic property from word representations: small affine erasers, kept instead of residuals.

Both methods subtract from the vectors a low-rank function of them or of their labels (METHOD section 5):

- ``ridge`` (the paper): :math:`r = x - t \theta - b`, with the label's design row :math:`t`;
- ``leace`` (exact linear erasure): :math:`r = x - (x - \bar x) L R`.

``low_rank`` writes either as ``X − A @ B − b``. Averaging words (into TRs, say) commutes with that form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dynalign.io.arrays import read_arrays, write_arrays
from dynalign.io.digests import write_digest
from dynalign.io.errors import InputError


@dataclass(frozen=True)
class RidgeEraser:
    """Ridge regression from labels to vectors; the residual is ``X − T @ theta − b``."""

    coding: str  #: ``ordinal``: T is one column of class codes; ``onehot``: one column per class
    classes: np.ndarray  #: class codes seen in fitting, sorted
    theta: np.ndarray  #: (n_columns, hidden)
    b: np.ndarray  #: (hidden,)
    mean: np.ndarray  #: (n_columns,), mean design row: stands for a label that is missing or was not seen in fitting
    alpha: np.ndarray  #: (), the penalty, chosen among `alphas`
    alphas: np.ndarray  #: (n_alphas,)
    cv_r2: np.ndarray  #: (n_alphas,), cross-validated R² of each penalty


@dataclass(frozen=True)
class LeaceEraser:
    """Least-squares concept erasure; the residual is ``X − (X − mean) @ left @ right``."""

    classes: np.ndarray  #: class codes seen in fitting, sorted
    mean: np.ndarray  #: (hidden,)
    left: np.ndarray  #: (hidden, rank), the rank at most n_classes − 1
    right: np.ndarray  #: (rank, hidden)


Eraser = RidgeEraser | LeaceEraser
TYPES = {"ridge": RidgeEraser, "leace": LeaceEraser}


def labelled(X, codes) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (float64) and codes of the words that have a label; an `InputError` if none has."""
    codes = np.asarray(codes, dtype=float)
    rows = np.isfinite(codes)
    if not rows.any():
        raise InputError("no word has a label")
    return np.asarray(X, dtype=float)[rows], codes[rows]


def design(codes, coding: str, classes=None) -> np.ndarray:
    """Design matrix of class codes, without an intercept.

    Parameters
    ----------
    codes : array of shape (n_words,)
        Integer class codes; NaN where a word has no label.
    coding : str
        ``ordinal`` (one column, the code) or ``onehot`` (one column per class).
    classes : array of int, optional
        Class codes that are known; default: those in `codes`.

    Returns
    -------
    array of shape (n_words, n_columns)
        Rows of a missing or unknown label are NaN.
    """
    codes = np.asarray(codes, dtype=float)
    classes = np.unique(codes[np.isfinite(codes)]) if classes is None else np.asarray(classes)
    known = np.isin(codes, classes)[:, None]
    if coding == "ordinal":
        return np.where(known, codes[:, None], np.nan)
    if coding == "onehot":
        return np.where(known, codes[:, None] == classes, np.nan)
    raise ValueError(f"coding is 'ordinal' or 'onehot', not {coding!r}")


def low_rank(fitted: Eraser, X, codes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The form in which both methods are alike: residual = ``X − A @ B − b``.

    Of X, (n_words, hidden), and class codes, (n_words,), it gives A, B and b of shape (n_words, k), (k, hidden) and
    (hidden,). `leace` does not look at class codes. To `ridge`, a word whose label is missing (NaN) or unknown has the
    mean design row: what is taken from it does not depend on a label.
    """
    if isinstance(fitted, LeaceEraser):
        A = (np.asarray(X, dtype=float) - fitted.mean) @ fitted.left
        return A, fitted.right, np.zeros_like(fitted.mean)
    T = design(codes, fitted.coding, fitted.classes)
    return np.where(np.isnan(T), fitted.mean, T), fitted.theta, fitted.b


def apply(fitted: Eraser, X, codes) -> np.ndarray:
    """The vectors without the property, in float64; parameters as in :func:`low_rank`."""
    A, B, b = low_rank(fitted, X, codes)
    return X - A @ B - b


def write_erasers(path, fitted: Mapping[tuple[str, str], Eraser]) -> None:
    """Write the erasers of one layer, keyed (method, property): ``removal/{ckpt}/layer-{layer}.npz`` and its digest.

    Arrays are named ``{method}.{property}.{attribute}``.
    """
    arrays = {}
    for (method, name), eraser in fitted.items():
        arrays |= {f"{method}.{name}.{attribute}": np.asarray(value) for attribute, value in vars(eraser).items()}
    write_arrays(path, arrays)
    write_digest(path)


def read_erasers(
    path, wanted: Sequence[tuple[str, str]] = (), hidden: int | None = None
) -> dict[tuple[str, str], Eraser]:
    """Read what :func:`write_erasers` wrote; those `wanted` must be there and take vectors of `hidden` dimensions.

    InputError: the file is missing or broken, or lacks an eraser or a part of one, or one is for other vectors.
    """
    parts: dict[tuple[str, str], dict[str, Any]] = {}
    for key, array in read_arrays(path).items():
        start, _, attribute = key.rpartition(".")
        method, _, name = start.partition(".")  # a property's name may hold dots
        parts.setdefault((method, name), {})[attribute] = array
    fitted = {}
    for (method, name), found in parts.items():
        if method not in TYPES or {field.name for field in fields(TYPES[method])} != set(found):
            raise InputError(
                f"{path}: {method}.{name} is not a whole eraser (it has {', '.join(sorted(found))}); "
                "write the file again with dynalign.removal.fit"
            )
        if "coding" in found:
            found["coding"] = str(found["coding"])
        fitted[method, name] = TYPES[method](**found)
    for method, name in wanted:
        if (method, name) not in fitted:
            there = ", ".join(".".join(key) for key in fitted)
            raise InputError(f"{path}: lacks the eraser {method}.{name}; it has {there}; make it with this property")
        eraser = fitted[method, name]
        size = len(eraser.mean if isinstance(eraser, LeaceEraser) else eraser.b)
        if size != hidden:
            raise InputError(
                f"{path}: {method}.{name} is for {size} dimensions, the representation has {hidden}; "
                "write the erasers again with dynalign.removal.fit"
            )
    return fitted
