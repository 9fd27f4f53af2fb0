"""Can a linear probe read a property from the vectors, before and after its removal? (METHOD section 6)

Vectors are standardised with training statistics. Accuracies are shares of all labelled words, pooled over outer folds.

Thousands of small products with the same matrix gain nothing from a second thread, and lose much where cores are
shared: the command takes one, whatever the environment says, so that sums do not depend on the number of cores.
"""

import zlib
from collections.abc import Mapping

import numpy as np

from dynalign import folds
from dynalign.cli import command, progress, run
from dynalign.config.removal import Probing, Removal
from dynalign.io.arrays import write_arrays
from dynalign.io.errors import InputError, located
from dynalign.removal import fit, logistic
from dynalign.removal.data import read_words
from dynalign.removal.erasers import Eraser, apply, read_erasers
from dynalign.removal.permutations import allotted, is_sentence_level, permuted
from dynalign.tables.writer import write_table
from dynalign.variation import constant

#: Dimensions whose standard deviation is below this share of the largest are rounding, and count as constant.
CONSTANT = 1e-7


def standardised(X: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows `train` and `test` of X, (n_words, hidden), centred and scaled by `train`; constant dimensions are 0."""
    fitted = X[train]
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0)
    varies = (deviation > CONSTANT * deviation.max()) & ~constant(fitted)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return (fitted - mean) * scale, (X[test] - mean) * scale


def predict_fold(X, y, train, test, sentence, probing: Probing) -> tuple[np.ndarray, np.ndarray]:
    """Predict one outer fold with probes whose C is chosen by inner folds of the training words.

    C has the greatest mean accuracy over the inner folds; the smallest such C on a tie.

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    y : array of int, shape (n_probes, n_words)
    train, test : arrays of int
        Words of the outer fold.
    sentence : array of shape (n_words,)

    Returns
    -------
    predicted : array of int, shape (n_probes, n_test)
        A class that a probe did not see in training is never predicted, so its words count as errors.
    not_converged : array of int, shape (n_probes,)
        Fits, inner ones included, that reached `max_iter`.
    """
    grid = np.sort(probing.C)
    accuracy = np.zeros((len(y), len(grid)))
    not_converged = np.zeros(len(y), dtype=int)
    F, F_test = standardised(X, train, test)
    spectrum = logistic.Spectrum.of(F)  # good for the inner folds too: most of their words are the same
    for block in folds.contiguous(len(train), probing.inner_folds, sentence[train]):
        inner, held_out = train[folds.training_rows(len(train), block)], train[block]
        F_inner, F_held_out = standardised(X, inner, held_out)
        # one row per probe and C, the C of a probe side by side
        targets, Cs = np.repeat(y[:, inner], len(grid), axis=0), np.tile(grid, len(y))
        probes = logistic.fit(F_inner, targets, Cs, spectrum, max_iter=probing.max_iter)
        right = probes.predict(F_held_out) == np.repeat(y[:, held_out], len(grid), axis=0)
        accuracy += right.mean(axis=1).reshape(accuracy.shape)
        not_converged += (~probes.converged).reshape(accuracy.shape).sum(axis=1)
    probes = logistic.fit(F, y[:, train], grid[accuracy.argmax(axis=1)], spectrum, max_iter=probing.max_iter)
    return probes.predict(F_test), not_converged + ~probes.converged


def balanced_accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over classes of the share of a class's words that are predicted right."""
    return float(np.mean([(predicted[y == code] == code).mean() for code in np.unique(y)]))


def null_interval(accuracies: np.ndarray, chance: float) -> tuple[float, float]:
    """Accuracies of a probe that reads nothing: 2.5th to 97.5th percentile of `accuracies`, and chance.

    The upper end is at least `chance`. A probe that ignores the vectors answers the largest class, and that
    is what exact removal leads to; probes of permuted labels fit noise, and score less on unequal classes.
    """
    low, high = np.percentile(accuracies, [2.5, 97.5])
    return float(low), float(max(high, chance))


def crossfit_position(accuracy: float, low: float, high: float) -> str:
    """On which side of the null interval an accuracy lies: ``below``, ``inside`` (ends included), ``above``.

    Only ``above`` means that the property can still be read. ``below`` happens where nothing can: after an exact eraser
    (`leace`; `ridge` with one-hot codes and a vanishing penalty) training vectors have no covariance with the label, so
    the best probe has zero weights (Belrose et al. 2023, section 3). It answers the training words' largest class;
    where that is another class than the test words' (nearly equal, uneven in the text), it errs more than chance.
    """
    return "below" if accuracy < low else "above" if accuracy > high else "inside"


def check_classes(name: str, codes: np.ndarray, probing: Probing) -> None:
    """Check that the class codes of a property's labelled words, (n,), can be probed; an `InputError` if not."""
    classes, sizes = np.unique(codes, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"property {name!r} has {len(classes)} classes; a probe needs two or more")
    if sizes.min() < probing.folds:
        raise InputError(
            f"property {name!r}: class {classes[sizes.argmin()]:.0f} has {sizes.min()} words, fewer than the "
            f"{probing.folds} folds; join it with another class, or lower probing.folds"
        )


def evaluate(
    X: np.ndarray,
    codes: Mapping[str, np.ndarray],
    sentence: np.ndarray,
    word: np.ndarray,
    fitted: Mapping[tuple[str, str], Eraser],
    probing: Probing,
    options: Removal,
    seed: int,
) -> tuple[list[dict], np.ndarray]:
    """Probe every property before and after its removal: a row per method and property, in this order.

    Beside the rows, an array of int8, (n_properties, n_words): 1 where the probe before removal is right, 0 where it is
    wrong, −1 for a word without a label. It lets the words of a stretch of the story be counted by themselves.

    The columns are described in ``tables/schema.yaml``, the rules in METHOD section 6. What a method fits, not where an
    encoding fits it, makes the row: `leace-crossfit` and `leace-in-sample` have the same numbers.

    - `after_crossfit`: removal fitted in each outer training fold is applied to its training and test words.
    - `null_low`, `null_high`: see :func:`null_interval`; its accuracies are those of probes of the vectors as they are,
      with labels permuted by sentence (:func:`permuted`) and C = `permutation_C`.
    - `not_converged` counts fits that reached `max_iter`, inner, permuted and control ones too.

    InputError: a property has one class only, a class fewer words than there are folds, or sentences are too few.

    Parameters
    ----------
    X : array of shape (n_words, hidden)
    codes : mapping of property to array of shape (n_words,)
        Integer class codes, NaN without a label.
    sentence, word : arrays of shape (n_words,)
    fitted : mapping of (method, property) to eraser
        Fitted on all words, as `dynalign.removal.fit` writes them; `options` refit them in each training fold.
    seed : int
        Of permutations and control labels; a property's do not depend on which other properties there are.

    References
    ----------
    Hewitt & Liang (2019). Designing and interpreting probes with control tasks. EMNLP.
    Belrose et al. (2023). LEACE: Perfect linear concept erasure in closed form. NeurIPS.
    """
    for name, labels in codes.items():
        check_classes(name, labels[np.isfinite(labels)], probing)
    rows, right = {}, np.full((len(codes), len(X)), -1, dtype=np.int8)
    masks = {np.isfinite(labels).tobytes(): np.isfinite(labels) for labels in codes.values()}
    for key, mask in masks.items():  # properties with the same labelled words share their folds
        labels = {n: c[mask].astype(np.int64) for n, c in codes.items() if np.isfinite(c).tobytes() == key}
        about_words = np.asarray(X[mask], dtype=float), labels, sentence[mask], word[mask]
        found, right_here = _evaluate_labelled(*about_words, fitted, probing, options, seed)
        right[np.ix_([list(codes).index(name) for name in labels], mask)] = right_here
        rows.update({arm: {**row, "n_masked": int((~mask).sum())} for arm, row in found.items()})
    arms = [(method, name) for method in options.methods for name in codes]
    return [rows[method.partition("-")[0], name] | {"removal": method} for method, name in arms], right


def _evaluate_labelled(X, labels, sentence, word, fitted, probing, options, seed):
    """:func:`evaluate` for properties that label all words: rows by (method, property), and which probes are right."""
    names, n = list(labels), len(X)
    arms = [(method, name) for method in options.families for name in names]
    y = np.stack([labels[name] for name in names])
    null, control = [], []
    for name in names:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        unit = sentence if is_sentence_level(labels[name], sentence) else word
        control.append(allotted(labels[name], unit, rng))
        null += [permuted(labels[name], sentence, rng) for _ in range(probing.permutations)]
    control, null = np.stack(control), np.stack(null)

    both = np.concatenate([y, control])
    guesses, failed = np.empty_like(both), np.zeros(len(both), dtype=int)
    null_guesses, null_failed = np.empty_like(null), np.zeros(len(null), dtype=int)
    after = {(kind, *arm): np.empty(n, dtype=np.int64) for kind in ("after", "after_crossfit") for arm in arms}
    after_failed = dict.fromkeys(arms, 0)
    for test in progress(folds.contiguous(n, probing.folds, sentence), "probing, outer folds"):
        train = folds.training_rows(n, test)
        guesses[:, test], missed = predict_fold(X, both, train, test, sentence, probing)
        failed += missed
        F, F_test = standardised(X, train, test)
        probes = logistic.fit(F, null[:, train], np.full(len(null), probing.permutation_C), max_iter=probing.max_iter)
        null_guesses[:, test] = probes.predict(F_test)
        null_failed += ~probes.converged
        for method, name in arms:
            refitted = fit.fit(method, X[train], labels[name][train], options)
            for kind, eraser in (("after", fitted[method, name]), ("after_crossfit", refitted)):
                residual = apply(eraser, X, labels[name])
                guess, missed = predict_fold(residual, labels[name][None], train, test, sentence, probing)
                after[kind, method, name][test] = guess[0]
                after_failed[method, name] += int(missed[0])

    null_accuracy = (null_guesses == null).mean(axis=1).reshape(len(names), -1)
    null_failed = null_failed.reshape(len(names), -1).sum(axis=1)
    rows = {}
    for method, name in arms:
        i = names.index(name)
        guessed = {"before": guesses[i]} | {kind: after[kind, method, name] for kind in ("after", "after_crossfit")}
        accuracy = {kind: float((guess == y[i]).mean()) for kind, guess in guessed.items()}
        control_accuracy = (guesses[len(names) + i] == control[i]).mean()
        sizes = np.unique(y[i], return_counts=True)[1]
        chance = float(sizes.max() / n)
        low, high = null_interval(null_accuracy[i], chance)
        position = crossfit_position(accuracy["after_crossfit"], low, high)
        rows[method, name] = {
            "removal": method,
            "property": name,
            **{f"accuracy_{kind}": value for kind, value in accuracy.items()},
            **{f"balanced_{kind}": balanced_accuracy(y[i], guess) for kind, guess in guessed.items()},
            "chance": chance,
            "null_low": low,
            "null_high": high,
            "selectivity": accuracy["before"] - control_accuracy,
            "removed_paper": int(accuracy["before"] > chance and accuracy["after"] < chance),
            "removed": int(position != "above"),
            "crossfit_position": position,
            "n_words": n,
            "n_classes": len(sizes),
            "not_converged": int(failed[i] + failed[len(names) + i] + null_failed[i] + after_failed[method, name]),
        }
    return rows, guesses[: len(names)] == y


@command
def main(
    representation: str,
    layer: int,
    labels: str,
    erasers: str,
    properties: list[str],
    checkpoint: str,
    output: str,
    step: str = "",
    options: Probing = Probing(),
    removal_options: Removal = Removal(),
    seed: int = 0,
    right: str | None = None,
) -> None:
    """Probe the properties of one layer before and after their removal.

    Parameters
    ----------
    representation, layer
        ``{ckpt}.safetensors``, and the layer in it; 0 = embeddings.
    labels, erasers, properties
        ``tables/labels.tsv``, the layer's erasers, and the properties that they remove.
    checkpoint, step, output
        Written into the table (a baseline has no step), ``probing/{ckpt}/layer-{layer}.tsv``.
    seed
        Of permutations and control labels.
    right
        ``probing/{ckpt}/layer-{layer}.npz`` to write: ``right`` of :func:`evaluate`, its ``property`` and
        ``word_index``, and ``n_folds``.
    """
    import pandas as pd
    from threadpoolctl import threadpool_limits

    X, codes, words = read_words(representation, layer, labels, properties, ["sentence", "word"])
    arms = [(method, name) for method in removal_options.families for name in properties]
    fitted = read_erasers(erasers, arms, X.shape[1])
    sentence, word = words["sentence"].to_numpy(), words["word"].to_numpy()
    with located(labels), threadpool_limits(1):
        rows, found = evaluate(X, codes, sentence, word, fitted, options, removal_options, seed)
    place = {"checkpoint": checkpoint, "step": step, "layer": layer}
    if right:
        about = {"property": np.array(properties, dtype=str), "n_folds": np.array(options.folds)}
        write_arrays(right, about | {"right": found, "word_index": words["word_index"].to_numpy(np.int64)})
    write_table(pd.DataFrame([{**place, **row} for row in rows]), output, "probing")


if __name__ == "__main__":
    run(main)
