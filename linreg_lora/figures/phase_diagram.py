"""Which rank to train: the best of doing nothing, LoRA of any rank and FFT, over n / dx and the noise.

Setting: dx = dy = 24, Sigma = I, and a task shift of full rank with decaying singular values s_i = exp(-0.2 (i - 1)).
Regions are theory: at every n drawn, risks against the noise by `theory.equivalent` on a grid of noise levels and
monotone cubics in between. Dots are simulation: the rank of least mean risk over the same draws.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora import spectra
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import grid, map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DIMENSION, _DECAY = 24, 0.2
#: The n and the noise levels of the regions, without those n that have no mean.
SAMPLE_SIZES = (3, 5, 8, 12, 16, 19, 22, 26, 29, 33, 40, 52, 80, 140, 400)
NOISE_STDS = tuple(np.geomspace(0.01, 4.0, 15).tolist())
#: The n and the noise levels of the dots.
SIMULATED_SIZES = (4, 8, 16, 34, 60, 120, 260)
SIMULATED_NOISE_STDS = tuple(np.geomspace(0.015, 2.7, 8).tolist())
CELLS = len(SAMPLE_SIZES) * len(NOISE_STDS) + len(SIMULATED_SIZES) * len(SIMULATED_NOISE_STDS)

#: First rank of each region of LoRA; the last ends below FFT.
_FIRST_RANKS = (1, 2, 3, 5, 9, 17)
_FINE = 400
#: Not adapting; LoRA from light to dark with the rank; FFT.
_NOTHING, _FFT = "#F2F2F2", "#E69F00"
_LORA = ("#D8EAF6", "#B5D6EE", "#86BDE0", "#4F9BCB", "#2474B0", "#0B4A85")


def setting(n: int, noise_std: float, dimension: int = _DIMENSION) -> Problem:
    """The figure's problem with n samples and noise sigma; dx = dy = `dimension`."""
    spectrum = spectra.exponential(dimension, _DECAY)
    return Problem(n=n, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=noise_std)


class Simulated(NamedTuple):
    """A dot: `theory` and `best`, the best ranks by theory and by simulation.

    `regret`: mean risk of `theory` minus that of `best`, over that of `best`; `stderr`: standard error, paired.
    """

    theory: int
    best: int
    regret: float
    stderr: float


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    noise_stds: Sequence[float] = NOISE_STDS,
    simulated_sizes: Sequence[int] = SIMULATED_SIZES,
    simulated_noise_stds: Sequence[float] = SIMULATED_NOISE_STDS,
    dimension: int = _DIMENSION,
) -> "xr.Dataset":
    """The figure's numbers: `best_rank` (n, noise_std) by theory, and the fields of `Simulated` at the dots.

    min(n, dx) stands for FFT. Each list of n has none with |n - dx| <= 1, where no mean exists.
    """
    import xarray as xr

    def make(n: int, noise_std: float) -> Problem:
        return setting(n, noise_std, dimension)

    regions = grid(make, {"n": sample_sizes, "noise_std": noise_stds})
    dots = grid(make, {"n": simulated_sizes, "noise_std": simulated_noise_stds})
    attributes = datasets.provenance("Best rank over n and noise", [*regions.problems, *dots.problems], trials, seed)
    ratios = map_cells(log_ratios, regions.problems, (), executor, progress)
    found = map_cells(simulate, dots.problems, (trials, seed), executor, progress)
    fine = np.geomspace(noise_stds[0], noise_stds[-1], _FINE)
    rows = [ratios[i : i + len(noise_stds)] for i in range(0, len(ratios), len(noise_stds))]
    best = [best_ranks(np.asarray(noise_stds), np.array(row), fine) for row in rows]
    at_dots = {
        name: datasets.variable(("n_simulated", "noise_std_simulated"), np.reshape(values, dots.shape), text)
        for name, values, text in zip(
            Simulated._fields,
            zip(*found, strict=True),
            (
                "best rank by theory; min(n, dx) is FFT",
                "rank of least simulated mean risk; min(n, dx) is FFT",
                "simulated risk at theory's rank over the least, minus 1",
                "standard error of regret, over the least simulated risk",
            ),
            strict=True,
        )
    }
    return xr.Dataset(
        {"best_rank": datasets.variable(("n", "noise_std"), best, "best rank by theory; min(n, dx) is FFT"), **at_dots},
        {
            "n": datasets.variable("n", sample_sizes, "number of samples"),
            "noise_std": datasets.variable("noise_std", fine, "noise sigma, with s_1 = 1", "units of y"),
            "n_simulated": datasets.variable("n_simulated", simulated_sizes, "number of samples"),
            "noise_std_simulated": datasets.variable(
                "noise_std_simulated", simulated_noise_stds, "noise sigma, with s_1 = 1", "units of y"
            ),
        },
        {**attributes, "dx": dimension},
    )


def log_ratios(problem: Problem) -> Float[np.ndarray, "ranks"]:
    """log(risk_r / risk_FFT) by theory for r = 0..min(n, dx, dy), from differences at the same order.

    A rank that theory could not resolve lies on a line between its neighbours, so that it is never best alone.
    """
    from linreg_lora.theory.equivalent import partial_equivalent

    found = partial_equivalent(problem)
    ratios = np.log1p(found.difference / found.fft_risk)
    known = np.isfinite(ratios)
    return np.interp(found.ranks, found.ranks[known], ratios[known])


def best_ranks(
    noise_stds: Float[np.ndarray, "k"], ratios: Float[np.ndarray, "k ranks"], fine: Float[np.ndarray, "m"]
) -> Int[np.ndarray, "m"]:
    """The rank of least risk at noise levels `fine`, from `log_ratios` at `noise_stds`.

    Monotone cubic interpolation in log sigma: it does not overshoot where ranks differ by little.
    """
    from scipy.interpolate import PchipInterpolator

    return np.argmin(PchipInterpolator(np.log(noise_stds), ratios)(np.log(fine)), axis=1)


def simulate(problem: Problem, trials: int, seed: int) -> Simulated:
    """One dot; its seed is derived from `seed` and the problem."""
    from linreg_lora.simulation.curve import draw_risks

    theory = int(np.argmin(log_ratios(problem)))
    risks = draw_risks(problem, trials=trials, seed=derived_seed(seed, problem.fingerprint)).lora
    mean = np.mean(risks, axis=0)
    best = int(np.argmin(mean))
    regret = (risks[:, theory] - risks[:, best]) / mean[best]
    return Simulated(theory, best, float(np.mean(regret)), float(np.std(regret, ddof=1)) / np.sqrt(trials))


def region(rank: Int[np.ndarray, "..."], full: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """The regions of the figure by number: 0 do nothing, 1.. LoRA by `_FIRST_RANKS`, the last FFT (rank = `full`)."""
    return np.where(rank == full, len(_FIRST_RANKS) + 1, np.searchsorted(_FIRST_RANKS, rank, side="right"))


def boundaries(dataset: "xr.Dataset") -> Float[np.ndarray, "regions n"]:
    """For each region but the first, the largest noise at which the best rank still lies in it or a higher one.

    nan-free: where a region is never reached it is the smallest noise drawn.
    """
    n, noise = dataset["n"].values, dataset["noise_std"].values
    number = region(dataset["best_rank"].values, np.minimum(n, dataset.attrs["dx"])[:, None])
    reached = number[None] >= np.arange(1, len(_FIRST_RANKS) + 2)[:, None, None]
    last = noise.size - 1 - np.argmax(reached[..., ::-1], axis=-1)
    return np.where(np.any(reached, axis=-1), noise[last], noise[0])


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "What has the least expected excess risk, for a task shift of full rank with decaying singular values: not "
        "adapting, LoRA (blue: its best rank) or full fine-tuning (FFT). Regions are theory, dots simulation. The "
        "noisier the data, the lower the best rank, down to none; near n = dx it takes the least noise."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: regions by theory, dots by simulation, a hatched strip where no mean exists."""
    dx, n = dataset.attrs["dx"], dataset["n"].values
    low, high = float(dataset["noise_std"].values[0]), float(dataset["noise_std"].values[-1])
    with style.applied():
        figure, axes = style.single_panel(4.3)
        axes.set(xscale="log", yscale="log", facecolor=_NOTHING)
        axes.grid(False)
        edges = boundaries(dataset)
        for side in (n < dx, n > dx):
            _fill(axes, n[side] / dx, edges[:, side], low)
        strip = np.max(n[n < dx]) / dx, np.min(n[n > dx]) / dx
        axes.axvspan(*strip, facecolor="white", edgecolor="0.5", hatch="//////", linewidth=0, zorder=1)
        _dots(axes, dataset)
        axes.set_xlim(n[0] / dx, n[-1] / dx)
        axes.set_ylim(low, high)
        axes.set_xlabel("n / dx  (samples per input dimension)")
        axes.set_ylabel("noise σ  (largest singular value of the shift: 1)")
        _name(axes)
        _keys(figure, axes, dx)
    return figure


def _fill(axes: "Axes", x: Float[np.ndarray, "n"], edges: Float[np.ndarray, "regions n"], bottom: float) -> None:
    """The regions on one side of the threshold, each up to its boundary, and the boundaries of LoRA and of FFT."""
    for color, edge in zip((*_LORA, _FFT), edges, strict=True):
        axes.fill_between(x, bottom, edge, color=color, linewidth=0, zorder=1)
        axes.plot(x, edge, color="white", linewidth=0.5, zorder=1.5)
    for edge in (edges[0], edges[-1]):
        axes.plot(x, edge, color="black", linewidth=1.3, zorder=2)


def _dots(axes: "Axes", dataset: "xr.Dataset") -> None:
    """Simulated best ranks in the colours of the regions; squares where theory's rank is in another region."""
    n, noise = np.meshgrid(dataset["n_simulated"], dataset["noise_std_simulated"], indexing="ij")
    full = np.minimum(n, dataset.attrs["dx"])
    best, theory = (region(dataset[name].values, full) for name in ("best", "theory"))
    same, colors = best == theory, np.array((_NOTHING, *_LORA, _FFT))
    for chosen, marker, label in (
        (same, "o", "simulated best rank in the region of theory"),
        (~same, "s", "simulated best rank in another region"),
    ):
        if not np.any(chosen):
            continue
        look = {"marker": marker, "s": 24, "linewidth": 0.8, "edgecolor": "black", "zorder": 4}
        axes.scatter(n[chosen] / dataset.attrs["dx"], noise[chosen], c=colors[best[chosen]], **look)
        text = f"{label}: {np.sum(chosen)} of {chosen.size}"
        axes.plot([], [], marker=marker, linestyle="none", markerfacecolor="white", markeredgecolor="black", label=text)


def _name(axes: "Axes") -> None:
    """The three regions by name, and the threshold."""
    for x, y, text, color in (
        (0.68, 0.873, "do not adapt", "black"),
        (0.68, 0.5, "LoRA", "white"),
        (0.16, 0.13, "FFT", "black"),
        (0.68, 0.13, "FFT", "black"),
    ):
        axes.text(
            x, y, text, transform=axes.transAxes, ha="center", va="center", fontsize=12, fontweight="bold", color=color,
            zorder=5,
        )  # fmt: skip
    axes.text(
        1.0, 0.72, "no mean exists", transform=axes.get_xaxis_transform(), rotation=90, ha="center", va="center",
        fontsize=7, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _keys(figure: "Figure", axes: "Axes", dx: int) -> None:
    """Two keys above the axes: the colours, and the dots."""
    from matplotlib.patches import Patch

    last = (*(first - 1 for first in _FIRST_RANKS[1:]), dx - 1)
    ranges = [str(a) if a == b else f"{a}–{b}" for a, b in zip(_FIRST_RANKS, last, strict=True)]
    patches = [
        Patch(facecolor=color, edgecolor="0.3", linewidth=0.5, label=label)
        for color, label in zip((_NOTHING, *_LORA, _FFT), ("0", *ranges, "FFT"), strict=True)
    ]
    look = {"frameon": False, "handletextpad": 0.4, "columnspacing": 0.9}
    figure.legend(
        handles=patches,
        title="best rank, by theory",
        ncols=len(patches),
        handlelength=1.1,
        loc="outside upper center",
        **look,
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", **look)
