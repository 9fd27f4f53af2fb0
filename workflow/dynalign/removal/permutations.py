"""Labels that have nothing to do with the vectors, with the sizes and runs of the true ones (METHOD section 6)."""

import numpy as np


def is_sentence_level(y: np.ndarray, sentence: np.ndarray) -> bool:
    """Whether all words of every sentence share their label."""
    _, first, unit = np.unique(sentence, return_index=True, return_inverse=True)
    return bool((y == y[first][unit]).all())


def allotted(y: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random class for each unit (a sentence, a word type), with the class sizes of `y`; both of shape (n_words,).

    The units are laid end to end in random order, and the line of words is cut where the classes of `y` end;
    a unit gets the class at its middle. So a class keeps its number of words to within one unit.
    """
    _, unit, length = np.unique(unit, return_inverse=True, return_counts=True)
    classes, sizes = np.unique(y, return_counts=True)
    order = rng.permutation(len(length))
    middle = np.cumsum(length[order]) - length[order] / 2
    label = np.empty(len(length), dtype=classes.dtype)
    label[order] = classes[np.searchsorted(np.cumsum(sizes), middle, side="right")]
    return label[unit]


def permuted(y: np.ndarray, sentence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels that have nothing to do with the vectors, permuted by sentence; all of shape (n_words,).

    Word-level labels: the sentences' blocks of labels in random order, so that runs of labels stay as they
    are. Sentence-level labels: random classes of whole sentences with the class sizes of `y` in words.
    (Exchanging labels between sentences of unequal lengths would change those sizes, and chance with them:
    sentence length itself is a property.)
    """
    if is_sentence_level(y, sentence):
        return allotted(y, sentence, rng)
    blocks = np.split(y, 1 + np.flatnonzero(sentence[1:] != sentence[:-1]))
    return np.concatenate([blocks[position] for position in rng.permutation(len(blocks))])
