"""The paper's two tables, each as tidy ``.tsv`` and as a self-contained ``.html`` page.

``python -m dynalign.figures.paper_tables table-1-probing --probing probing.tsv --output X.tsv X.html``, and likewise
``table-2-correlations --correlations label_correlations.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from dynalign.cli import commands, run
from dynalign.config.properties import paper_properties
from dynalign.figures import style
from dynalign.io import atomic
from dynalign.io.errors import InputError
from dynalign.statistics import summaries
from dynalign.tables import writer

#: What table 1 tells of each cell, in the order of its columns.
PROBING_COLUMNS = (
    *("accuracy_before", "accuracy_after", "removed_paper"),
    *("accuracy_after_crossfit", "null_low", "null_high", "removed", "chance"),
)

#: Beside the null interval, on which side of it the accuracy lies.
SIDES = {"below": "▾ below", "inside": "", "above": "▴ above"}

CSS = """
body { font: 15px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #1a1a1a; background: #fff;
  margin: 2rem auto; padding: 0 1.5rem; max-width: 88rem }
h1 { font-size: 1.35rem } h2 { font-size: 1.05rem; margin: 2rem 0 0.3rem }
p { max-width: 62rem; margin: 0.3rem 0 0.8rem }
div { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums }
th, td { padding: 0.26rem 0.65rem; text-align: center; white-space: nowrap }
thead th { border-bottom: 2px solid #1a1a1a; vertical-align: bottom; white-space: normal }
tbody { border-bottom: 1px solid #8c8c8c }
tbody th { text-align: left; font-weight: normal }
tbody th:has(+ th) { vertical-align: top; font-weight: bold }
tbody tr:has(th + th) > * { border-top: 1px solid #8c8c8c }
tbody tr:hover td { background: #eef4f9 }
td b { color: #00507d }
td span { margin: -0.26rem -0.65rem; padding: 0.26rem 0.65rem }
small { color: #595959 }
"""


def in_paper_order(names: Iterable[str]) -> list[str]:
    """Properties in the order of the paper's tables (random label first), then those that the study added."""
    first = ["random_label", *(name for name in paper_properties() if name != "random_label")]
    names = list(dict.fromkeys(names))
    return [name for name in first if name in names] + [name for name in names if name not in first]


def probing_table(probing):
    """Table 1 as tidy rows: every layer at the last step, then every checkpoint at the last layer.

    Of ``tables/probing.tsv``, where a baseline's ``step`` is NaN. The column ``part`` says ``last step`` or
    ``last layer`` (baselines first, as in the paper). `InputError` if no checkpoint has a step.
    """
    import pandas as pd

    if probing["step"].isna().all():
        raise InputError("probing table: no checkpoint has a step; table 1 needs one beside the baselines")
    last_step = probing[probing["step"] == probing["step"].max()].sort_values("layer", kind="stable")
    last_layer = probing[probing["layer"] == probing["layer"].max()]
    last_layer = last_layer.sort_values("step", kind="stable", na_position="first")
    parts = [last_step.assign(part="last step"), last_layer.assign(part="last layer")]
    cell = ["part", "checkpoint", "step", "layer", "removal", "property"]
    return pd.concat(parts, ignore_index=True)[[*cell, *PROBING_COLUMNS, "crossfit_position"]]


def correlation_table(correlations):
    """Table 2 as tidy rows, as in the paper without the random label: asterisk where p ≥ 0.05, off the diagonal."""
    shown = correlations[~correlations[["property_a", "property_b"]].eq("random_label").any(axis=1)]
    order = in_paper_order(shown["property_a"])
    apart = shown["property_a"] != shown["property_b"]
    table = shown.assign(
        asterisk=((shown["p"] >= 0.05) & apart).astype(int),
        row=shown["property_a"].map(order.index),
        column=shown["property_b"].map({name: k for k, name in enumerate(order)}),
    ).sort_values(["row", "column"], kind="stable", ignore_index=True)
    return table[["property_a", "property_b", "r", "p", "asterisk"]]


def number(value: float) -> str:
    """Two decimals with a true minus sign and no negative zero; a dash where there is no value."""
    if value != value:
        return "–"
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def paper_cell(row) -> str:
    """``before | after``, bold where the paper's rule says removed."""
    text = f"{number(row.accuracy_before)} | {number(row.accuracy_after)}"
    return f"<b>{text}</b>" if row.removed_paper == 1 else text


def calibrated_cell(row) -> str:
    """``before | after (crossfit)`` over the null interval and the side, bold where removed (calibrated)."""
    text = f"{number(row.accuracy_before)} | {number(row.accuracy_after_crossfit)}"
    text = f"<b>{text}</b>" if row.removed == 1 else text
    interval = f"[{number(row.null_low)}, {number(row.null_high)}] {SIDES[row.crossfit_position]}".strip()
    return f"{text}<br><small>{interval}</small>"


def probing_grid(table, cell: Callable[[object], str]) -> str:
    """One removal method's part of table 1 as an HTML table, in the paper's arrangement."""
    layers = "last layer (" + table["layer"].astype(str) + ")"
    steps = f"last step ({style.step_label(table['step'].max())})"
    ends = table["part"] == "last step"
    cells = table.assign(
        group=layers.mask(ends, steps),
        name=table["checkpoint"].mask(ends, "layer " + table["layer"].astype(str)).map(escape),
        cell=[cell(row) for row in table.itertuples()],
    )
    rows = cells.set_index(["group", "name"]).index.unique()
    properties = in_paper_order(table["property"])
    frame = cells.pivot_table("cell", ["group", "name"], "property", "first").reindex(rows)[properties]
    frame.loc[("chance", ""), :] = table.groupby("property")["chance"].first()[properties].map(number)
    return grid(frame)


def grid(frame) -> str:
    """An HTML table of a frame whose columns are properties and whose cells are HTML."""
    import pandas as pd

    frame = frame.rename_axis(index=[None] * frame.index.nlevels, columns=None)
    frame.columns = [escape(style.label(name)) for name in frame.columns]
    with pd.option_context("display.max_colwidth", None):
        head, body = frame.to_html(escape=False, border=0, na_rep="–").split("<tbody>")
    head, body = (re.sub(r"<th\b", f'<th scope="{scope}"', part) for scope, part in (("col", head), ("row", body)))
    return f"<div>{head}<tbody>{body}</div>"


def page(title: str, body: str) -> str:
    """A page that needs nothing beside itself."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{CSS}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def probing_body(table) -> str:
    """Table 1 as HTML: per removal method the paper's table, then the calibrated one."""
    parts = []
    for method, rows in table.groupby("removal", sort=False):
        parts += [
            f"<h2>Removal by {escape(method)}: the paper's rule</h2>",
            "<p>Accuracy of the probe before | after removal, the removal fitted on all words. "
            "<b>Bold</b>: removed, as the paper counts it: before above chance and after below chance. "
            "Chance is the share of the largest class. The rule is easily fooled: a removal fitted on "
            "the very words that the probe is tested on pushes it below chance even for a label that has "
            "nothing to do with the representation.</p>",
            probing_grid(rows, paper_cell),
            f"<h2>Removal by {escape(method)}: calibrated</h2>",
            "<p>Accuracy before | after, the removal fitted on the training words of each fold only; below "
            "it the interval that labels permuted by sentence give. <b>Bold</b>: removed: the accuracy after "
            "is not above that interval. ▴ above it: the property can still be read. ▾ below it: nothing can be "
            "read either. After an exact removal the probe can only answer the largest class of its training "
            "words, whatever the word, so its accuracy is fixed by how the classes are spread over the "
            "text, and falls below the interval where training and test words differ in their largest class.</p>",
            probing_grid(rows, calibrated_cell),
        ]
    return "\n".join(parts)


def correlations_body(table) -> str:
    """Table 2 as HTML: a square of correlations, on blue (positive) or orange (negative)."""
    names = in_paper_order(table["property_a"])
    cells = table.assign(cell=[correlation_cell(row) for row in table.itertuples()])
    frame = cells.pivot_table("cell", "property_a", "property_b", "first").reindex(names)[names]
    frame.index = [escape(style.label(name)) for name in names]
    return "<p>Pearson's r between the class codes of all words. An asterisk marks p ≥ 0.05.</p>\n" + grid(frame)


def correlation_cell(row) -> str:
    """r with its asterisk, shaded by sign and size."""
    tint = "0, 114, 178" if row.r > 0 else "213, 94, 0"
    shade = 0.0 if row.r != row.r or row.property_a == row.property_b else 0.6 * abs(row.r)
    star = "*" if row.asterisk else ""
    return f'<span style="display: block; background: rgba({tint}, {shade:.2f})">{star}{number(row.r)}</span>'


#: How the tidy rows of each of the paper's tables become HTML.
BODIES = {"table-1-probing": probing_body, "table-2-correlations": correlations_body}


def write(tidy, title: str, body: Callable[[object], str], paths: Iterable[str]) -> None:
    """Write a table to .tsv (tidy) and .html files."""
    for path in paths:
        suffix = Path(path).suffix
        if suffix == ".tsv":
            writer.write_table(tidy, path)
        elif suffix == ".html":
            atomic.write_text(path, page(title, body(tidy)))
        else:
            raise InputError(f"{path}: tables are written as .tsv or .html; choose one of these suffixes")


def table_1_probing(probing: str, output: list[str]) -> None:
    """Write table 1, ``tables/probing.tsv`` in the paper's arrangement, to .tsv and .html files."""
    title = "Table 1. Probing for each property before and after its removal"
    write(probing_table(summaries.read(probing, "probing")), title, probing_body, output)


def table_2_correlations(correlations: str, output: list[str]) -> None:
    """Write table 2, ``tables/label_correlations.tsv`` in the paper's arrangement, to .tsv and .html files."""
    tidy = correlation_table(summaries.read(correlations, "label_correlations"))
    write(tidy, "Table 2. Correlations between the labels", correlations_body, output)


main = commands(table_1_probing, table_2_correlations)

if __name__ == "__main__":
    run(main)
