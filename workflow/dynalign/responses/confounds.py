"""Confounds of a subject's runs: what is taken out of the responses together with slow drift (METHOD section 2.2)."""

from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dynalign.cli import note
from dynalign.config.brain import Brain, Confounds
from dynalign.io.errors import InputError, located
from dynalign.tables.reader import finite_numbers, read_table


@dataclass(frozen=True)
class Regressors:
    """Confounds of a run."""

    source: str
    names: list[str]
    #: (n_rows, n_confounds), and whether each volume is in steady state and not scrubbed, (n_rows,): others have no
    #: part in the fit.
    columns: np.ndarray
    steady: np.ndarray


def read_confounds(brain: Brain, subject: str, run: int, kept: np.ndarray) -> tuple[Regressors, np.ndarray]:
    """Read the confounds of one run, and the TR in the run of each row: all, or those that trimming leaves.

    `kept`, (n_trs,), says which TRs of the run trimming leaves. Columns are taken by name, or as
    :func:`nilearn.interfaces.fmriprep.load_confounds` chooses them. As there, a value that lacks in the first row,
    where derivatives have none, is that of the second. InputError: the table is missing or not whole, lacks a column,
    has a cell that is no number or another length; trimming leaves a volume that is not in steady state.
    """
    options, path = brain.confounds, brain.confounds_file(subject, run)
    table = read_table(path, options.columns)
    if len(table) not in (len(kept), kept.sum()):
        raise InputError(
            f"{path}: {len(table)} rows, but run {run} has {len(kept)} TRs, {kept.sum()} after story.trim; "
            "a table of confounds has a row for each volume"
        )
    trs = np.arange(len(kept)) if len(table) == len(kept) else np.flatnonzero(kept)
    chosen, steady = _by_strategy(path, options) if options.strategy else (table, np.ones(len(table), dtype=bool))
    names = [str(name) for name in (chosen.columns if options.strategy else options.columns)]
    columns = []
    for name in names:
        column = chosen[[name]].astype(object)
        if len(column) > 1 and str(column[name].iloc[0]) in ("n/a", "nan", ""):
            column.loc[0, name] = column.loc[1, name]
        with located(path):
            columns.append(finite_numbers(column, name, "fill it, or leave the column out"))
    if (late := trs[~steady & kept[trs]]).size:
        raise InputError(
            f"{path}: volume {late[-1]} is marked as not in steady state, but story.trim leaves it; set "
            f"story.trim.start to {late[-1] + 1} or more"
        )
    return Regressors(path, names, np.column_stack(columns), steady), trs


def left_out(brain: Brain, subject: str, run: int, n_trs: int) -> np.ndarray:
    """Volumes of a run of `n_trs` that ``brain.confounds`` leaves out for motion, or before the steady state: bool.

    InputError: as for :func:`read_confounds`.
    """
    path = brain.confounds_file(subject, run)
    if len(table := read_table(path)) != n_trs:
        raise InputError(f"{path}: {len(table)} rows, but run {run} has {n_trs} volumes; it needs a row for each")
    return ~_by_strategy(path, brain.confounds)[1]


def _by_strategy(path: str, options: Confounds) -> tuple:
    """The data frame of a strategy's confounds, and which volumes are in steady state."""
    from nilearn.interfaces.fmriprep import load_confounds

    parameters = options.model_dump(exclude={"files", "columns", "strategy"})
    table = Path(path).absolute()
    # nilearn looks for the table beside an image, by its name alone; here it may lie and be called as it likes.
    with TemporaryDirectory() as folder, chdir(folder):
        for file in (table, table.with_suffix(".json")):
            if file.exists():
                Path(f"sub-1_desc-confounds_timeseries{file.suffix}").symlink_to(file)
        try:
            chosen, used = load_confounds(
                "sub-1_desc-preproc_bold.nii.gz", strategy=options.strategy, demean=False, **parameters
            )
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{path}: not all that brain.confounds.strategy asks for is there: {' '.join(str(error).split())}"
            ) from None
    if "high_pass" in options.strategy and not any("cosine" in name for name in chosen):
        raise InputError(
            f"{path}: brain.confounds.strategy has `high_pass`, but there are no columns cosine00, …; take drift out "
            "with brain.detrend: cosine instead"
        )
    steady = np.ones(len(chosen), dtype=bool)
    if used is not None:
        steady[np.setdiff1d(np.arange(len(chosen)), used)] = False
    return chosen, steady


def read_runs(
    brain: Brain, subject: str, runs: np.ndarray, kept: np.ndarray, rows: np.ndarray
) -> Mapping[int, Regressors]:
    """Confounds of every run, for the rows of its responses.

    `runs` and `kept`, (n_trs,), are each TR's run and whether trimming leaves it; `rows`, (n_rows,), the TR of each
    row of responses. InputError: as for :func:`read_confounds`, or a run has other volumes than its table rows.
    """
    found = {}
    for name in dict.fromkeys(runs.tolist()):
        whole = np.flatnonzero(runs == name)
        confounds, trs = read_confounds(brain, subject, name, kept[whole])
        wanted = rows[runs[rows] == name] - whole[0]
        if not np.isin(wanted, trs).all():
            raise InputError(
                f"{confounds.source}: {len(trs)} rows, but the image of run {name} has {len(wanted)} volumes; a table "
                "of confounds has a row for each volume"
            )
        inside = np.isin(trs, wanted)
        found[name] = Regressors(confounds.source, confounds.names, confounds.columns[inside], confounds.steady[inside])
        shown = ", ".join(confounds.names[:6] + ["…"] * (len(confounds.names) > 6))
        unsteady = int((~confounds.steady[inside]).sum())
        why = "not in steady state or scrubbed" if "scrub" in brain.confounds.strategy else "not in steady state"
        without = f"; {unsteady} volumes {why} have no part in it" if unsteady else ""
        note(f"{confounds.source}: {len(confounds.names)} confounds are taken out ({shown}){without}")
    return found
