"""Estimators on designs of any rank, against plain NumPy: lstsq, pinv and the formula of the SVD."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import bitfit, fft, frozen, ia3, lora

EPS = np.finfo(float).eps


def integers(dx, n, rank, seed=0):
    """A design of exactly this rank: products of small integers are exact."""
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-4, 5, (dx, rank)), rng.integers(-4, 5, (rank, n))
    product = (left @ right).astype(float)
    assert np.linalg.matrix_rank(product) == rank
    return product


WIDE, TALL = integers(5, 6, 5), integers(6, 5, 3)
#: Of six sizes, for each of which programs are compiled.
DESIGNS = {
    "report: all ones": np.ones((5, 9)),
    "zero": np.zeros((5, 9)),
    "n > dx": integers(5, 9, 3),
    "n = dx": integers(6, 6, 4),
    "n < dx": integers(9, 5, 2),
    "n > dx, full": integers(5, 9, 5),
    "n < dx, full": integers(9, 5, 5),
    "one sample": np.array([[3.0], [0.0], [4.0]]),
    "one sample, zero": np.zeros((3, 1)),
    "one input": np.array([[1.0, 2.0, -2.0]]),
    "one input, zero": np.zeros((1, 3)),
    "one number": np.array([[2.0]]),
    "equal samples": np.concatenate([WIDE, WIDE[:, :3]], axis=1),
    "equal inputs": np.concatenate([TALL, TALL[:3]]),
    "zero sample and input": np.pad(integers(4, 8, 4), ((0, 1), (0, 1))),
    "equal singular values": np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
    "small": 1e-150 * np.ones((5, 9)),
}
BATCH = np.stack([integers(5, 7, rank) for rank in (5, 3, 1)] + [np.zeros((5, 7))])


def targets(x, dy=3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*x.shape[:-2], dy, x.shape[-1])), rng.standard_normal((dy, x.shape[-2]))


def nonzero(x):
    """Singular values that are not zero up to rounding."""
    s = np.linalg.svd(x, compute_uv=False)
    return s[s > max(x.shape) * EPS * s[0]]


def tolerance(x, target, expected):
    """Perturbation of least squares: eps (cond ||D|| + cond^2 ||residual|| / ||X||); 100 covers the dimensions."""
    s = nonzero(x)
    if len(s) == 0:
        return 0.0
    cond = s[0] / s[-1]
    return 100 * EPS * (cond * np.linalg.norm(expected) + cond**2 * np.linalg.norm(target) / s[0])


def by_svd(x, target, ridge):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = s > max(x.shape) * EPS * s[0]
    return target @ (vt.T * np.where(kept, s / np.where(kept, s**2 + ridge, 1.0), 0.0)) @ u.T


fft_compiled = jax.jit(fft.fit_fft)


@pytest.mark.parametrize("name", DESIGNS)
def test_fft_is_the_smallest_least_squares_update_for_a_design_of_any_rank(name):
    x = DESIGNS[name]
    y, a0 = targets(x)
    target = y - a0 @ x
    expected = np.linalg.lstsq(x.T, target.T, rcond=None)[0].T
    allowed = tolerance(x, target, expected)
    for ridge in (None, 0, 0.0, np.float32(0), jnp.zeros(())):
        np.testing.assert_allclose(fft.fit_fft(x, y, a0, ridge), expected, rtol=0, atol=allowed)
    np.testing.assert_allclose(fft_compiled(x, y, a0), expected, rtol=0, atol=allowed)
    np.testing.assert_allclose(fft_compiled(x, y, a0, 0.0), expected, rtol=0, atol=allowed)


def test_the_report_of_a_deficient_design_by_hand():
    """mean(0..5) / 4 in each entry: the prediction is the mean, and the smallest D shares it among equal inputs."""
    update = fft.fit_fft(np.ones((4, 6)), np.arange(6.0)[None], ridge=0.0)
    np.testing.assert_allclose(update, np.full((1, 4), 0.625), rtol=1e-14)


@pytest.mark.parametrize("name", [name for name in DESIGNS if "small" not in name])
@pytest.mark.parametrize("ridge", [1e-300, 1e-6, 2.0])
def test_a_ridge_of_any_size_is_right_on_a_design_of_any_rank(name, ridge):
    x = DESIGNS[name]
    y, _ = targets(x)
    expected = by_svd(x, y, ridge)
    allowed = tolerance(x, y, expected) + 100 * EPS * np.linalg.norm(expected)
    np.testing.assert_allclose(fft.fit_fft(x, y, ridge=ridge), expected, rtol=0, atol=allowed)
    np.testing.assert_allclose(fft_compiled(x, y, None, ridge), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", [name for name in DESIGNS if "small" not in name])
@pytest.mark.parametrize("ridge", [None, 1e-20])
def test_lora_truncates_the_fit_of_the_smallest_update(name, ridge):
    """U_r from F = D X, which a direction of samples that X does not have cannot enter.

    A direction of F is accurate to eps cond(X) sigma_1 / (gap at r), the error of D is as for FFT.
    """
    x = DESIGNS[name]
    y, a0 = targets(x, dy=4)
    target = y - a0 @ x
    update = target @ np.linalg.pinv(x, rcond=max(x.shape) * EPS)
    u, sigma, _ = np.linalg.svd(update @ x)
    s = nonzero(x)
    cond = s[0] / s[-1] if len(s) else 1.0
    for r in range(min(*x.shape, 4) + 1):
        expected = u[:, :r] @ u[:, :r].T @ update
        allowed = tolerance(x, target, update)
        if 0 < r <= len(s):
            gap = sigma[r - 1] - (sigma[r] if r < len(sigma) else 0.0)
            allowed += 100 * EPS * cond * sigma[0] / gap * np.linalg.norm(update)
        fitted = lora.fit_lora(x, y, r, a0, ridge)
        np.testing.assert_allclose(fitted, expected, rtol=0, atol=allowed)
        assert np.linalg.matrix_rank(np.asarray(fitted), tol=max(allowed, 1e-300)) <= r


def test_what_the_row_space_does_not_have_does_not_decide_the_directions():
    """The strongest rows of R are orthogonal to the row space of X: output 1 alone decides U_1."""
    x = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    y = np.array([[1e6, -1e6, 1e6], [1.0, 3.0, 0.0]])
    np.testing.assert_allclose(lora.fit_lora(x, y, 1), [[0, 0, 0], [1, 1, 0]], rtol=0, atol=100 * EPS * 1e6)


@pytest.mark.heavy
def test_batches_of_mixed_ranks_compiled_or_not():
    y, a0 = targets(BATCH)
    fits = {
        "fft": fft.fit_fft,
        "lora": lambda x, y, a0: lora.fit_lora(x, y, 1, a0),
        "traced ridge": lambda x, y, a0: fft.fit_fft(x, y, a0, jnp.sum(x) * 0.0),
    }
    for name, fit in fits.items():
        singles = np.stack([fit(x, yi, a0) for x, yi in zip(jnp.asarray(BATCH), y, strict=True)])
        allowed = max(tolerance(x, t, d) for x, t, d in zip(BATCH, y - a0 @ BATCH, singles, strict=True))
        for together in (fit(jnp.asarray(BATCH), y, a0), jax.jit(fit)(BATCH, y, a0)):
            np.testing.assert_allclose(together, singles, rtol=0, atol=allowed, err_msg=name)
        mapped = jax.jit(jax.vmap(fit, in_axes=(0, 0, None)))(BATCH, y, a0)
        np.testing.assert_allclose(mapped, singles, rtol=0, atol=allowed, err_msg=name)


@pytest.mark.parametrize("n", [12, 3])
def test_full_rank_in_different_units_keeps_every_input(n):
    """Rows of X in units of 1e6, 1 and 1e-6: D is that of equal units, divided by them, as accurate as there."""
    rng = np.random.default_rng(2)
    equal, units = rng.standard_normal((3, n)), np.array([1e6, 1.0, 1e-6])
    y = rng.standard_normal((2, n))
    expected = np.linalg.lstsq(equal.T, y.T, rcond=None)[0].T
    for fit in (fft.fit_fft, fft_compiled):
        update = np.asarray(fit(units[:, None] * equal, y))
        np.testing.assert_allclose(update * units, expected, rtol=0, atol=tolerance(equal, y, expected))


@pytest.mark.parametrize("units", [(1e12, 1.0, 1e-12), (1.0, 1.0, 1e-17)])
def test_a_rank_that_depends_on_units_is_refused_and_compiled_is_that_of_numpy(units):
    x = np.array(units)[:, None] * np.random.default_rng(3).standard_normal((3, 8))
    y, _ = targets(x)
    for fit in (fft.fit_fft, lambda x, y: lora.fit_lora(x, y, 1)):
        with pytest.raises(InvalidInput, match="inputs: expected a design whose rank does not depend on units, receiv"):
            fit(x, y)
    expected = np.linalg.lstsq(x.T, y.T, rcond=max(x.shape) * EPS)[0].T
    np.testing.assert_allclose(fft_compiled(x, y), expected, rtol=0, atol=tolerance(x, y, expected))


@pytest.mark.heavy
def test_derivatives_exist_where_the_update_has_them():
    """By Y for any X, also under jit; by X of full rank against central differences, also where singular values tie."""
    y = np.random.default_rng(4).standard_normal((2, 3))

    def size(x, y):
        return jnp.sum(fft.fit_fft(x, y) ** 2)

    x = DESIGNS["report: all ones"][:, :3]
    inverse = np.linalg.pinv(x)
    for gradient in (jax.grad(size, 1), jax.jit(jax.grad(size, 1))):
        np.testing.assert_allclose(gradient(x, y), 2 * y @ inverse @ inverse.T, rtol=0, atol=100 * EPS)
    step, turn = 1e-5, np.zeros((3, 3))
    turn[0, 1] = step
    slope = (size(np.eye(3) + turn, y) - size(np.eye(3) - turn, y)) / (2 * step)
    # Central differences: step^2 from the third derivative, eps / step from rounding, times the size of the sum.
    allowed = 100 * (step**2 + EPS / step) * float(size(np.eye(3), y))
    tied = jnp.eye(3)
    for found in (jax.grad(size)(tied, y), jax.vmap(jax.grad(size), in_axes=(0, None))(tied[None], y)[0]):
        np.testing.assert_allclose(found[0, 1], slope, rtol=0, atol=allowed)


def test_a_negative_traced_ridge_gives_nan():
    assert np.all(np.isnan(fft_compiled(np.eye(3), np.eye(3), None, -0.1)))


@pytest.mark.parametrize("name", [name for name in DESIGNS if "small" not in name])
def test_a_frozen_factor_and_a_design_of_any_rank(name):
    x = DESIGNS[name]
    y, a0 = targets(x)
    rng = np.random.default_rng(5)
    a = np.linalg.qr(rng.standard_normal((len(x), len(x)))).Q[: max(1, len(x) - 1)]
    b = np.linalg.qr(rng.standard_normal((3, 2))).Q
    target = y - a0 @ x
    rank = len(nonzero(x))
    # A X is rounded, so its rank is taken from X; a generic A keeps min(r, rank X).
    features = a @ x
    cut = 1e-10 * max(np.linalg.norm(x), 1.0)
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    kept = s > cut
    assert np.sum(kept) == min(len(a), rank)
    expected = (target @ vt[kept].T / s[kept]) @ u[:, kept].T @ a
    cond = np.linalg.norm(x) / s[kept][-1] if rank else 0.0
    allowed = (
        100 * EPS * (cond * np.linalg.norm(expected) + cond**2 * np.linalg.norm(target) / (np.linalg.norm(x) or 1))
    )
    np.testing.assert_allclose(frozen.fit_frozen_a(x, y, a, a0, 0.0), expected, rtol=0, atol=allowed)
    expected = b @ b.T @ target @ np.linalg.pinv(x, rcond=max(x.shape) * EPS)
    allowed = tolerance(x, target, expected)
    np.testing.assert_allclose(frozen.fit_frozen_b(x, y, b, a0, 0), expected, rtol=0, atol=allowed)


def test_features_that_are_only_rounding_count_as_zero():
    """A is orthogonal to every sample: A X is 1e-17 and not 0, and D is 0 and not 1e17."""
    turn = np.linalg.qr(np.random.default_rng(6).standard_normal((4, 4))).Q
    x, a = turn[:, :2] @ np.random.default_rng(7).standard_normal((2, 6)), turn[:, 2:].T
    assert 0 < np.max(np.abs(a @ x)) < 1e-15
    y, _ = targets(x)
    for fit in (frozen.fit_frozen_a, jax.jit(frozen.fit_frozen_a)):
        np.testing.assert_array_equal(fit(x, y, a), np.zeros((3, 4)))


def test_an_output_whose_pretrained_values_are_only_rounding_is_refused():
    x = np.array([[0.1, 0.3], [0.3, 0.9]])
    a0 = np.array([[3.0, -1.0], [1.0, 0.0]])
    assert np.max(np.abs((a0 @ x)[0])) > 0
    with pytest.raises(InvalidInput, match="pretrained: expected A0 X without rows of zeros"):
        ia3.fit_ia3(x, np.ones((2, 2)), a0)
    assert np.all(np.isnan(jax.jit(ia3.fit_ia3)(x, np.ones((2, 2)), a0)[0]))


def test_ia3_and_bitfit_in_small_units():
    """Squares of 1e-200 are zero in float64; the fit does not depend on that."""
    small, y = 1e-200 * np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]])
    np.testing.assert_allclose(ia3.fit_ia3(small, y, [[1.0]]), [[3e200]], rtol=100 * EPS)
    np.testing.assert_array_equal(bitfit.fit_bitfit(small, y), [4.5])


@pytest.mark.parametrize("name", ["fft", "lora", "frozen", "bitfit", "ia3"])
def test_the_examples_in_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(f"linreg_lora.estimators.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
