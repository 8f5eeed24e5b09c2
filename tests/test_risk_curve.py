"""Risk curves as tables, pictures and one line."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

import linreg_lora as ll
from linreg_lora.problem import Moments
from linreg_lora.risk_curve import RiskCurve

PROBLEM = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
SIMULATED = RiskCurve(
    problem=PROBLEM, computed_by="monte-carlo", ranks=np.array([0, 1, 3]), risk=np.array([14.0, 6.5, 4.0]),
    stderr=np.array([0.0, 0.2, 0.1]), fft_risk=13.5, fft_stderr=0.3, difference=np.array([0.5, -7.0, -9.5]),
    difference_stderr=np.array([0.3, 0.2, 0.25]), moments=Moments.FINITE, formula="mean of draws", trials=50, seed=4,
)  # fmt: skip
DOUBTED = dataclasses.replace(
    SIMULATED, computed_by="theory", stderr=None, fft_stderr=None, difference_stderr=None, trials=None, seed=None,
    flagged=np.array([False, False, True]), notes=("rank 3 may be off",),
)  # fmt: skip


@pytest.mark.parametrize("curve", [SIMULATED, DOUBTED])
def test_every_number_of_a_curve_is_in_its_table_and_its_dataset(curve):
    table, dataset = curve.to_dataframe(), curve.to_xarray()
    assert table.index.tolist() == dataset["rank"].values.tolist() == [0, 1, 3]
    for name in ("risk", "stderr", "difference", "difference_stderr", "flagged"):
        known = getattr(curve, name)
        assert (known is not None) == (name in table) == (name in dataset)
        if known is not None:
            assert table[name].tolist() == dataset[name].values.tolist() == known.tolist()
    assert table.attrs["fft_risk"] == dataset.fft_risk.item() == 13.5
    assert table.attrs.get("fft_stderr") == curve.fft_stderr
    assert ("fft_stderr" in dataset) == (curve.fft_stderr is not None)
    said = {"n": 60, "dx": 24, "dy": 20, "computed_by": curve.computed_by, "notes": "; ".join(curve.notes)}
    assert {name: dataset.attrs[name] for name in said} == {name: table.attrs[name] for name in said} == said
    assert dataset.attrs.get("trials") == curve.trials


def test_a_curve_can_be_written_and_read_again(tmp_path):
    xr = pytest.importorskip("xarray")
    SIMULATED.to_xarray().to_netcdf(tmp_path / "curve.nc")
    with xr.open_dataset(tmp_path / "curve.nc") as found:
        assert found.identical(SIMULATED.to_xarray())


def test_a_picture_shows_lines_of_theory_bars_of_simulation_and_doubt():
    axes = Figure().subplots()
    assert DOUBTED.plot(axes, color="C3") is axes
    line, doubted, fft = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([DOUBTED.ranks, DOUBTED.risk], axis=1))
    assert (line.get_linestyle(), line.get_color()) == ("-", "C3")
    assert doubted.get_xydata().tolist() == [[3, 4.0]]
    assert fft.get_ydata() == [13.5, 13.5]
    SIMULATED.plot(axes)
    (bars,) = axes.containers[1].lines[2]
    assert bars.get_segments()[1].tolist() == [[1.0, 6.5 - 0.4], [1.0, 6.5 + 0.4]]
    assert axes.containers[1].lines[0].get_linestyle() == "None"
    assert axes.get_legend_handles_labels()[1].count("FFT (monte-carlo)") == 1


def test_a_curve_is_one_line_on_a_terminal():
    assert repr(SIMULATED) == "RiskCurve(monte-carlo, n=60, dx=24, dy=20; 3 ranks, best 3: 4; FFT 13.5)"
    nothing = dataclasses.replace(SIMULATED, risk=np.full(3, np.nan), difference=np.full(3, np.nan)).at([1])
    assert repr(nothing) == "RiskCurve(monte-carlo, n=60, dx=24, dy=20; 1 rank, no best; FFT 13.5)"
