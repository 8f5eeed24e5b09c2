"""What LoRA keeps, learns and forgets at each rank: the functionals of which its risk is made.

With F = D_FFT X and h the indicator of eigenvalues of F F^T above a cut x, LoRA keeps the directions h selects. The
blocks of M^{-1} (`pencil`) are (M^{-1})_11 = -Q, (M^{-1})_01 = D^T Q, (M^{-1})_00 = (X X^T + eta)^{-1} - D^T Q D, where
Q = (F F^T - z)^{-1} and D = D_FFT, so that contour integrals of four traces of G give

    N(x)  = number of kept directions                g = -Tr G_11
    T1(x) = E Tr Sigma D^T h D                        g = -Tr(Sigma G_00)
    T2(x) = E Tr h D Sigma Delta^T                    g = Tr(Delta Sigma G_01)
    T3(x) = E Tr Sigma_pre D^T h D                    g = -Tr(Sigma_pre G_00)

at the cut x_r with N(x_r) = r; N has a closed form, which finds the cuts and certifies the integrals. At first order in
the dimension the correction adds the same functionals of delta G and moves the cut so that N + delta N = r: minus
(dT / dN) delta N, which vanishes on a spectral gap. Without ridge, for n > dx and for Sigma = c I, that is 1/g + 1/g^2,
g = |n - dx|, for the 1/(g - 1) of inverse Wishart matrices, so the correction is taken g/(g - 1) times. Elsewhere weak
inputs or the ridge remove the pole, and it is taken once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import runtime
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory.contours.corrected import equations_of
from linreg_lora.theory.contours.edges import band_of_noise, few_planted, number_variance
from linreg_lora.theory.contours.measured import Measured
from linreg_lora.theory.contours.modes import Pretraining, largest_eigenvalue_bound
from linreg_lora.theory.contours.traced import unsolved
from linreg_lora.theory.fft import pole_factor

#: FFT's contour: nodes, and how far below zero it reaches, as a share of the bound on the spectrum.
_NODES, _OUTSIDE = 96, 0.1


class Functionals(NamedTuple):
    """N, T1, T2 and T3, one row a rank: `raw`, and the finite-size `correction` to add.

    `gap`: the width of the spectral gap that separates a rank from the next, in log x; 0 where there is none.
    `curvature`: d^2 T / dN^2 at the cut, 0 on a gap. `spread`: directions between cuts that would be half a direction
    above and below, were the density what it is at the cut: more than 1 where it is lower than around it, and a gap
    opens. `moved`: delta N, by how many directions the correction moves the cut. `failures`: why a row was not solved,
    by row; its numbers are nan. `sharpened`: where the correction includes what a cut misplaces (`edges`).
    `separate`: how many of a few planted directions lie above the band of noise, which has swallowed the others.
    """

    raw: Float[np.ndarray, "m 4"]
    correction: Float[np.ndarray, "m 4"]
    gap: Float[np.ndarray, "m"]
    curvature: Float[np.ndarray, "m 4"]
    spread: Float[np.ndarray, "m"]
    moved: Float[np.ndarray, "m"]
    failures: dict[int, str]
    sharpened: Bool[np.ndarray, "m"]
    separate: int = 0

    def first(self, rows: int) -> "Functionals":
        """Those of the first ranks."""
        failures = {row: reason for row, reason in self.failures.items() if row < rows}
        raw, correction, gap, curvature, spread, moved = (part[:rows] for part in self[:6])
        return Functionals(
            raw, correction, gap, curvature, spread, moved, failures, self.sharpened[:rows], self.separate
        )


def with_planted(problem: Problem, ranks: Float[np.ndarray, "m"]) -> Float[np.ndarray, "k"]:
    """The ranks, and those planted if some lie below: they tell how many directions are above the band of noise."""
    planted = few_planted(problem)
    if not planted or np.max(ranks) <= planted:
        return ranks
    return np.append(ranks, np.setdiff1d(np.arange(1.0, planted + 1), ranks))


def assembled(problem: Problem, measured: Measured) -> Functionals:
    """The functionals of a problem, from what was measured; `edges` where the planted ranks are among the ranks."""
    ranks, corrected, planted = measured.ranks, measured.sides is not None, few_planted(problem)
    gap, slopes, curvature, delta = measured.width > 0, measured.slopes, measured.curvature, measured.delta
    raw = measured.values + slopes * (ranks - measured.count)[:, None]
    moved, spread = delta[:, 0].copy(), measured.spread.copy()
    if corrected:
        linear = (delta - slopes * moved[:, None]) * pole_factor(problem)
        more = measured.more
        whole = measured.values + more[:, :4] + (delta + more[:, 4:]) * pole_factor(problem) - raw
        delta = np.where(measured.known[:, None], whole, linear)
    sharpened = np.zeros(len(ranks), dtype=bool)
    separate = 0 if planted is None else int(np.max(ranks[gap & (ranks <= planted)], initial=0))
    if corrected and planted is not None and band_of_noise(problem) is not None:
        sharpened = (ranks > planted) & ~gap & measured.known & np.isfinite(curvature[:, 1])
        misplaced = number_variance(ranks[sharpened] - separate) / 2
        delta[sharpened] += misplaced[:, None] * curvature[sharpened]
    rows = list(measured.failures)
    for part in (raw, delta, curvature, spread, moved):
        part[rows] = np.nan
    return Functionals(raw, delta, measured.width, curvature, spread, moved, measured.failures, sharpened, separate)


def fft_functionals(problem: Problem, *, correction: bool, pretraining: Pretraining = None) -> Functionals:
    """The functionals of FFT itself, one row: a contour around the whole spectrum, zero included.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.fft_functionals(problem, correction=True)
    >>> (found.raw + found.correction)[0].round(3).tolist()
    [20.0, 27.714, 14.0, 27.714]
    >>> f"risk: {14 + 27.714 - 2 * 14:.3f}"
    'risk: 13.714'
    """
    equations, x_max = equations_of(problem, pretraining, correction=correction), largest_eigenvalue_bound(problem)
    t, w = np.polynomial.legendre.leggauss(_NODES)
    turn, radius = np.exp(1j * np.pi * (1 - (t + 1) / 2)), x_max * (1 + _OUTSIDE) / 2
    z, weights = x_max - radius + radius * turn, -0.5j * np.pi * w * radius * turn
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        states = equations.solver(z)
        traces = equations.integrand(z, states)
    if not np.all(states.solved):
        raise NumericalFailure(unsolved(float(np.max(states.residual)), bool(np.all(states.proper)), "around FFT"))
    raw, delta = traces[:4], traces[4:] if correction else np.zeros_like(traces)
    raw, delta = (((weights * part).sum(axis=1).imag / np.pi)[None] for part in (raw, delta))
    return nothing(1)._replace(raw=raw, correction=delta * pole_factor(problem), gap=np.full(1, np.inf))


def nothing(rows: int) -> Functionals:
    four, one = np.zeros((rows, 4)), np.zeros(rows)
    return Functionals(four, four.copy(), one, four.copy(), one + 1, one.copy(), {}, np.zeros(rows, dtype=bool))
