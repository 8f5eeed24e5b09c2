"""The risk of LoRA with coupled decay in a whitened design, S = X X^T / n = c I: soft-thresholded singular values.

With f_i the singular values of D_FFT = Delta + noise of entry variance v = sigma^2 / (n c), and d_i = (f_i - mu/c)_+,

    E risk = c [ sum_j s_j^2 + sum_{i <= r} ( d_i^2 - 2 d_i sum_j s_j w_ij ) ],        w_ij = (u_i^T u_j)(v_i^T v_j).

A direction that stands out has f^2 = lambda^2 / (n c) and w = rho_u rho_v of the spiked model. The others have f at
Marchenko-Pastur quantiles and a share of the shift each, small but of many: w f has density -(1/pi) Im h(x), x = f^2,

    h = s x g_1 g_2 / (1 - s^2 x g_1 g_2),      dy x v g_1^2 - (x + (dy - dx) v) g_1 + 1 = 0,   g_2: dx for dy,

all w f of s adding up to s. For Gaussian inputs this holds as n/dx grows: S is then c I. Other designs have no closed
form: simulate `decayed_update`. Source of h: Benaych-Georges and Nadakuditi 2012, between their atoms.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import edges, quantile
from linreg_lora.theory.spiked import spikes
from linreg_lora.theory.training.search import least

_POINTS, _PENALTIES = 4000, 64
#: The spiked model is about shifts of at most one over this of the dimensions.
_FEW = 8


class BestDecay(NamedTuple):
    """The penalty mu = lam / g of least expected risk, and that `risk`."""

    penalty: float
    risk: float


def whitened_decay_risk(problem: Problem, penalty: float, rank: int | None = None) -> float:
    """The expected excess risk of LoRA with decay where S = c I: `penalty` mu = lam / g, `rank` allowed (None: any).

    `problem`: Sigma = c I, isotropic noise, n > dx, and a shift of rank at most
    min(dx, dy) / 8. Within some 3 %, the error of directions near the threshold of detection.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> [round(ll.theory.training.whitened_decay_risk(problem, mu), 3) for mu in (0.0, 0.5, 100.0)]
    [20.064, 2.863, 15.25]
    """
    mu = validation.nonnegative_number("penalty", penalty)
    return _risk(problem, _directions(problem), mu, rank)


def best_decay(problem: Problem, rank: int | None = None) -> BestDecay:
    """The decay of least expected risk where S = c I; an oracle, which knows Delta and sigma.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.best_decay(problem)
    >>> f"mu = {found.penalty:.3f}: {found.risk:.3f}"
    'mu = 0.682: 2.139'
    """
    directions = _directions(problem)
    grid = np.linspace(0.0, float(directions[0][0]) * (problem.isotropic_scale or 1.0), _PENALTIES + 1)

    def risk(mu: float) -> float:
        return _risk(problem, directions, mu, rank)

    at = int(np.argmin([risk(mu) for mu in grid]))
    found = least(risk, grid[max(at - 1, 0)], grid[min(at + 1, _PENALTIES)], within=1e-9)
    return BestDecay(found.at, found.value)


def _risk(problem: Problem, directions: tuple[np.ndarray, np.ndarray], mu: float, rank: int | None) -> float:
    (values, overlap), c = directions, problem.isotropic_scale or 1.0
    r = len(values) if rank is None else min(validation.nonnegative_integer("rank", rank), len(values))
    d = np.maximum(values[:r] - mu / c, 0.0)
    return problem.pretrained_risk + c * float(np.sum(d**2 - 2 * d * overlap[:r]))


def _directions(problem: Problem) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """f_i and s_i rho_u rho_v of all directions, strongest first."""
    problem.require_gaussian("the risk of LoRA with decay")
    if problem.isotropic_scale is None or problem.n <= problem.dx:
        raise InvalidInput("problem", "Sigma = c I and n > dx, where S is c I as n/dx grows",
                           f"n = {problem.n}, dx = {problem.dx}", "simulate decayed_update")  # fmt: skip
    if (rank := int(np.count_nonzero(np.asarray(problem.spectrum)))) > (most := min(problem.dx, problem.dy) // _FEW):
        raise InvalidInput("spectrum", f"at most min(dx, dy) / {_FEW} = {most} directions", f"{rank}", "simulate")
    found = spikes(problem)
    planted, unit = int(np.sum(found.detectable)), math.sqrt(problem.n * problem.isotropic_scale)
    noise = problem.noise_std * math.sqrt(problem.isotropic_noise_scale or 1.0) / unit
    s = np.asarray(problem.spectrum, dtype=float)
    s = s[s > 0]
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
