"""Risk curves over a grid of problems, as an xarray Dataset (`grid`)."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np

import linreg_lora
from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.grid import Grid, Make, grid, map_cells
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import Method, RiskCurve
from linreg_lora.seeds import derived_seed, valid_seed

if TYPE_CHECKING:
    import xarray as xr

METHODS: tuple[Method, ...] = ("monte-carlo", "theory")

_UNITS = "squared units of y"
_BY_RANK = {
    "risk": "expected excess risk of LoRA",
    "stderr": "standard error of risk; nan where none exists",
    "difference": "expected excess risk of LoRA minus that of FFT, paired",
    "difference_stderr": "standard error of difference; nan where none exists",
}
_FFT = {
    "fft_risk": "expected excess risk of FFT",
    "fft_stderr": "standard error of fft_risk; nan where none exists",
}


def sweep(
    make: Make,
    axes: Mapping[str, Sequence[Any]],
    *,
    ranks: Sequence[int],
    trials: int = 400,
    seed: int = 0,
    methods: Sequence[Method] = METHODS,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> "xr.Dataset":
    """Risk curves over a grid.

    | argument   | meaning                                                                                           |
    |------------|---------------------------------------------------------------------------------------------------|
    | `make`     | a Problem whose fields the axes replace, or a function of the axes' values that returns a Problem |
    | `axes`     | name -> values; the grid is their product, and the names become dimensions                        |
    | `ranks`    | LoRA ranks; nan where a rank exceeds min(n, dx, dy) of a cell                                     |
    | `trials`   | Monte Carlo draws of each cell                                                                    |
    | `methods`  | any of monte-carlo, theory                                                                        |
    | `executor` | anything with the concurrent.futures.Executor interface (`local_processes`); None: this process   |
    | `progress` | called with 1 after each cell                                                                     |

    Variables `risk`, `stderr`, `difference`, `difference_stderr` (computed_by, *axes, rank), `fft_risk`, `fft_stderr`
    (computed_by, *axes) and `moments` (*axes), which says in CF flags which moments exist. `computed_by` lists the
    methods. The seed of a cell is derived from `seed` and the problem itself. Raises `InvalidInput` for an axis or a
    cell that makes no problem, naming the cell.
    """
    chosen = _distinct_ranks(ranks)
    methods = _known_methods(methods)
    valid_seed(seed)
    trials = validation.positive_integer("trials", trials)
    cells = grid(make, axes, reserved=("rank", "computed_by", *_BY_RANK, *_FFT, "moments"))
    curves = map_cells(run_cell, cells.problems, (chosen, trials, seed, methods), executor, progress)
    return _dataset(cells, chosen, methods, curves, {"trials": trials, "seed": seed})


def run_cell(
    problem: Problem, ranks: tuple[int, ...], trials: int, seed: int, methods: tuple[Method, ...]
) -> list[RiskCurve]:
    """One cell, the task that executors run: a risk curve for each method, at those `ranks` that exist."""
    from linreg_lora.simulation import monte_carlo
    from linreg_lora.theory.curve import risk_curve

    existing = [rank for rank in ranks if rank <= problem.max_rank]
    curves = []
    for method in methods:
        if method == "theory":
            curves.append(risk_curve(problem, existing))
        else:
            own_seed = derived_seed(seed, problem.fingerprint)
            curves.append(monte_carlo(problem, trials=trials, seed=own_seed, ranks=existing))
    return curves


def _dataset(
    cells: Grid,
    ranks: tuple[int, ...],
    methods: tuple[Method, ...],
    curves: list[list[RiskCurve]],
    provenance: dict[str, int],
) -> "xr.Dataset":
    import xarray as xr

    size, lengths, dimensions = len(cells.problems), (len(methods), *cells.shape), ("computed_by", *cells.names)
    by_rank = {name: np.full((len(methods), size, len(ranks)), np.nan) for name in _BY_RANK}
    fft = {name: np.full((len(methods), size), np.nan) for name in _FFT}
    for cell, of_methods in enumerate(curves):
        for m, curve in enumerate(of_methods):
            place = np.flatnonzero(np.isin(ranks, curve.ranks))
            for name, values in by_rank.items():
                if (value := getattr(curve, name)) is not None:
                    values[m, cell, place] = value
            for name, values in fft.items():
                if (value := getattr(curve, name)) is not None:
                    values[m, cell] = value
    variables: dict[str, Any] = {"moments": cells.moments}
    for name, values in by_rank.items():
        attributes = {"long_name": _BY_RANK[name], "units": _UNITS}
        variables[name] = ((*dimensions, "rank"), values.reshape(*lengths, len(ranks)), attributes)
    for name, values in fft.items():
        variables[name] = (dimensions, values.reshape(lengths), {"long_name": _FFT[name], "units": _UNITS})
    coordinates: dict[str, Any] = {
        "computed_by": list(methods),
        "rank": ("rank", list(ranks), {"long_name": "LoRA rank"}),
    }
    attributes = {
        "Conventions": "CF-1.11",
        "title": "Expected excess risk of LoRA and FFT",
        "source": f"linreg-lora {linreg_lora.__version__}",
        "problems_sha256": cells.identity,
        **provenance,
    }
    return xr.Dataset(variables, coordinates | cells.coordinates, attributes)


def _distinct_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    array = np.asarray(ranks)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or np.any(array < 0):
        raise InvalidInput("ranks", "a list of integers >= 0", ranks)
    if np.any(np.diff(array) <= 0):
        raise InvalidInput("ranks", "increasing ranks", ranks)
    return tuple(int(rank) for rank in array)


def _known_methods(methods: Sequence[Method]) -> tuple[Method, ...]:
    unknown = [m for m in methods if m not in METHODS]
    if unknown or not methods:
        raise InvalidInput("methods", f"any of {', '.join(METHODS)}", list(methods))
    return tuple(methods)
