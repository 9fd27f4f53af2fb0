"""From words to measurements: mean over the words of a TR, then delays within runs (METHOD section 2.3).

Delays are counted in TRs, forward in time: delay d pairs the response at TR t with the words of TR t−d. They
are taken on the untrimmed series, so that the first kept TRs of a run still see the words before them.
"""

from collections.abc import Sequence

import numpy as np


def word_means(vectors, trs, n_trs: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the word vectors of each TR.

    Parameters
    ----------
    vectors : array of shape (n_words, n_features)
    trs : array of int, shape (n_words,)
        TR of each word: an index into the untrimmed series of `n_trs`.

    Returns
    -------
    means : array of float64, shape (n_trs, n_features)
        Zero where a TR has no words.
    present : array of bool, shape (n_trs,)
        TRs that have words.
    """
    trs = np.asarray(trs)
    order = np.argsort(trs, kind="stable")
    filled, starts, counts = np.unique(trs[order], return_index=True, return_counts=True)
    means, present = np.zeros((n_trs, np.shape(vectors)[1])), np.zeros(n_trs, dtype=bool)
    if len(filled):
        sums = np.add.reduceat(np.asarray(vectors, dtype=np.float64)[order], starts, axis=0)
        means[filled] = sums / counts[:, None]
    present[filled] = True
    return means, present


def sources(runs, kept, delays: Sequence[int]) -> np.ndarray:
    """The TR whose words each kept TR is paired with, for each delay.

    Parameters
    ----------
    runs : array of shape (n_trs,)
        Run of each TR of the untrimmed series; the TRs of a run follow each other.
    kept : array of bool, shape (n_trs,), or of int, shape (n_kept,)
        Whether trimming leaves it; or the kept TRs, in any order.
    delays : sequence of int
        In TRs; negative delays pair a response with words that come after it.

    Returns
    -------
    array of int, shape (n_kept, n_delays)
        TR t−d, or −1 where that lies outside the run of t.
    """
    runs = np.asarray(runs)
    kept = np.asarray(kept)
    rows = np.flatnonzero(kept) if kept.dtype == bool else kept
    source = rows[:, None] - np.asarray(delays, dtype=int)
    within = source.clip(0, len(runs) - 1)
    same_run = (source == within) & (runs[within] == runs[rows][:, None])
    return np.where(same_run, source, -1)


def _with_zero_row(features) -> np.ndarray:
    # Index −1, "no such TR", then addresses the zeros.
    return np.concatenate([features, np.zeros((1, features.shape[1]))])


def delayed(features, source) -> np.ndarray:
    """Features of every kept TR at all delays: array of float64, shape (n_kept, n_delays * n_features).

    It holds delay after delay, with zeros where a delay leaves the run. `features`, (n_trs, n_features), are
    standardised and zero where a TR has no words; `source`, (n_kept, n_delays), comes from :func:`sources`.
    """
    return _with_zero_row(features)[source].reshape(len(source), -1)


def delayed_kernel(features, source) -> np.ndarray:
    """Linear kernel ``D Dᵀ``, (n_kept, n_kept) in float64, of the delayed features ``D = delayed(features, source)``.

    It is the sum over delays of the undelayed kernel read at shifted TRs, which saves a factor of about
    n_delays against the product of the delayed features.
    """
    padded = _with_zero_row(features)
    undelayed = padded @ padded.T
    kernel = np.zeros((len(source), len(source)))
    for column in source.T:
        kernel += undelayed[np.ix_(column, column)]
    return kernel
