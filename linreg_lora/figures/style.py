"""One look for every figure: legible in one column, without colour vision, and in greyscale."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure as AnyFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.typing import RcKeyType
    from numpy.typing import ArrayLike

#: One column of a two-column paper, in inches; also legible on half a slide.
COLUMN_WIDTH = 4.6
#: And both columns, for panels side by side.
TWO_COLUMNS = 7.2
#: Dots per inch of the PNG.
RESOLUTION = 200
#: The least share of the font sizes that a narrow picture takes, and the least inches of a panel beside another.
_SMALLEST_FONTS, _PANEL = 0.8, 2.2
#: The largest share of its axes that a legend hides, and of their side that a label takes, in a fitted picture.
_LARGEST_LEGEND, _LONGEST_LABEL = 0.2, 1.1
#: Inches that pictures are wide, where someone asked for a width.
_width: ContextVar[float | None] = ContextVar("width", default=None)

_SETTINGS: "dict[RcKeyType, object]" = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.2,
    "lines.markeredgewidth": 0.9,
    "errorbar.capsize": 2.0,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 8,
    "legend.handlelength": 2.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    # Embedded TrueType: text stays text. A fixed salt and no dates: the same data give the same bytes.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "linreg-lora",
}


#: How text is stored: as text, in fonts that journals accept.
_FONTS: "dict[RcKeyType, object]" = {
    key: value for key, value in _SETTINGS.items() if key in ("pdf.fonttype", "svg.fonttype", "svg.hashsalt")
}


class Figure(AnyFigure):
    """A figure whose own `savefig` stores fonts as `save` does, whatever the caller's settings.

    It knows what its legends were made of, so that `fit` can make them anew.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.made_of: dict[Legend, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def legend(self, *given: Any, **named: Any) -> "Legend":
        legend = super().legend(*given, **named)
        self.made_of[legend] = given, named
        return legend

    def savefig(self, *given: Any, **named: Any) -> None:
        with matplotlib.rc_context(_FONTS):
            super().savefig(*given, **named)


class Series(NamedTuple):
    """How one series is told apart: colour for most readers, marker and dashes for all."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[float, ...]]


#: The reference method of a figure.
REFERENCE = Series("black", "o", "-")
#: The same method with its best ridge.
TUNED = Series("black", "", (0, (2.0, 1.6)))
#: The methods compared with it, in order. Colours of Okabe and Ito, arranged from light to dark.
COMPARED = (
    Series("#E69F00", "^", (0, (1.0, 1.2))),
    Series("#56B4E9", "s", (0, (4.0, 1.5))),
    Series("#D55E00", "v", (0, (4.0, 1.2, 1.0, 1.2))),
    Series("#0072B2", "D", (0, (6.0, 1.0))),
)
#: Where there are five of them.
FIVE_COMPARED = (*COMPARED, Series("#882255", "P", (0, (8.0, 1.2, 1.0, 1.2, 1.0, 1.2))))
#: Lines and bands that are not data.
ANNOTATION = "0.35"


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """The style, for the artists made inside the block, whatever the caller's settings; these come back after it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        if (width := _width.get()) is not None:
            share = min(1.0, max(_SMALLEST_FONTS, width / TWO_COLUMNS))
            for name in ("font.size", "axes.labelsize", "legend.fontsize", "lines.markersize"):
                matplotlib.rcParams[name] = share * float(matplotlib.rcParams[name])
        yield


@contextlib.contextmanager
def of_width(inches: float | None) -> Iterator[None]:
    """Figures made inside the block are so wide, with fonts, and panels below one another, that fit; None: as usual."""
    token = _width.set(inches)
    try:
        yield
    finally:
        _width.reset(token)


def figure(width: float, height: float) -> Figure:
    """An empty figure, `width` by `height` inches, or of the width asked for and lower, or higher, in proportion.

    Opens no window and needs no display.
    """
    wide = _width.get()
    power = 0.8 if width <= TWO_COLUMNS else 0.3  # what is wider has small panels
    size = (width, height) if wide is None else (wide, height * (wide / width) ** power)
    return Figure(figsize=size, layout="constrained")


def single_panel(height: float = 3.5) -> "tuple[Figure, Axes]":
    """A figure one column wide with one pair of axes; `height` in inches."""
    made = figure(COLUMN_WIDTH, height)
    return made, made.add_subplot()


def panels(count: int, height: float = 3.2, width: float = TWO_COLUMNS) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` pairs of axes side by side, `width` by `height` inches: across both columns of a paper.

    Below one another where the width asked for is too narrow.
    """
    wide = _width.get()
    if wide is None or wide / count >= _PANEL:
        made = figure(width, height)
        return made, list(made.subplots(1, count))
    made = Figure(
        figsize=(wide, count * height * (min(wide, COLUMN_WIDTH) / COLUMN_WIDTH) ** 0.8), layout="constrained"
    )
    return made, list(made.subplots(count, 1))


def without_mean(axes: "Axes", dx: int, unit: float, label: str = "no mean exists") -> None:
    """The band |n - dx| <= 1 where ridgeless methods have no mean, on an axis of n in multiples of `unit`."""
    axes.axvspan((dx - 1) / unit, (dx + 1) / unit, color="0.78", linewidth=0, zorder=0.5, label=label)


def line(axes: "Axes", x: "ArrayLike", risk: "ArrayLike", series: Series, label: str) -> None:
    """A line by theory, broken at nan; its entry in the legend shows the marker of the simulated points too."""
    look: dict[str, Any] = {"color": series.color, "marker": series.marker, "linestyle": series.linestyle}
    axes.plot(x, risk, label=label, markevery=[], zorder=2, **look)


def means(
    axes: "Axes", x: "ArrayLike", mean: "ArrayLike", stderr: "ArrayLike", series: Series, label: str = "_simulated"
) -> None:
    """Simulated means as markers, with bars of one standard error; hollow where none exists."""
    x, mean, stderr = (np.asarray(values, dtype=float) for values in (x, mean, stderr))
    look = {"color": series.color, "marker": series.marker, "linestyle": "none", "zorder": 3}
    axes.plot(x, mean, label=label, **look)
    axes.errorbar(x, mean, yerr=stderr, fmt="none", ecolor=series.color, zorder=3)
    hollow = np.isfinite(mean) & ~np.isfinite(stderr)
    if np.any(hollow):
        axes.plot(x[hollow], mean[hollow], markerfacecolor="white", **look)


#: From where to where the bar of an end level reaches, in units of the last x.
END_LEVEL = (1.06, 1.3)


def end_level(axes: "Axes", last: float, level: float, series: Series, label: str = "_end") -> None:
    """Where a path against a logarithmic axis ends that is drawn up to `last`: a bar to the right of it."""
    if np.isfinite(level) and level > 0:
        ends = [END_LEVEL[0] * last, END_LEVEL[1] * last]
        axes.plot(ends, [level, level], color=series.color, linewidth=2.2, solid_capstyle="butt", label=label)


def fit(figure: AnyFigure, inches: float) -> None:
    """Make what was laid out for a wider picture fit.

    Legends have fewer columns, those that hide data go below them, and labels are no longer than their axes. A figure
    that was made without this module, as a plug-in's may be, becomes `inches` wide in proportion.
    """
    if not isinstance(figure, Figure):
        width, height = figure.get_size_inches()
        figure.set_size_inches(inches, height * inches / width)
        return
    figure.draw_without_rendering()
    for axes in figure.axes:
        _legend_below(figure, axes)
        titles = [(title, axes.bbox.width / _LONGEST_LABEL) for title in (axes.title, axes._left_title)]  # pyright: ignore
        for label, room in ((axes.xaxis.label, axes.bbox.width), (axes.yaxis.label, axes.bbox.height), *titles):
            box = label.get_window_extent()
            if (length := max(box.width, box.height)) > _LONGEST_LABEL * room:
                label.set_fontsize(float(label.get_fontsize()) * max(_SMALLEST_FONTS, _LONGEST_LABEL * room / length))
    for legend, (given, named) in list(figure.made_of.items()):
        columns, before = named.get("ncols", 1), legend.get_window_extent().height
        while legend.get_window_extent().width > figure.bbox.width and columns > 1:
            legend.remove()
            columns -= 1
            legend = figure.legend(*given, **{**named, "ncols": columns})
            figure.draw_without_rendering()
        _make_higher(figure, legend.get_window_extent().height - before)


def _make_higher(figure: Figure, pixels: float) -> None:
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + pixels / figure.dpi)


def _legend_below(figure: Figure, axes: "Axes") -> None:
    """Put a legend that takes too much of its axes below them, and make the figure higher by as much."""
    legend = axes.get_legend()
    if legend is None:
        return
    box = legend.get_window_extent()
    if not axes.bbox.overlaps(box) or box.width * box.height <= _LARGEST_LEGEND * axes.bbox.width * axes.bbox.height:
        return
    below = axes.xaxis.get_tightbbox()
    assert below is not None
    drop = (axes.bbox.y0 - below.y0) / axes.bbox.height
    title, size = legend.get_title().get_text() or None, legend.get_texts()[0].get_fontsize()
    columns = 2 if 2 * box.width <= axes.bbox.width + box.width / 3 else 1
    legend = axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -drop), ncols=columns, title=title, fontsize=size, title_fontsize=size,
        frameon=False,
    )  # fmt: skip
    figure.draw_without_rendering()
    _make_higher(figure, legend.get_window_extent().height)


def save(figure: AnyFigure, path: Path) -> None:
    """Write a PDF, PNG or SVG, by the suffix of `path`. No dates and no program versions are stored."""
    unwanted = {
        ".pdf": ("CreationDate", "Creator", "Producer"),
        ".png": ("Software",),
        ".svg": ("Date", "Creator"),
    }[path.suffix.lower()]
    with applied():
        figure.savefig(path, dpi=RESOLUTION, metadata=dict.fromkeys(unwanted))
