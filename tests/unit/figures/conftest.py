"""The made-up study as tables, as files, and drawn once."""

from pathlib import Path

import pytest
from tests.figure_study import PROPERTIES, study

from dynalign.config.figures import Figures
from dynalign.figures import data, draw, style
from dynalign.tables import writer

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def tables():
    return study()


@pytest.fixture(scope="session")
def files_of(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in tables.items():
        writer.write_table(table, folder / f"{name}.tsv")
    return {name: folder / f"{name}.tsv" for name in tables}


@pytest.fixture(scope="session")
def published():
    return draw.read_reference(ROOT / "resources/paper_values.json")


@pytest.fixture(scope="session")
def drawn(tables, published):
    """Every figure, drawn and laid out once: name → (figure, numbers)."""
    made = {}
    with style.context():
        for name, drawing in draw.FIGURES.items():
            shown = {kind: tables[kind] for kind in (*drawing.tables, *drawing.optional)}
            figure_data = data.FigureData(shown, Figures(reference=True), PROPERTIES, "ridge", published)
            made[name] = drawing.draw(figure_data)
            style.settle(made[name][0])
    return made
