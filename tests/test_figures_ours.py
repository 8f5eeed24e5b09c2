"""Our own figures: their numbers against theory or an independent route, small ones and the committed ones.

Every comparison with simulation has a family-wise false-alarm level of 1e-6 (`comparisons`). Where theory is a
deterministic equivalent, 3 % are allowed for its own error at these small dimensions.
"""

import functools

import numpy as np
import pytest
import xarray as xr
from committed import committed, drawn
from comparisons import assert_means_agree, critical_z

from linreg_lora.errors import InvalidInput
from linreg_lora.figures import (
    bounds,
    data_benefit,
    datasets,
    detectability,
    double_descent_by_rank,
    forgetting_vs_learning,
    formula_error_vs_dimension,
    hessian_gap,
    intruders_by_strength,
    phase_diagram,
    phase_diagram_best_ridge,
    risk_vs_rank,
)
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.sweeps.phase import phase
from linreg_lora.theory import best_ridge, spiked
from linreg_lora.theory import data_benefit as benefit
from linreg_lora.theory.bounds import least_risk
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.forgetting import fft_forgetting
from linreg_lora.theory.frozen import frozen_a_risk
from linreg_lora.theory.hessian import Loss, expected_rise

#: The error of the deterministic equivalent, with its correction, that is allowed at dimension 20.
FORMULA = 0.03

#: Each figure at a reduced size.
SMALL = {
    "phase-diagram": functools.partial(
        phase_diagram.data,
        dimension=8,
        sample_sizes=(5, 40),
        noise_stds=(0.05, 0.3, 3.0),
        simulated_sizes=(40,),
        simulated_noise_stds=(0.3, 3.0),
    ),
    "phase-diagram-best-ridge": functools.partial(
        phase_diagram_best_ridge.data,
        dimension=8,
        sample_sizes=(5, 8, 24),
        noise_stds=(0.1,),
        simulated_sizes=(24,),
        simulated_noise_stds=(1.0,),
    ),
    "risk-vs-rank": functools.partial(risk_vs_rank.data, dimension=20, sample_sizes=(4, 40), shift_rank=3),
    "double-descent-by-rank": functools.partial(
        double_descent_by_rank.data, dimension=20, sample_sizes=(4, 19, 40, 80), ranks=(1, 4), each=1
    ),
    "bounds": functools.partial(bounds.data, dx=20, dy=12, sample_sizes=(4, 40, 400)),
    "detectability": functools.partial(detectability.data, strengths=(0.2, 2.0, 6.0), n=60, dx=30, dy=20),
    "data-benefit": functools.partial(data_benefit.data, dx=10, dy=6, sample_sizes=(14, 30, 4000)),
    "hessian-gap": functools.partial(hessian_gap.data, dimension=6),
    "forgetting-vs-learning": functools.partial(
        forgetting_vs_learning.data, dimension=20, sample_sizes=(60,), ranks=(0, 1, 4, 20)
    ),
    "formula-error-vs-dimension": functools.partial(formula_error_vs_dimension.data, dimensions=(12, 24)),
}
TRIALS = 256


@functools.cache
def small(name):
    return SMALL[name](TRIALS, 1)


def assert_near(mean, stderr, theory, tolerance):
    """|mean - theory| <= `tolerance` of the theory and z standard errors; level 1e-6 over all finite entries."""
    mean, stderr, theory = (np.asarray(values, dtype=float) for values in (mean, stderr, theory))
    known = np.isfinite(mean) & np.isfinite(stderr) & np.isfinite(theory)
    assert np.any(known)
    allowed = tolerance * np.abs(theory[known]) + critical_z(int(np.sum(known))) * stderr[known]
    off = np.abs(mean[known] - theory[known])
    assert np.all(off <= allowed + 1e-12), f"off by {off}, allowed {allowed}"


# -- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.heavy if n == "phase-diagram-best-ridge" else ()) for n in SMALL]
)
def test_other_problems_have_another_hash(name):
    assert small(name).attrs["problems_sha256"] != committed(name).attrs["problems_sha256"]


def test_progress_reports_every_cell_and_data_depend_on_the_seed():
    steps = []
    again = SMALL["detectability"](TRIALS, 1, None, steps.append)
    assert sum(steps) == again.sizes["strength"]
    xr.testing.assert_identical(again, small("detectability"))
    other = SMALL["detectability"](TRIALS, 2)
    assert not np.any(other["left"].values == again["left"].values)


@pytest.mark.parametrize(("trials", "seed"), [(1, 0), (10, -1)])
def test_bad_settings_are_refused(trials, seed):
    with pytest.raises(InvalidInput, match=r"(trials|seed): expected"):
        datasets.provenance("title", [], trials, seed)


# -- phase diagram ------------------------------------------------------------------------------------------------


def test_best_ranks_at_the_nodes_are_those_of_phase():
    dataset = small("phase-diagram")
    for n in (5, 40):
        fine = dataset["best_rank"].sel(n=n)
        for noise, place in ((0.05, 0), (3.0, -1)):
            assert int(fine[place]) == phase(phase_diagram.setting(n, noise, 8)).best_rank


def test_interpolated_best_ranks_are_those_of_theory_between_the_nodes():
    """The committed regions at two points well inside them, against theory solved there."""
    for n, noise in ((8, 0.15), (80, 0.4)):
        exact = phase(phase_diagram.setting(n, noise)).best_rank
        found = int(committed("phase-diagram")["best_rank"].sel(n=n).sel(noise_std=noise, method="nearest"))
        assert abs(found - exact) <= 1, (n, noise, found, exact)


@pytest.mark.parametrize("dataset", [small, committed])
def test_theorys_rank_is_the_simulated_best_or_not_worse(dataset):
    """Its risk is at most 1 % above the least, beyond z standard errors (level 1e-6 over all dots)."""
    found = dataset("phase-diagram")
    excess = found["regret"] - critical_z(found["regret"].size) * found["stderr"]
    assert np.all(excess.values <= 0.01)


def test_simulated_dots_agree_and_a_rival_rank_does_not():
    """All but a few of the committed dots; a rank twice as large is significantly worse where 0 < rank < FFT."""
    stored = committed("phase-diagram")
    assert int(np.sum(stored["best"] != stored["theory"])) <= 2
    point = stored.isel(n_simulated=4, noise_std_simulated=5)
    problem = phase_diagram.setting(int(point["n_simulated"]), float(point["noise_std_simulated"]))
    best = int(point["theory"])
    assert 0 < best < problem.max_rank // 2
    curve = monte_carlo(problem, trials=TRIALS, seed=3, ranks=[best, 2 * best])
    assert curve.stderr is not None
    assert curve.risk[1] - curve.risk[0] > critical_z(1) * np.hypot(*curve.stderr)


def test_regions_and_their_boundaries():
    number = phase_diagram.region(np.array([0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 23, 24]), np.array(24))
    assert number.tolist() == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    stored = committed("phase-diagram")
    edges = phase_diagram.boundaries(stored)
    assert np.all(np.diff(edges, axis=0) <= 0)
    for i, n in enumerate(stored["n"].values):
        adapting = stored["noise_std"].values[stored["best_rank"].sel(n=n).values > 0]
        assert edges[0, i] == np.max(adapting)


@pytest.mark.heavy
def test_ratios_to_ffts_best_are_those_of_all_ranks():
    """The figure looks at a few ranks around the best; the whole curve of best ridges knows no better one."""
    stored = small("phase-diagram-best-ridge")
    for shift, n in (("decaying", 5), ("low-rank", 24)):
        problem = phase_diagram_best_ridge.setting(shift, n, 0.1, 8)
        curve = best_ridge.tuned_risk(problem)
        point = stored.sel(shift=shift, n=n, noise_std=0.1)
        least = curve.at_rank(curve.best_rank).difference / curve.fft_risk
        assert float(point["tuned"]) == pytest.approx(least, abs=3 * best_ridge.ridge_search.TOLERANCE)
        plain = phase(problem)
        assert int(point["plain_rank"]) == plain.best_rank
        expected = plain.best_risk / curve.fft_risk - 1
        assert float(point["plain"]) == pytest.approx(expected, abs=0.01 * (1 + expected))
    assert np.all(np.isnan(stored["plain"].sel(n=8)))
    assert np.all(np.isfinite(stored["tuned"].sel(n=8)))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["plain", "tuned"])
def test_simulated_ratios_are_those_of_theory(name):
    """The committed dots, against theory there: within 3 % of the ratio and z standard errors, level 1e-6 over all."""
    stored = committed("phase-diagram-best-ridge")
    dots = stored[[f"simulated_{name}", f"simulated_{name}_stderr"]]
    z = critical_z(dots[f"simulated_{name}"].size)
    for shift, n, noise in (
        ("decaying", 34, 0.2),
        ("low-rank", 34, 0.2),
        ("low-rank", 10, 0.2),
        ("decaying", 140, 2.0),
    ):
        point = dots.sel(shift=shift, n_simulated=n).sel(noise_std_simulated=noise, method="nearest")
        problem = phase_diagram_best_ridge.setting(shift, n, float(point["noise_std_simulated"]))
        theory = getattr(phase_diagram_best_ridge.cell(problem), name)
        drawn_there, error = float(point[f"simulated_{name}"]), float(point[f"simulated_{name}_stderr"])
        assert abs(drawn_there - theory) <= FORMULA * (1 + drawn_there) + z * error, (shift, n, noise)


def test_with_its_best_ridge_lora_loses_nowhere_and_a_ridge_never_harms():
    stored = committed("phase-diagram-best-ridge")
    assert float(stored["tuned"].max()) <= 1e-9
    known = np.isfinite(stored["plain"].values)
    assert np.all((stored["tuned"].values <= stored["plain"].values + 2e-4)[known])


def test_the_shift_decides_whether_lora_without_ridge_beats_the_best_ridge():
    """By more than 1 %: nowhere for the decaying shift, by more than half for that of rank 4; in simulation too."""
    for ratio in ("plain", "simulated_plain"):
        plain = committed("phase-diagram-best-ridge")[ratio]
        assert float(plain.sel(shift="decaying").min()) > -0.01
        assert float(plain.sel(shift="low-rank").min()) < -0.5


def test_phase_diagram_marks_where_no_mean_exists():
    [axes] = drawn("phase-diagram").axes
    assert {text.get_text() for text in axes.texts} == {"do not adapt", "LoRA", "FFT", "no mean exists"}
    (strip,) = axes.patches
    (left, _), (right, _) = strip.get_extents().transformed(axes.transData.inverted()).get_points()
    assert left < 23 / 24 < 25 / 24 < right


# -- bias and variance --------------------------------------------------------------------------------------------


def test_bias_and_variance_at_both_ends_are_exact():
    """FFT: E D = min(1, n/dx) Delta, so bias = (1 - n/dx)^2 ||Delta||^2 for n < dx and 0 above."""
    dataset = small("risk-vs-rank")
    for n, shrinkage in ((4, 16 / 20), (40, 0.0)):
        problem, points = risk_vs_rank.setting(n, 20, 3), dataset.sel(n=n)
        energy, full = problem.pretrained_risk, points.sel(rank=min(n, 20))
        assert (float(points["bias"][0]), float(points["variance"][0])) == pytest.approx((energy, 0.0), abs=1e-12)
        assert_means_agree(float(full["bias"]), float(full["bias_stderr"]), shrinkage**2 * energy, 0.0)
        exact = fft_risk(problem).risk
        assert_means_agree(float(full["variance"]), float(full["variance_stderr"]), exact - shrinkage**2 * energy, 0.0)


def test_parts_add_up_and_follow_theory():
    dataset = small("risk-vs-rank")
    np.testing.assert_allclose(dataset["bias"] + dataset["variance"], dataset["risk"], rtol=1e-12)
    assert_near(dataset["risk"], dataset["risk_stderr"], dataset["theory"], FORMULA)
    stored = committed("risk-vs-rank")
    assert_near(stored["risk"], stored["risk_stderr"], stored["theory"], FORMULA)


def test_bias_is_that_of_explicit_data():
    """Another sampler draws all data. Ridgeless, both regimes; the rival E||D_r||^2 alone is rejected."""
    for n in (4, 40):
        problem = risk_vs_rank.setting(n, 20, 3)
        first = risk_vs_rank.decompose(problem, TRIALS, 5)
        second = risk_vs_rank.decompose(problem, TRIALS, 6, sampler="explicit")
        for part in ("bias", "variance"):
            a, b = (np.array(getattr(found, part)[1:4]) for found in (first, second))
            sa, sb = (np.array(getattr(found, f"{part}_stderr")[1:4]) for found in (first, second))
            assert_means_agree(a, sa, b, sb)
    assert first.variance[1] > critical_z(1) * first.variance_stderr[1]


# -- double descent -----------------------------------------------------------------------------------------------


def test_double_descent_follows_theory_at_every_rank():
    for dataset in (small("double-descent-by-rank"), committed("double-descent-by-rank")):
        far = dataset.sel(n=np.abs(dataset["n"] - dataset.attrs["dx"]) >= 16)
        simulated, theory = (far.sel(computed_by=by) for by in ("monte-carlo", "theory"))
        assert_near(simulated["risk"], simulated["stderr"], theory["risk"], FORMULA)
        assert_means_agree(simulated["fft_risk"], simulated["fft_stderr"], theory["fft_risk"], 0.0)


def test_no_mean_is_drawn_at_the_threshold():
    dataset = small("double-descent-by-rank")
    assert np.all(np.isinf(dataset["risk"].sel(n=19)))
    exact = dataset["fft_exact"]
    assert exact["n_exact"].values[np.isnan(exact)].tolist() == [19, 20, 21]
    [axes] = drawn("double-descent-by-rank").axes
    for line in axes.lines:
        x, y = line.get_data()
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if str(line.get_label()).startswith(("FFT", "LoRA")):
            assert np.sum(x == 1.0) == 1
            assert not np.any(np.isfinite(y[x == 1.0]))


def test_the_lower_the_rank_the_narrower_the_peak():
    """At n = 37 and 43, |n - dx| = 3, the risk rises with the rank, on the same draws."""
    stored = committed("double-descent-by-rank").sel(computed_by="monte-carlo", n=[37, 43])
    assert np.all(np.diff(stored["risk"].values, axis=-1) > 0)
    assert np.all(stored["risk"].isel(rank=-1) < stored["fft_risk"])


# -- bounds -------------------------------------------------------------------------------------------------------


def test_bounds_hold_in_their_order():
    for dataset in (small("bounds"), committed("bounds")):
        simulated = dataset.sel(computed_by="monte-carlo").isel(rank=0)
        slack = critical_z(simulated["risk"].size) * simulated["stderr"].fillna(0)
        assert np.all(simulated["risk"] - slack <= dataset["ours"])
        assert np.all(9 * dataset["ours"] < dataset["printed"])
        np.testing.assert_array_less(dataset["printed"], dataset["corrected"])


def test_bounds_fall_like_the_risk():
    """For large n all are of order 1/n; the risk is r (dx + dy - r)/n there, far below."""
    problem = bounds.setting(10**7)
    limit = 3 * (40 + 30 - 3) / problem.n
    values = np.array(bounds._bounds(problem))
    np.testing.assert_allclose(values[1] / values[0], 2.0)
    further = np.array(bounds._bounds(problem.replace(n=4 * problem.n)))
    np.testing.assert_allclose(values / further, 4.0, rtol=0.01)
    assert np.all(values > 10 * limit)
    assert least_risk(problem, 3) == 0.0


# -- detectability ------------------------------------------------------------------------------------------------


def test_overlaps_follow_theory_above_the_threshold_and_vanish_below():
    """0.02 for finite size in the committed data above 1.25 times the threshold; level 1e-6."""
    stored = committed("detectability")
    above = stored.sel(strength=stored["strength"] > 1.3)
    for name in ("singular_value", "left", "right"):
        theory = np.interp(above["strength"], stored["strength_fine"], stored[f"{name}_theory"])
        allowed = 0.02 + critical_z(3 * theory.size) * above[f"{name}_stderr"]
        assert np.all(np.abs(above[name] - theory) <= allowed)
    weakest = stored.isel(strength=0)
    assert float(weakest["left"]) < 3 / 50
    assert float(weakest["right"]) < 3 / 80
    assert float(weakest["singular_value"]) < stored.attrs["edge"]


def test_overlaps_at_the_ends():
    dataset = small("detectability")
    assert float(dataset["left"][-1]) > 0.95
    assert float(dataset["right"][-1]) > 0.95
    assert float(dataset["left"][0]) < 0.2
    problem = detectability.setting(1.0, 60, 30, 20)
    assert problem.spectrum is not None
    assert problem.spectrum[0] == pytest.approx(spiked.detection_threshold(problem))
    theory = dataset["singular_value_theory"].sel(strength_fine=slice(0, 1))
    np.testing.assert_allclose(theory, dataset.attrs["edge"])


@pytest.mark.heavy
def test_leading_direction_of_a_draw_is_that_of_the_fit():
    """lambda by NumPy from the fit F = D_FFT X itself, on the same data."""
    import jax

    from linreg_lora.estimators import fft
    from linreg_lora.sampling import gaussian

    problem, key = detectability.setting(1.5, 12, 5, 4), jax.random.key(3)
    drawn = gaussian.sample(key, 12, jax.numpy.asarray(problem.shift), None, jax.numpy.asarray(1.0))
    found = np.asarray(detectability._leading(drawn.inputs, drawn.outputs))
    u, values, vt = np.linalg.svd(np.asarray(fft.fit_fft(drawn.inputs, drawn.outputs) @ drawn.inputs))
    row = np.asarray(drawn.inputs[0])
    expected = [values[0], u[0, 0] ** 2, (vt[0] @ row) ** 2 / (row @ row)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


# -- worth of a sample --------------------------------------------------------------------------------------------


def test_ratios_are_those_of_exact_risks():
    dataset = small("data-benefit")
    for n in (14, 30):
        before, after = data_benefit.setting(n, 10, 6), data_benefit.setting(n + 1, 10, 6)
        full = fft_risk(before).risk - fft_risk(after).risk
        for adapter, missed in (("frozen", 0.0), ("misspecified", 0.25)):
            factor = data_benefit.frozen_factor(10, missed)
            np.testing.assert_allclose(factor @ factor.T, np.eye(3), atol=1e-15)
            saved = frozen_a_risk(before, factor).risk - frozen_a_risk(after, factor).risk
            found = float(dataset["ratio"].sel(n=n, adapter=adapter))
            assert found == pytest.approx(saved / full, rel=1e-9)
        closed = benefit.frozen_a_ratio(n, 10, 3)
        assert float(dataset["ratio"].sel(n=n, adapter="frozen")) == pytest.approx(closed, rel=1e-12)


def test_ratios_tend_to_their_limits():
    dataset = small("data-benefit")
    last, limit = dataset["ratio"].sel(n=4000), dataset["limit"]
    np.testing.assert_allclose(last, limit, rtol=0.01)
    np.testing.assert_allclose(limit.values[[0, 2]], [3 / 10, 3 * (10 + 6 - 3) / 60])
    assert float(limit[1]) > float(limit[0])
    assert np.all(np.diff(committed("data-benefit")["ratio"], axis=-1) > 0)


# -- Hessian gap --------------------------------------------------------------------------------------------------


def test_weights_without_retraining_gain_nothing_and_with_it_the_codimension():
    for dataset, size in ((small("hessian-gap"), 6), (committed("hessian-gap"), 20)):
        rank = dataset["rank"].values
        assert_means_agree(dataset["still"], dataset["still_stderr"], 0.0, 0.0)
        assert_means_agree(dataset["retrained"], dataset["retrained_stderr"], (size - rank) ** 2, 0.0)
        np.testing.assert_allclose(dataset["retrained_theory"], (size - rank) ** 2)
        np.testing.assert_allclose(dataset["start_theory"], size * (size - rank))
        spread = dataset["still_stderr"] * np.sqrt(dataset.attrs["trials"])
        np.testing.assert_allclose(spread, dataset["still_std"], rtol=6 / np.sqrt(2 * dataset.attrs["trials"]))
    assert float(dataset["start_theory"][0]) < expected_rise(
        hessian_gap.setting(), perturbation_std=1.0, loss=Loss.SQUARED
    )


def test_perturbed_inputs_hurt_fft_more_unless_the_shift_is_aligned():
    stored = committed("hessian-gap").sel(rank=slice(1, 8))
    z = stored["inputs"] / stored["inputs_stderr"]
    assert np.all(z.sel(case="independent") < -critical_z(16))
    assert np.all(z.sel(case="aligned") > critical_z(16))


# -- forgetting ---------------------------------------------------------------------------------------------------


def test_forgetting_and_risk_follow_theory():
    for dataset in (small("forgetting-vs-learning"), committed("forgetting-vs-learning")):
        for name in ("risk", "forgetting"):
            assert_near(dataset[name], dataset[f"{name}_stderr"], dataset[f"{name}_theory"], FORMULA)
    full = small("forgetting-vs-learning").sel(n=60, rank=20)
    exact, *_ = fft_forgetting(forgetting_vs_learning.setting(60, 20))
    assert float(full["forgetting_theory"]) == exact
    assert_means_agree(float(full["forgetting"]), float(full["forgetting_stderr"]), exact, 0.0)


def test_forgetting_grows_with_the_rank():
    stored = committed("forgetting-vs-learning")
    for n in stored["n"].values:
        path = stored["forgetting"].sel(n=n).dropna("rank")
        assert float(path[0]) == 0.0
        assert np.all(np.diff(path) > 0)


# -- error of the formula -----------------------------------------------------------------------------------------


def test_control_variate_keeps_the_mean_and_lowers_its_error():
    problem = formula_error_vs_dimension.setting(12)
    mean, stderr = formula_error_vs_dimension.simulate(problem, (3, 6), 1024, 7)
    plain = monte_carlo(problem, trials=1024, seed=8, ranks=[3, 6])
    assert_means_agree(mean, stderr, plain.risk, plain.stderr)
    assert np.all(stderr < plain.stderr)


def test_first_order_error_falls_like_one_over_d_and_the_correction_removes_most():
    """Committed: raw falls faster than d^-1/2 and slower than d^-3/2 over the range of d, and corrected is at most an
    eighth of raw; each beyond z standard errors (level 1e-6). Between them lies 1/d, and no other whole power."""
    stored = committed("formula-error-vs-dimension")
    raw, corrected = (np.abs(stored[name] - stored["risk"]) / stored["risk"] for name in ("raw", "corrected"))
    margin = critical_z(raw.size) * stored["stderr"] / stored["risk"]
    low, high = raw - margin, raw + margin
    assert np.all(high.sel(d=12) < 4**1.5 * low.sel(d=48))
    assert np.all(low.sel(d=12) > 8**0.5 * high.sel(d=96))
    allowed = raw / 8 + critical_z(raw.size) * stored["stderr"] / stored["risk"]
    assert np.all(corrected <= allowed)
    assert np.all(raw > critical_z(raw.size) * stored["stderr"] / stored["risk"])


# -- intruders by strength ----------------------------------------------------------------------------------------


def test_lora_has_outliers_before_full_fine_tuning_and_fewer_vectors_unlike_the_pretrained():
    """On the committed data; level 1e-6."""
    stored = committed("intruders-by-strength")
    lora, full = (stored.sel(adapted=name) for name in ("LoRA, r = 1", "FFT"))
    window = stored["strength"] == 1.2
    more = (lora["by_outlier"] - full["by_outlier"])[window]
    assert np.all(more > critical_z(2) * np.hypot(lora["by_outlier_stderr"], full["by_outlier_stderr"])[window])
    fewer = (full["by_cosine"] - lora["by_cosine"])[0]
    assert fewer > critical_z(2) * np.hypot(lora["by_cosine_stderr"], full["by_cosine_stderr"])[0]
    for one in (lora, full):
        assert float(one["by_outlier"][-1]) > 0.9
        assert float(one["by_outlier"][0]) < 0.1
        onset = intruders_by_strength.onset(stored, str(one["adapted"].values))
        assert float(one["by_outlier"].sel(strength=stored["strength"] < 0.8 * onset).max()) < 0.1


def test_intruders_are_counted_on_both_criteria_and_follow_the_seed():
    sizes = {"strengths": (0.1, 4.0), "n": 120, "dx": 24, "dy": 20}
    steps = []
    found = intruders_by_strength.data(24, 1, None, steps.append, **sizes)
    assert sum(steps) == 2
    assert found["by_cosine"].sel(adapted="LoRA, r = 1", strength=4.0) > 0.5
    assert found["by_outlier"].sel(adapted="LoRA, r = 1", strength=4.0) > 0.9
    full = found.sel(adapted="FFT")
    assert full["outliers_theory"].values[[0, -1]].tolist() == [0, 1]
    assert full["outliers_theory_flagged"].values[[0, -1]].tolist() == [0, 0]
    assert np.all(full["outliers_theory_flagged"].values[np.diff(full["outliers_theory"], append=1) > 0] == 1)
    xr.testing.assert_identical(found, intruders_by_strength.data(24, 1, **sizes))
    assert not found["by_cosine"].equals(intruders_by_strength.data(24, 2, **sizes)["by_cosine"])


def test_intruders_caption_names_the_strength_from_which_the_outlier_stays_and_flagged_lines_are_pale():
    strength, names = [0.5, 1.0, 1.5, 2.0, 2.5], ["LoRA, r = 1", "LoRA, r = 4", "FFT"]
    theory = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]])
    flags = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0]])
    means = {
        f"by_{name}{of}": (("strength", "adapted"), np.ones((5, 3)))
        for name in ("outlier", "cosine")
        for of in ("", "_stderr")
    }
    fine = {"outliers_theory": theory, "outliers_theory_flagged": flags}
    dataset = xr.Dataset(
        {**means, **{name: (("strength_fine", "adapted"), values) for name, values in fine.items()}},
        {"strength": strength, "strength_fine": strength, "adapted": names},
        {"top": 10},
    )
    caption = intruders_by_strength.caption(dataset)
    assert "LoRA of rank 1 has one from 2 on" in caption
    assert "rises and falls before it stays" in caption
    assert "widens the bulk, at none of these strengths" in caption
    steady = intruders_by_strength.caption(dataset.isel(strength_fine=[0, 3, 4]))
    assert "LoRA of rank 1 has one from 2 on" in steady
    assert "rises and falls" not in steady
    left = intruders_by_strength.draw(dataset).axes[0]
    pale = [line.get_ydata().tolist() for line in left.lines if line.get_alpha()]
    assert pale == [theory[:, 0].tolist(), theory[:, 2].tolist()]
    (trusted,) = [line.get_ydata() for line in left.lines if line.get_label() == "LoRA, r = 1"]
    assert np.isfinite(trusted).tolist() == [False, False, False, False, True]
