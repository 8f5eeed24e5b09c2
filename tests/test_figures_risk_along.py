"""Risks along noise, true rank and decay: the data against exact theory, and what is drawn of them."""

import numpy as np
import pytest
import xarray as xr
from comparisons import assert_means_agree, critical_z
from test_figures import COMMITTED

from linreg_lora import figures
from linreg_lora.figures import risk_along
from linreg_lora.theory.fft import fft_risk

FIGURES = {
    "risk-vs-noise-underdetermined": risk_along.noise_underdetermined,
    "risk-vs-noise-overdetermined": risk_along.noise_overdetermined,
    "risk-vs-true-rank": risk_along.true_rank,
    "risk-vs-spectral-decay": risk_along.spectral_decay,
}


@pytest.fixture(scope="module", params=FIGURES)
def committed(request):
    return request.param, xr.load_dataset(COMMITTED / f"{request.param}.nc", engine="h5netcdf")


def test_settings_are_the_published_ones():
    noise = risk_along.noise_overdetermined
    problem = noise.setting(noise.values[0], noise.dimension)
    assert (problem.n, problem.dx, problem.dy, len(problem.spectrum), problem.noise_std) == (1000, 100, 100, 10, 1.0)
    assert len(noise.values) == 40
    assert noise.values[-1] == 100
    assert risk_along.noise_underdetermined.setting(1.0, 100).n == 50
    problem = risk_along.true_rank.setting(7, 40)
    assert (problem.n, problem.dx, len(problem.spectrum), problem.noise_std) == (30, 40, 7, 2.0)
    problem = risk_along.spectral_decay.setting(0.5, 40)
    assert (problem.n, problem.dx, problem.noise_std) == (200, 40, 0.5)
    np.testing.assert_allclose(problem.spectrum, 5 * np.exp(-0.5 * np.arange(40)))


def test_simulated_fft_agrees_with_exact_theory(committed):
    """Isotropic problems, whose FFT risk is exact; |n - dx| >= 10, so that 5 moments exist. Family-wise level 1e-6."""
    name, dataset = committed
    figure = FIGURES[name]
    simulated = dataset.sel(computed_by="monte-carlo")
    exact = [fft_risk(figure.setting(float(x), figure.dimension)).risk for x in dataset[figure.axis].values]
    assert_means_agree(simulated["fft_risk"].values, simulated["fft_stderr"].values, exact, 0.0)


def test_simulated_lora_agrees_with_its_formula(committed):
    """Within 3 %, the formula's error at these sizes, and z standard errors at level 1e-6."""
    _, dataset = committed
    simulated, theory = (dataset.sel(computed_by=by) for by in ("monte-carlo", "theory"))
    allowed = 0.03 * simulated["risk"] + critical_z(simulated["risk"].size) * simulated["stderr"]
    assert np.all(np.abs(theory["risk"] - simulated["risk"]) <= allowed)


def test_small_data_are_those_of_a_sweep():
    """Fewer points, draws and dimensions: theory and simulation agree there too; level 1e-6."""
    figure = risk_along.noise_overdetermined
    steps = []
    dataset = figure.data(64, 3, None, steps.append, values=(1.0, 10.0), dimension=20)
    assert sum(steps) == 2
    assert dataset.attrs["dx"] == 20
    exact = [fft_risk(figure.setting(x, 20)).risk for x in (1.0, 10.0)]
    simulated = dataset.sel(computed_by="monte-carlo")
    assert_means_agree(simulated["fft_risk"].values, simulated["fft_stderr"].values, exact, 0.0)
    np.testing.assert_array_equal(dataset["fft_risk"].sel(computed_by="theory"), exact)


def test_every_series_is_drawn_labelled_and_told_apart(committed):
    name, dataset = committed
    figure = FIGURES[name]
    assert figures.module(name) is figure
    [axes] = figure.draw(dataset).axes
    assert axes.get_ylabel() == "expected excess risk"
    assert axes.get_xlabel() == figure.label
    names = ["FFT", *(f"LoRA, rank {rank}" for rank in figure.ranks)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len({(line.get_marker(), str(line.get_linestyle())) for line in lines}) == len(names)
    theory = dataset.sel(computed_by="theory")
    for line, risk in zip(
        lines, [theory["fft_risk"], *(theory["risk"].sel(rank=r) for r in figure.ranks)], strict=True
    ):
        np.testing.assert_array_equal(line.get_ydata(), risk)


def test_what_the_captions_say(committed):
    """On paired draws, level 1e-6 over the comparisons of a figure."""
    name, dataset = committed
    simulated = dataset.sel(computed_by="monte-carlo")
    z = simulated["difference"] / simulated["difference_stderr"]
    critical = critical_z(z.size)
    risk = simulated["risk"]
    if name == "risk-vs-noise-underdetermined":
        loudest = risk.isel(noise_std=-1)
        assert np.all(np.diff(loudest) > 0)
        assert np.all(z.isel(noise_std=-1) < -critical)
    elif name == "risk-vs-noise-overdetermined":
        assert np.all(z.sel(rank=16) < -critical)
        assert np.all(np.abs(risk.sel(rank=[1, 2, 4, 8])[:5] / risk.sel(rank=[1, 2, 4, 8])[0] - 1) < 0.02)
    elif name == "risk-vs-true-rank":
        for rank in (1, 2, 4, 8):
            assert z.sel(rank=rank, shift_rank=rank) < -critical
        assert np.all(z.sel(rank=[1, 2, 4], shift_rank=40) > critical)
    else:
        assert np.all(z.isel(rate=0) > critical)
        best = [int(rank) for rank in risk["rank"][risk.argmin("rank")]]
        assert best[-1] < best[4]
        assert np.all(z.isel(rate=-1) < -critical)
