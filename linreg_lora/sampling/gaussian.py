"""Explicit Gaussian data: every input and every output is drawn.

    X = mu 1^T + Sigma^{1/2} Z,   Y = (A0 + Delta) X + Sigma_eps^{1/2} G,   Z and G iid N(0, 1)

The reference against which the cheaper samplers are checked, and the only sampler for anisotropic inputs with n < dx.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Dataset(NamedTuple):
    """`inputs` X, dx x n, and `outputs` Y, dy x n: samples are columns. `noise_scale`: v of `input_law` (None: 1)."""

    inputs: Float[Array, "dx n"]
    outputs: Float[Array, "dy n"]
    noise_scale: Float[Array, "n"] | None = None


def sample(
    key: Key[Array, ""],
    n: int,
    target: Float[Array, "dy dx"],
    sigma_sqrt: Float[Array, "dx dx"] | None,
    noise_root: Float[Array, ""] | Float[Array, "dy dy"],
    mean: Float[Array, "dx"] | None = None,
) -> Dataset:
    """One dataset: `target` A0 + Delta, `sigma_sqrt` Sigma^{1/2} (None: I), `noise_root` sigma or Sigma_eps^{1/2}.

    `mean` mu (None: 0).
    """
    dy, dx = target.shape
    key_inputs, key_noise = jax.random.split(key)
    latent = jax.random.normal(key_inputs, (dx, n))
    inputs = around(mean, latent if sigma_sqrt is None else sigma_sqrt @ latent)
    return Dataset(inputs, target @ inputs + noise(key_noise, (dy, n), noise_root))


def noise(
    key: Key[Array, ""], shape: tuple[int, int], root: Float[Array, ""] | Float[Array, "dy dy"]
) -> Float[Array, "dy k"]:
    """dy x k noise with iid columns N(0, root root^T); a scalar `root` is sigma."""
    white = jax.random.normal(key, shape)
    return root * white if jnp.ndim(root) == 0 else root @ white


def around(mean: Float[Array, "dx"] | None, inputs: Float[Array, "dx n"]) -> Float[Array, "dx n"]:
    """mu 1^T + X (None: X)."""
    return inputs if mean is None else mean[:, None] + inputs
