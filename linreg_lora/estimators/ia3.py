"""IA3 on the outputs: every output is rescaled by a trained factor, D = diag(l) A0.

    l_j = R_j z_j^T / ||z_j||^2,      z_j = (A0 X)_j,      least squares of output j's residual on its pretrained value

Source: the method is that of Liu et al. 2022; the minimiser was derived here.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft


def fit_ia3(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy n"],
    pretrained: Float[Array, "... dy dx"],
) -> Float[Array, "... dy dx"]:
    """The update D = diag(l) A0; the fine-tuned map is diag(1 + l) A0.

    `inputs` X, `outputs` Y, `pretrained` A0, which it needs. Raises `InvalidInput` for an output whose pretrained
    values are all zero (checked where the arrays hold values: not under `jax.jit`).
    """
    features = pretrained @ inputs
    energy = jnp.sum(features**2, axis=-1)
    if not isinstance(energy, Tracer) and not np.all(np.asarray(energy) > 0):
        raise InvalidInput("pretrained", "A0 X without rows of zeros", "an output that is always zero")
    scales = jnp.sum(fft.residual(inputs, outputs, pretrained) * features, axis=-1) / energy
    return scales[..., None] * jnp.broadcast_to(pretrained, (*scales.shape, pretrained.shape[-1]))
