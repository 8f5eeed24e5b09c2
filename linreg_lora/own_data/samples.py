"""A user's rows: inputs, what the pretrained map leaves of the outputs, and groups, checked."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.validation import LARGEST

#: Fewer rows than this decide nothing.
_LEAST_ROWS = 3


class Samples(NamedTuple):
    """Rows of data: `inputs` X (n dx), `residual` R = Y - base(X) (n dy), `groups` numbered from 0, or None."""

    inputs: Float[np.ndarray, "n dx"]
    residual: Float[np.ndarray, "n dy"]
    groups: Int[np.ndarray, "n"] | None


def samples(inputs: Any, outputs: Any, base: Any = None, groups: Any = None) -> Samples:
    """Check a user's arrays.

    `inputs`: n rows of dx numbers, n >= 3; `outputs`: n rows of dy numbers, or n numbers; `base`: the pretrained map,
    None for none, a matrix of dy rows and dx columns, or anything with `predict`; `groups`: a label for each row.
    Raises `InvalidInput` for anything else, naming row and column where it is one number.
    """
    x, y = table("inputs", inputs), table("outputs", outputs)
    if len(x) != len(y):
        raise InvalidInput("outputs", f"as many rows as inputs, {len(x)}", f"{len(y)} rows")
    if len(x) < _LEAST_ROWS:
        raise InvalidInput("inputs", f"at least {_LEAST_ROWS} rows", f"{len(x)}")
    labels = None if groups is None else _labels(groups, len(x))
    return Samples(x, y - predicted(base, x, y.shape[1], inputs), labels)


def table(field: str, value: Any) -> Float[np.ndarray, "n columns"]:
    """Rows of finite real numbers; one number a row may come without its own brackets."""
    expected = "rows of real numbers"
    if getattr(value, "ndim", 2) == 2 and hasattr(value, "dtypes"):
        _require_numeric_columns(field, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError
        array = np.array(array, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(field, expected, value, "numbers alone, rows of equal length") from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidInput(field, f"{expected}, not empty", f"shape {array.shape}")
    wrong = np.argwhere(~(np.abs(array) <= LARGEST))
    if len(wrong):
        row, column = wrong[0].tolist()
        place = f"{array[row, column]} in row {row}, column {_name(value, column)}"
        raise InvalidInput(field, f"finite numbers up to {LARGEST:g}", place, "leave out the rows that miss a value")
    largest = float(np.max(np.abs(array)))
    if 0 < largest < 1 / LARGEST:
        raise InvalidInput(field, f"numbers of {1 / LARGEST:g} or more, or zeros", f"{largest:g} at most", "rescale")
    return array


def predicted(base: Any, x: Float[np.ndarray, "n dx"], outputs: int, given: Any = None) -> Float[np.ndarray, "n dy"]:
    """What the pretrained map says: 0, X A0^T, or what its `predict` returns for the inputs as they were `given`."""
    if base is None:
        return np.zeros((len(x), outputs))
    if hasattr(base, "predict"):
        said = table("base", base.predict(x if given is None else given))
        if said.shape != (len(x), outputs):
            raise InvalidInput("base", f"predictions of shape {(len(x), outputs)}", f"shape {said.shape}")
        return said
    matrix = table("base", base)
    expected = (outputs, x.shape[1])
    if matrix.shape != expected:
        matrix = matrix.T if matrix.shape == expected[::-1] == (x.shape[1], 1) and np.ndim(base) == 1 else matrix
    if matrix.shape != expected:
        turned = matrix.shape == expected[::-1]
        raise InvalidInput(
            "base", f"a matrix of {expected[0]} outputs x {expected[1]} inputs", f"shape {matrix.shape}",
            "did you mean its transpose?" if turned else "",
        )  # fmt: skip
    return x @ matrix.T


def _labels(groups: Any, rows: int) -> Int[np.ndarray, "n"]:
    labels = np.asarray(groups)
    if labels.shape != (rows,):
        raise InvalidInput("groups", f"{rows} labels, one a row", f"shape {labels.shape}")
    if labels.dtype.kind == "f" and np.any(np.isnan(labels)):
        raise InvalidInput("groups", "a label in every row", f"nan in row {int(np.argmax(np.isnan(labels)))}")
    numbers = np.unique(labels.astype(str), return_inverse=True)[1]
    if np.max(numbers) == 0:
        raise InvalidInput("groups", "at least 2 different ones", "1", "leave them out")
    return numbers


def _require_numeric_columns(field: str, frame: Any) -> None:
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        if not (getattr(kind, "kind", "O") in "biufO" or hasattr(kind, "numpy_dtype")):
            raise InvalidInput(field, "columns of numbers", f"column {column} of {kind}", "leave it out, or code it")


def _name(value: Any, column: int) -> str:
    columns = getattr(value, "columns", None)
    return str(column if columns is None else columns[column])
