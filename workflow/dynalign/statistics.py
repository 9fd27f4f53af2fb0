"""Alignment, effects of removal, and what holds over training (METHOD section 8).

The headline test and all intervals rest on c(t), the time course whose mean is a cell's alignment, or on the
difference of two arms' c(t). Its mean over blocks of TRs has two sources of error:

- The test rows are a sample. Its noise falls with their number; means over blocks longer than the autocorrelation are
  nearly independent, and there are many of them.
- So are the training rows, which the models of the folds share. Besides, rows change places between folds: what rows s
  and t have in common by chance enters once where s trains and t tests, and once more where t trains and s tests. The
  scatter of the test rows counts the two as independent, though they are one. Where learning noise prevails (weak
  signals, many features, as in fMRI) the variance of the mean is twice what the blocks say and a little more; where
  the fitted models are nearly the true ones, once.

Nadeau & Bengio's correction multiplies the variance by 1 + n/n_train for n rows in all: 2.27 for five folds with a gap.
Taken over folds it leaves 4 degrees of freedom, over blocks some dozens. ``tests/benchmarks/calibration.py`` shows
rejections and power.
"""

from __future__ import annotations

import argparse

import numpy as np

from dynalign import folds
from dynalign.cli import note, options, progress, run
from dynalign.config import Statistics
from dynalign.encoding import Scores, read_scores
from dynalign.files import InputError, read_table, write_table

#: What identifies a cell over subjects.
CELL = ["checkpoint", "step", "layer", "removal", "property"]


def block_means(timecourse: np.ndarray, fold: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a time course in blocks of successive TRs that no fold's border cuts.

    Parameters
    ----------
    timecourse : array of shape (n_trs,)
        c(t), or the difference of two arms' c(t).
    fold : array of shape (n_trs,)
        Outer fold that tests each TR.
    size : int
        TRs in a block, about: a fold is cut into equal blocks of the nearest length, and is one block if it is shorter.

    Returns
    -------
    means, weights : arrays of shape (n_blocks,)
        ``weights @ means`` is the mean over folds of the fold's mean, as in a cell's alignment; the weights sum to 1.
    """
    names = np.unique(fold)
    means, weights = [], []
    for name in names:
        rows = np.flatnonzero(fold == name)
        for block in folds.contiguous(len(rows), max(1, round(len(rows) / size))):
            means.append(timecourse[rows[block]].mean())
            weights.append(len(block) / len(rows) / len(names))
    return np.array(means), np.array(weights)


def test_share(fold: np.ndarray, gap: int) -> float:
    """n_test / n_train: mean over outer folds; the rows of the gap are in neither.

    Parameters
    ----------
    fold : array of shape (n_trs,)
        Outer fold that tests each TR.
    gap : int
        TRs left out of training on both sides of a test block.
    """
    blocks = [np.flatnonzero(fold == name) for name in np.unique(fold)]
    return float(np.mean([len(block) / len(folds.training_rows(len(fold), block, gap)) for block in blocks]))


def corrected_t(
    means: np.ndarray, test_share: float, level: float, weights: np.ndarray | None = None
) -> dict[str, float]:
    """t-test and interval of a mean over parts, with Nadeau & Bengio's variance correction.

    The variance of the mean over k parts is taken as ``(1/k + n_test/n_train) · s²`` instead of ``s²/k``. With
    weights w it is ``(1 + k · n_test/n_train) · k/(k − 1) · Σ w² (m − m̄)²``: the same where all weights are 1/k.

    Parameters
    ----------
    means : array of shape (k,)
        One mean per part: an outer fold, or a block of TRs.
    test_share : float
        n_test / n_train of a part.
    level : float
        Level of the test; the interval covers ``1 - level``.
    weights : array of shape (k,), optional
        Sum to 1; default equal.

    Returns
    -------
    dict
        ``mean``, ``ci_low``, ``ci_high``, ``t``, ``p`` (two-tailed, k − 1 degrees of freedom), ``error``
        (standard error), ``sd`` (of the parts: ``error = sd · sqrt(1/k + n_test/n_train)``). p < level exactly
        where the interval excludes 0. No variance gives p = 1 for a zero mean and p = 0 otherwise.

    Raises
    ------
    InputError
        If there is one part only.

    References
    ----------
    Nadeau & Bengio (2003), Inference for the generalization error, Machine Learning 52, eq. 9.
    """
    from scipy.special import stdtr, stdtrit

    k = len(means)
    if k < 2:
        raise InputError(f"a test over parts of a time course needs 2 parts or more, got {k}")
    weights = np.full(k, 1 / k) if weights is None else weights
    mean = float(weights @ means)
    sd = float(np.sqrt(k * k / (k - 1) * np.sum(np.square(weights * (means - mean)))))
    error = sd * float(np.sqrt(1 / k + test_share))
    critical = float(stdtrit(k - 1, 1 - level / 2))
    if error > 0:
        t = mean / error
        p = 2 * float(stdtr(k - 1, -abs(t)))
    else:
        t, p = (0.0, 1.0) if mean == 0 else (float(np.copysign(np.inf, mean)), 0.0)
    half = critical * error
    return {
        "mean": mean,
        "ci_low": mean - half,
        "ci_high": mean + half,
        "t": t,
        "p": p,
        "error": error,
        "sd": sd,
    }


def block_test(timecourse: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """The calibrated test: Nadeau & Bengio's correction over blocks of TRs.

    With M blocks in K folds, a block's n_test / n_train is K/M of a fold's: the variance is ``s²/M · (1 + K ·
    n_test/n_train)`` with the variance s² of the block means and M − 1 degrees of freedom.

    Parameters
    ----------
    timecourse : array of shape (n_trs,)
        c(t), or the difference of two arms' c(t).
    fold : array of shape (n_trs,)
        Outer fold that tests each TR.
    settings : Statistics
        ``block`` and ``alpha``.
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    dict
        As :func:`corrected_t`, and ``effect_size``, ``effect_low``, ``effect_high``: mean / sd over blocks and its
        interval from the noncentral t distribution (Steiger & Fouladi 1997), which excludes 0 where p < alpha; NaN for
        a mean without variance.

    Raises
    ------
    InputError
        If the time course is one block only.
    """
    from scipy.special import nctdtrinc

    means, weights = block_means(timecourse, fold, settings.block)
    k = len(means)
    if k < 2:
        raise InputError(
            f"statistics.block: {settings.block} TRs leave one block of {len(fold)}; ask for less"
        )
    share = len(np.unique(fold)) / k * test_share(fold, gap)
    test = corrected_t(means, share, settings.alpha, weights)
    scale = np.sqrt(1 / k + share)
    if test["error"] > 0:
        tails = (1 - settings.alpha / 2, settings.alpha / 2)
        low, high = (float(scale * nctdtrinc(k - 1, tail, test["t"])) for tail in tails)
        size = scale * test["t"]
    else:
        low = high = size = 0.0 if test["mean"] == 0 else np.nan
    return test | {"effect_size": float(size), "effect_low": low, "effect_high": high}


def paper_t(residual: np.ndarray, original: np.ndarray, kind: str) -> tuple[float, float]:
    """The paper's two-tailed t-test over voxels; voxels are not independent, so it rejects far too often.

    Parameters
    ----------
    residual, original : arrays of shape (n_voxels,)
        Voxel scores of the two arms.
    kind : {"paired", "independent"}

    Returns
    -------
    t, p : float
        0 and 1 where the arms are the same to the bit.
    """
    from scipy.stats import ttest_ind, ttest_rel

    valid = np.isfinite(residual) & np.isfinite(original)
    if not valid.any() or np.array_equal(residual[valid], original[valid]):
        return 0.0, 1.0
    result = (ttest_rel if kind == "paired" else ttest_ind)(residual[valid], original[valid])
    return float(result.statistic), float(result.pvalue)


def voxel_scores(scores: Scores) -> np.ndarray:
    """Mean over outer folds of each voxel's Pearson r; NaN where a fold has none."""
    return scores.r.mean(axis=0, dtype=float)


def alignment_row(scores: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Alignment of one cell: mean r over voxels, with its interval over blocks of c(t)."""
    voxels = voxel_scores(scores)
    valid = np.isfinite(voxels)
    if not valid.any():
        raise InputError("no voxel has a score")
    test = block_test(scores.timecourse, scores.fold, settings, gap)
    return {
        "mean_r": float(voxels[valid].mean()),
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "inner_score": float(np.mean(scores.inner_score[:, valid], dtype=float)),
        "n_voxels": len(voxels),
        "n_invalid": int((~valid).sum()),
    }


def difference(residual: Scores, original: Scores) -> np.ndarray:
    """Residual minus original: c(t) of two arms on the same rows, an array of shape (n_trs,)."""
    if not np.array_equal(residual.fold, original.fold):
        raise InputError("the residual's and the original's scores have other folds; encode both again")
    return residual.timecourse - original.timecourse


def effect_row(residual: Scores, original: Scores, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal: residual minus original, by the paper's test and by the calibrated one."""
    test = block_test(difference(residual, original), original.fold, settings, gap)
    after, before = voxel_scores(residual), voxel_scores(original)
    t, p = paper_t(after, before, settings.paper_test)
    valid = np.isfinite(after) & np.isfinite(before)
    return {
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "effect_size": test["effect_size"],
        "effect_low": test["effect_low"],
        "effect_high": test["effect_high"],
        "t_paper": t,
        "p_paper": p,
        "significant_paper": int(p < settings.alpha),
        "p": test["p"],
        "n_voxels": int(valid.sum()),
    }


def group_row(differences: np.ndarray, fold: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """Effect of one removal over subjects: in these subjects, and in other listeners.

    Subjects took in the same story, so their time courses share what the features do by chance: they are averaged
    TR by TR, and the calibrated test of the average (``p``) says whether the effect on the mean of THESE subjects
    would be found with other text and other noise. Whether it would be found in OTHER listeners of this same text is
    a question for a t-test over the subjects' means (``p_population``, n − 1 degrees of freedom: 2 for three
    subjects, a critical t of 4.3). It cannot see what chance in the text does to all of them alike.

    Parameters
    ----------
    differences : array of shape (n_subjects, n_trs)
        Residual minus original, c(t) of each subject.
    fold : array of shape (n_trs,)
    settings : Statistics
    gap : int

    Returns
    -------
    dict
        Population columns are NaN for one subject.
    """
    test = block_test(differences.mean(axis=0), fold, settings, gap)
    row = {
        "n_subjects": len(differences),
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "effect_size": test["effect_size"],
        "effect_low": test["effect_low"],
        "effect_high": test["effect_high"],
        "p": test["p"],
    }
    columns = {"p_population": "p", "ci_low_population": "ci_low", "ci_high_population": "ci_high"}
    if len(differences) == 1:
        return row | dict.fromkeys(columns, np.nan)
    parts = [block_means(one, fold, settings.block) for one in differences]
    population = corrected_t(np.array([weights @ means for means, weights in parts]), 0.0, settings.alpha)
    return row | {column: population[name] for column, name in columns.items()}


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate adjusted p-values over one family (Benjamini & Hochberg 1995).

    Parameters
    ----------
    p : array of shape (n,)

    Returns
    -------
    array of shape (n,)
        ``min_{j ≥ i} p_(j) · n / j`` for the i-th smallest, at most 1.
    """
    p = np.asarray(p, dtype=float)
    n = len(p)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * n / np.arange(1, n + 1)
    adjusted = np.empty(n)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def subject_tables(
    cells: list[tuple[int, dict[tuple[str, str], str]]], names: dict, settings: Statistics, gap: int
) -> tuple:
    """Alignment and effects of one checkpoint and subject over its layers.

    Parameters
    ----------
    cells : list of (layer, arm → path of its scores)
    names : dict
        ``checkpoint``, ``step``, ``subject``.
    settings : Statistics
    gap : int
        TRs left out of training on both sides of a test block.

    Returns
    -------
    alignment, effects : pandas.DataFrame
    """
    import pandas as pd

    alignment, effects = [], []
    for layer, arms in progress(cells, f"{names['checkpoint']}, subject {names['subject']}: layers"):
        original = read_scores(arms["none", "original"])
        for (removal, name), path in arms.items():
            scores = original if removal == "none" else read_scores(path)
            key = {
                "checkpoint": names["checkpoint"],
                "step": names["step"],
                "layer": layer,
                "removal": removal,
                "property": name,
                "subject": names["subject"],
            }
            alignment.append(key | alignment_row(scores, settings, gap))
            if removal != "none":
                effects.append(key | effect_row(scores, original, settings, gap))
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def group_table(
    cells: list[tuple[int, dict[tuple[str, str], list[str]]]], names: dict, settings: Statistics, gap: int
):
    """Effects over subjects of one checkpoint.

    Parameters
    ----------
    cells : list of (layer, arm → paths of its scores, one per subject in the same order)
    names : dict
        ``checkpoint``, ``step``.
    settings : Statistics
    gap : int

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If subjects' scores have other rows or folds.
    """
    import pandas as pd

    rows = []
    for layer, arms in progress(cells, f"{names['checkpoint']}, all subjects: layers"):
        originals = [read_scores(path) for path in arms["none", "original"]]
        fold = originals[0].fold
        for path, scores in zip(arms["none", "original"], originals, strict=True):
            if not np.array_equal(scores.fold, fold):
                raise InputError(
                    f"{path}: other rows or folds than {arms['none', 'original'][0]}; encode both again"
                )
        for (removal, name), paths in arms.items():
            if removal != "none":
                pairs = zip(paths, originals, strict=True)
                courses = np.array([difference(read_scores(path), original) for path, original in pairs])
                key = names | {"layer": layer, "removal": removal, "property": name}
                rows.append(key | group_row(courses, fold, settings, gap))
    return pd.DataFrame(rows)


def adjusted(table, alpha: float):
    """Add ``p_fdr`` and ``significant``: the table's p adjusted over all its rows."""
    p_fdr = benjamini_hochberg(table["p"].to_numpy())
    return table.assign(p_fdr=p_fdr, significant=(p_fdr < alpha).astype(int))


def collect(paths: list[str], alpha: float | None = None):
    """Stack tables; with `alpha`, adjust ``p`` over the whole grid (columns ``p_fdr``, ``significant``)."""
    import pandas as pd

    table = pd.concat([read_table(path) for path in paths], ignore_index=True)
    return table if alpha is None else adjusted(table, alpha)


def collect_group(paths: list[str], effects: str, alpha: float):
    """Stack the checkpoints' group tables, adjust p, and count the subjects that are significant alone.

    Parameters
    ----------
    paths : list of str
    effects : str
        ``tables/removal_effects.tsv``.
    alpha : float

    Returns
    -------
    pandas.DataFrame
        With ``n_significant``: subjects whose own ``significant`` is 1 in `effects`.
    """
    table = collect(paths, alpha)
    single = read_table(effects, [*CELL, "significant"])
    # A baseline has no step, and missing values would not meet in a join.
    key = [name for name in CELL if name != "step"]
    counts = single.groupby(key)["significant"].sum().rename("n_significant").reset_index()
    return table.merge(counts, on=key, how="left", validate="one_to_one")


def _add_cells(parser: argparse.ArgumentParser) -> None:
    """What both commands that read scores need."""
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--step", default="", help="training step; empty for a baseline")
    parser.add_argument("--folder", required=True, help="encoding/{checkpoint}")
    parser.add_argument("--layers", nargs="+", type=int, required=True)
    parser.add_argument("--arms", nargs="+", required=True, metavar="METHOD.PROPERTY")
    parser.add_argument("--options", type=options(Statistics), default=Statistics())
    parser.add_argument(
        "--gap", type=int, required=True, help="TRs left out around a test block (encoding.gap)"
    )


def main(argv: list[str] | None = None) -> None:
    """Command: `cell` and `group` test a checkpoint, one subject or all; `collect` and `collect-group` stack tables."""
    parser = argparse.ArgumentParser(prog="dynalign.statistics", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cell = commands.add_parser("cell", help="scores of one checkpoint and subject → alignment and effects")
    _add_cells(cell)
    cell.add_argument("--subject", required=True)
    cell.add_argument("--alignment", required=True, help="table to write")
    cell.add_argument("--effects", required=True, help="table to write")
    group = commands.add_parser("group", help="scores of one checkpoint and all subjects → effects")
    _add_cells(group)
    group.add_argument("--subjects", nargs="+", required=True)
    group.add_argument("--output", required=True)
    stack = commands.add_parser("collect", help="tables of many cells → one")
    stack.add_argument("tables", nargs="+")
    stack.add_argument("--fdr", type=float, metavar="ALPHA", help="adjust p over all rows at this level")
    stack.add_argument("--output", required=True)
    stack_group = commands.add_parser("collect-group", help="group tables of all checkpoints → one")
    stack_group.add_argument("tables", nargs="+")
    stack_group.add_argument("--effects", required=True, help="tables/removal_effects.tsv")
    stack_group.add_argument("--fdr", type=float, metavar="ALPHA", required=True)
    stack_group.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    if args.command == "collect":
        write_table(collect(args.tables, args.fdr), args.output)
        return
    if args.command == "collect-group":
        write_table(collect_group(args.tables, args.effects, args.fdr), args.output)
        return

    arms = [tuple(arm.split(".", 1)) for arm in args.arms]
    names = {"checkpoint": args.checkpoint, "step": args.step}

    def paths(layer: int, subject: str) -> dict[tuple[str, str], str]:
        return {arm: f"{args.folder}/layer-{layer}/{subject}/{arm[0]}.{arm[1]}.npz" for arm in arms}

    if args.command == "group":
        cells = []
        for layer in args.layers:
            each = [paths(layer, subject) for subject in args.subjects]
            cells.append((layer, {arm: [one[arm] for one in each] for arm in arms}))
        table = group_table(cells, names, args.options, args.gap)
        write_table(table, args.output)
        note(f"{len(table)} effects over {len(args.subjects)} subjects")
        return
    cells = [(layer, paths(layer, args.subject)) for layer in args.layers]
    alignment, effects = subject_tables(cells, names | {"subject": args.subject}, args.options, args.gap)
    write_table(alignment, args.alignment)
    write_table(effects, args.effects)
    note(f"{len(alignment)} cells, {len(effects)} effects")


if __name__ == "__main__":
    run(main)
