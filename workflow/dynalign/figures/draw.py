"""The paper's eleven figures and five beyond it, drawn from the study's tables.

One call draws one figure: ``python -m dynalign.figures.draw 4 --alignment alignment.tsv --output X.png X.tsv``. A
``.tsv`` output holds the numbers drawn. :data:`FIGURES` says which tables each figure needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dynalign.cli import options
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
from dynalign.tables import writer

#: All figures by name: the paper's in its order, then those that it does not have. The names of tables are also the
#: command's flags.
FIGURES = {
    "figure-01-perplexity": Drawing(perplexity, ("perplexity",), True),
    "figure-02-sentence-classes": Drawing(sentence_classes, ("class-counts",)),
    "figure-03-word-classes": Drawing(word_classes, ("class-counts",)),
    "figure-04-best-layer-alignment": Drawing(best_layer_alignment, ("alignment",), True),
    "figure-05-best-layer": Drawing(best_layer, ("alignment",)),
    "figure-06-significant-layers": Drawing(significant, ("removal-effects",)),
    "figure-07-removal-bars": Drawing(representation_bars, ("alignment", "removal-effects")),
    "figure-08-alignment-by-layer": Drawing(alignment_by_layer, ("alignment",)),
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


def main(argv: list[str] | None = None) -> None:
    """Draw one figure."""
    parser = argparse.ArgumentParser(prog="python -m dynalign.figures.draw", description=main.__doc__)
    parser.add_argument("figure", help=f"a number from 1 to {len(FIGURES)}, or a name: {', '.join(FIGURES)}")
    for kind in summaries.TABLES:
        users = [name[7:9] for name, figure in FIGURES.items() if kind in figure.tables]
        parser.add_argument(f"--{kind}", dest=kind, metavar="TSV", help=f"needed by figures {', '.join(users)}")
    parser.add_argument("--options", type=options(Figures), default=Figures(), help="the section `figures` as JSON")
    parser.add_argument(
        "--properties",
        nargs="+",
        default=tuple(paper_properties()),
        help="all properties of the study; their order decides the colours of added ones",
    )
    parser.add_argument("--removal", help="removal method of figures 6 to 8; default: the first in the table")
    parser.add_argument("--reference", help="the paper's published values; drawn where the option `reference` is on")
    parser.add_argument(
        "--output", required=True, nargs="+", action="extend", help=".png, .pdf, .svg; .tsv for the numbers drawn"
    )
    arguments = parser.parse_args(argv)
    drawing = FIGURES[figure_name(arguments.figure)]
    given = vars(arguments)
    for kind in drawing.tables:
        if given[kind] is None:
            raise InputError(f"{figure_name(arguments.figure)} needs --{kind} TSV")
    reference = None
    if arguments.options.reference and drawing.reference:
        if arguments.reference is None:
            raise InputError("the option `reference` is on, so --reference JSON must name the published values")
        reference = read_reference(shipped(arguments.reference))
    figure_data = FigureData(
        {kind: summaries.read(given[kind], *summaries.TABLES[kind]) for kind in drawing.tables},
        arguments.options,
        arguments.properties,
        arguments.removal,
        reference,
    )
    with style.context():
        figure, numbers = drawing.draw(figure_data)
        for path in arguments.output:
            if Path(path).suffix == ".tsv":
                writer.write_table(numbers, path)
            else:
                style.save(figure, path)


if __name__ == "__main__":
    from dynalign.cli import run

    run(main)
