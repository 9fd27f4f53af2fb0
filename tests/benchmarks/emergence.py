"""Are contrasts of checkpoints calibrated, are onsets false, does the interval of the half-rise hold it?

``python tests/benchmarks/emergence.py`` plants time courses c(t) of 20 checkpoints: 1,200 TRs in 5 folds, one subject
and three. Their noise has what real ones have (METHOD section 8):

- of the test rows: autocorrelated (r = .55 from TR to TR, as in the embedded study);
- of the training rows: what rows s and t have in common by chance counts where s trains and t tests, and again where t
  trains and s tests. It is drawn for pairs of cells of 5 TRs;
- half of its variance is shared by all checkpoints, not by the baseline, and half of either part by all subjects, who
  read one text.

What is known word by word is planted in the same blocks: perplexity, whose noise is of the text alone and mostly shared
by checkpoints, and the readability of a property, whose probes learn from other words as encoding models do. Each rises
by a logistic curve of its own; ``ratio_coverage`` is that of its half-rise over that of alignment.

Nothing there: all checkpoints and the baseline are alike. An onset: so much more from the tenth on, by an amount that
averaged bounds find over three subjects in less than half of the studies. A rise: a logistic curve over log(step + 1),
its middle and steepness drawn anew for each study; subjects rise by different amounts. ``found_onset`` is that over
three subjects above step 0, which shares noise with the other checkpoints.

``seed_coverage``: 5 and 10 models (3 are printed beside them) x 3 subjects, whose noise has parts common to all, of a
model, of a subject, and of each pair. Models and subjects differ besides, by 0, 1 or 3 standard errors of that noise.
The interval of the mean over models should hold the value of the population of models, subjects and texts.
``seed_half_rise_coverage``: 5 models x 3 subjects, whose rises differ in height and place; the half-rise of the mean
curve of all such models. ``pair_false_positive``: of two models that are alike, by the paired test.
"""

import argparse
from multiprocessing import Pool

import numpy as np
from scipy.signal import lfilter

from dynalign import folds
from dynalign.config.statistics import Statistics
from dynalign.statistics import block_tests, contrasts, half_rises, models
from dynalign.statistics.emergence import emergence

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000, 4000, 8000, 16000, 33000, 66000, 100000, 143000)
PLACES = np.log1p(STEPS)
NAMES = [f"step-{step}" for step in STEPS]
N, CELL, GAP = 1200, 5, 5
FOLD = np.repeat(np.arange(5), N // 5)
TEST = (FOLD, Statistics(), GAP)
SAMPLE = block_tests.sample_of(*TEST)

#: Share of the noise's variance that comes from the training rows (most of it where signals are weak, as in fMRI), and
#: of that shared by checkpoints and by subjects.
LEARNING, SHARED, TEXT = 0.9, 0.5, 0.5

#: Of the noise's standard deviation in one TR: the onset, the rise, and how subjects' rises differ (sd).
ONSET, RISE, DIFFER = 0.4, 0.6, 0.12
TENTH = 9

#: In standard deviations of a block's mean: how far perplexity and readability rise; how much of their noise's variance
#: checkpoints share.
TOLD = {"perplexity": (6.0, 0.8), "probing": (3.0, 0.5)}

#: Models of a study; standard deviations of models and of subjects, in standard errors of the noise.
SEEDS, APART = (3, 5, 10), [(a, b) for a in (0, 1, 3) for b in (0, 1, 3)]


def training_cells() -> np.ndarray:
    """1 where a cell (row) trains the model that a cell (column) tests."""
    fold = FOLD[::CELL]
    mask = np.zeros((len(fold), len(fold)), dtype=np.float32)
    for name in np.unique(fold):
        rows = np.flatnonzero(fold == name)
        mask[np.ix_(folds.training_rows(len(fold), rows, GAP // CELL), rows)] = 1
    return mask


MASK = training_cells()


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` time courses of unit variance, shape (n, N)."""
    pairs = rng.standard_normal((n, *MASK.shape), dtype=np.float32)
    for axis in (1, 2):
        pairs = lfilter([1], [1, -0.2], pairs, axis=axis)
    learned = ((pairs + pairs.transpose(0, 2, 1)) * MASK).sum(axis=1)
    learned /= np.sqrt(2 * MASK.sum(axis=0).mean() / 0.8**2 / (1 - 0.2**2))
    tested = lfilter([np.sqrt(1 - 0.55**2)], [1, -0.55], rng.standard_normal((n, N)), axis=1)
    return np.sqrt(LEARNING) * np.repeat(learned, CELL, axis=1) + np.sqrt(1 - LEARNING) * tested


def blocks(courses: np.ndarray) -> np.ndarray:
    """Block means along the last axis."""
    flat = [block_tests.block_means(one, FOLD, Statistics().block)[0] for one in courses.reshape(-1, N)]
    return np.array(flat).reshape(*courses.shape[:-1], -1)


def subjects(rng: np.random.Generator, n: int, checkpoints: int) -> np.ndarray:
    """Block means of noise, (n, checkpoints, n_blocks), part of it shared by subjects."""
    text, own = noise(rng, checkpoints), noise(rng, n * checkpoints).reshape(n, checkpoints, N)
    return blocks(np.sqrt(TEXT) * text + np.sqrt(1 - TEXT) * own)


def onset(curves: np.ndarray, baseline: np.ndarray) -> dict[str, dict[str, float]]:
    """First checkpoint from which all clear the baseline, and from which all clear step 0.

    ``paired``: against the largest t. What version 0.2 did, with intervals of two independent estimates, their bounds
    averaged over subjects: ``averaged``, and the ``first`` that clears, whatever later ones do.
    """
    found = {}
    rows = list(contrasts.contrasts(curves.mean(axis=0), NAMES, {"random": baseline.mean(axis=0)}, TEST, 0))
    for name, level in (("random", baseline), ("step-0", curves[:, 0])):
        clear = [row["clears"] for row in rows if (row["comparison"], row["reference"]) == ("reference", name)]
        paired = emergence(STEPS[-len(clear) :], clear)["clears_by"]
        tests = [block_tests.mean_test(np.vstack([one, low]).T, *TEST) for one, low in zip(curves, level, strict=True)]
        mean, low, high = (np.mean([test[name] for test in tests], axis=0) for name in ("mean", "ci_low", "ci_high"))
        averaged = emergence(STEPS, mean[:-1] - mean[-1] > np.hypot(mean[:-1] - low[:-1], high[-1] - mean[-1]))
        found[name] = {"paired": paired, "averaged": averaged["clears_by"], "first": averaged["emergence_step"]}
    return found


def rising(rng: np.random.Generator) -> np.ndarray:
    """A logistic curve from 0 to 1 over the checkpoints, its middle and steepness drawn."""
    return 1 / (1 + np.exp((rng.uniform(PLACES[4], PLACES[-5]) - PLACES) / rng.uniform(0.5, 2)))


def told(rng: np.random.Generator, quantity: str, logistic: np.ndarray) -> half_rises.Curve:
    """A quantity known word by word that rises by `logistic`, (n_checkpoints,)."""
    k, (rise, shared) = len(SAMPLE.weights), TOLD[quantity]
    if quantity == "perplexity":
        values, sample = rng.standard_normal((len(STEPS) + 1, k)), rng.dirichlet(np.full(k, 20.0))
        sample = block_tests.Sample(sample, 0.0, SAMPLE.alpha)
    else:
        values, sample = blocks(noise(rng, len(STEPS) + 1)), SAMPLE._replace(share=5 / k / 4)
        values /= values.std()
    values = np.sqrt(shared) * values[-1] + np.sqrt(1 - shared) * values[:-1]
    return half_rises.Curve((values + rise * logistic[:, None])[None], sample)


def seeds(seed: tuple[int, int, int]) -> dict:
    """Whether the interval over ``seed[2]`` models holds the planted 0, by how models and subjects differ; a pair."""
    rng, n = np.random.default_rng(seed), seed[2]
    parts = [blocks(noise(rng, a * b)).reshape(a, b, -1) for a, b in ((1, 1), (n, 1), (1, 3), (n, 3))]
    noisy = sum(np.sqrt(1 / 4) * part for part in parts)
    error = SAMPLE.test(noisy.mean(axis=(0, 1)))["error"]
    apart = rng.standard_normal((n, 1, 1)), rng.standard_normal((1, 3, 1)), 0.3 * rng.standard_normal((n, 3, 1))
    cells = [noisy + error * (a * apart[0] + b * apart[1] + min(a, b) * apart[2]) for a, b in APART]
    found = models.crossed([(1, np.stack(cells, axis=2))], SAMPLE)
    pair = SAMPLE.test((noisy[0] - noisy[1]).mean(axis=0))["p"] < SAMPLE.alpha
    width = (found["ci_high"] - found["ci_low"]) / error
    return {"held": (found["ci_low"] <= 0) & (found["ci_high"] >= 0), "width": width, "pair": pair}


def block_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Block means of noise, (…, n_blocks), of the size of :func:`noise`'s, whose mean varies as the correction says."""
    k = len(SAMPLE.weights)
    values = rng.standard_normal((*shape, k))
    mean = values @ SAMPLE.weights
    return 0.57 * (values + (np.sqrt(1 + k * SAMPLE.share) - 1) * mean[..., None])


#: How the rises of models differ: heights (sd, as a share), places (sd, log steps).
HEIGHTS, TIMES = 0.2, 0.7


def seeds_rise(seed: tuple[int, int]) -> tuple[float, float, float, float]:
    """The half-rise of the mean curve of all models of a kind; that found in five models, and its interval."""
    rng, n = np.random.default_rng(seed), 5
    middle, steep = rng.uniform(PLACES[4], PLACES[-5]), rng.uniform(0.5, 2)

    def curves(count: int) -> np.ndarray:
        place = middle + TIMES * rng.standard_normal((count, 1))
        return (1 + HEIGHTS * rng.standard_normal((count, 1))) / (1 + np.exp((place - PLACES) / steep))

    parts = [block_noise(rng, a, b, len(STEPS)) for a, b in ((1, 1), (n, 1), (1, 3), (n, 3))]
    people = RISE * (1 + DIFFER / RISE * rng.standard_normal((1, 3, 1)))
    values = sum(np.sqrt(1 / 4) * part for part in parts) + (people * curves(n)[:, None])[..., None]
    found = models.risen_over_models(PLACES, values, SAMPLE, 0)
    truth = half_rises.half_rise(PLACES, curves(20_000).mean(axis=0)[None])[0]
    return (truth, *half_rises.bounds(found, SAMPLE.alpha))


def study(seed: tuple[int, int, int]) -> dict:
    """What is found in one study of ``seed[2]`` subjects where nothing, an onset, and a rise are planted."""
    rng, n = np.random.default_rng(seed), seed[2]
    shared = subjects(rng, n, 1)
    apart = np.sqrt(1 - SHARED) * subjects(rng, n, len(STEPS) + 1)
    curves, baseline = np.sqrt(SHARED) * shared + apart[:, :-1], (np.sqrt(SHARED) * subjects(rng, n, 1) + apart[:, -1:])
    baseline = baseline[:, 0]
    nothing = list(contrasts.contrasts(curves.mean(axis=0), NAMES, {}, TEST, 0))
    planted = np.where(np.arange(len(STEPS)) >= TENTH, ONSET, 0.0)[:, None]
    logistic = rising(rng)
    rises = (RISE + DIFFER * rng.standard_normal(n)) if n > 1 else np.array([RISE])
    drawn = half_rises.risen(PLACES, half_rises.Curve(curves + rises[:, None, None] * logistic[:, None], SAMPLE), 0)
    _, low, high = half_rises.bounds(drawn, Statistics().alpha)
    held = {}
    for quantity in TOLD:
        other = rising(rng)
        (row,) = half_rises.half_rise_rows(STEPS, {(quantity, ""): told(rng, quantity, other)}, 0, drawn)
        truth = np.expm1(half_rises.half_rise(PLACES, other[None])[0])
        ratio = (1 + truth) / np.exp(half_rises.half_rise(PLACES, logistic[None])[0])
        for name, true in (("half_rise", truth), ("half_rise_ratio", ratio)):
            held[quantity, name] = row[f"{name}_low"] <= true <= row[f"{name}_high"]
    return {
        "told": held,
        "rejected": [row["p"] < Statistics().alpha for row in nothing],
        "nothing": onset(curves, baseline),
        "onset": onset(curves + planted, baseline),
        "half": (half_rises.half_rise(PLACES, logistic[None])[0], drawn[0], low, high),
    }


def main() -> None:
    """Simulate, test, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400, help="simulated studies of one subject, and of three")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rates = {}
    with Pool(args.processes) as pool:
        for n in (1, 3):
            found = pool.map(study, [(args.seed, k, n) for k in range(args.studies)], chunksize=5)
            print(
                f"{n} subject{'s' * (n > 1)}, {args.studies} studies: paired test, averaged bounds, first to clear them"
            )
            rates[n] = {}
            for name in ("random", "step-0"):
                at = {
                    kind: {
                        how: np.array([one[kind][name][how] for one in found])
                        for how in ("paired", "averaged", "first")
                    }
                    for kind in ("nothing", "onset")
                }
                shares = {
                    "nothing there, claimed": [np.isfinite(each).mean() for each in at["nothing"].values()],
                    "at the tenth, found": [np.mean(each == STEPS[TENTH]) for each in at["onset"].values()],
                    "at the tenth, too early": [np.mean(each < STEPS[TENTH]) for each in at["onset"].values()],
                }
                for what, each in shares.items():
                    print(f"  above {name:8s}{what:24s}" + "".join(f"{share:8.3f}" for share in each))
                rates[n][name] = [each[0] for each in shares.values()]
            truth, middle, low, high = np.array([one["half"] for one in found]).T
            given = np.isfinite(middle)
            rates[n]["half"] = ((low <= truth) & (truth <= high))[given].mean()
            rates[n]["contrast"] = np.mean([one["rejected"] for one in found])
            for key in found[0]["told"]:
                rates[n][key] = np.mean([one["told"][key] for one in found])
                print(f"  {' '.join(key)} held by {rates[n][key]:.3f}")
            print(
                f"  half-rise: given in {given.mean():.3f}, held by {rates[n]['half']:.3f}; error (log steps) "
                f"{np.mean((middle - truth)[given]):+.2f} ± {np.std((middle - truth)[given]):.2f}, width "
                f"{np.median((high - low)[given]):.2f}; contrasts of nothing rejected: {rates[n]['contrast']:.3f}",
                flush=True,
            )
        for n in SEEDS:
            found = pool.map(seeds, [(args.seed, k, n) for k in range(args.studies)], chunksize=5)
            held = np.mean([one["held"] for one in found], axis=0)
            rates["seeds", n] = held.mean()
            rates["pairs", n] = np.mean([one["pair"] for one in found])
            widths = np.median([one["width"] for one in found], axis=0)
            cells = "  ".join(
                f"{a}/{b}: {share:.3f} ({width:.1f})" for (a, b), share, width in zip(APART, held, widths, strict=True)
            )
            print(f"{n} models x 3 subjects, {args.studies} studies, models/subjects differ, held (width): {cells}")
            print(f"  in all {held.mean():.3f}; pairs of equal models rejected {rates['pairs', n]:.3f}", flush=True)
        asked = [(args.seed, k) for k in range(max(200, args.studies // 2))]
        truth, middle, low, high = np.array(pool.map(seeds_rise, asked, chunksize=5)).T
        given = np.isfinite(middle)
        rates["rise"] = ((low <= truth) & (truth <= high))[given].mean()
        print(
            f"5 models x 3 subjects, {len(asked)} studies, half-rise: given in {given.mean():.3f}, held by "
            f"{rates['rise']:.3f}, width {np.median((high - low)[given]):.2f}",
            flush=True,
        )
    per_study = [rates[1], rates[3]]
    print(
        f"found_onset={rates[3]['step-0'][1]:.3f} "
        f"told_half_rise_coverage={np.mean([one[key, 'half_rise'] for one in per_study for key in TOLD]):.3f} "
        f"ratio_coverage={np.mean([one[key, 'half_rise_ratio'] for one in per_study for key in TOLD]):.3f} "
        f"seed_coverage_3={rates['seeds', 3]:.3f} seed_half_rise_coverage={rates['rise']:.3f} "
        f"pair_false_positive={np.mean([rates['pairs', n] for n in SEEDS]):.3f}"
    )
    print(
        f"false_onset={max(one[name][0] for one in per_study for name in ('random', 'step-0')):.3f} "
        f"half_rise_coverage={np.mean([one['half'] for one in per_study]):.3f} "
        f"contrast_false_positive={np.mean([one['contrast'] for one in per_study]):.3f} "
        f"seed_coverage={np.mean([rates['seeds', n] for n in SEEDS if n > 3]):.3f}"
    )


if __name__ == "__main__":
    main()
