"""How figures look: names, colours, the axis of training steps, files with the same bytes every time."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.files import InputError, atomic_path

#: matplotlib's defaults, changed in these points and in no others.
HOUSE = {
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
    marker: str


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
    Mark("#6699CC", "P"),
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
    return MARKS | {name: FURTHER_MARKS[k % len(FURTHER_MARKS)] for k, name in enumerate(others)}


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
    """

    def __init__(self, steps: Iterable[float], kind: str, inches: float):
        self.steps = sorted({int(step) for step in steps})
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
        self.pad = max(0.5 * self.spacing, 0.07 * span)
        self.per_unit = inches / (span + 2 * self.pad)

    def __call__(self, steps: Iterable[float]) -> np.ndarray:
        """Places of `steps`, which are among the axis's."""
        return self.places[np.searchsorted(self.steps, np.asarray(list(steps), dtype=int))]

    def with_baselines(self, rows, baselines: Sequence[str]) -> np.ndarray:
        """Places of the rows of a table: baselines, which have no step, stand left of the first step."""
        apart = dict(zip(baselines, self.baseline_places(len(baselines)), strict=True))
        return np.array(
            [
                self([step])[0] if step == step else apart[name]
                for name, step in zip(rows["checkpoint"], rows["step"], strict=True)
            ]
        )

    def baseline_places(self, n: int) -> np.ndarray:
        """Places of `n` baselines, side by side."""
        return self.places[0] - 2 * self.pad * np.arange(n, 0, -1)

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

    def dress(self, axes, baselines: Sequence[str] = ()) -> None:
        """Ticks, labels, limits and the break on the x axis of `axes`; `baselines` left of the steps.

        Labels turn when they are too long for their room; a step too near to the next keeps its tick alone.
        """
        apart = self.baseline_places(len(baselines))
        axes.set_xlim([*apart, self.places[0]][0] - self.pad, self.places[-1] + self.pad)
        labelled = self.with_room(0.2)
        texts = [*baselines, *(step_label(self.steps[k]) for k in labelled)]
        axes.set_xticks(np.append(apart, self.places[labelled]), texts)
        axes.set_xticks(np.delete(self.places, labelled), minor=True)
        if len(self.with_room(max(len(text) for text in texts) * 0.085 + 0.06)) < len(texts):
            turn(axes)
        axes.set_xlabel("training step")
        if self.broken:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            look = {"ha": "center", "va": "center", "fontsize": 9, "bbox": paper, "gid": "axis-break"}
            axes.text(self.places[:2].mean(), 0, "//", transform=axes.get_xaxis_transform(), **look)


def sheet(width: float, height: float, rows: int = 1, columns: int = 1, **settings):
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


def baselines(axes, values: Mapping[str, float]) -> None:
    """A labelled dashed line per baseline: baselines have no place on an axis of steps."""
    for k, (name, value) in enumerate(values.items()):
        dashes = ((5, 3), (2, 2), (6, 2, 1, 2))[k % 3]
        text = f"{name} baseline: {value:.4f}"
        axes.axhline(value, color=BASELINE, linewidth=1.3, dashes=dashes, label=text, zorder=1.5)


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


def interval(axes, places, low, high) -> None:
    """Vertical bars without caps, dark with a white rim, so that they show on bars of any colour."""
    axes.vlines(places, low, high, color="white", linewidth=3.4, zorder=2.5)
    axes.vlines(places, low, high, color="#262626", linewidth=1.6, zorder=2.6, gid="interval")


def turn(axes) -> None:
    """Turn the x tick labels by 45 degrees, each ending at its tick."""
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")


def layer_ticks(axis, layers: Sequence[int]) -> None:
    """Ticks at the layers studied; of many, every second, third … is labelled."""
    every = -(-len(layers) // 14)
    axis.set_ticks(layers, [str(layer) if k % every == 0 else "" for k, layer in enumerate(layers)])


def plain_log_axis(axes) -> None:
    """A log y axis with plain numbers (also within one decade) and room for labels above the points."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    span = max(high / low, 1.02)
    axes.set_ylim(low / span**0.06, high * span**0.08)
    several = LogLocator(subs=(1, 2, 5)) if span <= 300 else LogLocator()
    axes.yaxis.set_major_locator(several if span > 6 else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


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
    gridlines(axes)
    if max(len(f"{count:,}") for count in counts) * 0.075 <= room:
        for place, count in zip(places, counts, strict=True):
            axes.annotate(
                f"{count:,}", (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
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
def house() -> Iterator[None]:
    """The house style, whatever the reader's own matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(HOUSE)
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
    nothing = {
        ".png": ("Software",),
        ".pdf": ("Creator", "Producer", "CreationDate"),
        ".svg": ("Creator", "Date"),
    }
    suffix = Path(path).suffix
    if suffix not in nothing:
        raise InputError(f"{path}: figures are written as {', '.join(nothing)}; choose one of these suffixes")
    settle(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=dict.fromkeys(nothing[suffix]))
