"""Scores back in the brain: maps of the kind and in the space of the recordings, and a table of what each map is.

Five images per subject, seven where it asks for shares of variance, each with one kind of number, so that a viewer's
colour scale fits the whole image:

============================ =============== ========================================================
``maps/{subject}``           ``r``           score of the original: Pearson r, mean over folds
``maps/alpha/{subject}``     ``log10_alpha`` penalty chosen, log10, median over folds
``maps/q/{subject}``         ``q``           p of the score
``maps/effects/{subject}``   ``difference``  residual − original, difference of r
``maps/effects_q/{subject}`` ``q``           p of the difference
``maps/unique/{subject}``    ``difference``  nuisance features and vectors − nuisance features alone
``maps/unique_q/{subject}``  ``q``           p of the vectors' unique share of variance
============================ =============== ========================================================

The first three hold every checkpoint and layer, the others each checkpoint's best layer: the one with the highest inner
score, which does not look at the reported score (METHOD section 7). p is that of the block test, adjusted over the
voxels of a volume (METHOD section 8). Of NIfTI memory holds one volume. NaN: a voxel without a score, or outside the
mask.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dynalign.cli import command, progress, run
from dynalign.config.brain import Brain
from dynalign.config.recordings import Recordings, with_recordings
from dynalign.config.shares import NUISANCE
from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, SHARES, Scores, read_partition, read_scores
from dynalign.io.errors import InputError
from dynalign.responses.kinds import space_of
from dynalign.statistics import summaries
from dynalign.statistics.block_tests import part_test, voxel_test
from dynalign.statistics.effects import CELL, original_path, read_cells, scores_path, voxel_scores
from dynalign.tables.writer import write_table


def map_name(cell: Mapping) -> str:
    """What a map is, where files name their maps: ``step-512 layer 4 leace-crossfit tense``."""
    removed = [] if cell["removal"] == "none" else [cell["removal"], cell["property"]]
    return " ".join([str(cell["checkpoint"]), "layer", str(int(cell["layer"])), *removed])


@command
def main(
    subject: str,
    alignment: str,
    folder: str,
    score: list[str],
    alpha: list[str],
    q: list[str],
    effects: list[str],
    effects_q: list[str],
    index: str,
    gap: int,
    unique: tuple[str, ...] = (),
    unique_q: tuple[str, ...] = (),
    brain: Brain = Brain(),
    recordings: Recordings | None = None,
    options: Statistics = Statistics(),
) -> None:
    """A subject's scores, penalties and effects of removal → maps of the kind of the recordings, and their index.

    Reads ``tables/alignment.tsv``, ``encoding/`` (`folder`) and the space of the subject's recordings (section
    `brain`); writes the images, of surfaces one for each hemisphere, and the `index`. `unique` and `unique_q`, both or
    neither, are what the vectors add to nuisance features. `gap` is ``encoding.gap``, `options` are section
    `statistics`.
    """
    import pandas as pd

    cells = read_cells(alignment, subject)
    chosen = summaries.best_layers(cells)
    if chosen["layer_by_inner_score"].isna().any():
        raise InputError(f"{alignment}: inner_score is empty in some row; run the encoding again")
    best = dict(zip(chosen["checkpoint"], chosen["layer_by_inner_score"].astype(int), strict=True))
    cells = [
        {"best_layer": int(int(cell["layer"]) == best[cell["checkpoint"]]), **cell}
        for cell in cells[[*CELL, "subject"]].to_dict("records")
    ]
    space = space_of(with_recordings(brain, recordings), subject)
    described = []

    def scores(cell: dict) -> Scores:
        return read_scores(scores_path(folder, cell))

    def log10_alpha(cell: dict) -> np.ndarray:
        return np.median(np.log10(scores(cell).alpha.astype(float)), axis=0)

    def effect(cell: dict) -> np.ndarray:
        return voxel_scores(scores(cell)) - voxel_scores(read_scores(original_path(folder, cell)))

    def adjusted_p(cell: dict) -> np.ndarray:
        one = scores(cell)
        blocks = one.blocks.astype(float)
        if cell["removal"] != "none":
            blocks -= read_scores(original_path(folder, cell)).blocks
        return voxel_test(blocks, one.fold, options, gap)["q"]

    def over_nuisance(cell: dict) -> np.ndarray:
        return read_partition(scores_path(folder, cell)).r[PARTS.index("unique_model")]

    def unique_q_of(cell: dict) -> np.ndarray:
        return part_test(read_partition(scores_path(folder, cell)), "unique_model", options, gap)["q"]

    def volumes(image: str, quantity: str, shown: list[dict], value: Callable) -> Iterator[np.ndarray]:
        for volume, cell in enumerate(progress(shown, f"maps: {image}")):
            voxels = value(cell)
            valid = np.isfinite(voxels)
            mean = float(voxels[valid].mean()) if valid.any() else np.nan
            described.append(
                {"image": image, "volume": volume, "quantity": quantity}
                | {key: cell[key] for key in [*CELL, "best_layer"]}
                | {"mean": mean, "n_invalid": int((~valid).sum())}
            )
            yield voxels

    original = [cell for cell in cells if cell["removal"] == "none"]
    removed = [cell for cell in cells if cell["removal"] != "none" and cell["best_layer"]]
    shared = [{**cell, "removal": SHARES, "property": NUISANCE} for cell in original if cell["best_layer"]]
    for paths, image, quantity, shown, value in (
        (score, "score", "r", original, lambda cell: voxel_scores(scores(cell))),
        (alpha, "alpha", "log10_alpha", original, log10_alpha),
        (q, "q", "q", original, adjusted_p),
        (effects, "effects", "difference", removed, effect),
        (effects_q, "effects_q", "q", removed, adjusted_p),
        (unique, "unique", "difference", shared, over_nuisance),
        (unique_q, "unique_q", "q", shared, unique_q_of),
    ):
        if paths:
            names = [map_name(cell) for cell in shown]
            space.write(paths, volumes(image, quantity, shown, value), names, f"dynalign {quantity}, subject {subject}")
    write_table(pd.DataFrame(described), index)


if __name__ == "__main__":
    run(main)
