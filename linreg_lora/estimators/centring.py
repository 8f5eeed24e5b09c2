"""The part of n samples that a bias leaves to fit a map: n - 1 samples of mean zero.

    X H,  R H,      H n x (n - 1), the columns of an orthogonal matrix that are orthogonal to 1

X H (X H)^T = sum_i (x_i - xbar)(x_i - xbar)^T: least squares on them is least squares on centred samples, with an
intercept profiled out. Of samples that are iid Gaussian they are iid Gaussian again, n - 1 of mean zero and the same
covariance, independent of the mean.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def centred(samples: Float[Array, "... rows n"]) -> Float[Array, "... rows m"]:
    """S H, m = n - 1 columns, for a matrix of samples S; H by a Householder reflection of 1 onto the last sample.

    The mean is taken off first: it is what rounding is relative to, and no more of it is lost than S itself has lost.

    >>> import linreg_lora as ll
    >>> import jax.numpy as jnp
    >>> f"{ll.estimators.centred(jnp.array([[7.0, 9.0]])).item():.4f}"
    '-1.4142'
    """
    n = samples.shape[-1]
    around = samples - jnp.mean(samples, axis=-1, keepdims=True)
    last = around[..., -1:]
    return around[..., :-1] - last / (jnp.sqrt(n) + 1.0)
