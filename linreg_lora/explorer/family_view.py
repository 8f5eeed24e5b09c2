"""Other methods in the page's plot of risk against rank: a curve for one with a rank, a level for one without."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import HoverTool, Whisker

from linreg_lora.explorer.curves import AgainstRank
from linreg_lora.explorer.family_picture import Shown, places
from linreg_lora.explorer.picture import position
from linreg_lora.explorer.view import View, empty, source
from linreg_lora.figures.style import Series

_MARKERS = {"^": "triangle", "D": "diamond", "v": "inverted_triangle"}
_OWN, _OTHER = 11, 5
_LINES, _POINTS = ("x", "y", "color", "dash"), ("x", "y", "r", "name", "color", "fill", "marker", "size")
_DRAWN, _BARS = ("x", "y", "name", "trials", "color"), ("x", "low", "high", "color")


class FamilyView:
    """Layers under LoRA's curve. `show` replaces what an earlier one showed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.lines, self.points = source("methods-lines", *_LINES), source("methods", *_POINTS)
        self.drawn, self._bars = source("methods-drawn", *_DRAWN), source("methods-bars", *_BARS)
        plot = view.against_rank
        before = list(plot.renderers)
        lines = plot.multi_line("x", "y", source=self.lines, line_color="color", line_dash="dash", line_width=1.8)
        points = plot.scatter(
            "x", "y", source=self.points, marker="marker", size="size", line_color="color", fill_color="fill"
        )
        bars: Any = Whisker(base="x", upper="high", lower="low", source=self._bars, level="overlay", line_color="color")
        bars.upper_head.size = bars.lower_head.size = 7
        plot.add_layout(bars)
        drawn = plot.scatter(
            "x", "y", source=self.drawn, size=9, marker="square", fill_color="white", line_color="color",
            line_width=1.5, level="overlay",
        )  # fmt: skip
        plot.renderers = [lines, points, *before, drawn]
        plot.add_tools(
            HoverTool(
                renderers=[points], tooltips=[("method", "@name"), ("rank", "@r"), ("theory", "@y{0.0000}")],
                attachment="left",
            ),
            HoverTool(
                renderers=[drawn], tooltips=[("method", "@name"), ("simulated", "@y{0.0000}"), ("draws", "@trials")],
                attachment="left",
            ),
        )  # fmt: skip

    def show(self, methods: Sequence[Shown], found: AgainstRank) -> None:
        """What is known of methods, and an axis that has room for it."""
        shown = [one for one in methods if len(one.values)]
        ranks = np.array([one.rank for one in shown if one.rank is not None])
        end = float(position(int(np.max(np.append(ranks, found.curve.ranks)))))
        at = places(shown, end)
        lines, points = empty(*_LINES), empty(*_POINTS)
        drawn, bars = empty(*_DRAWN), empty(*_BARS)
        for one in shown:
            name, color = one.member.method, one.look.color
            left = at[name] if one.rank is None else float(position(one.rank))
            x, y, rows = [], [], [(one.rank, left, one.member.risk, one.member.flagged)]
            if one.along is not None:
                x, y = position(one.along.ranks).tolist(), one.along.risk.tolist()
                rows = zip(one.along.ranks.tolist(), x, y, one.along.flagged.tolist(), strict=True)
            elif one.rank is None and np.isfinite(one.member.risk):
                x, y = [-0.12, end + 0.12], [one.member.risk] * 2
            _append(lines, x, y, color, _dash(one.look))
            for rank, at_x, risk, flagged in rows:
                if np.isfinite(risk):
                    fill = "white" if flagged else color
                    size = _OWN if rank == one.rank else _OTHER
                    said = "none" if rank is None else str(rank)
                    _append(points, at_x, risk, said, name, color, fill, _MARKERS[one.look.marker], size)
            if one.drawn is not None and np.isfinite(one.drawn.risk):
                mean, bar = one.drawn.risk, 2 * float(np.nan_to_num(one.drawn.stderr))
                _append(drawn, left, mean, name, one.drawn.trials, color)
                _append(bars, left, max(mean - bar, mean * 1e-3), mean + bar, color)
        self.lines.data, self.points.data, self.drawn.data, self._bars.data = lines, points, drawn, bars
        self._view.beside, self._view.beside_ranks = np.concatenate([[], *(one.values for one in shown)]), ranks
        self._view.fit_ranks(found)


def _append(columns: dict[str, list], *row: Any) -> None:
    for column, value in zip(columns.values(), row, strict=True):
        column.append(value)


def _dash(look: Series) -> list[float]:
    return [] if isinstance(look.linestyle, str) else [2 * part for part in look.linestyle[1]]
