"""Checks of the parameters of input laws, each refused in one line."""

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


def number_of(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidInput(field, "a finite number", value)
    if not math.isfinite(value) or abs(value) > validation.LARGEST:
        raise InvalidInput(field, "a finite number", value)
    return float(value)


def number_above(field: str, value: object, least: float, remedy: str) -> float:
    number = number_of(field, value)
    if number <= least:
        raise InvalidInput(field, f"a number > {least:g}", value, remedy)
    return number


def numbers_of(name: str, value: object, size: int | None = None) -> tuple[float, ...]:
    expected = "numbers, at least one" if size is None else f"{size} numbers, as many as weights"
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        raise InvalidInput(f"{FIELD}.{name}", expected, value)
    array = validation.real_array(f"{FIELD}.{name}", value, expected)
    if array.ndim != 1 or not array.size or (size is not None and array.size != size) or array.size > _MOST_POINTS:
        raise InvalidInput(f"{FIELD}.{name}", expected, f"shape {array.shape}")
    return tuple(array.tolist())


def weights_of(name: str, value: object, size: int | None = None, *, zeros: bool = False) -> tuple[float, ...]:
    weights = numbers_of(name, value, size)
    if not zeros and min(weights) < 1 / validation.LARGEST:
        remedy = "a sample of weight 0 is none: leave such samples out"
        raise InvalidInput(f"{FIELD}.{name}", "positive numbers", min(weights), remedy)
    if min(weights) < 0:
        raise InvalidInput(f"{FIELD}.{name}", "numbers >= 0", min(weights))
    return weights


def require_unit_mean(name: str, weights: tuple[float, ...], probabilities: tuple[float, ...] | None) -> None:
    mean = float(np.average(weights, weights=probabilities))
    if abs(mean - 1) > UNIT_MEAN:
        into = "input_covariance" if name == "weights" else "noise_std^2"
        remedy = f"divide by it, and multiply {into} by it"
        raise InvalidInput(f"{FIELD}.{name}", "numbers of mean 1", f"mean {mean:.6g}", remedy)
