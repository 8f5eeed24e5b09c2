"""A grid of problems, and a task run on each of them through any executor.

Cells are independent. What a task returns for a cell depends on its problem and arguments only: not on the executor,
the number of workers, the order in which cells finish, or the other cells.
"""

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.problem import Moments, Problem
from linreg_lora.sweeps.axes import Point, dimension
from linreg_lora.sweeps.executors import local_processes as local_processes

Make = Problem | Callable[..., Problem]
Progress = Callable[[int], None]
Result = TypeVar("Result")

_UNITS = {"n": "1", "dx": "1", "dy": "1", "noise_std": "units of y"}

#: Cells that an executor has at a time, so that a large grid is not held twice.
_IN_FLIGHT = 256


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
        """The axes as coordinates of a Dataset; fields that vary together each as one along their axis."""
        own = {name: _coordinate(name, values) for name, values in self.axes.items()}
        inner = {
            dimension(path): _coordinate(dimension(path), [point[path] for point in values], along=name)
            for name, values in self.axes.items()
            for path in (values[0] if isinstance(values[0], Point) else ())
        }
        return inner | own

    def point(self, cell: int) -> dict[str, Any]:
        """The axes' values in one cell."""
        index = np.unravel_index(cell, self.shape)
        return {name: values[int(i)] for (name, values), i in zip(self.axes.items(), index, strict=True)}

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


class Finished(NamedTuple, Generic[Result]):
    """A cell that is done: its number and what its task returned, or the error that it raised."""

    cell: int
    result: Result | None
    error: Exception | None


def finished_cells(
    task: Callable[..., Result],
    problems: Sequence[Problem],
    arguments: tuple,
    executor: Executor | None,
    cells: Iterable[int],
) -> Generator[list[Finished[Result]], None, None]:
    """task(problems[i], *arguments) for every i of `cells`, yielded as they finish, some at a time.

    `executor` None runs them in this process. A bounded number is submitted at a time (`in_flight` of the executor, if
    it has one). Closing the iterator cancels what has not begun. Raises `LinregLoraError` when the executor breaks.
    """
    if executor is None:
        for cell in cells:
            yield [_outcome(cell, functools.partial(task, problems[cell], *arguments))]
        return
    waiting = iter(cells)
    running: dict[Future, int] = {}
    try:
        while True:
            for cell in itertools.islice(waiting, getattr(executor, "in_flight", _IN_FLIGHT) - len(running)):
                running[executor.submit(task, problems[cell], *arguments)] = cell
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            yield [_outcome(running.pop(future), future.result) for future in done]
    except (BrokenExecutor, CancelledError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LinregLoraError(
            f"sweep: a worker died or what runs the cells is gone ({reason}); a journal can be resumed"
        ) from None
    finally:
        for future in running:
            future.cancel()


def map_cells(
    task: Callable[..., Result],
    problems: Sequence[Problem],
    arguments: tuple,
    executor: Executor | None,
    progress: Progress,
) -> list[Result]:
    """task(problem, *arguments) of every problem, in order; raises the first error of any (`finished_cells`)."""
    results: dict[int, Any] = {}
    with contextlib.closing(finished_cells(task, problems, arguments, executor, range(len(problems)))) as batches:
        for batch in batches:
            for cell, result, error in batch:
                if error is not None:
                    raise error
                results[cell] = result
                progress(1)
    return [results[cell] for cell in range(len(problems))]


def _outcome(cell: int, call: Callable[[], Result]) -> Finished[Result]:
    try:
        return Finished(cell, call(), None)
    except (BrokenExecutor, CancelledError):
        raise
    except Exception as error:
        return Finished(cell, None, error)


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


def _coordinate(name: str, values: Sequence[Any], along: str | None = None) -> tuple:
    """The values where they are numbers or text, else their index, with the values in an attribute."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        units = {"units": _UNITS[name]} if name in _UNITS else {}
        return (along or name, list(values), {"long_name": name.replace("_", " "), **units})
    plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    return (along or name, np.arange(len(values)), {"long_name": f"index of {name}", "values": json.dumps(plain)})
