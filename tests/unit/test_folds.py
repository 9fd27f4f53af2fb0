"""Contiguous folds against scikit-learn, whole groups, gaps on both sides."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from dynalign import folds
from dynalign.io.errors import InputError


@pytest.mark.parametrize(("n", "k"), [(100, 4), (120, 5), (90, 10)])
def test_equal_blocks_are_scikit_learns_unshuffled_folds(n, k):
    expected = [test for _, test in KFold(k).split(np.zeros(n))]
    for block, other in zip(folds.contiguous(n, k), expected, strict=True):
        np.testing.assert_array_equal(block, other)


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_every_row_is_held_out_once_and_sizes_differ_by_one(case):
    n, k = case
    blocks = folds.contiguous(n, k)
    assert np.concatenate(blocks).tolist() == list(range(n))
    sizes = [len(block) for block in blocks]
    assert max(sizes) - min(sizes) <= 1


def test_no_cut_falls_into_a_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), rng.integers(1, 20, 40))
    blocks = folds.contiguous(len(groups), 4, groups)
    for before, after in pairwise(blocks):
        assert groups[before[-1]] != groups[after[0]]
    assert np.concatenate(blocks).tolist() == list(range(len(groups)))


def test_the_gap_is_left_out_on_both_sides():
    left = folds.training_rows(30, np.arange(10, 15), gap=3)
    assert left.tolist() == [*range(7), *range(18, 30)]
    within = folds.training_rows(30, np.arange(10, 15), gap=3, within=np.arange(4, 25))
    assert within.tolist() == [4, 5, 6, *range(18, 25)]


def test_impossible_folds_are_refused():
    with pytest.raises(InputError, match="3 rows cannot be cut into 4 folds"):
        folds.contiguous(3, 4)
    with pytest.raises(InputError, match="gap of 20 leaves 0"):
        folds.training_rows(30, np.arange(10, 15), gap=20)
    with pytest.raises(InputError, match="cannot be cut"):
        folds.contiguous(10, 3, np.zeros(10))


def test_a_gap_is_left_out_around_all_parts_of_a_block():
    block = np.array([0, 1, 2, 14, 15, 16])
    expected = [row for row in range(30) if np.abs(block - row).min() > 3]
    assert folds.training_rows(30, block, gap=3).tolist() == expected
