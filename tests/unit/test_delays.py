"""Words to measurements, against loops that follow METHOD section 2.3 word by word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynalign.encoding import delays


def loop_delayed(features, runs, kept, lags):
    """Delayed features, one number at a time."""
    rows = []
    for t in range(len(runs)):
        if not kept[t]:
            continue
        row = []
        for lag in lags:
            s = t - lag
            inside = 0 <= s < len(runs) and runs[s] == runs[t]
            row.extend(features[s] if inside else [0.0] * features.shape[1])
        rows.append(row)
    return np.array(rows)


def test_word_means_by_hand():
    vectors = np.array([[1.0, 10], [3, 30], [5, 50], [7, 70]], dtype=np.float32)
    means, present = delays.word_means(vectors, [2, 0, 2, 4], 6)
    assert present.tolist() == [True, False, True, False, True, False]
    np.testing.assert_array_equal(means, [[3, 30], [0, 0], [3, 30], [0, 0], [7, 70], [0, 0]])


def test_word_means_without_words():
    means, present = delays.word_means(np.empty((0, 3)), np.empty(0, dtype=int), 4)
    assert means.shape == (4, 3)
    assert not means.any()
    assert not present.any()


def test_means_are_float64_sums():
    # 1 is lost beside 2^25 in float32.
    means, _ = delays.word_means(np.array([[2.0**25], [1.0]], dtype=np.float32), [0, 0], 1)
    assert means[0, 0] == (2.0**25 + 1) / 2


def test_delay_reads_words_before_the_response():
    features = np.arange(1.0, 7)[:, None]
    source = delays.sources([1] * 6, [False, True, True, True, True, False], [0, 2, -1])
    np.testing.assert_array_equal(delays.delayed(features, source), [[2, 0, 3], [3, 1, 4], [4, 2, 5], [5, 3, 6]])


def test_trimming_comes_after_the_delay():
    source = delays.sources([1, 1, 1, 2, 2, 2], [2, 5], [1, 2])
    assert source.tolist() == [[1, 0], [4, 3]]


def test_a_delay_longer_than_the_run_is_empty():
    source = delays.sources([1, 1, 2, 2, 2], np.ones(5, dtype=bool), [3, -4])
    assert (source == -1).all()


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    lags=st.lists(st.integers(-8, 8), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_delays_never_cross_a_run(lengths, lags, seed):
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    kept = rng.random(len(runs)) < 0.7
    kept[rng.integers(len(runs))] = True
    features = rng.standard_normal((len(runs), 2))
    source = delays.sources(runs, kept, lags)
    reference = loop_delayed(features, runs, kept, lags)
    np.testing.assert_array_equal(delays.delayed(features, source), reference)
    np.testing.assert_allclose(delays.delayed_kernel(features, source), reference @ reference.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_features", [3, 50])
def test_delayed_kernel_of_many_and_of_few_features(n_features):
    rng = np.random.default_rng(0)
    runs = np.repeat([1, 2], [30, 20])
    kept = np.ones(50, dtype=bool)
    features = rng.standard_normal((50, n_features))
    reference = loop_delayed(features, runs, kept, (1, 2, 3, 4, 5))
    kernel = delays.delayed_kernel(features, delays.sources(runs, kept, (1, 2, 3, 4, 5)))
    np.testing.assert_allclose(kernel, reference @ reference.T, rtol=0, atol=1e-11)
