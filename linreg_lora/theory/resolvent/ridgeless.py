"""The ridgeless limit of the self-consistent equation for n < dx, in closed form up to one scalar.

As eta -> 0+ the equation of `pencil` becomes singular, n w_00 ~ eta / kappa with Tr Sigma (Sigma + kappa)^{-1} = n, but
its traces have limits. With V_11 = Delta Sigma Delta^T + Sigma_eps and gamma = -w_11,

    gamma (1 - t) = 1,  Z = (z - n gamma V_11)^{-1},  t = Tr V_11 Z    (Marchenko-Pastur for R R^T; gamma -> 1 far away)
    S1 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    S2 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    beta = gamma / (1 + gamma S1),  df2 = Tr Sigma^2 (Sigma + kappa)^{-2},  kappa1 = beta^2 (S2 + 1/gamma) / (n - df2)

and the traces are -Tr Z (directions), -(df2 kappa1 + beta^2 S2) (energy) and -beta S1 (overlap). Forgetting is the
energy with Sigma_pre for one Sigma: df2 becomes Tr Sigma_pre Sigma (Sigma + kappa)^{-2}, and the middle Sigma of S2
becomes Sigma_pre. Everything is diagonal in the eigenbasis of V_11: a node costs one pass over its eigenvalues.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex

from linreg_lora.theory.contours.modes import Ridgeless
from linreg_lora.theory.resolvent.dyson import Equations

_ROUNDING = 1e-12


def step(limit: Ridgeless, z: Complex[Array, ""], gamma: Complex[Array, "1"]) -> Complex[Array, "1"]:
    """One step of gamma -> 1 / (1 - t)."""
    return linearise(limit, z, gamma)[0]


def linearise(
    limit: Ridgeless, z: Complex[Array, ""], gamma: Complex[Array, "1"]
) -> tuple[Complex[Array, "1"], Complex[Array, "1 1"]]:
    """The step and its derivative, gamma^2 dt with dt = n Tr (V_11 Z)^2."""
    share = limit.eigenvalues / (z - limit.n * gamma * limit.eigenvalues)
    found = 1 / (1 - jnp.sum(limit.multiplicity * share))
    return found[None], (found**2 * limit.n * jnp.sum(limit.multiplicity * share**2))[None, None]


def traces(limit: Ridgeless, z: Complex[Array, ""], state: Complex[Array, "1"]) -> Complex[Array, "4"]:
    """The four traces: directions, energy, overlap, forgetting."""
    gamma = state[0]
    resolvent = limit.multiplicity / (z - limit.n * gamma * limit.eigenvalues)
    s1, s2, s2_pretraining = (
        jnp.sum(part * resolvent) for part in (limit.first, limit.second, limit.second_pretraining)
    )
    beta = gamma / (1 + gamma * s1)
    kappa1 = beta**2 * (s2 + 1 / gamma) / (limit.n - limit.df2)
    energy, forgetting = limit.df2 * kappa1 + beta**2 * s2, limit.df2_pretraining * kappa1 + beta**2 * s2_pretraining
    return jnp.stack([-jnp.sum(resolvent), -energy, -beta * s1, -forgetting])


def proper(state: Complex[Array, "1"]) -> Bool[Array, ""]:
    """Whether Im gamma <= 0: the branch on which the resolvent has the sign that it must have."""
    return jnp.imag(state[0]) <= _ROUNDING * jnp.abs(state[0])


EQUATIONS = Equations((1.0 + 0j,), step, linearise, traces, proper)
