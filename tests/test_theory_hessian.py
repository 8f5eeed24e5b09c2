"""The Hessian gap: the loss's own Hessian, explicit tangent spaces, retrained losses, and simulation with rivals."""

import subprocess
import sys
import textwrap

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from comparisons import LEVEL, critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import hessian
from linreg_lora.theory.hessian import Loss

DX, DY, RANK = 7, 6, 2
DRAWS = 4096
LOSSES = pytest.mark.parametrize("loss", list(Loss))


def covariance(kind, size=DX):
    basis = np.linalg.qr(np.random.default_rng(5).standard_normal((size, size)))[0]
    values = {
        "isotropic": np.ones(size),
        "anisotropic": np.geomspace(0.1, 4.0, size),
        "singular": np.append(np.zeros(2), np.linspace(0.5, 2.0, size - 2)),
    }[kind]
    return (basis * values) @ basis.T


def make(kind="anisotropic", shift_rank=RANK, seed=0):
    rng = np.random.default_rng(seed)
    shift = rng.standard_normal((DY, shift_rank)) @ rng.standard_normal((shift_rank, DX))
    return Problem(n=50, dx=DX, dy=DY, task_shift=shift, noise_std=1.0, input_covariance=covariance(kind))


def factors(b_rank, a_rank, seed=1):
    """B and A with three columns and rows, of the ranks given."""
    rng = np.random.default_rng(seed)
    b, a = np.zeros((DY, 3)), np.zeros((3, DX))
    b[:, :b_rank], a[:a_rank] = rng.standard_normal((DY, b_rank)), rng.standard_normal((a_rank, DX))
    return b, a


def jacobian(b, a):
    """Differential of (B, A) -> B A, its columns in row-major order."""
    dy, dx = len(b), a.shape[1]
    return np.hstack([np.kron(np.eye(dy), a.T), np.kron(b, np.eye(dx))])


def left_by_least_squares(problem, spanning, e, loss):
    """min over phi in the span of (1/2) (e + phi)^T H (e + phi), as least squares on H^{1/2}."""
    root = np.sqrt(loss.curvature) * np.kron(np.eye(problem.dy), problem.sigma_sqrt)
    target = root @ e.ravel()
    phi = np.linalg.lstsq(root @ spanning, -target, rcond=1e-10)[0]
    return 0.5 * np.sum((target + root @ spanning @ phi) ** 2)


def mean_by_projection(problem, spanning, tau, loss):
    """(tau^2 / 2) Tr (H^{1/2} (I - Q Q^T) H^{1/2}), Q a basis of the range of H^{1/2} on the span."""
    root = np.sqrt(loss.curvature) * np.kron(np.eye(problem.dy), problem.sigma_sqrt)
    u, s, _ = np.linalg.svd(root @ spanning, full_matrices=False)
    basis = u[:, s > 1e-10 * np.max(s, initial=0.0)]
    return 0.5 * tau**2 * np.sum((root - basis @ (basis.T @ root)) ** 2)


def retrained_loss(problem, rank, e, loss):
    """The best population loss of rank r after A0 -> A0 + e: the energy beyond the r largest singular values."""
    values = np.linalg.svd((problem.shift - e) @ problem.sigma_sqrt, compute_uv=False)
    return loss.curvature / 2 * np.sum(values[rank:] ** 2)


# -- (a) no retraining ------------------------------------------------------------------------------------------


def sample_with_exact_moments(problem, size=40):
    """Data whose second moment of x is Sigma to rounding, so that their mean loss has the population's Hessian."""
    rng = np.random.default_rng(2)
    white = np.linalg.qr(rng.standard_normal((size, problem.dx)))[0].T * np.sqrt(size)
    x = problem.sigma_sqrt @ white
    return x, problem.shift @ x + rng.standard_normal((problem.dy, size))


@LOSSES
def test_it_is_the_hessian_of_the_mean_loss_at_any_point(loss):
    problem = make()
    x, y = map(jnp.asarray, sample_with_exact_moments(problem))
    half = {Loss.SQUARED: 1.0, Loss.HALF_SQUARED: 0.5}[loss]

    def mean_loss(a):
        return half * jnp.mean(jnp.sum((y - a @ x) ** 2, axis=0))

    second_derivative = jax.jit(jax.hessian(mean_loss))
    expected = hessian.hessian(problem, loss=loss)
    for point in (np.zeros((DY, DX)), problem.shift, np.random.default_rng(3).standard_normal((DY, DX))):
        found = np.asarray(second_derivative(jnp.asarray(point))).reshape(DX * DY, DX * DY)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.max(expected))


@LOSSES
def test_without_retraining_the_gap_has_mean_zero_and_the_stated_spread(loss):
    """4096 draws of e at two points. False alarms 1e-6 over the four tests.

    Power: a gap of 0.12 of its standard deviation is missed with probability 1e-2 (z = 5.2 + 2.3, over sqrt(4096)); so
    are 10 % of the standard deviation. The rise at either point rejects the loss of the other convention.
    """
    problem, tau = make(), 0.7
    rng = np.random.default_rng(11)
    first, second = problem.shift + rng.standard_normal((2, DY, DX))
    e = tau * rng.standard_normal((DRAWS, DY, DX))

    def rise(update):
        after, before = ((update + step - problem.shift) @ problem.sigma_sqrt for step in (e, 0.0))
        return loss.curvature / 2 * (np.sum(after**2, axis=(1, 2)) - np.sum(before**2))

    gap = hessian.gap_without_retraining(problem, first, second, perturbation_std=tau, loss=loss)
    assert gap.mean == 0.0
    drawn = rise(first) - rise(second)
    bound = critical_z(4)
    assert abs(np.mean(drawn)) < bound * gap.std / np.sqrt(DRAWS)
    energy = np.sum((drawn / gap.std) ** 2)
    low, high = scipy.stats.chi2.isf([1 - LEVEL / 8, LEVEL / 8], DRAWS)
    assert low < energy < high
    assert not low < energy / 1.21 < high, "10 % more spread would be noticed"
    expected = hessian.expected_rise(problem, perturbation_std=tau, loss=loss)
    for sample in (rise(first), rise(second)):
        stderr = np.std(sample) / np.sqrt(DRAWS)
        assert abs(np.mean(sample) - expected) < bound * stderr
        for rival in (expected / 2, expected * 2, expected / DY):
            assert abs(np.mean(sample) - rival) > bound * stderr


def test_equal_updates_leave_no_gap_at_all():
    problem = make("singular")
    null = np.linalg.eigh(problem.sigma)[1][:, :2]
    unseen = np.ones((DY, 2)) @ null.T
    gap = hessian.gap_without_retraining(
        problem, problem.shift, problem.shift + unseen, perturbation_std=1, loss=Loss.SQUARED
    )
    assert gap.std < 1e-13


# -- (b) the tangent space --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b_rank", "a_rank"), [(3, 3), (0, 3), (3, 0), (1, 3), (2, 1), (0, 0)])
def test_the_space_of_the_factors_is_the_range_of_their_differential(b_rank, a_rank):
    """Its dimension, and what is left of random e after a least-squares search in the differential's range."""
    b, a = factors(b_rank, a_rank)
    spanning = jacobian(b, a)
    tangent = hessian.factor_tangent_space(b, a)
    assert tangent.dimension == np.linalg.matrix_rank(spanning)
    assert tangent.dimension + tangent.codimension == DX * DY
    for kind in ("isotropic", "anisotropic", "singular"):
        problem = make(kind)
        for e in np.random.default_rng(4).standard_normal((3, DY, DX)):
            expected = left_by_least_squares(problem, spanning, e, Loss.SQUARED)
            found = hessian.hessian_gap(problem, tangent, e, loss=Loss.SQUARED)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
        for loss in Loss:
            mean = hessian.expected_gap(problem, tangent, perturbation_std=0.3, loss=loss)
            np.testing.assert_allclose(mean, mean_by_projection(problem, spanning, 0.3, loss), rtol=1e-10, atol=1e-13)


def test_the_factors_of_a_full_rank_update_span_the_tangent_space_of_the_update():
    b, a = factors(3, 3)
    tangent, of_factors = hessian.tangent_space(b @ a, 3), hessian.factor_tangent_space(b, a)
    assert tangent.dimension == of_factors.dimension == 3 * (DX + DY - 3)
    for one, other in zip(tangent, of_factors, strict=True):
        np.testing.assert_allclose(one @ one.T, other @ other.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("weakest", "rank"), [(1e-6, 2), (1e-13, 1)])
def test_a_direction_counts_unless_it_is_rounding(weakest, rank):
    update = np.diag([1.0, weakest, *[0.0] * (DY - 2)]) @ np.linalg.qr(np.ones((DX, DX)) + np.eye(DX))[0][:DY]
    assert hessian.tangent_space(update, rank).columns.shape[1] == rank


@LOSSES
def test_the_printed_forms_of_the_expected_gap(loss):
    """Sigma = I: the codimension; any Sigma: Tr Sigma - Tr((V^T Sigma V)^{-1} V^T Sigma^2 V); B = 0: dy (dx - r)."""
    half, tau = loss.curvature / 2, 0.3
    b, a = factors(3, 3)
    point, start = hessian.tangent_space(b @ a, 3), hessian.factor_tangent_space(0 * b, a)
    isotropic, anisotropic = make("isotropic"), make("anisotropic")

    def mean(problem, tangent):
        return hessian.expected_gap(problem, tangent, perturbation_std=tau, loss=loss)

    np.testing.assert_allclose(mean(isotropic, point), half * tau**2 * (DX - 3) * (DY - 3), rtol=1e-13)
    np.testing.assert_allclose(mean(isotropic, start), half * tau**2 * DY * (DX - 3), rtol=1e-13)
    sigma, v = anisotropic.sigma, point.rows
    bracket = np.trace(sigma) - np.trace(np.linalg.solve(v.T @ sigma @ v, v.T @ sigma @ sigma @ v))
    np.testing.assert_allclose(mean(anisotropic, point), half * tau**2 * (DY - 3) * bracket, rtol=1e-12)
    np.testing.assert_allclose(mean(anisotropic, start), half * tau**2 * DY * bracket, rtol=1e-12)
    everything = hessian.TangentSpace(np.eye(DY), np.zeros((DX, 0)))
    assert everything.codimension == 0
    assert mean(anisotropic, everything) == 0.0, "FFT"
    full = hessian.expected_rise(anisotropic, perturbation_std=tau, loss=loss)
    nothing = hessian.factor_tangent_space(0 * b, 0 * a)
    np.testing.assert_allclose(mean(anisotropic, nothing), full, rtol=1e-12)


@pytest.mark.parametrize(
    ("point", "kind"), [("optimum", "isotropic"), ("optimum", "anisotropic"), ("start", "isotropic")]
)
def test_the_expected_gap_is_the_mean_of_gaps_and_its_rivals_are_not(point, kind):
    """4096 draws, false-alarm level 1e-6. Power: 6.5 % of the mean are missed with probability below 1e-3.

    Rivals: the number of parameters for the dimension, the dimension at the optimum for that at the start (and the
    reverse), the other convention of the loss, no Schur complement (Sigma cut to V's complement, or as a share).
    """
    problem, tau, loss = make(kind), 0.5, Loss.HALF_SQUARED
    b, a = factors(3, 3)
    tangent = hessian.tangent_space(b @ a, 3) if point == "optimum" else hessian.factor_tangent_space(0 * b, a)
    draws = tau * np.random.default_rng(6).standard_normal((DRAWS, DY, DX))
    gaps = np.array([hessian.hessian_gap(problem, tangent, e, loss=loss) for e in draws])
    mean, stderr = np.mean(gaps), np.std(gaps) / np.sqrt(DRAWS)
    expected = hessian.expected_gap(problem, tangent, perturbation_std=tau, loss=loss)
    bound = critical_z(1)
    assert abs(mean - expected) < bound * stderr
    assert (bound + 3.1) * stderr < 0.065 * expected
    unit = expected / tangent.codimension
    parameters, dimension, start = 3 * (DX + DY), 3 * (DX + DY - 3), 3 * DY
    rivals = [expected * 2, unit * (DX * DY - parameters)]
    rivals += [unit * (DX * DY - (start if point == "optimum" else dimension))]
    if kind == "anisotropic":
        sigma, outside = problem.sigma, np.eye(DX) - tangent.rows @ tangent.rows.T
        rivals += [tau**2 / 2 * (DY - 3) * np.trace(sigma @ outside), tau**2 / 2 * (DY - 3) * np.trace(sigma) * 4 / 7]
    for rival in rivals:
        assert abs(mean - rival) > bound * stderr, f"{mean} +- {stderr} should reject {rival}"


@hypothesis.settings(deadline=None, derandomize=True, max_examples=100)
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    b_rank=st.integers(0, 3),
    a_rank=st.integers(0, 3),
    kind=st.sampled_from(["isotropic", "anisotropic", "singular"]),
    loss=st.sampled_from(list(Loss)),
    scale=st.floats(1e-3, 1e3),
)
def test_what_every_gap_obeys(seed, b_rank, a_rank, kind, loss, scale):
    """0 <= gap <= (1/2) e^T H e; blind to moves inside T; quadratic; the cone leaves at most what the factors leave."""
    problem = make(kind)
    b, a = factors(b_rank, a_rank, seed)
    tangent = hessian.factor_tangent_space(b, a)
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((DY, DX))
    inside = rng.standard_normal((DY, 3)) @ a + b @ rng.standard_normal((3, DX))
    found = hessian.hessian_gap(problem, tangent, e, loss=loss)
    whole = 0.5 * e.ravel() @ hessian.hessian(problem, loss=loss) @ e.ravel()
    size = np.linalg.norm(inside) ** 2 + np.linalg.norm(e) ** 2
    assert -1e-12 * whole <= found <= whole * (1 + 1e-12)
    np.testing.assert_allclose(
        hessian.hessian_gap(problem, tangent, e + inside, loss=loss), found, rtol=0, atol=1e-11 * size
    )
    assert hessian.hessian_gap(problem, tangent, inside, loss=loss) < 1e-20 * size
    np.testing.assert_allclose(
        hessian.hessian_gap(problem, tangent, scale * e, loss=loss), scale**2 * found, rtol=1e-10
    )
    if kind != "singular":
        assert hessian.cone_gap(problem, b @ a, 3, e, loss=loss) <= found * (1 + 1e-12)


# -- (b) against retraining -------------------------------------------------------------------------------------


@LOSSES
@pytest.mark.parametrize("rank", [RANK, RANK + 1, RANK + 2])
def test_the_gap_is_the_rise_of_the_retrained_loss_to_leading_order(loss, rank):
    """At D = Delta of rank k <= r: the exact minimum over rank r is O(tau^3) off; the error must fall with tau."""
    problem = make()
    e = np.random.default_rng(7).standard_normal((DY, DX))
    expected = hessian.cone_gap(problem, problem.shift, rank, e, loss=loss)
    if rank == RANK:
        tangent = hessian.tangent_space(problem.shift, rank)
        np.testing.assert_allclose(hessian.hessian_gap(problem, tangent, e, loss=loss), expected, rtol=1e-12)
    errors = [retrained_loss(problem, rank, tau * e, loss) / tau**2 / expected - 1 for tau in (1e-2, 1e-3, 1e-4)]
    assert abs(errors[-1]) < 1e-3
    assert abs(errors[1]) < 0.2 * abs(errors[0])
    assert abs(errors[2]) < 0.2 * abs(errors[1])


@LOSSES
@pytest.mark.parametrize("kind", ["isotropic", "anisotropic", "singular"])
@pytest.mark.parametrize("shift_rank", [RANK, 4, 6])
def test_the_expected_gap_at_the_optimum_is_half_the_trace_of_the_retrained_loss_hessian(kind, shift_rank, loss):
    """Second differences in every coordinate; the tangent space alone is wrong where Delta exceeds the rank."""
    problem, tau, step = make(kind, shift_rank), 0.3, 1e-4
    base = retrained_loss(problem, RANK, np.zeros((DY, DX)), loss)
    total = 0.0
    for unit in step * np.eye(DX * DY).reshape(-1, DY, DX):
        total += retrained_loss(problem, RANK, unit, loss) + retrained_loss(problem, RANK, -unit, loss) - 2 * base
    measured = tau**2 * total / 2 / step**2
    expected = hessian.expected_gap_at_optimum(problem, RANK, perturbation_std=tau, loss=loss)
    np.testing.assert_allclose(expected, measured, rtol=1e-4)
    u, s, vt = np.linalg.svd(problem.shift @ problem.sigma_sqrt)
    optimum = (u[:, :RANK] * s[:RANK]) @ vt[:RANK] @ np.linalg.pinv(problem.sigma_sqrt, rcond=1e-6)
    tangent = hessian.tangent_space(optimum, RANK)
    alone = hessian.expected_gap(problem, tangent, perturbation_std=tau, loss=loss)
    if shift_rank == RANK:
        np.testing.assert_allclose(expected, alone, rtol=1e-9)
    else:
        assert expected < 0.98 * alone


def test_close_singular_values_let_a_perturbation_help():
    problem = make("isotropic").replace(spectrum=(3.0, 1.0, 0.99))
    assert hessian.expected_gap_at_optimum(problem, 2, perturbation_std=0.1, loss=Loss.SQUARED) < 0
    expected = hessian.expected_gap_at_optimum(problem, 1, perturbation_std=0.1, loss=Loss.SQUARED)
    by_hand = 0.01 * ((DX - 1) * (DY - 1) - 2 * (1 / 8 + 0.99**2 / (9 - 0.99**2)))
    np.testing.assert_allclose(expected, by_hand, rtol=1e-12)
    nothing_learned = hessian.expected_gap_at_optimum(problem, 0, perturbation_std=0.1, loss=Loss.SQUARED)
    np.testing.assert_allclose(nothing_learned, 0.01 * DX * DY, rtol=1e-12)


# -- refusals ---------------------------------------------------------------------------------------------------


def test_what_has_no_answer_is_refused():
    problem, loss = make(), Loss.SQUARED
    rank_two = problem.shift
    with pytest.raises(InvalidInput, match=r"update: expected a matrix of rank r = 3, received rank 2; below r use"):
        hessian.tangent_space(rank_two, 3)
    with pytest.raises(InvalidInput, match=r"update: expected a matrix of rank r = 1, received rank 2"):
        hessian.tangent_space(rank_two, 1)
    with pytest.raises(InvalidInput, match="update: expected a matrix, all finite"):
        hessian.tangent_space(np.full((DY, DX), np.nan), 1)
    tangent = hessian.tangent_space(rank_two, 2)
    for tau in (-1.0, np.inf, np.nan):
        with pytest.raises(InvalidInput, match="perturbation_std: expected a finite number >= 0"):
            hessian.expected_gap(problem, tangent, perturbation_std=tau, loss=loss)
        with pytest.raises(InvalidInput, match="perturbation_std: expected a finite number >= 0"):
            hessian.expected_rise(problem, perturbation_std=tau, loss=loss)
        with pytest.raises(InvalidInput, match="perturbation_std: expected a finite number >= 0"):
            hessian.expected_gap_at_optimum(problem, 1, perturbation_std=tau, loss=loss)
        with pytest.raises(InvalidInput, match="perturbation_std: expected a finite number >= 0"):
            hessian.gap_without_retraining(problem, rank_two, rank_two, perturbation_std=tau, loss=loss)
    with pytest.raises(InvalidInput, match="perturbation: expected a dy x dx = 6 x 7 matrix, all finite"):
        hessian.hessian_gap(problem, tangent, np.full((DY, DX), np.inf), loss=loss)
    with pytest.raises(InvalidInput, match="tangent: expected a space of dy x dx = 6 x 7 matrices"):
        hessian.expected_gap(problem, hessian.tangent_space(rank_two.T, 2), perturbation_std=1, loss=loss)
    with pytest.raises(InvalidInput, match=r"rank: expected r >= rank\(update\) = 2, received 1"):
        hessian.cone_gap(problem, rank_two, 1, rank_two, loss=loss)
    with pytest.raises(InvalidInput, match=r"problem: expected an input covariance of full rank, received rank 5 of 7"):
        hessian.cone_gap(make("singular"), rank_two, 2, rank_two, loss=loss)
    for rank in (3, 9):
        with pytest.raises(InvalidInput, match=r"rank: expected a rank r with s_r > s_\{r\+1\}"):
            hessian.expected_gap_at_optimum(problem, rank, perturbation_std=1, loss=loss)
    with pytest.raises(InvalidInput, match=r"rank: expected a rank r with s_r > s_\{r\+1\}"):
        hessian.expected_gap_at_optimum(make("isotropic").replace(spectrum=(2, 1, 1)), 2, perturbation_std=1, loss=loss)


def test_wrong_shapes_are_refused_in_one_line():
    """In a process of its own: here, type checks get there first."""
    program = """
        import numpy as np
        from linreg_lora import Problem
        from linreg_lora.errors import InvalidInput
        from linreg_lora.theory import hessian
        problem = Problem(n=9, dx=3, dy=2, spectrum=(1.0,), noise_std=1.0)
        loss, right, wrong = hessian.Loss.SQUARED, np.ones((2, 3)), np.ones((3, 2))
        tangent = hessian.tangent_space(right, 1)
        for call in (
            lambda: hessian.hessian_gap(problem, tangent, wrong, loss=loss),
            lambda: hessian.hessian_gap(problem, tangent, None, loss=loss),
            lambda: hessian.cone_gap(problem, wrong, 1, right, loss=loss),
            lambda: hessian.gap_without_retraining(problem, right, wrong, perturbation_std=1, loss=loss),
            lambda: hessian.factor_tangent_space(np.ones((2, 1)), np.ones((2, 3))),
        ):
            try:
                call()
            except InvalidInput as error:
                print(error.field)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == ["perturbation", "perturbation", "update", "second", "b, a"]
