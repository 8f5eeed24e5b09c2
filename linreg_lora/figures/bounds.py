"""Bounds against the truth: the paper's, printed and corrected, and ours, for LoRA of the shift's rank.

Setting: dx = 40, dy = 30, Sigma = I, sigma = 1, LoRA of rank 3 and a task shift of rank 3 with singular values 3, 2, 1.
Expected extreme eigenvalues in the bounds are inequalities that hold at every n (`theory.extreme_eigenvalues`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.sweeps.curves import sweep
from linreg_lora.theory import bounds
from linreg_lora.theory.truncation import Version

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

SAMPLE_SIZES = (6, 9, 13, 18, 24, 30, 35, 46, 52, 62, 80, 110, 160, 250, 400, 700, 1300, 2500)
CELLS = len(SAMPLE_SIZES)

_SPECTRUM, _NOISE_STD, _RANK = (3.0, 2.0, 1.0), 1.0, 3
#: Variable, legend and look of each bound, largest first.
_BOUNDS = (
    ("corrected", "paper's bound, constants corrected", style.COMPARED[0]),
    ("printed", "paper's bound, as printed", style.COMPARED[2]),
    ("ours", "our bound", style.COMPARED[3]),
)


def setting(n: int, dx: int = 40, dy: int = 30) -> Problem:
    """The figure's problem with n samples."""
    return Problem(n=n, dx=dx, dy=dy, spectrum=_SPECTRUM, noise_std=_NOISE_STD)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dx: int = 40,
    dy: int = 30,
) -> "xr.Dataset":
    """The figure's numbers: a `sweep` over n at rank 3, and the three bounds (n): `printed`, `corrected`, `ours`."""
    problem = setting(sample_sizes[0], dx, dy)
    dataset = sweep(
        problem, {"n": sample_sizes}, ranks=[_RANK], trials=trials, seed=seed, executor=executor, progress=progress
    )
    values = np.array([_bounds(problem.replace(n=n)) for n in sample_sizes])
    texts = ("bound of Theorem 2 or 4, as printed", "bound of Theorem 2 or 4, corrected", "theory.bounds.lora_bound")
    for name, column, text in zip(("printed", "corrected", "ours"), values.T, texts, strict=True):
        dataset[name] = datasets.variable("n", column, text, datasets.RISK)
    return dataset.assign_attrs(
        dx=dx, dy=dy, pretrained_risk=problem.pretrained_risk, problem=datasets.one_problem(problem)
    )


def _bounds(problem: Problem) -> tuple[float, float, float]:
    theorem = bounds.theorem_2 if problem.n >= problem.dx else bounds.theorem_4
    printed, corrected = (theorem(problem, _RANK, version=version).bound for version in Version)
    return printed, corrected, bounds.lora_bound(problem, _RANK).bound


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    least = float((dataset["printed"] / dataset["ours"]).min())
    ratio = (dataset["ours"] / dataset["risk"].sel(computed_by="theory").isel(rank=0)).values
    return (
        "Bounds on the expected excess risk of LoRA at the rank of the shift, and the risk itself. The paper's bound "
        "holds, as printed and with its constants corrected, and falls like the risk for large n; ours is at least "
        f"{int(least)} times smaller at every n. All are loose: the best is {ratio[0]:.0f} times the risk at the "
        f"fewest samples, {max(ratio):.0f} times near n = dx, and {ratio[-1]:.0f} times at the most samples."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: bounds as lines, the risk by theory as a line and by simulation as markers."""
    n, dx = dataset["n"].values, dataset.attrs["dx"]
    split = int(np.searchsorted(n, dx))
    x = np.insert(n.astype(float), split, dx) / dx
    points = dataset.isel(rank=0)
    with style.applied():
        figure, axes = style.single_panel(3.8)
        axes.set(xscale="log", yscale="log", xlabel="n / dx  (samples per input dimension)")
        axes.set_ylabel("expected excess risk, and bounds on it")
        for name, label, series in _BOUNDS:
            y = np.insert(dataset[name].values, split, np.nan)
            axes.plot(
                x, y, color=series.color, linestyle=series.linestyle, marker=series.marker, markersize=3.4, label=label
            )
        theory = np.insert(points["risk"].sel(computed_by="theory").values, split, np.nan)
        axes.plot(
            x,
            theory,
            color=style.REFERENCE.color,
            marker=style.REFERENCE.marker,
            markevery=[],
            label="risk: theory, simulated",
        )
        simulated = points.sel(computed_by="monte-carlo")
        style.means(axes, n / dx, simulated["risk"], simulated["stderr"], style.REFERENCE)
        axes.axhline(dataset.attrs["pretrained_risk"], color=style.ANNOTATION, linewidth=0.9, linestyle=":")
        axes.annotate(
            "pretrained map", (0.01, dataset.attrs["pretrained_risk"]), xycoords=("axes fraction", "data"),
            xytext=(0, -9), textcoords="offset points", ha="left", color=style.ANNOTATION, fontsize="small",
        )  # fmt: skip
        style.without_mean(axes, dx, dx)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure
