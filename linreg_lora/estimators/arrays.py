"""What users may pass to an estimator: arrays of real numbers that fit together, or a refusal in one line.

Lists, NumPy and JAX arrays of any real type are accepted and become float64 arrays of JAX. Under `jax.jit`, `jax.vmap`
and `jax.grad` arrays have no values yet: then only their types and shapes are checked.
"""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure

#: Whatever `numpy.asarray` turns into an array of real numbers: nested sequences, NumPy and JAX arrays. It is wide on
#: purpose: what does not fit is refused by `real_array`, in one line.
ArrayLike: TypeAlias = object

_INPUTS = "X, dx x n with a sample in each column"
_OUTPUTS = "Y, dy x n with a sample in each column"
_PRETRAINED = "A0, dy x dx"


class Data(NamedTuple):
    """X, Y and A0 in float64, all with the same number of dimensions."""

    inputs: Float[Array, "... dx n"]
    outputs: Float[Array, "... dy n"]
    pretrained: Float[Array, "... dy dx"] | None


def data(inputs: ArrayLike, outputs: ArrayLike, pretrained: ArrayLike | None) -> Data:
    """The arrays of one fit. Raises `InvalidInput` for what is not real, finite or of matching shape."""
    x, y = real_array("inputs", inputs, _INPUTS), real_array("outputs", outputs, _OUTPUTS)
    if y.shape[-1] != x.shape[-1]:
        raise InvalidInput("outputs", f"{x.shape[-1]} samples, as many as inputs", f"{y.shape[-1]}, shape {y.shape}")
    if pretrained is None:
        x, y = aligned(inputs=x, outputs=y)
        return Data(x, y, None)
    a0 = real_array("pretrained", pretrained, _PRETRAINED)
    shape = (y.shape[-2], x.shape[-2])
    if a0.shape[-2:] != shape:
        raise InvalidInput("pretrained", f"{_PRETRAINED} = {shape[0]} x {shape[1]}", f"shape {a0.shape}")
    return Data(*aligned(inputs=x, outputs=y, pretrained=a0))


def aligned(**arrays: Array) -> list[Array]:
    """Leading dimensions of size 1 added until all have equally many; they must broadcast."""
    try:
        np.broadcast_shapes(*(a.shape[:-2] for a in arrays.values()))
    except ValueError:
        shapes = ", ".join(str(a.shape[:-2]) for a in arrays.values())
        raise InvalidInput(", ".join(arrays), "leading dimensions that broadcast", shapes) from None
    most = max(a.ndim for a in arrays.values())
    return [lifted(a, most) for a in arrays.values()]


def lifted(array: Array, ndim: int) -> Array:
    """`array` with leading dimensions of size 1, `ndim` in all."""
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)


def real_array(field: str, value: ArrayLike, expected: str) -> Float[Array, "... rows columns"]:
    """`value` as a float64 array of matrices. Raises `InvalidInput` unless it is real, finite and not empty."""
    array = value if isinstance(value, Tracer) else _as_numpy(field, value, expected)
    if not (array.dtype == np.bool_ or _is_number(array.dtype)):
        received = value if array.dtype == object else f"type {array.dtype}"
        raise InvalidInput(field, f"{expected}, real numbers", received)
    if array.ndim < 2:
        raise InvalidInput(field, expected, f"shape {array.shape}", "give a matrix, if need be of one row")
    if 0 in array.shape:
        raise InvalidInput(field, f"{expected}, not empty", f"shape {array.shape}")
    if isinstance(array, Tracer):
        return array.astype(jnp.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.asarray(array, dtype=np.float64)
    _require(np.isfinite(array), array, field, f"{expected}, all finite", "leave out the samples that miss a value")
    limit = f"{expected}, no entry above {validation.LARGEST:g}"
    _require(np.abs(array) <= validation.LARGEST, array, field, limit, "use larger units")
    return jnp.asarray(array)


def _is_number(dtype: np.dtype) -> bool:
    """Whether it is an integer or real type; NumPy counts durations among the integers."""
    return dtype.kind != "m" and any(jax.dtypes.issubdtype(dtype, kind) for kind in (np.integer, np.floating))


def _as_numpy(field: str, value: ArrayLike, expected: str) -> np.ndarray:
    if np.ma.is_masked(value):
        raise InvalidInput(field, f"{expected}, all known", "masked entries", "leave out the samples that miss a value")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(field, expected, value, "give rows of equal length, of numbers") from None


def _require(right: np.ndarray, array: np.ndarray, field: str, expected: str, remedy: str) -> None:
    if not np.all(right):
        place = tuple(np.argwhere(~right)[0].tolist())
        raise InvalidInput(field, expected, f"{array[place]} at {list(place)}", remedy)


def ridge_or_none(value: ArrayLike) -> float | Float[Array, ""] | None:
    """eta as a number, or as a traced scalar; None where it is None or 0, which mean the same."""
    if value is None:
        return None
    if isinstance(value, Tracer):
        if value.shape or not _is_number(value.dtype):
            raise InvalidInput("ridge", "a real number", f"type {value.dtype}, shape {value.shape}")
        return value.astype(jnp.float64)
    if isinstance(value, (np.ndarray, jax.Array)) and value.shape == ():
        value = value.item()
    return validation.nonnegative_number("ridge", value) or None


def rank_up_to(value: ArrayLike, largest: int) -> int:
    """r, an integer in 0..min(n, dx, dy) = `largest`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= largest:
        remedy = "make it a static argument" if isinstance(value, Tracer) else ""
        raise InvalidInput("rank", f"an integer in 0..min(n, dx, dy) = {largest}", value, remedy)
    return int(value)


def finite(result: Array) -> Array:
    """The result of a fit. Raises `NumericalFailure` where it overflowed."""
    if not isinstance(result, Tracer) and not np.all(np.isfinite(np.asarray(result))):
        raise NumericalFailure("the fit overflows: its entries are beyond float64; use larger units for the inputs")
    return result
