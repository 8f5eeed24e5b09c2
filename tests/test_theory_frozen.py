"""Frozen factors: hand values, simulation against rivals, and where no mean exists."""

import math

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments
from linreg_lora.theory import fft, frozen


def rows(r, size, seed=0):
    """r orthonormal rows."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, r))).Q.T


def rotated(values, seed):
    basis = rows(len(values), len(values), seed)
    return (basis.T * np.asarray(values)) @ basis


def shift(dy, dx, seed=5):
    return np.random.default_rng(seed).standard_normal((dy, dx)) / 3


# -- exact values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dx", [6, 40], ids=["n > dx", "n < dx"])
def test_frozen_a_by_hand(dx):
    """A keeps the first two inputs, n = 13, sigma = 2: b = (1, 0, 9) and r/(n - r - 1) = 1/5."""
    delta = np.zeros((3, dx))
    delta[0, [0, 2]], delta[1, 1], delta[2, [4, 5]] = (3.0, 1.0), 2.0, (0.0, 3.0)
    problem = Problem(n=13, dx=dx, dy=3, task_shift=delta, noise_std=2.0)
    result = frozen.frozen_a_risk(problem, np.eye(2, dx))
    np.testing.assert_allclose(result[:3], [10.0, 0.0, (3 * 4 + 10) / 5], rtol=1e-14)
    assert result.risk == result.misspecification + result.variance
    missed = frozen.misspecification_covariance(problem, np.eye(2, dx))
    np.testing.assert_allclose(missed, np.diag([1.0, 0.0, 9.0]), atol=1e-14)


def test_correlated_inputs_lend_a_frozen_a_what_they_predict_of_the_rest():
    """x_1 explains rho x_1 of x_2, var 1: a shift on x_2 alone is missed by 1 - rho^2, with coefficient rho on x_1."""
    problem = Problem(
        n=10, dx=2, dy=1, task_shift=np.array([[0.0, 3.0]]), noise_std=2.0, input_covariance=[[1.0, 0.6], [0.6, 1.0]]
    )
    result = frozen.frozen_a_risk(problem, [[1.0, 0.0]])
    np.testing.assert_allclose(result[:3], [9 * 0.64, 0.0, (4 + 9 * 0.64) / 8], rtol=1e-14)
    reduced, _ = frozen.frozen_a_reduction(problem, [[1.0, 0.0]])
    np.testing.assert_allclose(np.abs(reduced.shift), [[1.8]], rtol=1e-14)


def test_frozen_b_by_hand():
    """B keeps the first output: 4 + 1 is out of reach, Tr(B^T Sigma_eps B) = 9 * 2, dx / (n - dx - 1) = 1/3."""
    delta = np.array([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    problem = Problem(n=9, dx=2, dy=3, task_shift=delta, noise_std=3.0, noise_covariance=[2.0, 5.0, 7.0])
    result = frozen.frozen_b_risk(problem, np.eye(3, 1))
    np.testing.assert_allclose(result[:3], [5.0, 0.0, 6.0], rtol=1e-14)


def test_frozen_b_reads_white_noise_in_any_form():
    problem = Problem(n=9, dx=2, dy=3, task_shift=shift(3, 2), noise_std=2.0)
    expected = frozen.frozen_b_risk(problem, np.eye(3, 2))
    for covariance in (np.full(3, 4.0), 4.0 * np.eye(3)):
        same = problem.replace(noise_std=1.0, noise_covariance=covariance)
        np.testing.assert_allclose(frozen.frozen_b_risk(same, np.eye(3, 2))[:3], expected[:3], rtol=1e-14)


@pytest.mark.parametrize("n", [30, 4], ids=["n > dx", "n < dx"])
def test_square_factors_freeze_nothing(n):
    problem = Problem(
        n=n, dx=9, dy=4, task_shift=shift(4, 9), noise_std=0.7,
        input_covariance=rotated(np.geomspace(0.2, 5, 9), 1), noise_covariance=rotated([0.5, 1, 2, 3], 2),
    )  # fmt: skip
    full = fft.fft_risk(problem)
    for result in (frozen.frozen_a_risk(problem, rows(9, 9)), frozen.frozen_b_risk(problem, rows(4, 4))):
        np.testing.assert_allclose(result.risk, full.risk, rtol=1e-12)
        assert result.misspecification < 1e-24
        assert result.formula.endswith(full.formula)


@pytest.mark.parametrize("n", [12, 5], ids=["n > r", "n < r"])
def test_the_risk_is_that_of_the_row_space_and_in_units_of_y(n):
    """Mixing the rows of A changes nothing, nor does x in other units: Sigma -> c^2 Sigma, Delta -> Delta / c."""
    problem = Problem(n=n, dx=14, dy=3, task_shift=shift(3, 14), noise_std=0.7)
    a = rows(9, 14)
    expected = frozen.frozen_a_risk(problem, a)
    mixed = frozen.frozen_a_risk(problem, rows(9, 9, 3) @ a)
    rescaled = problem.replace(task_shift=shift(3, 14) / 10, input_covariance=np.full(14, 100.0))
    for other in (mixed, frozen.frozen_a_risk(rescaled, a)):
        np.testing.assert_allclose(other[:3], expected[:3], rtol=1e-12)
        assert other.formula == expected.formula
    assert "exact" in expected.formula


def test_inputs_without_variance_do_not_count():
    """The features see two of three rows; the third costs nothing: r -> rank(A Sigma A^T)."""
    delta = shift(3, 5)
    problem = Problem(n=12, dx=5, dy=3, task_shift=delta, noise_std=1.0, input_covariance=[1.0, 2.0, 0.0, 3.0, 1.0])
    result = frozen.frozen_a_risk(problem, np.eye(3, 5))
    missed = 3 * np.sum(delta[:, 3] ** 2) + np.sum(delta[:, 4] ** 2)
    np.testing.assert_allclose(result[:3], [missed, 0.0, (3 + missed) * 2 / 9], rtol=1e-12)
    with pytest.raises(InvalidInput, match="input_factor: expected features B x with some variance"):
        frozen.frozen_a_risk(problem, np.eye(5)[2:3])


def test_other_regimes_are_the_equivalent_of_the_reduced_problem():
    """n < r with features of unequal variance, and ridge: no exact risk of FFT is known there either."""
    covariance, delta = np.geomspace(0.2, 5, 14), shift(3, 14)
    problem = Problem(n=5, dx=14, dy=3, task_shift=delta, noise_std=0.7, input_covariance=covariance)
    noise = 0.49 * np.eye(3) + (delta[:, 9:] * covariance[9:]) @ delta[:, 9:].T
    first_nine = problem.replace(
        dx=9, task_shift=delta[:, :9], input_covariance=covariance[:9], noise_std=1.0, noise_covariance=noise
    )
    for ridge in (0.0, 0.8):
        result = frozen.frozen_a_risk(problem.replace(ridge=ridge), np.eye(9, 14))
        reference = fft.fft_equivalent(first_nine.replace(ridge=ridge))
        np.testing.assert_allclose([result.bias, result.variance], reference[:2], rtol=1e-12)
        assert result.bias > 0
        result = frozen.frozen_b_risk(problem.replace(ridge=ridge), np.eye(3, 2))
        reference = fft.fft_equivalent(problem.replace(dy=2, task_shift=delta[:2], ridge=ridge))
        np.testing.assert_allclose([result.bias, result.variance], reference[:2], rtol=1e-12)


# -- simulation ---------------------------------------------------------------------------------------------------

TRIALS = 20_000
GENERAL = Problem(
    n=21, dx=14, dy=4, task_shift=shift(4, 14), noise_std=0.8,
    input_covariance=rotated(np.geomspace(0.2, 5, 14), 1), noise_covariance=rotated([0.3, 0.5, 1, 2], 2),
)  # fmt: skip
NARROW = Problem(n=21, dx=30, dy=4, task_shift=shift(4, 30), noise_std=0.8)
WIDE = Problem(n=6, dx=36, dy=4, task_shift=shift(4, 36), noise_std=1.5, input_covariance=np.full(36, 0.5))


def simulate(problem, seed, a=None, b=None):
    """Risks in plain NumPy: draw X and E, solve for the trained factor, measure. Mean and standard error."""
    rng = np.random.default_rng(seed)
    x = problem.sigma_sqrt @ rng.standard_normal((TRIALS, problem.dx, problem.n))
    residual = problem.shift @ x + problem.sigma_eps_sqrt @ rng.standard_normal((TRIALS, problem.dy, problem.n))
    z = x if a is None else a @ x
    target = residual if b is None else b.T @ residual
    if z.shape[1] <= problem.n:
        trained = np.linalg.solve(z @ z.mT, z @ target.mT).mT
    else:
        trained = (z @ np.linalg.solve(z.mT @ z, target.mT)).mT
    update = trained @ a if b is None else b @ trained
    risk = np.sum(((update - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(1, 2))
    return risk.mean(), risk.std(ddof=1) / math.sqrt(TRIALS)


def frozen_a_case(problem, a, *, misspecified=True):
    """The prediction, and plausible wrong formulas for n > r."""
    result, n, r = frozen.frozen_a_risk(problem, a), problem.n, len(a)
    missed, noise = result.misspecification, problem.noise_trace
    rivals = {
        "n - r": missed + result.variance * (n - r - 1) / (n - r),
        "fixed design, r/n": missed + (noise + missed) * r / n,
        "dx for r": missed + (noise + missed) * problem.dx / abs(n - problem.dx - 1),
    }
    if misspecified:
        rivals["misspecification is no noise"] = missed + noise * r / (n - r - 1)
    if misspecified and problem.isotropic_scale is None:
        outside = float(np.sum((problem.shift @ (np.eye(problem.dx) - a.T @ a) @ problem.sigma_sqrt) ** 2))
        rivals["Delta (I - P) in place of the Schur complement"] = outside + (noise + outside) * r / (n - r - 1)
    return problem, {"a": a}, result.risk, rivals


def frozen_a_below_case(problem, a):
    """n < r, Sigma = c I."""
    result, n, r = frozen.frozen_a_risk(problem, a), problem.n, len(a)
    missed, noise = result.misspecification, problem.noise_trace
    within = problem.pretrained_risk - missed
    rivals = {
        "r - n": missed + result.bias + result.variance * (r - n - 1) / (r - n),
        "bias without 1 - n/r": missed + within + result.variance,
        "dx for r in the bias": missed + within * (1 - n / problem.dx) + result.variance,
        "misspecification is no noise": missed + result.bias + noise * n / (r - n - 1),
    }
    return problem, {"a": a}, result.risk, rivals


def frozen_b_case(problem, b):
    result, n, dx = frozen.frozen_b_risk(problem, b), problem.n, problem.dx
    missed, gap = result.misspecification, abs(n - dx)
    factor = min(n, dx) / (gap - 1)
    rivals = {
        "n - dx": missed + result.bias + result.variance * (gap - 1) / gap,
        "noise of all outputs": missed + result.bias + problem.noise_trace * factor,
        "misspecification as noise": missed + result.bias + result.variance + missed * factor,
    }
    if n < dx:
        rivals["all of Delta in the bias"] = problem.pretrained_risk * (1 - n / dx) + result.variance
    return problem, {"b": b}, result.risk, rivals


REPRESENTABLE = rows(4, 14, 6)
CASES = {
    "frozen A, general covariances": frozen_a_case(GENERAL, rows(3, 14)),
    "frozen A, r < n < dx": frozen_a_case(NARROW, rows(3, 30)),
    "frozen A, no noise": frozen_a_case(GENERAL.replace(noise_std=0.0), rows(3, 14)),
    "frozen A represents Delta": frozen_a_case(
        GENERAL.replace(task_shift=shift(4, 4) @ REPRESENTABLE), REPRESENTABLE, misspecified=False
    ),
    "frozen A, n < r": frozen_a_below_case(WIDE, rows(24, 36)),
    "frozen B, general covariances": frozen_b_case(GENERAL.replace(n=31), rows(2, 4).T),
    "frozen B, n < dx": frozen_b_case(WIDE, rows(2, 4).T),
}


@pytest.mark.parametrize("name", CASES)
def test_simulation_agrees_and_rejects_every_rival(name):
    """Two-sided z, family-wise level 1e-6 over the cases: z = 5.3, at least eight moments exist.

    The standard error is below 0.4 % of the risk, so that a discrepancy of 3 % is found with probability 0.98.
    """
    problem, factor, predicted, rivals = CASES[name]
    mean, stderr = simulate(problem, 1, **factor)
    z = critical_z(len(CASES))
    assert stderr < 0.004 * predicted
    assert abs(mean - predicted) <= z * stderr, f"{mean} +- {stderr} against {predicted}"
    for rival, risk in rivals.items():
        assert abs(mean - risk) > z * stderr, f"{rival}: {risk} passes for {mean} +- {stderr}"


# -- moments and bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_mean_is_infinite_within_one_sample_of_r_with_noise_or_misspecification(n):
    a = np.eye(3, 8)
    noisy = Problem(n=n, dx=8, dy=2, task_shift=shift(2, 3) @ a, noise_std=1.0)
    silent = noisy.replace(noise_std=0.0)
    misspecified = silent.replace(task_shift=shift(2, 8))
    for problem in (noisy, misspecified):
        result = frozen.frozen_a_risk(problem, a)
        assert result.risk == math.inf
        assert f"|n - r| > 1 or ridge > 0 is needed, n = {n}, r = 3" in result.formula
        for away in (1, 5):
            assert math.isfinite(frozen.frozen_a_risk(problem.replace(n=away), a).risk)
        assert math.isfinite(frozen.frozen_a_risk(problem.replace(ridge=10.0), a).risk)
    expected = silent.pretrained_risk / 3 if n == 2 else 0.0
    np.testing.assert_allclose(frozen.frozen_a_risk(silent, a).risk, expected, rtol=1e-12, atol=1e-28)


@pytest.mark.parametrize("n", [7, 8, 9])
def test_frozen_b_has_the_threshold_of_fft(n):
    problem = Problem(n=n, dx=8, dy=3, task_shift=shift(3, 8), noise_std=1.0, noise_covariance=[1.0, 1.0, 0.0])
    result = frozen.frozen_b_risk(problem, np.eye(3, 2))
    assert result.risk == math.inf
    assert "|n - dx| > 1" in result.formula
    assert frozen.frozen_b_reduction(problem, np.eye(3, 2)).problem.moments is Moments.NO_MEAN
    assert math.isfinite(frozen.frozen_b_risk(problem, np.eye(3)[:, 2:]).risk), "an output without noise"


def test_a_representable_shift_without_noise_is_learned_exactly():
    """Whatever rounding leaves of the misspecification must not count as noise, at n = r of all places."""
    a = rows(3, 50, 8)
    problem = Problem(
        n=3, dx=50, dy=4, task_shift=1e6 * shift(4, 3) @ a, noise_std=0.0,
        input_covariance=rotated(np.geomspace(1e-3, 1e3, 50), 9),
    )  # fmt: skip
    for covariance in (problem.input_covariance, None):
        assert frozen.frozen_a_risk(problem.replace(input_covariance=covariance), a).risk == 0.0


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (2 * np.eye(2, 8), "rows that are 3 off; use numpy.linalg.qr"),
        (np.eye(2, 7), r"shape \(2, 7\)"),
        (np.eye(9, 8), r"shape \(9, 8\)"),
        (np.eye(8)[0], r"shape \(8,\)"),
        ("A", "received A"),
        (np.full((1, 8), np.nan), "all finite"),
    ],
)
def test_factors_that_do_not_fit_are_refused(factor, message):
    problem = Problem(n=20, dx=8, dy=8, spectrum=(1.0,), noise_std=1.0)
    with pytest.raises(InvalidInput, match=f"input_factor: expected a matrix r x 8 .*{message}"):
        frozen.frozen_a_risk(problem, factor)
    if isinstance(factor, np.ndarray) and factor.ndim == 2:
        message = message.replace("rows", "columns").replace("(2, 7)", "(7, 2)").replace("9, 8", "8, 9")
        message = message.replace(r"2, 7", "7, 2")
        with pytest.raises(InvalidInput, match=f"output_factor: expected a matrix 8 x r .*{message}"):
            frozen.frozen_b_risk(problem, factor.T)
