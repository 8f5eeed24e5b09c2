"""A sweep from file to file: what it is allowed to write, where its cells run, and how it ends."""

import contextlib
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from linreg_lora import validation
from linreg_lora.console import progress
from linreg_lora.errors import InvalidInput, LinregLoraError, OldName
from linreg_lora.files import yaml
from linreg_lora.files.atomic import prepare_to_write, write_dataset
from linreg_lora.sweeps import curves
from linreg_lora.sweeps.config import SweepConfig, load_sweep, parse_sweep
from linreg_lora.sweeps.executors import available_cores, cluster, local_processes
from linreg_lora.sweeps.journal import stated

_MOST_NAMED = 20


class SweepRequest(NamedTuple):
    """A checked wish: nothing that exists would be overwritten without `resume`, and the folder can be written."""

    config: SweepConfig
    out: Path
    journal: Path
    resume: bool

    @classmethod
    def of(cls, config: Path, out: Path, journal: Path | None, *, resume: bool) -> "SweepRequest":
        """Read the file and check the paths; `journal` None is `out` with .journal. Raises `InvalidInput`."""
        if out.is_dir():
            raise InvalidInput("out", "the path of a file", str(out))
        journal = journal or out.with_name(f"{out.name}.journal")
        if len({path.resolve() for path in (config, out, journal)}) < 3:
            raise InvalidInput("journal", "three different paths for config, out and journal", str(journal))
        if out.exists() and not resume:
            raise InvalidInput("out", "a path where no file is", str(out), "continue its journal with --resume")
        if journal.exists() and not resume:
            raise InvalidInput("journal", "a path where no file is", str(journal), "continue it with --resume")
        if out.exists() and not journal.exists():
            remedy = "delete it, or choose another path"
            raise InvalidInput("out", "a file whose journal is there to resume", str(out), remedy)
        return cls(load_sweep(config), out, journal, resume)

    @property
    def arguments(self) -> dict:
        """What `sweep` and `estimate` both take."""
        config = self.config
        return {
            "make": config.make,
            "axes": config.grid_axes,
            "ranks": config.rank_values,
            "adapt": config.adapt,
            "trials": config.trials,
            "seed": config.seed,
            "computed_by": config.computed_by,
            "journal": self.journal,
            "attributes": {"config": self._text},
        }

    @property
    def _text(self) -> str:
        """The sweep file's canonical text; that of the journal, which may use older names, where it says the same."""
        recorded = stated(self.journal).get("config") if self.resume else None
        if recorded is not None:
            with contextlib.suppress(InvalidInput), warnings.catch_warnings():
                warnings.simplefilter("ignore", OldName)
                if parse_sweep(yaml.parsed(recorded, "journal")) == self.config:
                    return recorded
        return self.config.text


def run_sweep(request: SweepRequest, workers: int | None, scheduler: str | None) -> list[str]:
    """Run the sweep and write `out`; returns one line for each failed cell, or for the first of many.

    `workers` processes (None: one for each core; 1: this process), or the dask `scheduler`. Raises `LinregLoraError`
    in one line for whatever ends it early; what is finished is then in the journal.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> cell = "problem: {n: 9, dx: 4, dy: 3, spectrum: [1]}, ranks: [1], computed_by: [theory]"
    >>> job = f"{{{cell}, axes: {{noise_std: [1, 2]}}}}"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config, out = Path(folder, "sweep.yaml"), Path(folder, "results.nc")
    ...     _ = config.write_text(job)
    ...     request = ll.sweeps.SweepRequest.of(config, out, None, resume=False)
    ...     failed = ll.sweeps.run_sweep(request, workers=1, scheduler=None)
    ...     failed, sorted(path.name for path in Path(folder).iterdir())
    ([], ['results.nc', 'results.nc.journal', 'sweep.yaml'])
    """
    _require_writable(request.out)
    cells = math.prod(len(values) for values in request.config.grid_axes.values())
    try:
        with (
            executor_for(workers, scheduler, cells) as executor,
            progress("sweeping", cells) as advance,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)  # `FailedCells`, and dask's advice on large problems
            if executor is not None:
                prepare_to_write()
            dataset = curves.sweep(
                **request.arguments,
                executor=executor,
                progress=advance,
                resume=request.resume,
            )
    except KeyboardInterrupt:
        raise LinregLoraError(f"interrupted; what is finished is in {request.journal}: --resume goes on") from None
    write_dataset(dataset, request.out)
    return _brief(curves.failures(dataset))


def plan_sweep(request: SweepRequest, workers: int | None) -> str:
    """What the sweep would be, as text: cells, draws, time and how it was estimated. Writes nothing.

    With `resume`, draws and time are those of the cells that the journal does not have; it is only read, though
    SQLite then tidies up after a sweep that was killed.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> cell = "problem: {n: 9, dx: 4, dy: 3, spectrum: [1]}, ranks: [1], computed_by: [theory]"
    >>> job = f"{{{cell}, axes: {{noise_std: [1, 2]}}}}"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config, out = Path(folder, "sweep.yaml"), Path(folder, "results.nc")
    ...     _ = config.write_text(job)
    ...     request = ll.sweeps.SweepRequest.of(config, out, None, resume=False)
    ...     print(ll.sweeps.plan_sweep(request, workers=1).splitlines()[0])
    cells: 2
    """
    with progress("timing cells", curves.TIMINGS * len(request.config.computed_by)) as advance:
        found = curves.estimate(**request.arguments, progress=advance)
    left = found.cells - found.done
    cells = f"cells: {found.cells}"
    if request.resume:
        cells += f", {found.done} done, {left} left"
    if left == 0:
        return f"{cells}\ndraws: 0\ntime: that of writing the file"
    processes = min(_workers(workers), left)
    return (
        f"{cells}\n"
        f"draws: {found.draws}\n"
        f"time: about {_duration(found.seconds / processes)} with {_plural(processes, 'process', 'processes')}\n"
        f"estimated by timing {_plural(found.timed, 'cell', 'cells')} here, of middle and largest size; compiling and "
        "starting not counted"
    )


@contextlib.contextmanager
def executor_for(workers: int | None, scheduler: str | None, cells: int) -> Iterator[Executor | None]:
    """The executor that the command line asks for; None is this process."""
    if scheduler is not None:
        with _quiet(), cluster(scheduler) as executor:
            yield executor
        return
    processes = min(_workers(workers), cells)
    if processes == 1:
        yield None
        return
    with local_processes(processes) as executor:
        yield executor


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of dask, which reports a lost connection in a hundred lines; the command line does in one."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def refuse_both(workers: int | None, scheduler: str | None) -> None:
    """A cluster has the workers that it has."""
    _workers(workers)
    if workers is not None and scheduler is not None:
        raise InvalidInput("workers", "either --workers or --scheduler", workers)


def _require_writable(out: Path) -> None:
    """Found out before the work, not after it."""
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise InvalidInput("out", "a path in a folder that can be written", str(out), error.strerror or "") from None


def _workers(workers: int | None) -> int:
    return available_cores() if workers is None else validation.positive_integer("workers", workers)


def _brief(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_NAMED
    return lines if more <= 0 else [*lines[:_MOST_NAMED], f"and {more} more cells: see the variable failure"]


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
