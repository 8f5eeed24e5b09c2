"""The plot of risk against training time, in Bokeh."""

from typing import Any

import numpy as np
from bokeh.models import HoverTool, Range1d

from linreg_lora.explorer.picture import limits, ticks_between
from linreg_lora.explorer.training import AgainstTime
from linreg_lora.explorer.view import GREY, LORA, LORA_DASH, empty, fit_axis, new_plot, source

END_DASH = [5, 3]


class TrainingView:
    """The plot and its data: the mean, a band of two standard errors, and the level that training ends at."""

    def __init__(self) -> None:
        self.path, self.end = source("training-path", "x", "y"), source("training-end", "x", "y")
        self.band = source("training-band", "x", "low", "high")
        self.plot = self._made()

    def show(self, shown: AgainstTime) -> None:
        """Replace what an earlier call showed; nothing is drawn where theory has no path."""
        self.plot.title.text = f"Risk against training time: LoRA of rank {shown.setting.lora}"
        found = shown.found
        self.plot.visible = found is not None
        if found is None or found.stderr is None:
            for held, columns in ((self.path, "xy"), (self.end, "xy")):
                held.data = empty(*columns)
            self.band.data = empty("x", "low", "high")
            return
        x, y, spread = found.times, found.risk, 2 * found.stderr
        self.path.data = {"x": x, "y": y}
        self.band.data = {"x": x, "low": np.maximum(y - spread, y / 10), "high": y + spread}
        self.end.data = {"x": x[[0, -1]], "y": [found.end, found.end]}
        self.plot.x_range.update(start=float(x[0]), end=float(x[-1]))
        self.plot.xaxis[0].ticker.ticks = ticks_between(float(x[0]), float(x[-1]))
        fit_axis(self.plot, limits(np.append(y, found.end)))

    def _made(self) -> Any:
        plot = new_plot(
            "Risk against training time",
            "learning rate \u00d7 steps, for the loss with 1/2n",
            x_axis_type="log",
            y_axis_type="log",
            x_range=Range1d(start=0.01, end=10),
        )
        plot.varea("x", "low", "high", source=self.band, fill_color=LORA, fill_alpha=0.15)
        plot.line("x", "y", source=self.end, color=GREY, line_dash=END_DASH, line_width=1.5)
        path = plot.line("x", "y", source=self.path, color=LORA, line_dash=LORA_DASH, line_width=2.5)
        plot.add_tools(HoverTool(renderers=[path], tooltips=[("time", "@x{0.000}"), ("risk", "@y{0.0000}")]))
        return plot
