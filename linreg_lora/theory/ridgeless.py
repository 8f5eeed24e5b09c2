"""The ridgeless limit of the Dyson equation for n < dx, in closed form up to one scalar.

As eta -> 0+ the pencil of `pencil` becomes singular, but its traces have limits. With kappa from
Tr Sigma (Sigma + kappa)^{-1} = n and V22 = Delta Sigma Delta^T + Sigma_eps,

    gamma (1 - t) = 1,  Z = (z - n gamma V22)^{-1},  t = Tr V22 Z      (Marchenko-Pastur for R R^T; gamma -> 1 far away)
    S1 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    S2 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    t12 = (t - S1) / (1 + gamma S1),  beta = 1 + gamma t12,  df2 = Tr Sigma^2 (Sigma + kappa)^{-2}
    kappa1 = (1 + beta^2 S2 - 2 beta S1 + t + gamma t12^2) / (n - df2)

and the traces are -Tr Z (directions), -(df2 kappa1 + beta^2 S2) (energy) and -beta S1 (overlap). Everything is diagonal
in the eigenbasis of V22, so a node costs one pass over its distinct eigenvalues.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from linreg_lora.theory.dyson import Equations, damped, newton


class Ridgeless(NamedTuple):
    """Eigenvalues of V22 and, on its eigenvectors, the diagonals of the matrices in S1 and S2, with multiplicities."""

    n: Float[Array, ""]
    df2: Float[Array, ""]
    eigenvalues: Float[Array, "K"]
    first: Float[Array, "K"]
    second: Float[Array, "K"]
    multiplicity: Float[Array, "K"]


def iterate(limit: Ridgeless, z: Complex[Array, ""], gamma: Complex[Array, "1"]) -> Complex[Array, "1"]:
    """One step of gamma -> 1 / (1 - t)."""
    resolvent = 1 / (z - limit.n * gamma * limit.eigenvalues)
    return 1 / (1 - jnp.sum(limit.multiplicity * limit.eigenvalues * resolvent))[None]


def damp(limit: Ridgeless, z: Complex[Array, ""], start: Complex[Array, "1"], steps: int) -> Complex[Array, "1"]:
    """Damped fixed-point steps from `start`."""
    return damped(lambda gamma: iterate(limit, z, gamma), start, steps)


def solve(
    limit: Ridgeless, z: Complex[Array, ""], start: Complex[Array, "1"]
) -> tuple[Complex[Array, "1"], Float[Array, ""]]:
    """gamma at z by Newton's method from `start`, and the residual; never raises."""
    return newton(lambda gamma: iterate(limit, z, gamma) - gamma, start)


def traces(limit: Ridgeless, z: Complex[Array, ""], state: Complex[Array, "1"]) -> Complex[Array, "3"]:
    """The three traces: directions, energy, overlap."""
    gamma = state[0]
    resolvent = limit.multiplicity / (z - limit.n * gamma * limit.eigenvalues)
    t, s1, s2 = (jnp.sum(part * resolvent) for part in (limit.eigenvalues, limit.first, limit.second))
    t12 = (t - s1) / (1 + gamma * s1)
    beta = 1 + gamma * t12
    kappa1 = (1 + beta**2 * s2 - 2 * beta * s1 + t + gamma * t12**2) / (limit.n - limit.df2)
    return jnp.stack([-jnp.sum(resolvent), -(limit.df2 * kappa1 + beta**2 * s2), -beta * s1])


EQUATIONS = Equations((1.0 + 0j,), damp, solve, traces)
