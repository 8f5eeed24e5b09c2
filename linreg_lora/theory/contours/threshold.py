"""Close to the interpolation threshold: the weakest eigenvalues of the inputs, exactly.

Let W be X X^T (n > dx) or X^T X (n < dx), lam an eigenvalue and o its eigenvector. Then D o = F o / sqrt(lam), and

    T1(x) = integral of rho(lam) b(lam; x) / (lam + eta) dlam,      b: the mean of (F^T h F)_oo, bounded and smooth.

All of the pole is in rho, the density of W, which is known at finite size (`theory.laguerre`). By leave-one-out F o is
N(0, f (Sigma_eps + lam Delta Delta^T / dx)), f = lam / (lam + eta), beside an independent resolvent Q, so that lam adds

    k_1(lam) = -1 / den  to g_T1,     k_2(lam) = t lam / den  to g_T2,     den = eta + (1 + q) lam + t lam^2,

q = Tr Sigma_eps Q, t = Tr Delta^T Q Delta / dx, with fluctuations v of q and a shift dq: at finite size, and because an
eigenvalue near zero leaves a Wishart matrix of (m - 1, nu + 1) to the rest. With rho exact, rho_0 by Marchenko and
Pastur and rho_1 the first order, what the corrected equivalent misses is

    g_Ti += int k_i d(rho - rho_0 - rho_1) + dq int k_i' d(rho - rho_0) + (v/2) int k_i'' d(rho - rho_0),
    v = 2 Tr (Sigma_eps Q)^2,    dq = sigma^2 (delta Tr Q - dP / dz),    k_i' = d k_i / dq,
    P = -log det w + log Tr G_00                                                                (n >= dx)
    P = log det w + log(eta + n w_00) + (n / dx) (w_01 Tr V_10 G_01 + w_11 Tr Delta Delta^T G_11)      (n < dx, ridge)
    P = log gamma - (n gamma / dx) Tr Delta Delta^T Z                                           (n < dx, no ridge)

for Sigma = I, or Sigma = c I with eta / c for eta and c Delta Delta^T, and Sigma_eps = sigma^2 I. The roots of den take
the integrals to S(zeta) = E Tr (W + zeta)^{-1}. Without ridge it is enough to take t = 0. Around the whole spectrum
T1 and T2 come out exact at every ridge, as they must: FFT's. Source: derived here; the argument is heuristic, its
numbers are checked.
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
#: Below this share of 1 + q the shift's energy t counts as none.
_NO_ENERGY = 1e-12


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
        if self.ridge == 0:
            noise, signal = self._series(q), np.zeros((3, len(z)))
        else:
            noise, signal = self._with_ridge(q, -self._outputs(equation, z, w) / self.dx)
        missed = noise[0] + noise[1] * dq + noise[2] * v / 2
        overlap = signal[0] + signal[1] * dq + signal[2] * v / 2
        return np.stack([np.zeros_like(missed), missed, overlap, self.forgotten * missed])

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
        # Tr V_10 G_01 is the overlap.
        rest = self.n * (w[1] * traces[2] + w[2] * self._outputs(equation, z, w)) / self.dx
        return traces[0], area * (self.ridge + self.n * w[0]), rest

    def _outputs(self, equation: Equation, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Tr Delta Sigma Delta^T G_11."""
        assert isinstance(equation, PencilEquation)
        energies = [block.shift_energy(z, w) for block in equation.blocks if isinstance(block, ScalarBlock)]
        return np.sum(energies, axis=0) if energies else np.zeros_like(z)

    def _series(self, q: np.ndarray) -> np.ndarray:
        """Minus the integral of k_1 without ridge, where t = 0 will do, and its first two derivatives in q."""
        m, g, u = self.m, self.nu - self.m, 1 + q
        more = m * (1 / (g - 1) - 1 / g)
        return np.stack([(more - m / g**2) / u, -more / u**2, 2 * more / u**3])

    def _with_ridge(self, q: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the integrals of k_1 and k_2 over rho - rho_0 - rho_1, and their first two derivatives in q.

        den = t lam^2 + (1 + q) lam + eta = t (lam + zeta_1)(lam + zeta_2), t `energy`; derivatives over rho - rho_0.
        Less the part of the second root without a ridge, a smooth function of lam: the first order has it.
        """
        u = 1 + q
        root = np.sqrt(u * u - 4 * energy * self.ridge)
        root = np.where((root / u).real < 0, -root, root)
        small = 2 * self.ridge / (u + root)
        energy = np.where(abs(energy) > _NO_ENERGY * abs(u), energy, _NO_ENERGY * u)
        one, two = self._left(small), self._left((u + root) / (2 * energy))
        smooth = self._left(u / energy)
        none = np.zeros_like(smooth)
        noise, signal = (
            _of_roots(one[rows], two[rows], u, root) - _of_roots(none[rows], smooth[rows], u, u)
            for rows in (slice(4), slice(4, 8))
        )
        return noise, energy * signal

    def _left(self, zeta: np.ndarray) -> np.ndarray:
        """S - S_0 - S_1, and S - S_0 under 1, theta and theta^2, theta = zeta d/dzeta; then zeta S in place of S."""
        s0, first, second, s1 = laguerre.marchenko_pastur(zeta, self.m, self.nu)
        exact = laguerre.exact(zeta, self.m, self.nu)
        s, ds, dds = exact[0] - s0, zeta * (exact[1] - first), zeta**2 * (exact[2] - second)
        plain = np.stack([s - s1, s, ds, ds + dds])
        return np.concatenate([plain, zeta * np.stack([s - s1, s, s + ds, s + 3 * ds + dds])])


def _of_roots(one: np.ndarray, two: np.ndarray, u: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(h(zeta_1) - h(zeta_2)) / root, of what the first rows are; and the first two derivatives in q of the others.

    root = t (zeta_2 - zeta_1); d zeta_1 / dq = - zeta_1 / root, d zeta_2 / dq = zeta_2 / root, d root / dq = u / root.
    """
    value = (one[0] - two[0]) / root
    apart, once, twice = one[1] - two[1], one[2] + two[2], one[3] - two[3]
    first, second = -once / root, twice / root**2 + once * u / root**3
    inverse = 1 / root, -u / root**3, 3 * u**2 / root**5 - 1 / root**3
    return np.stack(
        [
            value,
            first * inverse[0] + apart * inverse[1],
            second * inverse[0] + 2 * first * inverse[1] + apart * inverse[2],
        ]
    )
