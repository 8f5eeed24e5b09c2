"""Rare draws that carry the variance of a risk: where the draws at hand cannot have seen them.

Call the k inputs of largest variance, l_1 >= ... >= l_k, resolved. How badly X X^T can be conditioned on them is
bounded by what lies below them, which n samples see as a ridge of about its total variance, and by the ridge:

    floor = eta + sum_{i>k} l_i

Noise is amplified by the inverse of the smallest eigenvalue of the resolved block. At n near k that eigenvalue falls
below x with a probability of order (x k / l_k)^((g + 1) / 2), g = |n - k|. So down to the floor the risk has the tail
index (g + 1) / 2, at most 2 for g <= 3: its variance is made in the draws that reach the floor, a share

    p = min(1, floor k / l_k)^((g + 1) / 2)

of all. A standard error of draws of which none did describes some other problem. These are orders of magnitude: enough
to tell whether there are dozens of such draws or none.

Source: Edelman 1988, for the smallest eigenvalue; Bartlett, Long, Lugosi and Tsigler 2020, for the floor.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.effective import input_variances, shift_energies
from linreg_lora.theory.rare_weights import unfelt_weights

#: Distances g from a threshold at which the variance is infinite without a floor.
_REACH = 3
_DRAWS_AT_THE_FLOOR = 30


class EffectiveThreshold(NamedTuple):
    """At n = `resolved` inputs, with the `floor` under them that a `share` p of the draws reach."""

    resolved: int
    floor: float
    share: float


def unfelt_floor(problem: Problem, trials: int) -> str:
    """A note where `trials` draws cannot see the floor that makes their moments finite, else empty."""
    if unfelt := unfelt_weights(problem, trials):
        return unfelt
    found = rarest(problem)
    if found is None or trials * found.share >= _DRAWS_AT_THE_FLOOR:
        return ""
    share = f"is felt by a share of some {found.share:.1g} of the draws, too few of {trials}"
    if found.resolved == problem.input_rank:
        return (
            f"no standard error: near the threshold n = {found.resolved} a ridge of {problem.ridge:g} {share}; raise "
            "ridge or trials"
        )
    floor = "the other variances and the ridge" if problem.ridge > 0 else "the other variances"
    return (
        f"no standard error: n = {problem.n} is near the effective threshold n = {found.resolved}, the number of "
        f"inputs of large variance, where the sum of {floor}, {found.floor:.2g}, {share}; raise ridge or trials, or "
        "move n"
    )


def rarest(problem: Problem) -> EffectiveThreshold | None:
    """The threshold near n whose floor the fewest draws reach; None where nothing is amplified.

    Splits k below the rank count where something separates them, floor k < l_k; the rank itself where a ridge is its
    floor. Ridgeless with n >= rank(Sigma) no split counts: X^+ whitens, the law of the risk depends on Sigma through
    its rank alone, and `Problem.moments` says all there is. What is amplified is noise, and the part of the shift that
    acts on unresolved inputs, which is noise to the others. A mean is one more input of large variance.
    """
    problem = problem.with_second_moment()
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        return None
    values, energy = _modes(problem)
    rank = len(values)
    below = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    silent = np.append(np.cumsum((values * energy)[::-1])[::-1], 0.0)
    rounding = (problem.dx * np.finfo(float).eps) ** 2 * values[0] * float(np.sum(energy))
    found = []
    for k in range(max(1, problem.n - _REACH), min(rank, problem.n + _REACH) + 1):
        floor = problem.ridge + float(below[k])
        ratio = floor * k / float(values[k - 1])
        counts = ratio < 1 if k < rank else problem.ridge > 0
        if counts and (problem.noise_trace > 0 or float(silent[k]) > rounding):
            gap = abs(problem.n - k)
            found.append(EffectiveThreshold(k, floor, min(1.0, ratio) ** ((gap + 1) / 2)))
    return min(found, key=lambda threshold: threshold.share, default=None)


def _modes(problem: Problem) -> tuple[Float[np.ndarray, "rank"], Float[np.ndarray, "rank"]]:
    """Positive variances l_1 >= l_2 >= ... of the inputs and ||Delta v_i||^2 of the shift along each."""
    values, energy = input_variances(problem), shift_energies(problem)
    order = np.argsort(values)[::-1][: np.count_nonzero(values)]
    return values[order], energy[order]
