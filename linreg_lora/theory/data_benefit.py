"""What one more sample is worth: the marginal benefit risk(n) - risk(n+1) of each method, and its ratio to FFT's.

    FFT, n > dx + 1:       Tr(Sigma_eps) dx / ((n - dx - 1)(n - dx))
    FFT, n < dx - 2, Sigma = c I:
                           c ||Delta||_F^2 / dx - Tr(Sigma_eps)(dx - 1) / ((dx - n - 1)(dx - n - 2))
    frozen A, frozen B:    those of the FFT problem each is equivalent to (`theory.frozen`)
    LoRA:                  a wide difference of its deterministic equivalent (`lora_benefit`)

The ratio to FFT is k/d, trained over all parameters, only in part:

    frozen B, n > dx + 1:  Tr(B^T Sigma_eps B) / Tr(Sigma_eps) = r/dy where Sigma_eps = sigma^2 I: k/d at every n
    frozen A, n > dx + 1:  r (n - dx - 1)(n - dx) / (dx (n - r - 1)(n - r)) * Tr(Sigma_eps + M)/Tr(Sigma_eps) -> r/dx = k/d
                           where A represents Delta; otherwise what it misses (M, b_j = M_jj) inflates the benefit of
                           output j by (sigma^2 + b_j)/sigma^2
    LoRA, n -> infinity:   V_r / (Tr(Sigma_eps) dx), V_r of `theory.capacity`: r (dx + dy - r)/(dx dy) at the rank of the
                           shift, with the dimension of rank-r matrices for k, not their r (dx + dy) parameters

More samples hurt where the risk rises towards the threshold n = dx: the benefit is negative there, -inf where n + 1 has
no finite mean, inf where n has none, nan where neither has. Source: derived here.
"""  # noqa: E501

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory import capacity, frozen
from linreg_lora.theory.effective import distance_from_threshold
from linreg_lora.theory.fft import fft_risk

#: `equivalent` integrates its traces to this share of ||Delta Sigma^{1/2}||^2 + risk.
_CONTOUR_ACCURACY = 2e-9
#: `theory.fft.fft_equivalent` finds log kappa to 1e-14, and the risk varies at most by its third power.
_KAPPA_ACCURACY = 1e-13
#: The wide difference reaches this share of the way to where the risk is singular in n, if that is far enough.
_REACH = 1 / 8
_SHORTEST = 16


class Benefit(NamedTuple):
    """risk(n) - risk(n+1), in squared units of y a sample; inf, -inf or nan where a mean does not exist.

    `error` estimates the numerical error (0: rounding only). It leaves out how far a deterministic equivalent, where
    `formula` names one, lies from the exact risk: where `flagged`, more than 1 % of the risk, and more of the benefit.
    """

    value: float
    error: float
    formula: str
    flagged: bool = False


def fft_benefit(problem: Problem) -> Benefit:
    """Marginal benefit of full fine-tuning: exact where the risk is, else a difference of deterministic equivalents.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.fft_benefit(problem).value:.3f} = {20 * 24 / (35 * 36):.3f}"
    '0.381 = 0.381'
    """
    problem.require_gaussian("the worth of a sample")
    more = problem.replace(n=problem.n + 1)
    missing = _missing_mean(problem, more)
    if missing is not None:
        return missing
    n, dx, noise = problem.n, problem.input_rank, problem.noise_trace
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        value = noise * dx / ((n - dx - 1) * (n - dx)) if noise > 0 else 0.0
        return Benefit(value, 0.0, "Tr(Sigma_eps) dx / ((n - dx - 1)(n - dx)), exact")
    if problem.ridge == 0 and problem.isotropic_scale is not None:
        harm = noise * (dx - 1) / ((dx - n - 1) * (dx - n - 2)) if noise > 0 else 0.0
        formula = "c ||Delta||^2 / dx - Tr(Sigma_eps)(dx - 1) / ((dx - n - 1)(dx - n - 2)), exact"
        return Benefit(problem.pretrained_risk / dx - harm, 0.0, formula)
    before, after = fft_risk(problem), fft_risk(more)
    error = (_KAPPA_ACCURACY + problem.dx * np.finfo(float).eps) * (before.risk + after.risk)
    flagged = before.flagged or after.flagged
    return Benefit(before.risk - after.risk, error, f"difference of: {before.formula}", flagged)


def frozen_a_benefit(problem: Problem, input_factor: object) -> Benefit:
    """Marginal benefit of LoRA with A frozen, `input_factor` A: r x dx with orthonormal rows.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.frozen_a_benefit(problem, np.eye(3, 24)).value:.4f} = {20 * 3 / (56 * 57):.4f}"
    '0.0188 = 0.0188'
    """
    problem.require_gaussian("the worth of a sample")
    return fft_benefit(frozen.frozen_a_reduction(problem, input_factor).problem)


def frozen_b_benefit(problem: Problem, output_factor: object) -> Benefit:
    """Marginal benefit of LoRA with B frozen, `output_factor` B: dy x r with orthonormal columns.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.frozen_b_benefit(problem, np.eye(20, 3)).value:.4f} = {3 * 24 / (35 * 36):.4f}"
    '0.0571 = 0.0571'
    """
    problem.require_gaussian("the worth of a sample")
    return fft_benefit(frozen.frozen_b_reduction(problem, output_factor).problem)


def lora_benefit(problem: Problem, rank: int) -> Benefit:
    """Marginal benefit of trained LoRA, by its deterministic equivalent (`theory.equivalent`).

    Contour integrals leave an error delta of some 1e-9 ||Delta Sigma^{1/2}||^2 in the risk, and risk(n) - risk(n+1)
    falls like 1/n^2. So the slope is also taken over wider differences. With c = n + 1/2 and u the distance of c from
    where the risk is singular in n, the risk is close to linear in 1/u, and

        E(H) = (u^2 - H^2) [risk(c - H) - risk(c + H)] / (2 H),      benefit = E(1/2) / (u^2 - 1/4),

    is even and nearly constant. It is computed at H near u/8 and u/16 and extrapolated to 1/2, linearly in H^2.
    `error` is what delta can do, some 40 delta/u (against a benefit of V/u^2 a share of 40 delta u/V), plus the
    difference of the two: three times the step of the extrapolation, whose own error is of order H^4, and of the size
    of the noise in E should delta be larger. The plain difference, with error 2 delta, is returned where that is less.
    For ranks in the bulk delta is that small only where the shift does not stand too far above it: n s_1^2 below some
    10^4 sigma^2 (dx + dy).

    Exact at rank 0 and rank min(dx, dy), which is FFT.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> one_more = ll.theory.lora_benefit(problem, rank=3)
    >>> f"{one_more.value:.3f} of FFT's {ll.theory.fft_benefit(problem).value:.3f}"
    "0.110 of FFT's 0.381"
    """
    problem.require_gaussian("the worth of a sample")
    (rank,) = valid_ranks([rank], problem).tolist()
    if rank == 0:
        return Benefit(0.0, 0.0, "the pretrained map does not learn")
    if rank == min(problem.input_rank, problem.dy):
        return fft_benefit(problem)
    missing = _missing_mean(problem, problem.replace(n=problem.n + 1))
    if missing is not None:
        return missing
    before, after, flagged = _risks(problem, rank, 0)
    delta = _CONTOUR_ACCURACY * (problem.pretrained_risk + before)
    plain = Benefit(before - after, 2 * delta, "difference of deterministic equivalents, n and n + 1", flagged)
    distance = _distance_from_singular(problem, rank)
    if distance < _SHORTEST:
        return plain
    wide = _wide_difference(problem, rank, distance)._replace(flagged=flagged)
    return wide if wide.error < plain.error else plain


def _wide_difference(problem: Problem, rank: int, distance: float) -> Benefit:
    """E(1/2) / (u^2 - 1/4) of `lora_benefit`, u = `distance`."""
    outer, inner = (int(distance * share) for share in (_REACH, _REACH / 2))
    slopes, errors = [], []
    for steps in (outer, inner):
        half = steps + 0.5
        before, after, _ = _risks(problem, rank, steps)
        weight = (distance**2 - half**2) / (2 * half)
        slopes.append(weight * (before - after))
        errors.append(weight * 2 * _CONTOUR_ACCURACY * (problem.pretrained_risk + max(before, after)))
    h1, h2 = (outer + 0.5) ** 2, (inner + 0.5) ** 2
    share = (h2 - 0.25) / (h1 - h2)
    spread, scale = slopes[1] - slopes[0], distance**2 - 0.25
    noise = (1 + share) * errors[1] + share * errors[0]
    formula = f"difference of deterministic equivalents, extrapolated from n - {outer} .. n + {outer + 1}"
    return Benefit((slopes[1] + share * spread) / scale, (abs(spread) + noise) / scale, formula)


def benefit_ratio(benefit: Benefit, reference: Benefit) -> float:
    """How many times the reference's benefit; nan where it does not exist: nan, 0/0 or inf/inf.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> frozen = ll.theory.frozen_b_benefit(problem, np.eye(20, 5))
    >>> f"{ll.theory.benefit_ratio(frozen, ll.theory.fft_benefit(problem)):.3f} = r/dy"
    '0.250 = r/dy'
    """
    first, second = benefit.value, reference.value
    if second == 0:
        return math.nan if first == 0 or math.isnan(first) else math.copysign(math.inf, first)
    return first / second


def frozen_a_ratio(n: int, dx: int, rank: int) -> float:
    """Frozen A's marginal benefit over FFT's where A represents Delta, n > dx + 1: exact.

    r (n - dx - 1)(n - dx) / (dx (n - r - 1)(n - r))  ->  r/dx = k/d   as n grows, from below
    """
    n, rank = validation.positive_integer("n", n), validation.positive_integer("rank", rank)
    dx = validation.positive_integer("dx", dx)
    if rank > dx:
        raise InvalidInput("rank", f"an integer in 1..dx = {dx}", rank)
    if n <= dx + 1:
        raise InvalidInput("n", f"n > dx + 1 = {dx + 1} (FFT has no finite benefit otherwise)", n)
    return rank * (n - dx - 1) * (n - dx) / (dx * (n - rank - 1) * (n - rank))


def misspecification_factor(problem: Problem, input_factor: object) -> Float[np.ndarray, "dy"]:
    """(sigma_j^2 + b_j) / sigma_j^2 of every output: how much what A cannot represent inflates its benefit.

    sigma_j^2 the noise variance of output j, b_j its misspecification (`frozen.misspecification_covariance`). inf for
    an output with misspecification and no noise, nan for one with neither.
    """
    problem.require_gaussian("the worth of a sample")
    noise = np.diagonal(problem.sigma_eps)
    missed = np.diagonal(frozen.misspecification_covariance(problem, input_factor))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (noise + missed) / noise


def benefit_ratio_limit(problem: Problem, rank: int, *, trials: int = 400, seed: int = 0) -> capacity.Estimate:
    """The limit, for n -> infinity, of trained LoRA's marginal benefit over FFT's: V_r / (Tr(Sigma_eps) dx).

    V_r from `capacity.large_sample_limit`, which `trials` and `seed` are passed on to; r (dx + dy - r) / (dx dy) at the
    rank of the shift with isotropic noise. inf without noise where V_r > 0, nan where both are 0.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.benefit_ratio_limit(problem, rank=3).value:.3f} = {3 * (24 + 20 - 3) / (24 * 20):.3f}"
    '0.256 = 0.256'
    """
    problem.require_gaussian("the worth of a sample")
    found = capacity.large_sample_limit(problem, rank, trials=trials, seed=seed)
    scale = problem.noise_trace * problem.input_rank
    if scale == 0:
        return capacity.Estimate(math.inf if found.limit > 0 else math.nan, 0.0)
    return capacity.Estimate(found.limit / scale, found.stderr / scale)


def _missing_mean(problem: Problem, more: Problem) -> Benefit | None:
    """The benefit where n or n + 1 samples have no finite mean, else None."""
    now, then = problem.moments is Moments.NO_MEAN, more.moments is Moments.NO_MEAN
    if not (now or then):
        return None
    value = math.nan if now and then else math.inf if now else -math.inf
    which = "n and at n + 1" if now and then else "n" if now else "n + 1"
    return Benefit(value, 0.0, f"the mean is infinite at {which}: {(problem if now else more).moments_note}")


def _distance_from_singular(problem: Problem, rank: int) -> float:
    """u: how far n + 1/2 lies from where the risk is singular as a function of n.

    The threshold: n = dx + 1 from above and dx - 1 from below; with ridge, or for n < dx with other than isotropic
    inputs, the effective one (`theory.effective`). Also n = r, below which rank r does not exist.
    """
    centre, dx = problem.n + 0.5, problem.input_rank
    above_rank = centre - rank
    if problem.ridge > 0 or (problem.regime is Regime.UNDERDETERMINED and problem.isotropic_scale is None):
        return min(distance_from_threshold(problem, centre), above_rank)
    if problem.regime is Regime.UNDERDETERMINED:
        return min(dx - 1 - centre, above_rank)
    return centre - dx - 1


def _risks(problem: Problem, rank: int, steps: int) -> tuple[float, float, bool]:
    """The equivalent `steps` samples before n and `steps` after n + 1, and whether one is flagged."""
    from linreg_lora.theory.equivalent import lora_equivalent

    both = [lora_equivalent(problem.replace(n=n), [rank]) for n in (problem.n - steps, problem.n + 1 + steps)]
    first, second = (float(found.risk[0]) for found in both)
    return first, second, any(bool(found.flagged[0]) for found in both)
