"""Checkpoints in safetensors, read tensor by tensor and written: a header of JSON, then the numbers.

The file is 8 bytes of the header's length, the header {name: {dtype, shape, data_offsets}}, and the data. A checkpoint
may be in several files, with an index of which tensor is where. Nothing is executed, and no more is in memory than the
tensor that is asked for.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.files.atomic import write_atomically

_LARGEST_HEADER = 100 * 2**20
_KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip
INDEX = "model.safetensors.index.json"


class Tensor(NamedTuple):
    """Where a tensor is: its file, kind (as in F32, BF16), shape and first and last byte."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def read(self) -> np.ndarray:
        """Its numbers, in float64."""
        data = np.memmap(self.path, np.uint8, "r", self.start, (self.stop - self.start,))
        if self.kind == "BF16":
            wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).astype(float).reshape(self.shape)
        return np.frombuffer(data, _KINDS[self.kind]).astype(float).reshape(self.shape)


def tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint: a file, an index of several, or a folder that holds either.

    Raises `InvalidInput` for what is none, and for kinds of numbers that are not known.
    """
    if path.is_dir():
        path = next((path / name for name in (INDEX, "model.safetensors") if (path / name).is_file()), path)
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
        if path.is_dir() and not files:
            raise InvalidInput("path", "a folder with safetensors files", str(path))
        if files:
            return {name: tensor for file in files for name, tensor in _file(file).items()}
    if not path.is_file():
        raise InvalidInput("path", "a checkpoint", str(path))
    return _index(path) if path.suffix == ".json" else _file(path)


def write_tensors(path: Path, content: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write float32 tensors, completely or not at all."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    data = b""
    for name, array in content.items():
        part = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_atomically(path, len(text).to_bytes(8, "little") + text + data)


def _index(path: Path) -> dict[str, Tensor]:
    try:
        places = json.loads(path.read_text())["weight_map"]
        files = sorted({str(file) for file in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(path.name, "an index with a weight_map", "none") from None
    for file in files:
        if Path(file).name != file or not (path.parent / file).is_file():
            raise InvalidInput(path.name, "files beside it", file)
    known = {file: _file(path.parent / file) for file in files}
    missing = [name for name, file in places.items() if name not in known[file]]
    if missing:
        raise InvalidInput(path.name, f"{missing[0]} in {places[missing[0]]}", "none")
    return {name: known[file][name] for name, file in places.items()}


def _file(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise InvalidInput(path.name, "a safetensors file", f"{size} bytes with a header of {length}")
        text = file.read(length)
    try:
        header = json.loads(text)
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        found = {
            name: Tensor(path, str(entry["dtype"]), tuple(int(k) for k in entry["shape"]),
                         8 + length + int(entry["data_offsets"][0]), 8 + length + int(entry["data_offsets"][1]))
            for name, entry in entries
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError):
        raise InvalidInput(path.name, "a safetensors file", "a header that is none") from None
    for name, tensor in found.items():
        if tensor.kind not in (*_KINDS, "BF16"):
            raise InvalidInput(path.name, f"kinds {', '.join(_KINDS)} or BF16", f"{name} of {tensor.kind}")
        each = 2 if tensor.kind == "BF16" else np.dtype(_KINDS[tensor.kind]).itemsize
        bytes_ = int(np.prod(tensor.shape, dtype=object)) * each if tensor.shape else each
        if tensor.start < 8 + length or tensor.stop > size or tensor.stop - tensor.start != bytes_:
            raise InvalidInput(path.name, f"{bytes_} bytes of {name}", f"{tensor.stop - tensor.start} of {size}")
    return found
