"""Models as units: against plain analyses of variance, planted truth, and the tests of single models."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.unit.test_half_rises import FOLD, GAP, SETTINGS, story

from dynalign.io.arrays import read_arrays, write_arrays
from dynalign.io.errors import InputError
from dynalign.statistics import block_tests, half_rises, models
from dynalign.tables.reader import read_table
from dynalign.tables.schema import TABLES
from dynalign.tables.writer import write_table

STEPS, SUBJECTS = (0, 100, 1000), ("F", "M", "H")
SAMPLE = block_tests.sample_of(FOLD, SETTINGS, GAP)
PLAIN = block_tests.Sample(np.full(8, 1 / 8), 0.0, 0.05)


def test_the_variance_is_that_of_a_crossed_analysis_of_variance():
    """Mean squares by hand, of all main effects and interactions: the unbiased estimate for three crossed factors."""
    rng = np.random.default_rng(0)
    a, s, k = 5, 4, 8
    y = 3 * rng.standard_normal((a, 1, 1)) + 2 * rng.standard_normal((1, s, 1)) + rng.standard_normal((1, 1, k))
    y = y + rng.standard_normal((a, s, 1)) + 0.5 * rng.standard_normal((a, s, k))
    found = models.crossed([(1, y[:, :, None])], PLAIN)
    shape, total = {0: a, 1: s, 2: k}, {}
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        effect: np.ndarray = np.zeros((a, s, k))
        for bits in range(2 ** len(axes)):
            kept = [axis for j, axis in enumerate(axes) if bits >> j & 1]
            gone = tuple(axis for axis in range(3) if axis not in kept)
            effect = effect + (-1) ** (len(axes) - len(kept)) * y.mean(axis=gone, keepdims=True)
        df = np.prod([shape[axis] - 1 for axis in axes])
        total[axes] = np.square(effect).sum() / df / (a * s * k)
    signs = {axes: (1, -1, 1)[len(axes) - 1] for axes in total}
    variance = sum(signs[axes] * value for axes, value in total.items())
    df = variance**2 / sum(total[axes] ** 2 / (n - 1) for axes, n in (((0,), a), ((1,), s), ((2,), k)))
    assert found["mean"][0] == pytest.approx(y.mean())
    assert found["df"][0] == pytest.approx(df)
    half = stats.t.ppf(0.975, df) * variance**0.5
    assert found["ci_high"][0] - found["mean"][0] == pytest.approx(half)
    assert found["p"][0] == pytest.approx(2 * stats.t.sf(abs(y.mean()) / variance**0.5, df))
    assert found["sd_between_raw"][0] == pytest.approx(y.mean(axis=(1, 2)).std(ddof=1))


def test_of_one_factor_it_is_the_t_test_of_that_factor():
    values = np.array([1.0, 2, 4, 9])
    for shape in ((4, 1, 1, 1), (1, 4, 1, 1)):
        found = models.crossed([(1, np.broadcast_to(values.reshape(shape), (*shape[:3], 8)))], PLAIN)
        low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
        np.testing.assert_allclose([found["ci_low"][0], found["ci_high"][0]], [low, high])
    course = np.random.default_rng(1).standard_normal((1, 1, 1, 8))
    found, expected = models.crossed([(1, course)], SAMPLE), SAMPLE.test(course[0, 0, 0])
    for name in ("mean", "ci_low", "ci_high", "p"):
        assert found[name][0] == pytest.approx(expected[name])
    assert np.isnan(found["sd_between"][0])


def test_two_groups_are_compared_as_welch_has_it_where_only_models_vary():
    one, other = np.array([1.0, 2, 4]), np.array([5.0, 6, 6.5, 9, 12])
    parts = [(sign, np.broadcast_to(v[:, None, None, None], (len(v), 2, 1, 8))) for sign, v in ((1, one), (-1, other))]
    found = models.crossed(parts, PLAIN)
    assert found["p"][0] == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert found["mean"][0] == pytest.approx(one.mean() - other.mean())


def test_the_spread_of_models_leaves_out_the_noise_of_their_blocks():
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((10, 1, 400, 8))
    alone = models.crossed([(1, noise)], PLAIN)
    # As it comes out it is noise alone, 1/√8; less the noise it is often 0, and 0 in the mean of squares.
    assert np.median(alone["sd_between_raw"]) == pytest.approx(8**-0.5, rel=0.05)
    assert np.mean(alone["sd_between"] == 0) > 0.4
    planted = noise + 0.5 * rng.standard_normal((10, 1, 400, 1))
    assert np.sqrt(np.mean(models.crossed([(1, planted)], PLAIN)["sd_between"] ** 2)) == pytest.approx(0.5, rel=0.05)
    # What all models share, the text, is no difference between them.
    common = models.crossed([(1, planted + 5 * rng.standard_normal((1, 1, 400, 8)))], PLAIN)
    np.testing.assert_allclose(common["sd_between"], models.crossed([(1, planted)], PLAIN)["sd_between"])


@pytest.mark.parametrize(("n_models", "n_subjects"), [(5, 3), (10, 3), (5, 1)])
def test_intervals_cover_the_mean_of_the_population(n_models, n_subjects):
    rng = np.random.default_rng(3)
    draw = lambda *shape: rng.standard_normal(shape)  # noqa: E731
    y = draw(n_models, 1, 1000, 1) + (draw(1, n_subjects, 1000, 1) if n_subjects > 1 else 0)
    y = y + 0.3 * draw(n_models, n_subjects, 1000, 1) + 3 * draw(1, 1, 1000, 24) + 2 * draw(n_models, 1, 1000, 24)
    y = y + draw(n_models, n_subjects, 1000, 24)
    found = models.crossed([(1, y)], block_tests.Sample(np.full(24, 1 / 24), 0.0, 0.05))
    assert 0.93 <= np.mean((found["ci_low"] <= 0) & (found["ci_high"] >= 0)) <= 0.975


def write_model(folder, depth, layers, level, rng, text, hidden=8):
    """Scores and tables of a model whose alignment is `level` (step → r) + its layer / depth / 10."""
    rows = []
    write_arrays(folder / "representation/tokens.npz", {"depth": np.array(depth), "hidden": np.array(hidden)})
    index = np.arange(33, 360)
    for step in STEPS:
        for layer in layers:
            for k, subject in enumerate(SUBJECTS):
                course = level[step] + layer / depth / 10 + 0.1 * k + 0.05 * text + 0.02 * rng.standard_normal(100)
                at = folder / f"encoding/step-{step}/{subject}/layer-{layer}"
                write_arrays(at / "none.original.npz", {"timecourse": course, "fold": FOLD})
                write_arrays(at / "shares.nuisance.npz", {"r_timecourse": np.tile(course / 2, (4, 1)), "fold": FOLD})
                inner = -abs(layer / depth - 0.5)
                cell = {"checkpoint": f"step-{step}", "step": step, "layer": layer, "removal": "none"}
                score = {"mean_r": course.mean(), "inner_score": inner, "n_voxels": 9, "n_invalid": 0}
                rows.append(cell | {"property": "original", "subject": subject} | score)
            right = (rng.random((1, len(index))) < 0.5 + 0.2 * (step > 0)).astype(np.int8)
            about = {"property": np.array(["pos"]), "word_index": index, "n_folds": np.array(4)}
            write_arrays(folder / f"probing/step-{step}/layer-{layer}.npz", about | {"right": right})
        bits = pd.DataFrame({"word_index": index, "surprisal": 9 - level[step] + rng.random(len(index))})
        write_table(bits, folder / f"representation/step-{step}.surprisal.tsv")
    table = pd.DataFrame(rows).assign(ci_low=0.0, ci_high=0.0, share_significant=0.0)
    write_table(table, folder / "tables/alignment.tsv")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three seeds of a model of 4 layers, two of one of 8."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(4)
    story(folder)
    text = rng.standard_normal(100)
    for k in range(3):
        write_model(folder / f"small-{k}", 4, (0, 2, 4), {0: 0.1, 100: 0.3 + 0.05 * k, 1000: 0.5}, rng, text)
    for k in range(2):
        write_model(folder / f"large-{k}", 8, (0, 4, 6), {0: 0.1, 100: 0.6 + 0.01 * k, 1000: 0.9}, rng, text)
    return folder


def run(folder, output, *names, more=()):
    models.main(
        [
            *("--names", *names, "--folders", *(str(folder / name) for name in names), "--subjects", *SUBJECTS),
            *("--gap", str(GAP), "--options", '{"block": 10}', "--unique", "--words", str(folder / "words.tsv")),
            *("--trs", str(folder / "trs.tsv"), *more),
            *(f"--{name}={output / 'tables' / file}" for name, file in FILES.items()),
        ]
    )
    return {name: read_table(output / "tables" / file) for name, file in FILES.items()}


FILES = {"models": "models.tsv", "curves": "model_curves.tsv", "contrasts": "model_contrasts.tsv"}
FILES["half-rises"] = "model_half_rises.tsv"
NAMES = ("small-0", "small-1", "small-2", "large-0", "large-1")


@pytest.fixture(scope="module")
def tables(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("found"), *NAMES)


def of_model(study, name, step, weights):
    """Block means of a model, (n_subjects, n_blocks), layers weighted."""
    found = np.zeros((len(SUBJECTS), 8))
    for layer, weight in weights.items():
        for k, subject in enumerate(SUBJECTS):
            path = study / name / f"encoding/step-{step}/{subject}/layer-{layer}/none.original.npz"
            found[k] += weight * block_tests.block_means(read_arrays(path)["timecourse"], FOLD, 10)[0]
    return found


def test_means_over_models_at_relative_depths(study, tables):
    table = tables["models"].set_index(["quantity", "property", "relative_depth", "group", "step"]).sort_index()
    assert table.index.is_unique
    assert set(tables["models"]["group"]) == {"4 layers × 8", "8 layers × 8"}
    # A quarter of four layers lies midway between layers 0 and 2; three quarters of eight is layer 6.
    cases = {
        ("0.25", "4 layers × 8"): (NAMES[:3], {0: 0.5, 2: 0.5}),
        ("1", "4 layers × 8"): (NAMES[:3], {4: 1}),
        ("best", "4 layers × 8"): (NAMES[:3], {2: 1}),
        ("0.75", "8 layers × 8"): (NAMES[3:], {6: 1}),
        ("mean", "8 layers × 8"): (NAMES[3:], dict.fromkeys((0, 4, 6), 1 / 3)),
    }
    for (place, group), (names, weights) in cases.items():
        row = table.loc[("alignment", "original", place, group, 100)]
        blocks = np.stack([of_model(study, name, 100, weights) for name in names])[:, :, None]
        expected = models.crossed([(1, blocks)], SAMPLE)
        for name in ("mean", "ci_low", "ci_high", "sd_between", "sd_between_raw"):
            assert row[name] == pytest.approx(expected[name][0], rel=1e-6, abs=1e-9), (place, name)
        assert (row["n_models"], row["n_subjects"]) == (len(names), 3)
        unique = table.loc[("unique_alignment", "original", place, group, 100)]
        assert unique["mean"] == pytest.approx(row["mean"] / 2, rel=1e-6)
    # Eight layers are studied up to the sixth: nothing is said of the last.
    assert ("alignment", "original", "1", "8 layers × 8", 100) not in table.index
    assert set(table.loc[("alignment", "original", "best"), "best_depth"]) == {0.5}
    assert table.loc[("alignment", "original", "mean"), "best_depth"].isna().all()
    spread = table.loc[("alignment", "original", "mean", "4 layers × 8"), "sd_between"]
    assert spread[100] == pytest.approx(0.05, abs=0.01)
    assert spread[1000] < 0.01


def test_perplexity_and_probes_are_compared_over_models_too(study, tables):
    curves = tables["curves"].set_index(["quantity", "property", "relative_depth", "model", "step"])
    bits = read_table(study / "small-1/representation/step-100.surprisal.tsv")["surprisal"]
    assert curves.loc[("perplexity", "", "", "small-1", 100), "value"] == pytest.approx(bits.mean(), rel=1e-6)
    right = [read_arrays(study / f"large-0/probing/step-0/layer-{k}.npz")["right"].mean() for k in (0, 4, 6)]
    assert curves.loc[("probing", "pos", "mean", "large-0", 0), "value"] == pytest.approx(np.mean(right), rel=1e-6)
    means = tables["models"].set_index(["quantity", "property", "relative_depth", "group", "step"])
    row = means.loc[("probing", "pos", "mean", "4 layers × 8", 1000)]
    assert row["ci_low"] < 0.7 < row["ci_high"]
    assert row["n_subjects"] == 1


def test_models_are_compared_as_checkpoints_are(study, tables):
    table = tables["contrasts"]
    key = table.set_index(list(TABLES["model_contrasts"].key))
    assert key.index.is_unique
    pair = ("models", "alignment", "original", "mean", "small-0", "small-2", 100)
    courses = [
        of_model(study, name, 100, dict.fromkeys((0, 2, 4), 1 / 3)).mean(axis=0) for name in ("small-0", "small-2")
    ]
    expected = block_tests.mean_test(courses[0] - courses[1], FOLD, SETTINGS, GAP)
    for name, column in (("mean", "mean_difference"), ("p", "p"), ("ci_low", "ci_low")):
        assert key.loc[pair, column] == pytest.approx(expected[name], rel=1e-5)
    assert key.loc[pair, "significant"] == 1
    assert key.loc[(*pair[:-1], 0), "significant"] == 0
    # Sizes, seeds as units: at step 100 the larger is 0.26 above, less of the mean over layers of other depths.
    sizes = key.loc[("groups", "alignment", "original", "0.5", "4 layers × 8", "8 layers × 8", 100)]
    assert sizes["mean_difference"] == pytest.approx(0.35 - 0.605, abs=0.01)
    assert sizes["ci_low"] < -0.255 < sizes["ci_high"] < 0
    assert not set(table["relative_depth"][table["comparison"] == "models"]) & {"0.25", "0.5"}


def test_a_half_rise_over_models_has_the_t_interval_of_models_that_differ():
    """Where nothing else varies: linear curves, whose half-rise is that of their mean, and blocks without noise."""
    places = np.array([0.0, 1, 2])
    middle = np.array([0.2, 0.5, 0.55, 0.4])
    curves = np.stack([np.zeros(4), middle, np.ones(4)], axis=1)
    blocks = np.broadcast_to(curves[:, None, :, None], (4, 1, 3, 8))
    found = models.risen_over_models(places, blocks, PLAIN, 0)
    by_hand = stats.t.interval(0.95, 3, middle.mean(), stats.sem(middle))
    # Below a middle m < 1/2, half is reached at 1 + (1/2 − m) / (1 − m), above it at 1 / (2 m).
    expected = [1 / (2 * m) if m > 0.5 else 1 + (0.5 - m) / (1 - m) for m in by_hand[::-1]]
    # Ends of 1,999 draws from t with three degrees of freedom are known to .018 (twice their standard error: .04).
    np.testing.assert_allclose(np.quantile(found[1:], [0.025, 0.975]), expected, atol=0.05)
    assert np.isnan(models.risen_over_models(places, -blocks, PLAIN, 0)).all()
    # What models differ by as noise of their blocks is not counted again: twice, with t of 3, it would be four times.
    ratios = []
    for seed in range(12):
        noise = np.random.default_rng(seed).standard_normal((4, 1, 3, 8)) + 9 * curves.mean(axis=0)[:, None]
        alone = half_rises.half_rise(places, block_tests.resampled(noise.mean(axis=0), PLAIN, 0))
        ratios.append(np.var(models.risen_over_models(places, noise, PLAIN, 0)[1:]) / alone.var())
    assert np.median(ratios) < 1.6


def test_half_rises_over_models_stand_in_a_table(tables):
    table = tables["half-rises"].set_index(["quantity", "property", "relative_depth", "group"]).sort_index()
    assert table.index.is_unique
    row = table.loc[("alignment", "original", "mean", "4 layers × 8")]
    # From 0.1 to 0.5; at step 100 at 0.35 in the mean, so that half lies on the way there.
    assert row["half_rise_step"] == pytest.approx(np.expm1(np.log(101) * 0.2 / 0.25), rel=0.05)
    assert row["half_rise_low"] < row["half_rise_step"] < row["half_rise_high"]
    assert 1 < row["half_rise_spread"] < 3
    assert np.isnan(row["half_rise_ratio"])
    over = table.loc[("unique_alignment", "original", "best", "4 layers × 8")]
    assert [over[f"half_rise_ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([1, 1, 1])
    bits = table.loc[("perplexity", "", "", "4 layers × 8")]
    assert bits["half_rise_ratio_low"] < 1.2
    assert bits["half_rise_ratio_high"] > 0.9


def test_a_model_alone_has_no_interval_over_models(study, tmp_path):
    found = run(study, tmp_path, "small-0", "large-0", more=("--groups", "a", "b"))
    assert found["models"][["ci_low", "ci_high", "sd_between", "sd_between_raw"]].isna().all(axis=None)
    assert set(found["models"]["group"]) == {"a", "b"}
    assert set(found["contrasts"]["comparison"]) == {"models"}
    before = {file: (tmp_path / "tables" / file).read_bytes() for file in FILES.values()}
    run(study, tmp_path, "small-0", "large-0", more=("--groups", "a", "b"))
    assert before == {file: (tmp_path / "tables" / file).read_bytes() for file in FILES.values()}


def test_models_that_cannot_be_compared_are_named(study, tmp_path):
    with pytest.raises(InputError, match="2 names, 2 folders, 1 groups; give one for each model"):
        run(study, tmp_path, "small-0", "large-0", more=("--groups", "a"))
    rng = np.random.default_rng(5)
    write_model(tmp_path / "other", 4, (0, 2, 4), dict.fromkeys(STEPS, 0.1), rng, np.zeros(100))
    path = tmp_path / "other/encoding/step-0/F/layer-0/none.original.npz"
    for file in path.parents[3].rglob("none.original.npz"):
        write_arrays(file, {"timecourse": np.zeros(100), "fold": FOLD[::-1].copy()})
    with pytest.raises(InputError, match=r"other: other rows or folds than .*small-0; encode both again"):
        run(study, tmp_path, "small-0", "../" + str((tmp_path / "other").relative_to(tmp_path.parent)))
