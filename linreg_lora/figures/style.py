"""One look for every figure: legible in one column, without colour vision, and in greyscale."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType
    from numpy.typing import ArrayLike

#: One column of a two-column paper, in inches; also legible on half a slide.
COLUMN_WIDTH = 4.6
#: Dots per inch of the PNG.
RESOLUTION = 200

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
        yield


def single_panel(height: float = 3.5) -> "tuple[Figure, Axes]":
    """A figure one column wide with one pair of axes; `height` in inches. Opens no window and needs no display."""
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def panels(count: int, height: float = 3.2, width: float = 7.2) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` pairs of axes side by side, `width` by `height` inches: across both columns of a paper."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count))


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


def save(figure: Figure, path: Path) -> None:
    """Write a PDF, PNG or SVG, by the suffix of `path`. No dates and no program versions are stored."""
    unwanted = {
        ".pdf": ("CreationDate", "Creator", "Producer"),
        ".png": ("Software",),
        ".svg": ("Date", "Creator"),
    }[path.suffix.lower()]
    with applied():
        figure.savefig(path, dpi=RESOLUTION, metadata=dict.fromkeys(unwanted))
