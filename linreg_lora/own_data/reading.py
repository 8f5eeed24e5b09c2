"""A user's files: rows of inputs and outputs, the pretrained map, and labels of groups."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.files import arrays, tables, tensors
from linreg_lora.own_data.deletion import design, update
from linreg_lora.own_data.samples import samples

#: Names of inputs and outputs in archives.
_INPUTS, _OUTPUTS = ("X", "x", "inputs"), ("Y", "y", "outputs")


class UserData(NamedTuple):
    """Rows of numbers with the names of their columns, and a label for each row, or None."""

    inputs: Float[np.ndarray, "n dx"]
    outputs: Float[np.ndarray, "n dy"]
    input_names: list[str]
    output_names: list[str]
    groups: np.ndarray | None


class LinearMap(NamedTuple):
    """y = map x + offset, as a base."""

    map: Float[np.ndarray, "dy dx"]
    offset: Float[np.ndarray, "dy"]

    def predict(self, inputs: Float[np.ndarray, "n dx"]) -> Float[np.ndarray, "n dy"]:
        return inputs @ self.map.T + self.offset


def read_data(
    path: Path, x_columns: str | None = None, y_columns: str | None = None, groups: str | None = None
) -> UserData:
    """Inputs and outputs of a file.

    A table (csv, parquet): `y_columns` and `x_columns` by names, patterns and ranges (`files.tables.columns`), inputs
    by default all others; `groups`: a column of labels. An archive (npz): X and Y. Raises `InvalidInput` for anything
    else.
    """
    if not tables.is_table(path):
        return _of_archive(path, x_columns, y_columns, groups)
    frame = tables.read_table(path)
    if y_columns is None:
        names = ", ".join(frame.columns[:12])
        raise InvalidInput("y-columns", f"which columns are outputs, among {names}", "nothing", "as in --y-columns y*")
    outputs = tables.columns(frame, "y-columns", y_columns)
    labels = None if groups is None else tables.columns(frame, "groups", groups)[0]
    rest = [name for name in frame.columns if name not in outputs and name != labels]
    inputs = rest if x_columns is None else tables.columns(frame, "x-columns", x_columns)
    both = sorted(set(inputs) & {*outputs, labels})
    if both or not inputs:
        received = f"{both[0]} twice" if both else "none"
        raise InvalidInput("x-columns", "columns that are no outputs", received)
    return UserData(
        tables.numbers(frame.loc[:, inputs], path.name),
        tables.numbers(frame.loc[:, outputs], path.name),
        inputs,
        outputs,
        None if labels is None else frame[labels].to_numpy(dtype=str),
    )


def read_base(path: Path, data: UserData, key: str | None = None) -> Float[np.ndarray, "dy dx"]:
    """The pretrained map of a file: a matrix in csv (rows are outputs; a first line may name inputs), npy, npz or
    safetensors; `key`: which of several. Raises `InvalidInput` for one of another shape."""
    if tables.is_table(path):
        return _matrix_of_table(path, data)
    if path.suffix in (".safetensors", ".json") or path.is_dir():
        known = tensors.tensors(path)
        if key is None and len(known) == 1:
            (key,) = known
        if key not in known:
            raise InvalidInput("key", f"one of {', '.join(list(known)[:12]) or 'none'}", key or "nothing")
        return known[key].read()
    return np.asarray(arrays.read_array(path, key), dtype=float)


def read_known(data: UserData, base: Path | None, base_data: Path | None, key: str | None = None) -> Any:
    """What was known before: the map of the file `base`, or least squares on `base_data`, which has the columns of
    `data`; None for neither. Raises `InvalidInput` for both."""
    if base is not None and base_data is not None:
        raise InvalidInput("base", "the map or the data that it is fitted to", "both")
    if base is not None:
        return read_base(base, data, key)
    if base_data is None:
        return None
    if base_data.suffix == ".npz":
        return fitted_base(read_data(base_data))
    return fitted_base(read_data(base_data, ",".join(data.input_names), ",".join(data.output_names)))


def fitted_base(data: UserData) -> LinearMap:
    """Least squares with an intercept on other data: what was known before."""
    given = samples(data.inputs, data.outputs)
    at = design(given.inputs, intercept=True)
    found = update(at, given.residual, 0.0)
    return LinearMap(found, np.mean(given.residual, axis=0) - found @ at.mean)


def _of_archive(path: Path, x_columns: str | None, y_columns: str | None, groups: str | None) -> UserData:
    if path.suffix != ".npz":
        expected = "a .csv, .tsv or .parquet table, or a .npz archive of X and Y"
        raise InvalidInput("data", expected, path.suffix or path.name)
    names = arrays.keys(path)

    def found(field: str, wanted: str | None, usual: tuple[str, ...]) -> np.ndarray:
        key = wanted or next((name for name in usual if name in names), None)
        if key not in names:
            raise InvalidInput(field, f"a key among {', '.join(names)}", key or f"no {usual[0]}")
        array = np.asarray(arrays.read_array(path, key), dtype=float)
        return array[:, None] if array.ndim == 1 else array

    inputs, outputs = found("x-columns", x_columns, _INPUTS), found("y-columns", y_columns, _OUTPUTS)
    labels = None if groups is None else found("groups", groups, (groups,))[:, 0]
    return UserData(inputs, outputs, _numbered("x", inputs), _numbered("y", outputs), labels)


def _matrix_of_table(path: Path, data: UserData) -> Float[np.ndarray, "dy dx"]:
    found, outputs = tables.matrix(path, data.input_names), data.outputs.shape[1] if data.outputs.ndim == 2 else 1
    # Columns that were numbered, as pandas does, are no row of the map.
    if len(found) == outputs + 1 and np.array_equal(found[0], np.arange(found.shape[1])):
        return found[1:]
    return found


def _numbered(letter: str, array: Any) -> list[str]:
    return [f"{letter}{i}" for i in range(array.shape[1] if array.ndim == 2 else 1)]
