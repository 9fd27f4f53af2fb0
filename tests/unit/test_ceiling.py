"""The intersubject noise ceiling, against scikit-learn and against what is planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from tests.helpers import flags, made_scores

from dynalign import folds
from dynalign.config.encoding import Encoding
from dynalign.config.statistics import NoiseCeiling, Statistics
from dynalign.encoding import arms
from dynalign.encoding.scores import read_scores, write_scores
from dynalign.io.arrays import write_array
from dynalign.io.errors import InputError
from dynalign.statistics import ceiling
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

CHOICES = Encoding(folds=4, inner_folds=3, gap=2, alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))


def mean_r(scores):
    return scores.r.mean(axis=0)


def test_it_is_scikit_learns_ridge_on_the_other_subjects_voxels():
    rng = np.random.default_rng(0)
    n = 96
    shared = rng.normal(size=(n, 3))
    target, *others = (shared @ rng.normal(size=(3, v)) + 0.7 * rng.normal(size=(n, v)) + 5 for v in (6, 7, 30))
    others[0][:, 2] = 4.0
    others[1][5, 3] = np.nan
    got = ceiling.intersubject(others, target, np.ones(n, dtype=int), CHOICES)
    # Constant and unfinished feature voxels are left out.
    features = np.concatenate([np.delete(others[0], 2, axis=1), np.delete(others[1], 3, axis=1)], axis=1)
    for number, block in enumerate(folds.contiguous(n, 4)):
        train = np.setdiff1d(np.arange(n), np.arange(block[0] - 2, block[-1] + 3))
        centre, scale = features[train].mean(axis=0), features[train].std(axis=0)
        x = (features - centre) / scale
        y = (target - target[train].mean(axis=0)) / target[train].std(axis=0)
        inner = np.zeros((len(CHOICES.alphas), 6))
        for part in folds.contiguous(len(train), 3):
            held = train[part]
            rest = train[(train < held[0] - 2) | (train > held[-1] + 2)]
            for k, alpha in enumerate(CHOICES.alphas):
                model = Ridge(alpha).fit(x[rest], y[rest])
                inner[k] += r2_score(y[held], model.predict(x[held]), multioutput="raw_values") / 3
        chosen = inner.argmax(axis=0)
        np.testing.assert_allclose(got.alpha[number], np.array(CHOICES.alphas)[chosen], rtol=1e-6)
        np.testing.assert_allclose(got.inner_score[number], inner.max(axis=0), atol=2e-5)
        for voxel, k in enumerate(chosen):
            model = Ridge(CHOICES.alphas[k]).fit(x[train], y[train, voxel])
            expected = np.corrcoef(model.predict(x[block]), y[block, voxel])[0, 1]
            assert got.r[number, voxel] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("m", [1, 2, 6])
@pytest.mark.parametrize("reliability", [0.2, 0.6])
def test_shared_signal_in_independent_noise_gives_the_ceiling_of_spearman_and_brown(m, reliability):
    """Each subject's one feature voxel is a noisy copy of the signal: the best predictor is their mean."""
    rng = np.random.default_rng(m)
    n = 900
    signal = rng.normal(size=(n, 1))
    noise = np.sqrt((1 - reliability) / reliability)
    target, *others = (signal + noise * rng.normal(size=(n, v)) for v in (80, *[1] * m))
    choices = CHOICES.model_copy(update={"folds": 3, "inner_folds": 2})
    got = mean_r(ceiling.intersubject(others, target, np.ones(n, dtype=int), choices)).mean()
    boosted = m * reliability / (1 + (m - 1) * reliability)
    assert got == pytest.approx(np.sqrt(reliability * boosted), abs=0.025)


def test_many_voxels_of_a_shared_signal_reach_the_ceiling_of_a_perfect_model():
    rng = np.random.default_rng(3)
    n, gain = 800, np.linspace(0.3, 2, 10)
    signal = rng.normal(size=n)
    target = signal[:, None] * gain + rng.normal(size=(n, 10))
    target[:, 0] = rng.normal(size=n)
    others = [signal[:, None] + rng.normal(size=(n, 200)) for _ in range(2)]
    scores = ceiling.intersubject(others, target, np.ones(n, dtype=int), CHOICES)
    expected = gain / np.sqrt(1 + gain**2)
    expected[0] = 0
    np.testing.assert_allclose(mean_r(scores), expected, atol=0.09)
    assert np.abs(mean_r(scores) - expected).mean() < 0.03


def test_subjects_who_share_nothing_have_no_ceiling():
    """Autocorrelated noise of different people: contiguous folds with a gap keep it from predicting."""
    rng = np.random.default_rng(4)
    walks = [np.cumsum(rng.normal(size=(600, 40)), axis=0) for _ in range(3)]
    smooth = [np.diff(walk[::2] - np.roll(walk[::2], 3, axis=0), axis=0)[5:] for walk in walks]
    scores = ceiling.intersubject(smooth[1:], smooth[0], np.ones(len(smooth[0]), dtype=int), CHOICES)
    assert abs(mean_r(scores).mean()) < 0.05


def test_bytes_do_not_depend_on_threads_and_invalid_voxels_are_nan(monkeypatch):
    monkeypatch.setattr(ceiling, "TILE", 7)
    rng = np.random.default_rng(5)
    target, other = rng.normal(size=(80, 5)).astype(np.float32), rng.normal(size=(80, 40)).astype(np.float32)
    target[:, 1] = 2
    one, three = (ceiling.intersubject([other], target, np.ones(80, dtype=int), CHOICES, k) for k in (1, 3))
    for name, values in vars(one).items():
        assert values.tobytes() == getattr(three, name).tobytes(), name
    assert np.isnan(one.r[:, 1]).all()
    assert np.isfinite(np.delete(one.r, 1, axis=1)).all()
    monkeypatch.setattr(ceiling, "TILE", 4096)
    whole = ceiling.intersubject([other], target, np.ones(80, dtype=int), CHOICES)
    np.testing.assert_allclose(whole.r, one.r, atol=1e-5)


def test_folds_are_the_encoding_models(tmp_path):
    runs = np.repeat([1, 2, 3], 30)
    rng = np.random.default_rng(6)
    brains = [rng.normal(size=(90, 4)) for _ in range(2)]
    scores = ceiling.intersubject(brains[1:], brains[0], runs, CHOICES.model_copy(update={"folds": "runs"}))
    assert scores.fold.tolist() == (runs - 1).tolist()
    splits = arms.outer_splits(runs, 4, 2)
    scores = ceiling.intersubject(brains[1:], brains[0], runs, CHOICES)
    for number, (_, test) in enumerate(splits):
        assert (scores.fold[test] == number).all()


#: A block is a fold.
WHOLE = Statistics(block=4)


def scores_of(r):
    return made_scores(r, np.repeat(np.arange(len(r)), 4).astype(np.int16), block=WHOLE.block)


def test_the_ratio_is_of_means_over_voxels_above_the_threshold():
    rng = np.random.default_rng(7)
    limit = rng.normal(0.4, 0.02, (5, 30))
    limit[:, 20:] = rng.normal(0, 0.01, (5, 10))
    limit[:, 3] = np.nan
    r = limit * 0.5
    r[:, 20:] = 9
    chosen = ceiling.above(scores_of(limit), 0.1)
    assert chosen.tolist() == [k < 20 and k != 3 for k in range(30)]
    row = ceiling.ratio_row(scores_of(r), scores_of(limit), chosen, WHOLE, 0)
    assert row["n_voxels"] == 19
    assert row["ratio"] == pytest.approx(0.5, rel=1e-6)
    # A ratio that is the same in every block is certain, however much the ceiling varies.
    assert row["ci_high"] - row["ci_low"] < 1e-3
    assert row["mean_r"] / row["mean_ceiling"] == pytest.approx(row["ratio"])
    nothing = ceiling.ratio_row(scores_of(r), scores_of(limit), np.zeros(30, dtype=bool), WHOLE, 0)
    assert nothing["n_voxels"] == 0
    assert np.isnan(nothing["ratio"])


def test_the_ratios_interval_agrees_with_the_jackknife():
    rng = np.random.default_rng(8)
    limit = rng.normal(0.4, 0.02, (10, 1)) + np.zeros((10, 50))
    r = rng.normal(0.2, 0.02, (10, 1)) + 0.2 * (limit - 0.4)
    row = ceiling.ratio_row(scores_of(r), scores_of(limit), np.ones(50, dtype=bool), WHOLE, 0)
    a, b = r[:, 0], limit[:, 0]
    left_out = np.array([np.delete(a, k).sum() / np.delete(b, k).sum() for k in range(10)])
    error = np.sqrt(9 / 10 * np.square(left_out - left_out.mean()).sum())
    # Nadeau and Bengio's factor for ten folds, t with nine degrees of freedom.
    half = 2.2622 * error * np.sqrt((1 / 10 + 1 / 9) / (1 / 10))
    assert (row["ci_high"] - row["ci_low"]) / 2 == pytest.approx(half, rel=0.05)


def perfect_model_ratio(reliability: float, m: int) -> float:
    """By simulation: r/ceiling of the signal itself, where each of `m` other subjects has a noisy copy of it."""
    rng = np.random.default_rng(11)
    n, noise = 1500, np.sqrt((1 - reliability) / reliability)
    signal = rng.normal(size=(n, 1))
    target, *others = (signal + noise * rng.normal(size=(n, v)) for v in (60, *[1] * m))
    choices = CHOICES.model_copy(update={"folds": 3, "inner_folds": 2})
    limit = ceiling.intersubject(others, target, np.ones(n, dtype=int), choices, block=50)
    r = [[np.corrcoef(signal[limit.fold == k, 0], y)[0, 1] for y in target[limit.fold == k].T] for k in range(3)]
    chosen = ceiling.above(limit, 0)
    row = ceiling.ratio_row(replace(limit, r=np.array(r)), limit, chosen, Statistics(block=50), 0)
    return row["ratio"]


@pytest.mark.parametrize(("reliability", "m"), [(0.29, 2), (0.29, 20), (0.8, 2)])
def test_a_perfect_models_ratio_is_above_1_where_others_are_few(reliability, m):
    """By Spearman and Brown: 1.49 of two others with a reliability of .29; so r/ceiling is no share."""
    expected = np.sqrt((1 + (m - 1) * reliability) / (m * reliability))
    assert perfect_model_ratio(reliability, m) == pytest.approx(expected, rel=0.04)


def test_of_other_trs_the_interval_takes_both_errors():
    """Against simulation: the ratio of two means over independent blocks."""
    rng = np.random.default_rng(12)
    settings, ratios, widths = Statistics(block=1), [], []
    for _ in range(300):
        r, limit = (centre + 0.1 * rng.normal(size=(n, 1)) for centre, n in ((0.2, 40), (0.4, 25)))
        scores, bound = (made_scores(x, np.arange(len(x)).astype(np.int16), block=1) for x in (r, limit))
        row = ceiling.ratio_row(scores, bound, np.ones(1, dtype=bool), settings, 0, own_runs=True)
        ratios.append(row["ratio"])
        widths.append((row["ci_high"] - row["ci_low"]) / 2)
    # Twice the scatter, and Nadeau and Bengio's factor for n folds, whose training rows all others are.
    assert np.mean(widths) == pytest.approx(2.03 * np.std(ratios) * np.sqrt(2), rel=0.12)
    with pytest.raises(InputError, match="both need the same responses and folds"):
        ceiling.ratio_row(scores, bound, np.ones(1, dtype=bool), settings, 0)
    two = made_scores(np.ones((3, 2)), np.arange(3).astype(np.int16), block=1)
    with pytest.raises(InputError, match="both need the same responses and folds"):
        ceiling.ratio_row(scores, two, np.ones(1, dtype=bool), settings, 0, own_runs=True)


def test_subjects_of_own_runs_are_predicted_on_what_they_share(tmp_path):
    """The second has the runs in the other order and one more; against the shared rows by hand."""
    rng = np.random.default_rng(13)
    signal = {name: rng.normal(size=(60, 3)) for name in "abc"}
    paths, brains = {}, {}
    for subject, stories in {"F": "ab", "M": "bca"}.items():
        trs = pd.DataFrame({"tr": range(60 * len(stories)), "run": np.repeat(1 + np.arange(len(stories)), 60)})
        trs = trs.assign(story=np.repeat(list(stories), 60), time=np.tile(2.0 * np.arange(60), len(stories)), kept=1)
        # F lacks the first ten TRs of each run.
        trs.loc[(subject == "F") & (trs["time"] < 20), "kept"] = 0
        paths[subject] = str(tmp_path / f"{subject}.trs.tsv")
        write_table(trs, paths[subject])
        whole = np.concatenate([signal[name] + rng.normal(size=(60, 3)) for name in stories]).astype(np.float32)
        brains[subject] = whole[trs["kept"] == 1]
        write_array(tmp_path / f"{subject}.npy", brains[subject])
    command = ["predict", *flags(responses=tmp_path / "F.npy", encoding=CHOICES.model_dump_json())]
    command += [*flags(output=tmp_path / "F.npz"), "--others", str(tmp_path / "M.npy")]
    ceiling.main([*command, "--trs", paths["F"], paths["M"]])
    same = np.concatenate([np.arange(130, 180), np.arange(10, 60)])
    expected = ceiling.intersubject([brains["M"][same]], brains["F"], np.repeat([1, 2], 50), CHOICES)
    found = read_scores(tmp_path / "F.npz")
    np.testing.assert_array_equal(found.r, expected.r)
    assert found.r.mean() > 0.2
    with pytest.raises(InputError, match=r"M\.npy: shape \(180, 3\), but .*F\.trs\.tsv keeps 100 TRs"):
        ceiling.main([*command, "--trs", paths["F"], paths["F"]])
    # M's own table says what is left out.
    command = ["predict", *flags(responses=tmp_path / "M.npy", encoding=CHOICES.model_dump_json())]
    command += [*flags(output=tmp_path / "M.npz"), "--others", str(tmp_path / "F.npy")]
    ceiling.main([*command, "--trs", paths["M"], paths["F"]])
    limit = read_scores(tmp_path / "M.npz")
    whole = made_scores(np.full((4, 3), 0.2), np.repeat(np.arange(4), 45).astype(np.int16))
    write_scores(tmp_path / "encoding/step-4/M/layer-0/none.original.npz", whole)
    table = pd.DataFrame([["step-4", 4, 0, "none", "original", "M"]], columns=[*ceiling.CELL, "subject"])
    table = table.assign(mean_r=0.2, ci_low=0, ci_high=1, inner_score=0, n_voxels=3, n_invalid=0, share_significant=0)
    write_table(table, tmp_path / "alignment.tsv")
    ratio = flags(subject="M", n_others=1, gap=CHOICES.gap, ceiling=tmp_path / "M.npz", folder=tmp_path / "encoding")
    ratio += flags(alignment=tmp_path / "alignment.tsv", ceiling_output=tmp_path / "tables/noise_ceiling.tsv")
    ceiling.main(["ratio", *ratio, *flags(output=tmp_path / "r.tsv", own_trs=paths["M"])])
    row = read_table(tmp_path / "tables/noise_ceiling.tsv").iloc[0]
    assert (row["n_trs"], row["n_trs_left_out"]) == (100, 80)
    chosen = ceiling.above(limit, 0.1)
    expected = 0.2 / limit.r[:, chosen].mean()
    assert read_table(tmp_path / "r.tsv")["ratio"].item() == pytest.approx(expected, rel=1e-5)


def test_wrong_input_is_told():
    rng = np.random.default_rng(9)
    target = rng.normal(size=(80, 3))
    runs = np.ones(80, dtype=int)
    with pytest.raises(InputError, match="none of the 3 voxels varies"):
        ceiling.intersubject([target], np.ones((80, 3)), runs, CHOICES)
    with pytest.raises(InputError, match="both need the same responses and folds"):
        ceiling.ratio_row(scores_of(np.ones((5, 3))), scores_of(np.ones((4, 3))), np.ones(3, dtype=bool), WHOLE, 0)


def test_the_commands(tmp_path):
    rng = np.random.default_rng(10)
    signal = rng.normal(size=(100, 1))
    for name in "FMH":
        write_array(tmp_path / f"{name}.npy", (signal + rng.normal(size=(100, 8))).astype(np.float32))
    trs = pd.DataFrame({"tr": range(110), "run": 1, "time": 2.0 * np.arange(110), "kept": 1})
    trs.loc[:9, "kept"] = 0
    write_table(trs, tmp_path / "trs.tsv")
    predict = ["predict", *flags(responses=tmp_path / "F.npy", trs=tmp_path / "trs.tsv")]
    predict += [*flags(encoding=CHOICES.model_dump_json(), output=tmp_path / "F.npz"), "--others"]
    ceiling.main([*predict, str(tmp_path / "M.npy"), str(tmp_path / "H.npy")])
    limit = read_scores(tmp_path / "F.npz")
    rows = []
    for name, share in (("original", 0.5), ("tense", 0.25)):
        removal = "none" if name == "original" else "ridge"
        half = replace(limit, r=limit.r * share, blocks=limit.blocks * np.float16(share))
        write_scores(tmp_path / f"encoding/step-4/F/layer-0/{removal}.{name}.npz", half)
        rows.append(["step-4", 4, 0, removal, name, "F"])
    table = pd.DataFrame(rows, columns=[*ceiling.CELL, "subject"]).assign(mean_r=0.1, ci_low=0, ci_high=1)
    write_table(table.assign(inner_score=0, n_voxels=8, n_invalid=0, share_significant=0), tmp_path / "alignment.tsv")
    ratio = flags(subject="F", n_others=2, gap=CHOICES.gap, ceiling=tmp_path / "F.npz", folder=tmp_path / "encoding")
    ratio += flags(alignment=tmp_path / "alignment.tsv", ceiling_output=tmp_path / "c.tsv")
    ratio += flags(options=NoiseCeiling(threshold=0.2).model_dump_json(), output=tmp_path / "r.tsv")
    ceiling.main(["ratio", *ratio])
    ratios = read_table(tmp_path / "r.tsv")
    assert ratios["ratio"].tolist() == pytest.approx([0.5, 0.25])
    row = read_table(tmp_path / "c.tsv").iloc[0]
    assert (row["n_others"], row["n_voxels"], row["threshold"]) == (2, 8, 0.2)
    assert row["mean_r"] == pytest.approx(np.nanmean(limit.r), rel=1e-6)
    write_array(tmp_path / "M.npy", np.zeros((99, 3), dtype=np.float32))
    with pytest.raises(InputError, match=r"M\.npy: shape \(99, 3\), but .*trs\.tsv keeps 100 TRs"):
        ceiling.main([*predict, str(tmp_path / "M.npy")])
