"""Training's path in closed form: against an integrator, dense Hessians, explicit data and printed references."""

import numpy as np
import pytest
import scipy.stats
from comparisons import LEVEL, assert_means_agree, critical_z
from refusals import refused
from scipy.integrate import solve_ivp

from linreg_lora import Problem
from linreg_lora.theory import training
from linreg_lora.theory.training import drawn_path, trajectories


def factors(update, rank, scaling, kappa):
    """Balanced up to kappa: g B A is the update's leading part, A A^T - B^T B = kappa I."""
    left, f, right = np.linalg.svd(update)
    b2 = -kappa / 2 + np.sqrt(kappa**2 / 4 + f[:rank] ** 2 / scaling**2)
    return left[:, :rank] * np.sqrt(b2), np.sqrt(b2 + kappa)[:, None] * right[:rank]


def gradients(b, a, full, s, g, decay=0.0):
    slope = (g * b @ a - full) @ s
    return g * slope @ a.T + decay * g * b, g * b.T @ slope + decay * g * a


def integrated(full, a, b, times, g, s):
    """D(t) by an eighth-order integrator with tight tolerances."""
    (dy, dx), r = full.shape, len(a)

    def flow(_, state):
        both = gradients(state[: dy * r].reshape(dy, r), state[dy * r :].reshape(r, dx), full, s, g)
        return -np.concatenate([part.ravel() for part in both])

    start = np.concatenate([b.ravel(), a.ravel()])
    found = solve_ivp(flow, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-14).y.T
    return np.array([g * y[: dy * r].reshape(dy, r) @ y[dy * r :].reshape(r, dx) for y in found])


def orthogonal_rows(rng, rank, dx, kappa):
    return np.sqrt(kappa) * np.linalg.qr(rng.standard_normal((dx, rank)))[0].T


# -- the path -----------------------------------------------------------------------------------------------------


def test_reference_values_of_modes():
    assert training.logistic_mode(2.0, 1e-3, 3.0, scaling=2.0, variance=0.5) == pytest.approx(1.975733487, abs=1e-9)
    assert training.half_time(2.0, 1e-3, scaling=2.0, variance=0.5) == pytest.approx(1.900100584, abs=1e-9)
    assert training.zero_start_mode(2.0, 1 / 3, 0.5, scaling=2.0) == pytest.approx(1.692021951, abs=1e-9)
    assert training.zero_start_mode(1.0, 1.0, 1.0, scaling=1.0) == pytest.approx(0.737849738, abs=1e-9)


def test_reference_values_of_the_path():
    full, a = np.array([[3.0, 0, 0], [0, 1.0, 0]]), np.ones((1, 3)) / 3
    early, late = training.lora_path(full, a, [0.2, 1.0], scaling=2.0)
    np.testing.assert_allclose(early, [[0.465673, 0.287247, 0.267380], [0.126746, 0.078182, 0.072775]], atol=6e-7)
    np.testing.assert_allclose(late, [[2.994482, 0.070347, 0.025095], [0.055389, 0.001301, 0.000464]], atol=6e-7)


@pytest.mark.parametrize(
    ("dy", "dx", "rank", "g", "kappa", "c"),
    [(4, 6, 2, 2.0, 1 / 3, 0.7), (6, 4, 3, 16.0, 1 / 3, 1.0), (5, 5, 5, 1.0, 1e-6, 2.0), (3, 7, 2, 8.0, 0.05, 1.0)],
)
def test_the_path_is_that_of_an_integrator(dy, dx, rank, g, kappa, c):
    """The integrator is asked for 1e-12 a step; both agree to 1e-9."""
    rng = np.random.default_rng(0)
    full, times = rng.standard_normal((dy, dx)), np.array([0.01, 0.1, 0.5, 2.0])
    a = orthogonal_rows(rng, rank, dx, kappa)
    expected = integrated(full, a, np.zeros((dy, rank)), times, g, c * np.eye(dx))
    shuffled = [2, 0, 3, 1]
    found = training.lora_path(full, a, times[shuffled], scaling=g, variance=c)
    np.testing.assert_allclose(found, expected[shuffled], atol=1e-9)
    shift = rng.standard_normal((dy, dx))
    risk = training.path_risk(full, shift, a, times, scaling=g, variance=c)
    np.testing.assert_allclose(risk, c * np.sum((expected - shift) ** 2, axis=(1, 2)), rtol=1e-9)


def test_a_balanced_start_has_the_limit_of_kappa_0():
    rng = np.random.default_rng(1)
    full, times = rng.standard_normal((4, 6)), np.array([0.5, 2.0, 8.0])
    b, a = orthogonal_rows(rng, 2, 4, 1e-4).T, orthogonal_rows(rng, 2, 6, 1e-4)
    found = training.lora_path(full, a, times, scaling=2.0, b=b)
    np.testing.assert_allclose(found, integrated(full, a, b, times, 2.0, np.eye(6)), atol=1e-9)


@pytest.mark.parametrize("kind", ["balanced", "kappa"])
def test_modes_are_paths_along_singular_vectors_and_invert(kind):
    rng = np.random.default_rng(2)
    full, size, g, c = rng.standard_normal((5, 6)), 1e-3, 2.0, 0.7
    left, f, right = np.linalg.svd(full)
    times = np.array([0.2, 1.0, 3.0])
    if kind == "balanced":
        a, b = np.sqrt(size / g) * right[:3], np.sqrt(size / g) * left[:, :3]
        modes = training.logistic_mode(f[:3], size, times[:, None], scaling=g, variance=c)
    else:
        a, b = np.sqrt(size) * right[:3], None
        modes = training.zero_start_mode(f[:3], size, times[:, None], scaling=g, variance=c)
    path = training.lora_path(full, a, times, scaling=g, variance=c, b=b)
    np.testing.assert_allclose(np.einsum("ai,tij,jb->tab", left.T, path, right.T)[:, range(3), range(3)], modes)
    back = training.time_to_reach(f[:3], modes[:2], scaling=g, variance=c, **{kind: size})
    np.testing.assert_allclose(back, np.broadcast_to(times[:2, None], (2, 3)), rtol=1e-6)


def test_a_mode_starts_from_next_to_nothing():
    """At kappa = 1e-12 the inverse of 1 - T would have lost all digits."""
    found = training.zero_start_mode(2.0, 1e-12, [0.1, 7.0], scaling=2.0)
    flow = solve_ivp(
        lambda _, d: 4 * (2 - d) * np.hypot(1e-12, d), (0, 7), [0.0], "DOP853", [0.1, 7.0], rtol=1e-12, atol=1e-30
    )
    np.testing.assert_allclose(found, flow.y[0], rtol=1e-9)


def test_slow_modes_survive_fast_ones():
    """In one piece the second mode would be e^{-2 * 40} beside the first."""
    full = np.diag([20.0, 1.0, 0.5])
    a = orthogonal_rows(np.random.default_rng(3), 2, 3, 1 / 3)
    (end,) = training.lora_path(full, a, [25.0], scaling=2.0)
    np.testing.assert_allclose(end, np.diag([20.0, 1.0, 0.0]), atol=1e-7)


def test_lazy_training_passes_through_the_frozen_solution_and_defaults_do_not():
    """The distance to it at 8 / (c g^2 kappa), over that of the end."""
    rng = np.random.default_rng(4)
    full = rng.standard_normal((6, 9))
    a = orthogonal_rows(rng, 2, 9, 1 / 3)
    frozen, near = training.frozen_a_update(full, a), []
    left, f, right = np.linalg.svd(full)
    end = (left[:, :2] * f[:2]) @ right[:2]
    np.testing.assert_allclose(frozen, full @ np.linalg.pinv(a) @ a)
    for g in (2.0, 256.0):
        phases = training.phases(f, 2, (6, 9), scaling=g, kappa=1 / 3)
        (middle,) = training.lora_path(full, a, [8 / phases.first], scaling=g)
        near.append(np.linalg.norm(middle - frozen) / np.linalg.norm(end - frozen))
        assert phases.laziness == pytest.approx(g / 6 / f[0])
    assert near[0] > 0.5
    assert near[1] < 0.01


def test_at_the_end_of_all_times_the_path_is_at_the_closed_form():
    """Whatever the time: generic F, of lower rank than the factors, zero, and tied at the rank (at one minimum)."""
    rng = np.random.default_rng(8)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for full, rank in ((rng.standard_normal((4, 6)), 2), (np.diag([3.0, 2.0, 0, 0]), 3), (np.zeros((3, 4)), 2)):
        (end,) = training.lora_path(full, orthogonal_rows(rng, rank, full.shape[1], 1 / 3), [1e30], scaling=2.0)
        left, f, right = np.linalg.svd(full)
        np.testing.assert_allclose(end, (left[:, :rank] * f[:rank]) @ right[:rank], atol=1e-12)
    (end,) = training.lora_path(2 * turn, orthogonal_rows(rng, 2, 4, 1 / 3), [1e30], scaling=2.0)
    np.testing.assert_allclose(np.linalg.svd(end, compute_uv=False), [2, 2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(end @ turn.T @ end, 2 * end, atol=1e-12)


def test_the_path_refuses_what_has_no_closed_form(monkeypatch):
    full = np.eye(3)
    with refused("a", "kappa I", "off it", "orthogonal and equally long"):
        training.lora_path(full, [[1.0, 0, 0], [0, 2.0, 0]], [1.0], scaling=1.0)
    monkeypatch.setattr(trajectories, "_MOST_PIECES", 200)
    with refused("times", "times up to", remedy="near one another, have not ended"):
        training.lora_path(np.diag([1.0, 1.0 - 1e-9, 0.5]), np.ones((1, 3)) / 3, [1e9], scaling=1.0)
    with refused("times", ">= 0"):
        training.lora_path(full, np.eye(3)[:1], [-1.0], scaling=1.0)
    with refused("start", "below half"):
        training.half_time(1.0, 0.6, scaling=1.0)
    with refused("kappa and balanced", "one of the two", "neither"):
        training.time_to_reach(1.0, 0.5, scaling=1.0)
    with refused("level", "d < f"):
        training.time_to_reach(1.0, 1.0, scaling=1.0, kappa=1.0)
    with refused("scaling", "> 0"):
        training.zero_start_mode(1.0, 1.0, 1.0, scaling=0.0)
    with refused("a", "independent rows"):
        training.frozen_a_update(full, np.ones((2, 3)))


# -- rates and learning rates -------------------------------------------------------------------------------------


def test_the_hessian_is_the_derivative_of_the_gradient():
    """By a complex step, which loses no digits."""
    rng = np.random.default_rng(5)
    (dy, dx, r), g, mu = (3, 4, 2), 1.7, 0.3
    b, a, full = rng.standard_normal((dy, r)), rng.standard_normal((r, dx)), rng.standard_normal((dy, dx))
    s = np.cov(rng.standard_normal((dx, 9)))
    columns = []
    for i in range(r * (dx + dy)):
        step = np.zeros(r * (dx + dy), dtype=complex)
        step[i] = 1e-30j
        both = gradients(b + step[: dy * r].reshape(dy, r), a + step[dy * r :].reshape(r, dx), full, s, g, mu)
        columns.append(np.concatenate([part.ravel() for part in both]).imag / 1e-30)
    np.testing.assert_allclose(training.factor_hessian(b, a, full, s, scaling=g, decay=mu), columns, atol=1e-12)


@pytest.mark.parametrize(
    ("dy", "dx", "rank", "f"),
    [
        (4, 5, 2, (3, 2, 1, 0.5)),
        (3, 5, 3, (3, 2, 1)),
        (5, 3, 3, (3, 2, 1)),
        (3, 3, 3, (3, 2, 1)),
        (5, 4, 2, (3, 2)),
        (5, 5, 3, (3, 2, 1, 0.4, 0.2)),
    ],
)
@pytest.mark.parametrize("g", [2.0, 16.0])
def test_the_local_rate_is_the_hessians_and_what_the_path_does(dy, dx, rank, f, g):
    """r < q, r = dy < dx, r = dx < dy, square, and a full update of lower rank: measured from 20 to 23 e-folds on."""
    rng, c, kappa = np.random.default_rng(6), 0.7, 1 / 3
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (dy, dx))
    full = (left[:, : len(f)] * f) @ right[:, : len(f)].T
    rate = training.local_rate(f, rank, (dy, dx), scaling=g, kappa=kappa, variance=c)
    b, a = factors(full, rank, g, kappa)
    s = c * np.eye(dx)
    assert training.hessian_rate(b, a, full, s, scaling=g) == pytest.approx(rate, rel=1e-9)
    path = training.lora_path(
        full, orthogonal_rows(rng, rank, dx, kappa), np.array([20, 23]) / rate, scaling=g, variance=c
    )
    errors = np.linalg.norm(path - g * b @ a, axis=(1, 2))
    assert np.log(errors[0] / errors[1]) / 3 == pytest.approx(1, abs=0.01)
    largest = np.linalg.eigvalsh(training.factor_hessian(b, a, full, s, scaling=g))[-1]
    assert training.largest_learning_rate_at_end(f, scaling=g, kappa=kappa, variance=c) == pytest.approx(2 / largest)


def test_general_metrics_and_unseen_directions_have_the_hessians_rate():
    """Gradient descent's error falls by 1 - eta * rate a step, n < dx and S not a multiple of the identity."""
    rng, g = np.random.default_rng(7), 2.0
    x = rng.standard_normal((6, 4)) * np.array([3, 2, 1, 1, 1, 0.5])[:, None]
    s, r = x @ x.T / 4, rng.standard_normal((3, 4))
    full = r @ np.linalg.pinv(x)
    b, a = np.zeros((3, 2)), orthogonal_rows(rng, 2, 6, 1 / 3)
    eta, updates = 0.02, []
    for step in range(12001):
        slope_b, slope_a = gradients(b, a, full, s, g)
        b, a = b - eta * slope_b, a - eta * slope_a
        updates += [g * b @ a @ x] if step in (3000, 3200, 12000) else []
    rate = training.hessian_rate(b, a, full, s, scaling=g)
    first, second = (np.linalg.norm(u - updates[2]) for u in updates[:2])
    assert (second / first) ** (1 / 200) == pytest.approx(1 - eta * rate, abs=0.01 * eta * rate)


def test_the_start_is_left_smoothly_below_the_hessians_rate_only():
    """At 45 % of the lazy rule descent diverges within ten steps unless it is lazy; at 45 % of the Hessian's never."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((30, 400))
    s = x @ x.T / 400
    delta = np.zeros((25, 30))
    delta[range(3), range(3)] = 3, 2, 1
    full = delta + rng.standard_normal((25, 400)) @ np.linalg.pinv(x)
    a0 = rng.uniform(-1, 1, (4, 30)) / np.sqrt(30)

    def grows(g, eta):
        b, a = np.zeros((25, 4)), a0
        for _ in range(10):
            slope_b, slope_a = gradients(b, a, full, s, g)
            b, a = b - eta * slope_b, a - eta * slope_a
            loss = np.sum(((g * b @ a - full) @ s) * (g * b @ a - full))
            if loss > 10 * np.sum((full @ s) * full):
                return True
        return False

    for g, lazy_diverges in ((1.0, True), (2.0, True), (64.0, False)):
        found = training.largest_learning_rate_at_start(a0, full, s, scaling=g)
        hessian = training.factor_hessian(np.zeros((25, 4)), a0, full, s, scaling=g)
        assert found == pytest.approx(2 / np.linalg.eigvalsh(hessian)[-1])
        lazy = 2 / (g**2 * np.linalg.norm(a0 @ s @ a0.T, 2))
        assert grows(g, 0.45 * lazy) == lazy_diverges
        assert not grows(g, 0.45 * found)


def test_rates_refuse_ranks_without_a_single_minimiser():
    with refused("rank", "1..2, the rank of the full update", "3"):
        training.local_rate((3.0, 1.0, 0.0), 3, (3, 3), scaling=1.0, kappa=1.0)
    with refused("values", "from large to small"):
        training.local_rate((1.0, 3.0), 1, (3, 3), scaling=1.0, kappa=1.0)
    with refused("b and a", "factors of the minimum"):
        b, a = factors(np.diag([1.0, 3.0]), 1, 1.0, 0.0)
        training.hessian_rate(b[::-1], a[:, ::-1], np.diag([1.0, 3.0]), np.eye(2), scaling=1.0)
    with refused("a", "5000 entries"):
        training.factor_hessian(np.zeros((60, 50)), np.zeros((50, 60)), np.eye(60), np.eye(60), scaling=1.0)
    assert training.local_rate((2.0, 2.0), 1, (3, 3), scaling=1.0, kappa=1.0) == 0


# -- risk against time --------------------------------------------------------------------------------------------

SMALL = Problem(n=40, dx=8, dy=6, spectrum=(3.0, 1.5), noise_std=2.0, input_covariance=np.full(8, 2.0))


def stepped(full, a, times, g, s, step=0.01):
    """Risks of many at once by fourth-order Runge-Kutta steps: errors of 1e-6, far below those of sampling."""
    b = np.zeros((len(full), full.shape[1], a.shape[1]))

    def slopes(b, a):
        slope = (full - g * b @ a) @ s
        return g * slope @ a.mT, g * b.mT @ slope

    found = []
    for t in range(1, round(times[-1] / step) + 1):
        k1 = slopes(b, a)
        k2 = slopes(b + step / 2 * k1[0], a + step / 2 * k1[1])
        k3 = slopes(b + step / 2 * k2[0], a + step / 2 * k2[1])
        k4 = slopes(b + step * k3[0], a + step * k3[1])
        b, a = (
            old + step / 6 * (p + 2 * q + 2 * u + v) for old, p, q, u, v in zip((b, a), k1, k2, k3, k4, strict=True)
        )
        found += [g * b @ a] if round(times[len(found)] / step) == t else []
    return found


def test_a_random_start_agrees_with_explicit_orthogonal_data():
    """Noise drawn as E X^T on a fixed design with X X^T = n c I."""
    rng, draws, c = np.random.default_rng(9), 400, 2.0
    times = np.array([0.05, 0.2, 0.6])
    found = training.risk_over_time(SMALL, 2, times, orthogonal=True, draws=400, seed=1)
    x = np.sqrt(40 * c) * np.linalg.qr(rng.standard_normal((40, 8)))[0].T
    full = SMALL.shift + 2 * rng.standard_normal((draws, 6, 40)) @ x.T / (40 * c)
    a = np.stack([orthogonal_rows(rng, 2, 8, 1 / 3) for _ in range(draws)])
    risks = [c * np.sum((d - SMALL.shift) ** 2, axis=(1, 2)) for d in stepped(full, a, times, 2.0, c * np.eye(8))]
    stderr = [np.std(r, ddof=1) / np.sqrt(draws) for r in risks]
    assert_means_agree(found.risk, found.stderr, np.mean(risks, axis=1), stderr)
    np.testing.assert_array_equal(found.flags, 2 * found.stderr > 0.01 * found.risk)
    late = training.risk_over_time(SMALL, 2, [0.0, 60.0], draws=8)
    assert late.risk[0] == pytest.approx(SMALL.pretrained_risk)
    assert late.risk[1] == pytest.approx(late.end, rel=1e-6)
    assert (late.flags.tolist(), late.flagged) == ([False, True], True)
    assert "standard errors of 8 draws" in late.notes[0]


def explicit(problem, rank, times, start, draws, seed, step=0.02):
    """Mean risks and standard errors of the flow on Gaussian data, all of it drawn, in plain NumPy."""
    rng, (dy, dx), c = np.random.default_rng(seed), problem.shift.shape, problem.isotropic_scale
    x = np.sqrt(c) * rng.standard_normal((draws, dx, problem.n))
    noise = problem.noise_std * rng.standard_normal((draws, dy, problem.n))
    s = x @ x.mT / problem.n
    full = problem.shift + noise @ x.mT / problem.n @ np.linalg.inv(s)
    if start == "kaiming":
        a = rng.uniform(-1, 1, (draws, rank, dx)) / np.sqrt(dx)
    elif start == "random":
        a = np.stack([orthogonal_rows(rng, rank, dx, 1 / 3) for _ in range(draws)])
    else:
        a = rng.standard_normal((draws, rank, dx)) / (rank if start == "gaussian" else np.sqrt(rank))
    risks = [c * np.sum((d - problem.shift) ** 2, axis=(1, 2)) for d in stepped(full, a, times, 2.0, s, step)]
    return np.mean(risks, axis=1), np.std(risks, axis=1, ddof=1) / np.sqrt(draws)


FEW_SAMPLES = Problem(n=12, dx=6, dy=4, spectrum=(3.0, 2.0), noise_std=1.0, input_covariance=np.full(6, 0.5))


@pytest.mark.parametrize(
    "start", ["kaiming", *(pytest.param(s, marks=pytest.mark.heavy) for s in ("random", "gaussian", "normal"))]
)
def test_drawn_starts_agree_with_explicit_gaussian_data_at_n_near_dx(start):
    """At level 1e-6 over three times. From orthogonal rows in the limit n >> dx they differ, beyond that."""
    times, draws = np.array([0.2, 0.5, 1.4]), 300
    found = training.risk_over_time(FEW_SAMPLES, 3, times, start=start, draws=draws, seed=3)
    mean, stderr = explicit(FEW_SAMPLES, 3, times, start, draws, seed=4)
    assert_means_agree(found.risk, found.stderr, mean, stderr)
    if start == "kaiming":
        limit = training.risk_over_time(FEW_SAMPLES, 3, times, orthogonal=True, draws=draws, seed=3)
        assert np.max(np.abs(limit.risk - mean) / np.hypot(stderr, limit.stderr)) > 2 * critical_z(3)


@pytest.mark.parametrize(("orthogonal", "start", "variance"), [(False, "gaussian", 1 / 4), (True, "normal", 1 / 2)])
def test_drawn_designs_noise_and_starts_have_their_chi_squared_laws(orthogonal, start, variance):
    """n tr(S) / c over all draws is chi-squared of `draws` n dx degrees of freedom, and so is the noise of F, scaled,
    of `draws` dy dx: a sample less is off by 15 standard deviations. Two-sided level 1e-6."""
    problem, draws = Problem(n=12, dx=6, dy=5, input_covariance=np.full(6, 2.5), spectrum=(3.0,), noise_std=0.7), 900
    made = [drawn_path._draw(problem, 2.5, 2, start, 1.0, orthogonal, 4, draw) for draw in range(draws)]
    moment, a, turned, variances, fitted = (np.stack(parts) for parts in zip(*made, strict=True))
    roots = np.sqrt(variances)
    found = [np.sum(12 / 0.49 * (fitted - turned * roots) ** 2), 12 / 2.5 * np.sum(variances)]
    tests = zip(found, [draws * 5 * 6, draws * 12 * 6], strict=True)
    low, high = np.array([scipy.stats.chi2.ppf([LEVEL / 4, 1 - LEVEL / 4], dof) for _, dof in tests]).T
    if orthogonal:
        np.testing.assert_allclose(variances, 2.5, rtol=1e-15)
        found, low, high = found[:1], low[:1], high[:1]
    assert np.all((low < found) & (found < high))
    np.testing.assert_allclose(moment, fitted * roots, rtol=1e-12)
    assert abs(np.mean(a**2) / variance - 1) < critical_z(1) * (2 / a.size) ** 0.5


def test_starts_are_turned_as_the_shift_is():
    """A square shift shows the basis; turned back, PEFT's A(0) is within its bounds again."""
    problem = Problem(n=12, dx=6, dy=6, spectrum=(3.0, 2.5, 2.0, 1.5, 1.0, 0.5), noise_std=0.7)
    _, a, turned, _, _ = drawn_path._draw(problem, 1.0, 3, "kaiming", 1.0, False, 4, 0)
    basis = np.linalg.solve(problem.shift, turned)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-13)
    assert np.max(np.abs(a)) > 1.05 * 6**-0.5
    assert np.max(np.abs(a @ basis.T)) <= 6**-0.5


def test_ends_of_drawn_paths_are_where_the_closed_form_of_a_path_goes():
    """Sigma = c I with c = 2.5, orthogonal designs: there the path is not integrated."""
    problem = Problem(n=60, dx=6, dy=5, input_covariance=np.full(6, 2.5), spectrum=(3.0, 2.0), noise_std=0.5)
    numbers = {"scaling": 2.0, "kappa": 0.3, "orthogonal": True, "draws": 3, "seed": 0}
    found = drawn_path.drawn_risks(problem, 2, np.array([0.0, 1e4]), "random", **numbers)
    np.testing.assert_allclose(found.risks[:, 0], 2.5 * 13, rtol=1e-12)
    np.testing.assert_allclose(found.risks[:, 1], found.ends, rtol=1e-9)
    assert np.all(found.ends < 2.0)


def test_short_rows_leave_late():
    """dx = dy = 1: A(0) is uniform on -1..1, so that the mean over it is an integral of the mode from B = 0.

    Halfway the mean from PEFT's start is an order of magnitude above that from a row of the mean length. At level 1e-6,
    with noise and designs of relative effect below 1/n.
    """
    problem = Problem(n=10**6, dx=1, dy=1, spectrum=(2.0,), noise_std=1.0)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    times = np.array([0.4, 0.8])
    modes = np.array([training.zero_start_mode(2.0, (x + 1) ** 2 / 4, times, scaling=2.0) for x in nodes])
    exact = weights @ (2 - modes) ** 2 / 2
    for orthogonal in (True, False):
        found = training.risk_over_time(problem, 1, times, start="kaiming", orthogonal=orthogonal, draws=400)
        assert np.all(np.abs(found.risk - exact) <= critical_z(4) * found.stderr + 1e-2 * exact)
        assert found.flags.all()
    even = training.risk_over_time(problem, 1, times, orthogonal=True, draws=2)
    assert even.risk[1] < exact[1] / 10


def test_paths_that_have_ended_are_at_d_r_however_long_the_time(monkeypatch):
    """A rate of 5 for 3000 steps, as a diverging run has it: the end's mean, in a second."""
    problem = Problem(n=30, dx=8, dy=6, spectrum=(3.0, 2.0), noise_std=1.0)
    found = training.risk_over_time(problem, 2, [15_000.0, 0.0, 1e9], start="kaiming", draws=8)
    assert found.risk[[0, 2]] == pytest.approx(found.end, rel=1e-6)
    assert found.risk[1] == pytest.approx(13.0)
    tied = problem.replace(noise_std=0.0, spectrum=(2.0, 2.0, 2.0))
    monkeypatch.setattr(drawn_path, "_MOST", 2000)
    with refused("times", "times up to", remedy="another rank"):
        training.risk_over_time(tied, 2, [1e9], start="kaiming", orthogonal=True, draws=2)


@pytest.mark.parametrize("start", ["aligned", "balanced"])
def test_spectral_starts_have_the_closed_form_of_spiked_overlaps(start):
    """Rank 4 keeps a direction of noise: within 3 % of the mean over 16 draws and its error at 1e-6."""
    problem = Problem(n=400, dx=90, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    times, rng, g = np.array([0.05, 0.3, 1.0, 4.0]), np.random.default_rng(10), 2.0
    found = training.risk_over_time(problem, 4, times, start=start, balanced=0.1)
    risks = []
    for _ in range(16):
        full = problem.shift + rng.standard_normal((80, 90)) / 20
        left, f, right = np.linalg.svd(full)
        if start == "aligned":
            d = training.zero_start_mode(f[:4], 1 / 3, times[:, None], scaling=g)
        else:
            d = training.logistic_mode(f[:4], 0.1, times[:, None], scaling=g)
        overlap = np.einsum("ia,ij,aj->a", left[:, :4], problem.shift, right[:4])
        risks.append(problem.pretrained_risk + np.sum(d**2 - 2 * d * overlap, axis=1))
    allowed = 0.03 * found.risk + critical_z(4) * np.std(risks, axis=0, ddof=1) / 4
    assert np.all(np.abs(found.risk - np.mean(risks, axis=0)) <= allowed)
    assert found.flagged
    assert found.stderr is None


def test_each_mode_has_a_best_time_of_its_own():
    """Bracket by bracket: the risk at one stop, of the mode alone, is the least along a grid through it."""
    problem = Problem(n=400, dx=20, dy=15, spectrum=(3.0,), noise_std=2.0, input_covariance=np.full(20, 0.5))
    for start in ("aligned", "balanced"):
        stops = training.optimal_stops(problem, 2, start=start)
        best = stops.times[0]
        around = best * np.array([0.9, 0.97, 1.0, 1.03, 1.1])
        assert training.risk_over_time(problem, 1, around, start=start).best == 2
        assert stops.times[1] == stops.levels[1] == 0
    assert stops.levels[0] < 3 < stops.values[0]
    without = training.optimal_stops(problem.replace(noise_std=0.0), 1)
    assert without.times.tolist() == [np.inf]
    exact = training.risk_over_time(problem.replace(noise_std=0.0), 2, [1.0], start="aligned")
    mode = training.zero_start_mode(3.0, 1 / 3, 1.0, scaling=2.0, variance=0.5)
    assert exact.risk[0] == pytest.approx(0.5 * (3 - mode) ** 2)


def test_risk_over_time_refuses_what_is_not_known():
    for change, field in (
        ({"ridge": 1.0}, "ridge"),
        ({"n": 7}, "n"),
        ({"input_covariance": np.arange(1.0, 9)}, "input_covariance"),
    ):
        with refused(field):
            training.risk_over_time(SMALL.replace(**change), 2, [1.0])
    uneven = SMALL.replace(noise_covariance=np.arange(1.0, 7))
    with refused("noise_covariance", "isotropic", remedy="random"):
        training.risk_over_time(uneven, 2, [1.0], start="aligned")
    assert np.isfinite(training.risk_over_time(uneven, 2, [1.0], draws=2).risk[0])
    with refused("rank", "1..min(dx, dy) = 6"):
        training.risk_over_time(SMALL, 7, [1.0])
    with refused("start", "random, kaiming, gaussian, normal, aligned, balanced"):
        training.risk_over_time(SMALL, 2, [1.0], start="zero")
    with refused("start", "aligned, balanced", "random", "do not separate"):
        training.optimal_stops(SMALL, 2, start="random")
    with refused("draws", "2 to 10000"):
        training.risk_over_time(SMALL, 2, [1.0], draws=1)


# -- what is left of the start ------------------------------------------------------------------------------------


def test_the_trained_factors_energy_is_the_flows():
    """Rows of A(0) that are orthogonal in the range of X: the flow ends at the formula's ||B||^2, in any metric."""
    rng, g, seen = np.random.default_rng(11), 2.0, 0.2
    basis, turned = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (7, 4))
    x = 2 * (basis * np.array([1.5, 1.2, 1.0, 0.8])) @ turned
    full = np.array([[4.0, 0, 0, 0], [0, 2.0, 0, 0.5], [0, 0, 0.2, 0]]) @ np.linalg.pinv(x)
    left, _, _ = np.linalg.svd(full @ x)
    least = left[:, :2] @ left[:, :2].T @ full
    inside = orthogonal_rows(rng, 2, 4, seen) @ basis.T
    outside = rng.standard_normal((2, 7)) * 0.3
    a = inside + outside - outside @ basis @ basis.T
    (end,) = integrated(full, a, np.zeros((3, 2)), np.array([25.0]), g, x @ x.T / 4)
    np.testing.assert_allclose(end @ basis, least @ basis, atol=1e-7)
    unseen = end - end @ basis @ basis.T
    b = unseen @ np.linalg.pinv(g * (a - inside))
    values = np.linalg.svd(least, compute_uv=False)
    assert g**2 * np.sum(b**2) == pytest.approx(training.trained_b_energy(values, scaling=g, seen=seen), rel=1e-6)
    assert training.trained_b_energy(values, scaling=g, seen=0.0) == pytest.approx(g * np.sum(values))


@pytest.mark.heavy
@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_what_is_left_of_the_start_costs_its_formula(law):
    """n = 20, dx = 40, dy = 15, r = 3, g = 2, a^2 = 1/120, Sigma not I: 400 starts on one draw of the data."""
    rng, g, starts, step = np.random.default_rng(12), 2.0, 400, 0.05
    sigma = np.linspace(0.5, 1.5, 40)
    x = rng.standard_normal((40, 20)) * np.sqrt(sigma)[:, None]
    delta = np.zeros((15, 40))
    delta[range(3), range(3)] = 4, 3, 2
    full = (delta @ x + rng.standard_normal((15, 20))) @ np.linalg.pinv(x)
    left, _, _ = np.linalg.svd(full @ x)
    least = left[:, :3] @ left[:, :3].T @ full
    a = rng.standard_normal((starts, 3, 40)) if law == "gaussian" else rng.uniform(-1, 1, (starts, 3, 40)) * np.sqrt(3)
    a, b, s = a / np.sqrt(120), np.zeros((starts, 15, 3)), x @ x.T / 20
    for _ in range(4000):
        slope = (full - g * b @ a) @ s
        b, a = b + step * g * slope @ a.mT, a + step * g * b.mT @ slope
    added = np.sum(((g * b @ a - delta) ** 2 - (least - delta) ** 2) * sigma, axis=(1, 2))
    assert np.max(np.abs((g * b @ a - least) @ x)) < 1e-6
    found = training.start_residue(least, x, scaling=g, entry_variance=1 / 120, covariance=sigma)
    stderr = np.std(added, ddof=1) / np.sqrt(starts)
    assert abs(np.mean(added) - found.added_risk) < critical_z(1) * stderr
    assert 2 * found.added_risk - np.mean(added) > critical_z(1) * stderr, "dx for dx - n is rejected"


def test_nothing_is_left_where_the_data_see_all():
    full = np.eye(3)
    assert training.start_residue(full, np.eye(3), scaling=2.0, entry_variance=0.1).added_risk == 0
    found = training.start_residue(
        np.diag([2.0, 0, 0]), np.eye(3)[:, :1], scaling=2.0, entry_variance=0.1, covariance=[1, 2, 4]
    )
    assert found.unseen == pytest.approx(6)
    assert found.added_risk == pytest.approx(0.1 * 6 * (np.sqrt(0.04 + 16) - 0.2))
    with refused("update", "range of X", "outside", "minimum norm"):
        training.start_residue(full, np.eye(3)[:, :2], scaling=2.0, entry_variance=0.1)


# -- the first step -----------------------------------------------------------------------------------------------


def test_reference_values_of_the_first_step():
    problem = Problem(n=50, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=1.0)
    step = training.best_first_step(problem, 4, entries="gaussian")
    assert step.gradient_energy == pytest.approx(24.46)
    assert step.risk == pytest.approx(13 * (1 - 4 / 25 * 13 / 24.46))
    assert (round(step.risk, 4), round(step.fft_risk, 4)) == (11.8945, 6.0908)
    assert step.share == pytest.approx(4 / 25)
    assert training.best_first_step(problem, 4).share == pytest.approx(4 / (25 - 6 / 5))
    scaled = training.best_first_step(problem, 4, scaling=8.0, entry_variance=2.0)
    assert scaled.risk == pytest.approx(training.best_first_step(problem, 4).risk)


@pytest.mark.parametrize("entries", ["gaussian", "uniform"])
def test_the_best_first_step_is_the_mean_of_explicit_steps(entries):
    """General covariances, n < dx: 20,000 draws at 1e-6; the other law of A is rejected by the update's energy."""
    rng, draws, g, a2 = np.random.default_rng(13), 20_000, 2.0, 0.2
    sigma, noise = np.array([2.0, 1.0, 1.0, 0.3, 0.3]), np.array([1.0, 0.5, 0.5])
    delta = np.array([[2.0, 0, 0.5, 0, 0], [0, 1.0, 0, 0, 1.0], [0, 0, 0, 0, 0]])
    problem = Problem(n=4, dx=5, dy=3, task_shift=delta, noise_std=1.0, input_covariance=sigma, noise_covariance=noise)
    step = training.best_first_step(problem, 2, scaling=g, entry_variance=a2, entries=entries)
    x = rng.standard_normal((draws, 5, 4)) * np.sqrt(sigma)[:, None]
    h = (delta @ x + rng.standard_normal((draws, 3, 4)) * np.sqrt(noise)[:, None]) @ x.mT / 4
    a = rng.standard_normal((draws, 2, 5)) if entries == "gaussian" else rng.uniform(-1, 1, (draws, 2, 5)) * np.sqrt(3)
    update = step.learning_rate * g**2 * h @ (a2 * a.mT @ a)
    measured = [
        np.sum((update - delta) ** 2 * sigma, axis=(1, 2)),
        np.sum((step.fft_learning_rate * h - delta) ** 2 * sigma, axis=(1, 2)),
        np.sum(h**2, axis=(1, 2)),
        np.sum(update**2, axis=(1, 2)),
    ]
    expected = [step.risk, step.fft_risk, step.gradient_energy, step.update_energy]
    assert_means_agree(expected, 0.0, np.mean(measured, axis=1), np.std(measured, axis=1) / np.sqrt(draws))
    other = {"gaussian": 8 - 6 / 5, "uniform": 8.0}[entries] / {"gaussian": 8.0, "uniform": 8 - 6 / 5}[entries]
    assert abs(np.mean(measured[3]) - other * step.update_energy) > critical_z(1) * np.std(measured[3]) / np.sqrt(draws)


def test_first_falls_are_means_over_starts_and_have_their_exponents():
    """10,000 Gaussian starts; powers of r between ranks 2 and 8 are exact in the formula."""
    rng, draws, eta = np.random.default_rng(14), 10_000, 1e-3
    h, a = rng.standard_normal((3, 5)), 0.5 * rng.standard_normal((draws, 2, 5))
    slopes = 2.0 * h @ a.mT
    falls = [eta * np.sum(slopes**2, axis=(1, 2)), eta * np.sum(np.abs(slopes), axis=(1, 2))]
    settings = {"scaling": 2.0, "entry_variance": 0.25, "learning_rate": eta}
    expected = [training.first_fall(h, 2, **settings, optimiser=how) for how in ("gd", "sign")]
    assert_means_agree(expected, 0.0, np.mean(falls, axis=1), np.std(falls, axis=1) / np.sqrt(draws))
    for name, p in (("lora", 1.0), ("rslora", 0.5), ("constant", 0.0)):
        for how in ("gd", "sign"):
            for q in (0.0, 2.0):
                at = [
                    training.first_fall(h, r, scaling=8 / r**p, entry_variance=r**-q, learning_rate=eta, optimiser=how)
                    for r in (2, 8)
                ]
                power = np.log(at[1] / at[0]) / np.log(4)
                assert power == pytest.approx(training.fall_exponent(name, how, variance_power=q))
    with refused("optimiser", "gd, sign"):
        training.fall_exponent("lora", "adam")
    with refused("spectrum", "a shift"):
        training.best_first_step(SMALL.replace(spectrum=()), 2)
    with refused("ridge", "0"):
        training.best_first_step(SMALL.replace(ridge=1.0), 2)
    with refused("entries", "gaussian, uniform"):
        training.best_first_step(SMALL, 2, entries="orthogonal")


# -- the landscape ------------------------------------------------------------------------------------------------


def test_reference_counts_and_indices():
    counts = [training.critical_count(q, r) for q, r in ((5, 2), (5, 3), (4, 2), (4, 3), (4, 4), (4, 9))]
    assert counts == [16, 26, 11, 15, 16, 16]
    assert training.saddle_index((1, 3), 5, 2) == 3
    assert training.saddle_index((), 5, 2) == 10


@pytest.mark.parametrize(("n", "dx", "dy", "rank"), [(12, 5, 4, 2), (12, 4, 5, 3), (4, 7, 6, 2), (3, 6, 5, 5)])
def test_every_critical_point_has_the_hessian_that_is_said(n, dx, dy, rank):
    """Data of any metric; for n < dx the update reaches outside of the range of X, where it is free."""
    rng, g = np.random.default_rng(15), 1.5
    x = rng.standard_normal((dx, n)) * np.linspace(2, 0.5, dx)[:, None]
    r = rng.standard_normal((dy, n))
    s, full = x @ x.T / n, r @ np.linalg.pinv(x)
    left, f, _ = np.linalg.svd(full @ x / np.sqrt(n))
    q = min(n, dx, dy)
    free = rng.standard_normal((rank, dx))
    free -= free @ x @ np.linalg.pinv(x)
    points = training.critical_points(f[:q], rank, (dy, dx), n)
    assert len(points) == training.critical_count(q, rank)
    for point in points:
        k = len(point.kept)
        b, a = np.zeros((dy, rank)), np.zeros((rank, dx))
        b[:, :k] = left[:, point.kept]
        a[:k] = b[:, :k].T @ full / g
        a[:k] += free[:k]
        slopes = gradients(b, a, full, s, g)
        assert max(np.max(np.abs(slope)) for slope in slopes) < 1e-12
        found = np.linalg.eigvalsh(training.factor_hessian(b, a, full, s, scaling=g))
        zero = 1e-10 * np.max(np.abs(found))
        assert (np.sum(found < -zero), np.sum(np.abs(found) <= zero)) == (point.index, point.nullity)
        loss = np.sum(((g * b @ a - full) @ x) ** 2) / (2 * n)
        assert loss == pytest.approx(point.excess_loss, abs=1e-12)
    assert [point.kept for point in points if point.index == 0] == [tuple(range(min(rank, q)))]


@pytest.mark.parametrize(("dx", "dy", "rank", "decay"), [(4, 3, 2, 0.3), (3, 4, 3, 0.9), (5, 4, 4, 1.5)])
def test_decay_swallows_modes_and_leaves_rotations_flat(dx, dy, rank, decay):
    rng, g, c = np.random.default_rng(16), 1.5, 0.8
    full = rng.standard_normal((dy, dx)) * 1.5
    left, f, right = np.linalg.svd(full)
    points = training.critical_points(f, rank, (dy, dx), 50, decay=decay, variance=c)
    assert len(points) == training.critical_count(int(np.sum(c * f > decay)), rank)
    for point in points:
        k, kept = len(point.kept), list(point.kept)
        size = np.sqrt((f[kept] - decay / c) / g)
        b, a = np.zeros((dy, rank)), np.zeros((rank, dx))
        b[:, :k], a[:k] = left[:, kept] * size, size[:, None] * right[kept]
        slopes = gradients(b, a, full, c * np.eye(dx), g, decay)
        assert max(np.max(np.abs(slope)) for slope in slopes) < 1e-12
        found = np.linalg.eigvalsh(training.factor_hessian(b, a, full, c * np.eye(dx), scaling=g, decay=decay))
        zero = 1e-10 * np.max(np.abs(found))
        assert (np.sum(found < -zero), np.sum(np.abs(found) <= zero)) == (point.index, point.nullity)
        loss = c * np.sum((g * b @ a - full) ** 2) / 2 + decay * g * (np.sum(a**2) + np.sum(b**2)) / 2
        assert loss == pytest.approx(point.excess_loss)


def test_the_landscape_refuses_ties_and_what_is_not_known():
    with refused("values", "distinct positive"):
        training.critical_points((2.0, 2.0), 1, (2, 2), 5)
    with refused("values", "min(n, dx, dy) = 2"):
        training.critical_points((2.0, 1.0, 0.5), 1, (3, 3), 2)
    with refused("samples", "n >= dx", "2"):
        training.critical_points((2.0, 1.0), 1, (3, 3), 2, decay=0.1)
    with refused("decay", "no mode meets"):
        training.critical_points((2.0, 1.0), 1, (2, 2), 5, decay=1.0)
    with refused("values", "1000000 critical points"):
        training.critical_points(np.linspace(2, 1, 60), 20, (60, 60), 99)
    with refused("kept", "different modes"):
        training.saddle_index((1, 1), 4, 2)
