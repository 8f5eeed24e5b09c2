"""Expected excess risk against dx / n across the interpolation threshold: LoRA of four ranks, and FFT.

The settings of arXiv 2605.19018, figures 10a and 1a: dx = dy = 100, Sigma = I, and a task shift of rank 4 made of two
Gaussian factors, of which only the singular values matter here. The noise is weak, sigma = 1 (10a, and the released
script), or strong (1a): sigma = 10 is ours, large enough that every rank pays for noise before it pays for bias.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora import spectra
from linreg_lora.figures import style, theory_lines
from linreg_lora.figures.datasets import one_problem, problem_of
from linreg_lora.problem import Problem
from linreg_lora.sweeps.curves import sweep
from linreg_lora.theory.fft import fft_risk

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: n = 10 * 1.2^k, up to 1000.
SAMPLE_SIZES = tuple(sorted({round(10 * 1.2**k) for k in range(26)}))

_DIMENSION = 100
#: Cells of the sweeps that `data` runs.
CELLS = len(SAMPLE_SIZES) + len(theory_lines.sizes_between(SAMPLE_SIZES, _DIMENSION))

_WEAK, _STRONG = 1.0, 10.0
_SHIFT_RANK, _SHIFT_SEED = 4, 0
_RANKS = (1, 2, 4, 8)


def setting(n: int, dimension: int = _DIMENSION, noise_std: float = _WEAK) -> Problem:
    """The figure's problem with n samples; dx = dy = `dimension` (at least 4)."""
    shift = spectra.gaussian_factors(dimension, dimension, _SHIFT_RANK, _SHIFT_SEED)
    spectrum = spectra.from_matrix(shift, _SHIFT_RANK)
    return Problem(n=n, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=noise_std)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dimension: int = _DIMENSION,
    noise_std: float = _WEAK,
    each: int = theory_lines.EACH,
) -> "xr.Dataset":
    """The figure's numbers: a `sweep` over n, theory at more n, and FFT's exact risk at every n in between.

    `sample_sizes`: n, increasing; `dimension`: dx = dy >= 4; `each`: points of theory's lines between two of them,
    about. To the variables of `sweep` and `theory_lines` this adds `fft_exact` (n_exact), nan where the mean is
    infinite, and the attribute `dx`.
    """
    problem = setting(sample_sizes[0], dimension, noise_std)
    dataset = sweep(
        problem, {"n": sample_sizes}, ranks=_RANKS, trials=trials, seed=seed, executor=executor, progress=progress
    )
    dataset["n"].attrs["long_name"] = "number of samples"
    between = theory_lines.sizes_between(sample_sizes, dimension, each)
    dataset = theory_lines.with_lines(dataset, problem, "n", between, executor, progress)
    every_n = np.arange(min(sample_sizes), max(sample_sizes) + 1)
    exact = np.array([fft_risk(problem.replace(n=int(n))).risk for n in every_n])
    dataset = dataset.assign_coords(n_exact=("n_exact", every_n, {"long_name": "number of samples"}))
    dataset["fft_exact"] = (
        "n_exact",
        np.where(np.isfinite(exact), exact, np.nan),
        {
            "long_name": "exact expected excess risk of FFT; nan where the mean is infinite",
            "units": "squared units of y",
        },
    )
    return dataset.assign_attrs(dx=dimension, problem=one_problem(problem))


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset.

    Lines are theory and break at the threshold, markers are simulated means. A hollow marker is a mean without a
    standard error; where the mean is infinite there is a shaded band and no marker.
    """
    simulated = dataset.sel(computed_by="monte-carlo")
    with style.applied():
        figure, axes = style.single_panel()
        axes.set(xscale="log", yscale="log")
        axes.plot(
            dataset.attrs["dx"] / dataset["n_exact"],
            dataset["fft_exact"],
            color=style.REFERENCE.color,
            linestyle=style.REFERENCE.linestyle,
            zorder=3,
            label="FFT, exact theory",
        )
        _plot_means(axes, simulated, "fft_risk", "fft_stderr", style.REFERENCE, zorder=3, label="FFT, simulated")
        theory, dx = theory_lines.lines(dataset, "n"), dataset.attrs["dx"]
        for rank, series in zip(dataset["rank"].values, style.COMPARED, strict=True):
            style.line(axes, dx / theory.x, theory.lora[int(rank)], series, f"LoRA, rank {rank}")
            _plot_means(axes, simulated.sel(rank=rank), "risk", "stderr", series, zorder=2.5)
        _mark_threshold(axes, dataset.attrs["dx"])
        axes.set_xlabel("dx / n  (input dimension per sample)")
        axes.set_ylabel("expected excess risk")
        axes.legend(loc="lower right")
    return figure


def _plot_means(
    axes: "Axes", points: "xr.Dataset", mean: str, stderr: str, series: style.Series, zorder: float, label: str = ""
) -> None:
    """Simulated means with error bars, in one colour; hollow where no standard error exists."""
    n, dx = points["n"].values, points.attrs["dx"]
    value = points[mean].where(np.isfinite(points[mean])).values
    look = {"color": series.color, "marker": series.marker, "linestyle": "none", "zorder": zorder}
    axes.plot(dx / n, value, label=label or "_simulated", **look)
    axes.errorbar(dx / n, value, yerr=points[stderr].values, fmt="none", ecolor=series.color, zorder=zorder)
    hollow = np.isfinite(value) & ~np.isfinite(points[stderr].values)
    axes.plot(dx / n[hollow], value[hollow], markerfacecolor="white", **look)


def _mark_threshold(axes: "Axes", dx: int) -> None:
    """Where n = dx, the band |n - dx| <= 1 without a mean, and the names of the regimes on both sides."""
    axes.axvspan(dx / (dx + 1), dx / (dx - 1), color="0.78", linewidth=0, zorder=0.5, label="no mean exists")
    axes.axvline(1.0, color=style.ANNOTATION, linestyle=":", linewidth=0.7, zorder=0.6)
    by_axes, by_data = axes.transAxes, axes.get_xaxis_transform()
    for x, transform, alignment, text in (
        (0.0, by_axes, "left", "overdetermined"),
        (1.0, by_data, "center", "n = dx"),
        (1.0, by_axes, "right", "underdetermined"),
    ):
        axes.text(x, 1.02, text, transform=transform, ha=alignment, color=style.ANNOTATION, fontsize="small")


def _weak_caption(dataset: "xr.Dataset") -> str:
    rank, smaller, enough = _ranks(dataset)
    return (
        f"Weak noise, a shift of rank {rank}: at every n, LoRA of rank {enough} lies below full fine-tuning, and LoRA "
        f"of rank {smaller} above it but for the peak at n = dx, for n > dx level with the part of the shift that it "
        "cannot represent. Simulated means (markers) follow the theory (lines) on both sides of n = dx, where no mean "
        "exists."
    )


def _strong_caption(dataset: "xr.Dataset") -> str:
    rank, smaller, _ = _ranks(dataset)
    return (
        f"Strong noise (sigma = {problem_of(dataset).noise_std:g}, our choice), a shift of rank {rank}: LoRA of rank "
        f"{rank} has the least risk but at the smallest n and next to n = dx, where smaller ranks have; full "
        f"fine-tuning pays most for noise around n = dx, and there and below it even LoRA of rank {smaller}, too small "
        "for the shift, beats it."
    )


def _ranks(dataset: "xr.Dataset") -> tuple[int, str, str]:
    """The rank of the shift, and LoRA's ranks below it and from it on, in words."""
    rank = len(problem_of(dataset).spectrum or ())
    ranks = dataset["rank"].values
    smaller, enough = (" or ".join(map(str, some)) for some in (ranks[ranks < rank], ranks[ranks >= rank]))
    return rank, smaller, enough


weak_noise = SimpleNamespace(
    data=data,
    draw=draw,
    CELLS=CELLS,
    caption=_weak_caption,
)
strong_noise = SimpleNamespace(
    data=functools.partial(data, noise_std=_STRONG),
    draw=draw,
    CELLS=CELLS,
    caption=_strong_caption,
)
