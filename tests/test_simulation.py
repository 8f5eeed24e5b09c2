"""Monte Carlo: reference values, reproducibility to the bit, and honesty where moments do not exist."""

import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z

from linreg_lora import draw_risks, monte_carlo
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.estimators.lora import fit_lora
from linreg_lora.problem import Moments, Problem
from linreg_lora.sampling.plan import plan
from linreg_lora.simulation.draws import collected
from linreg_lora.simulation.programs import WholeDraws, chunk_size
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.simulation.statistic import mean_of
from linreg_lora.spectra import exponential
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.fft import fft_risk

# Independent simulation of the same quantities: problem, ranks, mean, standard error.
REFERENCE = [
    (
        Problem(n=400, dx=60, dy=50, spectrum=(3, 2, 1), noise_std=1.0),
        [1, 2, 3, 8, 16],
        [5.3363, 1.6267, 0.9655, 3.4051, 5.9422],
        [0.0029, 0.0032, 0.0042, 0.0074, 0.0101],
    ),
    (
        Problem(n=200, dx=40, dy=40, spectrum=exponential(40, 0.5, 5.0), noise_std=0.5),
        [1, 2, 3, 4],
        [14.7681, 5.6478, 2.3406, 1.1898],
        [0.0066, 0.0033, 0.0024, 0.0023],
    ),
    (
        Problem(n=40, dx=100, dy=60, spectrum=(6, 4, 2), noise_std=1.0),
        [1, 2, 3, 8, 16],
        [42.9986, 38.0517, 38.4918, 50.7073, 63.0340],
        [0.1271, 0.1393, 0.1433, 0.1519, 0.1608],
    ),
    (
        Problem(n=60, dx=60, dy=50, spectrum=(3, 2, 1.5), noise_std=1.0, ridge=10.0),
        [1, 3, 10],
        [9.7024, 8.0555, 20.5917],
        [0.0443, 0.0539, 0.0636],
    ),
]
COMPARISONS = sum(len(ranks) for _, ranks, _, _ in REFERENCE)


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"n={case[0].n},dx={case[0].dx}")
def test_reference_values(case):
    """|difference| <= z joint standard errors, family-wise level 1e-6 over all 17 entries (z = 5.5)."""
    problem, ranks, mean, stderr = case
    curve = monte_carlo(problem, trials=1024, seed=20, ranks=ranks)
    assert_means_agree(curve.risk, curve.stderr, mean, stderr, COMPARISONS)


@pytest.mark.parametrize(
    "problem",
    [
        Problem(n=60, dx=20, dy=15, spectrum=(2.0, 1.0), noise_std=1.5),
        Problem(n=15, dx=40, dy=12, spectrum=(2.0, 1.0), noise_std=1.5, input_covariance=np.full(40, 0.25)),
    ],
    ids=["overdetermined", "underdetermined"],
)
def test_fft_theory_and_both_fft_averages_agree(problem):
    """Raw and Rao-Blackwellised means against the exact formula; the second has the smaller standard error."""
    risks = draw_risks(problem, trials=4096, seed=3)
    exact = fft_risk(problem).risk
    for sample in (risks.fft, risks.fft_given_design):
        assert_means_agree(sample.mean(), sample.std() / 64, exact, 0.0, 4)
    assert risks.fft_given_design.std() < 0.9 * risks.fft.std()


@pytest.mark.parametrize("batch_size", [1, 64, 100, 5000])
@pytest.mark.parametrize("n", [30, 6])
@pytest.mark.parametrize("sampler", ["conditional", "sufficient"])
def test_results_do_not_depend_on_the_batch_size_to_the_bit(batch_size, n, sampler):
    problem = Problem(n=n, dx=12, dy=9, spectrum=(2.0, 1.0), noise_std=0.7)
    layout, parameters = plan(problem)
    trials = 3 * chunk_size(layout, parameters) - 7
    reference = monte_carlo(problem, trials=trials, seed=5, sampler=sampler)
    curve = monte_carlo(problem, trials=trials, seed=5, batch_size=batch_size, sampler=sampler)
    for name in ("risk", "stderr", "difference", "difference_stderr", "fft_risk", "fft_stderr"):
        assert np.array_equal(getattr(curve, name), getattr(reference, name)), name


def test_more_trials_extend_the_same_draws():
    problem = Problem(n=30, dx=12, dy=9, spectrum=(2.0, 1.0), noise_std=0.7)
    few, many = (draw_risks(problem, trials=trials, seed=5) for trials in (70, 200))
    assert np.array_equal(few.lora, many.lora[:70])


@pytest.mark.parametrize("first", [1, 64, 70])
def test_draws_can_begin_anywhere(first):
    program = WholeDraws(*plan(Problem(n=30, dx=12, dy=9, spectrum=(2.0, 1.0), noise_std=0.7)))
    whole, part = collected(program, 5, 150), collected(program, 5, 75, first=first)
    assert len(part.fft) == 75
    for all_of_them, some in zip(whole, part, strict=True):
        np.testing.assert_allclose(some, all_of_them[first : first + 75], rtol=1e-10)


def test_seeds_differ():
    problem = Problem(n=30, dx=12, dy=9, spectrum=(2.0, 1.0), noise_std=0.7)
    first, second = (draw_risks(problem, trials=10, seed=seed).fft for seed in (0, 1))
    assert not np.any(np.isin(first, second))


def test_the_pretrained_map_leaves_explicit_risks_unchanged():
    problem = Problem(n=30, dx=8, dy=9, spectrum=(2.0, 1.0), noise_std=0.7)
    moved = problem.replace(pretrained=10 * np.random.default_rng(0).standard_normal((9, 8)))
    first, second = (draw_risks(p, trials=64, seed=5, sampler="explicit").lora for p in (problem, moved))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_paired_differences_are_sharper_than_the_difference_of_two_means():
    problem = Problem(n=30, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0)
    risks = draw_risks(problem, trials=512, seed=5)
    curve = monte_carlo(problem, trials=512, seed=5, sampler="sufficient")
    unpaired = np.hypot(risks.lora[:, 1].std(), risks.fft.std()) / np.sqrt(512)
    assert curve.difference_stderr[1] < unpaired
    np.testing.assert_allclose(curve.difference[1], np.mean(risks.lora[:, 1] - risks.fft), rtol=1e-12)
    assert curve.difference[-1] == 0.0
    assert curve.difference_stderr[-1] == 0.0


def test_rank_zero_and_full_rank_are_the_pretrained_map_and_fft():
    problem = Problem(n=30, dx=12, dy=9, spectrum=(4.0, 1.0), noise_std=1.0)
    curve = monte_carlo(problem, trials=16, seed=5)
    assert curve.risk[0] == 17.0
    assert curve.stderr[0] == 0.0
    assert curve.risk[-1] == curve.fft_risk


@pytest.mark.parametrize("n", [11, 12, 13])
def test_no_mean_is_printed_within_one_sample_of_the_threshold(n):
    curve = monte_carlo(Problem(n=n, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0), trials=100, seed=0)
    assert curve.moments is Moments.NO_MEAN
    assert curve.risk[0] == 16.0
    assert np.all(np.isinf(curve.risk[1:]))
    assert np.all(np.isnan(curve.stderr[1:]))
    assert curve.fft_risk == np.inf
    assert np.isnan(curve.fft_stderr)
    assert np.all(np.isnan(curve.difference[1:]))
    assert "the mean is infinite" in curve.notes[0]


@pytest.mark.parametrize("n", [9, 10, 14, 15])
def test_no_standard_error_of_draws_is_printed_within_three_samples_of_the_threshold(n):
    problem = Problem(n=n, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0)
    curve = monte_carlo(problem, trials=100, seed=0, sampler="sufficient")
    assert curve.moments is Moments.NO_VARIANCE
    assert np.all(np.isfinite(curve.risk))
    assert np.all(np.isnan(curve.stderr[1:]))
    assert np.all(np.isnan(curve.difference_stderr[1:]))
    assert np.isnan(curve.fft_stderr)
    assert "no standard error exists" in curve.notes[0]


@pytest.mark.parametrize("change", [{"ridge": 1.0}, {"noise_std": 0.0}], ids=["ridge", "no noise"])
def test_all_moments_exist_at_the_threshold_with_ridge_or_without_noise(change):
    problem = Problem(n=12, dx=12, dy=9, spectrum=(4.0, 2.0), noise_std=1.0).replace(**change)
    curve = monte_carlo(problem, trials=100, seed=0)
    assert curve.moments is Moments.FINITE
    assert np.all(np.isfinite(curve.stderr))


@pytest.mark.parametrize(("ridge", "known"), [(1e-12, False), (1e-6, False), (1.0, True)])
def test_no_standard_error_is_printed_where_the_draws_cannot_see_the_ridge(ridge, known):
    curve = monte_carlo(Problem(n=12, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0, ridge=ridge), trials=100, seed=0)
    assert np.all(np.isfinite(curve.stderr[1:])) == known
    assert bool(curve.notes) != known


def test_noiseless_problems_keep_small_directions():
    """Without noise and n >= dx LoRA is the truncated shift: small singular values must survive."""
    spectrum = (1.0, 1e-3, 1e-6, 1e-9, 1e-11)
    curve = monte_carlo(Problem(n=40, dx=8, dy=6, spectrum=spectrum, noise_std=0.0), trials=16, seed=0)
    # U_r minimises ||F - U U^T F|| under the sample covariance, not Sigma: a condition-number factor of the tail.
    tails = np.array([sum(s**2 for s in spectrum[r:]) for r in range(6)])
    assert np.all(curve.risk[:5] <= 10 * tails[:5])
    assert np.all(curve.risk[:5] >= tails[:5] * (1 - 1e-9))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"trials": 1}, "trials: expected at least 2"),
        ({"trials": 0}, "trials: expected an integer >= 1, received 0"),
        ({"seed": -1}, "seed: expected an integer"),
        ({"ranks": [10]}, r"ranks: expected integers in 0..9 .*received \[10\]"),
        ({"ranks": [1.5]}, "ranks: expected integers"),
        ({"batch_size": 0}, "batch_size: expected an integer >= 1"),
    ],
)
def test_bad_requests_are_refused(kwargs, message):
    problem = Problem(n=30, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0)
    with pytest.raises(InvalidInput, match=message):
        monte_carlo(problem, **{"trials": 10, "seed": 0, **kwargs})


def test_running_moments_merge_to_the_moments_of_the_whole():
    rows = np.random.default_rng(0).exponential(size=(1000, 3))
    merged = RunningMoments.of(rows[:1])
    for part in (rows[1:300], rows[300:303], rows[303:]):
        merged = merged.merge(RunningMoments.of(part))
    whole = RunningMoments.of(rows)
    for name in ("mean", "second", "third", "stderr", "skewness"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-10)
    assert merged.count == 1000


@pytest.mark.heavy
@pytest.mark.parametrize("first_import", ["linreg_lora", "jax"])
def test_two_threads_draw_without_hanging(first_import):
    """JAX's CPU runtime can deadlock on concurrent LAPACK calls; also when the user imports JAX first."""
    script = f"""
        import {first_import}
        from concurrent.futures import ThreadPoolExecutor
        from linreg_lora import Problem, monte_carlo
        problems = [Problem(n=n, dx=30, dy=25, spectrum=(2.0,), noise_std=1.0) for n in (60, 15)] * 2
        with ThreadPoolExecutor(2) as pool:
            curves = list(pool.map(lambda p: monte_carlo(p, trials=256, seed=0), problems))
        assert (curves[0].risk == curves[2].risk).all()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=120)
    assert done.returncode == 0


def test_critical_value_is_the_stated_one():
    assert abs(critical_z(COMPARISONS) - 5.43) < 0.01


# -- any statistic ------------------------------------------------------------------------------------------------


def test_the_mean_of_a_statistic_is_that_of_its_draws():
    """E Y Y^T / n = (A0 + Delta) Sigma (A0 + Delta)^T + Sigma_eps, at level LEVEL, in its own shape."""
    problem = Problem(
        n=20, dx=5, dy=3, spectrum=(2.0, 1.0), noise_std=0.7, pretrained=np.ones((3, 5)),
        input_covariance=np.geomspace(0.5, 2, 5), noise_covariance=np.array([1.0, 2.0, 3.0]),
    )  # fmt: skip
    found = mean_of(lambda x, y: y @ y.T / x.shape[1], problem, trials=400, seed=1)
    target = problem.pretrained + problem.shift
    assert_means_agree(found.mean, found.stderr, target @ problem.sigma @ target.T + problem.sigma_eps, 0.0, 9)


def test_a_statistic_sees_the_data_behind_the_risks_of_explicit_draws():
    problem = Problem(n=20, dx=5, dy=3, spectrum=(2.0, 1.0), noise_std=0.7)

    def risk(x, y):
        return jnp.sum((fit_lora(x, y, 1) - problem.shift) ** 2)

    found = mean_of(risk, problem, trials=100, seed=1)
    curve = monte_carlo(problem, trials=100, seed=1, sampler="explicit")
    np.testing.assert_allclose([found.mean, found.stderr], [curve.risk[1], curve.stderr[1]], rtol=1e-9)


def test_statistics_that_have_no_mean_are_refused():
    problem = Problem(n=20, dx=5, dy=3, spectrum=(2.0, 1.0), noise_std=0.7)
    with pytest.raises(NumericalFailure, match="statistic: expected finite values, received 4 draws that are not"):
        mean_of(lambda x, y: jnp.log(-jnp.sum(x**2)), problem, trials=4, seed=0)
    with pytest.raises(InvalidInput, match="trials: expected at least 2"):
        mean_of(lambda x, y: x, problem, trials=1, seed=0)


# -- units of the inputs ------------------------------------------------------------------------------------------


def mixed_units(variance, **changes):
    spectrum = (variance**-0.5, 1.0, 1.0)
    given = {
        "n": 12,
        "dx": 5,
        "dy": 3,
        "spectrum": spectrum,
        "noise_std": 1.0,
        "input_covariance": [variance, *[1] * 4],
    }
    return Problem(**{**given, **changes})


def test_an_input_in_other_units_is_an_input():
    """Nanometres beside metres: each sampler against Sigma = I, which least squares cannot tell apart; level LEVEL."""
    reference = monte_carlo(Problem(n=12, dx=5, dy=3, spectrum=(1, 1, 1), noise_std=1.0), trials=4000, seed=1)
    for variance in (1e-14, 1e-15, 1e-18):
        problem = mixed_units(variance)
        assert fft_risk(problem).risk == 2.5
        assert abs(expected_risk(problem).risk[0] - 3) < 1e-14
        for sampler in ("explicit", "sufficient", "auto"):
            curve = monte_carlo(problem, trials=4000, seed=2, sampler=sampler)
            assert abs(curve.risk[0] - 3) < 1e-14
            assert_means_agree(curve.risk[1:], curve.stderr[1:], reference.risk[1:], reference.stderr[1:], 27)


@pytest.mark.parametrize(("n", "ridge"), [(12, 2.0), (3, 2.0)])
@pytest.mark.parametrize("sampler", ["explicit", "auto"])
def test_an_input_in_other_units_beside_plain_numpy(n, ridge, sampler):
    """All ranks by normal equations in whitened coordinates: D = Delta C of order one, C = Sigma^{1/2}; level LEVEL."""
    problem = mixed_units(1e-18, n=n, ridge=ridge)
    curve = monte_carlo(problem, trials=4000, seed=2, sampler=sampler)
    rng, trials = np.random.default_rng(3), 4000
    root, shift = np.sqrt(problem.input_covariance), np.eye(3, 5)
    white = rng.standard_normal((trials, 5, n))
    x = root[:, None] * white
    values, vectors = np.linalg.eigh(x.mT @ x)
    values = np.clip(values, 0, None)[:, None, :]
    seen = (shift @ white + rng.standard_normal((trials, 3, n))) @ vectors
    basis = np.linalg.svd(seen * np.sqrt(values / (values + ridge)), full_matrices=False)[0]
    update = (seen / (values + ridge)) @ vectors.mT @ x.mT * root
    for rank in (1, 2, 3):
        leading = basis[..., :rank]
        risk = np.sum((leading @ (leading.mT @ update) - shift) ** 2, axis=(1, 2))
        assert_means_agree(curve.risk[rank], curve.stderr[rank], risk.mean(), risk.std() / np.sqrt(trials), 3)


SYMMETRIC = np.random.default_rng(4).standard_normal((9, 20)) / 4
UNITS = {
    "none": None,
    "vector": np.geomspace(0.2, 5, 9),
    "matrix": SYMMETRIC @ SYMMETRIC.T,
}


@pytest.mark.parametrize("covariance", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize(
    ("n", "ridge"), [(30, 0.0), pytest.param(12, 3.0, marks=pytest.mark.heavy), (5, 0.0), (5, 3.0)]
)
def test_units_of_the_inputs_change_nothing(covariance, n, ridge):
    """Sigma -> c Sigma, ridge -> c ridge, Delta -> Delta / sqrt(c): theory, and every sampler on the same seed.

    Simulation to rounding, theory to what series of bands leave out of densities, 1e-9 of the largest. Theory without
    ridge at n < dx extrapolates to ridge 0, and is compared where it is closed.
    """
    sigma = np.ones(9) if covariance is None else covariance
    rng = np.random.default_rng(5)
    shift = rng.standard_normal((6, 3)) @ rng.standard_normal((3, 9))
    base = Problem(n=n, dx=9, dy=6, task_shift=shift, noise_std=0.7, ridge=ridge, input_covariance=covariance)
    samplers = ["explicit", "auto"] if n < 9 and covariance is not None else ["explicit", "sufficient", "auto"]
    for c in (1e-9, 7.3, 1e12):
        other = base.replace(task_shift=shift / np.sqrt(c), ridge=c * ridge, input_covariance=c * sigma)
        pairs = [[monte_carlo(p, trials=16, seed=3, sampler=s) for p in (base, other)] for s in samplers]
        for one, two in pairs:
            np.testing.assert_allclose(two.risk, one.risk, rtol=1e-12)
            np.testing.assert_allclose(two.fft_risk, one.fft_risk, rtol=1e-12)
        if n > 9 or ridge > 0:
            one, two = (expected_risk(p, [0, 1, 4], flags=False) for p in (base, other))
            np.testing.assert_allclose(two.risk, one.risk, rtol=1e-9)
            np.testing.assert_allclose(two.fft_risk, one.fft_risk, rtol=1e-12)
