"""Expected extreme eigenvalues: simulation against explicit designs, inequalities against exact integrals, limits."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
from comparisons import assert_means_agree, critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import wishart
from linreg_lora.theory.extreme_eigenvalues import Source, guaranteed, limit, simulated

ROTATION = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))[0]
VARIANCES = np.geomspace(3, 0.5, 30)
OVER = Problem(
    n=24,
    dx=6,
    dy=5,
    spectrum=(3.0, 2.0, 1.0),
    noise_std=1.5,
    input_covariance=np.geomspace(4, 0.5, 6),
    noise_covariance=np.geomspace(1, 4, 5),
)
UNDER = Problem(n=6, dx=24, dy=5, spectrum=(3.0, 2.0), noise_std=1.5, input_covariance=np.full(24, 0.25))
ANISOTROPIC = Problem(
    n=8, dx=30, dy=5, spectrum=(3.0, 2.0), noise_std=1.5, input_covariance=(ROTATION * VARIANCES) @ ROTATION.T
)
PROBLEMS = pytest.mark.parametrize("problem", [OVER, UNDER, ANISOTROPIC], ids=["n > dx", "n < dx", "anisotropic"])


def explicit(problem, draws=4000):
    """inverse, condition, ||E P||^2, unseen and lmax(Sigma S^+) ||C_i X||_F^2, C_i Sigma^{1/2} = v_i^T (unit): a draw
    a row, from explicit data, pseudo-inverses and eigenvalues."""
    rng = np.random.default_rng(100)
    values, vectors = np.linalg.eigh(problem.sigma)
    probes = vectors.T / np.sqrt(values)[:, None]
    rows = []
    for _ in range(draws):
        x = problem.sigma_sqrt @ rng.standard_normal((problem.dx, problem.n))
        noise = problem.sigma_eps_sqrt @ rng.standard_normal((problem.dy, problem.n))
        inverse = np.linalg.pinv(x)
        gram = problem.n * inverse.T @ inverse
        largest = np.max(np.linalg.eigvalsh(problem.sigma_sqrt @ gram @ problem.sigma_sqrt))
        seen = np.linalg.eigvalsh(x @ x.T / problem.n)[-1]
        unseen = problem.shift @ (np.eye(problem.dx) - x @ inverse) @ problem.sigma_sqrt
        tails = largest / problem.n * np.sum((probes @ x) ** 2, axis=1)
        norm = np.linalg.svd(noise @ inverse @ x, compute_uv=False)[0] ** 2
        rows.append([largest, seen * largest, norm, np.sum(unseen**2), *tails])
    return np.array(rows)


@pytest.mark.heavy
@PROBLEMS
def test_simulation_agrees_with_explicit_designs(problem):
    """Family-wise level 1e-6 over two-sided comparisons (z = 5.9 at most).

    |n - dx| >= 18, so all fourth moments exist. 4000 draws on each side: with probability 0.5 a discrepancy of z joint
    standard errors, 2 to 5 %, is detected; one of 1.3 z with 0.95. Rivals that are further off: dx for n, n for n - 1.
    """
    rows = explicit(problem)
    mean, stderr = rows.mean(axis=0), rows.std(axis=0, ddof=1) / math.sqrt(len(rows))
    found = simulated(problem, draws=4000, seed=1)
    plain = (found.inverse, found.condition, found.noise, found.unseen)
    comparisons = 4 + 2 * problem.dx
    for i, expectation in enumerate(plain):
        if problem.n >= problem.dx and expectation is found.unseen:
            assert expectation.value == 0
            assert mean[i] < 1e-20
        else:
            assert_means_agree(expectation.value, expectation.stderr, mean[i], stderr[i], comparisons)
    # The largest of dx means lies between the largest of their lower and of their upper confidence limits.
    slack = critical_z(comparisons) * np.hypot(stderr[4:], found.tail.stderr)
    assert np.max(mean[4:] - slack) <= found.tail.value <= np.max(mean[4:] + slack)
    if problem is not ANISOTROPIC:
        assert_means_agree(np.full(problem.dx, found.tail.value), found.tail.stderr, mean[4:], stderr[4:], comparisons)


@PROBLEMS
def test_inequalities_lie_above_simulation(problem):
    """One-sided at family-wise level 1e-6. Power: the bounds are at most 5 (white) or 12 (kappa = 6) times the mean."""
    bound, found = guaranteed(problem), simulated(problem, draws=1000, seed=2)
    for name in ("inverse", "condition", "tail", "noise", "unseen"):
        above, mean = getattr(bound, name), getattr(found, name)
        assert mean.value <= above.value * (1 + 1e-12) + critical_z(5) * mean.stderr, name
        assert above.value <= (12 if problem is ANISOTROPIC else 5) * mean.value, name
    if problem is not ANISOTROPIC:
        assert bound.inverse.value <= 1.8 * found.inverse.value
    assert bound.noise.value <= 2 * found.noise.value


@pytest.mark.parametrize("dof", [4, 5, 8, 20, 200])
def test_bounds_of_two_eigenvalues_against_exact_integrals(dof):
    """m = 2: (l1, t = l2 / l1) has density t^{(M-3)/2} (1 - t) l1^{M-1} e^{-l1 (1 + t) / 2}; l1 integrates out."""

    def integral(power, scale):
        value = scipy.integrate.quad(
            lambda u: 2 * u ** (2 * power + 1) * (1 - u**2) * (2 / (1 + u**2)) ** scale, 0, 1, epsabs=0, epsrel=1e-10
        )
        return value[0]

    norm = integral((dof - 3) / 2, dof)
    inverse = integral((dof - 5) / 2, dof - 1) / (dof - 1) / norm
    ratio = integral((dof - 5) / 2, dof) / norm
    assert inverse <= wishart.inverse_moment(2, dof) <= 1.3 * inverse
    assert ratio <= wishart.condition_number(2, dof) <= 8 * ratio


@pytest.mark.parametrize("dof", [3, 4, 10, 100])
def test_the_bound_of_one_eigenvalue_is_exact_up_to_its_grid(dof):
    exact = 1 / (dof - 2)
    assert exact <= wishart.inverse_moment(1, dof) <= 1.006 * exact
    assert wishart.condition_number(1, dof) == 1


@pytest.mark.parametrize(("size", "dof"), [(20, 24), (40, 200), (60, 3000)])
def test_the_bounds_of_many_eigenvalues_are_within_a_factor_of_simulation(size, dof):
    """300 Bartlett factors; level 1e-6 one-sided. Below the trace bound m / (M - m - 1), by more the larger M / m."""
    problem = Problem(n=dof, dx=size, dy=1, spectrum=(), noise_std=1.0)
    found = simulated(problem, draws=300, seed=3)
    bound = dof * wishart.inverse_moment(size, dof)
    slack = critical_z(1) * found.inverse.stderr
    assert found.inverse.value - slack <= bound <= 1.8 * (found.inverse.value + slack)
    assert bound < dof * size / (dof - size - 1)
    ratio = wishart.condition_number(size, dof)
    slack = critical_z(1) * found.condition.stderr
    assert found.condition.value - slack <= ratio <= 3 * (found.condition.value + slack)


@pytest.mark.parametrize(("size", "dof"), [(2, 4), (20, 22), (20, 25), (40, 200), (60, 3000)])
def test_the_bounds_are_the_integrals_they_state(size, dof):
    """By quadrature over v = -log s, with the tail bound inverted by interpolation and K from multivariate gammas."""

    def log_constant(m, n):
        return (
            m**2 / 2 * math.log(math.pi)
            - m * n / 2 * math.log(2)
            - scipy.special.multigammaln(n / 2, m)
            - scipy.special.multigammaln(m / 2, m)
        )

    log_x = np.linspace(math.log(1e-25), math.log(2 * dof), 400_000)
    x, shape = np.exp(log_x), (dof - size + 1) / 2
    log_density = log_constant(size, dof) - log_constant(size - 1, dof + 1) + shape * log_x - x / 2
    log_near_zero = np.logaddexp.accumulate(log_density + math.log(log_x[1] - log_x[0]))
    gap, edge = (math.sqrt(dof) + sign * math.sqrt(size) for sign in (-1, 1))
    log_concentrated = np.where(np.sqrt(x) < gap, -((gap - np.sqrt(x)) ** 2) / 2, 0.0)
    log_tail = np.minimum(np.minimum(log_near_zero, log_concentrated), 0)
    kept = np.r_[True, np.diff(log_tail) > 0]
    v = np.linspace(0, min(80, -log_tail[0]), 400_001)
    quantile = np.exp(-np.interp(-v, log_tail[kept], log_x[kept]))
    inverse = scipy.integrate.trapezoid(quantile * np.exp(-v), v)
    ratio = scipy.integrate.trapezoid(quantile * np.exp(-v) * (edge + np.sqrt(2 * v)) ** 2, v)
    assert 0.9999 * inverse <= wishart.inverse_moment(size, dof) <= 1.003 * inverse
    assert 0.9999 * ratio <= wishart.condition_number(size, dof) <= 1.02 * ratio


def test_bounds_survive_underflow():
    """n - dx = 2e4: the density near 0 underflows, and 1/lmin is within a few per cent of its limit."""
    assert wishart.inverse_moment(10, 20_000) == pytest.approx(1 / (20_000**0.5 - 10**0.5) ** 2, rel=0.05)
    assert math.isfinite(wishart.inverse_moment(1000, 1002))
    assert math.isfinite(wishart.condition_number(1000, 1002))


@pytest.mark.parametrize(("rows", "columns"), [(4, 9), (9, 4), (100, 80), (1, 1)])
def test_the_norm_of_gaussian_matrices(rows, columns):
    """400 draws, one-sided at level 1e-6; the bound is at most 10 % above from 80 x 100 on."""
    bound = wishart.gaussian_norm(rows, columns)
    draws = np.random.default_rng(4).standard_normal((400, rows, columns))
    squared = np.linalg.norm(draws, 2, axis=(1, 2)) ** 2
    slack = critical_z(1) * squared.std() / 20
    assert squared.mean() - slack <= bound.sharp <= bound.simple
    if rows == 100:
        assert bound.sharp <= 1.1 * (squared.mean() + slack)


def test_the_norm_bounds_by_hand():
    assert wishart.gaussian_norm(4, 9) == pytest.approx((26, 45))
    isotropic = guaranteed(UNDER).noise.value
    assert isotropic == pytest.approx(1.5**2 * wishart.gaussian_norm(5, 6).sharp)
    # Tr Sigma_eps = 10, largest 4, min(n, dx) = 9
    problem = Problem(n=20, dx=9, dy=4, spectrum=(), noise_std=1.0, noise_covariance=np.array([4.0, 3.0, 2.0, 1.0]))
    assert guaranteed(problem).noise.value == pytest.approx((math.sqrt(10) + 6) ** 2 + 4)


@pytest.mark.parametrize("seen_by", ["large variances", "small variances"])
def test_the_unseen_part_has_two_bounds_and_takes_the_smaller(seen_by):
    """Delta in the directions of large variance: Wielandt's is smaller; of small: the largest variance."""
    variances = np.geomspace(1, 16, 30) if seen_by == "small variances" else np.geomspace(16, 1, 30)
    variances = np.full(30, 16.0) if seen_by == "large variances" else variances
    variances[-1 if seen_by == "large variances" else 0] = 1.0
    problem = Problem(n=8, dx=30, dy=5, spectrum=(2.0,), noise_std=1.0, input_covariance=variances)
    unweighted, oblique = 16 * 4.0, (16 + 2 + 1 / 16) / 4 * problem.pretrained_risk
    assert guaranteed(problem).unseen.value == pytest.approx(min(unweighted, oblique))
    assert (unweighted < oblique) == (seen_by == "large variances")
    found = simulated(problem, draws=400, seed=5).unseen
    assert found.value - critical_z(1) * found.stderr <= guaranteed(problem).unseen.value


def test_the_cost_of_anisotropy():
    """n variances of 100 and 22 of 1: bounds for white inputs are too small, these hold. One-sided at level 1e-6;
    w = 102.01 / 4."""
    problem = ANISOTROPIC.replace(input_covariance=np.where(np.arange(30) < 8, 100.0, 1.0))
    bound, found = guaranteed(problem), simulated(problem, draws=400, seed=7)
    white = problem.replace(input_covariance=None)
    for name, scale in (("inverse", 1), ("tail", 1), ("condition", 100)):
        mean = getattr(found, name)
        slack = critical_z(3) * mean.stderr
        assert 1.5 * scale * getattr(guaranteed(white), name).value < mean.value - slack
        assert mean.value - slack <= getattr(bound, name).value
        assert getattr(bound, name).value == pytest.approx(102.01 / 4 * scale * getattr(guaranteed(white), name).value)
    single = guaranteed(problem.replace(n=1))
    assert single.tail.value == pytest.approx(102.01 / 4 / 30)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_limits_by_hand():
    assert wishart.inverse_limit(200, 40) == pytest.approx((1 - math.sqrt(0.2)) ** -2)
    assert wishart.inverse_limit(9, 16) == pytest.approx(9.0)
    assert wishart.inverse_limit(16, 9) == pytest.approx(16.0)
    assert wishart.inverse_limit(10, 10) == math.inf
    found = limit(Problem(n=16, dx=9, dy=1, spectrum=(), noise_std=1.0, input_covariance=np.array([3.0] + 8 * [2.0])))
    assert found.condition.value == pytest.approx(3 * 49.0)
    assert found.tail.value == pytest.approx((16 - 2 / 9) * 1.0)


@pytest.mark.heavy
def test_simulation_tends_to_the_limit():
    """The error at 6 d is below half of that at d: it falls like d^{-2/3}, to 0.3. Errors of 13 and 20 % at d, against
    standard errors of some 0.4 % of the limit."""
    errors = {}
    for size, draws in ((16, 1500), (96, 100)):
        problem = Problem(n=5 * size, dx=size, dy=1, spectrum=(), noise_std=0.0)
        found, asymptotic = simulated(problem, draws=draws, seed=6), limit(problem)
        for name in ("inverse", "condition"):
            errors[size, name] = abs(getattr(found, name).value / getattr(asymptotic, name).value - 1)
    for name in ("inverse", "condition"):
        assert errors[96, name] < 0.5 * errors[16, name], errors
        assert errors[96, name] < 0.1


# -- sources, moments, reductions --------------------------------------------------------------------------------------


def test_every_source_is_named_and_the_limit_only_on_demand():
    found = {source(OVER).source for source in (guaranteed, limit)} | {simulated(OVER, draws=2, seed=0).source}
    assert found == set(Source)
    assert "7 draws, seed 3" in simulated(OVER, draws=7, seed=3).inverse.how
    assert "inequality" in guaranteed(OVER).inverse.how
    assert "Propositions 4 and 6" in limit(OVER).inverse.how


@pytest.mark.parametrize("n", [9, 10, 11])
def test_within_one_sample_of_the_threshold_the_means_are_infinite(n):
    problem = Problem(n=n, dx=10, dy=4, spectrum=(2.0,), noise_std=1.0)
    for found in (simulated(problem, draws=3, seed=0), guaranteed(problem), limit(problem)):
        for name in ("inverse", "condition", "tail"):
            expectation = getattr(found, name)
            assert expectation.value == math.inf, (found.source, name)
            assert "|n - rank(Sigma)| <= 1" in expectation.how
        assert math.isfinite(found.noise.value)


@pytest.mark.parametrize("gap", [-4, -3, -2, 2, 3, 4])
@pytest.mark.parametrize("covariance", [None, np.geomspace(1, 2, 10)], ids=["isotropic", "anisotropic"])
def test_further_out_they_are_finite_and_have_standard_errors_from_four_on(gap, covariance):
    problem = Problem(n=10 + gap, dx=10, dy=4, spectrum=(2.0,), noise_std=1.0, input_covariance=covariance)
    found = simulated(problem, draws=10, seed=0)
    for name in ("inverse", "condition", "tail"):
        assert math.isfinite(getattr(found, name).value)
        assert math.isfinite(getattr(guaranteed(problem), name).value)
        assert math.isnan(getattr(found, name).stderr) == (abs(gap) <= 3)
    assert math.isfinite(found.noise.stderr)


@pytest.mark.parametrize(("n", "dx"), [(2, 1), (1, 2), (40, 1)])
def test_a_single_eigenvalue_cancels(n, dx):
    problem = Problem(n=n, dx=dx, dy=3, spectrum=(1.0,), noise_std=1.0, input_covariance=np.full(dx, 2.0))
    for found in (simulated(problem, draws=5, seed=0), guaranteed(problem)):
        assert found.condition.value == pytest.approx(2.0)
        assert found.tail.value == pytest.approx(1 / dx)
        assert math.isinf(found.inverse.value) == (abs(n - dx) == 1)


def test_directions_without_variance_do_not_count():
    regular = OVER.replace(input_covariance=np.geomspace(0.5, 4, 6))
    singular = OVER.replace(dx=8, input_covariance=np.concatenate([np.geomspace(0.5, 4, 6), [0.0, 0.0]]))
    for source in (guaranteed, limit, lambda p: simulated(p, draws=5, seed=0)):
        for name in ("inverse", "condition", "tail", "noise", "unseen"):
            assert getattr(source(singular), name).value == pytest.approx(
                getattr(source(regular), name).value, rel=1e-9
            )


@PROBLEMS
def test_standard_errors_shrink_with_the_root_of_the_draws(problem):
    few, many = simulated(problem, draws=100, seed=8), simulated(problem, draws=1600, seed=8)
    for name in ("inverse", "condition", "tail", "noise"):
        assert 0.15 < getattr(many, name).stderr / getattr(few, name).stderr < 0.4


def test_the_simulated_tail_errs_upwards():
    """The largest of 30 means: of 2 draws far above its value for many, on average over 50 seeds."""
    few = [simulated(ANISOTROPIC, draws=2, seed=seed).tail.value for seed in range(50)]
    assert np.mean(few) > 1.5 * simulated(ANISOTROPIC, draws=1000, seed=9).tail.value


def test_a_seed_is_a_run():
    first, same, other = (simulated(OVER, draws=5, seed=seed) for seed in (1, 1, 2))
    assert first == same
    assert first.inverse.value != other.inverse.value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guaranteed(OVER.replace(ridge=1.0)), "ridge: expected 0"),
        (lambda: simulated(OVER.replace(ridge=1.0), seed=0), "ridge: expected 0"),
        (lambda: simulated(OVER, draws=1, seed=0), "draws: expected at least 2"),
        (lambda: simulated(OVER, draws=2, seed=-1), "seed: expected"),
        (lambda: limit(ANISOTROPIC), "input_covariance: expected a multiple of the identity"),
        (lambda: wishart.inverse_moment(5, 4), "dof: expected at least size = 5, received 4"),
        (lambda: wishart.condition_number(5, 4), "dof: expected at least size = 5, received 4"),
        (lambda: wishart.inverse_limit(0, 4), "n: expected an integer >= 1"),
        (lambda: wishart.gaussian_norm(3, 0), "columns: expected an integer >= 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
