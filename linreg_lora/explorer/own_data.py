"""The user's own data in the explorer: files in; the leave-one-out curve, and what is said of it, out."""

import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.own_data.advice import Advice, advise
from linreg_lora.own_data.curve import ALL_ROWS, SOME_ROWS
from linreg_lora.own_data.reading import UserData, read_data, read_known

#: Bytes of a file that a page may send.
LARGEST_UPLOAD = 32 * 2**20
#: Rows that are left out times the cube of the largest rank: beyond it a fit takes minutes.
LARGEST_WORK = 10**9
LEVEL = 0.9
_MORE = "and explore --data take more"


class Request(NamedTuple):
    """Files and columns, as `linreg-lora fit` takes them."""

    data: Path
    base: Path | None = None
    base_data: Path | None = None
    key: str | None = None
    x_columns: str | None = None
    y_columns: str | None = None


class Upload(NamedTuple):
    """A file that a page has sent: its name there, and its bytes."""

    name: str
    content: bytes


class OwnData(NamedTuple):
    """`name`: of the file; `expected`: the error at every rank that theory expects of Gaussian data like these, or
    None; `interval`: of the test error of the choice, of nominal `LEVEL`."""

    name: str
    advice: Advice
    expected: Float[np.ndarray, "k"] | None
    interval: tuple[float, float]

    @property
    def sentences(self) -> list[str]:
        """What follows from the curve: first the verdict."""
        found, (low, high) = self.advice, self.interval
        n, dx, dy = found.shape
        said = [
            found.verdict,
            f"{self.name}: n = {n}, dx = {dx}, dy = {dy}. Predicted test error {found.error:.4g}, nominal "
            f"{100 * LEVEL:g} % interval {low:.4g} to {high:.4g}, too short for data that depend on one another.",
            f"Full fine-tuning with its best ridge, {found.fft_ridge.ridge:.3g}: {found.fft_ridge.error:.4g}.",
        ]
        if found.is_described(LEVEL) is False:
            said.append("The Gaussian theory (dashed) does not describe these data.")
        if self.expected is None:
            said.append("The Gaussian theory is drawn where no ridge is chosen.")
        return [*said, *(f"Note: {note}." for note in found.notes)]

    @property
    def limits(self) -> tuple[float, float]:
        """What a logarithmic axis shows: all lines, but of the curve not what is far above them."""
        found = self.advice
        lines = [found.curve.error[0], np.min(found.curve.error), found.fft_ridge.error]
        lines = np.array([line for line in lines if line > 0])
        if not len(lines):
            return 0.1, 10.0
        low = float(np.min(np.maximum(found.curve.error - 2 * found.curve.stderr, np.min(lines) / 3)))
        high = float(min(np.max(found.curve.error + 2 * found.curve.stderr), 10 * np.max(lines)))
        return low / 1.15, high * 1.15


def fit(request: Request) -> OwnData:
    """Read the files and advise on them. Raises `InvalidInput` for what is no data."""
    return _advised(read_data(request.data, request.x_columns, request.y_columns), request)


def fit_uploads(
    data: Upload | None, base: Upload | None, base_is_data: bool, key: str, x_columns: str, y_columns: str
) -> OwnData:
    """`fit` of files that a page has sent, which are small; empty texts are left out.

    `base_is_data`: `base` holds rows, and the pretrained map is least squares on them. Raises `InvalidInput`.
    """
    if data is None:
        raise InvalidInput("data", "a .csv, .tsv or .parquet table, or a .npz archive of X and Y", "nothing")
    with tempfile.TemporaryDirectory() as folder:
        paths = [None if sent is None else _written(sent, Path(folder) / kind) for kind, sent in
                 (("data", data), ("base", base))]  # fmt: skip
        path, known = paths
        assert path is not None
        request = Request(
            path, None if base_is_data else known, known if base_is_data else None, key or None, x_columns or None,
            y_columns or None,
        )  # fmt: skip
        given = read_data(request.data, request.x_columns, request.y_columns)
        _require_quick(given)
        return _advised(given, request)


def too_large(name: str, size: int) -> InvalidInput:
    """The refusal of a file of so many bytes."""
    limit = f"{LARGEST_UPLOAD / 2**20:g} MiB at most here"
    return InvalidInput(name, limit, f"{size / 2**20:.3g} MiB", f"linreg-lora fit {_MORE}")


def _advised(given: UserData, request: Request) -> OwnData:
    known = read_known(given, request.base, request.base_data, request.key)
    found = advise(given.inputs, given.outputs, known)
    return OwnData(request.data.name, found, found.expected_errors(), found.interval(LEVEL))


def _written(sent: Upload, folder: Path) -> Path:
    """The file under its own name, whatever that is, in a folder of its own."""
    if len(sent.content) > LARGEST_UPLOAD:
        raise too_large(sent.name, len(sent.content))
    folder.mkdir()
    name = sent.name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    suffix = Path(name).suffix[:16]
    path = folder / (name if name not in ("", ".", "..") and len(name) < 100 else f"file{suffix}")
    path.write_bytes(sent.content)
    return path


def _require_quick(given: UserData) -> None:
    n, dx, dy = len(given.inputs), given.inputs.shape[-1], given.outputs.shape[-1]
    work = (n if n <= ALL_ROWS else SOME_ROWS) * min(n, dx, dy) ** 3
    if work > LARGEST_WORK:
        rank, remedy = math.floor((LARGEST_WORK / min(n, ALL_ROWS)) ** (1 / 3)), f"linreg-lora fit {_MORE}"
        raise InvalidInput("data", f"min(dx, dy) up to {rank} or so here", f"{min(dx, dy)}", remedy)
