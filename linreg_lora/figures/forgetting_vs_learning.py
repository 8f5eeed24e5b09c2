"""What LoRA forgets against what it has yet to learn, as its rank grows.

    forgetting = E ||D_r Sigma_pre^{1/2}||_F^2,      to be learned = E risk(D_r),       Sigma_pre = I

Setting: dx = dy = 30, Sigma = I, sigma = 1, eight singular values s_i = 3 exp(-0.3 (i - 1)), and three n. Lines are
theory (`theory.forgetting`, `theory.curve`), markers simulation.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora import spectra
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE_SIZES = (20, 60, 240)
RANKS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 15, 20, 30)
CELLS = len(SAMPLE_SIZES)
_NAMES = ("risk", "forgetting")


def setting(n: int, dimension: int = 30) -> Problem:
    """The figure's problem with n samples; dx = dy = `dimension`."""
    spectrum = spectra.exponential(8, 0.3, 3.0)
    return Problem(n=n, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=1.0)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dimension: int = 30,
    ranks: Sequence[int] = RANKS,
) -> "xr.Dataset":
    """The figure's numbers over (n, rank): `risk` and `forgetting`, simulated, each with `_stderr` and `_theory`.

    nan at ranks above min(n, dx, dy); to that rank, FFT, the largest of `ranks` is brought down.
    """
    import xarray as xr

    problems = [setting(n, dimension) for n in sample_sizes]
    attributes = datasets.provenance("Forgetting against excess risk", problems, trials, seed)
    table = np.array(map_cells(curves, problems, (tuple(ranks), trials, seed), executor, progress))
    names = [f"{name}{suffix}" for suffix in ("", "_stderr", "_theory") for name in _NAMES]
    texts = [
        f"{text}{name}"
        for text in ("simulated ", "standard error of ", "expected by theory: ")
        for name in ("excess risk", "forgetting")
    ]
    variables = {
        name: datasets.variable(("n", "rank"), table[:, i], text, datasets.RISK)
        for i, (name, text) in enumerate(zip(names, texts, strict=True))
    }
    coordinates = {
        "n": datasets.variable("n", list(sample_sizes), "number of samples"),
        "rank": datasets.variable("rank", list(ranks), "rank of LoRA; min(n, dx, dy) is FFT"),
    }
    energy = problems[0].pretrained_risk
    return xr.Dataset(variables, coordinates, {**attributes, "shift_energy": energy, "dx": dimension})


def curves(problem: Problem, ranks: tuple[int, ...], trials: int, seed: int) -> np.ndarray:
    """Risk and forgetting by simulation, their standard errors, and both by theory: six rows over `ranks`.

    ||D_r||_F^2 is the rise of the loss of a pretrained map 0 under perturbed inputs, which `robustness` simulates.
    """
    from linreg_lora.simulation.curve import monte_carlo
    from linreg_lora.simulation.perturbed_inputs import simulate_rise
    from linreg_lora.theory.curve import expected_risk
    from linreg_lora.theory.forgetting import expected_forgetting

    known = [rank for rank in ranks if rank <= problem.max_rank]
    own = derived_seed(seed, problem.fingerprint)
    risk = monte_carlo(problem, trials=trials, seed=own, ranks=known)
    blank = problem.replace(pretrained=np.zeros((problem.dy, problem.dx)))
    moved = simulate_rise(blank, trials=trials, seed=own, ranks=known)
    assert risk.stderr is not None
    theory = expected_risk(problem, known).risk, expected_forgetting(problem, known).forgetting
    rows = np.full((6, len(ranks)), np.nan)
    rows[:, : len(known)] = [risk.risk, moved.rise, risk.stderr, moved.stderr, *theory]
    return rows


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Forgetting against excess risk as the rank of LoRA grows from 0 (bottom) to FFT. Every rank forgets more "
        "than the one before; up to the best rank (star) it also learns, past it the risk rises too. The fewer the "
        "samples, the earlier and the costlier is that turn, and FFT forgets most at every n."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a path through the ranks for each n, the best rank starred."""
    energy = dataset.attrs["shift_energy"]
    with style.applied():
        figure, axes = style.single_panel(3.6)
        axes.set_xscale("log")
        for n, look in zip(dataset["n"].values, style.COMPARED[1:], strict=True):
            _path(axes, dataset.sel(n=n).dropna("rank"), look, f"n = {n}")
        axes.axhline(energy, color=style.ANNOTATION, linewidth=0.8, linestyle=":", zorder=1)
        axes.annotate(
            "that of the true shift", (0.995, energy), xycoords=("axes fraction", "data"), xytext=(0, 3),
            textcoords="offset points", ha="right", color=style.ANNOTATION, fontsize="small",
        )  # fmt: skip
        axes.annotate(
            "r = 0: pretrained map", (energy, 0.0), xytext=(6, 3), textcoords="offset points", color=style.ANNOTATION,
            fontsize="small",
        )  # fmt: skip
        low, high = axes.get_xlim()
        axes.set_xlim(0.6 * low, high)
        axes.xaxis.set_minor_formatter("")
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= t <= high]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("expected excess risk on the new task")
        axes.set_ylabel("expected forgetting")
        axes.legend(loc="upper left")
    return figure


def _path(axes: "Axes", points: "xr.Dataset", look: style.Series, label: str) -> None:
    """Theory as a line, simulation as markers with both standard errors, the best rank and FFT by name."""
    x, y = points["risk_theory"].values, points["forgetting_theory"].values
    axes.plot(x, y, color=look.color, linestyle=look.linestyle, marker=look.marker, markevery=[], label=label)
    style.means(axes, points["risk"], points["forgetting"], points["forgetting_stderr"], look)
    axes.errorbar(points["risk"], points["forgetting"], xerr=points["risk_stderr"], fmt="none", ecolor=look.color)
    best = int(np.argmin(x))
    axes.plot(
        x[best],
        y[best],
        marker="*",
        markersize=12,
        color="#F0E442",
        markeredgecolor="black",
        linestyle="none",
        zorder=5,
    )
    left = x[best] < x[0] / 4
    names = (
        (best, f"best: r = {points['rank'].values[best]}", (-3, 8) if left else (9, -1), "center" if left else "left"),
        (len(x) - 1, "FFT", (0, 6), "center"),
    )
    for i, text, offset, alignment in names:
        axes.annotate(
            text,
            (x[i], y[i]),
            xytext=offset,
            textcoords="offset points",
            ha=alignment,
            fontsize="small",
            color=look.color,
        )
