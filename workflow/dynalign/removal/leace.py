"""Exact linear erasure of labels (LEACE, METHOD section 5).

With the covariance Σ of the vectors and their cross-covariance C with the one-hot labels, the least change of the
vectors after which no linear function of them tells the labels is

    r(x) = x − Σ^{1/2} P Σ^{-1/2} (x − x̄),   P = the projection onto the columns of Σ^{-1/2} C.

References
----------
Belrose et al. (2023). LEACE: Perfect linear concept erasure in closed form. NeurIPS. Theorem 4.3.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dynalign.removal.erasers import LeaceEraser, design, labelled

#: Singular values of the whitened cross-covariance below this, or this share of the largest, are rounding.
RANK_TOLERANCE = 1e-6


class Whitening(NamedTuple):
    """Mean of a set of vectors, and the roots Σ^{1/2} and (pseudo-inverse) Σ^{-1/2} of their covariance."""

    mean: np.ndarray
    root: np.ndarray
    inverse: np.ndarray


def oas_shrinkage(covariance: np.ndarray, n: int) -> float:
    """Weight of the identity that minimises the expected error of a covariance from `n` normal rows.

    References
    ----------
    Chen, Wiesel, Eldar & Hero (2010). Shrinkage algorithms for MMSE covariance estimation. IEEE TSP 58, eq. 23.
    """
    p = len(covariance)
    level, square = np.trace(covariance) / p, np.mean(np.square(covariance))
    return float(min(1.0, (square + level**2) / ((n + 1) * (square - level**2 / p)))) if square > level**2 / p else 1.0


def whiten(X, shrink: bool = False) -> Whitening:
    """Mean and roots of the covariance of `X`, of shape (n_rows, hidden), in float64.

    With `shrink` the covariance is drawn towards a multiple of the identity (:func:`oas_shrinkage`).
    """
    X = np.asarray(X, dtype=float)
    mean = X.mean(axis=0)
    covariance = (X - mean).T @ (X - mean) / len(X)
    if shrink:
        weight = oas_shrinkage(covariance, len(X))
        identity = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
        covariance = (1 - weight) * covariance + weight * identity
    values, axes = np.linalg.eigh(covariance)
    # Directions without variance hold no label.
    inside = values > values[-1] * len(values) * np.finfo(float).eps
    root = np.sqrt(np.where(inside, values, 0))
    inverse = np.where(inside, 1 / np.where(inside, root, 1), 0)
    return Whitening(mean, (axes * root) @ axes.T, (axes * inverse) @ axes.T)


def erase(X, Z, codes, whitening: Whitening) -> LeaceEraser:
    """The least change of `X`, (n_rows, hidden), that leaves no covariance with the columns of `Z`, (n_rows, k).

    `codes` are those of the labelled words, whose classes the eraser names.
    """
    covariance = (X - whitening.mean).T @ (Z - Z.mean(axis=0)) / len(X)
    directions, size, _ = np.linalg.svd(whitening.inverse @ covariance, full_matrices=False)
    directions = directions[:, size > RANK_TOLERANCE * size.max(initial=1)]
    left, right = whitening.inverse @ directions, directions.T @ whitening.root
    return LeaceEraser(np.unique(codes).astype(np.int64), whitening.mean, left, right)


def fit_leace(X, codes, whiten: Callable[[np.ndarray], Whitening] = whiten) -> LeaceEraser:
    """Exact linear erasure of one-hot labels, the least change among all affine erasers.

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    codes : array of shape (n_words,)
        Integer class codes; words without a label (NaN) do not take part. Without any it is an `InputError`.
    whiten : callable
        Of the labelled words' vectors; one that keeps its results saves time where properties share their words.
    """
    X, codes = labelled(X, codes)
    return erase(X, design(codes, "onehot"), codes, whiten(X))
