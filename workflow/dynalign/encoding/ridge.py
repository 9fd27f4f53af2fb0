"""Ridge regression of many voxels in its dual form, a penalty per voxel, many related feature sets at once.

The hat matrices come from :mod:`dynalign.encoding.hat_matrices`, in float64. Here they meet the responses, in
float32, a tile of voxels at a time: residuals of all penalties from one large product per inner fold, their
squared sums while they are in cache, the penalty of each voxel, the prediction of the test rows and its scores. A
set of an update costs thin products with the residuals E of the first feature set, as its squared error follows from
what it adds to the prediction, ``Q w``:

    ‖E − Q w‖² = ‖E‖² − 2 (QᵀE)·w + ‖w‖²,

voxel by voxel. No array is as long as responses × features, or × penalties beyond a tile.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np

from dynalign import folds
from dynalign.cli import note, progress
from dynalign.config.encoding import Encoding
from dynalign.config.statistics import Statistics
from dynalign.encoding import backend, hat_matrices
from dynalign.encoding.partition import FoldPartition, join, parts
from dynalign.encoding.scores import Partition, Scores
from dynalign.io.errors import InputError
from dynalign.variation import FLAT, constant

#: Mean inner R² values this close are one value in float32; the largest of their penalties is taken.
TIE = 1e-6


@dataclass(frozen=True)
class FeatureSets:
    """A kernel and its updates: the first feature set, then those of every update in turn."""

    kernel: np.ndarray  #: of float64, (n_rows, n_rows), over all rows
    updates: Sequence[hat_matrices.LowRankUpdate] = ()

    def numbers(self, first: int) -> list[range]:
        """The numbers of the feature sets, counted from `first`: of the kernel itself, and of each update."""
        sizes = [1, *(len(update.inverse_cores) for update in self.updates)]
        ends = [first, *(first + np.cumsum(sizes)).tolist()]
        return [range(*pair) for pair in pairwise(ends)]

    def __len__(self) -> int:
        return self.numbers(0)[-1].stop


@dataclass(frozen=True)
class Group:
    """Feature sets that are searched together, and the arms, which choose among them voxel by voxel."""

    sets: Sequence[FeatureSets]

    #: Numbers of each arm's candidates, counted over all `sets`; the best by inner score is taken, the first of equals.
    arms: Mapping[Hashable, Sequence[int]]

    #: Arms of one candidate that take another arm's penalties and inner scores.
    same: Mapping[Hashable, Hashable] = field(default_factory=dict)

    with_targets: Collection[Hashable] | None = None  #: arms that predict targets too; default all

    #: Variance partitions: the arms of the vectors, of other features, of these and what the vectors tell beyond
    #: them, and of both together.
    partitions: Mapping[str, tuple[Hashable, Hashable, Hashable, Hashable]] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldScores:
    """Scores of one arm on one outer fold, in float64."""

    r: np.ndarray  #: (n_voxels,), Pearson correlation of prediction and response; 0 where the prediction is constant
    alpha: np.ndarray  #: (n_voxels,), penalty chosen by the inner folds
    inner_score: np.ndarray  #: (n_voxels,), mean R² of that penalty over the inner folds
    timecourse: np.ndarray  #: (n_test,), mean over voxels of z(prediction) · z(response), z in the fold
    blocks: np.ndarray  #: float16, (n_blocks, n_voxels), the same of each voxel, mean over blocks of test rows
    target_r: np.ndarray  #: (n_targets,), as `r`, of the targets beside the voxels


def inner_splits(n_rows: int, within, n_folds: int, gap: int, moments=None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the rows `within` into contiguous validation blocks: pairs (train, held) of arrays of int.

    Rows of equal `moments`, (n_rows,), as for :func:`dynalign.encoding.arms.outer_splits`, are never parted.
    InputError if a block has one row only, or the gap leaves nothing to train on.
    """
    pairs = []
    for block in folds.contiguous(len(within), n_folds, None if moments is None else moments[within]):
        held = np.asarray(within)[block]
        if len(held) < 2:
            cut = f"{n_folds} inner folds of {len(within)} TRs"
            raise InputError(f"{cut} leave validation blocks of one TR; ask for fewer folds")
        pairs.append((folds.training_rows(n_rows, held, gap, within, moments), held))
    return pairs


@dataclass(frozen=True)
class Operators:
    """All that an outer fold multiplies responses with, on the device."""

    searches: list[hat_matrices.InnerFold]  #: one per inner fold
    thin: np.ndarray  #: (n_alphas, total_columns, n_train) in float32, (R U)ᵀ of the updates searched
    refit: hat_matrices.Refit


def _on_device(run, value):
    """What holds arrays, with these on the device."""
    if isinstance(value, np.ndarray):
        return run.put(value)
    if isinstance(value, list):
        return [_on_device(run, part) for part in value]
    if isinstance(value, (Operators, hat_matrices.InnerFold, hat_matrices.Refit)):
        return replace(value, **{name: _on_device(run, part) for name, part in vars(value).items()})
    return value


def prepare(
    kernel,
    spectrum: hat_matrices.Spectrum,
    splits,
    alphas,
    updates: Sequence[hat_matrices.LowRankUpdate],
    run,
    tolerance: float = hat_matrices.TOLERANCE,
    searched: Sequence[int] | None = None,
) -> Operators:
    """Lay out the operators of an outer fold, whose training and test rows the `spectrum` of the kernel knows.

    `splits` are inner folds: pairs (train, held) of arrays of int. `alphas` rise. `searched` are the updates whose
    penalties are searched, by default all. The rest is as for :func:`fit_fold`.
    """
    formed = hat_matrices.FormedUpdates.of(spectrum, updates, spectrum.shrinkage(alphas), run.threads)
    chosen = formed if searched is None or len(searched) == len(updates) else formed.some(searched)
    operators = hat_matrices.residual_operators(spectrum, alphas, chosen, tolerance, run.threads)
    tasks: list[Callable] = [partial(hat_matrices.refit, spectrum, alphas, formed)]
    tasks += [partial(hat_matrices.search, kernel, operators, *split) for split in splits]
    refit, *searches = backend.spread(lambda task: task(), tasks, run.threads)
    thin = chosen.columns.transpose(0, 2, 1)
    return _on_device(run, Operators(searches, thin, refit))


def _variation(y, held: slice) -> tuple[np.ndarray, np.ndarray]:
    """Whether each voxel varies in a validation block (1 or 0), and over its sum of squares (0 if not)."""
    part = y[held]
    flat = constant(part)
    squares = np.square(part - part.mean(axis=0)).sum(axis=0)
    return (~flat).astype(np.float32), np.where(flat, 0, 1 / np.where(flat, 1, squares)).astype(np.float32)


def search_scores(run, operators: Operators, y, device_y) -> np.ndarray:
    """Mean R² over validation blocks of every feature set and penalty, for one tile of voxels.

    R² of a block is ``1 − Σ(y − ŷ)² / Σ(y − ȳ)²`` with the block's own mean ȳ, as scikit-learn's
    ``r2_score``; a block in which a voxel is constant counts 0 for that voxel, whatever the penalty.

    Parameters
    ----------
    run : backend.Numpy or backend.Torch
    operators : Operators
    y : array of float32, shape (n_train, n_voxels)
        Responses of the training rows, of order 1; `device_y` is the same on the device, twice below itself.

    Returns
    -------
    array of float64, shape (n_sets, n_alphas, n_voxels)
        Of the first feature set, then of every set of the updates searched.
    """
    xp, n_voxels = run.xp, y.shape[1]
    n_alphas, n_columns = operators.thin.shape[:2]
    n_sets = 1 + sum(map(len, operators.searches[0].triangles))
    total = run.zeros((n_sets, n_alphas, n_voxels))
    thin = operators.thin.reshape(n_alphas * n_columns, len(y)) @ device_y[: len(y)]
    thin = thin.reshape(n_alphas, n_columns, n_voxels)
    for found in operators.searches:
        n_rows = found.rows.stop - found.rows.start
        n_kept = found.weights.shape[1] - 1
        block = slice(found.rows.start + found.held.start, found.rows.start + found.held.stop)
        live, inverse = (run.put(values) for values in _variation(y, block))
        # Predictions of the penalties kept, and the responses below them: a small product gives all residuals.
        products = run.empty((n_kept + 1, n_rows, n_voxels))
        rest = device_y[found.rest]
        xp.matmul(found.hats, rest, out=products[:n_kept].reshape(n_kept * n_rows, n_voxels))
        products[n_kept] = device_y[found.rows] - rest.mean(axis=0)
        if n_kept < n_alphas:
            errors = (found.weights @ products.reshape(n_kept + 1, -1)).reshape(n_alphas, n_rows, n_voxels)
        else:
            errors = xp.subtract(products[n_kept], products[:n_kept], out=products[:n_kept])
        held = errors[:, found.held]
        squared = xp.einsum("abv,abv->av", held, held)
        total[0] += live - squared * inverse
        if n_sets == 1:
            continue
        gain = found.left @ errors
        fitted = found.right @ errors + thin if found.direct is None else (found.direct @ rest).reshape(thin.shape)
        number = 1
        for triangles in found.triangles:
            rank, columns = triangles.shape[2:]
            for triangle in triangles:
                update = triangle @ fitted[:, :columns]
                changed = squared + xp.einsum("abv,abv->av", gain[:, :rank] + update, update)
                total[number] += live - changed * inverse
                number += 1
            gain, fitted = gain[:, rank:], fitted[:, columns:]
    return run.get(total) / len(operators.searches)


def choose(scores) -> np.ndarray:
    """Index of the best penalty of every voxel; of penalties within :data:`TIE` of the best, the last.

    `scores`, of shape (..., n_alphas, n_voxels), are mean R² of rising penalties; the result has (..., n_voxels).
    """
    tied = scores >= scores.max(axis=-2, keepdims=True) - TIE
    return scores.shape[-2] - 1 - np.argmax(tied[..., ::-1, :], axis=-2)


def select(scores, arms: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The feature set and the penalty of every arm and voxel.

    `scores`, (n_sets, n_alphas, n_voxels), are mean R² of rising penalties; `arms` are rows of it, each arm's
    candidates, of which within :data:`TIE` of the best the first is taken. Arrays of shape (n_arms, n_voxels): the row,
    the index of the penalty, the score.
    """
    choice = choose(scores)
    best = np.take_along_axis(scores, choice[:, None], axis=1)[:, 0]
    rows = []
    for candidates in map(np.asarray, arms):
        tied = best[candidates] >= best[candidates].max(axis=0) - TIE
        rows.append(candidates[np.argmax(tied, axis=0)])
    chosen = np.array(rows)
    return chosen, np.take_along_axis(choice, chosen, axis=0), np.take_along_axis(best, chosen, axis=0)


def predictions(run, refits: Sequence[hat_matrices.Refit], device_y, chosen, choice) -> list:
    """Predict the test rows with every arm, each voxel with its own feature set and penalty.

    `refits` are those of each kernel. `device_y` and the predictions, relative to the mean of the training rows, are
    float32 on the device, of shape (n_train, n_voxels) and (n_test, n_voxels); `chosen` and `choice`, (n_arms,
    n_voxels), are the number of the feature set, counted over all kernels, and the index of the penalty.
    """
    parts: list[list] = [[] for _ in choice]
    places: list[list] = [[] for _ in choice]
    first = 0
    for refit in refits:
        n_test = refit.hats.shape[1] - sum(lefts.shape[3] for lefts in refit.lefts)
        # What each further feature set adds: Q T, and the rows of the products that hold UᵀG Y.
        thin, row = [], n_test
        for lefts in refit.lefts:
            thin += [(left, slice(row, row + lefts.shape[3])) for left in lefts]
            row += lefts.shape[3]
        here = (chosen >= first) & (chosen <= first + len(thin))
        for index in np.unique(choice[here]):
            mine = here & (choice == index)
            voxels = np.flatnonzero(mine.any(axis=0))
            products = refit.hats[index] @ run.columns(device_y, voxels)
            for arm in np.flatnonzero(mine.any(axis=1)):
                numbers = np.where(mine[arm], chosen[arm], -1)[voxels]
                for number in np.unique(numbers[numbers >= 0]):
                    inside = np.flatnonzero(numbers == number)
                    part = run.columns(products[:n_test], inside)
                    if number > first:
                        left, rows = thin[number - first - 1]
                        part += left[index] @ run.columns(products[rows], inside)
                    parts[arm].append(part)
                    places[arm].append(voxels[inside])
        first += 1 + len(thin)
    orders = (np.argsort(np.concatenate(place)) for place in places)
    return [run.columns(run.xp.concatenate(part, axis=1), order) for part, order in zip(parts, orders, strict=True)]


def standard_scores(columns) -> np.ndarray:
    """z-score each column by its own mean and standard deviation, in float64; constant columns become 0."""
    columns = np.asarray(columns, dtype=np.float64)
    flat = constant(columns)
    deviations = columns - columns.mean(axis=0)
    scale = np.sqrt(np.square(deviations).mean(axis=0))
    return np.where(flat, 0, deviations / np.where(flat, 1, scale))


def agreement(run, prediction, truth):
    """z(prediction) · z(response) of every row and voxel; 0 where the prediction is constant.

    `prediction` and `truth`, z(response), are float32 of shape (n_test, n_voxels) on the device of `run`.
    """
    xp = run.xp
    low, high = xp.amin(prediction, axis=0), xp.amax(prediction, axis=0)
    size = xp.maximum(xp.abs(low), xp.abs(high))
    varies = high - low > FLAT * size
    # Predictions of large penalties are so small that their squares would leave float32's range.
    deviations = prediction / xp.where(varies, size, xp.ones_like(size))
    deviations -= deviations.mean(axis=0)
    spread = xp.sqrt(xp.einsum("tv,tv->v", deviations, deviations) / len(deviations))
    scale = xp.where(varies, 1 / xp.where(varies, spread, xp.ones_like(spread)), xp.zeros_like(spread))
    return deviations * scale * truth


def scorable(responses, splits, run=None) -> np.ndarray:
    """Voxels of (n_rows, n_voxels) that are finite, and vary in the training and in the test rows of every outer fold.

    `splits` are pairs (train, test) of arrays of int. Returned is an array of bool.
    """
    run = run or backend.Numpy()

    def tile(block: slice) -> np.ndarray:
        columns = np.asarray(responses[:, block])
        good = np.isfinite(columns).all(axis=0)
        with np.errstate(invalid="ignore"):
            for train, test in splits:
                good &= ~constant(columns[train]) & ~constant(columns[test])
        return good

    return np.concatenate(backend.spread(tile, tiles(responses.shape[1], run.width), run.threads))


def tiles(n: int, size: int) -> list[slice]:
    """Cut n voxels into tiles of nearly equal width, at most `size`.

    A narrow last tile, or one tile more than the threads share evenly, would leave threads idle at the end: beyond
    four tiles their number is a multiple of four. Widths are multiples of 16 voxels where n allows, as products
    like them, and do not depend on the number of threads.
    """
    unit = 16 if size >= 16 else 1
    units = -(-n // unit)
    count = -(-units // (size // unit))
    if count > 4:
        count = min(count + -count % 4, units)
    ends = unit * (np.arange(count + 1) * units // max(1, count))
    return [slice(int(first), min(int(last), n)) for first, last in pairwise(ends)]


def standardised(columns, train) -> np.ndarray:
    """Responses (n_rows, n_voxels) in float32, standardised by rows `train`, with statistics in float64."""
    columns = np.array(columns, dtype=np.float64)
    columns -= columns[train].mean(axis=0)
    inside = columns[train]
    columns /= np.sqrt(np.einsum("tv,tv->v", inside, inside) / len(inside))
    return columns.astype(np.float32)


def fit_fold(
    group: Group,
    responses,
    train,
    test,
    alphas,
    inner_folds: int,
    gap: int,
    run=None,
    voxels=None,
    tolerance: float = hat_matrices.TOLERANCE,
    targets=None,
    block: int = Statistics().block,
    moments=None,
) -> tuple[dict[Hashable, FoldScores], dict[str, FoldPartition]]:
    """One outer fold: choose penalties inside the training rows, refit on all of them, score the test rows.

    InputError if the inner folds cannot be cut.

    Parameters
    ----------
    group : Group
    responses : array of shape (n_rows, n_voxels)
        Finite, and varying in the training rows.
    train, test : arrays of int
    alphas, inner_folds, gap
        Penalties; contiguous validation blocks of the training rows; rows left out on both sides of one.
    run : backend.Numpy or backend.Torch, optional
        Where products run, and how many voxels at a time.
    voxels : array of int, optional
        Columns of the responses; default all.
    tolerance, block
        See :func:`dynalign.encoding.hat_matrices.skeleton`; test rows in a block.
    targets : array of shape (n_rows, n_targets), optional
        Predicted like voxels, but no part of the time course.
    moments : array of shape (n_rows,), optional
        See :func:`inner_splits`.

    Returns
    -------
    dict of FoldScores by arm, dict of FoldPartition by name
    """
    run = run or backend.Numpy()
    voxels = np.arange(responses.shape[1]) if voxels is None else np.asarray(voxels)
    alphas = np.sort(np.asarray(alphas, dtype=np.float64))
    splits = inner_splits(len(responses), train, inner_folds, gap, moments)

    def standardise(tile: slice) -> np.ndarray:
        return standardised(responses[:, voxels[tile]], train)

    # A decomposition keeps one thread busy: the others standardise meanwhile.
    tasks: list[Callable] = [partial(hat_matrices.decompose, sets.kernel, train, test) for sets in group.sets]
    tasks += [partial(standardise, tile) for tile in tiles(len(voxels), run.width)]
    done = backend.spread(lambda task: task(), tasks, run.threads)
    spectra, pieces = done[: len(group.sets)], done[len(group.sets) :]

    names = list(group.arms)
    searched = {number for name in names if name not in group.same for number in group.arms[name]}
    kernels, rows, first = [], [], 0
    for sets, spectrum in zip(group.sets, spectra, strict=True):
        numbers = sets.numbers(first)
        used = [k for k, own in enumerate(numbers[1:]) if searched & set(own)]
        kernels.append(prepare(sets.kernel, spectrum, splits, alphas, sets.updates, run, tolerance, used))
        rows.append([first, *(number for k in used for number in numbers[1 + k])])
        first = numbers[-1].stop

    parted = folds.blocks(len(test), block)
    weights = np.array([len(held) for held in parted]) / len(test)

    def solve(arms: Sequence[Hashable], y: np.ndarray):
        """Scores of some arms in one tile, of shape (n_arms, …), and partitions."""
        needed = {number for name in arms for number in group.arms[group.same.get(name, name)]}
        twice = np.concatenate([y[train], y[train]])
        device_y = run.put(twice)
        scores, known = [], []
        for operators, numbers in zip(kernels, rows, strict=True):
            if needed & set(numbers):
                scores.append(search_scores(run, operators, twice[: len(train)], device_y))
                known += numbers
        candidates = [[known.index(k) for k in group.arms[group.same.get(name, name)]] for name in arms]
        chosen, choice, best = select(np.concatenate(scores), candidates)
        chosen = np.asarray(known)[chosen]
        for k, name in enumerate(arms):
            if name in group.same:
                chosen[k] = group.arms[name][0]
        truth, measured = run.put(standard_scores(y[test])), run.put(y[test])
        refits = [operators.refit for operators in kernels]
        predicted = predictions(run, refits, device_y[: len(train)], chosen, choice)

        def in_blocks(values) -> np.ndarray:
            means = [values[held[0] : held[-1] + 1].mean(axis=0, dtype=run.xp.float64) for held in parted]
            return run.get(run.xp.stack(means))

        def over_voxels(values) -> np.ndarray:
            return run.get(values.sum(axis=1, dtype=run.xp.float64))

        agreed = [agreement(run, prediction, truth) for prediction in predicted]
        blocks = np.stack([in_blocks(values) for values in agreed])
        course = np.stack([over_voxels(values) for values in agreed])
        partitions = []
        for names in group.partitions.values() if len(arms) == len(group.arms) else ():
            four = [predicted[arms.index(name)] for name in names]
            errors = [run.xp.square(measured - prediction).sum(axis=0) for prediction in four]
            r2 = [run.get(1 - error / run.xp.square(measured).sum(axis=0)) for error in errors]
            found = parts(run, measured, *four)
            course_of, blocks_of = (np.stack([take(part) for part in found]) for take in (over_voxels, in_blocks))
            partitions.append((np.stack(r2), course_of, blocks_of.astype(np.float32)))
        return weights @ blocks, choice, best, blocks.astype(np.float16), course, partitions

    found = run.map(partial(solve, names), pieces)
    r, choice, best, blocks = (np.concatenate([part[i] for part in found], axis=-1) for i in range(4))
    course = sum(part[4] for part in found) / len(voxels)
    n_targets = 0 if targets is None else targets.shape[1]
    read = [name for name in names if group.with_targets is None or name in group.with_targets]
    target_r = np.full((len(names), n_targets), np.nan)
    if n_targets and read:
        columns = [standardised(targets[:, tile], train) for tile in tiles(n_targets, run.width)]
        beside = run.map(partial(solve, read), columns)
        target_r[[names.index(name) for name in read]] = np.concatenate([part[0] for part in beside], axis=-1)
    values = zip(r, alphas[choice], best, course, blocks, target_r, strict=True)
    partitions = {}
    for k, name in enumerate(group.partitions):
        r2, courses, shares = zip(*(part[5][k] for part in found), strict=True)
        partitions[name] = FoldPartition(
            np.concatenate(r2, axis=-1), sum(courses) / len(voxels), np.concatenate(shares, axis=-1)
        )
    return {name: FoldScores(*value) for name, value in zip(names, values, strict=True)}, partitions


def fit_folds(
    responses,
    scored,
    splits,
    groups: Callable[..., Iterable[Group]],
    choices: Encoding,
    run,
    targets=None,
    block: int = Statistics().block,
    moments=None,
) -> tuple[dict[Hashable, tuple[Scores, np.ndarray]], dict[str, Partition]]:
    """Scores of every arm, and variance partitions, over all outer folds.

    Parameters
    ----------
    responses : array of shape (n_rows, n_voxels)
    scored : array of bool, shape (n_voxels,)
        From :func:`scorable`; the other voxels' scores are NaN.
    splits : sequence of (train, test) pairs of arrays of int
        Each row is tested once.
    groups : callable
        Gives a fold's groups of arms, called with its train and test.
    choices : Encoding
        ``alphas``, ``inner_folds`` and ``gap`` count.
    run, targets, block, moments
        As for :func:`fit_fold`.

    Returns
    -------
    dict of (Scores, array of shape (n_targets,)) by arm, dict of Partition by name
        Scores with the mean r of each target; NaN for one that cannot be scored.
    """
    from threadpoolctl import threadpool_limits

    voxels = np.flatnonzero(scored)
    targets = np.empty((len(responses), 0)) if targets is None else targets
    able = np.flatnonzero(scorable(targets, splits)) if targets.shape[1] else np.arange(0)
    found: list[dict[Hashable, FoldScores]] = []
    cut: list[dict[str, FoldPartition]] = []
    named: dict[str, tuple] = {}
    # Threads share out voxels and folds (dynalign.encoding.backend); a BLAS with threads of its own would fight them.
    with threadpool_limits(1):
        for train, test in progress(splits, "outer folds"):
            results: dict[Hashable, FoldScores] = {}
            partitions: dict[str, FoldPartition] = {}
            for group in groups(train, test):
                numbers = (choices.alphas, choices.inner_folds, choices.gap)
                more = {"targets": targets[:, able], "block": block, "moments": moments}
                fit = partial(fit_fold, group, responses, train, test, *numbers, **more)
                if isinstance(run, backend.Torch) and run.tf32 and not found and not results:
                    some = (fit(run=on, voxels=voxels[: run.width]) for on in (run, run.exact()))
                    report_tf32(*(list(part.values()) for part, _ in some))
                scores, parted = fit(run=run, voxels=voxels)
                results, partitions, named = results | scores, partitions | parted, {**named, **group.partitions}
            found.append(results)
            cut.append(partitions)
    fold = np.empty(len(responses), dtype=np.int16)
    for number, (_, test) in enumerate(splits):
        fold[test] = number
    tested = np.concatenate([test for _, test in splits])
    joined = {}
    for arm in found[0]:
        folds_of_arm = [results[arm] for results in found]
        parts = {}
        for name in ("r", "alpha", "inner_score"):
            parts[name] = np.full((len(splits), len(scored)), np.nan, dtype=np.float32)
            parts[name][:, scored] = [getattr(one, name) for one in folds_of_arm]
        blocks = np.concatenate([one.blocks for one in folds_of_arm])
        parts["blocks"] = np.full((len(blocks), len(scored)), np.nan, dtype=np.float16)
        parts["blocks"][:, scored] = blocks
        target_r = np.full((len(splits), targets.shape[1]), np.nan)
        target_r[:, able] = [one.target_r for one in folds_of_arm]
        timecourse = np.empty(len(responses))
        timecourse[tested] = np.concatenate([one.timecourse for one in folds_of_arm])
        joined[arm] = (Scores(**parts, timecourse=timecourse, fold=fold), target_r.mean(axis=0))
    whole = {}
    for name, arms in named.items():
        whole[name] = join([one[name] for one in cut], [joined[arm][0] for arm in arms], scored)
    return joined, whole


def report_tf32(rough: Sequence[FoldScores], exact: Sequence[FoldScores]) -> None:
    """Note how far rounding products to TF32 moved the scores of the same voxels."""
    moved = np.abs(np.stack([a.r - b.r for a, b in zip(rough, exact, strict=True)]))
    other = np.mean([a.alpha != b.alpha for a, b in zip(rough, exact, strict=True)])
    note(
        f"tf32: moves r by {moved.mean():.1e} on average, {moved.max():.1e} at most, and the penalty of "
        f"{other:.2%} of {moved.shape[1]} voxels (first fold, {len(moved)} arms)"
    )
