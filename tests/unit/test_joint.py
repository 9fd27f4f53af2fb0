"""Joint models of the vectors and other features, against himalaya's group ridge on the same grid of penalties."""

import numpy as np
import pandas as pd
import pytest

from dynalign.config.encoding import Encoding
from dynalign.encoding import backend, delays, joint, partition, ridge
from dynalign.encoding.arms import direct_kernel, low_rank_kernel, make_design, outer_splits
from dynalign.encoding.crossfit import training_trs
from dynalign.encoding.encode import encode
from dynalign.encoding.scores import ORIGINAL

ALPHAS = tuple(10.0**k for k in range(-2, 6))
RATIOS = (0.1, 1.0, 10.0, 100.0)
CHOICES = Encoding(delays=(1, 2), alphas=ALPHAS, inner_folds=4, folds=4, gap=3)
TRS, WORDS, HIDDEN, TYPES = 240, 3, 10, 15
KEPT = np.arange(TRS) % (TRS // 2) >= 4

#: A space's weight that leaves nothing of it; himalaya divides by weights.
NONE = 1e-12


def study(seed=0, n_voxels=24):
    """Vectors, their design, a space of features with word types, and responses that follow one, two or all of them."""
    rng = np.random.default_rng(seed)
    runs = np.repeat([1, 2], TRS // 2)
    design = make_design(np.repeat(np.arange(TRS), WORDS), runs, np.arange(TRS) % (TRS // 2) >= 4, CHOICES.delays)
    vectors = rng.standard_normal((TRS * WORDS, HIDDEN)) + 2
    types = rng.integers(TYPES, size=TRS * WORDS)
    one_hot, present = delays.word_means(np.eye(TYPES)[types], design.word_trs, TRS)
    values = rng.standard_normal((TRS, 3)) + vectors.reshape(TRS, WORDS, HIDDEN).mean(axis=1)[:, :3]
    values[:, 2] = values[:, 1] * 5 + 0.01 * rng.standard_normal(TRS)
    motion = joint.Band(rng.standard_normal((TRS, 1)), np.arange(TRS) % 7 > 0, delays.sources(runs, KEPT, [0]))
    bands = [joint.Band(values, present, design.source), motion]
    space = joint.Space(bands, joint.Band(one_hot, present, design.source), types)
    parts = [features(band, design, np.arange(len(design.trs))) for band in (*bands, space.types)]
    own, _ = delays.word_means(vectors, design.word_trs, TRS)
    parts.append(delays.delayed(own - own.mean(axis=0), design.source))
    signals = [part @ rng.standard_normal((part.shape[1], n_voxels)) for part in parts]
    weights = rng.random((len(parts), n_voxels)) * (rng.random((len(parts), n_voxels)) < 0.5)
    signal = sum(w * s / s.std(axis=0) for w, s in zip(weights, signals, strict=True))
    return vectors, design, space, signal + rng.standard_normal(signal.shape)


def features(band, design, train, scale=True):
    """Delayed features of a band, standardised by hand."""
    inside = design.trs[train]
    used = inside[band.present[inside]]
    centred = band.features - band.features[used].mean(axis=0)
    centred = centred / band.features[used].std(axis=0) if scale else centred
    return delays.delayed(np.where(band.present[:, None], centred, 0), band.source)


def himalayas(spaces, gammas, y, train, test, splits):
    """r, and inner scores of every row of a grid of weights, by himalaya's group ridge."""
    from himalaya.ridge import solve_group_ridge_random_search
    from himalaya.scoring import r2_score

    inner = [tuple(np.searchsorted(train, rows) for rows in pair) for pair in splits]
    centres = [part[train].mean(axis=0) for part in spaces]
    centred = [part - centre for part, centre in zip(spaces, centres, strict=True)]
    target = ridge.standardised(y, train).astype(np.float64)
    _, weights, cv, _ = solve_group_ridge_random_search(
        [part[train] for part in centred], target[train], np.maximum(gammas, NONE), alphas=np.array(ALPHAS), cv=inner,
        fit_intercept=True, score_func=r2_score, return_weights=True, progress_bar=False, warn=False,
    )  # fmt: skip
    predicted = np.concatenate([part[test] for part in centred], axis=1) @ weights
    both = np.corrcoef(predicted.T, target[test].T)
    return np.diag(both[: y.shape[1], y.shape[1] :]), cv


def beyond_types(vectors, type_of, inside):
    """Vectors less the mean vector of the other training words of their type, word by word; 0 where there is none."""
    rest = np.zeros_like(vectors)
    for word, kind in enumerate(type_of):
        others = inside & (type_of == kind) & (np.arange(len(vectors)) != word)
        if others.any():
            rest[word] = vectors[word] - vectors[others].mean(axis=0)
    return rest


def difference_from_himalaya(with_types: bool) -> float:
    """The largest difference of r from himalaya's, of the features alone and jointly with the vectors."""
    vectors, design, space, y = study()
    space = space if with_types else joint.Space(space.bands)
    train, test = outer_splits(design.runs, 4, 3)[1]
    kernel, _ = low_rank_kernel(design, vectors, [], train)
    inside = training_trs(design, train, test)[design.word_trs]
    left = beyond_types(vectors, space.type_of, inside) if with_types else vectors

    def residual_kernel(told):
        assert told is space
        return direct_kernel(design, vectors, left, train, test, CHOICES)

    sets, arms = joint.joined(ridge.FeatureSets(kernel), design, {"z": space}, RATIOS, train, residual_kernel)
    found, _ = ridge.fit_fold(ridge.Group(sets, arms), y, train, test, ALPHAS, 4, 0)
    own, present = delays.word_means(vectors, design.word_trs, TRS)
    X = features(joint.Band(own, present, design.source), design, train)
    Z = np.concatenate([features(band, design, train) for band in space.bands], axis=1)
    T = features(space.types, design, train, scale=False) if with_types else X[:, :0]
    # Centred by its own mean, scaled as the vectors are.
    rest, _ = delays.word_means(left, design.word_trs, TRS)
    used = design.trs[train][present[design.trs[train]]]
    rest = np.where(present[:, None], (rest - rest[used].mean(axis=0)) / own[used].std(axis=0), 0)
    L = delays.delayed(rest, design.source)

    def size(part):
        return np.square(part[train] - part[train].mean(axis=0)).sum()

    # Weights of the vectors, of these beyond types, of the features and of the types.
    w = [ratio * size(X) / size(Z) for ratio in RATIOS]
    m = [mix * size(X) / size(T) for mix in RATIOS[1:-1]] if with_types else []
    alone = [(0, 0, size(X) / size(Z), 0)]
    if with_types:
        alone += [(0, 0, own, size(X) / size(T)) for own in (0, *w)]
    # Mixed with the vectors, the features stand to the word types as they do alone.
    mixed = [(0, 1, mix * own, kernel) for mix, kernel in zip(RATIOS[1:-1], m, strict=False) for own in (0, *w)]
    grids = {"alone": alone, "joint": alone + [(1, 0, own, 0) for own in (0, *w)]}
    if with_types:
        grids["joint"] += [(1, 0, own, size(X) / size(T)) for own in (0, *w)]
        grids["beyond"] = alone + mixed
    spaces = [X, L, Z, T] if with_types else [X, Z]
    grids = {arm: np.array(grid)[:, [0, 1, 2, 3] if with_types else [0, 2]] for arm, grid in grids.items()}
    splits = ridge.inner_splits(len(y), train, 4, 0)
    differences = []
    for arm, grid in grids.items():
        assert len(arms[arm, "z"]) == len(grid)
        r, cv = himalayas(spaces, grid, y, train, test, splits)
        np.testing.assert_allclose(found[arm, "z"].inner_score, cv.max(axis=0), atol=1e-5)
        differences.append(np.abs(found[arm, "z"].r - r).max())
    assert np.abs(found["joint", "z"].r - found["alone", "z"].r).max() > 0.1
    return max(differences)


@pytest.mark.parametrize("with_types", [False, True])
def test_joint_models_equal_himalayas_group_ridge(with_types):
    assert difference_from_himalaya(with_types) < 1e-4


def test_a_partition_is_of_predictions_written_out():
    """Products of residuals and predictions by hand; parts add up; a space of noise adds nothing, the vectors do."""
    vectors, design, space, y = study(1)
    noise = joint.Space(
        [joint.Band(np.random.default_rng(3).standard_normal((TRS, 2)), np.ones(TRS, bool), design.source)]
    )
    found = encode(vectors, {}, design, y, CHOICES, spaces={"z": space, "noise": noise}, ratios=RATIOS, block=15)
    original = found[ORIGINAL]
    for name in ("z", "noise"):
        one = found["shares", name]
        for array in (one.share, one.timecourse, one.r, one.r_timecourse, one.r2):
            np.testing.assert_allclose(array[:3].sum(axis=0), array[3], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.r[3] - one.r[1], original.r.mean(axis=0), atol=1e-6)
        by_fold = [one.timecourse[:, one.fold == k].mean(axis=1) for k in range(4)]
        np.testing.assert_allclose(np.mean(by_fold, axis=0), one.share.mean(axis=1), atol=1e-6)
    model, features_, *_ = found["shares", "z"].share
    assert model.max() > 0.1
    assert features_.max() > 0.1
    assert abs(found["shares", "noise"].share[1].mean()) < 0.002
    assert found["shares", "noise"].share[0].mean() > 0.01
    rng = np.random.default_rng(5)
    measured, a, b, beyond, both = rng.standard_normal((5, 30, 6)) + 1
    parts = partition.parts(backend.Numpy(), measured, a, b, beyond, both)
    centred = [part - part.mean(axis=0) for part in (measured, a, b, beyond, both)]
    for voxel in range(6):
        e, x, z, o, j = (part[:, voxel] for part in centred)
        expected = [(e - z) * (o - z), (e - x) * (j - x), e * j]
        for part, values in zip(parts, expected, strict=True):
            np.testing.assert_allclose(part[:, voxel], values / measured[:, voxel].var(), rtol=1e-9)


def test_a_word_that_is_heard_again_is_no_other_word_of_its_type():
    rng = np.random.default_rng(9)
    vectors, type_of = rng.standard_normal((40, 3)), rng.integers(0, 12, 40)
    inside = rng.random(40) < 0.7
    again = np.r_[np.repeat(np.arange(20), 2), np.arange(20, 40), np.arange(30, 40)]
    twice = joint.Space([], None, type_of[again], again + 5)
    found = joint.without_types(vectors[again], twice, inside[again])
    np.testing.assert_allclose(found, beyond_types(vectors, type_of, inside)[again], atol=1e-12)


def test_vectors_that_tell_types_only_add_nothing_to_word_types():
    """One vector per type: it predicts, and what it adds to types is 0; a context in it adds something."""
    rng = np.random.default_rng(8)
    _, design, space, _ = study(4)
    vectors = rng.standard_normal((TYPES, HIDDEN))[space.type_of]
    signal = delays.word_means(vectors, design.word_trs, TRS)[0] @ rng.standard_normal((HIDDEN, 20))
    context = rng.standard_normal((len(vectors), HIDDEN))
    more = delays.word_means(context, design.word_trs, TRS)[0] @ rng.standard_normal((HIDDEN, 20))

    def unique(words, series):
        late = delays.delayed(series, delays.sources(np.repeat([1, 2], TRS // 2), KEPT, [1]))
        y = late + rng.standard_normal(late.shape)
        found = encode(words, {}, design, y, CHOICES, spaces={"z": space}, ratios=RATIOS)
        assert found[ORIGINAL].r.mean() > 0.3
        return found["shares", "z"].share[0]

    np.testing.assert_allclose(unique(vectors, signal), 0, atol=1e-5)
    assert unique(vectors + context, signal + more).mean() > 0.1


@pytest.mark.parametrize(
    "other",
    [{"direct": True}, {"device": backend.Torch("cpu")}, {"device": backend.Numpy(width=7)}],
    ids=["direct", "torch", "tiles"],
)
def test_the_same_partition_on_every_way(other):
    vectors, design, space, y = study(2)
    spaces = {"spaces": {"z": space}, "ratios": RATIOS}
    one, two = (encode(vectors, {}, design, y, CHOICES, **spaces, **way)["shares", "z"] for way in ({}, other))
    for name in ("share", "timecourse", "r", "r_timecourse", "r2"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=2e-5)


def test_features_count_at_their_own_time_and_noise_tells_nothing():
    """Responses follow a series one TR later: at any other time, and in noise, nothing of it is found (no leak)."""
    rng = np.random.default_rng(7)
    vectors, design, _, _ = study(3)
    series = rng.standard_normal((TRS, 4))
    late = delays.delayed(series, delays.sources(np.repeat([1, 2], TRS // 2), KEPT, [1])) @ rng.standard_normal((4, 20))
    noise = rng.standard_normal((len(late), 20))
    everywhere = np.ones(TRS, dtype=bool)

    def share(delay, responses):
        source = delays.sources(np.repeat([1, 2], TRS // 2), KEPT, [delay])
        spaces = {"z": joint.Space([joint.Band(series, everywhere, source)])}
        found = encode(vectors, {}, design, responses, CHOICES, spaces=spaces, ratios=RATIOS)
        return found["shares", "z"].share.mean(axis=1)

    right = share(1, late + noise)
    assert right[1] > 0.5
    assert abs(right[0]) < 0.01
    for delay in (0, 2):
        assert abs(share(delay, late + noise)[1]) < 0.02
    assert np.abs(share(1, noise)).max() < 0.02
    # Shares do not know the responses' sign.
    np.testing.assert_allclose(share(1, -late - noise), right, atol=1e-5)


def test_spaces_are_made_of_labels_and_of_tables():
    words = ["The", "cat.", "the", "dog", "Cat", "+"]
    design = make_design([0, 0, 1, 2, 2, 3], np.ones(5), np.ones(5, bool), (1,))
    codes = np.array([0, 1, 2, 0, np.nan, 2])
    (band,) = joint.property_space(codes, design).bands
    np.testing.assert_allclose(band.features, [[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert band.present.tolist() == [True] * 4 + [False]
    table = pd.DataFrame({"tr": range(5), "length": [3, 3, np.nan, 1, np.nan], "motion_x": 1.5, "motion_y": range(5)})
    names, told = ("length", "motion", "word_types", "surprisal"), np.array([1, 3, 5, 7, np.nan, 9])
    space = joint.nuisance_space(names, table, np.ones(5), design, {"motion": (0,)}, words, told)
    length, motion, surprisal = space.bands
    assert length.present.tolist() == [True, True, False, True, False]
    np.testing.assert_allclose(motion.features, np.column_stack([[1.5] * 5, range(5)]))
    assert motion.source.ravel().tolist() == [0, 1, 2, 3, 4]
    assert length.source.ravel().tolist() == [-1, 0, 1, 2, 3]
    np.testing.assert_allclose(surprisal.features.ravel(), [2, 5, 7, 9, 0])
    # The, the; cat., Cat; dog; +.
    assert space.types.features.shape == (5, 4)
    np.testing.assert_allclose(space.types.features.max(axis=1), [0.5, 1, 0.5, 1, 0])
    assert not joint.nuisance_space(["surprisal"], table, np.ones(5), design, {}, words).bands
