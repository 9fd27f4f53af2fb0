"""Removing a linguistic property from word representations: small affine maps, kept instead of residuals.

Both methods subtract from the vectors a low-rank function of them or of their labels (METHOD section 5):

- ``ridge`` (the paper): :math:`r = x - t \\theta - b`, with the label's design row :math:`t`;
- ``leace`` (exact linear erasure): :math:`r = x - (x - \\bar x) L R`.

``low_rank`` writes either as ``X − A @ B − b``. Averaging words (into TRs, say) commutes with that form.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from dynalign import folds
from dynalign.cli import note, options, progress, run
from dynalign.config import Removal
from dynalign.files import InputError, read_arrays, read_table, write_arrays
from dynalign.representation import read_layer

#: Singular values of the whitened cross-covariance below this are rounding; at most K − 1 are larger.
RANK_TOLERANCE = 1e-6


@dataclass(frozen=True)
class RidgeMap:
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
class LeaceMap:
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


Map = RidgeMap | LeaceMap
TYPES = {"ridge": RidgeMap, "leace": LeaceMap}


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


def _centred_products(T: np.ndarray, X: np.ndarray):
    """Means of T and X, and T'T and T'X after centring both."""
    t, x = T.mean(axis=0), X.mean(axis=0)
    return t, x, (T - t).T @ (T - t), (T - t).T @ X


def _coefficients(TT: np.ndarray, TX: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge coefficients from centred products: (T'T + αI)⁻¹ T'X."""
    return np.linalg.solve(TT + alpha * np.eye(len(TT)), TX)


def cross_validated_r2(X: np.ndarray, T: np.ndarray, alphas, n_folds: int) -> np.ndarray:
    """R² of held-out vectors predicted from their labels, for each penalty.

    Mean over contiguous folds of the uniform average over dimensions, as scikit-learn's ``Ridge.score`` gives
    it; a dimension that does not vary in a held-out fold counts 0 for every penalty. The intercept is
    refitted in each fold. Sums of squares come from a fold's k × hidden products, never from predictions.

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    T : array of shape (n_words, n_columns)
    alphas : sequence of float
    n_folds : int

    Returns
    -------
    array of shape (n_alphas,)
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
            shift = x_test - x - (t_test - t) @ theta
            error = around + len(test) * shift**2
            scores[fold, position] = np.where(varies, 1 - error / np.where(varies, total, 1), 0).mean()
    return scores.mean(axis=0)


def _labelled(X, codes) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (float64) and codes of the words that have a label."""
    codes = np.asarray(codes, dtype=float)
    rows = np.isfinite(codes)
    if not rows.any():
        raise InputError("no word has a label")
    return np.asarray(X, dtype=float)[rows], codes[rows]


def fit_ridge(X, codes, alphas: Sequence[float], n_folds: int, coding: str = "ordinal") -> RidgeMap:
    """Ridge regression from label columns and an unpenalised intercept to the vectors (METHOD section 5).

    One penalty serves all dimensions: the (first) one with the greatest cross-validated R².

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    codes : array of shape (n_words,)
        Integer class codes; words without a label (NaN) do not take part.
    alphas : sequence of float
        Penalties, of ``‖X − Tθ − b‖² + α ‖θ‖²``.
    n_folds : int
        Contiguous folds that choose the penalty.
    coding : str
        See :func:`design`.
    """
    X, codes = _labelled(X, codes)
    T = design(codes, coding)
    origin = X.mean(axis=0)  # products of centred vectors lose no digits to large means
    curve = cross_validated_r2(X - origin, T, alphas, n_folds)
    alpha = alphas[int(curve.argmax())]
    t, x, TT, TX = _centred_products(T, X - origin)
    theta = _coefficients(TT, TX, alpha)
    return RidgeMap(
        coding=coding,
        classes=np.unique(codes).astype(np.int64),
        theta=theta,
        b=origin + x - t @ theta,
        mean=t,
        alpha=np.array(alpha),
        alphas=np.array(alphas),
        cv_r2=curve,
    )


def fit_leace(X, codes) -> LeaceMap:
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

    X, codes = _labelled(X, codes)
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
    return LeaceMap(
        classes=np.unique(codes).astype(np.int64),
        mean=fitter.mean_x.numpy().copy(),
        left=np.ascontiguousarray(left[:, used]),
        right=np.ascontiguousarray(right[used]),
    )


def fit(method: str, X, codes, removal: Removal) -> Map:
    """Fit the map of a method, ``ridge`` or ``leace``, with a configuration's options."""
    if method == "leace":
        return fit_leace(X, codes)
    return fit_ridge(X, codes, removal.alphas, removal.folds, removal.coding)


def low_rank(fitted: Map, X, codes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The form in which both methods are alike: residual = ``X − A @ B − b``.

    Parameters
    ----------
    fitted : RidgeMap or LeaceMap
    X : array of shape (n_words, hidden)
    codes : array of shape (n_words,)
        Class codes of the words (`leace` does not look at them). A word whose label is missing (NaN) or
        unknown to the map gets the mean design row: what is taken from it does not depend on a label.

    Returns
    -------
    A : array of shape (n_words, k)
    B : array of shape (k, hidden)
    b : array of shape (hidden,)
    """
    if isinstance(fitted, LeaceMap):
        A = (np.asarray(X, dtype=float) - fitted.mean) @ fitted.left
        return A, fitted.right, np.zeros_like(fitted.mean)
    T = design(codes, fitted.coding, fitted.classes)
    return np.where(np.isnan(T), fitted.mean, T), fitted.theta, fitted.b


def apply(fitted: Map, X, codes) -> np.ndarray:
    """The vectors without the property, in float64; parameters as in :func:`low_rank`."""
    A, B, b = low_rank(fitted, X, codes)
    return X - A @ B - b


def write_maps(path, maps: Mapping[tuple[str, str], Map]) -> None:
    """Write the maps of one layer, keyed (method, property), as ``removal/{ckpt}/layer-{layer}.npz``.

    Arrays are named ``{method}.{property}.{attribute}``.
    """
    write_arrays(
        path,
        {
            f"{method}.{name}.{field.name}": np.asarray(vars(fitted)[field.name])
            for (method, name), fitted in maps.items()
            for field in fields(fitted)
        },
    )


def read_maps(path) -> dict[tuple[str, str], Map]:
    """Read what :func:`write_maps` wrote.

    Raises
    ------
    InputError
        If the file is missing or broken, or lacks a part of a map.
    """
    parts: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for key, array in read_arrays(path).items():
        start, _, attribute = key.rpartition(".")
        method, _, name = start.partition(".")  # a property's name may hold dots
        parts.setdefault((method, name), {})[attribute] = array
    maps = {}
    for (method, name), found in parts.items():
        if method not in TYPES or {field.name for field in fields(TYPES[method])} != set(found):
            raise InputError(
                f"{path}: {method}.{name} is not a whole map (it has {', '.join(sorted(found))}); "
                "write the file again with dynalign.removal"
            )
        if "coding" in found:
            found["coding"] = str(found["coding"])
        maps[method, name] = TYPES[method](**found)
    return maps


def read_words(path, word_index: np.ndarray, properties: Sequence[str], columns: Sequence[str] = ()):
    """Rows of ``tables/labels.tsv`` for represented words, in their order, with checked class codes.

    Parameters
    ----------
    path : path-like
    word_index : array of int, shape (n_words,)
        The represented words.
    properties : sequence of str
        Columns of integer class codes; an empty cell is a word without a label (NaN).
    columns : sequence of str
        Other columns that must be there.

    Returns
    -------
    pandas.DataFrame
        n_words rows.

    Raises
    ------
    InputError
        If a represented word has no row or two, or a property holds anything but integer codes or has fewer
        than two classes among these words.
    """
    import pandas as pd

    table = read_table(path, ["word_index", *columns, *properties])
    if table["word_index"].duplicated().any():
        twice = table.loc[table["word_index"].duplicated(), "word_index"].iloc[0]
        raise InputError(f"{path}: word_index {twice} stands twice; give each word one row")
    missing = word_index[~np.isin(word_index, table["word_index"].to_numpy())]
    if len(missing):
        raise InputError(
            f"{path}: has no row for word_index {missing[0]} ({len(missing)} represented words in all); "
            "labels and representation must come from the same story"
        )
    table = table.set_index("word_index").loc[word_index].reset_index()
    for name in properties:
        codes = pd.to_numeric(table[name], errors="coerce")
        wrong = table.loc[(codes % 1 != 0) & table[name].notna() & (table[name] != ""), name]
        if len(wrong):
            raise InputError(f"{path}: column {name!r} holds '{wrong.iloc[0]}'; it takes integer class codes")
        if codes.nunique() < 2:
            raise InputError(
                f"{path}: property {name!r} has {codes.nunique()} classes among {len(codes)} represented "
                "words; it needs two or more: change its thresholds or classes, or leave it out"
            )
        table[name] = codes
    return table


def read_vectors(path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """One layer's vectors and their words, as `representation.read_layer`, checked to be finite."""
    X, word_index = read_layer(path, layer)
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: layer {layer} has NaN or infinite values in {len(bad)} of {len(X)} words, the first "
            f"word_index {word_index[bad[0]]}; compute the representation again"
        )
    return X, word_index


def names(text: str) -> list[str]:
    """An argparse type: a JSON list of names."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise argparse.ArgumentTypeError(f'a JSON list of names is needed, as ["tense"]; got {text}')
    return found


def main(argv: list[str] | None = None) -> None:
    """Command: representation of one layer + labels → ``removal/{ckpt}/layer-{layer}.npz``."""
    parser = argparse.ArgumentParser(prog="dynalign.removal", description=main.__doc__)
    parser.add_argument("--representation", required=True, help="safetensors of one checkpoint")
    parser.add_argument("--layer", type=int, required=True, help="layer, 0 = embeddings")
    parser.add_argument("--labels", required=True, help="tables/labels.tsv")
    parser.add_argument("--properties", type=names, required=True, help="JSON list of label columns")
    parser.add_argument("--options", type=options(Removal), default=Removal(), help="section `removal`, JSON")
    parser.add_argument("--output", required=True, help=".npz to write")
    args = parser.parse_args(argv)
    X, word_index = read_vectors(args.representation, args.layer)
    table = read_words(args.labels, word_index, args.properties)
    arms = [(method, name) for method in args.options.methods for name in args.properties]
    maps = {}
    for method, name in progress(arms, "removal"):
        maps[method, name] = fit(method, X, table[name], args.options)
        if method == "ridge":
            fitted = maps[method, name]
            note(f"{name}: alpha {fitted.alpha:g}, cross-validated R² {fitted.cv_r2.max():.4f}")
    write_maps(args.output, maps)


if __name__ == "__main__":
    run(main)
