"""Intruder dimensions: leading singular vectors of a fine-tuned map that none of the pretrained one's resembles.

A0, dy x dx with iid entries of variance tau^2, and an update with a singular value s in a direction that is not A0's:
with t = s / tau a singular value of A0 + D leaves the bulk tau (sqrt dx + sqrt dy) iff

    s > tau (dx dy)^{1/4},      at tau^2 (t^2 + dx)(t^2 + dy) / t^2,  squared,

and its left singular vector has the squared cosine (t^4 - dx dy) / (t^4 + dy t^2) with the update's. Trained on noise,

    LoRA of rank r: s = lambda_i / sqrt n for i <= r, of the spiked model (the noise's edge if undetected), on A0;
    FFT: s = s_i, the shift's, on A0 + noise: tau^2 + sigma^2 / (n - dx) stands for tau^2         (n >> dx).

lambda / sqrt n > s, so LoRA has an outlier whenever FFT has one, and alone in the window between. The criterion by
cosine (a leading left singular vector of A0 + D has no |cosine| of 0.5 with any of A0's) fires without an outlier too:
noise on all entries mixes A0's vectors where their singular values lie closer than it. Source: Benaych-Georges and
Nadakuditi 2012 for the spike; the two readings for FFT are ours. At finite size 0.8..1.5 of the threshold is undecided.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.spiked import spikes

#: Strengths in units of the threshold where sizes below a thousand blur it; n/dx below which FFT's noise is not iid.
UNDECIDED = (0.8, 1.5)
_MANY_SAMPLES = 3.0
_NO_CLAIM = "A0's entries iid with variance > 0"


class Intruders(NamedTuple):
    """One entry a direction: `strength`, its singular value in the update over the `threshold`; whether it is an
    `outlier`; where: `singular_value` of A0 + D (the bulk's edge if none); `overlap`, the squared cosine of its left
    singular vector with the update's; `flagged`: the strength is in 0.8..1.5, where finite sizes do not decide."""

    threshold: float
    strength: Float[np.ndarray, "k"]
    outlier: Bool[np.ndarray, "k"]
    singular_value: Float[np.ndarray, "k"]
    overlap: Float[np.ndarray, "k"]
    flagged: Bool[np.ndarray, "k"]


def intruders(singular_values: object, dx: int, dy: int, pretrained_std: float) -> Intruders:
    """The outliers of A0 + D, for an update D with these singular values in directions that are not A0's.

    `pretrained_std` tau, the standard deviation of A0's iid entries.

    >>> import linreg_lora as ll
    >>> found = ll.theory.training.intruders([2.0, 1.0, 0.5], dx=200, dy=150, pretrained_std=200**-0.5)
    >>> f"threshold {found.threshold:.3f}", found.outlier.tolist(), found.overlap.round(3).tolist()
    ('threshold 0.931', [True, True, False], [0.803, 0.143, 0.0])
    >>> found.flagged.tolist()
    [False, True, False]
    """
    s = validation.real_array("singular_values", singular_values, "singular values of the update")
    if s.ndim != 1 or np.any(s < 0):
        raise InvalidInput("singular_values", "a list of numbers >= 0", singular_values)
    dx, dy = validation.positive_integer("dx", dx), validation.positive_integer("dy", dy)
    tau = validation.nonnegative_number("pretrained_std", pretrained_std)
    if tau == 0:
        raise InvalidInput("pretrained_std", _NO_CLAIM, pretrained_std)
    threshold = tau * (dx * dy) ** 0.25
    strength = s / threshold
    outlier = strength > 1
    t2 = np.where(outlier, s / tau, (dx * dy) ** 0.25) ** 2
    overlap = np.where(outlier, (t2**2 - dx * dy) / (t2**2 + dy * t2), 0.0)
    flagged = (strength > UNDECIDED[0]) & (strength < UNDECIDED[1])
    return Intruders(threshold, strength, outlier, tau * np.sqrt((t2 + dx) * (t2 + dy) / t2), overlap, flagged)


def lora_intruders(problem: Problem, rank: int, pretrained_std: float) -> Intruders:
    """The outliers of A0 + D_r, r = `rank`, for A0 of iid entries that the shift knows nothing of. n > dx, Sigma = I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=2000, dx=100, dy=80, spectrum=(3.0,), noise_std=1.0)
    >>> ll.theory.training.lora_intruders(problem, 2, pretrained_std=0.1).outlier.tolist()
    [True, False]
    """
    _require(problem)
    r = validation.positive_integer("rank", rank)
    if r > (most := min(problem.dx, problem.dy)):
        raise InvalidInput("rank", f"at most min(dx, dy) = {most}", rank)
    found = spikes(problem)
    sigma = problem.noise_std * math.sqrt(problem.isotropic_noise_scale or 1.0)
    edge = sigma * (math.sqrt(problem.dx) + math.sqrt(problem.dy))
    seen = found.singular_value[found.detectable][:r]
    return intruders(
        np.concatenate([seen, np.full(r - len(seen), edge)]) / math.sqrt(problem.n),
        problem.dx,
        problem.dy,
        pretrained_std,
    )


def fft_intruders(problem: Problem, pretrained_std: float) -> Intruders:
    """The outliers of A0 + D_FFT: those of the shift, on a bulk of A0 and noise. n >> dx, Sigma = I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=2000, dx=100, dy=80, spectrum=(3.0, 0.5), noise_std=1.0)
    >>> ll.theory.training.fft_intruders(problem, pretrained_std=0.1).outlier.tolist()
    [True, False]
    """
    _require(problem)
    noise = problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0) / (problem.n - problem.dx)
    tau = math.sqrt(validation.nonnegative_number("pretrained_std", pretrained_std) ** 2 + noise)
    s = np.asarray(problem.spectrum, dtype=float)
    return intruders(s[s > 0], problem.dx, problem.dy, tau)


def _require(problem: Problem) -> None:
    problem.require_gaussian("intruders")
    if problem.isotropic_scale != 1 or problem.isotropic_noise_scale is None:
        raise InvalidInput(
            "input_covariance", "the identity, and isotropic noise", "another", "count_intruders of a fit"
        )
    if problem.n < _MANY_SAMPLES * problem.dx:
        raise InvalidInput("n", f"at least {_MANY_SAMPLES:g} dx = {_MANY_SAMPLES * problem.dx:g}, where the noise of a "
                           "fit is nearly iid", problem.n, "count_intruders of a fit")  # fmt: skip
