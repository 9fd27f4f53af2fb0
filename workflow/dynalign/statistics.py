"""Alignment, effects of removal, and what holds over training (METHOD section 8).

Intervals and the headline test rest on the outer folds. The folds' models share training data, so that fold means are
not independent; Nadeau & Bengio's correction accounts for it. In METHOD's first simulation it rejects 4 % at .05 when
two arms are equally good, where the t-test over voxels rejects 68–77 %.
"""

from __future__ import annotations

import argparse

import numpy as np

from dynalign.cli import note, options, progress, run
from dynalign.config import Statistics
from dynalign.encoding import Scores, read_scores
from dynalign.files import InputError, read_table, write_table


def fold_means(timecourse: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a time course in each outer fold, and the folds' sizes.

    Parameters
    ----------
    timecourse : array of shape (n_trs,)
        c(t), or the difference of two arms' c(t).
    fold : array of shape (n_trs,)
        Outer fold that tests each TR.

    Returns
    -------
    means, sizes : arrays of shape (n_folds,)
    """
    names = np.unique(fold)
    return (
        np.array([timecourse[fold == name].mean() for name in names]),
        np.array([int((fold == name).sum()) for name in names]),
    )


def corrected_t(means: np.ndarray, test_share: float, level: float) -> dict[str, float]:
    """t-test and interval over folds with Nadeau & Bengio's variance correction.

    The variance of the mean over k folds is taken as ``(1/k + n_test/n_train) · s²`` instead of ``s²/k``.

    Parameters
    ----------
    means : array of shape (n_folds,)
    test_share : float
        n_test / n_train.
    level : float
        Level of the test; the interval covers ``1 - level``.

    Returns
    -------
    dict
        ``mean``, ``ci_low``, ``ci_high``, ``t``, ``p`` (two-tailed, k − 1 degrees of freedom); no variance gives p = 1
        for a zero mean and p = 0 otherwise.

    References
    ----------
    Nadeau & Bengio (2003), Inference for the generalization error, Machine Learning 52, eq. 9.
    """
    from scipy.special import stdtr, stdtrit

    k = len(means)
    if k < 2:
        raise InputError(f"an interval over folds needs 2 folds or more, got {k}")
    mean = float(np.mean(means))
    error = float(np.sqrt((1 / k + test_share) * np.var(means, ddof=1)))
    half = float(stdtrit(k - 1, 1 - level / 2)) * error
    if error > 0:
        t = mean / error
        p = 2 * float(stdtr(k - 1, -abs(t)))
    else:
        t, p = (0.0, 1.0) if mean == 0 else (float(np.copysign(np.inf, mean)), 0.0)
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "t": t, "p": p}


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


def alignment_row(scores: Scores, level: float) -> dict[str, float]:
    """Alignment of one cell: mean r over voxels, with its interval over folds."""
    voxels = voxel_scores(scores)
    valid = np.isfinite(voxels)
    if not valid.any():
        raise InputError("no voxel has a score")
    per_fold = scores.r[:, valid].mean(axis=1, dtype=float)
    test = corrected_t(per_fold, _test_share(scores), level)
    return {
        "mean_r": float(voxels[valid].mean()),
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "inner_score": float(np.mean(scores.inner_score[:, valid], dtype=float)),
        "n_voxels": len(voxels),
        "n_invalid": int((~valid).sum()),
    }


def effect_row(residual: Scores, original: Scores, settings: Statistics) -> dict[str, float]:
    """Effect of one removal: residual minus original, by the paper's test and by the calibrated one."""
    difference = residual.timecourse - original.timecourse
    means, _ = fold_means(difference, original.fold)
    test = corrected_t(means, _test_share(original), settings.alpha)
    after, before = voxel_scores(residual), voxel_scores(original)
    t, p = paper_t(after, before, settings.paper_test)
    valid = np.isfinite(after) & np.isfinite(before)
    return {
        "mean_difference": test["mean"],
        "ci_low": test["ci_low"],
        "ci_high": test["ci_high"],
        "t_paper": t,
        "p_paper": p,
        "significant_paper": int(p < settings.alpha),
        "p": test["p"],
        "n_voxels": int(valid.sum()),
    }


def _test_share(scores: Scores) -> float:
    """n_test / n_train for folds of about equal size (the gap's rows are neither)."""
    k = len(np.unique(scores.fold))
    return 1 / (k - 1)


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
    cells: list[tuple[int, dict[tuple[str, str], str]]], names: dict, settings: Statistics
) -> tuple:
    """Alignment and effects of one checkpoint and subject over its layers.

    Parameters
    ----------
    cells : list of (layer, arm → path of its scores)
    names : dict
        ``checkpoint``, ``step``, ``subject``.
    settings : Statistics

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
            alignment.append(key | alignment_row(scores, settings.alpha))
            if removal != "none":
                effects.append(key | effect_row(scores, original, settings))
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def collect(paths: list[str], alpha: float | None = None):
    """Stack tables; with `alpha`, adjust ``p`` over the whole grid (columns ``p_fdr``, ``significant``)."""
    import pandas as pd

    table = pd.concat([read_table(path) for path in paths], ignore_index=True)
    if alpha is not None:
        table["p_fdr"] = benjamini_hochberg(table["p"].to_numpy())
        table["significant"] = (table["p_fdr"] < alpha).astype(int)
    return table


def main(argv: list[str] | None = None) -> None:
    """Command: `cell` tests one checkpoint and subject, `collect` stacks tables of many."""
    parser = argparse.ArgumentParser(prog="dynalign.statistics", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cell = commands.add_parser("cell", help="scores of one checkpoint and subject → alignment and effects")
    cell.add_argument("--checkpoint", required=True)
    cell.add_argument("--step", default="", help="training step; empty for a baseline")
    cell.add_argument("--subject", required=True)
    cell.add_argument("--folder", required=True, help="encoding/{checkpoint}")
    cell.add_argument("--layers", nargs="+", type=int, required=True)
    cell.add_argument("--arms", nargs="+", required=True, metavar="METHOD.PROPERTY")
    cell.add_argument("--options", type=options(Statistics), default=Statistics())
    cell.add_argument("--alignment", required=True, help="table to write")
    cell.add_argument("--effects", required=True, help="table to write")
    stack = commands.add_parser("collect", help="tables of many cells → one")
    stack.add_argument("tables", nargs="+")
    stack.add_argument("--fdr", type=float, metavar="ALPHA", help="adjust p over all rows at this level")
    stack.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    if args.command == "collect":
        write_table(collect(args.tables, args.fdr), args.output)
        return
    arms = [tuple(arm.split(".", 1)) for arm in args.arms]
    cells = [
        (layer, {arm: f"{args.folder}/layer-{layer}/{args.subject}/{arm[0]}.{arm[1]}.npz" for arm in arms})
        for layer in args.layers
    ]
    names = {"checkpoint": args.checkpoint, "step": args.step, "subject": args.subject}
    alignment, effects = subject_tables(cells, names, args.options)
    write_table(alignment, args.alignment)
    write_table(effects, args.effects)
    note(f"{len(alignment)} cells, {len(effects)} effects")


if __name__ == "__main__":
    run(main)
