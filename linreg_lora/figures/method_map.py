"""Methods side by side as a picture: risk against the number of trained parameters, a labelled point a method.

The shape of a point says how its risk is known: exactly, by a deterministic equivalent, or by an expansion.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from linreg_lora.figures import style
from linreg_lora.methods.result import Kind, MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.simulation.comparison import Compared

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width and height of the picture, in inches: half a slide.
_SIZE = (6.2, 4.4)
#: Colour, marker and size of each kind of risk by theory.
_LOOKS: dict[Kind, tuple[str, str, float]] = {
    "exact": (style.COMPARED[3].color, "o", 7.0),
    "equivalent": (style.COMPARED[2].color, "D", 6.0),
    "expansion": (style.COMPARED[0].color, "^", 7.5),
    "other": (style.FIVE_COMPARED[4].color, "P", 7.5),
}
#: Where a label may stand: distance from its point, in points of print, and direction, the first that is free.
_DISTANCES = (8, 14, 22, 32, 44)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
#: A label further off than this, or whose point has another this near, is tied to its point by a line.
_TIED, _CROWDED = 10, 18
#: Half the room that a marker takes, in points of print.
_MARKER = 5.0


def of_methods(problem: Problem, compared: Sequence[Compared]) -> "Figure":
    """Risk against trained parameters by theory, simulation or both; what may be off by more than 1 % is hollow.

    Methods without a finite number are named in the title. Error bars are one standard error. Labels overlap
    neither points nor one another, if there is room.
    """
    shown = [one for one in compared if one.parameters is not None and _values(one)]
    with style.applied():
        figure, axes = style.single_panel(_SIZE[1])
        figure.set_figwidth(_SIZE[0])
        FigureCanvasAgg(figure)
        _points(axes, shown)
        _logarithmic(axes, "x", [one.parameters for one in shown if one.parameters is not None])
        axes.set(xlabel="trained parameters", ylabel="expected excess risk")
        heights = [value for one in shown for value in _values(one)]
        if heights and min(heights) > 0 and max(heights) > 8 * min(heights):
            _logarithmic(axes, "y", heights)
        axes.margins(0.16, 0.12)
        hidden = [one.method for one in compared if one not in shown]
        _titled(axes, problem, hidden)
        if shown:
            figure.legend(loc="outside lower center", ncols=3, handlelength=1.2, columnspacing=1.6)
        else:
            axes.set(xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no method has a finite risk here", transform=axes.transAxes, ha="center")
        figure.draw_without_rendering()
        _label(axes, shown)
    return figure


def _points(axes: "Axes", shown: Sequence[Compared]) -> None:
    by_theory = [(one.parameters, one.theory) for one in shown if _finite(one.theory)]
    for kind, (color, marker, size) in _LOOKS.items():
        for flagged in (False, True):
            some = [(at, risk.risk) for at, risk in by_theory if risk.kind == kind and risk.flagged is flagged]
            if some:
                label = f"{kind}, may be off by > 1 %" if flagged else kind
                look = {"marker": marker, "markersize": size, "linestyle": "none", "color": color, "zorder": 2.5}
                face = "white" if flagged else color
                axes.plot(*zip(*some, strict=True), label=label, markerfacecolor=face, **look)
    drawn = [(one.parameters, one.simulated) for one in shown if _finite(one.simulated)]
    if drawn:
        at, risks = zip(*drawn, strict=True)
        mean, stderr = [risk.risk for risk in risks], [risk.stderr for risk in risks]
        label = f"{risks[0].trials} draws, \u00b1 standard error"
        with rc_context({"lines.markersize": 2.6}):
            style.means(axes, at, mean, stderr, style.Series("black", "s", "-"), label)


def _logarithmic(axes: "Axes", name: Literal["x", "y"], values: Sequence[float]) -> None:
    """A logarithmic axis, `name` x or y; with a linear stretch below the smallest positive value where some are 0."""
    positive = [value for value in values if value > 0]
    if not positive:
        return
    low, high = min(positive), max(positive)
    scale = axes.set_xscale if name == "x" else axes.set_yscale
    axis = axes.xaxis if name == "x" else axes.yaxis
    steps = (1, 2, 5) if high < 300 * low else (1,)
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
    if len(positive) == len(values):
        scale("log")
    else:
        scale("symlog", linthresh=low, linscale=0.4)
        ticks = [0.0, *(tick for tick in ticks if tick >= low)]
        axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _label(axes: "Axes", shown: Sequence[Compared]) -> None:
    """The names of the methods, each at the first place where it covers nothing; the most crowded ones first."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[union-attr]
    inch = axes.figure.dpi / 72  # type: ignore[union-attr]
    half = _MARKER * inch
    places = {}
    taken: list[Bbox] = []
    for one in shown:
        at = [axes.transData.transform((one.parameters or 0, value)) for value in _values(one)]
        places[one.method] = at[0]
        low, high = np.min(at, axis=0) - half, np.max(at, axis=0) + half
        taken.append(Bbox([low, high]))
    room = axes.get_window_extent(renderer)
    for one in sorted(shown, key=lambda one: -_neighbours(places, one.method, 60)):
        x, y = places[one.method]
        text = axes.text(0, 0, one.method, fontsize="small", transform=None, zorder=4, in_layout=False)
        size = text.get_window_extent(renderer)
        best = None
        for distance, (right, up) in itertools.product(_DISTANCES, _DIRECTIONS):
            left = x + right * distance * inch - (0 if right > 0 else size.width if right < 0 else size.width / 2)
            foot = y + up * distance * inch - (0 if up > 0 else size.height if up < 0 else size.height / 2)
            box = Bbox.from_bounds(left, foot, size.width, size.height)
            covered = sum(_common(box, other) for other in taken)
            outside = size.width * size.height - _common(box, room)
            found = (covered + 4 * outside, distance, box)
            if best is None or found[0] < best[0] - 1e-9:
                best = found
            if best[0] < 1e-9:
                break
        assert best is not None
        text.remove()
        _, distance, box = best
        taken.append(box.padded(inch))
        crowded = _neighbours(places, one.method, _CROWDED * inch) > 1
        middle = axes.transData.inverted().transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        point = axes.transData.inverted().transform((x, y))
        line = {"arrowstyle": "-", "color": style.ANNOTATION, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            one.method, xy=tuple(point), xytext=tuple(middle), ha="center", va="center", fontsize="small", zorder=4,
            arrowprops=line if distance > _TIED or crowded else None, in_layout=False,
        )  # fmt: skip


def _neighbours(places: dict[str, np.ndarray], name: str, distance: float) -> int:
    """How many points are so near to that of a method, its own included."""
    return sum(bool(np.linalg.norm(at - places[name]) < distance) for at in places.values())


def _common(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else shared.width * shared.height


def _finite(risk: MethodRisk | None) -> TypeGuard[MethodRisk]:
    return risk is not None and math.isfinite(risk.risk)


def _values(one: Compared) -> list[float]:
    """The finite risks of a method, and the ends of its error bar."""
    found = [risk.risk for risk in (one.theory, one.simulated) if _finite(risk)]
    drawn = one.simulated
    if _finite(drawn) and drawn.stderr is not None and math.isfinite(drawn.stderr):
        found += [drawn.risk - drawn.stderr, drawn.risk + drawn.stderr]
    return found


def _titled(axes: "Axes", problem: Problem, hidden: Sequence[str]) -> None:
    words = [f"n = {problem.n}", f"dx = {problem.dx}", f"dy = {problem.dy}", f"noise = {problem.noise_std:g}"]
    words += [f"ridge = {problem.ridge:g}"] if problem.ridge else []
    lines = [", ".join(words)] + ([f"not finite: {', '.join(hidden)}"] if hidden else [])
    axes.set_title("\n".join(lines), fontsize="small", color=style.ANNOTATION)
