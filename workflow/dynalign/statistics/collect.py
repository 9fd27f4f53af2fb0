"""Tables of cells put together."""

from __future__ import annotations

from dynalign.statistics.block_tests import benjamini_hochberg
from dynalign.tables.reader import read_table


def adjusted(table, alpha: float):
    """Add ``p_fdr`` and ``significant``: the table's p adjusted over all its rows."""
    p_fdr = benjamini_hochberg(table["p"].to_numpy())
    return table.assign(p_fdr=p_fdr, significant=(p_fdr < alpha).astype(int))


def collect(paths: list[str], alpha: float | None = None):
    """Stack tables; with `alpha`, adjust ``p`` over the whole grid (columns ``p_fdr``, ``significant``)."""
    import pandas as pd

    table = pd.concat([read_table(path) for path in paths], ignore_index=True)
    return table if alpha is None else adjusted(table, alpha)
