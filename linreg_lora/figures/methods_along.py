"""Risks of several methods along one axis, for figures: the data, and their lines and markers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, method_lines, style
from linreg_lora.methods.method import Method
from linreg_lora.problem import Problem
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def along(
    make: Callable[[float], Problem],
    axis: tuple[str, str],
    values: Sequence[float],
    simulated: Sequence[float],
    methods: Mapping[str, Method],
    trials: int,
    seed: int,
    executor: Executor | None,
    progress: Callable[[int], None],
    *,
    title: str,
) -> "xr.Dataset":
    """Risks of methods along an axis: `risk` and `flagged` by theory; `mean` and `stderr` where it is `simulated`.

    `make`: a value -> the problem there; `axis`: its name and what it is; `methods`: label -> method. Dimensions are
    the axis, or for what is simulated its name with _simulated, and method, whose coordinates are the labels.
    """
    import xarray as xr

    (name, meaning), at = axis, {axis[0]: list(values), f"{axis[0]}_simulated": list(simulated)}
    lines, dots = ([make(value) for value in each] for each in at.values())
    chosen = tuple(methods.values())
    theory = np.array(map_cells(method_lines.by_theory, lines, (chosen,), executor, progress))
    drawn = np.array(map_cells(method_lines.by_simulation, dots, (chosen, trials, seed), executor, progress))
    variables = {
        "risk": datasets.variable((name, "method"), theory[:, 0], "expected excess risk, theory", datasets.RISK),
        "flagged": datasets.variable(
            (name, "method"), theory[:, 1].astype(np.int8), "risk may be off by more than 1 %"
        ),
        "mean": datasets.variable(
            (f"{name}_simulated", "method"), drawn[:, 0], "mean excess risk, simulated", datasets.RISK
        ),
        "stderr": datasets.variable(
            (f"{name}_simulated", "method"), drawn[:, 1], "standard error of mean", datasets.RISK
        ),
    }
    coordinates = {place: datasets.variable(place, each, meaning) for place, each in at.items()}
    coordinates["method"] = ("method", list(methods), {"long_name": "method"})
    return xr.Dataset(variables, coordinates, datasets.provenance(title, lines, trials, seed))


def plot(
    axes: "Axes", dataset: "xr.Dataset", axis: str, looks: "Mapping[str, style.Series]", unit: float = 1.0
) -> None:
    """Lines by theory and simulated means of the methods of these labels, along an axis in multiples of `unit`."""
    for label, look in looks.items():
        one = dataset.sel({"method": label})
        style.line(axes, one[axis] / unit, one["risk"], look, label)
        style.means(axes, one[f"{axis}_simulated"] / unit, one["mean"], one["stderr"], look)
