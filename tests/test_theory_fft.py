"""FFT theory: hand values, the threshold, and the deterministic equivalent against independent simulation."""

import functools
import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z
from fifty_digits import fft_equivalent

from linreg_lora import draw_risks
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory import fft
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.effective import distance_from_threshold, effective_regularisation, lower_edge
from linreg_lora.theory.resolvent.functionals import fft_functionals


def raw(problem):
    """The equivalent without its correction."""
    return fft.fft_equivalent(problem, correction=False)


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def rotated(values, seed):
    basis = rotation(len(values), seed)
    return (basis * np.asarray(values)) @ basis.T


# -- exact formulas ---------------------------------------------------------------------------------------------


def test_overdetermined_by_hand():
    """Tr(Sigma_eps) = 5 * 4 = 20, dx / (n - dx - 1) = 20/39."""
    problem = Problem(n=60, dx=20, dy=5, spectrum=(3.0, 1.0), noise_std=2.0)
    result = fft.overdetermined(problem)
    assert result.bias == 0.0
    np.testing.assert_allclose(result.risk, 400 / 39, rtol=1e-15)
    assert fft.fft_risk(problem) == result


def test_overdetermined_risk_depends_on_the_noise_trace_and_rank_of_the_inputs_alone():
    problem = Problem(n=60, dx=20, dy=5, spectrum=(3.0, 1.0), noise_std=2.0)
    expected = fft.overdetermined(problem).risk
    same = [
        problem.replace(spectrum=()),
        problem.replace(input_covariance=rotated(np.geomspace(0.1, 9, 20), 0)),
        problem.replace(noise_covariance=[0.0, 0.5, 1.0, 1.5, 2.0]),
    ]
    for other in same:
        np.testing.assert_allclose(fft.overdetermined(other).risk, expected, rtol=1e-14)
    singular = problem.replace(input_covariance=rotated([1.0] * 15 + [0.0] * 5, 0))
    np.testing.assert_allclose(fft.overdetermined(singular).risk, 20 * 15 / 44, rtol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 0.25, 4.0])
def test_underdetermined_by_hand(scale):
    """||Delta||^2 (1 - n/dx) = 10 * 3/4; Tr(Sigma_eps) n / (dx - n - 1) = 12 * 10/29: the scale moves only the bias."""
    problem = Problem(
        n=10, dx=40, dy=3, spectrum=(3.0, 1.0), noise_std=2.0, input_covariance=np.full(40, scale)
    )  # fmt: skip
    result = fft.underdetermined(problem)
    np.testing.assert_allclose([result.bias, result.variance], [scale * 7.5, 120 / 29], rtol=1e-14)
    assert result.risk == result.bias + result.variance
    assert fft.fft_risk(problem) == result


@pytest.mark.parametrize("n", [11, 12, 13])
def test_the_risk_is_infinite_within_one_sample_of_the_threshold(n):
    problem = Problem(n=n, dx=12, dy=3, spectrum=(3.0,), noise_std=1.0)
    result = fft.fft_risk(problem)
    assert result.variance == math.inf
    assert result.risk == math.inf
    assert "the mean is infinite" in result.formula
    exact = fft.overdetermined if n >= 12 else fft.underdetermined
    assert exact(problem).risk == math.inf


@pytest.mark.parametrize("n", [10, 14])
def test_the_mean_is_finite_two_samples_from_the_threshold(n):
    problem = Problem(n=n, dx=12, dy=3, spectrum=(3.0,), noise_std=1.0)
    bias, variance = (9 * 2 / 12, 3 * 10 / 1) if n == 10 else (0.0, 3 * 12 / 1)
    np.testing.assert_allclose(fft.fft_risk(problem).risk, bias + variance, rtol=1e-14)


@pytest.mark.parametrize(("n", "bias"), [(3, 9 * 9 / 12), (11, 9 / 12), (12, 0.0), (13, 0.0), (40, 0.0)])
def test_without_noise_only_the_unseen_part_of_the_shift_remains(n, bias):
    result = fft.fft_risk(Problem(n=n, dx=12, dy=3, spectrum=(3.0,), noise_std=0.0))
    assert result.variance == 0.0
    np.testing.assert_allclose(result.risk, bias, rtol=1e-14)


def test_formulas_refuse_problems_outside_their_domain():
    over = Problem(n=30, dx=12, dy=3, spectrum=(3.0,), noise_std=1.0)
    under = over.replace(n=5)
    anisotropic = {"input_covariance": np.arange(1.0, 13)}
    singular = over.replace(n=8, input_covariance=[1.0] * 8 + [0.0] * 4)
    refused = [
        (fft.overdetermined, under, "n >= dx and ridge = 0, received n = 5, dx = 12, ridge = 0"),
        (fft.overdetermined, over.replace(ridge=1.0), "n >= dx and ridge = 0, received n = 30, dx = 12, ridge = 1"),
        (fft.underdetermined, over, "n < dx, Sigma = c I and ridge = 0, received n = 30"),
        (fft.underdetermined, over.replace(n=12), "n < dx, Sigma = c I and ridge = 0, received n = 12"),
        (fft.underdetermined, under.replace(ridge=1.0), "ridge = 0, received n = 5, dx = 12, ridge = 1"),
        (fft.underdetermined, under.replace(**anisotropic), "isotropic: False"),
        (fft.fft_equivalent, over, "n < rank(Sigma) or ridge > 0, received n = 30, rank(Sigma) = 12, ridge = 0"),
        (fft.fft_equivalent, over.replace(n=12), "n < rank(Sigma) or ridge > 0, received n = 12"),
        (fft.fft_equivalent, singular, "received n = 8, rank(Sigma) = 8, ridge = 0"),
    ]
    for formula, problem, message in refused:
        with pytest.raises(InvalidInput) as caught:
            formula(problem)
        assert caught.value.field == "problem"
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_the_sharpest_formula_is_chosen():
    over = Problem(n=30, dx=12, dy=3, spectrum=(3.0,), noise_std=1.0)
    anisotropic = {"input_covariance": np.arange(1.0, 13)}
    chosen = {
        fft.OVERDETERMINED: [over, over.replace(**anisotropic), over.replace(n=12, noise_std=0.0)],
        fft.UNDERDETERMINED: [over.replace(n=5), over.replace(n=5, input_covariance=np.full(12, 3.0))],
        fft.RIDGE: [over.replace(ridge=1.0), over.replace(n=12, ridge=1.0)],
        fft.EQUIVALENT: [over.replace(n=5, **anisotropic), over.replace(ridge=1.0, **anisotropic)],
    }
    for formula, problems in chosen.items():
        assert {fft.fft_risk(problem).formula for problem in problems} == {formula}


# -- the deterministic equivalent: algebra ----------------------------------------------------------------------


def test_equivalent_by_hand_with_ridge():
    """kappa = 1 solves n - eta/kappa = 3/4 + 1/2 for n = 2, eta = 3/4; df2 = 13/16, n - df2 = 19/16."""
    problem = Problem(
        n=2, dx=2, dy=2, spectrum=(3.0, 2.0), noise_std=0.5, ridge=0.75,
        input_covariance=[3.0, 1.0], noise_covariance=[3.0, 1.0],
    )  # fmt: skip
    result = raw(problem)
    np.testing.assert_allclose(result.bias, (6 * 9 + 8 * 4) / 19, rtol=1e-12)
    np.testing.assert_allclose(result.variance, 13 / 19, rtol=1e-12)


def test_equivalent_by_hand_without_ridge():
    """kappa = 1: shares 3/4, 3/4, 1/2 add up to n = 2; df2 = 11/8, n - df2 = 5/8."""
    problem = Problem(n=2, dx=3, dy=3, spectrum=(2.0, 1.0, 0.5), noise_std=1.0, input_covariance=[3.0, 3.0, 1.0])
    result = raw(problem)
    np.testing.assert_allclose(result.bias, (3 * 4 + 3 * 1 + 4 * 0.25) / 5, rtol=1e-12)
    np.testing.assert_allclose(result.variance, 3 * 11 / 5, rtol=1e-12)


@pytest.mark.parametrize("size", [10, 1000, 10**5])
def test_equivalent_of_isotropic_inputs_is_the_large_dimension_limit_of_the_exact_risk(size):
    """The bias is exact; the variance is n/(dx - n), a relative error 1/(dx - n) against n/(dx - n - 1)."""
    problem = Problem(
        n=size, dx=3 * size, dy=4, spectrum=(3.0, 1.0), noise_std=1.5, input_covariance=np.full(3 * size, 0.5)
    )
    exact, limit = fft.underdetermined(problem), raw(problem)
    # kappa is found to 1e-14 and df2 is a sum of 3 size terms: rounding below size eps.
    np.testing.assert_allclose(limit.bias, exact.bias, rtol=1e-10)
    np.testing.assert_allclose(limit.variance, exact.variance * (1 - 1 / (2 * size)), rtol=1e-10)


@pytest.mark.parametrize("n", [300, 2000])
def test_equivalent_with_vanishing_ridge_above_the_threshold_is_the_overdetermined_limit(n):
    """Tr(Sigma_eps) dx / (n - dx) for any Sigma: n - dx instead of n - dx - 1. First order in eta = 1e-9."""
    covariance = rotated(np.geomspace(0.2, 5, 100), 0)
    problem = Problem(
        n=n, dx=100, dy=4, spectrum=(3.0, 1.0), noise_std=1.5, ridge=1e-9, input_covariance=covariance
    )  # fmt: skip
    np.testing.assert_allclose(raw(problem).risk, 9.0 * 100 / (n - 100), rtol=1e-9)


def test_equivalent_is_invariant_under_rotation_and_units():
    rng = np.random.default_rng(0)
    delta, values, basis = rng.standard_normal((3, 8)), np.geomspace(0.2, 5, 8), rotation(8, 1)
    problem = Problem(n=5, dx=8, dy=3, task_shift=delta, noise_std=0.7, ridge=0.3, input_covariance=values)
    turned = problem.replace(task_shift=delta @ basis.T, input_covariance=(basis * values) @ basis.T)
    np.testing.assert_allclose(raw(turned)[:2], raw(problem)[:2], rtol=1e-12)
    # x in other units: Sigma -> c^2 Sigma, Delta -> Delta / c, eta -> c^2 eta.
    rescaled = problem.replace(task_shift=delta / 10, input_covariance=100 * values, ridge=30.0)
    np.testing.assert_allclose(raw(rescaled)[:2], raw(problem)[:2], rtol=1e-12)


@pytest.mark.parametrize("covariance", [None, np.geomspace(0.2, 5, 12)], ids=["isotropic", "anisotropic"])
def test_equivalent_is_continuous_in_the_ridge_below_the_threshold(covariance):
    """The risk is smooth in eta at 0: the difference is proportional to eta, and gone at eta = 1e-13."""
    problem = Problem(n=5, dx=12, dy=3, spectrum=(3.0, 1.0), noise_std=0.7, input_covariance=covariance)
    limit = raw(problem).risk
    gaps = [raw(problem.replace(ridge=eta)).risk - limit for eta in (1e-2, 1e-4, 1e-6, 1e-13)]
    np.testing.assert_allclose(gaps[1] / gaps[0], 1e-2, rtol=3e-2)
    np.testing.assert_allclose(gaps[2] / gaps[1], 1e-2, rtol=3e-4)
    assert abs(gaps[3]) < 1e-11 * limit


@pytest.mark.parametrize("ridge", [1e-2, 1e-8, 1e-16, 1e-24, 1e-60])
def test_equivalent_at_the_threshold_keeps_its_digits_as_the_ridge_vanishes(ridge):
    """Sigma = I, n = dx = d: d kappa^2 = eta (1 + kappa), bias = ||Delta||^2 kappa/(2 + kappa), variance =
    Tr(Sigma_eps) / (kappa (2 + kappa)). Well conditioned in eta, so nothing but rounding may be lost."""
    d = 12
    problem = Problem(n=d, dx=d, dy=3, spectrum=(3.0, 1.0), noise_std=1.0, ridge=ridge)
    kappa = (ridge + math.sqrt(ridge**2 + 4 * d * ridge)) / (2 * d)
    result = raw(problem)
    np.testing.assert_allclose(result.bias, 10 * kappa / (2 + kappa), rtol=1e-12)
    np.testing.assert_allclose(result.variance, 3 / (kappa * (2 + kappa)), rtol=1e-12)


@pytest.mark.parametrize("ridge", [1e-300, 1e-30, 1e30, 1e29])
@pytest.mark.parametrize("n", [5, 12, 30])
def test_extreme_ridges_give_finite_risks_within_their_limits(n, ridge):
    """A huge penalty is no adaptation. A tiny one is the ridgeless risk, which diverges only at n = dx."""
    problem = Problem(n=n, dx=12, dy=3, spectrum=(3.0, 1.0), noise_std=1.0, ridge=ridge)
    result = raw(problem)
    assert math.isfinite(result.risk)
    if ridge > 1:
        np.testing.assert_allclose([result.bias, result.variance], [problem.pretrained_risk, 0.0], atol=1e-12)
    elif n != 12:
        expected = 10 * 7 / 12 + 3 * 5 / 7 if n == 5 else 3 * 12 / 18
        np.testing.assert_allclose(result.risk, expected, rtol=1e-12)


# -- its first-order correction ---------------------------------------------------------------------------------

WIDE = np.geomspace(1, 1e-14, 12)
BLOCKS = np.repeat([1.0, 1e-8], 8)


@pytest.mark.parametrize(
    ("variances", "n", "ridge"),
    [
        (WIDE, 4, 0.0), (WIDE, 6, 1e-9), (1e9 * WIDE, 4, 0.0), (BLOCKS, 6, 0.0), (BLOCKS, 12, 0.0), (BLOCKS, 8, 1e-3),
        (np.ones(8), 8, 1e-3), (np.geomspace(3, 0.3, 9), 20, 2.0), (np.geomspace(3, 0.3, 9), 3, 5.0),
    ],
)  # fmt: skip
def test_equivalent_and_correction_agree_with_fifty_digits(variances, n, ridge):
    """Up to condition 1e14. All sums are of positive terms but for the corrections': a few thousand eps of the sum of
    the absolute terms, which is at most some 20 dx times the uncorrected part, times one over the free share.
    """
    problem = Problem(
        n=n, dx=len(variances), dy=5, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=ridge, input_covariance=variances
    )
    found, expected = fft.first_order(problem), [float(value) for value in fft_equivalent(problem)]
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-13)
    cancelling = 100 * np.finfo(float).eps * np.array(expected[:2]) * n / distance_from_threshold(problem)
    np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-10, atol=np.max(cancelling))


@pytest.mark.parametrize("variances", [None, np.geomspace(3, 0.3, 20), BLOCKS], ids=["isotropic", "mild", "blocks"])
@pytest.mark.parametrize(("n", "ridge"), [(30, 2.0), (20, 3.0), (12, 1.0), (5, 0.0), (30, 0.0)])
def test_the_correction_is_that_of_loras_equation_around_the_whole_spectrum(variances, n, ridge):
    """Another derivation: the pencil's response to its transpose term, integrated around all of the spectrum.

    Contours are good to 1e-9; for n < dx without ridge it is extrapolated from four ridges, to the power four of 0.08.
    """
    dx = 20 if variances is None else len(variances)
    problem = Problem(
        n=n, dx=dx, dy=18, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=ridge, input_covariance=variances
    )
    kept, energy, overlap, _ = (fft_functionals(problem, correction=True).correction / fft.pole_factor(problem))[0]
    found = fft.first_order(problem)
    accuracy = 1e-9 if ridge or n > dx else 0.08**4
    scale = found.bias + found.variance
    assert energy - 2 * overlap == pytest.approx(
        found.bias_correction + found.variance_correction, abs=accuracy * scale
    )
    assert abs(kept) < accuracy * 18


def test_the_correction_by_hand():
    """Sigma = I, n > dx without ridge: dx/g + dx/g^2; two inputs, one sample: kappa^2 = l_1 l_2, df2 = 1/(1 + ...)."""
    found = fft.first_order(Problem(n=30, dx=20, dy=3, spectrum=(3.0,), noise_std=2.0))
    np.testing.assert_allclose(found, [0.0, 12 * 2.0, 0.0, 12 * 0.2], atol=1e-13)


def test_one_number_with_one_label():
    problem = Problem(
        n=20, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_covariance=np.logspace(0, -2, 24)
    )
    for n in (4, 8, 12, 20):
        full, curve = fft.fft_risk(problem.replace(n=n)), expected_risk(problem.replace(n=n))
        assert (full.risk, full.formula, full.flagged) == (curve.fft_risk, curve.fft_formula, curve.fft_flagged)
        assert full.risk == curve.risk[-1]


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_the_distance_from_a_threshold_by_hand(ridge):
    """|n - dx + e + 2i sqrt(dx e)| for Sigma = c I; and n against the number of large inputs with one weak one."""
    for n in (5, 11, 12, 30):
        problem = Problem(
            n=n, dx=12, dy=3, spectrum=(1.0,), noise_std=1.0, ridge=ridge, input_covariance=np.full(12, 2.0)
        )
        expected = abs(n - 12 + ridge / 2 + 2j * math.sqrt(12 * ridge / 2))
        np.testing.assert_allclose(distance_from_threshold(problem), expected, atol=1e-12)
    weak = Problem(
        n=8, dx=9, dy=3, spectrum=(1.0,), noise_std=1.0, ridge=1e-3, input_covariance=np.append(np.ones(8), 1e-6)
    )
    assert distance_from_threshold(weak) < 0.2


def test_near_a_threshold_fft_is_flagged_and_next_to_it_refused():
    """Where it is not known exactly, as for Sigma = c I."""
    almost = 1.0 + 1e-9 * np.arange(20)
    problem = Problem(n=20, dx=20, dy=1, spectrum=(1.0,), noise_std=1.0, ridge=1e-4, input_covariance=almost)
    with pytest.raises(NumericalFailure, match=r"received 0.0894 \(n = 20, 19.96 inputs resolved\)"):
        fft.fft_risk(problem)
    near = fft.fft_risk(problem.replace(n=25))
    assert near.flagged
    assert "a threshold is near (u = 5" in near.note
    assert not fft.fft_risk(problem.replace(n=40)).flagged
    assert not fft.fft_risk(problem.replace(n=22, ridge=0.0)).flagged, "exact"


def test_the_lower_edge_by_hand():
    np.testing.assert_allclose(lower_edge(np.full(20, 3.0), 12), 3 * (math.sqrt(20) - math.sqrt(12)) ** 2, rtol=1e-10)


# -- the effective regularisation -------------------------------------------------------------------------------


def exact_excess(values, n, ridge, kappa):
    """n - eta/kappa - sum l/(l + kappa) in rational arithmetic: no rounding."""
    kappa = Fraction(kappa)
    return n - Fraction(ridge) / kappa - sum(Fraction(v) / (Fraction(v) + kappa) for v in values)


@hypothesis.settings(deadline=None, derandomize=True, max_examples=150)
@hypothesis.given(
    values=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8),
    zeros=st.integers(0, 2),
    n=st.integers(1, 12),
    ridge=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
)
def test_effective_regularisation_solves_its_equation(values, zeros, n, ridge):
    """The root lies within `spread` of kappa: 1e-13 from the search, and rounding of the sum over its slope."""
    hypothesis.assume(ridge > 0 or n < len(values))
    kappa = effective_regularisation(np.array(values + [0.0] * zeros), n, ridge)
    assert kappa > 0
    slope = ridge / kappa + sum(v * kappa / (v + kappa) ** 2 for v in values)
    rounding = (len(values) + 10) * np.finfo(float).eps * (n + len(values) + ridge / kappa)
    spread = 1e-13 + rounding / slope
    hypothesis.assume(spread < 0.5)
    assert (
        exact_excess(values, n, ridge, kappa * (1 - spread))
        <= 0
        <= exact_excess(values, n, ridge, kappa * (1 + spread))
    )


def test_effective_regularisation_by_hand():
    """Sigma = I: kappa = dx/n - 1 without ridge; two eigenvalues and n = 1: kappa^2 = l_1 l_2."""
    np.testing.assert_allclose(effective_regularisation(np.ones(12), 5, 0.0), 7 / 5, rtol=1e-13)
    np.testing.assert_allclose(effective_regularisation(np.array([8.0, 0.5, 0.0]), 1, 0.0), 2.0, rtol=1e-13)
    np.testing.assert_allclose(effective_regularisation(np.zeros(3), 4, 6.0), 1.5, rtol=1e-13)


@pytest.mark.parametrize(
    ("values", "n"),
    [(np.ones(5), 5), (np.ones(5), 6), (np.array([3.0, 1.0, 0.0]), 2), (np.geomspace(1e-8, 1, 7), 7), (np.zeros(3), 1)],
    ids=["n = rank", "n > rank", "zeros do not count", "ill conditioned", "no inputs"],
)
def test_without_ridge_no_regularisation_exists_from_the_threshold_on(values, n):
    with pytest.raises(InvalidInput, match=r"n: expected n < rank\(Sigma\) = \d or ridge > 0, received \d"):
        effective_regularisation(values, n, 0.0)


# -- the deterministic equivalent: simulation -------------------------------------------------------------------

TRIALS = 16384
ROWS = np.random.default_rng(7).standard_normal((2, 18)) / 3
SIMULATED = {
    "anisotropic, n < dx": Problem(
        n=6, dx=18, dy=2, task_shift=ROWS, noise_std=2.0, input_covariance=np.geomspace(0.2, 5, 18)
    ),
    "misaligned, n < dx": Problem(
        n=6, dx=18, dy=2, task_shift=ROWS, noise_std=1.5,
        input_covariance=rotated(np.geomspace(0.2, 5, 18), 1), noise_covariance=np.array([[1.0, 0.5], [0.5, 1.0]]),
    ),
    "ridge, n = dx": Problem(
        n=8, dx=8, dy=2, task_shift=ROWS[:, :8], noise_std=0.5, ridge=0.5,
        input_covariance=rotated(np.geomspace(0.2, 5, 8), 2),
    ),
}  # fmt: skip


def doubled(problem):
    """Twice the dimensions, every direction of Sigma twice, the same energy of Delta along each, twice the ridge.

    The equivalent is unchanged; only its O(1/n) error differs.
    """
    covariance = problem.input_covariance
    twice = np.tile(covariance, 2) if covariance.ndim == 1 else np.kron(np.eye(2), covariance)
    shift = np.hstack([problem.shift, problem.shift]) / np.sqrt(2)
    return problem.replace(
        n=2 * problem.n, dx=2 * problem.dx, ridge=2 * problem.ridge, input_covariance=twice, task_shift=shift
    )


@functools.cache
def package_draws(problem):
    return draw_risks(problem, trials=TRIALS, seed=11).fft_given_design


def ingredients(problem):
    """kappa, df2 and the bias before its correction, by dense matrices."""
    kappa = effective_regularisation(np.linalg.eigvalsh(problem.sigma), problem.n, problem.ridge)
    inverse = np.linalg.inv(problem.sigma + kappa * np.eye(problem.dx))
    share = problem.sigma @ inverse
    bias = kappa**2 * np.trace(problem.shift @ inverse @ problem.sigma @ inverse @ problem.shift.T)
    return kappa, np.trace(share @ share), bias


def rivals(problem):
    """Plausible wrong formulas, as risks."""
    kappa, df2, bias = ingredients(problem)
    n, noise = problem.n, problem.noise_trace
    df1 = n - problem.ridge / kappa
    right = raw(problem)
    return {
        "bias without its correction": bias + right.variance,
        "variance of a fixed design, df2/n": right.bias + noise * df2 / n,
        "df1 instead of df2 in the variance": right.bias + noise * df1 / (n - df2),
        "isotropic inputs": raw(
            problem.replace(input_covariance=np.full(problem.dx, np.trace(problem.sigma) / problem.dx))
        ).risk,
    }


@pytest.mark.parametrize("name", SIMULATED)
def test_equivalent_agrees_with_simulation_and_its_error_halves_when_dimensions_double(name):
    """The relative error of the equivalent is below one effective degree of freedom, band(n) = 1/(n - df2).

    (Isotropic ridgeless inputs: exactly df2/n of it in the variance, none in the bias.) Four comparisons at level 1e-6:
    the mean lies within band(n) plus z standard errors at both sizes; the error shrinks by more than z standard errors;
    and twice the larger mean minus the smaller, which cancels the 1/n term, agrees to band(n) band(2n) plus z standard
    errors. Every rival is rejected by that last comparison. The error is 6 to 10 % at n with standard errors of 0.2 to
    0.3 %, so a true halving is seen as a decrease with probability above 0.999.
    """
    small = SIMULATED[name]
    large = doubled(small)
    predicted = raw(small).risk
    np.testing.assert_allclose(raw(large).risk, predicted, rtol=1e-12)
    z = critical_z(4)
    errors, stderrs, bands = [], [], []
    for problem in (small, large):
        draws = package_draws(problem)
        errors.append(draws.mean() / predicted - 1)
        stderrs.append(draws.std(ddof=1) / np.sqrt(TRIALS) / predicted)
        bands.append(1 / (problem.n - ingredients(problem)[1]))
    numbers = f"errors {errors}, standard errors {stderrs}, bands {bands}"
    assert all(abs(e) <= band + z * s for e, band, s in zip(errors, bands, stderrs, strict=True)), numbers
    assert abs(errors[0]) - abs(errors[1]) > z * np.hypot(*stderrs), numbers
    limit = (1 + 2 * errors[1] - errors[0]) * predicted
    tolerance = (bands[0] * bands[1] + z * np.hypot(2 * stderrs[1], stderrs[0])) * predicted
    assert abs(limit - predicted) <= tolerance, f"{limit} against {predicted} +- {tolerance}; {numbers}"
    for rival, risk in rivals(small).items():
        assert abs(limit - risk) > tolerance, f"{rival}: {risk} passes, limit {limit} +- {tolerance}"
    corrected = fft.fft_risk(large).risk
    left = bands[1] ** 2 * corrected + z * stderrs[1] * predicted
    assert abs(package_draws(large).mean() - corrected) <= left, "the correction leaves the square"


def simulate(problem, trials, seed):
    """Raw FFT risks in plain NumPy: draw X and E, solve the normal equations, measure."""
    rng = np.random.default_rng(seed)
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))
    residual = problem.shift @ x + noise
    if problem.ridge or problem.n >= problem.dx:
        solution = np.linalg.solve(x @ x.mT + problem.ridge * np.eye(problem.dx), x @ residual.mT)
    else:
        solution = x @ np.linalg.solve(x.mT @ x, residual.mT)
    return np.sum(((solution.mT - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(1, 2))


@pytest.mark.parametrize("name", SIMULATED)
def test_the_package_and_plain_numpy_simulate_the_same_mean(name):
    """Raw risks by NumPy against E[risk | X] by the package: two-sample z at level 1e-6."""
    problem = doubled(SIMULATED[name])
    raw = simulate(problem, TRIALS, seed=5)
    integrated = package_draws(problem)
    stderrs = [sample.std(ddof=1) / np.sqrt(TRIALS) for sample in (raw, integrated)]
    assert_means_agree(raw.mean(), stderrs[0], integrated.mean(), stderrs[1])


@pytest.mark.parametrize(
    "problem",
    [
        Problem(n=30, dx=8, dy=3, spectrum=(2.0, 1.0), noise_std=1.0, input_covariance=np.geomspace(0.2, 5, 8)),
        Problem(n=8, dx=30, dy=3, spectrum=(2.0, 1.0), noise_std=1.0, input_covariance=np.full(30, 0.25)),
    ],
    ids=["overdetermined", "underdetermined"],
)
def test_exact_formulas_agree_with_plain_numpy(problem):
    """z at level 1e-6. Rival: without the -1 of the inverse-Wishart mean the variance is off by 1/21."""
    raw = simulate(problem, 40_000, seed=6)
    stderr = raw.std(ddof=1) / 200
    result = fft.fft_risk(problem)
    assert_means_agree(raw.mean(), stderr, result.risk, 0.0)
    rival = result.bias + result.variance * 21 / 22
    assert abs(raw.mean() - rival) > critical_z(1) * stderr
