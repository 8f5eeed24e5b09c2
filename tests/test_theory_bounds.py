"""Bounds on LoRA's risk: adversarial matrices, each draw, simulation, terms by hand, and the order of the bounds."""

import functools
import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from comparisons import critical_z
from hypothesis import assume, given, settings
from jaxtyping import TypeCheckError

from linreg_lora import Problem, monte_carlo
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import bounds, hessian, truncation, wishart
from linreg_lora.theory.bounds import Constants, lora_bound, theorem_2, theorem_4
from linreg_lora.theory.extreme_eigenvalues import Expectation, ExtremeEigenvalues, Source, guaranteed, limit, simulated
from linreg_lora.theory.golden_ratio import golden_ratio_error
from linreg_lora.theory.truncation import Version

ROTATION = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
OVER = Problem(
    n=40,
    dx=10,
    dy=8,
    spectrum=(3.0, 2.0, 1.0, 0.5),
    noise_std=1.0,
    input_covariance=np.geomspace(4, 0.5, 10),
    noise_covariance=np.geomspace(1, 4, 8),
)
UNDER = Problem(n=8, dx=30, dy=10, spectrum=(6.0, 4.0, 2.0), noise_std=1.0, input_covariance=np.full(30, 0.25))
ANISOTROPIC = Problem(
    n=8,
    dx=20,
    dy=6,
    spectrum=(6.0, 4.0, 2.0),
    noise_std=0.3,
    input_covariance=(ROTATION * np.geomspace(3, 0.5, 20)) @ ROTATION.T,
)
PROBLEMS = pytest.mark.parametrize("problem", [OVER, UNDER, ANISOTROPIC], ids=["n > dx", "n < dx", "anisotropic"])

curve = functools.lru_cache(lambda problem: monte_carlo(problem, trials=256, seed=1))
extremes = functools.lru_cache(lambda problem: simulated(problem, draws=400, seed=2))


def theorem(problem):
    return theorem_2 if problem.n >= problem.dx else theorem_4


def truncated(matrix, rank):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def squared_tail(matrix, rank):
    return np.sum(np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2)


# -- single matrices ---------------------------------------------------------------------------------------------------

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))
#: Eighths, so that ties and exact cancellations occur.
ENTRIES = st.integers(-32, 32).map(lambda i: i / 8)


@st.composite
def pairs(draw, low_rank=False):
    """T, N and r: any matrices; or N diagonal in T's singular basis, where it may swap the directions around r."""
    shape = draw(SHAPES)
    rank = draw(st.integers(1, min(shape)))
    if low_rank:
        inner = draw(st.integers(0, rank))
        target = draw(hnp.arrays(float, (shape[0], inner), elements=ENTRIES)) @ draw(
            hnp.arrays(float, (inner, shape[1]), elements=ENTRIES)
        )
    else:
        target = draw(hnp.arrays(float, shape, elements=ENTRIES))
    kind = draw(st.sampled_from(["any", "diagonal", "swap"]))
    if kind == "any":
        noise = draw(hnp.arrays(float, shape, elements=ENTRIES)) * draw(st.sampled_from([1e-3, 0.3, 1.0, 10.0]))
        return target, noise, rank
    u, s, vt = np.linalg.svd(target, full_matrices=False)
    strength = draw(hnp.arrays(float, len(s), elements=ENTRIES))
    if kind == "swap":
        swaps = draw(st.integers(0, min(rank, len(s) - rank)))
        size = 0.501 * (s[rank - swaps] - s[rank + swaps - 1]) if swaps else 0.0
        strength = np.zeros(len(s))
        strength[rank - swaps : rank], strength[rank : rank + swaps] = -size, size
    return target, (u * strength) @ vt, rank


def slack(target, noise):
    return 1e-12 * (np.linalg.norm(target) + np.linalg.norm(noise))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(pairs())
def test_truncation_errors_stay_below_their_bounds(case):
    target, noise, rank = case
    error = truncated(target + noise, rank) - target
    allowed = slack(target, noise)
    spectral = np.linalg.norm(error, 2)
    assert spectral <= truncation.truncation_norm(target, noise, rank) + allowed
    assert spectral**2 <= truncation.squared_truncation_norm(target, noise, rank) + allowed * (spectral + 1)
    assert np.linalg.norm(error) <= truncation.truncation_error(target, noise, rank) + allowed


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(pairs(low_rank=True))
def test_low_rank_truncation_errors_stay_below_their_bound(case):
    target, noise, rank = case
    planted = np.linalg.matrix_rank(target)
    assume(planted <= rank)
    error = np.linalg.norm(truncated(target + noise, rank) - target)
    bound = truncation.low_rank_truncation_error(target, noise, rank)
    assert error <= bound + slack(target, noise)
    assert bound == pytest.approx(np.sqrt(rank + 4 * planted) * np.linalg.norm(noise, 2))
    assert bound <= np.sqrt(5 * rank) * np.linalg.norm(noise, 2) * (1 + 1e-12)
    assert error <= golden_ratio_error(target, noise, rank) + slack(target, noise)


def test_the_printed_square_is_violated():
    """T = diag(4 - 1e-3, 2), N = diag(-1, 1): noise swaps the two directions, and truncation keeps the wrong one."""
    target, noise = np.diag([4 - 1e-3, 2.0]), np.diag([-1.0, 1.0])
    error = np.linalg.norm(truncated(target + noise, 1) - target, 2) ** 2
    assert error == pytest.approx(15.992, abs=1e-3)
    assert truncation.squared_truncation_norm(target, noise, 1, Version.PRINTED) == pytest.approx(12)
    assert truncation.squared_truncation_norm(target, noise, 1) == pytest.approx(16)
    assert truncation.truncation_norm(target, noise, 1) == pytest.approx(4)


@pytest.mark.parametrize("copies", [1, 3])
def test_swapped_directions_come_close_to_the_bounds(copies):
    """`copies` blocks at rank `copies`: Lemma 2 and 5 r are attained, the other to within 16 %."""
    noise = np.kron(np.eye(copies), np.diag([-1.0, 1.0]))
    target = np.kron(np.eye(copies), np.diag([4 - 1e-6, 2.0]))
    error = truncated(target + noise, copies) - target
    assert np.linalg.norm(error, 2) == pytest.approx(truncation.truncation_norm(target, noise, copies), rel=1e-5)
    assert 0.84 <= np.linalg.norm(error) / truncation.truncation_error(target, noise, copies) <= 1
    target = np.kron(np.eye(copies), np.diag([2 - 1e-6, 0.0]))
    error = truncated(target + noise, copies) - target
    assert np.sum(error**2) == pytest.approx(5 * copies, rel=1e-5)
    assert truncation.low_rank_truncation_error(target, noise, copies) ** 2 == pytest.approx(5 * copies)


def test_matrix_bounds_by_hand():
    target, noise = np.diag([5.0, 4.0, 2.0, 1.0]), np.diag([0.5, 0.0, 0.0, 0.0])
    assert truncation.truncation_norm(target, noise, 2) == pytest.approx(2 + 1)
    assert truncation.squared_truncation_norm(target, noise, 2) == pytest.approx(2 * 4 + 8 * 0.25)
    assert truncation.truncation_error(target, noise, 2) == pytest.approx(math.sqrt(5) + 2)
    assert truncation.truncation_norm(target, noise, 4) == pytest.approx(1)
    assert truncation.low_rank_truncation_error(np.diag([5.0, 0.0, 0.0, 0.0]), noise, 3) == pytest.approx(
        math.sqrt(1.75)
    )


# -- the theorems' terms -----------------------------------------------------------------------------------------------


def fabricated(problem):
    """Extremes with values that tell one term from another."""
    return ExtremeEigenvalues(
        problem, Source.INEQUALITY, *(Expectation(value, 0.0, "made up") for value in (1.5, 7.0, 1.25, 11.0, 13.0))
    )


#: max(dx, dy) = 10, max(n, dy) = 10 below, lmax(Sigma) = 4, lmax(Sigma_eps) = 0.25 * 8, s = 3, 2, 1; rank 1.
HAND = Problem(
    n=20,
    dx=5,
    dy=10,
    spectrum=(3.0, 2.0, 1.0),
    noise_std=0.5,
    input_covariance=np.array([1.0, 1.0, 4.0, 2.0, 1.0]),
    noise_covariance=np.linspace(1, 8, 10),
)
HAND_UNDER = HAND.replace(n=4)
SHARE = (1 * 10 / 20) * 2.0 * 1.5


@pytest.mark.parametrize(
    ("problem", "version", "terms"),
    [
        (HAND, Version.PRINTED, (0, 160 * SHARE, 16 * 4 * 7, 8 * 4 * 4, 2 * 4 * 5)),
        (HAND, Version.CORRECTED, (0, 320 * SHARE, 16 * 4 * 7, 8 * 4 * 4, 2 * 4 * 5)),
        (HAND_UNDER, Version.PRINTED, (2 * 13, 320 * SHARE * 5, 32 * 4 * 7, 8 * 4 * 4, 2 * 4 * 5)),
        (HAND_UNDER, Version.CORRECTED, (2 * 13, 640 * SHARE * 5, 32 * 4 * 7, 16 * 4 * 4, 4 * 4 * 5)),
    ],
)
def test_terms_of_the_theorems_by_hand(problem, version, terms):
    found = theorem(problem)(problem, 1, fabricated(problem), version)
    assert found[:5] == pytest.approx(terms)
    assert found.bound == pytest.approx(sum(terms))
    assert found.extremes.source is Source.INEQUALITY


def test_the_width_of_the_noise_matrix_is_dx_or_n():
    """Inputs wider than outputs: max(dx, dy) = dx for n >= dx, max(n, dy) = n below; dy = 3."""
    wide = Problem(n=40, dx=20, dy=3, spectrum=(1.0,), noise_std=1.0)
    assert theorem_2(wide, 1, fabricated(wide)).variance == pytest.approx(320 * 20 / 40 * 1.5)
    narrow = wide.replace(n=10)
    assert theorem_4(narrow, 1, fabricated(narrow)).variance == pytest.approx(640 * 10 / 10 * 1.5)


def test_the_constants_follow_from_the_square():
    """variance = split * rank * split * square * norm; the square's coefficient of ||N||^2 is 4 as printed, 8 true."""
    for version, square in ((Version.PRINTED, 4), (Version.CORRECTED, 8)):
        assert bounds.THEOREM_2[version].variance == 2 * 2 * 2 * square * 5
        assert bounds.THEOREM_4[version].variance == 2 * 2 * 2 * 2 * square * 5
        assert bounds.THEOREM_2[version].design == 2 * 2 * 2 * 2
        assert bounds.THEOREM_4[version].design == 2 * 2 * 2 * 2 * 2
    assert bounds.THEOREM_2[Version.CORRECTED] == Constants(unseen=0, variance=320, design=16, direction=8, tail=2)
    printed, corrected = bounds.THEOREM_4[Version.PRINTED], bounds.THEOREM_4[Version.CORRECTED]
    assert (corrected.direction, corrected.tail) == (2 * printed.direction, 2 * printed.tail)


def test_the_explicit_variance_bound_of_the_figures_setting():
    """n = 200, dx = dy = 40, r = 4, sigma = 1: 160 * 4 * 40 / 200 * (1 - sqrt(0.2))^{-2} = 419 as printed, 838 true."""
    problem = Problem(n=200, dx=40, dy=40, spectrum=(4.0, 3.0, 2.0, 1.0), noise_std=1.0)
    assert theorem_2(problem, 4, limit(problem), Version.PRINTED).variance == pytest.approx(418.9, abs=0.05)
    assert theorem_2(problem, 4, limit(problem)).variance == pytest.approx(837.8, abs=0.05)
    assert theorem_2(problem, 4, limit(problem), Version.PRINTED).bound == pytest.approx(418.9, abs=0.05)
    assert lora_bound(problem, 4, limit(problem)).bound < 64


def test_without_being_told_no_bound_takes_the_limit():
    assert theorem_2(OVER, 2).extremes == guaranteed(OVER)
    assert theorem_4(UNDER, 2).extremes == guaranteed(UNDER)
    assert lora_bound(OVER, 2).extremes.source is Source.INEQUALITY


# -- the sharper bound -------------------------------------------------------------------------------------------------


def test_terms_of_the_sharper_bound_by_hand():
    """s(Delta C) = 3, 2, 2 with Sigma = diag(1, 1, 4, 2, 1); noise 11, inverse 1.5, tail 1.25, unseen 13."""
    found = lora_bound(HAND, 2, fabricated(HAND)._replace(unseen=Expectation(0.0, 0.0, "")))
    assert found[:3] == pytest.approx((0, 1.25 * 4, 8 * 2 * 1.5 / 20 * 11))
    assert found.bound == pytest.approx((math.sqrt(5) + math.sqrt(13.2)) ** 2)
    planted = lora_bound(HAND, 4, fabricated(HAND))
    assert planted[:3] == pytest.approx((13, 0, (4 + 4 * 3) * 1.5 / 20 * 11))
    assert planted.bound == pytest.approx(13 + 13.2)
    assert not lora_bound(HAND_UNDER, 2, fabricated(HAND_UNDER)).orthogonal
    below = lora_bound(HAND_UNDER, 2, fabricated(HAND_UNDER))
    assert below.bound == pytest.approx((math.sqrt(13) + math.sqrt(5) + math.sqrt(8 * 2 * 1.5 / 4 * 11)) ** 2)
    isotropic = HAND_UNDER.replace(input_covariance=np.full(5, 4.0))
    above = lora_bound(isotropic, 2, fabricated(isotropic))
    assert above[:3] == pytest.approx((13, 1.25 * 4, 8 * 2 * 1.5 / 4 * 11))
    assert above.bound == pytest.approx(13 + (math.sqrt(5) + math.sqrt(66)) ** 2)


@PROBLEMS
def test_every_draw_stays_below_the_bound_that_is_averaged(problem):
    """100 explicit draws, every rank: risk(D_r) against lmax(Sigma S^+), tail_r(T) and ||N||_2 of the same draw."""
    rng = np.random.default_rng(3)
    root = problem.sigma_sqrt
    planted = len(np.trim_zeros(problem.spectrum))
    for _ in range(100):
        x = root @ rng.standard_normal((problem.dx, problem.n))
        noise = problem.sigma_eps_sqrt @ rng.standard_normal((problem.dy, problem.n))
        inverse = np.linalg.pinv(x)
        update = (problem.shift @ x + noise) @ inverse
        basis = np.linalg.svd(update @ x)[0]
        spread = np.linalg.norm(inverse @ root, 2)
        strength = np.linalg.norm(noise @ inverse @ x, 2)
        unseen = np.linalg.norm(problem.shift @ (np.eye(problem.dx) - x @ inverse) @ root)
        for rank in range(1, problem.max_rank + 1):
            fitted = basis[:, :rank] @ basis[:, :rank].T @ update
            risk = np.sum(((fitted - problem.shift) @ root) ** 2)
            tail = np.sqrt(squared_tail(problem.shift @ x, rank))
            seen = [spread * (tail + 2 * np.sqrt(2 * rank) * strength)]
            if planted <= rank:
                seen.append(spread * np.sqrt(rank + 4 * planted) * strength)
            for part in seen:
                bound = (unseen + part) ** 2 if problem is ANISOTROPIC else unseen**2 + part**2
                assert risk <= bound * (1 + 1e-9)


@PROBLEMS
def test_bounds_enclose_the_simulated_risk(problem):
    """256 draws; one-sided at level 1e-6 per comparison. The upper bounds are up to 10^4 times the mean: what they are
    made of is tested above, and `test_noiseless_limits` where they are tight."""
    found = curve(problem)
    z = critical_z(1)
    for rank in range(1, problem.max_rank):
        high = found.risk[rank] + z * found.stderr[rank]
        low = found.risk[rank] - z * found.stderr[rank]
        for given_extremes in (guaranteed(problem), extremes(problem)):
            sharper = lora_bound(problem, rank, given_extremes).bound
            assert low <= sharper
            assert low <= theorem(problem)(problem, rank, given_extremes).bound
        assert bounds.smallest_variance_bound(problem, rank) <= bounds.least_risk(problem, rank) * (1 + 1e-12)
        assert bounds.least_risk(problem, rank) <= high


def test_noiseless_limits():
    """Where noise and design are nearly perfect the bounds are nearly attained, from both sides.

    n = 4000 dx, sigma = 1e-3: risk within 5 % of the least risk, bound within 10 % above it. n < dx, no noise, r above
    the rank of Delta: the risk is the unseen part, and so is the bound (exactly where Sigma = c I).
    """
    many = Problem(n=40_000, dx=10, dy=8, spectrum=(3.0, 2.0, 1.0), noise_std=1e-3, input_covariance=np.geomspace(4, 0.5, 10))  # fmt: skip  # noqa: E501
    risk = curve(many).risk
    for rank in (1, 2):
        assert bounds.least_risk(many, rank) <= risk[rank] <= 1.05 * bounds.least_risk(many, rank)
        assert risk[rank] <= lora_bound(many, rank).bound <= 1.1 * risk[rank]
    z = critical_z(4)
    for problem in (UNDER.replace(noise_std=0.0), ANISOTROPIC.replace(noise_std=0.0)):
        found = curve(problem)
        bound = lora_bound(problem, 3, extremes(problem))
        joint = np.hypot(found.stderr[3], bound.extremes.unseen.stderr)
        assert abs(bound.bound - found.risk[3]) <= z * joint
        assert (bound.tail, bound.variance) == (0, 0)


@PROBLEMS
@pytest.mark.parametrize("version", list(Version))
def test_from_the_rank_of_the_shift_on_the_sharper_bound_is_below_both_versions(problem, version):
    """5 r E||N||^2 <= 25 r max(m, dy) lmax(Sigma_eps) against 160 to 640: proved for extremes of any source."""
    sources = [guaranteed(problem), extremes(problem)]
    if problem is not ANISOTROPIC:
        sources.append(limit(problem))
    planted = len(np.trim_zeros(problem.spectrum))
    for rank in range(planted, min(problem.n, problem.dx, problem.dy)):
        for source in sources:
            sharper = lora_bound(problem, rank, source)
            theirs = theorem(problem)(problem, rank, source, version)
            assert sharper.bound <= theirs.bound
            assert sharper.variance * 160 / 25 <= theirs.variance


# -- from below --------------------------------------------------------------------------------------------------------


def test_lower_bounds_by_hand():
    assert bounds.smallest_variance_bound(HAND.replace(input_covariance=np.full(5, 0.5)), 1) == pytest.approx(2.5)
    assert bounds.smallest_variance_bound(HAND, 1) == pytest.approx(5)
    assert bounds.least_risk(HAND, 1) == pytest.approx(4 + 4)
    assert bounds.least_risk(HAND, 0) == pytest.approx(HAND.pretrained_risk)
    assert bounds.least_risk(HAND, 3) == bounds.smallest_variance_bound(HAND, 3) == 0
    singular = HAND.replace(input_covariance=np.array([1.0, 1.0, 4.0, 2.0, 0.0]))
    assert bounds.smallest_variance_bound(singular, 1) == 0
    assert bounds.least_risk(singular, 1) == pytest.approx(8)


# -- where moments or terms are missing --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 10, 11])
def test_no_bound_is_finite_within_one_sample_of_the_threshold(n):
    problem = OVER.replace(n=n)
    assert lora_bound(problem, 2).bound == math.inf
    found = theorem(problem)(problem, 2)
    assert found.bound == found.variance == found.design == math.inf
    assert math.isfinite(found.tail)
    assert lora_bound(problem.replace(n=n + 3 if n > 9 else 7), 2).bound < math.inf


def test_absent_terms_stay_absent_where_the_mean_is_infinite():
    """At the threshold without noise: the variance is 0, and so is the tail where rank(Delta) <= r."""
    noiseless = OVER.replace(n=10, noise_std=0.0)
    assert lora_bound(noiseless, 4).bound == 0
    assert lora_bound(noiseless, 3).bound == math.inf
    assert theorem_2(noiseless, 4).bound == 0


def test_directions_without_variance_do_not_count():
    """Two null inputs that Delta acts on: neither the rank, nor n - rank(Sigma), nor any term sees them."""
    shift = np.zeros((8, 12))
    shift[:, :10] = OVER.shift
    shift[:, 10:] = 100.0
    covariance = np.concatenate([OVER.input_covariance, [0.0, 0.0]])
    singular = Problem(n=40, dx=12, dy=8, task_shift=shift, noise_std=1.0, input_covariance=covariance, noise_covariance=OVER.noise_covariance)  # fmt: skip  # noqa: E501
    for rank in (2, 4, 5):
        assert lora_bound(singular, rank).bound == pytest.approx(lora_bound(OVER, rank).bound)
        assert theorem_2(singular, rank)[:5] == pytest.approx(theorem_2(OVER, rank)[:5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theorem_2(UNDER, 2), r"n: expected n >= rank\(Sigma\) = 30, received 8; use theorem_4"),
        (lambda: theorem_4(OVER, 2), r"n: expected n < rank\(Sigma\) = 10, received 40; use theorem_2"),
        (lambda: theorem_2(OVER, 0), r"rank: expected an integer in 1\.\.8"),
        (lambda: theorem_2(OVER.replace(dy=20, noise_covariance=None), 10), r"rank: expected an integer in 1\.\.9"),
        (lambda: theorem_4(UNDER, 8), r"rank: expected an integer in 1\.\.7"),
        (lambda: lora_bound(OVER, 0), r"rank: expected an integer in 1\.\.8.*pretrained_risk"),
        (lambda: lora_bound(OVER, 9), r"rank: expected an integer in 1\.\.8"),
        (lambda: lora_bound(OVER.replace(ridge=1.0), 2), "ridge: expected 0"),
        (lambda: theorem_2(OVER.replace(ridge=1.0), 2), "ridge: expected 0"),
        (lambda: lora_bound(OVER, 2, guaranteed(UNDER)), "extremes: expected those of this problem"),
        (lambda: theorem_2(OVER, 2, guaranteed(UNDER)), "extremes: expected those of this problem"),
        (lambda: bounds.least_risk(OVER, 9), r"rank: expected an integer in 0\.\.8"),
        (lambda: bounds.smallest_variance_bound(OVER, -1), "rank: expected an integer >= 0"),
        (lambda: truncation.truncation_norm(np.eye(2), np.eye(2), 3), r"rank: expected an integer in 1\.\.2"),
        (lambda: truncation.truncation_error(np.eye(2), np.full((2, 2), np.nan), 1), "expected finite entries"),
        (lambda: truncation.low_rank_truncation_error(np.eye(2), np.eye(2), 1), r"at least rank\(target\) = 2"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_matrices_of_two_shapes_are_refused():
    with pytest.raises((InvalidInput, TypeCheckError)):
        truncation.truncation_norm(np.eye(2), np.eye(3), 1)


def test_the_limits_are_those_of_the_propositions():
    assert limit(OVER).inverse.value == wishart.inverse_limit(40, 10) == pytest.approx(4.0)


def test_versions_and_losses_go_by_their_names():
    target, noise = np.diag([3.0, 2.0]), np.eye(2)
    for version in truncation.Version:
        by_name = truncation.squared_truncation_norm(target, noise, 1, version=str(version))
        assert by_name == truncation.squared_truncation_norm(target, noise, 1, version=version)
        assert bounds.theorem_2(OVER, 1, version=str(version)) == bounds.theorem_2(OVER, 1, version=version)
    assert hessian.curvature_of("half-squared") == 1.0
    for wrong in (
        lambda: truncation.squared_truncation_norm(target, noise, 1, version="print"),
        lambda: bounds.theorem_4(UNDER, 1, version="print"),
        lambda: hessian.curvature_of("cubed"),
    ):
        with pytest.raises(InvalidInput, match="expected one of"):
            wrong()
