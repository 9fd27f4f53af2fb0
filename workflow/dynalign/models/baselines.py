"""Representations that no training made: noise, noise per word type, and what any reader's brain follows.

They go through the same stages as a checkpoint and say how much of its alignment is worth remark (METHOD section 8).
"""

from collections.abc import Sequence

import numpy as np

from dynalign.cli import command, run
from dynalign.io.arrays import read_record
from dynalign.io.errors import InputError
from dynalign.models.layers import write_layers
from dynalign.models.tokens import Tokens
from dynalign.stimulus.features import Features, at_words, constant, control_values, own_values
from dynalign.stimulus.timing import read_trs, read_words, rows_of_words, whole_stories


def random_layer(n_words: int, hidden: int, layer: int, seed: int) -> np.ndarray:
    """One layer of `random`: standard normal float32, (n_words, hidden), independent of the text (METHOD section 1).

    Each layer has its own generator, so that it does not depend on the number of layers.
    """
    return np.random.default_rng([seed, layer]).standard_normal((n_words, hidden), dtype=np.float32)


def word_type(word: str) -> str:
    """A word without case and without marks at its ends; a word that is all marks is its own type."""
    inner = [k for k, mark in enumerate(word) if mark.isalnum()]
    return word[inner[0] : inner[-1] + 1].casefold() if inner else word


def random_types_layer(types: Sequence[str], hidden: int, layer: int, seed: int) -> np.ndarray:
    """One layer of `random_types`: one standard normal vector per type, (n_words, hidden) (METHOD section 8).

    It keeps which word is which, and nothing of what words mean or where they stand.
    """
    _, number = np.unique(np.asarray(types, dtype=object).astype(str), return_inverse=True)
    # The third number keeps this generator apart from that of `random`.
    vectors = np.random.default_rng([seed, layer, 1]).standard_normal((number.max() + 1, hidden), dtype=np.float32)
    return vectors[number]


def standardised(values) -> np.ndarray:
    """A feature space of a data frame: float32, (n_words, n_columns), with mean 0 and variance 1 over words.

    A word without a value gets the mean, a column that never changes is 0.
    """
    chosen = values.fillna(values.mean()).to_numpy(dtype=np.float64)
    flat = constant(chosen)
    return np.where(flat, 0, (chosen - chosen.mean(axis=0)) / np.where(flat, 1, chosen.std(axis=0))).astype(np.float32)


@command
def main(
    kind: str,
    words: str,
    tokens: str,
    output: str,
    trs: str | None = None,
    tr: float | None = None,
    features: Features = Features({}),
    language: str = "en",
    seed: int = 0,
) -> None:
    """Make the vectors of a baseline, at every layer of the model (`controls` and own features have one).

    Parameters
    ----------
    kind
        ``random``, ``random_types``, ``controls``, or the name of one of `features`.
    words, trs, tokens, output
        ``story/words.tsv``, ``story/trs.tsv``, ``representation/tokens.npz``, and
        ``representation/{baseline}.safetensors`` to write.
    tr
        In s, of `controls` and own features where subjects have runs of their own, and so no `trs`: time is that of one
        who hears each story whole, in TRs of this length.
    language, seed
        Of the words, for `controls`; of the noise.
    """
    story, table = read_record(tokens, Tokens), read_words(words)
    series = None
    if tr is not None:
        table, series = whole_stories(table, tr)
    elif trs is not None:
        series = read_trs(trs)
    word_index = story.word_index[story.represented]
    seen = rows_of_words(table[table["dropped"] == 0], word_index, words)
    each = range(story.depth + 1)
    if kind == "controls":
        layers = [standardised(control_values(table, language).loc[word_index])]
    elif kind in features.root:
        values = own_values(kind, features.root[kind], table, series)
        layers = [standardised(at_words(values, table, word_index))]
    elif kind == "random":
        layers = [random_layer(len(word_index), story.hidden, layer, seed) for layer in each]
    elif kind == "random_types":
        types = [word_type(word) for word in seen["word"]]
        layers = [random_types_layer(types, story.hidden, layer, seed) for layer in each]
    else:
        raise InputError(f"no baseline {kind!r}")
    write_layers(output, layers, story, kind)


if __name__ == "__main__":
    run(main)
