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
from linreg_lora.grid import map_cells
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SAMPLE_SIZES = (20, 60, 240)
RANKS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 15, 20, 30)
CELLS = len(SAMPLE_SIZES)
CAPTION = (
    "Forgetting against excess risk as the rank of LoRA grows from 0 (bottom right) to FFT. At first LoRA learns faster "
    "than it forgets; past the best rank (star) it only forgets. The fewer the samples, the earlier and the costlier is "
    "that turn, and FFT forgets most at every n."
)
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
    from linreg_lora.robustness import simulate_rise
    from linreg_lora.simulation import monte_carlo
    from linreg_lora.theory.curve import risk_curve
    from linreg_lora.theory.forgetting import forgetting

    known = [rank for rank in ranks if rank <= problem.max_rank]
    own = derived_seed(seed, problem.fingerprint)
    risk = monte_carlo(problem, trials=trials, seed=own, ranks=known)
    blank = problem.replace(pretrained=np.zeros((problem.dy, problem.dx)))
    moved = simulate_rise(blank, trials=trials, seed=own, ranks=known)
    assert risk.stderr is not None
    theory = risk_curve(problem, known).risk, forgetting(problem, known).forgetting
    rows = np.full((6, len(ranks)), np.nan)
    rows[:, : len(known)] = [risk.risk, moved.rise, risk.stderr, moved.stderr, *theory]
    return rows


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a path through the ranks for each n, the best rank starred."""
    with style.applied():
        figure, axes = style.single_panel(3.6)
        axes.set(xscale="log", yscale="log")
        for n, look in zip(dataset["n"].values, style.COMPARED[1:], strict=True):
            points = dataset.sel(n=n).dropna("rank")
            x, y = points["risk_theory"].values, points["forgetting_theory"].values
            axes.plot(
                x[1:],
                y[1:],
                color=look.color,
                linestyle=look.linestyle,
                marker=look.marker,
                markevery=[],
                label=f"n = {n}",
            )
            seen = points.isel(rank=slice(1, None))
            style.means(axes, seen["risk"], seen["forgetting"], seen["forgetting_stderr"], look)
            axes.errorbar(seen["risk"], seen["forgetting"], xerr=seen["risk_stderr"], fmt="none", ecolor=look.color)
            best = int(np.argmin(x))
            axes.plot(
                x[best], y[best], marker="*", markersize=12, color="#F0E442", markeredgecolor="black", linestyle="none",
                zorder=5, label="best rank" if n == dataset["n"].values[-1] else "_best",
            )  # fmt: skip
            for i, offset in ((1, (5, -9)), (best, (8, -9)), (len(x) - 1, (5, 4))):
                if i == 1 and best == 1:
                    continue
                rank = int(points["rank"].values[i])
                text = "FFT" if i == len(x) - 1 else f"r = {rank}"
                axes.annotate(
                    text, (x[i], y[i]), xytext=offset, textcoords="offset points", fontsize="small", color=look.color
                )
        energy = dataset.attrs["shift_energy"]
        axes.axhline(energy, color=style.ANNOTATION, linewidth=0.8, linestyle=":", zorder=1)
        axes.axvline(energy, color=style.ANNOTATION, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xlabel("expected excess risk on the new task")
        axes.set_ylabel("expected forgetting")
        axes.legend(loc="lower left")
    return figure
