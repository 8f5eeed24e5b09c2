"""Answers about one problem as pictures: risk against rank, and where LoRA and FFT cross."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from linreg_lora.errors import NumericalFailure
from linreg_lora.figures import style
from linreg_lora.files.atomic import atomic_path
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from linreg_lora.own_data.advice import Advice
    from linreg_lora.theory.crossings import Crossing

#: Points at which the risks beside a crossing are computed.
POINTS = 60
_LORA = style.COMPARED[3]


def save(figure: "Figure", path: Path) -> None:
    """Write a picture, of the type that the ending says, completely or not at all."""
    with atomic_path(path) as temporary:
        style.save(figure, temporary)


def of_risk(computed: RiskCurve | None, simulated: RiskCurve | None) -> "Figure":
    """Risk against rank by theory, simulation or both, and FFT with its best ridge, by theory; what is flagged is
    hollow, what has no number is left out."""
    with style.applied():
        figure, axes = style.single_panel()
        known = computed or simulated
        assert known is not None
        if computed is not None:
            lora = np.where(np.isfinite(computed.risk), computed.risk, np.nan)
            axes.plot(computed.ranks, lora, color=_LORA.color, marker="o", markersize=3, label="LoRA, theory")
            _hollow(axes, computed.ranks, lora, computed.flagged)
        if simulated is not None:
            assert simulated.stderr is not None
            means = np.where(np.isfinite(simulated.risk), simulated.risk, np.nan)
            series = style.Series("0.15", "s", "-")
            label = f"LoRA, {simulated.trials} draws"
            style.means(axes, simulated.ranks, means, simulated.stderr, series, label)
        if np.isfinite(known.fft_risk):
            by = "theory" if computed is not None else "simulated"
            best = "" if known.fft_ridge is None else f" with ridge {known.fft_ridge:.3g}"
            axes.axhline(known.fft_risk, color=style.REFERENCE.color, linestyle="--", label=f"FFT{best}, {by}")
        if computed is not None and computed.ridge is None:
            _best_ridge_line(axes, computed.problem)
        axes.set(xlabel="LoRA rank r", ylabel="expected excess risk", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _titled(axes, known.problem, own_ridges=known.ridge is not None)
    return figure


def of_fit(found: "Advice") -> "Figure":
    """Leave-one-out error against rank with a band of two standard errors, the choice, FFT with its best ridge, and no
    adaptation. Dashed: what theory expects of Gaussian data that look like these."""
    curve = found.curve
    with style.applied():
        figure, axes = style.single_panel()
        ranks, error, band = curve.ranks, curve.error, 2 * curve.stderr
        axes.fill_between(ranks, np.maximum(error - band, 0), error + band, color=_LORA.color, alpha=0.15, linewidth=0)
        axes.plot(ranks, error, color=_LORA.color, marker="o", markersize=3, label="LoRA, leave-one-out")
        expected = found.expected_errors()
        if expected is not None:
            label = "expected of Gaussian data like these"
            axes.plot(ranks, expected, color=_LORA.color, linestyle="--", linewidth=1, label=label)
        axes.axhline(error[0], color=style.ANNOTATION, linestyle=":", label="no adaptation")
        axes.axhline(curve.fft_error, color=style.REFERENCE.color, linestyle="--", label="FFT")
        label = f"FFT with its best ridge, {found.fft_ridge.ridge:.3g}"
        axes.axhline(found.fft_ridge.error, color=style.COMPARED[2].color, linestyle="-.", label=label)
        best = found.shrinkage.error
        axes.axhline(best, color=style.COMPARED[3].color, linestyle=(0, (1, 1)), label="best weights on directions")
        look = {"marker": "*", "markersize": 12, "color": "#F0E442", "markeredgecolor": "black", "linestyle": "none"}
        axes.plot(found.rank, found.error, label="chosen", zorder=5, **look)
        axes.set(xlabel="LoRA rank r", ylabel="squared test error, summed over outputs", ylim=(0, None))
        top = min(float(np.max(error + band)), 3 * max(error[0], float(np.min(error)), found.fft_ridge.error))
        axes.set_ylim(0, 1.05 * top)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        n, dx, dy = found.shape
        ridge = f", ridge {found.ridge:.3g}" if found.ridge else ""
        axes.set_title(f"n = {n}, dx = {dx}, dy = {dy}{ridge}", fontsize="small", color=style.ANNOTATION)
        axes.legend(loc="best")
    return figure


def of_crossings(
    problem: Problem,
    rank: int,
    over: str,
    low: float,
    high: float,
    crossings: "Sequence[Crossing]",
    progress: Callable[[int], None] = lambda _: None,
) -> "Figure":
    """The risks of LoRA of one rank and of FFT along `over`, noise_std or n, with their crossings marked."""
    from linreg_lora.theory.curve import expected_risk

    at = np.geomspace(low, high, POINTS)
    at = np.unique(np.round(at)).astype(int) if over == "n" else at
    lora, full, flagged = np.full(len(at), np.nan), np.full(len(at), np.nan), np.zeros(len(at), dtype=bool)
    for i, value in enumerate(at):
        varied = problem.replace(**{over: value.item()})
        progress(1)
        if rank > varied.max_rank:
            continue
        try:
            one = expected_risk(varied, [rank])
        except NumericalFailure:
            continue
        lora[i], full[i] = one.risk[0], one.fft_risk
        flagged[i] = one.flagged is not None and one.flagged[0]
    lora, full = (np.where(np.isfinite(values), values, np.nan) for values in (lora, full))
    with style.applied():
        figure, axes = style.single_panel()
        axes.plot(at, full, color=style.REFERENCE.color, linestyle="--", label="FFT, theory")
        axes.plot(at, lora, color=_LORA.color, label=f"LoRA of rank {rank}, theory")
        _hollow(axes, at, lora, flagged)
        for i, crossing in enumerate(crossings):
            axes.axvline(crossing.value, color=style.ANNOTATION, linewidth=0.8, label="_" if i else "crossing")
        axes.set(xscale="log", yscale="log", ylabel="expected excess risk")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("noise standard deviation" if over == "noise_std" else "samples n")
        _titled(axes, problem, over)
    return figure


def _best_ridge_line(axes: "Axes", problem: Problem) -> None:
    from linreg_lora.theory.best_ridge import fft_best_ridge

    try:
        best = fft_best_ridge(problem)
    except NumericalFailure:
        return
    label = f"FFT with its best ridge, {best.ridge:.3g}, theory"
    axes.axhline(best.risk, color=style.COMPARED[2].color, linestyle="-.", label=label)


def _hollow(axes: "Axes", x: np.ndarray, y: np.ndarray, flagged: np.ndarray | None) -> None:
    if flagged is not None and np.any(shown := flagged & np.isfinite(y)):
        look = {"marker": "o", "markersize": 3.6, "markerfacecolor": "white", "linestyle": "none"}
        axes.plot(x[shown], y[shown], color=_LORA.color, label="may be off by more than 1 %", **look)


def _titled(axes: "Axes", problem: Problem, varied: str = "", *, own_ridges: bool = False) -> None:
    parts = {"n": problem.n, "dx": problem.dx, "dy": problem.dy, "noise_std": problem.noise_std}
    words = [f"{name.replace('noise_std', 'noise')} = {value:g}" for name, value in parts.items() if name != varied]
    words += [f"ridge = {problem.ridge:g}"] if problem.ridge and not own_ridges else []
    words += ["each rank with its best ridge"] if own_ridges else []
    axes.set_title(", ".join(words), fontsize="small", color=style.ANNOTATION)
    axes.legend(loc="best")
