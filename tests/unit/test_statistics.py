"""Tests and intervals against SciPy, by hand, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from dynalign import statistics
from dynalign.config import Statistics
from dynalign.encoding import Scores
from dynalign.files import InputError

#: Blocks for the short time courses of these tests.
SMALL = Statistics(block=5)
GAP = 2


def scores(r, fold=None, timecourse=None):
    r = np.asarray(r, dtype=np.float32)
    fold = np.repeat(np.arange(len(r)), 10) if fold is None else fold
    if timecourse is None:
        timecourse = np.nanmean(r, axis=1)[fold]
    return Scores(r=r, alpha=np.ones_like(r), inner_score=r / 2, timecourse=timecourse, fold=fold)


def test_the_corrected_t_is_the_plain_t_when_nothing_is_shared():
    means = np.array([0.1, 0.3, 0.2, 0.05, 0.4])
    test = statistics.corrected_t(means, test_share=0.0, level=0.05)
    plain = stats.ttest_1samp(means, 0)
    assert test["t"] == pytest.approx(plain.statistic)
    assert test["p"] == pytest.approx(plain.pvalue)
    low, high = plain.confidence_interval(0.95)
    assert (test["ci_low"], test["ci_high"]) == (pytest.approx(low), pytest.approx(high))


def test_the_correction_widens_by_nadeau_and_bengios_factor():
    means = np.random.default_rng(0).normal(size=5)
    plain = statistics.corrected_t(means, 0.0, 0.05)
    corrected = statistics.corrected_t(means, 1 / 4, 0.05)
    # Five folds: sqrt((1/5 + 1/4) / (1/5)) = 1.5, as METHOD section 8 says.
    assert plain["t"] / corrected["t"] == pytest.approx(1.5)
    assert (corrected["ci_high"] - corrected["mean"]) / (plain["ci_high"] - plain["mean"]) == pytest.approx(
        1.5
    )


def test_the_interval_and_the_test_agree():
    rng = np.random.default_rng(1)
    for _ in range(200):
        test = statistics.corrected_t(rng.normal(0.5, 1, 5), 0.25, 0.05)
        assert (test["p"] < 0.05) == (test["ci_low"] > 0 or test["ci_high"] < 0)


def test_degenerate_cases():
    assert statistics.corrected_t(np.zeros(5), 0.25, 0.05)["p"] == 1
    assert statistics.corrected_t(np.full(5, 0.1), 0.25, 0.05)["p"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="2 parts"):
        statistics.corrected_t(np.ones(1), 0.25, 0.05)


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(2).uniform(size=200) ** 2
    np.testing.assert_allclose(statistics.benjamini_hochberg(p), stats.false_discovery_control(p))


def test_the_papers_test_is_scipys_and_skips_invalid_voxels():
    rng = np.random.default_rng(3)
    original, residual = rng.normal(size=50), rng.normal(size=50)
    residual[4] = np.nan
    keep = np.arange(50) != 4
    for kind, reference in (("paired", stats.ttest_rel), ("independent", stats.ttest_ind)):
        expected = reference(residual[keep], original[keep])
        assert statistics.paper_t(residual, original, kind) == pytest.approx(
            (expected.statistic, expected.pvalue)
        )
    assert statistics.paper_t(original, original, "paired") == (0.0, 1.0)


def test_alignment_is_the_mean_over_voxels_of_the_mean_over_folds():
    r = np.random.default_rng(4).normal(0.1, 0.05, (5, 30))
    r[:, 7] = np.nan
    row = statistics.alignment_row(scores(r), SMALL, GAP)
    valid = np.delete(r, 7, axis=1)
    assert row["mean_r"] == pytest.approx(valid.mean(), rel=1e-6)
    assert row["inner_score"] == pytest.approx(valid.mean() / 2, rel=1e-6)
    assert (row["n_voxels"], row["n_invalid"]) == (30, 1)
    assert row["ci_low"] < row["mean_r"] < row["ci_high"]


def test_a_removal_that_hurts_has_a_negative_difference_and_is_found():
    rng = np.random.default_rng(5)
    before = rng.normal(0.2, 0.01, (5, 40))
    after = before - 0.1 + rng.normal(0, 0.005, (5, 40))
    row = statistics.effect_row(scores(after), scores(before), SMALL, GAP)
    assert row["mean_difference"] == pytest.approx(-0.1, abs=0.01)
    assert row["t_paper"] < 0
    assert row["ci_high"] < 0
    assert row["p"] < 0.01
    unchanged = statistics.effect_row(scores(before), scores(before), SMALL, GAP)
    assert (unchanged["mean_difference"], unchanged["p"], unchanged["significant_paper"]) == (0, 1, 0)


def test_rejections_stay_near_the_level_where_the_papers_test_runs_wild():
    """Two equally good arms: smooth voxels share their noise, folds share most of their training data."""
    rng = np.random.default_rng(6)
    n_trs, n_voxels, studies = 300, 60, 150
    fold = np.repeat(np.arange(5), n_trs // 5)
    calibrated = paper = 0
    for _ in range(studies):
        driver = np.convolve(rng.standard_normal(n_trs + 4), np.ones(5) / np.sqrt(5), "valid")
        arms = [driver + 1.5 * rng.standard_normal(n_trs) for _ in range(2)]
        shared = np.convolve(rng.standard_normal(n_trs + 4), np.ones(5) / np.sqrt(5), "valid")
        responses = 0.4 * driver[:, None] + shared[:, None] + 0.5 * rng.standard_normal((n_trs, n_voxels))
        results = []
        for arm in arms:
            r, course = np.empty((5, n_voxels)), np.empty(n_trs)
            for number in range(5):
                test, train = fold == number, fold != number
                slope = arm[train] @ (responses[train] - responses[train].mean(0)) / (arm[train] @ arm[train])
                predicted = arm[test, None] * slope
                z = lambda a: (a - a.mean(0)) / a.std(0)  # noqa: E731
                product = z(predicted) * z(responses[test])
                r[number], course[test] = product.mean(0), product.mean(1)
            results.append(scores(r, fold, course))
        row = statistics.effect_row(*results, SMALL, GAP)
        calibrated += row["p"] < 0.05
        paper += row["p_paper"] < 0.05
    assert calibrated / studies < 0.10
    assert paper / studies > 0.50


def test_the_false_discovery_rate_is_adjusted_over_the_whole_grid(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(7)
    p = rng.uniform(size=20) ** 3
    for part in range(2):
        table = pd.DataFrame({"checkpoint": "step-0", "p": p[10 * part : 10 * part + 10]})
        statistics.write_table(table, tmp_path / f"{part}.tsv")
    table = statistics.collect([str(tmp_path / "0.tsv"), str(tmp_path / "1.tsv")], alpha=0.05)
    expected = stats.false_discovery_control(p)
    np.testing.assert_allclose(table["p_fdr"], expected, rtol=1e-6)
    assert table["significant"].tolist() == (expected < 0.05).astype(int).tolist()
