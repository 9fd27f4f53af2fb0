"""Differences between checkpoints and the half of a rise, on planted truth."""

import numpy as np
import pytest

from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS
from dynalign.io.arrays import write_arrays
from dynalign.io.errors import InputError
from dynalign.statistics import block_tests, contrasts, half_rises
from dynalign.statistics.half_rises import Curve
from dynalign.tables.reader import read_table

N, GAP = 240, 2
FOLD = np.repeat(np.arange(4, dtype=np.int16), N // 4)
SETTINGS = Statistics(block=10)
TEST = (FOLD, SETTINGS, GAP)
SAMPLE = block_tests.sample_of(*TEST)
NAMES = ["step-0", "step-10", "step-100"]


def blocks(courses):
    return np.array([block_tests.block_means(one, FOLD, SETTINGS.block)[0] for one in courses])


def test_time_courses_of_own_runs_meet_at_the_rows_that_are_shared(tmp_path):
    """Means over blocks of the shared rows by hand: a row too early or too late has another value."""
    rows = {"a": np.r_[0:40, 60:100], "b": np.r_[50:90, 0:40]}
    courses = {"a": np.arange(120.0), "b": 1000 + np.arange(90.0) ** 2}
    for subject, course in courses.items():
        (tmp_path / f"step-0/{subject}/layer-1").mkdir(parents=True)
        fold = (np.arange(len(course)) >= 40).astype(np.int16)
        write_arrays(tmp_path / f"step-0/{subject}/layer-1/none.original.npz", {"timecourse": course, "fold": fold})
    reader = contrasts.Courses(tmp_path, "alignment", 10, rows)
    found = reader.blocks([("step-0", 1)], ["a", "b"])
    # The first subject's folds: 40 rows each, four blocks of ten.
    assert reader.fold.tolist() == [0] * 40 + [1] * 40
    for subject, means in zip("ab", found[:, 0], strict=True):
        np.testing.assert_allclose(means, courses[subject][rows[subject]].reshape(8, 10).mean(axis=1))
    with pytest.raises(InputError, match=r"b.layer-1.none\.original\.npz: other rows or folds"):
        contrasts.Courses(tmp_path, "alignment", 10).blocks([("step-0", 1)], ["a", "b"])


def test_each_contrast_is_the_block_test_of_the_paired_time_courses():
    courses = np.random.default_rng(0).normal([[0.0], [0.1], [0.5]], 1, (3, N))
    random = np.random.default_rng(1).standard_normal(N)
    rows = list(contrasts.contrasts(blocks(courses), NAMES, {"random": blocks([random])[0]}, TEST, 0))
    pairs = [(row["comparison"], row["checkpoint"], row["reference"]) for row in rows]
    assert pairs == [
        *[("previous", "step-10", "step-0"), ("previous", "step-100", "step-10")],
        *[("reference", "step-10", "step-0"), ("reference", "step-100", "step-0")],
        *[("reference", name, "random") for name in NAMES],
    ]
    by_name = dict(zip(NAMES, courses, strict=True)) | {"random": random}
    for row in rows:
        expected = block_tests.block_test(by_name[row["checkpoint"]] - by_name[row["reference"]], *TEST)
        assert row["mean_difference"] == pytest.approx(expected["mean"])
        for name in ("p", "ci_low", "ci_high", "effect_size", "effect_low", "effect_high"):
            assert row[name] == pytest.approx(expected[name], rel=1e-9)
        assert np.isnan(row["p_largest"]) == np.isnan(row["clears"]) == (row["comparison"] == "previous")


def test_equal_checkpoints_do_not_differ():
    course = np.random.default_rng(0).standard_normal(N)
    rows = list(contrasts.contrasts(blocks([course, course]), NAMES[:2], {}, TEST, 0))
    assert [row["p"] for row in rows] == [1, 1]
    assert (rows[1]["p_largest"], rows[1]["clears"], rows[1]["effect_size"]) == (1, 0, 0)
    assert list(contrasts.contrasts(blocks([course]), NAMES[:1], {}, TEST, 0)) == []


def test_the_p_of_the_largest_t_counts_flips_of_blocks_by_hand():
    """Against a loop over the same flips, step by step from the largest t down."""
    rng = np.random.default_rng(2)
    means = rng.normal([0.0, 0.3, 0.5], 1, (24, 3)) + rng.standard_normal((24, 1))
    observed = block_tests.mean_test(means, *TEST)["t"]
    signs = np.random.default_rng(7).choice([-1.0, 1.0], (block_tests.FLIPS, 24))
    flipped = np.array([block_tests.corrected_t(one[:, None] * means, 0.0, 0.05)["t"] for one in signs])
    left, expected, floor = [0, 1, 2], np.empty(3), 0.0
    for k in np.argsort(-observed):
        count = 1 + np.sum(flipped[:, left].max(axis=1) >= observed[k])
        floor = expected[k] = max(floor, count / (block_tests.FLIPS + 1))
        left.remove(k)
    np.testing.assert_allclose(block_tests.largest_p(means, *TEST, 7), expected)
    # Alone it is a one-tailed p of the corrected t; copies of it change nothing.
    alone = block_tests.largest_p(means[:, :1], *TEST, 7)
    np.testing.assert_allclose(block_tests.largest_p(means[:, [0] * 5], *TEST, 7), np.repeat(alone, 5))


def test_with_nothing_there_few_studies_clear_anywhere_and_what_is_there_is_found():
    rng, claimed, found = np.random.default_rng(3), 0, []
    factor = block_tests.mean_test(np.arange(24.0), *TEST)["error"] ** 2 / np.var(np.arange(24), ddof=1) * 24
    for _ in range(100):
        means = rng.standard_normal((24, 20)) + rng.standard_normal((24, 1))
        # What blocks cannot see, the training rows that folds share, makes the mean vary by the factor more.
        means += (np.sqrt(factor) - 1) * means.mean(axis=0)
        claimed += (block_tests.largest_p(means, *TEST, 0) < 0.05).any()
        means[:, 9:] += 2.5
        found.append((block_tests.largest_p(means, *TEST, 0) < 0.05).tolist())
    assert 1 <= claimed <= 0.05 * 100 + 2 * 2.2
    assert np.mean([one[9:] == 11 * [True] for one in found]) > 0.9
    assert np.mean([any(one[:9]) for one in found]) <= 0.05 + 2 * 0.022


def test_the_half_of_a_rise_lies_where_the_fit_passes_midway():
    places = np.array([0.0, 1, 2, 4])
    # By hand: linear; a jump; pooled (0.3, 0.1 → 0.2, 0.2) so that the middle of 0 and 0.8 lies at 2 + 2 · 0.2 / 0.6.
    curves = np.array([[0, 1, 2, 4], [0, 0, 1, 1], [0, 0.3, 0.1, 0.8]])
    np.testing.assert_allclose(half_rises.half_rise(places, curves), [2, 1.5, 2 + 2 * 0.2 / 0.6])
    # All pooled: no rise; a fall has none either.
    assert np.isnan(half_rises.half_rise(places, np.array([[1.0, 1, 1, 1], [3.0, 2, 1, 0]]))).all()
    np.testing.assert_allclose(half_rises.half_rise(places, curves * 7 - 3), [2, 1.5, 2 + 2 * 0.2 / 0.6])


def test_resampled_means_scatter_as_the_corrected_test_says():
    rng = np.random.default_rng(4)
    means = rng.standard_normal((1, 2, 24))
    drawn = block_tests.resampled(means, SAMPLE, 0)
    test = block_tests.mean_test(means[0].T, *TEST)
    np.testing.assert_allclose(drawn.std(axis=0), test["error"], rtol=0.06)
    np.testing.assert_allclose(drawn.mean(axis=0), test["mean"], atol=0.03)
    # Drawn alike in all: what two time courses have in common stays common.
    np.testing.assert_allclose(np.ptp(block_tests.resampled(means[:, [0, 0]], SAMPLE, 0), axis=1), 0, atol=1e-12)
    # Subjects whose blocks do not vary scatter by themselves: their standard error.
    alike = np.broadcast_to(np.array([0.0, 1, 5])[:, None, None], (3, 2, 24))
    scatter = block_tests.resampled(alike, SAMPLE, 0).std(axis=0)
    np.testing.assert_allclose(scatter, np.std([0, 1, 5], ddof=1) / 3**0.5, rtol=0.06)
    # Where they differ by their own noise alone, it is not counted twice: the mean's error is that of its test.
    noise = rng.standard_normal((3, 40, 24))
    scatter = block_tests.resampled(noise, SAMPLE, 0).var(axis=0)
    assert scatter.mean() == pytest.approx(
        np.mean(block_tests.mean_test(noise.mean(axis=0).T, *TEST)["error"] ** 2), rel=0.1
    )
    np.testing.assert_allclose(block_tests.resampled(np.zeros((2, 3, 24)), SAMPLE, 0), 0)


def test_a_half_rise_is_given_only_where_the_last_is_above_the_first():
    rng = np.random.default_rng(5)
    steps = [0, 10, 100, 1000, 10000]
    shape = np.array([0, 0.1, 0.5, 0.9, 1])[:, None]
    noise = rng.standard_normal((2, 5, 24))
    flat, risen, later = noise, noise + 6 * shape, noise + 6 * shape**4
    both = {("alignment", "original"): Curve(risen, SAMPLE), ("unique_alignment", "original"): Curve(later, SAMPLE)}
    rows = list(half_rises.half_rise_rows(steps, both, 0))
    assert 50 < rows[0]["half_rise_low"] < rows[0]["half_rise_step"] < rows[0]["half_rise_high"] < 250
    assert np.isnan(rows[0]["half_rise_ratio"])
    # The same noise in both: the ratio is surer than two intervals apart would be.
    ratio, low, high = (rows[1][f"half_rise_ratio{end}"] for end in ("", "_low", "_high"))
    assert ratio == pytest.approx((1 + rows[1]["half_rise_step"]) / (1 + rows[0]["half_rise_step"]))
    assert 1 < low < ratio < high
    assert high / low < (1 + rows[1]["half_rise_high"]) / (1 + rows[0]["half_rise_low"])
    for curve in (flat, -risen):
        (row,) = half_rises.half_rise_rows(steps, {("alignment", "original"): Curve(curve, SAMPLE)}, 0)
        assert np.isnan([value for name, value in row.items() if name.startswith("half_rise")]).all()


@pytest.fixture
def scores(tmp_path):
    """Files of scores of two subjects, two layers, three checkpoints and a baseline; steps differ by 2 in layer 0."""
    rng = np.random.default_rng(6)
    courses = {}
    for checkpoint in (*NAMES, "random"):
        for layer in (0, 3):
            for subject in ("F", "M"):
                at = tmp_path / "encoding" / checkpoint / subject / f"layer-{layer}"
                course = rng.standard_normal(N) + (
                    2 * NAMES.index(checkpoint) if checkpoint in NAMES and not layer else 0
                )
                courses[checkpoint, layer, subject] = course
                write_arrays(at / "none.original.npz", {"timecourse": course, "fold": FOLD, "r": np.zeros(3)})
                parts = np.zeros((len(PARTS), N))
                parts[PARTS.index("unique_model")] = course / 2
                write_arrays(at / "shares.nuisance.npz", {"r_timecourse": parts, "fold": FOLD})
    return tmp_path, courses


def command(folder, *more):
    contrasts.main(
        [
            *("--folder", str(folder / "encoding"), "--steps", "100", "0", "10", "--layers", "0", "3"),
            *("--subjects", "F", "M", "--gap", str(GAP), "--options", '{"block": 10}', *more),
            *("--output", str(folder / "tables/contrasts.tsv"), "--half-rises", str(folder / "half_rises.tsv")),
        ]
    )
    return read_table(folder / "tables/contrasts.tsv"), read_table(folder / "half_rises.tsv")


def test_the_command_tests_layers_and_subjects_and_their_means(scores):
    folder, courses = scores
    table, rises = command(folder, "--baselines", "random/layer-0", "random/layer-3", "--unique")
    key = table.set_index(["quantity", "subject", "layer", "comparison", "checkpoint", "reference"])
    assert len(key) == 3 * 3 * (2 + 2 + 3) * 2
    assert key.index.is_unique

    def expected(names, subjects, layers):
        one, other = (
            np.mean([courses[name, layer, who] for layer in where for who in subjects], axis=0)
            for name, where in zip(names, layers, strict=True)
        )
        return block_tests.block_test(one - other, *TEST)

    both, everyone = (0, 3), ("F", "M")
    for cell, test in {
        ("M", "3", "previous", "step-100", "step-10"): expected(("step-100", "step-10"), "M", ((3,), (3,))),
        ("mean", "mean", "reference", "step-100", "step-0"): expected(("step-100", "step-0"), everyone, (both, both)),
        # A baseline is its mean over layers.
        ("mean", "0", "reference", "step-10", "random"): expected(("step-10", "random"), everyone, ((0,), both)),
    }.items():
        row = key.loc[("alignment", *cell)]
        assert row["mean_difference"] == pytest.approx(test["mean"], rel=1e-6)
        assert row["p"] == pytest.approx(test["p"], rel=1e-6)
    half = key.loc[("unique_alignment", "F", "0", "reference", "step-100", "zero"), "mean_difference"]
    assert half == pytest.approx(courses["step-100", 0, "F"].mean() / 2, rel=1e-6)
    assert key.loc[
        ("alignment", "mean", "0", "reference", "step-10", "random"), ["clears", "significant"]
    ].tolist() == [1, 1]
    rows = table[(table["quantity"] == "alignment") & (table["layer"] == "3") & (table["comparison"] == "reference")]
    assert set(rows["clears"]) == {0}
    rises = rises.set_index(["quantity", "subject", "layer"])["half_rise_step"]
    assert np.isfinite(rises.loc[("alignment", "F", "0")])
    assert np.isnan(rises.loc[("alignment", "F", "3")])
    # Without a baseline alignment is compared with none at all.
    alone, _ = command(folder)
    assert set(alone["reference"]) == {"step-0", "step-10", "zero"}
    assert set(alone["quantity"]) == {"alignment"}


def test_scores_on_other_rows_are_named(scores):
    folder, courses = scores
    path = folder / "encoding/step-10/M/layer-3/none.original.npz"
    other = np.concatenate([np.zeros(5, dtype=np.int16), FOLD[:-5]])
    write_arrays(path, {"timecourse": courses["step-10", 3, "M"], "fold": other})
    with pytest.raises(InputError, match=r"step-10/M/layer-3/none\.original\.npz: other rows or folds"):
        command(folder)
