"""Risk curves over a grid of problems, as an xarray Dataset (`grid`)."""

import contextlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError, NumericalFailure
from linreg_lora.methods.method import Method
from linreg_lora.problem import Moments, Problem
from linreg_lora.provenance import versions
from linreg_lora.risk_curve import ComputedBy, RiskCurve
from linreg_lora.seeds import derived_seed, valid_seed
from linreg_lora.sweeps import adapted
from linreg_lora.sweeps import dataset as tables
from linreg_lora.sweeps.axes import Point
from linreg_lora.sweeps.grid import Finished, Grid, Make, finished_cells, grid
from linreg_lora.sweeps.journal import Entry, Journal, recorded

if TYPE_CHECKING:
    import xarray as xr

COMPUTED_BY: tuple[ComputedBy, ...] = ("monte-carlo", "theory")


class FailedCells(UserWarning):
    """Some cells of a sweep failed; the Dataset's variable `failure` says which and why."""


class CellResult(NamedTuple):
    """What a cell comes to: a row of numbers for each way to compute them (`sweeps.dataset`), and the notes of its
    curve and of its methods."""

    values: np.ndarray
    notes: tuple[tuple[str, ...], ...]
    adapt_notes: tuple[tuple[str, ...], ...] = ()


def sweep(
    make: Make,
    axes: Mapping[str, Sequence[Any]],
    *,
    ranks: Sequence[int] | None = None,
    adapt: Sequence[Method | str] | None = None,
    trials: int = 400,
    seed: int = 0,
    computed_by: Sequence[ComputedBy] = COMPUTED_BY,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    journal: Path | str | None = None,
    resume: bool = False,
    attributes: Mapping[str, str] | None = None,
) -> "xr.Dataset":
    """Risk curves over a grid.

    | argument     | meaning                                                                                         |
    |--------------|-------------------------------------------------------------------------------------------------|
    | `make`       | a Problem whose fields the axes replace, or a function from their values to a Problem           |
    | `axes`       | name -> values; the grid is their product, and the names become dimensions                      |
    | `ranks`      | LoRA ranks; nan where a rank exceeds min(n, dx, dy) of a cell; None: no curves, `adapt` alone   |
    | `adapt`      | methods, or their names, as in bitfit, lora:4, frozen-a:4                                       |
    | `trials`     | Monte Carlo draws of each cell                                                                  |
    | `computed_by`| any of monte-carlo, theory                                                                      |
    | `executor`   | anything with the concurrent.futures.Executor interface (`executors`); None: this process       |
    | `progress`   | called with the number of cells just done, when they are safe in the journal                    |
    | `journal`    | a file that keeps every finished cell, whatever happens to this process; None: memory alone     |
    | `resume`     | continue the journal if there is one; its failed cells run again                                |
    | `attributes` | more attributes of the Dataset                                                                  |

    Variables `risk`, `stderr`, `difference`, `difference_stderr` (computed_by, *axes, rank), `fft_risk`, `fft_stderr`
    (computed_by, *axes), `flagged` (computed_by, *axes, rank) and `fft_flagged` (computed_by, *axes): whether a number
    by theory may be off by more than 1 %, `note` (computed_by, *axes): what is missing or in doubt, and why, `moments`
    (*axes), which says in CF flags which moments exist, and `failure` (*axes): why a cell has no numbers, empty where
    it has. `computed_by` lists theory and monte-carlo as asked for. With `adapt` also `adapt_risk`, `adapt_stderr`,
    `adapt_flagged`, `adapt_note` (computed_by, *axes, adapt) and `adapt_parameters` (*axes, adapt); a method that does
    not fit a cell is nan there, and its note says why. The seed of a cell is derived from `seed` and the problem
    itself, so the Dataset depends on the arguments above `executor` alone.

    A cell that raises fails alone: the others finish, then the warning `FailedCells` names it. Raises `InvalidInput`
    for an axis or a cell that makes no problem, naming the cell, and for a journal that cannot be used (`Journal`);
    `LinregLoraError` when the executor or the disk fails midway, after which the journal can be resumed.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.sweep(problem, {"noise_std": [0.5, 1.0]}, ranks=[2], computed_by=["theory"])
    >>> found["risk"].dims
    ('computed_by', 'noise_std', 'rank')
    >>> found["fft_risk"].sel(computed_by="theory").values.round(3).tolist()
    [3.429, 13.714]
    >>> found = ll.sweep(problem, {"noise_std": [0.5, 1.0]}, adapt=["bitfit", "lora:2"], computed_by=["theory"])
    >>> found["adapt_risk"].sel(computed_by="theory", adapt="bitfit").values.round(3).tolist()
    [14.317, 14.567]
    """
    methods = adapted.chosen(adapt, executor)
    chosen = _distinct_ranks(ranks, methods)
    computed_by = _known_ways(computed_by)
    trials, seed = _enough_trials(trials, computed_by), valid_seed(seed)
    cells = grid(make, axes, reserved=tables.reserved(methods))
    entries: dict[int, Entry] = {}
    with contextlib.ExitStack() as stack:
        book = None
        if journal is not None:
            header = _header(cells, chosen, methods, trials, seed, computed_by, attributes or {})
            book = stack.enter_context(Journal(Path(journal), header, resume=resume))
            entries = _successes(cells, book.entries(), len(computed_by) * tables.row_size(chosen, methods))
            progress(len(entries))
        todo = [cell for cell in range(len(cells.problems)) if cell not in entries]
        arguments = (chosen, trials, seed, computed_by, methods)
        batches = finished_cells(run_cell, cells.problems, arguments, executor, todo)
        stack.enter_context(contextlib.closing(batches))
        for batch in batches:
            done = [_entry(cells, finished) for finished in batch]
            if book is not None:
                book.add(done)
            entries.update((entry.cell, entry) for entry in done)
            progress(len(done))
    dataset = tables.dataset(cells, chosen, methods, computed_by, entries)
    _warn_of_failures(cells, entries)
    return dataset.assign_attrs(trials=trials, seed=seed, versions=", ".join(versions()), **(attributes or {}))


def run_cell(
    problem: Problem,
    ranks: tuple[int, ...],
    trials: int,
    seed: int,
    computed_by: tuple[ComputedBy, ...],
    methods: tuple[Method, ...] = (),
) -> CellResult:
    """One cell, the task that executors run: a risk curve for each way to compute it, at those `ranks` that exist.

    LoRA and FFT among the `methods` are read off the same curve. Raises `NumericalFailure` for infinite or unexplained
    missing values where the mean exists.
    """
    from linreg_lora.simulation.curve import monte_carlo
    from linreg_lora.theory.curve import expected_risk

    existing = [rank for rank in ranks if rank <= problem.max_rank] or [0]
    together = sorted({*existing, *adapted.ranks(problem, methods)})
    own_seed = derived_seed(seed, problem.fingerprint)
    rows, notes, said = [], [], []
    for by in computed_by:
        curve, row = None, np.empty(0)
        if ranks:
            if by == "theory":
                curve = expected_risk(problem, together)
            else:
                curve = monte_carlo(problem, trials=trials, seed=own_seed, ranks=together)
            _require_explained(curve.at(existing))
            row = tables.row(curve.at(existing), ranks)
        if methods:
            found = adapted.risks_of(problem, methods, by, trials, own_seed, curve)
            row = np.concatenate([row, adapted.numbers(found)])
            said.append(tuple("; ".join(one.notes) for one in found))
        rows.append(row)
        notes.append(() if curve is None else curve.notes)
    return CellResult(np.stack(rows), tuple(notes), tuple(said))


def failures(dataset: "xr.Dataset") -> list[str]:
    """One line for each failed cell of a sweep: where, and why.

    >>> import linreg_lora as ll
    >>> import xarray as xr
    >>> found = xr.Dataset({"failure": ("n", ["", "out of memory"])}, {"n": [30, 60]})
    >>> ll.sweeps.failures(found)
    ['n = 60: out of memory']
    """
    found = dataset["failure"]
    lines = []
    for index in np.argwhere(found.values != ""):
        place = {str(name): found[name].values[i] for name, i in zip(found.dims, index, strict=True)}
        lines.append(f"{_named(place)}: {found.values[tuple(index)]}")
    return lines


#: Steps of an estimate for each way to compute: two cells, twice.
TIMINGS = 4


class Estimate(NamedTuple):
    """How much a sweep is: `cells`, how many are `done`, and for the rest the `draws` and the `seconds` of one process.

    The seconds are estimated from the times of `timed` cells.
    """

    cells: int
    done: int
    draws: int
    seconds: float
    timed: int


def estimate(
    make: Make,
    axes: Mapping[str, Sequence[Any]],
    *,
    ranks: Sequence[int] | None = None,
    adapt: Sequence[Method | str] | None = None,
    trials: int = 400,
    seed: int = 0,
    computed_by: Sequence[ComputedBy] = COMPUTED_BY,
    journal: Path | str | None = None,
    attributes: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Estimate:
    """How long `sweep` would take: the cells of middle and of largest size are run here and timed.

    Each is run twice, so that compiling does not count, with at most 64 draws, whose time is scaled to `trials`. A
    cell without a mean draws nothing, and one that `journal` has, if it exists, is done. `progress` is called with the
    number of steps just done, of `TIMINGS` for each way. Raises `InvalidInput` as `sweep` does.
    """
    methods = adapted.chosen(adapt, None)
    chosen = _distinct_ranks(ranks, methods)
    computed_by = _known_ways(computed_by)
    trials, seed = _enough_trials(trials, computed_by), valid_seed(seed)
    cells = grid(make, axes, reserved=tables.reserved(methods))
    done: Mapping[int, Entry] = {}
    if journal is not None:
        header = _header(cells, chosen, methods, trials, seed, computed_by, attributes or {})
        done = _successes(cells, recorded(Path(journal), header), len(computed_by) * tables.row_size(chosen, methods))
    problems = [problem for cell, problem in enumerate(cells.problems) if cell not in done]
    if not problems:
        return Estimate(len(cells.problems), len(done), 0, 0.0, 0)
    runs = [adapted.runs(p, methods, curve=bool(chosen)) if "monte-carlo" in computed_by else 0 for p in problems]
    drawing = [p for p, count in zip(problems, runs, strict=True) if count]
    by_size = sorted(drawing or problems, key=lambda p: (p.dx * p.dy * p.max_rank, p.n))
    sample = {p.fingerprint: p for p in (by_size[len(by_size) // 2], by_size[-1])}.values()
    few = min(trials, 64)
    share = (len(drawing) if computed_by == ("monte-carlo",) else len(problems)) / len(sample)
    seconds = 0.0
    for problem in sample:
        for by in computed_by:
            took = 0.0
            for _ in range(2):
                took = _timed(run_cell, problem, chosen, few, seed, (by,), methods)
                progress(TIMINGS // (2 * len(sample)))
            seconds += took * share * (trials / few if by == "monte-carlo" else 1)
    return Estimate(len(cells.problems), len(done), sum(runs) * trials, seconds, len(sample))


def _timed(call: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    with contextlib.suppress(LinregLoraError):
        call(*arguments)
    return time.perf_counter() - began


# -- a cell's numbers -------------------------------------------------------------------------------------------


def _require_explained(curve: RiskCurve) -> None:
    """Values that are infinite or missing where theory does not predict it stop the cell."""
    exists = curve.moments is not Moments.NO_MEAN
    values = {
        "risk": curve.risk, "stderr": curve.stderr, "difference": curve.difference,
        "difference_stderr": curve.difference_stderr, "fft_risk": curve.fft_risk, "fft_stderr": curve.fft_stderr,
    }  # fmt: skip
    for name, value in values.items():
        if value is None:
            continue
        if exists and np.any(np.isinf(value)):
            raise NumericalFailure(f"{name} ({curve.computed_by}): expected finite values, received an infinite one")
        if np.any(np.isnan(value)) and not curve.notes:
            raise NumericalFailure(f"{name} ({curve.computed_by}): expected numbers, received nan without a reason")


def _entry(cells: Grid, finished: Finished[CellResult]) -> Entry:
    fingerprint = cells.problems[finished.cell].fingerprint
    if finished.result is None:
        return Entry(finished.cell, fingerprint, b"", "", _reason(finished.error))
    values, notes, said = finished.result
    text = json.dumps({"curves": notes, "adapt": said} if said else notes)
    return Entry(finished.cell, fingerprint, values.astype("<f8").tobytes(), text, "")


def _reason(error: Exception | None) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, LinregLoraError) else f"{type(error).__name__}: {text}"


def _named(place: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in place.items())


def _warn_of_failures(cells: Grid, entries: Mapping[int, Entry]) -> None:
    failed = [entry for _, entry in sorted(entries.items()) if entry.failure]
    if failed:
        first = f"{_named(cells.point(failed[0].cell))}: {failed[0].failure}"
        message = f"{len(failed)} of {len(entries)} cells failed, the first at {first}"
        warnings.warn(message, FailedCells, stacklevel=3)


# -- the journal's header ---------------------------------------------------------------------------------------


def _header(
    cells: Grid,
    ranks: tuple[int, ...],
    methods: tuple[Method, ...],
    trials: int,
    seed: int,
    computed_by: tuple[ComputedBy, ...],
    attributes: Mapping[str, str],
) -> dict[str, str]:
    """What the results depend on, most telling first."""
    axes = {f"axis {name}": json.dumps(_plain(values)) for name, values in cells.axes.items()}
    return {
        "seed": str(seed),
        "trials": str(trials),
        "ranks": json.dumps(ranks),
        "methods": json.dumps(computed_by),
        **({"adapt": json.dumps([method.name for method in methods])} if methods else {}),
        "axes": json.dumps(cells.names),
        **axes,
        "problems": f"of SHA-256 {cells.identity}",
        "versions": ", ".join(versions()),
        **attributes,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Point):
        return {path: _plain(v) for path, v in value.items()}
    return value if isinstance(value, (str, int, float)) else repr(value)


def _successes(cells: Grid, entries: Sequence[Entry], numbers: int) -> dict[int, Entry]:
    """The entries that need not be computed again, by cell: those that hold as many `numbers` as cells do today.

    Raises `InvalidInput` for entries of another sweep.
    """
    found = {entry.cell: entry for entry in entries if not entry.failure and len(entry.payload) == 8 * numbers}
    for cell, entry in found.items():
        if cell >= len(cells.problems) or entry.fingerprint != cells.problems[cell].fingerprint:
            raise InvalidInput("journal", "cells of this sweep", f"another problem as cell {cell}", "start a new one")
    return found


# -- arguments --------------------------------------------------------------------------------------------------


def _distinct_ranks(ranks: Sequence[int] | None, methods: tuple[Method, ...]) -> tuple[int, ...]:
    if ranks is None and methods:
        return ()
    array = np.asarray(ranks)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or np.any(array < 0):
        raise InvalidInput(
            "ranks", "a list of integers >= 0", ranks, "or name methods by adapt" if ranks is None else ""
        )
    if np.any(np.diff(array) <= 0):
        raise InvalidInput("ranks", "increasing ranks", ranks)
    return tuple(int(rank) for rank in array)


def _enough_trials(trials: int, computed_by: tuple[ComputedBy, ...]) -> int:
    drawn = "monte-carlo" in computed_by
    return (validation.enough_draws if drawn else validation.positive_integer)("trials", trials)


def _known_ways(computed_by: Sequence[ComputedBy]) -> tuple[ComputedBy, ...]:
    unknown = [m for m in computed_by if m not in COMPUTED_BY]
    if unknown or not computed_by:
        raise InvalidInput("computed_by", f"any of {', '.join(COMPUTED_BY)}", list(computed_by))
    return tuple(computed_by)
