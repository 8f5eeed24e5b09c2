"""Sweeps with a journal, from Python and from the command line: what fails, what is kept, what is said."""

import contextlib
import functools
import re
import shlex
import shutil
import sqlite3
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot

from linreg_lora import Problem, sweep
from linreg_lora.errors import InvalidInput, LinregLoraError, NumericalFailure
from linreg_lora.sweeps import curves as sweeps
from linreg_lora.sweeps import run as sweep_run
from linreg_lora.sweeps.config import load_sweep
from linreg_lora.sweeps.grid import finished_cells
from linreg_lora.sweeps.journal import Journal

ROOT = Path(__file__).parent.parent
BASE = Problem(n=12, dx=4, dy=4, spectrum=(2.0, 1.0), noise_std=1.0)
AXES = {"noise_std": [0.5, 1.0, 2.0], "n": [12, 5]}
SETTINGS = {"ranks": [1, 2], "trials": 16, "computed_by": ["monte-carlo"], "seed": 1}
CONFIG = """
problem: {n: 12, dx: 4, dy: 4, spectrum: [2, 1]}
axes: {noise_std: [0.5, 1.0, 2.0], n: [12, 5]}
ranks: [1, 2]
trials: 16
computed_by: [monte-carlo]
seed: 1
"""


@pytest.fixture
def command(run, tmp_path):
    """`linreg-lora sweep` on CONFIG."""
    (tmp_path / "sweep.yaml").write_text(CONFIG)
    return functools.partial(
        run, "sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "out.nc"), "--workers=1"
    )


@pytest.fixture
def failing(monkeypatch):
    """Makes the cells with noise 1 fail, until it is called with False."""
    intact = sweeps.run_cell

    def run_cell(problem, *arguments):
        if problem.noise_std == 1.0:
            raise NumericalFailure("risk: expected finite values,\nreceived 3 draws that are not")
        return intact(problem, *arguments)

    monkeypatch.setattr(sweeps, "run_cell", run_cell)
    return lambda: monkeypatch.setattr(sweeps, "run_cell", intact)


@pytest.fixture(scope="module")
def expected():
    return sweep(BASE, AXES, **SETTINGS)


# -- cells that fail --------------------------------------------------------------------------------------------


def test_a_failing_cell_is_named_and_the_others_finish(expected, failing):
    with pytest.warns(sweeps.FailedCells, match=r"2 of 6 cells failed, the first at noise_std = 1.0, n = 12: risk: "):
        dataset = sweep(BASE, AXES, **SETTINGS)
    reason = "risk: expected finite values, received 3 draws that are not"
    assert dataset.failure.values.tolist() == [["", ""], [reason, reason], ["", ""]]
    assert np.all(np.isnan(dataset.risk.sel(noise_std=1.0)))
    others = {"noise_std": [0.5, 2.0]}
    assert dataset.risk.sel(others).identical(expected.risk.sel(others))
    assert sweeps.failures(dataset) == [f"noise_std = 1.0, n = {n}: {reason}" for n in (12, 5)]
    assert set(np.unique(expected.failure)) == {""}


def test_errors_of_any_kind_fail_their_cell_alone(monkeypatch):
    monkeypatch.setattr(sweeps, "run_cell", lambda *_: 1 // 0)
    with pytest.warns(sweeps.FailedCells):
        dataset = sweep(BASE, AXES, **SETTINGS)
    assert set(np.unique(dataset.failure)) == {"ZeroDivisionError: integer division or modulo by zero"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"risk": np.array([1.0, np.inf])}, r"risk \(monte-carlo\): expected finite values"),
        ({"difference_stderr": np.array([1.0, np.nan])}, "difference_stderr .*received nan without a reason"),
        ({"fft_risk": np.nan}, "fft_risk .*received nan without a reason"),
    ],
)
def test_values_that_no_theory_predicts_stop_the_cell(monkeypatch, change, message):
    import dataclasses

    from linreg_lora.simulation import curve as simulation

    intact = simulation.monte_carlo
    monkeypatch.setattr(
        simulation, "monte_carlo", lambda *args, **kwargs: dataclasses.replace(intact(*args, **kwargs), **change)
    )
    with pytest.raises(NumericalFailure, match=message):
        sweeps.run_cell(BASE, (1, 2), 16, 0, ("monte-carlo",))


def test_cells_without_a_mean_are_marked_and_infinite(expected):
    meanings = expected.moments.attrs["flag_meanings"].split()
    assert {meanings[i] for i in expected.moments.sel(n=5).values} == {"no_mean"}
    assert np.all(np.isinf(expected.risk.sel(n=5)))
    assert set(np.unique(expected.failure)) == {""}


def test_ranks_that_no_cell_has_are_nan_and_fft_is_there():
    dataset = sweep(BASE, {"noise_std": [1.0]}, ranks=[9], trials=16, computed_by=["monte-carlo"])
    assert np.all(np.isnan(dataset.risk))
    assert np.all(np.isfinite(dataset.fft_risk))


# -- the journal ------------------------------------------------------------------------------------------------


def test_a_sweep_with_a_journal_is_the_same_sweep(expected, tmp_path):
    path = tmp_path / "journal"
    assert sweep(BASE, AXES, **SETTINGS, journal=path).identical(expected)
    with pytest.raises(InvalidInput, match="journal: expected a path where no file is"):
        sweep(BASE, AXES, **SETTINGS, journal=path)
    assert sweep(BASE, AXES, **SETTINGS, journal=path, resume=True).identical(expected)


def test_finished_cells_are_not_computed_again_and_failed_ones_are(expected, failing, tmp_path):
    path, steps = tmp_path / "journal", []
    with pytest.warns(sweeps.FailedCells):
        sweep(BASE, AXES, **SETTINGS, journal=path)
    failing()
    assert sweep(BASE, AXES, **SETTINGS, journal=path, resume=True, progress=steps.append).identical(expected)
    assert steps == [4, 1, 1]


def test_cells_are_in_the_journal_before_they_are_reported(tmp_path):
    path, reported = tmp_path / "journal", []

    def stop_after_two(steps):
        reported.append(steps)
        if sum(reported) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(BASE, AXES, **SETTINGS, journal=path, progress=stop_after_two)
    resumed = []
    sweep(BASE, AXES, **SETTINGS, journal=path, resume=True, progress=resumed.append)
    assert resumed == [2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "with seed 2, received one with seed 1"),
        ({"trials": 17}, "with trials 17, received one with trials 16"),
        ({"ranks": [1]}, r"with ranks \[1\], received one with ranks \[1, 2\]"),
        ({"computed_by": ["theory"]}, "with methods"),
        ({"attributes": {"note": "x"}}, "with note x, received one with note not stated"),
        ({"axes": {"noise_std": [0.5, 1.0, 3.0], "n": [12, 5]}}, r"with axis noise_std \[0.5, 1.0, 3.0\]"),
        ({"axes": {"n": [12, 5], "noise_std": [0.5, 1.0, 2.0]}}, "with axes"),
        ({"make": BASE.replace(ridge=1.0)}, "with problems of SHA-256"),
    ],
)
def test_anything_else_than_the_same_sweep_is_refused(tmp_path, change, message):
    path = tmp_path / "journal"
    arguments = {"make": BASE, "axes": AXES, **SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        sweep(**arguments, journal=path, progress=interrupt)
    with pytest.raises(InvalidInput, match=message):
        sweep(**{**arguments, **change}, journal=path, resume=True)


def interrupt(_):
    raise KeyboardInterrupt


# -- executors --------------------------------------------------------------------------------------------------


class Counting(Executor):
    """Runs a task when it is submitted, but two at a time; counts what is unfinished."""

    in_flight = 7

    def __init__(self):
        self.waiting, self.most = [], 0

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.waiting.append((future, fn, args, kwargs))
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) >= self.in_flight:
            for waiting, fn_, args_, kwargs_ in self.waiting:
                waiting.set_result(fn_(*args_, **kwargs_))
            self.waiting.clear()
        return future


def test_a_bounded_number_of_cells_is_submitted_at_a_time():
    executor = Counting()
    cells = range(70)
    with contextlib.closing(finished_cells(lambda problem: problem, list(cells), (), executor, cells)) as batches:
        seen = [cell.result for batch in batches for cell in batch]
    assert sorted(seen) == list(cells)
    assert executor.most == 7


class Broken(Executor):
    """Takes two tasks, then nothing more."""

    def __init__(self):
        self.taken = 0

    def submit(self, fn, /, *args, **kwargs):
        self.taken += 1
        future = Future()
        if self.taken > 2:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_an_executor_that_breaks_leaves_a_journal_that_can_be_resumed(expected, tmp_path):
    path = tmp_path / "journal"
    with pytest.raises(LinregLoraError, match="a journal can be resumed"):
        sweep(BASE, AXES, **SETTINGS, journal=path, executor=Broken())
    assert sweep(BASE, AXES, **SETTINGS, journal=path, resume=True).identical(expected)


# -- the command line -------------------------------------------------------------------------------------------


def test_the_file_is_the_sweep_with_its_provenance(command, expected, tmp_path):
    assert command() == (0, f"{tmp_path / 'out.nc'}\n", "")
    with xr.open_dataset(tmp_path / "out.nc") as dataset:
        config = dataset.attrs.pop("config")
        assert dataset.identical(expected)
        assert dataset.attrs["versions"].startswith("linreg-lora ")
    (tmp_path / "again.yaml").write_text(config)
    assert load_sweep(tmp_path / "again.yaml").text == config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.yaml", "out.nc", "out.nc.journal", "sweep.yaml"]


def test_failed_cells_are_exit_code_1_and_named_last(command, failing, tmp_path):
    code, out, err = command()
    assert (code, out) == (1, f"{tmp_path / 'out.nc'}\n")
    assert err.splitlines() == [
        f"linreg-lora: failed: noise_std = 1.0, n = {n}: risk: expected finite values, received 3 draws that are not"
        for n in (12, 5)
    ]
    failing()
    assert command("--resume")[0] == 0


def test_a_dry_run_says_how_much_it_is_and_writes_nothing(command, tmp_path):
    code, out, err = command("--dry-run")
    assert (code, err) == (0, "")
    cells, draws, time, how = out.splitlines()
    assert (cells, draws) == ("cells: 6", "draws: 48")
    assert time == "time: about a second with 1 process"
    assert how.startswith("estimated by timing 2 cells here")
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_dry_run_of_a_resumed_sweep_is_about_what_is_left(command, failing, monkeypatch, tmp_path):
    timed = []

    def run_and_note(problem, *arguments, intact=sweeps.run_cell):
        timed.append((problem.noise_std, problem.n))
        return intact(problem, *arguments)

    assert command("--dry-run", "--resume")[1].splitlines()[:2] == ["cells: 6, 0 done, 6 left", "draws: 48"]
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]
    command()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    failing()
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "run_cell", run_and_note)
        code, out, err = command("--dry-run", "--resume")
    assert (code, err) == (0, "")
    cells, draws, time, how = out.splitlines()
    assert (cells, draws) == ("cells: 6, 4 done, 2 left", "draws: 16")
    assert time == "time: about a second with 1 process"
    assert how.startswith("estimated by timing 1 cell here")
    assert set(timed) == {(1.0, 12)}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    assert command("--resume")[0] == 0
    code, out, err = command("--dry-run", "--resume")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["cells: 6, 6 done, 0 left", "draws: 0", "time: that of writing the file"]


def test_a_dry_run_refuses_the_journal_of_another_sweep(command, tmp_path):
    command()
    (tmp_path / "sweep.yaml").write_text(CONFIG.replace("seed: 1", "seed: 2"))
    code, out, err = command("--dry-run", "--resume")
    assert (code, out) == (2, "")
    assert re.fullmatch("linreg-lora: journal: expected .* with seed 2, received one with seed 1; .*\n", err)


def test_the_page_of_sweeps_shows_the_documented_example_and_its_commands_run(run, monkeypatch, tmp_path):
    page = (ROOT / "docs" / "how-to" / "run-a-sweep.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown == (ROOT / "docs" / "sweep.yaml").read_text()
    blocks = re.findall(r"^```(?:sh|console run)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for line in "".join(blocks).splitlines()]
    commands = [line for line in lines if "sweep" in line and "--scheduler" not in line]
    assert len(commands) == 3
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "sweep.yaml").write_text(shown)
    monkeypatch.chdir(tmp_path)
    for line in commands:
        program, *words = shlex.split(line)
        code, _, err = run(*words, "--workers=1")
        assert (program, code, err) == ("linreg-lora", 0, "")
    assert xr.load_dataset("results.nc").sizes == {"computed_by": 2, "noise_std": 5, "spectrum_rank": 2, "rank": 4}
    (code,) = re.findall(r"^```python run\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    pyplot.close("all")
    exec(code, {})
    (axes,) = pyplot.gcf().axes
    assert [line.get_xdata().size for line in axes.lines] == [5] * 4
    assert Path("results.png").stat().st_size > 0
    pyplot.close("all")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "a second"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (7290, "2 h 1 min")]
)
def test_durations_are_written_for_people(seconds, text):
    assert sweep_run._duration(seconds) == text


def test_an_interrupt_is_one_line_and_resumable(command, monkeypatch, tmp_path):
    add = Journal.add

    def add_and_stop(journal, entries):
        add(journal, entries)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", add_and_stop)
    code, out, err = command()
    assert (code, out) == (2, "")
    assert err == f"linreg-lora: interrupted; what is finished is in {tmp_path / 'out.nc.journal'}: --resume goes on\n"
    monkeypatch.setattr(Journal, "add", add)
    assert command("--resume")[0] == 0


def test_a_sweep_file_its_journal_and_its_results_of_version_0_1_0_are_continued(run, tmp_path):
    """Written by 0.1.0, before `computed_by`, flags and rooms: the same draws give the same numbers, to rounding."""
    old = Path(__file__).parent / "old_files"
    for name, now in (("sweep-0.1.0.yaml", "sweep.yaml"), ("sweep-0.1.0.nc.journal", "out.nc.journal")):
        shutil.copy(old / name, tmp_path / now)
    words = ("--out", str(tmp_path / "out.nc"), "--workers=1", "--resume")
    code, _, err = run("sweep", str(tmp_path / "sweep.yaml"), *words)
    assert (code, err) == (0, "linreg-lora: methods: this field is called computed_by now\n")
    before, after = (xr.load_dataset(path) for path in (old / "sweep-0.1.0.nc", tmp_path / "out.nc"))
    assert before.attrs["config"] == after.attrs["config"]
    for name in ("risk", "difference", "stderr", "fft_risk", "fft_stderr"):
        drawn = (found[name].sel(computed_by="monte-carlo") for found in (after, before))
        xr.testing.assert_allclose(*drawn, rtol=1e-9)


def test_a_journal_and_a_file_of_old_names_still_open(command, failing, tmp_path):
    """Version 0.1.0 said `methods`; a journal that quotes it is continued, and what it says stays."""
    assert command()[0] == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "out.nc.journal")) as database, database:
        (now,) = database.execute("SELECT value FROM header WHERE key = 'config'").fetchone()
        assert "computed_by: [monte-carlo]" in now
        old = now.replace("computed_by: [monte-carlo]", "methods: [monte-carlo]")
        database.execute("UPDATE header SET value = ? WHERE key = 'config'", (old,))
    failing()
    (tmp_path / "sweep.yaml").write_text(CONFIG.replace("computed_by:", "methods:"))
    code, _, err = command("--resume")
    assert (code, err) == (0, "linreg-lora: methods: this field is called computed_by now\n")
    assert xr.load_dataset(tmp_path / "out.nc").attrs["config"] == old
    (tmp_path / "sweep.yaml").write_text(CONFIG.replace("seed: 1", "seed: 2"))
    assert command("--resume")[0] == 2
