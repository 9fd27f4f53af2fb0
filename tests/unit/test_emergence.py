"""When things emerge in training, and perplexity against alignment, on planted truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.figure_study import contrasts, half_rises

from dynalign.io.errors import InputError
from dynalign.statistics import emergence
from dynalign.tables import reader, schema, writer

STEPS = (0, 10, 100, 1000, 10000)
NAN = float("nan")


def found(clear, steps=STEPS):
    row = emergence.emergence(steps, clear)
    return [row[name] for name in ("emergence_after", "emergence_step", "clears_after", "clears_by")]


def test_an_emergence_step_lies_after_the_last_checkpoint_that_does_not_clear():
    np.testing.assert_equal(found([0, 0, 1, 1, 1]), [10, 100, 10, 100])
    # A checkpoint that clears by chance is the first, not one that all later ones follow.
    np.testing.assert_equal(found([0, 1, 0, 1, 1]), [0, 10, 100, 1000])
    # At the first checkpoint already: there is none before it.
    np.testing.assert_equal(found([1, 1, 1, 1, 1]), [NAN, 0, NAN, 0])
    np.testing.assert_equal(found([1, 0, 0, 0, 1]), [NAN, 0, 1000, 10000])
    # Lost at the end, never there.
    np.testing.assert_equal(found([0, 0, 1, 1, 0]), [10, 100, NAN, NAN])
    np.testing.assert_equal(found([0, 0, 0, 0, 0]), [NAN, NAN, NAN, NAN])
    np.testing.assert_equal(found([1], [7]), [NAN, 7, NAN, 7])
    row = emergence.emergence([100, 0, 10], [1, 0, 1])
    assert (row["emergence_step"], row["n_clear"], row["n_checkpoints"]) == (10, 2, 3)


def test_by_noise_alone_the_first_comes_too_early_and_the_one_that_all_follow_not():
    rng = np.random.default_rng(0)
    steps, true = np.arange(40), 30
    early = {"emergence_step": 0, "clears_by": 0}
    for _ in range(500):
        clear = (rng.random(40) < 0.025) | (steps >= true)
        row = emergence.emergence(steps, clear)
        for name in early:
            early[name] += row[name] < true
    assert early["emergence_step"] / 500 == pytest.approx(1 - 0.975**30, abs=0.06)  # 53 %
    assert early["clears_by"] / 500 == pytest.approx(0.025, abs=0.02)


def alignment(levels, subjects=("F", "M"), layers=(0, 1), half=0.01, baselines=None):
    """Rows whose alignment is `levels` (step → r) plus 0.001 per layer and subject, so that means are known."""
    cells = [(f"step-{step}", step, r) for step, r in levels.items()]
    cells += [(name, NAN, r) for name, r in (baselines or {}).items()]
    return pd.DataFrame(
        {
            **{"checkpoint": name, "step": step, "layer": layer, "removal": "none", "property": "original"},
            **{"subject": subject, "mean_r": r + 0.001 * (layer + k)},
            **{"ci_low": r + 0.001 * (layer + k) - half, "ci_high": r + 0.001 * (layer + k) + half},
        }
        for name, step, r in cells
        for layer in layers
        for k, subject in enumerate(subjects)
    )


def probing(accuracy):
    """One layer more than `accuracy` (property → shares by step) is never readable."""
    return pd.DataFrame(
        {
            **{"checkpoint": f"step-{step}", "step": step, "layer": layer, "removal": method, "property": name},
            **{"accuracy_before": share if layer == 0 else 0.5, "chance": 0.5, "null_low": 0.45, "null_high": 0.55},
        }
        for name, shares in accuracy.items()
        for method in ("ridge", "leace")
        for layer in (0, 1)
        for step, share in zip(STEPS, shares, strict=True)
    )


def perplexity(bits):
    return pd.DataFrame(
        {"checkpoint": [f"step-{s}" for s in STEPS], "step": STEPS, "bits_per_word": bits, "n_tokens": 9}
    ).assign(perplexity=lambda table: 2 ** table["bits_per_word"])


@pytest.fixture(scope="module")
def planted():
    r = dict(zip(STEPS, (0.030, 0.032, 0.060, 0.100, 0.100), strict=True))
    shares = {"tense": (0.5, 0.5, 0.56, 0.7, 0.7), "pos": (0.9,) * 5, "coin": (0.5,) * 5}
    words = ["a"] * 4 + ["b"] * 2 + ["c", "d"]  # 1.75 bits
    scores = alignment(r, baselines={"random": 0.01, "controls": 0.08})
    # Above nuisance features layer 0 is at step 10 and, lost at 100, from 1000 on; layer 1 never.
    over = alignment(dict(zip(STEPS, (-0.01, 0.02, -0.02, 0.02, 0.03), strict=True)), layers=(0,))
    over = pd.concat([over, alignment(dict.fromkeys(STEPS, -0.04), layers=(1,))])
    pairs = contrasts(scores, 0.01, over)
    table = emergence.emergence_table(
        scores, probing(shares), perplexity((14, 9, 1.76, 1.74, 1.0)), words, pairs, half_rises(pairs)
    )
    return table.set_index(["quantity", "property", "subject", "layer", "reference"])


def test_the_planted_steps_come_back(planted):
    def steps(*key, names=("clears_after", "clears_by")):
        return planted.loc[key][list(names)].tolist()

    key = ("alignment", "original", "mean", "mean")
    # More than 0.01 above a reference is planted as clear.
    np.testing.assert_equal(steps(*key, "random"), [NAN, 0])
    assert steps(*key, "step-0") == [10, 100]
    assert steps(*key, "controls") == [100, 1000]
    assert steps("alignment", "original", "F", "1", "controls") == [100, 1000]
    assert planted.loc[(*key, "controls"), "level"] == pytest.approx(0.081)
    over = ("unique_alignment", "original", "F", "0", "zero")
    assert steps(*over) == [100, 1000]
    assert steps(*over, names=["emergence_step", "n_clear", "level"]) == [10, 3, 0]
    np.testing.assert_equal(steps("unique_alignment", "original", "mean", "1", "zero"), [NAN, NAN])
    # The half-rise stands beside every reference, of a property in its own rows alone.
    half = planted["half_rise_step"].groupby("quantity").agg(["min", "max"])
    assert half.loc[["alignment", "unique_alignment"]].eq(3000.5).all(axis=None)
    assert half.loc["perplexity"].eq(3000.5).all()
    assert planted.loc["probing"].dropna(subset="half_rise_step").index.unique().tolist() == [
        ("tense", "", "mean", "null")
    ]
    assert steps("perplexity", "", "", "", "unigram") == [100, 1000]
    assert planted.loc[("perplexity", "", "", "", "unigram"), "level"] == pytest.approx(1.75)
    assert steps("probing", "tense", "", "0", "null") == [10, 100]
    # Over layers 0.53, 0.6 against 0.55.
    assert steps("probing", "tense", "", "mean", "null") == [100, 1000]
    np.testing.assert_equal(steps("probing", "pos", "", "mean", "null"), [NAN, 0])
    np.testing.assert_equal(steps("probing", "coin", "", "0", "null"), [NAN, NAN])
    assert len(planted) == 3 * 3 * 3 + 3 * 3 + 1 + 3 * 3


def test_without_baselines_alignment_is_compared_with_zero_and_the_untrained_network():
    scores = alignment(dict.fromkeys(STEPS, 0.005))
    rows = emergence.alignment_rows(scores, contrasts(scores, 0.01))
    assert {row["reference"] for row in rows} == {"zero", "step-0"}
    assert not any(row["n_clear"] for row in rows)
    only = alignment({10: 0.1, 100: 0.2})
    assert {row["reference"] for row in emergence.alignment_rows(only, contrasts(only, 0.01))} == {"zero"}
    with pytest.raises(InputError, match="no checkpoint has a step"):
        emergence.emergence_table(alignment({}, baselines={"random": 0.1}), None, None, [], None, None)
    with pytest.raises(InputError, match="contrasts table: no row of alignment, F, mean, zero; run its step again"):
        emergence.alignment_rows(scores, contrasts(scores[scores["subject"] == "M"], 0.01))


def test_no_model_without_context_beats_the_entropy_of_the_words():
    rng = np.random.default_rng(2)
    words = [f"w{k}" for k in rng.zipf(1.6, 2000) % 90]
    names, counts = np.unique(words, return_counts=True)
    for _ in range(50):
        weights = rng.dirichlet(counts + rng.uniform(0.1, 50, len(names)))
        cost = dict(zip(names, -np.log2(weights), strict=True))
        assert np.mean([cost[word] for word in words]) >= emergence.unigram_bits(words)
    assert emergence.unigram_bits(words) == pytest.approx(stats.entropy(counts, base=2))


def test_rho_is_scipys_with_ties_too():
    rng = np.random.default_rng(3)
    for n in (3, 7, 30):
        for _ in range(20):
            a, b = rng.integers(0, n, (2, n)).astype(float)
            expected = stats.spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else NAN
            np.testing.assert_allclose(emergence.spearman(a[None], b[None])[0], expected, atol=1e-12)
    assert np.isnan(emergence.spearman(np.ones((1, 4)), np.arange(4.0)[None])[0])


def test_the_interval_of_rho_covers_narrows_and_is_that_of_scipys_bootstrap():
    rng = np.random.default_rng(4)
    true = 6 / np.pi * np.arcsin(-0.7 / 2)  # of normal pairs with r = −0.7

    def pairs(n):
        a = rng.standard_normal(n)
        return a, -0.7 * a + np.sqrt(1 - 0.49) * rng.standard_normal(n)

    inside, widths = {8: 0, 40: 0}, {8: [], 40: []}
    for n in inside:
        for seed in range(250):
            _, low, high = emergence.spearman_interval(*pairs(n), 0.05, seed, 499)
            inside[n] += low <= true <= high
            widths[n].append(high - low)
    assert 0.90 < inside[40] / 250 < 0.99
    assert inside[8] / 250 > 0.90
    assert np.nanmedian(widths[40]) < 0.6 * np.nanmedian(widths[8])
    a, b = pairs(25)
    rho, low, high = emergence.spearman_interval(a, b, 0.05, 0)
    other = stats.bootstrap(
        (a, b),
        lambda x, y: stats.spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1500,
        rng=np.random.default_rng(9),
    ).confidence_interval
    np.testing.assert_allclose([low, high], other, atol=0.05)
    assert low <= rho <= high
    assert emergence.spearman_interval(a, b, 0.05, 0) == (rho, low, high)
    wider = emergence.spearman_interval(a, b, 0.01, 0)
    assert wider[1] < low < high < wider[2]


def test_where_the_bootstrap_can_say_nothing_there_is_no_interval():
    rising = np.arange(12.0)
    np.testing.assert_equal(emergence.spearman_interval(rising, -(rising**3), 0.05, 0), (-1.0, NAN, NAN))
    few = emergence.spearman_interval([1.0, 2, 3, 5, 4], [1.0, 2, 3, 4, 5], 0.05, 0)
    assert few[0] == pytest.approx(0.9)
    assert np.isnan(few[1:]).all()
    np.testing.assert_equal(emergence.spearman_interval([1.0], [2.0], 0.05, 0), (NAN, NAN, NAN))


def test_what_only_follows_time_does_not_correlate_apart_from_it():
    rng = np.random.default_rng(5)
    steps = np.arange(30.0)
    falls = np.exp(5 - 0.2 * steps + 0.5 * rng.standard_normal(30))
    alone, together = np.empty((2, 200, 2)), np.log(falls)
    for k in range(200):
        rises = 0.2 * steps + 0.5 * rng.standard_normal(30)
        assert emergence.spearman(falls[None], rises[None])[0] < -0.8
        alone[0, k] = emergence.apart_from_time(steps, np.log(falls), rises)
        alone[1, k] = emergence.apart_from_time(steps, np.log(falls), -together + 0.2 * rng.standard_normal(30))
    assert np.abs(alone[0].mean(axis=0)).max() < 0.1
    assert alone[1].mean(axis=0).max() < -0.6
    # By an independent way: the correlation of what a regression of ranks on ranks of steps leaves.
    rises = 0.2 * steps + 0.5 * rng.standard_normal(30)
    order = rng.permutation(30)
    partial, changes = emergence.apart_from_time(steps[order], np.log(falls)[order], rises[order])
    left = [
        stats.rankdata(part) - np.polyval(np.polyfit(steps, stats.rankdata(part), 1), steps) for part in (falls, rises)
    ]
    assert partial == pytest.approx(np.corrcoef(left)[0, 1])
    assert changes == pytest.approx(stats.spearmanr(np.diff(together), np.diff(rises)).statistic)


def test_apart_from_time_there_is_nothing_where_one_only_falls():
    steps, falls = np.array([0.0, 10, 100, 1000]), np.array([100.0, 50, 20, 12])
    partial, changes = emergence.apart_from_time(steps, np.log(falls), np.array([0.1, 0.3, 0.2, 0.8]))
    assert np.isnan(partial)
    # Log perplexity changes by −.69, −.92, −.51, alignment by .2, −.1, .6: in one order.
    assert changes == pytest.approx(1)
    assert np.isnan(emergence.apart_from_time(steps[:3], falls[:3], np.array([1.0, 3, 2]))).all()


def test_the_commands_write_the_tables(tmp_path):
    scores = alignment(dict(zip(STEPS, (0.1, 0.2, 0.3, 0.5, 0.4), strict=True)), baselines={"random": 0.0})
    tables = {
        "alignment": scores.assign(inner_score=0.1, n_voxels=9, n_invalid=0),
        "perplexity": perplexity((14, 9, 5, 3, 2)),
        "probing": probing({"tense": (0.5,) * 5}),
        "labels": pd.DataFrame({"word": ["null", "a", "a"]}),
        "contrasts": (pairs := contrasts(scores, 0.05, scores[(scores["subject"] == "F") & (scores["layer"] == 0)])),
    }
    writer.write_table(half_rises(pairs), tmp_path / "half_rises.tsv")
    flags = {}
    for name, table in tables.items():
        # What emergence has no use for stays empty.
        table = table.reindex(columns=[*table, *(set(schema.TABLES[name].columns) - set(table))])
        writer.write_table(table, tmp_path / f"{name}.tsv")
        flags[name] = (f"--{name}", str(tmp_path / f"{name}.tsv"))
    out = str(tmp_path / "out.tsv")
    both = (*flags["alignment"], *flags["perplexity"], "--output", out)
    emergence.main(["correlation", *both])
    table = reader.read_table(out)
    assert table[["subject", "layer"]].iloc[-1].tolist() == ["mean", "1"]
    np.testing.assert_allclose(table["rho"], -0.9)
    assert set(table["n_checkpoints"]) == {5}
    read = (*flags["probing"], *flags["labels"], *flags["contrasts"], "--half-rises", str(tmp_path / "half_rises.tsv"))
    emergence.main(["steps", *both, *read])
    table = reader.read_table(out)
    # Alignment with two references, over nuisance features (one subject and the mean, one layer and the mean), …
    assert len(table) == 3 * 3 * 2 + 2 * 2 + 1 + 3
    assert table["clears_by"].dtype.kind == "f"
    key = table.set_index(["quantity", "subject", "layer", "reference"])
    assert key.loc[("alignment", "mean", "1", "step-0"), "clears_by"] == 10
    assert key.loc[("unique_alignment", "F", "0", "zero"), "clears_by"] == 0
