"""What noise makes of a shift's directions in a whitened design, S = X X^T / n = c I: a noisy matrix.

D_FFT = Delta + noise of entry variance v = sigma^2 / (n c), with singular values f_i and vectors u_i, v_i. Each holds a
share w_ij = (u_i^T u_j)(v_i^T v_j) of direction s_j of the shift. One that stands out has f^2 = lambda^2 / (n c) and
w = rho_u rho_v of the spiked model. The others have f at Marchenko-Pastur quantiles, and small shares, but of many:
w f has density -(1/pi) Im h(x), x = f^2,

    h = s x g_1 g_2 / (1 - s^2 x g_1 g_2),      dy x v g_1^2 - (x + (dy - dx) v) g_1 + 1 = 0,   g_2: dx for dy,

all w f of s adding up to s. For Gaussian inputs S becomes c I as n/dx grows.
Source of h: Benaych-Georges and Nadakuditi 2012, between its poles.
"""

import math

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import edges, quantile
from linreg_lora.theory.spiked import spikes
from linreg_lora.theory.training import checks

_POINTS = 4000
#: The spiked model is about shifts of at most one over this of the dimensions.
_FEW = 8


def directions(problem: Problem) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """f_i and sum_j s_j w_ij of all directions, strongest first, for a shift of rank at most min(dx, dy) / 8.

    >>> import linreg_lora as ll
    >>> from linreg_lora.theory.training.whitened import directions
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> values, shares = directions(problem)
    >>> f"{values[0]:.4f}, {shares[0]:.4f}; in all {values @ shares:.2f}"
    '3.0750, 2.9250; in all 13.00'
    """
    problem.require_gaussian("noisy whitened designs")
    if problem.isotropic_scale is None or problem.n <= problem.dx:
        raise InvalidInput("problem", "Sigma = c I and n > dx, where S is c I as n/dx grows",
                           f"n = {problem.n}, dx = {problem.dx}", "take drawn_decay_risk")  # fmt: skip
    if (rank := len(s := checks.strengths(problem))) > (most := min(problem.dx, problem.dy) // _FEW):
        raise InvalidInput("spectrum", f"at most min(dx, dy) / {_FEW} = {most} directions", f"{rank}", "simulate")
    found = spikes(problem)
    planted, unit = int(np.sum(found.detectable)), math.sqrt(problem.n * problem.isotropic_scale)
    noise = problem.noise_std * math.sqrt(problem.isotropic_noise_scale or 1.0) / unit
    bulk, shares = _bulk(problem.dy - planted, problem.dx - planted, s / noise)
    seen = s[:planted] * np.sqrt(found.left * found.right)[:planted]
    return np.concatenate([found.singular_value[:planted] / unit, noise * bulk]), np.concatenate([seen, noise * shares])


def _bulk(
    rows: int, columns: int, strengths: Float[np.ndarray, "k"]
) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """Singular values of unit noise at levels k - 1/2, and sum_j s_j w_j between levels k - 1 and k."""
    size, (low, high) = min(rows, columns), edges(rows, columns)
    theta = np.linspace(0, math.pi, _POINTS + 1)
    middle = (theta[1:] + theta[:-1]) / 2
    centre, half = (high + low) / 2, (high - low) / 2
    x, width = centre + half * np.cos(middle), half * np.sin(middle) * math.pi / _POINTS
    root = 1j * half * np.sin(middle)
    first, second = ((x + a - b - root) / (2 * a * x) for a, b in ((rows, columns), (columns, rows)))
    count = np.cumsum(-rows * first.imag / math.pi * width)
    levels = np.append(0.0, count * (size / count[-1]))
    shared = np.zeros(_POINTS)
    for s in strengths:
        joint = x * first * second
        shared += s * -np.imag(s * joint / (1 - s**2 * joint)) / math.pi * width
    between = np.diff(np.interp(np.arange(size + 1), levels, np.append(0.0, np.cumsum(shared))))
    values = np.sqrt([quantile(rows, columns, k + 0.5) for k in range(size)])
    return values, between / values
