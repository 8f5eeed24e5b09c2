"""A grid of problems to an xarray Dataset, through any executor.

Cells are independent tasks. The numbers of a cell depend on the problem and the seed only: not on the executor, the
number of workers, the order in which cells finish, or the other cells of the grid.
"""

import contextlib
import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import numpy as np

import linreg_lora
from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.problem import Moments, Problem
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
    make: Problem | Callable[..., Problem],
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
    names = list(axes)
    for name, values in axes.items():
        if name in ("rank", "computed_by", *_BY_RANK, *_FFT, "moments"):
            raise InvalidInput("axes", "names other than the dataset's own", name, "call the axis true_rank, say")
        if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
            raise InvalidInput("axes", f"a sequence of values for {name}", values)
    shape = tuple(len(axes[name]) for name in names)
    if not names or 0 in shape:
        raise InvalidInput("axes", "at least one axis, each with at least one value", dict(axes))
    points = list(itertools.product(*(axes[name] for name in names)))
    problems = [_problem(make, dict(zip(names, point, strict=True))) for point in points]
    curves = _run(problems, chosen, trials, seed, methods, executor, progress)
    return _dataset(axes, shape, chosen, methods, problems, curves, {"trials": trials, "seed": seed})


@contextlib.contextmanager
def local_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """An executor of freshly started processes, one BLAS thread each.

    As with any `multiprocessing` start by spawn, a script that uses it guards its own work with
    `if __name__ == "__main__"`.
    """
    workers = validation.positive_integer("workers", workers)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=linreg_lora.runtime.configure) as executor:
        yield executor


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


def _run(
    problems: list[Problem],
    ranks: tuple[int, ...],
    trials: int,
    seed: int,
    methods: tuple[Method, ...],
    executor: Executor | None,
    progress: Callable[[int], None],
) -> list[list[RiskCurve]]:
    if executor is None:
        curves = []
        for problem in problems:
            curves.append(run_cell(problem, ranks, trials, seed, methods))
            progress(1)
        return curves
    futures: dict[Future, int] = {
        executor.submit(run_cell, problem, ranks, trials, seed, methods): i for i, problem in enumerate(problems)
    }
    results: dict[int, list[RiskCurve]] = {}
    try:
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            progress(1)
    except BrokenExecutor as error:
        raise LinregLoraError(f"sweep: a worker died ({error}); use fewer workers or smaller problems") from None
    finally:
        for future in futures:
            future.cancel()
    return [results[i] for i in range(len(problems))]


def _problem(make: Problem | Callable[..., Problem], point: dict[str, Any]) -> Problem:
    try:
        problem = make.replace(**point) if isinstance(make, Problem) else make(**point)
    except InvalidInput as error:
        error.add_note(f"in the cell {point}")
        raise
    except TypeError as error:
        raise InvalidInput("axes", "names that the problem takes", list(point), str(error)) from None
    if not isinstance(problem, Problem):
        raise InvalidInput("make", "a function that returns a Problem", type(problem).__name__)
    return problem


def _dataset(
    axes: Mapping[str, Sequence[Any]],
    shape: tuple[int, ...],
    ranks: tuple[int, ...],
    methods: tuple[Method, ...],
    problems: list[Problem],
    curves: list[list[RiskCurve]],
    provenance: dict[str, int],
) -> "xr.Dataset":
    import xarray as xr

    names = list(axes)
    by_rank = {name: np.full((len(methods), len(problems), len(ranks)), np.nan) for name in _BY_RANK}
    fft = {name: np.full((len(methods), len(problems)), np.nan) for name in _FFT}
    for cell, of_methods in enumerate(curves):
        for m, curve in enumerate(of_methods):
            place = np.flatnonzero(np.isin(ranks, curve.ranks))
            for name, values in by_rank.items():
                if (value := getattr(curve, name)) is not None:
                    values[m, cell, place] = value
            for name, values in fft.items():
                if (value := getattr(curve, name)) is not None:
                    values[m, cell] = value
    flags = list(Moments)
    moments = np.array([flags.index(problem.moments) for problem in problems], dtype=np.int8).reshape(shape)
    variables: dict[str, Any] = {
        name: (("computed_by", *names, "rank"), values.reshape(len(methods), *shape, len(ranks)),
               {"long_name": _BY_RANK[name], "units": _UNITS})
        for name, values in by_rank.items()
    }  # fmt: skip
    for name, values in fft.items():
        attributes = {"long_name": _FFT[name], "units": _UNITS}
        variables[name] = (("computed_by", *names), values.reshape(len(methods), *shape), attributes)
    variables["moments"] = (
        tuple(names),
        moments,
        {
            "long_name": "which moments of the risk exist at ranks >= 1",
            "flag_values": np.arange(len(flags), dtype=np.int8),
            "flag_meanings": " ".join(flag.name.lower() for flag in flags),
        },
    )
    coordinates: dict[str, Any] = {
        "computed_by": list(methods),
        "rank": ("rank", list(ranks), {"long_name": "LoRA rank"}),
    }
    coordinates |= {name: _coordinate(name, axes[name]) for name in names}
    attributes = {
        "Conventions": "CF-1.11",
        "title": "Expected excess risk of LoRA and FFT",
        "source": f"linreg-lora {linreg_lora.__version__}",
        "problems_sha256": _identity(problems),
        **provenance,
    }
    return xr.Dataset(variables, coordinates, attributes)


def _identity(problems: Sequence[Problem]) -> str:
    """One hash of all problems of a grid, in order."""
    return hashlib.sha256("".join(problem.fingerprint for problem in problems).encode()).hexdigest()


def _coordinate(name: str, values: Sequence[Any]) -> tuple:
    """The values where they are numbers or text, else their index, with the values in an attribute."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        return (name, list(values), {"long_name": name.replace("_", " ")})
    plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    return (name, np.arange(len(values)), {"long_name": f"index of {name}", "values": json.dumps(plain)})


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
