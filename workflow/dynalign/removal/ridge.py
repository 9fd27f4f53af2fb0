"""Ridge regression from labels to vectors, the paper's removal (METHOD section 5)."""

from collections.abc import Sequence

import numpy as np

from dynalign import folds
from dynalign.removal.erasers import RidgeEraser, design, labelled
from dynalign.variation import constant


def _centred_products(T: np.ndarray, X: np.ndarray):
    """Means of T and X, and T'T and T'X after centring both."""
    t, x = T.mean(axis=0), X.mean(axis=0)
    return t, x, (T - t).T @ (T - t), (T - t).T @ X


def _coefficients(TT: np.ndarray, TX: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge coefficients from centred products: (T'T + αI)⁻¹ T'X."""
    return np.linalg.solve(TT + alpha * np.eye(len(TT)), TX)


def cross_validated_r2(X: np.ndarray, T: np.ndarray, alphas, n_folds: int) -> np.ndarray:
    """R² of held-out vectors X, (n_words, hidden), predicted from T, (n_words, n_columns), for each penalty.

    Mean over contiguous folds of the uniform average over dimensions, as scikit-learn's ``Ridge.score`` gives
    it; a dimension that does not vary in a held-out fold counts 0 for every penalty. The intercept is
    refitted in each fold. Sums of squares come from a fold's k × hidden products, never from predictions.
    """
    scores = np.zeros((n_folds, len(alphas)))
    for fold, test in enumerate(folds.contiguous(len(X), n_folds)):
        train = folds.training_rows(len(X), test)
        t, x, TT, TX = _centred_products(T[train], X[train])
        t_test, x_test, TT_test, TX_test = _centred_products(T[test], X[test])
        total = ((X[test] - x_test) ** 2).sum(axis=0)
        varies = np.ptp(X[test], axis=0) > 0
        for position, alpha in enumerate(alphas):
            theta = _coefficients(TT, TX, alpha)
            # Σ(x − x̂)² = its part around the fold's means + n · (error of the means)²
            around = total - 2 * (theta * TX_test).sum(axis=0) + (theta * (TT_test @ theta)).sum(axis=0)
            error = around + len(test) * (x_test - x - (t_test - t) @ theta) ** 2
            scores[fold, position] = np.where(varies, 1 - error / np.where(varies, total, 1), 0).mean()
    return scores.mean(axis=0)


def fit_ridge(X, codes, alphas: Sequence[float], n_folds: int, coding: str = "ordinal") -> RidgeEraser:
    """Ridge regression from label columns and an unpenalised intercept to the vectors (METHOD section 5).

    One penalty serves all dimensions: the (first) one with the greatest cross-validated R².

    Parameters
    ----------
    X, codes : arrays of shape (n_words, hidden) and (n_words,)
        Words without a label (NaN) do not take part; without any label it is an `InputError`.
    alphas : sequence of float
        Penalties, of ``‖X − Tθ − b‖² + α ‖θ‖²``.
    n_folds : int
        Contiguous folds that choose the penalty.
    coding : str
        See :func:`design`.
    """
    X, codes = labelled(X, codes)
    T = design(codes, coding)
    origin = X.mean(axis=0)  # products of centred vectors lose no digits to large means
    centred = np.where(constant(X), 0, X - origin)
    curve = cross_validated_r2(centred, T, alphas, n_folds)
    alpha = alphas[int(curve.argmax())]
    t, x, TT, TX = _centred_products(T, centred)
    theta = _coefficients(TT, TX, alpha)
    return RidgeEraser(
        coding=coding,
        classes=np.unique(codes).astype(np.int64),
        theta=theta,
        b=origin + x - t @ theta,
        mean=t,
        alpha=np.array(alpha),
        alphas=np.array(alphas),
        cv_r2=curve,
    )
