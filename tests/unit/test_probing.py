"""Probes against plain scikit-learn loops, planted ground truth, and the claims about removal."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dynalign import folds
from dynalign.config.removal import Probing, Removal
from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.removal import erasers, logistic, probing, ridge
from dynalign.removal import fit as removal_fit
from dynalign.removal.fit import main
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

SMALL = Probing(folds=4, inner_folds=3, C=(1e-3, 1e-2, 1e-1), permutations=20)


def story(rng, n):
    """Sentence numbers and word types of a story of n words."""
    sentence = np.repeat(np.arange(n), rng.integers(4, 15, n))[:n]
    types = rng.zipf(1.6, n) % 60
    return sentence, np.array([f"w{number}" for number in types], dtype=object)


def one(X, codes, sentence, word, probing_options=SMALL, seed=0, method="ridge", **removal_options):
    """The row of a single property and method."""
    others = [f"{method}-in-sample"] if method != "ridge" else []
    options = Removal(methods=(*others, "ridge-in-sample"), **removal_options)
    maps = {(family, "p"): removal_fit.fit(family, X, codes, options) for family in options.families}
    rows, _ = probing.evaluate(X, {"p": codes.astype(float)}, sentence, word, maps, probing_options, options, seed)
    (row,) = [row for row in rows if row["removal"] == f"{method}-in-sample"]
    return row


def plain_probe(vectors_of_fold, y, sentence, options):
    """The same nested probe as a scikit-learn user writes it; folds found by hand at sentence ends."""

    def blocks(rows, k):
        ends = [i for i in range(1, len(rows)) if sentence[rows[i]] != sentence[rows[i - 1]]]
        cuts = [min([0, *ends, len(rows)], key=lambda end: abs(end - round(len(rows) * j / k))) for j in range(k + 1)]
        return [np.arange(a, b) for a, b in pairwise(cuts)]

    predicted = np.empty_like(y)
    for test in blocks(np.arange(len(y)), options.folds):
        train = np.setdiff1d(np.arange(len(y)), test)
        inner = [(np.setdiff1d(np.arange(len(train)), b), b) for b in blocks(train, options.inner_folds)]
        X = vectors_of_fold(train)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=10_000)),
            {"logisticregression__C": list(options.C)},
            cv=inner,
        ).fit(X[train], y[train])
        predicted[test] = search.predict(X[test])
    return predicted


@pytest.mark.parametrize("classes", [2, 4])
def test_numbers_are_those_of_a_plain_scikit_learn_loop(classes):
    rng = np.random.default_rng(classes)
    sentence, word = story(rng, 420)
    y = rng.integers(0, classes, 420)
    X = 3 + rng.standard_normal((420, 8)) @ rng.standard_normal((8, 8))
    X = X + 0.8 * rng.standard_normal((classes, 8))[y]
    whole = ridge.fit_ridge(X, y, [300.0], 4)
    row = one(X, y, sentence, word, alphas=(300.0,))

    def crossfit(train):
        return erasers.apply(ridge.fit_ridge(X[train], y[train], [300.0], 4), X, y)

    residual = erasers.apply(whole, X, y)
    for kind, vectors in (("before", lambda _: X), ("after", lambda _: residual), ("after_crossfit", crossfit)):
        reference = plain_probe(vectors, y, sentence, SMALL)
        assert row[f"accuracy_{kind}"] == pytest.approx(accuracy_score(y, reference), abs=1e-12)
        assert row[f"balanced_{kind}"] == pytest.approx(balanced_accuracy_score(y, reference), abs=1e-12)
    assert row["accuracy_before"] > row["chance"] + 0.05
    assert row["chance"] == np.bincount(y).max() / 420
    assert row["n_classes"] == classes
    assert row["not_converged"] == 0


def test_folds_never_cut_a_sentence(monkeypatch):
    rng = np.random.default_rng(0)
    sentence, word = story(rng, 300)
    cut = []
    original = folds.contiguous

    def watched(n, k, groups=None):
        found = original(n, k, groups)
        if groups is not None:
            cut.extend(set(groups[a]) & set(groups[b]) for a, b in pairwise(found))
        return found

    monkeypatch.setattr(folds, "contiguous", watched)
    one(rng.standard_normal((300, 4)), rng.integers(0, 2, 300), sentence, word, alphas=(1.0,))
    assert len(cut) >= 3 + 4 * 2
    assert not any(cut)


def test_of_equally_good_penalties_the_strongest_is_chosen(monkeypatch):
    chosen = []
    fit = logistic.fit

    def watched(F, y, C, *arguments, **keywords):
        chosen.append(C)
        return fit(F, y, C, *arguments, **keywords)

    monkeypatch.setattr(logistic, "fit", watched)
    y, train = np.tile([0, 1, 1], 100), np.arange(200)
    options = Probing(C=(0.01, 0.1, 1.0), inner_folds=2)
    probing.predict_fold(np.zeros((300, 2)), y[None], train, np.arange(200, 300), np.arange(300) // 5, options)
    assert [len(C) for C in chosen] == [3, 3, 1]
    assert chosen[-1] == [0.01]


def test_the_null_interval_is_of_probes_that_try_the_permuted_labels(monkeypatch):
    """Labels that are not permuted can be read, and would be as well as before."""
    rng = np.random.default_rng(0)
    sentence, word = story(rng, 300)
    y = rng.integers(0, 2, 300)
    X = rng.standard_normal((300, 5)) + 4 * y[:, None]
    monkeypatch.setattr(probing, "permuted", lambda labels, *_: labels)
    row = one(X, y, sentence, word, alphas=(1.0,))
    assert row["null_low"] == row["null_high"] == pytest.approx(row["accuracy_before"], abs=0.02)
    assert row["null_low"] > 0.95


def test_unrelated_label_is_an_artefact_of_removal_in_sample():
    """Fitted in-sample, removal drives an unrelated label far below chance; crossfit does not (METHOD 6)."""
    rng = np.random.default_rng(1)
    sentence, word = story(rng, 500)
    X, y = rng.standard_normal((500, 150)), rng.integers(0, 2, 500)
    row = one(X, y, sentence, word, alphas=(1e-3,))
    assert row["accuracy_after"] < 0.3
    assert row["accuracy_after"] < row["null_low"] - 0.1
    assert row["null_low"] <= row["accuracy_after_crossfit"] <= row["null_high"]
    assert row["removed"] == 1
    assert 0.4 < row["null_low"] < row["chance"] <= row["null_high"] < 0.6
    assert row["null_low"] <= row["accuracy_before"] <= row["null_high"]


def five_classes():
    """Classes whose means do not lie on a line in the order of their codes."""
    rng = np.random.default_rng(2)
    sentence, word = story(rng, 600)
    y = rng.choice(5, 600, p=[0.3, 0.2, 0.2, 0.15, 0.15])
    return rng.standard_normal((600, 12)) + 4 * rng.standard_normal((5, 12))[y], y, sentence, word


@pytest.mark.parametrize(
    ("options", "decodable"),
    [({"coding": "ordinal"}, True), ({"coding": "onehot"}, False), ({"method": "leace"}, False)],
)
def test_integer_codes_cannot_remove_five_classes(options, decodable):
    row = one(*five_classes(), alphas=(1e-5,), **options)
    assert row["accuracy_before"] > 0.97
    assert row["not_converged"] == 0
    if decodable:
        assert row["accuracy_after"] > 0.95
        assert row["accuracy_after_crossfit"] > 0.95
        assert (row["removed_paper"], row["removed"]) == (0, 0)
    else:
        assert row["accuracy_after"] <= row["chance"] + 0.02
        assert row["null_low"] <= row["accuracy_after_crossfit"] <= row["null_high"]
        assert row["removed"] == 1
        assert row["balanced_after_crossfit"] == pytest.approx(1 / 5, abs=0.03)


@pytest.mark.parametrize("method", ["ridge", "leace"])
def test_planted_property_is_removed_exactly(method):
    rng = np.random.default_rng(5)
    sentence, word = story(rng, 500)
    y = (rng.random(sentence.max() + 1) < 0.35).astype(int)[sentence]
    clean = rng.standard_normal((500, 10))
    clean -= np.outer(y - y.mean(), (y - y.mean()) @ clean) / (y - y.mean()).dot(y - y.mean())
    X = clean + np.outer(y, 3 * rng.standard_normal(10))
    fitted = removal_fit.fit(method, X, y, Removal(alphas=(1e-9,)))
    residual = erasers.apply(fitted, X, y)
    assert np.abs(residual[y == 1].mean(axis=0) - residual[y == 0].mean(axis=0)).max() < 1e-9
    if method == "ridge":
        np.testing.assert_allclose(residual, clean - clean.mean(axis=0), atol=1e-9)
    row = one(X, y, sentence, word, method=method, alphas=(1e-9,))
    assert row["accuracy_before"] > 0.99
    assert row["removed"] == 1
    assert row["selectivity"] > 0.2


def test_null_interval_holds_unrelated_labels_and_not_a_decodable_one():
    """Across seeds, a probe of a label unrelated to the vectors lies inside about 95 % of the time."""
    rng = np.random.default_rng(8)
    sentence, word = story(rng, 300)
    options = Probing(folds=3, inner_folds=2, C=(0.01,), permutations=40, permutation_C=0.01)
    X = rng.standard_normal((300, 10)) + rng.standard_normal((sentence.max() + 1, 10))[sentence]
    inside = []
    for seed in range(40):
        by_sentence = np.random.default_rng(seed).integers(0, 2, sentence.max() + 1)[sentence]
        row = one(X, by_sentence, sentence, word, options, seed, alphas=(1.0,))
        inside.append(row["null_low"] <= row["accuracy_before"] <= row["null_high"])
    assert np.mean(inside) >= 0.8
    decodable = (X[:, 0] + X[:, 1] > 0).astype(int)
    row = one(X, decodable, sentence, word, options, alphas=(1.0,))
    assert row["accuracy_before"] > row["null_high"] + 0.1


def test_selectivity_is_lower_for_a_property_of_word_types():
    """Where vectors tell word types apart, a probe learns any label of types by heart: nothing selective."""
    rng = np.random.default_rng(4)
    sentence, word = story(rng, 900)
    types, number = np.unique(word.astype(str), return_inverse=True)
    lexical = (rng.standard_normal((len(types), 80)) * 3)[number] + rng.standard_normal((900, 80))
    y_type = rng.integers(0, 2, len(types))[number]
    y_context = rng.integers(0, 2, 900)
    context = rng.standard_normal((900, 80)) + 3 * np.outer(y_context, rng.standard_normal(80))
    by_heart = one(lexical, y_type, sentence, word, alphas=(1.0,))
    selective = one(context, y_context, sentence, word, alphas=(1.0,))
    assert by_heart["accuracy_before"] > 0.9
    assert selective["accuracy_before"] > 0.9
    assert by_heart["selectivity"] < 0.15
    assert selective["selectivity"] > 0.25


def test_permuted_labels_keep_class_sizes_and_level():
    rng = np.random.default_rng(0)
    sentence, word = story(rng, 400)
    lengths = np.bincount(sentence)
    by_length = (lengths > 9).astype(int)[sentence]  # its classes differ in sentence length
    null = [probing.permuted(by_length, sentence, rng) for _ in range(50)]
    assert all(probing.is_sentence_level(labels, sentence) for labels in null)
    assert max(abs(labels.sum() - by_length.sum()) for labels in null) <= lengths.max()
    assert abs(np.mean([np.corrcoef(by_length, labels)[0, 1] for labels in null])) < 0.1

    by_word = rng.integers(0, 3, 400)
    assert not probing.is_sentence_level(by_word, sentence)
    null = probing.permuted(by_word, sentence, rng)
    np.testing.assert_array_equal(np.bincount(null), np.bincount(by_word))
    blocks = {"".join(map(str, by_word[sentence == s])) for s in range(sentence.max() + 1)}
    text = "".join(map(str, null))
    assert all(block in text for block in blocks)
    assert (null != by_word).mean() > 0.5

    control = probing.allotted(by_word, word, rng)
    assert all(len(np.unique(control[word == kind])) == 1 for kind in np.unique(word.astype(str)))
    largest = np.unique(word.astype(str), return_counts=True)[1].max()
    assert np.abs(np.bincount(control, minlength=3) - np.bincount(by_word)).max() <= largest


def test_null_interval_reaches_to_chance():
    accuracies = np.linspace(0.40, 0.60, 201)
    np.testing.assert_allclose(probing.null_interval(accuracies, 0.5), (0.405, 0.595), atol=1e-9)
    np.testing.assert_allclose(probing.null_interval(accuracies, 0.7), (0.405, 0.7), atol=1e-9)


def uneven(rng, n):
    """Vectors that tell two nearly equal classes, one mostly in the first half of the text."""
    sentence, word = story(rng, n)
    last = sentence.max()
    first_half = np.arange(last + 1) <= last // 2
    y = (rng.random(last + 1) < np.where(first_half, 0.3, 0.7)).astype(int)[sentence]
    return rng.standard_normal((n, 12)) + 3 * np.outer(y, rng.standard_normal(12)), y, sentence, word


@pytest.mark.parametrize("options", [{"method": "leace"}, {"coding": "onehot", "alphas": (1e-9,)}])
def test_after_exact_erasure_the_answer_is_the_training_words_largest_class(options):
    """By construction, so that it can be wrong more often than chance: below the interval, nothing is read."""
    X, y, sentence, word = uneven(np.random.default_rng(3), 500)
    row = one(X, y, sentence, word, **options)
    right = 0
    for test in folds.contiguous(500, SMALL.folds, sentence):
        training = np.delete(y, test)
        right += (y[test] == np.bincount(training).argmax()).sum()
    assert row["accuracy_before"] > 0.95
    assert row["accuracy_after_crossfit"] == pytest.approx(right / 500, abs=1e-12)
    assert row["accuracy_after_crossfit"] < row["null_low"]
    assert (row["removed"], row["crossfit_position"]) == (1, "below")
    assert row["balanced_after_crossfit"] < 0.5


def test_positions_count_the_ends_as_inside():
    positions = [probing.crossfit_position(x, 0.4, 0.6) for x in (0.39, 0.4, 0.5, 0.6, 0.61)]
    assert positions == ["below", "inside", "inside", "inside", "above"]


def test_constant_dimensions_are_zero():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(60), np.full(60, 1 / 3)])
    train, test = probing.standardised(X, np.arange(40), np.arange(40, 60))
    reference = StandardScaler().fit(X[:40])
    np.testing.assert_allclose(test, reference.transform(X[40:]), atol=1e-12)
    assert (train[:, 1] == 0).all()


def test_what_rounding_leaves_of_a_constant_dimension_is_no_feature():
    """float32 around 1000.1 steps by 6e-5, far above 1e-7 of the other dimension's deviation."""
    rng = np.random.default_rng(0)
    rounded = (1000.1 + 1e-4 * rng.integers(-1, 2, 60)).astype(np.float32)
    X = np.column_stack([rng.standard_normal(60), rounded]).astype(float)
    for part in probing.standardised(X, np.arange(40), np.arange(40, 60)):
        assert (part[:, 1] == 0).all()


def test_a_class_that_training_lacks_counts_as_errors():
    rng = np.random.default_rng(0)
    sentence, word = np.repeat(np.arange(40), 10), np.array(["w"] * 400, dtype=object)
    y = rng.integers(0, 2, 400)
    y[:100][::2] = 2  # class 2 stands in the first outer fold only
    X = 5 * np.eye(3)[y] + rng.standard_normal((400, 3))
    row = one(X, y, sentence, word, alphas=(1e5,), coding="onehot")
    assert row["accuracy_before"] == pytest.approx(350 / 400, abs=0.02)
    assert row["balanced_before"] == pytest.approx(2 / 3, abs=0.02)
    y = np.r_[np.zeros(100, int), rng.integers(0, 2, 300)]
    y[100:] = 1  # training without the last folds knows both, the first fold's training one class only
    row = one(X, y, sentence, word, alphas=(1.0,))
    assert row["accuracy_before"] <= 0.75


@pytest.fixture
def study(tmp_path):
    """A representation of words 3 … 302, labels with gaps in `tense`, maps of both methods."""
    rng = np.random.default_rng(6)
    sentence, word = story(rng, 310)
    codes = rng.integers(0, 3, 310)
    X = (rng.standard_normal((310, 6)) + 2 * rng.standard_normal((3, 6))[codes]).astype(np.float32)
    save_file({"word_index": np.arange(3, 303), "layer-2": X[3:303]}, tmp_path / "step-4.safetensors")
    labels = pd.DataFrame({"word_index": np.arange(310), "word": word, "sentence": sentence})
    labels["pos"], labels["tense"] = codes, (sentence % 2).astype(float)
    labels.loc[sentence % 5 == 0, "tense"] = np.nan
    write_table(labels, tmp_path / "labels.tsv")
    options = Removal(methods=("ridge-in-sample", "leace-in-sample"), alphas=(1.0,))
    main(
        [
            *("--representation", str(tmp_path / "step-4.safetensors"), "--layer", "2"),
            *("--labels", str(tmp_path / "labels.tsv"), "--properties", "pos", "tense"),
            *("--options", options.model_dump_json(), "--output", str(tmp_path / "maps.npz")),
        ]
    )
    return tmp_path, labels, options


def command(folder, options, *more, properties=("pos", "tense"), probes=SMALL, step="4"):
    probing.main(
        [
            *("--representation", str(folder / "step-4.safetensors"), "--layer", "2"),
            *("--labels", str(folder / "labels.tsv"), "--erasers", str(folder / "maps.npz")),
            *("--properties", *properties, "--options", probes.model_dump_json()),
            *("--removal-options", options.model_dump_json(), "--seed", "7"),
            *("--checkpoint", "step-4", "--step", step, "--output", str(folder / "probing.tsv"), *more),
        ]
    )
    return read_table(folder / "probing.tsv")


def test_command_writes_the_contract(study):
    folder, labels, options = study
    table = command(folder, options)
    first = (folder / "probing.tsv").read_bytes()
    not_above = table["accuracy_after_crossfit"] <= table["null_high"]
    assert (table["removed"] == not_above).all()
    inside = not_above & (table["accuracy_after_crossfit"] >= table["null_low"])
    assert ((table["crossfit_position"] == "inside") == inside).all()
    assert " ".join(table.columns) == (
        "checkpoint step layer removal property accuracy_before accuracy_after accuracy_after_crossfit "
        "balanced_before balanced_after balanced_after_crossfit chance null_low null_high selectivity "
        "removed_paper removed crossfit_position n_words n_classes n_masked not_converged"
    )
    assert table[["removal", "property"]].to_numpy().tolist() == [
        ["ridge-in-sample", "pos"],
        ["ridge-in-sample", "tense"],
        ["leace-in-sample", "pos"],
        ["leace-in-sample", "tense"],
    ]
    masked = int(labels["tense"][3:303].isna().sum())
    assert table["n_masked"].tolist() == [0, masked, 0, masked]
    assert table["n_words"].tolist() == [300, 300 - masked, 300, 300 - masked]
    assert table["n_classes"].tolist() == [3, 2, 3, 2]
    assert set(table["step"]) == {4}
    shared = ["accuracy_before", "balanced_before", "chance", "null_low", "null_high", "selectivity"]
    np.testing.assert_array_equal(table[shared][:2], table[shared][2:])

    command(folder, options)
    assert (folder / "probing.tsv").read_bytes() == first
    # a property's numbers do not depend on which others are probed beside it
    alone = command(folder, options, properties=("tense",), step="")
    np.testing.assert_allclose(alone[shared], table[shared].iloc[[1, 3]], atol=1e-9)
    assert alone["step"].isna().all()
    # other permutations, the same accuracies
    other = command(folder, options, "--seed", "8")
    assert (other["null_low"] != table["null_low"]).any()
    np.testing.assert_array_equal(other["accuracy_after"], table["accuracy_after"])


def test_a_probe_job_keeps_to_one_thread_whatever_the_environment(study, monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    folder, _, options = study
    inside = []
    evaluate = probing.evaluate

    def watched(*arguments):
        rows = evaluate(*arguments)
        inside.extend(pool["num_threads"] for pool in threadpool_info())  # of all that was loaded meanwhile, too
        return rows

    monkeypatch.setattr(probing, "evaluate", watched)
    with threadpool_limits(2):
        command(folder, options)
        assert {pool["num_threads"] for pool in threadpool_info()} == {2}
    assert set(inside) == {1}


def test_unfinished_fits_are_counted(study, monkeypatch):
    folder, _, options = study
    assert (command(folder, options)["not_converged"] == 0).all()
    short = command(folder, options, probes=SMALL.model_copy(update={"max_iter": 1}))
    assert (short["not_converged"] > 20).all()
    fit = logistic.fit

    def failing(*arguments, **keywords):
        probes = fit(*arguments, **keywords)
        return replace(probes, converged=np.zeros_like(probes.converged))

    monkeypatch.setattr(logistic, "fit", failing)
    # Before, on the control label, after, after crossfit: 4 outer folds of 3 inner × 3 C and one fit; 20 permuted.
    assert (command(folder, options)["not_converged"] == 4 * (4 * (3 * 3 + 1) + 20)).all()


def test_bad_input_is_named(study):
    folder, labels, options = study

    def refused(match, table=labels, **keywords):
        write_table(table, folder / "labels.tsv")
        with pytest.raises(InputError, match=match):
            command(folder, options, **keywords)

    refused("labels.tsv: lacks column 'word'", labels.drop(columns="word"))
    refused("labels.tsv: lacks word 200 ", labels[:200])
    rare = labels.assign(pos=np.where(labels["word_index"].isin([50, 90, 130]), 7, labels["pos"] % 2))
    refused("labels.tsv: property 'pos': class 7 has 3 words, fewer than the 4 folds", rare)
    refused("'tense' has 1 classes", labels.assign(tense=1))
    refused("folds", labels.assign(sentence=0))
    extra = labels.assign(mood=labels["pos"])
    refused(r"maps\.npz: lacks the eraser ridge\.mood; it has ridge\.pos", extra, properties=("mood",))
    narrow = {"word_index": np.arange(3, 303), "layer-2": np.zeros((300, 5), np.float32)}
    save_file(narrow, folder / "step-4.safetensors")
    refused(r"maps\.npz: ridge\.pos is for 6 dimensions, the representation has 5")


def test_which_words_are_right_is_kept_and_counts_to_the_accuracy(study):
    folder, labels, options = study
    table = command(folder, options, "--right", str(folder / "right.npz"))
    kept = read_arrays(folder / "right.npz")
    assert kept["property"].tolist() == ["pos", "tense"]
    assert kept["word_index"].tolist() == list(range(3, 303))
    assert kept["n_folds"] == SMALL.folds
    without = labels["tense"][3:303].isna().to_numpy()
    assert (kept["right"][1] == -1).tolist() == without.tolist()
    for row, accuracy in zip(kept["right"], table["accuracy_before"][:2], strict=True):
        assert row[row >= 0].mean() == pytest.approx(accuracy)
