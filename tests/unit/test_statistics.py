"""Tests and intervals against SciPy, by hand, and by simulation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.helpers import flags, made_scores

from dynalign.config.encoding import Encoding
from dynalign.config.statistics import Statistics
from dynalign.encoding import encode
from dynalign.encoding.arms import make_design, outer_splits
from dynalign.encoding.scores import write_scores
from dynalign.io.errors import InputError
from dynalign.statistics import block_tests, effects, group
from dynalign.statistics.effects import alignment_row, effect_row
from dynalign.statistics.group import group_row
from dynalign.tables import collect
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Blocks for the short time courses of these tests.
SMALL = Statistics(block=5)
GAP = 2


def scores(r, fold=None, timecourse=None):
    return made_scores(r, np.repeat(np.arange(len(r)), 10) if fold is None else fold, timecourse, SMALL.block)


def test_many_time_courses_are_tested_each_by_itself():
    rng = np.random.default_rng(21)
    fold = np.repeat(np.arange(5), 40)
    courses = rng.standard_normal((200, 7)) + np.linspace(0, 0.5, 7)
    courses[:, 5] = 0
    parts = [block_tests.block_means(course, fold, 5)[0] for course in courses.T]
    blocks = np.column_stack(parts)
    blocks[:, 2] = np.nan
    found = block_tests.voxel_test(blocks, fold, SMALL, GAP)
    single = [block_tests.block_test(course, fold, SMALL, GAP) for course in courses.T]
    for voxel in (0, 1, 3, 4, 5, 6):
        assert found["p"][voxel] == pytest.approx(single[voxel]["p"])
        assert found["mean"][voxel] == pytest.approx(single[voxel]["mean"])
    assert np.isnan([found[name][2] for name in ("mean", "p", "q")]).all()
    adjusted = stats.false_discovery_control([single[voxel]["p"] for voxel in (0, 1, 3, 4, 5, 6)])
    np.testing.assert_allclose(np.delete(found["q"], 2), adjusted)
    low, high = effects.voxel_shares(
        block_tests.voxel_test(np.column_stack([blocks, -blocks[:, 6]]), fold, SMALL, GAP), SMALL.alpha
    )
    assert (low, high) == (1 / 7, np.mean([found["q"][k] < 0.05 for k in (0, 1, 3, 4, 5, 6)]) * 6 / 7)
    with pytest.raises(InputError, match=r"scores in 40 blocks, but statistics\.block: 10 makes 20; encode again"):
        block_tests.voxel_test(blocks, fold, Statistics(block=10), GAP)


def test_null_voxels_are_significant_at_the_level_and_those_that_follow_the_words_are_found():
    """Through the encoding: half of the voxels follow the vectors, none the direction that is removed."""
    rejected, found, falsely = [], [], []
    for seed in range(4):
        rng = np.random.default_rng([22, seed])
        n_trs, n_voxels, hidden = 400, 120, 24
        word_trs = np.repeat(np.arange(n_trs), 3)
        design = make_design(word_trs, np.zeros(n_trs), np.ones(n_trs, dtype=bool), (1, 2))
        vectors = rng.standard_normal((len(word_trs), hidden))
        signal = np.roll(vectors.reshape(n_trs, 3, -1).mean(axis=1), 1, axis=0)
        responses = np.array([autocorrelated(rng, n_trs) for _ in range(n_voxels)]).T
        responses[:, 60:] += signal @ rng.standard_normal((hidden, 60)) / 3
        label, direction = rng.standard_normal((len(word_trs), 1)), rng.standard_normal((1, hidden)) * 0.3
        arms = {("ridge", "tense"): (label, direction, np.zeros(hidden))}
        choices = Encoding(folds=5, inner_folds=3, gap=5, alphas=tuple(10.0**k for k in range(7)), delays=(1, 2))
        results = encode.encode(vectors + label @ direction, arms, design, responses, choices)
        original, residual = results["none", "original"], results["ridge", "tense"]
        test = block_tests.voxel_test(original.blocks, original.fold, Statistics(), 5)
        rejected.append((test["p"][:60] < 0.05).mean())
        found.append((test["q"][60:] < 0.05).mean())
        change = residual.blocks.astype(float) - original.blocks
        falsely.append((block_tests.voxel_test(change, original.fold, Statistics(), 5)["p"][:60] < 0.05).mean())
    assert 0.01 < np.mean(rejected) < 0.09
    assert np.mean(found) > 0.8
    assert np.mean(falsely) < 0.09


def test_the_corrected_t_is_the_plain_t_when_nothing_is_shared():
    means = np.array([0.1, 0.3, 0.2, 0.05, 0.4])
    test = block_tests.corrected_t(means, test_train_ratio=0.0, level=0.05)
    plain = stats.ttest_1samp(means, 0)
    assert test["t"] == pytest.approx(plain.statistic)
    assert test["p"] == pytest.approx(plain.pvalue)
    low, high = plain.confidence_interval(0.95)
    assert (test["ci_low"], test["ci_high"]) == (pytest.approx(low), pytest.approx(high))


def test_the_correction_widens_by_nadeau_and_bengios_factor():
    means = np.random.default_rng(0).normal(size=5)
    plain = block_tests.corrected_t(means, 0.0, 0.05)
    corrected = block_tests.corrected_t(means, 1 / 4, 0.05)
    # Five folds: sqrt((1/5 + 1/4) / (1/5)) = 1.5, as METHOD section 8 says.
    assert plain["t"] / corrected["t"] == pytest.approx(1.5)
    assert (corrected["ci_high"] - corrected["mean"]) / (plain["ci_high"] - plain["mean"]) == pytest.approx(1.5)


def test_the_interval_and_the_test_agree():
    rng = np.random.default_rng(1)
    for _ in range(200):
        test = block_tests.corrected_t(rng.normal(0.5, 1, 5), 0.25, 0.05)
        assert (test["p"] < 0.05) == (test["ci_low"] > 0 or test["ci_high"] < 0)


def test_degenerate_cases():
    assert block_tests.corrected_t(np.zeros(5), 0.25, 0.05)["p"] == 1
    assert block_tests.corrected_t(np.full(5, 0.1), 0.25, 0.05)["p"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="2 parts"):
        block_tests.corrected_t(np.ones(1), 0.25, 0.05)


def test_the_papers_test_is_scipys_and_skips_invalid_voxels():
    rng = np.random.default_rng(3)
    original, residual = rng.normal(size=50), rng.normal(size=50)
    residual[4] = np.nan
    keep = np.arange(50) != 4
    for kind, reference in (("paired", stats.ttest_rel), ("independent", stats.ttest_ind)):
        expected = reference(residual[keep], original[keep])
        assert block_tests.paper_t(residual, original, kind) == pytest.approx((expected.statistic, expected.pvalue))
    assert block_tests.paper_t(original, original, "paired") == (0.0, 1.0)


def test_alignment_is_the_mean_over_voxels_of_the_mean_over_folds():
    r = np.random.default_rng(4).normal(0.1, 0.05, (5, 30))
    r[:, 7] = np.nan
    row = alignment_row(scores(r), SMALL, GAP)
    valid = np.delete(r, 7, axis=1)
    assert row["mean_r"] == pytest.approx(valid.mean(), rel=1e-6)
    assert row["inner_score"] == pytest.approx(valid.mean() / 2, rel=1e-6)
    assert (row["n_voxels"], row["n_invalid"]) == (30, 1)
    assert row["ci_low"] < row["mean_r"] < row["ci_high"]


def test_a_removal_that_hurts_has_a_negative_difference_and_is_found():
    rng = np.random.default_rng(5)
    before = rng.normal(0.2, 0.01, (5, 40))
    after = before - 0.1 + rng.normal(0, 0.005, (5, 40))
    row = effect_row(scores(after), scores(before), SMALL, GAP)
    assert row["mean_difference"] == pytest.approx(-0.1, abs=0.01)
    assert row["t_paper"] < 0
    assert row["ci_high"] < 0
    assert row["p"] < 0.01
    unchanged = effect_row(scores(before), scores(before), SMALL, GAP)
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
        row = effect_row(*results, SMALL, GAP)
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
        write_table(table, tmp_path / f"{part}.tsv")
    table = collect.collect([str(tmp_path / "0.tsv"), str(tmp_path / "1.tsv")], fdr=0.05)
    # The largest p·n/rank of all that are as small or smaller, by Benjamini and Hochberg's own rule.
    expected = [min(q * 20 / np.sum(p <= q) for q in p[p >= one]) for one in p]
    np.testing.assert_allclose(table["p_fdr"], expected, rtol=1e-6)
    assert table["significant"].tolist() == [int(one < 0.05) for one in expected]


def test_a_table_cut_after_its_header_is_not_left_out(tmp_path):
    for name, text in (("0", "checkpoint\tp\nstep-0\t1\n"), ("1", "checkpoint\tp\n")):
        (tmp_path / f"{name}.tsv").write_text(text)
    with pytest.raises(InputError, match=r"1\.tsv: has no rows, though each cell has some; delete it"):
        collect.collect([str(tmp_path / "0.tsv"), str(tmp_path / "1.tsv")])


def test_a_missing_p_stays_missing_and_counts_for_nothing():
    import pandas as pd

    p = np.array([0.001, np.nan, 0.04, 0.5, 0.01])
    table = collect.adjust(pd.DataFrame({"p": p}), 0.05)
    np.testing.assert_allclose(table["p_fdr"].dropna(), stats.false_discovery_control(p[np.isfinite(p)]))
    assert np.isnan(table["p_fdr"][1])
    assert table["significant"].tolist() == [1, 0, 0, 0, 1]


def equal_folds(n_folds, size):
    return np.repeat(np.arange(n_folds), size)


def autocorrelated(rng, n, share=0.4):
    noise = rng.standard_normal(n)
    for row in range(1, n):
        noise[row] = share * noise[row - 1] + np.sqrt(1 - share**2) * noise[row]
    return noise


def test_rows_of_the_gap_train_nothing_and_test_nothing():
    # 100 rows, folds of 20: the first and the last fold lose 3 rows to the gap, the others 6.
    assert block_tests.test_train_ratio(equal_folds(5, 20), gap=3) == pytest.approx(
        (2 * 20 / 77 + 3 * 20 / 74) / 5, rel=1e-12
    )
    assert block_tests.test_train_ratio(equal_folds(5, 20), gap=0) == pytest.approx(1 / 4)
    runs = np.repeat([1, 2, 3, 4], [31, 20, 25, 24])
    splits = outer_splits(runs, "runs", 4)
    fold = np.empty(len(runs), dtype=int)
    for number, (_, test) in enumerate(splits):
        fold[test] = number
    expected = np.mean([len(test) / len(train) for train, test in splits])
    assert block_tests.test_train_ratio(fold, 4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sizes", [[60, 60, 60], [61, 44, 75, 9]])
def test_blocks_are_successive_rows_of_one_fold_and_keep_the_mean_over_folds(sizes):
    fold = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(fold), dtype=float)
    means, weights = block_tests.block_means(rows, fold, 15)
    assert len(means) == sum(max(1, round(size / 15)) for size in sizes)
    assert weights.sum() == pytest.approx(1)
    assert weights @ means == pytest.approx(np.mean([rows[fold == name].mean() for name in range(len(sizes))]))
    # The mean of successive rows is the middle one: rebuilt from their lengths, blocks tile the rows.
    lengths = []
    for name, size in enumerate(sizes):
        inside = (means >= rows[fold == name][0]) & (means <= rows[fold == name][-1])
        lengths.append(np.round(weights[inside] * size * len(sizes)).astype(int))
        assert lengths[-1].sum() == size
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    np.testing.assert_allclose(means, (starts[:-1] + starts[1:] - 1) / 2)


def test_the_block_test_is_scipys_t_over_blocks_with_a_larger_variance():
    course = autocorrelated(np.random.default_rng(8), 300) + 0.1
    fold, settings = equal_folds(5, 60), Statistics()
    test = block_tests.block_test(course, fold, settings, 5)
    blocks = course.reshape(15, 20).mean(axis=1)
    # 300 rows; the outer folds train on 235, the inner ones on 230.
    factor = 1 + 5 * np.mean([60 / 235, 60 / 230, 60 / 230, 60 / 230, 60 / 235])
    t = stats.ttest_1samp(blocks, 0).statistic / np.sqrt(factor)
    assert test["t"] == pytest.approx(t)
    assert test["p"] == pytest.approx(2 * stats.t.sf(abs(t), 14))
    half = stats.t.ppf(0.975, 14) * np.sqrt(factor * blocks.var(ddof=1) / 15)
    assert (test["ci_low"], test["ci_high"]) == (
        pytest.approx(blocks.mean() - half),
        pytest.approx(blocks.mean() + half),
    )
    assert test["effect_size"] == pytest.approx(blocks.mean() / blocks.std(ddof=1))
    # An effect at a bound of its interval would give a t this far out with probability alpha / 2.
    unit = np.sqrt(factor / 15)
    assert stats.nct.sf(t, 14, test["effect_low"] / unit) == pytest.approx(0.025, rel=1e-4)
    assert stats.nct.cdf(t, 14, test["effect_high"] / unit) == pytest.approx(0.025, rel=1e-4)


def test_properties_of_the_block_test():
    rng = np.random.default_rng(9)
    fold = np.repeat(np.arange(4), [70, 61, 44, 90])
    course = autocorrelated(rng, len(fold)) + 0.1
    settings = Statistics(block=12)

    def test(values, folds=fold, settings=settings):
        return block_tests.block_test(values, folds, settings, 3)

    found = test(course)
    swapped = test(-course)
    assert swapped["p"] == found["p"]
    assert [swapped[key] for key in ("mean", "ci_low", "ci_high")] == [
        -found[key] for key in ("mean", "ci_high", "ci_low")
    ]
    assert swapped["effect_low"] == pytest.approx(-found["effect_high"], rel=1e-6)
    shifted = test(course + 2)
    for key in ("mean", "ci_low", "ci_high"):
        assert shifted[key] == pytest.approx(found[key] + 2)
    larger = test(7 * course)
    for key in ("t", "p", "effect_size", "effect_low", "effect_high"):
        assert larger[key] == pytest.approx(found[key])
    renamed = test(course, np.array([3, 0, 2, 1])[fold])
    assert renamed["p"] == pytest.approx(found["p"], rel=1e-12)
    same = test(np.zeros(len(fold)))
    assert (same["mean"], same["p"], same["effect_size"]) == (0, 1, 0)
    assert (same["ci_low"], same["ci_high"]) == (0, 0)
    assert np.isnan(test(np.ones(len(fold)))["effect_size"])
    # A stricter level: a wider interval, the same p.
    strict = test(course, settings=Statistics(block=12, alpha=0.01))
    assert strict["p"] == found["p"]
    assert strict["ci_low"] < found["ci_low"]
    with pytest.raises(InputError, match="300 TRs leave one block of 100"):
        block_tests.block_test(course[:100], np.zeros(100, dtype=int), Statistics(block=300), 3)


def test_p_is_below_alpha_exactly_where_the_intervals_exclude_zero():
    rng = np.random.default_rng(10)
    fold, rejected = equal_folds(5, 30), 0
    for _ in range(300):
        test = block_tests.block_test(rng.normal(0.25, 1, 150), fold, SMALL, GAP)
        rejected += test["p"] < 0.05
        assert (test["p"] < 0.05) == (test["ci_low"] > 0 or test["ci_high"] < 0)
        assert (test["p"] < 0.05) == (test["effect_low"] > 0 or test["effect_high"] < 0)
    assert 50 < rejected < 250


def learnt(rng, n_draws, n_trs=300, n_folds=5, dimensions=20):
    """c(t) of differences that are nothing but chance: what rows have in common, learnt by the folds that train on it.

    Row t scores ``u_t · mean(u_s)`` over the rows s that train for it. A pair of rows enters twice, with the same
    value: once each way.
    """
    fold = np.repeat(np.arange(n_folds), n_trs // n_folds)
    u = rng.standard_normal((n_draws, n_trs, dimensions))
    per_fold = u.reshape(n_draws, n_folds, -1, dimensions).sum(axis=2)
    training = (u.sum(axis=1, keepdims=True) - per_fold) / (n_trs - n_trs // n_folds)
    return np.einsum("dtk,dtk->dt", u, training[:, fold]), fold


def test_two_thousand_null_differences_are_rejected_at_the_level_and_planted_ones_more_often_than_over_folds():
    draws = 2000
    null, fold = learnt(np.random.default_rng(11), draws)
    share = block_tests.test_train_ratio(fold, 0)

    def rejections(courses):
        blocks = [block_tests.block_test(course, fold, Statistics(), 0)["p"] for course in courses]
        # Blocks of 20 TRs, and folds, are all of one length.
        parts = {n: courses.reshape(len(courses), -1, n).mean(axis=2).T for n in (20, 60)}
        plain = block_tests.corrected_t(parts[20], 0.0, 0.05)["p"]
        over_folds = block_tests.corrected_t(parts[60], share, 0.05)["p"]
        return [np.mean(np.array(p) < 0.05) for p in (blocks, plain, over_folds)]

    blocks, plain, _ = rejections(null)
    # 3 to 7 %; one standard error of 2,000 draws is .5 %.
    assert 0.03 < blocks < 0.07
    assert plain > 0.12
    found, _, found_over_folds = rejections(null[:500] + 3.5 * null.mean(axis=1).std())
    assert found > found_over_folds + 0.1


def small_study(rng, n_trs=150, n_voxels=12):
    """Scores of an original and of one removal by the workflow's encoding, a voxel in it constant."""
    word_trs = np.repeat(np.arange(n_trs), 2)
    design = make_design(word_trs, np.zeros(n_trs), np.ones(n_trs, dtype=bool), (1, 2))
    vectors = rng.standard_normal((len(word_trs), 4))
    label = rng.integers(0, 2, (len(word_trs), 1)) - 0.5
    vectors += label * 3
    arms = {("ridge", "tense"): (label, np.full((1, 4), 3.0), np.zeros(4))}
    signal = np.roll(vectors.reshape(n_trs, 2, 4).mean(axis=1), 1, axis=0) @ rng.standard_normal((4, n_voxels))
    responses = signal + 2 * rng.standard_normal((n_trs, n_voxels))
    responses[:, 3] = 1
    choices = Encoding(folds=3, inner_folds=3, gap=2, alphas=(1.0, 10.0, 100.0), delays=(1, 2))
    return encode.encode(vectors, arms, design, responses, choices, block=SMALL.block)


def test_the_mean_difference_is_the_difference_of_the_mean_r():
    """One comes from c(t), the other from r."""
    found = small_study(np.random.default_rng(12))
    original, residual = found["none", "original"], found["ridge", "tense"]
    rows = [alignment_row(one, SMALL, 2) for one in (original, residual)]
    effect = effect_row(residual, original, SMALL, 2)
    assert rows[0]["n_invalid"] == 1
    assert abs(effect["mean_difference"]) > 0.02
    assert effect["mean_difference"] == pytest.approx(rows[1]["mean_r"] - rows[0]["mean_r"], abs=1e-6)
    for row in rows:
        assert (row["ci_low"] + row["ci_high"]) / 2 == pytest.approx(row["mean_r"], abs=1e-6)


def test_arms_with_other_folds_are_refused():
    one = scores(np.full((5, 3), 0.1))
    other = scores(np.full((5, 3), 0.1), fold=np.repeat([0, 1, 2, 3, 4], [12, 8, 10, 10, 10]))
    with pytest.raises(InputError, match="other folds"):
        effect_row(one, other, SMALL, GAP)


def test_a_group_is_the_mean_of_its_subjects_and_the_population_scipys_t_over_them():
    rng = np.random.default_rng(13)
    fold = np.repeat(np.arange(4), [30, 35, 25, 30])
    shared = autocorrelated(rng, 120)
    courses = np.array([shared + autocorrelated(rng, 120) + shift for shift in (0.5, 0.9, 0.2)])
    row = group_row(courses, fold, SMALL, GAP)
    alone = [block_tests.block_test(course, fold, SMALL, GAP)["mean"] for course in courses]
    assert row["n_subjects"] == 3
    assert row["mean_difference"] == pytest.approx(np.mean(alone))
    expected = stats.ttest_1samp(alone, 0)
    assert row["p_other_subjects_same_text"] == pytest.approx(expected.pvalue)
    assert (row["ci_low_other_subjects"], row["ci_high_other_subjects"]) == (
        pytest.approx(expected.confidence_interval().low),
        pytest.approx(expected.confidence_interval().high),
    )
    # What all subjects share does not average out, so three are hardly better than one.
    copies = group_row(np.repeat(courses[:1], 3, axis=0), fold, SMALL, GAP)
    assert copies["p"] == pytest.approx(block_tests.block_test(courses[0], fold, SMALL, GAP)["p"])
    turned = group_row(courses[[2, 0, 1]], fold, SMALL, GAP)
    assert turned == {key: pytest.approx(value) for key, value in row.items()}
    single = group_row(courses[:1], fold, SMALL, GAP)
    assert np.isnan(single["p_other_subjects_same_text"])
    assert single["p"] == copies["p"]


def test_the_commands_write_what_the_functions_say(tmp_path):
    rng = np.random.default_rng(14)
    found = {subject: small_study(rng) for subject in ("F", "M")}
    checkpoints = {"step-8": "8", "random": ""}
    for checkpoint, step in checkpoints.items():
        for layer in (0, 2):
            for subject, arms in found.items():
                folder = tmp_path / f"encoding/{checkpoint}/{subject}/layer-{layer}"
                folder.mkdir(parents=True)
                for (method, name), one in arms.items():
                    write_scores(folder / f"{method}.{name}.npz", one)
        common = ["--checkpoint", checkpoint, f"--step={step}", *flags(folder=tmp_path / "encoding", gap=2)]
        common += flags(layers=[0, 2], arms=["none.original", "ridge.tense"], options=json.dumps({"block": 5}))
        for subject in ("F", "M"):
            tables = {kind: tmp_path / f"{checkpoint}.{subject}.{kind}" for kind in ("alignment", "effects")}
            effects.main([*common, *flags(subject=subject, **tables)])
        group.main(["cells", *common, *flags(subjects=["F", "M"], output=tmp_path / f"{checkpoint}.group")])
    cells = [tmp_path / f"{name}.{who}.effects" for name in checkpoints for who in ("F", "M")]
    collect.main(flags(tables=cells, fdr=0.05, output=tmp_path / "effects.tsv"))
    groups = [tmp_path / f"{name}.group" for name in checkpoints]
    command = flags(tables=groups, effects=tmp_path / "effects.tsv", fdr=0.05, output=tmp_path / "group.tsv")
    group.main(["collect", *command])
    single = read_table(tmp_path / "effects.tsv", kind="removal_effects")
    table = read_table(tmp_path / "group.tsv", kind="removal_effects_group")
    assert (len(single), len(table)) == (8, 4)
    key = ["checkpoint", "layer", "removal", "property"]
    np.testing.assert_allclose(
        table["mean_difference"], single.groupby(key, sort=False)["mean_difference"].mean(), rtol=1e-6
    )
    assert table["n_significant"].tolist() == single.groupby(key, sort=False)["significant"].sum().tolist()
    assert table["n_significant"].max() == 2
    assert (table["n_subjects"] == 2).all()
    np.testing.assert_allclose(table["p_fdr"], stats.false_discovery_control(table["p"]), rtol=1e-6)
    assert table["step"].isna().tolist() == [False, False, True, True]


def test_an_effect_stands_beside_what_is_still_read_and_beside_its_control(tmp_path):
    """Means and percentiles by hand; the control's effect is taken off, block by block."""
    rng = np.random.default_rng(15)
    found = small_study(rng)
    original, residual = found["none", "original"], found["ridge", "tense"]
    courses = {
        "none.original": original.timecourse,
        "leace-crossfit.tense": residual.timecourse,
        "leace-crossfit-control.tense": original.timecourse - 0.01 * rng.random(len(original.fold)),
        "leace-crossfit.pos": residual.timecourse,
    }
    null = rng.standard_normal((2, 40)) / 20
    folder = tmp_path / "step-8/F/layer-1"
    folder.mkdir(parents=True)
    for number, (name, course) in enumerate(courses.items()):
        readable = np.column_stack([[0.5 - number / 10, 0.1], null])
        write_scores(folder / f"{name}.npz", replace(original, timecourse=course, readable=readable.astype(np.float32)))
    place = {"checkpoint": "step-8", "step": "8"}
    alignment, table = effects.subject_tables(str(tmp_path), place, "F", [1], list(courses), SMALL, 2)
    assert alignment["removal"].tolist() == [name.partition(".")[0] for name in courses]
    tense, pos = table.to_dict("records")
    assert [tense["property"], pos["property"]] == ["tense", "pos"], "a control is no effect of its own"
    assert (tense["readable_before"], tense["readable_after"]) == pytest.approx((0.5, 0.4))
    assert tense["readable_after_null"] == pytest.approx(np.percentile(null[0], 97.5), abs=1e-6)
    assert pos["readable_before_null"] == pytest.approx(np.percentile(null[1], 97.5), abs=1e-6)
    difference = courses["leace-crossfit.tense"] - courses["leace-crossfit-control.tense"]
    test = block_tests.block_test(difference, original.fold, SMALL, 2)
    assert (tense["over_control"], tense["p_over_control"]) == pytest.approx((test["mean"], test["p"]))
    control = courses["leace-crossfit-control.tense"] - original.timecourse
    by_fold = np.mean([control[original.fold == fold].mean() for fold in np.unique(original.fold)])
    assert tense["over_control"] == pytest.approx(tense["mean_difference"] - by_fold)
    assert np.isnan([pos[name] for name in ("over_control", "over_control_low", "p_over_control")]).all()
    # One subject is its own group; a second without an effect halves both effects.
    columns = ["mean_difference", "readable_before", "readable_after", "over_control"]

    def over(*subjects):
        output = str(tmp_path / "over.tsv")
        group.cells("step-8", list(subjects), str(tmp_path), [1], list(courses), 2, output, "8", SMALL)
        return read_table(output).loc[0]

    assert over("F")[columns].tolist() == pytest.approx([tense[name] for name in columns])
    (tmp_path / "step-8/M/layer-1").mkdir(parents=True)
    for name in courses:
        readable = np.full((2, 41), 0.3, dtype=np.float32)
        write_scores(tmp_path / f"step-8/M/layer-1/{name}.npz", replace(original, readable=readable))
    both = over("F", "M")
    for name in ("mean_difference", "over_control"):
        assert both[name] == pytest.approx(tense[name] / 2)
    assert both["readable_after"] == pytest.approx((tense["readable_after"] + 0.3) / 2)
    other = replace(original, fold=original.fold[::-1])
    write_scores(tmp_path / "step-8/M/layer-1/none.original.npz", other)
    with pytest.raises(InputError, match=r"M/layer-1/none\.original\.npz: other rows or folds than .*F/layer-1/none"):
        over("F", "M")
