"""Full fine-tuning stopped early: reference values, explicit descent on simulated data, limits, and its best time."""

import math

import mpmath
import numpy as np
import pytest
from comparisons import critical_z
from scipy.optimize import brentq

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.fft import fft_equivalent, fft_risk
from linreg_lora.theory.training import best_stop, orthogonal_stop, stopped, stopped_contours, stopped_risk
from linreg_lora.theory.training.against_ridge import tuned_ratio, worst_ratios
from linreg_lora.theory.training.filters import Filter

OVER = ll.Problem(n=100, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
UNDER = ll.Problem(n=50, dx=80, dy=30, spectrum=(1.0,) * 30, noise_std=1.0)
AT = ll.Problem(n=60, dx=60, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
DECAYING = ll.Problem(
    n=60, dx=90, dy=90, task_shift=np.diag(np.sqrt(np.linspace(0.2, 1, 90))),
    input_covariance=6 * np.arange(1, 91) ** -0.7, noise_std=math.sqrt(20 / 90),
)  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "time", "limit", "ridge"),
    [(OVER, 0.5, 7.740844, 8.182443), (OVER, 2.0, 9.481781, 7.686511), (UNDER, 2.0, 29.791872, 25.264910)],
)
def test_reference_values_of_stopping_and_of_ridge(problem, time, limit, ridge):
    assert stopped_risk(problem, time, correction=False).risk == pytest.approx(limit, abs=1e-5)
    assert fft_equivalent(problem.replace(ridge=problem.n / time), correction=False).risk == pytest.approx(
        ridge, abs=1e-5
    )


def test_reference_values_at_the_threshold_and_of_another_sigma():
    assert stopped_risk(AT, 8.0, correction=False).risk == pytest.approx(44.025747, abs=1e-4)
    found = stopped_risk(DECAYING, 3.0)
    assert (found.bias, found.variance) == pytest.approx((11.68488, 10.31314), abs=1e-4)


def filtered_risks(problem, left, draws, seed):
    """Bias + variance of residuals filtered by `left` on simulated designs, in plain NumPy."""
    rng, root = np.random.default_rng(seed), problem.sigma_sqrt
    risks = []
    for _ in range(draws):
        x = root @ rng.standard_normal((problem.dx, problem.n))
        values, basis = np.linalg.eigh(x @ x.T / problem.n)
        values = np.maximum(values, 1e-12)
        k = left(values)
        bias = np.sum((problem.shift @ (basis * k) @ basis.T @ root) ** 2)
        noise = np.sum(((root @ basis) ** 2) @ ((1 - k) ** 2 / values)) / problem.n
        risks.append(bias + problem.noise_trace * noise)
    return np.mean(risks), np.std(risks) / math.sqrt(draws)


@pytest.mark.parametrize(
    ("problem", "time", "rate", "draws"),
    [
        (OVER, 2.0, 0.5, 300),
        *(
            pytest.param(*case, marks=pytest.mark.heavy)
            for case in [(OVER, 2.0, 0.0, 600), (UNDER, 2.0, 0.0, 150), (AT, 8.0, 0.0, 300)]
        ),
    ],
)
def test_exact_densities_agree_with_simulated_designs(problem, time, rate, draws):
    """At level 1e-6 over four cases, with standard errors below 0.3 %."""
    exact = stopped_risk(problem, time, rate)
    assert exact.exact
    left = (lambda x: np.exp(-time * x)) if rate == 0 else (lambda x: (1 - rate * x) ** round(time / rate))
    mean, stderr = filtered_risks(problem, left, draws, seed=3)
    assert stderr < 3e-3 * mean
    assert abs(mean - exact.risk) <= critical_z(4) * stderr, (mean, stderr, exact)


@pytest.mark.parametrize(("n", "dx"), [(20, 8), (8, 20)])
def test_exact_densities_are_told_from_their_limit(n, dx):
    """30000 small designs: the limit is rejected, twice its critical value away, and the exact mean is not."""
    problem = ll.Problem(n=n, dx=dx, dy=6, spectrum=(3.0, 2.0), noise_std=1.0)
    z = np.random.default_rng(4).standard_normal((30_000, min(n, dx), max(n, dx)))
    x = np.linalg.eigvalsh(z @ z.mT / n)
    k = np.exp(-x)
    risks = 13 / dx * (np.sum(k**2, axis=1) + dx - x.shape[1]) + 6 / n * np.sum((1 - k) ** 2 / x, axis=1)
    mean, stderr = risks.mean(), risks.std() / math.sqrt(len(risks))
    assert abs(mean - stopped_risk(problem, 1.0).risk) <= critical_z(2) * stderr
    assert abs(mean - stopped_risk(problem, 1.0, correction=False).risk) > 2 * critical_z(2) * stderr


@pytest.mark.parametrize(
    ("n", "dx", "decay", "sigma", "time"),
    [(10, 30, 2.0, 0.1, 30.0), (20, 20, 2.0, 1.0, 1.0), (5, 5, 1.0, 1.0, 1.0), (30, 5, 1.0, 0.1, 1.0)],
)
def test_few_samples_are_flagged_with_an_error_that_covers(n, dx, decay, sigma, time):
    """Off by up to a fifth of 800 simulated designs, at level 1e-6 over four; from many samples on not flagged."""
    values = np.arange(1.0, dx + 1) ** -decay
    problem = ll.Problem(n=n, dx=dx, dy=3, spectrum=(2.0, 1.0), noise_std=sigma, input_covariance=values)
    found = stopped_risk(problem, time)
    mean, stderr = filtered_risks(problem, lambda x: np.exp(-time * x), 800, seed=8)
    assert found.flagged
    assert abs(mean - found.risk) <= found.error * found.risk + critical_z(4) * stderr
    many = stopped_risk(problem.replace(n=100 * n + 1000), time)
    assert not many.flagged
    assert 0 < many.error < found.error / 50
    assert stopped_risk(problem, 0.0).error == 0.0


def test_the_error_is_its_formula():
    """Second derivatives by differences of many digits, kappa by bisection."""
    n, t, values = 60, 1.7, np.array([2.0, 0.9, 0.5, 0.2])
    problem = ll.Problem(n=n, dx=4, dy=3, spectrum=(2.0, 1.0), noise_std=1.5, input_covariance=values)

    def part(x, energy):
        k = mpmath.exp(-x * t)
        return energy * k**2 + problem.noise_trace / n * (1 - k) ** 2 / x

    energies = np.array([4.0, 1.0, 0.0, 0.0])
    turns = [float(mpmath.diff(lambda x, e=e: part(x, e), at, 2)) for at, e in zip(values, energies, strict=True)]
    alone = np.sum(values**3 * turns) / (2 * n)
    kappa = brentq(lambda at: at * (n - np.sum(values / (values + at))) - n / t, 1e-9, 1e3, xtol=1e-15)
    together = n - np.sum((values / (values + kappa)) ** 2)
    found = stopped_risk(problem, t)
    assert found.error == pytest.approx(3 * abs(alone) / found.risk + 1.5 / together, rel=1e-9)


def test_exact_risks_have_no_error_and_their_limit_has_one():
    exact, limit = stopped_risk(OVER, 2.0), stopped_risk(OVER, 2.0, correction=False)
    assert (exact.error, exact.flagged) == (0.0, False)
    assert limit.flagged
    assert 0 < abs(limit.risk - exact.risk) <= limit.error * exact.risk
    large = stopped_risk(OVER.replace(n=3000, dx=1000), 1.0)
    assert 0 < large.error < 1e-4


@pytest.mark.heavy
def test_another_sigma_agrees_with_simulated_designs():
    """Within 0.5 %, of which 0.35 % is finite size as measured elsewhere, plus z standard errors."""
    mean, stderr = filtered_risks(DECAYING, lambda x: np.exp(-3 * x), 600, seed=5)
    assert abs(mean - stopped_risk(DECAYING, 3.0).risk) <= 5e-3 * mean + critical_z(1) * stderr


def test_explicit_noisy_descent_has_the_risk_of_its_filter():
    """40 steps of 0.05 on (1/2n) ||R - D X||^2 with all noise drawn; the filter of the population is rejected."""
    rng, n, dx, dy = np.random.default_rng(6), OVER.n, OVER.dx, OVER.dy
    x = rng.standard_normal((400, dx, n))
    residual = OVER.shift @ x + rng.standard_normal((400, dy, n))
    s, h, d = x @ x.mT / n, residual @ x.mT / n, np.zeros((400, dy, dx))
    for _ in range(40):
        d += 0.05 * (h - d @ s)
    risks = np.sum((d - OVER.shift) ** 2, axis=(1, 2))
    mean, stderr = risks.mean(), risks.std() / 20
    assert abs(mean - stopped_risk(OVER, 2.0, 0.05).risk) <= critical_z(1) * stderr
    population = OVER.pretrained_risk * 0.95**80 + dx * dy / n * (1 - 0.95**40) ** 2
    assert abs(mean - population) > critical_z(1) * stderr


def test_contours_and_densities_are_two_routes_to_one_limit():
    """For Sigma = c I the equation of any Sigma has the law of Marchenko and Pastur; also next to the threshold."""
    for problem in (OVER, UNDER, OVER.replace(input_covariance=np.full(40, 2.5))):
        for time, rate in ((1e-3, 0.0), (2.0, 0.0), (2.0, 0.25), (300.0, 0.0)):
            found = Filter.of(time, rate)
            limit = stopped_risk(problem, time, rate, correction=False)
            assert stopped_contours.bias_and_variance(problem, found) == pytest.approx(
                (limit.bias, limit.variance), rel=1e-7, abs=1e-12
            )


def test_large_sizes_have_the_first_order():
    """Where the exact density can be had, the limit with its first order is off by its square, the limit is not."""
    errors = []
    for k in (1, 2):
        problem = ll.Problem(n=50 * k, dx=20 * k, dy=4, spectrum=(2.0,), noise_std=1.0)
        exact = stopped_risk(problem, 1.5)
        x, weights = stopped._limit(20 * k, 50 * k, True)
        k2 = np.exp(-3 * x / problem.n)
        corrected = 4 / problem.dx * float(weights @ k2) + 4 / problem.n * float(
            weights @ Filter.of(1.5).learnt_noise(x / problem.n)
        )
        errors.append(
            [abs(corrected - exact.risk), abs(stopped_risk(problem, 1.5, correction=False).risk - exact.risk)]
        )
    assert errors[0][0] < errors[0][1] / 20
    assert errors[1][0] < errors[0][0] / 3, "second order"
    assert errors[1][1] > errors[0][1] / 3, "first order"
    large = ll.Problem(n=3000, dx=1000, dy=10, spectrum=(2.0,), noise_std=1.0)
    assert stopped_risk(large, 1.0).formula == stopped.CORRECTED
    assert stopped_risk(large, 1.0).risk == pytest.approx(stopped_risk(large, 1.0, correction=False).risk, rel=2e-3)


def test_ends_of_time():
    assert stopped_risk(OVER, 0.0).risk == pytest.approx(14.0)
    assert stopped_risk(DECAYING, 0.0).risk == pytest.approx(DECAYING.pretrained_risk)
    assert stopped_risk(OVER, 1e4).risk == pytest.approx(fft_risk(OVER).risk, rel=1e-9)
    limit = fft_equivalent(DECAYING, correction=False)
    assert stopped_risk(DECAYING, 1e3).risk == pytest.approx(limit.risk, rel=1e-8)
    assert stopped_risk(DECAYING, 1e9).risk == pytest.approx(limit.risk, rel=1e-12)
    # Small steps are the flow, at first order in the rate.
    flow, steps, half = (stopped_risk(DECAYING, 1.0, rate).risk for rate in (0.0, 2e-3, 1e-3))
    assert (steps - flow) / (half - flow) == pytest.approx(2.0, rel=0.01)


def test_the_best_time():
    found = best_stop(OVER)
    for factor in (0.98, 1.02):
        assert stopped_risk(OVER, factor * found.time).risk > found.risk
    tuned = ll.theory.fft_best_ridge(OVER)
    assert 1.0 < found.risk / tuned.risk < worst_ratios().tuned
    assert best_stop(OVER.replace(noise_std=0.0)).time == math.inf
    assert best_stop(OVER.replace(spectrum=())) == (0.0, 0.0, False)
    assert not found.flagged
    assert best_stop(OVER.replace(n=10, dx=3, dy=3, input_covariance=np.array([2.0, 1.0, 0.5]))).flagged
    # Many samples: S = I, and the orthogonal design's time and risk.
    many = OVER.replace(n=40_000, noise_std=20.0)
    assert best_stop(many).risk == pytest.approx(orthogonal_stop(40_000, 40, 30, 14.0, 20.0).risk, rel=0.01)


def test_orthogonal_designs_of_any_scale():
    """V = sigma^2 dx dy / (n c): simulated with S = c I; V without c predicts another time and risk."""
    n, dx, dy, c = 60, 12, 9, 0.5
    found = orthogonal_stop(n, dx, dy, 4.0, 1.0, scale=c)
    assert (found.time, found.risk) == pytest.approx((math.log1p(4 / 3.6) / 0.5, 3.6 * 4 / 7.6), rel=1e-12)
    rng = np.random.default_rng(7)
    x = math.sqrt(c * n) * np.linalg.qr(rng.standard_normal((n, dx)))[0].T
    delta = np.zeros((dy, dx))
    delta[0, 0] = 2.0
    full = delta + rng.standard_normal((4000, dy, n)) @ x.T / (n * c)
    risks = np.sum(((1 - math.exp(-c * found.time)) * full - delta) ** 2, axis=(1, 2))
    z = (risks.mean() - found.risk) / (risks.std() / math.sqrt(len(risks)))
    assert abs(z) <= critical_z(1)
    assert abs(risks.mean() - 1.241) > 0.3


def test_constants_of_stopping_against_ridge():
    found = worst_ratios()
    assert (found.variance, found.tuned, found.matched) == pytest.approx((1.68591, 1.07858, 1.21466), abs=1e-5)
    assert (found.variance_at, found.share) == pytest.approx((1.79328, 0.45711), abs=1e-5)
    # Attained where all eigenvalues are at the worst x, never passed elsewhere: an independent maximisation.
    x = np.linspace(1e-3, 60, 400_000)
    assert np.max(((1 - np.exp(-x)) * (1 + x) / x) ** 2) == pytest.approx(found.variance, abs=1e-8)
    for c in (0.3, found.share, 0.7, 1.0):
        ratio = (1 + x) * (np.exp(-2 * c * x) + (1 - np.exp(-c * x)) ** 2 / x)
        assert tuned_ratio(c) == pytest.approx(np.max(ratio), abs=1e-6)
        assert tuned_ratio(c) >= found.tuned - 1e-12


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stopped_risk(OVER, -1.0), "time: expected a finite number >= 0"),
        (lambda: stopped_risk(OVER, 1.0, 0.3), "time: expected a whole number of steps"),
        (lambda: stopped_risk(OVER, 10.0, 1.0), r"rate: expected below 2 / \(largest eigenvalue"),
        (lambda: stopped_risk(DECAYING, 10.0, 1.0), r"rate: expected below 2 / \(largest eigenvalue"),
        (lambda: stopped_risk(OVER, 7.2, 0.72), "rate: expected one at which fewer than 1e-12"),
        (lambda: stopped_risk(OVER.replace(ridge=1.0), 1.0), "ridge: expected 0 where training is stopped"),
        (lambda: orthogonal_stop(10, 12, 9, 4.0, 1.0), "n: expected at least dx = 12"),
        (lambda: orthogonal_stop(60, 12, 9, 4.0, 1.0, scale=0.0), "scale: expected c > 0"),
        (lambda: tuned_ratio(0.0), "share: expected a number > 0"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
