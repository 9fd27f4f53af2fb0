"""Shares of variance: what vectors and other features explain alone and jointly (METHOD section 5).

``python -m dynalign.statistics.shares`` takes one checkpoint, and one subject or the mean of several.
"""

from collections.abc import Sequence

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.shares import NUISANCE
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, SHARES, Partition, read_partition
from dynalign.statistics.block_tests import block_test, part_test
from dynalign.statistics.effects import scores_path, voxel_shares
from dynalign.statistics.shared import same_rows, shared_rows
from dynalign.tables.writer import write_table


def part_row(
    part: str, partitions: Sequence[Partition], shared: Sequence[Partition], settings: Statistics, gap: int
) -> dict[str, float]:
    """One part over the subjects whose `partitions` these are; `shared` are those on rows that all of them have.

    What is tested is the subjects' mean, TR by TR; ``r2`` and ``share_significant`` are means over subjects,
    ``n_voxels`` is their sum. `settings` and `gap` are as for :func:`dynalign.statistics.block_tests.block_test`.
    """
    k = PARTS.index(part)
    fold = shared[0].fold
    share = block_test(np.mean([one.timecourse[k] for one in shared], axis=0), fold, settings, gap)
    r = block_test(np.mean([one.r_timecourse[k] for one in shared], axis=0), fold, settings, gap)
    found = [voxel_shares(part_test(one, part, settings, gap), settings.alpha)[1] for one in partitions]
    return (
        {"share": share["mean"], "share_low": share["ci_low"], "share_high": share["ci_high"]}
        | {name: share[name] for name in ("effect_size", "effect_low", "effect_high", "p")}
        | {"mean_r": r["mean"], "ci_low": r["ci_low"], "ci_high": r["ci_high"]}
        | {"r2": float(np.mean([np.nanmean(one.r2[k], dtype=float) for one in partitions]))}
        | {"n_voxels": int(sum(np.isfinite(one.share[k]).sum() for one in partitions))}
        | {"share_significant": float(np.mean(found))}
    )


def part_name(part: str, features: str) -> str:
    """A part's name in ``tables/shares.tsv``: what is unique to the features says what they are."""
    return part.replace("features", NUISANCE if features == NUISANCE else "property")


@command
def main(
    checkpoint: str,
    subjects: list[str],
    folder: str,
    layers: list[int],
    features: list[str],
    gap: int,
    output: str,
    step: str = "",
    options: Statistics = Statistics(),
    trs: tuple[str, ...] = (),
) -> None:
    """Variance partitions of one checkpoint → shares of variance of its layers, of one subject or of several.

    Parameters
    ----------
    checkpoint, step
        The step is empty for a baseline.
    subjects
        One, or several, which make the subject ``mean``.
    folder, layers, features, gap
        ``encoding/``, which partitions there (``shares.<features>``), and ``encoding.gap``.
    output
        Table to write.
    trs
        ``story/{subject}.trs.tsv`` of each, where subjects have runs of their own.
    """
    import pandas as pd

    subject = subjects[0] if len(subjects) == 1 else "mean"
    shared = shared_rows(trs) if len(trs) > 1 else None
    rows = []
    for layer in progress(layers, f"{checkpoint}, subject {subject}: layers"):
        cell = {"checkpoint": checkpoint, "step": step, "layer": layer}
        for space in features:
            arm = cell | {"removal": SHARES, "property": space}
            paths = [scores_path(folder, arm | {"subject": name}) for name in subjects]
            partitions = [read_partition(path) for path in paths]
            parts = partitions, same_rows(partitions, paths, shared)
            for part in PARTS:
                named = {"features": space, "part": part_name(part, space), "subject": subject}
                rows.append(cell | named | part_row(part, *parts, options, gap))
    write_table(pd.DataFrame(rows), output)
    note(f"{len(rows)} parts")


if __name__ == "__main__":
    run(main)
