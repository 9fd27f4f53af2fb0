"""One layer and one subject → scores of every voxel, with and without each property (METHOD section 7).

Features of a TR are the mean of its words, standardised by the training TRs of the outer fold, then delayed:

- Scale: standard deviation, over the training rows' TRs that have words, of the ORIGINAL features, in every
  arm, so that re-scaling cannot undo a removal. A dimension in which these are constant is left out.
- Centre: the arm's own mean over the same TRs. With an unpenalised intercept it matters for TRs without words
  only: these, and delays that leave the run, contribute zeros, so they count as average TRs.
- Inner folds keep the outer fold's scale and centre, and refit the intercept.

An arm (a property removed) changes the words' vectors by ``X − A B − b`` with thin A and B. After averaging
and standardising it is ``Z − P Θ`` with ``P = Ā − mean(Ā)``, ``Θ = B / scale``: a change inside the few
directions that Θ spans, which :mod:`dynalign.ridge` solves for little more than the original alone. The
direct way builds each arm's own features; it is the reference, and is taken where an option gives the arms
features that are no such change.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynalign import backend, delays, folds, hats, removal, ridge, story
from dynalign.cli import note, options, progress, run
from dynalign.config import Encoding
from dynalign.files import InputError, atomic_folder, read_array, read_record, write_record

#: The arm without removal.
ORIGINAL = ("none", "original")

#: A change of the words' vectors, ``X − A @ B − b``: A (n_words, k), B (k, hidden), b (hidden,).
LowRank = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Design:
    """Where the words stand in time.

    Attributes
    ----------
    word_trs : array of int, shape (n_words,)
        TR of each represented word, an index into the untrimmed series.
    n_trs : int
        TRs of the untrimmed series.
    trs, runs : arrays of int, shape (n_rows,)
        TR and run of each kept TR: the rows of the responses.
    source : array of int, shape (n_rows, n_delays)
        TR whose words each row is paired with (:func:`dynalign.delays.sources`).
    """

    word_trs: np.ndarray
    n_trs: int
    trs: np.ndarray
    runs: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of one arm.

    Attributes
    ----------
    r, alpha, inner_score : arrays of float32, shape (n_folds, n_voxels)
        Pearson correlation on the test rows, the penalty chosen and its mean inner R². NaN in all folds for a
        voxel that is not finite, or constant in the training or test rows of any fold.
    timecourse : array of float64, shape (n_rows,)
        Mean over the scored voxels of z(prediction) · z(response), z within the test fold. Its mean over the
        rows of a fold is the mean over scored voxels of that fold's `r`.
    fold : array of int16, shape (n_rows,)
        Outer fold that tests the row.
    """

    r: np.ndarray
    alpha: np.ndarray
    inner_score: np.ndarray
    timecourse: np.ndarray
    fold: np.ndarray


def make_design(word_trs, runs, kept, delay: Sequence[int]) -> Design:
    """Lay out words and delays in time.

    Parameters
    ----------
    word_trs : array of int, shape (n_words,)
    runs, kept : arrays of shape (n_trs,)
        Run of each TR of the untrimmed series, and whether trimming leaves it.
    delay : sequence of int
        In TRs.
    """
    kept = np.asarray(kept, dtype=bool)
    trs = np.flatnonzero(kept)
    return Design(
        np.asarray(word_trs), len(kept), trs, np.asarray(runs)[trs], delays.sources(runs, kept, delay)
    )


def outer_splits(runs, n_folds: int | str, gap: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outer folds: contiguous blocks of rows, or the runs, each with the rows that may train for it.

    Parameters
    ----------
    runs : array of shape (n_rows,)
    n_folds : int or "runs"
    gap : int
        Rows left out on both sides of a test block.

    Returns
    -------
    list of (train, test) pairs of arrays of int

    Raises
    ------
    InputError
        If there are too few rows or runs.
    """
    n_rows = len(runs)
    if n_folds == "runs":
        cuts = 1 + np.flatnonzero(runs[1:] != runs[:-1])
        blocks = np.split(np.arange(n_rows), cuts)
        if len(blocks) < 2:
            raise InputError(
                "encoding.folds: 'runs' needs two runs or more; this story has one; give a number"
            )
    else:
        blocks = folds.contiguous(n_rows, n_folds)
    for block in blocks:
        if len(block) < 2:
            raise InputError(
                f"encoding.folds: {n_folds!r} of {n_rows} TRs leaves a test fold of one TR; ask for fewer"
            )
    return [(folds.training_rows(n_rows, block, gap), block) for block in blocks]


def scaling(reference, present, trs) -> tuple[np.ndarray, np.ndarray]:
    """The TRs that statistics are taken over, and what each dimension is multiplied with.

    Parameters
    ----------
    reference : array of shape (n_trs, n_features)
        Word means of the original representation.
    present : array of bool, shape (n_trs,)
    trs : array of int
        TRs of the rows.

    Returns
    -------
    used : array of int
        Those of `trs` that have words.
    factor : array of shape (n_features,)
        1 / standard deviation; 0 for a constant dimension.

    Raises
    ------
    InputError
        If fewer than two TRs have words.
    """
    used = trs[present[trs]]
    if len(used) < 2:
        raise InputError(
            f"of the {len(trs)} TRs from {trs[0]} to {trs[-1]} only {len(used)} have represented words; "
            "ask for fewer folds or trim TRs without words"
        )
    flat = ridge.constant(reference[used])
    return used, np.where(flat, 0, 1 / np.where(flat, 1, reference[used].std(axis=0)))


def standardise(means, present, used, factor) -> np.ndarray:
    """Centre by the mean over the TRs `used`, scale, and put zeros where a TR has no words.

    Parameters
    ----------
    means : array of shape (n_trs, n_features)
    present : array of bool, shape (n_trs,)
    used : array of int
    factor : array of shape (n_features,), or float
        From :func:`scaling`.
    """
    return np.where(present[:, None], (means - means[used].mean(axis=0)) * factor, 0)


def principal_axes(vectors, n_components: int) -> np.ndarray:
    """Directions of most variance.

    Parameters
    ----------
    vectors : array of shape (n_words, hidden)
    n_components : int

    Returns
    -------
    array of shape (hidden, n_components)

    Raises
    ------
    InputError
        If there are fewer words or dimensions than components.
    """
    if n_components > min(vectors.shape):
        raise InputError(
            f"encoding.pca_components: {n_components} components of {vectors.shape[0]} training words with "
            f"{vectors.shape[1]} dimensions; ask for fewer"
        )
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    return axes[:, ::-1][:, :n_components]


def direct_kernel(design: Design, original, vectors, train, test, choices: Encoding) -> np.ndarray:
    """Kernel of an arm from its own words (the reference way).

    With ``pca_components`` the axes are those of the arm's words in training TRs, and the scale is the
    original's along these axes. With ``test_scaling: own`` the test rows' features are centred and scaled by
    the TRs of the test rows instead (METHOD section 10), the scale again being the original's.

    Parameters
    ----------
    design : Design
    original, vectors : arrays of float64, shape (n_words, hidden)
        Words of the original and of the arm.
    train, test : arrays of int
        Rows.
    choices : Encoding

    Returns
    -------
    array of float64, shape (n_rows, n_rows)
    """
    if choices.pca_components is not None:
        inside = np.isin(design.word_trs, design.trs[train])
        axes = principal_axes(vectors[inside], choices.pca_components)
        original, vectors = original @ axes, vectors @ axes
    reference, present = delays.word_means(original, design.word_trs, design.n_trs)
    means, _ = delays.word_means(vectors, design.word_trs, design.n_trs)
    features = standardise(means, present, *scaling(reference, present, design.trs[train]))
    source = design.source
    if choices.test_scaling == "own":
        # The test rows read from a second copy of the series, standardised in its own way.
        second = standardise(means, present, *scaling(reference, present, design.trs[test]))
        features = np.concatenate([features, second])
        source = source.copy()
        source[test] += np.where(source[test] >= 0, design.n_trs, 0)
    return delays.delayed_kernel(features, source)


def low_rank_change(features, codes, directions, source) -> hats.Change:
    """The delayed features ``Z − P Θ`` as a change of Z inside the directions that ``P Θ`` spans.

    Parameters
    ----------
    features : array of shape (n_trs, n_features)
        Z.
    codes : array of shape (n_trs, k)
        P.
    directions : array of shape (k, n_features)
        Θ.
    source : array of int, shape (n_rows, n_delays)
    """
    basis, triangle = np.linalg.qr(directions.T)
    left, size, right = np.linalg.svd(codes @ triangle.T, full_matrices=False)
    # One-hot columns sum to one, so P Θ has a smaller rank than columns.
    rank = max(1, int((size > 1e-10 * size[0]).sum()))
    before = features @ (basis @ right[:rank].T)
    after = before - left[:, :rank] * size[:rank]
    return hats.Change(before=delays.delayed(before, source), after=delays.delayed(after, source))


def low_rank_kernel(
    design: Design, original, arms: Sequence[LowRank], train
) -> tuple[np.ndarray, list[hats.Change]]:
    """Kernel of the original, and every arm as a change of it.

    Parameters
    ----------
    design : Design
    original : array of float64, shape (n_words, hidden)
    arms : sequence of (A, B, b)
    train : array of int
        Rows.
    """
    means, present = delays.word_means(original, design.word_trs, design.n_trs)
    used, factor = scaling(means, present, design.trs[train])
    features = standardise(means, present, used, factor)
    changes = []
    for codes, directions, _ in arms:
        averaged, _ = delays.word_means(codes, design.word_trs, design.n_trs)
        centred = standardise(averaged, present, used, 1.0)
        changes.append(low_rank_change(features, centred, directions * factor, design.source))
    return delays.delayed_kernel(features, design.source), changes


def feature_sets(
    design: Design, original, arms: Sequence[LowRank], train, test, choices: Encoding, direct: bool
) -> Iterator[tuple[np.ndarray, list[hats.Change]]]:
    """Kernels and their changes that together are the original and all arms, in order."""
    if not direct:
        yield low_rank_kernel(design, original, arms, train)
        return
    yield direct_kernel(design, original, original, train, test, choices), []
    for codes, directions, offset in arms:
        yield (
            direct_kernel(design, original, original - codes @ directions - offset, train, test, choices),
            [],
        )


def needs_direct(choices: Encoding) -> bool:
    """Whether an option gives the arms features that are no low-rank change of the original's."""
    return choices.pca_components is not None or choices.test_scaling == "own"


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
    # Threads share out voxels and folds (dynalign.backend); a BLAS with threads of its own would fight them.
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

            def fit(kernel, changes, device=device, voxels=voxels, train=train, test=test):
                return ridge.fit_fold(
                    kernel,
                    responses,
                    train,
                    test,
                    choices.alphas,
                    choices.inner_folds,
                    choices.gap,
                    changes,
                    device,
                    voxels,
                )

            results = []
            for kernel, changes in feature_sets(
                design, original, list(arms.values()), train, test, choices, direct
            ):
                if device.tf32 and not number and not results:
                    some = voxels[: device.width]
                    rough, exact = (fit(kernel, changes, on, some) for on in (device, device.exact()))
                    report_tf32(rough, exact)
                results += fit(kernel, changes)
            fold[test] = number
            for arm, result in enumerate(results):
                r[arm, number, scored] = result.r
                alpha[arm, number, scored] = result.alpha
                inner[arm, number, scored] = result.inner_score
                timecourse[arm, test] = result.timecourse
    return {
        name: Scores(r[arm], alpha[arm], inner[arm], timecourse[arm], fold) for arm, name in enumerate(names)
    }


def report_tf32(rough: Sequence[ridge.FoldScores], exact: Sequence[ridge.FoldScores]) -> None:
    """Note how far rounding products to TF32 moved the scores of the same voxels."""
    moved = np.abs(np.stack([a.r - b.r for a, b in zip(rough, exact, strict=True)]))
    other = np.mean([a.alpha != b.alpha for a, b in zip(rough, exact, strict=True)])
    note(
        f"tf32: moves r by {moved.mean():.1e} on average, {moved.max():.1e} at most, and the penalty of "
        f"{other:.2%} of {moved.shape[1]} voxels (first fold, {len(moved)} arms)"
    )


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write one arm's scores (``encoding/{ckpt}/layer-{layer}/{subject}/{removal}.{property}.npz``)."""
    write_record(path, scores)


def read_scores(path: str | Path) -> Scores:
    """Read what :func:`write_scores` wrote.

    Raises
    ------
    InputError
        If the file is missing, broken, or lacks an array.
    """
    return read_record(path, Scores)


def _word_trs(path: str, word_index) -> np.ndarray:
    """TR of each represented word."""
    trs = story.read_words(path).set_index("word_index")["tr"]
    missing = np.setdiff1d(word_index, trs.index)
    if len(missing):
        raise InputError(
            f"{path}: lacks word {missing[0]} ({len(missing)} of {len(word_index)} represented words "
            "are missing); make it and the representation from the same story"
        )
    return trs.loc[word_index].to_numpy(dtype=int)


def _arms(args: argparse.Namespace, vectors, word_index) -> dict[tuple[str, str], LowRank]:
    """Every method of the maps × every property asked for, as low-rank changes of the words."""
    maps = removal.read_maps(args.maps)
    labels = removal.read_words(args.labels, word_index, args.properties)
    arms = {}
    for method in dict.fromkeys(method for method, _ in maps):
        for name in args.properties:
            if (method, name) not in maps:
                known = ", ".join(".".join(key) for key in maps)
                raise InputError(
                    f"{args.maps}: has no map {method}.{name}, it has {known}; make it with this property"
                )
            arms[method, name] = removal.low_rank(maps[method, name], vectors, labels[name].to_numpy())
    return arms


def main(argv: list[str] | None = None) -> None:
    """Command: layer + removal maps + responses → scores of the original and of every arm."""
    parser = argparse.ArgumentParser(prog="dynalign.encoding", description=main.__doc__)
    parser.add_argument(
        "--representation", required=True, help="{ckpt}.safetensors (dynalign.representation)"
    )
    parser.add_argument("--layer", type=int, required=True, help="layer: 0 = embeddings")
    parser.add_argument("--labels", required=True, help="tables/labels.tsv (dynalign.properties)")
    parser.add_argument("--maps", required=True, help="maps of the layer (dynalign.removal)")
    parser.add_argument("--words", required=True, help="story/words.tsv (dynalign.story)")
    parser.add_argument("--trs", required=True, help="story/trs.tsv (dynalign.story)")
    parser.add_argument("--responses", required=True, help="kept TRs × voxels, .npy (dynalign.brain)")
    parser.add_argument(
        "--properties", type=removal.names, required=True, help="JSON list of the properties removed"
    )
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
    parser.add_argument(
        "--output-dir", required=True, help="folder of {removal}.{property}.npz, replaced whole"
    )
    args = parser.parse_args(argv)
    device = backend.choose(args.gpus, args.threads, args.block_voxels, args.options.tf32)

    vectors, word_index = removal.read_vectors(args.representation, args.layer)
    word_trs = _word_trs(args.words, word_index)
    trs = story.read_trs(args.trs)
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
