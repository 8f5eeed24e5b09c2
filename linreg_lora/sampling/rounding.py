"""What rounding leaves of LoRA's directions when the noise is tiny against the shift.

LoRA at rank r keeps the r strongest left singular vectors of B = Delta X Q + N (`estimators.lora`). Those beyond the
rank of Delta Sigma^{1/2} are the noise's, and eps ||B|| is the best that floating point resolves. With

    rho = ||N|| / ||Delta X Q||,      q = min(n, rank(Sigma), dy)

rounding moves the singular values of B by eps ||B||, and those of the noise, about rho ||B||, are spaced by a share 1/q
of themselves: their singular vectors turn by q eps / rho. In the Gram matrix B B^T eigenvalues of rho^2 ||B||^2 move by
eps ||B||^2, and the vectors turn by q eps / rho^2. A turn by an angle a mixes neighbours, and changes a mean risk by
a^2 of their difference.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
#: Angle, in radians, by which rounding may turn the directions of the noise.
_ANGLE = 1e-2
#: Directions that are lost do not matter where all noise together is this share of the risk.
_NEGLIGIBLE = 1e-3
#: Where the risk is the square of this many roundings of the signal it is of rounding itself.
_ROUNDINGS = 10


def squared_is_safe(problem: Problem) -> bool:
    """Whether the directions of the noise survive in a Gram matrix of B: rho^2 > q eps / a."""
    return bool(noise_to_signal(problem) ** 2 > _limit(problem))


def noise_is_resolved(problem: Problem) -> bool:
    """Whether they survive in B itself: rho > q eps / a. True without noise, where none are."""
    return bool(problem.noise_trace == 0 or noise_to_signal(problem) > _limit(problem))


def noise_to_signal(problem: Problem) -> float:
    """rho: the root mean square singular value of N over that of a signal of rank one; inf without a signal.

        rho^2 = Tr(Sigma_eps) max(k / dy, 1) / (n ||Delta Sigma^{1/2}||_F^2),      k = min(n, rank(Sigma))

    E ||N||_F^2 = k Tr(Sigma_eps) is shared by min(k, dy) directions; E ||Delta X||_F^2 = n ||Delta Sigma^{1/2}||_F^2
    whether n >= dx or not. A ridge shrinks both alike. Of anisotropic noise the sum over outputs counts: what weaker
    outputs add to a risk is small beside what the strongest do.
    """
    signal = problem.n * problem.pretrained_risk
    noise = problem.noise_trace * max(min(problem.n, problem.input_rank) / problem.dy, 1.0)
    if signal == 0:
        return math.inf if noise > 0 else 0.0
    return float(np.sqrt(noise / signal))


def lost_ranks(problem: Problem, risk: Float[np.ndarray, "ranks"]) -> tuple[Bool[np.ndarray, "ranks"], str]:
    """Ranks 0, 1, ... whose mean `risk` of draws depends on directions that rounding has lost, and a note on them.

    Where noise is not resolved: those above the number of singular values of Delta Sigma^{1/2} that are, up to q - 1,
    unless the risk is far above all that noise adds; and any whose risk is that of rounding,
    q (10 eps ||Delta Sigma^{1/2}||)^2. At rank q LoRA is FFT, and no direction is chosen.
    """
    lost = np.zeros(len(risk), dtype=bool)
    if noise_is_resolved(problem):
        return lost, ""
    resolved = _resolved_rank(problem)
    rounding = problem.max_rank * (_ROUNDINGS * _EPS) ** 2 * problem.pretrained_risk
    between = slice(resolved + 1, problem.max_rank)
    lost[between] = _NEGLIGIBLE * risk[between] < _noise_bound(problem)
    lost |= risk < rounding
    lost[0] = False
    if not np.any(lost):
        return lost, ""
    least = problem.noise_std * _limit(problem) / noise_to_signal(problem)
    return lost, (
        f"noise_std: expected 0, or at least {least:.2g} for rank {_listed(np.flatnonzero(lost))}, received "
        f"{problem.noise_std:g}: beside this shift the directions of smaller noise are lost in rounding"
    )


def _listed(ranks: np.ndarray) -> str:
    return f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]}..{ranks[-1]}"


def _limit(problem: Problem) -> float:
    """q eps / a."""
    return float(problem.max_rank * _EPS / _ANGLE)


def _resolved_rank(problem: Problem) -> int:
    """How many singular values of Delta Sigma^{1/2} stand out of rounding as noise would have to.

    With a mean those of Delta [Sigma^{1/2}, mu].
    """
    values = np.linalg.svd(problem.shift @ problem.risk_root, compute_uv=False)
    return min(int(np.sum(values > _limit(problem) * np.sqrt(problem.pretrained_risk))), problem.max_rank)


def _noise_bound(problem: Problem) -> float:
    """Tr(Sigma_eps) E ||X^+ Sigma^{1/2}||_F^2, from above: all that noise adds to the mean risk of FFT.

    k / (|n - rank(Sigma)| - 1), times the condition of Sigma below the threshold; or with a ridge l_max k / (4 eta).
    """
    gap, largest = abs(problem.distance_from_threshold) - 1, float(np.max(np.linalg.eigvalsh(problem.sigma)))
    condition = largest / problem.smallest_variance if problem.n < problem.input_rank else 1.0
    ridgeless = condition / gap if gap > 0 else np.inf
    penalised = largest / (4 * problem.ridge) if problem.ridge > 0 else np.inf
    return float(problem.noise_trace * min(problem.n, problem.input_rank) * min(ridgeless, penalised))
