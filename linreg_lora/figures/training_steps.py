"""Steps of training until the risk is within 1 % of the closed form's, against the rank and the conditioning of Sigma.

Setting: n = 120, dx = 20, dy = 16, sigma = 1, a shift of rank 3 (one size in the metric of Sigma), the start of Hugging
Face peft, alpha = 2 r. Variances of the inputs are spaced evenly in logarithm. Gradient descent takes the default
learning rate of `training`; Adam 0.01, decaying to 0.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora import spectra
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

RANKS = (1, 2, 3, 4, 6, 8)
CONDITIONS = (1.0, 10.0, 100.0)
OPTIMISERS = ("gd", "adam")
CELLS = len(RANKS) * len(CONDITIONS) * len(OPTIMISERS)
STEPS = 8000
#: Draws of training, as a share of those of the figure.
SHARE = 20
_TITLES = {"gd": "gradient descent", "adam": "Adam"}
_LOOKS = (style.COMPARED[3], style.COMPARED[2], style.COMPARED[0])


def setting(condition: float) -> Problem:
    """The figure's problem with one condition number of Sigma; the shift is on inputs of middle variance."""
    variances = np.sort(np.array(spectra.log_spaced(20, condition, 1.0)))[::-1]
    places = np.argsort(np.abs(np.log(variances)), kind="stable")[:3]
    shift = np.zeros((16, 20))
    shift[np.arange(3), places] = np.array([3.0, 2.0, 1.0]) / np.sqrt(variances[places])
    return Problem(n=120, dx=20, dy=16, task_shift=shift, noise_std=1.0, input_covariance=variances)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    ranks: Sequence[int] = RANKS,
    conditions: Sequence[float] = CONDITIONS,
    steps: int = STEPS,
) -> "xr.Dataset":
    """The figure's numbers: quartiles over draws of the steps, inf where the risk does not stay within 1 %."""
    import xarray as xr

    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.trained import train

    problems = [setting(condition) for condition in conditions]
    attrs = datasets.provenance("Steps of training against rank and conditioning", problems, trials, seed)
    draws = max(2, trials // SHARE)
    found = np.empty((len(OPTIMISERS), len(conditions), len(ranks), 3))
    for i, optimiser in enumerate(OPTIMISERS):
        for j, problem in enumerate(problems):
            for k, rank in enumerate(ranks):
                recipe = Recipe(optimiser=optimiser, steps=steps)
                reached = train(problem, rank, recipe, trials=draws, seed=seed, at=[0]).reached
                counted = np.where(reached >= 0, reached, np.inf).astype(float)
                found[i, j, k] = np.quantile(counted, (0.25, 0.5, 0.75), method="nearest")
                progress(1)
    axes = ("optimiser", "condition", "rank", "quartile")
    return xr.Dataset(
        {"reached": datasets.variable(axes, found, "first step from which on the risk is within 1 %", "steps")},
        coords={
            "optimiser": list(OPTIMISERS),
            "condition": datasets.variable("condition", list(conditions), "condition number of Sigma"),
            "rank": datasets.variable("rank", list(ranks), "LoRA rank"),
            "quartile": [0.25, 0.5, 0.75],
        },
        attrs=attrs | {"draws": draws, "steps": steps},
    )


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    median = dataset["reached"].sel(quartile=0.5)
    conditions, ranks = dataset["condition"].values, dataset["rank"].values

    def steps(optimiser: str, condition: float, rank: int) -> str:
        count = float(median.sel(optimiser=optimiser, condition=condition, rank=rank))
        return f"{count:.0f}" if np.isfinite(count) else f"more than {dataset.attrs['steps']}"

    def span(optimiser: str) -> str:
        well = [steps(optimiser, conditions[0], rank) for rank in (3, ranks[-1])]
        ill = [steps(optimiser, conditions[-1], rank) for rank in (3, ranks[-1])]
        return f"{well[0]} and {well[1]}, at condition number {conditions[-1]:g} {ill[0]} and {ill[1]}"

    return (
        f"How long it takes until the risk stays within 1 % of the closed form's. At the rank of the shift, 3, and at "
        f"rank {ranks[-1]} gradient descent takes {span('gd')}: beyond the shift's rank it has to tell directions of "
        f"noise apart, and what slows it is the conditioning of the inputs. Adam takes {span('adam')}. Medians and "
        f"quartiles of {dataset.attrs['draws']} draws, the same for all; what does not get there in "
        f"{dataset.attrs['steps']} steps is left out."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel for each optimiser, steps on a logarithmic axis against the rank."""
    ranks = dataset["rank"].values
    finite = dataset["reached"].values[np.isfinite(dataset["reached"].values)]
    with style.applied():
        figure, panels = style.panels(len(OPTIMISERS), height=3.3)
        for axes, optimiser in zip(panels, OPTIMISERS, strict=True):
            for condition, look in zip(dataset["condition"].values, _LOOKS, strict=False):
                at = dataset["reached"].sel(optimiser=optimiser, condition=condition)
                low, median, high = (
                    np.where(np.isfinite(q), q, np.nan) for q in at.transpose("quartile", "rank").values
                )
                axes.plot(
                    ranks, median, color=look.color, marker=look.marker, linestyle=look.linestyle,
                    label=f"condition number {condition:g}",
                )  # fmt: skip
                axes.fill_between(ranks, low, high, color=look.color, alpha=0.15, linewidth=0)
            axes.set(
                yscale="log",
                xlabel="LoRA rank r  (the shift has rank 3)",
                ylim=(finite.min() / 1.6, finite.max() * 1.6),
            )
            axes.set_title(_TITLES[optimiser], fontsize="medium")
        panels[0].set_ylabel("steps until within 1 % of the closed form")
        figure.legend(*panels[0].get_legend_handles_labels(), ncols=3, loc="outside upper center", frameon=False)
    return figure
