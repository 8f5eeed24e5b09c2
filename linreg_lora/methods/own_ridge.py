"""Methods with their best ridge: that of least expected risk, by the curve they share or by looking for it."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import LinregLoraError
from linreg_lora.methods.method import Method, Reduction
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.theory import best_ridge, ridge_search

AUTO = best_ridge.AUTO
_NOT_SURE = "its best ridge is not sure, for nothing is known next to it"
_ALONE = "its risk is not known with a ridge"


def of(problem: Problem, ridge: float | str | None) -> tuple[Problem, bool]:
    """The problem with `ridge` in place of its own, where that is a number; and whether the best is asked for.

    Raises `InvalidInput` for a ridge that is neither a number >= 0 nor "auto".
    """
    if isinstance(ridge, str):
        best_ridge.require_auto(ridge)
        return problem.replace(ridge=0.0), True
    return (problem if ridge is None else problem.replace(ridge=ridge)), False


def passes_on(method: Method, problem: Problem, reduced: Reduction | None) -> bool:
    """Whether the problem that a method reduces to has the ridge of the problem, and is the same but for that."""
    if reduced is None:
        return False
    other = method.reduce(problem.replace(ridge=1.0))
    return other is not None and other == reduced._replace(problem=reduced.problem.replace(ridge=1.0))


def searched(method: Method, problem: Problem, checked: Callable[[MethodRisk], MethodRisk]) -> MethodRisk:
    """The risk of a method at its best ridge, looked for on its own `expected_risk`; 0 where no ridge changes it.

    `checked` sees every risk. Where the method has one at no ridge, what it raises without.
    """
    found: dict[float, MethodRisk] = {}

    def at(ridge: float) -> Float[np.ndarray, "1"]:
        try:
            found[ridge] = checked(method.expected_risk(problem.replace(ridge=ridge)))
        except LinregLoraError:
            if ridge == 0:
                raise
            return np.array([math.nan])
        return np.array([found[ridge].risk])

    least = best_ridge.search(problem, at, math.inf, ridge_search.TOLERANCE)
    ridge = float(least.ridge[0])
    said = () if least.bracketed[0] else (_NOT_SURE if len(found) > 1 else _ALONE,)
    return dataclasses.replace(found[ridge], problem=problem, ridge=ridge, notes=(*found[ridge].notes, *said))
