"""NumPy archives, read without unpickling anything and only after their headers have said how large they are."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from linreg_lora.errors import InvalidInput

#: What reading a damaged file raises.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, ValueError, KeyError, TypeError, SyntaxError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
#: Bytes of one array, and of an archive's when they are taken out; how many times smaller a large one is compressed.
LARGEST_ARRAY, _SMALLER, _LARGE = 2 * 2**30, 200, 2**28


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """One array of numbers of a .npy or .npz file; `key`: which of an archive, by default the only one.

    Raises `InvalidInput` for a file that is none, listing the keys where `key` is not among them.
    """
    if path.suffix == ".npy":
        with _opened(path), path.open("rb") as file:
            return _checked(np.lib.format.open_memmap(path, mode="r"), path, _header(file, path))
    names = keys(path)
    if key is None and len(names) == 1:
        key = names[0]
    if key not in names:
        raise InvalidInput(path.name, f"a key among {', '.join(names) or 'none'}", key or "several", "name one")
    with _opened(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        shape, _, kind = header = _header(file, path)
        entry = archive.getinfo(f"{key}.npy")
        if entry.file_size > LARGEST_ARRAY:
            raise _too_large(path, key, entry.file_size)
        if entry.file_size > max(_LARGE, _SMALLER * entry.compress_size):
            size = f"{entry.file_size / 2**30:.2g} GiB in {entry.compress_size / 2**20:.2g} MiB"
            raise InvalidInput(path.name, "numbers that are not all alike", size, "save it without compression")
        size = int(np.prod(shape, dtype=object)) * kind.itemsize
        data = file.read(size + 1)
        if len(data) != size:
            raise InvalidInput(path.name, f"{size} bytes of {key}", f"{len(data)}", "write the file again")
        array = np.frombuffer(data, kind).reshape(shape[::-1] if header[1] else shape)
        return array.T if header[1] else array


def shape_of(path: Path, key: str) -> tuple[int, ...]:
    """The shape of an archive's array, without its numbers. Raises `InvalidInput` as `read_array` does."""
    with _opened(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        return _header(file, path)[0]


def keys(path: Path) -> list[str]:
    """The names of an archive's arrays."""
    with _opened(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _header(file, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; refused where the array is too large, or holds objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file)
    if kind.hasobject or kind.kind not in "biuf":
        raise InvalidInput(path.name, "arrays of real numbers", f"type {kind}", "objects are not read: save numbers")
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    if size > LARGEST_ARRAY:
        raise _too_large(path, "an array", size)
    return shape, fortran, kind


def _too_large(path: Path, name: str, size: int) -> InvalidInput:
    limit = f"{LARGEST_ARRAY / 2**30:g} GiB at most"
    return InvalidInput(path.name, limit, f"{name} of {size / 2**30:.3g} GiB", "take a sample of the rows")


def _checked(array: np.ndarray, path: Path, header: tuple) -> np.ndarray:
    if array.shape != header[0]:
        raise InvalidInput(path.name, f"shape {header[0]}", f"{array.shape}")
    return array


class _opened:
    """Turns what reading a damaged file raises into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        if not self.path.is_file():
            raise InvalidInput("path", "a file", str(self.path))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _DAMAGED):
            if isinstance(error, InvalidInput):
                return
            raise InvalidInput(self.path.name, "a NumPy file", str(error)) from None
