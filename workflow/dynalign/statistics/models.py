"""Models (training runs) as units: means over them with intervals, how they differ, and pairs of them (METHOD 11).

``python -m dynalign.statistics.models`` takes the folders of models that share story, responses and folds:
``tables/models.tsv``, ``model_curves.tsv``, ``model_contrasts.tsv`` and ``model_half_rises.tsv``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.statistics import Statistics
from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.statistics import summaries
from dynalign.statistics import words as of_words
from dynalign.statistics.block_tests import RESAMPLES, Sample, resampled, sample_of
from dynalign.statistics.contrasts import COURSES, Courses
from dynalign.statistics.half_rises import Curve, bounds, half_rise
from dynalign.statistics.shared import shared_rows
from dynalign.tables.collect import adjust
from dynalign.tables.writer import write_table

#: Places in a model as shares of its depth, at which models of any depth are compared.
RELATIVE = (0.0, 0.25, 0.5, 0.75, 1.0)

#: The mean over layers, and the layer with the highest inner score, of each checkpoint and subject.
MEAN, BEST = "mean", "best"

#: Quantity, property, relative depth.
Key = tuple[str, str, str]


@dataclass
class Model:
    """One training run of a study."""

    name: str
    group: str  #: models of one size
    folder: Path
    steps: list[int]
    layers: list[int]
    depth: int  #: transformer layers
    curves: dict[Key, Curve] = field(default_factory=dict)
    best: np.ndarray | None = None  #: index into `layers`, (n_subjects, n_steps)

    @property
    def names(self) -> list[str]:
        """Of the checkpoints."""
        return [f"step-{step}" for step in self.steps]

    def places(self) -> dict[str, np.ndarray]:
        """Weights of the layers, (n_layers,), for their mean and for each relative depth between first and last."""
        shares = np.array(self.layers) / self.depth
        found = {MEAN: np.full(len(shares), 1 / len(shares))}
        for place in RELATIVE:
            if shares[0] <= place <= shares[-1]:
                found[f"{place:g}"] = np.array([np.interp(place, shares, one) for one in np.eye(len(shares))])
        return found

    def at(self, key: Key, steps: Sequence[int]) -> np.ndarray:
        """Blocks of a quantity at some of the steps, (n_subjects, n, n_blocks)."""
        return self.curves[key].blocks[:, [self.steps.index(step) for step in steps]]


def read_model(name: str, folder: str | Path, group: str | None, subjects: Sequence[str]) -> Model:
    """What a model's folder holds; a group that is not given is its shape (``6 layers × 512``).

    InputError without a checkpoint that has a step, or without one of the subjects.
    """
    folder = Path(folder)
    path = folder / "tables/alignment.tsv"
    cells = summaries.trained(summaries.original(summaries.read(path, "alignment")))
    if cells.empty:
        raise InputError(f"{path}: no checkpoint has a step, so models cannot be compared over training")
    if lacking := [subject for subject in subjects if subject not in set(cells["subject"])]:
        raise InputError(f"{path}: has no subject {lacking[0]!r}; all models need the same subjects")
    shape = read_arrays(folder / "representation/tokens.npz", ["depth", "hidden"])
    group = group or f"{shape['depth']} layers × {shape['hidden']}"
    steps, layers = ([int(one) for one in np.unique(cells[column])] for column in ("step", "layer"))
    inner = cells.pivot(index="layer", columns=["subject", "step"], values="inner_score")
    best = np.array([[inner[subject, step].fillna(-np.inf).argmax() for step in steps] for subject in subjects])
    return Model(name, group, folder, steps, layers, int(shape["depth"]), best=best)


def add_alignment(
    models: Sequence[Model], quantity: str, subjects: Sequence[str], settings: Statistics, gap: int, rows
):
    """Give models their curves of alignment, or of alignment over nuisance; returns the folds of c(t), (n_trs,).

    InputError if models have other rows or folds.
    """
    fold = None
    for model in progress(models, f"models, {quantity}"):
        reader = Courses(model.folder / "encoding", quantity, settings.block, rows)
        names = [[(name, layer) for layer in model.layers] for name in model.names]
        found = reader.blocks([place for checkpoint in names for place in checkpoint], subjects)
        blocks = found.reshape(len(subjects), len(model.steps), len(model.layers), -1)
        fold = reader.fold if fold is None else fold
        if not np.array_equal(fold, reader.fold):
            raise InputError(f"{model.folder}: other rows or folds than {models[0].folder}; encode both again")
        sample = sample_of(fold, settings, gap)
        for place, weights in model.places().items():
            model.curves[quantity, "original", place] = Curve(np.einsum("l,scln->scn", weights, blocks), sample)
        chosen = np.take_along_axis(blocks, model.best[..., None, None], axis=2)[:, :, 0]
        model.curves[quantity, "original", BEST] = Curve(chosen, sample)
    return fold


def add_words(models: Sequence[Model], blocks: of_words.WordBlocks, alpha: float) -> None:
    """Give models their curves of bits per word and of each probe, over the words that all of them represent."""
    bits = [of_words.surprisal(model.folder / "representation", model.names) for model in models]
    for model, values in zip(models, _common(bits), strict=True):
        model.curves["perplexity", "", ""] = blocks.curve(*values, alpha)
    right = [[of_words.right(model.folder / "probing", model.names, k) for k in model.layers] for model in models]
    for name in right[0][0].values:
        layers = [(layer.values[name], layer.word_index) for model in right for layer in model]
        found = iter(_common(layers))
        for model, several in zip(models, right, strict=True):
            curves = [blocks.curve(*next(found), alpha, layer.n_folds) for layer in several]
            values = np.stack([curve.blocks for curve in curves])
            for place, weights in model.places().items():
                whole = np.einsum("l,lscn->scn", weights, values)
                model.curves["probing", name, place] = Curve(whole, curves[0].sample)


def _common(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values of words, each (n, n_words), and their words, cut to the words that are in all."""
    shared = found[0][1]
    for _, index in found[1:]:
        shared = np.intersect1d(shared, index)
    for values, index in found:
        yield values[:, np.isin(index, shared)], index[np.isin(index, shared)]


def _scatter(blocks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance of the weighted mean over blocks, the last axis, as if they were independent."""
    k = len(weights)
    deviations = blocks - (blocks @ weights)[..., None]
    return k / (k - 1) * np.square(weights * deviations).sum(axis=-1)


def crossed(parts: Sequence[tuple[int, np.ndarray]], sample: Sample) -> dict[str, np.ndarray]:
    """Mean over models, subjects and blocks, all three drawn from more of their kind; or a difference of such means.

    The variance of the mean is put together from that of the three means: over blocks, as :func:`corrected_t` has it;
    over models and over subjects, each less the noise of blocks in it; less what models and subjects have in common,
    their interaction, which both count. So nothing is counted twice, as a bootstrap that draws all three does. Each
    part is a mean square, and Satterthwaite's formula gives the degrees of freedom of t; they are few where few models
    (or subjects) differ much. Of one subject, or one model in a part, the result holds for this one.

    Parameters
    ----------
    parts : sequence of (sign, array of shape (n_models, n_subjects, n, n_blocks))
        Block means of n cells: one group of models with the sign 1, or two with 1 and −1, of other models and the same
        subjects and blocks.
    sample : Sample

    Returns
    -------
    dict of arrays of shape (n,)
        ``mean``, ``ci_low``, ``ci_high``, ``p`` (two-tailed), ``df``; of the first part ``sd_between``, the standard
        deviation of models beyond the noise of blocks, and ``sd_between_raw``, as it is; NaN of one model.

    References
    ----------
    Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1; McCullagh (2000), Resampling and exchangeable
    arrays, Bernoulli 6; Satterthwaite (1946), An approximate distribution of estimates of variance components,
    Biometrics Bulletin 2.
    """
    from scipy.special import stdtr, stdtrit

    weights = sample.weights
    k = len(weights)
    factor = 1 + k * sample.share
    by_subject = sum(sign * blocks.mean(axis=0) for sign, blocks in parts)
    whole = by_subject.mean(axis=0)
    mean = whole @ weights
    noise = factor * _scatter(whole, weights)
    # Each with its degrees of freedom.
    squares = [(noise, k - 1)]
    n_subjects = len(by_subject)
    of_subjects = of_models = interaction = np.zeros(len(mean))
    if n_subjects > 1:
        apart = by_subject - whole
        between = np.square(apart @ weights).sum(axis=0) / n_subjects / (n_subjects - 1)
        within = factor * _scatter(apart, weights).sum(axis=0) / n_subjects / (n_subjects - 1)
        squares.append((between, n_subjects - 1))
        of_subjects = np.maximum(0, between - within)
    sd = raw = np.full(len(mean), np.nan)
    for first, (_, blocks) in zip((True, False), parts, strict=False):
        n_models = len(blocks)
        if n_models == 1:
            continue
        by_model = blocks.mean(axis=1)
        apart = by_model - by_model.mean(axis=0)
        between = np.square(apart @ weights).sum(axis=0) / n_models / (n_models - 1)
        within = factor * _scatter(apart, weights).sum(axis=0) / n_models / (n_models - 1)
        squares.append((between, n_models - 1))
        of_models = of_models + np.maximum(0, between - within)
        if first:
            raw, sd = np.sqrt(n_models * between), np.sqrt(n_models * np.maximum(0, between - within))
        if n_subjects > 1:
            both = blocks - by_model[:, None] - (blocks.mean(axis=0) - by_model.mean(axis=0))
            n = n_models * n_subjects * (n_models - 1) * (n_subjects - 1)
            between = np.square(both @ weights).sum(axis=(0, 1)) / n
            interaction = interaction + np.maximum(0, between - factor * _scatter(both, weights).sum(axis=(0, 1)) / n)
    variance = noise + of_models + of_subjects - np.minimum(interaction, np.minimum(of_models, of_subjects))
    total = sum(np.square(square) / df for square, df in squares)
    df = np.clip(np.divide(np.square(variance), total, out=np.full(len(mean), k - 1.0), where=total > 0), 1, None)
    error = np.sqrt(variance)
    half = stdtrit(df, 1 - sample.alpha / 2) * error
    t = np.divide(mean, error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    found = {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "p": 2 * stdtr(df, -np.abs(t)), "df": df}
    return found | {"sd_between": sd, "sd_between_raw": raw}


def _cells(models: Sequence[Model]) -> tuple[list[Key], list[int]]:
    """The quantities and the steps that all the models have."""
    keys = [key for key in models[0].curves if all(key in model.curves for model in models)]
    return keys, [step for step in models[0].steps if all(step in model.steps for model in models)]


def _place(key: Key) -> dict[str, str]:
    return dict(zip(("quantity", "property", "relative_depth"), key, strict=True))


def _best_depth(models: Sequence[Model], key: Key, steps: Sequence[int]) -> np.ndarray:
    """Share of the depth at which the best layer lies, mean over models and subjects, (n_steps,); NaN elsewhere."""
    if key[2] != BEST:
        return np.full(len(steps), np.nan)
    shares = [
        np.array(model.layers)[model.best[:, [model.steps.index(step) for step in steps]]] / model.depth
        for model in models
    ]
    return np.mean(shares, axis=(0, 1))


def mean_rows(group: str, models: Sequence[Model]) -> Iterator[dict]:
    """Rows of ``tables/models.tsv``: the mean over a group's models, at the steps that all of them have."""
    keys, steps = _cells(models)
    for key in keys:
        sample, blocks = models[0].curves[key].sample, np.stack([model.at(key, steps) for model in models])
        found = crossed([(1, blocks)], sample)
        several = len(models) > 1
        for k, (step, depth) in enumerate(zip(steps, _best_depth(models, key, steps), strict=True)):
            row = {"group": group, "step": step, "n_models": len(models), "n_subjects": blocks.shape[1]}
            # Of one model there is nothing to say on models.
            names = ("ci_low", "ci_high", "sd_between", "sd_between_raw")
            told = {name: found[name][k] if several else np.nan for name in names}
            yield _place(key) | row | {"mean": found["mean"][k], "best_depth": depth} | told


def risen_over_models(places: np.ndarray, blocks: np.ndarray, sample: Sample, seed: int) -> np.ndarray:
    """The half-rise of the mean over models, then those with blocks, subjects and models drawn anew.

    As :func:`dynalign.statistics.half_rises.risen`, from an array of shape (n_models, n_subjects, n_checkpoints,
    n_blocks), NaN where :func:`crossed` finds no rise. Models are too few to be drawn with replacement: what they
    differ by beyond the noise of blocks is drawn from the multivariate t with their covariance, which for a single
    value gives the t interval. The same seed draws blocks, and models, alike whatever the quantity.
    """
    rise = crossed([(1, (blocks[:, :, -1] - blocks[:, :, 0])[:, :, None])], sample)
    if not (rise["p"][0] < sample.alpha and rise["mean"][0] > 0):
        return np.full(1 + RESAMPLES, np.nan)
    mean = blocks.mean(axis=0)
    drawn, n = resampled(mean, sample, seed), len(blocks)
    if n > 1:
        by_model = blocks.mean(axis=1)
        deviations = by_model - by_model.mean(axis=0)
        apart = deviations @ sample.weights
        noise = (1 + len(sample.weights) * sample.share) * _scatter(deviations, sample.weights).sum()
        left = max(0.0, 1 - noise / total) if (total := np.square(apart).sum()) > 0 else 0.0
        rng = np.random.default_rng([seed, n])
        normal = rng.standard_normal((RESAMPLES, n))
        normal *= np.sqrt((n - 1) / rng.chisquare(n - 1, RESAMPLES))[:, None]
        # Deviations sum to 0, so that a common part of the draws changes nothing.
        drawn = drawn + np.sqrt(left / n / (n - 1)) * normal @ apart
    return half_rise(places, np.vstack([mean.mean(axis=0) @ sample.weights, drawn]))


def half_rise_rows(group: str, models: Sequence[Model], seed: int) -> Iterator[dict]:
    """Rows of ``tables/model_half_rises.tsv``: when a group's mean is half up, and whether before its alignment.

    Alignment is that at the same relative depth; for perplexity, whose logarithm falls, the mean over layers.
    """
    keys, steps = _cells(models)
    places = np.log1p(steps)
    aligned: dict[str, np.ndarray] = {}
    for key in sorted(keys, key=lambda one: one[0] != "alignment") if len(steps) > 1 else []:
        sign = -1 if key[0] == "perplexity" else 1
        blocks = sign * np.stack([model.at(key, steps) for model in models])
        sample = models[0].curves[key].sample
        found = risen_over_models(places, blocks, sample, seed)
        if key[0] == "alignment":
            aligned[key[2]] = found
        later = np.full_like(found, np.nan) if key[0] == "alignment" else found - aligned[key[2] or MEAN]
        alone = half_rise(places, blocks.mean(axis=1) @ sample.weights)
        spread = alone.std(ddof=1) if len(models) > 1 and np.isfinite(found[0]) else np.nan
        names = ("half_rise_step", "half_rise_low", "half_rise_high")
        ratios = ("half_rise_ratio", "half_rise_ratio_low", "half_rise_ratio_high")
        row = dict(zip(names, np.expm1(bounds(found, sample.alpha)), strict=True))
        row |= dict(zip(ratios, np.exp(bounds(later, sample.alpha)), strict=True))
        yield _place(key) | {"group": group, "n_models": len(models), "half_rise_spread": np.exp(spread)} | row


def curve_rows(model: Model) -> Iterator[dict]:
    """Rows of ``tables/model_curves.tsv``: the subjects' mean of one model, with the interval of its time course."""
    for key, curve in model.curves.items():
        test = curve.sample.test(curve.blocks.mean(axis=0).T)
        for k, (step, depth) in enumerate(zip(model.steps, _best_depth([model], key, model.steps), strict=True)):
            row = {"model": model.name, "group": model.group, "step": step, "value": test["mean"][k]}
            yield _place(key) | row | {"best_depth": depth} | {name: test[name][k] for name in ("ci_low", "ci_high")}


def contrast_rows(models: Sequence[Model], groups: Mapping[str, Sequence[Model]]) -> Iterator[dict]:
    """Rows of ``tables/model_contrasts.tsv``, without what p becomes over the whole table.

    Two models: the paired test of their subjects' mean time courses, at equal steps. Two groups of two or more models:
    :func:`crossed`, models as units.
    """
    for one, other in combinations(models, 2):
        keys, steps = _cells([one, other])
        pair = {"comparison": "models", "first": one.name, "second": other.name}
        for key in keys if steps else []:
            if key[2] not in (MEAN, BEST, ""):
                continue
            test = one.curves[key].sample.test((one.at(key, steps) - other.at(key, steps)).mean(axis=0).T)
            yield from _contrasts(pair | _place(key), steps, test)
    for (first, some), (second, others) in combinations(groups.items(), 2):
        keys, steps = _cells([*some, *others])
        pair = {"comparison": "groups", "first": first, "second": second}
        for key in keys if steps and min(len(some), len(others)) > 1 else []:
            parts = [
                (sign, np.stack([model.at(key, steps) for model in part])) for sign, part in ((1, some), (-1, others))
            ]
            yield from _contrasts(pair | _place(key), steps, crossed(parts, some[0].curves[key].sample))


def _contrasts(cell: Mapping[str, str], steps: Sequence[int], test: Mapping[str, Any]) -> Iterator[dict]:
    for k, step in enumerate(steps):
        row = {"step": step, "mean_difference": test["mean"][k]}
        yield dict(cell) | row | {name: test[name][k] for name in ("ci_low", "ci_high", "p")}


@command
def main(
    names: list[str],
    folders: list[str],
    subjects: list[str],
    gap: int,
    models: str,
    curves: str,
    contrasts: str,
    half_rises: str,
    groups: tuple[str, ...] = (),
    unique: bool = False,
    trs: tuple[str, ...] = (),
    words: str | None = None,
    options: Statistics = Statistics(),
    seed: int = 0,
) -> None:
    """Results of several models → means over models, curves of each, and comparisons of models at equal steps.

    Parameters
    ----------
    names, folders, groups
        Of the models: names, folders of results, and what models are of one kind (default: depth and hidden size).
    subjects, gap
        `subjects` and `encoding.gap` of the study.
    models, curves, contrasts, half_rises
        Tables to write.
    unique
        There are shares of variance with nuisance features.
    trs, words
        ``story/trs.tsv`` and ``story/words.tsv``, for perplexity and probing; of each subject, and of the first one,
        where subjects have runs of their own.
    """
    import pandas as pd

    if len(folders) != len(names) or len(set(names)) != len(names) or len(groups) not in (0, len(names)):
        raise InputError(f"{len(names)} names, {len(folders)} folders, {len(groups)} groups; give one for each model")
    own = list(groups) or [None] * len(names)
    read = [read_model(*one, subjects) for one in zip(names, folders, own, strict=True)]
    rows = dict(zip(subjects, shared_rows(trs), strict=True)) if len(trs) > 1 else None
    for quantity in list(COURSES) if unique else ["alignment"]:
        fold = add_alignment(read, quantity, subjects, options, gap, rows)
    if words:
        blocks = of_words.WordBlocks(words, trs[0], fold, options.block, rows[subjects[0]] if rows else None)
        add_words(read, blocks, options.alpha)
    by_group = {name: [model for model in read if model.group == name] for name in dict.fromkeys(m.group for m in read)}
    for name, some in by_group.items():
        if not _cells(some)[1]:
            raise InputError(f"{', '.join(model.name for model in some)}: no step is in all models of group {name!r}")
    write_table(pd.DataFrame(row for name, some in by_group.items() for row in mean_rows(name, some)), models)
    write_table(pd.DataFrame(row for model in read for row in curve_rows(model)), curves)
    rises = [row for name, some in by_group.items() for row in half_rise_rows(name, some, seed)]
    place = ["quantity", "property", "relative_depth", "group", "n_models", "half_rise_spread"]
    ends = [f"half_rise_{what}" for what in ("step", "low", "high", "ratio", "ratio_low", "ratio_high")]
    write_table(pd.DataFrame(rises, columns=[*place, *ends]), half_rises)
    columns = ["comparison", "quantity", "property", "relative_depth", "step", "first", "second", "mean_difference"]
    table = pd.DataFrame(contrast_rows(read, by_group), columns=[*columns, "ci_low", "ci_high", "p"])
    write_table(adjust(table, options.alpha), contrasts)
    note(f"{len(read)} models in {len(by_group)} groups, {len(table)} contrasts")


if __name__ == "__main__":
    run(main)
