"""Removals fitted in each outer fold, whose inner folds share them, on words that its test rows never see.

METHOD section 5 says why: an eraser fitted on all words invents effects.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from dynalign.config.removal import Removal
from dynalign.encoding.arms import Design, LowRank
from dynalign.encoding.delays import word_means
from dynalign.io.errors import InputError
from dynalign.removal.erasers import design, low_rank
from dynalign.removal.fit import fit
from dynalign.removal.leace import Whitening, erase, whiten

#: A removal as an encoding job applies it: from the TRs that a fold may learn from to the change of all words.
Arm = Callable[[np.ndarray], LowRank]


def training_trs(where: Design, train, test) -> np.ndarray:
    """TRs whose words feed rows `train` and no row `test` of an outer fold: array of bool, shape (n_trs,)."""
    found = np.zeros(where.n_trs, dtype=bool)
    for rows, value in ((train, True), (test, False)):
        source = where.source[rows]
        found[source[source >= 0]] = value
    return found


class Crossfit:
    """Makes arms of one layer's removals; what the properties of a fold share is computed once.

    `vectors` have the shape (n_words, hidden); `runs`, (n_trs,), are those of the untrimmed series.
    """

    def __init__(self, vectors, where: Design, runs, removal: Removal):
        self.vectors = np.asarray(vectors, dtype=np.float64)
        self.where, self.runs, self.removal = where, np.asarray(runs), removal
        self._kept: dict[tuple, Whitening] = {}

    def word_level(self, method: str, codes) -> Arm:
        """Erase class codes, of shape (n_words,) (NaN: no label), from the words' vectors: ``ridge`` or ``leace``."""
        codes = np.asarray(codes, dtype=float)

        def arm(trs: np.ndarray) -> LowRank:
            rows = trs[self.where.word_trs] & np.isfinite(codes)
            if len(np.unique(codes[rows])) < 2:
                raise InputError("one class only among the words of an outer fold; ask for fewer folds")
            whitening = partial(self._whitening, ("words", rows.tobytes()))
            eraser = fit(method, self.vectors[rows], codes[rows], self.removal, whitening)
            return low_rank(eraser, self.vectors, codes)

        return arm

    def tr_level(self, codes) -> Arm:
        """Erase the property from what the encoder sees: TR means, at all lags between two of its delays.

        LEACE on the mean vectors of the training TRs against the one-hot means of the TRs around them. The covariance
        is shrunken towards a multiple of the identity, by as much as its number of rows asks for.
        """
        codes = np.asarray(codes, dtype=float)
        labelled = np.isfinite(codes)
        one_hot = design(codes[labelled], "onehot")[:, 1:]
        regressors, told = word_means(one_hot, self.where.word_trs[labelled], self.where.n_trs)
        means, present = word_means(self.vectors, self.where.word_trs, self.where.n_trs)

        def arm(trs: np.ndarray) -> LowRank:
            rows = np.flatnonzero(trs & present)
            centre = regressors[trs & told].mean(axis=0)
            columns = []
            for lag in self.where.lags:
                other = rows + lag
                inside = other.clip(0, len(trs) - 1)
                known = (other == inside) & (self.runs[inside] == self.runs[rows]) & trs[inside] & told[inside]
                columns.append(np.where(known[:, None], regressors[inside] - centre, 0))
            whitening = self._whitening(("trs", rows.tobytes()), means[rows], shrink=True)
            eraser = erase(means[rows], np.concatenate(columns, axis=1), codes[labelled], whitening)
            return low_rank(eraser, self.vectors, codes)

        return arm

    def _whitening(self, key: tuple, X, shrink: bool = False) -> Whitening:
        """Of some words or TRs; kept for the next properties, and forgotten with the fold."""
        if key not in self._kept:
            self._kept = {known: value for known, value in self._kept.items() if known[0] != key[0]}
            self._kept[key] = whiten(X, shrink)
        return self._kept[key]
