"""BitFit: only the biases are trained, f(x) = A0 x + b.

    b = R 1 / n,      the mean residual, which minimises ||R - b 1^T||_F^2

Its excess risk is ||b||^2 + ||Delta Sigma^{1/2}||_F^2: inputs have mean zero, so a bias cannot stand in for a shift.
Source: the method is that of Ben Zaken et al. 2022; the minimiser was derived here.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft
from linreg_lora.estimators.risk import excess_risk


def fit_bias(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy _n"],
    pretrained: Float[Array, "... dy dx"] | None = None,
) -> Float[Array, "... dy"]:
    """The bias b; the fine-tuned map is x -> A0 x + b.

    `inputs` X, `outputs` Y, `pretrained` A0 (None: zero). Raises `InvalidInput` for unequal numbers of samples.
    """
    if inputs.shape[-1] != outputs.shape[-1]:
        raise InvalidInput("outputs", f"{inputs.shape[-1]} samples, as many as inputs", outputs.shape[-1])
    return jnp.mean(fft.residual(inputs, outputs, pretrained), axis=-1)


def bias_risk(
    bias: Float[Array, "... dy"],
    shift: Float[Array, "... dy dx"],
    sigma_sqrt: Float[Array, "dx dx"] | None = None,
) -> Float[Array, "..."]:
    """||b||^2 + ||Delta Sigma^{1/2}||_F^2, in squared units of y; `sigma_sqrt` None means Sigma = I."""
    return jnp.sum(bias**2, axis=-1) + excess_risk(jnp.zeros_like(shift), shift, sigma_sqrt)
