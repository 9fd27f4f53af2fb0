"""A stand-in of the Harry Potter data: the same files, types, shapes and timing, another text, planted responses.

It rehearses a study at its true size before the real data are fetched (``config/rehearsal.yaml``), and serves tests
and benchmarks. Nothing of the book is in it.

Words come from the grammar of :mod:`dynalign.datasets.training_text`: 5,176 of at most 14 characters, 201 of them
the cross ``+`` between paragraphs, some passages between ``@`` as italics.

A subject's voxel v at TR t of run k is ::

    y_v(t) = sqrt(s_v) · z( Σ_{d=1..5} a_vd · Σ_j u_vj · f_j(t − d) ) + sqrt(1 − s_v) · n_v(t) + 0.3 · c_kv(t)

``f_j(t)`` is the mean over the words of TR t of feature j of the word's type (standard normal, one draw per type),
which is what a language model's embedding of the word knows of it; u (normal) and a (uniform in 0.5 … 1.5) differ from
voxel to voxel, so that all of the paper's delays matter and a shift by one TR loses part of the signal. n is AR(1)
noise (ρ = 0.4), c a slow cosine per run. s is 0.3 in a random half of the voxels and 0 in the others; which ones is
written beside the arrays (``truth_<subject>.npy``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.datasets.harry_potter import N_ROWS, N_WORDS, RUNS, VOXELS, timing
from dynalign.datasets.training_text import generate, read_grammar
from dynalign.encoding.delays import delayed, sources, word_means
from dynalign.io.arrays import write_array
from dynalign.io.errors import InputError
from dynalign.stimulus.timing import kept_trs

#: Crosses in the words, characters of the longest word, share of passages in italics.
CROSSES, LONGEST, ITALICS = 201, 14, 0.05

#: TRs cut off both ends of a run, as in the real data.
TRIM = (20, 15)
DELAYS = (1, 2, 3, 4, 5)
N_FEATURES = 12
SHARE, PLANTED, AR, DRIFT = 0.3, 0.5, 0.4, 0.3

#: Voxels made at a time (memory, not results).
BLOCK = 2048


def words(grammar: dict, seed: int) -> np.ndarray:
    """A text of exactly the real one's length, crosses included: str (``<U14``), shape (5176,).

    The grammar is that of :func:`dynalign.datasets.training_text.generate`; InputError if its words are too long.
    """
    rng = np.random.default_rng([seed, 0])
    text = generate(grammar, 12 * N_WORDS, seed)
    story = [word for word in text.split() if len(word) <= LONGEST][: N_WORDS - CROSSES]
    if len(story) < N_WORDS - CROSSES:
        raise InputError(f"the grammar gives {len(story)} words of at most {LONGEST} characters; too few")
    # A story does not begin or end with a cross, and its last word ends a sentence.
    story[-1] = "end."
    for first in np.flatnonzero(rng.random(len(story) - 3) < ITALICS / 3):
        for position, mark in ((first, "@{}"), (first + 2, "{}@")):
            if len(story[position]) < LONGEST and "@" not in story[position]:
                story[position] = mark.format(story[position])
    ends = [position for position, word in enumerate(story[:-1]) if word.endswith((".", "!", "?"))]
    crosses = sorted(rng.choice(ends, CROSSES, replace=False))
    return np.array(np.insert(np.array(story, dtype=object), np.array(crosses) + 1, "+"), dtype=f"<U{LONGEST}")


def word_features(story: np.ndarray, seed: int) -> np.ndarray:
    """What responses know of each word of a story: an array of shape (n_words, 12)."""
    types, which = np.unique(story, return_inverse=True)
    return np.random.default_rng([seed, 1]).standard_normal((len(types), N_FEATURES))[which]


def responses(story: np.ndarray, seed: int, subject: int, n_voxels: int, dtype: str = "float64") -> tuple:
    """Responses of one subject, and which of its voxels have a signal.

    From a story of shape (5176,), a seed, the subject's number (another one gives other voxels), a number of voxels and
    a type come arrays of shape (1211, n_voxels), trimmed as the real ones, and (n_voxels,), boolean.
    """
    from scipy.signal import lfilter

    times = timing()
    runs = times["runs_fmri"]
    kept = kept_trs(runs, *TRIM)
    trs = np.searchsorted(times["time_fmri"], times["time_words_fmri"]) - 1
    means, _ = word_means(word_features(story, seed), trs, len(runs))
    design = delayed(means, sources(runs, kept, DELAYS))
    rng = np.random.default_rng([seed, 2, subject])
    planted = rng.random(n_voxels) < PLANTED
    wave = np.cos(np.concatenate([np.pi * (np.arange(n) + 0.5) / n for n in np.bincount(runs[kept])[1:]]))
    values = np.empty((N_ROWS, n_voxels), dtype=dtype)
    for first in range(0, n_voxels, BLOCK):
        block = slice(first, min(first + BLOCK, n_voxels))
        n = block.stop - first
        lags, mix = rng.uniform(0.5, 1.5, (len(DELAYS), n)), rng.standard_normal((N_FEATURES, n))
        weights = (lags[:, None, :] * mix).reshape(-1, n)
        signal = design @ weights
        signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
        # The first noise is drawn from the process's own distribution.
        noise = rng.standard_normal((N_ROWS, n)) * np.sqrt(1 - AR**2)
        noise[0] /= np.sqrt(1 - AR**2)
        noise = lfilter([1.0], [1.0, -AR], noise, axis=0)
        share = np.where(planted[block], SHARE, 0.0)
        drift = wave[:, None] * rng.standard_normal((len(RUNS), n))[runs[kept] - 1]
        values[:, block] = np.sqrt(share) * signal + np.sqrt(1 - share) * noise + DRIFT * drift
    return values, planted


@command
def main(
    folder: Path,
    grammar: str = "resources/demo/grammar.yaml",
    subjects: tuple[str, ...] = ("F", "M", "H"),
    voxels: int | None = None,
    dtype: str = "float64",
    seed: int = 0,
) -> None:
    """Write the files of the Harry Potter data, with another text (of a grammar, YAML) and planted responses.

    `subjects` are some of the real data's, `voxels` are those of each (default: as many as there), and `dtype` is
    float64, as there, or float32.
    """
    if voxels is not None and voxels < 1:
        raise InputError(f"--voxels {voxels}: at least 1")
    if unknown := [subject for subject in subjects if subject not in VOXELS]:
        raise InputError(f"--subjects {unknown[0]}: the data's subjects are {', '.join(VOXELS)}")
    if dtype not in ("float64", "float32"):
        raise InputError(f"--dtype {dtype}: float64 or float32")
    story = words(read_grammar(grammar), seed)
    for name, values in {"words_fmri": story, **timing()}.items():
        write_array(folder / f"{name}.npy", values)
    for subject in subjects:
        number = list(VOXELS).index(subject)
        values, planted = responses(story, seed, number, voxels or VOXELS[subject], dtype)
        write_array(folder / f"data_subject_{subject}.npy", values)
        write_array(folder / f"truth_{subject}.npy", planted)
        note(f"{folder}/data_subject_{subject}.npy: {values.shape}, signal in {int(planted.sum())} voxels")


if __name__ == "__main__":
    run(main)
