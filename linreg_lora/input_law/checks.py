"""Checks of the parameters of input laws, each refused in one line."""

import contextlib
import math
from collections.abc import Sequence

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.input_law.law import FIELD, InputLaw

#: Means of weights are 1 up to this.
UNIT_MEAN = 1e-9
#: A law of more points is given by a function, not by a list.
_MOST_POINTS = 100_000


def put(law: InputLaw, **values: object) -> None:
    """Set fields of a frozen law."""
    for name, value in values.items():
        object.__setattr__(law, name, value)


def number_of(name: str, value: object) -> float:
    """A parameter that is one number."""
    number = math.inf
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not abs(number) <= validation.LARGEST:
        raise InvalidInput(FIELD, f"{name}, a number up to {validation.LARGEST:g}", value)
    return number


def number_above(name: str, value: object, least: float, remedy: str) -> float:
    """A parameter that is one number above `least`."""
    number = number_of(name, value)
    if number <= least:
        raise InvalidInput(FIELD, f"{name}, a number > {least:g}", value, remedy)
    return number


def numbers_of(name: str, value: object, size: int | None = None) -> tuple[float, ...]:
    """A parameter that is a list of numbers, `size` of them."""
    expected = "numbers, at least one" if size is None else f"{size} numbers, as many as weights"
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        raise InvalidInput(FIELD, f"{name}, {expected}", value)
    array = validation.real_array(FIELD, value, f"{name}, {expected}")
    if array.ndim != 1 or not array.size or (size is not None and array.size != size) or array.size > _MOST_POINTS:
        raise InvalidInput(FIELD, f"{name}, {expected}", f"shape {array.shape}")
    return tuple(array.tolist())


def weights_of(name: str, value: object, size: int | None = None, *, zeros: bool = False) -> tuple[float, ...]:
    """A list of positive numbers, or with `zeros` of such that are not negative."""
    weights = numbers_of(name, value, size)
    if not zeros and min(weights) < 1 / validation.LARGEST:
        remedy = "a sample of weight 0 is none: leave such samples out"
        raise InvalidInput(FIELD, f"{name}, positive numbers", min(weights), remedy)
    if min(weights) < 0:
        raise InvalidInput(FIELD, f"{name}, numbers >= 0", min(weights))
    return weights


def require_unit_mean(name: str, weights: tuple[float, ...], probabilities: tuple[float, ...] | None) -> None:
    """Raise `InvalidInput` where the mean is not 1."""
    mean = float(np.average(weights, weights=probabilities))
    if abs(mean - 1) > UNIT_MEAN:
        into = "input_covariance" if name == "weights" else "noise_std^2"
        remedy = f"divide by it, and multiply {into} by it"
        raise InvalidInput(FIELD, f"{name}, numbers of mean 1", f"mean {mean:.6g}", remedy)
