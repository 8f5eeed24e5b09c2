"""Intruder dimensions: leading singular vectors of a fine-tuned map that none of the pretrained one's resembles.

A0, dy x dx with iid entries of variance tau^2, and an update with a singular value s in a direction that is not A0's:
with t = s / tau a singular value of A0 + D leaves the bulk tau (sqrt dx + sqrt dy) iff

    s > tau (dx dy)^{1/4},      at tau^2 (t^2 + dx)(t^2 + dy) / t^2,  squared,

and its left singular vector has the squared cosine (t^4 - dx dy) / (t^4 + dy t^2) with the update's. Trained on noise,

    LoRA of rank r, i <= r: s^2 = lambda_i^2 (rho_v^2 / n + (1 - rho_v^2) / (n - dx - 1)), of the spiked model (the
        noise's quantiles with rho_v = 0 where undetected), on A0: noise is stronger in D_r than in D_r S^{1/2}, and the
        shift is not;
    FFT: s = s_i, the shift's, on A0 and noise of covariance (sigma^2 / n) S^{-1} (`fitted_noise`).

LoRA's s is above the shift's, so it has an outlier whenever FFT has one, and alone in the window between. The
criterion by cosine (a leading left singular vector of A0 + D has no |cosine| of 0.5 with any of A0's) fires without an
outlier too: noise on all entries mixes A0's vectors where their singular values lie closer than it. Source:
Benaych-Georges and Nadakuditi 2012 for the spike; the readings for LoRA and FFT are ours.

At finite size 0.8..1.5 of the threshold is undecided, and singular values closer than some standard deviations of an
entry repel each other, as do those of equal directions and of the noise that LoRA keeps: these are flagged.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import quantile
from linreg_lora.theory.spiked import spikes
from linreg_lora.theory.training import checks, fitted_noise
from linreg_lora.theory.training.fitted_noise import spike, variances

#: Strengths in units of the threshold where sizes below a thousand blur it; n/dx below which finite sizes move the
#: largest values of S^{-1}.
UNDECIDED = (0.8, 1.5)
_MANY_SAMPLES = 3.0
#: Directions nearer than so many standard deviations of an entry repel each other; so do more than 1 in so many of all.
_NEAR, _FEW = 3.0, 8
_NO_CLAIM = "A0's entries iid with variance > 0"


class Intruders(NamedTuple):
    """One entry a direction: `strength`, its singular value in the update over the `threshold`; whether it is an
    `outlier`; where: `singular_value` of A0 + D (the bulk's edge if none); `overlap`, the squared cosine of its left
    singular vector with the update's; `flagged`: the strength is in 0.8..1.5, where finite sizes do not decide, or
    another direction is so near, or there are so many, that `singular_value` may be off by more than 5 % and vectors
    mix."""

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
    tau = _std(pretrained_std)
    return _beside(s, dx, dy, tau, tau)


def lora_intruders(problem: Problem, rank: int, pretrained_std: float) -> Intruders:
    """The outliers of A0 + D_r, r = `rank`, for A0 of iid entries in directions of its own. n >= 3 dx, Sigma = I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=2000, dx=100, dy=80, spectrum=(3.0,), noise_std=1.0)
    >>> ll.theory.training.lora_intruders(problem, 2, pretrained_std=0.1).outlier.tolist()
    [True, False]
    """
    _require(problem)
    r = validation.positive_integer("rank", rank)
    if r > (most := min(problem.dx, problem.dy)):
        raise InvalidInput("rank", f"at most min(dx, dy) = {most}", rank)
    found, n, (dx, dy) = spikes(problem), problem.n, (problem.dx, problem.dy)
    seen = min(int(np.sum(found.detectable)), r)
    sigma2 = problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0)
    noise = [sigma2 * quantile(dy - seen, dx - seen, k + 0.5) / (n - dx - 1) for k in range(r - seen)]
    lam2, right = found.singular_value[:seen] ** 2, found.right[:seen]
    values = np.sqrt(np.concatenate([lam2 * (right / n + (1 - right) / (n - dx - 1)), noise]))
    tau = _std(pretrained_std)
    return _beside(values, dx, dy, tau, math.sqrt(tau**2 + sigma2 / (n - dx - 1)))


def fft_intruders(problem: Problem, pretrained_std: float) -> Intruders:
    """The outliers of A0 + D_FFT: those of the shift, on a bulk of A0 and noise. n >= 3 dx, Sigma = I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=2000, dx=100, dy=80, spectrum=(3.0, 0.5), noise_std=1.0)
    >>> ll.theory.training.fft_intruders(problem, pretrained_std=0.1).outlier.tolist()
    [True, False]
    """
    _require(problem)
    t = variances(problem, _std(pretrained_std))
    s, bulk = checks.strengths(problem), fitted_noise.bulk(t, problem.dy)
    strength = s / bulk.threshold
    outlier = strength > 1
    found = [spike(x, t, problem.dy) if out else (bulk.edge, 0.0) for x, out in zip(s, outlier, strict=True)]
    values, overlap = np.array(found).reshape(-1, 2).T
    unit = math.sqrt(float(np.mean(t)))
    return Intruders(
        bulk.threshold, strength, outlier, values, overlap, _doubtful(s, strength, problem.dx, problem.dy, unit)
    )


def _beside(s: np.ndarray, dx: int, dy: int, tau: float, unit: float) -> Intruders:
    """Outliers beside A0 alone; `unit`: the standard deviation of an entry of all noise."""
    threshold = tau * (dx * dy) ** 0.25
    strength = s / threshold
    outlier = strength > 1
    t2 = np.where(outlier, s / tau, (dx * dy) ** 0.25) ** 2
    overlap = np.where(outlier, (t2**2 - dx * dy) / (t2**2 + dy * t2), 0.0)
    values = tau * np.sqrt((t2 + dx) * (t2 + dy) / t2)
    return Intruders(threshold, strength, outlier, values, overlap, _doubtful(s, strength, dx, dy, unit))


def _doubtful(s: np.ndarray, strength: np.ndarray, dx: int, dy: int, unit: float) -> Bool[np.ndarray, "k"]:
    undecided = (strength > UNDECIDED[0]) & (strength < UNDECIDED[1])
    apart = np.abs(s[:, None] - s) + np.where(np.eye(len(s), dtype=bool), np.inf, 0.0)
    outliers = np.sum(strength > UNDECIDED[0])
    repelled = (strength > UNDECIDED[0]) & (np.min(apart, axis=1, initial=np.inf) < _NEAR * unit)
    return undecided | repelled | (outliers * _FEW > max(min(dx, dy), _FEW))


def _std(pretrained_std: object) -> float:
    tau = validation.nonnegative_number("pretrained_std", pretrained_std)
    if tau == 0:
        raise InvalidInput("pretrained_std", _NO_CLAIM, pretrained_std)
    return tau


def _require(problem: Problem) -> None:
    problem.require_gaussian("intruders")
    if problem.isotropic_scale != 1 or problem.isotropic_noise_scale is None:
        raise InvalidInput(
            "input_covariance", "the identity, and isotropic noise", "another", "count_intruders of a fit"
        )
    if problem.n < _MANY_SAMPLES * problem.dx:
        raise InvalidInput("n", f"at least {_MANY_SAMPLES:g} dx = {_MANY_SAMPLES * problem.dx:g}, where finite sizes "
                           "leave S^-1 alone", problem.n, "count_intruders of a fit")  # fmt: skip
