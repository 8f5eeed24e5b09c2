"""Methods on a base that is not A0, and chains: their quantiser, reductions, traps and corners, against plain NumPy."""

import pickle

import numpy as np
import pytest
from comparisons import critical_z
from refusals import refused

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments
from linreg_lora.theory import quantisation
from linreg_lora.theory.quantised_base import spectrum_with_errors

#: Draws of a comparison with plain NumPy.
DRAWS = 1500
BRIEF_LEVELS = [
    -1, -0.6961928, -0.5250730, -0.3949174, -0.2844413, -0.1847734, -0.0910500, 0, 0.0795803, 0.1609301, 0.2461123,
    0.3379151, 0.4407097, 0.5626169, 0.7229566, 1,
]  # fmt: skip


def covariance(rng, size):
    root = rng.standard_normal((size, 2 * size)) / np.sqrt(2 * size)
    return root @ root.T


def a_problem(seed, n, dx, dy, **more):
    rng = np.random.default_rng(seed)
    shift = rng.standard_normal((dy, 3)) @ rng.standard_normal((3, dx)) / 3
    settings = {
        "noise_std": 0.8,
        "pretrained": 3 * rng.standard_normal((dy, dx)),
        "input_covariance": covariance(rng, dx),
        "noise_covariance": covariance(rng, dy),
    }
    return ll.Problem(n=n, dx=dx, dy=dy, task_shift=shift, **{**settings, **more})


def stated_error(found):
    """What an equivalent may be off by, relatively: 1 % where it is not flagged, and here 2 % where it is."""
    return np.where(found.flagged, 0.02, 0.01)


# -- the same in plain NumPy --------------------------------------------------------------------------------------


def nearest(values, levels):
    return levels[np.argmin(np.abs(values[:, None] - levels), axis=1)]


def plain_quantised(matrix, block):
    """NF4 of a matrix, a loop over blocks and a search over levels."""
    flat, levels = matrix.ravel().copy(), np.array(BRIEF_LEVELS, dtype=float)
    for first in range(0, flat.size, block):
        part = flat[first : first + block]
        scale = np.abs(part).max()
        flat[first : first + block] = scale * nearest(part / scale, levels) if scale else 0.0
    return flat.reshape(matrix.shape)


def cut(matrix, rank):
    u, s, vt = np.linalg.svd(matrix)
    return u[:, :rank] * s[:rank] @ vt[:rank]


def plain_base(name, a0, rank, block):
    """The base that training sees."""
    if name == "qlora":
        return plain_quantised(a0, block)
    if name == "pissa":
        return a0 - cut(a0, rank)
    if name == "qpissa":
        return plain_quantised(a0 - cut(a0, rank), block)
    low = np.zeros_like(a0)
    for _ in range(5):
        stored = plain_quantised(a0 - low, block)
        low = cut(a0 - stored, rank)
    return stored


def plain_lora(x, residual, rank, ridge=0.0):
    """Rank-constrained least squares by augmented data and one singular value decomposition."""
    dx = len(x)
    x = np.hstack([x, np.sqrt(ridge) * np.eye(dx)]) if ridge else x
    residual = np.hstack([residual, np.zeros((len(residual), dx))]) if ridge else residual
    full = residual @ np.linalg.pinv(x)
    u = np.linalg.svd(full @ x, full_matrices=False)[0][:, :rank]
    return u @ (u.T @ full)


def drawn(problem, rng):
    x = np.linalg.cholesky(problem.sigma) @ rng.standard_normal((problem.dx, problem.n))
    noise = np.linalg.cholesky(problem.sigma_eps) @ rng.standard_normal((problem.dy, problem.n))
    return x, (problem.pretrained + problem.shift) @ x + noise


def plain_risks(problem, base, rank, draws=DRAWS, seed=7):
    rng, risks = np.random.default_rng(seed), []
    for _ in range(draws):
        x, y = drawn(problem, rng)
        error = base + plain_lora(x, y - base @ x, rank, problem.ridge) - problem.pretrained - problem.shift
        risks.append(np.sum((error @ problem.sigma) * error))
    return np.mean(risks), np.std(risks) / np.sqrt(draws)


# -- the quantiser ------------------------------------------------------------------------------------------------


def test_levels_are_those_of_the_rule():
    np.testing.assert_allclose(ll.theory.nf4_levels(), BRIEF_LEVELS, atol=5e-8)
    levels = ll.theory.dynamic_levels()
    assert len(np.unique(levels)) == 256
    assert np.allclose(levels[:-1], -levels[:-1][::-1], atol=0)  # but for 1 they come in pairs
    assert levels[-1] == 1


@pytest.mark.parametrize("block", [1, 7, 64, 221])
def test_quantised_is_a_search_over_levels(block):
    matrix = np.random.default_rng(0).standard_normal((13, 17))
    matrix[3:6] = 0.0
    matrix[8:11] = -2.5
    found = ll.theory.quantised(matrix, block)
    np.testing.assert_allclose(found, plain_quantised(matrix, block), atol=1e-6)
    assert np.array_equal(ll.theory.quantised(np.full((4, 5), -3.0), 10), np.full((4, 5), -3.0))
    assert np.array_equal(ll.theory.quantised(np.zeros((4, 5)), 10), np.zeros((4, 5)))
    if block == 1:
        np.testing.assert_allclose(found, matrix, atol=1e-15)


def test_double_quantisation_stores_scales_in_eight_bits():
    """Scales are off by at most half the widest gap of dynamic floats, times their largest distance from the mean."""
    matrix = np.random.default_rng(1).standard_normal((80, 500))
    scales = np.abs(matrix).reshape(-1, 64).max(axis=1)
    once, twice = ll.theory.quantised(matrix), ll.theory.quantised(matrix, double=True)
    stored = np.abs(twice).reshape(-1, 64).max(axis=1)
    gap = np.max(np.diff(ll.theory.dynamic_levels())) / 2
    error = np.abs(stored - scales)
    assert 0 < np.max(error) <= gap * np.max(np.abs(scales - scales.mean())) * (1 + 1e-12)
    assert np.array_equal(once == 0, twice == 0)
    assert np.array_equal(ll.theory.quantised(np.full((40, 40), 2.0), double=True), np.full((40, 40), 2.0))


@pytest.mark.parametrize("block", [2, 16, 64])
def test_moments_of_the_error_are_those_of_draws(block):
    """False alarms: 1e-6 over six comparisons; a maximum without the factor 1 - 1/block would be seen."""
    matrix = np.random.default_rng(2).standard_normal((1000, 640))
    error, moments = matrix - ll.theory.quantised(matrix, block), ll.theory.quantisation_error(block)
    z = critical_z(6) / np.sqrt(error.size / block)
    blocks = error.reshape(-1, block)
    assert abs(error.mean() - moments.mean) < z * np.std(blocks.mean(axis=1))
    second = np.mean(blocks**2, axis=1)
    expected = moments.std**2 + moments.mean**2
    assert abs(second.mean() - expected) < z * second.std()
    assert abs(second.mean() - expected / (1 - 1 / block)) > z * second.std()


def test_moments_of_the_error_are_the_known_ones():
    found = ll.theory.quantisation_error()
    assert found.mean == pytest.approx(-0.000697, abs=5e-7)
    assert found.std == pytest.approx(0.091976, abs=5e-7)
    assert ll.theory.quantisation_error(1) == (0.0, 0.0)


# -- QLoRA without an A0 ------------------------------------------------------------------------------------------


def test_reference_ranks_without_an_a0():
    """Monte Carlo over A0 (standard deviation 3), Delta and data that nobody here drew; within 2 % each."""
    problem = ll.Problem(n=160, dx=64, dy=40, spectrum=(6.0, 4.0, 2.5), noise_std=1.0)
    curve = ll.theory.qlora_risk(problem, 3.0, [1, 2, 3, 6, 12, 40])
    np.testing.assert_allclose(curve.risk, [211.47, 189.68, 176.21, 144.95, 99.69, 26.91], rtol=0.02)
    plain = ll.expected_risk(problem, [1, 2, 3]).risk
    assert np.all(curve.risk[:3] > 5 * plain), "the rival: the risk of Delta"
    assert curve.flagged.tolist() == [False, False, False, True, True, False]


@pytest.mark.heavy
@pytest.mark.parametrize("n", [80, 12])
def test_the_mean_over_a0_is_that_of_given_ones(n):
    """40 matrices A0 of 24 x 40 entries: 1e-6 false alarms over four comparisons, beside what flags say.

    Power: the risk of Delta alone is rejected.
    """
    problem = ll.Problem(n=n, dx=40, dy=24, spectrum=(5.0, 4.0), noise_std=1.0)
    rng, each = np.random.default_rng(3), []
    for _ in range(40):
        known = problem.replace(pretrained=3 * rng.standard_normal((24, 40)))
        each.append([ll.expected_risk(known, method=f"qlora:{rank}").risk for rank in (2, 6)])
    mean, stderr = np.mean(each, axis=0), np.std(each, axis=0) / np.sqrt(40)
    found = ll.theory.qlora_risk(problem, 3.0, [2, 6])
    bound = critical_z(4) * stderr + stated_error(found) * mean
    assert np.all(np.abs(found.risk - mean) < bound), (found.risk, mean, stderr)
    assert np.all(np.abs(ll.expected_risk(problem, [2, 6]).risk - mean) > bound)


def test_the_trace_is_kept_and_no_error_changes_nothing():
    for dx, dy in [(64, 40), (40, 64), (30, 30)]:
        values, spikes = spectrum_with_errors(np.array([4.0, 2.0, 0.3]), dx, dy, 0.1)
        assert np.sum(values**2) == pytest.approx(4**2 + 2**2 + 0.3**2 + dx * dy * 0.01)
        assert spikes == 2
        assert np.all(np.diff(values) <= 0)
    problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0), noise_std=1.0)
    found, plain = ll.theory.qlora_risk(problem, 0.0), ll.expected_risk(problem)
    np.testing.assert_allclose(found.risk, plain.risk, rtol=1e-12)


def test_the_error_of_quantisation_is_learnt_from_sigma2_over_delta2_samples_on():
    """A Marchenko-Pastur bulk, no spike: at n = 1500, above sigma^2 / (4 delta^2) = 625, nothing is gained yet."""
    delta, best = 0.02, {}
    for n in (700, 1500, 3500):
        problem = ll.Problem(n=n, dx=40, dy=40, spectrum=(), noise_std=1.0)
        curve = ll.theory.qlora_risk(problem, delta / ll.theory.quantisation_error().std)
        best[n] = curve.best_rank
    assert best == {700: 0, 1500: 0, 3500: 40}


def test_what_a_formula_without_a0_does_not_know_is_refused():
    problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0,), noise_std=1.0)
    with refused("input_covariance", "a multiple of the identity", remedy="give A0"):
        ll.theory.qlora_risk(problem.replace(input_covariance=1 + np.arange(24)), 1.0)
    with refused("noise_covariance", "a multiple of the identity"):
        ll.theory.qlora_risk(problem.replace(noise_covariance=1 + np.arange(20)), 1.0)
    with refused("block", "at most the 480 entries"):
        ll.theory.qlora_risk(problem, 1.0, block=500)
    with refused("dx, dy", "no direction of its own"):
        ll.theory.qlora_risk(ll.Problem(n=60, dx=20000, dy=20000, spectrum=(3.0,), noise_std=1.0), 1.0)


# -- reductions ---------------------------------------------------------------------------------------------------

CASES = [
    ("qlora", a_problem(1, 60, 20, 12), 3, 32),
    ("qlora", a_problem(2, 12, 30, 14), 3, 64),
    ("qlora", a_problem(3, 24, 16, 24, ridge=4.0), 2, 64),
    ("loftq", a_problem(4, 60, 20, 12), 3, 32),
    ("loftq", a_problem(5, 50, 12, 18), 2, 64),
    ("pissa", a_problem(6, 60, 20, 12), 3, 64),
    ("pissa", a_problem(7, 20, 24, 10, ridge=4.0), 2, 64),
    ("qpissa", a_problem(8, 60, 12, 16), 3, 64),
    ("qpissa", a_problem(9, 80, 24, 14), 2, 16),
]


@pytest.mark.parametrize(("name", "problem", "rank", "block"), CASES)
def test_theory_is_the_mean_of_plain_fits(name, problem, rank, block):
    """False alarms: 1e-6 over all cases, beside what the flag says. Power: LoRA's risk, without N, is rejected."""
    setting = f"{name}:{rank}" + (f":{block}" if name != "pissa" else "")
    theory = ll.expected_risk(problem, method=setting)
    base = plain_base(name, problem.pretrained, rank, block)
    mean, stderr = plain_risks(problem, base, rank)
    bound = critical_z(len(CASES)) * stderr + stated_error(theory) * mean
    assert abs(theory.risk - mean) < bound, (theory.risk, mean, stderr, theory.flagged)
    assert abs(ll.expected_risk(problem, method=f"lora:{rank}").risk - mean) > 2 * bound
    assert theory.parameters == rank * (problem.dx + problem.dy)


@pytest.mark.parametrize("name", ["qlora:2:32", "qlora:2:32:1", "loftq:2:32", "pissa:2", "qpissa:2:32"])
def test_a_fit_is_lora_on_the_displaced_problem_path_by_path(name):
    problem = a_problem(11, 40, 12, 9)
    method = ll.methods.named(name)
    x, y = drawn(problem, np.random.default_rng(1))
    update = np.asarray(method.fit(x, y, problem.pretrained).map)
    moved = method.reduce(problem).problem
    shift = problem.pretrained - moved.pretrained
    np.testing.assert_allclose(moved.shift, problem.shift + shift, atol=1e-12)
    np.testing.assert_allclose(update, plain_lora(x, y - moved.pretrained @ x, 2) - shift, atol=1e-9)


def test_simulation_of_the_package_agrees_with_its_theory():
    """Fits run compiled, A0 traced; false alarms 1e-6."""
    problem = a_problem(12, 50, 16, 10)
    names = ["qlora:2:32:1", "loftq:2", "pissa:2", "qpissa:2", "chain:1:2"]
    for name in names:
        theory, sample = (
            ll.expected_risk(problem, method=name),
            ll.monte_carlo(problem, trials=600, seed=2, method=name),
        )
        bound = critical_z(len(names)) * sample.stderr + stated_error(theory) * theory.risk
        assert abs(theory.risk - sample.risk) < bound, (name, theory.risk, sample.risk, sample.stderr)


def test_reference_row_of_pissa():
    """A problem without random numbers; Monte Carlo 8.2648 +- 0.0104 of plain NumPy, not drawn here."""
    i, j = np.arange(8)[:, None], np.arange(12)[None]
    shift = 0.2 * np.cos(0.9 * (i + 2) * (j + 1))
    shift[[0, 1, 2], [0, 1, 2]] += [3, 2, 1]
    problem = ll.Problem(
        n=40, dx=12, dy=8, task_shift=shift, noise_std=1.0, pretrained=np.cos(0.7 * (i + 1) * (2 * j + 1)),
        input_covariance=0.5 + 1.5 * np.arange(12) / 11, noise_covariance=0.5 + np.arange(8) / 7,
    )  # fmt: skip
    found = ll.expected_risk(problem, method="pissa:2")
    assert found.risk == pytest.approx(8.2574, abs=5e-5)
    assert abs(found.risk - 8.2648) < 4 * 0.0104


# -- what is better, and when -------------------------------------------------------------------------------------


def embedded(dy, dx, values, first=0):
    """A dy x dx matrix with `values` on its diagonal, from entry `first` on."""
    found = np.zeros((dy, dx))
    index = np.arange(first, first + len(values))
    found[index, index] = values
    return found


def test_pissa_that_does_not_move():
    """Delta orthogonal to A0_[r] on both sides and weaker: in the limit nothing is learnt, while LoRA learns all."""
    a0 = embedded(14, 20, (9.0, 8.0), first=10)
    problem = ll.Problem(n=10**6, dx=20, dy=14, spectrum=(3.0, 2.0), noise_std=1.0, pretrained=a0)
    assert ll.expected_risk(problem, method="pissa:2").risk == pytest.approx(13.0, rel=1e-3)
    assert ll.expected_risk(problem, method="lora:2").risk < 1e-3
    replaced = problem.replace(task_shift=embedded(14, 20, (9.0, 8.0)) - a0, n=10**6)
    assert ll.expected_risk(replaced, method="pissa:2").risk < 1e-3
    assert ll.expected_risk(replaced, method="lora:2").risk == pytest.approx(8**2 + 8**2, rel=1e-3)


@pytest.mark.parametrize("size", [0.02, 0.3])
def test_pissa_may_win_where_its_bias_is_larger(size):
    """LoRA with more rank than the shift pays for the spare one, PiSSA for its tangent dimension alone: by plain fits,
    at 6 standard errors (false alarm 1e-8 of a wrong order); theory at 1e-6 over four, beside what the flag says."""
    rng = np.random.default_rng(4)
    u, v = (np.linalg.qr(rng.standard_normal((size_, 3)))[0] for size_ in (10, 12))
    a0 = u[:, :2] @ np.diag([30.0, 20.0]) @ v[:, :2].T
    shift = size * np.outer(u @ [0.5, 0.5, 0.7], v @ [0.5, 0.5, 0.7])
    problem = ll.Problem(n=60, dx=12, dy=10, task_shift=shift, noise_std=1.0, pretrained=a0)
    tails = [np.sum(np.linalg.svd(shift + moved, compute_uv=False)[2:] ** 2) for moved in (0, a0)]
    assert tails[1] > tails[0] + 1e-9
    lora, pissa = (plain_risks(problem, base, 2) for base in (a0, a0 - cut(a0, 2)))
    assert lora[0] - pissa[0] > 6 * np.hypot(lora[1], pissa[1])
    for name, (mean, stderr) in (("lora", lora), ("pissa", pissa)):
        found = ll.expected_risk(problem, method=f"{name}:2")
        assert abs(found.risk - mean) < critical_z(4) * stderr + stated_error(found) * mean


def test_loftq_spends_rank_on_the_error():
    """More alternations leave less of A0, but with r = rank(Delta) more of the task; biases, exact given A0."""
    rng = np.random.default_rng(0)

    def biases(dy, dx, rank, strengths):
        a0 = 3 * rng.standard_normal((dy, dx))
        u, v = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (dy, dx))
        shift = u @ np.diag(strengths) @ v.T
        moved = [ll.methods.LoftQ(rank, iterations=t).displacement(a0) for t in (1, 2, 5)]
        return [np.sum(np.linalg.svd(shift + one, compute_uv=False)[rank:] ** 2) for one in moved]

    none, task = biases(64, 64, 4, np.zeros(4)), biases(64, 64, 4, [8.0, 6.0, 5.0, 4.0])
    assert none[0] > none[1] > none[2]
    assert task[0] < task[1] < task[2]
    spare = biases(128, 64, 16, [8.0, 6.0, 5.0, 4.0])
    assert spare[0] > spare[1] > spare[2], "with rank to spare it pays"


# -- traps and corners --------------------------------------------------------------------------------------------


def test_training_below_the_threshold_keeps_what_of_its_start_is_unseen():
    """Gradients of A lie in the row space of X^T: plain gradient descent from PiSSA's start, against the reduction."""
    rng = np.random.default_rng(5)
    n, dx, dy, rank = 5, 9, 4, 1
    a0, x = 2 * rng.standard_normal((dy, dx)), rng.standard_normal((dx, n))
    y = a0 @ x + 0.3 * rng.standard_normal((dy, n))
    u, s, vt = np.linalg.svd(a0)
    b, a = u[:, :rank] * np.sqrt(s[:rank]), np.sqrt(s[:rank])[:, None] * vt[:rank]
    base, start = a0 - b @ a, a.copy()
    for _ in range(4000):
        error = (base + b @ a) @ x - y
        b, a = b - 0.003 * error @ x.T @ a.T, a - 0.003 * b.T @ error @ x.T
    unseen = np.eye(dx) - x @ np.linalg.pinv(x)
    smallest = plain_lora(x, y - base @ x, rank)
    loss = [np.sum(((base + d) @ x - y) ** 2) for d in (b @ a, smallest)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-4), "trained to convergence"
    np.testing.assert_allclose(a @ unseen, start @ unseen, atol=1e-12)
    np.testing.assert_allclose(smallest @ unseen, 0, atol=1e-12)
    assert np.linalg.norm(b @ a @ unseen) > 0.1 * np.linalg.norm(a0)


@pytest.mark.parametrize("name", ["pissa:2", "qpissa:2", "loftq:2", "lora-ga:2"])
def test_starts_away_from_zero_are_refused_below_the_threshold(name):
    problem = a_problem(13, 12, 20, 10)
    words = "whose factors start away from zero: with fewer samples training keeps what of their start"
    with refused("n", words, "n = 12"):
        ll.monte_carlo(problem, trials=4, seed=0, method=name)
    x, y = drawn(problem, np.random.default_rng(0))
    with refused("n", words):
        ll.methods.named(name).fit(x, y, problem.pretrained)
    if name != "lora-ga:2":
        with refused("n", words, "n = 12"):
            ll.expected_risk(problem, method=name)
        assert np.isfinite(ll.expected_risk(problem.replace(ridge=1.0), method=name).risk)
    assert np.isfinite(ll.monte_carlo(problem.replace(ridge=1.0), trials=4, seed=0, method=name).risk)
    assert np.isfinite(ll.expected_risk(problem, method="qlora:2").risk)


def test_inputs_without_variance_need_no_samples():
    """With Sigma of rank 6 twelve samples of twenty inputs see all there is."""
    rng = np.random.default_rng(6)
    root = rng.standard_normal((20, 6)) / 2
    problem = a_problem(14, 14, 20, 10, input_covariance=root @ root.T)
    theory = ll.expected_risk(problem, method="pissa:2")
    sample = ll.monte_carlo(problem, trials=600, seed=1, method="pissa:2")
    assert abs(theory.risk - sample.risk) < critical_z(1) * sample.stderr + stated_error(theory) * theory.risk
    x = root @ rng.standard_normal((6, 14))
    ll.methods.PiSSA(2).fit(x, rng.standard_normal((10, 14)), problem.pretrained)


@pytest.mark.parametrize("name", ["qlora:2", "loftq:2", "pissa:2", "qpissa:2"])
def test_methods_that_change_the_base_need_one(name):
    problem = a_problem(15, 40, 12, 9)
    with refused("pretrained", "A0, a dy x dx matrix", "nothing", "pretrained=A0"):
        ll.expected_risk(problem.replace(pretrained=None), method=name)
    with refused("pretrained", "A0"):
        ll.methods.named(name).fit(np.ones((12, 40)), np.ones((9, 40)))
    zero = problem.replace(pretrained=np.zeros((9, 12)))
    found, plain = ll.expected_risk(zero, method=name), ll.expected_risk(problem, method="lora:2")
    assert found.risk == pytest.approx(plain.risk, rel=1e-12)
    with refused("rank", "an integer in 0..9"):
        ll.expected_risk(problem, method=name.replace("2", "10"))
    assert ll.expected_risk(problem.replace(n=12), method=name).moments is Moments.NO_MEAN


def test_full_rank_is_full_fine_tuning_and_rank_zero_keeps_the_base():
    problem = a_problem(16, 40, 12, 9)
    assert ll.expected_risk(problem, method="qlora:9").risk == pytest.approx(
        ll.expected_risk(problem, method="fft").risk
    )
    error = problem.shift + problem.pretrained - ll.theory.quantised(problem.pretrained)
    none = ll.expected_risk(problem, method="qlora:0")
    assert none.risk == pytest.approx(np.sum((error @ problem.sigma) * error))
    assert ll.expected_risk(problem, method="pissa:0").risk == pytest.approx(problem.pretrained_risk)
    low = problem.replace(pretrained=np.outer(np.arange(9.0), np.ones(12)))
    shifted = ll.methods.PiSSA(3).reduce(low).problem
    np.testing.assert_allclose(shifted.pretrained, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "field", "message"),
    [
        ("qlora:2:500", "block", "at most the 108 entries of the matrix"),
        ("qlora:2:0", "method", "block: an integer >= 1"),
        ("qlora:2:64:2", "method", "double: 0 or 1"),
        ("qlora", "method", "qlora:rank"),
        ("chain:2", "method", "chain:rank:links"),
        ("chain:2:0", "method", "links: an integer >= 1"),
        ("lora-ga:5", "rank", "at most 4 = min(dx, dy) / 2"),
    ],
)
def test_settings_that_do_not_fit_say_what_they_need(name, field, message):
    problem = a_problem(17, 40, 12, 9)
    with pytest.raises(InvalidInput) as caught:
        ll.monte_carlo(problem, trials=4, seed=0, method=name)
    assert caught.value.field == field
    assert message in str(caught.value)
    with pytest.raises(InvalidInput, match="block: expected at most the 108 entries"):
        quantisation.quantised(problem.pretrained, 109)


@pytest.mark.parametrize(
    "name", ["qlora:3", "qlora:3:32", "qlora:3:64:1", "loftq:3:32", "pissa:2", "qpissa:2:32", "chain:2:3", "lora-ga:2"]
)
def test_names_come_back(name):
    assert ll.methods.named(name).name == name


def test_a_given_displacement_is_the_problem_with_a_shifted_task():
    problem = a_problem(18, 50, 12, 9)
    given = np.random.default_rng(0).standard_normal((9, 12))
    method = ll.methods.DisplacedBase(2, given)
    mean, stderr = plain_risks(problem, problem.pretrained - given, 2)
    theory = ll.expected_risk(problem, method=method)
    assert abs(theory.risk - mean) < critical_z(1) * stderr + stated_error(theory) * mean
    assert method == ll.methods.DisplacedBase(2, given) != ll.methods.DisplacedBase(2, -given)
    assert pickle.loads(pickle.dumps(method)) == method != ll.methods.DisplacedBase(2, given, starts_at_zero=True)
    few = problem.replace(n=6)
    with refused("n", "factors start away from zero"):
        ll.expected_risk(few, method=method)
    assert ll.expected_risk(few, method=ll.methods.DisplacedBase(2, given, starts_at_zero=True)).risk > 0
    with refused("displacement_of_base", "shape (9, 12)", "(12, 9)"):
        ll.expected_risk(problem, method=ll.methods.DisplacedBase(2, given.T))


def test_lora_ga_takes_its_start_from_the_gradient_of_the_data():
    problem = a_problem(19, 40, 12, 9)
    x, y = drawn(problem, np.random.default_rng(2))
    residual = y - problem.pretrained @ x
    u, _, vt = np.linalg.svd(residual @ x.T)
    taken = np.sqrt(9 / 2) * u[:, 2:4] @ vt[:2]
    update = np.asarray(ll.methods.LoRAGA(2).fit(x, y, problem.pretrained).map)
    np.testing.assert_allclose(update, plain_lora(x, residual + taken @ x, 2) - taken, atol=1e-9)
    with pytest.raises(InvalidInput, match="whose expected risk theory knows, received lora-ga:2; simulate it"):
        ll.expected_risk(problem, method="lora-ga:2")


# -- chains -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(("n", "dx"), [(40, 12), (9, 20)])
def test_a_chain_is_lora_of_the_summed_rank(n, dx):
    """To rounding on every draw without ridge, in both regimes; with one it is another estimator."""
    rng = np.random.default_rng(8)
    x, y, a0 = (rng.standard_normal(shape) for shape in ((dx, n), (7, n), (7, dx)))
    chain = ll.methods.Chain(2, 3)
    one = np.asarray(chain.fit(x, y, a0).map)
    np.testing.assert_allclose(one, plain_lora(x, y - a0 @ x, 6), atol=1e-9)
    shrunk = np.asarray(chain.fit(x, y, a0, 2.0).map)
    assert np.linalg.norm(shrunk - plain_lora(x, y - a0 @ x, 6, 2.0)) > 0.01 * np.linalg.norm(shrunk)


def test_chains_have_a_theory_without_ridge_only():
    problem = a_problem(20, 40, 12, 9)
    for name, same in (("chain:2:2", "lora:4"), ("chain:4:5", "fft"), ("chain:3:1", "lora:3")):
        assert ll.expected_risk(problem, method=name).risk == ll.expected_risk(problem, method=same).risk
    assert ll.methods.Chain(2, 2).parameters(problem) == 4 * 21
    with pytest.raises(InvalidInput, match="one whose expected risk theory knows, received chain:2:2"):
        ll.expected_risk(problem.replace(ridge=1.0), method="chain:2:2")
    assert ll.monte_carlo(problem.replace(ridge=1.0), trials=4, seed=0, method="chain:2:2").risk > 0
    with refused("rank", "an integer in 0..9"):
        ll.expected_risk(problem, method="chain:10:1")
