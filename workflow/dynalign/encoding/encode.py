"""A checkpoint's layers and one subject → scores of every voxel, with and without each property (METHOD section 7).

Features of a TR are the mean of its words, standardised by the training TRs of the outer fold, then delayed:

- Scale: standard deviation, over the training rows' TRs that have words, of the ORIGINAL features, in every
  arm, so that re-scaling cannot undo a removal. A dimension in which these are constant is left out.
- Centre: the arm's own mean over the same TRs. With an unpenalised intercept it matters for TRs without words
  only: these, and delays that leave the run, contribute zeros, so they count as average TRs.
- Inner folds keep the outer fold's scale and centre, and refit the intercept.

An arm (a property removed) changes the words' vectors to ``X − A B − b`` with thin A and B. After averaging
and standardising it is ``Z − P Θ`` with ``P = Ā − mean(Ā)``, ``Θ = B / scale``: a change inside the few directions that
Θ spans, which :mod:`dynalign.encoding.ridge` solves for little more than the original alone. The direct way builds each
arm's own features: the reference, taken also where an option gives the arms features that are no such change.
"""

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from pydantic import RootModel

from dynalign.cli import command, note, run
from dynalign.config.encoding import Encoding
from dynalign.config.removal import Removal
from dynalign.config.shares import NUISANCE, Shares
from dynalign.config.statistics import Statistics
from dynalign.encoding import backend, joint, ridge
from dynalign.encoding.arms import Design, LowRank, design_of, direct_kernel, low_rank_kernel, outer_splits
from dynalign.encoding.crossfit import Arm, Crossfit, training_trs
from dynalign.encoding.readability import Once, Targets, make_targets
from dynalign.encoding.scores import ORIGINAL, SHARES, Partition, Scores
from dynalign.io.arrays import read_array, write_record
from dynalign.io.atomic import atomic_folder
from dynalign.io.digests import write_digests
from dynalign.io.errors import InputError, located
from dynalign.removal.data import read_labels, read_vectors
from dynalign.removal.erasers import low_rank, read_erasers
from dynalign.removal.permutations import permuted
from dynalign.stimulus import timing
from dynalign.tables.reader import read_table


class Delays(RootModel[dict[str, tuple[int, ...]]]):
    """Delays in TRs of features of the study's own."""


def encode(
    vectors,
    arms: Mapping[tuple[str, str], LowRank | Arm],
    design: Design,
    responses,
    choices: Encoding,
    direct: bool = False,
    device: backend.Numpy | backend.Torch | None = None,
    targets: Targets | None = None,
    same_penalties: Mapping[tuple[str, str], tuple[str, str]] | None = None,
    block: int = Statistics().block,
    spaces: Mapping[str, joint.Space] | None = None,
    ratios: Sequence[float] = Shares().ratios,
) -> dict[tuple[str, str], Scores | Partition]:
    """Predict every voxel from the original and from every arm: the same bytes on any number of CPU threads.

    InputError if shapes do not match, a vector is not finite, folds cannot be cut, or no voxel can be scored.

    Parameters
    ----------
    vectors : array of shape (n_words, hidden)
    arms : mapping of (method, property) to (A, B, b) or to a function that gives it for the training TRs of a fold
    design : Design
    responses : array of shape (n_rows, n_voxels)
    choices : Encoding
    direct : bool
        Build each arm's own features even where `choices` does not need it.
    device : backend.Numpy or backend.Torch, optional
        Where products run; default: one thread of the CPU.
    targets : Targets, optional
        Predicted beside the voxels.
    same_penalties : mapping of an arm to another, optional
        Whose penalties and inner scores it takes, where arms are updates of one kernel.
    block : int
        Test rows in a block.
    spaces : mapping of name to Space, optional
        Features that predict alone, and together with the original.
    ratios : sequence of float
        What the features' penalty is over the vectors', tried in joint models, where both spread alike.

    Returns
    -------
    dict
        (method, property) to Scores, the original (``("none", "original")``) first, and ``("shares", name)`` to the
        Partition of every space.
    """
    if len(responses) != len(design.trs):
        raise InputError(f"{len(responses)} rows of responses, but the story keeps {len(design.trs)} TRs")
    if len(vectors) != len(design.word_trs):
        raise InputError(f"{len(vectors)} word vectors for {len(design.word_trs)} words")
    original = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(original).all():
        raise InputError(f"word vector {int(np.argmin(np.isfinite(original).all(axis=1)))} is not finite")
    device = backend.Numpy() if device is None else device
    splits = outer_splits(design.runs, choices.folds, choices.gap, design.stories, design.moments)
    scored = ridge.scorable(responses, splits, device)
    n_invalid = int((~scored).sum())
    note(f"{n_invalid} of {len(scored)} voxels are constant or not finite in some fold and get no score")
    if n_invalid == len(scored):
        raise InputError(f"none of the {n_invalid} voxels can be scored: all are constant or not finite in some fold")

    def fitted(train, test):
        trs = training_trs(design, train, test)
        changes = {name: arm(trs) if callable(arm) else arm for name, arm in arms.items()}
        return _groups(design, original, changes, train, test, choices, direct, same_penalties, spaces, ratios)

    columns = None if targets is None else targets.columns
    found, partitions = ridge.fit_folds(
        responses, scored, splits, fitted, choices, device, columns, block, design.moments
    )
    results: dict[tuple[str, str], Scores | Partition] = {}
    for name in (ORIGINAL, *arms):
        scores, read = found[name]
        if targets is not None:
            scores = replace(scores, readable=targets.mean_by_labelling(read).astype(np.float32))
        results[name] = scores
    return results | {(SHARES, name): partition for name, partition in partitions.items()}


def _groups(
    design: Design,
    original,
    arms: Mapping[tuple[str, str], LowRank],
    train,
    test,
    choices: Encoding,
    direct: bool = False,
    same: Mapping[tuple[str, str], tuple[str, str]] | None = None,
    spaces: Mapping[str, joint.Space] | None = None,
    ratios: Sequence[float] = (),
) -> Iterator[ridge.Group]:
    """What a fold fits: the original, the arms, and the original with other features (:mod:`dynalign.encoding.joint`).

    The direct way is also taken where an option gives the arms features that are no low-rank change of the original's.
    """
    direct = direct or choices.pca_components is not None or choices.test_scaling == "own"
    if direct:
        kernel, changes = direct_kernel(design, original, original, train, test, choices), []
    else:
        kernel, changes = low_rank_kernel(design, original, list(arms.values()), train)
    read = [ORIGINAL, *(arms if changes else ())]
    own: dict[Hashable, Sequence[int]] = {name: (number,) for number, name in enumerate(read)}

    def residual_kernel(space):
        words = training_trs(design, train, test)[design.word_trs]
        return direct_kernel(design, original, joint.without_types(original, space, words), train, test, choices)

    vectors = ridge.FeatureSets(kernel, changes)
    sets, more = joint.joined(vectors, design, spaces or {}, ratios, train, residual_kernel)
    partitions = {}
    for name, space in (spaces or {}).items():
        both = ("joint", name)
        partitions[name] = (ORIGINAL, ("alone", name), both if space.types is None else ("beyond", name), both)
    yield ridge.Group(
        sets, {**own, **more}, dict(same or {}) if changes else {}, with_targets=read, partitions=partitions
    )
    if direct:
        for name, (codes, directions, offset) in arms.items():
            kernel = direct_kernel(design, original, original - codes @ directions - offset, train, test, choices)
            yield ridge.Group([ridge.FeatureSets(kernel)], {name: (0,)})


def _arms(
    path: str, codes: Mapping[str, np.ndarray], sentence, fitted: Crossfit, seed: int, once: Once
) -> dict[tuple[str, str], LowRank | Arm]:
    """Every removal × every property: fitted on all words (read from `path`), or to be fitted in each outer fold."""
    removal = fitted.removal
    in_sample = [method.partition("-")[0] for method in removal.arms if method.endswith("-in-sample")]
    known = read_erasers(path, [(family, name) for family in in_sample for name in codes], fitted.vectors.shape[1])
    arms: dict[tuple[str, str], LowRank | Arm] = {}
    for method in removal.arms:
        family, _, way = method.partition("-")
        for name, values in codes.items():
            if way == "in-sample":
                arms[method, name] = low_rank(known[family, name], fitted.vectors, values)
                continue
            if way.endswith("control"):
                values = _control_labels(name, values, sentence, seed, once)
            arms[method, name] = fitted.tr_level(values) if way.startswith("tr") else fitted.word_level(family, values)
    return arms


def _control_labels(name: str, codes, sentence, seed: int, once: Once | None = None) -> np.ndarray:
    """The class codes of property `name` permuted by sentence; words without a label stay without."""
    once = Once.of(np.arange(len(codes))) if once is None else once
    codes = np.array(codes, dtype=float)[once.first]
    labelled = np.isfinite(codes)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 2])
    codes[labelled] = permuted(codes[labelled].astype(np.int64), np.asarray(sentence)[once.first][labelled], rng)
    return codes[once.again]


@command
def main(
    representation: str,
    layers: list[int],
    labels: str,
    erasers: list[str],
    words: str,
    trs: str,
    responses: str,
    properties: list[str],
    output_dir: str,
    options: Encoding = Encoding(),
    removal_options: Removal = Removal(),
    seed: int = 0,
    threads: int = 1,
    gpus: int = 0,
    block: int = Statistics().block,
    block_voxels: int = Encoding().block_voxels,
    digests: str | None = None,
    shares: Shares = Shares(compute=False),
    features: str | None = None,
    surprisal: str | None = None,
    feature_delays: Delays = Delays({}),
) -> None:
    """Score the original of each layer and every arm on a subject's responses.

    Parameters
    ----------
    representation, layers
        ``{ckpt}.safetensors``, and layers in it; 0 = embeddings.
    labels, erasers, properties
        ``tables/labels.tsv``, the erasers of each of the layers, and the properties that they remove.
    words, trs, responses
        ``story/words.tsv``, ``story/trs.tsv``, and kept TRs × voxels, ``.npy``.
    output_dir, digests
        Folder of ``layer-{layer}/{removal}.{property}.npz``, replaced whole, and where to record the SHA-256 of its
        files.
    seed
        Of permuted labels.
    threads, gpus, block, block_voxels
        CPU threads; GPUs given to the job, if any; ``statistics.block``; voxels at a time on each of a GPU's streams.
    shares, features, surprisal, feature_delays
        Section `shares`; ``story/features.tsv``; ``representation/{ckpt}.surprisal.tsv``, if there is one; delays of
        the study's own features that have some.
    """
    device = backend.choose(gpus, threads, block_voxels, options.tf32)
    _, represented = read_vectors(representation, layers[0])
    codes, table = read_labels(labels, represented, properties, ["sentence"])
    seen = timing.read_heard(words)
    if "row" in seen:
        # What this subject heard, in its order.
        seen = seen[seen["word_index"].isin(represented)]
    else:
        seen = timing.rows_of_words(seen, represented, words)
    heard = np.searchsorted(represented, seen["word_index"])
    codes, table = {name: values[heard] for name, values in codes.items()}, table.iloc[heard]
    word_trs, sentence = seen["tr"].to_numpy(dtype=int), table["sentence"].to_numpy()
    series = timing.read_trs(trs)
    design = design_of(series, word_trs, options.delays)
    measured = read_array(responses, mmap=True)
    if measured.ndim != 2 or len(measured) != len(design.trs):
        raise InputError(
            f"{responses}: shape {measured.shape}, but {trs} keeps {len(design.trs)} TRs: expected one row per kept "
            "TR; make both from the same story and trim"
        )
    once, headline = Once.of(seen["word_index"].to_numpy()), removal_options.headline
    targets = make_targets(codes, sentence, design, removal_options.permutations, seed, once)
    spaces = {}
    if shares.compute:
        spaces = {name: joint.property_space(values, design) for name, values in codes.items()}
        if shares.nuisance:
            table = read_table(features, kind="features")
            known = None if surprisal is None else read_table(surprisal, kind="surprisal").set_index("word_index")
            told = None if known is None else known["surprisal"].reindex(seen["word_index"]).to_numpy()
            more = (feature_delays.root, seen["word"], told, seen["word_index"].to_numpy())
            spaces[NUISANCE] = joint.nuisance_space(shares.nuisance, table, series["run"].to_numpy(), design, *more)
    with atomic_folder(output_dir) as folder:
        for layer, path in zip(layers, erasers, strict=True):
            note(f"layer {layer}")
            X = read_vectors(representation, layer)[0][heard]
            fitted = Crossfit(X, design, series["run"].to_numpy(), removal_options)
            arms = _arms(path, codes, sentence, fitted, seed, once)
            controls = {(method, name): (headline, name) for method, name in arms if method.endswith("control")}
            with located(f"{representation} layer {layer}, {responses}"):
                results = encode(
                    X, arms, design, measured, options, device=device, targets=targets,
                    same_penalties=controls, block=block, spaces=spaces, ratios=shares.ratios,
                )  # fmt: skip
            (folder / f"layer-{layer}").mkdir()
            for (method, name), result in results.items():
                write_record(folder / f"layer-{layer}" / f"{method}.{name}.npz", result)
    if digests is not None:
        write_digests(output_dir, digests)


if __name__ == "__main__":
    run(main)
