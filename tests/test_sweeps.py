"""Grids: shape, values, independence of the executor, and refusals."""

from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from linreg_lora import Problem, local_processes, monte_carlo, sweep
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.seeds import derived_seed
from linreg_lora.spectra import exponential
from linreg_lora.theory.fft import fft_risk

BASE = Problem(n=40, dx=12, dy=9, spectrum=(2.0, 1.0), noise_std=1.0)
AXES = {"n": [6, 13, 15, 40], "noise_std": [0.5, 1.0]}
RANKS = [0, 1, 2, 8]


@pytest.fixture(scope="module")
def grid():
    return sweep(BASE, AXES, ranks=RANKS, trials=64, seed=3)


def test_dimensions_and_attributes(grid):
    assert grid.risk.dims == ("computed_by", "n", "noise_std", "rank")
    assert grid.fft_risk.dims == ("computed_by", "n", "noise_std")
    assert grid.risk.attrs["units"] == "squared units of y"
    assert grid.attrs["trials"] == 64
    assert grid.attrs["seed"] == 3
    assert all("long_name" in variable.attrs for variable in grid.data_vars.values())


def test_cells_are_the_curves_of_their_problems(grid):
    problem = BASE.replace(n=40, noise_std=0.5)
    curve = monte_carlo(problem, trials=64, seed=derived_seed(3, problem.fingerprint), ranks=RANKS)
    cell = grid.sel(computed_by="monte-carlo", n=40, noise_std=0.5)
    for name in ("risk", "stderr", "difference", "difference_stderr"):
        assert np.array_equal(cell[name], getattr(curve, name)), name
    assert float(grid.fft_risk.sel(computed_by="theory", n=40, noise_std=0.5)) == fft_risk(problem).risk


def test_ranks_that_a_cell_does_not_have_are_nan(grid):
    assert np.all(np.isnan(grid.risk.sel(n=6, rank=8)))
    assert np.all(np.isfinite(grid.risk.sel(computed_by="monte-carlo", n=6, rank=2)))


def test_theory_in_doubt_is_flagged_with_a_note(grid):
    """n = 40 lies 28 samples from the threshold, n = 15 lies 3: FFT is exact at both, LoRA is not next to the edge."""
    theory = grid.sel(computed_by="theory", noise_std=1.0)
    assert theory.flagged.sel(n=15).values.tolist() == [False, True, True, False]
    assert not theory.flagged.sel(n=40, rank=2)
    assert not grid.flagged.sel(computed_by="monte-carlo").any()
    assert not grid.fft_flagged.any()
    assert str(theory.note.sel(n=15).values).endswith("rank 1-2")
    base = BASE.replace(ridge=0.5, input_covariance=1 + 0.01 * np.arange(BASE.dx))
    ridge = sweep(base, {"n": [12, 14, 60]}, ranks=[1], computed_by=["theory"]).sel(computed_by="theory")
    assert ridge.fft_flagged.values.tolist() == [True, True, False]
    assert np.isnan(ridge.fft_risk.values).tolist() == [False, False, False]


def test_moments_are_flagged(grid):
    meanings = grid.moments.attrs["flag_meanings"].split()
    at = {n: meanings[int(grid.moments.sel(n=n, noise_std=1.0))] for n in AXES["n"]}
    assert at == {6: "finite", 13: "no_mean", 15: "no_variance", 40: "finite"}
    assert np.all(np.isinf(grid.risk.sel(n=13, rank=[1, 2, 8])))
    assert np.all(np.isnan(grid.stderr.sel(n=13, rank=[1, 2], computed_by="monte-carlo")))
    assert np.all(grid.stderr.sel(n=15, rank=[1, 2], computed_by="monte-carlo") > 0)


def test_the_file_opens_as_it_was_written(grid, tmp_path):
    path = tmp_path / "grid.nc"
    grid.to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        assert opened.identical(grid)


class Backwards(Executor):
    """Runs tasks when their results are asked for, last first: an adversarial order of completion."""

    def __init__(self):
        self.tasks = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.tasks.append((future, fn, args, kwargs))
        if len(self.tasks) == 8:
            for future_, fn_, args_, kwargs_ in reversed(self.tasks):
                future_.set_result(fn_(*args_, **kwargs_))
        return future


@pytest.mark.heavy
def test_no_executor_changes_a_bit(grid):
    assert sweep(BASE, AXES, ranks=RANKS, trials=64, seed=3, executor=Backwards()).identical(grid)
    with ThreadPoolExecutor(2) as threads:
        assert sweep(BASE, AXES, ranks=RANKS, trials=64, seed=3, executor=threads).identical(grid)
    with local_processes(2) as processes:
        assert sweep(BASE, AXES, ranks=RANKS, trials=64, seed=3, executor=processes).identical(grid)


def test_a_cell_does_not_depend_on_the_rest_of_the_grid(grid):
    alone = sweep(BASE, {"noise_std": [1.0]}, ranks=[1, 2], trials=64, seed=3)
    first, second = (g.risk.sel(computed_by="monte-carlo", noise_std=1.0, rank=[1, 2]) for g in (alone, grid))
    assert np.array_equal(first, second.sel(n=40))


def test_a_function_makes_the_problems():
    grid = sweep(
        lambda rate: BASE.replace(spectrum=exponential(9, rate, 5.0)),
        {"rate": [0.0, 1.0]},
        ranks=[0],
        computed_by=["theory"],
    )
    np.testing.assert_allclose(grid.risk.values.ravel(), [9 * 25.0, 25 * (1 - np.exp(-18)) / (1 - np.exp(-2))])


def test_an_axis_of_spectra_is_an_index():
    grid = sweep(BASE, {"spectrum": [(2.0,), (3.0, 1.0)]}, ranks=[0], computed_by=["theory"])
    assert grid.spectrum.values.tolist() == [0, 1]
    assert grid.spectrum.attrs["values"] == "[[2.0], [3.0, 1.0]]"
    assert grid.risk.values.ravel().tolist() == [4.0, 10.0]


def test_progress_is_told_every_cell():
    steps = []
    sweep(BASE, {"noise_std": [0.5, 1.0, 2.0]}, ranks=[0], computed_by=["theory"], progress=steps.append)
    assert steps == [1, 1, 1]


@pytest.mark.parametrize(
    ("axes", "changes", "message"),
    [
        ({}, {}, "axes: expected at least one axis"),
        ({"n": []}, {}, "axes: expected at least one axis, each with at least one value"),
        ({"rank": [1]}, {}, "axes: expected names other than the dataset's own, received rank"),
        ({"n": 5}, {}, "axes: expected a sequence of values for n, received 5"),
        ({"magic": [1]}, {}, "axes: expected names that the problem takes"),
        ({"n": [10, 0]}, {}, "n: expected an integer >= 1, received 0"),
        ({"n": [10]}, {"ranks": []}, "ranks: expected a list of integers >= 0"),
        ({"n": [10]}, {"ranks": [2, 1]}, "ranks: expected increasing ranks"),
        ({"n": [10]}, {"ranks": [-1]}, "ranks: expected a list of integers >= 0"),
        ({"n": [10]}, {"computed_by": ["magic"]}, "computed_by: expected any of monte-carlo, theory"),
        ({"n": [10]}, {"trials": 0}, "trials: expected an integer >= 1"),
        ({"n": [10]}, {"seed": -1}, "seed: expected an integer"),
    ],
)
def test_bad_grids_are_refused_before_anything_runs(axes, changes, message):
    with pytest.raises(InvalidInput, match=message):
        sweep(BASE, axes, **{"ranks": [0], **changes})


class Dying(Executor):
    """Every task dies with its worker."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_exception(BrokenExecutor("killed"))
        return future


def test_a_dead_worker_is_one_line():
    with pytest.raises(LinregLoraError, match="a worker died"):
        sweep(BASE, {"n": [40]}, ranks=[0], executor=Dying())
