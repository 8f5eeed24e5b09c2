"""Expected excess risk of IA3 on the outputs, D = diag(l) A0: exact for n > 2 with any Sigma and Sigma_eps.

    E risk = sum_j [ b_j + (sigma_j^2 + b_j) / (n - 2) ],      sigma_j^2 = (Sigma_eps)_jj
    b_j = Delta_j Sigma Delta_j^T - (a_j Sigma Delta_j^T)^2 / (a_j Sigma a_j^T),      a_j row j of A0

b_j is the squared distance of Delta_j from the span of a_j in the metric of Sigma. Each output is one frozen A of rank
1 (`theory.frozen`), a_j up to its length: given z_j = a_j x, the residual is a multiple of z_j plus independent noise
of variance sigma_j^2 + b_j, and E a_j Sigma a_j^T / ||z_j||^2 = 1 / (n - 2). It does not matter on which side of n dx
lies.
Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


class IA3Risk(NamedTuple):
    """`misspecification` sum_j b_j, which no rescaling removes, + `variance` = `risk`, in squared units of y."""

    misspecification: float
    variance: float

    @property
    def risk(self) -> float:
        return self.misspecification + self.variance


def ia3_risk(problem: Problem) -> IA3Risk:
    """The expected excess risk of ridgeless IA3; an infinite variance for n <= 2, where the mean does not exist.

    Raises `InvalidInput` without `problem.pretrained` A0, for a row of A0 that is zero in the metric of Sigma, and
    with ridge.

    >>> import linreg_lora as ll
    >>> pretrained = [[1.0, 0.0], [1.0, 1.0]]
    >>> problem = ll.Problem(n=12, dx=2, dy=2, spectrum=(1.0, 1.0), noise_std=1.0, pretrained=pretrained)
    >>> found = ll.theory.ia3_risk(problem)
    >>> f"{found.misspecification:.3f} + (2 + 0.5) / (12 - 2) = {found.risk:.3f}"
    '0.500 + (2 + 0.5) / (12 - 2) = 0.750'
    """
    problem.require_gaussian("IA3 by theory")
    if problem.pretrained is None:
        raise InvalidInput("pretrained", "A0, a dy x dx matrix", "nothing", "IA3 rescales the pretrained outputs")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge)
    rows, shift = problem.pretrained @ problem.sigma_sqrt, problem.shift @ problem.sigma_sqrt
    energy = np.sum(rows**2, axis=1)
    if not np.all(energy > 0):
        raise InvalidInput("pretrained", "rows a_j with a_j Sigma a_j^T > 0", "a row that is zero")
    missed = shift - (np.sum(rows * shift, axis=1) / energy)[:, None] * rows
    misspecification = float(np.sum(missed**2))
    noise = problem.noise_trace + misspecification
    variance = (noise / (problem.n - 2) if problem.n > 2 else math.inf) if noise > 0 else 0.0
    return IA3Risk(misspecification, variance)
