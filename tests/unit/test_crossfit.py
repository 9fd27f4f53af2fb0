"""Removals fitted in each outer fold, and what the encoder still reads: naive loops, packages, planted truth."""

import numpy as np
import pytest
import torch
from concept_erasure import LeaceEraser
from sklearn.covariance import OAS
from tests.unit.test_encoding import make_story, mixed_responses, naive_scores

from dynalign.config.encoding import Encoding
from dynalign.config.removal import Removal
from dynalign.encoding import encode
from dynalign.encoding.arms import make_design, outer_splits
from dynalign.encoding.crossfit import Crossfit, training_trs
from dynalign.encoding.delays import word_means
from dynalign.encoding.readability import make_targets
from dynalign.encoding.scores import ORIGINAL
from dynalign.io.errors import InputError
from dynalign.removal import leace
from dynalign.removal.erasers import low_rank
from dynalign.removal.permutations import permuted

OPTIONS = Encoding(folds=3, inner_folds=3, gap=2, delays=(1, 2, 3), alphas=(1e-1, 1e1, 1e3))


def labelled(story, classes=3, seed=0):
    """Sentence numbers, and class codes that the vectors hold; some words have none."""
    rng = np.random.default_rng(seed)
    sentence = np.arange(len(story.word_trs)) // 8
    codes = rng.integers(0, classes, sentence[-1] + 1)[sentence].astype(float)
    story.vectors[:] += np.outer(codes, rng.standard_normal(story.vectors.shape[1]))
    codes[rng.choice(len(codes), 9, replace=False)] = np.nan
    return sentence, codes


def fold_words(story, train, test, delays):
    """Words that feed a training row and no test row, one row and delay at a time."""
    rows = np.flatnonzero(story.kept)

    def fed(which):
        return {
            t - d
            for t in rows[which]
            for d in delays
            if 0 <= t - d < len(story.runs) and story.runs[t - d] == story.runs[t]
        }

    allowed = fed(train) - fed(test)
    return np.array([tr in allowed for tr in story.word_trs])


def test_a_fold_learns_from_words_that_its_test_rows_never_see():
    story = make_story()
    design = story.design(OPTIONS.delays)
    for train, test in outer_splits(design.runs, OPTIONS.folds, OPTIONS.gap):
        words = training_trs(design, train, test)[story.word_trs]
        np.testing.assert_array_equal(words, fold_words(story, train, test, OPTIONS.delays))
        seen = np.isin(story.word_trs, design.source[test])
        assert seen.any()
        assert not (words & seen).any()


def test_crossfit_leace_equals_the_package_fitted_fold_by_fold():
    story = make_story(12)
    _, codes = labelled(story)
    design = story.design(OPTIONS.delays)
    y = mixed_responses(story, 8)
    arm = Crossfit(story.vectors, design, story.runs, Removal()).word_level("leace", codes)
    found = encode.encode(story.vectors, {("leace-crossfit", "kind"): arm}, design, y, OPTIONS)
    X = story.vectors.astype(float)
    for number, (train, test) in enumerate(outer_splits(design.runs, OPTIONS.folds, OPTIONS.gap)):
        words = fold_words(story, train, test, OPTIONS.delays) & np.isfinite(codes)
        one_hot = torch.from_numpy((codes[words, None] == np.arange(3)).astype(float))
        package = LeaceEraser.fit(torch.from_numpy(X[words]), one_hot, shrinkage=False, constrain_cov_trace=False)
        erased = package(torch.from_numpy(X)).numpy()
        r, alpha, _ = naive_scores(story, erased, X, y.astype(float), OPTIONS)
        scores = found["leace-crossfit", "kind"]
        same = scores.alpha[number] == alpha[number].astype(np.float32)
        assert same.mean() > 0.8
        np.testing.assert_allclose(scores.r[number][same], r[number][same], rtol=0, atol=1e-5)
    assert np.abs(found["leace-crossfit", "kind"].r - found[ORIGINAL].r).max() > 1e-2


def test_one_class_in_a_fold_is_told():
    story = make_story()
    codes = np.zeros(len(story.word_trs))
    codes[:5] = 1
    design = story.design(OPTIONS.delays)
    arms = {
        ("leace-crossfit", "rare"): Crossfit(story.vectors, design, story.runs, Removal()).word_level("leace", codes)
    }
    with pytest.raises(InputError, match="one class only among the words of an outer fold"):
        encode.encode(story.vectors, arms, design, mixed_responses(story, 4), OPTIONS)


@pytest.mark.parametrize(("rows", "hidden"), [(40, 12), (30, 60)])
def test_shrinkage_is_scikit_learns(rows, hidden):
    rng = np.random.default_rng(rows)
    X = rng.standard_normal((rows, hidden)) @ rng.standard_normal((hidden, hidden))
    expected = OAS().fit(X)
    covariance = np.cov(X.T, bias=True)
    assert leace.oas_shrinkage(covariance, rows) == pytest.approx(expected.shrinkage_, rel=1e-9)
    found = leace.whiten(X, shrink=True)
    np.testing.assert_allclose(found.root @ found.root, expected.covariance_, atol=1e-9 * covariance.max())
    np.testing.assert_allclose(found.root @ found.inverse, np.eye(hidden), atol=1e-6)


def test_at_the_level_of_trs_no_mean_vector_tells_of_a_label_at_any_lag():
    story = make_story(20)
    _, codes = labelled(story, classes=2)
    design = story.design(OPTIONS.delays)
    train, test = outer_splits(design.runs, OPTIONS.folds, OPTIONS.gap)[0]
    trs = training_trs(design, train, test)
    A, B, b = Crossfit(story.vectors, design, story.runs, Removal()).tr_level(codes)(trs)
    assert len(B) <= len(design.lags) == 5
    known = np.isfinite(codes)
    regressor, told = word_means(codes[known, None], story.word_trs[known], len(story.runs))
    covariances = []
    for vectors in (story.vectors.astype(float), story.vectors - A @ B - b):
        means, present = word_means(vectors, story.word_trs, len(story.runs))
        rows = np.flatnonzero(trs & present)
        for lag in design.lags:
            z = np.array(
                [
                    regressor[s + lag, 0] - regressor[trs & told, 0].mean()
                    if 0 <= s + lag < len(trs)
                    and story.runs[s + lag] == story.runs[s]
                    and trs[s + lag]
                    and told[s + lag]
                    else 0.0
                    for s in rows
                ]
            )
            covariances.append(np.abs((z - z.mean()) @ (means[rows] - means[rows].mean(axis=0))).max() / len(rows))
    before, after = np.split(np.array(covariances), 2)
    assert before.max() > 0.1
    assert after.max() < 1e-9


def test_targets_are_predicted_like_voxels_and_leave_them_alone():
    story = make_story(12)
    sentence, codes = labelled(story)
    design = story.design(OPTIONS.delays)
    y = mixed_responses(story, 8)
    targets = make_targets({"kind": codes}, sentence, design, 2, 0)
    assert targets.columns.shape == (len(design.trs), 3 * 3)
    # The naive loop's own way to the true columns: shares of each class among the words two TRs before.
    rows = np.flatnonzero(story.kept)
    shares = np.full((len(story.runs), 3), np.nan)
    for tr in range(len(story.runs)):
        own = codes[(story.word_trs == tr) & np.isfinite(codes)]
        if len(own):
            shares[tr] = [(own == k).mean() for k in range(3)]
    shares = np.nan_to_num(shares - np.nanmean(shares, axis=0))
    expected = np.array([shares[t - 2] if t >= 2 and story.runs[t - 2] == story.runs[t] else np.zeros(3) for t in rows])
    np.testing.assert_allclose(targets.columns[:, :3], expected, atol=1e-12)

    plain = encode.encode(story.vectors, {}, design, y, OPTIONS)[ORIGINAL]
    beside = encode.encode(story.vectors, {}, design, y, OPTIONS, targets=targets)[ORIGINAL]
    for name in ("r", "alpha", "inner_score", "timecourse", "fold"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(beside, name))
    r, _, clear = naive_scores(story, story.vectors.astype(float), story.vectors.astype(float), expected, OPTIONS)
    assert clear.mean() > 0.5
    assert beside.readable.shape == (1, 3)
    assert beside.readable[0, 0] == pytest.approx(r.mean(), abs=1e-3)
    assert beside.readable[0, 0] > 0.3 > np.abs(beside.readable[0, 1:]).max()


def planted(seed, hidden, holds, follows):
    """A small study of 300 TRs: a label that persists over sentences, in the vectors or not, followed or not."""
    rng = np.random.default_rng([seed, hidden, holds, follows])
    n_trs, per_tr = 300, 3
    word_trs = np.repeat(np.arange(n_trs), per_tr)
    sentence = np.arange(n_trs * per_tr) // 10
    label = (np.cumsum(rng.random(sentence[-1] + 1) < 0.3) % 2)[sentence].astype(float)
    X = rng.standard_normal((len(label), hidden))
    if holds:
        X += np.outer(label, rng.standard_normal(hidden))
    heard = np.roll(label.reshape(n_trs, per_tr).mean(axis=1), 2)[:, None]
    y = 2 * follows * (heard - heard.mean()) + rng.standard_normal((n_trs, 20))
    design = make_design(word_trs, np.repeat([1, 2], n_trs // 2), np.ones(n_trs, dtype=bool), OPTIONS.delays)
    return X, label, design, y


@pytest.mark.parametrize(("holds", "follows"), [(False, True), (True, True)])
def test_harm_appears_where_vectors_hold_what_the_brain_follows_and_there_alone(holds, follows):
    effects = {"in-sample": [], "crossfit": []}
    for seed in range(8):
        X, label, design, y = planted(seed, 48, holds, follows)
        arms = {
            ("in-sample", "label"): low_rank(leace.fit_leace(X, label), X, label),
            ("crossfit", "label"): Crossfit(X, design, design.runs, Removal()).word_level("leace", label),
        }
        found = encode.encode(X, arms, design, y, OPTIONS)
        for way, values in effects.items():
            values.append((found[way, "label"].timecourse - found[ORIGINAL].timecourse).mean())
    mean = {way: np.mean(values) for way, values in effects.items()}
    error = {way: np.std(values, ddof=1) / np.sqrt(8) for way, values in effects.items()}
    if holds:
        assert mean["crossfit"] < -0.3
    else:
        # Fitted on all words it invents harm; fitted on training words it does not.
        assert mean["in-sample"] < -5 * error["in-sample"]
        assert mean["in-sample"] < -0.05
        assert mean["crossfit"] > -2.5 * error["crossfit"]


def test_an_arm_takes_the_penalties_of_another():
    story = make_story(12)
    _, codes = labelled(story)
    design, y = story.design(OPTIONS.delays), mixed_responses(story, 8)
    fitted = Crossfit(story.vectors, design, story.runs, Removal())
    other = np.where(np.isfinite(codes), np.roll(codes, 40), np.nan)
    kind, control = ("leace", "kind"), ("control", "kind")
    arms = {kind: fitted.word_level("leace", codes), control: fitted.word_level("leace", other)}
    found = encode.encode(story.vectors, arms, design, y, OPTIONS, same_penalties={control: kind})
    own = encode.encode(story.vectors, arms, design, y, OPTIONS)
    first, second = found[kind], found[control]
    np.testing.assert_array_equal(second.alpha, first.alpha)
    assert (second.alpha != own[control].alpha).any()
    np.testing.assert_allclose(first.r, own[kind].r, atol=1e-6)
    for alpha in OPTIONS.alphas:
        alone = encode.encode(story.vectors, arms, design, y, OPTIONS.model_copy(update={"alphas": (alpha,)}))
        chosen = second.alpha == np.float32(alpha)
        np.testing.assert_allclose(second.r[chosen], alone[control].r[chosen], atol=1e-6)


def test_erasing_trs_costs_what_its_control_costs_where_nothing_is_held():
    """Five lags of 16 dimensions are taken whatever the label is; word level takes one."""
    cost = {name: [] for name in ("words", "trs", "control")}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, label, design, y = planted(seed, 16, holds=False, follows=False)
        means, _ = word_means(X, design.word_trs, design.n_trs)
        y += np.roll(means, 2, axis=0) @ rng.standard_normal((16, y.shape[1]))
        sentence = np.arange(len(label)) // 10
        fitted = Crossfit(X, design, design.runs, Removal())
        arms = {
            ("words", "label"): fitted.word_level("leace", label),
            ("trs", "label"): fitted.tr_level(label),
            ("control", "label"): fitted.tr_level(permuted(label.astype(int), sentence, rng).astype(float)),
        }
        found = encode.encode(X, arms, design, y, OPTIONS)
        for way, values in cost.items():
            values.append((found[way, "label"].timecourse - found[ORIGINAL].timecourse).mean())
    trs, control = np.array(cost["trs"]), np.array(cost["control"])
    assert max(trs) < -0.1 < min(cost["words"])
    assert abs((trs - control).mean()) < 2 * (trs - control).std(ddof=1) / np.sqrt(8)
