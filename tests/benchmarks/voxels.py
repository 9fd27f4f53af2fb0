"""How often single voxels are significant that follow nothing, and how often those that follow the words.

``python tests/benchmarks/voxels.py`` plants studies of 600 TRs and encodes them with the workflow's own functions.
Half of the voxels are autocorrelated noise; the other half follow the vectors too, but not the direction that a removal
takes away. Each voxel is tested as the workflow tests it, over blocks of TRs.

In the last line: `voxel_false_positive` and `effect_false_positive`, the shares of the first half with p < .05, of
alignment and of the removal's effect; `false_discoveries`, the share of studies with any of these voxels among those
significant after adjustment over voxels, where no voxel follows anything; `found`, the share of the second half that
is significant after adjustment.
"""

import argparse
import os
import sys
from multiprocessing import Pool

# One thread per process: the processes share out the studies. Before a numerical library is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy.signal import lfilter

from dynalign.config.encoding import Encoding
from dynalign.config.statistics import Statistics
from dynalign.encoding.arms import make_design
from dynalign.encoding.encode import encode
from dynalign.encoding.scores import ORIGINAL
from dynalign.statistics.block_tests import voxel_test

OPTIONS = Encoding(alphas=tuple(10.0**power for power in range(-1, 8)), inner_folds=3)
STATISTICS = Statistics()
TRS, WORDS_PER_TR, HIDDEN, VOXELS = 600, 4, 64, 200
#: Response to a word at delays of 1 to 5 TRs of 2 s.
HRF = np.array([0.2, 0.8, 1.0, 0.6, 0.3])


def study(seed: int) -> dict[str, float]:
    """The shares of one study."""
    rng = np.random.default_rng([14, seed])
    own = rng.standard_normal((TRS * WORDS_PER_TR, HIDDEN))
    scale = (1 + np.arange(HIDDEN)) ** -0.5
    vectors = (0.8 * own + 0.6 * lfilter([0.4], [1, -0.6], own, axis=0)) * scale
    means = vectors.reshape(TRS, WORDS_PER_TR, HIDDEN).mean(axis=1)
    late = np.concatenate([np.zeros((1, HIDDEN)), lfilter(HRF, [1], means, axis=0)[:-1]])
    late = (late - late.mean(axis=0)) / late.std(axis=0)
    noise = lfilter([1], [1, -0.4], rng.standard_normal((TRS, VOXELS)), axis=0)
    signal = late @ rng.standard_normal((HIDDEN, VOXELS)) / np.sqrt(HIDDEN) / 2
    signal[:, : VOXELS // 2] = 0
    label = rng.standard_normal((len(vectors), 1))
    direction = 0.7 * rng.standard_normal((1, HIDDEN)) * scale
    runs = np.repeat(np.arange(4), TRS // 4)
    design = make_design(np.repeat(np.arange(TRS), WORDS_PER_TR), runs, np.ones(TRS, dtype=bool), OPTIONS.delays)
    removal = {("least squares", "label"): (label, direction, np.zeros(HIDDEN))}
    results = encode(vectors + label @ direction, removal, design, noise + signal, OPTIONS)
    original, residual = results[ORIGINAL], results["least squares", "label"]
    change = residual.blocks.astype(float) - original.blocks
    null = slice(VOXELS // 2)
    tested = (original.blocks, change, original.blocks[:, null])
    aligned, effect, alone = (voxel_test(blocks, original.fold, STATISTICS, OPTIONS.gap) for blocks in tested)
    return {
        "voxel_false_positive": (aligned["p"][null] < 0.05).mean(),
        "effect_false_positive": (effect["p"][null] < 0.05).mean(),
        "false_discoveries": float((alone["q"] < 0.05).any()),
        "found": (aligned["q"][VOXELS // 2 :] < 0.05).mean(),
    }


def be_quiet() -> None:
    """Progress of single encodings is of no interest here."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def main() -> None:
    """Print the means over studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with Pool(args.processes, initializer=be_quiet) as pool:
        found = pool.map(study, range(args.studies), chunksize=1)
    print(" ".join(f"{name}={np.mean([one[name] for one in found]):.3f}" for name in found[0]))


if __name__ == "__main__":
    main()
