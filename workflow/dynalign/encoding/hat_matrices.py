"""Hat matrices of ridge regression in its dual form: all penalties, folds and related feature sets, in float64.

With features X, kernel ``K = X Xᵀ``, penalty λ and an unpenalised intercept, the fitted values of training rows t
leave the residuals ``λ R Y`` with the residual operators

    R = G − G 1 1ᵀ G / (1ᵀ G 1),   G = (K_tt + λI)⁻¹,

and rows v are predicted by ``H Y``. One eigendecomposition of the kernel, centred by its training rows, gives R for
every penalty. It is done in float64, because the smallest penalties lie far below float32's resolution of the
largest eigenvalue; products with responses are float32 (:mod:`dynalign.encoding.ridge`).

**A block left out.** When the rows B (a validation block b and the gap on its sides) are left out and the rest is
fitted again, intercept included, the residuals of B are, exactly,

    E_B(Y) = R_BB⁻¹ (R Y)_B = Y_B − H Y_rest,   H = −R_BB⁻¹ R_B,rest

so no inner fold needs a decomposition of its own. R_BB is singular where B cannot be told from the penalty (fewer
rows left than features, and λ next to nothing): such a fold is decomposed by itself (:func:`own_search`).

**An update** is other feature sets whose kernels differ from the first one's by ``U C Uᵀ``, with one thin U and a C
for each set. A property is removed inside a few directions: with coordinates `before` and `after` along these and
``removed = before − after``,

    U = [before, removed],   C⁻¹ = [[−I, −I], [−I, 0]].

A band of features Z joins them with a penalty of its own, λ/w: ``U = Z, C = w I``, a set for every w. Woodbury's
identity gives the hat matrix of a set, ``S = U_restᵀ G_rest U_rest`` centred by the intercept:

    H_a = H + E_b(U) (C⁻¹ + S)⁻¹ U_restᵀ G_rest = H + Q T U_restᵀ G_rest,

where Q is an orthonormal basis of E_b(U), the same for all sets of an update. Leaving B out also is a small update of
products over all rows, for U and Y alike:

    S = Uᵀ R U − (R U)_Bᵀ E_B(U),   U_restᵀ G_rest Y = Uᵀ R Y − (R U)_Bᵀ E_B(Y),

so a fold costs an update only products with the residuals of B, and its sets only products of a few rows. Where these
two terms cancel, ``U_restᵀ G_rest`` is formed first.

**Penalties alike.** Over the eigenvalues s of a kernel, ``s / (s + λ)`` of 17 penalties from 1e-6 to 1e10 are, to
float32's precision, combinations of about 10 to 13 of them, and so are the predicted deviations from the mean of
the training rows (:func:`skeleton`). By Cauchy's interlacing theorem a fold's eigenvalues lie inside the range of the
whole kernel's, if that has full rank; else :meth:`ResidualOperators.shrinks` tells.

References
----------
METHOD section 7. Saunders, Gammerman & Vovk (1998) for the dual form; Woodbury (1950).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dynalign.encoding.backend import spread

#: Approximation of ``s / (s + λ)``, of order 1, by other penalties': what float32 resolves.
TOLERANCE = 1e-7

#: Condition number (1-norm, unit diagonal) of R_BB up to which float64 leaves float32's precision, also where the
#: terms of an update cancel. Features of the paper's size give about 15.
WORST_CONDITION = 1e6

#: Standard deviation, in that of the responses, of a term of ``T U_restᵀ G_rest Y`` up to which it is formed in float32
#: from products over all rows and with residuals; their difference may be much smaller where the rows left fit almost
#: perfectly.
LARGEST_TERM = 30.0

#: Where the kernel is singular, eigenvalues of a fold may lie below its smallest positive one by this factor.
SHRINKAGE = 1e-3


@dataclass(frozen=True)
class LowRankUpdate:
    """Feature sets with the kernels ``K + U C Uᵀ``, where K is that of the first feature set."""

    factor: np.ndarray  #: U, (n_rows, n_columns)
    inverse_cores: np.ndarray  #: C⁻¹ of every set, (n_sets, n_columns, n_columns)

    @classmethod
    def change(cls, before, after) -> "LowRankUpdate":
        """One feature set that differs from the first inside a few directions.

        `before` and `after`, (n_rows, n_directions), are both sets' coordinates along orthonormal directions.
        """
        core = np.kron([[-1.0, -1.0], [-1.0, 0.0]], np.eye(before.shape[1]))
        return cls(np.concatenate([before, before - after], axis=1), core[None])

    @classmethod
    def band(cls, features, weights) -> "LowRankUpdate":
        """The first features with more of them, (n_rows, n_features), whose penalty is λ over each of the `weights`."""
        # Orthogonal columns: features that resemble each other would cost precision.
        left, size, _ = np.linalg.svd(features, full_matrices=False)
        rank = max(1, int((size > 1e-10 * size[0]).sum()))
        return cls(left[:, :rank] * size[:rank], np.eye(rank) / np.asarray(weights, dtype=float)[:, None, None])


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of a training kernel, and the held-out rows in its basis; all in float64."""

    train: np.ndarray  #: rows of the kernel
    held: np.ndarray  #: held-out rows of the kernel
    values: np.ndarray  #: (n_train,), eigenvalues s of the centred ``K_tt`` (but for the vector of equal entries)
    basis: np.ndarray  #: (n_train, n_train), eigenvectors V, in columns
    cross: np.ndarray  #: (n_held, n_train), ``K_vt V``, centred by the training rows
    average: float  #: mean eigenvalue, which the vector of equal entries was given

    def shrinkage(self, alphas) -> np.ndarray:
        """``1 / (s + λ)`` of every penalty, shape (n_alphas, n_train)."""
        return 1 / (self.values + np.asarray(alphas, dtype=np.float64)[:, None])

    def constants(self, alphas) -> np.ndarray:
        """What the vector of equal entries adds to every entry of G, shape (n_alphas,)."""
        return 1 / ((self.average + alphas) * len(self.train))


@dataclass(frozen=True)
class InnerFold:
    """What one inner fold multiplies the responses Y of the outer fold's training rows with; arrays in float32.

    Rows are counted among these training rows, and taken cyclically: the rows `rest` that are left to train on
    follow those left out, and go on at the top. `total_rank` and `total_columns` count Q's and U's of all updates.
    """

    rows: slice  #: left-out rows whose residuals are formed
    held: slice  #: the validation block, counted inside `rows`
    rest: slice  #: rows left to train on, of two copies of the training rows below each other
    hats: np.ndarray  #: (n_kept * n_left_out, n_rest), ``H − 1/n_rest``: predicts deviations from the mean of the rest
    weights: np.ndarray  #: (n_alphas, n_kept + 1), residuals as combinations of these predictions, and the deviations
    left: np.ndarray  #: (n_alphas, total_rank, n_left_out), −2 Qᵀ of every update, zero outside the validation block
    right: np.ndarray | None  #: (n_alphas, total_columns, n_left_out), −(R U)_Bᵀ of every update
    direct: np.ndarray | None  #: (n_alphas * total_columns, n_rest), ``U_restᵀ G_rest``; replaces `right`
    triangles: list[np.ndarray]  #: (n_sets, n_alphas, rank, n_columns), T of every set of every update


@dataclass(frozen=True)
class Refit:
    """What the test rows are predicted with; arrays in float32. `total_columns` counts those of U of all updates."""

    hats: np.ndarray  #: (n_alphas, n_test + total_columns, n_train), the first hat matrix, then Uᵀ G of every update
    lefts: list[np.ndarray]  #: (n_sets, n_alphas, n_test, n_columns), Q T of every set of every update


def decompose(kernel, train, held) -> Spectrum:
    """Centre a kernel, (n_rows, n_rows) in float64, by its rows `train` and decompose it."""
    inside = kernel[np.ix_(train, train)]
    means = inside.mean(axis=0)
    centred = inside - means - means[:, None] + means.mean()
    # Centring leaves a null vector of equal entries. Nothing is predicted from it, so it may be given any
    # eigenvalue: an average one keeps its rounding from being divided by the smallest penalty.
    average = float(np.trace(centred)) / len(train)
    centred += average / len(train)
    # No features at all: any basis will do.
    values, basis = np.linalg.eigh(centred) if average else (np.zeros(len(train)), np.eye(len(train)))
    across = kernel[np.ix_(held, train)]
    cross = (across - across.mean(axis=1, keepdims=True) - means + means.mean()) @ basis
    # The same rounding in directions that the features do not span (more rows than features).
    null = values <= np.finfo(np.float64).eps * len(train) * values[-1]
    values[null] = 0
    cross[:, null] = 0
    return Spectrum(np.asarray(train), np.asarray(held), values, basis, cross, average)


@dataclass(frozen=True)
class FormedUpdates:
    """Products of updates with the operators of one training kernel; `total_columns` counts U's of all updates."""

    updates: Sequence[LowRankUpdate]
    turned: np.ndarray  #: (n_train, total_columns), VᵀU, centred by the training rows
    held: np.ndarray  #: (n_held, total_columns), U of the held-out rows, centred likewise
    columns: np.ndarray  #: (n_alphas, n_train, total_columns), R U, which is G U
    norms: np.ndarray  #: (n_alphas, total_columns), of the columns of R U
    products: list[np.ndarray]  #: (n_alphas, n_columns, n_columns), Uᵀ R U of every update

    @classmethod
    def of(cls, spectrum: Spectrum, updates: Sequence[LowRankUpdate], shrinkage, threads: int = 1) -> "FormedUpdates":
        """`shrinkage` is :meth:`Spectrum.shrinkage`."""
        train, held = (
            np.concatenate([np.empty((len(rows), 0)), *(update.factor[rows] for update in updates)], axis=1)
            for rows in (spectrum.train, spectrum.held)
        )
        mean = train.mean(axis=0)
        train -= mean
        turned = spectrum.basis.T @ train
        columns = _scaled_product(spectrum.basis, shrinkage, turned, threads)
        products = [train[:, own].T @ columns[:, :, own] for own in _places(updates)]
        return cls(updates, turned, held - mean, columns, np.linalg.norm(columns, axis=1), products)

    def parts(self) -> Iterator[tuple[LowRankUpdate, slice, np.ndarray]]:
        """Every update, where its columns stand, and its products."""
        return zip(self.updates, _places(self.updates), self.products, strict=True)

    def some(self, numbers: Sequence[int]) -> "FormedUpdates":
        """These updates only."""
        places = _places(self.updates)
        chosen = np.concatenate([np.arange(0), *(np.r_[places[k]] for k in numbers)])
        wide = ("turned", "held", "columns", "norms")
        return FormedUpdates(
            updates=[self.updates[k] for k in numbers],
            products=[self.products[k] for k in numbers],
            **{name: np.take(getattr(self, name), chosen, axis=-1) for name in wide},
        )

    def hats(self, spectrum: Spectrum, shrinkage) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Q and T of what the sets of every update add to the hat matrix of the held-out rows (the module's head).

        The rank is min(n_held, n_columns).

        Returns
        -------
        lefts : list of array of float64, shape (n_alphas, n_held, rank)
            Q of every update, orthonormal columns.
        triangles : list of array of float64, shape (n_sets, n_alphas, rank, n_columns)
            T of every set of every update.
        """
        residual = self.held - _scaled_product(spectrum.cross, shrinkage, self.turned)
        found = [_orthonormal(residual[:, :, own], products, update) for update, own, products in self.parts()]
        return [left for left, _ in found], [triangle for _, triangle in found]


def _places(updates: Sequence[LowRankUpdate]) -> list[slice]:
    """Where the columns of each update stand among those of all."""
    ends = np.cumsum([0, *(update.factor.shape[1] for update in updates)]).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def _scaled_product(left, shrinkage, right, threads: int = 1) -> np.ndarray:
    """``left diag(s) right`` of every penalty's s, shape (n_alphas, n_rows, n_columns)."""
    found = np.empty((len(shrinkage), len(left), right.shape[1]))
    spread(lambda j: np.matmul(left, shrinkage[j, :, None] * right, out=found[j]), range(len(found)), threads)
    return found


def _orthonormal(residual, products, update: LowRankUpdate) -> tuple[np.ndarray, np.ndarray]:
    """Q and T of an update, from E_b(U), (n_alphas, n_held, n_columns), and S, (n_alphas, n_columns, n_columns)."""
    left, triangle = np.linalg.qr(residual)
    return left, triangle @ np.linalg.inv(update.inverse_cores[:, None] + products)


def skeleton(low: float, high: float, alphas, tolerance: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray]:
    """Penalties of which all others are combinations, for eigenvalues from `low` to `high`.

    `tolerance` is the greatest error of ``s / (s + λ)``; 0 keeps all penalties.

    Returns
    -------
    kept : array of int, shape (n_kept,)
        Rising.
    weights : array of float64, shape (n_alphas, n_kept)
        ``1 / (s + λ_j) ≈ Σ_k weights[j, k] / (s + λ_kept[k])``.
    """
    s = np.geomspace(low, high, 500)
    target = s / (s + np.asarray(alphas, dtype=np.float64)[:, None])
    kept: list[int] = []
    weights = np.zeros((len(target), 0))
    errors = np.abs(target).max(axis=1)
    while not kept or (errors.max() > tolerance and len(kept) < len(target)):
        errors[kept] = -1
        kept = sorted([*kept, int(errors.argmax())])
        weights = np.linalg.lstsq(target[kept].T, target.T, rcond=None)[0].T
        weights[kept] = np.eye(len(kept))
        errors = np.abs(target - weights @ target[kept]).max(axis=1)
    return np.array(kept, dtype=int), weights


@dataclass(frozen=True)
class ResidualOperators:
    """Residual formers R of one outer fold's training rows, in float64."""

    spectrum: Spectrum
    alphas: np.ndarray  #: (n_alphas,)
    kept: np.ndarray  #: of int, (n_kept,), from :func:`skeleton`
    weights: np.ndarray  #: (n_alphas, n_kept), from :func:`skeleton`
    formers: list[np.ndarray]  #: (n_train, n_train), R of the penalties kept
    formed: FormedUpdates

    def shrinks(self, rows: slice) -> bool:
        """Whether leaving rows out may lower the smallest positive eigenvalue by more than :data:`SHRINKAGE`.

        A unit vector x on the remaining rows has ``xᵀ K x ≥ s_min (1 − ‖Nᵀx‖²)`` with N the kernel's null vectors,
        and 1 − ‖Nᵀx‖² is 0 (a null vector of the remaining rows too) or one of the eigenvalues of N_B N_Bᵀ.
        """
        null = self.spectrum.basis[rows, self.spectrum.values == 0]
        shares = np.linalg.eigvalsh(null.T @ null if null.shape[1] < null.shape[0] else null @ null.T)
        return bool(((shares > 1e-9) & (shares < SHRINKAGE)).any())

    def blocks(self, rows: slice) -> np.ndarray:
        """R_BB of every penalty, shape (n_alphas, n_left_out, n_left_out)."""
        part = self.spectrum.basis[rows]
        found = np.empty((len(self.alphas), len(part), len(part)))
        found[self.kept] = [whole[rows, rows] for whole in self.formers]
        others = np.setdiff1d(np.arange(len(found)), self.kept)
        shrunk = self.spectrum.shrinkage(self.alphas[others])[:, None, :] * part
        found[others] = shrunk @ part.T - self.spectrum.constants(self.alphas)[others, None, None]
        return found


def residual_operators(
    spectrum: Spectrum, alphas, formed: FormedUpdates, tolerance: float = TOLERANCE, threads: int = 1
) -> ResidualOperators:
    """Residual operators of all penalties; `formed` comes from the same `spectrum`."""
    alphas = np.asarray(alphas, dtype=np.float64)
    shrinkage = spectrum.shrinkage(alphas)
    positive = spectrum.values[spectrum.values > 0]
    if len(positive):
        low = positive[0] * (1 if len(positive) == len(spectrum.values) else SHRINKAGE)
        kept, weights = skeleton(low, positive[-1], alphas, tolerance)
    else:
        # Constant features predict the mean, whatever the penalty.
        kept, weights = np.array([0]), np.ones((len(alphas), 1))
    constants = spectrum.constants(alphas)

    def residual_former(j: int) -> np.ndarray:
        half = spectrum.basis * np.sqrt(shrinkage[j])
        # A product with its own transpose costs half.
        return half @ half.T - constants[j]

    formers = spread(residual_former, kept, threads)
    return ResidualOperators(spectrum, alphas, kept, weights, formers, formed)


def block_search(operators: ResidualOperators, left_out: slice, held: slice) -> InnerFold | None:
    """Operators of an inner fold from the outer fold's residual formers; None if some R_BB is too close to singular.

    `left_out` are the rows B, counted among the training rows; `held` is the validation block, counted inside B.
    """
    if operators.shrinks(left_out):
        return None
    size = left_out.stop - left_out.start
    blocks = operators.blocks(left_out)
    # Rows that resemble another one have far larger entries than others: a unit diagonal is no loss of precision.
    scale = 1 / np.sqrt(np.diagonal(blocks, axis1=1, axis2=2))
    scale = scale[:, :, None] * scale[:, None, :]
    try:
        inverses = np.linalg.inv(blocks * scale)
    except np.linalg.LinAlgError:
        return None
    conditions = np.prod([np.abs(part).sum(axis=1).max(axis=1) for part in (blocks * scale, inverses)], axis=0)
    if not (conditions <= WORST_CONDITION).all():
        return None
    inverses *= scale
    kept = inverses[operators.kept]
    # Without updates nothing is needed of the gap's rows.
    inside = slice(0, size) if operators.formed.updates else held
    across = np.stack([_rest(whole[left_out], left_out, axis=1) for whole in operators.formers])
    n_rest = across.shape[2]
    hats = -kept[:, inside] @ across - 1 / n_rest

    part = operators.formed.columns[:, left_out]
    residual = inverses @ part
    lefts, triangles, noise = [np.empty((len(operators.alphas), 0, size))], [], 0.0
    for update, own, products in operators.formed.parts():
        less = part[:, :, own].transpose(0, 2, 1) @ residual[:, :, own]
        q, triangle = _orthonormal(residual[:, held, own], products - less, update)
        left = np.zeros((len(q), q.shape[2], size))
        left[:, :, held] = -2 * q.transpose(0, 2, 1)
        lefts.append(left)
        triangles.append(triangle.astype(np.float32))
        terms = np.abs(triangle) @ operators.formed.norms[:, own, None]
        noise = max(noise, float(terms.max()))
    direct = _whole_rows(operators, left_out, across, residual) if noise > LARGEST_TERM else None
    return InnerFold(
        rows=slice(left_out.start + inside.start, left_out.start + inside.stop),
        held=held if operators.formed.updates else slice(0, held.stop - held.start),
        rest=slice(left_out.stop, size + n_rest + left_out.start),
        hats=hats.reshape(-1, n_rest).astype(np.float32),
        weights=_residual_weights(operators.weights),
        left=np.concatenate(lefts, axis=1).astype(np.float32),
        right=-part.transpose(0, 2, 1).astype(np.float32) if direct is None else None,
        direct=direct,
        triangles=triangles,
    )


def _rest(rows, left_out: slice, axis: int) -> np.ndarray:
    """All but the rows (or columns) left out, those that follow them first."""
    before, _, after = np.split(rows, [left_out.start, left_out.stop], axis)
    return np.concatenate([after, before], axis)


def _whole_rows(operators: ResidualOperators, left_out: slice, across, residual) -> np.ndarray:
    """``U_restᵀ G_rest`` of all updates, ``((R U)_rest − R_rest,B E_B(U))ᵀ``, (n_alphas * total_columns, n_rest).

    `across` is R_B,rest of the penalties kept, and `residual` E_B(U) of all.
    """
    spectrum = operators.spectrum
    rows = np.ascontiguousarray(_rest(operators.formed.columns, left_out, axis=1).transpose(0, 2, 1))
    rows[operators.kept] -= residual[operators.kept].transpose(0, 2, 1) @ across
    others = np.setdiff1d(np.arange(len(rows)), operators.kept)
    if len(others):
        shrinkage, residual = spectrum.shrinkage(operators.alphas[others]), residual[others]
        turned = residual.transpose(0, 2, 1) @ spectrum.basis[left_out] * shrinkage[:, None, :]
        rows[others] -= turned @ _rest(spectrum.basis, left_out, axis=0).T
        sums = residual.sum(axis=1)[:, :, None]
        rows[others] += spectrum.constants(operators.alphas)[others, None, None] * sums
    return rows.reshape(-1, rows.shape[2]).astype(np.float32)


def _residual_weights(weights) -> np.ndarray:
    return np.concatenate([-weights, np.ones((len(weights), 1))], axis=1).astype(np.float32)


def own_search(kernel, operators: ResidualOperators, left_out: slice, held: slice) -> InnerFold:
    """Operators of an inner fold as :func:`block_search`, from its own decomposition of the kernel (the reference)."""
    rows = operators.spectrum.train
    train = np.concatenate([rows[: left_out.start], rows[left_out.stop :]])
    inside = slice(left_out.start + held.start, left_out.start + held.stop)
    spectrum = decompose(kernel, train, rows[inside])
    shrinkage = spectrum.shrinkage(operators.alphas)
    hats = (shrinkage[:, None, :] * spectrum.cross) @ spectrum.basis.T
    formed = FormedUpdates.of(spectrum, operators.formed.updates, shrinkage)
    lefts, triangles = formed.hats(spectrum, shrinkage)
    n_alphas, n_held = len(operators.alphas), inside.stop - inside.start
    left = [np.empty((n_alphas, 0, n_held)), *(-2 * q.transpose(0, 2, 1) for q in lefts)]

    def cyclic(columns):
        return np.roll(columns, -left_out.start, axis=2).reshape(-1, len(train)).astype(np.float32)

    return InnerFold(
        rows=inside,
        held=slice(0, n_held),
        rest=slice(left_out.stop, len(rows) + left_out.start),
        hats=cyclic(hats),
        weights=_residual_weights(np.eye(n_alphas)),
        left=np.concatenate(left, axis=1).astype(np.float32),
        right=None,
        direct=cyclic(formed.columns.transpose(0, 2, 1)),
        triangles=[triangle.astype(np.float32) for triangle in triangles],
    )


def search(kernel, operators: ResidualOperators, train, held) -> InnerFold:
    """Operators of an inner fold with rows `train` and the validation block `held` of the kernel.

    What the outer fold's training rows hold besides `train` is contiguous and contains `held`.
    """
    outside = np.flatnonzero(~np.isin(operators.spectrum.train, train))
    first = int(np.searchsorted(operators.spectrum.train, held[0]))
    left_out = slice(int(outside[0]), int(outside[-1]) + 1)
    held = slice(first - left_out.start, first - left_out.start + len(held))
    found = block_search(operators, left_out, held)
    return own_search(kernel, operators, left_out, held) if found is None else found


def refit(spectrum: Spectrum, alphas, formed: FormedUpdates) -> Refit:
    """Operators that predict the held-out rows of an outer fold, relative to the mean of its training rows."""
    shrinkage = spectrum.shrinkage(alphas)
    n_held, n_train = spectrum.cross.shape
    hats = np.empty((len(shrinkage), n_held + formed.turned.shape[1], n_train), dtype=np.float32)
    # An orthonormal basis adds no error beyond the rounding of the factors: float32 will do.
    basis = spectrum.basis.astype(np.float32)
    for hat, shrunk, columns in zip(hats, shrinkage, formed.columns, strict=True):
        np.matmul((shrunk * spectrum.cross).astype(np.float32), basis.T, out=hat[:n_held])
        hat[n_held:] = columns.T
    lefts, triangles = formed.hats(spectrum, shrinkage)
    return Refit(hats, [(q @ triangle).astype(np.float32) for q, triangle in zip(lefts, triangles, strict=True)])
