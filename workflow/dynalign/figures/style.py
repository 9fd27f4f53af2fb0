"""How figures look: names, colours and markers; files with the same bytes every time."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError
from dynalign.statistics.summaries import MOST_NAMED
from dynalign.tables.writer import write_table

#: matplotlib's defaults, changed in these points and in no others.
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "pdf.fonttype": 42,
    "svg.hashsalt": "dynalign",
}

#: Ink of baselines, notes, grid lines, published values, what shows no effect, and what chance alone gives.
BASELINE, NOTE, GRID, REFERENCE, FAINT, NULL = "#4d4d4d", "#595959", "#e3e3e3", "#b8b8b8", "#b3b3b3", "#cfcfcf"

#: A line that stands for no property.
LINE = "#0072B2"


class Mark(NamedTuple):
    """How one property (or the original representation) is drawn in every figure."""

    colour: str
    marker: str | tuple[int, int, float]


#: Colours that any colour vision tells apart (Okabe and Ito 2008; Tol 2021, "muted"); markers say it again.
MARKS = {
    "original": Mark("#000000", "o"),
    "random_label": Mark("#999999", "X"),
    "sentence_length": Mark("#56B4E9", "P"),
    "tree_depth": Mark("#0072B2", "s"),
    "top_constituents": Mark("#E69F00", "h"),
    "tense": Mark("#D55E00", "^"),
    "subject_number": Mark("#CC79A7", "v"),
    "object_number": Mark("#882255", "<"),
    "pos": Mark("#332288", ">"),
    "smallest_constituent": Mark("#009E73", "D"),
}

#: For the properties that a study adds, and for removal methods drawn together, in their order.
FURTHER_MARKS = (
    *(Mark("#999933", "p"), Mark("#AA4499", "*"), Mark("#661100", "d")),
    *(Mark("#44AA99", "H"), Mark("#DDCC77", "8"), Mark("#6699CC", (4, 1, 45))),
)

SUBJECT_MARKERS = "os^Dv<>P"


def label(name: str) -> str:
    """A property's name as readers see it."""
    return {"pos": "part of speech"}.get(name, name.replace("_", " "))


def step_label(step: float) -> str:
    """A training step as readers see it: ``143,000``."""
    return f"{int(step):,}"


def marks(properties: Iterable[str]) -> dict[str, Mark]:
    """One mark for each of a study's properties: the paper's are fixed, others take the further marks in order."""
    others, n = [name for name in properties if name not in MARKS], len(FURTHER_MARKS)
    # Colours come again after n; each time with the next marker.
    further = [Mark(FURTHER_MARKS[k % n].colour, FURTHER_MARKS[(k + k // n) % n].marker) for k in range(len(others))]
    return MARKS | dict(zip(others, further, strict=True))


def subject_marks(subjects: Sequence[str]) -> dict[str, Mark]:
    """One mark per subject: evenly spaced viridis colours (none of its pale yellow), or one grey for many subjects."""
    if len(subjects) > MOST_NAMED:
        return dict.fromkeys(subjects, Mark(FAINT, "o"))
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = np.linspace(0, 0.8, len(subjects)) if len(subjects) > 1 else [0.4]
    marks = map(Mark, (to_hex(colormaps["viridis"](shade)) for shade in shades), cycle(SUBJECT_MARKERS))
    return dict(zip(subjects, marks, strict=True))


def subplots(width: float, height: float, rows: int = 1, columns: int = 1, **settings):
    """An empty figure of `width` × `height` inches, and its axes as an array of shape (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def title(figure, text: str, note: str) -> None:
    """The figure's title, and below the panels one line on what is drawn; the caption has the rest."""
    figure.suptitle(text)
    line = textwrap.shorten(note, int(figure.get_figwidth() * 16.5), placeholder=" …")
    figure.supxlabel(line, x=0.01, ha="left", fontsize=8, color=NOTE)


@contextmanager
def context() -> Iterator[None]:
    """The style of all figures, whatever the reader's own matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def settle(figure) -> None:
    """Lay a figure out once, at rounded places: the solver's last digits vary from run to run, and SVG shows them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(part, 6) for part in axes.get_position(original=True).bounds])


def save(figure, path: str | Path) -> None:
    """Write `figure` to a .png (150 dpi), .pdf or .svg file, else `InputError`, without dates or versions in it."""
    nothing = {".png": ("Software",), ".pdf": ("Creator", "Producer", "CreationDate"), ".svg": ("Creator", "Date")}
    suffix = Path(path).suffix
    if suffix not in nothing:
        raise InputError(f"{path}: figures are written as {', '.join(nothing)}; choose one of these suffixes")
    settle(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=dict.fromkeys(nothing[suffix]))


def write(paths: Iterable[str | Path], draw: Callable[..., tuple], *given) -> None:
    """Call ``draw(*given)`` in the style of all figures; write its picture (:func:`save`) and its numbers (.tsv)."""
    with context():
        figure, numbers = draw(*given)
        for path in paths:
            if Path(path).suffix != ".tsv":
                save(figure, path)
            elif numbers is None:
                raise InputError(f"{path}: a brain image's numbers are the image's; name pictures only")
            else:
                write_table(numbers, path)
