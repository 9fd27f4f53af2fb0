"""Effects of removal over subjects: ``python -m dynalign.statistics.group cells`` and ``collect``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import ORIGINAL, read_scores
from dynalign.io.errors import InputError
from dynalign.statistics.block_tests import block_means, block_test, corrected_t
from dynalign.statistics.cells import CELL, scores_path
from dynalign.statistics.effects import CONTROL, TESTED, difference, over_control, readable
from dynalign.tables.collect import collect as stacked
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def group_row(differences: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal over subjects: in these subjects, and in other listeners.

    Subjects took in the same story, so their time courses share what the features do by chance: they are averaged
    TR by TR, and the calibrated test of the average (``p``) says whether the effect on the mean of THESE subjects
    would be found with other text and other noise. Whether it would be found in OTHER listeners of this same text is
    a question for a t-test over the subjects' means (``p_other_subjects_same_text``, n − 1 degrees of freedom: 2 for
    three subjects, a critical t of 4.3). It cannot see what chance in the text does to all of them alike.

    Parameters
    ----------
    differences : array of shape (n_subjects, n_trs)
        Residual minus original, c(t) of each subject.
    fold, settings, gap
        As :func:`dynalign.statistics.block_tests.block_test`.

    Returns
    -------
    dict
        The columns of other subjects are NaN for one subject.
    """
    test = block_test(differences.mean(axis=0), fold, settings, gap)
    row = {"n_subjects": len(differences), "mean_difference": test["mean"]} | {name: test[name] for name in TESTED}
    others = dict.fromkeys(("p", "ci_low", "ci_high"), np.nan)
    if len(differences) > 1:
        parts = [block_means(one, fold, settings.block) for one in differences]
        others = corrected_t(np.array([weights @ means for means, weights in parts]), 0.0, settings.alpha)
    return row | {
        "p": test["p"],
        "p_other_subjects_same_text": others["p"],
        "ci_low_other_subjects": others["ci_low"],
        "ci_high_other_subjects": others["ci_high"],
    }


def group_table(
    folder: str,
    place: dict,
    subjects: Sequence[str],
    layers: Sequence[int],
    arms: Sequence[str],
    settings: Statistics,
    gap: int,
):
    """Effects over subjects of one checkpoint.

    Parameters
    ----------
    place : dict
        ``checkpoint``, ``step``.
    subjects : sequence of str
    folder, layers, arms, settings, gap
        As :func:`dynalign.statistics.effects.subject_tables`.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If subjects' scores have other rows or folds.
    """
    import pandas as pd

    named = [(removal, name) for removal, _, name in (arm.partition(".") for arm in arms)]
    properties = list(dict.fromkeys(name for removal, name in named if removal != "none"))
    rows = []
    for layer in progress(layers, f"{place['checkpoint']}, all subjects: layers"):

        def paths(removal: str, name: str, layer=layer) -> list:
            return [scores_path(folder, place["checkpoint"], layer, subject, removal, name) for subject in subjects]

        originals = [read_scores(path) for path in paths(*ORIGINAL)]
        fold = originals[0].fold
        for path, scores in zip(paths(*ORIGINAL), originals, strict=True):
            if not np.array_equal(scores.fold, fold):
                raise InputError(f"{path}: other rows or folds than {paths(*ORIGINAL)[0]}; encode both again")
        for removal, name in named:
            if removal != "none" and not removal.endswith(CONTROL):
                residuals = [read_scores(path) for path in paths(removal, name)]
                pairs = list(zip(residuals, originals, strict=True))
                courses = np.array([difference(*pair) for pair in pairs])
                control = None
                if (removal + CONTROL, name) in named:
                    controls = [read_scores(path) for path in paths(removal + CONTROL, name)]
                    control = np.mean([difference(*pair) for pair in zip(controls, originals, strict=True)], axis=0)
                read = [readable(*pair, properties.index(name)) for pair in pairs]
                cell = place | {"layer": layer, "removal": removal, "property": name}
                rows.append(
                    cell
                    | group_row(courses, fold, settings, gap)
                    | {key: float(np.mean([one[key] for one in read])) for key in read[0]}
                    | over_control(courses.mean(axis=0), control, fold, settings, gap)
                )
    return pd.DataFrame(rows)


def cells(
    checkpoint: str,
    subjects: list[str],
    folder: str,
    layers: list[int],
    arms: list[str],
    gap: int,
    output: str,
    step: str = "",
    options: Statistics = Statistics(),
) -> None:
    """Scores of one checkpoint and all subjects → effects over subjects.

    The options are those of `dynalign.statistics.effects`, with several subjects.
    """
    place = {"checkpoint": checkpoint, "step": step}
    table = group_table(folder, place, subjects, layers, arms, options, gap)
    write_table(table, output)
    note(f"{len(table)} effects over {len(subjects)} subjects")


def collect(tables: list[str], effects: str, fdr: float, output: str) -> None:
    """Stack the checkpoints' tables, adjust p (level `fdr`), and count the subjects in whom an effect is significant.

    The counts (``n_significant``) come from `effects`, ``tables/removal_effects.tsv``.
    """
    single = read_table(effects, kind="removal_effects")
    # A baseline has no step, and missing values would not meet in a join.
    key = [name for name in CELL if name != "step"]
    counts = single.groupby(key)["significant"].sum().rename("n_significant").reset_index()
    table = stacked(tables, fdr)
    write_table(table.merge(counts, on=key, how="left", validate="one_to_one"), output)


main = commands(cells, collect)

if __name__ == "__main__":
    run(main)
