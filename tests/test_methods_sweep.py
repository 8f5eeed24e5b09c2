"""Methods in sweeps: the dimension adapt, in memory, from files, in other processes, and nothing new without it."""

import json

import numpy as np
import pytest
import xarray as xr
from users_methods import FirstInputs, OneScale

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps import adapted, curves
from linreg_lora.sweeps.config import parse_sweep
from linreg_lora.sweeps.journal import stated

BASE = ll.Problem(n=16, dx=6, dy=5, spectrum=(2.0, 1.0), noise_std=1.0)
AXES = {"n": [4, 6, 16]}
ADAPT = ["bitfit", "lora:2", "lora:5", FirstInputs(2), "fft", "ia3"]
GIVEN = {"trials": 40, "seed": 3}


@pytest.fixture(scope="module")
def swept():
    return ll.sweep(BASE, AXES, ranks=[1, 2], adapt=ADAPT, **GIVEN)


def test_a_sweep_has_the_dimension_adapt(swept):
    assert swept.adapt.values.tolist() == ["bitfit", "lora:2", "lora:5", "first-inputs:2", "fft", "ia3"]
    for name in ("adapt_risk", "adapt_stderr", "adapt_flagged", "adapt_note"):
        assert swept[name].dims == ("computed_by", "n", "adapt")
    assert swept.adapt_parameters.dims == ("n", "adapt")
    assert swept.adapt_parameters.sel(n=4).values.tolist() == [5, 22, 55, 10, 30, 5]
    assert all("long_name" in variable.attrs for variable in swept.data_vars.values())
    assert not swept.failure.values.any()


def test_its_numbers_are_those_of_the_methods(swept):
    for n in AXES["n"]:
        problem = BASE.replace(n=n)
        cell, seed = swept.sel(n=n), derived_seed(3, problem.fingerprint)
        for name, method in (("bitfit", "bitfit"), ("first-inputs:2", FirstInputs(2))):
            drawn = ll.monte_carlo(problem, trials=40, seed=seed, method=method)
            found = cell.sel(computed_by="monte-carlo", adapt=name)
            np.testing.assert_array_equal(found.adapt_risk, drawn.risk)
            np.testing.assert_array_equal(found.adapt_stderr, drawn.stderr)
            theory = ll.expected_risk(problem, method=method)
            np.testing.assert_array_equal(cell.sel(computed_by="theory", adapt=name).adapt_risk, theory.risk)
        np.testing.assert_array_equal(cell.adapt_risk.sel(adapt="lora:2"), cell.risk.sel(rank=2))
        np.testing.assert_array_equal(cell.adapt_risk.sel(adapt="fft"), cell.fft_risk)


def test_a_method_that_does_not_fit_a_cell_says_why_there(swept):
    assert np.isnan(swept.adapt_risk.sel(adapt="ia3")).all()
    assert all(
        str(note).startswith("pretrained: expected A0") for note in swept.adapt_note.sel(adapt="ia3").values.flat
    )
    assert np.isnan(swept.adapt_risk.sel(adapt="lora:5", n=4)).all()
    assert "0..4" in str(swept.adapt_note.sel(adapt="lora:5", n=4, computed_by="theory").values)
    assert np.isinf(swept.adapt_risk.sel(adapt="lora:2", n=6)).all()
    assert np.isfinite(swept.adapt_risk.sel(adapt="bitfit")).all()


def test_methods_alone_make_no_curves():
    found = ll.sweep(BASE, {"n": [16]}, adapt=["bitfit", FirstInputs(2)], computed_by=["theory"])
    assert set(found.data_vars) == {
        "moments", "failure", "adapt_risk", "adapt_stderr", "adapt_flagged", "adapt_note", "adapt_parameters",
    }  # fmt: skip


def test_users_methods_go_to_processes_and_to_a_journal(tmp_path):
    arguments = (BASE, {"n": [15, 16]})
    wanted = {"adapt": [FirstInputs(2), "bitfit"], **GIVEN}
    here = ll.sweep(*arguments, **wanted, journal=tmp_path / "journal")
    with ll.local_processes(1) as executor:
        assert ll.sweep(*arguments, **wanted, executor=executor).identical(here)
    assert ll.sweep(*arguments, **wanted, journal=tmp_path / "journal", resume=True).identical(here)
    with pytest.raises(InvalidInput, match="journal: expected one of this sweep, with adapt"):
        ll.sweep(*arguments, **{**wanted, "adapt": ["bitfit"]}, journal=tmp_path / "journal", resume=True)

    class Local(OneScale):
        pass

    with (
        ll.local_processes(1) as executor,
        pytest.raises(InvalidInput, match="adapt: expected methods that can be sent to processes, received one-scale"),
    ):
        ll.sweep(*arguments, adapt=[Local()], executor=executor)


def test_without_adapt_nothing_changes(tmp_path):
    """Rows, notes, header and variables are those of a sweep that knows of no methods."""
    path = tmp_path / "journal"
    found = ll.sweep(BASE, AXES, ranks=[1, 2], **GIVEN, journal=path)
    assert not [name for name in (*found.data_vars, *found.dims) if name.startswith("adapt")]
    assert list(stated(path)) == [
        "seed", "trials", "ranks", "methods", "axes", "axis n", "problems", "versions",
    ]  # fmt: skip
    cell = curves.run_cell(BASE, (1, 2), 40, 3, ("monte-carlo", "theory"))
    assert cell.values.shape == (2, 5 * 2 + 3)
    assert cell.adapt_notes == ()
    with_methods = ll.sweep(BASE, AXES, ranks=[1, 2], adapt=["lora:2", "bitfit"], **GIVEN)
    both = with_methods.drop_vars(["adapt", *adapted.RESERVED[1:]]).assign_attrs(title=found.title)
    xr.testing.assert_identical(both, found)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "ranks: expected a list of integers >= 0, received None; or name methods by adapt"),
        ({"adapt": []}, "adapt: expected a list of methods"),
        ({"adapt": "bitfit"}, "adapt: expected a list of methods"),
        ({"adapt": ["bitfit", "bitfit"]}, "adapt: expected each method once, received bitfit"),
        ({"adapt": ["bitfti"]}, "did you mean bitfit"),
    ],
)
def test_refusals(wanted, message):
    with pytest.raises(InvalidInput, match=message):
        ll.sweep(BASE, AXES, **wanted)


def test_the_field_adapt_of_a_sweep_file(tmp_path, run):
    content = {"problem": {"n": 9, "dx": 4, "dy": 3, "spectrum": [1], "noise_std": 1}, "axes": {"n": [9, 12]}}
    content |= {"adapt": ["bitfit", "frozen_a:2"], "trials": 8}
    (tmp_path / "sweep.yaml").write_text(json.dumps(content))
    code, out, err = run("sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "out.nc"), "--workers=1")
    assert (code, out, err) == (0, f"{tmp_path / 'out.nc'}\n", "")
    found = xr.load_dataset(tmp_path / "out.nc", engine="h5netcdf")
    assert found.adapt.values.tolist() == ["bitfit", "frozen-a:2"]
    assert np.isfinite(found.adapt_risk).all()
    assert "draws: 32" in run("sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "b.nc"), "--dry-run")[1]
    for changed, message in [
        ({"adapt": ["bitfti"]}, "did you mean bitfit"),
        ({"adapt": []}, "adapt: expected at least 1 item"),
        ({"adapt": None}, "ranks: expected LoRA ranks, or methods by adapt, received neither"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            parse_sweep(content | changed)
