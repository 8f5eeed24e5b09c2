"""The ridgeless limit of the self-consistent equation for n < dx, in closed form up to one scalar.

As eta -> 0+ the equation of `pencil` becomes singular, n w_00 ~ eta / kappa with Tr Sigma (Sigma + kappa)^{-1} = n, but
its traces have limits. With V_11 = Delta Sigma Delta^T + Sigma_eps and gamma = -w_11,

    gamma (1 - t) = 1,  Z = (z - n gamma V_11)^{-1},  t = Tr V_11 Z    (Marchenko-Pastur for R R^T; gamma -> 1 far away)
    S1 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    S2 = Tr[Delta Sigma (Sigma + kappa)^{-1} Sigma (Sigma + kappa)^{-1} Sigma Delta^T Z]
    beta = gamma / (1 + gamma S1),  df2 = Tr Sigma^2 (Sigma + kappa)^{-2},  kappa1 = beta^2 (S2 + 1/gamma) / (n - df2)

and the traces are -Tr Z (directions), -(df2 kappa1 + beta^2 S2) (energy) and -beta S1 (overlap). Forgetting is the
energy with Sigma_pre for one Sigma. gamma makes Psi = log det Z^{-1} + n (gamma - log gamma) stationary. Close to the
limit w = (eta, eta beta, 0) / (n kappa) - (0, 0, gamma), up to terms of order eta relative to each.
"""

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact

from linreg_lora.theory.contours.modes import Ridgeless
from linreg_lora.theory.contours.pencil import Step

_ROUNDING = 1e-12


class RidgelessEquation:
    """The equation of the module; the one unknown is gamma."""

    start = np.array([1.0], dtype=complex)

    def __init__(self, limit: Ridgeless) -> None:
        self.limit, self.n = limit, limit.n

    def image(self, z: Complex[np.ndarray, "p"], gamma: Complex[np.ndarray, "1 p"]) -> Complex[np.ndarray, "1 p"]:
        """1 / (1 - t)."""
        return 1 / (1 - self._resolvent(z, gamma) @ (self.limit.multiplicity * self.limit.eigenvalues))[None]

    def step(self, z: Complex[np.ndarray, "p"], gamma: Complex[np.ndarray, "1 p"]) -> Step:
        """Newton's method for gamma = 1 / (1 - t)."""
        limit, resolvent = self.limit, self._resolvent(z, gamma)
        squared = resolvent * resolvent
        found = 1 / (1 - resolvent @ (limit.multiplicity * limit.eigenvalues))
        system = 1 - found**2 * self.n * (squared @ (limit.multiplicity * limit.eigenvalues**2))
        slope = -(found**2) * (squared @ (limit.multiplicity * limit.eigenvalues))
        excess = gamma - found
        return Step(excess, system[None, None], -excess, slope[None])

    def traces(self, z: Inexact[np.ndarray, "p"], gamma: Inexact[np.ndarray, "1 p"]) -> Inexact[np.ndarray, "4 p"]:
        """The four traces: directions, energy, overlap, forgetting."""
        limit, resolvent = self.limit, self._resolvent(z, gamma)
        columns = np.stack([np.ones_like(limit.first), limit.first, limit.second, limit.second_pretraining], axis=1)
        kept, s1, s2, s2_pretraining = (resolvent @ (limit.multiplicity[:, None] * columns)).T
        beta = gamma[0] / (1 + gamma[0] * s1)
        kappa1 = beta**2 * (s2 + 1 / gamma[0]) / (self.n - limit.df2)
        energy = limit.df2 * kappa1 + beta**2 * s2
        forgetting = limit.df2_pretraining * kappa1 + beta**2 * s2_pretraining
        return np.stack([-kept, -energy, -beta * s1, -forgetting])

    def proper(self, gamma: Complex[np.ndarray, "1 p"]) -> Bool[np.ndarray, "p"]:
        """Whether Im gamma <= 0: the branch on which the resolvent has the sign that it must have."""
        return gamma[0].imag <= _ROUNDING * np.abs(gamma[0])

    def count(self, z: Complex[np.ndarray, "p"], gamma: Complex[np.ndarray, "1 p"]) -> Float[np.ndarray, "p"]:
        """Im Psi / pi: eigenvalues of F F^T above z = x + i0."""
        arguments = np.angle(self._inverse(z, gamma)) @ self.limit.multiplicity
        return (arguments + self.n * (gamma[0].imag - np.angle(gamma[0]))) / np.pi

    def s1(self, z: Complex[np.ndarray, "p"], gamma: Complex[np.ndarray, "1 p"]) -> Complex[np.ndarray, "p"]:
        """S1 of the module."""
        return self._resolvent(z, gamma) @ (self.limit.multiplicity * self.limit.first)

    def linked(
        self,
        z: Complex[np.ndarray, "p"],
        gamma: Complex[np.ndarray, "1 p"],
        link: complex | float | Complex[np.ndarray, "p"],
    ) -> np.ndarray:
        """About what w is at a small ridge link^2, in the scaled equation (`PencilEquation`)."""
        beta, share = gamma[0] / (1 + gamma[0] * self.s1(z, gamma)), 1 / (self.n * self.limit.kappa)
        return np.stack([np.full(len(z), share, dtype=complex), share * link * beta, -gamma[0]])

    def _inverse(self, z: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        return z[:, None] - self.n * gamma[0][:, None] * self.limit.eigenvalues

    def _resolvent(self, z: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        return 1 / self._inverse(z, gamma)
