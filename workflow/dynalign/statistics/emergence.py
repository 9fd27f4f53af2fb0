"""When alignment, perplexity and what a probe reads emerge in training, and how the first two go together.

``python -m dynalign.statistics.emergence steps …`` writes ``tables/emergence.tsv``, ``python -m
dynalign.statistics.emergence correlation …`` ``tables/perplexity_alignment.tsv`` (METHOD section 8).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dynalign.cli import commands, run
from dynalign.io.errors import InputError
from dynalign.statistics import summaries
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Name of the reference that every study with step 0 has: the network before any training.
UNTRAINED = "step-0"

#: Where no baseline was run, alignment is compared with none at all.
ZERO = "zero"

#: Fewest checkpoints that a correlation over them gets an interval for.
FEWEST = 6


def emergence(steps: ArrayLike, clear: ArrayLike) -> dict[str, float]:
    """The step at which something emerges, and the step before it.

    A checkpoint that clears its reference by chance comes before the true step the more easily the more checkpoints
    there are; one that also all later checkpoints follow does not.

    Parameters
    ----------
    steps, clear : arrays of shape (n_checkpoints,)
        Training steps, in any order, and whether the checkpoint clears its reference.

    Returns
    -------
    dict
        ``clears_by``, the first checkpoint that clears and is followed by none that does not (METHOD section 8), and
        ``clears_after``, the checkpoint before it: in between it emerged. ``emergence_step`` and ``emergence_after``:
        the same for the first that clears, whatever later ones do. NaN: never, or already at the first checkpoint.
        ``n_clear``, ``n_checkpoints``.
    """
    at, cleared = np.asarray(steps, dtype=float), np.asarray(clear, dtype=bool)
    order = np.argsort(at, kind="stable")
    at, cleared = at[order], cleared[order]
    n = len(at)
    not_clear = np.flatnonzero(~cleared)
    first = int(np.argmax(cleared)) if cleared.any() else n
    by = int(not_clear[-1]) + 1 if len(not_clear) else 0
    found = {}
    for step, after, k in (("emergence_step", "emergence_after", first), ("clears_by", "clears_after", by)):
        found[step] = at[k] if k < n else np.nan
        found[after] = at[k - 1] if 0 < k < n else np.nan
    return found | {"n_clear": int(cleared.sum()), "n_checkpoints": n}


def cleared(contrasts) -> dict[tuple[str, ...], set[str]]:
    """Checkpoints that clear a reference by the paired test (``tables/contrasts.tsv``).

    By quantity, subject, layer (as text) and reference, of which the table has any.
    """
    rows = contrasts[contrasts["comparison"] == "reference"]
    cells = rows.groupby(["quantity", "subject", "layer", "reference"], sort=False)
    return {key: set(cell.loc[cell["clears"] == 1, "checkpoint"]) for key, cell in cells}


def at_layer(alignment, layer: int | str):
    """Alignment of the originals at `layer`, or their mean over layers (``mean``), per subject and over subjects.

    A data frame ``checkpoint step subject mean_r ci_low ci_high``; baselines are there as well.
    """
    import pandas as pd

    cells = summaries.original(alignment)
    values = summaries.layer_means(cells if layer == "mean" else cells[cells["layer"] == layer])
    return pd.concat([values, summaries.over_subjects(values)], ignore_index=True)


def layers_shown(alignment) -> list[int | str]:
    """``mean`` over layers, then each layer of the trained checkpoints."""
    return ["mean", *summaries.layers_of(summaries.trained(summaries.original(alignment)))]


def references(values) -> dict[str, tuple[float, float, float]]:
    """What a subject's alignment has to clear, as name → (alignment, low, high).

    From one subject's rows of :func:`at_layer` (``mean``): each baseline (or :data:`ZERO`), and the untrained network.
    """
    apart = values[values["step"].isna() | (values["step"] == 0)].sort_values("step", na_position="first")
    bounds = apart[summaries.BOUNDS].itertuples(index=False, name=None)
    found = dict(zip(apart["checkpoint"], bounds, strict=True))
    return found if set(found) - {UNTRAINED} else {ZERO: (0.0, 0.0, 0.0)} | found


def alignment_rows(alignment, contrasts) -> list[dict]:
    """Emergence of alignment per layer (and mean over layers), subject (and mean over subjects), and reference.

    A baseline's level is its mean over layers, whichever layer is compared; the untrained network's is of that layer.
    InputError if the contrasts lack one.
    """
    rows = []
    whole, known = at_layer(alignment, "mean"), cleared(contrasts)
    for layer in layers_shown(alignment):
        values = whole if layer == "mean" else at_layer(alignment, layer)
        for subject in dict.fromkeys(whole["subject"]):
            curve = summaries.trained(values[values["subject"] == subject])
            untrained = {name: level for name, level in references(curve).items() if name == UNTRAINED}
            for name, level in (references(whole[whole["subject"] == subject]) | untrained).items():
                key = {"quantity": "alignment", "property": "original", "subject": subject, "layer": str(layer)}
                cell = ("alignment", subject, str(layer), name)
                if cell not in known and set(curve["checkpoint"]) - {name}:
                    raise InputError(f"contrasts table: no row of {', '.join(cell)}; run its step again")
                found = emergence(curve["step"], curve["checkpoint"].isin(known.get(cell, set())))
                rows.append(key | {"reference": name, "level": level[0]} | found)
    return rows


def unique_rows(contrasts) -> list[dict]:
    """Emergence of alignment over nuisance features: per layer (and mean over layers) and subject, above 0.

    What they tell must outweigh what their fit costs (METHOD section 5).
    """
    rows = contrasts[(contrasts["quantity"] == "unique_alignment") & (contrasts["reference"] == ZERO)]
    return [
        {"quantity": "unique_alignment", "property": "original", "subject": subject, "layer": layer}
        | {"reference": ZERO, "level": 0.0}
        | emergence(cell["step"], cell["clears"] == 1)
        for (subject, layer), cell in rows.groupby(["subject", "layer"], sort=False)
    ]


def unique_at_layer(shares, layer: int | str):
    """As :func:`at_layer`, what the vectors add to nuisance features; ``mean`` is the subjects' mean time course."""
    import pandas as pd

    cells = summaries.over_nuisance(shares)
    values = summaries.layer_means(cells if layer == "mean" else cells[cells["layer"] == layer])
    alone = values.assign(subject="mean") if "mean" not in set(values["subject"]) else None
    return pd.concat([values, alone], ignore_index=True)


def probing_curves(probing):
    """Accuracy of the probes without removal: one row per checkpoint, property and layer, and mean over layers.

    A data frame ``checkpoint step property layer accuracy_before chance null_low null_high clears``. Over layers the
    bounds of the null intervals are averaged, as if the layers' noise were one.
    """
    import pandas as pd

    names = ["accuracy_before", "chance", "null_low", "null_high"]
    # Before removal there is no method: its rows repeat.
    cells = probing.drop_duplicates(["checkpoint", "layer", "property"])
    means = cells.groupby(["checkpoint", "step", "property"], dropna=False, sort=False)[names].mean()
    table = pd.concat([means.reset_index().assign(layer="mean"), cells], ignore_index=True)
    table["clears"] = table["accuracy_before"] > table["null_high"]
    return table[["checkpoint", "step", "property", "layer", *names, "clears"]]


def probing_rows(probing) -> list[dict]:
    """Emergence of each property's probing accuracy per layer (and mean over layers): above the null interval."""
    curves = summaries.trained(probing_curves(probing))
    return [
        {"quantity": "probing", "property": name, "subject": "", "layer": str(layer), "reference": "null"}
        | {"level": float(cell["null_high"].mean())}
        | emergence(cell["step"], cell["clears"])
        for (name, layer), cell in curves.groupby(["property", "layer"], sort=False)
    ]


def unigram_bits(words: Sequence[str]) -> float:
    """Entropy in bits of the distribution of `words`: what a word costs if its context is ignored.

    No model that ignores the context needs fewer bits per word for this very text (Gibbs' inequality).
    """
    from scipy.stats import entropy

    return float(entropy(np.unique(np.asarray(words, dtype=str), return_counts=True)[1], base=2))


def perplexity_row(perplexity, words: Sequence[str]) -> dict:
    """Emergence of the use of context: fewer bits per word than any model without context could have."""
    level = unigram_bits(words)
    curve = summaries.trained(perplexity)
    key = {"quantity": "perplexity", "property": "", "subject": "", "layer": "", "reference": "unigram", "level": level}
    return key | emergence(curve["step"], curve["bits_per_word"] < level)


def emergence_table(alignment, probing, perplexity, words: Sequence[str], contrasts, half_rises):
    """``tables/emergence.tsv``: ``quantity property subject layer reference level`` and what :func:`emergence` finds.

    Beside it the half-rise of the quantity in this subject and layer, the same for every reference, and that over the
    alignment's. InputError if no
    checkpoint has a step.
    """
    import pandas as pd

    if alignment["step"].isna().all():
        raise InputError("alignment table: no checkpoint has a step, so nothing can emerge")
    rows = [*alignment_rows(alignment, contrasts), *unique_rows(contrasts)]
    table = pd.DataFrame([*rows, perplexity_row(perplexity, words), *probing_rows(probing)])
    return table.merge(half_rises, how="left", on=["quantity", "property", "subject", "layer"], validate="many_to_one")


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's ρ of the pairs in each row, shape (n_rows,), from two arrays of shape (n_rows, n_pairs).

    Pearson's r of ranks, ties at their mean rank; NaN where one of the two does not vary.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(part, axis=1) - (part.shape[1] + 1) / 2 for part in (first, second))
    scale = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    rho = np.full(len(a), np.nan)
    np.divide(np.sum(a * b, axis=1), scale, out=rho, where=scale > 0)
    return rho


def spearman_interval(
    first: np.ndarray, second: np.ndarray, level: float, seed: int, resamples: int = 4999
) -> tuple[float, float, float]:
    """Spearman's ρ of two arrays of shape (n_pairs,), and its percentile bootstrap interval, which covers 1 − `level`.

    Pairs that are already in one order have no interval, for every resample has the same ρ; nor have fewer than
    :data:`FEWEST`. Of independent normal pairs (7, 15 or 40 of them; r from 0 to −0.9) the 95 % interval covers 95 to
    99 %. Checkpoints of one training are not independent: it describes this training, and tests nothing.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n = len(first)
    rho = float(spearman(first[None], second[None])[0]) if n > 1 else np.nan
    # Ranks make exactly ±1 a matter of rounding.
    if n < FEWEST or not abs(rho) < 1 - 1e-12:
        return rho, np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    low, high = np.nanquantile(spearman(first[drawn], second[drawn]), [level / 2, 1 - level / 2])
    return rho, float(low), float(high)


def apart_from_time(time: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """How two quantities go together apart from both following time, arrays of shape (n_checkpoints,).

    One value is the partial ρ given `time`, the step (of ranks, so that of log step is the same), the other Spearman's
    ρ of their differences between consecutive checkpoints. NaN where one of the two follows the steps, or has
    differences that do not vary, or where there are fewer than four checkpoints.

    References
    ----------
    Kendall (1942), Partial rank correlation, Biometrika 32.
    """
    order = np.argsort(time)
    when, one, two = (np.asarray(part, dtype=float)[None, order] for part in (time, first, second))
    if when.shape[1] < 4:
        return np.nan, np.nan
    rho, of_one, of_two = (spearman(*pair)[0] for pair in ((one, two), (one, when), (two, when)))
    left = (1 - of_one**2) * (1 - of_two**2)
    # Ranks make exactly ±1 a matter of rounding.
    partial = (rho - of_one * of_two) / np.sqrt(left) if left > 1e-12 else np.nan
    return float(partial), float(spearman(np.diff(one), np.diff(two))[0])


def correlations(alignment, known, changing, level: float, seed: int) -> list[dict]:
    """Spearman's ρ over checkpoints of a quantity and alignment, per subject and layer, and over them (``mean``).

    `known` is the quantity and `changing` that whose changes are compared, data series by checkpoint. Rows have
    ``subject layer n_checkpoints rho ci_low ci_high`` and, of :func:`apart_from_time`, ``rho_given_step
    rho_of_changes``.
    """
    rows = []
    for layer in layers_shown(alignment):
        values = summaries.trained(at_layer(alignment, layer))
        values = values[values["checkpoint"].isin(known.index) & values["mean_r"].notna()]
        for subject, curve in values.groupby("subject", sort=False):
            aligned = curve["mean_r"].to_numpy()
            rho, low, high = spearman_interval(known.loc[curve["checkpoint"]].to_numpy(), aligned, level, seed)
            key = {"subject": subject, "layer": layer, "n_checkpoints": len(curve)}
            changes = changing.loc[curve["checkpoint"]].to_numpy()
            partial, of_changes = apart_from_time(curve["step"].to_numpy(), changes, aligned)
            found = {"rho": rho, "ci_low": low, "ci_high": high}
            rows.append(key | found | {"rho_given_step": partial, "rho_of_changes": of_changes})
    return rows


def correlation_table(alignment, perplexity, level: float, seed: int):
    """``tables/perplexity_alignment.tsv``: :func:`correlations` of perplexity and alignment.

    Changes are of log perplexity. Negative: alignment rises as perplexity falls. InputError if no checkpoint has both.
    """
    import pandas as pd

    known = perplexity.dropna(subset=["step", "perplexity"]).set_index("checkpoint")["perplexity"]
    rows = correlations(alignment, known, np.log(known), level, seed)
    if not rows:
        raise InputError("no checkpoint has both a perplexity and an alignment; run both tables again")
    return pd.DataFrame(rows)


def steps(
    alignment: str, perplexity: str, probing: str, labels: str, contrasts: str, half_rises: str, output: str
) -> None:
    """Find when things emerge: the tables named → ``tables/emergence.tsv``; `labels` give the words of the story."""
    scores, probes = summaries.read(alignment, "alignment"), summaries.read(probing, "probing")
    words = read_table(labels, ["word"])["word"]
    pairs = summaries.read(contrasts, "contrasts"), read_table(half_rises)
    write_table(emergence_table(scores, probes, summaries.read(perplexity, "perplexity"), words, *pairs), output)


def correlation(alignment: str, perplexity: str, output: str, level: float = 0.05, seed: int = 0) -> None:
    """Relate perplexity and alignment: ``tables/perplexity_alignment.tsv``; its intervals cover 1 - `level`."""
    read = summaries.read(alignment, "alignment"), summaries.read(perplexity, "perplexity")
    write_table(correlation_table(*read, level, seed), output)


main = commands(steps, correlation)

if __name__ == "__main__":
    run(main)
