"""Marginal benefits: exact differences, the error that is stated, simulation on growing data, and limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z
from fifty_digits import fft_equivalent

from linreg_lora import Problem, draw_risks
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import capacity, data_benefit, fft, frozen

PROBLEM = Problem(n=60, dx=12, dy=10, spectrum=(6.0, 4.0), noise_std=1.5)
DENSE = PROBLEM.replace(task_shift=np.random.default_rng(0).standard_normal((10, 12)) / 3)


def rows(r, size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, r))).Q.T


# -- exact differences --------------------------------------------------------------------------------------------


def exact_fft_risk(n, dx, shift, noise):
    """In rational arithmetic: no rounding."""
    if n > dx:
        return Fraction(noise) * dx / (n - dx - 1)
    return Fraction(shift) * (dx - n) / dx + Fraction(noise) * n / (dx - n - 1)


@pytest.mark.parametrize("n", [14, 60, 10**9, 1, 5, 9])
def test_fft_benefit_is_the_difference_of_exact_risks_to_the_last_digit(n):
    """Also where risk(n) - risk(n+1) has lost all its digits."""
    problem = PROBLEM.replace(n=n)
    expected = exact_fft_risk(n, 12, 52, Fraction(22.5)) - exact_fft_risk(n + 1, 12, 52, Fraction(22.5))
    found = data_benefit.fft_benefit(problem)
    np.testing.assert_allclose(found.value, float(expected), rtol=1e-13)
    assert found.error == 0
    assert found.formula.endswith("exact")


@pytest.mark.parametrize(("n", "ridge"), [(3, 0.0), (6, 0.0), (12, 0.4), (40, 0.4), (50_000, 0.4)])
def test_the_error_of_a_difference_of_fft_equivalents_is_as_stated(n, ridge):
    problem = DENSE.replace(n=n, ridge=ridge, input_covariance=np.geomspace(0.2, 5, 12))
    found = data_benefit.fft_benefit(problem)
    exact = float(sum(fft_equivalent(problem, n)) - sum(fft_equivalent(problem, n + 1)))
    assert abs(found.value - exact) <= found.error
    assert found.error < 1e-11 * fft.fft_risk(problem).risk
    assert "deterministic equivalent" in found.formula


@pytest.mark.parametrize("n", [30, 5], ids=["n > r", "n < r"])
def test_frozen_benefits_are_differences_of_their_risks(n):
    problem, a, b = DENSE.replace(n=n), rows(8, 12), rows(3, 10).T
    more = problem.replace(n=n + 1)
    for benefit, risk, factor in (
        (data_benefit.frozen_a_benefit, frozen.frozen_a_risk, a),
        (data_benefit.frozen_b_benefit, frozen.frozen_b_risk, b),
    ):
        found, before = benefit(problem, factor), risk(problem, factor).risk
        expected = before - risk(more, factor).risk
        np.testing.assert_allclose(found.value, expected, rtol=0, atol=100 * np.finfo(float).eps * before)


# -- k/d, exactly and in the limit --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [14, 15, 60, 10**6])
def test_the_ratio_of_a_frozen_a_that_represents_the_shift(n):
    """From below to r/dx = k/d, which it is not near the threshold."""
    a = rows(3, 12)
    problem = PROBLEM.replace(n=n, task_shift=np.random.default_rng(1).standard_normal((10, 3)) @ a)
    found = data_benefit.benefit_ratio(data_benefit.frozen_a_benefit(problem, a), data_benefit.fft_benefit(problem))
    exact = data_benefit.frozen_a_ratio(n, 12, 3)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    expected = Fraction(3 * (n - 13) * (n - 12), 12 * (n - 4) * (n - 3))
    np.testing.assert_allclose(exact, float(expected), rtol=1e-14)
    np.testing.assert_allclose(data_benefit.misspecification_factor(problem, a), 1.0, rtol=1e-14)
    # 1 - ratio / (k/d) = 2 (dx - r)/n to first order.
    assert 1 - exact / 0.25 == pytest.approx(18 / n, rel=20 / n) if n > 10**5 else exact < 0.25 * 0.75


def test_misspecification_inflates_the_benefit_of_every_output_by_its_factor():
    """Beyond k/d: even at n = 60 the benefit of this frozen A is more than r/dx of FFT's."""
    a = rows(3, 12)
    problem = DENSE.replace(noise_std=0.5)
    factor = data_benefit.misspecification_factor(problem, a)
    missed = np.sum((problem.shift @ (np.eye(12) - a.T @ a)) ** 2, axis=1)
    np.testing.assert_allclose(factor, (0.25 + missed) / 0.25, rtol=1e-12)
    found = data_benefit.benefit_ratio(data_benefit.frozen_a_benefit(problem, a), data_benefit.fft_benefit(problem))
    np.testing.assert_allclose(found, data_benefit.frozen_a_ratio(60, 12, 3) * np.mean(factor), rtol=1e-12)
    assert found > 2 * 3 / 12
    silent = data_benefit.misspecification_factor(DENSE.replace(noise_std=0.0), a)
    assert np.all(silent == np.inf)
    assert np.all(np.isnan(data_benefit.misspecification_factor(DENSE.replace(noise_std=0.0), np.eye(12))))


@pytest.mark.parametrize("n", [14, 60])
def test_a_frozen_b_is_worth_its_share_of_the_noise_at_every_n(n):
    problem = DENSE.replace(n=n, noise_covariance=np.geomspace(0.1, 10, 10))
    b = np.eye(10, 4)
    found = data_benefit.benefit_ratio(data_benefit.frozen_b_benefit(problem, b), data_benefit.fft_benefit(problem))
    share = np.sum(np.geomspace(0.1, 10, 10)[:4]) / np.sum(np.geomspace(0.1, 10, 10))
    np.testing.assert_allclose(found, share, rtol=1e-12)
    white = problem.replace(noise_covariance=None)
    found = data_benefit.benefit_ratio(data_benefit.frozen_b_benefit(white, b), data_benefit.fft_benefit(white))
    np.testing.assert_allclose(found, 4 / 10, rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_trained_lora_approaches_its_limit(rank):
    """The ratio at n and 2n, extrapolated: V_r / (sigma^2 dx dy), not r (dx + dy)/(dx dy).

    Left are an error of order (d/n)^2 and the stated numerical error. For over-ranking the limit of the equivalent is
    itself O(1/d^2) away, here within 2 %, and V_r has a standard error.
    """
    n, limit = 4000, data_benefit.benefit_ratio_limit(PROBLEM, rank, trials=4000)
    ratios, errors = [], []
    for size in (n, 2 * n):
        problem = PROBLEM.replace(n=size)
        found, full = data_benefit.lora_benefit(problem, rank), data_benefit.fft_benefit(problem)
        ratios.append(data_benefit.benefit_ratio(found, full))
        errors.append(found.error / full.value)
    extrapolated = 2 * ratios[1] - ratios[0]
    # The next order, with the correction of the equivalent itself: (c/n)(d/n), d below 10 (dx + dy).
    allowed = abs(ratios[1] - ratios[0]) * 220 / n + 2 * errors[1] + errors[0]
    assert allowed < 0.005 * limit.value
    if rank == 3:
        allowed += 0.02 * limit.value + 5 * limit.stderr
    assert abs(extrapolated - limit.value) <= allowed
    for rival in [rank * 22 / 120, *([rank * (22 - rank) / 120] if rank != 2 else [])]:
        assert abs(extrapolated - rival) > allowed
    if rank == 2:
        assert limit == (2 * (22 - 2) / 120, 0.0)


def test_limits_without_noise():
    silent = PROBLEM.replace(noise_std=0.0)
    assert data_benefit.benefit_ratio_limit(silent, 1).value == math.inf
    assert math.isnan(data_benefit.benefit_ratio_limit(silent, 2).value)
    limit = data_benefit.benefit_ratio_limit(PROBLEM, 4, trials=100, seed=1)
    energy = capacity.large_sample_limit(PROBLEM, 4, trials=100, seed=1)
    assert limit == pytest.approx((energy.limit / (2.25 * 120), energy.stderr / (2.25 * 120)))


# -- the wide difference ------------------------------------------------------------------------------------------

SMOOTH = {
    "1/u": lambda u: 40 / u,
    "1/u^2": lambda u: 5 + 40 / u + 300 / u**2,
    "singular elsewhere": lambda u: 5 + 40 / (u + 3) + 300 / (u + 1) ** 2,
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("n", [14, 40, 300, 10**4, 10**6])
def test_the_stated_error_covers_truncation_and_noise(name, n, monkeypatch):
    """Known risks of n, off by the worst that contour integrals may be: at the ends of every difference, +-delta."""
    risk, problem = SMOOTH[name], PROBLEM.replace(n=n)
    exact = risk(Fraction(n - 13)) - risk(Fraction(n - 12))
    for sign in (-1, 0, 1):

        def risks(problem, rank, steps, sign=sign):
            pair = (float(risk(n - 13 - steps)), float(risk(n - 12 + steps)))
            # Opposite signs at the inner and the outer difference, which the extrapolation subtracts.
            sign = sign if steps <= (n - 12.5) / 15 else -sign
            delta = sign * data_benefit._CONTOUR_ACCURACY * (problem.pretrained_risk + min(pair))
            return pair[0] + delta, pair[1] - delta, False

        monkeypatch.setattr(data_benefit, "_risks", risks)
        found = data_benefit.lora_benefit(problem, 1)
        assert abs(found.value - float(exact)) <= found.error * (1 + 1e-6) + 1e-13 * abs(found.value)
        if sign == 0 and n >= 300:
            # Extrapolation leaves (1/8)^2 (1/16)^2 = 6e-5 of what is not linear in 1/u, and the risks their rounding.
            curved = abs(float(exact - Fraction(40, (n - 13) * (n - 12))))
            assert abs(found.value - float(exact)) < 1e-4 * curved + 1e-14 * n
        if n <= 10**4:
            assert found.error < 0.05 * found.value


@pytest.mark.parametrize(
    "problem",
    [Problem(n=n, dx=40, dy=12, spectrum=(6.0, 4.0), noise_std=1.0) for n in (6, 18, 30, 36)]
    + [Problem(n=n, dx=40, dy=12, spectrum=(6.0, 4.0), noise_std=1.0, ridge=4.0) for n in (30, 40, 60)],
    ids=lambda problem: f"n={problem.n}, ridge={problem.ridge:g}",
)
def test_the_wide_difference_is_the_plain_one_where_that_is_accurate(problem):
    """Below, at and above the threshold: the plain difference is accurate to 2 delta, 1e-4 of it here."""
    plain = data_benefit.lora_benefit(problem, 2)
    assert "n and n + 1" in plain.formula
    assert plain.error < 1e-4 * abs(plain.value)
    distance = data_benefit._distance_from_singular(problem, 2)
    if distance >= data_benefit._SHORTEST:
        wide = data_benefit._wide_difference(problem, 2, distance)
        assert abs(wide.value - plain.value) <= wide.error + plain.error
        assert wide.error < 0.05 * abs(wide.value)


def test_the_distance_from_where_the_risk_is_singular():
    """u from n + 1/2, by hand; with ridge, to the complex n with (sqrt n - sqrt dx)^2 + eta/l_min = 0."""
    problem = Problem(n=60, dx=40, dy=12, spectrum=(6.0, 4.0), noise_std=1.0)

    def distance(**changes):
        return data_benefit._distance_from_singular(problem.replace(**changes), 2)

    assert distance() == 60.5 - 41
    assert distance(n=30) == 39 - 30.5
    assert distance(n=6) == 6.5 - 2
    singular = (math.sqrt(40) + 2j) ** 2
    assert distance(ridge=8.0, input_covariance=np.full(40, 2.0)) == pytest.approx(abs(60.5 - singular), rel=1e-13)


def test_the_wide_difference_keeps_what_the_plain_one_loses():
    """At n = 10^5 the plain difference is of the size of its error; the wide one has three digits."""
    problem = Problem(n=10**5, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    found = data_benefit.lora_benefit(problem, 3)
    assert found.error < 1e-3 * found.value
    # n^2 benefit -> 321, and d/n away from it.
    np.testing.assert_allclose(problem.n**2 * found.value, 321.0, rtol=3 * 110 / problem.n)


# -- where means do not exist -------------------------------------------------------------------------------------


def test_near_the_threshold_benefits_are_infinite_or_do_not_exist():
    a, b = rows(3, 12), rows(3, 10).T
    methods = {
        12: [
            data_benefit.fft_benefit,
            lambda p: data_benefit.lora_benefit(p, 2),
            lambda p: data_benefit.frozen_b_benefit(p, b),
        ],
        3: [lambda p: data_benefit.frozen_a_benefit(p, a)],
    }
    for size, functions in methods.items():
        for benefit in functions:
            values = [benefit(DENSE.replace(n=size + away)) for away in (-2, -1, 0, 1, 2)]
            np.testing.assert_array_equal([v.value for v in values[:4]], [-np.inf, np.nan, np.nan, np.inf])
            assert 0 < values[4].value < math.inf
            assert "the mean is infinite at n + 1" in values[0].formula
            assert "the mean is infinite at n and at n + 1" in values[1].formula
            assert "the mean is infinite at n:" in values[3].formula
            silent = benefit(DENSE.replace(n=size, ridge=1.0))
            assert math.isfinite(silent.value)


def test_more_data_hurt_below_the_threshold():
    """n = 4, dx = 12: Delta gains 52/12, the noise costs 22.5 * 11 / (7 * 6)."""
    found = data_benefit.fft_benefit(PROBLEM.replace(n=4))
    np.testing.assert_allclose(found.value, 52 / 12 - 22.5 * 11 / 42, rtol=1e-13)
    assert found.value < 0


def test_without_noise_the_threshold_is_no_obstacle():
    silent = DENSE.replace(noise_std=0.0)
    assert data_benefit.fft_benefit(silent.replace(n=12)).value == 0.0
    np.testing.assert_allclose(data_benefit.fft_benefit(silent.replace(n=11)).value, silent.pretrained_risk / 12)


def test_lora_at_its_ends_is_the_pretrained_map_and_fft():
    assert data_benefit.lora_benefit(PROBLEM, 0)[:2] == (0.0, 0.0)
    assert data_benefit.lora_benefit(PROBLEM, 10) == data_benefit.fft_benefit(PROBLEM)
    below = PROBLEM.replace(n=6)
    close = data_benefit.lora_benefit(below, 6)
    assert math.isfinite(close.value)
    assert "n and n + 1" in close.formula


def test_ratios_of_what_does_not_exist():
    def benefit(value):
        return data_benefit.Benefit(value, 0.0, "")

    assert data_benefit.benefit_ratio(benefit(1.0), benefit(4.0)) == 0.25
    assert data_benefit.benefit_ratio(benefit(1.0), benefit(math.inf)) == 0.0
    assert data_benefit.benefit_ratio(benefit(-1.0), benefit(0.0)) == -math.inf
    for pair in ((0.0, 0.0), (math.inf, math.inf), (math.nan, 1.0), (math.nan, 0.0)):
        assert math.isnan(data_benefit.benefit_ratio(*map(benefit, pair)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_benefit.lora_benefit(PROBLEM, 11), r"ranks: expected integers in 0\.\.10"),
        (lambda: data_benefit.frozen_a_ratio(13, 12, 3), r"n: expected n > dx \+ 1 = 13 .*, received 13"),
        (lambda: data_benefit.frozen_a_ratio(40, 12, 13), r"rank: expected an integer in 1\.\.dx = 12, received 13"),
        (lambda: data_benefit.frozen_a_ratio(40, 12, 0), "rank: expected an integer >= 1"),
        (lambda: data_benefit.frozen_a_benefit(PROBLEM, np.ones((1, 12))), "input_factor: expected a matrix r x 12"),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


# -- simulation ---------------------------------------------------------------------------------------------------

TRIALS, STEPS = 40_000, 4
SMALL = Problem(
    n=24, dx=6, dy=8, task_shift=np.random.default_rng(5).standard_normal((8, 6)) / 2, noise_std=1.0
)  # fmt: skip


def growing(problem, seed, a=None, b=None):
    """risk(n) - risk(n + STEPS) of each draw, in plain NumPy: the second fit sees the first's samples and more."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((TRIALS, problem.dx, problem.n + STEPS))
    residual = problem.shift @ x + problem.noise_std * rng.standard_normal((TRIALS, problem.dy, problem.n + STEPS))
    features, targets = x if a is None else a @ x, residual if b is None else b.T @ residual
    risks = []
    for n in (problem.n, problem.n + STEPS):
        z, t = features[:, :, :n], targets[:, :, :n]
        trained = np.linalg.solve(z @ z.mT, z @ t.mT).mT
        update = trained if a is None and b is None else trained @ a if b is None else b @ trained
        risks.append(np.sum((update - problem.shift) ** 2, axis=(1, 2)))
    return risks[0] - risks[1]


@pytest.mark.parametrize("method", ["FFT", "frozen A", "frozen B"])
def test_more_samples_are_worth_the_sum_of_their_marginal_benefits(method):
    """Two-sided z, family-wise level 1e-6 over three methods: z = 5.1.

    The standard error is below 1 %: a discrepancy of 8 % is found with probability 0.99. Rivals: k/d of FFT's benefit
    with the trained parameters (frozen A) or those of both factors (frozen B) for k, FFT's own, the benefit of a risk
    without its -1, and, with A frozen, without the misspecification.
    """
    problems = [SMALL.replace(n=SMALL.n + step) for step in range(STEPS)]
    full = sum(data_benefit.fft_benefit(problem).value for problem in problems)
    a = b = None
    if method == "frozen A":
        a = rows(3, 6)
        predicted = sum(data_benefit.frozen_a_benefit(problem, a).value for problem in problems)
        represented = sum(data_benefit.frozen_a_ratio(p.n, 6, 3) * data_benefit.fft_benefit(p).value for p in problems)
        rivals = [full * 3 / 6, represented, predicted * 20 / 22]
    elif method == "frozen B":
        b = rows(2, 8).T
        predicted = sum(data_benefit.frozen_b_benefit(problem, b).value for problem in problems)
        rivals = [full, full * 2 * 14 / 48, predicted * 17 / 19]
    else:
        predicted, rivals = full, [full * 17 / 19]
    draws = growing(SMALL, 3, a, b)
    mean, stderr = draws.mean(), draws.std(ddof=1) / math.sqrt(TRIALS)
    assert stderr < 0.01 * predicted
    assert_means_agree(mean, stderr, predicted, 0.0, comparisons=3)
    for rival in rivals:
        assert abs(mean - rival) > critical_z(3) * stderr, (rival, mean, stderr)


def test_one_more_sample_is_worth_to_trained_lora_what_its_equivalent_says():
    """Ranks 1..3 of a shift of rank 2, draws paired by their seed. Equivalence within 2 % plus z standard errors.

    Level 1e-6 over three ranks: z = 5.1; the standard errors are below 2.5 %. The benefit is not k/d of FFT's, with the
    parameters, r (dx + dy), or the dimension, r (dx + dy - r), for k.
    """
    problem = Problem(n=80, dx=24, dy=20, spectrum=(6.0, 4.0), noise_std=1.0)
    before, after = (draw_risks(problem.replace(n=n), trials=4096, seed=1).lora for n in (80, 81))
    full, z = data_benefit.fft_benefit(problem).value, critical_z(3)
    for rank in (1, 2, 3):
        draws = before[:, rank] - after[:, rank]
        mean, stderr = draws.mean(), draws.std(ddof=1) / 64
        found = data_benefit.lora_benefit(problem, rank)
        allowed = 0.02 * found.value + found.error + z * stderr
        assert stderr < 0.025 * found.value
        assert abs(mean - found.value) <= allowed, (mean, stderr, found)
        for k in (rank * 44, rank * (44 - rank)):
            assert abs(mean - full * k / 480) > allowed, (rank, k, mean, allowed)
