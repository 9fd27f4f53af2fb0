"""What a removal's effect says: vectors hold the property or not × the brain follows it or not.

``python tests/benchmarks/removal.py`` plants studies and encodes them with the workflow's own functions. A word has a
latent content, which moves its vector and the responses. A label of each sentence, a coin or one that persists over
sentences, moves the vectors in one half of the cells, the responses in the other. Removing it can harm only where both
hold; its true size there is that of the vectors made without the label.

Ways of removal: the paper's ridge fitted on all words (`ridge, in-sample`), LEACE fitted alike, ridge and LEACE fitted
in each outer fold (`crossfit`), and LEACE in each fold on the means of TRs (`tr`). Harm: an effect below 0, p < .05 by
the workflow's test. Erasing costs something whatever is erased, the more the fewer the dimensions: so the headline's
harm must be over that of its control too, LEACE of the same labels permuted by sentence, p < .05 (`over`). `readable`
is r of the property's own regressors predicted from the features, before and after.

In the last line: `harm_in_sample_ridge` (the largest share of studies with harm in a cell where there is none, by the
paper's way), `harm_headline` and, of persistent labels and of 768 dimensions, `harm_headline_persistent`,
`harm_headline_768` (the same for the headline way); `power` (share of studies in which the headline finds the true
harm), `truth_ratio` (its mean effect over the true one) and `readable_ratio` (readable after over before), in the cells
where both hold.
"""

import argparse
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pool

# One thread per process: the processes share out the studies. Before a numerical library is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy.signal import lfilter

from dynalign.config.encoding import Encoding
from dynalign.config.removal import Removal
from dynalign.config.statistics import Statistics
from dynalign.encoding.arms import make_design
from dynalign.encoding.crossfit import Crossfit
from dynalign.encoding.encode import encode
from dynalign.encoding.readability import make_targets
from dynalign.encoding.scores import ORIGINAL
from dynalign.removal.erasers import low_rank
from dynalign.removal.leace import fit_leace
from dynalign.removal.permutations import permuted
from dynalign.removal.ridge import fit_ridge
from dynalign.statistics.block_tests import block_test

HEADLINE = "leace, crossfit"
WAYS = ("ridge, in-sample", "leace, in-sample", "ridge, crossfit", HEADLINE, "leace, tr", "control", "truth")
OPTIONS = Encoding(alphas=tuple(10.0**power for power in range(-1, 8)), inner_folds=3)
STATISTICS = Statistics()
WORDS_PER_TR, SENTENCE, VOXELS, LATENT = 4, 12, 60, 8
#: Response to a word at delays of 1 to 5 TRs of 2 s.
HRF = np.array([0.2, 0.8, 1.0, 0.6, 0.3])


@dataclass(frozen=True)
class Cell:
    """A way to make studies.

    Attributes
    ----------
    label : {"coin", "persistent"}
        Each sentence's by itself, or the last sentence's in nine of ten.
    hidden : int
    trs : int
    holds, follows : bool
        The vectors hold the label; the responses follow it.
    """

    label: str
    hidden: int
    trs: int
    holds: bool
    follows: bool

    def __str__(self):
        return f"{self.label:10} H {self.hidden:3} {self.trs:5} TRs  holds {self.holds:1} follows {self.follows:1}"


def study(cell: Cell, seed: int) -> dict[str, dict[str, float]]:
    """One study: of each way, effect, p, and what is readable before and after."""
    rng = np.random.default_rng([seed, cell.hidden, cell.trs, cell.label == "coin", cell.holds, cell.follows])
    n_words = cell.trs * WORDS_PER_TR
    sentence = np.cumsum(rng.random(n_words) < 1 / SENTENCE)
    flips = rng.random(sentence[-1] + 1) < (0.5 if cell.label == "coin" else 0.1)
    label = (np.cumsum(flips) % 2)[sentence].astype(float)
    word_trs = np.repeat(np.arange(cell.trs), WORDS_PER_TR)
    content = rng.standard_normal((n_words, LATENT))
    # A trained model's spectrum decays; the context makes neighbours alike.
    scale = (1 + np.arange(cell.hidden)) ** -0.5
    own = rng.standard_normal((n_words, cell.hidden))
    vectors = (0.8 * own + 0.6 * lfilter([0.4], [1, -0.6], own, axis=0)) * scale
    vectors += 0.7 * content @ rng.standard_normal((LATENT, cell.hidden)) * scale / np.sqrt(LATENT)
    without = vectors
    if cell.holds:
        vectors = vectors + np.outer(label - 0.5, rng.standard_normal(cell.hidden)) * scale * 2

    def heard(per_word):
        means = per_word.reshape(cell.trs, WORDS_PER_TR, -1).mean(axis=1)
        late = np.concatenate([np.zeros((1, means.shape[1])), lfilter(HRF, [1], means, axis=0)[:-1]])
        return (late - late.mean(axis=0)) / late.std(axis=0)

    responses = heard(content) @ rng.standard_normal((LATENT, VOXELS)) / np.sqrt(LATENT) * 0.5
    if cell.follows:
        responses += 0.5 * heard(label[:, None]) * (np.arange(VOXELS) % 2)
    noise = rng.standard_normal((cell.trs, VOXELS)) + rng.standard_normal((cell.trs, 1)) * 0.5
    responses += lfilter([1], [1, -0.4], noise, axis=0)

    runs = np.repeat(np.arange(4), -(-cell.trs // 4))[: cell.trs]
    design = make_design(word_trs, runs, np.ones(cell.trs, dtype=bool), OPTIONS.delays)
    control = permuted(label.astype(int), sentence, rng).astype(float)
    removal = Removal()
    fitted = Crossfit(vectors, design, runs, removal)
    ridge = fit_ridge(vectors, label, removal.alphas, removal.folds)
    arms = {
        ("ridge, in-sample", "label"): low_rank(ridge, vectors, label),
        ("leace, in-sample", "label"): low_rank(fit_leace(vectors, label), vectors, label),
        ("ridge, crossfit", "label"): fitted.word_level("ridge", label),
        (HEADLINE, "label"): fitted.word_level("leace", label),
        ("leace, tr", "label"): fitted.tr_level(label),
        ("control", "label"): fitted.word_level("leace", control),
        ("truth", "label"): (vectors - without, np.eye(cell.hidden), np.zeros(cell.hidden)),
    }
    if not cell.holds:
        del arms["truth", "label"]
    targets = make_targets({"label": label}, sentence, design, 10, seed)
    results = encode(vectors, arms, design, responses, OPTIONS, targets=targets)
    original, cost = results[ORIGINAL], results["control", "label"]
    found = {}
    for (way, _), scores in results.items():
        if way == "none":
            continue
        test = block_test(scores.timecourse - original.timecourse, original.fold, STATISTICS, OPTIONS.gap)
        over = block_test(scores.timecourse - cost.timecourse, original.fold, STATISTICS, OPTIONS.gap)
        found[way] = {
            "effect": test["mean"],
            "p": test["p"],
            "over": over["mean"],
            "p_over": over["p"],
            "before": float(original.readable[0, 0]),
            "after": float(scores.readable[0, 0]),
            "null": float(np.percentile(scores.readable[0, 1:], 97.5)),
        }
    return found


def run(task):
    """One study in a process of its own."""
    return task[0], study(*task)


def be_quiet() -> None:
    """Progress of single encodings is of no interest here; Ctrl-C ends the parent, which prints what there is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def cells() -> list[Cell]:
    """All cells, the small ones first."""
    grid = []
    for label in ("coin", "persistent"):
        for hidden, trs in ((32, 600), (256, 600), (256, 1211), (768, 1211)):
            for holds, follows in ((False, False), (False, True), (True, False), (True, True)):
                grid.append(Cell(label, hidden, trs, holds, follows))
    return grid


def main() -> None:
    """Print a line per cell and way, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="studies per cell")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--hidden", type=int, nargs="*", help="only cells of these dimensions")
    parser.add_argument("--minutes", type=float, default=0, help="stop adding studies after so many minutes; 0: never")
    args = parser.parse_args()
    chosen = [cell for cell in cells() if not args.hidden or cell.hidden in args.hidden]
    begin = time.monotonic()
    found = defaultdict(lambda: defaultdict(list))
    # Study by study over all cells, so that a run that is cut short has as many of each.
    tasks = ((cell, seed) for seed in range(args.studies) for cell in chosen)
    with Pool(args.processes, initializer=be_quiet) as pool, suppress(KeyboardInterrupt):
        for cell, ways in pool.imap_unordered(run, tasks):
            for way, values in ways.items():
                found[cell][way].append(values)
            if args.minutes and time.monotonic() - begin > 60 * args.minutes:
                break

    def harm(cell, way, over=False):
        harmed = [one["effect"] < 0 and one["p"] < 0.05 for one in found[cell][way]]
        above = [one["over"] < 0 and one["p_over"] < 0.05 for one in found[cell][way]]
        return np.mean(np.logical_and(harmed, above) if over else harmed)

    def mean(cell, way, key):
        # A label that persists may be constant in a fold, where nothing of it can be read.
        return float(np.nanmean([one[key] for one in found[cell][way]]))

    print(f"{'cell':52} {'way':18} studies  harm  over relief  effect  before  after  null")
    for cell in found:
        for way in WAYS:
            if way in found[cell]:
                relief = np.mean([one["effect"] > 0 and one["p"] < 0.05 for one in found[cell][way]])
                effect, before, after, null = (mean(cell, way, key) for key in ("effect", "before", "after", "null"))
                shares = f"{harm(cell, way):5.2f} {harm(cell, way, True):5.2f} {relief:6.2f}"
                print(
                    f"{cell!s:52} {way:18} {len(found[cell][way]):7} {shares} "
                    f"{effect:+7.4f} {before:7.3f} {after:6.3f} {null:5.3f}"
                )
    no = [cell for cell in found if not (cell.holds and cell.follows)]
    both = [cell for cell in found if cell.holds and cell.follows]
    figures = {
        "harm_in_sample_ridge": max(harm(cell, "ridge, in-sample") for cell in no),
        "harm_headline": max(harm(cell, HEADLINE, True) for cell in no),
        "harm_headline_persistent": max(harm(cell, HEADLINE, True) for cell in no if cell.label == "persistent"),
        "harm_headline_768": max((harm(cell, HEADLINE, True) for cell in no if cell.hidden == 768), default=np.nan),
        "power": np.mean([harm(cell, HEADLINE, True) for cell in both]),
        "truth_ratio": np.mean([mean(cell, HEADLINE, "effect") / mean(cell, "truth", "effect") for cell in both]),
        "readable_ratio": np.mean([mean(cell, HEADLINE, "after") / mean(cell, HEADLINE, "before") for cell in both]),
    }
    print(f"minutes={(time.monotonic() - begin) / 60:.1f}")
    print(" ".join(f"{name}={value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
