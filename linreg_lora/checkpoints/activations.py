"""Inputs of layers, by name of the layer: rows of them, or their second moments, in npz or safetensors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from linreg_lora.checkpoints import metric
from linreg_lora.checkpoints.metric import Metric
from linreg_lora.checkpoints.peft import module_of
from linreg_lora.errors import InvalidInput
from linreg_lora.files import arrays, tensors

_BLOCK = 2**26
_EPS = {"F16": 2.0**-10, "BF16": 2.0**-7, "F32": 2.0**-23}


class LayerInputs:
    """What two files know of the inputs of layers. Raises `InvalidInput` for files that are none.

    `activations`: a matrix of inputs in rows for each layer; `moments`: second moments. A layer goes by its module or
    by its weight's name.
    """

    def __init__(self, activations: Path | None = None, moments: Path | None = None) -> None:
        self._rows, self._moments = _source("activations", activations), _source("moments", moments)
        both = sorted(self._rows.keys() & self._moments.keys())
        if both:
            raise InvalidInput("moments", "layers that are not among the activations", both[0])
        self.used: set[str] = set()

    def key(self, tensor: str) -> str | None:
        """The name by which a weight's inputs are known; None where they are not."""
        names = (tensor, module_of(tensor))
        return next((name for name in names if name in self._rows or name in self._moments), None)

    def metric(self, tensor: str, *, centred: bool) -> Metric | None:
        """The metric of a weight's layer; `centred`: rows are centred (a moment is taken as it is)."""
        key = self.key(tensor)
        if key is None:
            return None
        self.used.add(key)
        if key in self._rows:
            return metric.of_rows(key, self._rows[key].blocks(), centred=centred)
        return metric.of_moment(key, self._moments[key].whole(), self._moments[key].eps)

    def require_fit(self, tensor: str, inputs: int, outputs: int) -> None:
        """Refuses inputs of another number than a weight has, before any are read."""
        key = self.key(tensor)
        if key is None:
            return
        rows = key in self._rows
        shape = (self._rows if rows else self._moments)[key].shape
        if len(shape) < 2 or (not rows and (len(shape) != 2 or shape[0] != shape[1])):
            raise InvalidInput(key, "a matrix of inputs" if rows else "a square matrix", f"shape {shape}")
        if shape[-1] != inputs:
            remedy = "stored as inputs x outputs? --fan-in-fan-out says so" if shape[-1] == outputs else ""
            raise InvalidInput(key, f"{inputs} inputs, as {tensor} has", f"{shape[-1]}", remedy)

    def is_moment(self, tensor: str) -> bool:
        return self.key(tensor) in self._moments

    @property
    def unused(self) -> list[str]:
        return sorted((self._rows.keys() | self._moments.keys()) - self.used)


class _Archived:
    """An array of an npz archive."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self.eps = float(np.finfo(float).eps)

    @property
    def shape(self) -> tuple[int, ...]:
        return arrays.shape_of(self._path, self._key)

    def _read(self) -> np.ndarray:
        array = arrays.read_array(self._path, self._key)
        if array.dtype.kind == "f":
            self.eps = max(self.eps, float(np.finfo(array.dtype).eps))
        return array.reshape(-1, array.shape[-1])

    def whole(self) -> Float[np.ndarray, "n dx"]:
        return self._read().astype(float)

    def blocks(self) -> Iterator[Float[np.ndarray, "k dx"]]:
        array = self._read()
        step = max(2 * array.shape[1], _BLOCK // (8 * max(array.shape[1], 1)), 1)
        for start in range(0, len(array), step):
            yield array[start : start + step].astype(float)


class _Tensor:
    """A tensor of a safetensors file."""

    def __init__(self, tensor: tensors.Tensor) -> None:
        self._tensor, self.shape = tensor, tensor.shape
        self.eps = _EPS.get(tensor.kind, float(np.finfo(float).eps))

    def whole(self) -> Float[np.ndarray, "n dx"]:
        return self._tensor.read().reshape(-1, self._tensor.shape[-1])

    def blocks(self) -> Iterator[Float[np.ndarray, "k dx"]]:
        columns = self._tensor.shape[-1]
        for block in self._tensor.rows(max(_BLOCK, 16 * columns**2)):
            yield block.reshape(-1, columns)


def _source(field: str, path: Path | None) -> dict[str, _Archived] | dict[str, _Tensor]:
    if path is None:
        return {}
    if path.suffix == ".npz":
        return {key: _Archived(path, key) for key in arrays.keys(path)}
    if path.suffix in (".safetensors", ".json") or path.is_dir():
        return {key: _Tensor(tensor) for key, tensor in tensors.tensors(path).items()}
    raise InvalidInput(field, "a .npz archive or .safetensors, a matrix for each layer", path.suffix or path.name)
