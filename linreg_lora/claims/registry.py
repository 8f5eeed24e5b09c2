"""Names that a claims file may use, and the functions behind them.

    prediction   (case, sample) -> value(s) that the claim asserts for the sample's statistic
    experiment   (case, trials, seed, *, settings...) -> Sample
    predicate    (rows, columns) -> whether a matrix family admits the size

A *case* is one problem of a claim's domain: a `Problem`, or a `MatrixSize`. Functions register themselves by decorator
in the modules of `claims.library`; none imports JAX before an experiment runs.
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from linreg_lora.errors import InvalidInput


class MatrixSize(NamedTuple):
    """A case of a matrix family."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Sample:
    """What an experiment measured, one entry a draw along the first axis.

    `statistic` is what the claim is about; `context` holds what predictions may use; `tolerance` is the rounding error
    that each draw's conditioning allows, relative to `scale` (pathwise claims only). `columns` names the statistic's
    second axis where it has one.
    """

    statistic: np.ndarray
    context: Mapping[str, np.ndarray] = field(default_factory=dict)
    tolerance: np.ndarray | None = None
    scale: np.ndarray | None = None
    columns: tuple[str, ...] = ("",)


class RegisteredExperiment(NamedTuple):
    """`case`: what it runs on. `pathwise`: it states a tolerance for every draw; otherwise it measures columns of
    numbers whose means are tested. `bounded`: all moments of the statistic exist wherever it is measured. `settings`:
    names of its settings, all of them needed.
    """

    run: Callable[..., Sample]
    case: type
    pathwise: bool
    bounded: bool
    settings: tuple[str, ...]


class RegisteredPrediction(NamedTuple):
    """`case`: what it is about."""

    value: Callable[[Any, Sample], Any]
    case: type


Predicate = Callable[[int, int], bool]
_Function = TypeVar("_Function", bound=Callable)

_predictions: dict[str, RegisteredPrediction] = {}
_experiments: dict[str, RegisteredExperiment] = {}
_predicates: dict[str, Predicate] = {}


def register_prediction(name: str) -> Callable[[_Function], _Function]:
    """Decorator: make a prediction available to claims files as `name`.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> @ll.claims.register_prediction("fft-risk.without-one")
    ... def without_one(problem: ll.Problem, sample: ll.claims.Sample) -> float:
    ...     return problem.noise_trace * problem.dx / (problem.n - problem.dx)
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{without_one(problem, ll.claims.Sample(np.zeros((1, 1)))):.3f}, where {20 * 24 / 35:.3f} is right"
    '13.333, where 13.714 is right'
    """

    def register(function: _Function) -> _Function:
        _predictions[name] = RegisteredPrediction(function, _case_type(function))
        return function

    return register


def register_experiment(
    name: str, *, pathwise: bool = False, bounded: bool = False
) -> Callable[[_Function], _Function]:
    """Decorator: make an experiment available to claims files as `name`.

    >>> import linreg_lora as ll
    >>> @ll.claims.register_experiment("risk-of-fft")
    ... def risk_of_fft(problem: ll.Problem, trials: int, seed: int) -> ll.claims.Sample:
    ...     return ll.claims.Sample(ll.draw_risks(problem, trials=trials, seed=seed).fft[:, None])
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> risk_of_fft(problem, 64, 0).statistic.shape
    (64, 1)
    """

    def register(function: _Function) -> _Function:
        settings = tuple(inspect.signature(function).parameters)[3:]
        _experiments[name] = RegisteredExperiment(function, _case_type(function), pathwise, bounded, settings)
        return function

    return register


def register_predicate(name: str) -> Callable[[_Function], _Function]:
    """Decorator: make a predicate available to claims files as `name`.

    >>> import linreg_lora as ll
    >>> @ll.claims.register_predicate("square")
    ... def square(rows: int, columns: int) -> bool:
    ...     return rows == columns
    >>> square(3, 3)
    True
    """

    def register(function: _Function) -> _Function:
        _predicates[name] = function
        return function

    return register


def prediction(name: str) -> RegisteredPrediction:
    return _find("prediction", name, _predictions)


def experiment(name: str) -> RegisteredExperiment:
    return _find("experiment", name, _experiments)


def predicate(name: str) -> Predicate:
    return _find("predicate", name, _predicates)


def _case_type(function: Callable) -> type:
    """The annotation of the first parameter: `Problem` or `MatrixSize`."""
    return next(iter(inspect.get_annotations(function).values()))


def _find(what: str, name: str, table: dict[str, Any]) -> Any:
    for room in ("library", "papers"):
        where = str(Path(__file__).with_name(room))
        for module in pkgutil.walk_packages([where], f"linreg_lora.claims.{room}."):
            importlib.import_module(module.name)
    if name not in table:
        near = difflib.get_close_matches(name, table, n=3, cutoff=0.4)
        known = f"a registered {what}" + (f", such as {' or '.join(near)}" if near else "")
        raise InvalidInput(
            what, known, name, f"register it, or choose among the {len(table)} in linreg_lora/claims/library"
        )
    return table[name]
