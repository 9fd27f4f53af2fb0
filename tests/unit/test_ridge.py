"""The solver on arrays, against scikit-learn and himalaya."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynalign import folds, ridge
from dynalign.files import InputError

ALPHAS = tuple(10.0**k for k in range(-6, 11))


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
    """X without what a regression on k label columns predicts, and the same as a Change."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (len(X), k)).astype(float)
    theta = rng.standard_normal((k, X.shape[1])) / 2
    basis, triangle = np.linalg.qr(theta.T)
    before = X @ basis
    return X - codes @ theta, ridge.Change(before=before, after=before - codes @ triangle.T)


@pytest.mark.parametrize(("n", "p"), [(80, 120), (80, 20)], ids=["n<p", "n>p"])
@pytest.mark.parametrize("gap", [0, 3])
def test_inner_scores_equal_scikit_learn(n, p, gap):
    X, y = problem(n, p)
    within = folds.training_rows(n, np.arange(30, 45), gap)
    splits = ridge.inner_splits(n, within, 6, gap)
    scores = ridge.inner_scores(X @ X.T, y, splits, ALPHAS)[0]
    np.testing.assert_allclose(scores, reference_scores(X, y, splits, ALPHAS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "p"), [(80, 120), (80, 20), (80, 6)], ids=["n<p", "n>p", "n>>p"])
def test_changes_equal_scikit_learn_on_the_changed_features(n, p):
    X, y = problem(n, p)
    features, changes = zip(*(removed(X, k, seed=k) for k in (1, 2, 5)), strict=True)
    splits = ridge.inner_splits(n, np.arange(n), 5, 2)
    scores = ridge.inner_scores(X @ X.T, y, splits, ALPHAS, changes)
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
    found = list(ridge.predictions(X @ X.T, y, train, test, ALPHAS, choice, [change]))
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
        ALPHAS,
        kernel="precomputed",
        cv=splits,
        fit_intercept=True,
        solver_params={"score_func": r2_score},
    ).fit((X @ X.T).astype(np.float64), y.astype(np.float64))
    scores = ridge.inner_scores(X @ X.T, y, splits, ALPHAS)[0]
    chosen = ridge.choose(scores)
    best = np.take_along_axis(scores, chosen[None], axis=0)[0]
    np.testing.assert_allclose(best, model.cv_scores_, rtol=0, atol=1e-5)
    ordered = np.sort(scores, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.6
    np.testing.assert_allclose(np.array(ALPHAS)[chosen][clear], model.best_alphas_[clear], rtol=1e-6)


@pytest.mark.parametrize("block_voxels", [1, 7, 30])
def test_results_do_not_depend_on_blocks(block_voxels):
    X, y = problem()
    _, change = removed(X, 2)
    train, test = np.arange(60), np.arange(65, 80)
    whole = ridge.fit_fold(X @ X.T, y, train, test, ALPHAS, 5, 2, [change], 4096)
    parts = ridge.fit_fold(X @ X.T, y, train, test, ALPHAS, 5, 2, [change], block_voxels)
    for one, other in zip(whole, parts, strict=True):
        # Rounding in the products depends on the block's width and may decide between penalties that tie.
        same = one.alpha == other.alpha
        assert same.mean() > 0.9
        np.testing.assert_allclose(one.r[same], other.r[same], rtol=0, atol=1e-6)
        np.testing.assert_allclose(one.r, other.r, rtol=0, atol=2e-5)
        np.testing.assert_allclose(one.inner_score, other.inner_score, rtol=0, atol=2e-6)
        np.testing.assert_allclose(one.timecourse, other.timecourse, rtol=0, atol=1e-5)


def test_many_voxels_and_few_voxels_agree():
    # The order of the matrix products depends on their sizes: 2 penalties × 6 held-out rows, 5 or 500 voxels.
    X, y = problem(n=30, n_voxels=500)
    _, change = removed(X, 1)
    splits = ridge.inner_splits(30, np.arange(30), 5, 0)
    many = ridge.inner_scores(X @ X.T, y, splits, (1.0, 100.0), [change])
    few = ridge.inner_scores(X @ X.T, y[:, :5], splits, (1.0, 100.0), [change])
    np.testing.assert_allclose(many[:, :, :5], few, rtol=0, atol=1e-5)


def test_a_voxel_constant_in_a_validation_block_counts_zero_there():
    X, y = problem(60, 90, 3)
    y[10:20, 1] = 0.7
    splits = ridge.inner_splits(60, np.arange(60), 6, 0)
    scores = ridge.inner_scores(X @ X.T, y, splits, (1.0, 100.0))[0]
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
    scores = ridge.inner_scores(X @ X.T, y, splits, ALPHAS)[0]
    assert scores.max() < 0
    means = []
    for train, held in splits:
        choice = np.full((1, 50), len(ALPHAS) - 5)
        relative = next(ridge.predictions(X @ X.T, y, train, held, ALPHAS, choice))
        means.append((relative.mean(axis=0), y[held].mean(axis=0)))
    predicted, true = (np.concatenate(part) for part in zip(*means, strict=True))
    assert abs(np.corrcoef(predicted, true)[0, 1]) < 0.2


def test_ties_go_to_the_largest_penalty():
    scores = np.array([[0.5, 0.1, 0.0], [0.5 - 1e-7, 0.3, 0.0], [0.2, 0.3 - 1e-3, 0.0]])
    assert ridge.choose(scores).tolist() == [1, 1, 2]


def test_constant():
    columns = np.array([[1.0, 0, 1e6, 5, 0], [1.0, 0, 1e6 + 0.1, 5.1, 1e-30]])
    assert ridge.constant(columns).tolist() == [True, True, True, False, False]


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
    (scores,) = ridge.fit_fold(np.zeros((40, 40)), y, np.arange(30), np.arange(32, 40), ALPHAS, 5, 0)
    assert not scores.r.any()
    assert not scores.timecourse.any()
    assert (scores.alpha == ALPHAS[-1]).all()


def test_penalties_may_come_in_any_order():
    X, y = problem()
    train, test = np.arange(60), np.arange(65, 80)
    (rising,) = ridge.fit_fold(X @ X.T, y, train, test, ALPHAS, 5, 2)
    (falling,) = ridge.fit_fold(X @ X.T, y, train, test, ALPHAS[::-1], 5, 2)
    np.testing.assert_array_equal(rising.alpha, falling.alpha)
    np.testing.assert_array_equal(rising.r, falling.r)


def test_too_many_inner_folds():
    with pytest.raises(InputError, match="fewer folds"):
        ridge.inner_splits(12, np.arange(12), 8, 0)
    with pytest.raises(InputError, match="gap of 9"):
        ridge.inner_splits(12, np.arange(12), 2, 9)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(24, 60),
    p=st.integers(1, 90),
    k=st.integers(1, 4),
    gap=st.integers(0, 2),
    n_constant=st.integers(0, 3),
    exponent=st.integers(-6, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_problems_equal_scikit_learn(n, p, k, gap, n_constant, exponent, seed):
    X, y = problem(n, p, 4, seed)
    X[:, :n_constant] = 3.0
    # As many directions as features at most, as for any real removal.
    changed, change = removed(X, min(k, p), seed)
    splits = ridge.inner_splits(n, np.arange(n), 3, gap)
    alphas = (10.0**exponent,)
    scores = ridge.inner_scores(X @ X.T, y, splits, alphas, [change])
    for features, found in zip((X, changed), scores, strict=True):
        reference = reference_scores(features, y, splits, alphas)
        np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-4)
