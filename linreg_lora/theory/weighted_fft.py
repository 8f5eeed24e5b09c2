"""Expected excess risk of full fine-tuning on weighted samples (`weighted`), in closed form where there is one.

Ridgeless, n > dx:      E risk = q Tr(Sigma_eps),  q = E Tr Sigma (X X^T)^{-1} = E Tr (sum_s w_s z_s z_s^T)^{-1}
Ridgeless, n < dx - 1:  E risk = c ||Delta||^2 (1 - n/dx) + E[v/w] Tr(Sigma_eps) n / (dx - n - 1),  Sigma = c I, exact
"""

import math

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law import Scales
from linreg_lora.problem import Problem
from linreg_lora.theory.fft import FFTRisk

OVERDETERMINED = "q Tr(Sigma_eps), dx = sum_s w_s q / (1 + w_s q), corrected to first order in the dimension"
UNDERDETERMINED = "c ||Delta||^2 (1 - n/dx) + E[v/w] Tr(Sigma_eps) n / (dx - n - 1), exact"


def inverse_trace(n: int, dx: int, scales: Scales, *, correction: bool = True) -> float:
    """q = E Tr (sum_s w_s z_s z_s^T)^{-1}, z_s in R^dx, n > dx + 1: by leave-one-out, with its first order.

        raw:    dx = n E[ w q0 / (1 + w q0) ]
        given:  dx / (n + 1) = E[ w q / (1 + w q) - w^2 u / (1 + w q0)^3 ],     u = 2 q0 / (n E[ w / (1 + w q0)^2 ])
        drawn:  q + Cov(g, g') n / F'^2 - F'' n Var(g) / (2 F'^3),    g = w q0 / (1 + w q0),  F = n E g, at q0

    u is the variance of z^T (...)^{-1} z over z. With w = 1 the second line is dx/(n - dx - 1) up to 1/n^2. The third
    is the mean over draws of the weights, by the second order in their empirical law; given weights have none.

    >>> import linreg_lora as ll
    >>> scales = ll.input_law.two_point(0.25).scales(120)
    >>> f"{50 * ll.theory.weighted_fft.inverse_trace(120, 60, scales, correction=False):.6f}"
    '75.592895'
    """
    from scipy.optimize import brentq

    w, _, p, drawn = scales
    if n <= dx + 1:
        raise InvalidInput("n", f"n > dx + 1 = {dx + 1}", n)

    def root(samples: int, less: np.ndarray | float) -> float:
        """q with dx = samples E[w q/(1 + w q) - less], in log q."""

        def missing(log_q: float) -> float:
            wq = w * math.exp(log_q)
            return samples * float(np.sum(p * (wq / (1 + wq) - less))) - dx

        low, high = -5.0 - math.log(np.max(w)), 5.0 - math.log(np.min(w))
        while missing(low) > 0:
            low -= 5.0
        while missing(high) < 0:
            high += 5.0
            if high > 500:
                return math.inf
        return math.exp(float(brentq(missing, low, high, xtol=1e-14)))  # pyright: ignore[reportArgumentType]

    q0 = root(n, 0.0)
    if not correction:
        return q0
    share = 1 / (1 + w * q0)
    u = 2 * q0 / (n * float(np.sum(p * w * share**2)))
    q = root(n + 1, w**2 * u * share**3)
    if not drawn:
        return q
    g, slope, bend = w * q0 * share, w * share**2, -2 * w**2 * share**3
    first, second = n * float(np.sum(p * slope)), n * float(np.sum(p * bend))
    centred = g - float(np.sum(p * g))
    covariance, variance = n * float(np.sum(p * centred * slope)), n * float(np.sum(p * centred * g))
    return q + covariance / first**2 - second * variance / (2 * first**3)


def overdetermined(problem: Problem, scales: Scales, *, correction: bool = True) -> FFTRisk:
    """n > dx + 1, ridgeless, any Sigma, noise whose scale has mean 1 whatever the weight is (v = 1)."""
    problem.require_centred("weighted samples by theory")
    if problem.noise_trace == 0:
        return FFTRisk(0.0, 0.0, OVERDETERMINED)
    q = inverse_trace(problem.n, problem.input_rank, scales, correction=correction)
    return FFTRisk(0.0, problem.noise_trace * q, OVERDETERMINED, exact=False)


def underdetermined(problem: Problem, inverse_moment: float) -> FFTRisk:
    """n < dx - 1, ridgeless, Sigma = c I: weights leave the projector on the inputs alone, X^+ has them inverted."""
    problem.require_centred("weighted samples by theory")
    n, dx = problem.n, problem.input_rank
    bias = problem.pretrained_risk * (1 - n / dx)
    variance = 0.0 if problem.noise_trace == 0 else inverse_moment * problem.noise_trace * n / (dx - n - 1)
    return FFTRisk(bias, variance, UNDERDETERMINED)
