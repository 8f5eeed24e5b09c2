"""Closed forms against independent routes: plain NumPy, the whitening formula, and gradient descent."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft, lora
from linreg_lora.estimators.risk import excess_risk, excess_risk_path

SHAPES = [(40, 8, 6), (40, 6, 8), (12, 10, 7), (8, 20, 6), (6, 20, 9), (5, 9, 12)]  # n, dx, dy


def dataset(n, dx, dy, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    pretrained = rng.standard_normal((dy, dx))
    shift = rng.standard_normal((dy, 2)) @ rng.standard_normal((2, dx))
    x = rng.standard_normal((dx, n))
    y = (pretrained + shift) @ x + noise * rng.standard_normal((dy, n))
    return x, y, pretrained, shift


def conditioned_tolerance(x):
    """Backward-stable least squares: relative error of order eps times the squared condition number."""
    return 100 * np.finfo(float).eps * np.linalg.cond(x) ** 2


def whitening_formula(x, r_matrix, rank):
    """Proposition 2 of arXiv 2605.19018 as printed, in NumPy: trunc_r(D_FFT S^{1/2}) (S^{1/2})^+."""
    values, vectors = np.linalg.eigh(x @ x.T)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    u, s, vt = np.linalg.svd(r_matrix @ np.linalg.pinv(x) @ root)
    truncated = (u[:, :rank] * s[:rank]) @ vt[:rank]
    return truncated @ np.linalg.pinv(root, rcond=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_fft_is_the_minimum_norm_least_squares_update(shape):
    x, y, pretrained, _ = dataset(*shape)
    expected = np.linalg.lstsq(x.T, (y - pretrained @ x).T, rcond=None)[0].T
    update = fft.fit_fft(jnp.asarray(x), jnp.asarray(y), jnp.asarray(pretrained))
    np.testing.assert_allclose(update, expected, rtol=0, atol=conditioned_tolerance(x) * np.linalg.norm(expected))


@pytest.mark.parametrize("shape", SHAPES)
def test_ridge_fft_solves_the_normal_equations(shape):
    x, y, _, _ = dataset(*shape)
    eta = 0.7
    expected = np.linalg.solve(x @ x.T + eta * np.eye(len(x)), x @ y.T).T
    update = fft.fit_fft(jnp.asarray(x), jnp.asarray(y), ridge=eta)
    np.testing.assert_allclose(update, expected, rtol=0, atol=1e-11 * np.linalg.norm(expected))


@pytest.mark.parametrize("shape", SHAPES)
def test_lora_is_the_whitening_formula_at_every_rank(shape):
    x, y, pretrained, _ = dataset(*shape)
    for rank in range(min(shape) + 1):
        expected = whitening_formula(x, y - pretrained @ x, rank)
        update = lora.fit_lora(jnp.asarray(x), jnp.asarray(y), rank, jnp.asarray(pretrained))
        # (S^{1/2})^+ squares nothing, but S = X X^T does: the reference itself loses cond^2 eps, times the inverse gap.
        np.testing.assert_allclose(update, expected, rtol=0, atol=1e-7 * np.linalg.norm(expected) + 1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_lora_at_full_rank_is_fft(shape):
    x, y, pretrained, _ = map(jnp.asarray, dataset(*shape))
    full = fft.fit_fft(x, y, pretrained)
    np.testing.assert_allclose(
        lora.fit_lora(x, y, min(shape), pretrained), full, rtol=0, atol=1e-13 * float(jnp.linalg.norm(full))
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_truncating_the_unwhitened_update_is_a_worse_fit(shape):
    x, y, pretrained, _ = dataset(*shape, noise=3.0)
    r_matrix = y - pretrained @ x
    u, s, vt = np.linalg.svd(r_matrix @ np.linalg.pinv(x))
    naive = (u[:, :2] * s[:2]) @ vt[:2]
    best = lora.fit_lora(jnp.asarray(x), jnp.asarray(y), 2, jnp.asarray(pretrained))
    assert np.linalg.norm(r_matrix - best @ x) < np.linalg.norm(r_matrix - naive @ x) * (1 - 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ridge", [None, 0.3])
def test_squared_and_direct_bases_give_the_same_updates(shape, ridge):
    x, y, _, _ = map(jnp.asarray, dataset(*shape))
    inverse = fft.pseudo_inverse(x, ridge)
    whitened = inverse.whiten(y)
    fast, direct = (lora.lora_path(inverse, whitened, squared=squared) for squared in (True, False))
    assert fast.basis.shape == direct.basis.shape == (shape[2], min(shape))
    values = np.linalg.svd(whitened, compute_uv=False)[: min(shape)]
    gaps = np.append(-np.diff(values), values[-1])
    for rank in range(min(shape) + 1):
        # A direction of B B^T is accurate to eps sigma_1^2 / (gap of squares); 100 covers the dimensions.
        gap = values[-1] if rank == 0 else gaps[rank - 1]
        accuracy = 100 * np.finfo(float).eps * (values[0] / min(gap, values[-1])) ** 2
        np.testing.assert_allclose(
            fast.truncate(rank), direct.truncate(rank), rtol=0, atol=accuracy * float(jnp.linalg.norm(direct.update))
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ridge", [None, 0.3])
def test_risk_path_is_the_risk_of_each_truncated_update(shape, ridge):
    x, y, pretrained, shift = map(jnp.asarray, dataset(*shape))
    rng = np.random.default_rng(1)
    root = jnp.asarray(np.diag(rng.uniform(0.5, 2.0, shape[1])))
    inverse = fft.pseudo_inverse(x, ridge)
    whitened = inverse.whiten(fft.residual(x, y, pretrained))
    path = lora.lora_path(inverse, whitened, squared=True)
    risks = excess_risk_path(path.basis, path.update, shift, root)
    direct = [excess_risk(path.truncate(rank), shift, root) for rank in range(min(shape) + 1)]
    np.testing.assert_allclose(risks, direct, rtol=1e-12)


def test_estimators_accept_batches():
    batch = [dataset(12, 10, 7, seed) for seed in range(3)]
    x, y, pretrained, _ = (jnp.asarray(np.stack(part)) for part in zip(*batch, strict=True))
    updates = lora.fit_lora(x, y, 2, pretrained)
    for i, (xi, yi, ai, _) in enumerate(batch):
        single = lora.fit_lora(jnp.asarray(xi), jnp.asarray(yi), 2, jnp.asarray(ai))
        np.testing.assert_allclose(updates[i], single, rtol=0, atol=1e-12 * float(jnp.linalg.norm(single)))


def test_lora_refuses_a_rank_above_the_largest():
    x, y, _, _ = map(jnp.asarray, dataset(8, 20, 6))
    with pytest.raises(InvalidInput, match=r"rank: expected an integer in 0..min\(n, dx, dy\) = 6, received 7"):
        lora.fit_lora(x, y, 7)


# -- gradient descent on the factors ----------------------------------------------------------------------------


def assert_same_update(loss, factors, gradient, expected, onto=None):
    """At a minimum the factors are off by at most gradient / curvature, their product by (||B|| + ||A||) times that.

    The curvature is the smallest nonzero eigenvalue of the Hessian: gauge directions, and inputs that no sample shows,
    are flat. The factor 2 covers third derivatives; `onto` projects both updates first.
    """
    assert gradient < 1e-7, f"the descent did not reach a stationary point: gradient {gradient:.3g}"
    flat, unflatten = jax.flatten_util.ravel_pytree(factors)
    values = np.linalg.eigvalsh(jax.hessian(lambda x: loss(unflatten(x)))(flat))
    curvature = np.min(values[values > 1e-6 * values[-1]])
    b, a = factors
    update = b @ a if onto is None else b @ a @ onto
    size = float(jnp.linalg.norm(b) + jnp.linalg.norm(a))
    allowed = 2 * size * gradient / curvature + 1e-11 * float(jnp.linalg.norm(expected))
    np.testing.assert_allclose(update, expected, rtol=0, atol=allowed)


@jax.numpy_dtype_promotion("standard")  # optax mixes integer widths
def descend(loss, factors, tolerance=1e-9, most=2000):
    """L-BFGS on the factors (B, A) to a stationary point, by optax; returns the factors and the gradient norm."""
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(factors, state):
        value, gradient = value_and_grad(factors, state=state)
        updates, state = solver.update(gradient, state, factors, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(factors, updates), state, optax.tree.norm(gradient)

    state, norm = solver.init(factors), jnp.inf
    for _ in range(most):
        factors, state, norm = step(factors, state)
        if norm < tolerance:
            break
    return factors, float(norm)


def factors(dx, dy, rank, scale, seed=0):
    rng = np.random.default_rng(seed)
    b, a = scale * rng.standard_normal((dy, rank)), scale * rng.standard_normal((rank, dx))
    return jnp.asarray(b), jnp.asarray(a)


@pytest.mark.heavy
@pytest.mark.parametrize(("shape", "rank"), [((30, 6, 5), 3), ((30, 5, 6), 1), ((8, 14, 6), 3)])
def test_descending_the_ridge_loss_on_the_factors_ends_at_ridge_lora(shape, rank):
    """The penalty is on the product, eta ||B A||_F^2; decay on the factors would be another estimator."""
    x, y, pretrained, _ = map(jnp.asarray, dataset(*shape))
    eta, target = 0.5, y - pretrained @ x

    def loss(parts):
        update = parts[0] @ parts[1]
        return jnp.sum((target - update @ x) ** 2) + eta * jnp.sum(update**2)

    expected = lora.fit_lora(x, y, rank, pretrained, eta)
    found, gradient = descend(loss, factors(x.shape[0], y.shape[0], rank, 0.3))
    assert_same_update(loss, found, gradient, expected)


@pytest.mark.parametrize("shape", [(30, 6, 5), pytest.param((40, 5, 6), marks=pytest.mark.heavy)])
@pytest.mark.parametrize("rank", [pytest.param(1, marks=pytest.mark.heavy), 3])
def test_descending_the_ridgeless_loss_on_the_factors_ends_at_lora(shape, rank):
    x, y, _, _ = map(jnp.asarray, dataset(*shape))
    expected = lora.fit_lora(x, y, rank)

    def loss(parts):
        return jnp.sum((y - parts[0] @ parts[1] @ x) ** 2)

    found, gradient = descend(loss, factors(*expected.shape[::-1], rank, 0.3))
    assert_same_update(loss, found, gradient, expected)


def test_underdetermined_descent_agrees_on_the_column_space_and_the_rest_vanishes_with_the_start():
    """What lies outside the range of X never meets the data: it keeps the size of the initial A."""
    x, y, _, _ = map(jnp.asarray, dataset(8, 14, 6))
    expected = lora.fit_lora(x, y, 2)
    basis, _ = jnp.linalg.qr(x)

    def loss(parts):
        return jnp.sum((y - parts[0] @ parts[1] @ x) ** 2)

    outside = []
    for scale in (1e-1, 1e-2, 1e-3):
        found, gradient = descend(loss, factors(14, 6, 2, scale))
        assert_same_update(loss, found, gradient, expected @ basis, onto=basis)
        update = found[0] @ found[1]
        outside.append(float(jnp.linalg.norm(update - update @ basis @ basis.T)))
    assert outside[1] < 0.3 * outside[0]
    assert outside[2] < 0.3 * outside[1]
