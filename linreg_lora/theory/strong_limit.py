"""The risk of LoRA as the directions that it keeps grow without bound, exact in both regimes.

The terms that `theory.complexity` compares are here too: A_r, sums over what rank r drops, and where they are known.
Source: derived there.
"""

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.capacity import strengths_and_noise


def strong_limit_risk(problem: Problem, rank: int) -> float:
    """The expected risk of LoRA of rank r in 1..R - 1, at most rank(Delta), as s_1..s_r -> infinity, the rest fixed.

    With head_r^2 = sum_{i<=r} s_i^2, e_U = Tr(U^T Sigma_eps U) and e_P = Tr(Sigma_eps) - e_U,

        n > dx:  tail^2 (n - 1)/(n - r - 1) + e_U dx/(n - dx - 1) + e_P r/(n - r - 1)
        n < dx:  head^2 (1 - n/dx) + e_U n/(dx - n - 1) + e_P r/(dx - r - 1)
                 + tail^2 [ 1 - r (1 - n/dx)/(dx - r) + r (n - r)/((dx - r)(dx - r - 1)) ]

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(300.0, 200.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.strong_limit_risk(problem, 2):.3f}, {ll.expected_risk(problem, [2]).risk[0]:.3f}"
    '3.038, 3.038'
    """
    reduced = with_closed_forms(problem)
    rank = int(inner_ranks(reduced, [rank])[0])
    s, unit = strengths_and_unit_noise(reduced)
    if s[rank - 1] == 0:
        known = "use small_noise_risk" if reduced.n > reduced.dx else "use expected_risk"
        raise InvalidInput("rank", f"at most {int(np.sum(s > 0))}, the rank of the shift", rank, known)
    e, n, dx = reduced.noise_std**2 * unit, reduced.n, reduced.dx
    head, tail = float(np.sum(s[:rank] ** 2)), float(np.sum(s[rank:] ** 2))
    inside, outside = float(np.sum(e[:rank])), float(np.sum(e[rank:]))
    if reduced.regime is Regime.OVERDETERMINED:
        kept, few = dx / (n - dx - 1), rank / (n - rank - 1)
        return tail * (n - 1) / (n - rank - 1) + inside * kept + outside * few
    missed = 1 - n / dx
    seen = 1 - rank * missed / (dx - rank) + rank * (n - rank) / ((dx - rank) * (dx - rank - 1))
    return head * missed + inside * n / (dx - n - 1) + outside * rank / (dx - rank - 1) + tail * seen


def with_closed_forms(problem: Problem) -> Problem:
    """The problem without null inputs; raises `InvalidInput` where no closed form is known."""
    problem.require_gaussian("task complexity in closed form")
    problem.require_centred("task complexity in closed form")
    reduced = problem.without_null_inputs()
    remedy = "use linreg_lora.theory.discarded_signal, which needs no closed form"
    if reduced.ridge:
        raise InvalidInput("ridge", "0", problem.ridge, remedy)
    if abs(reduced.n - reduced.dx) <= 1:
        raise InvalidInput("n", "|n - dx| > 1, so that FFT's risk has a mean", problem.n, remedy)
    if reduced.regime is Regime.UNDERDETERMINED and reduced.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity where n < dx", "another", remedy)
    return reduced


def inner_ranks(problem: Problem, ranks: object) -> np.ndarray:
    """The ranks, default all at which LoRA neither is FFT nor learns nothing."""
    inner = np.arange(1, problem.max_rank)
    chosen = inner if ranks is None else valid_ranks(ranks, problem)
    if not np.all(np.isin(chosen, inner)):
        raise InvalidInput("ranks", f"ranks in 1..{problem.max_rank - 1}, where LoRA is not FFT", chosen.tolist())
    return chosen


def strengths_and_unit_covariance(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All dy singular values of Delta Sigma^{1/2}, and Sigma_eps in their left vectors where noise_std is 1."""
    s, noise = strengths_and_noise(problem.replace(noise_std=1.0))
    return np.concatenate([s, np.zeros(problem.dy - len(s))]), noise


def strengths_and_unit_noise(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All dy singular values, and the noise variances of their outputs where noise_std is 1."""
    s, covariance = strengths_and_unit_covariance(problem)
    return s, np.diagonal(covariance)


def gain_of_dropping(n: float | int | np.ndarray, dx: int, ranks: np.ndarray) -> np.ndarray:
    """A_r."""
    small, large = np.minimum(n, dx), np.maximum(n, dx)
    return np.asarray((small - ranks) * (large - 1) / ((dx - ranks) * (large - ranks - 1)))


def sums_after(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """sum_{i>r} of each rank r, from the smallest up."""
    return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])[ranks]
