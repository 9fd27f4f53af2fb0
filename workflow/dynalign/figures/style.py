"""How figures look: names, colours, the axis of training steps, files with the same bytes every time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.errors import InputError

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

#: Ink of baselines, notes and grid lines.
BASELINE, NOTE, GRID, REFERENCE, FAINT = "#4d4d4d", "#595959", "#e3e3e3", "#b8b8b8", "#b3b3b3"

#: What chance alone gives.
NULL = "#cfcfcf"

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

#: For the properties that a study adds, in their order.
FURTHER_MARKS = (
    Mark("#999933", "p"),
    Mark("#AA4499", "*"),
    Mark("#661100", "d"),
    Mark("#44AA99", "H"),
    Mark("#DDCC77", "8"),
    Mark("#6699CC", (4, 1, 45)),
)

#: Removal methods, where several are drawn together.
METHOD_MARKS = {"ridge": Mark("#D55E00", "^"), "leace": Mark("#0072B2", "s")}
SUBJECT_MARKERS = "os^Dv<>P"


def label(name: str) -> str:
    """A property's name as readers see it."""
    return {"pos": "part of speech"}.get(name, name.replace("_", " "))


def label_with_unit(name: str) -> str:
    """A property's name with the unit of its values, where they have one."""
    units = {"sentence_length": " (words)", "tree_depth": " (edges)"}
    return label(name) + units.get(name, "")


def step_label(step: float) -> str:
    """A training step as readers see it: ``143,000``."""
    return f"{int(step):,}"


def marks(properties: Iterable[str]) -> dict[str, Mark]:
    """One mark per property: the paper's are fixed, others take the further marks in their order.

    Parameters
    ----------
    properties : iterable of str
        All properties of the study in its order, so that a property looks the same in every figure.
    """
    others = [name for name in properties if name not in MARKS]
    n = len(FURTHER_MARKS)
    # Colours come again after n; each time with the next marker.
    return MARKS | {
        name: Mark(FURTHER_MARKS[k % n].colour, FURTHER_MARKS[(k + k // n) % n].marker) for k, name in enumerate(others)
    }


def method_mark(method: str, k: int) -> Mark:
    """The mark of a removal method, the `k`-th drawn; a further one takes a further mark."""
    return METHOD_MARKS.get(method, FURTHER_MARKS[k % len(FURTHER_MARKS)])


def subject_marks(subjects: Sequence[str]) -> dict[str, Mark]:
    """One mark per subject: evenly spaced viridis colours (none of its pale yellow)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = np.linspace(0, 0.8, len(subjects)) if len(subjects) > 1 else [0.4]
    return {
        subject: Mark(to_hex(colormaps["viridis"](shade)), SUBJECT_MARKERS[k % len(SUBJECT_MARKERS)])
        for k, (subject, shade) in enumerate(zip(subjects, shades, strict=True))
    }


class StepAxis:
    """Where training steps stand on an axis.

    Parameters
    ----------
    steps : sequence of int
    kind : {"categorical", "log"}
        Evenly spaced, or by log10. Step 0 has no logarithm: it stands left of the first step, and a break in
        the axis marks that the distance between them means nothing.
    inches : float
        About how wide the axis is drawn: what decides which labels have room.
    baselines : sequence of str
        Baselines that stand left of the first step.
    """

    def __init__(self, steps: Iterable[float], kind: str, inches: float, baselines: Sequence[str] = ()):
        self.steps = sorted({int(step) for step in steps})
        self.baselines = list(baselines)
        self.broken = kind == "log" and self.steps[0] == 0 and len(self.steps) > 1
        if kind == "log":
            logs = np.log10([step for step in self.steps if step > 0])
            typical = np.median(np.diff(logs)) if len(logs) > 1 else 1.0
            zero = [logs[0] - max(typical, 0.12 * np.ptp(logs))] if self.broken else [0.0]
            self.places = np.concatenate([zero, logs]) if self.steps[0] == 0 else logs
        else:
            self.places = np.arange(len(self.steps), dtype=float)
        gaps = np.diff(self.places)
        self.spacing = float(gaps.min()) if len(gaps) else 1.0
        span = float(np.ptp(self.places))
        self.pad = max(0.5 * self.spacing, (0.07 if inches > 3 else 0.04) * span)
        n = len(self.baselines)
        # Baselines stand as far apart as their names need.
        self.apart = 2 * self.pad
        if n:
            self.apart = max(self.apart, 0.18 * (span + 2 * self.pad) / max(inches - 0.18 * n, 0.5 * inches))
        self.per_unit = inches / (span + 2 * self.pad + n * self.apart)
        #: Small panels have small labels.
        self.small = inches < 3

    def __call__(self, steps: Iterable[float]) -> np.ndarray:
        """Places of `steps`, which are among the axis's."""
        return self.places[np.searchsorted(self.steps, np.asarray(list(steps), dtype=int))]

    def of(self, rows) -> np.ndarray:
        """Places of the rows of a table: baselines, which have no step, stand left of the first step."""
        apart = dict(zip(self.baselines, self.baseline_places, strict=True))
        return np.array(
            [
                self([step])[0] if step == step else apart[name]
                for name, step in zip(rows["checkpoint"], rows["step"], strict=True)
            ]
        )

    @property
    def baseline_places(self) -> np.ndarray:
        """Places of the baselines, side by side."""
        return self.places[0] - self.apart * np.arange(len(self.baselines), 0, -1)

    @property
    def edges(self) -> np.ndarray:
        """Borders of the cells around the steps, half way between them: one more than there are steps."""
        if len(self.places) == 1:
            return self.places[0] + np.array([-0.5, 0.5])
        middles = (self.places[1:] + self.places[:-1]) / 2
        outer = [2 * self.places[0] - middles[0], 2 * self.places[-1] - middles[-1]]
        low, high = max(outer[0], self.places[0] - self.pad), min(outer[1], self.places[-1] + self.pad)
        return np.concatenate([[low], middles, [high]])

    def cells(self, rows) -> tuple[np.ndarray, np.ndarray]:
        """Left borders and widths of the cells of a table's rows, baselines' a little apart."""
        left = dict(zip(self.steps, self.edges[:-1], strict=True))
        width = dict(zip(self.steps, np.diff(self.edges), strict=True))
        apart = dict(zip(self.baselines, self.baseline_places - 0.42 * self.apart, strict=True))
        pairs = [
            (left[step], width[step]) if step == step else (apart[name], 0.84 * self.apart)
            for name, step in zip(rows["checkpoint"], rows["step"], strict=True)
        ]
        return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])

    def dodge(self, k: int, n: int) -> float:
        """Shift of the k-th of n symbols that share a place, so that none hides another."""
        return 0.36 * self.spacing * ((k - (n - 1) / 2) / max(n - 1, 1))

    def with_room(self, inches: float) -> list[int]:
        """Which steps (their indices) can have labels `inches` wide; the last step always can."""
        chosen = [len(self.steps) - 1]
        for k in range(len(self.steps) - 2, -1, -1):
            if (self.places[chosen[-1]] - self.places[k]) * self.per_unit >= inches:
                chosen.append(k)
        return chosen[::-1]

    def dress(self, axes) -> None:
        """Ticks, labels, limits and the break on the x axis of `axes`, baselines left of the steps.

        Labels turn when they are too long for their room; a step too near to the next keeps its tick alone.
        """
        apart = self.baseline_places
        axes.set_xlim([*apart, self.places[0]][0] - self.pad, self.places[-1] + self.pad)
        size, room, letter = (8, 0.16, 0.068) if self.small else (10, 0.2, 0.085)
        labelled = self.with_room(room)
        texts = [*self.baselines, *(step_label(self.steps[k]) for k in labelled)]
        axes.set_xticks(np.append(apart, self.places[labelled]), texts, fontsize=size)
        axes.set_xticks(np.delete(self.places, labelled), minor=True)
        width = max(len(text) for text in texts) * letter + 0.06
        crowded = len(self.with_room(width)) < len(labelled)
        if crowded or (self.baselines and self.apart * self.per_unit < width):
            turn(axes)
        axes.set_xlabel("training step")
        if self.broken:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            look = {"ha": "center", "va": "center", "fontsize": 9, "bbox": paper, "gid": "axis-break"}
            axes.text(self.places[:2].mean(), 0, "//", transform=axes.get_xaxis_transform(), **look)


def subplots(width: float, height: float, rows: int = 1, columns: int = 1, **settings):
    """An empty figure of `width` × `height` inches, and its axes as an array of shape (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def title(figure, text: str, note: str) -> None:
    """The figure's title, and below the panels a small note on what is drawn."""
    figure.suptitle(text)
    lines = textwrap.wrap(note, int(figure.get_figwidth() * 16.5))
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8, color=NOTE)


def gridlines(axes) -> None:
    """Faint horizontal lines behind everything."""
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def baseline_dashes(k: int) -> tuple[int, tuple[float, ...]]:
    """The dashes of the k-th baseline, as a line style of matplotlib."""
    return 0, ((5, 3), (2, 2), (6, 2, 1, 2))[k % 3]


def baselines(axes, values: Mapping[str, float], colour: str = BASELINE) -> None:
    """A labelled dashed line per baseline: baselines have no place on an axis of steps."""
    for k, (name, value) in enumerate(values.items()):
        look = {"color": colour, "linewidth": 1.3, "linestyle": baseline_dashes(k)}
        axes.axhline(value, **look, label=f"{name} baseline: {value:.4f}", zorder=1.5)


def shades(low: float, high: float):
    """Colours for alignment: diverging and symmetric about 0 where some is clearly negative, else
    dark to bright.

    Returns
    -------
    matplotlib.colors.Normalize, str
        The scale, and the name of a colour map that any colour vision reads.
    """
    from matplotlib.colors import Normalize

    if -low > 0.1 * high:
        most = max(-low, high)
        return Normalize(-most, most), "RdBu_r"
    return Normalize(low, high), "cividis"


def key(text: str, **look):
    """A legend entry of its own: a symbol and what it means."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": NOTE, "marker": "o", "linestyle": "none", "label": text} | look)


def legend(figure, handles: Sequence) -> None:
    """One legend for the whole figure, right of the panels."""
    figure.legend(handles=handles, loc="outside right center", labelspacing=0.8)


def point_labels(axes, axis: StepAxis, values: Sequence[float], texts: Sequence[str]) -> None:
    """A number at each point of a line over all steps of `axis`, on the side that the line leaves free."""
    heights = np.asarray(values, dtype=float)
    before = np.append(heights[:1], heights[:-1]) > heights
    after = np.append(heights[1:], heights[-1:]) > heights
    sides = {
        (False, False): ((0, 6), "center", "bottom"),
        (True, True): ((0, -7), "center", "top"),
        (True, False): ((4, 4), "left", "bottom"),
        (False, True): ((-4, 4), "right", "bottom"),
    }
    for k in axis.with_room(0.4):
        offset, across, along = sides[bool(before[k]), bool(after[k])]
        point, look = (axis.places[k], heights[k]), {"ha": across, "va": along, "fontsize": 9}
        axes.annotate(texts[k], point, offset, textcoords="offset points", **look)


def numbers_above(axes, axis: StepAxis, texts: Sequence[str], heading: str) -> None:
    """A number above the panel for each step of `axis`: inside they would hide the symbols."""
    look = {"va": "bottom", "fontsize": 9, "fontweight": "bold"}
    for k in axis.with_room(0.5):
        axes.text(axis.places[k], 1.01, texts[k], ha="center", transform=axes.get_xaxis_transform(), **look)
    axes.text(-0.01, 1.01, heading, ha="right", transform=axes.transAxes, **look)


def scatter_labels(axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> None:
    """A text beside each point, the last points first, leaving out those that would touch another text.

    Call it when the limits and the scales of `axes` stand.
    """
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()
    look = {"fontsize": 8, "gid": "step", "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
    sides = ((-6, 6, "right", "bottom"), (6, -6, "left", "top"), (6, 6, "left", "bottom"), (-6, -6, "right", "top"))
    taken = []
    for k, (*point, text) in enumerate(list(zip(x, y, texts, strict=True))[::-1]):
        # Right of the last point there is nothing.
        for dx, dy, across, along in sides if k else (sides[2], *sides):
            offset = {"xytext": (dx, dy), "textcoords": "offset points", "ha": across, "va": along}
            label = axes.annotate(text, point, **offset, **look, zorder=4)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box.padded(2))
                break
            label.remove()


def interval(axes, places, low, high) -> None:
    """Vertical bars without caps, dark with a white rim, so that they show on bars of any colour."""
    axes.vlines(places, low, high, color="white", linewidth=3.4, zorder=2.5)
    axes.vlines(places, low, high, color="#262626", linewidth=1.6, zorder=2.6, gid="interval")


def turn(axes) -> None:
    """Turn the x tick labels by 45 degrees, each ending at its tick."""
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")


def layer_ticks(axis, places: Sequence[int], layers: Sequence[int] | None = None) -> None:
    """Ticks at the layers studied (at `places`, by default the layers); of many, every second … is labelled."""
    layers = places if layers is None else layers
    every = -(-len(layers) // 14)
    axis.set_ticks(places, [str(layer) if k % every == 0 else "" for k, layer in enumerate(layers)])


def plain_log_axis(axes, axis=None) -> None:
    """A log axis (by default y) with plain numbers (also within one decade) and room beyond the points."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    upright = axis is None or axis is axes.yaxis
    axis = axes.yaxis if upright else axis
    (axes.set_yscale if upright else axes.set_xscale)("log")
    low, high = axis.get_view_interval()
    span = max(high / low, 1.02)
    (axes.set_ylim if upright else axes.set_xlim)(low / span**0.06, high * span**0.08)
    several = LogLocator(subs=(1, 2, 5)) if span <= 300 else LogLocator()
    axis.set_major_locator(several if span > 6 else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def bars_of_counts(axes, values: Sequence[str], counts: np.ndarray, colour: str, inches: float) -> None:
    """One bar per value, in the order given, with as many labels as `inches` have room for.

    Many bars get no count above them; where not even the values have room, the axis shows ranks (falling
    counts) or every few values, and counts that differ a lot stand on a log axis. The axes' labels say so.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    n = len(values)
    places = np.arange(1, n + 1)
    room = inches / n
    axes.bar(places, counts, color=colour, width=0.8 if n <= 60 else 1)
    axes.set_xlim(0.3, n + 0.7)
    axes.margins(y=0.08)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    gridlines(axes)
    if max(len(f"{count:,}") for count in counts) * 0.075 <= room:
        for place, count in zip(places, counts, strict=True):
            axes.annotate(f"{count:,}", (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    if room >= 0.17:
        axes.set_xticks(places, values)
        if max(len(value) for value in values) * 0.095 + 0.05 > room:
            turn(axes)
    elif np.all(np.diff(counts) <= 0):
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel(f" (rank of {n} values)")
    else:
        every = -(-n // 12)
        axes.set_xticks(places[::every], values[::every])
    if n > 24 and counts.max() >= 50 * counts.min():
        axes.set_yscale("log")
        axes.set_ylim(0.7)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel(" (log scale)")


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
    """Write `figure` to a .png (150 dpi), .pdf or .svg file without dates or versions in it.

    Raises
    ------
    InputError
        If the suffix is none of the three.
    """
    nothing = {".png": ("Software",), ".pdf": ("Creator", "Producer", "CreationDate"), ".svg": ("Creator", "Date")}
    suffix = Path(path).suffix
    if suffix not in nothing:
        raise InputError(f"{path}: figures are written as {', '.join(nothing)}; choose one of these suffixes")
    settle(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=dict.fromkeys(nothing[suffix]))
