"""Writing for people and for files: tables, progress, and files that are never half written."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import xarray as xr

#: A progress bar appears only for work that lasts longer than this many seconds.
_PROGRESS_DELAY = 2.0


def print_table(table: object) -> None:
    """Print a rich renderable to standard output; wide enough not to cut numbers when it is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error after two seconds of work; nothing when that is not a terminal.

    Yields a function to call with the number of steps just done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=total)
    began = time.monotonic()

    def advance(steps: int) -> None:
        bar.advance(task, steps)
        if time.monotonic() - began > _PROGRESS_DELAY:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()


def write_dataset(dataset: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as netCDF, completely or not at all; equal Datasets give equal bytes on one machine.

    Raises `InvalidInput` where the file cannot be written.
    """
    content = dataset.to_netcdf(engine="h5netcdf")  # in memory: on a full disk HDF5 crashes the process
    write_atomically(path, content)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file completely or not at all: to a temporary file beside it, then rename, once it is on disk.

    Raises `InvalidInput` where it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block succeeds and removed when it does not.

    Raises `InvalidInput` where the folder cannot be written, or the block raises an OSError.
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
