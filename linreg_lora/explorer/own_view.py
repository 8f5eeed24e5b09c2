"""The plot of the user's own data, in Bokeh: error against rank, drawn as the theory's plot is."""

from typing import Any

import numpy as np
from bokeh.models import CustomJSTickFormatter, HoverTool, Range1d
from matplotlib.ticker import MaxNLocator

from linreg_lora.explorer.own_data import OwnData
from linreg_lora.explorer.picture import position, rank_ticks, ticks_between
from linreg_lora.explorer.view import FULL, FULL_DASH, GREY, LORA, LORA_DASH, empty, fit_axis, new_plot, source
from linreg_lora.figures import style

RIDGE, CHOSEN = style.COMPARED[2].color, "#F0E442"
RIDGE_DASH, NONE_DASH, THEORY_DASH = [8, 3, 2, 3], [2, 3], [5, 3]


class OwnView:
    """The plot and its data. Lines over all ranks: FFT, FFT with its best ridge, no adaptation."""

    def __init__(self) -> None:
        self.lora = source("own-lora", "x", "y", "r")
        self.band = source("own-band", "x", "low", "high")
        self.theory = source("own-theory", "x", "y")
        self.chosen = source("own-chosen", "x", "y", "r")
        self.full, self.ridge, self.none = (source(f"own-{name}", "x", "y") for name in ("full", "ridge", "none"))
        self.plot = self._made()

    def show(self, own: OwnData) -> None:
        """Replace what an earlier call showed."""
        found, curve = own.advice, own.advice.curve
        x, last = position(curve.ranks), int(curve.ranks[-1])
        low, high = own.limits
        self.lora.data = {"x": x, "y": curve.error, "r": curve.ranks}
        band = 2 * curve.stderr
        self.band.data = {"x": x, "low": np.maximum(curve.error - band, low / 2), "high": curve.error + band}
        self.theory.data = empty("x", "y")
        if own.expected is not None:
            known = np.isfinite(own.expected)
            self.theory.data = {"x": x[known], "y": own.expected[known]}
        self.chosen.data = {"x": [float(x[found.rank])], "y": [found.error], "r": [found.rank]}
        ends = [-0.12, float(x[-1]) + 0.12]
        for line, value in (
            (self.full, curve.fft_error), (self.ridge, found.fft_ridge.error), (self.none, float(curve.error[0])),
        ):  # fmt: skip
            line.data = {"x": ends, "y": [value, value]}
        fit_axis(self.plot, (low, high))
        self.plot.yaxis[0].ticker.ticks = _ticks(low, high)
        self.plot.x_range.update(start=ends[0], end=ends[1])
        self.plot.xaxis[0].ticker.ticks = position(np.array(rank_ticks(last))).tolist()
        ridge = f", ridge {found.ridge:.3g}" if found.ridge else ", no ridge"
        self.plot.title.text = f"Your data: error against rank{ridge}"

    def _made(self) -> Any:
        plot = new_plot(
            "Your data: error against rank", "LoRA rank r", y_axis_type="log", x_range=Range1d(start=0, end=1)
        )
        plot.yaxis.axis_label = "test error, left out in turn"
        plot.xaxis[0].formatter = CustomJSTickFormatter(code="return String(Math.round(2 ** tick - 1))")
        plot.varea("x", "low", "high", source=self.band, fill_color=LORA, fill_alpha=0.15)
        plot.line("x", "y", source=self.none, color=GREY, line_dash=NONE_DASH, line_width=2)
        plot.line("x", "y", source=self.full, color=FULL, line_dash=FULL_DASH, line_width=2)
        plot.line("x", "y", source=self.ridge, color=RIDGE, line_dash=RIDGE_DASH, line_width=2)
        plot.line("x", "y", source=self.theory, color=LORA, line_dash=THEORY_DASH, line_width=1.5)
        plot.line("x", "y", source=self.lora, color=LORA, line_dash=LORA_DASH, line_width=2.5)
        dots = plot.scatter("x", "y", source=self.lora, line_color=LORA, fill_color=LORA, size=6)
        plot.scatter(
            "x", "y", source=self.chosen, size=16, marker="star", fill_color=CHOSEN, line_color="#222222",
            level="overlay",
        )  # fmt: skip
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("rank", "@r"), ("left out", "@y{0.0000}")]))
        return plot


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers; where the ends are close together, ones in equal steps."""
    found = ticks_between(low, high)
    if len(found) >= 3:
        return found
    return [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
