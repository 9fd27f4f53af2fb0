"""The batched probes against scikit-learn's LogisticRegression."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dynalign.removal import logistic


def correlated(rng, n, hidden):
    """Standardised vectors whose variance falls off along random axes, as hidden states' does."""
    scale = np.arange(1, hidden + 1) ** -1.0
    X = (rng.standard_normal((n, hidden)) * scale) @ np.linalg.qr(rng.standard_normal((hidden, hidden)))[0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    F = correlated(rng, 500, 12)
    signal = F[:, 0] + 0.5 * rng.standard_normal(500)
    y = np.stack(
        [
            signal > 0.4,
            rng.random(500) < 0.2,
            np.digitize(signal, [-1, 0, 1]) * 2 + 1,  # codes need not be 0, 1, 2
            rng.integers(0, 4, 500),
            F[:, 1] > 0.1,  # separable
        ]
    ).astype(int)
    return F, y


@pytest.mark.parametrize("C", [1e-3, 1e-1, 10.0])
def test_same_optimum_as_scikit_learn(data, C):
    F, y = data
    probes = logistic.fit(F, y, np.full(len(y), C), tol=1e-8)
    assert probes.converged.all()
    predicted = probes.predict(F)
    for i, labels in enumerate(y):
        reference = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(F, labels)
        np.testing.assert_array_equal(probes.classes[i], reference.classes_)
        np.testing.assert_allclose(probes.coef[i], reference.coef_, atol=1e-3)
        np.testing.assert_allclose(probes.intercept[i], reference.intercept_, atol=1e-3)
        np.testing.assert_array_equal(predicted[i], reference.predict(F))


def test_default_tolerance_gives_the_accuracy_of_the_optimum(data):
    F, y = data
    train, test = np.arange(350), np.arange(350, 500)
    F = F - F[train].mean(axis=0)
    predicted = logistic.fit(F[train], y[:, train], np.ones(len(y))).predict(F[test])
    for labels, guess in zip(y, predicted, strict=True):
        exact = LogisticRegression(tol=1e-10, max_iter=100_000).fit(F[train], labels[train]).predict(F[test])
        assert (guess != exact).sum() <= 1


def test_spectrum_and_batch_change_the_speed_only(data, monkeypatch):
    F, y = data
    C = np.array([0.01, 0.1, 1, 10, 0.1])
    together = logistic.fit(F, y, C, tol=1e-9)
    crude = logistic.Spectrum(np.ones(F.shape[1]), np.eye(F.shape[1]))
    monkeypatch.setattr(logistic, "BLOCK", 1)
    alone = logistic.fit(F, y, C, crude, tol=1e-9)
    assert together.converged.all()
    assert alone.converged.all()
    for one, other in zip(together.coef, alone.coef, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_spectrum_saves_iterations():
    rng = np.random.default_rng(0)
    F = correlated(rng, 600, 100)
    y = (F[:, :3].sum(axis=1) + rng.standard_normal(600) > 0).astype(int)
    reference = LogisticRegression(C=0.1, tol=1e-4).fit(F, y)
    assert logistic.fit(F, y[None], np.array([0.1]), max_iter=12).converged.all()
    assert reference.n_iter_[0] > 30
    separable = (F[:, 0] > 0.3).astype(int)  # the hardest case, where weights p(1 - p) differ most
    assert logistic.fit(F, separable[None], np.array([10.0]), max_iter=100).converged.all()


def test_unfinished_fits_are_reported(data):
    F, y = data
    probes = logistic.fit(F, y, np.full(len(y), 10.0), max_iter=1, tol=1e-8)
    assert not probes.converged.any()
    assert logistic.fit(F, y, np.full(len(y), 10.0), max_iter=500, tol=1e-8).converged.all()


def test_one_class_is_predicted_everywhere(data):
    F, y = data
    labels = np.stack([np.full(500, 7), y[0]])
    probes = logistic.fit(F, labels, np.ones(2))
    assert (probes.predict(F)[0] == 7).all()
    assert (probes.predict(F)[1] == y[0]).mean() > 0.8
    assert probes.converged.all()


def test_no_vectors_to_speak_of_gives_the_largest_class(data):
    _, y = data
    predicted = logistic.fit(np.zeros((500, 3)), y, np.ones(len(y))).predict(np.zeros((2, 3)))
    for labels, guess in zip(y, predicted, strict=True):
        classes, sizes = np.unique(labels, return_counts=True)
        assert (guess == classes[sizes.argmax()]).all()
