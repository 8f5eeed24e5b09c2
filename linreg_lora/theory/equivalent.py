"""The expected risk of LoRA at every rank: a deterministic equivalent, with its first-order finite-size correction.

    risk_r = ||Delta Sigma^{1/2}||_F^2 + T1(x_r) - 2 T2(x_r),      N(x_r) = r,

where N, T1 and T2 (`functionals`) count the directions that LoRA keeps, the energy of its update and its overlap with
the shift. Errors are O(1/d) without the correction and O(1/d^2) with it, for dimensions of order d.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.fft import EQUIVALENT, fft_risk
from linreg_lora.theory.functionals import Functionals, functionals, of_fft
from linreg_lora.theory.modes import Pretraining, largest_block

#: Where the correction may overshoot: the first ranks below a spectral edge, and ranks on a gap narrower than this
#: times d^{-2/3}, d = min(n, dx, dy): a quarter of an edge's fluctuation (Tracy-Widom, 0.8 d^{-2/3} if square).
_NEAR_EDGE, _NARROW_GAP = 3, 0.2
#: Problems that couple more directions than this are not corrected: it takes seconds a rank, growing with the cube.
_LARGEST_CORRECTED = 256


class Parts(NamedTuple):
    """N, T1 and T2 above each cut: `kept` directions, `energy` of the update, `overlap` with the shift."""

    kept: Float[np.ndarray, "m"]
    energy: Float[np.ndarray, "m"]
    overlap: Float[np.ndarray, "m"]


@dataclass(frozen=True)
class Equivalent:
    """The deterministic equivalent at some ranks.

    `risk` includes the correction where `corrected` says so; `raw` never does. `parts` belong to `raw`. `gap`: ranks
    that a spectral gap separates from the next; `flagged`: ranks just below a spectral edge or on a narrow gap, where
    the correction may overshoot. At rank 0 and at full rank, where LoRA is FFT, `parts` are nan. `fft_risk` is exact
    where that is known (`theory.fft`), else a deterministic equivalent, corrected as the rest.
    """

    ranks: Int[np.ndarray, "m"]
    risk: Float[np.ndarray, "m"]
    raw: Float[np.ndarray, "m"]
    parts: Parts
    gap: Bool[np.ndarray, "m"]
    flagged: Bool[np.ndarray, "m"]
    corrected: bool
    fft_risk: float


def equivalent(problem: Problem, ranks: object = None, *, correction: bool = True) -> Equivalent:
    """Expected excess risk of LoRA by the deterministic equivalent: any Delta, Sigma, Sigma_eps, ridge eta >= 0.

    `ranks` in 0..min(n, dx, dy), default all. Isotropic or diagonal covariances, and all ridgeless problems with n > dx
    and isotropic noise, cost the same in any dimension; other problems use one block of the size that Delta couples.
    For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0. Blocks of
    more than 256 directions are not corrected.

    Raises `InvalidInput` for ranks that do not exist and where the mean is infinite, `NumericalFailure` where a
    self-consistent equation or a cut was not solved.
    """
    chosen = valid_ranks(ranks, problem)
    correction = correction and largest_block(problem.without_null_inputs()) <= _LARGEST_CORRECTED
    interior, found = at_interior_ranks(problem, chosen, correction=correction)
    full = _fft_risk(problem, correction)
    raw, risk = np.full(problem.max_rank + 1, fft_risk(problem).risk), np.full(problem.max_rank + 1, full)
    raw[0] = risk[0] = problem.pretrained_risk
    raw[interior] = problem.pretrained_risk + found.raw[:, 1] - 2 * found.raw[:, 2]
    risk[interior] = raw[interior] + found.correction[:, 1] - 2 * found.correction[:, 2]
    parts, width = np.full((problem.max_rank + 1, 3), np.nan), np.zeros(problem.max_rank + 1)
    parts[interior], width[interior], width[0] = found.raw[:, :3], found.gap, np.inf
    gap, narrow = width > 0, width < _NARROW_GAP * problem.max_rank ** (-2 / 3)
    flagged = np.zeros_like(gap)
    flagged[interior] = [narrow[r] and bool(gap[r] or np.any(gap[max(0, r - _NEAR_EDGE) : r])) for r in interior]
    return Equivalent(
        ranks=chosen,
        risk=risk[chosen],
        raw=raw[chosen],
        parts=Parts(*parts[chosen].T),
        gap=gap[chosen],
        flagged=flagged[chosen],
        corrected=correction,
        fft_risk=full,
    )


def at_interior_ranks(
    problem: Problem, ranks: Int[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> tuple[Int[np.ndarray, "k"], Functionals]:
    """The functionals at those of `ranks`, and of the few ranks above each, that lie strictly between 0 and FFT."""
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    reduced = problem.without_null_inputs()
    full = _rank_of_full_fit(reduced)
    wanted = {rank - below for rank in ranks.tolist() for below in range(_NEAR_EDGE + 1)}
    interior = np.array(sorted(rank for rank in wanted if 0 < rank < full), dtype=int)
    return interior, functionals(reduced, interior.astype(float), correction=correction, pretraining=pretraining)


def _fft_risk(problem: Problem, correction: bool) -> float:
    full = fft_risk(problem)
    if full.formula != EQUIVALENT or not correction:
        return full.risk
    delta = of_fft(problem.without_null_inputs(), correction=True).correction[0]
    return float(full.risk + delta[1] - 2 * delta[2])


def _rank_of_full_fit(problem: Problem) -> int:
    """The rank at which LoRA is FFT: min(n, dx, dy), or rank(Delta) if that is less and there is no noise."""
    if problem.noise_trace > 0:
        return problem.max_rank
    return min(problem.max_rank, int(np.count_nonzero(np.asarray(problem.spectrum))))
