"""Shares of variance against planted truth and himalaya's group ridge, and what they cost.

``python tests/benchmarks/shares.py`` plants studies and encodes them with the workflow's own functions. A word has a
content, a type, a position and a label of two columns. Responses follow

- `nuisance`: types and position. Vectors, which hold both, add nothing to these, and the label adds nothing.
- `content`: the vectors' content alone; label and nuisance features add nothing.
- `nothing`: all is false.
- `all`: content, and both columns of the label, of which the vectors hold the first, with known shares.

A part is tested as in ``tables/shares.tsv``: two-tailed over blocks of TRs. Beside it stands what a difference of
scores says, the joint model's c(t) less that of the model without the band: a band that tells nothing costs its fit.

In the last line: `himalaya_max_difference`, the largest difference of r from himalaya's group ridge on the same grid of
penalties, for joint models of two and of three bands; `false_unique`, the share of tests with p < .05 of parts that are
not there (above: by kind), and `false_difference` that of the differences of scores; `voxel_false_positive`, that of
the alignment of single voxels that follow nothing, and `voxel_false_share` that of single voxels' shares (0, with p 1,
where the joint model takes no weight from a band); `recovered_share`, mean part found over part planted, of the part
furthest from 1; `job_ratio`, CPU time of a layer's encoding at the paper's size with shares over that without; and
`cost_ratio`, the same of the encoding and probing jobs of the paper's default study. Its representations, which shares
leave as they are too, do not count.
"""

import argparse
import os
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

# One thread per process: the processes share out the studies. Before a numerical library is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks import probing
from tests.benchmarks.encoding import Data
from tests.unit import test_joint

from dynalign.check.cost import jobs
from dynalign.config.encoding import Encoding
from dynalign.config.removal import Removal
from dynalign.config.statistics import Statistics
from dynalign.config.study import Study
from dynalign.encoding import backend, delays, joint
from dynalign.encoding.arms import make_design
from dynalign.encoding.crossfit import Crossfit
from dynalign.encoding.encode import encode
from dynalign.encoding.readability import make_targets
from dynalign.encoding.scores import ORIGINAL, PARTS
from dynalign.statistics.block_tests import block_test, part_test, voxel_test

OPTIONS = Encoding(alphas=tuple(10.0**power for power in range(-1, 8)), inner_folds=5)
STATISTICS = Statistics()
WORDS_PER_TR, SENTENCE, VOXELS, TYPES = 4, 12, 60, 150
#: Response to a word at delays of 1 to 5 TRs of 2 s.
HRF = np.array([0.2, 0.8, 1.0, 0.6, 0.3])
#: Shares of the responses' variance in studies of the kind `all`.
PLANTED = {"unique_model": 0.25, "shared": 0.15, "unique_features": 0.15}
#: Parts that are not there, by kind of study.
FALSE = {
    "nuisance": [("nuisance", "unique_model"), ("label", "unique_features")],
    "content": [("label", "unique_features"), ("nuisance", "unique_features")],
    "nothing": [(name, part) for name in ("label", "nuisance") for part in ("unique_model", "unique_features")],
    "all": [],
}


def study(task: tuple[str, int]) -> dict:
    """One study: (p of the share, p of the difference of scores, share of voxels) of false parts; found over planted.

    In studies of odd numbers the vectors hold the label's first column; in those of `all` always.
    """
    kind, seed = task
    rng = np.random.default_rng([15, seed, len(kind)])
    planted = kind == "all"
    trs, hidden = (2400, 16) if planted else (600, 64)
    n = trs * WORDS_PER_TR
    content = lfilter([0.8], [1, -0.6], rng.standard_normal((n, 6 if planted else 24)), axis=0)
    types = np.minimum(rng.geometric(0.03, n), TYPES) - 1
    one_hot = np.eye(TYPES)[types]
    position = (np.arange(n) % SENTENCE / SENTENCE)[:, None]
    label = np.repeat(rng.standard_normal((n // SENTENCE, 2)), SENTENCE, axis=0)
    held = [content, *([] if planted else [one_hot @ rng.standard_normal((TYPES, hidden)), position])]
    if planted or seed % 2:
        held.append(label[:, :1])
    vectors = sum(part @ rng.standard_normal((part.shape[1], hidden)) for part in held)

    def response(features):
        means = features.reshape(trs, WORDS_PER_TR, -1).mean(axis=1)
        late = np.concatenate([np.zeros((1, means.shape[1])), lfilter(HRF, [1], means, axis=0)[:-1]])
        signal = late @ rng.standard_normal((late.shape[1], VOXELS))
        return (signal - signal.mean(axis=0)) / signal.std(axis=0)

    signals = {
        "nuisance": [(0.15, one_hot), (0.15, position)],
        "content": [(0.3, content)],
        "nothing": [],
        "all": list(zip(PLANTED.values(), (content, label[:, :1], label[:, 1:]), strict=True)),
    }[kind]
    noise = lfilter([1], [1, -0.4], rng.standard_normal((trs, VOXELS)), axis=0)
    responses = np.sqrt(1 - sum(share for share, _ in signals)) * noise / noise.std(axis=0)
    responses += sum(np.sqrt(share) * response(part) for share, part in signals)
    runs = np.repeat(np.arange(4), trs // 4)
    design = make_design(np.repeat(np.arange(trs), WORDS_PER_TR), runs, np.ones(trs, bool), OPTIONS.delays)

    def band(values):
        return joint.Band(*delays.word_means(values, design.word_trs, trs), design.source)

    spaces = {"label": joint.Space([band(label)])}
    if not planted:
        spaces["nuisance"] = joint.Space([band(position)], band(one_hot), types)
    results = encode(vectors, {}, design, responses, OPTIONS, spaces=spaces)
    found: dict = {"tests": {}, "shares": {}}
    if kind == "nothing":
        original = results[ORIGINAL]
        p = voxel_test(original.blocks, original.fold, STATISTICS, OPTIONS.gap)["p"]
        found["voxels"] = (p < 0.05).mean()
    for name, part in FALSE[kind]:
        one, k = results["shares", name], PARTS.index(part)
        p, of_difference = (
            block_test(course[k], one.fold, STATISTICS, OPTIONS.gap)["p"]
            for course in (one.timecourse, one.r_timecourse)
        )
        voxels = part_test(one, part, STATISTICS, OPTIONS.gap)["p"]
        found["tests"][kind, name, part] = (p < 0.05, of_difference < 0.05, (voxels < 0.05).mean())
    if planted:
        share = results["shares", "label"].share.mean(axis=1)
        found["shares"] = {part: share[PARTS.index(part)] / truth for part, truth in PLANTED.items()}
    return found


def cost(n_voxels: int, threads: int) -> tuple[float, float]:
    """CPU time, in s, of an encoding job with the default's arms, without and with the default's shares."""
    data = Data.make(1211, 768)
    design, n = data.design, len(data.vectors)
    responses = data.responses(n_voxels)
    rng = np.random.default_rng(3)
    codes = {f"p{k}": rng.integers(0, 5 if k == 8 else 2, n).astype(float) for k in range(9)}
    runs = np.repeat(np.arange(4), [len(part) for part in np.array_split(np.arange(design.n_trs), 4)])
    fitted = Crossfit(data.vectors, design, runs, Removal())
    arms: dict = {("ridge-in-sample", f"p{k}"): arm for k, arm in enumerate(data.arms.values())}
    same = {}
    for name, values in codes.items():
        arms["leace-crossfit", name] = fitted.word_level("leace", values)
        arms["leace-crossfit-control", name] = fitted.word_level("leace", rng.permutation(values))
        same["leace-crossfit-control", name] = ("leace-crossfit", name)
    targets = make_targets(codes, np.arange(n) // SENTENCE, design, Removal().permutations, 0)

    def band(values):
        return joint.Band(*delays.word_means(values, design.word_trs, design.n_trs), design.source)

    spaces = {name: joint.property_space(values, design) for name, values in codes.items()}
    types = np.minimum(rng.zipf(1.3, n) - 1, 1299)
    spaces["nuisance"] = joint.Space([band(rng.standard_normal((n, 5)))], band(np.eye(1300)[types]), types)
    took = []
    for chosen in ({}, spaces):
        start = time.process_time()
        more = {"targets": targets, "same_penalties": same, "spaces": chosen}
        encode(data.vectors, arms, design, responses, data.options, device=backend.Numpy(threads), **more)
        took.append(time.process_time() - start)
    return took[0], took[1]


def probing_cost() -> float:
    """CPU time, in s, of a probing job of the paper's size."""
    rng = np.random.default_rng(3)
    sentence, types, word, codes = probing.story(rng)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probing.write_study(folder, probing.vectors(rng, sentence, types, codes), sentence, word, codes)
        _, cpu, _ = probing.job(folder, list(codes))
    return cpu


def be_quiet() -> None:
    """Progress of single encodings is of no interest here."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def main() -> None:
    """Print what is described above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="of each kind that plants nothing; a tenth of `all`")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--voxels", type=int, default=27905, help="of the job whose time is taken")
    args = parser.parse_args()
    differs = max(test_joint.difference_from_himalaya(with_types) for with_types in (False, True))
    tasks = [(kind, seed) for seed in range(args.studies) for kind in FALSE if kind != "all"]
    tasks += [("all", seed) for seed in range(max(1, args.studies // 10))]
    with Pool(args.processes, initializer=be_quiet) as pool:
        found = pool.map(study, tasks, chunksize=1)
    tests: dict = {}
    for one in found:
        for key, values in one["tests"].items():
            tests.setdefault(key, []).append(values)
    means = {key: np.mean(values, axis=0) for key, values in tests.items()}
    for (kind, name, part), (false, difference, voxels) in means.items():
        print(
            f"{kind:8} {name:8} {part:15} share {false:.3f}, difference of scores {difference:.3f}, voxels {voxels:.3f}"
        )
    shares = {part: np.mean([one["shares"][part] for one in found if one["shares"]]) for part in PLANTED}
    print(", ".join(f"{part}: {ratio:.3f} of what was planted" for part, ratio in shares.items()))
    without, with_shares = cost(args.voxels, args.processes)
    print(f"a layer of {args.voxels} voxels: {without:.0f} s of CPU time without shares, {with_shares:.0f} s with")
    cells, subjects, probes = jobs(Study())["probing"], len(Study().subjects), probing_cost()
    without_all, with_all = (cells * (subjects * encoding + probes) for encoding in (without, with_shares))
    print(f"a probing job: {probes:.0f} s; the default study has {cells} layers of checkpoints, {subjects} subjects")
    false, difference, voxels = np.mean(list(means.values()), axis=0)
    print(
        f"himalaya_max_difference={differs:.1e} false_unique={false:.3f} false_difference={difference:.3f} "
        f"voxel_false_positive={np.mean([one['voxels'] for one in found if 'voxels' in one]):.3f} "
        f"voxel_false_share={voxels:.3f} recovered_share={max(shares.values(), key=lambda x: abs(x - 1)):.3f} "
        f"job_ratio={with_shares / without:.2f} cost_ratio={with_all / without_all:.2f}"
    )


if __name__ == "__main__":
    main()
