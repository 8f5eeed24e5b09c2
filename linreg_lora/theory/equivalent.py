"""The expected risk of LoRA at every rank: a deterministic equivalent, with its first-order finite-size correction.

    risk_r = ||Delta Sigma^{1/2}||_F^2 + T1(x_r) - 2 T2(x_r),      N(x_r) = r,

where N, T1 and T2 (`functionals`) count the directions that LoRA keeps, the energy of its update and its overlap with
the shift. Errors are O(1/d) without the correction and O(1/d^2) with it, for dimensions of order d; without ridge they
stay small next to the threshold, where the corrected formula has the pole at |n - dx| = 1 that FFT's exact risk has.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.fft import EQUIVALENT, distance_from_singular, fft_risk
from linreg_lora.theory.functionals import Functionals, functionals, of_fft
from linreg_lora.theory.modes import Pretraining, largest_block

#: Where the correction may overshoot: the first ranks below a spectral edge, and ranks on a gap narrower than this
#: times d^{-2/3}, d = min(n, dx, dy): a quarter of an edge's fluctuation (Tracy-Widom, 0.8 d^{-2/3} if square).
_NEAR_EDGE, _NARROW_GAP = 3, 0.2
#: A correction of this share of the risk, or what is expected of it from the distance to the threshold: its square,
#: the size of the next order, is 0.5 %.
_LARGE_CORRECTION = 0.07
#: The accuracy of functionals against ||Delta Sigma^{1/2}||^2, and the largest share of a risk that may be lost to it.
_ROUNDING, _RESOLVED = 1e-12, 0.005
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
    that a spectral gap separates from the next; `flagged`: ranks where the correction may be off by more than some
    0.5 %: just below a spectral edge, on a narrow gap, near the threshold, where it is large, or where it was not made.
    At rank 0 and at full rank, where LoRA is FFT, `parts` are nan. `fft_risk` is exact where that is known
    (`theory.fft`), else a deterministic equivalent, corrected as the rest. `difference` is risk - FFT's, both at the
    same order: errors that they share near the threshold cancel. `failures`: why a rank is nan.
    """

    ranks: Int[np.ndarray, "m"]
    risk: Float[np.ndarray, "m"]
    raw: Float[np.ndarray, "m"]
    parts: Parts
    gap: Bool[np.ndarray, "m"]
    flagged: Bool[np.ndarray, "m"]
    corrected: bool
    fft_risk: float
    difference: Float[np.ndarray, "m"]
    failures: dict[int, str]


def equivalent(problem: Problem, ranks: object = None, *, correction: bool = True) -> Equivalent:
    """Expected excess risk of LoRA by the deterministic equivalent: any Delta, Sigma, Sigma_eps, ridge eta >= 0.

    `ranks` in 0..min(n, dx, dy), default all. Isotropic or diagonal covariances, and all ridgeless problems with n > dx
    and isotropic noise, cost the same in any dimension; other problems use one block of the size that Delta couples.
    For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0. Blocks of
    more than 256 directions are not corrected.

    Raises `InvalidInput` for ranks that do not exist and where the mean is infinite, `NumericalFailure` where a
    self-consistent equation or a cut was not solved.
    """
    found = partial_equivalent(problem, ranks, correction=correction)
    if found.failures:
        raise NumericalFailure(next(iter(found.failures.values())))
    return found


def partial_equivalent(
    problem: Problem, ranks: object = None, *, correction: bool = True, flags: bool = True
) -> Equivalent:
    """`equivalent`, with nan and an entry in `failures` at ranks that were not solved.

    Without `flags` nothing but `ranks` is solved, and `flagged` is false: up to four times faster for few ranks.
    """
    chosen = valid_ranks(ranks, problem)
    asked = correction
    correction = correction and largest_block(problem.without_null_inputs()) <= _LARGEST_CORRECTED
    interior, found = at_interior_ranks(problem, chosen, correction=correction, above=_NEAR_EDGE if flags else 0)
    size = problem.max_rank + 1
    full, like = _fft_risks(problem, correction, bool(interior.size))
    raw, risk = np.full(size, fft_risk(problem).risk), np.full(size, full)
    raw[0] = risk[0] = problem.pretrained_risk
    raw[interior] = problem.pretrained_risk + found.raw[:, 1] - 2 * found.raw[:, 2]
    change = found.correction[:, 1] - 2 * found.correction[:, 2]
    risk[interior] = raw[interior] + change
    failures = {int(interior[row]): message for row, message in found.failures.items()}
    failures |= _unresolved(problem, interior, risk[interior])
    rows = list(failures)
    raw[rows], risk[rows] = np.nan, np.nan
    difference = risk - full
    difference[interior] = risk[interior] - like
    parts, width = np.full((size, 3), np.nan), np.zeros(size)
    parts[interior], width[interior], width[0] = found.raw[:, :3], found.gap, np.inf
    gap, narrow = width > 0, width < _NARROW_GAP * problem.max_rank ** (-2 / 3)
    flagged = np.zeros_like(gap)
    flagged[interior] = [narrow[r] and bool(gap[r] or np.any(gap[max(0, r - _NEAR_EDGE) : r])) for r in interior]
    near = problem.noise_trace > 0 and _LARGE_CORRECTION * distance_from_singular(problem, problem.n) < 1
    flagged[interior] |= (np.abs(change) > _LARGE_CORRECTION * raw[interior]) | near | (asked and not correction)
    return Equivalent(
        ranks=chosen,
        risk=risk[chosen],
        raw=raw[chosen],
        parts=Parts(*parts[chosen].T),
        gap=gap[chosen],
        flagged=flagged[chosen] & flags,
        corrected=correction,
        fft_risk=full,
        difference=difference[chosen],
        failures={rank: message for rank, message in failures.items() if rank in chosen},
    )


def at_interior_ranks(
    problem: Problem,
    ranks: Int[np.ndarray, "m"],
    *,
    correction: bool,
    pretraining: Pretraining = None,
    above: int = _NEAR_EDGE,
) -> tuple[Int[np.ndarray, "k"], Functionals]:
    """The functionals at those of `ranks`, and of the few ranks `above` each, that lie strictly between 0 and FFT."""
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    reduced = problem.without_null_inputs()
    full = _rank_of_full_fit(reduced)
    wanted = {rank - below for rank in ranks.tolist() if 0 < rank < full for below in range(above + 1)}
    interior = np.array(sorted(rank for rank in wanted if rank > 0), dtype=int)
    if interior.size and reduced.ridge == 0 and reduced.regime is Regime.THRESHOLD:
        raise NumericalFailure(
            f"equivalent: expected n != dx or ridge > 0, received n = dx = {reduced.dx} and ridge = 0: LoRA has no "
            "deterministic equivalent there; move n or set a ridge"
        )
    return interior, functionals(reduced, interior.astype(float), correction=correction, pretraining=pretraining)


def _fft_risks(problem: Problem, correction: bool, wanted: bool) -> tuple[float, float]:
    """FFT's risk by the sharpest result, and, if `wanted`, by the same equivalent as LoRA's."""
    full = fft_risk(problem)
    approximate = full.formula == EQUIVALENT and correction
    if not (wanted or approximate):
        return full.risk, full.risk
    found = of_fft(problem.without_null_inputs(), correction=correction)
    total = found.raw[0] + found.correction[0]
    like = float(problem.pretrained_risk + total[1] - 2 * total[2])
    return like if approximate else full.risk, like


def _unresolved(problem: Problem, ranks: np.ndarray, risk: np.ndarray) -> dict[int, str]:
    """Ranks whose risk is lost in the rounding of ||Delta Sigma^{1/2}||^2 + T1 - 2 T2."""
    lost = _ROUNDING * problem.pretrained_risk > _RESOLVED * np.abs(risk)
    return {
        int(rank): f"equivalent: expected a risk above {_ROUNDING / _RESOLVED:g} ||Delta Sigma^(1/2)||^2 = "
        f"{_ROUNDING / _RESOLVED * problem.pretrained_risk:.3g}, received {value:.3g} at rank {rank}: lost in rounding"
        for rank, value in zip(ranks[lost], risk[lost], strict=True)
    }


def _rank_of_full_fit(problem: Problem) -> int:
    """The rank at which LoRA is FFT: that of F, min(n, dx, dy) or less where noise does not reach all outputs."""
    if problem.noise_trace == 0:
        return min(problem.max_rank, int(np.count_nonzero(np.asarray(problem.spectrum))))
    noise = problem.noise_covariance
    if noise is None or (noise.ndim == 1 and np.all(noise > 0)):
        return problem.max_rank
    reached = (problem.shift @ problem.sigma) @ problem.shift.T + problem.sigma_eps
    return min(problem.max_rank, int(np.linalg.matrix_rank(reached, hermitian=True)))
