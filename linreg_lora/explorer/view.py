"""The two plots of the page: risk against rank and risk against n, in Bokeh, updated in place."""

from typing import Any

import numpy as np
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    Range1d,
    Span,
    Whisker,
)
from bokeh.plotting import figure

from linreg_lora.explorer.curves import AgainstRank, AgainstSamples
from linreg_lora.explorer.picture import limits, position, rank_ticks, risk_limits, ticks_between
from linreg_lora.figures import style
from linreg_lora.risk_curve import RiskCurve

LORA, FULL, FLOOR = style.COMPARED[3].color, style.REFERENCE.color, style.COMPARED[2].color
#: Dashes beside colours, for readers without them.
LORA_DASH, FULL_DASH, FLOOR_DASH = "solid", [7, 4], [2, 3]
GREY, BAND, DOUBTFUL = "#595959", "#d9d9d9", "#f1efe6"
_HEIGHT, _TALLER = 330, 430
#: Ticks as plain numbers: 0.2, 50, 1,000.
_PLAIN = "return tick < 1 ? String(Number(tick.toPrecision(3))) : tick.toLocaleString('en-US')"


class View:
    """Both plots and their data. Every `show` replaces what an earlier one showed."""

    def __init__(self) -> None:
        names = ("lora", "full", "floor", "points")
        self.lora, self.full, self.floor, self.points = (source(name, "x", "y", "r") for name in names)
        self.lora.data["fill"] = []
        self.bars = source("bars", "x", "low", "high")
        #: Risks and ranks of other methods, for which the axes have room.
        self.beside, self.beside_ranks = np.empty(0), np.empty(0)
        self.against_rank = self._rank_plot()
        self.full_n, self.lora_n = (source(name, "x", "y") for name in ("full-n", "lora-n"))
        self._doubtful, self._no_mean = (
            BoxAnnotation(fill_color=color, fill_alpha=1.0, line_color=None, level="underlay", visible=False)
            for color in (DOUBTFUL, BAND)
        )
        self._threshold, self._n = (Span(dimension="height", line_color=GREY, line_width=1) for _ in range(2))
        self._threshold.line_dash = "dotted"
        self.against_n = self._sample_plot()

    def show_ranks(self, found: AgainstRank) -> None:
        """Risk against rank; simulated points go, since they belong to the setting before."""
        curve, x = found.curve, position(found.curve.ranks)
        ranks = curve.ranks.tolist()
        known = np.isfinite(curve.risk)
        flagged = False if curve.flagged is None else curve.flagged
        fill = np.broadcast_to(np.where(flagged, "white", LORA), known.shape)[known].tolist()
        self.lora.data = {"x": x[known], "y": curve.risk[known], "r": curve.ranks[known], "fill": fill}
        full = curve.fft_risk if np.isfinite(curve.fft_risk) else np.nan
        self.full.data = {"x": x[[0, -1]], "y": [full, full], "r": [ranks[0], ranks[-1]]}
        positive = found.floor > 0
        self.floor.data = {"x": x[positive], "y": found.floor[positive], "r": curve.ranks[positive]}
        self.show_simulated(None)
        self.fit_ranks(found)
        ticks = position(np.array(rank_ticks(ranks[-1])))
        self.against_rank.xaxis[0].ticker.ticks = ticks.tolist()

    def fit_ranks(self, found: AgainstRank) -> None:
        """Let the axes of risk against rank show the curves and what is beside them, for which the plot grows."""
        self.against_rank.height = _TALLER if len(self.beside) else _HEIGHT
        fit_axis(self.against_rank, risk_limits(found, self.beside))
        last = float(position(int(np.max(np.append(self.beside_ranks, found.curve.ranks)))))
        self.against_rank.x_range.update(start=-0.12, end=last + 0.12)

    def show_simulated(self, curve: RiskCurve | None) -> None:
        """Simulated means, with bars of two standard errors; None removes them."""
        if curve is None:
            self.points.data, self.bars.data = empty("x", "y", "r"), empty("x", "low", "high")
            return
        assert curve.stderr is not None
        known = np.isfinite(curve.risk)
        x, y = position(curve.ranks[known]), curve.risk[known]
        self.points.data = {"x": x, "y": y, "r": curve.ranks[known]}
        bar = np.nan_to_num(2 * curve.stderr[known])
        self.bars.data = {"x": x, "low": np.maximum(y - bar, y * 1e-3), "high": y + bar}

    def show_samples(self, found: AgainstSamples, dx: int, n: int) -> None:
        """FFT's risk against n; LoRA's follows by `show_lora`."""
        self.full_n.data = {"x": found.n, "y": found.fft}
        self.lora_n.data = empty("x", "y")
        for box, band in ((self._doubtful, found.doubtful), (self._no_mean, found.no_mean)):
            box.visible = band is not None
            if band is not None:
                box.update(left=band[0] - 0.5, right=band[1] + 0.5)
        self._threshold.location, self._n.location = dx, n
        low, high = float(found.n[0]) / 1.05, float(found.n[-1]) * 1.05
        self.against_n.x_range.update(start=low, end=high)
        self.against_n.xaxis[0].ticker.ticks = ticks_between(low, high)
        fit_axis(self.against_n, limits(found.fft))

    def show_lora(self, risk: dict[int, float], fft: np.ndarray) -> None:
        """LoRA's risk at the n known so far."""
        n = np.array(sorted(risk))
        y = np.array([risk[int(value)] for value in n])
        self.lora_n.data = {"x": n, "y": y}
        fit_axis(self.against_n, limits(np.concatenate([fft, y])))

    def title_of_samples(self, rank: int) -> None:
        """The rank that the second plot is about."""
        self.against_n.title.text = f"Risk against n: LoRA of rank {rank}"

    def _rank_plot(self) -> Any:
        plot = new_plot("Risk against rank", "LoRA rank r", y_axis_type="log", x_range=Range1d(start=0, end=1))
        plot.xaxis[0].formatter = CustomJSTickFormatter(code="return String(Math.round(2 ** tick - 1))")
        plot.line("x", "y", source=self.floor, color=FLOOR, line_dash=FLOOR_DASH, line_width=2)
        plot.line("x", "y", source=self.full, color=FULL, line_dash=FULL_DASH, line_width=2)
        plot.line("x", "y", source=self.lora, color=LORA, line_dash=LORA_DASH, line_width=2.5)
        dots = plot.scatter("x", "y", source=self.lora, line_color=LORA, fill_color="fill", size=6)
        bars: Any = Whisker(
            base="x", upper="high", lower="low", source=self.bars, level="overlay", line_color="#222222"
        )
        bars.upper_head.size = bars.lower_head.size = 7
        bars.upper_head.line_color = bars.lower_head.line_color = "#222222"
        plot.add_layout(bars)
        points = plot.scatter(
            "x",
            "y",
            source=self.points,
            size=8,
            marker="square",
            fill_color="white",
            line_color="#222222",
            level="overlay",
        )
        plot.add_tools(
            HoverTool(renderers=[dots], tooltips=[("rank", "@r"), ("theory", "@y{0.0000}")]),
            HoverTool(renderers=[points], tooltips=[("rank", "@r"), ("simulated", "@y{0.0000}")], attachment="below"),
        )
        return plot

    def _sample_plot(self) -> Any:
        plot = new_plot(
            "Risk against n", "samples n", x_axis_type="log", y_axis_type="log", x_range=Range1d(start=1, end=10)
        )
        plot.add_layout(self._doubtful)
        plot.add_layout(self._no_mean)
        plot.add_layout(self._threshold)
        plot.add_layout(self._n)
        full = plot.line("x", "y", source=self.full_n, color=FULL, line_dash=FULL_DASH, line_width=2)
        lora = plot.line("x", "y", source=self.lora_n, color=LORA, line_dash=LORA_DASH, line_width=2.5)
        plot.add_tools(
            HoverTool(renderers=[full], tooltips=[("n", "@x"), ("FFT", "@y{0.0000}")]),
            HoverTool(renderers=[lora], tooltips=[("n", "@x"), ("LoRA", "@y{0.0000}")], attachment="below"),
        )
        return plot


def new_plot(title: str, x_label: str, **options: Any) -> Any:
    """An empty plot in the page's look."""
    make: Any = figure
    plot = make(
        title=title,
        height=_HEIGHT,
        sizing_mode="stretch_width",
        min_width=260,
        toolbar_location=None,
        tools="",
        y_range=Range1d(start=0.1, end=10),
        **options,
    )
    plot.title.text_font_size, plot.title.text_color, plot.title.text_font_style = "15px", "#222222", "bold"
    plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, "expected excess risk"
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "13px", "12px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = "#222222"
        axis.axis_line_color = axis.major_tick_line_color = "#888888"
        axis.minor_tick_line_color = None
        axis.ticker = FixedTicker(ticks=[])  # replacing it later would make Bokeh visit every model
        axis.formatter = CustomJSTickFormatter(code=_PLAIN)
    plot.grid.grid_line_color = "#e8e8e8"
    plot.outline_line_color, plot.background_fill_color, plot.border_fill_color = None, "white", "white"
    plot.min_border_left, plot.min_border_right = 58, 18
    return plot


def fit_axis(plot: Any, ends: tuple[float, float]) -> None:
    """Let the vertical axis of a plot, which is logarithmic, show these ends."""
    low, high = ends
    plot.y_range.update(start=low, end=high)
    plot.yaxis[0].ticker.ticks = ticks_between(low, high)


def source(name: str, *columns: str) -> Any:
    """A source of a plot's data that tests find by name."""
    data: Any = empty(*columns)
    return ColumnDataSource(data, name=name)


def empty(*names: str) -> dict[str, list]:
    """Columns without rows."""
    return {name: [] for name in names}
