"""Risks along noise, true rank and decay: the data against exact theory, and what is drawn of them."""

import numpy as np
import pytest
from committed import committed, drawn
from comparisons import assert_means_agree, critical_z

from linreg_lora.figures import risk_along, risk_vs_sample_size
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.fft import fft_risk

FIGURES = {
    "risk-vs-noise-underdetermined": risk_along.noise_underdetermined,
    "risk-vs-noise-overdetermined": risk_along.noise_overdetermined,
    "risk-vs-true-rank": risk_along.true_rank,
    "risk-vs-spectral-decay": risk_along.spectral_decay,
}


@pytest.mark.parametrize(
    ("problem", "published"),
    [
        (risk_vs_sample_size.setting(1000), {"n": 1000, "dx": 100, "dy": 100, "rank": 4, "noise_std": 1.0}),
        (risk_along.noise_overdetermined.setting(3.0, 100), {"n": 1000, "dx": 100, "dy": 100, "rank": 10}),
        (risk_along.true_rank.setting(7, 40), {"n": 30, "dx": 40, "dy": 40, "rank": 7, "noise_std": 2.0}),
        (risk_along.spectral_decay.setting(0.5, 40), {"n": 200, "dx": 40, "dy": 40, "noise_std": 0.5}),
    ],
)
def test_settings_are_those_of_the_released_scripts(problem, published):
    found = {**problem.to_dict(), "rank": len(problem.spectrum)}
    assert {name: found[name] for name in published} == published
    assert problem.input_covariance is None


def test_singular_values_decay_as_in_the_released_script():
    spectrum = risk_along.spectral_decay.setting(0.5, 40).spectrum
    np.testing.assert_allclose(spectrum, 5 * np.exp(-0.5 * np.arange(40)))


@pytest.mark.parametrize("name", FIGURES)
def test_simulated_fft_agrees_with_exact_theory(name):
    """Isotropic problems, whose FFT risk is exact; |n - dx| >= 10, so that 5 moments exist. Family-wise level 1e-6."""
    dataset, figure = committed(name), FIGURES[name]
    simulated = dataset.sel(computed_by="monte-carlo")
    exact = [fft_risk(figure.setting(float(x), figure.dimension)).risk for x in dataset[figure.axis].values]
    assert_means_agree(simulated["fft_risk"].values, simulated["fft_stderr"].values, exact, 0.0)


@pytest.mark.parametrize("name", FIGURES)
def test_simulated_lora_agrees_with_its_formula(name):
    """Within 3 %, the formula's error at these sizes, and z standard errors at level 1e-6."""
    simulated, theory = (committed(name).sel(computed_by=by) for by in ("monte-carlo", "theory"))
    allowed = 0.03 * simulated["risk"] + critical_z(simulated["risk"].size) * simulated["stderr"]
    assert np.all(np.abs(theory["risk"] - simulated["risk"]) <= allowed)


def test_small_data_are_those_of_a_sweep():
    """Fewer points, draws and dimensions: theory and simulation agree there too; level 1e-6."""
    figure = risk_along.noise_overdetermined
    steps = []
    dataset = figure.data(64, 3, None, steps.append, values=(1.0, 10.0), dimension=20)
    assert sum(steps) == 2 + 1
    np.testing.assert_allclose(dataset["noise_std_fine"], np.geomspace(1, 10, 3))
    coarse, between = dataset["risk"].sel(computed_by="theory"), figure.setting(10**0.5, 20)
    np.testing.assert_array_equal(dataset["risk_fine"].isel(noise_std_fine=[0, 2]), coarse)
    fine = dataset["risk_fine"].isel(noise_std_fine=1)
    np.testing.assert_allclose(fine, expected_risk(between, fine["rank"].values).risk, rtol=1e-9)
    assert dataset.attrs["dx"] == 20
    exact = [fft_risk(figure.setting(x, 20)).risk for x in (1.0, 10.0)]
    simulated = dataset.sel(computed_by="monte-carlo")
    assert_means_agree(simulated["fft_risk"].values, simulated["fft_stderr"].values, exact, 0.0)
    np.testing.assert_array_equal(dataset["fft_risk"].sel(computed_by="theory"), exact)


@pytest.mark.parametrize("name", FIGURES)
def test_each_line_is_the_theory_of_the_rank_that_its_label_names(name):
    [axes] = drawn(name).axes
    first, *others, tuned = [line for line in axes.lines if not line.get_label().startswith("_")]
    stored, axis, fine = committed(name), FIGURES[name].axis, bool(FIGURES[name].each)
    theory = stored if fine else stored.sel(computed_by="theory")
    np.testing.assert_array_equal(first.get_xdata(), stored[f"{axis}_fine" if fine else axis])
    np.testing.assert_array_equal(first.get_ydata(), theory["fft_fine" if fine else "fft_risk"])
    for line, rank in zip(others, FIGURES[name].ranks, strict=True):
        assert line.get_label().split()[-1] == str(rank)
        np.testing.assert_array_equal(line.get_ydata(), theory["risk_fine" if fine else "risk"].sel(rank=rank))
    assert tuned.get_label() == "FFT, best ridge"
    np.testing.assert_array_equal(tuned.get_xdata(), first.get_xdata())
    np.testing.assert_array_equal(tuned.get_ydata(), stored["fft_best_ridge"])


@pytest.mark.parametrize("name", FIGURES)
def test_the_line_of_the_best_ridge_is_below_fft_and_below_not_adapting(name):
    """And is the exact risk at eta* = dx Tr(Sigma_eps) / ||Delta||^2, computed here from the problem alone."""
    stored, figure = committed(name), FIGURES[name]
    tuned = stored["fft_best_ridge"]
    plain = stored["fft_fine"] if figure.each else stored["fft_risk"].sel(computed_by="theory")
    assert np.all(tuned.values < plain.values)
    for x, risk in list(zip(tuned[tuned.dims[0]].values, tuned.values, strict=True))[::7]:
        problem = figure.setting(float(x), figure.dimension)
        assert risk < problem.pretrained_risk
        star = problem.dx * problem.dy * problem.noise_std**2 / np.sum(np.square(problem.spectrum))
        assert risk == pytest.approx(fft_risk(problem.replace(ridge=float(star))).risk, rel=1e-9)
