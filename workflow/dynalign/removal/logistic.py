"""ℓ2 logistic regression for many probes of the same vectors at once.

Probing asks for thousands of fits that share their vectors: every property, every permutation, every C. Here
all of them are rows of one matrix product, and conjugate gradients are scaled by the spectrum of the vectors,
so that hundreds of iterations become tens or fewer. The optimum is that of ``sklearn.LogisticRegression``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Largest number of elements (classes × probes × words) worked on at once: what stays in a processor's cache.
BLOCK = 1 << 19


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and eigenvectors of the covariance of the vectors; it sets the speed, never the optimum."""

    values: np.ndarray  #: (hidden,)
    vectors: np.ndarray  #: (hidden, hidden), an eigenvector per column

    @classmethod
    def of(cls, F: np.ndarray) -> Spectrum:
        """The spectrum of vectors `F` of shape (n_words, hidden), centred."""
        values, vectors = np.linalg.eigh(F.T @ F / len(F))
        return cls(np.maximum(values, 0.0), np.ascontiguousarray(vectors))


@dataclass(frozen=True)
class Probes:
    """Fitted probes, with one row of coefficients for two classes (the log-odds of the second), as scikit-learn.

    There is one row per class for more, and none for a probe that saw one class only.
    """

    classes: list[np.ndarray]  #: that each probe saw in training, sorted
    coef: list[np.ndarray]  #: (n_logits, hidden) each
    intercept: list[np.ndarray]  #: (n_logits,) each
    converged: np.ndarray  #: of bool, (n_probes,)

    def predict(self, F: np.ndarray) -> np.ndarray:
        """Class of every vector in F, (n_words, hidden), by every probe: array of int, shape (n_probes, n_words)."""
        logits = np.concatenate(self.coef) @ F.T + np.concatenate(self.intercept)[:, None]
        cuts = np.cumsum([len(rows) for rows in self.coef])[:-1]
        predicted = []
        for classes, Z in zip(self.classes, np.split(logits, cuts), strict=True):
            chosen = Z.argmax(axis=0) if len(Z) > 1 else (Z > 0).any(axis=0).astype(int)
            predicted.append(classes[chosen])
        return np.stack(predicted)


def fit(F, y, C, spectrum: Spectrum | None = None, tol: float = 1e-5, max_iter: int = 1000) -> Probes:
    r"""Fit one ℓ2 logistic regression per row of `y`, all to the same vectors.

    Each minimises :math:`C \sum_i \ell(y_i, W f_i + b) + \frac{1}{2} \lVert W \rVert^2` with the
    logistic loss for two classes, the multinomial one for more, and an unpenalised intercept. This is the
    objective of scikit-learn's ``LogisticRegression``.

    Parameters
    ----------
    F : array of shape (n_words, hidden)
        Vectors, centred (standardised).
    y : array of int, shape (n_probes, n_words)
        Labels. A class that a row lacks plays no part in that row's probe.
    C : array of shape (n_probes,)
        Inverse ℓ2 penalties.
    spectrum : Spectrum, optional
        That of `F`, or of vectors much like them; default: computed from `F`.
    tol : float
        Converged when no component of the mean loss's gradient is larger: scikit-learn's rule, ten times as strict.
    max_iter : int
        Iterations before a fit counts as not converged.
    """
    spectrum = Spectrum.of(F) if spectrum is None else spectrum
    n_probes, hidden = len(y), F.shape[1]
    classes = [np.unique(row) for row in y]
    coef, intercept = [np.zeros((0, hidden))] * n_probes, [np.zeros(0)] * n_probes
    converged = np.ones(n_probes, dtype=bool)
    sizes = np.array([len(row) for row in classes])
    for size in np.unique(sizes[sizes > 1]):
        members = np.flatnonzero(sizes == size)
        logits = 1 if size == 2 else size
        blocks = -(-len(members) * logits * len(F) // BLOCK)
        for block in np.array_split(members, min(blocks, len(members))):
            kept = [classes[i][-logits:] for i in block]
            Y = np.stack([y[i] == names[:, None] for i, names in zip(block, kept, strict=True)], axis=1)
            W, b, converged[block] = _solve(F, Y.astype(float), C[block], spectrum, tol, max_iter)
            for position, i in enumerate(block):
                coef[i], intercept[i] = W[:, position], b[:, position]
    return Probes(classes, coef, intercept, converged)


def _probabilities(Z: np.ndarray) -> np.ndarray:
    """Class probabilities from logits of shape (n_logits, n_probes, n_words)."""
    if len(Z) == 1:
        return 0.5 + 0.5 * np.tanh(0.5 * Z)  # the logistic function without overflow
    E = np.exp(Z - Z.max(axis=0))
    return E / E.sum(axis=0)


def _dot(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Inner product per probe of two arrays of shape (n_logits, n_probes, anything)."""
    return np.einsum("kmi,kmi->m", A, B)


def _curvature(P: np.ndarray, ZD: np.ndarray) -> np.ndarray:
    """Second derivative of each probe's summed loss along a change `ZD` of its logits."""
    weighted = P * ZD
    mean = weighted.sum(axis=0)
    return _dot(weighted, ZD) - np.einsum("mn,mn->m", mean, mean)


def _times(A: np.ndarray, M: np.ndarray) -> np.ndarray:
    """Multiply the last axis of a three-dimensional array by a matrix, in one product."""
    return (A.reshape(-1, A.shape[2]) @ M).reshape(*A.shape[:2], M.shape[1])


def _scaled(G, gb, P, C, n: int, spectrum: Spectrum):
    """Precondition a gradient by the Hessian of a loss with equal weights p(1 − p), their mean over words."""
    weight = np.maximum(np.einsum("kmn,kmn->km", P, 1 - P) / n, 1e-9) * C * n
    rotated = _times(G, spectrum.vectors) / (1 + weight[:, :, None] * spectrum.values)
    S, sb = _times(rotated, spectrum.vectors.T), gb / weight
    if len(G) > 1:  # the same change of all classes changes nothing: leave it out
        S, sb = S - S.mean(axis=0), sb - sb.mean(axis=0)
    return S, sb


def _search(Z, ZD, Y, C, slope, WD, DD):
    """Step lengths that bring the slope of each (convex) loss along its direction to a tenth or less.

    Newton's method on the slope, kept inside the bracket of the signs seen so far. Returned are the steps, and
    the logits and probabilities after them.
    """
    target = 0.1 * np.abs(slope)
    low, high = np.zeros_like(slope), np.full_like(slope, np.inf)
    t = -slope / (C * _curvature(_probabilities(Z), ZD) + DD)
    for _ in range(50):
        moved = Z + t[:, None] * ZD
        P = _probabilities(moved)
        slope = C * _dot(ZD, P - Y) + WD + t * DD
        open_ = np.abs(slope) > target
        if not open_.any():
            break
        low, high = np.where(slope < 0, t, low), np.where(slope > 0, t, high)
        newton = t - slope / (C * _curvature(P, ZD) + DD)
        middle = np.where(np.isfinite(high), (low + high) / 2, 2 * t)
        t = np.where(open_, np.where((newton > low) & (newton < high), newton, middle), t)
    return t, moved, P


def _solve(F, Y, C, spectrum: Spectrum, tol: float, max_iter: int):
    """Preconditioned nonlinear conjugate gradients (Polak–Ribière+) on a batch of probes.

    `Y`, of shape (n_logits, n_probes, n_words), is 1 where the word has the logit's class. Returned are the weights,
    (n_logits, n_probes, hidden), intercepts, (n_logits, n_probes), and whether each probe converged.
    """
    logits, n_probes, n = Y.shape
    found_W, found_b = np.zeros((logits, n_probes, F.shape[1])), np.zeros((logits, n_probes))
    converged = np.zeros(n_probes, dtype=bool)
    share = Y.mean(axis=2)
    # Start from the best intercept without weights, where every word has the same probabilities.
    b = np.log(share / (1 - share)) if logits == 1 else np.log(share) - np.log(share).mean(axis=0)
    index, W, transposed = np.arange(n_probes), np.zeros_like(found_W), np.ascontiguousarray(F.T)
    Z = np.repeat(b[:, :, None], n, axis=2)
    P = _probabilities(Z)
    D, db, G_old, gb_old = np.zeros_like(W), np.zeros_like(b), np.zeros_like(W), np.zeros_like(b)
    steepness = np.full(n_probes, np.inf)
    for _ in range(max_iter + 1):
        R = P - Y
        G, gb = C[:, None] * _times(R, F) + W, C * R.sum(axis=2)
        error = np.maximum(np.abs(G).max(axis=(0, 2)), np.abs(gb).max(axis=0)) / (C * n)
        found_W[:, index], found_b[:, index] = W, b
        converged[index] = error <= tol
        if converged.all():
            break
        if converged[index].any():
            left = error > tol  # those that have converged leave the batch
            index, C, steepness = index[left], C[left], steepness[left]
            Z, P, Y, W, b, G, gb = (array[:, left] for array in (Z, P, Y, W, b, G, gb))
            D, db, G_old, gb_old = (array[:, left] for array in (D, db, G_old, gb_old))
        S, sb = _scaled(G, gb, P, C, n, spectrum)
        new_steepness = _dot(G, S) + (gb * sb).sum(axis=0)
        overlap = _dot(G_old, S) + (gb_old * sb).sum(axis=0)
        beta = np.maximum(0.0, (new_steepness - overlap) / steepness)
        D, db = beta[:, None] * D - S, beta * db - sb
        slope = _dot(G, D) + (gb * db).sum(axis=0)
        uphill = slope >= 0
        if uphill.any():
            D, db = np.where(uphill[:, None], -S, D), np.where(uphill, -sb, db)
            slope = np.where(uphill, -new_steepness, slope)
        ZD = _times(D, transposed) + db[:, :, None]
        t, Z, P = _search(Z, ZD, Y, C, slope, _dot(W, D), _dot(D, D))
        W, b = W + t[:, None] * D, b + t * db
        G_old, gb_old, steepness = G, gb, new_steepness
    return found_W, found_b, converged
