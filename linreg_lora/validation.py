"""Checks of single values, each refused in one line: field, expected, received."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import TypeVar

import numpy as np

from linreg_lora.errors import InvalidInput

#: Larger magnitudes overflow when squared and summed; larger integers are not exact in float64.
LARGEST = 1e30
#: Smaller positive variances of inputs overflow when inverted.
SMALLEST_VARIANCE = 1e-300
_LARGEST_INTEGER = 2**53
_Choice = TypeVar("_Choice", bound=Enum)
#: Vectors of more entries, of which theory needs dozens, fill the memory.
LARGEST_DIMENSION = 10_000_000


def positive_integer(field: str, value: object) -> int:
    return _integer(field, value, 1)


def dimension(field: str, value: object) -> int:
    return _integer(field, value, 1, LARGEST_DIMENSION)


def nonnegative_integer(field: str, value: object) -> int:
    return _integer(field, value, 0)


def enough_draws(field: str, value: object) -> int:
    """A number of draws whose mean has a standard error."""
    draws = positive_integer(field, value)
    if draws < 2:
        raise InvalidInput(field, "at least 2, so that a standard error exists", draws)
    return draws


def _integer(field: str, value: object, least: int, most: int = _LARGEST_INTEGER) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidInput(field, f"an integer >= {least}", value)
    if value > most:
        raise InvalidInput(field, f"an integer <= {'2^53' if most == _LARGEST_INTEGER else most}", value)
    return int(value)


def zero_or_one(field: str, value: object) -> bool:
    """A switch, as settings of methods write it: 0 or 1."""
    if not isinstance(value, (int, np.integer)) or value not in (0, 1):
        raise InvalidInput(field, "0 or 1", value)
    return bool(value)


def nonnegative_number(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidInput(field, "a finite number >= 0", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise InvalidInput(field, "a finite number >= 0", value)
    if number > LARGEST:
        raise InvalidInput(field, f"a number <= {LARGEST:g}", value)
    return number + 0.0


def choice(field: str, value: object, among: type[_Choice]) -> _Choice:
    """The member of an enumeration that a value names; members are their own names."""
    try:
        return among(value)
    except ValueError:
        raise InvalidInput(field, f"one of {', '.join(str(member) for member in among)}", value) from None


def real_array(field: str, value: object, expected: str) -> np.ndarray:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError
        array = np.array(array, dtype=float) + 0.0
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(field, expected, value) from None
    if not np.all(np.isfinite(array)):
        raise InvalidInput(field, f"{expected}, all finite", value)
    if np.any(np.abs(array) > LARGEST):
        raise InvalidInput(field, f"{expected}, no entry above {LARGEST:g}", value)
    return array


def spectrum(field: str, value: Sequence[float], size: int) -> tuple[float, ...]:
    expected = f"at most min(dx, dy) = {size} singular values, non-negative and non-increasing"
    if isinstance(value, str):
        remedy = f"give numbers: ll.spectra.power_law({size}, 1, 10) are those of power-law:1:10"
        raise InvalidInput(field, expected, value, remedy)
    array = real_array(field, value, expected)
    if array.ndim != 1:
        raise InvalidInput(field, expected, value)
    if len(array) > size:
        raise InvalidInput(field, expected, f"{len(array)} values")
    if np.any(array < 0):
        raise InvalidInput(field, expected, value, "drop the signs: they belong to the singular vectors")
    if np.any(np.diff(array) > 0):
        raise InvalidInput(field, expected, value, "sort it from large to small")
    return tuple(array.tolist())


def matrix(field: str, value: object, shape: tuple[int, int]) -> np.ndarray | None:
    if value is None:
        return None
    expected = f"a dy x dx = {shape[0]} x {shape[1]} matrix"
    array = real_array(field, value, expected)
    if array.shape != shape:
        raise InvalidInput(field, expected, f"shape {array.shape}")
    return frozen(array)


def covariance(field: str, value: object, size: int) -> np.ndarray | None:
    if value is None:
        return None
    expected = f"{size} variances or a {size} x {size} symmetric positive semidefinite matrix, not zero"
    array = real_array(field, value, expected)
    if array.shape not in ((size,), (size, size)):
        raise InvalidInput(field, expected, f"shape {array.shape}")
    if array.ndim == 1:
        values = array
    else:
        asymmetry = float(np.max(np.abs(array - array.T)))
        if asymmetry > 1e-12 * np.max(np.abs(array)):
            raise InvalidInput(field, expected, f"asymmetry {asymmetry:.3g}", "use (C + C.T) / 2")
        array = (array + array.T) / 2
        values = np.linalg.eigvalsh(array)
    if np.min(values) < -size * np.finfo(float).eps * np.max(np.abs(values)):
        raise InvalidInput(field, expected, f"smallest eigenvalue {np.min(values):.3g}")
    if np.max(values) <= 0:
        raise InvalidInput(field, expected, "zero")
    if array.ndim == 1 or np.count_nonzero(array - np.diag(np.diagonal(array))) == 0:
        array = np.clip(array, 0, None)
    return frozen(array)


def input_covariance(field: str, value: object, size: int) -> np.ndarray | None:
    array = covariance(field, value, size)
    if array is not None:
        variances = array if array.ndim == 1 else np.diagonal(array)
        tiny = variances[(variances > 0) & (variances < SMALLEST_VARIANCE)]
        if tiny.size:
            expected = f"variances that are 0 or at least {SMALLEST_VARIANCE:g}"
            raise InvalidInput(field, expected, float(np.min(tiny)), "write 0, or use larger units")
    return array


def mean(field: str, value: object, size: int) -> np.ndarray | None:
    """A vector of the mean of each input; None where all are 0."""
    if value is None:
        return None
    expected = f"a number or {size} of them"
    array = real_array(field, value, expected)
    if array.shape not in ((), (size,)):
        raise InvalidInput(field, expected, f"shape {array.shape}")
    return frozen(np.full(size, array) if array.ndim == 0 else array) if np.any(array) else None


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
