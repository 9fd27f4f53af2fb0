"""The paper's eleven figures and those beyond it, drawn from the study's tables.

``python -m dynalign.figures.draw --figure 4 --tables alignment.tsv --output X.png X.tsv`` draws one; a ``.tsv`` output
holds the numbers drawn. :data:`FIGURES` says which tables each figure needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dynalign.cli import command, run
from dynalign.config.figures import Figures
from dynalign.config.properties import paper_properties
from dynalign.figures import competence, distributions, layers, models, removal, shares, style, training_curves
from dynalign.figures.data import FigureData
from dynalign.io.errors import InputError
from dynalign.io.shipped import shipped
from dynalign.statistics import summaries


class Drawing(NamedTuple):
    """How a figure is made: its function, the tables it reads, whether it can show the published values."""

    draw: Callable[[FigureData], tuple]
    tables: tuple[str, ...]
    reference: bool = False
    #: Tables that it shows too in a study that has them.
    optional: tuple[str, ...] = ()


#: All figures by name: the paper's in its order, then those that it does not have.
FIGURES = {
    "figure-01-perplexity": Drawing(training_curves.perplexity, ("perplexity",), True),
    "figure-02-sentence-classes": Drawing(distributions.sentence_classes, ("class-counts",)),
    "figure-03-word-classes": Drawing(distributions.word_classes, ("class-counts",)),
    "figure-04-best-layer-alignment": Drawing(training_curves.best_layer_alignment, ("alignment",), True, ("shares",)),
    "figure-05-best-layer": Drawing(layers.best_layer, ("alignment",)),
    "figure-06-significant-layers": Drawing(removal.significant, ("removal-effects",)),
    "figure-07-removal-bars": Drawing(removal.representation_bars, ("alignment", "removal-effects")),
    "figure-08-alignment-by-layer": Drawing(layers.alignment_by_layer, ("alignment", "removal-effects")),
    "figure-09-sentence-distributions": Drawing(distributions.sentence_distributions, ("class-counts",)),
    "figure-10-word-distributions": Drawing(distributions.word_distributions, ("class-counts",)),
    "figure-11-mean-layer-alignment": Drawing(training_curves.mean_layer_alignment, ("alignment",), True, ("shares",)),
    "figure-12-probing": Drawing(removal.probing, ("probing",)),
    "figure-13-emergence": Drawing(
        training_curves.emergence_view,
        ("alignment", "perplexity", "probing", "contrasts", "emergence"),
        optional=("shares",),
    ),
    "figure-14-layer-step": Drawing(layers.layer_step, ("alignment",)),
    "figure-15-perplexity-alignment": Drawing(
        training_curves.perplexity_alignment, ("alignment", "perplexity", "perplexity-alignment")
    ),
    "figure-16-layer-choice": Drawing(layers.layer_choice, ("alignment",)),
    "figure-17-shares": Drawing(shares.parts_over_training, ("alignment", "shares")),
    "figure-18-voxels": Drawing(shares.significant_voxels, ("alignment", "removal-effects"), optional=("shares",)),
    # Of a study of several models, and of one with a table of competence.
    "figure-19-models": Drawing(models.over_training, ("models", "model-curves")),
    "figure-20-competence": Drawing(competence.over_training, ("alignment", "competence", "competence-alignment")),
}

#: The figures that the paper has.
PAPER_FIGURES = list(FIGURES)[:11]


def figure_name(text: str) -> str:
    """A figure's name from its name or its number; `InputError` if there is no such figure."""
    names = list(FIGURES)
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    if text not in names:
        raise InputError(f"no figure {text!r}; choose a number from 1 to {len(names)} or one of {', '.join(names)}")
    return text


def read_reference(path: str | Path) -> dict:
    """Read the published values, a JSON object (``resources/paper_values.json``); `InputError` if there is none."""
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as published values (a JSON object): {error}") from None


@command
def main(
    figure: str,
    tables: list[str],
    output: list[str],
    options: Figures = Figures(),
    properties: tuple[str, ...] = tuple(paper_properties()),
    removal: str | None = None,
    reference: str | None = None,
) -> None:
    """Draw a figure, by its number or its name, from the tables that it needs, known by their file names.

    `output` is .png, .pdf or .svg, and .tsv for the numbers drawn. `properties` are all of the study: their order
    decides the colours of added ones. `removal` is the method of figures 6 to 8 (default: the first in the table),
    `reference` the paper's published values, drawn where the option of that name is on.
    """
    name = figure_name(figure)
    drawing = FIGURES[name]
    given = {Path(path).stem.replace("_", "-"): path for path in tables}
    for kind in drawing.tables:
        if kind not in given:
            raise InputError(f"{name} needs {kind.replace('-', '_')}.tsv among its --tables")
    published = None
    if options.reference and drawing.reference:
        if reference is None:
            raise InputError("the option `reference` is on, so --reference JSON must name the published values")
        published = read_reference(shipped(reference))
    kinds = [kind for kind in (*drawing.tables, *drawing.optional) if kind in given]
    read = {kind: summaries.read(given[kind], kind) for kind in kinds}
    style.write(output, drawing.draw, FigureData(read, options, properties, removal, published))


if __name__ == "__main__":
    run(main)
