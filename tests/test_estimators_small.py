"""BitFit and IA3 against least squares in their parameters, which knows nothing of their structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators.bitfit import bias_risk, fit_bitfit
from linreg_lora.estimators.ia3 import fit_ia3

#: n, dx, dy: n > dx and n < dx.
SHAPES = [(20, 7, 5), (6, 9, 5)]
#: Rounding of least squares with one well-conditioned column an output.
TOLERANCE = 1e-12


def dataset(n, dx, dy, seed=0):
    rng = np.random.default_rng(seed)
    pretrained = rng.standard_normal((dy, dx))
    return rng.standard_normal((dx, n)), rng.standard_normal((dy, n)), pretrained


@pytest.mark.parametrize("shape", SHAPES)
def test_bitfit_is_least_squares_in_the_biases(shape):
    x, y, pretrained = dataset(*shape)
    expected = np.linalg.lstsq(np.ones((shape[0], 1)), (y - pretrained @ x).T, rcond=None)[0][0]
    np.testing.assert_allclose(fit_bitfit(*map(jnp.asarray, (x, y, pretrained))), expected, rtol=0, atol=TOLERANCE)
    from_zero = np.linalg.lstsq(np.ones((shape[0], 1)), y.T, rcond=None)[0][0]
    np.testing.assert_allclose(fit_bitfit(jnp.asarray(x), jnp.asarray(y)), from_zero, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
def test_ia3_is_least_squares_in_the_scales(shape):
    """All outputs at once: the columns are vec(e_j a_j X), one an output."""
    x, y, pretrained = dataset(*shape)
    features, dy = pretrained @ x, shape[2]
    design = np.stack([np.outer(np.eye(dy)[j], features[j]).ravel() for j in range(dy)], axis=1)
    scales = np.linalg.lstsq(design, (y - features).ravel(), rcond=None)[0]
    update = fit_ia3(*map(jnp.asarray, (x, y, pretrained)))
    np.testing.assert_allclose(update, scales[:, None] * pretrained, rtol=0, atol=TOLERANCE)
    with pytest.raises(InvalidInput, match="pretrained: expected A0 X without rows of zeros"):
        fit_ia3(jnp.asarray(x), jnp.asarray(y), jnp.zeros((dy, shape[1])))


def test_both_accept_batches_and_jit():
    data = [dataset(20, 7, 5, seed) for seed in range(3)]
    x, y, pretrained = (np.stack(parts) for parts in zip(*data, strict=True))
    for fit in (fit_bitfit, fit_ia3):
        together = jax.jit(fit)(x, y, pretrained)
        for one, parts in zip(together, data, strict=True):
            np.testing.assert_allclose(one, fit(*map(jnp.asarray, parts)), rtol=0, atol=TOLERANCE)


def test_the_risk_of_a_bias_is_the_error_on_new_inputs():
    """b = (3, 4), Delta Sigma^{1/2} = diag(2, 0): 25 + 4, and 25 + 1 with Sigma = I."""
    bias, shift = jnp.array([3.0, 4.0]), jnp.diag(jnp.array([1.0, 0.0]))
    assert float(bias_risk(bias, shift, jnp.diag(jnp.array([2.0, 1.0])))) == 29.0
    assert float(bias_risk(bias, shift)) == 26.0


def test_unequal_numbers_of_samples_are_refused():
    with pytest.raises(InvalidInput, match="outputs: expected 6 samples, as many as inputs, received 5"):
        fit_bitfit(jnp.ones((3, 6)), jnp.ones((2, 5)))
