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

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from dynalign.cli import note, options, progress, run
from dynalign.config.encoding import Encoding
from dynalign.encoding import backend, ridge
from dynalign.encoding.arms import Design, LowRank, feature_sets, make_design, needs_direct, outer_splits
from dynalign.encoding.scores import ORIGINAL, Scores, write_scores
from dynalign.io.arrays import read_array
from dynalign.io.atomic import atomic_folder
from dynalign.io.errors import InputError
from dynalign.removal import data, erasers
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


def _arms(args: argparse.Namespace, vectors, word_index) -> dict[tuple[str, str], LowRank]:
    """Every method of the maps × every property asked for, as low-rank changes of the words."""
    maps = erasers.read_erasers(args.erasers)
    labels = data.read_words(args.labels, word_index, args.properties)
    arms = {}
    for method in dict.fromkeys(method for method, _ in maps):
        for name in args.properties:
            if (method, name) not in maps:
                known = ", ".join(".".join(key) for key in maps)
                raise InputError(
                    f"{args.erasers}: has no map {method}.{name}, it has {known}; make it with this property"
                )
            arms[method, name] = erasers.low_rank(maps[method, name], vectors, labels[name].to_numpy())
    return arms


def main(argv: list[str] | None = None) -> None:
    """Command: layer + removal maps + responses → scores of the original and of every arm."""
    parser = argparse.ArgumentParser(prog="dynalign.encoding.encode", description=main.__doc__)
    parser.add_argument("--representation", required=True, help="{ckpt}.safetensors (dynalign.models.representation)")
    parser.add_argument("--layer", type=int, required=True, help="layer: 0 = embeddings")
    parser.add_argument("--labels", required=True, help="tables/labels.tsv (dynalign.stimulus.properties)")
    parser.add_argument("--erasers", required=True, help="maps of the layer (dynalign.removal.fit)")
    parser.add_argument("--words", required=True, help="story/words.tsv (dynalign.stimulus.timing)")
    parser.add_argument("--trs", required=True, help="story/trs.tsv (dynalign.stimulus.timing)")
    parser.add_argument("--responses", required=True, help="kept TRs × voxels, .npy (dynalign.responses.recordings)")
    parser.add_argument("--properties", nargs="+", required=True, help="properties removed")
    parser.add_argument(
        "--options", type=options(Encoding), default=Encoding(), help="JSON of the configuration's `encoding`"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs given to the job; 0: run on the CPU")
    parser.add_argument(
        "--block-voxels",
        type=int,
        default=Encoding().block_voxels,
        help="voxels solved at a time on each stream of a GPU (memory, not results)",
    )
    parser.add_argument("--output-dir", required=True, help="folder of {removal}.{property}.npz, replaced whole")
    args = parser.parse_args(argv)
    device = backend.choose(args.gpus, args.threads, args.block_voxels, args.options.tf32)

    vectors, word_index = data.read_vectors(args.representation, args.layer)
    word_trs = _word_trs(args.words, word_index)
    trs = timing.read_trs(args.trs)
    kept = trs["kept"].to_numpy() == 1
    responses = read_array(args.responses, mmap=True)
    if responses.ndim != 2 or len(responses) != kept.sum():
        raise InputError(
            f"{args.responses}: shape {responses.shape}, but {args.trs} keeps {kept.sum()} TRs: expected one "
            "row per kept TR; make both from the same story and trim"
        )
    design = make_design(word_trs, trs["run"].to_numpy(), kept, args.options.delays)
    arms = _arms(args, vectors, word_index)
    try:
        results = encode(vectors, arms, design, responses, args.options, device=device)
    except InputError as error:
        raise InputError(f"{args.representation} layer {args.layer}, {args.responses}: {error}") from None
    with atomic_folder(args.output_dir) as folder:
        for (method, name), scores in results.items():
            write_scores(folder / f"{method}.{name}.npz", scores)


if __name__ == "__main__":
    run(main)
