"""One truncated step for any Delta, Sigma and Sigma_eps: LoRA with a large ridge, rescaled.

D_eta = R X^T (X X^T + eta)^{-1} -> (n / eta) G as eta -> infinity, and F F^T with it, so that

    trunc_r(G) = lim (eta / n) D_{eta, r},    T1 (eta/n)^2 and T2 (eta/n) of the equivalent (`theory.equivalent`).

Both are analytic in n/eta. Very large ridges shrink F F^T below what the search of cuts resolves, so three moderate
ones are extrapolated, where eta/n is 100, 200 and 400 times the largest variance.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.training.one_step import OneStepRisk

_RIDGES = np.array([100.0, 200.0, 400.0])


class OneStepParts(NamedTuple):
    """`energy` E ||G_r Sigma^{1/2}||^2 and `overlap` E <G_r Sigma, Delta>, of tau^2 and -2 tau in the risk."""

    energy: float
    overlap: float


def one_step_parts(problem: Problem, rank: int, *, correction: bool = True) -> OneStepParts:
    """What the risk of trunc_r(G) at any scale is made of, by the deterministic equivalent, corrected where asked.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.one_step_parts(problem, 2)
    >>> f"{11.25 + found.energy - 2 * found.overlap:.2f}"
    '4.10'
    """
    problem.require_gaussian("one step")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0 where one step is made", problem.ridge)
    r = int(valid_ranks([rank], problem)[0])
    if r == 0:
        return OneStepParts(0.0, 0.0)
    if r == min(problem.n, problem.input_rank, problem.dy):
        raise InvalidInput("rank", f"below full rank, {r}", rank, "one_step_energy is exact for Sigma = I")
    reduced = problem.without_null_inputs()
    top = float(np.max(np.linalg.eigvalsh(reduced.sigma)))
    found = [_rescaled(reduced, r, share * top, correction) for share in _RIDGES]
    # The polynomial of degree two in 1/ridge through three values, at 0.
    inverse = 1 / _RIDGES
    weights = [np.prod([x / (x - y) for x in inverse if x != y]) for y in inverse]
    energy, overlap = np.array(weights) @ np.array(found)
    return OneStepParts(float(energy), float(overlap))


def one_step_equivalent(problem: Problem, rank: int, scale: float | None = None) -> OneStepRisk:
    """The expected excess risk of tau trunc_r(G), any Delta, Sigma and Sigma_eps; at the best tau where none is given.

    Ranks that hold all of the shift's directions that can be seen are as accurate as the equivalent is, within 4 % of
    simulation in what was tried, n < dx and many equal directions too. Lower ranks than the shift's are flagged.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(
    ...     n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0, input_covariance=np.linspace(2.0, 0.1, 40)
    ... )
    >>> found = ll.theory.training.one_step_equivalent(problem, 2)
    >>> f"{found.risk:.2f} at tau = {found.scale:.2f}"
    '3.60 at tau = 0.43'
    """
    parts = one_step_parts(problem, rank)
    tau = parts.overlap / parts.energy if scale is None and parts.energy > 0 else 0.0
    tau = tau if scale is None else validation.nonnegative_number("scale", scale)
    flagged = 0 < rank < np.linalg.matrix_rank(problem.shift)
    risk = problem.pretrained_risk + tau**2 * parts.energy - 2 * tau * parts.overlap
    return OneStepRisk(risk, tau, bool(flagged))


def _rescaled(problem: Problem, rank: int, ridge: float, correction: bool) -> Float[np.ndarray, "2"]:
    """T1 (eta/n)^2 and T2 (eta/n) at eta/n = `ridge`."""
    at = functionals(problem.replace(ridge=ridge * problem.n), np.array([float(rank)]), correction=correction)
    if at.failures:
        raise NumericalFailure(next(iter(at.failures.values())))
    values = (at.raw + at.correction)[0]
    return np.array([values[1] * ridge**2, values[2] * ridge])
