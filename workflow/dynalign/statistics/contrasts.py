"""Differences between checkpoints, and the step by which half of each rise is reached (METHOD section 8).

``python -m dynalign.statistics.contrasts`` takes the scores of a whole training: ``tables/contrasts.tsv``, and
``statistics/half_rises.tsv``, which goes into ``tables/emergence.tsv``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.shares import NUISANCE
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import ORIGINAL, PARTS, SHARES
from dynalign.io.arrays import read_arrays
from dynalign.io.errors import InputError
from dynalign.statistics import words as of_words
from dynalign.statistics.block_tests import block_means, largest_p, mean_effect, sample_of
from dynalign.statistics.effects import TESTED, scores_path
from dynalign.statistics.emergence import ZERO
from dynalign.statistics.half_rises import Curve, half_rise_rows, risen
from dynalign.statistics.shared import shared_rows
from dynalign.tables.collect import adjust
from dynalign.tables.writer import write_table

#: Where c(t) of a quantity stands: arm, array.
COURSES = {"alignment": (ORIGINAL, "timecourse"), "unique_alignment": ((SHARES, NUISANCE), "r_timecourse")}


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

    def blocks(self, places: Sequence[tuple[str, int]], subjects: Sequence[str]) -> np.ndarray:
        """Block means, shape (n_subjects, n_places, n_blocks); a place is a checkpoint and a layer."""
        return np.array([[self._read(*place, one) for place in places] for one in subjects])

    def _read(self, checkpoint: str, layer: int, subject: str) -> np.ndarray:
        place = {"checkpoint": checkpoint, "layer": layer, "subject": subject}
        path = scores_path(self.folder, place | dict(zip(("removal", "property"), self.arm, strict=True)))
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
    read_words: Callable[[np.ndarray], tuple[Curve, dict[str, dict[str, Curve]]]] | None = None,
) -> tuple[list[dict], list[dict]]:
    """Rows of contrasts and of half-rises, per layer and mean over layers, per subject and over subjects (``mean``).

    The parameters are those of :func:`main`; quantities are of :data:`COURSES`. A baseline is its mean over its layers.
    `read_words` gives, for the folds of c(t), the curve of minus log perplexity, and those of probes by layer and
    property; their half-rises are set against that of the subjects' mean alignment.
    """
    steps = sorted(steps)
    names = [f"step-{step}" for step in steps]
    readers = {quantity: Courses(folder, quantity, settings.block, shared) for quantity in quantities}
    levels = {}
    places = [(name, int(layer)) for name, _, layer in (place.rpartition("/layer-") for place in baselines)]
    for baseline in dict(places):
        own = [place for place in places if place[0] == baseline]
        levels[baseline] = readers["alignment"].blocks(own, subjects).mean(axis=1)
    curves = {quantity: {} for quantity in quantities}
    for layer in progress(layers, "layers read"):
        for quantity, reader in readers.items():
            curves[quantity][str(layer)] = reader.blocks([(name, layer) for name in names], subjects)
    for quantity, by_layer in curves.items():
        curves[quantity] = {"mean": np.mean(list(by_layer.values()), axis=0)} | by_layer
    fold = readers["alignment"].fold
    test, sample = (fold, settings, gap), sample_of(fold, settings, gap)
    log_perplexity, probes = read_words(fold) if read_words else (None, {})
    rows, rises = [], []
    for layer in progress(list(curves["alignment"]), "layers tested"):
        for who, chosen in [("mean", list(range(len(subjects)))), *((one, [k]) for k, one in enumerate(subjects))]:
            place = {"subject": who, "layer": layer}
            blocks = {quantity: curves[quantity][layer][chosen] for quantity in quantities}
            for quantity, values in blocks.items():
                known = {name: level[chosen].mean(axis=0) for name, level in levels.items()}
                if quantity != "alignment" or not known:
                    known = {ZERO: np.zeros(values.shape[-1])}
                for row in contrasts(values.mean(axis=0), names, known, test, seed):
                    rows.append({"quantity": quantity} | place | row)
            both = {(quantity, "original"): Curve(values, sample) for quantity, values in blocks.items()}
            rises += [row | place for row in half_rise_rows(steps, both, seed)]
        told = {("probing", name): curve for name, curve in probes.get(layer, {}).items()}
        aligned = Curve(curves["alignment"][layer], sample)
        reference = risen(np.log1p(steps), aligned, seed)
        rises += [row | {"subject": "", "layer": layer} for row in half_rise_rows(steps, told, seed, reference)]
        if layer == "mean" and log_perplexity is not None:
            told = {("perplexity", ""): log_perplexity}
            rises += [row | {"subject": "", "layer": ""} for row in half_rise_rows(steps, told, seed, reference)]
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
    words: str | None = None,
    representation: str | None = None,
    probing: str | None = None,
) -> None:
    """Scores of a whole training → ``tables/contrasts.tsv`` and the steps by which half of each rise is reached.

    Parameters
    ----------
    folder, steps, layers, subjects, gap
        ``encoding/``, which scores there, and ``encoding.gap``.
    output, half_rises
        Tables to write.
    baselines
        And their layers: ``<name>/layer-<layer>``.
    unique
        There are shares of variance with nuisance features.
    trs
        ``story/trs.tsv``; or ``story/{subject}.trs.tsv`` of each, where subjects have runs of their own: what they
        share is compared.
    words, representation, probing
        ``story/words.tsv`` (or those of the first subject), and the folders ``representation/`` and ``probing/``, for
        the half-rises of perplexity and of what probes read.
    """
    import pandas as pd

    quantities = list(COURSES) if unique else ["alignment"]
    shared = dict(zip(subjects, shared_rows(trs), strict=True)) if len(trs) > 1 else None
    names = [f"step-{step}" for step in sorted(steps)]

    def read_words(fold: np.ndarray):
        blocks = of_words.WordBlocks(words, trs[0], fold, options.block, shared[subjects[0]] if shared else None)
        by_layer = of_words.readability([of_words.right(probing, names, k) for k in layers], blocks, options.alpha)
        probes = {"mean": of_words.over_layers(by_layer)} | dict(zip(map(str, layers), by_layer, strict=True))
        bits, word_index = of_words.surprisal(representation, names)
        return blocks.curve(-bits, word_index, options.alpha), probes

    study = (folder, steps, layers, subjects, baselines, quantities, options, gap, seed, shared)
    rows, rises = training_tables(*study, read_words if words else None)
    write_table(adjust(pd.DataFrame(rows), options.alpha), output)
    write_table(pd.DataFrame(rises), half_rises)
    note(f"{len(rows)} contrasts")


if __name__ == "__main__":
    run(main)
