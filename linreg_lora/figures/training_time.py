"""Risk against training time: LoRA of three ranks and full fine-tuning, each stopped early, and where they end.

Setting: n = 1000, dx = 24, dy = 20, Sigma = I, sigma = 4, a shift of rank 3, the start of Hugging Face peft, alpha =
2 r. Time is learning rate times steps. Lines are gradient flow on Gaussian inputs: LoRA's from that start, a mean over
draws (`theory.training.risk_over_time`), and full fine-tuning's by the spectral filter (`stopped_risk`). Markers are
gradient descent with small steps; bars at the right edge are the expected risks of the closed forms.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

RANKS = (1, 3, 10)
CELLS = len(RANKS) + 1
#: Step size of descent: small against 1 / (2 g f_1), so that it is near the flow.
RATE, STEPS = 0.01, 6000
#: Draws of descent, as a share of those of the figure.
SHARE = 8
_FFT = "FFT"
_LOOKS = (*(style.COMPARED[k] for k in (0, 2, 3)), style.REFERENCE)


def setting(n: int = 1000) -> Problem:
    """The figure's problem."""
    return Problem(n=n, dx=24, dy=20, spectrum=(3.0, 2.0, 1.5), noise_std=4.0)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    problem: Problem | None = None,
    ranks: Sequence[int] = RANKS,
    steps: int = STEPS,
) -> "xr.Dataset":
    """The figure's numbers: `flow` by theory along `time`, `risk` and `stderr` of descent along `descent_time`, and the
    level at which each method ends.
    """
    import xarray as xr

    from linreg_lora.theory.curve import expected_risk
    from linreg_lora.theory.training import risk_over_time, stopped_risk
    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.trained import train

    problem = setting() if problem is None else problem
    attrs = datasets.provenance("Risk against training time", [problem], trials, seed)
    draws = max(2, trials // SHARE)
    times = np.geomspace(10 * RATE, RATE * steps, 60)
    at = np.unique(np.rint(np.geomspace(10, steps, 13)).astype(int)).tolist()
    ends = expected_risk(problem, list(ranks))
    flow, risk, stderr, level = [], [], [], []
    for rank in (*ranks, None):
        if rank is None:
            flow.append([stopped_risk(problem, float(time)).risk for time in times])
            level.append(ends.fft_risk)
        else:
            flow.append(risk_over_time(problem, rank, times, start="kaiming", draws=64, seed=seed).risk)
            level.append(ends.at_rank(rank).risk)
        run = train(problem, rank, Recipe(learning_rate=RATE, steps=steps), trials=draws, seed=seed, at=at)
        risk.append(run.risk.mean(axis=0))
        stderr.append(run.risk.std(axis=0, ddof=1) / draws**0.5)
        progress(1)
    both = ("method", "descent_time")
    return xr.Dataset(
        {
            "flow": datasets.variable(("method", "time"), flow, "excess risk of gradient flow", datasets.RISK),
            "risk": datasets.variable(both, risk, "excess risk of gradient descent", datasets.RISK),
            "stderr": datasets.variable(both, stderr, "its standard error", datasets.RISK),
            "level": datasets.variable("method", level, "expected excess risk of the closed form", datasets.RISK),
        },
        coords={
            "method": [*(f"LoRA, r = {rank}" for rank in ranks), _FFT],
            "time": datasets.variable("time", times, "learning rate times steps"),
            "descent_time": datasets.variable("descent_time", RATE * np.array(at), "learning rate times steps"),
        },
        attrs=attrs | {"draws": draws, "rate": RATE, "pretrained_risk": problem.pretrained_risk},
    )


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    times, flow, level = dataset["time"].values, dataset["flow"], dataset["level"]

    def least(method: str) -> str:
        path, end = flow.sel({"method": method}).values, float(level.sel({"method": method}))
        on_the_way = f" (at the last time drawn it is at {path[-1]:.3g})" if abs(path[-1] / end - 1) > 0.02 else ""
        return f"{path.min():.3g} at time {times[path.argmin()]:.2g} and ends at {end:.3g}{on_the_way}"

    *ranks, full = dataset["method"].values.tolist()
    over = ranks[-1]
    best = min(ranks, key=lambda method: float(level.sel({"method": method})))
    return (
        f"Risk while training, from {dataset.attrs['pretrained_risk']:.3g} to the closed forms (bars at the right). "
        f"{full} has its least risk, {least(full)}; LoRA of {over.removeprefix('LoRA, ')}, more than the shift has, "
        f"passes {least(over)}. The rank of the shift ends at {float(level.sel({'method': best})):.3g} and need not be "
        f"stopped. Lines are gradient flow by theory, markers descent of rate {dataset.attrs['rate']:g}, means "
        f"of {dataset.attrs['draws']} draws with standard errors."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: risks against time on logarithmic axes, and the levels where they end."""
    with style.applied():
        figure, axes = style.single_panel(3.8)
        for method, look in zip(dataset["method"].values.tolist(), _LOOKS, strict=True):
            at = dataset.sel({"method": method})
            style.line(axes, at["time"], at["flow"], look, method)
            style.means(axes, at["descent_time"], at["risk"], at["stderr"], look)
            style.end_level(axes, float(dataset["time"].max()), float(at["level"]), look)
        axes.plot([], [], color=style.ANNOTATION, linewidth=2.2, label="its end")
        axes.set(xscale="log", yscale="log", xlabel="learning rate x steps", ylabel="expected excess risk")
        axes.set_xlim(right=style.END_LEVEL[1] * float(dataset["time"].max()))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda risk, _: f"{risk:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        figure.legend(*axes.get_legend_handles_labels(), ncols=3, loc="outside upper center", frameon=False)
    return figure
