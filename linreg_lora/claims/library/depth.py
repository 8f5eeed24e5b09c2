"""Deep networks: how far adapters on every layer can move the output, by the bound of `theory.depth`.

A size is width x layers. Activations are phi(h) = L max(h, a h), from ReLU (a = 0) to the identity (a = 1) times L.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from linreg_lora import runtime
from linreg_lora.claims.domains import LARGEST_SIZE, Domain, register_domain
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Positive

_EPS = np.finfo(float).eps
_AtLeastTwo = Annotated[int, Field(strict=True, ge=2, le=LARGEST_SIZE)]


class NetworkSize(NamedTuple):
    """A case of a family of networks: square layers."""

    width: int
    layers: int

    @property
    def description(self) -> str:
        return f"{self.width} x {self.layers}"

    @property
    def fingerprint(self) -> str:
        """As when networks were written as matrices, so that their draws stay what they were."""
        return f"MatrixSize(rows={self.width}, columns={self.layers})"


@register_domain("deep-networks")
class DeepNetworks(Domain):
    """Networks with square layers, at least two wide and two deep: each size is [width, layers]."""

    sizes: list[tuple[_AtLeastTwo, _AtLeastTwo]] = Field(min_length=1)

    def cases(self) -> list[NetworkSize]:
        return [NetworkSize(width, layers) for width, layers in self.sizes]

    def neighbours(self) -> list[NetworkSize]:
        width, layers = self.sizes[0]
        return [NetworkSize(width + 1, layers + 1)]

    def describe(self) -> str:
        return f"deep-networks of {', '.join(size.description for size in self.cases())}"


@functools.cache
def _gap(linear_output: bool) -> Callable[..., Any]:
    """||f(x) - f_0(x)|| of many networks; compiled once for all seeds."""
    import jax
    import jax.numpy as jnp

    from linreg_lora.theory.depth import output_gap

    def one(weights, adapters, x, slope, lipschitz):
        def activation(h):
            return lipschitz * jnp.maximum(h, slope * h)

        moved = output_gap(list(weights), list(adapters), x, activation, linear_output=linear_output)
        return jnp.linalg.norm(moved)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, 0, None)))


def _networks(size: NetworkSize, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W_k and Phi_k, trials x layers x width x width, and x. Of each three networks, two are random, with norms over
    three decades; one has layers w_k u u^T and adapters p_k u u^T with u >= 0 and x along u, which attain the bound.
    """
    rng = np.random.default_rng(seed)
    width, layers = size
    shape = (2, trials, layers, width, width)
    matrices = rng.standard_normal(shape) * 10 ** rng.uniform(-1.5, 1.5, (2, trials, layers, 1, 1))
    x = rng.standard_normal((trials, width))
    u = np.abs(rng.standard_normal((trials, width)))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    aligned = np.arange(trials) % 3 == 0
    x[aligned] = u[aligned]
    strength = rng.uniform(0.3, 3, (2, trials, layers, 1, 1))
    strength[0] = strength[0][:, :1]
    matrices[:, aligned] = (strength * (u[:, :, None] * u[:, None, :])[:, None])[:, aligned]
    return matrices[0], matrices[1], x


def _sample(size: NetworkSize, trials: int, seed: int, lipschitz: float, *, linear_output: bool) -> Sample:
    weights, adapters, x = _networks(size, trials, seed)
    slope = np.random.default_rng([seed, 1]).integers(0, 3, trials) / 2
    with runtime.exclusive_device():
        gap = np.asarray(_gap(linear_output)(weights, adapters, x, slope, float(lipschitz)))
    norms = np.linalg.norm(np.stack([weights, adapters]), 2, axis=(-2, -1))
    input_norm = np.linalg.norm(x, axis=1)
    factors = np.full(size.layers, lipschitz)
    if linear_output:
        factors[-1] = 1.0
    scale = np.prod(factors * (norms[0] + norms[1]), axis=1) * input_norm
    context = {"weights": norms[0].max(axis=1), "adapters": norms[1], "input": input_norm}
    context |= {"lipschitz": np.asarray(lipschitz)}
    tolerance = np.full(trials, 10 * _EPS * size.width * size.layers)
    return Sample(gap, context, tolerance=tolerance, scale=scale)


@register_experiment("network-gap", pathwise=True)
def network_gap(size: NetworkSize, trials: int, seed: int, *, lipschitz: Positive) -> Sample:
    """||f(x) - f_0(x)|| with an activation on every layer; context: W, the norms of the adapters and of x, L."""
    return _sample(size, trials, seed, lipschitz, linear_output=False)


@register_experiment("network-gap-linear-output", pathwise=True)
def network_gap_linear_output(size: NetworkSize, trials: int, seed: int, *, lipschitz: Positive) -> Sample:
    """||f(x) - f_0(x)|| with an activation on every layer but the last."""
    return _sample(size, trials, seed, lipschitz, linear_output=True)
