"""Ridge regression of many voxels in its dual form, a penalty per voxel, many related feature sets at once.

With centred features X (rows t train, rows v are held out), kernel ``K = X Xᵀ`` and penalty λ, the
predictions are ``H Y`` with the hat matrix ``H = K_vt (K_tt + λI)⁻¹``: n × n matrices, never a weight per
feature and voxel. All are centred by their own training rows, which is what refitting an unpenalised
intercept in every training fold means. One eigendecomposition ``K_tt = V diag(s) Vᵀ`` serves all penalties.
It is done in float64, because the smallest penalties lie far below float32's resolution of the largest
eigenvalue; products with the responses are float32.

A *change* is another feature set that differs from the first only inside a few directions (a property removed
from it). With `before` and `after` the features along those directions, its kernel is

    K_a = K + after afterᵀ − before beforeᵀ = K + U C Uᵀ,   U = [after, before],   C = diag(+1, −1).

Woodbury's identity with ``G = (K_tt + λI)⁻¹`` and ``C⁻¹ = C`` gives its hat matrix without another
decomposition:

    H_a = H + (U_v − H U_t) (C + U_tᵀ G U_t)⁻¹ U_tᵀ G = H + Q W,

where Q, of few columns, is made orthonormal (its triangular factor goes into W). Then ``W Y`` is all that a
change needs to be multiplied with the responses, and its squared error follows from the residuals E of the
first feature set: ``‖E − Q W Y‖² = ‖E‖² − 2 (QᵀE)·(W Y) + ‖W Y‖²``, voxel by voxel.

References
----------
METHOD section 7. Saunders, Gammerman & Vovk (1998) for the dual form; Woodbury (1950).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dynalign import folds
from dynalign.files import InputError

#: Mean inner R² values this close are one value in float32; the largest of their penalties is taken. The BLAS
#: rounds a column of a product differently in blocks of different widths, so results are equal between block
#: sizes to about 1e-6, except where this rounding decides between penalties that tie.
TIE = 1e-6


@dataclass(frozen=True)
class Change:
    """A feature set that differs from the first one inside a few directions.

    Attributes
    ----------
    before, after : arrays of float64, shape (n_rows, n_directions)
        Coordinates of the first and of this feature set along the same orthonormal directions.
    """

    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class FoldScores:
    """Scores of one feature set on one outer fold.

    Attributes
    ----------
    r : array of float64, shape (n_voxels,)
        Pearson correlation of prediction and response; 0 where the prediction is constant.
    alpha : array of float64, shape (n_voxels,)
        Penalty chosen by the inner folds.
    inner_score : array of float64, shape (n_voxels,)
        Mean R² of that penalty over the inner folds.
    timecourse : array of float64, shape (n_test,)
        Mean over voxels of z(prediction) · z(response), z within the fold: its mean is the mean of `r`.
    """

    r: np.ndarray
    alpha: np.ndarray
    inner_score: np.ndarray
    timecourse: np.ndarray


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of a training kernel, and the held-out rows in its basis.

    Attributes
    ----------
    train, held : arrays of int
        Rows of the kernel.
    values : array of float64, shape (n_train,)
        Eigenvalues s of the centred ``K_tt`` (but for that of the vector of equal entries).
    basis : array of float64, shape (n_train, n_train)
        Eigenvectors V, in columns.
    cross : array of float64, shape (n_held, n_train)
        ``K_vt V``, centred by the training rows.
    """

    train: np.ndarray
    held: np.ndarray
    values: np.ndarray
    basis: np.ndarray
    cross: np.ndarray

    def shrinkage(self, alphas) -> np.ndarray:
        """``1 / (s + λ)`` of every penalty, shape (n_alphas, n_train)."""
        return 1 / (self.values + np.asarray(alphas, dtype=np.float64)[:, None])


def constant(columns) -> np.ndarray:
    """Columns that do not vary by more than rounding in float32.

    Parameters
    ----------
    columns : array of shape (n_rows, n_columns)

    Returns
    -------
    array of bool, shape (n_columns,)
    """
    low, high = np.min(columns, axis=0), np.max(columns, axis=0)
    return high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))


def decompose(kernel, train, held) -> Spectrum:
    """Centre a kernel by its training rows and decompose it.

    Parameters
    ----------
    kernel : array of float64, shape (n_rows, n_rows)
        Of features that need not be centred.
    train, held : arrays of int
        Training and held-out rows.
    """
    inside = kernel[np.ix_(train, train)]
    across = kernel[np.ix_(held, train)]
    means = inside.mean(axis=0)
    centred = inside - means - means[:, None] + means.mean()
    # Centring leaves a null vector of equal entries. Nothing is predicted from it, so it may be given any
    # eigenvalue: an average one keeps its rounding from being divided by the smallest penalty.
    centred += np.trace(centred) / len(train) ** 2
    values, basis = np.linalg.eigh(centred)
    cross = (across - across.mean(axis=1, keepdims=True) - means + means.mean()) @ basis
    # The same rounding in directions that the features do not span (more rows than features).
    null = values <= np.finfo(np.float64).eps * len(train) * values[-1]
    values[null] = 0
    cross[:, null] = 0
    return Spectrum(np.asarray(train), np.asarray(held), values, basis, cross)


def low_rank_hats(spectrum: Spectrum, change: Change, shrinkage) -> tuple[np.ndarray, np.ndarray]:
    """What a change adds to the hat matrix, as a product of two thin factors (see the module's head).

    Parameters
    ----------
    spectrum : Spectrum
    change : Change
    shrinkage : array of shape (n_alphas, n_train)
        From :meth:`Spectrum.shrinkage`.

    Returns
    -------
    left : array of float64, shape (n_alphas, n_held, rank)
        Q, orthonormal columns; rank = min(n_held, 2 n_directions).
    right : array of float64, shape (n_alphas, rank, n_train)
        ``W V``: W in the basis of the eigenvectors.
    """
    u = np.concatenate([change.after, change.before], axis=1)
    u = u - u[spectrum.train].mean(axis=0)
    sign = np.repeat([1.0, -1.0], [change.after.shape[1], change.before.shape[1]])
    u_train = spectrum.basis.T @ u[spectrum.train]
    shrunk = shrinkage[:, :, None] * u_train
    core = np.diag(sign) + u_train.T @ shrunk
    residual = u[spectrum.held] - spectrum.cross @ shrunk
    left, triangle = np.linalg.qr(residual @ np.linalg.inv(core))
    return left, triangle @ shrunk.transpose(0, 2, 1)


def inner_splits(n_rows: int, within, n_folds: int, gap: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the rows `within` into contiguous validation blocks, each with the rows that may train for it.

    Returns
    -------
    list of (train, held) pairs of arrays of int

    Raises
    ------
    InputError
        If a block has one row only, or the gap leaves nothing to train on.
    """
    pairs = []
    for block in folds.contiguous(len(within), n_folds):
        held = np.asarray(within)[block]
        if len(held) < 2:
            raise InputError(
                f"{n_folds} inner folds of {len(within)} TRs leave validation blocks of one TR; "
                "ask for fewer folds"
            )
        pairs.append((folds.training_rows(n_rows, held, gap, within=within), held))
    return pairs


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(first, first + size) for first in range(0, n, size))


def _stacked_hats(spectrum: Spectrum, alphas, changes: Sequence[Change]):
    """The hat matrices of all penalties and feature sets, as one matrix in the basis of the eigenvectors.

    Returns
    -------
    hats : array of float32, shape (n_alphas * (n_held + total_rank), n_train)
        For each penalty: the first feature set's hat matrix, then W of every change.
    lefts : array of float32, shape (n_alphas, total_rank, n_held)
        Qᵀ of every change.
    starts : array of int, shape (n_changes,)
        Where each change begins among the `total_rank` rows.
    """
    shrinkage = spectrum.shrinkage(alphas)
    factors = [low_rank_hats(spectrum, change, shrinkage) for change in changes]
    parts = [shrinkage[:, None, :] * spectrum.cross, *(right for _, right in factors)]
    hats = np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")
    nothing = np.empty((len(alphas), 0, len(spectrum.held)))
    lefts = np.concatenate([nothing, *(left.transpose(0, 2, 1) for left, _ in factors)], axis=1)
    starts = np.cumsum([0, *(left.shape[2] for left, _ in factors)])[:-1]
    return hats.reshape(-1, len(spectrum.train)), lefts.astype(np.float32), starts


def _squared_errors(products, target, lefts, starts) -> np.ndarray:
    """Squared errors of every feature set and penalty, those of changes from the first one's residuals.

    Parameters
    ----------
    products : array of float32, shape (n_alphas, n_held + total_rank, n_voxels)
        Predictions of the first feature set, then W Y of every change.
    target : array of float32, shape (n_held, n_voxels)
    lefts, starts : arrays
        From :func:`_stacked_hats`.

    Returns
    -------
    array of float32, shape (1 + n_changes, n_alphas, n_voxels)
    """
    errors = target - products[:, : len(target)]
    first = np.einsum("avn,avn->an", errors, errors)
    if not len(starts):
        return first[None]
    update = products[:, len(target) :]
    gain = lefts @ errors
    gain *= -2
    gain += update
    gain *= update
    changed = first + np.add.reduceat(gain, starts, axis=1).swapaxes(0, 1)
    return np.concatenate([first[None], changed])


def inner_scores(
    kernel, y, splits, alphas, changes: Sequence[Change] = (), block_voxels: int = 4096
) -> np.ndarray:
    """Mean R² over validation blocks of every feature set, penalty and voxel.

    R² of a block is ``1 − Σ(y − ŷ)² / Σ(y − ȳ)²`` with the block's own mean ȳ, as scikit-learn's
    ``r2_score``; a block in which a voxel is constant counts 0 for that voxel, whatever the penalty.

    Parameters
    ----------
    kernel : array of float64, shape (n_rows, n_rows)
        Kernel of the first feature set.
    y : array of float32, shape (n_rows, n_voxels)
        Responses, of order 1.
    splits : sequence of (train, held) pairs of arrays of int
    alphas : sequence of float, length n_alphas
    changes : sequence of Change
        The other feature sets.
    block_voxels : int
        Voxels at a time.

    Returns
    -------
    array of float64, shape (1 + n_changes, n_alphas, n_voxels)
    """
    n_alphas, n_voxels = len(alphas), y.shape[1]
    total = np.zeros((1 + len(changes), n_alphas, n_voxels))
    for train, held in splits:
        spectrum = decompose(kernel, train, held)
        hats, lefts, starts = _stacked_hats(spectrum, alphas, changes)
        basis = spectrum.basis.astype(np.float32)
        # Either factor of the product can be rotated out of the eigenvectors' basis: the smaller one is.
        rotate_hats = len(hats) < n_voxels
        if rotate_hats:
            hats = hats @ basis.T
        for block in _blocks(n_voxels, block_voxels):
            y_train, y_held = y[train, block], y[held, block]
            target = y_held - y_train.mean(axis=0)
            products = hats @ (y_train if rotate_hats else basis.T @ y_train)
            squared = _squared_errors(products.reshape(n_alphas, -1, target.shape[1]), target, lefts, starts)
            flat = constant(y_held)
            variation = np.where(flat, 1, np.square(y_held - y_held.mean(axis=0)).sum(axis=0))
            total[:, :, block] += np.where(flat, 0, 1 - squared / variation)
    return total / len(splits)


def choose(scores) -> np.ndarray:
    """Index of the best penalty of every voxel; of penalties within :data:`TIE` of the best, the last.

    Parameters
    ----------
    scores : array of shape (n_alphas, n_voxels)
        Mean R², penalties in rising order.

    Returns
    -------
    array of int, shape (n_voxels,)
    """
    tied = scores >= scores.max(axis=0) - TIE
    return len(scores) - 1 - np.argmax(tied[::-1], axis=0)


def predictions(
    kernel, y, train, test, alphas, choice, changes: Sequence[Change] = ()
) -> Iterator[np.ndarray]:
    """Predict the test rows with every feature set, each voxel with its own penalty.

    Parameters
    ----------
    kernel, y, alphas, changes
        As for :func:`inner_scores`.
    train, test : arrays of int
    choice : array of int, shape (1 + n_changes, n_voxels)
        Index of the penalty.

    Yields
    ------
    array of float32, shape (n_test, n_voxels)
        Relative to the mean of the training rows; the first feature set's, then each change's.
    """
    spectrum = decompose(kernel, train, test)
    shrinkage = spectrum.shrinkage(alphas)
    rotated = spectrum.basis.T.astype(np.float32) @ y[train]
    for change, chosen in zip([None, *changes], choice, strict=True):
        factors = None if change is None else low_rank_hats(spectrum, change, shrinkage)
        predicted = np.empty((len(test), y.shape[1]), dtype=np.float32)
        for index in np.unique(chosen):
            hat = spectrum.cross * shrinkage[index]
            if factors is not None:
                hat += factors[0][index] @ factors[1][index]
            voxels = np.flatnonzero(chosen == index)
            predicted[:, voxels] = hat.astype(np.float32) @ rotated[:, voxels]
        yield predicted


def standard_scores(columns) -> np.ndarray:
    """z-score each column by its own mean and standard deviation, in float64; constant columns become 0."""
    columns = np.asarray(columns, dtype=np.float64)
    flat = constant(columns)
    deviations = columns - columns.mean(axis=0)
    scale = np.sqrt(np.square(deviations).mean(axis=0))
    return np.where(flat, 0, deviations / np.where(flat, 1, scale))


def scorable(responses, splits) -> np.ndarray:
    """Voxels that are finite, and vary in the training and in the test rows of every outer fold.

    Parameters
    ----------
    responses : array of shape (n_rows, n_voxels)
    splits : sequence of (train, test) pairs of arrays of int

    Returns
    -------
    array of bool, shape (n_voxels,)
    """
    good = np.isfinite(responses).all(axis=0)
    with np.errstate(invalid="ignore"):
        for train, test in splits:
            good &= ~constant(responses[train]) & ~constant(responses[test])
    return good


def standardised(responses, train, block_voxels: int = 4096) -> np.ndarray:
    """Responses in float32, each voxel standardised by its training rows.

    Parameters
    ----------
    responses : array of shape (n_rows, n_voxels)
    train : array of int
    block_voxels : int
        Voxels at a time: the statistics are float64.

    Returns
    -------
    array of float32, shape (n_rows, n_voxels)
    """
    y = np.empty(responses.shape, dtype=np.float32)
    for block in _blocks(responses.shape[1], block_voxels):
        columns = np.asarray(responses[:, block], dtype=np.float64)
        y[:, block] = (columns - columns[train].mean(axis=0)) / columns[train].std(axis=0)
    return y


def fit_fold(
    kernel,
    responses,
    train,
    test,
    alphas,
    inner_folds: int,
    gap: int,
    changes: Sequence[Change] = (),
    block_voxels: int = 4096,
) -> list[FoldScores]:
    """One outer fold: choose penalties inside the training rows, refit on all of them, score the test rows.

    Parameters
    ----------
    kernel : array of float64, shape (n_rows, n_rows)
        Kernel of the first feature set over all rows.
    responses : array of shape (n_rows, n_voxels)
        Finite, and varying in the training rows.
    train, test : arrays of int
    alphas : sequence of float
        Penalties, rising.
    inner_folds : int
        Contiguous validation blocks of the training rows.
    gap : int
        Rows left out on both sides of a validation block.
    changes : sequence of Change
        Further feature sets.
    block_voxels : int
        Voxels at a time (memory, not results).

    Returns
    -------
    list of FoldScores, length 1 + n_changes
        Of the first feature set, then of each change.

    Raises
    ------
    InputError
        If the inner folds cannot be cut.
    """
    alphas = np.sort(np.asarray(alphas, dtype=np.float64))
    splits = inner_splits(len(kernel), train, inner_folds, gap)
    y = standardised(responses, train, block_voxels)
    inner = inner_scores(kernel, y, splits, alphas, changes, block_voxels)
    choice = np.stack([choose(scores) for scores in inner])
    truth = standard_scores(y[test])
    results = []
    predicted = predictions(kernel, y, train, test, alphas, choice, changes)
    for scores, chosen, prediction in zip(inner, choice, predicted, strict=True):
        agreement = standard_scores(prediction) * truth
        best = np.take_along_axis(scores, chosen[None], axis=0)[0]
        results.append(FoldScores(agreement.mean(axis=0), alphas[chosen], best, agreement.mean(axis=1)))
    return results
