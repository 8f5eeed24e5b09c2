"""Theory along an axis on a finer grid than is simulated, so that its lines are smooth."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.figures.datasets import RISK
from linreg_lora.problem import Problem
from linreg_lora.sweeps.curves import sweep
from linreg_lora.sweeps.grid import Make

if TYPE_CHECKING:
    import xarray as xr

#: Points of a line between two that are simulated; and how far around the threshold n = dx it has every sample size.
EACH, _NEAR = 3, 6


class Lines(NamedTuple):
    """Risks by theory along an axis at `x`, nan where no mean exists or none is known."""

    x: Float[np.ndarray, "k"]
    lora: dict[int, Float[np.ndarray, "k"]]
    fft: Float[np.ndarray, "k"]


def between(values: Sequence[float], each: int = EACH, *, logarithmic: bool) -> list[float]:
    """`each` points between every two neighbours, in equal steps or equal ratios.

    >>> [round(x, 12) for x in between([1.0, 16.0], 3, logarithmic=True)]
    [2.0, 4.0, 8.0]
    """
    spaced = np.geomspace if logarithmic else np.linspace
    return [float(x) for low, high in itertools.pairwise(values) for x in spaced(low, high, each + 2)[1:-1]]


def sizes_between(sizes: Sequence[int], dx: int, each: int = EACH) -> list[int]:
    """Sample sizes between, about `each` for every two neighbours, and every one next to n = dx.

    >>> sizes_between([4, 8, 64], 7, each=1)
    [5, 6, 7, 9, 10, 11, 12, 13, 23]
    """
    near = range(max(dx - _NEAR, min(sizes)), min(dx + _NEAR, max(sizes)) + 1)
    return sorted({*(round(n) for n in between(sizes, each, logarithmic=True)), *near} - set(sizes))


def with_lines(
    dataset: "xr.Dataset",
    make: Make,
    axis: str,
    values: Sequence[float],
    executor: Executor | None,
    progress: Callable[[int], None],
) -> "xr.Dataset":
    """The dataset of a sweep along `axis`, and `risk_fine` and `fft_fine` by theory there and at `values` between."""
    import xarray as xr

    known, fine = dataset.sel(computed_by="theory"), f"{axis}_fine"
    found = sweep(
        make, {axis: values}, ranks=known["rank"].values.tolist(), computed_by=["theory"], executor=executor,
        progress=progress,
    ).sel(computed_by="theory")  # fmt: skip
    names = {"risk": "risk_fine", "fft_risk": "fft_fine"}
    whole = xr.concat([known[list(names)], found[list(names)]], axis).sortby(axis)
    place = {"long_name": dataset[axis].attrs.get("long_name", axis)}
    dataset = dataset.assign_coords({fine: (fine, whole[axis].values, place)})
    for name, of in (("risk", "LoRA"), ("fft_risk", "FFT")):
        text = {"long_name": f"expected excess risk of {of}, theory; nan where no mean is known", "units": RISK}
        dimensions = tuple(fine if dimension == axis else dimension for dimension in whole[name].dims)
        dataset[names[name]] = (dimensions, _finite(whole[name].values), text)
    return dataset


def with_best_ridge(dataset: "xr.Dataset", make: Callable[..., Problem], axis: str) -> "xr.Dataset":
    """The dataset, and `fft_best_ridge`: the risk of FFT with its best ridge, as finely as the dataset has theory."""
    from linreg_lora.theory.best_ridge import fft_best_ridge

    place = f"{axis}_fine" if "risk_fine" in dataset else axis
    risk = [fft_best_ridge(make(**{axis: value})).risk for value in dataset[place].values.tolist()]
    text = {"long_name": "expected excess risk of FFT with its best ridge, theory", "units": RISK}
    return dataset.assign(fft_best_ridge=(place, risk, text))


def lines(dataset: "xr.Dataset", axis: str) -> Lines:
    """Theory as finely as the dataset has it: on the finer grid, or where it is simulated."""
    if "risk_fine" in dataset:
        place, lora, fft = dataset[f"{axis}_fine"], dataset["risk_fine"], dataset["fft_fine"]
    else:
        theory = dataset.sel(computed_by="theory")
        place, lora, fft = dataset[axis], theory["risk"], theory["fft_risk"]
    by_rank = {int(rank): _finite(lora.sel(rank=rank).values) for rank in dataset["rank"].values}
    return Lines(place.values.astype(float), by_rank, _finite(fft.values))


def _finite(risk: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(risk), risk, np.nan)
