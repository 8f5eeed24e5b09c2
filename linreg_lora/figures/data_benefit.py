"""What one more sample is worth to an adapter, relative to FFT, against n: where the k/d rule holds.

Setting: dx = 24, dy = 16, Sigma = I, sigma = 1, rank 3. Three adapters: LoRA with A frozen to the rows of the shift,
which it can represent; with A frozen off them, so that it misses a quarter of the shift's energy; and LoRA trained. All
by theory (`theory.data_benefit`); nothing is simulated.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.sweeps.grid import map_cells
from linreg_lora.theory import capacity, data_benefit

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SAMPLE_SIZES = (28, 30, 33, 37, 42, 50, 60, 75, 100, 140, 200, 320, 600, 1200, 2500, 6000)
CELLS = len(SAMPLE_SIZES)

_DX, _DY, _RANK, _NOISE_STD = 24, 16, 3, 1.0
_STRENGTH = 2.0
#: Share of the shift's energy that the misspecified adapter misses.
_MISSED = 0.25
_METHODS = ("frozen", "misspecified", "trained")
_LABELS = (
    ("frozen", "frozen A, represents the shift", style.COMPARED[3]),
    ("misspecified", f"frozen A, misses {Fraction(_MISSED)} of it", style.COMPARED[2]),
    ("trained", "trained LoRA", style.REFERENCE),
)


def setting(n: int, dx: int = _DX, dy: int = _DY) -> Problem:
    """The figure's problem with n samples; the shift has rank 3 and equal singular values."""
    return Problem(n=n, dx=dx, dy=dy, spectrum=(_STRENGTH,) * _RANK, noise_std=_NOISE_STD)


def frozen_factor(dx: int, missed: float) -> np.ndarray:
    """A, rank x dx: the first rows of the identity, turned so that A misses this share of the energy in them."""
    factor = np.zeros((_RANK, dx))
    index = np.arange(_RANK)
    factor[index, index], factor[index, _RANK + index] = np.sqrt(1 - missed), np.sqrt(missed)
    return factor


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dx: int = _DX,
    dy: int = _DY,
) -> "xr.Dataset":
    """The figure's numbers: `ratio` (adapter, n), its numerical `error`, and the `limit` (adapter) for n -> infinity.

    n > dx + 1 throughout. The limit of the misspecified adapter is k/d times its mean inflation. Draws nothing:
    `trials` and `seed` are only recorded.
    """
    import xarray as xr

    problems = [setting(n, dx, dy) for n in sample_sizes]
    attributes = datasets.provenance("Worth of a sample relative to FFT", problems, trials, seed)
    rows = np.array(map_cells(ratios, problems, (), executor, progress))
    share = _RANK / dx
    factor = data_benefit.misspecification_factor(problems[-1], frozen_factor(dx, _MISSED))
    dimension = capacity.tangent_dimension(dx, dy, _RANK) / (dx * dy)
    variables = {
        "ratio": datasets.variable(("adapter", "n"), rows[:, 0].T, "marginal benefit of a sample over that of FFT"),
        "error": datasets.variable(("adapter", "n"), rows[:, 1].T, "numerical error of ratio"),
        "limit": datasets.variable("adapter", [share, share * np.mean(factor), dimension], "limit for n -> infinity"),
    }
    coordinates = {
        "adapter": ("adapter", list(_METHODS), {"long_name": "adapter"}),
        "n": datasets.variable("n", list(sample_sizes), "number of samples"),
    }
    return xr.Dataset(variables, coordinates, {**attributes, "dx": dx, "dy": dy, "rank": _RANK})


def ratios(problem: Problem) -> np.ndarray:
    """Ratios to FFT's benefit and their numerical errors, 2 x methods."""
    full = data_benefit.fft_benefit(problem)
    found = (
        data_benefit.frozen_a_benefit(problem, frozen_factor(problem.dx, 0.0)),
        data_benefit.frozen_a_benefit(problem, frozen_factor(problem.dx, _MISSED)),
        data_benefit.lora_benefit(problem, _RANK),
    )
    return np.array(
        [[data_benefit.benefit_ratio(one, full) for one in found], [one.error / full.value for one in found]]
    )


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Marginal benefit of a sample, risk(n) - risk(n + 1), over that of FFT, by theory. A frozen adapter that "
        "represents the shift reaches the share k/d of trained parameters from below, and only for n well above dx; "
        "what it cannot represent inflates its benefit beyond k/d; trained LoRA tends to the dimension of rank-r "
        "matrices over dx dy."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: one line a method, its limit as a thin line with the formula."""
    dx, dy, rank = (int(dataset.attrs[name]) for name in ("dx", "dy", "rank"))
    texts = (
        f"k/d = r/dx = {rank}/{dx}",
        "k/d times the mean of (σ² + b)/σ²",
        f"r(dx + dy − r)/(dx dy) = {capacity.tangent_dimension(dx, dy, rank)}/{dx * dy}",
    )
    with style.applied():
        figure, axes = style.single_panel()
        x = dataset["n"] / dx
        axes.set(xscale="log", xlabel="n / dx  (samples per input dimension)")
        axes.set_ylabel("worth of a sample, relative to FFT's")
        for (method, label, look), text in zip(_LABELS, texts, strict=True):
            points = dataset.sel(adapter=method)
            axes.plot(x, points["ratio"], color=look.color, linestyle=look.linestyle, marker=look.marker, label=label)
            limit = float(points["limit"])
            axes.axhline(limit, color=look.color, linewidth=0.7, linestyle=":")
            axes.annotate(
                text, (0.0, limit), xycoords=("axes fraction", "data"), xytext=(3, 2), textcoords="offset points",
                ha="left", fontsize="small", color=look.color,
            )  # fmt: skip
        axes.set_ylim(0, 1.18 * float(dataset["limit"].max()))
        axes.legend(loc="lower right")
    return figure
