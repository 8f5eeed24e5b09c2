"""The risk of LoRA with coupled decay in a whitened design, S = X X^T / n = c I: soft-thresholded singular values.

With f_i and the shares of the shift of `whitened`, and d_i = (f_i - mu/c)_+,

    E risk = c [ sum_j s_j^2 + sum_{i <= r} ( d_i^2 - 2 d_i sum_j s_j w_ij ) ].

For Gaussian inputs this holds as n/dx grows. Other designs have no closed form: simulate `decayed_update`.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.problem import Problem
from linreg_lora.theory.training.search import least
from linreg_lora.theory.training.whitened import directions

_PENALTIES = 64


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
    return _risk(problem, directions(problem), mu, rank)


def best_decay(problem: Problem, rank: int | None = None) -> BestDecay:
    """The decay of least expected risk where S = c I; an oracle, which knows Delta and sigma.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.best_decay(problem)
    >>> f"mu = {found.penalty:.3f}: {found.risk:.3f}"
    'mu = 0.682: 2.139'
    """
    kept = directions(problem)
    grid = np.linspace(0.0, float(kept[0][0]) * (problem.isotropic_scale or 1.0), _PENALTIES + 1)

    def risk(mu: float) -> float:
        return _risk(problem, kept, mu, rank)

    at = int(np.argmin([risk(mu) for mu in grid]))
    found = least(risk, grid[max(at - 1, 0)], grid[min(at + 1, _PENALTIES)], within=1e-9)
    return BestDecay(found.at, found.value)


def _risk(problem: Problem, kept: tuple[np.ndarray, np.ndarray], mu: float, rank: int | None) -> float:
    (values, overlap), c = kept, problem.isotropic_scale or 1.0
    r = len(values) if rank is None else min(validation.nonnegative_integer("rank", rank), len(values))
    d = np.maximum(values[:r] - mu / c, 0.0)
    return problem.pretrained_risk + c * float(np.sum(d**2 - 2 * d * overlap[:r]))
