"""Removal maps against scikit-learn and the concept-erasure package, and the claims made for them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from concept_erasure import LeaceEraser
from safetensors.numpy import save_file
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

from dynalign.config.removal import Removal
from dynalign.io.arrays import read_arrays, write_arrays
from dynalign.io.errors import InputError
from dynalign.removal import erasers, fit, leace, ridge
from dynalign.tables.writer import write_table

ALPHAS = (1e-3, 0.1, 10.0, 1e3)


def vectors(seed=0, n=301, hidden=14, classes=5, strength=1.0):
    """Correlated vectors with a large mean, and a property that moves them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    X = rng.standard_normal((n, hidden)) @ rng.standard_normal((hidden, hidden))
    return X + 50 + strength * rng.standard_normal((classes, hidden))[codes], codes


def columns(codes, coding):
    if coding == "ordinal":
        return codes[:, None].astype(float)
    return OneHotEncoder(sparse_output=False).fit_transform(codes[:, None])


@pytest.mark.parametrize("coding", ["ordinal", "onehot"])
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_ridge_is_scikit_learns_with_the_best_cross_validated_penalty(coding, strength):
    X, codes = vectors(strength=strength)
    T = columns(codes, coding)
    cuts = np.round(np.linspace(0, len(X), 5)).astype(int)
    curve = []
    for alpha in ALPHAS:
        scores = []
        for start, stop in pairwise(cuts):
            train = np.r_[0:start, stop : len(X)]
            scores.append(Ridge(alpha=alpha).fit(T[train], X[train]).score(T[start:stop], X[start:stop]))
        curve.append(np.mean(scores))
    best = ALPHAS[int(np.argmax(curve))]
    reference = Ridge(alpha=best).fit(T, X)

    fitted = ridge.fit_ridge(X, codes, ALPHAS, 4, coding)

    np.testing.assert_allclose(fitted.cv_r2, curve, atol=1e-8)
    assert fitted.alpha == best
    np.testing.assert_allclose(fitted.theta, reference.coef_.T, atol=1e-8)
    np.testing.assert_allclose(fitted.b, reference.intercept_, atol=1e-8)
    np.testing.assert_allclose(erasers.apply(fitted, X, codes), X - reference.predict(T), atol=1e-8)


def test_a_constant_dimension_does_not_choose_the_penalty():
    X, codes = vectors()
    with_constant = np.column_stack([X, np.full(len(X), 1 / 3)])
    plain, more = (ridge.fit_ridge(V, codes, ALPHAS, 4) for V in (X, with_constant))
    assert more.alpha == plain.alpha
    np.testing.assert_allclose(more.cv_r2, plain.cv_r2 * 14 / 15, atol=1e-10)
    np.testing.assert_allclose(erasers.apply(more, with_constant, codes)[:, -1], 0, atol=1e-12)


def test_what_rounding_leaves_of_a_constant_dimension_does_not_choose_the_penalty():
    """Its rounding follows the label in one half and its opposite in the other: held out, R² is far below 0."""
    X, codes = vectors()
    follows = np.where(np.arange(len(X)) < len(X) // 2, 1, -1) * (codes - codes.mean())
    rounded = (1000.1 + 1e-4 * follows).astype(np.float32)
    assert len(np.unique(rounded)) > 1
    plain, more = (ridge.fit_ridge(V, codes, ALPHAS, 4) for V in (X, np.column_stack([X, rounded])))
    assert more.alpha == plain.alpha
    np.testing.assert_allclose(more.cv_r2, plain.cv_r2 * 14 / 15, atol=1e-10)
    assert (more.theta[:, -1] == 0).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_leace_is_the_packages_eraser(classes):
    X, codes = vectors(classes=classes)
    Z = torch.from_numpy(columns(codes, "onehot"))
    package = LeaceEraser.fit(torch.from_numpy(X), Z, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-6)
    fitted = leace.fit_leace(X, codes)
    np.testing.assert_allclose(erasers.apply(fitted, X, codes), package(torch.from_numpy(X)).numpy(), atol=1e-9)
    assert fitted.left.shape == (14, classes - 1)
    assert fitted.right.shape == (classes - 1, 14)


@pytest.mark.parametrize("classes", [2, 5])
def test_leace_leaves_no_covariance_with_the_label_and_is_idempotent(classes):
    X, codes = vectors(classes=classes)
    Z = columns(codes, "onehot")
    fitted = leace.fit_leace(X, codes)
    residual = erasers.apply(fitted, X, codes)
    before, after = ((Z - Z.mean(axis=0)).T @ V / len(X) for V in (X, residual))
    assert np.abs(before).max() > 0.1
    assert np.abs(after).max() < 1e-10
    np.testing.assert_allclose(erasers.apply(fitted, residual, codes), residual, atol=1e-9)
    np.testing.assert_allclose(residual.mean(axis=0), X.mean(axis=0), atol=1e-9)


def test_leace_changes_less_than_other_exact_erasers():
    X, codes = vectors(classes=3)
    Z = columns(codes, "onehot")
    centred = X - X.mean(axis=0)
    fitted = leace.fit_leace(X, codes)
    change = ((X - erasers.apply(fitted, X, codes)) ** 2).sum()
    # the orthogonal projection that removes the span of the cross-covariance
    basis = np.linalg.svd(centred.T @ (Z - Z.mean(axis=0)), full_matrices=False)[0][:, :2]
    assert change < ((centred @ basis @ basis.T) ** 2).sum() * 0.999
    # oblique ones: any other `left` with the same kernel condition, right @ left = 1 on the removed span
    rng = np.random.default_rng(1)
    for _ in range(20):
        free = rng.standard_normal((14, 2)) * 0.05
        left = fitted.left + free - basis @ (basis.T @ free)  # unchanged on the span: still exact
        other = centred @ left @ fitted.right
        assert np.abs((Z - Z.mean(axis=0)).T @ (centred - other)).max() < 1e-7
        assert (other**2).sum() > change


def test_small_penalty_onehot_ridge_removes_class_means_and_codes_do_not():
    X, codes = vectors(strength=3.0)
    fits = {coding: ridge.fit_ridge(X, codes, [1e-6], 4, coding) for coding in ("ordinal", "onehot")}
    spread = {}
    for coding, fitted in fits.items():
        residual = erasers.apply(fitted, X, codes)
        spread[coding] = np.abs([residual[codes == code].mean(axis=0) for code in range(5)]).max()
    assert spread["onehot"] < 1e-6
    assert spread["ordinal"] > 1


@pytest.mark.parametrize("options", [("ridge", "ordinal", 1), ("ridge", "onehot", 5), ("leace", "ordinal", 4)])
def test_low_rank_form_and_averages_of_words(options):
    method, coding, rank = options
    X, codes = vectors()
    fitted = fit.fit(method, X, codes, Removal(coding=coding, alphas=(1.0,)))
    A, B, b = erasers.low_rank(fitted, X, codes)
    assert A.shape == (301, rank)
    assert B.shape == (rank, 14)
    assert b.shape == (14,)
    if method == "leace":
        expected = X - (X - X.mean(axis=0)) @ fitted.left @ fitted.right
    else:
        expected = X - columns(codes, coding) @ fitted.theta - fitted.b
    residual = erasers.apply(fitted, X, codes)
    np.testing.assert_allclose(residual, expected, atol=1e-9)
    average = np.kron(np.eye(43), np.full((1, 7), 1 / 7))  # 43 TRs of 7 words
    np.testing.assert_allclose(average @ X - (average @ A) @ B - b, average @ residual, atol=1e-9)


@pytest.mark.parametrize("method", ["ridge", "leace"])
def test_words_without_a_label_take_no_part_in_fitting(method):
    X, codes = vectors()
    some = codes.astype(float)
    some[::9] = np.nan
    rows = np.isfinite(some)
    options = Removal(alphas=ALPHAS, coding="onehot")
    fitted, reference = (fit.fit(method, V, c, options) for V, c in ((X, some), (X[rows], some[rows].astype(int))))
    np.testing.assert_array_equal(erasers.apply(fitted, X, some)[rows], erasers.apply(reference, X[rows], codes[rows]))
    if method == "ridge":  # what a missing label takes away is the mean, as for a class that was not seen
        unlabelled = erasers.apply(fitted, X, some)[~rows]
        np.testing.assert_allclose(unlabelled, X[~rows] - X[rows].mean(axis=0), atol=1e-9)
        np.testing.assert_array_equal(erasers.apply(fitted, X, np.full(len(X), 8))[~rows], unlabelled)


def test_design():
    np.testing.assert_array_equal(erasers.design([3, 0, np.nan], "ordinal"), [[3], [0], [np.nan]])
    np.testing.assert_array_equal(erasers.design([3, 0, np.nan], "onehot"), [[0, 1], [1, 0], [np.nan] * 2])
    np.testing.assert_array_equal(erasers.design([3, 0], "onehot", [0, 1]), [[np.nan] * 2, [1, 0]])
    with pytest.raises(ValueError, match="coding"):
        erasers.design([0, 1], "sum")


def test_maps_survive_the_file(tmp_path):
    X, codes = vectors()
    maps = {
        ("ridge", "a.b"): ridge.fit_ridge(X, codes, ALPHAS, 4, "onehot"),
        ("leace", "tense"): leace.fit_leace(X, codes),
    }
    path = tmp_path / "layer-2.npz"
    erasers.write_erasers(path, maps)
    first = path.read_bytes()
    read = erasers.read_erasers(path)
    erasers.write_erasers(path, read)
    assert path.read_bytes() == first
    assert list(read) == list(maps)
    for arm in maps:
        np.testing.assert_array_equal(erasers.apply(read[arm], X, codes), erasers.apply(maps[arm], X, codes))
    arrays = read_arrays(path)
    assert arrays["ridge.a.b.theta"].shape == (5, 14)
    assert arrays["ridge.a.b.cv_r2"].shape == (4,)
    del arrays["ridge.a.b.theta"]
    write_arrays(path, arrays)
    with pytest.raises(InputError, match=r"layer-2\.npz: ridge\.a\.b is not a whole eraser"):
        erasers.read_erasers(path)


@pytest.fixture
def study(tmp_path):
    """A representation of words 5 … 304 with layers 0 and 1, and labels of words 0 … 309."""
    X, codes = vectors(n=300)
    layers = {"layer-0": X.astype(np.float32), "layer-1": np.ascontiguousarray(X[:, ::-1]).astype(np.float32)}
    save_file({"word_index": np.arange(5, 305), **layers}, tmp_path / "step-4.safetensors")
    labels = pd.DataFrame({"word_index": np.arange(310), "sentence": np.arange(310) // 8})
    labels["pos"] = np.r_[np.zeros(5), codes, np.zeros(5)].astype(int)
    labels["tense"] = labels["sentence"] % 2
    write_table(labels, tmp_path / "labels.tsv")
    return tmp_path, labels, layers


def command(folder, *more, properties=("pos", "tense")):
    fit.main(
        [
            *("--representation", str(folder / "step-4.safetensors"), "--layer", "1"),
            *("--labels", str(folder / "labels.tsv"), "--properties", *properties),
            *("--output", str(folder / "layer-1.npz"), *more),
        ]
    )


def test_command_fits_every_arm_on_the_represented_words(study):
    folder, labels, layers = study
    shuffled = labels.sample(frac=1, random_state=0)  # rows are found by word_index, not by place
    write_table(shuffled, folder / "labels.tsv")
    command(
        folder, "--options", Removal(methods=("ridge-in-sample", "leace-in-sample"), alphas=ALPHAS).model_dump_json()
    )
    maps = erasers.read_erasers(folder / "layer-1.npz")
    assert list(maps) == [("ridge", "pos"), ("ridge", "tense"), ("leace", "pos"), ("leace", "tense")]
    fitted = maps["ridge", "pos"]
    T = labels["pos"].to_numpy()[5:305, None]
    reference = Ridge(alpha=float(fitted.alpha)).fit(T, layers["layer-1"].astype(float))
    np.testing.assert_allclose(fitted.theta, reference.coef_.T, atol=1e-8)
    np.testing.assert_array_equal(fitted.alphas, ALPHAS)
    assert fitted.coding == "ordinal"
    first = (folder / "layer-1.npz").read_bytes()
    command(
        folder, "--options", Removal(methods=("ridge-in-sample", "leace-in-sample"), alphas=ALPHAS).model_dump_json()
    )
    assert (folder / "layer-1.npz").read_bytes() == first


def test_bad_input_is_named(study):
    folder, labels, layers = study

    def refused(match, table=labels, **keywords):
        write_table(table, folder / "labels.tsv")
        with pytest.raises(InputError, match=match):
            command(folder, **keywords)

    refused("labels.tsv: lacks word 205 ", labels[:205])
    refused("word_index 309 stands twice", pd.concat([labels, labels[-1:]]))
    refused("'pos' has 1 classes", labels.assign(pos=3))
    refused("'pos' has 0 classes", labels.assign(pos=""))
    refused("'pos' holds 'NOUN'", labels.assign(pos=[*labels["pos"][:299], *["NOUN"] * 11]))
    refused("'pos' holds '0.5'", labels.assign(pos=[*labels["pos"][:299], *[0.5] * 11]))
    refused("lacks column 'mood'", properties=("mood",))
    broken = layers["layer-1"].copy()
    broken[7, 2] = np.nan
    save_file({"word_index": np.arange(5, 305), "layer-1": broken}, folder / "step-4.safetensors")
    refused("NaN or infinite values in 1 of 300 words, the first word_index 12")
