"""Checkpoints in safetensors, read tensor by tensor and written: a header of JSON, then the numbers.

The file is 8 bytes of the header's length, the header {name: {dtype, shape, data_offsets}}, and the data. A checkpoint
may be in several files, with an index of which tensor is where. Nothing is executed, and no more is in memory than the
tensor that is asked for.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.files.atomic import write_atomically

_LARGEST_HEADER = 100 * 2**20
_KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
#: Endings of files that hold pickled objects.
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
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
        return self._numbers(self.start, self.stop).reshape(self.shape)

    def rows(self, bytes_: int) -> Iterator[np.ndarray]:
        """Its numbers in float64, some rows (k, row) of a matrix (first axis, all others) at a time.

        So many that they are about `bytes_` long.
        """
        if 0 in self.shape:
            return
        row = (self.stop - self.start) // self.shape[0]
        step = max(1, bytes_ * self.each // (8 * row)) * row
        for start in range(self.start, self.stop, step):
            yield self._numbers(start, min(start + step, self.stop)).reshape(-1, row // self.each)

    @property
    def each(self) -> int:
        """Bytes of a number."""
        return 2 if self.kind == "BF16" else np.dtype(_KINDS[self.kind]).itemsize

    def _numbers(self, start: int, stop: int) -> np.ndarray:
        if start == stop:
            return np.zeros(0)
        data = np.memmap(self.path, np.uint8, "r", start, (stop - start,))
        if self.kind == "BF16":
            wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).astype(float)
        return np.frombuffer(data, _KINDS[self.kind]).astype(float)


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
            return _together(files)
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


def _together(files: list[Path]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in files:
        here = _file(file)
        twice = sorted(found.keys() & here.keys())
        if twice:
            received = f"{twice[0]} in {found[twice[0]].path.name} and in {file.name}"
            raise InvalidInput("path", "a checkpoint with every tensor in one file", received, "name the file")
        found |= here
    return found


def _index(path: Path) -> dict[str, Tensor]:
    try:
        places = {name: str(file) for name, file in json.loads(path.read_text())["weight_map"].items()}
        files = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
    if path.suffix in _PICKLED:
        remedy = "pickled objects are not read: save the tensors by safetensors"
        raise InvalidInput(path.name, "a safetensors file", path.suffix, remedy)
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
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise InvalidInput(path.name, "a safetensors file", "a header that is none") from None
    for name, tensor in found.items():
        if tensor.kind not in (*_KINDS, "BF16"):
            raise InvalidInput(path.name, f"kinds {', '.join(_KINDS)} or BF16", f"{name} of {tensor.kind}")
        bytes_ = int(np.prod(tensor.shape, dtype=object)) * tensor.each if tensor.shape else tensor.each
        if tensor.start < 8 + length or tensor.stop > size or tensor.stop - tensor.start != bytes_:
            raise InvalidInput(path.name, f"{bytes_} bytes of {name}", f"{tensor.stop - tensor.start} of {size}")
    return found
