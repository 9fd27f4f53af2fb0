"""Encoding against himalaya and a loop of scikit-learn fits, on the same data in one run.

``python tests/benchmarks/encoding.py`` times, on one outer fold of a study of the paper's size,

- this project with the original alone, with ten arms (eight properties of one label column and one of five
  one-hot columns removed), and with the original on the direct path: every penalty's hat matrix multiplied, none
  combined from others',
- himalaya's KernelRidgeCV at the fastest of several batch settings and backends, on one arm and on all ten,
- one scikit-learn Ridge per inner fold and penalty, in float64 (its float32 meets singular matrices at the
  smallest penalties and falls back to a slower solver), on fewer voxels,

from features (words, for this project) to Pearson r per voxel, checks all answers against each other, and prints
ratios of time: medians over repetitions in which the contenders take turns, every one on the same number of threads;
what takes minutes (himalaya on ten arms, scikit-learn) is timed once. Time is the wall's, or with ``--clock cpu`` the
process's on all its threads: with ``--threads 1`` that is what a busy machine's neighbours touch least.

Memory is the peak of a process of
its own that does a whole job, five outer folds and ten arms, from a mapped file. ``make bench`` runs it.

In the last line, `himalaya_ratio` and `himalaya_ratio_10_arms` are himalaya's time over ours, `sklearn_ratio`
scikit-learn's over ours at the same voxels, `peak_share` the FLOPs of the direct path's products of hat matrices
and responses (search and refit) per second over the machine's best float32 matrix product on the same threads,
`arms_ratio` our ten arms over our one.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from dynalign.config.encoding import Encoding
from dynalign.encoding import backend, delays, encode, ridge, scores
from dynalign.encoding.arms import Design, low_rank_kernel, make_design, outer_splits, scaling, standardise

#: TRs of the Harry Potter runs after trimming.
RUN_LENGTHS = (305, 317, 244, 345)
#: TRs trimmed off the front of a run.
CUT = 20


@dataclass
class Data:
    """A study: words in TRs, removals, responses that follow some of the features."""

    vectors: np.ndarray
    design: Design
    arms: dict
    options: Encoding

    @classmethod
    def make(cls, trs: int, hidden: int) -> "Data":
        """Word vectors with a falling spectrum, four words per TR, labels with an effect on the vectors."""
        rng = np.random.default_rng(0)
        lengths = np.diff(np.round(np.cumsum([0, *RUN_LENGTHS]) * trs / sum(RUN_LENGTHS)).astype(int))
        runs = np.repeat(np.arange(4), lengths + CUT)
        kept = np.concatenate([np.arange(length + CUT) >= CUT for length in lengths])
        word_trs = np.repeat(np.arange(len(runs)), 4)
        spread = np.arange(1, hidden + 1) ** -0.5
        vectors = rng.standard_normal((len(word_trs), hidden)) * spread
        vectors = vectors @ np.linalg.qr(rng.standard_normal((hidden, hidden)))[0]
        options = Encoding()
        arms = {}
        for number in range(9):
            n_classes = 5 if number == 8 else 2
            labels = rng.integers(0, n_classes, len(word_trs))
            codes = np.eye(5)[labels] if number == 8 else labels[:, None].astype(float)
            vectors += codes @ rng.standard_normal((codes.shape[1], hidden)) * 0.05
            centred = codes - codes.mean(axis=0)
            theta = np.linalg.lstsq(centred, vectors - vectors.mean(axis=0), rcond=None)[0]
            arms["ridge", f"property-{number}"] = (codes, theta, np.zeros(hidden))
        design = make_design(word_trs, runs, kept, options.delays)
        return cls(vectors, design, arms, options)

    def features(self, name, train) -> np.ndarray:
        """Delayed features of an arm, float32: what the other contenders start from."""
        words = self.vectors
        if name != scores.ORIGINAL:
            A, B, b = self.arms[name]
            words = words - A @ B - b
        d = self.design
        reference, present = delays.word_means(self.vectors, d.word_trs, d.n_trs)
        means, _ = delays.word_means(words, d.word_trs, d.n_trs)
        scaled = standardise(means, present, *scaling(reference, present, d.trs[train]))
        return delays.delayed(scaled, d.source).astype(np.float32)

    def responses(self, n_voxels: int) -> np.ndarray:
        """Signal from random combinations of the features, from none to half of the variance."""
        rng = np.random.default_rng(1)
        X = self.features(scores.ORIGINAL, np.arange(len(self.design.trs)))
        weights = rng.standard_normal((X.shape[1], n_voxels), dtype=np.float32) / np.sqrt(X.shape[1])
        share = np.linspace(0, 0.7, n_voxels, dtype=np.float32)
        noise = rng.standard_normal((len(X), n_voxels), dtype=np.float32)
        return share * (X @ weights) + np.sqrt(1 - share**2) * noise


def ours(data: Data, y, train, test, arms, threads: int, **options) -> list[ridge.FoldScores]:
    """One outer fold of this project."""
    run = backend.Numpy(threads)
    kernel, changes = low_rank_kernel(data.design, data.vectors, list(arms.values()), train)
    o = data.options
    sets = ridge.FeatureSets(kernel, changes)
    group = ridge.Group([sets], {number: (number,) for number in range(len(sets))})
    found, _ = ridge.fit_fold(group, y, train, test, o.alphas, o.inner_folds, o.gap, run, **options)
    return list(found.values())


def pearson(one, other) -> np.ndarray:
    """Pearson r of each column."""
    one, other = (part - part.mean(axis=0) for part in (np.asarray(one), np.asarray(other)))
    norms = np.sqrt(np.square(one).sum(axis=0) * np.square(other).sum(axis=0))
    return (one * other).sum(axis=0) / norms


def inner_positions(data: Data, train) -> list[tuple[np.ndarray, np.ndarray]]:
    """The inner folds, counted among the training rows."""
    splits = ridge.inner_splits(len(data.design.trs), train, data.options.inner_folds, data.options.gap)
    return [tuple(np.searchsorted(train, part) for part in pair) for pair in splits]


def himalaya(data: Data, X, y, train, test, setting) -> tuple[np.ndarray, np.ndarray]:
    """One arm of one outer fold by himalaya: r and penalty per voxel."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.scoring import r2_score
    from threadpoolctl import threadpool_limits

    name, n_targets, blas_threads = setting
    set_backend(name)
    threadpool_limits(blas_threads, user_api="blas")
    y = ridge.standardised(y, train)
    model = KernelRidgeCV(
        data.options.alphas,
        kernel="precomputed",
        cv=inner_positions(data, train),
        fit_intercept=True,
        solver_params={"score_func": r2_score, "n_targets_batch": n_targets},
    )
    model.fit(X[train] @ X[train].T, y[train])
    predicted = model.predict(X[test] @ X[train].T)
    return pearson(predicted, y[test]), np.asarray(model.best_alphas_, dtype=np.float64)


def scikit_learn(data: Data, X, y, train, test) -> tuple[np.ndarray, np.ndarray]:
    """One arm of one outer fold by a loop of Ridge fits, as in the paper's code: r and penalty per voxel."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    X, y = X.astype(np.float64), ridge.standardised(y, train).astype(np.float64)
    inner = np.zeros((len(data.options.alphas), y.shape[1]))
    for pair in inner_positions(data, train):
        fit, held = (train[part] for part in pair)
        for row, alpha in enumerate(data.options.alphas):
            model = Ridge(alpha, solver="cholesky").fit(X[fit], y[fit])
            inner[row] += r2_score(y[held], model.predict(X[held]), multioutput="raw_values")
    best = inner.argmax(axis=0)
    r = np.empty(y.shape[1])
    for index in np.unique(best):
        voxels = best == index
        model = Ridge(data.options.alphas[index], solver="cholesky").fit(X[train], y[train][:, voxels])
        predicted = model.predict(X[test]).reshape(len(test), -1)
        r[voxels] = pearson(predicted, y[test][:, voxels])
    return r, np.array(data.options.alphas)[best]


def check(name: str, found: ridge.FoldScores, r, alpha) -> None:
    """Same penalty for nearly all voxels (rounding decides ties), and for these the same r."""
    same = np.isclose(found.alpha, alpha, rtol=1e-6)
    worst = np.abs(found.r - r)[same].max()
    print(f"  {name}: same penalty for {same.mean():.2%} of voxels, their r within {worst:.1e}", flush=True)
    if same.mean() < 0.95 or worst > 1e-4:
        raise SystemExit(f"{name}: answers differ")


def peak(threads: int, by: str) -> float:
    """Best float32 matrix product, FLOP/s: one product per thread, or one product on all threads; numpy, torch."""
    import torch
    from threadpoolctl import threadpool_limits

    size = 3072
    a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    t = torch.from_numpy(a)
    which = 1 if by == "cpu" else 0

    def all_threads():
        with threadpool_limits(1):
            return backend.spread(lambda _: a @ a, range(threads), threads)

    seconds = [clock(all_threads)[which] / threads for _ in range(2)]
    for product in (lambda: a @ a, lambda: t @ t):
        seconds += [clock(product)[which] for _ in range(2)]
    return 2 * size**3 / min(seconds)


def clock(function) -> tuple[float, float, object]:
    """Wall seconds, CPU seconds, result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def whole_job(path: str, data: Data, threads: int) -> None:
    """All outer folds and arms, from a mapped file, as the command does."""
    y = np.load(path, mmap_mode="r")
    wall, cpu, _ = clock(
        lambda: encode.encode(data.vectors, data.arms, data.design, y, data.options, device=backend.Numpy(threads))
    )
    print(f"whole job, {1 + len(data.arms)} arms, 5 outer folds: {wall:.1f} s, {cpu:.1f} CPU-s", flush=True)


def main() -> None:
    """Time, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trs", type=int, default=1211)
    parser.add_argument("--hidden", type=int, default=768, help="features per delay (five delays)")
    parser.add_argument("--voxels", type=int, default=27905)
    parser.add_argument("--sklearn-voxels", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument(
        "--himalaya-arms", type=int, default=10, help="arms timed of himalaya's ten; their time is scaled"
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    data = Data.make(args.trs, args.hidden)
    if args.job:
        whole_job(args.job, data, args.threads)
        return

    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    splits = outer_splits(data.design.runs, data.options.folds, data.options.gap)
    train, test = splits[2]
    y = data.responses(args.voxels)
    few = np.ascontiguousarray(y[:, :: max(1, args.voxels // args.sklearn_voxels)][:, : args.sklearn_voxels])
    X = {name: data.features(name, train) for name in (scores.ORIGINAL, *data.arms)}
    original = X[scores.ORIGINAL]

    def timed(label, function):
        wall, cpu, result = clock(function)
        print(f"{label}: {wall:.2f} s, {cpu:.2f} CPU-s", flush=True)
        return (cpu if args.clock == "cpu" else wall), result

    def mine(responses, arms, **options):
        with threadpool_limits(1):
            return ours(data, responses, train, test, arms, args.threads, **options)

    # OpenBLAS on one thread beside torch's own threads, or on all: two pools at once can slow each other down.
    settings = [
        (name, batch, blas_threads)
        for name in ("numpy", "torch")
        for batch in (None, 256, 1024)
        for blas_threads in sorted({1, args.threads})
    ]
    tried = {
        setting: timed(
            f"himalaya {setting}, {few.shape[1]} voxels",
            lambda setting=setting: himalaya(data, original, few, train, test, setting),
        )[0]
        for setting in settings
    }
    best = min(tried, key=tried.get)
    print("himalaya's settings: (backend, n_targets_batch, threads of the BLAS)", flush=True)

    runs = {name: [] for name in ("one", "ten", "direct", "himalaya", "peak")}
    answers = {}
    for _ in range(args.repeats):
        runs["peak"].append(peak(args.threads, args.clock))
        for name, label, function in (
            ("one", "this project, one arm", lambda: mine(y, {})),
            ("himalaya", f"himalaya {best}, one arm", lambda: himalaya(data, original, y, train, test, best)),
            ("direct", "this project, one arm, direct path", lambda: mine(y, {}, tolerance=0)),
            ("ten", "this project, ten arms", lambda: mine(y, data.arms)),
        ):
            seconds, answers[name] = timed(label, function)
            runs[name].append(seconds)
    (single,) = answers["one"]
    check("himalaya, one arm", single, *answers["himalaya"])
    check("direct path", single, answers["direct"][0].r, answers["direct"][0].alpha)

    def all_arms():
        return [himalaya(data, X[name], y, train, test, best) for name in list(X)[-args.himalaya_arms :]]

    seconds, theirs = timed(f"himalaya, {args.himalaya_arms} of ten arms", all_arms)
    himalaya_ten = seconds * len(X) / len(theirs)
    pairs = list(zip(X, answers["ten"], strict=True))[-args.himalaya_arms :]
    for (name, found), (r, alpha) in zip(pairs, theirs, strict=True):
        check(f"himalaya, {name[1]}", found, r, alpha)

    sklearn, (r, alpha) = timed(
        f"scikit-learn, {few.shape[1]} voxels", lambda: scikit_learn(data, original, few, train, test)
    )
    small, (found,) = timed(f"this project, {few.shape[1]} voxels", lambda: mine(few, {}))
    check("scikit-learn", found, r, alpha)

    splits = inner_positions(data, train)
    products = sum(2 * len(fit) * len(held) for fit, held in splits) * len(data.options.alphas)
    products = (products + 2 * len(train) * len(test)) * args.voxels
    shares = [products / seconds / rate for seconds, rate in zip(runs["direct"], runs["peak"], strict=True)]
    print(
        f"peak {np.median(runs['peak']) / 1e9:.0f} GFLOP/s; combining penalties leaves the default path "
        f"{np.median(np.divide(runs['one'], runs['direct'])):.2f} of the direct path's time"
    )
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/y.npy", y)
        flags = {"--trs": args.trs, "--hidden": args.hidden, "--threads": args.threads, "--job": f"{folder}/y.npy"}
        flags = [str(part) for pair in flags.items() for part in pair]
        subprocess.run([sys.executable, __file__, *flags], check=True)
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20

    def ratio(slow, fast):
        return np.median(np.divide(slow, fast))

    print(
        f"himalaya_ratio={ratio(runs['himalaya'], runs['one']):.2f} "
        f"himalaya_ratio_10_arms={himalaya_ten / np.median(runs['ten']):.2f} sklearn_ratio={sklearn / small:.1f} "
        f"peak_share={np.median(shares):.2f} arms_ratio={ratio(runs['ten'], runs['one']):.2f} peak_gib={gib:.2f}"
    )


if __name__ == "__main__":
    main()
