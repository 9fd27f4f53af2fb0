"""One layer and one subject → scores of every voxel, with and without each property (METHOD section 7).

Features of a TR are the mean of its words, standardised by the training TRs of the outer fold, then delayed:

- Scale: standard deviation, over the training rows' TRs that have words, of the ORIGINAL features, in every
  arm, so that re-scaling cannot undo a removal. A dimension in which these are constant is left out.
- Centre: the arm's own mean over the same TRs. With an unpenalised intercept it matters for TRs without words
  only: these, and delays that leave the run, contribute zeros, so they count as average TRs.
- Inner folds keep the outer fold's scale and centre, and refit the intercept.

An arm (a property removed) changes the words' vectors to ``X − A B − b`` with thin A and B. After averaging
and standardising it is ``Z − P Θ`` with ``P = Ā − mean(Ā)``, ``Θ = B / scale``: a change inside the few
directions that Θ spans, which :mod:`dynalign.encoding.ridge` solves for little more than the original alone. The
direct way builds each arm's own features; it is the reference, and is taken where an option gives the arms
features that are no such change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.encoding import Encoding
from dynalign.encoding import backend, ridge
from dynalign.encoding.arms import Design, LowRank, feature_sets, make_design, needs_direct, outer_splits
from dynalign.encoding.scores import ORIGINAL, Scores, write_scores
from dynalign.io.arrays import read_array
from dynalign.io.atomic import atomic_folder
from dynalign.io.errors import InputError
from dynalign.removal import data
from dynalign.removal.erasers import low_rank, read_erasers
from dynalign.stimulus import timing


def encode(
    vectors,
    arms: Mapping[tuple[str, str], LowRank],
    design: Design,
    responses,
    choices: Encoding,
    direct: bool | None = None,
    device: backend.Numpy | backend.Torch | None = None,
) -> dict[tuple[str, str], Scores]:
    """Predict every voxel from the original and from every arm.

    The same inputs give the same bytes on any number of CPU threads.

    Parameters
    ----------
    vectors : array of shape (n_words, hidden)
        Represented words.
    arms : mapping of (method, property) to (A, B, b)
    design : Design
    responses : array of shape (n_rows, n_voxels)
    choices : Encoding
    direct : bool, optional
        Build each arm's own features; default: only where `choices` needs it.
    device : backend.Numpy or backend.Torch, optional
        Where products run; default: one thread of the CPU.

    Returns
    -------
    dict of (method, property) to Scores
        The original (``("none", "original")``) first.

    Raises
    ------
    InputError
        If shapes do not match, a vector is not finite, folds cannot be cut, or no voxel can be scored.
    """
    from threadpoolctl import threadpool_limits

    if len(responses) != len(design.trs):
        raise InputError(f"{len(responses)} rows of responses, but the story keeps {len(design.trs)} TRs")
    if len(vectors) != len(design.word_trs):
        raise InputError(f"{len(vectors)} word vectors for {len(design.word_trs)} words")
    original = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(original).all():
        raise InputError(f"word vector {int(np.argmin(np.isfinite(original).all(axis=1)))} is not finite")
    direct = needs_direct(choices) if direct is None else direct
    if needs_direct(choices) and not direct:
        raise ValueError("pca_components and test_scaling: own need the direct way")
    device = backend.Numpy() if device is None else device

    splits = outer_splits(design.runs, choices.folds, choices.gap)
    # Threads share out voxels and folds (dynalign.encoding.backend); a BLAS with threads of its own would fight them.
    with threadpool_limits(1):
        scored = ridge.scorable(responses, splits, device)
        n_invalid = int((~scored).sum())
        note(f"{n_invalid} of {len(scored)} voxels are constant or not finite in some fold and get no score")
        if n_invalid == len(scored):
            raise InputError(
                f"none of the {n_invalid} voxels can be scored: all are constant or not finite in some fold"
            )
        voxels = np.flatnonzero(scored)

        names = [ORIGINAL, *arms]
        shape = (len(names), len(splits), len(scored))
        r, alpha, inner = (np.full(shape, np.nan, dtype=np.float32) for _ in range(3))
        timecourse = np.empty((len(names), len(design.trs)))
        fold = np.empty(len(design.trs), dtype=np.int16)
        for number, (train, test) in enumerate(progress(splits, "outer folds")):

            def fit(kernel, updates, device=device, voxels=voxels, train=train, test=test):
                return ridge.fit_fold(
                    kernel,
                    responses,
                    train,
                    test,
                    choices.alphas,
                    choices.inner_folds,
                    choices.gap,
                    updates,
                    device,
                    voxels,
                )

            results = []
            for kernel, updates in feature_sets(design, original, list(arms.values()), train, test, choices, direct):
                if isinstance(device, backend.Torch) and device.tf32 and not number and not results:
                    some = voxels[: device.width]
                    rough, exact = (fit(kernel, updates, on, some) for on in (device, device.exact()))
                    report_tf32(rough, exact)
                results += fit(kernel, updates)
            fold[test] = number
            for arm, result in enumerate(results):
                r[arm, number, scored] = result.r
                alpha[arm, number, scored] = result.alpha
                inner[arm, number, scored] = result.inner_score
                timecourse[arm, test] = result.timecourse
    return {name: Scores(r[arm], alpha[arm], inner[arm], timecourse[arm], fold) for arm, name in enumerate(names)}


def report_tf32(rough: Sequence[ridge.FoldScores], exact: Sequence[ridge.FoldScores]) -> None:
    """Note how far rounding products to TF32 moved the scores of the same voxels."""
    moved = np.abs(np.stack([a.r - b.r for a, b in zip(rough, exact, strict=True)]))
    other = np.mean([a.alpha != b.alpha for a, b in zip(rough, exact, strict=True)])
    note(
        f"tf32: moves r by {moved.mean():.1e} on average, {moved.max():.1e} at most, and the penalty of "
        f"{other:.2%} of {moved.shape[1]} voxels (first fold, {len(moved)} arms)"
    )


def _word_trs(path: str, word_index) -> np.ndarray:
    """TR of each represented word."""
    trs = timing.read_words(path).set_index("word_index")["tr"]
    missing = np.setdiff1d(word_index, trs.index)
    if len(missing):
        raise InputError(
            f"{path}: lacks word {missing[0]} ({len(missing)} of {len(word_index)} represented words "
            "are missing); make it and the representation from the same story"
        )
    return trs.loc[word_index].to_numpy(dtype=int)


def _arms(path: str, labels, properties: Sequence[str], vectors) -> dict[tuple[str, str], LowRank]:
    """Every method of the erasers × every property asked for, as low-rank changes of the words."""
    fitted = read_erasers(path)
    arms = {}
    for method in dict.fromkeys(method for method, _ in fitted):
        for name in properties:
            if (method, name) not in fitted:
                known = ", ".join(".".join(key) for key in fitted)
                raise InputError(f"{path}: has no eraser {method}.{name}, it has {known}; make it with this property")
            arms[method, name] = low_rank(fitted[method, name], vectors, labels[name].to_numpy())
    return arms


@command
def main(
    representation: str,
    layer: int,
    labels: str,
    erasers: str,
    words: str,
    trs: str,
    responses: str,
    properties: list[str],
    output_dir: str,
    options: Encoding = Encoding(),
    threads: int = 1,
    gpus: int = 0,
    block_voxels: int = Encoding().block_voxels,
) -> None:
    """Score the original of one layer and every arm on a subject's responses.

    Parameters
    ----------
    representation, layer
        ``{ckpt}.safetensors``, and the layer in it; 0 = embeddings.
    labels, erasers, properties
        ``tables/labels.tsv``, the layer's erasers, and the properties that they remove.
    words, trs
        ``story/words.tsv`` and ``story/trs.tsv``.
    responses
        Kept TRs × voxels, ``.npy``.
    output_dir
        Folder of ``{removal}.{property}.npz``, replaced whole.
    options
        Section `encoding` as JSON.
    threads, gpus
        CPU threads; GPUs given to the job (0: it runs on the CPU).
    block_voxels
        Voxels solved at a time on each stream of a GPU (memory, not results).
    """
    device = backend.choose(gpus, threads, block_voxels, options.tf32)
    vectors, word_index = data.read_vectors(representation, layer)
    word_trs = _word_trs(words, word_index)
    series = timing.read_trs(trs)
    kept = series["kept"].to_numpy() == 1
    measured = read_array(responses, mmap=True)
    if measured.ndim != 2 or len(measured) != kept.sum():
        raise InputError(
            f"{responses}: shape {measured.shape}, but {trs} keeps {kept.sum()} TRs: expected one row per kept TR; "
            "make both from the same story and trim"
        )
    design = make_design(word_trs, series["run"].to_numpy(), kept, options.delays)
    arms = _arms(erasers, data.read_words(labels, word_index, properties), properties, vectors)
    try:
        results = encode(vectors, arms, design, measured, options, device=device)
    except InputError as error:
        raise InputError(f"{representation} layer {layer}, {responses}: {error}") from None
    with atomic_folder(output_dir) as folder:
        for (method, name), scores in results.items():
            write_scores(folder / f"{method}.{name}.npz", scores)


if __name__ == "__main__":
    run(main)
