"""Features of the original vectors and of every arm, and their kernels (METHOD section 7)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynalign import folds
from dynalign.config.encoding import Encoding
from dynalign.encoding import delays, hat_matrices
from dynalign.io.errors import InputError
from dynalign.removal.erasers import design
from dynalign.stimulus import timing
from dynalign.variation import constant

#: A change of the words' vectors, ``X − A @ B − b``: A (n_words, k), B (k, hidden), b (hidden,).
LowRank = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Design:
    """Where the words stand in time."""

    word_trs: np.ndarray  #: of int, (n_words,), TR of each represented word, an index into the untrimmed series
    n_trs: int  #: TRs of the untrimmed series
    trs: np.ndarray  #: of int, (n_rows,), TR of each kept TR; kept TRs are the rows of the responses
    runs: np.ndarray  #: (n_rows,), run of each kept TR
    stories: np.ndarray | None  #: (n_rows,), its story; None where there is one
    #: (n_rows,), equal where the same moment of a story was heard again, in rows that follow each other; None: nowhere.
    moments: np.ndarray | None
    source: np.ndarray  #: of int, (n_rows, n_delays), from :func:`dynalign.encoding.delays.sources`
    delay: tuple[int, ...]  #: in TRs

    @property
    def lags(self) -> tuple[int, ...]:
        """Differences of two delays: how far apart, in TRs, words lie that one row sees."""
        return tuple(sorted({one - other for one in self.delay for other in self.delay}))


def make_design(word_trs, runs, kept, delay: Sequence[int], stories=None, moments=None) -> Design:
    """Lay out words, (n_words,), and delays in time.

    From the run of each TR, (n_trs,), and whether it is kept, or the TRs of the rows, (n_rows,); of each TR its story,
    where there are several, and what tells its moment, where one was heard again.
    """
    kept = np.asarray(kept)
    trs = np.flatnonzero(kept) if kept.dtype == bool else kept
    told, equal = (None if one is None else np.asarray(one)[trs] for one in (stories, moments))
    source = delays.sources(runs, trs, delay)
    return Design(np.asarray(word_trs), len(runs), trs, np.asarray(runs)[trs], told, equal, source, tuple(delay))


def design_of(series, word_trs, delay: Sequence[int]) -> Design:
    """The design of a subject's TRs, a data frame, with the rows of its responses."""
    stories, first = timing.stories_of(series), series["first_tr"].to_numpy() if "first_tr" in series else None
    rows = timing.rows_of_responses(series)
    return make_design(word_trs, series["run"].to_numpy(), rows, delay, stories, first)


def outer_splits(runs, n_folds: int | str, gap: int, stories=None, moments=None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outer folds: contiguous blocks of rows, or the `runs` or `stories`, each with the rows that may train for it.

    `runs` and, where there are several, `stories` have the shape (n_rows,); a story may be heard in several runs. Rows
    of equal `moments`, (n_rows,), the same moment of a story heard again, follow each other and are never parted: a
    fold by runs is one with all its repeats. `gap` rows, or moments, on both sides of a test block do not train.
    Returned are pairs (train, test) of arrays of int. An `InputError` says that there are too few rows, runs or
    stories.
    """
    n_rows = len(runs)
    if isinstance(n_folds, str):
        whole = np.asarray(stories if n_folds == "stories" and stories is not None else runs)
        if moments is not None:
            _, first, moment = np.unique(moments, return_index=True, return_inverse=True)
            whole = whole[first][moment]
        blocks = [np.flatnonzero(whole == name) for name in dict.fromkeys(whole.tolist())]
        if len(blocks) < 2 or (n_folds == "stories" and stories is None):
            raise InputError(f"encoding.folds: {n_folds!r} needs two {n_folds} or more; there is one; give a number")
    else:
        blocks = folds.contiguous(n_rows, n_folds, moments)
    for block in blocks:
        if len(block) < 2:
            raise InputError(f"encoding.folds: {n_folds!r} of {n_rows} TRs leaves a test fold of one TR; ask for fewer")
    return [(folds.training_rows(n_rows, block, gap, groups=moments), block) for block in blocks]


def class_means(codes, word_trs, n_trs: int) -> tuple[np.ndarray, np.ndarray]:
    """A property's regressors: one-hot class codes, (n_words,), averaged over the words of each TR.

    A word without a label (NaN) does not count; two classes are one column. As :func:`delays.word_means`.
    """
    labelled = np.isfinite(codes)
    one_hot = design(codes[labelled], "onehot")
    return delays.word_means(one_hot[:, one_hot.shape[1] == 2 :], np.asarray(word_trs)[labelled], n_trs)


def scaling(reference, present, trs) -> tuple[np.ndarray, np.ndarray]:
    """The TRs that statistics are taken over, and what each dimension is multiplied with.

    Of `trs` (int, TRs of the rows) they are those that have words, `present`, (n_trs,); fewer than two are an
    `InputError`. The factor, (n_features,), is 1 / standard deviation of `reference`, (n_trs, n_features), the word
    means of the original representation; 0 for a constant dimension.
    """
    used = trs[present[trs]]
    if len(used) < 2:
        raise InputError(
            f"of the {len(trs)} TRs from {trs[0]} to {trs[-1]} only {len(used)} have represented words; "
            "ask for fewer folds or trim TRs without words"
        )
    flat = constant(reference[used])
    return used, np.where(flat, 0, 1 / np.where(flat, 1, reference[used].std(axis=0)))


def standardise(means, present, used, factor) -> np.ndarray:
    """Centre `means`, (n_trs, n_features), by the TRs `used`, scale by `factor`, and put zeros where no words are.

    `used` and `factor` come from :func:`scaling`.
    """
    return np.where(present[:, None], (means - means[used].mean(axis=0)) * factor, 0)


def principal_axes(vectors, n_components: int) -> np.ndarray:
    """Directions of most variance of (n_words, hidden) vectors: array of shape (hidden, n_components).

    Fewer words or dimensions than components are an `InputError`.
    """
    if n_components > min(vectors.shape):
        raise InputError(
            f"encoding.pca_components: {n_components} components of {vectors.shape[0]} training words with "
            f"{vectors.shape[1]} dimensions; ask for fewer"
        )
    from sklearn.decomposition import PCA

    return PCA(n_components, svd_solver="covariance_eigh").fit(vectors).components_.T


def direct_kernel(design: Design, original, vectors, train, test, choices: Encoding) -> np.ndarray:
    """Kernel of an arm from its own words (the reference way).

    `original` and `vectors`, (n_words, hidden) in float64, are the words of the original and of the arm; `train` and
    `test` are rows; the kernel has the shape (n_rows, n_rows). With ``pca_components`` the axes are those of the arm's
    words in training TRs, and the scale is the original's along these axes. With ``test_scaling: own`` the test rows'
    features are centred and scaled by the TRs of the test rows instead (METHOD section 10), again at the original's
    scale.
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


def low_rank_update(features, codes, directions, source) -> hat_matrices.LowRankUpdate:
    """The delayed features ``Z − P Θ`` as an update of Z inside the directions that ``P Θ`` spans.

    `features` Z have the shape (n_trs, n_features), `codes` P (n_trs, k), `directions` Θ (k, n_features).
    """
    basis, triangle = np.linalg.qr(directions.T)
    left, size, right = np.linalg.svd(codes @ triangle.T, full_matrices=False)
    # One-hot columns sum to one, so P Θ has a smaller rank than columns.
    rank = max(1, int((size > 1e-10 * size[0]).sum()))
    before = features @ (basis @ right[:rank].T)
    after = before - left[:, :rank] * size[:rank]
    return hat_matrices.LowRankUpdate.change(delays.delayed(before, source), delays.delayed(after, source))


def low_rank_kernel(
    design: Design, original, arms: Sequence[LowRank], train
) -> tuple[np.ndarray, list[hat_matrices.LowRankUpdate]]:
    """Kernel of the original, and every arm as an update of it; `train` are rows."""
    means, present = delays.word_means(original, design.word_trs, design.n_trs)
    used, factor = scaling(means, present, design.trs[train])
    features = standardise(means, present, used, factor)
    updates = []
    for codes, directions, _ in arms:
        averaged, _ = delays.word_means(codes, design.word_trs, design.n_trs)
        centred = standardise(averaged, present, used, 1.0)
        updates.append(low_rank_update(features, centred, directions * factor, design.source))
    return delays.delayed_kernel(features, design.source), updates
