"""A problem's matrices from a .npz file: A0, the shift, the mean and the covariances, instead of options."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

#: Arrays of a file, the fields of a problem that they are, and the options that say the same.
ARRAYS = {
    "A0": ("pretrained", "pretrained-seed"),
    "shift": ("task_shift", "spectrum"),
    "mean": ("input_mean", "input-mean"),
    "sigma": ("input_covariance", "input-spectrum"),
    "noise_covariance": ("noise_covariance", "noise-spectrum"),
}
#: Names of arrays that tell the sizes, and where in their shapes dy and dx are.
_SIZES = {"A0": ("dy", "dx"), "shift": ("dy", "dx"), "mean": ("dx",), "sigma": ("dx",), "noise_covariance": ("dy",)}


class Matrices(NamedTuple):
    """What a file holds: its `arrays` by their names in it, the `file`'s name and its SHA-256."""

    arrays: "dict[str, np.ndarray]"
    file: str
    sha256: str

    def fields(self) -> "dict[str, np.ndarray]":
        """The arrays by the fields of `Problem` that they are."""
        return {ARRAYS[name][0]: array for name, array in self.arrays.items()}

    def named(self, field: str) -> str:
        """The array that is a field of the problem, with its file; the field itself where none is."""
        return next((f"{self.file}: {name}" for name in self.arrays if ARRAYS[name][0] == field), field)


def read(path: Path, given: dict[str, Any]) -> Matrices:
    """The matrices of a .npz file, each of numbers and none that `given`, the options by name, says too.

    An array is taken by its name in the file, A0, shift, mean, sigma or noise_covariance, or by its field of `Problem`,
    as in pretrained. Raises `InvalidInput` for a file that is no archive, that holds something else or has no shift
    where no spectrum is given.
    """
    import numpy as np

    from linreg_lora.files import arrays

    if path.suffix != ".npz":
        raise InvalidInput("matrices", "a .npz file of named arrays", str(path), "write it by numpy.savez")
    found: dict[str, np.ndarray] = {}
    names = {field: name for name, (field, _) in ARRAYS.items()}
    listed = ", ".join(ARRAYS)
    for key in arrays.keys(path):
        name = names.get(key, key)
        if name not in ARRAYS:
            raise InvalidInput(path.name, f"arrays among {listed}", key)
        if name in found:
            raise InvalidInput(path.name, f"one array for {name}", f"it and {ARRAYS[name][0]}")
        option = ARRAYS[name][1]
        if given.get(option) is not None:
            raise InvalidInput(option, f"no --{option} beside {key} of {path.name}", given[option], "leave out one")
        array = np.array(arrays.read_array(path, key), dtype=float)
        if bad := int(np.sum(~np.isfinite(array))):
            raise InvalidInput(f"{path.name}: {key}", "finite numbers", f"{bad} that are not")
        found[name] = array
    if "shift" not in found and given.get("spectrum") is None:
        remedy = "give --spectrum, or write the shift too"
        raise InvalidInput(path.name, f"an array named shift, of {listed}", ", ".join(found) or "no array", remedy)
    return Matrices(found, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def sizes(matrices: Matrices, dx: int | None, dy: int | None) -> tuple[int, int]:
    """dx and dy of the arrays, which agree with one another and with what is given."""
    known = {name: (size, f"--{name}") for name, size in (("dx", dx), ("dy", dy)) if size is not None}
    for name, array in matrices.arrays.items():
        wanted = 2 if len(_SIZES[name]) == 2 else 1
        if array.ndim != wanted and not (array.ndim == 2 and name in ("sigma", "noise_covariance")):
            what = "a dy x dx matrix" if wanted == 2 else "a vector" + (" or a matrix" if name != "mean" else "")
            raise InvalidInput(f"{matrices.file}: {name}", what, f"shape {array.shape}")
        for axis, length in zip(_SIZES[name], array.shape, strict=False):
            size, said = known.setdefault(axis, (length, name))
            if size != length:
                expected = f"{axis} = {size} as {said} has it"
                raise InvalidInput(f"{matrices.file}: {name}", expected, f"shape {array.shape}")
    for axis in ("dx", "dy"):
        if axis not in known:
            raise InvalidInput(axis, f"--{axis}, which no array of {matrices.file} tells", "nothing")
    return known["dx"][0], known["dy"][0]
