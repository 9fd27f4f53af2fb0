"""Removing a linguistic property from word representations: small affine erasers, kept instead of residuals.

Both methods subtract from the vectors a low-rank function of them or of their labels (METHOD section 5):

- ``ridge`` (the paper): :math:`r = x - t \theta - b`, with the label's design row :math:`t`;
- ``leace`` (exact linear erasure): :math:`r = x - (x - \bar x) L R`.

``low_rank`` writes either as ``X − A @ B − b``. Averaging words (into TRs, say) commutes with that form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dynalign.io.arrays import read_arrays, write_arrays
from dynalign.io.errors import InputError


@dataclass(frozen=True)
class RidgeEraser:
    """Ridge regression from labels to vectors; the residual is ``X − T @ theta − b``.

    Attributes
    ----------
    coding : str
        ``ordinal``: T is one column of class codes; ``onehot``: one column per class.
    classes : array of int, shape (n_classes,)
        Class codes seen in fitting, sorted.
    theta : array of shape (n_columns, hidden)
    b : array of shape (hidden,)
    mean : array of shape (n_columns,)
        Mean design row, which stands for a label that is missing or was not seen in fitting.
    alpha : array of shape ()
        The penalty, chosen among `alphas`.
    alphas : array of shape (n_alphas,)
    cv_r2 : array of shape (n_alphas,)
        Cross-validated R² of each penalty.
    """

    coding: str
    classes: np.ndarray
    theta: np.ndarray
    b: np.ndarray
    mean: np.ndarray
    alpha: np.ndarray
    alphas: np.ndarray
    cv_r2: np.ndarray

    @property
    def hidden(self) -> int:
        """Dimensions of the vectors that it takes."""
        return len(self.b)


@dataclass(frozen=True)
class LeaceEraser:
    """Least-squares concept erasure; the residual is ``X − (X − mean) @ left @ right``.

    Attributes
    ----------
    classes : array of int, shape (n_classes,)
        Class codes seen in fitting, sorted.
    mean : array of shape (hidden,)
    left : array of shape (hidden, rank)
    right : array of shape (rank, hidden)
        The rank is at most n_classes − 1.
    """

    classes: np.ndarray
    mean: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def hidden(self) -> int:
        """Dimensions of the vectors that it takes."""
        return len(self.mean)


Eraser = RidgeEraser | LeaceEraser
TYPES = {"ridge": RidgeEraser, "leace": LeaceEraser}


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

    Parameters
    ----------
    fitted : RidgeEraser or LeaceEraser
    X : array of shape (n_words, hidden)
    codes : array of shape (n_words,)
        Class codes of the words (`leace` does not look at them). A word whose label is missing (NaN) or
        unknown to the eraser gets the mean design row: what is taken from it does not depend on a label.

    Returns
    -------
    A : array of shape (n_words, k)
    B : array of shape (k, hidden)
    b : array of shape (hidden,)
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
    """Write the erasers of one layer, keyed (method, property), as ``removal/{ckpt}/layer-{layer}.npz``.

    Arrays are named ``{method}.{property}.{attribute}``.
    """
    write_arrays(
        path,
        {
            f"{method}.{name}.{field.name}": np.asarray(vars(eraser)[field.name])
            for (method, name), eraser in fitted.items()
            for field in fields(eraser)
        },
    )


def read_erasers(path) -> dict[tuple[str, str], Eraser]:
    """Read what :func:`write_erasers` wrote.

    Raises
    ------
    InputError
        If the file is missing or broken, or lacks a part of an eraser.
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
    return fitted
