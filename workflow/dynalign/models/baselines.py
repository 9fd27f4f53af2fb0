"""Representations that no training made: noise, noise per word type, and what any reader's brain follows.

They go through the same stages as a checkpoint and say how much of its alignment is worth remark (METHOD section 8).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dynalign.cli import command, run
from dynalign.config.encoding import CONTROLS
from dynalign.io.arrays import read_record
from dynalign.models.layers import write_layers
from dynalign.models.tokens import Tokens
from dynalign.stimulus.timing import read_words, rows_of_words


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


def controls(words, word_index: np.ndarray) -> np.ndarray:
    """The feature space `controls`: what a response may follow without any language model (METHOD section 8).

    `words` is ``story/words.tsv``; `word_index`, (n_represented,), are the words wanted, none of which is dropped.

    Returns
    -------
    array of float32, shape (n_represented, 5)
        In the order of :data:`dynalign.config.encoding.CONTROLS`: words in the TR (shown ones, dropped or not),
        characters, natural log of the type's share of the words seen by the model, words since the sentence began,
        seconds since the run's first word. Each column has mean 0 and variance 1; a constant one is 0.
    """
    import pandas as pd

    seen = words[words["dropped"] == 0]
    types = seen["word"].map(word_type)
    values = pd.DataFrame(
        {
            "word_rate": words.groupby("tr")["tr"].transform("size")[seen.index],
            "length": seen["word"].str.len(),
            "log_frequency": np.log(types.map(types.value_counts(normalize=True)).astype(float)),
            "position_in_sentence": seen.groupby("sentence").cumcount(),
            "position_in_run": seen["onset"] - words.groupby("run")["onset"].transform("min")[seen.index],
        }
    ).set_axis(seen["word_index"])
    chosen = values.loc[word_index, list(CONTROLS)].to_numpy(dtype=np.float64)
    centred = chosen - chosen.mean(axis=0)
    deviation = chosen.std(axis=0)
    # Rounding leaves a constant column a spread of about 1e-16 of its size.
    flat = deviation <= 1e-12 * np.abs(chosen).max(axis=0)
    return np.where(flat, 0, centred / np.where(flat, 1, deviation)).astype(np.float32)


@command
def main(kind: Literal["random", "random_types", "controls"], words: str, tokens: str, seed: int, output: str) -> None:
    """Make the vectors of a baseline, at every layer of the model (`controls` has one).

    Parameters
    ----------
    words, tokens, output
        ``story/words.tsv``, ``representation/tokens.npz``, and ``representation/{baseline}.safetensors`` to write.
    seed
        Of the noise.
    """
    story, table = read_record(tokens, Tokens), read_words(words)
    word_index = story.word_index[story.represented]
    seen = rows_of_words(table[table["dropped"] == 0], word_index, words)
    each = range(story.depth + 1)
    if kind == "controls":
        layers = [controls(table, word_index)]
    elif kind == "random":
        layers = [random_layer(len(word_index), story.hidden, layer, seed) for layer in each]
    else:
        types = [word_type(word) for word in seen["word"]]
        layers = [random_types_layer(types, story.hidden, layer, seed) for layer in each]
    write_layers(output, layers, story, kind)


if __name__ == "__main__":
    run(main)
