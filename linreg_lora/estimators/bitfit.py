"""BitFit: only the biases are trained, f(x) = A0 x + b.

    b = R 1 / n,      the mean residual, which minimises ||R - b 1^T||_F^2

Its excess risk is ||b - Delta mu||^2 + ||Delta Sigma^{1/2}||_F^2: where the inputs' mean mu is zero, as `bias_risk` has
it, a bias cannot stand in for a shift.
Source: the method is that of Ben Zaken et al. 2022; the minimiser was derived here.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linreg_lora.estimators import arrays, fft
from linreg_lora.estimators.arrays import ArrayLike
from linreg_lora.estimators.risk import excess_risk


def fit_bitfit(inputs: ArrayLike, outputs: ArrayLike, pretrained: ArrayLike | None = None) -> Float[Array, "... dy"]:
    """The bias b = R 1 / n; the fine-tuned map is x -> A0 x + b.

    `inputs` X (... dx n), `outputs` Y (... dy n), `pretrained` A0 (... dy dx; None: zero). Lists and arrays of any real
    type are accepted; leading dimensions broadcast; the result is float64. X may have any rank. Raises `InvalidInput`
    for arrays that are not real, finite and of matching shape; under `jax.jit` only shapes are checked.

    >>> import linreg_lora as ll
    >>> ll.estimators.fit_bitfit([[1.0, 2.0]], [[1.0, 3.0]]).tolist()
    [2.0]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    bias = jnp.mean(fft.residual(x, y, a0), axis=-1)
    return jnp.broadcast_to(bias, (*np.broadcast_shapes(x.shape[:-2], bias.shape[:-1]), bias.shape[-1]))


def bias_risk(
    bias: Float[Array, "... dy"],
    shift: Float[Array, "... dy dx"],
    sigma_sqrt: Float[Array, "dx dx"] | None = None,
) -> Float[Array, "..."]:
    """||b||^2 + ||Delta Sigma^{1/2}||_F^2, inputs of mean zero, in squared units of y; `sigma_sqrt` None: Sigma = I."""
    return jnp.sum(bias**2, axis=-1) + excess_risk(jnp.zeros_like(shift), shift, sigma_sqrt)
