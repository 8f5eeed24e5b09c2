"""A grid of problems, and a task run on each of them through any executor.

Cells are independent. What a task returns for a cell depends on its problem and arguments only: not on the executor,
the number of workers, the order in which cells finish, or the other cells.
"""

import contextlib
import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

import linreg_lora
from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.problem import Moments, Problem

Make = Problem | Callable[..., Problem]
Progress = Callable[[int], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Grid:
    """The product of `axes`, and its problems in row-major order."""

    axes: Mapping[str, Sequence[Any]]
    problems: list[Problem]

    @property
    def names(self) -> list[str]:
        """The axes' names, which become dimensions."""
        return list(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def coordinates(self) -> dict[str, Any]:
        """The axes as coordinates of a Dataset."""
        return {name: _coordinate(name, values) for name, values in self.axes.items()}

    @property
    def identity(self) -> str:
        """One hash of all problems, in order."""
        return hashlib.sha256("".join(problem.fingerprint for problem in self.problems).encode()).hexdigest()

    @property
    def moments(self) -> tuple[list[str], np.ndarray, dict[str, Any]]:
        """Which moments exist in each cell, as a variable with CF flags."""
        flags = list(Moments)
        values = np.array([flags.index(problem.moments) for problem in self.problems], dtype=np.int8)
        return self.names, values.reshape(self.shape), flagged("which moments of the risk exist at ranks >= 1", flags)


def grid(make: Make, axes: Mapping[str, Sequence[Any]], reserved: Sequence[str] = ()) -> Grid:
    """The grid over `axes`; `make` is a Problem whose fields they replace, or a function of their values.

    Raises `InvalidInput` for an axis that is empty, has a `reserved` name or makes no problem, naming the cell.
    """
    for name, values in axes.items():
        if name in reserved:
            raise InvalidInput("axes", "names other than the dataset's own", name, "call the axis true_rank, say")
        if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
            raise InvalidInput("axes", f"a sequence of values for {name}", values)
    if not axes or 0 in (len(values) for values in axes.values()):
        raise InvalidInput("axes", "at least one axis, each with at least one value", dict(axes))
    points = itertools.product(*axes.values())
    return Grid(axes, [_problem(make, dict(zip(axes, point, strict=True))) for point in points])


def map_cells(
    task: Callable[..., Result],
    problems: Sequence[Problem],
    arguments: tuple,
    executor: Executor | None,
    progress: Progress,
) -> list[Result]:
    """task(problem, *arguments) of every problem, in order; `executor` None runs them in this process."""
    if executor is None:
        results = []
        for problem in problems:
            results.append(task(problem, *arguments))
            progress(1)
        return results
    futures: dict[Future, int] = {executor.submit(task, problem, *arguments): i for i, problem in enumerate(problems)}
    done: dict[int, Result] = {}
    try:
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            progress(1)
    except BrokenExecutor as error:
        raise LinregLoraError(f"sweep: a worker died ({error}); use fewer workers or smaller problems") from None
    finally:
        for future in futures:
            future.cancel()
    return [done[i] for i in range(len(problems))]


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


def flagged(long_name: str, flags: Sequence[Any]) -> dict[str, Any]:
    """CF attributes of a variable that holds indices into `flags`, an enumeration."""
    return {
        "long_name": long_name,
        "flag_values": np.arange(len(flags), dtype=np.int8),
        "flag_meanings": " ".join(flag.name.lower() for flag in flags),
    }


def _problem(make: Make, point: dict[str, Any]) -> Problem:
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


def _coordinate(name: str, values: Sequence[Any]) -> tuple:
    """The values where they are numbers or text, else their index, with the values in an attribute."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        return (name, list(values), {"long_name": name.replace("_", " ")})
    plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    return (name, np.arange(len(values)), {"long_name": f"index of {name}", "values": json.dumps(plain)})
