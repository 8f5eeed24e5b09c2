"""The self-consistent equation behind the risk of LoRA, at many points z at once.

Stack inputs and residuals, h = (x, R), columns iid N(0, V), with blocks V_kl, k, l in {0: inputs, 1: outputs},

    V_00 = Sigma,  V_10 = Delta Sigma = V_01^T,  V_11 = Delta Sigma Delta^T + Sigma_eps,
    M(z) = [[X X^T + eta I, X R^T], [R X^T, z I]],      E M^{-1} ~ G = [ diag(eta I, z I) + n w o V ]^{-1},
    w = (L + t)^{-1},   L = [[0, 1], [1, -1]],   t_kl = Tr(V_lk G_kl):       (w o V)_kl = w_kl V_kl

three complex scalars w_00, w_01 = w_10, w_11. They make the potential

    Psi(z) = log det G^{-1} - n log det w + n Tr(L w)

stationary, so that d Psi / dz = Tr G_11: the eigenvalues of F F^T above x number Im Psi(x + i0) / pi + n. Of the
solutions the one with Im w >= 0 (positive semi-definite) for Im z > 0 is unique and is the limit of the true one. With
Im w >= 0 all logarithms below are principal. `resolvent.pencil` is the same equation in JAX, one z at a time.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact

from linreg_lora.theory.contours.blocks import MatrixBlock, ScalarBlock, block_of, summed
from linreg_lora.theory.contours.modes import Pencil

_ROUNDING = 1e-12


class Step(NamedTuple):
    """One step of Newton's method at some points: solve `system` dw = `right`, and `system` dw / dz = `slope`.

    `excess` is w minus its image under the fixed-point map.
    """

    excess: Complex[np.ndarray, "s p"]
    system: Complex[np.ndarray, "s s p"]
    right: Complex[np.ndarray, "s p"]
    slope: Complex[np.ndarray, "s p"]


@runtime_checkable
class Equation(Protocol):
    """A self-consistent equation w = image(w), at points z: `start` is w at infinity, `proper` certifies the branch.

    `traces`: the four resolvent traces, directions first; `count`: eigenvalues of F F^T above z = x + i0.
    """

    start: Complex[np.ndarray, "s"]

    def image(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "s p"], /) -> Complex[np.ndarray, "s p"]: ...
    def step(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "s p"], /) -> Step: ...
    def traces(self, z: Inexact[np.ndarray, "p"], w: Inexact[np.ndarray, "s p"], /) -> Inexact[np.ndarray, "4 p"]: ...
    def proper(self, w: Complex[np.ndarray, "s p"], /) -> Bool[np.ndarray, "p"]: ...
    def count(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "s p"], /) -> Float[np.ndarray, "p"]: ...


class PencilEquation:
    """The equation of the module, for a pencil of independent blocks.

    Small ridges eta are taken out of it by diag(sqrt eta, 1) from both sides of w^{-1}, M and G: the same equation with
    a ridge of 1 and L_01 = sqrt eta, which is regular at eta = 0 and beyond (`link`, one or one a point).
    """

    #: K = L^{-1}, the value of w where G vanishes.
    start = np.array([1.0, 1.0, 0.0], dtype=complex)

    def __init__(self, pencil: Pencil, link: complex | float | Complex[np.ndarray, "p"] = 1.0) -> None:
        self.n, self.ridge, self.link = pencil.n, pencil.ridge, link
        self.blocks: list[ScalarBlock | MatrixBlock] = [block_of(part, pencil.n, pencil.ridge) for part in pencil.parts]

    def image(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "3 p"]) -> Complex[np.ndarray, "3 p"]:
        """(L + t)^{-1}."""
        t = summed(block.overlaps(z, w) for block in self.blocks)
        return self._weights(t[0], self.link + t[1], t[2] - 1)

    def step(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "3 p"]) -> Step:
        """Newton's method for w = m^{-1}, m = L + t(w), written as m dw m + dt = m - m w m."""
        t, dt, dz = (summed(parts) for parts in zip(*(block.slopes(z, w) for block in self.blocks), strict=True))
        u, v, x = t[0], self.link + t[1], t[2] - 1
        excess = w - self._weights(u, v, x)
        uv, vv, vx = u * v, v * v, v * x
        turn = ((u * u, 2 * uv, vv), (uv, u * x + vv, vx), (vv, 2 * vx, x * x))
        right = np.empty_like(excess)
        for i, (p, q, r) in enumerate(turn):
            right[i] = -(p * excess[0] + q * excess[1] + r * excess[2])
            dt[i, 0] += p
            dt[i, 1] += q
            dt[i, 2] += r
        return Step(excess, dt, right, -dz)

    @staticmethod
    def _weights(u: np.ndarray, v: np.ndarray, x: np.ndarray) -> np.ndarray:
        scale = 1 / (u * x - v * v)
        found = np.empty((3, *scale.shape), dtype=complex)
        found[0], found[1], found[2] = x * scale, -v * scale, u * scale
        return found

    def traces(self, z: Inexact[np.ndarray, "p"], w: Inexact[np.ndarray, "3 p"]) -> Inexact[np.ndarray, "4 p"]:
        """-Tr G_11 (directions), -Tr V_00 G_00 (energy), Tr V_10 G_01 (overlap), -Tr Sigma_pre G_00 (forgetting)."""
        return summed(block.traces(z, w) for block in self.blocks)

    def proper(self, w: Complex[np.ndarray, "3 p"]) -> Bool[np.ndarray, "p"]:
        """Whether Im w >= 0: the one solution that is a limit of resolvents.

        Without ridge w_00 = w_01 = 0 solves the equation too, and is none: there the inputs' resolvent is infinite.
        """
        a, b, c = np.imag(w)
        size = np.max(np.abs(w), axis=0)
        slack = _ROUNDING * size
        positive = (a >= -slack) & (c >= -slack) & (a * c - b * b >= -slack * (np.abs(a) + np.abs(c) + slack))
        # Next to no ridge the improper solution has a small w_00 of its own.
        return positive & (np.abs(w[0]) > _ROUNDING * size) & (a >= -_ROUNDING * np.abs(w[0]))

    def count(self, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "3 p"]) -> Float[np.ndarray, "p"]:
        """Im Psi / pi + n, as the sum of what each logarithm differs by from its value above the spectrum.

        log det w = log w_00 + log(w_11 - w_01^2 / w_00), whose arguments are 0 and pi there.
        """
        turned = np.angle(w[0]) + np.angle(w[1] * w[1] / w[0] - w[2])
        arguments = summed(block.argument(z, w) for block in self.blocks)
        return (arguments - self.n * turned + self.n * np.imag(2 * w[1] - w[2])) / np.pi
