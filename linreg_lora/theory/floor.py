"""The least excess risk that an update of a given rank can have, on any data."""

from linreg_lora.problem import Problem
from linreg_lora.theory.truncation import require_rank, tail_energy


def least_risk(problem: Problem, rank: int) -> float:
    """The least excess risk of any update of rank r in 0..min(dx, dy), on any data.

        sum_{i>r} s_i(Delta Sigma^{1/2})^2

    The truncation of Delta Sigma^{1/2} attains it (Eckart and Young).
    """
    require_rank(rank, 0, min(problem.dx, problem.dy))
    return tail_energy(problem.whitened_spectrum, rank)
