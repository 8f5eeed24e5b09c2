"""Explicit data of every input law: scales of the samples first, then inputs and noise.

    X = mu 1^T + Sigma^{1/2} Z diag(w)^{1/2},   E = Sigma_eps^{1/2} G diag(v)^{1/2},   Y = (A0 + Delta) X + E

Correlated samples are drawn as the sequence they are, X = Sigma^{1/2} Z L^T with L L^T = T, not as weights.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora.input_law import (
    CorrelatedSamples,
    IidEntries,
    InputLaw,
    MultivariateT,
    SampleWeights,
    ScaleMixture,
)
from linreg_lora.sampling import gaussian
from linreg_lora.sampling.gaussian import Dataset

_Scale = Float[Array, "n"] | None


def sample(
    law: InputLaw,
    key: Key[Array, ""],
    n: int,
    target: Float[Array, "dy dx"],
    sigma_sqrt: Float[Array, "dx dx"] | None,
    noise_root: Float[Array, ""] | Float[Array, "dy dy"],
    mean: Float[Array, "dx"] | None = None,
) -> Dataset:
    """One dataset of a law; arguments as in `gaussian.sample`, whose draws are those of Gaussian inputs."""
    if law.is_gaussian:
        return gaussian.sample(key, n, target, sigma_sqrt, noise_root, mean)
    dy, dx = target.shape
    key_scale, key_inputs, key_noise = jax.random.split(key, 3)
    w, v = _scales(law, key_scale, n)
    latent = _latent(law, key_inputs, (dx, n))
    latent = latent if w is None else latent * jnp.sqrt(w)[None, :]
    inputs = gaussian.around(mean, latent if sigma_sqrt is None else sigma_sqrt @ latent)
    noise = gaussian.noise(key_noise, (dy, n), noise_root)
    noise = noise if v is None else noise * jnp.sqrt(v)[None, :]
    return Dataset(inputs, target @ inputs + noise, v)


def may_be_singular(law: InputLaw) -> bool:
    """Whether designs lack full rank with positive probability: those of discrete entries."""
    return isinstance(law, IidEntries) and law.may_be_singular


def _scales(law: InputLaw, key: Key[Array, ""], n: int) -> tuple[_Scale, _Scale]:
    """w and v of each sample; None: 1."""
    if isinstance(law, MultivariateT):
        return (law.dof - 2) / jax.random.chisquare(key, law.dof, (n,)), None
    if isinstance(law, SampleWeights):
        return jnp.asarray(law.weights), None if law.noise_weights is None else jnp.asarray(law.noise_weights)
    if isinstance(law, ScaleMixture):
        size = len(law.weights)
        p = None if law.probabilities is None else jnp.asarray(law.probabilities)
        drawn = jax.random.choice(key, size, (n,), p=p)
        noise = None if law.noise_weights is None else jnp.asarray(law.noise_weights)[drawn]
        return jnp.asarray(law.weights)[drawn], noise
    return None, None


def _latent(law: InputLaw, key: Key[Array, ""], shape: tuple[int, int]) -> Float[Array, "dx n"]:
    """Z, with entries of mean 0 and variance 1; correlated along the samples of an AR(1) sequence."""
    if isinstance(law, CorrelatedSamples):
        return jax.random.normal(key, shape) @ _ar1_root(law.rho, shape[1]).T
    if not isinstance(law, IidEntries):
        return jax.random.normal(key, shape)
    if law.kind == "rademacher":
        return jax.random.rademacher(key, shape, dtype=float)
    if law.kind == "uniform":
        return jax.random.uniform(key, shape, minval=-np.sqrt(3.0), maxval=np.sqrt(3.0))
    if law.kind == "laplace":
        return jax.random.laplace(key, shape) / np.sqrt(2.0)
    assert law.parameter is not None
    if law.kind == "iid-t":
        return jax.random.t(key, law.parameter, shape) * np.sqrt((law.parameter - 2) / law.parameter)
    key_there, key_value = jax.random.split(key)
    there = jax.random.bernoulli(key_there, law.parameter, shape)
    return jnp.where(there, jax.random.normal(key_value, shape), 0.0) / np.sqrt(law.parameter)


def _ar1_root(rho: float, n: int) -> np.ndarray:
    """L with x_1 = z_1 and x_s = rho x_{s-1} + sqrt(1 - rho^2) z_s: L_st = rho^(s - t) c_t."""
    step = np.subtract.outer(np.arange(n), np.arange(n))
    root = np.where(step >= 0, float(rho) ** np.maximum(step, 0), 0.0)
    root[:, 1:] *= np.sqrt(1 - rho**2)
    return root
