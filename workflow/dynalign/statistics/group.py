"""Effects of removal over subjects: ``python -m dynalign.statistics.group cells`` and ``collect``."""

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.statistics import Statistics
from dynalign.statistics.block_tests import block_means, block_test, corrected_t
from dynalign.statistics.effects import CELL, TESTED, reader, removals
from dynalign.statistics.shared import shared_rows
from dynalign.tables.collect import collect as stacked
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def group_row(differences: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal over subjects: in these subjects, and in other listeners.

    Time courses are averaged TR by TR: the test of the average (``p``) asks for these subjects, with other text and
    noise. The t-test over subjects' means (``p_other_subjects_same_text``, n − 1 degrees of freedom) asks for other
    listeners of this text, and cannot see what chance in the text does to all alike (METHOD section 8).

    Parameters
    ----------
    differences : array of shape (n_subjects, n_trs)
        Residual minus original, c(t) of each subject; of one subject, the columns of other subjects are NaN.
    fold, settings, gap
        As :func:`dynalign.statistics.block_tests.block_test`.
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
    trs: tuple[str, ...] = (),
) -> None:
    """Scores of one checkpoint and all subjects → effects over subjects.

    The options are those of `dynalign.statistics.effects`, with several subjects. `trs`: ``story/{subject}.trs.tsv`` of
    each where they have runs of their own; then what they share is tested.
    """
    import pandas as pd

    shared = shared_rows(trs) if len(trs) > 1 else None
    rows = []
    for layer in progress(layers, f"{checkpoint}, all subjects: layers"):
        cell = {"checkpoint": checkpoint, "step": step, "layer": layer}
        for arm, residuals, effects, beside in removals(reader(folder, cell, subjects, shared), arms, options, gap):
            rows.append(cell | arm | group_row(effects, residuals[0].fold, options, gap) | beside)
    write_table(pd.DataFrame(rows), output)
    note(f"{len(rows)} effects over {len(subjects)} subjects")


def collect(tables: list[str], effects: str, fdr: float, output: str, models: tuple[str, ...] = ()) -> None:
    """Stack the checkpoints' tables, adjust p (level `fdr`), and count the subjects in whom an effect is significant.

    The counts (``n_significant``) come from `effects`, ``tables/removal_effects.tsv``. `models`: names, one for each
    table, where these are ``tables/removal_effects_group.tsv`` of several models, and `effects` has all.
    """
    single = read_table(effects, kind="removal_effects")
    # A baseline has no step, and missing values would not meet in a join.
    key = [*["model"] * bool(models), *(name for name in CELL if name != "step")]
    counts = single.groupby(key)["significant"].sum().rename("n_significant").reset_index()
    stack = stacked(tables, fdr, models).drop(columns="n_significant", errors="ignore")
    write_table(stack.merge(counts, on=key, how="left", validate="one_to_one"), output)


main = commands(cells, collect)

if __name__ == "__main__":
    run(main)
