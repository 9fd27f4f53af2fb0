"""Regions of interest: which voxels they are, and alignment and effects of removal in each.

A region's score is the mean of r over its voxels (METHOD section 7). Its test and interval are those of the whole brain
(:func:`dynalign.statistics.block_tests.block_test`), over blocks of TRs of the mean over its voxels. Regions may
overlap: each is a question of its own.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dynalign.cli import commands, note, progress, run
from dynalign.config.brain import Brain, Rois
from dynalign.config.recordings import Recordings, with_recordings
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import Scores, read_scores
from dynalign.io.errors import InputError
from dynalign.responses.recordings import read_voxels
from dynalign.responses.regions import count_voxels, from_arrays, from_image, read_regions, subset, write_regions
from dynalign.statistics.block_tests import mean_test
from dynalign.statistics.effects import CELL, original_path, read_cells, scores_path, voxel_scores
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def over_blocks(r: np.ndarray, blocks: np.ndarray, fold, settings: Statistics, gap: int) -> dict[str, float]:
    """Mean over voxels of r, shape (n_voxels,), with interval and test over `blocks`, (n_blocks, n_voxels).

    Gives ``mean``, ``ci_low``, ``ci_high``, ``p``, which are NaN where no voxel has a score; ``n_voxels``,
    ``n_invalid``. `fold`, `settings` and `gap` are as for :func:`dynalign.statistics.block_tests.block_test`.
    """
    valid = np.isfinite(r)
    test: dict[str, float] = dict.fromkeys(("mean", "ci_low", "ci_high", "p"), np.nan)
    if valid.any():
        test = mean_test(blocks[:, valid].mean(axis=1, dtype=float), fold, settings, gap)
        test["mean"] = float(r[valid].mean())
    return test | {"n_voxels": len(valid), "n_invalid": int((~valid).sum())}


def region_alignment(scores: Scores, inside: np.ndarray, settings: Statistics, gap: int) -> dict[str, float]:
    """Alignment of the voxels `inside`, boolean of shape (n_voxels,): mean r and its interval (:func:`over_blocks`)."""
    r = voxel_scores(scores)[inside]
    found = over_blocks(r, scores.blocks[:, inside], scores.fold, settings, gap)
    inner = scores.inner_score[:, inside][:, np.isfinite(r)]
    found |= {"mean_r": found["mean"], "inner_score": float(np.mean(inner, dtype=float)) if inner.size else np.nan}
    return {name: found[name] for name in ("mean_r", "ci_low", "ci_high", "inner_score", "n_voxels", "n_invalid")}


def region_effect(
    residual: Scores, original: Scores, inside: np.ndarray, settings: Statistics, gap: int
) -> dict[str, float]:
    """Effect of a removal on the voxels `inside`: residual − original, with interval and test (:func:`over_blocks`)."""
    difference = voxel_scores(residual) - voxel_scores(original)
    blocks = residual.blocks.astype(float) - original.blocks
    found = over_blocks(difference[inside], blocks[:, inside], original.fold, settings, gap)
    found["mean_difference"] = found["mean"]
    return {name: found[name] for name in ("n_voxels", "n_invalid", "mean_difference", "ci_low", "ci_high", "p")}


def subject_tables(
    cells, folder: str | Path, regions: Mapping[str, np.ndarray], settings: Statistics, gap: int
) -> tuple:
    """Alignment and effects of one subject, region by region, for every cell: two data frames.

    `cells` come from :func:`dynalign.statistics.effects.read_cells`, `folder` is ``encoding/``, `regions` are boolean
    arrays (n_voxels,); `settings` and `gap` as for :func:`over_blocks`. InputError if the scores are of other voxels.
    """
    import pandas as pd

    alignment, effects = [], []
    n_voxels = len(next(iter(regions.values())))
    for _, layer in progress(list(cells.groupby(["checkpoint", "layer"], sort=False)), "regions: layers"):
        original = read_scores(original_path(folder, layer.iloc[0]))
        for cell in layer[[*CELL, "subject"]].to_dict("records"):
            path = scores_path(folder, cell)
            scores = original if cell["removal"] == "none" else read_scores(path)
            if scores.r.shape[1] != n_voxels:
                found = f"scores of {scores.r.shape[1]} voxels, regions of {n_voxels}"
                raise InputError(f"{path}: {found}; make both from the same responses")
            for name, inside in regions.items():
                key = cell | {"roi": name}
                alignment.append(key | region_alignment(scores, inside, settings, gap))
                if cell["removal"] != "none":
                    effects.append(key | region_effect(scores, original, inside, settings, gap))
    return pd.DataFrame(alignment), pd.DataFrame(effects)


def voxels(
    subject: str,
    output: str,
    options: Rois,
    brain: Brain | None = None,
    array: str | None = None,
    kept: tuple[str, ...] = (),
    recordings: Recordings | None = None,
) -> None:
    """Find a subject's regions (section `rois`): ``rois/{subject}.npz``.

    One of `brain`, the section with images and mask (layout `table`; `recordings`, whose rows of the subject name
    them), and `array`, responses (`arrays`), gives the number of voxels.
    `kept` is a boolean ``.npy`` of the voxels that the study keeps, if it does not keep all.
    """
    if (brain is None) == (array is None):
        raise InputError("give one of --brain and --array")
    brain = None if brain is None else with_recordings(brain, recordings)
    if options.image is not None:
        if brain is None:
            raise InputError("rois.image: needs the brain mask (--brain)")
        regions = from_image(options, subject, brain.mask_of(subject))
    else:
        regions = from_arrays(options, subject, count_voxels(brain, subject, array))
    for path in kept:
        regions = subset(regions, read_voxels(path, len(next(iter(regions.values())))), path)
    for name, inside in regions.items():
        note(f"subject {subject}: {name}: {int(inside.sum())} of {len(inside)} voxels")
    write_regions(output, regions)


def subject(
    subject: str,
    alignment: str,
    folder: str,
    rois: str,
    readable: str,
    alignment_output: str,
    effects_output: str,
    gap: int,
    options: Statistics = Statistics(),
) -> None:
    """Scores of one subject → alignment and effects by region.

    Reads ``tables/alignment.tsv``, ``encoding/``, ``rois/{subject}.npz`` and ``tables/removal_effects.tsv``
    (`readable`, what the encoder reads of each property); `gap` is ``encoding.gap``.
    """
    cells = read_cells(alignment, subject)
    aligned, effects = subject_tables(cells, folder, read_regions(rois), options, gap)
    key = [*CELL, "subject"]
    read = read_table(readable, kind="removal_effects")
    names = [name for name in read if name.startswith("readable_")]
    write_table(aligned, alignment_output)
    write_table(effects.merge(read[key + names], on=key, how="left", validate="many_to_one"), effects_output)


main = commands(voxels, subject)

if __name__ == "__main__":
    run(main)
