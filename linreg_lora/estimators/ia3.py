"""IA3 on the outputs: every output is rescaled by a trained factor, D = diag(l) A0.

    l_j = R_j z_j^T / ||z_j||^2,      z_j = (A0 X)_j,      least squares of output j's residual on its pretrained value

Source: the method is that of Liu et al. 2022; the minimiser was derived here.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays, fft
from linreg_lora.estimators.arrays import ArrayLike


def fit_ia3(inputs: ArrayLike, outputs: ArrayLike, pretrained: ArrayLike) -> Float[Array, "... dy dx"]:
    """The update D = diag(l) A0; the fine-tuned map is diag(1 + l) A0.

    `inputs` X (... dx n), `outputs` Y (... dy n), `pretrained` A0 (... dy dx), which it needs. Lists and arrays of any
    real type are accepted; leading dimensions broadcast; the result is float64.

    X may have any rank. Raises `InvalidInput` for arrays that are not real, finite and of matching shape, and for an
    output whose pretrained values are all zero, or nothing but the rounding of A0 X: there no scale is better than
    another. Under `jax.jit` only shapes are checked, and such an output gives nan. Raises `NumericalFailure` where D
    overflows.

    >>> import linreg_lora as ll
    >>> ll.estimators.fit_ia3([[1.0, 2.0]], [[3.0, 6.0]], [[1.0]]).tolist()
    [[2.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    if a0 is None:
        raise InvalidInput("pretrained", "A0, dy x dx", None)
    features = a0 @ x
    largest = jnp.max(jnp.abs(features), axis=-1, keepdims=True)
    rounding = x.shape[-2] * np.finfo(float).eps * jnp.max(jnp.abs(a0) @ jnp.abs(x), axis=-1, keepdims=True)
    moves = largest > rounding
    if not isinstance(moves, Tracer) and not np.all(np.asarray(moves)):
        raise InvalidInput("pretrained", "A0 X without rows of zeros", "an output that is always zero")
    unit = features / jnp.where(moves, largest, jnp.nan)
    scales = jnp.sum(fft.residual(x, y, a0) * unit, axis=-1) / jnp.sum(unit**2, axis=-1) / largest[..., 0]
    return arrays.finite(scales[..., None] * a0)
