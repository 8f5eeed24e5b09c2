"""Discrete steps on LoRA's factors in any metric S: scales of the product, of the start, and of the two learning rates.

Constants are powers of two, so that rounding scales with the factors and never parts two runs.
"""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.training import Factors, _designs, _full_updates
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count
from linreg_lora.errors import InvalidInput

#: Decay of the means of gradients and of their squares.
_BETA = (0.9, 0.999)
#: What the runs may differ by: rounding is the same in both.
_ROUNDING = 1e-12


def _directions(
    optimiser: str, slopes: list[np.ndarray], memory: list[list[np.ndarray]], step: int
) -> list[np.ndarray]:
    """Where each factor moves: its gradient, the gradient's signs, or Adam's quotient, without an epsilon."""
    if optimiser == "gd":
        return slopes
    if optimiser == "sign":
        return [np.sign(slope) for slope in slopes]
    if optimiser != "adam":
        raise InvalidInput("optimiser", "gd, sign or adam", optimiser)
    out = []
    for i, slope in enumerate(slopes):
        mean, square = memory[i]
        mean, square = _BETA[0] * mean + (1 - _BETA[0]) * slope, _BETA[1] * square + (1 - _BETA[1]) * slope**2
        memory[i] = [mean, square]
        size = np.sqrt(square / (1 - _BETA[1] ** step))
        out.append(np.divide(mean / (1 - _BETA[0] ** step), size, out=np.zeros_like(mean), where=size > 0))
    return out


def trained(
    b: np.ndarray,
    a: np.ndarray,
    *,
    full: np.ndarray,
    s: np.ndarray,
    scaling: np.ndarray,
    rates: tuple[np.ndarray, np.ndarray],
    optimiser: str,
    steps: int,
) -> np.ndarray:
    """g B A after `steps` on (1/2) ||(F - g B A) S^{1/2}||^2, with a rate of B's and one of A's for every draw."""
    memory = [[np.zeros_like(factor)] * 2 for factor in (b, a)]
    for step in range(1, steps + 1):
        left = (full - scaling * b @ a) @ s
        along = _directions(optimiser, [scaling * left @ a.mT, scaling * b.mT @ left], memory, step)
        b, a = b + rates[0] * along[0], a + rates[1] * along[1]
    return scaling * b @ a


@register_experiment("rescaled-factors", pathwise=True)
def rescaled_factors(
    case: Factors,
    trials: int,
    seed: int,
    *,
    optimiser: Literal["gd", "sign", "adam"],
    factors: Literal["both", "a", "b"],
    steps: Count,
) -> Sample:
    """g u v B A after `steps` from B(0) and A(0); context: with g, u B(0), v A(0), and rates times powers of u and v.

    `factors`: both, two random starts; b, from B(0) = 0 with v = 1; a, from B(0) = 0 with random u and v. Rates are u^p
    eta_B and v^p eta_A, p = 0, 1, 2; in b also u^2 for both.
    """
    rng = np.random.default_rng(seed)
    left, f, right = _full_updates(case, trials, rng)
    full, root = (left * f[:, None, :]) @ right.mT, _designs(case, trials, rng)[0]
    s = root @ root
    u, v = 2.0 ** rng.choice([-1, 1], (2, trials, 1, 1))
    b = np.sqrt(case.kappa) * rng.standard_normal((trials, case.dy, case.rank)) * (factors == "both")
    a = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, case.rank, case.dx))
    v = np.ones_like(v) if factors == "b" else v
    g = case.scaling * u * v
    size = np.linalg.norm(s, 2, axis=(1, 2))
    start = np.sum(a**2, axis=(1, 2)) + np.sum(b**2, axis=(1, 2))
    bounded = 0.1 / (g**2 * (start * size + np.linalg.norm(full @ s, axis=(1, 2)))[:, None, None])
    pace = (bounded if optimiser == "gd" else np.full((trials, 1, 1), 0.01)) * 2.0 ** rng.uniform(-1, 0, (trials, 1, 1))
    rates = pace, pace * rng.uniform(0.5, 1, (trials, 1, 1))
    how = {"full": full, "s": s, "optimiser": optimiser, "steps": int(steps)}
    context = {
        f"power {p}": trained(u * b, v * a, scaling=g / (u * v), rates=(u**p * rates[0], v**p * rates[1]), **how)
        for p in (0, 1, 2)
    }
    both = (u**2 * rates[0], u**2 * rates[1])
    context["both rates"] = trained(u * b, v * a, scaling=g / (u * v), rates=both, **how)
    found = trained(b, a, scaling=g, rates=rates, **how)
    return Sample(found, context, tolerance=np.full(trials, _ROUNDING), scale=np.linalg.norm(found, axis=(1, 2)))
