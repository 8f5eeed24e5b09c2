"""LoRA with a frozen factor against vectorised least squares, which knows nothing of its structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft, frozen

#: n, dx, dy, r: n > dx; r < n < dx; n < r.
SHAPES = [(20, 7, 5, 3), (6, 9, 5, 3), (4, 9, 7, 6)]
RIDGES = [None, 0.7]


def dataset(n, dx, dy, r, seed=0):
    """X, Y, A0, A and B."""
    rng = np.random.default_rng(seed)
    pretrained, shift = rng.standard_normal((2, dy, dx))
    x = rng.standard_normal((dx, n))
    y = (pretrained + shift) @ x + 0.5 * rng.standard_normal((dy, n))
    a = np.linalg.qr(rng.standard_normal((dx, r))).Q.T
    b = np.linalg.qr(rng.standard_normal((dy, r))).Q
    return x, y, pretrained, a, b


def least_squares(design, target, ridge):
    """Minimum-norm (or ridge) least squares, and the tolerance its conditioning allows: eps times cond^2."""
    if ridge is not None:
        design = np.vstack([design, np.sqrt(ridge) * np.eye(design.shape[1])])
        target = np.concatenate([target, np.zeros(design.shape[1])])
    solution, _, _, s = np.linalg.lstsq(design, target, rcond=None)
    cond = s[0] / s[s > 1e-10 * s[0]][-1]
    return solution, 100 * np.finfo(float).eps * cond**2 * np.linalg.norm(solution)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_frozen_a_is_least_squares_in_the_entries_of_b(shape, ridge):
    """vec(B A X) = ((A X)^T kron I) vec(B), columns stacked; the least norm of B is the least norm of D."""
    x, y, pretrained, a, _ = dataset(*shape)
    target = (y - pretrained @ x).T.ravel()
    entries, tolerance = least_squares(np.kron((a @ x).T, np.eye(len(y))), target, ridge)
    update = frozen.fit_frozen_a(*map(jnp.asarray, (x, y, a, pretrained)), ridge)
    np.testing.assert_allclose(update, entries.reshape(len(a), len(y)).T @ a, rtol=0, atol=tolerance)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_frozen_b_is_least_squares_in_the_entries_of_a(shape, ridge):
    """vec(B A X) = (X^T kron B) vec(A), columns stacked."""
    x, y, pretrained, _, b = dataset(*shape)
    target = (y - pretrained @ x).T.ravel()
    entries, tolerance = least_squares(np.kron(x.T, b), target, ridge)
    update = frozen.fit_frozen_b(*map(jnp.asarray, (x, y, b, pretrained)), ridge)
    np.testing.assert_allclose(update, b @ entries.reshape(len(x), b.shape[1]).T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_square_factor_freezes_nothing(ridge):
    x, y, pretrained, _, _ = map(jnp.asarray, dataset(*SHAPES[0]))
    full = fft.fit_fft(x, y, pretrained, ridge)
    tolerance = 100 * np.finfo(float).eps * np.linalg.cond(x) ** 2 * float(jnp.linalg.norm(full))
    for size, fit in ((7, frozen.fit_frozen_a), (5, frozen.fit_frozen_b)):
        turn = jnp.asarray(np.linalg.qr(np.random.default_rng(1).standard_normal((size, size))).Q)
        np.testing.assert_allclose(fit(x, y, turn, pretrained, ridge), full, rtol=0, atol=tolerance)


@pytest.mark.heavy
def test_the_fits_are_pure_functions_that_batch():
    batch = [dataset(*SHAPES[0], seed=seed) for seed in range(3)]
    x, y, pretrained, a, b = (jnp.asarray(np.stack(part)) for part in zip(*batch, strict=True))
    for fit, factor in ((frozen.fit_frozen_a, a), (frozen.fit_frozen_b, b)):
        mapped = jax.jit(jax.vmap(fit))(x, y, factor, pretrained)
        updates = fit(x, y, factor, pretrained)
        tolerance = 1e-12 * float(jnp.linalg.norm(updates))
        np.testing.assert_allclose(updates, mapped, rtol=0, atol=tolerance)
        single = fit(x[1], y[1], factor[1], pretrained[1])
        np.testing.assert_allclose(updates[1], single, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: 2 * a, "orthonormal {}, received one that is 3 off; use numpy.linalg.qr"),
        (lambda a: a[:, :-1], "received rank 3 in {} dimensions, where there are {}"),
        (lambda a: jnp.concatenate([a, a, a]), "received rank 9 in {} dimensions, where there are {}"),
    ],
)
def test_factors_that_do_not_fit_are_refused(change, message):
    x, y, _, a, b = map(jnp.asarray, dataset(*SHAPES[0]))
    for fit, field, rows, what, size in (
        (frozen.fit_frozen_a, "input_factor", a, "rows", 7),
        (frozen.fit_frozen_b, "output_factor", b.T, "columns", 5),
    ):
        wrong = change(rows)
        words = (what,) if "orthonormal" in message else (wrong.shape[1], size)
        with pytest.raises(InvalidInput, match=f"{field}: expected .*{message.format(*words)}"):
            fit(x, y, wrong if field == "input_factor" else wrong.T)
