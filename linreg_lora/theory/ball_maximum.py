"""The largest energy that a budget can reach: a convex quadratic maximised over a ball, by its secular equation.

    max  sum_j |C_j + g_j p_j|^2     over vectors p_1, ..., p_k with sum_j |p_j|^2 <= c^2,     g_j >= 0

The objective is convex, so that the maximum lies on the sphere, where its gradient is a multiple mu of p:

    p_j = g_j C_j / (mu - g_j^2),     mu >= g_1^2 = max g_j^2,     sum_j g_j^2 |C_j|^2 / (mu - g_j^2)^2 = c^2

The left side falls from its value at g_1^2 to 0, so mu is unique. Where C vanishes in the directions of g_1 that value
is finite and may be below c^2: then mu = g_1^2, and what is left of the budget goes into any direction of g_1. That
these conditions are sufficient is the theorem of Gay (1981) and Sorensen (1982) on trust regions.

Worst label poison (`theory.poisoning_budget`) and worst perturbed inputs (`theory.worst_perturbation`) are both of it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import NumericalFailure

_STEPS = 200


class BallMaximum(NamedTuple):
    """The maximum, one entry a batch: `energy`; `excess` mu - g_1^2 (inf where nothing can be gained); `lengths` of
    p_j, along C_j; `spare`, the length that goes into any direction of g_1 besides, where C has no part there.
    """

    energy: Float[np.ndarray, "..."]
    excess: Float[np.ndarray, "..."]
    lengths: Float[np.ndarray, "... k"]
    spare: Float[np.ndarray, "..."]


def ball_maximum(
    strengths: Float[np.ndarray, "... k"], gains: Float[np.ndarray, "k"], budget: float | int
) -> BallMaximum:
    """The maximum of the module's docstring; `strengths` |C_j| >= 0, `gains` g_j >= 0, `budget` c >= 0.

    Newton's method on 1 / |p(mu)|, which is concave and increasing, from below its root: it rises to the root and
    never passes it. The unknown is mu - g_1^2, so that nothing cancels. Raises `NumericalFailure` if it does not end.

    >>> from linreg_lora.theory.ball_maximum import ball_maximum
    >>> import numpy as np
    >>> found = ball_maximum(np.array([1.0]), np.array([2.0]), 3.0)
    >>> f"(1 + 2 * 3)^2 = {found.energy:.0f}"
    '(1 + 2 * 3)^2 = 49'
    """
    budget = validation.nonnegative_number("budget", budget)
    top = float(np.max(gains, initial=0.0))
    batch = strengths.shape[:-1]
    if budget == 0 or top == 0:
        nothing = np.zeros(batch)
        return BallMaximum(np.sum(strengths**2, axis=-1), nothing + np.inf, np.zeros(strengths.shape), nothing)
    gaps = (top - gains) * (top + gains)
    weights = gains * strengths
    excess = np.linalg.norm(np.where(gaps == 0, weights, 0.0), axis=-1) / budget
    for _ in range(_STEPS):
        distance = excess[..., None] + gaps
        lengths = np.divide(weights, distance, out=np.zeros(weights.shape), where=weights > 0)
        length = np.linalg.norm(lengths, axis=-1)
        slope = np.sum(np.divide(lengths**2, distance, out=np.zeros(weights.shape), where=weights > 0), axis=-1)
        short = length > budget
        step = np.divide((length / budget - 1) * length**2, slope, out=np.zeros(batch), where=short)
        raised = excess + step
        if np.all(raised - excess <= 4 * np.finfo(float).eps * raised):
            break
        excess = raised
    else:
        raise NumericalFailure(f"the secular equation of budget {budget:g} did not converge in {_STEPS} steps")
    spare = np.sqrt(np.where(excess == 0, np.maximum(budget**2 - length**2, 0.0), 0.0))
    energy = np.sum((strengths + gains * lengths) ** 2, axis=-1) + (top * spare) ** 2
    return BallMaximum(energy, excess, lengths, spare)
