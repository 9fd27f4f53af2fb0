"""When things emerge in training, and perplexity against alignment, on planted truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dynalign.io.errors import InputError
from dynalign.statistics import emergence
from dynalign.tables import reader, schema, writer

STEPS = (0, 10, 100, 1000, 10000)
NAN = float("nan")


def found(clear, steps=STEPS):
    row = emergence.emergence(steps, clear)
    return [row[name] for name in ("emergence_after", "emergence_step", "lasting_after", "lasting_step")]


def test_an_emergence_step_lies_after_the_last_checkpoint_that_does_not_clear():
    np.testing.assert_equal(found([0, 0, 1, 1, 1]), [10, 100, 10, 100])
    # A checkpoint that clears by chance is the first, not the lasting one.
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


def test_by_noise_alone_the_first_comes_too_early_and_the_lasting_one_not():
    rng = np.random.default_rng(0)
    steps, true = np.arange(40), 30
    early = {"emergence_step": 0, "lasting_step": 0}
    for _ in range(500):
        clear = (rng.random(40) < 0.025) | (steps >= true)
        row = emergence.emergence(steps, clear)
        for name in early:
            early[name] += row[name] < true
    assert early["emergence_step"] / 500 == pytest.approx(1 - 0.975**30, abs=0.06)  # 53 %
    assert early["lasting_step"] / 500 == pytest.approx(0.025, abs=0.02)


def test_a_difference_of_independent_estimates_clears_as_often_as_its_interval_says():
    rng = np.random.default_rng(1)
    n, sigma, level_sigma = 20000, 1.0, 0.7
    values, level = sigma * rng.standard_normal(n), level_sigma * rng.standard_normal(n)
    table = pd.DataFrame({"mean_r": values, "ci_low": values - 1.96 * sigma})
    # One reference for all: shift it to zero row by row.
    shifted = table.assign(mean_r=values - level, ci_low=values - level - 1.96 * sigma)
    clear = emergence.clears(shifted, (0.0, -1.96 * level_sigma, 1.96 * level_sigma))
    assert clear.mean() == pytest.approx(0.025, abs=0.004)
    assert emergence.clears(table.assign(mean_r=3.0, ci_low=2.0), (1.0, 0.0, 2.0)).all()
    assert not emergence.clears(table.assign(mean_r=2.3, ci_low=1.3), (1.0, 0.0, 2.0)).any()


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
    table = emergence.emergence_table(
        alignment(r, baselines={"random": 0.01, "controls": 0.08}),
        probing(shares),
        perplexity((14, 9, 1.76, 1.74, 1.0)),
        words,
    )
    return table.set_index(["quantity", "property", "subject", "layer", "reference"])


def test_the_planted_steps_come_back(planted):
    def steps(*key):
        return planted.loc[key][["emergence_after", "emergence_step"]].tolist()

    key = ("alignment", "original", "mean", "mean")
    # Two subjects: half-widths of 0.01/√2 for either side, so a difference of 0.01 or more clears.
    np.testing.assert_equal(steps(*key, "random"), [NAN, 0])
    assert steps(*key, "step-0") == [10, 100]
    assert steps(*key, "controls") == [100, 1000]
    assert steps("alignment", "original", "F", 1, "controls") == [100, 1000]
    assert planted.loc[(*key, "controls"), "level"] == pytest.approx(0.081)
    assert steps("perplexity", "", "", "", "unigram") == [100, 1000]
    assert planted.loc[("perplexity", "", "", "", "unigram"), "level"] == pytest.approx(1.75)
    assert steps("probing", "tense", "", 0, "null") == [10, 100]
    # Over layers 0.53, 0.6 against 0.55.
    assert steps("probing", "tense", "", "mean", "null") == [100, 1000]
    np.testing.assert_equal(steps("probing", "pos", "", "mean", "null"), [NAN, 0])
    np.testing.assert_equal(steps("probing", "coin", "", 0, "null"), [NAN, NAN])
    assert len(planted) == 3 * 3 * 3 + 1 + 3 * 3


def test_without_baselines_alignment_is_compared_with_zero_and_the_untrained_network():
    rows = emergence.alignment_rows(alignment(dict.fromkeys(STEPS, 0.005)))
    assert {row["reference"] for row in rows} == {"zero", "step-0"}
    assert not any(row["n_clear"] for row in rows if row["layer"] == 0)
    only = emergence.alignment_rows(alignment({10: 0.1, 100: 0.2}))
    assert {row["reference"] for row in only} == {"zero"}
    with pytest.raises(InputError, match="no checkpoint has a step"):
        emergence.emergence_table(alignment({}, baselines={"random": 0.1}), None, None, [])


def test_alignment_over_nuisance_emerges_where_the_interval_of_the_shares_leaves_zero():
    """Layer 0 clears from step 100 on, layer 1 never; the subjects' mean by its own rows, tested apart."""
    lows = {0: (-0.01, -0.01, 0.001, 0.02, 0.02), 1: (-0.04,) * 5}
    rows = [
        {"checkpoint": name, "step": step, "layer": layer, "features": features, "part": part, "subject": subject}
        | {"mean_r": low + 0.02, "ci_low": low + (0.012 if subject == "mean" else 0), "ci_high": 1}
        for layer, values in lows.items()
        for name, step, low in zip(
            [*(f"step-{s}" for s in STEPS), "random"], [*STEPS, NAN], [*values, 1.0], strict=True
        )
        for features, part in (("nuisance", "unique_model"), ("nuisance", "joint"), ("tense", "unique_model"))
        for subject in ("F", "M", "mean")
    ]
    found = pd.DataFrame(emergence.unique_rows(pd.DataFrame(rows)))
    assert len(found) == 3 * 3
    assert set(zip(found["quantity"], found["reference"], found["level"], strict=True)) == {
        ("unique_alignment", "zero", 0.0)
    }
    when = found.set_index(["subject", "layer"])["emergence_step"]
    np.testing.assert_equal([when["F", 0], when["mean", 0], when["M", 1], when["F", "mean"]], [100, 0, NAN, NAN])
    # (0.02 − 0.04) / 2 + 0.012 = 0.002: over layers bounds are averaged.
    assert when["mean", "mean"] == 1000
    one = pd.DataFrame([row for row in rows if row["subject"] == "F"])
    assert set(pd.DataFrame(emergence.unique_rows(one))["subject"]) == {"F", "mean"}


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


def test_the_commands_write_the_tables(tmp_path):
    scores = alignment(dict(zip(STEPS, (0.1, 0.2, 0.3, 0.5, 0.4), strict=True)), baselines={"random": 0.0})
    tables = {
        "alignment": scores.assign(inner_score=0.1, n_voxels=9, n_invalid=0),
        "perplexity": perplexity((14, 9, 5, 3, 2)),
        "probing": probing({"tense": (0.5,) * 5}),
        "labels": pd.DataFrame({"word": ["null", "a", "a"]}),
        "shares": scores[(scores["subject"] == "F") & (scores["layer"] == 0)]
        .drop(columns=["removal", "property"])
        .assign(features="nuisance", part="unique_model"),
    }
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
    emergence.main(["steps", *both, *flags["probing"], *flags["labels"]])
    table = reader.read_table(out)
    assert len(table) == 3 * 3 * 2 + 1 + 3
    assert table["emergence_step"].dtype.kind == "f"
    emergence.main(["steps", *both, *flags["probing"], *flags["labels"], *flags["shares"]])
    assert (reader.read_table(out)["quantity"] == "unique_alignment").sum() == 2 * 2
