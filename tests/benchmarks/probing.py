"""A probe job at the paper's size on one core, and plain scikit-learn doing the same.

``python tests/benchmarks/probing.py`` runs

1. the job itself, as a rule runs it: ``python -m dynalign.removal.probing`` on one core; one checkpoint, one layer,
   nine properties, ridge and LEACE, each before, after and crossfit, with 50 permutations; 5,143 words × 768;
2. two whole properties of it (tense, two classes; pos, five classes) once more with the project's code, and the
   same in a loop of scikit-learn's ``LogisticRegression``, whose accuracies and null intervals must agree.

The last line: minutes of 1 (wall clock), and the CPU time of scikit-learn in 2 as a multiple of the project's.
"""

import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from dynalign import folds
from dynalign.config.removal import Probing, Removal
from dynalign.removal import erasers, probing
from dynalign.removal import fit as removal_fit
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

WORDS, HIDDEN, TYPES, SEED = 5143, 768, 1300, 0
#: Of a property in each dimension, beside a word's own part of 1 to 0.04: probes are right for 75 to 90 %.
SIGNAL = 0.005
OPTIONS = Probing(permutations=50)
REMOVAL = Removal(methods=("ridge-in-sample", "leace-in-sample"))
#: What scikit-learn does too.
SHARE = ("tense", "pos")


def story(rng):
    """Sentences and word types as the real text has them, and the nine properties with its class shares."""
    short, middle, long = rng.integers(1, 8, WORDS), rng.integers(8, 17, WORDS), rng.integers(17, 38, WORDS)
    kind = rng.choice(3, WORDS, p=[156 / 417, 147 / 417, 114 / 417])
    lengths = np.choose(kind, [short, middle, long])
    sentence = np.repeat(np.arange(WORDS), lengths)[:WORDS]
    lengths = np.bincount(sentence)
    frequency = 1 / (np.arange(TYPES) + 8)
    types = rng.choice(TYPES, WORDS, p=frequency / frequency.sum())
    word = np.array([f"w{number}" for number in types], dtype=object)

    def per_sentence(share_of_first, size=0.0):
        score = size * (np.argsort(np.argsort(lengths)) / len(lengths) - 0.5) + rng.random(len(lengths))
        return (score > np.quantile(score, share_of_first)).astype(int)[sentence]

    pos = rng.choice(5, TYPES, p=np.array([786, 749, 592, 504, 2545]) / 5176)[types]
    pos = np.where(rng.random(WORDS) < 0.1, rng.permutation(pos), pos)
    in_phrase = np.array([0.1, 0.9, 0.9, 0.3, 0.45])[pos]
    codes = {
        "sentence_length": np.digitize(lengths, [8, 17])[sentence],
        "tree_depth": per_sentence(278 / 417, size=3),
        "top_constituents": per_sentence(89 / 417),
        "tense": per_sentence(239 / 417),
        "subject_number": per_sentence(255 / 417),
        "object_number": per_sentence(220 / 417, size=1),
        "pos": pos,
        "smallest_constituent": (rng.random(WORDS) > in_phrase).astype(int),
        "random_label": rng.integers(0, 2, WORDS),
    }
    return sentence, types, word, codes


def vectors(rng, sentence, types, codes):
    """Hidden states: a word's own part, its sentence's, its surroundings', the properties, unequal variances."""
    slow = rng.standard_normal((WORDS, HIDDEN))
    for word in range(1, WORDS):
        slow[word] = 0.8 * slow[word - 1] + 0.6 * slow[word]
    X = rng.standard_normal((TYPES, HIDDEN))[types] + slow
    X += 0.5 * rng.standard_normal((sentence[-1] + 1, HIDDEN))[sentence]
    X = X * np.arange(1, HIDDEN + 1) ** -0.5
    for name, labels in codes.items():
        if name != "random_label":
            X += SIGNAL * rng.standard_normal((labels.max() + 1, HIDDEN))[labels]
    turned = X @ np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0]
    return (turned * rng.lognormal(0, 0.5, HIDDEN) + 3 * rng.standard_normal(HIDDEN)).astype(np.float32)


def write_study(folder, X, sentence, word, codes):
    """The files that a probe job reads."""
    save_file({"word_index": np.arange(WORDS), "layer-6": X}, folder / "step-9.safetensors")
    labels = pd.DataFrame({"word_index": np.arange(WORDS), "word": word, "sentence": sentence, **codes})
    write_table(labels, folder / "labels.tsv")
    fit = {(m, n): removal_fit.fit(m, X, codes[n], REMOVAL) for m in REMOVAL.families for n in codes}
    erasers.write_erasers(folder / "maps.npz", fit)
    return fit


def job(folder, names) -> tuple[float, float, pd.DataFrame]:
    """Wall clock and CPU seconds of the command on one core, and its table."""
    command = [sys.executable, "-m", "dynalign.removal.probing", "--layer", "6", "--checkpoint", "step-9"]
    command += ["--representation", "step-9.safetensors", "--labels", "labels.tsv", "--erasers", "maps.npz"]
    command += ["--properties", *names, "--options", OPTIONS.model_dump_json()]
    command += ["--removal-options", REMOVAL.model_dump_json(), "--seed", str(SEED), "--step", "9"]
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else None
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start, before = time.perf_counter(), os.times()
    subprocess.run(
        [*command, "--output", "probing.tsv"],
        cwd=folder,
        env=environment,
        check=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None,
    )
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return time.perf_counter() - start, cpu, read_table(folder / "probing.tsv")


def plain_fit(X, y, C):
    """Standardise and fit with scikit-learn's defaults, but enough iterations; returns a predictor."""
    scaler = StandardScaler().fit(X)
    model = LogisticRegression(C=C, max_iter=OPTIONS.max_iter).fit(scaler.transform(X), y)
    return lambda rows: model.predict(scaler.transform(rows))


def plain_probe(vectors_of_fold, y, sentence):
    """Accuracy with C chosen by inner folds, in a plain loop."""
    right = 0
    for test in folds.contiguous(WORDS, OPTIONS.folds, sentence):
        train = folds.training_rows(WORDS, test)
        X = vectors_of_fold(train)
        scores = np.zeros(len(OPTIONS.C))
        for block in folds.contiguous(len(train), OPTIONS.inner_folds, sentence[train]):
            inner, held_out = train[folds.training_rows(len(train), block)], train[block]
            for k, C in enumerate(OPTIONS.C):
                scores[k] += (plain_fit(X[inner], y[inner], C)(X[held_out]) == y[held_out]).mean()
        right += (plain_fit(X[train], y[train], OPTIONS.C[scores.argmax()])(X[test]) == y[test]).sum()
    return right / WORDS


def plain_job(X, name, y, sentence, word, maps):
    """One property with scikit-learn: control, before, null interval, then each method after and crossfit."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    unit = sentence if probing.is_sentence_level(y, sentence) else word
    control = probing.allotted(y, unit, rng)
    null = [probing.permuted(y, sentence, rng) for _ in range(OPTIONS.permutations)]
    before = plain_probe(lambda _: X, y, sentence)
    right = np.zeros(len(null))
    for test in folds.contiguous(WORDS, OPTIONS.folds, sentence):
        train = folds.training_rows(WORDS, test)
        for k, labels in enumerate(null):
            right[k] += (plain_fit(X[train], labels[train], OPTIONS.permutation_C)(X[test]) == labels[test]).sum()
    low, high = probing.null_interval(right / WORDS, np.bincount(y).max() / WORDS)
    shared = {"accuracy_before": before, "null_low": low, "null_high": high}
    shared["selectivity"] = before - plain_probe(lambda _: X, control, sentence)
    rows = []
    for method in REMOVAL.families:
        residual = erasers.apply(maps[method, name], X, y)
        rows.append(
            {"removal": method, "property": name, **shared}
            | {"accuracy_after": plain_probe(lambda _, residual=residual: residual, y, sentence)}
            | {
                "accuracy_after_crossfit": plain_probe(
                    lambda train, method=method: erasers.apply(
                        removal_fit.fit(method, X[train], y[train], REMOVAL), X, y
                    ),
                    y,
                    sentence,
                )
            }
        )
    return rows


def main():
    """Run both, compare, print."""
    rng = np.random.default_rng(3)
    sentence, types, word, codes = story(rng)
    X = vectors(rng, sentence, types, codes)
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        maps = write_study(folder, X, sentence, word, codes)
        wall, cpu, table = job(folder, list(codes))
        print(table.drop(columns=["checkpoint", "step", "layer"]).to_string())
        print(f"the whole job: {wall:.0f} s wall clock on one core, {cpu:.0f} s CPU, {os.getloadavg()[0]:.1f} load")
        ours_wall, ours, share = job(folder, list(SHARE))
        start = time.process_time()
        X = X.astype(float)
        rows = [row for n in SHARE for row in plain_job(X, n, codes[n], sentence, word, maps)]
        theirs = time.process_time() - start
    plain = pd.DataFrame(rows).set_index(["removal", "property"])
    share = share.set_index(["removal", "property"]).loc[plain.index, plain.columns]
    apart = (plain - share).abs().max()
    print(f"{', '.join(SHARE)}: {ours:.0f} s CPU ({ours_wall:.0f} s wall clock), scikit-learn {theirs:.0f} s CPU")
    print("largest difference of an accuracy:", ", ".join(f"{k} {v:.4f}" for k, v in apart.items()))
    if apart.max() > 0.01:
        sys.exit(f"the answers differ:\n{plain}\n{share}")
    print(f"minutes={wall / 60:.2f} sklearn_ratio={theirs / ours:.2f}")


if __name__ == "__main__":
    main()
