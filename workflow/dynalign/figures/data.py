"""What a figure is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynalign.config.figures import Figures
from dynalign.figures import style
from dynalign.io.errors import InputError
from dynalign.statistics import summaries


@dataclass(frozen=True)
class FigureData:
    """What a figure is drawn from."""

    #: Data frames by their names with dashes (``removal-effects``); a baseline's ``step`` is NaN.
    tables: Mapping[str, object]
    options: Figures
    #: All properties of the study in its order (colours follow it).
    properties: Sequence[str]
    #: The removal method of figures 6 to 8; default: the first in the table.
    removal: str | None = None
    #: The paper's published values (``resources/paper_values.json``).
    reference: Mapping[str, object] | None = None

    @property
    def marks(self) -> dict[str, style.Mark]:
        """The mark of every property of the study, and of any other in the tables."""
        others = {name for table in self.tables.values() if "property" in table for name in table["property"] if name}
        return style.marks(dict.fromkeys([*self.properties, *sorted(others)]))

    @property
    def shares(self):
        """``tables/shares.tsv``; None in a study without, or without nuisance features among them."""
        table = self.tables.get("shares")
        return None if table is None or summaries.over_nuisance(table).empty else table

    @property
    def subjects(self) -> dict[str, style.Mark]:
        """The mark of every participant."""
        return style.subject_marks(list(dict.fromkeys(self.tables["alignment"]["subject"])))

    def in_order(self, names) -> list[str]:
        """The properties among `names`: the study's in its order, then others."""
        found = set(names)
        return [name for name in self.properties if name in found] + sorted(found - set(self.properties))

    def published(self, key: str, steps: Sequence[float]) -> dict[int, float]:
        """The paper's values of `key` at those of `steps` for which it has one."""
        rows = (self.reference or {}).get(key, [])
        return {row["step"]: row["value"] for row in rows if row["value"] is not None and row["step"] in set(steps)}


def need_steps(table, what: str) -> None:
    """Refuse a `table` without any checkpoint that has a step."""
    if table["step"].isna().all():
        raise InputError(f"alignment table: no checkpoint has a step; {what} needs one beside the baselines")


def residuals(figure_data: FigureData, name: str, every_step: bool = False):
    """What figures 6 to 8 show of table `name`: its rows, and the steps, the properties and the method of removal.

    Figure 18 shows `every_step`.

    `InputError` if the table lacks the asked method.
    """
    table = summaries.trained(figure_data.tables[name])
    removed = table[table["removal"] != "none"]
    steps = summaries.shown_steps(figure_data.options.steps, removed["step"])
    methods = list(removed["removal"].unique())
    method = figure_data.removal or (methods[0] if methods else None)
    if method not in methods:
        raise InputError(f"--removal {method}: the table has {', '.join(methods) or 'no removal'}; name one of these")
    removed = removed[removed["removal"] == method]
    names = summaries.shown_properties(figure_data.options.properties, figure_data.in_order(removed["property"]))
    steps = sorted(set(removed["step"])) if every_step else steps
    return removed[removed["step"].isin(steps) & removed["property"].isin(names)], steps, names, method


def with_original(figure_data: FigureData):
    """As :func:`residuals` of the alignment, with the original representation before the properties."""
    import pandas as pd

    removed, steps, names, method = residuals(figure_data, "alignment")
    first = summaries.original(figure_data.tables["alignment"])
    shown = pd.concat([first[first["step"].isin(steps)], removed], ignore_index=True)
    return shown, steps, ["original", *names], method
