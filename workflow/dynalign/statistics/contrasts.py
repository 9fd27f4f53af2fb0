"""Differences between checkpoints, and the step by which half of a rise is reached (METHOD section 8).

``python -m dynalign.statistics.contrasts`` takes the scores of a whole training: ``tables/contrasts.tsv``, and
``statistics/half_rises.tsv``, which goes into ``tables/emergence.tsv``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.shares import NUISANCE
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import ORIGINAL, PARTS, SHARES
from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import RESAMPLES, block_means, largest_p, mean_effect, mean_test, resampled
from dynalign.statistics.effects import TESTED
from dynalign.statistics.emergence import ZERO
from dynalign.statistics.shared import shared_rows
from dynalign.tables.collect import adjust
from dynalign.tables.writer import write_table

#: Where c(t) of a quantity stands: file, array.
COURSES = {
    "alignment": (".".join(ORIGINAL), "timecourse"),
    "unique_alignment": (f"{SHARES}.{NUISANCE}", "r_timecourse"),
}


#: ``fold``, ``settings`` and ``gap`` of :func:`dynalign.statistics.block_tests.mean_test`.
Test = tuple[np.ndarray, Statistics, int]


class Courses:
    """Reads time courses of `quantity` from `folder` (``encoding/``) as means over blocks of `size` TRs.

    ``fold``, of shape (n_trs,), is that of the first read; an InputError says whose rows or folds are others. `rows`,
    of each subject: what all share (:func:`dynalign.statistics.shared.shared_rows`), where they have runs of their own.
    """

    def __init__(self, folder: str | Path, quantity: str, size: int, rows: Mapping[str, np.ndarray] | None = None):
        self.folder, self.size, self.rows = Path(folder), size, rows
        self.arm, self.array = COURSES[quantity]
        self.fold: np.ndarray | None = None

    def blocks(self, places: Sequence[str], subjects: Sequence[str]) -> np.ndarray:
        """Block means, shape (n_subjects, n_places, n_blocks); places are ``<checkpoint>/layer-<layer>``."""
        return np.array(
            [[self._read(self.folder / place / one / f"{self.arm}.npz", one) for place in places] for one in subjects]
        )

    def _read(self, path: Path, subject: str) -> np.ndarray:
        found = read_arrays(path, [self.array, "fold"])
        shared = slice(None) if self.rows is None else self.rows[subject]
        if self.fold is None:
            self.fold, self.first = found["fold"][shared], path
        elif self.rows is None and not np.array_equal(found["fold"], self.fold):
            raise InputError(f"{path}: other rows or folds than {self.first}; encode both again")
        course = found[self.array][..., shared]
        course = course if course.ndim == 1 else course[PARTS.index("unique_model")]
        return block_means(course, self.fold, self.size)[0]


def contrasts(
    blocks: np.ndarray, names: Sequence[str], references: Mapping[str, np.ndarray], test: Test, seed: int
) -> Iterator[dict]:
    """Each checkpoint against the one before it, the first one, and each of the references.

    Parameters
    ----------
    blocks : array of shape (n_checkpoints, n_blocks)
        Block means of c(t), checkpoints in order of training.
    names : sequence of str
        Of the checkpoints.
    references : mapping of str to array of shape (n_blocks,)
    test : Test
    seed : int

    Yields
    ------
    dict
        A row of ``tables/contrasts.tsv`` without what p becomes over the whole table.
    """
    level = test[1].alpha
    pairs = [("previous", list(names[1:]), list(names[:-1]), blocks[1:] - blocks[:-1])]
    for name, reference in ({names[0]: blocks[0]} | dict(references)).items():
        others = [k for k, checkpoint in enumerate(names) if checkpoint != name]
        pairs.append(("reference", [names[k] for k in others], [name] * len(others), blocks[others] - reference))
    for comparison, checkpoints, against, differences in pairs:
        if not checkpoints:
            continue
        tested = mean_effect(differences.T, *test)
        largest = largest_p(differences.T, *test, seed) if comparison == "reference" else None
        for k, pair in enumerate(zip(checkpoints, against, strict=True)):
            yield (
                {"checkpoint": pair[0], "comparison": comparison, "reference": pair[1]}
                | {"mean_difference": tested["mean"][k]}
                | {name: tested[name][k] for name in (*TESTED, "p")}
                | {"p_largest": np.nan if largest is None else largest[k]}
                | {"clears": np.nan if largest is None else int(largest[k] < level)}
            )


def half_rise(places: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Where a rising fit of each curve passes midway between its first and its last value; NaN if it does not rise.

    The fit is the isotonic one (least squares), linear between checkpoints. `places`, (n_checkpoints,), rise; `curves`
    have the shape (n, n_checkpoints); returned is (n,).
    """
    from scipy.optimize import isotonic_regression

    fits = np.array([isotonic_regression(curve).x for curve in curves])
    middle = (fits[:, 0] + fits[:, -1]) / 2
    after = np.clip((fits < middle[:, None]).sum(axis=1), 1, len(places) - 1)
    low, high = (np.take_along_axis(fits, k[:, None], axis=1)[:, 0] for k in (after - 1, after))
    found = np.full(len(fits), np.nan)
    np.divide(middle - low, high - low, out=found, where=fits[:, -1] > fits[:, 0])
    return places[after - 1] + found * (places[after] - places[after - 1])


def risen(places: np.ndarray, blocks: np.ndarray, test: Test, seed: int) -> np.ndarray:
    """The half-rise of the subjects' mean curve, then those with blocks and subjects drawn anew: ``(1 + RESAMPLES,)``.

    All are NaN where the last checkpoint is not above the first by a paired test. `blocks` have the shape (n_subjects,
    n_checkpoints, n_blocks); `places` are as for :func:`half_rise`, the others as for :func:`contrasts`.
    """
    mean = blocks.mean(axis=0)
    rise = mean_test(mean[-1] - mean[0], *test)
    if not (rise["p"] < test[1].alpha and rise["mean"] > 0):
        return np.full(1 + RESAMPLES, np.nan)
    weights = block_means(np.zeros(len(test[0])), test[0], test[1].block)[1]
    return half_rise(places, np.vstack([mean @ weights, resampled(blocks, *test, seed)]))


def bounds(values: np.ndarray, level: float) -> list[float]:
    """The estimate that is the first of `values`, and the interval of the others, which covers 1 − `level`."""
    others = values[1:][np.isfinite(values[1:])]
    return [values[0], *(np.quantile(others, [level / 2, 1 - level / 2]) if len(others) else [np.nan, np.nan])]


def half_rise_rows(steps: Sequence[int], blocks: Mapping[str, np.ndarray], test: Test, seed: int) -> Iterator[dict]:
    """The half-rise of each quantity, and how that of another compares with that of alignment.

    `blocks` are the quantities' block means of the same subjects, checkpoints and rows, the alignment's first; they are
    drawn anew together. `test` and `seed` are as for :func:`contrasts`.
    """
    first = None
    for quantity, values in blocks.items():
        found = risen(np.log1p(steps), values, test, seed)
        later = np.full_like(found, np.nan) if first is None else found - first
        first = found if first is None else first
        names = ("half_rise_step", "half_rise_low", "half_rise_high")
        ratios = ("half_rise_ratio", "half_rise_ratio_low", "half_rise_ratio_high")
        row = dict(zip(names, np.expm1(bounds(found, test[1].alpha)), strict=True))
        yield {"quantity": quantity} | row | dict(zip(ratios, np.exp(bounds(later, test[1].alpha)), strict=True))


def training_tables(
    folder: str | Path,
    steps: Sequence[int],
    layers: Sequence[int],
    subjects: Sequence[str],
    baselines: Sequence[str],
    quantities: Sequence[str],
    settings: Statistics,
    gap: int,
    seed: int,
    shared: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[dict], list[dict]]:
    """Rows of contrasts and of half-rises, per layer and mean over layers, per subject and over subjects (``mean``).

    The parameters are those of :func:`main`; quantities are of :data:`COURSES`. A baseline is its mean over its layers.
    """
    steps = sorted(steps)
    names = [f"step-{step}" for step in steps]
    readers = {quantity: Courses(folder, quantity, settings.block, shared) for quantity in quantities}
    levels = {}
    for baseline in dict.fromkeys(place.partition("/")[0] for place in baselines):
        own = [place for place in baselines if place.partition("/")[0] == baseline]
        levels[baseline] = readers["alignment"].blocks(own, subjects).mean(axis=1)
    curves = {quantity: {} for quantity in quantities}
    for layer in progress(layers, "layers read"):
        for quantity, reader in readers.items():
            curves[quantity][str(layer)] = reader.blocks([f"{name}/layer-{layer}" for name in names], subjects)
    for quantity, by_layer in curves.items():
        curves[quantity] = {"mean": np.mean(list(by_layer.values()), axis=0)} | by_layer
    rows, rises = [], []
    for layer in progress(list(curves["alignment"]), "layers tested"):
        for who, chosen in [("mean", list(range(len(subjects)))), *((one, [k]) for k, one in enumerate(subjects))]:
            place = {"subject": who, "layer": layer}
            blocks = {quantity: curves[quantity][layer][chosen] for quantity in quantities}
            test = (readers["alignment"].fold, settings, gap)
            for quantity, values in blocks.items():
                known = {name: level[chosen].mean(axis=0) for name, level in levels.items()}
                if quantity != "alignment" or not known:
                    known = {ZERO: np.zeros(values.shape[-1])}
                for row in contrasts(values.mean(axis=0), names, known, test, seed):
                    rows.append({"quantity": quantity} | place | row)
            rises += [row | place for row in half_rise_rows(steps, blocks, test, seed)]
    at = dict(zip(names, steps, strict=True))
    return [row | {"step": at[row["checkpoint"]]} for row in rows], rises


@command
def main(
    folder: str,
    steps: list[int],
    layers: list[int],
    subjects: list[str],
    gap: int,
    output: str,
    half_rises: str,
    baselines: tuple[str, ...] = (),
    unique: bool = False,
    seed: int = 0,
    options: Statistics = Statistics(),
    trs: tuple[str, ...] = (),
) -> None:
    """Scores of a whole training → ``tables/contrasts.tsv`` and the steps by which half of each rise is reached.

    Parameters
    ----------
    folder, steps, layers, subjects, gap
        ``encoding/``, which scores there, and ``encoding.gap``.
    output, half_rises
        Tables to write.
    baselines
        Places of scores of baselines: ``<name>/layer-<layer>``.
    unique
        There are shares of variance with nuisance features.
    trs
        ``story/{subject}.trs.tsv`` of each, where subjects have runs of their own: what they share is compared.
    """
    import pandas as pd

    quantities = list(COURSES) if unique else ["alignment"]
    shared = dict(zip(subjects, shared_rows(trs), strict=True)) if len(trs) > 1 else None
    rows, rises = training_tables(folder, steps, layers, subjects, baselines, quantities, options, gap, seed, shared)
    write_table(adjust(pd.DataFrame(rows), options.alpha), output)
    write_table(pd.DataFrame(rises), half_rises)
    note(f"{len(rows)} contrasts")


if __name__ == "__main__":
    run(main)
