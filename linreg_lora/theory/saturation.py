"""From how many samples on LoRA of rank r has learnt all that its rank can hold.

For n > dx, ridgeless, the risk tends to tail_r^2 from above. `samples_to_saturate` is the n at which it is 1 + x times
that:

    e_U dx/(n - dx - 1) + e_P r/(n - r - 1) + (T_r + r tail_r^2)/n = x tail_r^2

with e_U, e_P as in `strong_limit_risk` and T_r the first-order effect of finite strengths (`mixing`); the left side
is V_r / n of `large_sample_limit` for many samples, so that n is about V_r / (x tail_r^2). FFT overtakes LoRA before
that, at n* = dx + 1 + Q_r (`task_complexity`), wherever Q_r < V_r / (x tail_r^2). Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.capacity import strengths_and_noise
from linreg_lora.theory.mixing import mixing


class Saturation(NamedTuple):
    """`n`: the sample size at which the risk is (1 + `excess`) `plateau`; inf where the plateau is 0 or s_r = s_{r+1}.

    `plateau` is tail_r^2, in squared units of y; `note` says why n is inf.
    """

    n: float
    plateau: float
    excess: float
    note: str = ""


def samples_to_saturate(problem: Problem, rank: int, excess: float | int = 0.05) -> Saturation:
    """The n of the module; n of the problem is ignored. rank r in 1..min(dx, dy) - 1, ridge 0, Gaussian inputs.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=25, dy=25, spectrum=(2.0, 1.8, 1.5), noise_std=1.0)
    >>> found = ll.theory.samples_to_saturate(problem, rank=2)
    >>> risk = ll.expected_risk(problem.replace(n=round(found.n)), [2]).risk[0]
    >>> f"n = {found.n:.0f}: {risk / found.plateau:.3f}"
    'n = 1040: 1.051'
    """
    from scipy.optimize import brentq

    problem.require_gaussian("saturation")
    excess = validation.nonnegative_number("excess", excess)
    if excess == 0:
        raise InvalidInput("excess", "a number > 0", excess, "the plateau itself is not reached")
    reduced = problem.without_null_inputs()
    if reduced.ridge:
        raise InvalidInput("ridge", "0", problem.ridge)
    dx, dy = reduced.dx, reduced.dy
    if rank not in range(1, min(dx, dy)):
        raise InvalidInput("rank", f"an integer in 1..{min(dx, dy) - 1}", rank)
    strengths, noise = strengths_and_noise(reduced)
    s, e = np.concatenate([strengths, np.zeros(dy - len(strengths))]), np.diagonal(noise)
    plateau, inside, outside = (float(np.sum(part)) for part in (s[rank:] ** 2, e[:rank], e[rank:]))
    mixed = mixing(s, e, rank) + rank * plateau
    if plateau == 0:
        return Saturation(math.inf, 0.0, excess, f"rank {rank} reaches all of the shift: its risk falls to 0")
    if math.isinf(mixed):
        return Saturation(math.inf, plateau, excess, f"singular values {rank} and {rank + 1} are equal: not known")
    if inside == outside == mixed == 0:
        return Saturation(float(dx), plateau, excess)

    def above(log: float) -> float:
        """Of log (n - dx - 1)."""
        more = math.exp(log)
        n = dx + 1 + more
        return inside * dx / more + outside * rank / (n - rank - 1) + mixed / n - excess * plateau

    high = math.log((inside * dx + outside * rank + mixed) / (excess * plateau))
    low = high
    while above(low) < 0 and low > -700:
        low -= 10
    if above(low) < 0:
        return Saturation(float(dx + 1), plateau, excess)
    found = brentq(above, low, high + 1e-9, xtol=1e-12)
    return Saturation(dx + 1 + math.exp(float(found)), plateau, excess)  # pyright: ignore[reportArgumentType]
