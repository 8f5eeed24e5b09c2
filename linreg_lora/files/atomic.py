"""Files that are never half written: completely or not at all, equal content in equal bytes."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import xarray as xr


def write_dataset(dataset: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as netCDF, completely or not at all; equal Datasets give equal bytes on one machine.

    Raises `InvalidInput` where the file cannot be written.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> import xarray as xr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "risk.nc")
    ...     ll.files.write_dataset(xr.Dataset({"risk": ("rank", [14.0, 6.5])}), path)
    ...     xr.load_dataset(path)["risk"].values.tolist()
    [14.0, 6.5]
    """
    content = dataset.to_netcdf(engine="h5netcdf")  # in memory: on a full disk HDF5 crashes the process
    write_atomically(path, content)


def prepare_to_write() -> None:
    """Load what `write_dataset` needs, a second of work, in a thread while other processes compute."""

    def write_a_small_one() -> None:
        with contextlib.suppress(Exception):  # what is amiss is said where it is needed
            import xarray as xr

            xr.Dataset({"value": ("place", [0.0])}).to_netcdf(engine="h5netcdf")

    threading.Thread(target=write_a_small_one, daemon=True).start()


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file completely or not at all: to a temporary file beside it, then rename, once it is on disk.

    Raises `InvalidInput` where it cannot be written.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "note.txt")
    ...     ll.files.write_atomically(path, b"complete")
    ...     path.read_text()
    'complete'
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block succeeds and removed when it does not.

    Raises `InvalidInput` where the folder cannot be written, or the block raises an OSError.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "note.txt")
    ...     with ll.files.atomic_path(path) as temporary:
    ...         _ = temporary.write_text("complete")
    ...     path.read_text()
    'complete'
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise InvalidInput("out", "a path in a folder that can be written", str(path), str(error)) from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput("out", "a path that can be written", str(path), error.strerror or str(error)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed to it when the block succeeds and removed when it does not.

    Raises `InvalidInput` where it cannot be written, and where `path` is taken by then.
    """
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InvalidInput("out", "a path in a folder that can be written", str(path), str(error)) from None
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    except OSError as error:
        raise InvalidInput("out", "a path that can be written", str(path), error.strerror or str(error)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def writable_folder(path: Path) -> Iterator[None]:
    """Make the folder if it is missing; what was made is removed when the block raises, unless a file is in it.

    Raises `InvalidInput` where making it, or writing into it, is impossible.
    """
    missing: list[Path] = []
    try:
        try:
            missing = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise InvalidInput("out", "a folder that can be written", str(path), reason) from None
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
