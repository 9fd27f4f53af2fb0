"""Exact linear erasure of labels (LEACE, METHOD section 5)."""

from __future__ import annotations

import numpy as np

from dynalign.removal.erasers import LeaceEraser, design
from dynalign.removal.ridge import labelled

#: Singular values of the whitened cross-covariance below this are rounding; at most K − 1 are larger.
RANK_TOLERANCE = 1e-6


def fit_leace(X, codes) -> LeaceEraser:
    """Exact linear erasure of one-hot labels, the least change among all affine erasers.

    The package's shrinkage of the covariance is off: with it, the change is no longer the least for these
    words. So is its bound on the trace, which has nothing to do then: exact erasure never adds variance.

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    codes : array of shape (n_words,)
        Integer class codes; words without a label (NaN) do not take part.

    References
    ----------
    Belrose et al. (2023). LEACE: Perfect linear concept erasure in closed form. NeurIPS. Theorem 4.3.
    """
    import torch
    from concept_erasure import LeaceFitter

    X, codes = labelled(X, codes)
    fitter = LeaceFitter.fit(
        torch.from_numpy(np.ascontiguousarray(X)),
        torch.from_numpy(design(codes, "onehot")),
        shrinkage=False,
        constrain_cov_trace=False,
        svd_tol=RANK_TOLERANCE,
    )
    # The package works on columns: x − proj_left proj_right (x − mean); directions below svd_tol are zero.
    right, left = fitter.eraser.proj_left.numpy().T, fitter.eraser.proj_right.numpy().T
    used = np.abs(right).any(axis=1)
    return LeaceEraser(
        classes=np.unique(codes).astype(np.int64),
        mean=fitter.mean_x.numpy().copy(),
        left=np.ascontiguousarray(left[:, used]),
        right=np.ascontiguousarray(right[used]),
    )
