"""Learning against forgetting: at equal forgetting, the update with the larger cosine to the shift has the less risk.

For pretraining inputs of covariance Sigma_pre = Sigma, any update D, with norms and cosines in the metric of Sigma and
F = ||D Sigma^{1/2}||^2 what it forgets,

    risk(D) = ||Delta||^2 + F - 2 sqrt(F) ||Delta|| cos(D, Delta).

A free scale (alpha, or a time to stop in orthogonal designs) moves F and not the cosine: then the method with the
larger cosine has the less risk at every level of forgetting. With S = c I and V = sigma^2 dx dy / (n c),

    cos_FFT = sqrt( ||Delta||^2 / (||Delta||^2 + V) ),
    cos_LoRA(r) = sum_{i <= r} f_i sum_j s_j w_ij / ( ||Delta|| sqrt(sum_{i <= r} f_i^2) ),

f_i and the overlaps as in `whitened`, for few directions. Other Sigma_pre have no such exchange: there even
full fine-tuning can forget first and remember later.
"""

import math

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.training.whitened import directions


def risk_at_forgetting(shift_energy: float, forgetting: float, cosine: float) -> float:
    """The excess risk of an update that forgets F and has this cosine with the shift; Sigma_pre = Sigma, exact.

    `shift_energy` ||Delta Sigma^{1/2}||^2, `forgetting` F, `cosine` in -1..1.

    >>> import linreg_lora as ll
    >>> ll.theory.training.risk_at_forgetting(4.0, 1.0, 0.5)
    3.0
    """
    energy = validation.nonnegative_number("shift_energy", shift_energy)
    level = validation.nonnegative_number("forgetting", forgetting)
    if not -1 <= cosine <= 1:
        raise InvalidInput("cosine", "a number in -1..1", cosine)
    return energy + level - 2 * math.sqrt(level * energy) * cosine


def update_cosine(problem: Problem, update: object) -> float:
    """cos(D, Delta) in the metric of Sigma; 0 where either is 0.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=2, dy=2, spectrum=(2.0, 0.0), noise_std=1.0)
    >>> f"{ll.theory.training.update_cosine(problem, [[1.0, 1.0], [0.0, 0.0]]):.4f}"
    '0.7071'
    """
    problem.require_centred("this cosine")
    d = validation.matrix("update", update, (problem.dy, problem.dx))
    if d is None:
        raise InvalidInput("update", "D, dy x dx", "nothing")
    moved, shift = d @ problem.sigma_sqrt, problem.shift @ problem.sigma_sqrt
    size = float(np.linalg.norm(moved) * np.linalg.norm(shift))
    return float(np.sum(moved * shift)) / size if size > 0 else 0.0


def fft_cosine(problem: Problem) -> float:
    """cos(D_FFT, Delta) in an orthogonal design, n >= dx, where S = c I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(0.6,) * 60, noise_std=1.0)
    >>> f"{ll.theory.training.fft_cosine(problem):.3f}"
    '0.721'
    """
    problem.require_gaussian("this cosine")
    c = problem.isotropic_scale
    if c is None or problem.n < problem.dx:
        raise InvalidInput("problem", "Sigma = c I and n >= dx", f"n = {problem.n}, dx = {problem.dx}", "simulate")
    energy = problem.pretrained_risk / c
    total = energy + problem.noise_trace * problem.dx / (problem.n * c)
    return math.sqrt(energy / total) if total > 0 else 0.0


def lora_cosine(problem: Problem, rank: int) -> float:
    """cos(D_r, Delta) in an orthogonal design, for a shift of rank at most min(dx, dy) / 8.

    A ratio of means. With many directions close together, as 60 of 80, the formula does not hold: simulate.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> [round(ll.theory.training.lora_cosine(problem, r), 3) for r in (1, 3)]
    [0.749, 0.955]
    """
    r = validation.positive_integer("rank", rank)
    values, overlaps = directions(problem)
    if r > len(values):
        raise InvalidInput("rank", f"at most min(dx, dy) = {len(values)}", rank)
    shift = float(np.linalg.norm(np.asarray(problem.spectrum)))
    size = shift * float(np.linalg.norm(values[:r]))
    return float(values[:r] @ overlaps[:r]) / size if size > 0 else 0.0
