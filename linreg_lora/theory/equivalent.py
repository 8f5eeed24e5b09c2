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
from linreg_lora.theory import fft, notes
from linreg_lora.theory.contours import doubt
from linreg_lora.theory.contours.functionals import Functionals
from linreg_lora.theory.contours.modes import largest_block
from linreg_lora.theory.contours.traced import Choose
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.rescaled import (
    in_units_of_the_inputs,
    louder,
    with_fewer_samples,
    without_negligible_ridge,
)

#: The accuracy of functionals against ||Delta Sigma^{1/2}||^2, and the largest share of a risk that may be lost to it.
_ROUNDING, _RESOLVED = 1e-12, 0.005
#: Risks below the least possible one by less than this share of ||Delta Sigma^{1/2}||^2 are taken for it: contour
#: integrals are accurate to some 1e-9 of it.
_CONTOUR = 1e-8
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
    that a spectral gap separates from the next; `flagged`: ranks where the risk may be off by more than 1 % (`doubt`),
    or was not corrected though that was asked for. At rank 0 and at full rank, where LoRA is FFT, `parts` are nan.
    `fft_risk` is that of `theory.fft.fft_risk`, which may be `fft_flagged`. `difference` is risk - FFT's, both at the
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
    fft_flagged: bool
    difference: Float[np.ndarray, "m"]
    failures: dict[int, str]


def lora_equivalent(problem: Problem, ranks: object = None, *, correction: bool = True) -> Equivalent:
    """Expected excess risk of LoRA by the deterministic equivalent: any Delta, Sigma, Sigma_eps, ridge eta >= 0.

    `ranks` in 0..min(n, dx, dy), default all. Isotropic or diagonal covariances, and all ridgeless problems with n > dx
    and isotropic noise, cost the same in any dimension; other problems use one block of the size that Delta couples.
    For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0. Blocks of
    more than 256 directions are not corrected.

    Raises `InvalidInput` for ranks that do not exist and where the mean is infinite, `NumericalFailure` where a
    self-consistent equation or a cut was not solved, where a risk came out below what is possible, and, if corrected,
    less than three samples from an effective threshold (`theory.effective`) where no exact pole is known.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.lora_equivalent(problem, ranks=[1, 2, 3])
    >>> found.risk.round(3).tolist()
    [6.265, 3.263, 3.742]
    >>> found.gap.tolist()
    [True, True, True]
    """
    found = partial_equivalent(problem, ranks, correction=correction)
    if found.failures:
        raise NumericalFailure(notes.reasons(found.failures)[0])
    return found


def partial_equivalent(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    full: fft.FFTRisk | None = None,
    choose: Choose | None = None,
) -> Equivalent:
    """`lora_equivalent`, with nan and an entry in `failures` at ranks that were not solved.

    Without `flags` none is flagged. `full`: FFT's risk where it is known already. `choose` may leave ranks out
    (`theory.functionals`).

    Raises `NumericalFailure` where no rank has an equivalent.
    """
    chosen = valid_ranks(ranks, problem)
    problem = in_units_of_the_inputs(without_negligible_ridge(problem))
    asked = correction
    correction = correction and can_be_corrected(problem)
    interior = interior_ranks(problem, chosen, correction=correction)
    full = fft.fft_risk(problem) if full is None else full
    found = _with_little_noise(with_fewer_samples(problem), interior, correction, choose)
    size = problem.max_rank + 1
    uncorrected = full.risk if full.exact else fft.as_lora(problem, correction=False)
    raw, risk, difference = np.full(size, uncorrected), np.full(size, full.risk), np.zeros(size)
    raw[0] = risk[0] = problem.pretrained_risk
    difference[0] = problem.pretrained_risk - full.risk
    raw[interior], risk[interior], difference[interior] = found.raw, found.risk, found.difference
    parts, gap, flagged = np.full((size, 3), np.nan), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    parts[interior], gap[interior], gap[0] = found.parts, found.gap, True
    flagged[interior] = found.flagged | (asked and not correction)
    flagged[rank_of_full_fit(problem.without_null_inputs()) :] = full.flagged
    return Equivalent(
        ranks=chosen,
        risk=risk[chosen],
        raw=raw[chosen],
        parts=Parts(*parts[chosen].T),
        gap=gap[chosen],
        flagged=flagged[chosen] & flags,
        corrected=correction,
        fft_risk=full.risk,
        fft_flagged=full.flagged,
        difference=difference[chosen],
        failures={int(interior[row]): message for row, message in found.failures.items()},
    )


def can_be_corrected(problem: Problem) -> bool:
    """Whether Delta couples few enough directions."""
    return largest_block(problem.without_null_inputs()) <= _LARGEST_CORRECTED


def interior_ranks(problem: Problem, ranks: Int[np.ndarray, "m"], *, correction: bool) -> Int[np.ndarray, "k"]:
    """Those of `ranks` that lie strictly between 0 and FFT, in order.

    Raises `InvalidInput` where no mean exists, `NumericalFailure` where there are some and no equivalent holds.
    """
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    reduced = problem.without_null_inputs()
    interior = np.unique(ranks[(ranks > 0) & (ranks < rank_of_full_fit(reduced))])
    if interior.size and reduced.ridge == 0 and reduced.regime is Regime.THRESHOLD:
        raise NumericalFailure(
            f"equivalent: expected n != dx or ridge > 0, received n = dx = {reduced.dx} and ridge = 0: LoRA has no "
            "deterministic equivalent there; move n or set a ridge"
        )
    if interior.size and correction and not (fft.resummed(reduced) or fft.hard_edge(reduced)):
        fft.require_expansion(reduced)
    return interior


class Solved(NamedTuple):
    """What `Equivalent` says, at interior ranks; `failures` by row."""

    raw: Float[np.ndarray, "k"]
    risk: Float[np.ndarray, "k"]
    difference: Float[np.ndarray, "k"]
    parts: Float[np.ndarray, "k 3"]
    gap: Bool[np.ndarray, "k"]
    flagged: Bool[np.ndarray, "k"]
    failures: dict[int, str]


def _with_little_noise(
    problem: Problem, ranks: Int[np.ndarray, "k"], correction: bool, choose: Choose | None
) -> Solved:
    """`_solve`; ranks at which the noise is too little to be seen from a louder problem (`rescaled`)."""
    little = louder(problem) if ranks.size else None
    quiet = ranks[:0] if little is None else ranks[ranks >= little.rank]
    if little is None or not quiet.size:
        return _solve(problem, ranks, correction, choose)
    silent = problem.replace(noise_std=0.0)
    few, loud = _solve(problem, ranks[: -len(quiet)], correction), _solve(little.problem, quiet, correction)
    loud = loud._replace(
        raw=little.scaled_back(loud.raw, fft.as_lora(silent, correction=False)),
        risk=little.scaled_back(loud.risk, fft.as_lora(silent, correction=correction)),
        difference=loud.difference / little.factor,
        failures={row + len(few.raw): message for row, message in loud.failures.items()},
    )
    joined = (np.concatenate(pair) for pair in zip(few[:-1], loud[:-1], strict=True))
    return Solved(*joined, few.failures | loud.failures)


def _solve(problem: Problem, ranks: Int[np.ndarray, "k"], correction: bool, choose: Choose | None = None) -> Solved:
    if not ranks.size:
        nothing, none = np.empty(0), np.empty(0, dtype=bool)
        return Solved(nothing, nothing, nothing, np.empty((0, 3)), none, none, {})
    found = functionals(problem.without_null_inputs(), ranks.astype(float), correction=correction, choose=choose)
    return solved(problem, ranks, found, correction)


def solved(problem: Problem, ranks: Int[np.ndarray, "k"], found: Functionals, correction: bool) -> Solved:
    """Risks of a problem at interior ranks, from its functionals there."""
    raw = problem.pretrained_risk + risk_of(found.raw)
    change = risk_of(found.correction)
    risk, failures = _possible(problem, ranks, raw + change, found)
    rows = list(failures)
    raw[rows], risk[rows] = np.nan, np.nan
    difference = risk - fft.as_lora(problem, correction=correction)
    bounded = np.isfinite(found.curvature[:, 1])
    curvature = np.where(bounded, risk_of(np.where(bounded[:, None], found.curvature, 0.0)), np.inf)
    flagged = doubt.flags(problem, ranks, found, raw, change, curvature)
    return Solved(raw, risk, difference, found.raw[:, :3], found.gap > 0, flagged, failures)


def risk_of(functionals: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, "k"]:
    """T1 - 2 T2."""
    return functionals[:, 1] - 2 * functionals[:, 2]


def _possible(
    problem: Problem, ranks: np.ndarray, risk: np.ndarray, found: Functionals
) -> tuple[np.ndarray, dict[int, str]]:
    """The risks, and why some are none: unsolved, lost in rounding, or less than any update of their rank can have.

    Lost in rounding: that of ||Delta Sigma^{1/2}||^2 + T1 - 2 T2.
    """
    failures, whole = dict(found.failures), problem.pretrained_risk
    values = problem.whitened_spectrum
    tails = np.append(np.cumsum(values[::-1] ** 2)[::-1], 0.0)
    least = tails[np.minimum(ranks, len(values))]
    for row in np.flatnonzero(_ROUNDING * whole > _RESOLVED * np.abs(risk)).tolist():
        failures.setdefault(row, "equivalent: expected a risk above "
            f"{_ROUNDING / _RESOLVED:g} ||Delta Sigma^(1/2)||^2 = {_ROUNDING / _RESOLVED * whole:.3g}, received less: "
            "lost in rounding; simulate")  # fmt: skip
    energy = found.raw[:, 1] + found.correction[:, 1]
    for row in np.flatnonzero((risk < least - _CONTOUR * whole) | (energy < -_CONTOUR * whole)).tolist():
        failures.setdefault(row, "equivalent: expected an energy >= 0 and a risk that an update of the rank can have, "
            f"at least {least[row]:.6g}, received {energy[row]:.3g} and {risk[row]:.6g}: the correction is larger than "
            "what it corrects; move n, raise ridge, or simulate")  # fmt: skip
    return np.maximum(risk, least), failures


def rank_of_full_fit(problem: Problem) -> int:
    """The rank at which LoRA is FFT: that of F, min(n, dx, dy) or less where noise does not reach all outputs."""
    if problem.noise_trace == 0:
        return min(problem.max_rank, int(np.count_nonzero(np.asarray(problem.spectrum))))
    noise = problem.noise_covariance
    if noise is None or (noise.ndim == 1 and np.all(noise > 0)):
        return problem.max_rank
    reached = (problem.shift @ problem.sigma) @ problem.shift.T + problem.sigma_eps
    return min(problem.max_rank, int(np.linalg.matrix_rank(reached, hermitian=True)))
