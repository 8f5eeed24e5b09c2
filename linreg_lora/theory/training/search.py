"""The least value of a function of one number in a bracket."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Least(NamedTuple):
    """Where a function is least, and its value there."""

    at: float
    value: float


def least(function: Callable[[float], float], low: float, high: float, within: float = 1e-12) -> Least:
    """The minimum of a function with one of them in low..high, to `within`.

    >>> from linreg_lora.theory.training.search import least
    >>> f"{least(lambda x: (x - 1) ** 2, 0.0, 3.0).at:.6f}"
    '1.000000'
    """
    from scipy.optimize import minimize_scalar

    found: Any = minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": within})
    return Least(float(found.x), float(found.fun))
