"""Checks of what the theory of training takes, each refused in one line."""

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

#: Relative differences of squares below which they count as equal: what rounding leaves of orthogonal rows.
ROUNDING = 1e-10
_SMALLEST = 1e-50


def strengths(problem: Problem) -> np.ndarray:
    """The singular values of Delta from the largest on, without what rounding leaves of zeros."""
    s = np.asarray(problem.spectrum, dtype=float)
    return s[s > max(problem.dx, problem.dy) * np.finfo(float).eps * np.max(s, initial=0.0)]


def positive(field: str, value: object) -> float:
    """A finite number > 0, and not so small that products of a few of them vanish."""
    number = validation.nonnegative_number(field, value)
    if number < _SMALLEST:
        raise InvalidInput(field, f"a finite number > 0, at least {_SMALLEST:g}", value)
    return number


def times(value: object) -> np.ndarray:
    """A vector of times >= 0, in any order."""
    array = np.atleast_1d(validation.real_array("times", value, "finite times >= 0"))
    if array.ndim != 1 or np.any(array < 0):
        raise InvalidInput("times", "a number >= 0 or a vector of them", value)
    return array


def singular_values(value: object) -> np.ndarray:
    """A vector of singular values, from large to small."""
    array = np.atleast_1d(validation.real_array("values", value, "singular values, from large to small"))
    if array.ndim != 1 or array.size == 0 or np.any(array < 0) or np.any(np.diff(array) > 0):
        raise InvalidInput("values", "singular values >= 0, from large to small", value)
    return array


def shape_of_update(value: object) -> tuple[int, int]:
    """(dy, dx)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInput("shape", "two sizes (dy, dx)", value)
    return validation.dimension("shape[0]", value[0]), validation.dimension("shape[1]", value[1])


def one_of(field: str, value: object, among: tuple[str, ...], remedy: str = "") -> str:
    """A name of a short list."""
    if not isinstance(value, str) or value not in among:
        raise InvalidInput(field, f"one of {', '.join(among)}", value, remedy)
    return value


def a_matrix(field: str, value: object, shape: tuple[int | None, int | None] = (None, None)) -> np.ndarray:
    """A real matrix; None in `shape` is any number."""
    wanted = " x ".join("any" if size is None else str(size) for size in shape)
    array = validation.real_array(field, value, f"a {wanted} matrix")
    if array.ndim != 2 or array.size == 0 or any(w not in (None, s) for w, s in zip(shape, array.shape, strict=True)):
        raise InvalidInput(field, f"a {wanted} matrix", f"shape {array.shape}")
    return array
