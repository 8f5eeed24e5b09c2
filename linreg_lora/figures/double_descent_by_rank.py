"""Double descent at every rank: expected excess risk against n across the interpolation threshold.

Setting: dx = dy = 40, Sigma = I, sigma = 1, and a task shift of rank 4 with singular values 2, 1.6, 1.2, 0.8.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import style, theory_lines
from linreg_lora.figures.datasets import one_problem
from linreg_lora.problem import Problem
from linreg_lora.sweeps.curves import sweep
from linreg_lora.theory.fft import fft_risk

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SAMPLE_SIZES = (8, 12, 17, 23, 29, 34, 37, 38, 42, 43, 46, 52, 62, 80, 110, 160, 240, 400)

_DIMENSION, _NOISE_STD = 40, 1.0
CELLS = len(SAMPLE_SIZES) + len(theory_lines.sizes_between(SAMPLE_SIZES, _DIMENSION))

_SPECTRUM = (2.0, 1.6, 1.2, 0.8)
_RANKS = (1, 2, 4, 12)


def setting(n: int, dimension: int = _DIMENSION) -> Problem:
    """The figure's problem with n samples; dx = dy = `dimension`."""
    return Problem(n=n, dx=dimension, dy=dimension, spectrum=_SPECTRUM, noise_std=_NOISE_STD)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dimension: int = _DIMENSION,
    ranks: Sequence[int] = _RANKS,
    each: int = theory_lines.EACH,
) -> "xr.Dataset":
    """The figure's numbers: a `sweep` over n, theory at more n, and FFT's exact risk at every n (nan: no mean)."""
    problem = setting(sample_sizes[0], dimension)
    dataset = sweep(
        problem, {"n": sample_sizes}, ranks=ranks, trials=trials, seed=seed, executor=executor, progress=progress
    )
    between = theory_lines.sizes_between(sample_sizes, dimension, each)
    dataset = theory_lines.with_lines(dataset, problem, "n", between, executor, progress)
    every_n = np.arange(min(sample_sizes), max(sample_sizes) + 1)
    exact = np.array([fft_risk(problem.replace(n=int(n))).risk for n in every_n])
    dataset = dataset.assign_coords(n_exact=("n_exact", every_n, {"long_name": "number of samples"}))
    attributes = {"long_name": "exact expected excess risk of FFT; nan where infinite", "units": "squared units of y"}
    dataset["fft_exact"] = ("n_exact", np.where(np.isfinite(exact), exact, np.nan), attributes)
    return dataset.assign_attrs(dx=dimension, pretrained_risk=problem.pretrained_risk, problem=one_problem(problem))


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    known = np.isfinite(dataset["fft_risk"].sel(computed_by="theory").values)
    closest = np.min(np.abs(dataset["n"].values[known] - dataset.attrs["dx"]))
    return (
        f"Expected excess risk against n for LoRA of {dataset.sizes['rank']} ranks and for FFT: lines are theory, "
        "markers simulation with standard errors. Every rank has an infinite peak at n = dx, as FFT has, but the lower "
        "the rank the narrower it is. FFT's theory is exact; LoRA's meets simulation at every rank, down to "
        f"{closest} samples from the peak, the last n at which a mean exists."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: theory as lines that break at n = dx, simulation as markers."""
    n, dx = dataset["n"].values, dataset.attrs["dx"]
    simulated, theory = dataset.sel(computed_by="monte-carlo"), theory_lines.lines(dataset, "n")
    with style.applied():
        figure, axes = style.single_panel()
        axes.set(xscale="log", yscale="log", xlabel="n / dx  (samples per input dimension)")
        axes.set_ylabel("expected excess risk")
        axes.axhline(dataset.attrs["pretrained_risk"], color=style.ANNOTATION, linewidth=0.9, linestyle=":")
        axes.annotate(
            "pretrained map", (0.01, dataset.attrs["pretrained_risk"]), xycoords=("axes fraction", "data"),
            xytext=(0, -2), textcoords="offset points", ha="left", va="top", color=style.ANNOTATION, fontsize="small",
        )  # fmt: skip
        look = style.REFERENCE
        style.line(axes, dataset["n_exact"] / dx, dataset["fft_exact"], look, "FFT")
        style.means(axes, n / dx, simulated["fft_risk"], simulated["fft_stderr"], look)
        for rank, series in zip(dataset["rank"].values, style.COMPARED, strict=True):
            style.line(axes, theory.x / dx, theory.lora[int(rank)], series, f"LoRA, rank {rank}")
            points = simulated.sel(rank=rank)
            style.means(axes, n / dx, points["risk"], points["stderr"], series)
        style.without_mean(axes, dx, dx)
        for x, alignment, text in ((0.0, "left", "underdetermined"), (1.0, "right", "overdetermined")):
            axes.text(x, 1.02, text, transform=axes.transAxes, ha=alignment, color=style.ANNOTATION, fontsize="small")
        axes.text(
            1.0,
            1.02,
            "n = dx",
            transform=axes.get_xaxis_transform(),
            ha="center",
            color=style.ANNOTATION,
            fontsize="small",
        )
        axes.set_ylim(bottom=0.15)
        axes.legend(loc="lower left", borderaxespad=0.2)
    return figure
