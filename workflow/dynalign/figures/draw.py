"""The paper's eleven figures and five beyond it, drawn from the study's tables.

``python -m dynalign.figures.draw --figure 4 --tables alignment.tsv --output X.png X.tsv`` draws one; a ``.tsv`` output
holds the numbers drawn. :data:`FIGURES` says which tables each figure needs.
"""

from __future__ import annotations

import json
from pathlib import Path

from dynalign.cli import command, run
from dynalign.config.figures import Figures
from dynalign.config.properties import paper_properties
from dynalign.figures import style
from dynalign.figures.data import Drawing, FigureData
from dynalign.figures.distributions import sentence_classes, sentence_distributions, word_classes, word_distributions
from dynalign.figures.layers import alignment_by_layer, best_layer, layer_choice, layer_step
from dynalign.figures.probing import probing
from dynalign.figures.removal import representation_bars, significant
from dynalign.figures.training_curves import (
    best_layer_alignment,
    emergence_view,
    mean_layer_alignment,
    perplexity,
    perplexity_alignment,
)
from dynalign.io.errors import InputError
from dynalign.io.shipped import shipped
from dynalign.statistics import summaries

#: All figures by name: the paper's in its order, then those that it does not have.
FIGURES = {
    "figure-01-perplexity": Drawing(perplexity, ("perplexity",), True),
    "figure-02-sentence-classes": Drawing(sentence_classes, ("class-counts",)),
    "figure-03-word-classes": Drawing(word_classes, ("class-counts",)),
    "figure-04-best-layer-alignment": Drawing(best_layer_alignment, ("alignment",), True),
    "figure-05-best-layer": Drawing(best_layer, ("alignment",)),
    "figure-06-significant-layers": Drawing(significant, ("removal-effects",)),
    "figure-07-removal-bars": Drawing(representation_bars, ("alignment", "removal-effects")),
    "figure-08-alignment-by-layer": Drawing(alignment_by_layer, ("alignment", "removal-effects")),
    "figure-09-sentence-distributions": Drawing(sentence_distributions, ("class-counts",)),
    "figure-10-word-distributions": Drawing(word_distributions, ("class-counts",)),
    "figure-11-mean-layer-alignment": Drawing(mean_layer_alignment, ("alignment",), True),
    "figure-12-probing": Drawing(probing, ("probing",)),
    "figure-13-emergence": Drawing(emergence_view, ("alignment", "perplexity", "probing", "emergence")),
    "figure-14-layer-step": Drawing(layer_step, ("alignment",)),
    "figure-15-perplexity-alignment": Drawing(
        perplexity_alignment, ("alignment", "perplexity", "perplexity-alignment")
    ),
    "figure-16-layer-choice": Drawing(layer_choice, ("alignment",)),
}

#: The figures that the paper has.
PAPER_FIGURES = list(FIGURES)[:11]


def figure_name(text: str) -> str:
    """A figure's name from its name or its number.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    names = list(FIGURES)
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    if text not in names:
        raise InputError(f"no figure {text!r}; choose a number from 1 to {len(names)} or one of {', '.join(names)}")
    return text


def read_reference(path: str | Path) -> dict:
    """Read the published values (``resources/paper_values.json``).

    Raises
    ------
    InputError
        If the file is missing or no JSON object.
    """
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
    """Draw one figure.

    Parameters
    ----------
    figure
        Its number or its name, see :data:`FIGURES`.
    tables
        The tables that it needs, known by their file names (``alignment.tsv``).
    output
        .png, .pdf, .svg; .tsv for the numbers drawn.
    options
        Section `figures` as JSON.
    properties
        All properties of the study; their order decides the colours of added ones.
    removal
        Removal method of figures 6 to 8; default: the first in the table.
    reference
        The paper's published values; drawn where the option `reference` is on.
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
    read = {kind: summaries.read(given[kind], kind) for kind in drawing.tables}
    with style.context():
        picture, numbers = drawing.draw(FigureData(read, options, properties, removal, published))
        style.write(picture, numbers, output)


if __name__ == "__main__":
    run(main)
