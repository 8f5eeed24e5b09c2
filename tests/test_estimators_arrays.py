"""What users pass to the estimators: any real arrays, and one line for everything else."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.estimators import bitfit, fft, frozen, ia3, lora

X = np.array([[1, 0, 2, 1], [0, 1, 1, -1], [1, 1, 0, 2]])
Y = np.array([[1, 2, 0, 4], [3, -1, 2, 0]])
A0 = np.array([[1, 0, 2], [0, 1, 1]])

FITS = {
    "fft": fft.fit_fft,
    "lora": lambda x, y, a0: lora.fit_lora(x, y, 1, a0),
    "frozen a": lambda x, y, a0: frozen.fit_frozen_a(x, y, [[0, 1, 0]], a0),
    "frozen b": lambda x, y, a0: frozen.fit_frozen_b(x, y, [[0], [1]], a0),
    "bitfit": bitfit.fit_bitfit,
    "ia3": ia3.fit_ia3,
}
WITH_RIDGE = {
    "fft": lambda ridge: fft.fit_fft(X, Y, A0, ridge),
    "lora": lambda ridge: lora.fit_lora(X, Y, 1, A0, ridge),
    "frozen a": lambda ridge: frozen.fit_frozen_a(X, Y, [[0, 1, 0]], A0, ridge),
    "frozen b": lambda ridge: frozen.fit_frozen_b(X, Y, [[0], [1]], A0, ridge),
}
everywhere = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())


def replaced(array, place, value):
    array = array.astype(float)
    array[place] = value
    return array


def refusal(call, *arguments):
    with pytest.raises(InvalidInput) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@everywhere
@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.tolist(),
        lambda a: tuple(map(tuple, a.tolist())),
        lambda a: a.astype(np.int8),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.float32),
        lambda a: jnp.asarray(a, dtype=jnp.bfloat16),
        lambda a: jnp.asarray(a, dtype=jnp.int32),
        np.asfortranarray,
        lambda a: np.ma.masked_array(a, mask=False),
    ],
    ids=["lists", "tuples", "int8", "float16", "float32", "bfloat16", "jax int32", "fortran", "unmasked"],
)
def test_real_arrays_of_any_kind_are_computed_in_float64(fit, convert):
    """The numbers are small integers, exact in every type, so that the results are equal to the bit."""
    expected = fit(*(jnp.asarray(a, dtype=float) for a in (X, Y, A0)))
    result = fit(convert(X), convert(Y), convert(A0))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, expected)


@everywhere
def test_leading_dimensions_broadcast(fit):
    x, a0 = np.stack([X, 2 * X + 1])[:, None], np.stack([A0, A0 + 1, 2 * A0])
    together = fit(x, Y, a0)
    assert together.shape[:2] == (2, 3)
    for i in range(2):
        for j in range(3):
            single = fit(x[i, 0], Y, a0[j])
            np.testing.assert_allclose(together[i, j], single, rtol=0, atol=1e-12 * np.linalg.norm(single))


@everywhere
def test_compiled_equals_not_compiled(fit):
    single = fit(X, Y, A0)
    # Both round alike up to the order of sums: eps times the squared condition number (below 10) and the dimensions.
    allowed = 100 * np.finfo(float).eps * np.linalg.cond(X) ** 2 * np.linalg.norm(single)
    assert jax.jit(fit)(X, Y, A0).dtype == np.float64
    np.testing.assert_allclose(jax.jit(fit)(X, Y, A0), single, rtol=0, atol=allowed)
    np.testing.assert_allclose(jax.vmap(fit)(X[None], Y[None], A0[None])[0], single, rtol=0, atol=allowed)
    gradient = jax.grad(lambda y: jnp.sum(fit(X, y, A0)))(Y.astype(float))
    assert np.all(np.isfinite(gradient))


@everywhere
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_nan_and_inf_are_refused_with_their_place(fit, value, which):
    arguments = [X, Y, A0]
    arguments[which] = replaced(arguments[which], (1, 2), value)
    message = refusal(fit, *arguments)
    assert message.startswith(("inputs: ", "outputs: ", "pretrained: ")[which])
    assert f"all finite, received {value} at [1, 2]; leave out the samples" in message


@everywhere
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((X[0], Y, A0), "inputs: expected X, dx x n with a sample in each column, received shape (4,); give a matrix"),
        ((X, Y[0], A0), "outputs: expected Y, dy x n with a sample in each column, received shape (4,); give a matrix"),
        ((X, 3.0, A0), "outputs: expected Y, dy x n with a sample in each column, received shape ()"),
        ((X, Y[:, :3], A0), "outputs: expected 4 samples, as many as inputs, received 3, shape (2, 3)"),
        ((X, Y, A0.T), "pretrained: expected A0, dy x dx = 2 x 3, received shape (3, 2)"),
        ((X[:, :0], Y[:, :0], A0), "not empty, received shape (3, 0)"),
        ((X[:0], Y, A0[:, :0]), "not empty, received shape (0, 4)"),
        (
            (np.stack([X, X]), np.stack([Y, Y, Y]), A0),
            "inputs, outputs, pretrained: expected leading dimensions that broadcast, received (2,), (3,), ()",
        ),
        ((X * 1j, Y, A0), "inputs: expected X, dx x n with a sample in each column, real numbers, received type comp"),
        ((X.astype(str), Y, A0), "real numbers, received type <U"),
        (("a design", Y, A0), "real numbers, received type <U8"),
        ((object(), Y, A0), "real numbers, received <object object at"),
        (([[1, None, 2, 3]] * 3, Y, A0), "real numbers, received [[1, None, 2, 3]"),
        (([[Fraction(1, 2)] * 4] * 3, Y, A0), "real numbers, received [[Fraction(1, 2)"),
        ((X.astype("timedelta64[s]"), Y, A0), "real numbers, received type timedelta64[s]"),
        (([[1, 2], [3]], Y, A0), "received [[1, 2], [3]]; give rows of equal length"),
        ((np.ma.masked_array(X, mask=X == 2), Y, A0), "all known, received masked entries"),
        ((X * 1e150, Y, A0), "no entry above 1e+30, received 1e+150 at [0, 0]; use larger units"),
        (([[10**400] * 4] * 3, Y, A0), "real numbers, received [[1000"),
    ],
)
def test_arrays_that_make_no_sense_are_refused_in_one_line(fit, arguments, expected):
    assert expected in refusal(fit, *arguments)


@everywhere
def test_compiled_shapes_and_types_are_checked_too(fit):
    compiled = jax.jit(fit)
    assert "outputs: expected 4 samples, as many as inputs, received 3" in refusal(compiled, X, Y[:, :3], A0)
    assert "pretrained: expected A0, dy x dx = 2 x 3, received shape (3, 2)" in refusal(compiled, X, Y, A0.T)
    assert "inputs: expected X, dx x n with a sample in each column, received shape (4,)" in refusal(
        compiled, X[0], Y, A0
    )
    assert "real numbers, received type complex128" in refusal(compiled, X * 1j, Y, A0)


@pytest.mark.parametrize("fit", WITH_RIDGE.values(), ids=WITH_RIDGE.keys())
@pytest.mark.parametrize("ridge", [-1, -1e-300, np.nan, np.inf, True, "1", [1.0], np.ones(2), 1j, 1e31, None], ids=repr)
def test_a_ridge_is_a_number_that_is_not_negative(fit, ridge):
    if ridge is None:
        np.testing.assert_array_equal(fit(None), fit(0.0))
        return
    assert refusal(fit, ridge).startswith("ridge: expected a ")


def test_a_traced_ridge_is_a_real_scalar():
    compiled = jax.jit(lambda ridge: fft.fit_fft(X, Y, A0, ridge))
    np.testing.assert_allclose(compiled(2), fft.fit_fft(X, Y, A0, 2.0), rtol=1e-13)
    assert "ridge: expected a real number, received type float64, shape (2,)" in refusal(compiled, jnp.ones(2))


@pytest.mark.parametrize("rank", [-1, 3, True, 1.0, np.float64(1), "1", None, [1]], ids=repr)
def test_a_rank_is_an_integer_in_range(rank):
    message = refusal(lora.fit_lora, X, Y, rank)
    assert message.startswith("rank: expected an integer in 0..min(n, dx, dy) = 2, received ")


def test_a_traced_rank_is_refused_and_a_numpy_integer_is_not():
    assert "make it a static argument" in refusal(jax.jit(lora.fit_lora), X, Y, 1)
    np.testing.assert_array_equal(lora.fit_lora(X, Y, np.int64(1)), lora.fit_lora(X, Y, 1))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        ([[1, 0]], "input_factor: expected r x dx, r <= dx, with orthonormal rows, received rank 1 in 2 dimensions"),
        ([[np.nan, 0, 0]], "with orthonormal rows, all finite, received nan at [0, 0]"),
        ([1, 0, 0], "input_factor: expected r x dx, r <= dx, with orthonormal rows, received shape (3,)"),
        ("rows", "real numbers, received type <U4"),
        (np.ones((0, 3)), "orthonormal rows, not empty, received shape (0, 3)"),
        (np.ones((2, 1, 3)) / np.sqrt(3), "leading dimensions that broadcast, received (2,), (3,), "),
    ],
)
def test_a_frozen_factor_that_makes_no_sense_is_refused(factor, expected):
    x = np.stack([X, X, X]) if np.ndim(factor) == 3 else X
    assert expected in refusal(frozen.fit_frozen_a, x, Y, factor)


def test_ia3_needs_a_pretrained_map():
    assert "pretrained: expected A0, dy x dx, received None" in refusal(ia3.fit_ia3, X, Y, None)


def test_an_update_beyond_float64_is_a_failure_and_not_inf():
    with pytest.raises(NumericalFailure, match="the fit overflows"):
        fft.fit_fft(1e-300 * np.eye(3), 1e20 * np.eye(3))
