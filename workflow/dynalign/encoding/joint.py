"""Joint models: the model's vectors together with other features (METHOD section 5, shares of variance).

Banded ridge: the vectors X and the features Z of a space have a penalty each. Z has few columns, so its band is a
low-rank update of the kernel of X, one set for each ratio of the two penalties; X alone and Z alone are candidates
too, so that a band which adds nothing costs nothing. Z alone is an update of no features at all.

Word types are as many columns as there are words, so they come as a kernel of their own: with the other features as an
update of it, alone and mixed with that of X. What X tells beyond types is asked of X less the mean of each type:
hundreds of dimensions that tell types too would help to estimate what a column per type tells badly, and that is no
information of their own (METHOD section 5).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dynalign.config.features import columns_of
from dynalign.encoding import delays
from dynalign.encoding.arms import Design, class_means, scaling, standardise
from dynalign.encoding.hat_matrices import LowRankUpdate
from dynalign.encoding.ridge import FeatureSets
from dynalign.models.baselines import word_type


@dataclass(frozen=True)
class Band:
    """Features over the untrimmed series."""

    features: np.ndarray  #: (n_trs, n_features)
    present: np.ndarray  #: of bool, (n_trs,), TRs that have a value
    source: np.ndarray  #: of int, (n_rows, n_delays), from :func:`dynalign.encoding.delays.sources`


@dataclass(frozen=True)
class Space:
    """What the vectors are set against."""

    bands: Sequence[Band]  #: few columns, which share a penalty
    types: Band | None = None  #: one-hot word types, with a penalty of their own
    type_of: np.ndarray | None = None  #: of int, (n_words,), the number of each word's type
    word_of: np.ndarray | None = None  #: of int, (n_words,), equal where a word is heard again; None: none is


def property_space(codes, design: Design) -> Space:
    """The regressors of class codes, (n_words,), NaN without a label: one-hot means over the words of each TR."""
    return Space([Band(*class_means(codes, design.word_trs, design.n_trs), design.source)])


def nuisance_space(
    names: Sequence[str], features, runs, design: Design, own_delays: Mapping, words, surprisal=None, word_index=None
) -> Space:
    """The nuisance features of these names.

    Parameters
    ----------
    names : sequence of str
        As in the configuration's ``shares.nuisance``.
    features : pandas.DataFrame
        ``story/features.tsv``, a row per TR of the untrimmed series.
    runs : array of shape (n_trs,)
    own_delays : mapping of name to sequence of int
        Of features that have delays of their own.
    words : sequence of str, (n_words,)
        The represented words.
    surprisal : array of shape (n_words,), or None
        Of each, NaN where it is unknown; None for a baseline, which has none.
    word_index : array of shape (n_words,), or None
        The number of each word, the same where it is heard again.
    """
    bands, types, number = [], None, None
    for name in names:
        if name == "word_types":
            _, number = np.unique([word_type(word) for word in words], return_inverse=True)
            one_hot = np.eye(number.max() + 1, dtype=np.float32)[number]
            types = Band(*delays.word_means(one_hot, design.word_trs, design.n_trs), design.source)
        elif name == "surprisal":
            if surprisal is not None:
                known = np.isfinite(surprisal)
                values = np.asarray(surprisal)[known, None]
                bands.append(Band(*delays.word_means(values, design.word_trs[known], design.n_trs), design.source))
        else:
            values = features[columns_of(name, features)].to_numpy(dtype=float)
            present = np.isfinite(values).all(axis=1)
            source = delays.sources(runs, design.trs, own_delays[name]) if name in own_delays else design.source
            bands.append(Band(np.where(present[:, None], values, 0), present, source))
    return Space(bands, types, number, word_index)


def without_types(vectors, space: Space, inside) -> np.ndarray:
    """Vectors, (n_words, hidden), less the mean of the training words `inside`, (n_words,), of their type.

    A training word's own vector does not count in its mean, so that training and test words are treated alike; nor
    does a second hearing of it: a word that is heard again counts once. A word whose type no (other) training word has
    becomes 0: nothing of it is known to be more than its type. So vectors that tell types only become 0, all of them.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    word_of = np.arange(len(vectors)) if space.word_of is None else space.word_of
    _, first, again = np.unique(word_of, return_index=True, return_inverse=True)
    vectors, type_of, inside = vectors[first], space.type_of[first], np.bincount(again, inside) > 0
    sums = np.zeros((type_of.max() + 1, vectors.shape[1]))
    np.add.at(sums, type_of[inside], vectors[inside])
    others = np.bincount(type_of[inside], minlength=len(sums))[type_of] - inside
    means = (sums[type_of] - np.where(inside[:, None], vectors, 0)) / np.maximum(others, 1)[:, None]
    return np.where((others > 0)[:, None], vectors - means, 0)[again]


def _standardised(band: Band, trs, scale: bool = True) -> np.ndarray:
    """A band standardised by the training TRs `trs`, as the vectors are, or with `scale` False only centred."""
    used, factor = scaling(band.features, band.present, trs)
    return standardise(band.features, band.present, used, factor if scale else 1.0)


def _spread(kernel, train) -> float:
    """Sum of squares of the features of a kernel over its training rows."""
    inside = kernel[np.ix_(train, train)]
    return float(np.trace(inside) - inside.sum() / len(train))


def joined(
    vectors: FeatureSets,
    design: Design,
    spaces: Mapping[str, Space],
    ratios: Sequence[float],
    train,
    residual_kernel: Callable[[Space], np.ndarray] | None = None,
) -> tuple[list[FeatureSets], dict[Hashable, list[int]]]:
    """Feature sets of joint models, and the candidates of their arms.

    Parameters
    ----------
    vectors : FeatureSets
        The original's kernel, with what updates it has already.
    design, train
        Where words stand in time, and the training rows.
    spaces : mapping of name to Space
    ratios : sequence of float
        What the vectors' penalty is over that of a space's bands, where both spread alike, in steps of the penalties
        tried. Word types are mixed with the vectors beyond types at all but the first and the last, and with the whole
        vectors at the one next to 1.
    residual_kernel : function
        From a space with types to the kernel of the vectors :func:`without_types`.

    Returns
    -------
    sets : list of FeatureSets
        `vectors` with further updates, and others.
    arms : dict
        ``("alone", name)`` and ``("joint", name)`` to numbers of feature sets, and where there are word types
        ``("beyond", name)``: the joint model without those that hold the whole vectors.
    """
    trs = design.trs[train]
    total = _spread(vectors.kernel, train)
    thin, bands, weights = {}, {}, {}
    for name, space in spaces.items():
        if space.bands:
            parts = [delays.delayed(_standardised(band, trs), band.source) for band in space.bands]
            thin[name] = np.concatenate(parts, axis=1)
            inside = thin[name][train]
            spread = np.square(inside - inside.mean(axis=0)).sum()
            weights[name] = total / spread * np.asarray(ratios)
            bands[name] = LowRankUpdate.band(thin[name], weights[name])
    # Alone, a band has the grid of penalties that it has jointly: any other would be taken for a gain of the vectors.
    lone = [LowRankUpdate.band(part, weights[name][:1] / ratios[0]) for name, part in thin.items()]
    nothing = FeatureSets(np.zeros_like(vectors.kernel), lone)
    sets = [replace(vectors, updates=[*vectors.updates, *bands.values()])]
    own = dict(zip(bands, sets[0].numbers(0)[1 + len(vectors.updates) :], strict=True))
    first = sets[0].numbers(0)[-1].stop
    alone: dict[str, list[int]] = {name: [] for name in spaces}
    both: dict[str, list[int]] = {name: [0, *own.get(name, [])] for name in spaces}
    beyond: dict[str, list[int]] = {name: [] for name in spaces}
    if thin:
        sets.append(nothing)
        for name, numbers in zip(thin, nothing.numbers(first)[1:], strict=True):
            alone[name] += numbers
        first = nothing.numbers(first)[-1].stop
    for name, space in spaces.items():
        if space.types is None:
            continue
        types = delays.delayed_kernel(_standardised(space.types, trs, scale=False), space.types.source)
        types *= total / _spread(types, train)
        residual = residual_kernel(space)
        # In steps of the penalties: between them word types would have a finer grid than alone.
        kernels = [(beyond, mix, residual + mix * types) for mix in ratios[1:-1] or ratios]
        even = min(ratios, key=lambda ratio: abs(np.log(ratio)))
        kernels += [(alone, None, types), (both, even, vectors.kernel + even * types)]
        for arm, mix, kernel in kernels:
            # To each other these features stand as they do alone, so that a joint model gains by the vectors only.
            scale = 1.0 if mix is None else mix
            updates = [LowRankUpdate.band(thin[name], scale * weights[name])] if name in thin else []
            sets.append(FeatureSets(kernel, updates))
            numbers = range(first, first + len(sets[-1]))
            arm[name] += numbers
            first = numbers.stop
    arms: dict[Hashable, list[int]] = {}
    for name, space in spaces.items():
        whole, *more = both[name]
        arms["alone", name] = alone[name]
        arms["joint", name] = [whole, *alone[name], *more]
        if space.types is not None:
            arms["beyond", name] = [*alone[name], *beyond[name]]
    return sets, arms
