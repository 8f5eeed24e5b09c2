"""Counts and large-sample limits: hand values, numerical Hessians, the equivalent, and simulation against rivals."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z

from linreg_lora import Problem, monte_carlo
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import capacity, marchenko_pastur
from linreg_lora.theory.equivalent import lora_equivalent

PROBLEM = Problem(n=50, dx=12, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)


def rotated(values, seed):
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values)))).Q
    return (basis * np.asarray(values)) @ basis.T


GENERAL = Problem(
    n=50, dx=12, dy=10, task_shift=np.random.default_rng(0).standard_normal((10, 3)) @ np.eye(3, 12), noise_std=0.5,
    input_covariance=rotated(np.geomspace(0.3, 3, 12), 1), noise_covariance=rotated(np.geomspace(0.2, 5, 10), 2),
)  # fmt: skip


# -- counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_the_dimension_is_the_rank_of_the_derivative_of_the_product(rank):
    """d(B A) = dB A + B dA, in the r (dx + dy) entries of the factors."""
    dx, dy = 7, 5
    rng = np.random.default_rng(rank)
    b, a = rng.standard_normal((dy, rank)), rng.standard_normal((rank, dx))
    derivative = np.hstack([np.kron(np.eye(dy), a.T), np.kron(b, np.eye(dx))])
    assert derivative.shape[1] == capacity.parameter_count(dx, dy, rank)
    # Delta = 0 has rank 0; an empty derivative too.
    assert (np.linalg.matrix_rank(derivative) if rank else 0) == capacity.tangent_dimension(dx, dy, rank)


def test_the_limit_says_what_it_counts():
    found = capacity.large_sample_limit(PROBLEM.replace(noise_std=2.0), 3)
    assert (found.rank, found.tail, found.dimension, found.parameters) == (3, 0.0, 57, 66)
    assert (found.limit, found.stderr, found.effective_count) == (4 * 57.0, 0.0, 57.0)
    assert found.formula == "sigma^2 r (dx + dy - r), exact"
    full = capacity.large_sample_limit(PROBLEM, 10)
    assert (full.limit, full.stderr, full.dimension) == (120.0, 0.0, 120)
    assert full.formula.endswith("exact")
    none = capacity.large_sample_limit(PROBLEM, 0)
    assert (none.limit, none.tail) == (0.0, 14.0)


def test_neither_n_nor_ridge_nor_the_basis_of_the_inputs_matters():
    problem = PROBLEM.replace(noise_std=0.7)
    expected = capacity.large_sample_limit(problem, 2)
    rng = np.random.default_rng(3)
    covariance = rotated(np.geomspace(0.3, 3, 12), 1)
    root = problem.replace(input_covariance=covariance).sigma_sqrt
    left, right = (np.linalg.qr(rng.standard_normal((k, k))).Q for k in (10, 12))
    turned = left @ problem.shift @ right @ np.linalg.inv(root)
    others = [
        problem.replace(n=7, ridge=3.0),
        problem.replace(task_shift=turned, input_covariance=covariance),
        Problem(
            n=5, dx=13, dy=10, task_shift=np.pad(problem.shift, ((0, 0), (0, 1)), constant_values=7.0),
            noise_std=0.7, input_covariance=[1.0] * 12 + [0.0],
        ),
    ]  # fmt: skip
    for other in others:
        found = capacity.large_sample_limit(other, 2)
        np.testing.assert_allclose([found.limit, found.tail], [expected.limit, expected.tail], rtol=1e-12)


# -- under-ranking ------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=2)
def hessian(entries, target, rank):
    """The Hessian of ||B A - Delta||^2 in the entries of B and A."""
    dy, dx = target.shape

    def loss(entries):
        left, right = entries[: dy * rank].reshape(dy, rank), entries[dy * rank :].reshape(rank, dx)
        return jnp.sum((left @ right - target) ** 2)

    return jax.hessian(loss)(entries)


def sandwich(problem, rank):
    """2 Tr(H^+ J) in the entries of two factors: H by automatic differentiation, J by Isserlis' theorem.

    J is the covariance of the scores <w, d(B A) x>, w = (Delta - D) x + eps, x ~ N(0, I), D the best rank-r matrix.
    """
    target = problem.shift @ problem.sigma_sqrt
    u, s, vt = np.linalg.svd(target)
    dy, dx = target.shape
    b, a = u[:, :rank] * s[:rank], vt[:rank]

    curvature = np.asarray(hessian(jnp.asarray(np.concatenate([b.ravel(), a.ravel()])), jnp.asarray(target), rank))
    missed = target - b @ a
    moves = [np.outer(e, a[k]) for e in np.eye(dy) for k in range(rank)]
    moves += [np.outer(b[:, k], e) for k in range(rank) for e in np.eye(dx)]
    moves = np.stack(moves)
    seen = missed.T @ moves
    scores = np.einsum("aij,bij->ab", moves, problem.sigma_eps @ moves)
    scores += np.einsum("aij,bij->ab", seen, seen) + np.einsum("aij,bji->ab", seen, seen)
    return 2 * np.trace(np.linalg.pinv(curvature, rcond=1e-9) @ scores)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("problem", [PROBLEM, PROBLEM.replace(noise_std=0.0), GENERAL], ids=["sigma", "0", "general"])
def test_the_limit_is_the_sandwich_of_the_hessian_and_the_scores(problem, rank):
    """The nonzero eigenvalues of H span less than a factor of 1e3, so that rounding stays below 1e-10."""
    expected = sandwich(problem, rank)
    found = capacity.large_sample_limit(problem, rank)
    np.testing.assert_allclose(found.limit, expected, rtol=1e-10, atol=1e-10)
    assert found.stderr == 0


@pytest.mark.parametrize("noise_std", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_equivalent_has_the_same_limit(noise_std, rank):
    """n (risk - tail) = V + c/n + O(1/n^2): extrapolated from n and 2n. What is left is (c/n)(d/n), and integration.

    The contour integrals of the equivalent are accurate to some 1e-9 ||Delta||^2.
    """
    problem = PROBLEM.replace(noise_std=noise_std)
    expected, n = capacity.large_sample_limit(problem, rank), 4000
    first, second = (
        k * (lora_equivalent(problem.replace(n=k), [rank]).risk[0] - expected.tail) for k in (n, 2 * n)
    )  # fmt: skip
    allowed = abs(first - second) * 100 / n + 4e-9 * 4 * n * problem.pretrained_risk
    assert allowed < 2e-3 * expected.limit
    assert abs(2 * second - first - expected.limit) < allowed


def rivals(problem, rank):
    """Plausible wrong limits. No noise: 0, the variance of well-specified LoRA."""
    s, variance = np.asarray(problem.spectrum), problem.noise_std**2
    kept, missed = s[:rank], s[rank:]
    dimension, parameters = 22 * rank - rank**2, 22 * rank
    wrong = {"r (dx + dy)": variance * parameters}
    if rank != len(s):
        wrong["dimension"] = variance * dimension
    if rank < len(s):
        wrong["no curvature"] = variance * dimension + rank * np.sum(missed**2)
        pairs = [(a, b) for a in kept for b in missed]
        wrong["curvature, no missed shift as noise"] = variance * dimension + sum(
            2 * variance * b**2 / (a**2 - b**2) for a, b in pairs
        )
    return wrong


@functools.cache
def simulated(problem):
    """n (risk - tail) at ranks 1..5 at n = 10^6, and its standard error: the draws do not cost more for it."""
    large = problem.replace(n=10**6)
    ranks = np.arange(1, 6)
    curve = monte_carlo(large, trials=16_384, seed=4, ranks=ranks)
    s = np.linalg.svd(problem.shift @ problem.sigma_sqrt, compute_uv=False)
    tail = np.array([np.sum(s[r:] ** 2) for r in ranks])
    return large.n * (curve.risk - tail), large.n * curve.stderr


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("noise_std", [1.0, 0.3, 0.0])
def test_simulation_agrees_and_rejects_every_rival(noise_std, rank):
    """Two-sided z, family-wise level 1e-6 over 13 comparisons: z = 5.4. At n = 10^6 the limit is O(d/n) = 1e-4 away.

    The standard error is below 1 % of the limit: a discrepancy of 8 % is found with probability 0.99, and all rivals
    are rejected.
    """
    problem = PROBLEM.replace(noise_std=noise_std)
    if noise_std == 0 and rank >= 3:
        assert capacity.large_sample_limit(problem, rank).limit == 0.0
        return
    mean, stderr = (part[rank - 1] for part in simulated(problem))
    found = capacity.large_sample_limit(problem, rank, trials=2000)
    joint = math.hypot(stderr, found.stderr)
    allowed = critical_z(13) * joint + 1e-4 * found.limit
    assert joint < 0.01 * found.limit
    assert abs(mean - found.limit) <= allowed, f"{mean} +- {joint} against {found}"
    for rival, value in rivals(problem, rank).items():
        assert abs(mean - value) > allowed, f"{rival}: {value} passes for {mean} +- {joint}"


def test_simulation_agrees_for_general_covariances():
    """z at level 1e-6 over five ranks; the limit is 1e-4 away. The standard error is below 0.5 %: 4 % are found with
    probability 0.99. Rivals at rank 2: the mean noise variance for that of each output, and Sigma = I."""
    means, stderrs = simulated(GENERAL)
    found = [capacity.large_sample_limit(GENERAL, rank, trials=2000) for rank in range(1, 6)]
    limits, joint = np.array([f.limit for f in found]), np.hypot(stderrs, [f.stderr for f in found])
    assert np.all(joint < 0.005 * limits)
    allowed = critical_z(5) * joint + 1e-4 * limits
    assert np.all(np.abs(means - limits) <= allowed), f"{means} +- {joint} against {limits}"
    white = GENERAL.replace(noise_std=math.sqrt(GENERAL.noise_trace / 10), noise_covariance=None)
    for rival in (white, GENERAL.replace(input_covariance=None)):
        assert abs(means[1] - capacity.large_sample_limit(rival, 2).limit) > allowed[1], rival


def test_little_noise_costs_what_its_formula_says():
    """z at level 1e-6 over two ranks, general covariances, n = 40. The next order in sigma is sigma^2 / (n s^2) = 1e-7.

    The standard error is below 0.6 %: 4.5 % are found with probability 0.99. The rivals are farther off: the limit of
    many samples, and the mean noise variance for that of each output.
    """
    problem = GENERAL.replace(n=40, noise_std=1e-3)
    white = problem.replace(noise_std=math.sqrt(problem.noise_trace / 10), noise_covariance=None)
    curve = monte_carlo(problem, trials=8192, seed=6, ranks=[3, 4])
    for rank, risk, stderr in zip(curve.ranks, curve.risk, curve.stderr, strict=True):
        found = capacity.small_noise_risk(problem, int(rank), trials=20_000)
        joint = math.hypot(stderr, found.stderr)
        allowed = critical_z(2) * joint
        assert joint < 0.006 * found.value
        assert abs(risk - found.value) <= allowed, f"{risk} +- {joint} against {found.value}"
        many = capacity.large_sample_limit(problem, int(rank)).limit / (problem.n - problem.dx - 1)
        for rival in (many, capacity.small_noise_risk(white, int(rank)).value):
            assert abs(risk - rival) > allowed, f"{rival} passes for {risk} +- {joint}"


def test_little_noise_and_many_samples_agree_where_both_hold():
    for rank in (2, 3, 5, 10):
        many = PROBLEM.replace(n=10**9, spectrum=(3.0, 2.0))
        limit = capacity.large_sample_limit(many, rank, trials=50)
        assert many.n * capacity.small_noise_risk(many, rank, trials=50).value == pytest.approx(limit.limit, rel=1e-6)


def test_little_noise_at_full_rank_is_fft():
    assert capacity.small_noise_risk(PROBLEM, 10).value == pytest.approx(10 * 12 / (50 - 12 - 1), rel=1e-12)
    assert capacity.small_noise_risk(PROBLEM.replace(n=13), 3).value == math.inf
    assert capacity.small_noise_risk(PROBLEM.replace(noise_std=0.0, n=13), 3).value == 0.0


def test_little_noise_outside_of_the_shift_has_a_mean_at_the_threshold():
    """Output 1 has all of the shift and no noise: output 2 is fitted on one input, sigma^2 / (n - 2)."""
    silent = Problem(
        n=5, dx=4, dy=2, task_shift=np.eye(2, 4, k=0) * [[3.0], [0.0]], noise_covariance=[0.0, 1.0], noise_std=1.0
    )
    for n in (4, 5, 9):
        assert capacity.small_noise_risk(silent.replace(n=n), 1).value == pytest.approx(1 / (n - 2), rel=1e-12)
    assert capacity.small_noise_risk(silent, 2).value == math.inf


def test_under_ranking_costs_variance_without_noise_the_more_the_weaker_the_gap():
    """sigma = 0, s = (1, t): t^2 / (1 - t^2), from 0 to infinity; without a gap there is no best approximation."""
    strengths = np.array([0.1, 0.5, 0.9, 0.99])
    silent = [PROBLEM.replace(spectrum=(1.0, t), noise_std=0.0) for t in strengths]
    found = [capacity.large_sample_limit(problem, 1) for problem in silent]
    np.testing.assert_allclose([f.limit for f in found], strengths**2 / (1 - strengths**2), rtol=1e-12)
    assert all(f.effective_count == math.inf for f in found)
    assert math.isnan(capacity.large_sample_limit(silent[0], 2).effective_count)
    with pytest.raises(InvalidInput, match=r"rank: expected s_r > s_\{r\+1\}, .* received rank 1"):
        capacity.large_sample_limit(PROBLEM.replace(spectrum=(1.0, 1.0)), 1)
    equal = rotated([1.0, 1.0, 0.0, 0.0], 3)
    with pytest.raises(InvalidInput, match="rank: expected s_r > s_"):
        capacity.large_sample_limit(Problem(n=50, dx=4, dy=4, task_shift=equal, noise_std=1.0), 1)
    assert capacity.large_sample_limit(Problem(n=50, dx=4, dy=4, task_shift=equal, noise_std=1.0), 2).limit == 12.0


# -- over-ranking -------------------------------------------------------------------------------------------------


def test_noise_energy_of_two_by_two_is_known():
    """G as two complex Gaussians: sigma_1 = (|z_1| + |z_2|)/2, so E sigma_1^2 = 2 + pi/2. z at level 1e-6.

    The standard error is 0.004: 0.8 % of the value is found with probability 0.99. The edge (sqrt 2 + sqrt 2)^2 = 8 and
    half the energy, 2, are rejected.
    """
    found = capacity.noise_energy(2, 2, 1, trials=20_000, seed=1)
    assert found.stderr < 0.004
    assert_means_agree(found.value, found.stderr, 2 + np.pi / 2, 0.0)
    for rival in (8.0, 2.0):
        assert abs(found.value - rival) > critical_z(1) * found.stderr


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("covariance", [None, rotated(np.geomspace(0.1, 10, 6), 5)], ids=["white", "coloured"])
def test_noise_energy_is_that_of_a_plain_simulation_with_a_smaller_error(count, covariance):
    """Two-sample z at level 1e-6 over six comparisons. Integrating the norm takes a share of the variance away."""
    trials = 4000
    root = np.eye(6) if covariance is None else np.linalg.cholesky(covariance)
    draws = root @ np.random.default_rng(9).standard_normal((trials, 6, 9))
    energy = np.sum(np.linalg.svd(draws, compute_uv=False)[:, :count] ** 2, axis=1)
    stderr = energy.std(ddof=1) / math.sqrt(trials)
    found = capacity.noise_energy(6, 9, count, trials=trials, seed=2, row_covariance=covariance)
    assert_means_agree(found.value, found.stderr, energy.mean(), stderr, comparisons=6)
    assert found.stderr < 0.9 * stderr
    flipped = capacity.noise_energy(9, 6, count, trials=trials, seed=3)
    if covariance is None:
        assert_means_agree(found.value, found.stderr, flipped.value, flipped.stderr, comparisons=6)


def test_noise_energy_is_exact_at_its_ends_and_repeats_itself():
    assert capacity.noise_energy(6, 9, 0) == (0.0, 0.0)
    assert capacity.noise_energy(6, 9, 6) == capacity.noise_energy(6, 9, 8) == (54.0, 0.0)
    assert capacity.noise_energy(2, 9, 2, row_covariance=np.array([1.0, 3.0])) == (36.0, 0.0)
    first = capacity.noise_energy(6, 9, 2, seed=5)
    capacity._white_energy.cache_clear()
    assert capacity.noise_energy(6, 9, 2, seed=5) == first
    assert capacity.noise_energy(6, 9, 2, seed=5) != capacity.noise_energy(6, 9, 2, seed=6)
    # 900 draws of 60 x 50 are more than one batch, and the same 900.
    draws = np.random.default_rng(1).standard_normal((900, 60, 50))
    share = np.linalg.svd(draws, compute_uv=False)[:, 0] ** 2 / np.sum(draws**2, axis=(1, 2))
    expected = (3000 * share.mean(), 3000 * share.std(ddof=1) / 30)
    np.testing.assert_allclose(capacity.noise_energy(60, 50, 1, trials=900, seed=1), expected, rtol=1e-10)


def test_isotropic_noise_is_drawn_once_for_all_sample_sizes_and_levels():
    """And anew for another rank, another number of draws and another seed."""
    capacity._white_energy.cache_clear()
    problem = Problem(n=60, dx=9, dy=7, spectrum=(3.0,), noise_std=1.0)
    first = capacity.small_noise_risk(problem, 2)
    for other in (problem.replace(n=90), problem.replace(noise_std=0.5), problem):
        assert capacity.small_noise_risk(other, 2).value > 0
    assert capacity._white_energy.cache_info().misses == 1
    assert capacity.small_noise_risk(problem, 2) == first
    for rank, trials, seed in ((3, 400, 0), (2, 500, 0), (2, 400, 1)):
        assert capacity.small_noise_risk(problem, rank, trials=trials, seed=seed) != first
    assert capacity._white_energy.cache_info().misses == 4


def test_the_approximation_by_quantiles_improves_with_size():
    """Its error per direction is below the width of the law over min(rows, columns), and falls with the size."""
    errors = []
    for scale in (1, 2, 4):
        rows, columns, count = 8 * scale, 10 * scale, 2 * scale
        low, high = marchenko_pastur.edges(rows, columns)
        exact = capacity.noise_energy(rows, columns, count, trials=1000, seed=1)
        error = abs(capacity.approximate_noise_energy(rows, columns, count) - exact.value)
        assert error + 5 * exact.stderr < count * (high - low) / rows
        errors.append(error / exact.value)
    assert errors[2] < errors[1] < errors[0]
    assert capacity.approximate_noise_energy(8, 10, 8) == 80.0
    assert capacity.approximate_noise_energy(8, 10, 0) == 0.0


def test_over_ranking_records_its_draws_and_names_its_approximation():
    problem = PROBLEM.replace(spectrum=(3.0, 2.0), noise_std=2.0)
    found = capacity.large_sample_limit(problem, 3, trials=1000, seed=8)
    energy = capacity.noise_energy(8, 10, 1, trials=1000, seed=8)
    np.testing.assert_allclose([found.limit, found.stderr], [4 * (40 + energy.value), 4 * energy.stderr], rtol=1e-14)
    assert found.formula.endswith("1000 draws from seed 8")
    approximate = capacity.large_sample_limit(problem, 3, approximate=True)
    assert approximate.formula.endswith("Marchenko-Pastur")
    assert math.isnan(approximate.stderr)
    np.testing.assert_allclose(approximate.limit, found.limit, rtol=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: capacity.tangent_dimension(5, 4, 5),
            r"rank: expected an integer in 0\.\.min\(dx, dy\) = 4, received 5",
        ),
        (lambda: capacity.parameter_count(5, 0, 1), "dy: expected an integer >= 1"),
        (lambda: capacity.large_sample_limit(PROBLEM, 11), r"rank: expected an integer in 0\.\.min\(dx, dy\) = 10"),
        (lambda: capacity.large_sample_limit(GENERAL, 5, approximate=True), "approximate: expected isotropic noise"),
        (lambda: capacity.small_noise_risk(PROBLEM.replace(n=11), 3), "n: expected an integer >= 12"),
        (lambda: capacity.small_noise_risk(PROBLEM, 2), "rank: expected at least 3, the rank of the shift, received 2"),
        (lambda: capacity.small_noise_risk(PROBLEM.replace(ridge=1.0), 3), "ridge: expected 0, received 1"),
        (lambda: capacity.noise_energy(4, 4, 2, trials=1), "trials: expected at least 2"),
        (lambda: capacity.noise_energy(4, 4, -1), "count: expected an integer >= 0"),
        (lambda: capacity.noise_energy(4, 4, 1, seed=-1), "seed: expected an integer"),
        (lambda: capacity.noise_energy(2, 4, 1, row_covariance=np.eye(3)), "row_covariance: expected 2 variances"),
        (
            lambda: capacity.approximate_noise_energy(3, 4, 4),
            r"count: expected an integer in 0\.\.min\(rows, columns\)",
        ),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
