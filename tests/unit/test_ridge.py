"""The solver on arrays, against scikit-learn and himalaya, on every backend and both ways of solving a fold."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynalign import folds
from dynalign.encoding import backend, hat_matrices, ridge
from dynalign.io.errors import InputError
from dynalign.variation import constant

ALPHAS = tuple(10.0**k for k in range(-6, 11))


def inner_scores(kernel, y, within, splits, alphas, changes=(), run=None):
    """Mean R² of every feature set, penalty and voxel."""
    run = run or backend.Numpy()
    spectrum = hat_matrices.decompose(kernel, within, within[:2])
    operators = ridge.prepare(kernel, spectrum, splits, np.array(alphas), changes, run)
    inside = y[within]
    return ridge.search_scores(run, operators, inside, run.put(np.concatenate([inside, inside])))


def predict(kernel, y, train, test, alphas, choice, changes=()):
    """Predictions of every feature set, relative to the mean of the training rows."""
    run = backend.Numpy()
    spectrum = hat_matrices.decompose(kernel, train, test)
    formed = hat_matrices.FormedUpdates.of(spectrum, changes, spectrum.shrinkage(alphas))
    refit = hat_matrices.refit(spectrum, alphas, formed)
    return ridge.predictions(run, [refit], run.put(y[train]), np.indices(choice.shape)[0], choice)


def fit(kernel, y, train, test, alphas, inner_folds, gap, changes=(), *options, **more):
    """One outer fold of a kernel and its updates, each an arm."""
    sets = ridge.FeatureSets(kernel, changes)
    group = ridge.Group([sets], {number: (number,) for number in range(len(sets))})
    return list(ridge.fit_fold(group, y, train, test, alphas, inner_folds, gap, *options, **more)[0].values())


@pytest.fixture(params=["left out", "decomposed"])
def way(request, monkeypatch):
    """Inner folds as blocks left out of the outer fold, or each by a decomposition of its own."""
    if request.param == "decomposed":
        monkeypatch.setattr(hat_matrices, "block_search", lambda *_: None)
    else:
        monkeypatch.setattr(hat_matrices, "own_search", None)
    return request.param


def reference_scores(X, y, splits, alphas):
    """Mean R² by one scikit-learn fit per split and penalty: array (n_alphas, n_voxels)."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    y = np.asarray(y, dtype=np.float64)
    total = np.zeros((len(alphas), y.shape[1]))
    for train, held in splits:
        for row, alpha in enumerate(alphas):
            fitted = Ridge(alpha, solver="svd").fit(X[train], y[train])
            total[row] += r2_score(y[held], fitted.predict(X[held]), multioutput="raw_values")
    return total / len(splits)


def problem(n=80, p=120, n_voxels=30, seed=0):
    """Features far from centred, responses that follow them to different degrees."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 3 * rng.standard_normal(p)
    signal = X @ rng.standard_normal((p, n_voxels)) / np.sqrt(p)
    y = signal / signal.std(axis=0) + np.linspace(0.3, 5, n_voxels) * rng.standard_normal((n, n_voxels))
    return X, (y / y.std(axis=0)).astype(np.float32)


def removed(X, k, seed=1):
    """X without what a regression on k label columns predicts, and the same as an update."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (len(X), k)).astype(float)
    theta = rng.standard_normal((k, X.shape[1])) / 2
    basis, triangle = np.linalg.qr(theta.T)
    before = X @ basis
    return X - codes @ theta, hat_matrices.LowRankUpdate.change(before, before - codes @ triangle.T)


@pytest.mark.parametrize(("n", "p"), [(80, 120), (80, 20)], ids=["n<p", "n>p"])
@pytest.mark.parametrize("gap", [0, 3])
def test_inner_scores_equal_scikit_learn(n, p, gap, way):
    X, y = problem(n, p)
    within = folds.training_rows(n, np.arange(30, 45), gap)
    splits = ridge.inner_splits(n, within, 6, gap)
    scores = inner_scores(X @ X.T, y, within, splits, ALPHAS)[0]
    np.testing.assert_allclose(scores, reference_scores(X, y, splits, ALPHAS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "p"), [(80, 120), (80, 20), (80, 6)], ids=["n<p", "n>p", "n>>p"])
def test_changes_equal_scikit_learn_on_the_changed_features(n, p, way):
    X, y = problem(n, p)
    features, changes = zip(*(removed(X, k, seed=k) for k in (1, 2, 5)), strict=True)
    splits = ridge.inner_splits(n, np.arange(n), 5, 2)
    scores = inner_scores(X @ X.T, y, np.arange(n), splits, ALPHAS, changes)
    assert scores.shape == (4, len(ALPHAS), y.shape[1])
    for changed, found in zip((X, *features), scores, strict=True):
        reference = reference_scores(changed, y, splits, ALPHAS)
        np.testing.assert_allclose(found, reference, rtol=2e-5, atol=1e-5)
    # The comparison can fail: removal moves the scores by far more than its tolerance.
    assert np.abs(scores[1] - scores[0]).max() > 1e-2


@pytest.mark.parametrize(("n", "p"), [(80, 120), (80, 20)], ids=["n<p", "n>p"])
def test_predictions_equal_scikit_learn(n, p):
    from sklearn.linear_model import Ridge

    X, y = problem(n, p)
    changed, change = removed(X, 2)
    train, test = np.arange(60), np.arange(65, 80)
    rng = np.random.default_rng(5)
    choice = rng.integers(0, len(ALPHAS), (2, y.shape[1]))
    found = predict(X @ X.T, y, train, test, ALPHAS, choice, [change])
    for features, chosen, predicted in zip((X, changed), choice, found, strict=True):
        for voxel, index in enumerate(chosen):
            target = y[train, voxel].astype(np.float64)
            fitted = Ridge(ALPHAS[index], solver="svd").fit(features[train], target)
            relative = fitted.predict(features[test]) - target.mean()
            np.testing.assert_allclose(
                predicted[:, voxel], relative, rtol=0, atol=1e-5 * max(1e-6, np.abs(relative).max())
            )


def test_search_equals_himalaya():
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.scoring import r2_score

    X, y = problem(90, 150)
    splits = ridge.inner_splits(90, np.arange(90), 6, 3)
    model = KernelRidgeCV(
        ALPHAS, kernel="precomputed", cv=splits, fit_intercept=True, solver_params={"score_func": r2_score}
    ).fit((X @ X.T).astype(np.float64), y.astype(np.float64))
    scores = inner_scores(X @ X.T, y, np.arange(90), splits, ALPHAS)[0]
    chosen = ridge.choose(scores)
    best = np.take_along_axis(scores, chosen[None], axis=0)[0]
    np.testing.assert_allclose(best, model.cv_scores_, rtol=0, atol=1e-5)
    ordered = np.sort(scores, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.6
    np.testing.assert_allclose(np.array(ALPHAS)[chosen][clear], model.best_alphas_[clear], rtol=1e-6)


def same_scores(whole, parts, tolerance):
    """Equal to a tolerance, but where rounding decides between penalties that tie."""
    for one, other in zip(whole, parts, strict=True):
        same = one.alpha == other.alpha
        assert same.mean() > 0.9
        np.testing.assert_allclose(one.r[same], other.r[same], rtol=0, atol=tolerance)
        np.testing.assert_allclose(one.r, other.r, rtol=0, atol=2e-5)
        np.testing.assert_allclose(one.inner_score, other.inner_score, rtol=0, atol=2 * tolerance)
        np.testing.assert_allclose(one.timecourse, other.timecourse, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7])
def test_results_do_not_depend_on_blocks(width):
    X, y = problem()
    _, change = removed(X, 2)
    train, test = np.arange(60), np.arange(65, 80)
    whole = fit(X @ X.T, y, train, test, ALPHAS, 5, 2, [change])
    parts = fit(X @ X.T, y, train, test, ALPHAS, 5, 2, [change], backend.Numpy(width=width))
    same_scores(whole, parts, 1e-6)


def test_threads_do_not_change_a_byte():
    X, y = problem(n_voxels=101)
    _, change = removed(X, 2)
    train, test = np.arange(60), np.arange(65, 80)
    one, three = (
        fit(X @ X.T, y, train, test, ALPHAS, 5, 2, [change], backend.Numpy(threads, width=16)) for threads in (1, 3)
    )
    for first, second in zip(one, three, strict=True):
        for key, values in vars(first).items():
            np.testing.assert_array_equal(values, vars(second)[key])


@pytest.mark.parametrize("way", ["left out", "decomposed"], indirect=True)
@pytest.mark.parametrize("width", [4096, 7])
def test_torch_equals_numpy(way, width):
    X, y = problem()
    changes = [removed(X, k)[1] for k in (1, 3)]
    train, test = np.arange(60), np.arange(65, 80)
    expected = fit(X @ X.T, y, train, test, ALPHAS, 5, 2, changes)
    run = backend.Torch("cpu", 2, width)
    same_scores(expected, fit(X @ X.T, y, train, test, ALPHAS, 5, 2, changes, run), 1e-5)


def test_a_subset_of_voxels():
    X, y = problem()
    train, test = np.arange(60), np.arange(65, 80)
    some = np.array([3, 4, 11])
    broken = y.copy()
    broken[:, 0] = np.nan
    (whole,) = fit(X @ X.T, y[:, some], train, test, ALPHAS, 5, 2)
    (part,) = fit(X @ X.T, broken, train, test, ALPHAS, 5, 2, voxels=some)
    np.testing.assert_array_equal(whole.r, part.r)


def test_penalties_that_are_combinations_of_others():
    """Leaving them out of the products changes no score by more than float32 does."""
    X, y = problem(200, 300)
    changes = [removed(X, 1)[1]]
    train, test = np.arange(160), np.arange(165, 200)
    kept, weights = hat_matrices.skeleton(10, 1e5, ALPHAS)
    assert len(kept) < len(ALPHAS)
    s = np.geomspace(10, 1e5, 37)[:, None]
    np.testing.assert_allclose(
        s / (s + np.array(ALPHAS)), s / (s + np.array(ALPHAS)[kept]) @ weights.T, rtol=0, atol=1.1e-7
    )
    assert np.abs(weights).sum(axis=1).max() < 100
    less, all_of_them = (
        fit(X @ X.T, y, train, test, ALPHAS, 5, 2, changes, tolerance=tolerance)
        for tolerance in (hat_matrices.TOLERANCE, 0)
    )
    same_scores(less, all_of_them, 2e-6)


def test_a_fold_that_cannot_be_told_from_the_penalty_is_decomposed():
    # 60 rows, 50 features: 40 rows are left, so that the block left out has 10 null directions for 20 rows.
    X, y = problem(60, 50)
    splits = ridge.inner_splits(60, np.arange(60), 3, 0)
    spectrum = hat_matrices.decompose(X @ X.T, np.arange(60), np.arange(2))
    nothing = hat_matrices.FormedUpdates.of(spectrum, [], spectrum.shrinkage(ALPHAS))
    operators = hat_matrices.residual_operators(spectrum, ALPHAS, nothing)
    assert hat_matrices.block_search(operators, slice(20, 40), slice(0, 20)) is None
    scores = inner_scores(X @ X.T, y, np.arange(60), splits, ALPHAS)[0]
    np.testing.assert_allclose(scores, reference_scores(X, y, splits, ALPHAS), rtol=1e-4, atol=1e-5)


def test_products_over_whole_rows_equal_an_inverse_of_the_kernel_of_the_rows_left(monkeypatch):
    """For the penalties kept, and for those that are combinations of them."""
    monkeypatch.setattr(hat_matrices, "LARGEST_TERM", 0)
    X, _ = problem(60, 90)
    kernel, train = X @ X.T, np.arange(5, 60)
    updates = [removed(X, 2)[1], removed(X, 3, seed=2)[1]]
    spectrum = hat_matrices.decompose(kernel, train, np.arange(2))
    formed = hat_matrices.FormedUpdates.of(spectrum, updates, spectrum.shrinkage(ALPHAS))
    operators = hat_matrices.residual_operators(spectrum, np.array(ALPHAS), formed)
    assert 0 < len(operators.kept) < len(ALPHAS)
    found = hat_matrices.block_search(operators, slice(10, 25), slice(2, 13)).direct
    # The rows after those left out come first.
    rest = np.r_[train[25:], train[:10]]
    columns = np.concatenate([update.factor[rest] for update in updates], axis=1)
    for alpha, part in zip(ALPHAS, np.split(found, len(ALPHAS)), strict=True):
        inverse = np.linalg.inv(kernel[np.ix_(rest, rest)] + alpha * np.eye(len(rest)))
        sums = inverse.sum(axis=0)
        expected = columns.T @ (inverse - np.outer(sums, sums) / sums.sum())
        np.testing.assert_allclose(part, expected, atol=1e-6 * np.abs(expected).max())


def test_a_voxel_constant_in_a_validation_block_counts_zero_there():
    X, y = problem(60, 90, 3)
    y[10:20, 1] = 0.7
    splits = ridge.inner_splits(60, np.arange(60), 6, 0)
    scores = inner_scores(X @ X.T, y, np.arange(60), splits, (1.0, 100.0))[0]
    # scikit-learn's r2_score also gives 0 for a constant block that is not predicted exactly.
    np.testing.assert_allclose(scores, reference_scores(X, y, splits, (1.0, 100.0)), rtol=0, atol=1e-5)
    others = [split for split in splits if split[1][0] != 10]
    expected = reference_scores(X, y, others, (1.0, 100.0))[:, 1] * 5 / 6
    np.testing.assert_allclose(scores[:, 1], expected, rtol=0, atol=1e-5)


def test_a_drifting_voxel_gains_nothing_from_a_held_out_block_mean():
    """On pure drift an intercept taken from all rows predicts each held-out mean; refitting it cannot."""
    rng = np.random.default_rng(3)
    n = 100
    X = rng.standard_normal((n, 5000))
    levels = rng.standard_normal((10, 50))
    y = np.repeat(levels, 10, axis=0) + 0.1 * rng.standard_normal((n, 50))
    y = (y - y.mean(axis=0)).astype(np.float32)
    splits = ridge.inner_splits(n, np.arange(n), 10, 0)
    scores = inner_scores(X @ X.T, y, np.arange(n), splits, ALPHAS)[0]
    assert scores.max() < 0
    means = []
    for train, held in splits:
        choice = np.full((1, 50), len(ALPHAS) - 5)
        relative = predict(X @ X.T, y, train, held, ALPHAS, choice)[0]
        means.append((relative.mean(axis=0), y[held].mean(axis=0)))
    predicted, true = (np.concatenate(part) for part in zip(*means, strict=True))
    assert abs(np.corrcoef(predicted, true)[0, 1]) < 0.2


def test_ties_go_to_the_largest_penalty():
    scores = np.array([[0.5, 0.1, 0.0], [0.5 - 1e-7, 0.3, 0.0], [0.2, 0.3 - 1e-3, 0.0]])
    assert ridge.choose(scores).tolist() == [1, 1, 2]


def test_constant():
    columns = np.array([[1.0, 0, 1e6, 5, 0], [1.0, 0, 1e6 + 0.1, 5.1, 1e-30]])
    assert constant(columns).tolist() == [True, True, True, False, False]


def test_scorable_voxels():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((20, 6))
    y[3, 0] = np.nan
    y[4, 1] = np.inf
    y[:, 2] = 4.2
    y[:10, 3] = 1  # constant in the first fold's test rows
    y[10:, 4] = 1  # constant in the first fold's training rows
    splits = [(np.arange(10, 20), np.arange(10)), (np.arange(10), np.arange(10, 20))]
    with np.errstate(all="raise"):
        assert ridge.scorable(y, splits).tolist() == [False] * 5 + [True]


def test_standard_scores():
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((15, 3)) * [1, 1e-8, 0] + [0, 0, 7]
    scores = ridge.standard_scores(columns)
    from scipy.stats import zscore

    np.testing.assert_allclose(scores[:, :2], zscore(columns[:, :2]), rtol=1e-10)
    assert not scores[:, 2].any()


def test_no_features_score_nothing():
    _, y = problem(40, 5, 4)
    (scores,) = fit(np.zeros((40, 40)), y, np.arange(30), np.arange(32, 40), ALPHAS, 5, 0)
    assert not scores.r.any()
    assert not scores.timecourse.any()
    assert (scores.alpha == ALPHAS[-1]).all()


def test_penalties_may_come_in_any_order():
    X, y = problem()
    train, test = np.arange(60), np.arange(65, 80)
    (rising,) = fit(X @ X.T, y, train, test, ALPHAS, 5, 2)
    (falling,) = fit(X @ X.T, y, train, test, ALPHAS[::-1], 5, 2)
    np.testing.assert_array_equal(rising.alpha, falling.alpha)
    np.testing.assert_array_equal(rising.r, falling.r)


def test_too_many_inner_folds():
    with pytest.raises(InputError, match="fewer folds"):
        ridge.inner_splits(12, np.arange(12), 8, 0)
    with pytest.raises(InputError, match="gap of 9"):
        ridge.inner_splits(12, np.arange(12), 2, 9)


@settings(max_examples=40)
@given(
    n=st.integers(24, 60),
    p=st.integers(1, 90),
    k=st.integers(1, 4),
    gap=st.integers(0, 2),
    n_constant=st.integers(0, 3),
    exponent=st.integers(-6, 10),
    seed=st.integers(0, 2**32 - 1),
)
# 14 rows left for 12 features and hardly a penalty: the terms of a change's update cancel.
@example(n=24, p=12, k=1, gap=2, n_constant=0, exponent=-5, seed=2)
@example(n=50, p=44, k=1, gap=0, n_constant=1, exponent=-6, seed=0)
@example(n=52, p=41, k=3, gap=0, n_constant=1, exponent=-6, seed=318)
def test_random_problems_equal_scikit_learn(n, p, k, gap, n_constant, exponent, seed):
    X, y = problem(n, p, 4, seed)
    X[:, :n_constant] = 3.0
    # As many directions as features at most, as for any real removal.
    changed, change = removed(X, min(k, p), seed)
    splits = ridge.inner_splits(n, np.arange(n), 3, gap)
    alphas = (10.0**exponent,)
    scores = inner_scores(X @ X.T, y, np.arange(n), splits, alphas, [change])
    for features, found in zip((X, changed), scores, strict=True):
        reference = reference_scores(features, y, splits, alphas)
        np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-4)


@given(n=st.integers(0, 40_000), size=st.integers(1, 5_000))
def test_tiles_cover_all_voxels_once_and_no_thread_waits_for_a_narrow_one(n, size):
    tiles = ridge.tiles(n, size)
    widths = [tile.stop - tile.start for tile in tiles]
    assert np.concatenate([np.arange(tile.start, tile.stop) for tile in tiles] or [[]]).tolist() == [*range(n)]
    assert not widths or (min(widths) >= 1 and max(widths) <= size)
    if n >= 16 * 16 and size >= 16:
        assert max(widths) - min(widths) < 2 * 16
    if len(tiles) > 4 and n >= 64 * len(tiles):
        assert len(tiles) % 4 == 0
