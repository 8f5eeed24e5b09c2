"""Close to the interpolation threshold: the weakest eigenvalues of the inputs, exactly.

Let W be X X^T (n > dx) or X^T X (n < dx), lam an eigenvalue and o its eigenvector. Then D o = F o / sqrt(lam), and

    T1(x) = integral of rho(lam) b(lam; x) / (lam + eta) dlam,      b: the mean of (F^T h F)_oo, bounded and smooth.

All of the pole is in rho, the density of W, which is known at finite size (`theory.laguerre`). By leave-one-out the
part of g_T1 that small lam make is -F(q), F(q) = S(eta / (1 + q)) / (1 + q), q = Tr Sigma_eps Q, with fluctuations v of
q and a shift dq: at finite size, and because an eigenvalue near zero leaves a Wishart matrix of (m - 1, nu + 1) to the
rest. With S exact, S_0 by Marchenko and Pastur and S_1 the first order, what the corrected equivalent misses is

    g_T1 -= A,     A = (F - F_0 - F_1)(q) + (F - F_0)'(q) dq + (F - F_0)''(q) v / 2,
    v = 2 Tr (Sigma_eps Q)^2,    dq = sigma^2 (delta Tr Q - dP / dz),
    P = -log det w + log Tr G_00                                                                (n >= dx)
    P = log det w + log(eta + n w_00) + (n / dx) (w_01 Tr V_10 G_01 + w_11 Tr Delta Delta^T G_11)      (n < dx, ridge)
    P = log gamma - (n gamma / dx) Tr Delta Delta^T Z                                           (n < dx, no ridge)

for Sigma = I, or Sigma = c I with eta / c for eta and c Delta Delta^T, and Sigma_eps = sigma^2 I. Without ridge FFT
comes out exact, with one to some 0.1 %. Source: derived here; the argument is heuristic, its numbers are checked.
"""

import numpy as np
from jaxtyping import Complex

from linreg_lora.problem import Problem
from linreg_lora.theory import laguerre
from linreg_lora.theory.contours.blocks import ScalarBlock
from linreg_lora.theory.contours.pencil import Equation, PencilEquation
from linreg_lora.theory.contours.ridgeless import RidgelessEquation
from linreg_lora.theory.contours.solver import States

#: Derivatives along the solution are central differences over this share of z.
_STEP = 1e-6


class Threshold:
    """What g_T1 must lose, of one problem (`fft.hard_edge`); what is forgotten, `forgotten` times that."""

    def __init__(self, problem: Problem, forgotten: float) -> None:
        self.forgotten = forgotten
        self.m, self.nu = sorted((problem.n, problem.dx))
        scale = problem.isotropic_scale
        self.ridge = 0.0 if problem.ridge == 0 else problem.ridge / (scale or 1.0)
        self.noise = problem.noise_std**2 * (problem.isotropic_noise_scale or 0.0)
        self.n, self.dx = problem.n, problem.dx
        #: Also where n is not whole.
        self.over = round(problem.n) >= problem.dx

    def __call__(
        self, equation: Equation, z: Complex[np.ndarray, "p"], states: States, delta_count: Complex[np.ndarray, "p"]
    ) -> Complex[np.ndarray, "4 p"]:
        """A for each of the four traces, at points z with their states, and delta Tr Q = `delta_count`."""
        w, slope = states.w, states.slope
        h = _STEP * z
        ahead, behind = (self._parts(equation, z + side, w + side * slope) for side in (h, -h))
        density = (ahead[0] - behind[0]) / (2 * h)
        shift = (np.log(ahead[1] / behind[1]) + ahead[2] - behind[2]) / (2 * h)
        q = self.noise * equation.traces(z, w)[0]
        dq, v = self.noise * (delta_count - shift), 2 * self.noise**2 * density
        first, slope_of, curvature = self._series(q)
        missed = first + slope_of * dq + curvature * v / 2
        return np.outer([0.0, 1.0, 0.0, self.forgotten], missed)

    def _parts(self, equation: Equation, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tr Q, and P as a logarithm's argument and the rest."""
        traces = equation.traces(z, w)
        if isinstance(equation, RidgelessEquation):
            # S1 is n / dx times Tr Delta Delta^T Z.
            return traces[0], w[0], -w[0] * equation.s1(z, w)
        assert isinstance(equation, PencilEquation)
        area = w[0] * w[2] - w[1] ** 2
        if self.over:
            return traces[0], -traces[1] / area, np.zeros_like(z)
        outputs = sum(block.shift_energy(z, w) for block in equation.blocks if isinstance(block, ScalarBlock))
        # Tr V_10 G_01 is the overlap.
        rest = self.n * (w[1] * traces[2] + w[2] * outputs) / self.dx
        return traces[0], area * (self.ridge + self.n * w[0]), rest

    def _series(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """F - F_0 - F_1, and the first two derivatives in q of F - F_0."""
        m, g, u = self.m, self.nu - self.m, 1 + q
        if self.ridge == 0:
            more = m * (1 / (g - 1) - 1 / g)
            return (more - m / g**2) / u, -more / u**2, 2 * more / u**3
        zeta = self.ridge / u
        s0, first, second, s1 = laguerre.marchenko_pastur(zeta, m, self.nu)
        exact = laguerre.exact(zeta, m, self.nu)
        s, ds, dds = exact[0] - s0, exact[1] - first, exact[2] - second
        return (
            (s - s1) / u,
            -(s + zeta * ds) / u**2,
            (2 * s + 4 * zeta * ds + zeta**2 * dds) / u**3,
        )
