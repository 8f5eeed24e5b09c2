"""Methods in a sweep: the numbers of a cell, and the dimension `adapt` of the Dataset."""

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.methods import registry
from linreg_lora.methods.expected import expected_risks
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve

_UNITS = "squared units of y"
_NUMBERS = {
    "adapt_risk": "expected excess risk of the method",
    "adapt_stderr": "standard error of adapt_risk; nan where none exists",
    "adapt_flagged": "whether adapt_risk by theory may be off by more than 1 %",
}
RESERVED = ("adapt", *_NUMBERS, "adapt_parameters", "adapt_note")


def chosen(adapt: Sequence[Method | str] | None, executor: Executor | None) -> tuple[Method, ...]:
    """The methods of a sweep. Raises `InvalidInput` for one that cannot be sent to the processes of an executor."""
    if adapt is None:
        return ()
    methods = registry.each(adapt)
    for method in methods if executor is not None else ():
        try:
            pickle.loads(pickle.dumps(method))
        except Exception as error:
            remedy = f"define it in a module that can be imported ({type(error).__name__})"
            raise InvalidInput("adapt", "methods that can be sent to processes", method.name, remedy) from None
    return methods


def ranks(problem: Problem, methods: Sequence[Method]) -> list[int]:
    """The ranks of LoRA among the methods, as far as the problem has them."""
    return sorted({method.rank for method in methods if type(method) is LoRA and method.rank <= problem.max_rank})


def runs(problem: Problem, methods: Sequence[Method], *, curve: bool) -> int:
    """How many simulations a cell makes: one `curve`, wanted or for LoRA and FFT, if it has a mean, and each fit."""
    fits = [method for method in methods if type(method) not in (LoRA, FullFineTuning)]
    return len(fits) + ((curve or len(fits) < len(methods)) and problem.moments is not Moments.NO_MEAN)


def numbers(risks: Sequence[MethodRisk]) -> np.ndarray:
    """A row of a cell: what `_NUMBERS` lists, each for all methods."""
    stderr = [np.nan if one.stderr is None else one.stderr for one in risks]
    return np.array([[one.risk for one in risks], stderr, [float(one.flagged) for one in risks]]).ravel()


def row_size(methods: Sequence[Method]) -> int:
    """How many numbers a row has."""
    return len(_NUMBERS) * len(methods)


def risks_of(
    problem: Problem, methods: Sequence[Method], by: str, trials: int, seed: int, curve: RiskCurve | None
) -> list[MethodRisk]:
    """The risks of a cell's methods, LoRA's and FFT's off its curve. Raises `NumericalFailure` for unexplained nan."""
    if by == "theory":
        found = expected_risks(problem, methods, curve)
    else:
        from linreg_lora.simulation.methods import simulated_risks

        found = simulated_risks(problem, methods, trials=trials, seed=seed, curve=curve)
    for one in found:
        missing = not np.isfinite(one.risk) or (one.stderr is not None and not np.isfinite(one.stderr))
        if (missing and not one.notes) or (np.isinf(one.risk) and one.moments is not Moments.NO_MEAN):
            raise NumericalFailure(f"{one.method} ({by}): expected a number, received {one.risk} without a reason")
    return found


def variables(
    methods: Sequence[Method],
    problems: Sequence[Problem],
    shape: tuple[int, ...],
    dimensions: tuple[str, ...],
    table: np.ndarray,
    notes: np.ndarray,
) -> dict[str, Any]:
    """The variables over `adapt`, from `table` (computed_by, cell, `numbers`) and `notes` (computed_by, cell, method).

    `shape` and `dimensions` are those of computed_by and the axes.
    """
    width = len(methods)
    found: dict[str, Any] = {}
    for i, (name, long_name) in enumerate(_NUMBERS.items()):
        values = table[:, :, i * width : (i + 1) * width].reshape(*shape, width)
        attributes = {"long_name": long_name}
        if name == "adapt_flagged":
            values = np.nan_to_num(values) > 0
        else:
            attributes["units"] = _UNITS
        found[name] = ((*dimensions, "adapt"), values, attributes)
    counts = [[registry.parameters(method, problem) for method in methods] for problem in problems]
    found["adapt_parameters"] = (
        (*dimensions[1:], "adapt"),
        np.array(counts, dtype=np.int64).reshape(*shape[1:], width),
        {"long_name": "how many numbers the method trains", "units": "1"},
    )
    said = notes.reshape(*shape, width).astype(str)
    found["adapt_note"] = (
        (*dimensions, "adapt"), said, {"long_name": "what is missing or in doubt, and why; empty when nothing is"}
    )  # fmt: skip
    return found


def coordinate(methods: Sequence[Method]) -> Mapping[str, Any]:
    """The dimension `adapt`."""
    return {"adapt": ("adapt", [method.name for method in methods], {"long_name": "what is trained"})}
