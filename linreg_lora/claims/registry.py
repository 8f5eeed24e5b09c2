"""Names that a claims file may use, and the functions behind them.

    prediction   (case, sample) -> value(s) that the claim asserts for the sample's statistic
    experiment   (case, trials, seed, *, settings...) -> Sample
    predicate    (rows, columns) -> whether a matrix family admits the size
    domain       a strict model of what a file says of it, with `cases()` (`domains`)

A *case* is one problem of a claim's domain: a `Problem`, a `MatrixSize`, or what a domain of another kind is made of.
Functions register themselves by decorator: ours in the modules of `claims.library` and `claims.papers`, anybody's in
plug-ins. None imports JAX before an experiment runs.

A name belongs to the function that has it: another one is refused. Defining the same function again, as reloading its
file does, replaces it; within one load of a plug-in it is refused.
"""

import contextlib
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from linreg_lora.claims import signatures
from linreg_lora.errors import InvalidInput


class MatrixSize(NamedTuple):
    """A case of a matrix family."""

    rows: int
    columns: int

    @property
    def description(self) -> str:
        return f"{self.rows} x {self.columns}"

    @property
    def fingerprint(self) -> str:
        return repr(self)

    @property
    def size(self) -> int:
        return self.rows


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
    names of its settings, all of them needed. `any_inputs`: it draws what the problem's `input_law` says; `any_mean`:
    what its `input_mean` says.
    """

    run: Callable[..., Sample]
    case: type
    pathwise: bool
    bounded: bool
    settings: tuple[str, ...]
    any_inputs: bool = False
    any_mean: bool = False


class RegisteredPrediction(NamedTuple):
    """`case`: what it is about."""

    value: Callable[[Any, Sample], Any]
    case: type


class RegisteredDomain(NamedTuple):
    """`model`: what a claims file says of a domain; `case`: the type of its cases."""

    model: type
    case: type


Predicate = Callable[[int, int], bool]
_Function = TypeVar("_Function", bound=Callable)

_predictions: dict[str, RegisteredPrediction] = {}
_experiments: dict[str, RegisteredExperiment] = {}
_predicates: dict[str, Predicate] = {}
_domains: dict[str, RegisteredDomain] = {}
_others: list[dict[str, Any]] = []
#: What blocks of `all_or_nothing` registered so far.
_in_blocks: list[set[tuple[str, Any]]] = []


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

    require_name("prediction", name)

    def register(function: _Function) -> _Function:
        signatures.settings(function, signatures.PREDICTION)
        case = signatures.case_type(function, signatures.PREDICTION)
        _add("prediction", name, RegisteredPrediction(function, case), _predictions)
        return function

    return register


def register_experiment(
    name: str, *, pathwise: bool = False, bounded: bool = False, any_inputs: bool = False, any_mean: bool = False
) -> Callable[[_Function], _Function]:
    """Decorator: make an experiment available to claims files as `name`.

    Only one with `any_inputs` is run on problems whose inputs are not Gaussian: it draws what `input_law` says; only
    one with `any_mean` on problems whose inputs have a mean.

    >>> import linreg_lora as ll
    >>> @ll.claims.register_experiment("risk-of-fft")
    ... def risk_of_fft(problem: ll.Problem, trials: int, seed: int) -> ll.claims.Sample:
    ...     return ll.claims.Sample(ll.draw_risks(problem, trials=trials, seed=seed).fft[:, None])
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> risk_of_fft(problem, 64, 0).statistic.shape
    (64, 1)
    """

    require_name("experiment", name)

    def register(function: _Function) -> _Function:
        settings = signatures.settings(function, signatures.EXPERIMENT)
        case = signatures.case_type(function, signatures.EXPERIMENT)
        registered = RegisteredExperiment(function, case, pathwise, bounded, settings, any_inputs, any_mean)
        _add("experiment", name, registered, _experiments)
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

    require_name("predicate", name)

    def register(function: _Function) -> _Function:
        signatures.settings(function, signatures.PREDICATE)
        _add("predicate", name, function, _predicates)
        return function

    return register


def prediction(name: str) -> RegisteredPrediction:
    return _find("prediction", name, _predictions)


def experiment(name: str) -> RegisteredExperiment:
    return _find("experiment", name, _experiments)


def predicate(name: str) -> Predicate:
    return _find("predicate", name, _predicates)


def domain(name: Any) -> RegisteredDomain:
    return _find("domain", name, _domains, field="type")


def add_domain(name: str, model: type, case: type) -> None:
    """The table's side of `domains.register_domain`."""
    _add("domain", name, RegisteredDomain(model, case), _domains)


def name_of_domain(model: type) -> str:
    """The name under which a domain's model is registered."""
    for name, registered in _domains.items():
        if registered.model is model:
            return name
    raise InvalidInput("domain", "one that register_domain was given", model.__name__)


def functions() -> dict[str, dict[str, Any]]:
    """Everything that has a name, by kind: name -> the function, or a domain's model, in the order of registration."""
    load_own()
    return {
        "prediction": {name: registered.value for name, registered in _predictions.items()},
        "experiment": {name: registered.run for name, registered in _experiments.items()},
        "domain": {name: registered.model for name, registered in _domains.items()},
        "predicate": dict(_predicates),
    }


def methods() -> dict[str, Any]:
    """The methods that have a name (`linreg_lora.methods`): name -> what makes the method."""
    from linreg_lora.methods.registry import table

    return table()


@contextlib.contextmanager
def all_or_nothing() -> Iterator[None]:
    """What the block registers is forgotten when it raises; a name that it registers twice is refused."""
    tables: list[dict[str, Any]] = [_predictions, _experiments, _predicates, _domains, methods(), *_others]
    before = [dict(table) for table in tables]
    _in_blocks.append(set())
    try:
        yield
    except BaseException:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)
        raise
    finally:
        _in_blocks.pop()


def also_all_or_nothing(table: dict[str, Any]) -> None:
    """A table of another room in which plug-ins register is treated as those here are."""
    if not any(table is other for other in _others):
        _others.append(table)


@functools.cache
def load_own() -> None:
    """Import all that this package registers."""
    importlib.import_module("linreg_lora.claims.designs")
    for room in ("library", "papers"):
        where = str(Path(__file__).with_name(room))
        for module in pkgutil.walk_packages([where], f"linreg_lora.claims.{room}."):
            importlib.import_module(module.name)


def _add(what: str, name: Any, registered: Any, table: dict[str, Any]) -> None:
    made, here = _made(registered), (what, name)
    twice = any(here in names for names in _in_blocks)
    if name in table and (twice or not signatures.same_definition(_made(table[name]), made)):
        places = f"{signatures.place(_made(table[name]))} has it, {signatures.place(made)} wants it"
        raise InvalidInput(what, "a name that is free", name, places)
    table[name] = registered
    if _in_blocks:
        _in_blocks[-1].add(here)


def require_name(what: str, name: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        where = f"in {signatures.place(name)}" if callable(name) else ""
        raise InvalidInput(what, f'a name, as in @register_{what}("name")', name, where)


def _made(registered: Any) -> Any:
    """The function behind an entry of a table, or the model; a predicate is its own entry."""
    return registered[0] if isinstance(registered, tuple) else registered


def _find(what: str, name: Any, table: dict[str, Any], field: str = "") -> Any:
    if not isinstance(name, str) or name not in table:
        importlib.import_module("linreg_lora.claims.designs")
    if not isinstance(name, str) or name not in table:
        load_own()
    if not isinstance(name, str) or name not in table:
        near = difflib.get_close_matches(str(name), table, n=3, cutoff=0.4)
        known = f"a registered {what}" + (f", such as {' or '.join(near)}" if near else "")
        remedy = f"register it, or choose among the {len(table)} that `linreg-lora claims vocabulary` lists"
        raise InvalidInput(field or what, known, name, remedy)
    return table[name]
