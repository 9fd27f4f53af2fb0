"""How often tests of a removal's effect reject when nothing is there, and how often they find what is.

``python tests/benchmarks/calibration.py`` simulates studies of one subject and one cell: words with latent meaning,
an original representation and a second arm, responses of smooth voxels with autocorrelated noise, encoded with
contiguous outer folds, a gap, and penalties chosen per voxel by inner folds. Then it tests the arms' difference with
the workflow's own functions, and with what else was tried.

Two kinds of null hypothesis:

- *two arms*: feature sets made independently of each other, with the same information. Neither is better on average.
- *removal*: the second arm is the first without a label (least squares, fitted on all words). The label is a
  coin per word, unrelated to the vectors, or per sentence, when it may move the vectors and the responses. The arms are
  nearly the same, and the removal has a true effect: harm where responses follow the label, relief where it only
  moves vectors. That effect, the mean over a scenario's studies, is subtracted, so that rejections are those at the
  truth: one less the coverage of the interval. ``at 0`` is without that.

The tests: `chosen` is the workflow's (blocks of 20 TRs, Nadeau & Bengio's factor 1 + n/n_train), then other blocks, a
factor of two, sign flips of the blocks and Newey-West's variance with Nadeau & Bengio's factor, their test over folds,
plain t-tests over folds and over blocks, and the paper's over voxels.

``alignment`` is the share of intervals of the original's alignment that miss the truth, its mean over studies.

Rows named after AR(2) noise, heavy tails, drifts, a global signal and unequal runs have what real recordings have and
no choice of the method was made on (``all six`` is all of it in eight runs).

Features are fewer than rows here, so that ridge regression in its primal form gives a study in 50 ms. It is checked
against ``dynalign.encoding.encode`` on the first study of each kind before anything is counted.

In the last line, `false_positive_rate` and `false_positive_rate_paper` are those of the first scenario (five folds,
600 TRs, 200 smooth voxels, two arms) at .05, by the workflow's test and the paper's t over voxels; `power` is that of
the workflow's test at the planted effect marked with a star.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing import Pool

# One thread per process: the processes share out the studies. Before a numerical library is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from dynalign.config.encoding import Encoding
from dynalign.config.statistics import Statistics
from dynalign.encoding import backend, delays, ridge
from dynalign.encoding import encode as encoding_encode
from dynalign.encoding.arms import make_design, outer_splits, scaling, standardise
from dynalign.encoding.scores import ORIGINAL
from dynalign.statistics import block_tests

LEVEL = 0.05
#: What Benjamini and Hochberg's procedure asks of most cells of a large grid.
STRICT = 0.001
GAP, INNER_FOLDS = 5, 3
ALPHAS = tuple(10.0**power for power in range(1, 6))
DELAYS = (1, 2, 3, 4, 5)
#: Response to a word at these delays (TRs of 2 s).
HRF = np.array([0.2, 0.8, 1.0, 0.6, 0.3])
CUT, WORDS_PER_TR, SENTENCE = 8, 3, 12
LATENT = 6
FLIPS = 999


@dataclass(frozen=True)
class Scenario:
    """A way to make studies.

    Attributes
    ----------
    name : str
    label : {None, "word", "sentence"}
        None: two arms made independently; else what a label belongs to, and the second arm is without it.
    folds : int or "runs"
    trs : int
        Kept TRs of all runs.
    noise : float or pair of floats
        Coefficients of the noise's autoregression: AR(1) or AR(2).
    tails : int
        Degrees of freedom of Student's t, from which the noise's innovations come; 0: normal.
    drift : float
        Standard deviation of slow drifts, the lowest cosines of each run, voxel by voxel, in that of the noise.
    common : float
        Standard deviation of a slow course that all voxels share (a global signal), in that of the noise.
    runs : tuple of float
        Lengths of the runs, as shares of the TRs.
    width : float
        Voxels are smoothed along a line by a Gaussian of this standard deviation; 0: independent voxels.
    signal : float
        Standard deviation of what the latent meaning adds to the responses, in that of the noise.
    hidden : int
        Dimensions of a representation; its features are five times as many.
    shift : float
        How far the label moves the vectors, in standard deviations of one of their dimensions.
    effect : float
        What the label adds to the responses, as `signal`.
    """

    name: str
    label: str | None = None
    folds: int | str = 5
    trs: int = 600
    noise: float | tuple[float, float] = 0.4
    tails: int = 0
    drift: float = 0.0
    common: float = 0.0
    runs: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    width: float = 5.0
    signal: float = 0.2
    hidden: int = 12
    shift: float = 0.0
    effect: float = 0.0

    @property
    def options(self) -> Encoding:
        """The same for the workflow."""
        return Encoding(folds=self.folds, inner_folds=INNER_FOLDS, gap=GAP, alphas=ALPHAS, delays=DELAYS)


BASE = Scenario("two arms")
COIN = Scenario("removal of a random label", label="word")
IDLE = Scenario("removal that relieves only", label="sentence", shift=3)
EVEN = replace(IDLE, name="removal: harm = relief", effect=0.055)
#: What none of the method's choices was made on: noise, drifts, a global signal and runs as real recordings have them.
REAL = {
    "noise": (0.5, 0.3),
    "tails": 3,
    "drift": 0.5,
    "common": 0.7,
    "runs": (0.07, 0.21, 0.09, 0.17, 0.06, 0.14, 0.12, 0.14),
}
PLANTED = Scenario("removal that harms", label="sentence", shift=1, effect=0.1)
SCENARIOS = [
    BASE,
    replace(BASE, name="  3 folds", folds=3),
    replace(BASE, name="  10 folds", folds=10),
    replace(BASE, name="  folds by run", folds="runs"),
    replace(BASE, name="  noise .0", noise=0),
    replace(BASE, name="  noise .8", noise=0.8),
    replace(BASE, name="  independent voxels", width=0),
    replace(BASE, name="  very smooth voxels", width=15),
    replace(BASE, name="  300 TRs", trs=300),
    replace(BASE, name="  1200 TRs", trs=1200),
    replace(BASE, name="  300 TRs, noise .8", trs=300, noise=0.8),
    replace(BASE, name="  300 TRs, 120 features", trs=300, hidden=24),
    replace(BASE, name="  half the signal", signal=0.1),
    replace(BASE, name="  twice the signal", signal=0.4),
    replace(BASE, name="  four times the signal", signal=0.8),
    replace(BASE, name="  AR(2) noise", noise=REAL["noise"]),
    replace(BASE, name="  heavy tails", tails=REAL["tails"]),
    replace(BASE, name="  slow drifts", drift=REAL["drift"]),
    replace(BASE, name="  global signal", common=REAL["common"]),
    replace(BASE, name="  2 unequal runs", runs=(0.3, 0.7)),
    replace(BASE, name="  8 unequal runs", runs=REAL["runs"]),
    replace(BASE, name="  all six", **REAL),
    replace(BASE, name="  all six, 1200 TRs", trs=1200, **REAL),
    COIN,
    replace(COIN, name="  all six", **REAL),
    replace(COIN, name="  300 TRs, noise .8", trs=300, noise=0.8),
    IDLE,
    replace(IDLE, name="  3 folds", folds=3),
    replace(IDLE, name="  10 folds", folds=10),
    replace(IDLE, name="  300 TRs", trs=300),
    EVEN,
    replace(EVEN, name="  1200 TRs", trs=1200),
    replace(EVEN, name="  all six", **REAL),
    PLANTED,
    replace(PLANTED, name="  noise .8", noise=0.8),
    replace(PLANTED, name="  300 TRs, noise .8", trs=300, noise=0.8),
    replace(PLANTED, name="  3 folds", folds=3),
    replace(PLANTED, name="  all six", **REAL),
]
#: Planted effects of the table of power; the last line reports the starred one.
EFFECTS, STAR = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25), 0.15


def smooth(columns: np.ndarray, width: float) -> np.ndarray:
    """Smooth over voxels on a ring, then restore unit variance."""
    if not width:
        return columns
    columns = gaussian_filter1d(columns, width, axis=-1, mode="wrap")
    return columns / columns.std()


def autocorrelated(rows: np.ndarray, share: float) -> np.ndarray:
    """AR(1) along the first axis with unit variance."""
    return lfilter([np.sqrt(1 - share**2)], [1, -share], rows, axis=0)


def noise_of(rng: np.random.Generator, scenario: Scenario, runs: np.ndarray, n_voxels: int) -> np.ndarray:
    """What is no response: autoregressive noise of unit variance, drifts and a course that all voxels share."""
    innovations = rng.standard_normal((len(runs), n_voxels))
    if scenario.tails:
        # Normal over the square root of a chi-square per TR: all voxels of a bad TR are bad, as after motion.
        innovations *= np.sqrt((scenario.tails - 2) / rng.chisquare(scenario.tails, (len(runs), 1)))
    noise = smooth(innovations, scenario.width)
    if isinstance(scenario.noise, tuple):
        filtering = [1, -scenario.noise[0], -scenario.noise[1]]
        response = lfilter([1], filtering, np.eye(1, 500)[0])
        noise = lfilter([1], filtering, noise, axis=0) / np.sqrt(response @ response)
    else:
        noise = autocorrelated(noise, scenario.noise)
    if scenario.drift:
        for run in np.unique(runs):
            time = (np.arange(np.sum(runs == run)) + 0.5) / np.sum(runs == run)
            cosines = np.cos(np.pi * np.outer(time, [1, 2, 3])) * np.sqrt(2 / 3)
            noise[runs == run] += scenario.drift * cosines @ smooth(rng.standard_normal((3, n_voxels)), scenario.width)
    if scenario.common:
        noise += scenario.common * autocorrelated(rng.standard_normal((len(runs), 1)), 0.8)
    return noise


def simulate(rng: np.random.Generator, scenario: Scenario):
    """One study.

    The axes of the representations and the voxels' weights are the same in all studies of a scenario: these differ in
    their words, vectors, labels and noise.

    Returns
    -------
    design : encoding.Design
    original : array of shape (n_words, hidden)
    other : array of the same shape, or the removal (A, B, b) that makes it
    responses : array of shape (n_trs, n_voxels)
    """
    fixed, n_voxels = np.random.default_rng(0), 200
    lengths = np.diff(np.round(scenario.trs * np.cumsum([0, *scenario.runs])).astype(int))
    runs = np.repeat(np.arange(len(lengths)), lengths + CUT)
    kept = np.concatenate([np.arange(length + CUT) >= CUT for length in lengths])
    word_trs = np.repeat(np.arange(len(runs)), WORDS_PER_TR)
    n_words = len(word_trs)
    design = make_design(word_trs, runs, kept, DELAYS)
    axes = np.linalg.qr(fixed.standard_normal((scenario.hidden, scenario.hidden)))[0]
    weights = smooth(fixed.standard_normal((LATENT, n_voxels)), scenario.width)
    latent = autocorrelated(rng.standard_normal((n_words, LATENT)), 0.7)

    def representation():
        own = autocorrelated(rng.standard_normal((n_words, scenario.hidden)), 0.7)
        return latent @ axes[:LATENT] + own

    def response(words, weights):
        means, _ = delays.word_means(words, word_trs, len(runs))
        delayed = delays.delayed(means, design.source).reshape(len(design.source), len(DELAYS), -1)
        course = np.einsum("tdk,d->tk", delayed, HRF)
        course = (course - course.mean(axis=0)) / course.std(axis=0) @ weights
        return course / course.std()

    original = representation()
    noise = noise_of(rng, scenario, runs[kept], n_voxels)
    responses = scenario.signal * response(latent, weights) + noise
    if scenario.label is None:
        return design, original, representation(), responses
    unit = np.arange(n_words) // (1 if scenario.label == "word" else SENTENCE)
    label = rng.integers(0, 2, unit[-1] + 1)[unit][:, None].astype(float)
    original += scenario.shift * (label - 0.5) * axes[LATENT]
    if scenario.effect:
        where = smooth(fixed.standard_normal((1, n_voxels)), scenario.width)
        responses += scenario.effect * response(label, where)
    codes = label - label.mean()
    theta = codes.T @ (original - original.mean(axis=0)) / (codes.T @ codes)
    return design, original, (codes, theta, np.zeros(scenario.hidden)), responses


def primal_fold(X, responses, train, test) -> tuple[np.ndarray, np.ndarray]:
    """:func:`dynalign.encoding.ridge.fit_fold` for fewer features than rows: r per voxel and c(t) of the test rows."""
    alphas = np.array(ALPHAS, dtype=np.float32)
    X, Y = X.astype(np.float32), ridge.standardised(responses, train)

    def prepare(rows):
        """Centre, and coordinates in which the training rows' squares are diagonal."""
        centred, centre = X[rows] - X[rows].mean(axis=0), Y[rows].mean(axis=0)
        squares, axes = np.linalg.eigh(centred.T @ centred)
        return X[rows].mean(axis=0), centre, squares, axes, axes.T @ (centred.T @ (Y[rows] - centre))

    scores, splits = 0, ridge.inner_splits(len(X), train, INNER_FOLDS, GAP)
    for rows, held in splits:
        mean, centre, squares, axes, products = prepare(rows)
        shrunk = ((X[held] - mean) @ axes)[None] / (squares + alphas[:, None])[:, None, :]
        errors = (shrunk.reshape(-1, len(squares)) @ products).reshape(len(alphas), len(held), -1)
        errors -= Y[held] - centre
        variation = np.square(Y[held] - Y[held].mean(axis=0)).sum(axis=0)
        scores = scores + 1 - np.einsum("atv,atv->av", errors, errors) / variation
    choice = ridge.choose(scores / len(splits))
    mean, centre, squares, axes, products = prepare(train)
    predicted = ((X[test] - mean) @ axes) @ (products / (squares[:, None] + alphas[choice]))
    truth = ridge.standard_scores(Y[test]).astype(np.float32)
    agreed = ridge.agreement(backend.Numpy(), predicted, truth)
    return agreed.mean(axis=0, dtype=float), agreed.mean(axis=1, dtype=float)


def encode(scenario: Scenario, design, original, other, responses) -> list[tuple]:
    """r (folds × voxels) and c(t) of both arms, and the folds: what ``encoding.encode`` gives, sooner."""
    arms = [original, other if scenario.label is None else original - other[0] @ other[1] - other[2]]
    averaged = [delays.word_means(arm, design.word_trs, design.n_trs) for arm in arms]
    splits = outer_splits(design.runs, scenario.folds, GAP)
    r, course = np.empty((2, len(splits), responses.shape[1])), np.empty((2, len(responses)))
    fold = np.empty(len(responses), dtype=np.int16)
    for number, (train, test) in enumerate(splits):
        fold[test] = number
        for arm, (means, present) in enumerate(averaged):
            scale = means if scenario.label is None else averaged[0][0]
            used, factor = scaling(scale, present, design.trs[train])
            features = standardise(means, present, used, factor)
            X = delays.delayed(features, design.source)
            r[arm, number], course[arm, test] = primal_fold(X, responses, train, test)
    return r, course, fold


def check(scenario: Scenario, seed: int) -> None:
    """Compare with the workflow's own encoding of the same study."""
    design, original, other, responses = simulate(np.random.default_rng([seed, 0, 0]), scenario)
    r, course, _ = encode(scenario, design, original, other, responses)
    if scenario.label is None:
        found = [
            encoding_encode.encode(vectors, {}, design, responses, scenario.options)[ORIGINAL]
            for vectors in (original, other)
        ]
    else:
        found = encoding_encode.encode(
            original, {("ridge", "label"): other}, design, responses, scenario.options
        ).values()
    same = np.mean([np.abs(one.r - two) < 1e-4 for one, two in zip(found, r, strict=True)])
    moved = max(np.abs(one.timecourse - two).mean() for one, two in zip(found, course, strict=True))
    print(f"{scenario.name}: r of {same:.2%} of voxels and folds as by encoding.encode; c(t) moves by {moved:.0e}")
    # Rounding in float32 gives a voxel another penalty now and then.
    if same < 0.99 or moved > 1e-3:
        raise SystemExit("the fast ridge is not the workflow's")


def study(task: tuple[Scenario, tuple[int, ...]]) -> tuple:
    """What the tests need of one simulated study."""
    scenario, seed = task
    r, course, fold = encode(scenario, *simulate(np.random.default_rng(seed), scenario))
    return r.mean(axis=1), course, fold


def sign_flips(means: np.ndarray, factor: float) -> float:
    """p of the mean of blocks against random flips of their signs, after shrinking it by sqrt(factor)."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, len(means)))
    flipped = np.abs(signs @ means) / len(means)
    return (1 + np.sum(flipped >= abs(means.mean()) / np.sqrt(factor))) / (FLIPS + 1)


def newey_west(course: np.ndarray, fold: np.ndarray, lags: int, factor: float) -> float:
    """p of a mean with the Bartlett-weighted variance of autocorrelated rows (Newey & West 1987), normal."""
    variance = 0.0
    for name in np.unique(fold):
        x = course[fold == name] - course.mean()
        variance += x @ x + 2 * sum((1 - lag / (lags + 1)) * (x[lag:] @ x[:-lag]) for lag in range(1, lags + 1))
    return float(2 * stats.norm.sf(abs(course.mean()) / np.sqrt(factor * variance) * len(course)))


def fold_means(course: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Mean of c(t) in each fold."""
    return np.array([course[fold == name].mean() for name in np.unique(fold)])


def p_values(course: np.ndarray, fold: np.ndarray, voxels: np.ndarray) -> dict[str, float]:
    """Every test of one difference.

    Parameters
    ----------
    course : array of shape (n_trs,)
    fold : array of shape (n_trs,)
    voxels : array of shape (n_voxels,)
        Differences of voxel scores.
    """
    settings, share = Statistics(), block_tests.test_train_ratio(fold, GAP)
    per_fold = fold_means(course, fold)
    factor = 1 + len(per_fold) * share

    def blocks(size):
        return block_tests.block_test(course, fold, settings.model_copy(update={"block": size}), GAP)["p"]

    means, weights = block_tests.block_means(course, fold, settings.block)
    return {
        "chosen": blocks(settings.block),
        "block 10": blocks(10),
        "block 40": blocks(40),
        "factor 2": block_tests.corrected_t(means, 1 / (len(means) - 1), LEVEL, weights)["p"],
        "flips NB": sign_flips(means, factor),
        "NW NB": newey_west(course, fold, 10, factor),
        "NB folds": block_tests.corrected_t(per_fold, share, LEVEL)["p"],
        "t folds": block_tests.corrected_t(per_fold, 0.0, LEVEL)["p"],
        "t block": block_tests.corrected_t(means, 0.0, LEVEL, weights)["p"],
        "paper": block_tests.paper_t(voxels, np.zeros_like(voxels), "paired")[1],
    }


def tested(pool, results: list[tuple], truth: float) -> dict[str, np.ndarray]:
    """p-values of all studies of a scenario against a true difference."""
    tasks = [(course[1] - course[0] - truth, fold, r[1] - r[0] - truth) for r, course, fold in results]
    rows = pool.starmap(p_values, tasks, chunksize=10)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def differences(results: list[tuple]) -> np.ndarray:
    """Mean difference of every study."""
    return np.array([fold_means(course[1] - course[0], fold).mean() for _, course, fold in results])


def found_at_0(results: list[tuple]) -> float:
    """Share of studies in which the workflow's test rejects a difference of 0."""
    tests = [block_tests.block_test(course[1] - course[0], fold, Statistics(), GAP) for _, course, fold in results]
    return float(np.mean([one["p"] < LEVEL for one in tests]))


def missed(results: list[tuple]) -> float:
    """Share of intervals of the original's alignment that do not hold its mean over studies."""
    truth = np.mean([fold_means(course[0], fold).mean() for _, course, fold in results])
    tests = [block_tests.block_test(course[0], fold, Statistics(), GAP) for _, course, fold in results]
    return float(np.mean([not one["ci_low"] <= truth <= one["ci_high"] for one in tests]))


def main() -> None:
    """Simulate, test, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400, help="simulated studies per scenario")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="scenarios whose name holds this, without the table of power")
    args = parser.parse_args()
    start = time.perf_counter()
    for scenario in (BASE, PLANTED):
        check(scenario, args.seed)

    with Pool(args.processes) as pool:

        def studies(scenario: Scenario, number: int) -> list[tuple]:
            tasks = [(scenario, (args.seed, number, index)) for index in range(args.studies)]
            results = pool.map(study, tasks, chunksize=10)
            done = f"{time.perf_counter() - start:.0f} s: scenario {number + 1} of {len(SCENARIOS) + len(EFFECTS)}"
            print(done, file=sys.stderr, flush=True)
            return results

        print(
            f"\nRejections at {LEVEL}, %, {args.studies} studies per row "
            f"(1 standard error is {100 * np.sqrt(LEVEL * (1 - LEVEL) / args.studies):.1f})"
        )
        headline, power = None, np.nan
        for number, scenario in enumerate(SCENARIOS):
            if args.only not in scenario.name:
                continue
            results = studies(scenario, number)
            truth = 0.0 if scenario.label is None else differences(results).mean()
            p = tested(pool, results, truth)
            if headline is None:
                headline = p
                print(f"{'':28s}" + "".join(f"{name:>9s}" for name in p) + "     at 0 alignment mean r")
            r = np.mean([one[0][0].mean() for one in results])
            print(
                f"{scenario.name:28s}"
                + "".join(f"{100 * np.mean(each < LEVEL):9.1f}" for each in p.values())
                + f"{100 * found_at_0(results):9.1f}{100 * missed(results):10.1f}{r:7.3f}",
                flush=True,
            )

        if not args.only:
            print(
                f"\nPower of finding a planted effect, %, at {LEVEL} and at {STRICT} (a large grid's adjusted level); "
                "the paper's test is not calibrated, its column is no power"
            )
            print(
                f"{'effect':>7s}{'% var':>7s}{'mean difference':>17s}{'effect size':>13s}"
                f"{'chosen':>8s}{'NB folds':>10s}{'paper':>7s}   | {STRICT}: {'chosen':>7s}{'NB folds':>10s}"
            )
        for number, effect in enumerate([] if args.only else EFFECTS, start=len(SCENARIOS)):
            results = studies(replace(PLANTED, effect=effect), number)
            p = tested(pool, results, 0.0)
            sizes = [
                block_tests.block_test(course[1] - course[0], fold, Statistics(), GAP)["effect_size"]
                for _, course, fold in results
            ]
            if effect == STAR:
                power = np.mean(p["chosen"] < LEVEL)
            rates = {name: 100 * np.mean(p[name] < LEVEL) for name in ("chosen", "NB folds", "paper")}
            strict = {name: 100 * np.mean(p[name] < STRICT) for name in ("chosen", "NB folds")}
            print(
                f"{effect:6.3f}{'*' if effect == STAR else ' '}{100 * effect**2 / (1 + effect**2):7.2f}"
                f"{differences(results).mean():17.4f}{np.median(sizes):13.2f}"
                f"{rates['chosen']:8.1f}{rates['NB folds']:10.1f}{rates['paper']:7.1f}"
                f"   | {'':7s}{strict['chosen']:7.1f}{strict['NB folds']:10.1f}",
                flush=True,
            )
    print(
        f"false_positive_rate={np.mean(headline['chosen'] < LEVEL):.3f} "
        f"false_positive_rate_paper={np.mean(headline['paper'] < LEVEL):.3f} power={power:.3f}"
    )


if __name__ == "__main__":
    main()
