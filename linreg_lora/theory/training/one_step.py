"""One step of gradient descent, truncated: trunc_r(G) with G = R X^T / n, for a shift of fixed rank in high dimensions.

With b = dy/n and c = dx/n (any, also above 1), Sigma = I and Sigma_eps = sigma^2 I, all follows one parameter psi:

    singular value    lambda^2 = sigma^2 (1 + psi)(1 + c psi)(b + c psi) / psi
    spike s           (1 + c) psi + c psi^2 = b sigma^2 / s^2
    edge of noise     1/psi_e = 1/(1 + psi_e) + c/(1 + c psi_e) + c/(b + c psi_e);       detectable iff psi_s < psi_e
    rho_u^2 = (sigma^2/s^2)(b + c psi)[1/psi - 1/(1 + psi) - c/(1 + c psi) - c/(b + c psi)] / (1 + c + 2 c psi)
    rho_v^2 = s^2 rho_u^2 psi (1 + psi)(1 + c psi) / (sigma^2 (b + c psi))

    risk(tau trunc_r G) = sum s^2 + tau^2 sum lambda^2 - 2 tau sum lambda s rho_u rho_v

over the kept directions; one of noise has lambda^2 at a quantile of G G^T without a shift, of density
-(1/pi) Im (b + c psi) / (b z) with mass dy, where psi z = sigma^2 (1 + psi)(1 + c psi)(b + c psi). The right singular
vectors are compared with the shift's v. They are not those of S v, S = X X^T / n, of which G = u (S v)^T s + noise is
made: S v has length sqrt(1 + c) and an angle to v that does not vanish. For c -> 0 this is `theory.spiked`. Derived by
conditioning on X, where the noise of G is sigma E X^T / n; errors fall like the inverse dimension.

Risks are those of few directions, far from the threshold: refused above min(n, dx, dy) / 8 of them, and flagged above a
24th, of the shift or kept, and where one is at 0.7..1.7 of the threshold. Measured at sizes of 8 to 100: unflagged
within 5 %, flagged up to 50 % off at tau = 1 and 10 % at the best tau. `one_step_equivalent` has no such limit.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.training import checks, one_step_noise

_NO_NOISE = "sigma > 0 and isotropic noise"
#: One over the share of the dimensions beyond which directions are refused, and flagged; strengths in units of the
#: threshold where finite sizes blur it.
_REFUSED, _MANY, _BLURRED = 8, 24, (0.7, 1.7)


class OneStepSpikes(NamedTuple):
    """One entry a nonzero singular value of Delta, strongest first, of the gradient G = R X^T / n.

    `detectable`; `singular_value` lambda of G (the noise edge where undetectable); squared overlaps `left` rho_u^2 and
    `right` rho_v^2 with the shift's singular vectors, 0 where undetectable. `right` is the overlap with v, not with
    S v.
    """

    detectable: Bool[np.ndarray, "k"]
    singular_value: Float[np.ndarray, "k"]
    left: Float[np.ndarray, "k"]
    right: Float[np.ndarray, "k"]


class OneStepRisk(NamedTuple):
    """The expected excess risk of tau trunc_r(G), and the `scale` tau; `flagged`: whether it may be off by more than
    5 %."""

    risk: float
    scale: float
    flagged: bool


def one_step_threshold(problem: Problem) -> float:
    """The singular value of Delta above which one step sees a direction: that with psi_s = psi_e.

    Against sigma (dx dy)^{1/4} / sqrt(n) of the fit itself, n > dx: lower where dx is near n and dy is not larger, and
    higher where dy is much larger than n.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=100, dx=100, dy=100, spectrum=(3.0,), noise_std=1.0)
    >>> f"{ll.theory.training.one_step_threshold(problem):.4f} = sqrt(4/5)"
    '0.8944 = sqrt(4/5)'
    """
    sigma, b, c = _sizes(problem)
    psi = one_step_noise.edge(b, c)
    return sigma * math.sqrt(b / ((1 + c) * psi + c * psi**2)) / math.sqrt(_scale(problem))


def one_step_spikes(problem: Problem) -> OneStepSpikes:
    """Every nonzero direction of the shift, as the first gradient shows it. Sigma = c I, Sigma_eps = sigma^2 I, any n.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 0.4), noise_std=1.0)
    >>> found = ll.theory.training.one_step_spikes(problem)
    >>> found.detectable.tolist(), found.left.round(4).tolist(), found.right.round(4).tolist()
    ([True, False], [0.9743, 0.0], [0.7767, 0.0])
    """
    sigma, b, c = _sizes(problem)
    scale = _scale(problem)
    s = math.sqrt(scale) * checks.strengths(problem)
    ratio, edge = (sigma / s) ** 2, one_step_noise.edge(b, c)
    psi = 2 * b * ratio / ((1 + c) + np.sqrt((1 + c) ** 2 + 4 * b * c * ratio))
    detectable = psi < edge
    at = np.where(detectable, psi, edge)
    squared = sigma**2 * one_step_noise.level(at, b, c)
    slope = 1 / at - 1 / (1 + at) - c / (1 + c * at) - c / (b + c * at)
    left = np.where(detectable, ratio * (b + c * at) * slope / (1 + c + 2 * c * at), 0.0)
    right = left * at * (1 + at) * (1 + c * at) / (ratio * (b + c * at))
    return OneStepSpikes(detectable, math.sqrt(scale) * np.sqrt(squared), left, right)


def one_step_risk(problem: Problem, rank: int, scale: float | None = None) -> OneStepRisk:
    """The expected excess risk of tau trunc_r(G) for `rank` r, at the step `scale` tau or, without, at the best one.

        best tau = sum lambda s rho_u rho_v / sum lambda^2

    A best tau that is chosen draw by draw is an oracle below this, by a few per cent at dimensions of some tens. To
    compare it fairly with LoRA give that a scale too (`scaled_lora_risk`). Raises `InvalidInput` for a shift of more
    than min(n, dx, dy) / 8 directions.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.one_step_risk(problem, 2)
    >>> whole = ll.theory.training.one_step_risk(problem, 2, scale=1.0)
    >>> f"{found.risk:.4f} at tau = {found.scale:.4f}, {whole.risk:.4f} at 1"
    '3.0389 at tau = 0.7356, 4.0995 at 1'
    """
    r = int(valid_ranks([rank], problem)[0])
    found, c = one_step_spikes(problem), _scale(problem)
    flagged = _doubtful(problem, r, one_step_threshold(problem), "one_step_equivalent has no such limit")
    planted = int(np.sum(found.detectable))
    kept = min(r, planted)
    s = checks.strengths(problem)[:kept]
    gain = c * float(np.sum(found.singular_value[:kept] * s * np.sqrt(found.left * found.right)[:kept]))
    noise = c**2 * problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0)
    size = c * float(np.sum(found.singular_value[:kept] ** 2)) + noise * float(
        np.sum(one_step_noise.quantiles(problem.n, problem.dx, problem.dy, r - kept, planted))
    )
    return _at_scale(problem.pretrained_risk, size, gain, scale, flagged)


def scaled_lora_risk(problem: Problem, rank: int, scale: float | None = None) -> OneStepRisk:
    """The expected excess risk of tau D_r, LoRA's closed form with a scale, by the spiked model (`theory.spiked`).

    `scale` tau, or the best one where it is not given. Ridgeless, up to the number of detectable directions, for a
    shift of at most min(n, dx, dy) / 8 of them.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(2.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.scaled_lora_risk(problem, 2)
    >>> f"{found.risk:.4f} at tau = {found.scale:.3f}"
    '1.0142 at tau = 0.842'
    """
    from linreg_lora.theory.spiked import detection_threshold, spikes

    r = int(valid_ranks([rank], problem)[0])
    found = spikes(problem)
    if r > (planted := int(np.sum(found.detectable))):
        raise InvalidInput("rank", f"at most {planted}, the number of detectable directions", rank)
    _sizes(problem)
    s = math.sqrt(_scale(problem)) * np.asarray(problem.spectrum, dtype=float)[:r]
    root = 1 / math.sqrt(problem.n) if problem.n > problem.dx else math.sqrt(problem.n) / problem.dx
    gain = root * float(np.sum((found.singular_value * np.sqrt(found.left * found.right))[:r] * s))
    threshold = detection_threshold(problem) / math.sqrt(_scale(problem))
    flagged = _doubtful(problem, r, threshold, "simulate, or take expected_risk for tau = 1")
    return _at_scale(problem.pretrained_risk, float(np.sum(found.gain[:r])) + 2 * gain, gain, scale, flagged)


def one_step_limit(problem: Problem, rank: int) -> float:
    """lim n E risk(trunc_r G) as n grows with dimensions fixed, r = rank(Delta), Sigma = I.

        sigma^2 r (dx + dy - r) + (dx + 1) ||Delta||^2

    The first term is that of LoRA's closed form; the second never washes out, since S is not I at any n. So one step is
    enough iff it is small beside the first: strong noise, weak shift.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=4000, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> ll.theory.training.one_step_limit(problem, 2)
    339.0
    """
    sigma = _sizes(problem)[0]
    if _scale(problem) != 1:
        raise InvalidInput("input_covariance", "the identity", f"{_scale(problem):g} times it", "rescale the inputs")
    s = checks.strengths(problem)
    if (planted := len(s)) != validation.positive_integer("rank", rank):
        raise InvalidInput("rank", f"that of the shift, {planted}", rank)
    return sigma**2 * rank * (problem.dx + problem.dy - rank) + (problem.dx + 1) * float(np.sum(s**2))


def one_step_energy(problem: Problem) -> float:
    """E ||G||_F^2 = ||Delta||^2 (1 + (dx + 1)/n) + sigma^2 dx dy / n for Sigma = I; exact at every n.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=50, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> f"{ll.theory.training.one_step_energy(problem):.2f}"
    '24.46'
    """
    problem.require_gaussian("one step")
    if (c := _scale(problem)) != 1:
        raise InvalidInput("input_covariance", "the identity", f"{c:g} times it", "rescale the inputs")
    n, dx = problem.n, problem.dx
    return problem.pretrained_risk * (1 + (dx + 1) / n) + problem.noise_trace * dx / n


def _doubtful(problem: Problem, rank: int, threshold: float, remedy: str) -> bool:
    """Whether directions are many, or near the threshold; refused where they are a good part of all."""
    s, size = checks.strengths(problem), min(problem.n, problem.dx, problem.dy)
    if len(s) * _REFUSED > size:
        raise InvalidInput("spectrum", f"at most min(n, dx, dy) / {_REFUSED} = {size // _REFUSED} directions",
                           str(len(s)), remedy)  # fmt: skip
    low, high = (share * threshold for share in _BLURRED)
    return max(len(s), rank) * _MANY > size or bool(np.any((s > low) & (s < high)))


def _at_scale(start: float, size: float, gain: float, scale: float | None, flagged: bool) -> OneStepRisk:
    tau = (gain / size if size > 0 else 0.0) if scale is None else validation.nonnegative_number("scale", scale)
    return OneStepRisk(start + tau**2 * size - 2 * tau * gain, tau, flagged)


def _scale(problem: Problem) -> float:
    if problem.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity", "another", "use one_step_equivalent")
    return problem.isotropic_scale


def _sizes(problem: Problem) -> tuple[float, float, float]:
    """sigma, b and c."""
    problem.require_gaussian("one step")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0 where one step is made", problem.ridge)
    if problem.noise_std == 0 or problem.isotropic_noise_scale is None:
        raise InvalidInput("noise_std", _NO_NOISE, f"noise_std = {problem.noise_std:g}")
    sigma = problem.noise_std * math.sqrt(problem.isotropic_noise_scale)
    return sigma, problem.dy / problem.n, problem.dx / problem.n
