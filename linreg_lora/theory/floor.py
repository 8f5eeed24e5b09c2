"""The least excess risk that an update of a given rank can have, on any data."""

from linreg_lora.problem import Problem
from linreg_lora.theory.truncation import require_rank, tail_energy


def least_risk(problem: Problem, rank: int) -> float:
    """The least excess risk of any update of rank r in 0..min(dx, dy), on any data.

        sum_{i>r} s_i(Delta Sigma^{1/2})^2,      with a mean s_i(Delta (Sigma + mu mu^T)^{1/2})^2

    The truncation of Delta Sigma^{1/2} attains it (Eckart and Young).

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> [ll.theory.least_risk(problem, rank) for rank in (0, 1, 2, 3)]
    [14.0, 5.0, 1.0, 0.0]
    """
    require_rank(rank, 0, min(problem.dx, problem.dy))
    return tail_energy(problem.whitened_spectrum, rank)
