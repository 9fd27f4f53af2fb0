"""The encoding step, against a naive scikit-learn loop, planted truth and properties that must hold."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from tests.helpers import flags

from dynalign import folds
from dynalign.config.encoding import Encoding
from dynalign.encoding import backend, encode, joint
from dynalign.encoding.arms import make_design, outer_splits
from dynalign.encoding.delays import delayed, word_means
from dynalign.encoding.scores import ORIGINAL, read_partition, read_scores
from dynalign.io import arrays
from dynalign.io.errors import InputError
from dynalign.models.layers import read_layer
from dynalign.removal import erasers, leace, ridge
from dynalign.tables import reader, writer


@dataclass
class Story:
    """A small stimulus: word vectors in runs of TRs, some TRs without words."""

    vectors: np.ndarray
    word_trs: np.ndarray
    runs: np.ndarray
    kept: np.ndarray

    def design(self, delay):
        return make_design(self.word_trs, self.runs, self.kept, delay)


def make_story(hidden=20, lengths=(70, 60, 50), trim=(5, 3), words_per_tr=3, seed=0):
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    kept = np.zeros(len(runs), dtype=bool)
    for run in np.unique(runs):
        rows = np.flatnonzero(runs == run)
        kept[rows[trim[0] : len(rows) - trim[1]]] = True
    word_trs = np.sort(rng.integers(0, len(runs), words_per_tr * len(runs)))
    silent = rng.choice(len(runs), len(runs) // 10, replace=False)
    word_trs = word_trs[~np.isin(word_trs, silent)]
    vectors = rng.standard_normal((len(word_trs), hidden)) * rng.uniform(0.5, 2, hidden)
    return Story((vectors + 4 * rng.standard_normal(hidden)).astype(np.float32), word_trs, runs, kept)


def averages(story, vectors):
    """Word means per TR, one TR at a time; None where there are no words."""
    return [
        vectors[story.word_trs == tr].mean(axis=0) if (story.word_trs == tr).any() else None
        for tr in range(len(story.runs))
    ]


def response(story, delay, weights, noise=0.0, seed=0, vectors=None):
    """Responses of the kept TRs that follow the words `delay` TRs earlier within the run."""
    vectors = story.vectors if vectors is None else vectors
    means = averages(story, vectors - vectors.mean(axis=0))
    rows = []
    for t in np.flatnonzero(story.kept):
        s = t - delay
        inside = 0 <= s < len(means) and story.runs[s] == story.runs[t] and means[s] is not None
        rows.append(means[s] @ weights if inside else np.zeros(weights.shape[1]))
    signal = np.array(rows)
    signal /= signal.std(axis=0)
    return signal + noise * np.random.default_rng(seed).standard_normal(signal.shape)


def naive_scores(story, vectors, original, y, options):
    """One scikit-learn fit per fold, penalty and voxel: r, alpha, whether alpha is clear (folds × voxels)."""
    from scipy.stats import pearsonr
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    rows = np.flatnonzero(story.kept)
    n = len(rows)
    if options.folds == "runs":
        blocks = [np.flatnonzero(story.runs[rows] == run) for run in np.unique(story.runs)]
    else:
        blocks = folds.contiguous(n, options.folds)
    r, alpha, clear = (np.zeros((len(blocks), y.shape[1])) for _ in range(3))
    for number, test in enumerate(blocks):
        train = np.array([i for i in range(n) if i < test[0] - options.gap or i > test[-1] + options.gap])
        words, reference = vectors, original
        if options.pca_components:
            inside = vectors[np.isin(story.word_trs, rows[train])]
            axes = np.linalg.svd(inside - inside.mean(axis=0))[2][: options.pca_components].T
            words, reference = vectors @ axes, original @ axes
        means, scale_means = averages(story, words), averages(story, reference)

        def features(which, statistics, means=means, scale_means=scale_means):
            used = [tr for tr in rows[statistics] if means[tr] is not None]
            centre = np.mean([means[tr] for tr in used], axis=0)
            scale = np.std([scale_means[tr] for tr in used], axis=0)
            table = []
            for t in rows[which]:
                row = []
                for lag in options.delays:
                    s = t - lag
                    inside = 0 <= s < len(means) and story.runs[s] == story.runs[t] and means[s] is not None
                    row.append((means[s] - centre) / scale if inside else np.zeros(len(centre)))
                table.append(np.concatenate(row))
            return np.array(table)

        X = features(np.arange(n), train)
        inner = np.zeros((len(options.alphas), y.shape[1]))
        for block in np.split(train, np.round(np.linspace(0, len(train), options.inner_folds + 1)).astype(int))[1:-1]:
            fit = np.array([i for i in train if i < block[0] - options.gap or i > block[-1] + options.gap])
            for row, value in enumerate(options.alphas):
                model = Ridge(value).fit(X[fit], y[fit])
                inner[row] += r2_score(y[block], model.predict(X[block]), multioutput="raw_values")
        inner /= options.inner_folds
        X_test = features(test, test) if options.test_scaling == "own" else X[test]
        ordered = np.sort(inner, axis=0)
        clear[number] = ordered[-1] - ordered[-2] > 1e-4 if len(inner) > 1 else True
        for voxel in range(y.shape[1]):
            alpha[number, voxel] = options.alphas[int(inner[:, voxel].argmax())]
            model = Ridge(alpha[number, voxel]).fit(X[train], y[train, voxel])
            r[number, voxel] = pearsonr(model.predict(X_test), y[test, voxel])[0]
    return r, alpha, clear.astype(bool)


def label_arms(story, seed=0):
    """Removals fitted by the removal module: one column, one-hot columns, LEACE."""
    rng = np.random.default_rng(seed)
    n = len(story.vectors)
    two, five = rng.integers(0, 2, n), rng.integers(0, 5, n)
    story.vectors = (
        story.vectors
        + np.outer(two, rng.standard_normal(story.vectors.shape[1]))
        + rng.standard_normal((5, story.vectors.shape[1]))[five]
    ).astype(np.float32)
    alphas = (0.1, 10.0)
    fitted = {
        ("ridge", "two"): (ridge.fit_ridge(story.vectors, two, alphas, 4, "ordinal"), two),
        ("ridge", "five"): (ridge.fit_ridge(story.vectors, five, alphas, 4, "onehot"), five),
        ("leace", "two"): (leace.fit_leace(story.vectors, two), two),
        ("leace", "five"): (leace.fit_leace(story.vectors, five), five),
    }
    return {name: erasers.low_rank(found, story.vectors, codes) for name, (found, codes) in fitted.items()}


def mixed_responses(story, n_voxels=16, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((story.vectors.shape[1], n_voxels))
    noise = np.linspace(0.3, 4, n_voxels)
    return response(story, 2, weights, noise, seed).astype(np.float32)


SMALL = {"alphas": (1e-3, 1.0, 30.0, 1e3, 1e5), "folds": 4, "inner_folds": 4, "gap": 3, "delays": (1, 2, 3)}
REMOVAL = {"methods": ["leace-crossfit", "ridge-in-sample"], "permutations": 2}


@pytest.mark.parametrize(
    ("hidden", "changed"),
    [
        (60, {}),
        (4, {}),
        (12, {"folds": "runs"}),
        (12, {"delays": (-2, -1), "gap": 0}),
        (12, {"pca_components": 3}),
        (12, {"test_scaling": "own"}),
        (12, {"pca_components": 5, "test_scaling": "own", "folds": "runs"}),
    ],
    ids=["n<p", "n>p", "runs", "negative delays", "pca", "own scaling", "pca, own scaling"],
)
def test_every_arm_equals_a_naive_loop(hidden, changed):
    story = make_story(hidden)
    arms = label_arms(story)
    arms = {name: arms[name] for name in (("ridge", "five"), ("leace", "two"))}
    y = mixed_responses(story, 8)
    options = Encoding(**{**SMALL, **changed})
    found = encode.encode(story.vectors, arms, story.design(options.delays), y, options)
    words = story.vectors.astype(float)
    variants = {ORIGINAL: words, **{name: words - A @ B - b for name, (A, B, b) in arms.items()}}
    assert list(found) == list(variants)
    n_clear = 0
    for name, vectors in variants.items():
        r, alpha, clear = naive_scores(story, vectors, words, y.astype(float), options)
        np.testing.assert_array_equal(found[name].alpha[clear], alpha[clear].astype(np.float32))
        same = found[name].alpha == alpha.astype(np.float32)
        np.testing.assert_allclose(found[name].r[same], r[same], rtol=0, atol=1e-5)
        n_clear += clear.mean()
    assert n_clear / len(variants) > 0.5


@pytest.mark.parametrize("hidden", [60, 6], ids=["n<p", "n>p"])
def test_low_rank_arms_equal_their_own_features(hidden):
    story = make_story(hidden)
    arms = label_arms(story)
    y = mixed_responses(story, 40)
    options = Encoding(**{**SMALL, "alphas": Encoding().alphas})
    design = story.design(options.delays)
    assert not np.isin(design.source, story.word_trs).all()  # some rows look at TRs without words
    low_rank = encode.encode(story.vectors, arms, design, y, options)
    direct = encode.encode(story.vectors, arms, design, y, options, direct=True)
    for name in low_rank:
        same = low_rank[name].alpha == direct[name].alpha
        assert same.mean() > 0.97
        np.testing.assert_allclose(low_rank[name].r, direct[name].r, rtol=0, atol=1e-4)
        np.testing.assert_allclose(low_rank[name].inner_score, direct[name].inner_score, rtol=0, atol=1e-5)
        np.testing.assert_allclose(low_rank[name].timecourse, direct[name].timecourse, rtol=0, atol=1e-4)
    # The tolerances can fail: arms differ from the original by far more.
    assert np.abs(low_rank["ridge", "five"].r - low_rank[ORIGINAL].r).max() > 1e-2


def test_an_arm_that_removes_nothing_is_the_original():
    story = make_story()
    n, hidden = story.vectors.shape
    arms = {
        ("ridge", "zero"): (np.ones((n, 1)), np.zeros((1, hidden)), np.zeros(hidden)),
        ("ridge", "constant"): (np.ones((n, 1)), np.ones((1, hidden)), np.full(hidden, 7.0)),
    }
    options = Encoding(**SMALL)
    found = encode.encode(story.vectors, arms, story.design(options.delays), mixed_responses(story), options)
    for name in arms:
        np.testing.assert_allclose(found[name].r, found[ORIGINAL].r, rtol=0, atol=1e-5)


def test_time_course_averages_to_the_correlation():
    story = make_story()
    y = mixed_responses(story)
    y[4, 3] = np.nan
    options = Encoding(**SMALL)
    found = encode.encode(story.vectors, label_arms(story), story.design(options.delays), y, options)
    for scores in found.values():
        assert scores.r.shape == (4, 16)
        assert scores.timecourse.shape == scores.fold.shape == (len(y),)
        for fold in range(4):
            course = scores.timecourse[scores.fold == fold]
            assert course.mean() == pytest.approx(np.nanmean(scores.r[fold], dtype=float), abs=1e-7)


def test_blocks_are_each_voxels_own_time_course():
    """A voxel's c(t) is that of an encoding of it alone."""
    story, options = make_story(), Encoding(folds=3, inner_folds=3, gap=2, alphas=(1.0, 100.0), delays=(1, 2))
    y = response(story, 1, np.random.default_rng(3).standard_normal((20, 5)), noise=2.0)
    y[:, 2] = 1
    design = story.design(options.delays)
    joint = encode.encode(story.vectors, {}, design, y, options, block=15)[ORIGINAL]
    assert np.isnan(joint.blocks[:, 2]).all()
    for voxel in (0, 1, 3, 4):
        course = encode.encode(story.vectors, {}, design, y[:, [voxel]], options)[ORIGINAL].timecourse
        parts = []
        for fold in range(3):
            rows = np.flatnonzero(joint.fold == fold)
            cuts = np.round(np.linspace(0, len(rows), round(len(rows) / 15) + 1)).astype(int)[1:-1]
            parts += [course[part].mean() for part in np.split(rows, cuts)]
        np.testing.assert_allclose(joint.blocks[:, voxel], parts, atol=1e-3)
        assert len(set(np.round(parts, 2))) > 3


def test_a_planted_delay_is_found_and_no_other():
    story = make_story(hidden=8, lengths=(150, 150))
    y = response(story, 3, np.random.default_rng(1).standard_normal((8, 30)), noise=0.5)
    scores = {}
    for delays in ((3,), (2, 3, 4), (0, 1, 2), (4, 5), (-3,)):
        options = Encoding(**{**SMALL, "delays": delays})
        scores[delays] = encode.encode(story.vectors, {}, story.design(delays), y, options)[ORIGINAL].r.mean()
    assert scores[(3,)] > 0.8
    assert scores[(2, 3, 4)] > 0.8
    for delays in ((0, 1, 2), (4, 5), (-3,)):
        assert abs(scores[delays]) < 0.1
    # Words moved by 3 TRs: delay 3 now reads words that the response does not follow.
    moved = Story(story.vectors, story.word_trs + 3, story.runs, story.kept)
    inside = moved.word_trs < len(moved.runs)
    moved = Story(moved.vectors[inside], moved.word_trs[inside], moved.runs, moved.kept)
    options = Encoding(**{**SMALL, "delays": (3,)})
    assert abs(encode.encode(moved.vectors, {}, moved.design((3,)), y, options)[ORIGINAL].r.mean()) < 0.1


def test_responses_before_the_words_need_negative_delays():
    story = make_story(hidden=8, lengths=(150, 150))
    y = response(story, -2, np.random.default_rng(1).standard_normal((8, 20)), noise=0.5)
    for delays, found in (((-4, -3, -2, -1), True), ((1, 2, 3, 4), False)):
        options = Encoding(**{**SMALL, "delays": delays})
        r = encode.encode(story.vectors, {}, story.design(delays), y, options)[ORIGINAL].r.mean()
        assert r > 0.8 if found else abs(r) < 0.1


@pytest.mark.parametrize("kind", ["white noise", "drift"])
def test_voxels_unrelated_to_the_words_score_nothing(kind):
    story = make_story(hidden=40, lengths=(150, 150))
    rng = np.random.default_rng(2)
    y = rng.standard_normal((int(story.kept.sum()), 400))
    if kind == "drift":
        y = np.cumsum(y, axis=0)
    options = Encoding(**SMALL)
    scores = encode.encode(story.vectors, {}, story.design(options.delays), y, options)[ORIGINAL]
    # 400 independent voxels and four folds of about 70 rows: a standard error of about 0.003 for white noise.
    # Drifts have few degrees of freedom each and share the features, so theirs is wider.
    assert abs(scores.r.mean()) < (0.015 if kind == "white noise" else 0.05)
    assert scores.inner_score.mean() < 0.02


def test_removing_the_property_that_drives_a_voxel_kills_its_score():
    story = make_story(hidden=15, lengths=(200, 200))
    rng = np.random.default_rng(4)
    codes = {"driver": rng.integers(0, 2, len(story.vectors)), "other": rng.integers(0, 2, len(story.vectors))}
    for values in codes.values():
        story.vectors += np.outer(values, 2 * rng.standard_normal(15)).astype(np.float32)
    y = response(story, 2, np.ones((1, 25)), 0.7, vectors=codes["driver"][:, None].astype(float))
    arms = {}
    for name, values in codes.items():
        fitted = ridge.fit_ridge(story.vectors, values, (1e-3,), 4)
        arms["ridge", name] = erasers.low_rank(fitted, story.vectors, values)
        arms["leace", name] = erasers.low_rank(leace.fit_leace(story.vectors, values), story.vectors, values)
    options = Encoding(**SMALL)
    found = encode.encode(story.vectors, arms, story.design(options.delays), y, options)
    mean = {name: scores.r.mean() for name, scores in found.items()}
    assert mean[ORIGINAL] > 0.6
    for method in ("ridge", "leace"):
        assert abs(mean[method, "driver"]) < 0.15
        assert mean[method, "other"] > mean[ORIGINAL] - 0.05


def test_removal_is_not_undone_by_scaling():
    """An arm that shrinks one dimension to a thousandth keeps it that small against the others."""
    story = make_story(hidden=10)
    hidden = story.vectors.shape[1]
    A = story.vectors[:, :1].astype(float) * 0.999
    B = np.eye(1, hidden)
    y = response(story, 2, np.eye(hidden)[:, :1] @ np.ones((1, 5)), 0.2)
    options = Encoding(**{**SMALL, "alphas": (100.0,)})
    for direct in (True, False):
        found = encode.encode(
            story.vectors,
            {("ridge", "first"): (A, B, np.zeros(hidden))},
            story.design(options.delays),
            y,
            options,
            direct=direct,
        )
        assert found[ORIGINAL].r.mean() > 0.8
        assert found["ridge", "first"].r.mean() < 0.3


def test_invalid_voxels_are_nan_and_leave_the_others_alone():
    story = make_story()
    y = mixed_responses(story, 12)
    options = Encoding(**SMALL)
    design, arms = story.design(options.delays), label_arms(story)
    whole = encode.encode(story.vectors, arms, design, y, options)
    broken = y.copy()
    broken[7, 0] = np.nan
    broken[9, 5] = -np.inf
    broken[:, 11] = 3.0
    partly = encode.encode(story.vectors, arms, design, broken, options)
    good = np.setdiff1d(np.arange(12), [0, 5, 11])
    for name in whole:
        for key in ("r", "alpha", "inner_score"):
            one, other = getattr(whole[name], key), getattr(partly[name], key)
            assert np.isnan(other[:, [0, 5, 11]]).all()
            np.testing.assert_allclose(one[:, good], other[:, good], rtol=0, atol=2e-6)
        assert np.isfinite(partly[name].timecourse).all()


def test_constant_dimensions_change_nothing():
    story = make_story(hidden=10)
    y = mixed_responses(story)
    options = Encoding(**SMALL)
    design = story.design(options.delays)
    padded = np.concatenate([story.vectors, np.full((len(story.vectors), 2), 1e4, np.float32)], axis=1)
    one = encode.encode(story.vectors, {}, design, y, options)[ORIGINAL]
    other = encode.encode(padded, {}, design, y, options)[ORIGINAL]
    np.testing.assert_allclose(one.r, other.r, rtol=0, atol=1e-6)


def test_scale_of_words_and_responses_does_not_matter():
    story = make_story(hidden=10)
    y = mixed_responses(story).astype(float)
    options = Encoding(**SMALL)
    design = story.design(options.delays)
    one = encode.encode(story.vectors, {}, design, y, options)[ORIGINAL]
    factors = np.random.default_rng(0).uniform(0.01, 100, 10)
    other = encode.encode(story.vectors * factors - 3, {}, design, 1e-3 * y + 500, options)[ORIGINAL]
    np.testing.assert_array_equal(one.alpha, other.alpha)
    np.testing.assert_allclose(one.r, other.r, rtol=0, atol=1e-5)


@settings(max_examples=25)
@given(
    hidden=st.integers(1, 50),
    lengths=st.lists(st.integers(4, 60), min_size=1, max_size=3).filter(lambda runs: sum(runs) >= 70),
    delays=st.lists(st.integers(-6, 8), min_size=1, max_size=4, unique=True),
    gap=st.integers(0, 2),
    n_classes=st.integers(2, 5),
    n_constant=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_problems(hidden, lengths, delays, gap, n_classes, n_constant, seed):
    """Low-rank and direct ways agree, whatever the sizes (runs may be shorter than the largest delay)."""
    story = make_story(hidden, lengths, (1, 1), 2, seed)
    rng = np.random.default_rng(seed)
    story.vectors[:, :n_constant] = 2.5
    T = np.eye(n_classes)[rng.integers(0, n_classes, len(story.vectors))]
    theta = rng.standard_normal((n_classes, hidden))
    theta[:, :n_constant] = 0
    y = rng.standard_normal((int(story.kept.sum()), 6)).astype(np.float32)
    y[:, 1] = 5
    y[3, 2] = np.nan
    options = Encoding(delays=delays, gap=gap, folds=3, inner_folds=3, alphas=(1e-3, 10.0, 1e4))
    arms = {("ridge", "random"): (T, theta, theta.mean(axis=0))}
    design = story.design(options.delays)
    low_rank = encode.encode(story.vectors, arms, design, y, options)
    direct = encode.encode(story.vectors, arms, design, y, options, direct=True)
    for name in direct:
        one, other = low_rank[name], direct[name]
        assert np.isnan(one.r[:, [1, 2]]).all()
        assert np.isfinite(one.r[:, [0, 3, 4, 5]]).all()
        assert (np.abs(one.r[:, [0, 3, 4, 5]]) <= 1 + 1e-6).all()
        np.testing.assert_allclose(one.inner_score, other.inner_score, rtol=1e-4, atol=1e-5)
        same = one.alpha == other.alpha
        np.testing.assert_allclose(one.r[same], other.r[same], rtol=0, atol=1e-4)


def test_outer_folds():
    runs = np.repeat([1, 2, 3], [10, 20, 15])
    splits = outer_splits(runs, "runs", 2)
    assert [(test[0], test[-1]) for _, test in splits] == [(0, 9), (10, 29), (30, 44)]
    assert splits[1][0].tolist() == [*range(8), *range(32, 45)]
    tests = np.concatenate([test for _, test in outer_splits(runs, 4, 2)])
    np.testing.assert_array_equal(tests, np.arange(45))


def test_a_fold_is_a_whole_story_however_many_runs_it_has():
    runs, stories = np.repeat([1, 2, 3, 4], [10, 20, 15, 12]), np.repeat(["b", "a", "b", "c"], [10, 20, 15, 12])
    splits = outer_splits(runs, "stories", 2, stories)
    assert [test.tolist() for _, test in splits] == [[*range(10), *range(30, 45)], [*range(10, 30)], [*range(45, 57)]]
    assert splits[0][0].tolist() == [*range(12, 28), *range(47, 57)]
    assert splits[1][0].tolist() == [*range(8), *range(32, 57)]
    with pytest.raises(InputError, match="'stories' needs two stories or more; there is one"):
        outer_splits(runs, "stories", 2, np.repeat("a", 57))
    with pytest.raises(InputError, match="'stories' needs two stories or more"):
        outer_splits(runs, "stories", 2)


def test_scores_of_stories_are_scikit_learns_and_stand_in_their_rows():
    """The first story has two runs, with another between."""
    story = make_story()
    stories = np.array(["b", "a", "b"])[story.runs - 1]
    design = make_design(story.word_trs, story.runs, story.kept, (1, 2), stories)
    options = Encoding(folds="stories", inner_folds=2, gap=3, delays=(1, 2), alphas=(30.0,))
    y = mixed_responses(story)
    space = joint.property_space((np.arange(len(story.word_trs)) % 3 > 0).astype(float), design)
    found = encode.encode(story.vectors, {}, design, y, options, spaces={"every": space}, ratios=(0.1, 1.0, 10.0))
    scores, partition = found["none", "original"], found["shares", "every"]
    assert scores.fold.tolist() == np.where(stories[story.kept] == "b", 0, 1).tolist()
    means, present = word_means(story.vectors, story.word_trs, len(story.runs))
    for number in (0, 1):
        test = np.flatnonzero(scores.fold == number)
        near = np.unique(np.concatenate([test + shift for shift in range(-3, 4)]))
        train = np.setdiff1d(np.arange(len(y)), near)
        used = design.trs[train][present[design.trs[train]]]
        z = np.where(present[:, None], (means - means[used].mean(axis=0)) / means[used].std(axis=0), 0)
        x = delayed(z, design.source)
        truth = (y - y[train].mean(axis=0)) / y[train].std(axis=0)
        predicted = Ridge(30.0).fit(x[train], truth[train]).predict(x[test])
        z_scored = [(part - part.mean(axis=0)) / part.std(axis=0) for part in (predicted, truth[test])]
        products = z_scored[0] * z_scored[1]
        np.testing.assert_allclose(scores.r[number], products.mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(scores.timecourse[test], products.mean(axis=1), atol=2e-4)
    by_fold = [partition.timecourse[:, scores.fold == number].mean(axis=1) for number in (0, 1)]
    np.testing.assert_allclose(np.mean(by_fold, axis=0), partition.share.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gap": 60}, "gap of 60"),
        ({"folds": 200}, "cannot be cut into 200 folds"),
        ({"folds": 100}, "test fold of one TR"),
        ({"inner_folds": 90}, "fewer folds"),
        ({"pca_components": 50}, "50 components"),
    ],
)
def test_options_that_the_data_cannot_satisfy(changed, message):
    story = make_story()
    options = Encoding(**{**SMALL, **changed})
    with pytest.raises(InputError, match=message):
        encode.encode(story.vectors, {}, story.design(options.delays), mixed_responses(story), options)


def test_bad_inputs():
    story = make_story()
    y = mixed_responses(story)
    options = Encoding(**SMALL)
    design = story.design(options.delays)
    with pytest.raises(InputError, match=r"155 rows.*156 TRs"):
        encode.encode(story.vectors, {}, design, y[:-1], options)
    with pytest.raises(InputError, match="one; give a number"):
        outer_splits(np.ones(30), "runs", 1)
    with pytest.raises(InputError, match="none of the 16 voxels"):
        encode.encode(story.vectors, {}, design, np.zeros_like(y), options)
    broken = story.vectors.copy()
    broken[2, 3] = np.nan
    with pytest.raises(InputError, match="word vector 2"):
        encode.encode(broken, {}, design, y, options)
    few = story.word_trs < 10
    sparse = make_design(story.word_trs[few], story.runs, story.kept, options.delays)
    with pytest.raises(InputError, match="have represented words"):
        encode.encode(story.vectors[few], {}, sparse, y, options)


@pytest.fixture
def study(tmp_path):
    """The files that the command reads, and its arguments."""
    import pandas as pd
    from safetensors.numpy import save_file

    story = make_story(hidden=12)
    arms = label_arms(story)
    rng = np.random.default_rng(0)
    n = len(story.vectors)
    represented = np.arange(7, n)
    codes = {"two": rng.integers(0, 2, n), "five": rng.integers(0, 5, n)}
    words = pd.DataFrame(
        {
            "word_index": np.arange(n),
            "word": "w",
            "sentence": np.arange(n) // 8,
            "run": story.runs[story.word_trs],
            "onset": 2.0 * story.word_trs + 0.5,
            "tr": story.word_trs,
            "dropped": 0,
        }
    )
    writer.write_table(words, tmp_path / "words.tsv")
    writer.write_table(words[["word_index", "word", "sentence", "tr", "run"]].assign(**codes), tmp_path / "labels.tsv")
    trs = {"tr": np.arange(len(story.runs)), "run": story.runs, "time": 2.0 * np.arange(len(story.runs))}
    writer.write_table(pd.DataFrame(trs | {"kept": story.kept.astype(int)}), tmp_path / "trs.tsv")
    vectors = story.vectors[represented]
    save_file(
        {"layer-1": vectors, "layer-2": vectors[::-1].copy(), "word_index": represented},
        tmp_path / "step-0.safetensors",
    )
    maps = {
        ("ridge", name): ridge.fit_ridge(vectors, values[represented], (1.0,), 4, "onehot")
        for name, values in codes.items()
    }
    erasers.write_erasers(tmp_path / "maps.npz", maps)
    y = mixed_responses(story)
    y[2, 5] = np.nan
    arrays.write_array(tmp_path / "F.npy", y)
    story.vectors, story.word_trs = vectors, story.word_trs[represented]
    arms = {name: erasers.low_rank(fitted, vectors, codes[name[1]][represented]) for name, fitted in maps.items()}
    arguments = {
        "--representation": "step-0.safetensors",
        "--labels": "labels.tsv",
        "--erasers": "maps.npz",
        "--words": "words.tsv",
        "--trs": "trs.tsv",
        "--responses": "F.npy",
        "--output-dir": "out",
    }
    arguments = {flag: str(tmp_path / name) for flag, name in arguments.items()}
    arguments |= {"--layers": "1", "--properties": ["two", "five"], "--options": json.dumps(SMALL)}
    arguments |= {"--removal-options": json.dumps(REMOVAL)}
    return story, arms, y, arguments


def command(arguments):
    encode.main(flags(**{key.removeprefix("--"): value for key, value in arguments.items()}))


def test_command(study, tmp_path):
    story, arms, y, arguments = study
    command(arguments)
    options = Encoding(**SMALL)
    arms = {(f"{method}-in-sample", name): arm for (method, name), arm in arms.items()}
    expected = encode.encode(story.vectors, arms, story.design(options.delays), y, options, direct=True)
    assert sorted(path.name for path in (tmp_path / "out/layer-1").iterdir()) == [
        f"{removal}.npz"
        for removal in (
            *(f"leace-crossfit{kind}.{name}" for kind in ("-control", "") for name in ("five", "two")),
            "none.original",
            *(f"ridge-in-sample.{name}" for name in ("five", "two")),
        )
    ]
    for (method, name), scores in expected.items():
        found = read_scores(tmp_path / "out/layer-1" / f"{method}.{name}.npz")
        assert found.r.dtype == found.alpha.dtype == found.inner_score.dtype == np.float32
        assert found.timecourse.dtype == np.float64
        assert found.fold.dtype == np.int16
        assert np.isnan(found.r[:, 5]).all()
        np.testing.assert_allclose(found.r, scores.r, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.timecourse, scores.timecourse, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(found.fold, scores.fold)


def nuisance(story, folder):
    """Words of five types, and a table of nuisance features, which is written."""
    import pandas as pd

    rng = np.random.default_rng(5)
    words = reader.read_table(folder / "words.tsv")
    words["word"] = rng.choice(["a", "the", "owl", "fox", "lamp"], len(words))
    writer.write_table(words, folder / "words.tsv")
    names = ["word_rate", "length", "log_frequency", "position_in_sentence", "position_in_run"]
    series = pd.DataFrame(rng.standard_normal((len(story.runs), 5)), columns=names)
    series = series.assign(tr=np.arange(len(series)), run=story.runs)
    writer.write_table(series, folder / "features.tsv")
    return words, series, rng


def test_command_sets_the_vectors_against_nuisance_features(study, tmp_path):
    """A table of TRs, word types and surprisal, laid out by hand; words without a vector count in none of them."""
    import pandas as pd

    story, _, y, arguments = study
    words, series, rng = nuisance(story, tmp_path)
    told = pd.DataFrame({"word_index": np.arange(10, len(words)), "surprisal": rng.random(len(words) - 10)})
    writer.write_table(told, tmp_path / "surprisal.tsv")
    shares = json.dumps({"nuisance": ["word_rate", "word_types", "surprisal"]})
    files = {f"--{name}": str(tmp_path / f"{name}.tsv") for name in ("features", "surprisal")}
    command(arguments | files | {"--shares": shares})
    design, n_trs = story.design(SMALL["delays"]), len(story.runs)
    seen = words["word"].to_numpy()[7:]
    types, number = np.unique(seen, return_inverse=True)
    one_hot = np.eye(len(types))[number]
    bands = [joint.Band(series[["word_rate"]].to_numpy(), np.ones(n_trs, dtype=bool), design.source)]
    surprising = word_means(told["surprisal"].to_numpy()[:, None], story.word_trs[3:], n_trs)
    bands.append(joint.Band(*surprising, design.source))
    space = joint.Space(bands, joint.Band(*word_means(one_hot, story.word_trs, n_trs), design.source), number)
    found = encode.encode(story.vectors, {}, design, y, Encoding(**SMALL), spaces={"nuisance": space})
    written = read_partition(tmp_path / "out/layer-1/shares.nuisance.npz")
    np.testing.assert_allclose(written.share, found["shares", "nuisance"].share, atol=1e-5)
    assert np.nanmax(np.abs(written.share)) > 0.01


def test_hearing_all_twice_is_as_once_with_half_the_penalty(study, tmp_path):
    """Kept repeats with the same responses: twice the same rows side by side, in folds that hold both."""
    import pandas as pd

    story, _, y, arguments = study
    _, features, _ = nuisance(story, tmp_path)
    arguments |= {"--shares": json.dumps({"nuisance": ["word_rate", "word_types"]})}
    arguments |= {"--features": str(tmp_path / "features.tsv")}
    once = json.dumps(SMALL | {"alphas": [30.0]})
    command(arguments | {"--options": once})
    trs, words = (reader.read_table(tmp_path / f"{name}.tsv") for name in ("trs", "words"))
    n = len(trs)
    trs = trs.assign(first_tr=trs["tr"])
    trs = pd.concat([trs, trs.assign(tr=trs["tr"] + n, run=trs["run"] + 3)])
    words = pd.concat([words.assign(repeat=1), words.assign(repeat=2, tr=words["tr"] + n, run=words["run"] + 3)])
    words.insert(0, "row", range(len(words)))
    writer.write_table(trs, tmp_path / "F.trs.tsv")
    writer.write_table(words, tmp_path / "F.words.tsv")
    features = pd.concat([features, features.assign(tr=features["tr"] + n, run=features["run"] + 3)])
    writer.write_table(features, tmp_path / "F.features.tsv")
    arrays.write_array(tmp_path / "twice.npy", np.repeat(y, 2, axis=0))
    twice = {"--options": json.dumps(SMALL | {"alphas": [60.0]}), "--output-dir": str(tmp_path / "twice")}
    files = {"--trs": "F.trs.tsv", "--words": "F.words.tsv", "--responses": "twice.npy"}
    files |= {"--features": "F.features.tsv"}
    command(arguments | twice | {flag: str(tmp_path / name) for flag, name in files.items()})
    (shares,) = (tmp_path / "out/layer-1").glob("shares.nuisance.npz")
    one, both = read_partition(shares), read_partition(tmp_path / "twice/layer-1" / shares.name)
    # Inner folds are cut half a row from where they were, so a few voxels take other penalties.
    found = one.share[0] > 0.02
    assert found.sum() >= 6
    assert np.median(np.abs(both.share - one.share)[0][found]) < 2e-4
    for path in (tmp_path / "out/layer-1").glob("*-*.npz"):
        one, both = read_scores(path), read_scores(tmp_path / "twice/layer-1" / path.name)
        np.testing.assert_array_equal(both.fold, np.repeat(one.fold, 2))
        np.testing.assert_allclose(both.timecourse, np.repeat(one.timecourse, 2), atol=2e-4)
        np.testing.assert_allclose(both.r, one.r, atol=2e-4)
        # The same permutations of labels, which are one in both hearings.
        np.testing.assert_allclose(both.readable, one.readable, atol=2e-3)


def test_command_writes_the_same_bytes_again(study, tmp_path):
    *_, arguments = study
    command(arguments)
    command(arguments | {"--output-dir": str(tmp_path / "again")})
    for path in (tmp_path / "out/layer-1").iterdir():
        assert path.read_bytes() == (tmp_path / "again/layer-1" / path.name).read_bytes()


def test_command_on_two_layers_is_as_on_each_alone(study, tmp_path):
    *_, arguments = study
    maps = arguments["--erasers"]
    other = str(tmp_path / "other.npz")
    codes = reader.read_table(tmp_path / "labels.tsv").iloc[7:]
    X, _ = read_layer(tmp_path / "step-0.safetensors", 2)
    fitted = {("ridge", n): ridge.fit_ridge(X, codes[n].to_numpy(), (1.0,), 4, "onehot") for n in ("two", "five")}
    erasers.write_erasers(other, fitted)
    digests = tmp_path / "F.sha256"
    command(arguments | {"--layers": ["2", "1"], "--erasers": [other, maps], "--digests": str(digests)})
    named = {line.split("  ")[1] for line in digests.read_text().splitlines()}
    for layer, path in ((1, maps), (2, other)):
        alone = {"--layers": str(layer), "--erasers": path, "--output-dir": str(tmp_path / "alone")}
        command(arguments | alone)
        files = sorted(path.name for path in (tmp_path / f"alone/layer-{layer}").iterdir())
        assert {f"layer-{layer}/{name}" for name in files} < named
        for name in files:
            both, one = (tmp_path / folder / f"layer-{layer}" / name for folder in ("out", "alone"))
            assert both.read_bytes() == one.read_bytes()
    scores = [read_scores(tmp_path / f"out/layer-{layer}/none.original.npz").r[0, 0] for layer in (1, 2)]
    assert scores[0] != scores[1]


def test_command_only_the_properties_asked_for(study, tmp_path):
    *_, arguments = study
    command(arguments | {"--properties": ["two"]})
    assert not (tmp_path / "out/layer-1/ridge-in-sample.five.npz").exists()


def test_command_with_responses_of_another_trim(study, tmp_path):
    _, _, y, arguments = study
    arrays.write_array(tmp_path / "G.npy", y[:-4])
    with pytest.raises(InputError, match=r"G\.npy: shape \(152, 16\), but .*trs\.tsv keeps 156 TRs"):
        command(arguments | {"--responses": str(tmp_path / "G.npy")})


def test_command_with_a_property_without_map(study, tmp_path):
    *_, arguments = study
    table = reader.read_table(tmp_path / "labels.tsv")
    writer.write_table(table.assign(tense=table["two"]), tmp_path / "labels.tsv")
    with pytest.raises(InputError, match=r"maps\.npz: lacks the eraser ridge\.tense; it has ridge\.two, ridge\.five"):
        command(arguments | {"--properties": ["tense"]})


def test_command_with_another_story(study, tmp_path):
    *_, arguments = study
    table = reader.read_table(tmp_path / "words.tsv")
    writer.write_table(table.iloc[:-3], tmp_path / "words.tsv")
    with pytest.raises(InputError, match=r"words\.tsv: lacks word \d+ \(3 of"):
        command(arguments)


def test_command_says_that_it_has_no_gpu(study, monkeypatch):
    import torch

    *_, arguments = study
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"--gpus 1: torch .* finds no GPU here; set encoding\.device: cpu"):
        command(arguments | {"--gpus": "1"})


def test_command_on_any_number_of_threads_writes_the_same_bytes(study, tmp_path):
    *_, arguments = study
    command(arguments)
    command(arguments | {"--threads": "3", "--block-voxels": "5", "--output-dir": str(tmp_path / "again")})
    for path in (tmp_path / "out/layer-1").iterdir():
        assert path.read_bytes() == (tmp_path / "again/layer-1" / path.name).read_bytes()


def test_tf32_is_reported(capsys):
    story = make_story()
    options = Encoding(**SMALL)
    encode.encode(
        story.vectors,
        {},
        story.design(options.delays),
        mixed_responses(story),
        options,
        device=backend.Torch("cpu", width=8, tf32=True),
    )
    assert "tf32: moves r by" in capsys.readouterr().err


def test_broken_scores(tmp_path):
    arrays.write_arrays(tmp_path / "x.npz", {"r": np.zeros((2, 3))})
    with pytest.raises(InputError, match="lacks array 'alpha'"):
        read_scores(tmp_path / "x.npz")
