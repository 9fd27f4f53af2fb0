"""Tables of cells put together: ``python -m dynalign.tables.collect --tables … --output tables/alignment.tsv``."""

from collections.abc import Sequence

import numpy as np

from dynalign.cli import command, run
from dynalign.io.errors import InputError
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table


def adjust(table, level: float):
    """A data frame's ``p`` adjusted over all rows: ``p_fdr`` and ``significant`` (below `level`); missing p stay so.

    Benjamini & Hochberg (1995), Controlling the false discovery rate.
    """
    from scipy.stats import false_discovery_control

    p = table["p"].to_numpy(dtype=float, copy=True)
    tested = np.isfinite(p)
    p[tested] = false_discovery_control(p[tested])
    return table.assign(p_fdr=p, significant=(p < level).astype(int))


def collect(paths: Sequence[str], fdr: float | None = None, models: Sequence[str] = ()):
    """Stack tables; with a level `fdr`, add the columns of :func:`adjust`. InputError: one has no rows.

    `models`: the model that each table is of, for a column ``model``.
    """
    import pandas as pd

    parts = [read_table(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        # One that was cut short after its header.
        if part.empty:
            raise InputError(f"{path}: has no rows, though each cell has some; delete it and run again")
    if models:
        parts = [part.assign(model=name) for name, part in zip(models, parts, strict=True)]
    table = pd.concat(parts, ignore_index=True)
    return table if fdr is None else adjust(table, fdr)


@command
def main(tables: list[str], output: str, fdr: float | None = None, models: tuple[str, ...] = ()) -> None:
    """Stack tables of the same columns, in this order; `fdr`: adjust ``p`` over all rows and test it at this level.

    `models` are names for a first column ``model``, one for each table.
    """
    write_table(collect(tables, fdr, models), output)


if __name__ == "__main__":
    run(main)
