"""Forgetting: how far the update moves the model on its pretraining inputs, by theory.

    forgetting(D) = ||D Sigma_pre^{1/2}||_F^2,      Sigma_pre: second moments of the pretraining inputs

The pretrained map is taken to be right on them, so this is the excess risk that fine-tuning causes there.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory import notes as words
from linreg_lora.theory.contours import doubt
from linreg_lora.theory.contours.functionals import fft_functionals
from linreg_lora.theory.effective import distance_from_threshold, effective_regularisation
from linreg_lora.theory.equivalent import interior_ranks
from linreg_lora.theory.fft import NEAR, require_expansion
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.rescaled import without_negligible_ridge

OVERDETERMINED = "||Delta Sigma_pre^{1/2}||^2 + Tr(Sigma_eps) Tr(Sigma^{-1} Sigma_pre) / (n - dx - 1), exact"
UNDERDETERMINED = "Tr Delta E[P Sigma_pre P] Delta^T + Tr(Sigma_eps) Tr(Sigma_pre) n / (c dx (dx - n - 1)), exact"
EQUIVALENT = "Tr Delta B Sigma_pre B Delta^T + c (Tr(Sigma_eps) + kappa^2 Tr Delta Sigma (Sigma + kappa)^-2 Delta^T), deterministic equivalent"  # fmt: skip  # noqa: E501


@dataclass(frozen=True)
class Forgetting:
    """Expected forgetting of LoRA at some ranks, and of FFT; units of the risk.

    `forgetting` includes the finite-size correction, `raw` does not. Rank 0 forgets nothing; at full rank LoRA is FFT,
    by `fft_formula`. `gap`: ranks that a spectral gap separates from the next. `flagged` and `fft_flagged`: what may be
    off by more than 1 % (`doubt`). `failures`: why a rank is nan; `note`: one line on all this.
    """

    ranks: Int[np.ndarray, "m"]
    forgetting: Float[np.ndarray, "m"]
    raw: Float[np.ndarray, "m"]
    gap: Bool[np.ndarray, "m"]
    fft_forgetting: float
    fft_formula: str
    flagged: Bool[np.ndarray, "m"]
    fft_flagged: bool
    failures: dict[int, str]

    @property
    def note(self) -> str:
        interior = [int(rank) for rank in self.ranks[self.flagged]]
        notes = words.reasons(self.failures)
        notes += (
            [f"forgetting, by formula, may be off by more than 1 %: rank {words.spans(interior)}"] if interior else []
        )
        notes += ["forgetting of FFT, by formula, may be off by more than 1 %"] if self.fft_flagged else []
        return "; ".join(notes)


def expected_forgetting(
    problem: Problem,
    ranks: object = None,
    pretraining_covariance: np.ndarray | None = None,
    *,
    correction: bool = True,
) -> Forgetting:
    """E ||D_r Sigma_pre^{1/2}||_F^2 by the deterministic equivalent (`functionals`), T3(x_r) with N(x_r) = r.

    `ranks` in 0..min(n, dx, dy), default all; `pretraining_covariance` Sigma_pre, in the coordinates of Delta's
    columns: None for the identity, a length-dx vector or a dx x dx matrix, which need not commute with anything. Ranks
    that were not solved, or to which the equivalent does not reach, are nan, and `failures` says why. Raises
    `InvalidInput` where no mean exists, and for a singular Sigma, whose null directions the update never sees.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_forgetting(problem, ranks=[0, 2, 20])
    >>> found.forgetting.round(3).tolist()
    [0.0, 15.076, 27.714]
    >>> f"FFT: {14 + 20 * 24 / 35:.3f}"
    'FFT: 27.714'
    """
    problem.require_gaussian("forgetting")
    chosen = valid_ranks(ranks, problem)
    before = validation.covariance("pretraining_covariance", pretraining_covariance, problem.dx)
    if problem.input_rank < problem.dx:
        raise InvalidInput(
            "input_covariance", "full rank", f"rank {problem.input_rank} of {problem.dx}", "drop the null directions"
        )
    problem = without_negligible_ridge(problem)
    try:
        interior = interior_ranks(problem, chosen, correction=correction)
        full, raw_full, formula, fft_flagged = _of_full(problem, before, correction)
    except NumericalFailure as failure:
        return _refused(chosen, str(failure))
    found = functionals(problem, interior.astype(float), correction=correction, pretraining=before)
    values, raw = np.full(problem.max_rank + 1, full), np.full(problem.max_rank + 1, raw_full)
    values[0] = raw[0] = 0.0
    raw[interior] = found.raw[:, 3]
    change = found.correction[:, 3]
    values[interior] = found.raw[:, 3] + change
    failures = {int(interior[row]): message for row, message in found.failures.items()}
    for rank in np.flatnonzero(values < 0).tolist():
        failures.setdefault(rank, f"forgetting: expected a number >= 0, received {values[rank]:.3g}: the correction is "
                            "larger than what it corrects; move n, raise ridge, or simulate")  # fmt: skip
    values[list(failures)] = np.nan
    gap, flagged = np.zeros(problem.max_rank + 1, dtype=bool), np.zeros(problem.max_rank + 1, dtype=bool)
    gap[interior], gap[0] = found.gap > 0, True
    if interior.size:
        flagged[interior] = doubt.flags(problem, interior, found, found.raw[:, 3], change, found.curvature[:, 3])
    flagged[problem.max_rank] = fft_flagged
    return Forgetting(
        ranks=chosen,
        forgetting=values[chosen],
        raw=raw[chosen],
        gap=gap[chosen],
        fft_forgetting=full,
        fft_formula=formula,
        flagged=flagged[chosen],
        fft_flagged=fft_flagged,
        failures=failures,
    )


def _of_full(problem: Problem, before: np.ndarray | None, correction: bool) -> tuple[float, float, str, bool]:
    """FFT's forgetting, corrected and raw, its formula, and whether it is flagged."""
    raw, formula, exact = fft_forgetting(problem, before)
    if exact or not correction:
        return raw, raw, formula, not exact
    require_expansion(problem)
    full = raw + float(fft_functionals(problem, correction=True, pretraining=before).correction[0, 3])
    return full, raw, formula, distance_from_threshold(problem) < NEAR


def _refused(ranks: Int[np.ndarray, "m"], reason: str) -> Forgetting:
    known = ranks == 0
    values = np.where(known, 0.0, np.nan)
    failures = dict.fromkeys(ranks[~known].tolist(), reason)
    return Forgetting(ranks, values, values, known, math.nan, "none", np.zeros_like(known), False, failures)


class FFTForgetting(NamedTuple):
    """What FFT forgets, in squared units of y; `formula`: which result was used; `exact`: it is no equivalent."""

    forgetting: float
    formula: str
    exact: bool = True


def fft_forgetting(problem: Problem, pretraining_covariance: np.ndarray | None = None) -> FFTForgetting:
    """E ||D_FFT Sigma_pre^{1/2}||_F^2, and which formula gave it.

    Ridgeless, n > dx + 1, exact: D_FFT - Delta = E X^+ and E (X X^T)^{-1} = Sigma^{-1} / (n - dx - 1), so

        ||Delta Sigma_pre^{1/2}||^2 + Tr(Sigma_eps) Tr(Sigma^{-1} Sigma_pre) / (n - dx - 1)

    Ridgeless, n < dx - 1, Sigma = c I, exact: D_FFT = Delta P + E X^+ with P a uniformly distributed projection of rank
    n, for which E[P A P] = (n/dx - b dx) A + b Tr(A) I, b = n (dx - n) / (dx (dx - 1) (dx + 2)), so

        Tr Delta E[P Sigma_pre P] Delta^T + Tr(Sigma_eps) Tr(Sigma_pre) n / (c dx (dx - n - 1))

    Otherwise the deterministic equivalent, with kappa and df2 as for the risk and B = Sigma (Sigma + kappa)^{-1},

        Tr Delta B Sigma_pre B Delta^T + c [ Tr(Sigma_eps) + kappa^2 Tr Delta Sigma (Sigma + kappa)^{-2} Delta^T ],
        c = Tr Sigma_pre Sigma (Sigma + kappa)^{-2} / (n - df2)

    Derived here; the last from eta Q ~ kappa (Sigma + kappa)^{-1} and eta^2 Q A Q ~ kappa^2 (Sigma + kappa)^{-1} (A + c
    Sigma) (Sigma + kappa)^{-1} for Q = (X X^T + eta)^{-1}, and Q X X^T Q = d(eta Q) / d eta with d kappa / d eta = 1 /
    (n - df2). Sigma must have full rank. Inf where the mean does not exist.
    """
    problem.require_gaussian("forgetting")
    if problem.moments is Moments.NO_MEAN:
        return FFTForgetting(math.inf, problem.moments_note)
    before = np.ones(problem.dx) if pretraining_covariance is None else pretraining_covariance
    before = np.diag(before) if before.ndim == 1 else before
    n, dx, shift = problem.n, problem.dx, problem.shift
    remembered = float(np.sum((shift @ before) * shift))
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        if problem.noise_trace == 0:
            return FFTForgetting(remembered, OVERDETERMINED)
        spread = float(np.trace(np.linalg.solve(problem.sigma, before)))
        return FFTForgetting(remembered + problem.noise_trace * spread / (n - dx - 1), OVERDETERMINED)
    if problem.ridge == 0 and (scale := problem.isotropic_scale) is not None:
        b = n * (dx - n) / (dx * (dx - 1) * (dx + 2))
        signal = (n / dx - b * dx) * remembered + b * float(np.trace(before)) * float(np.sum(shift**2))
        noise = problem.noise_trace * float(np.trace(before)) * n / dx / scale
        return FFTForgetting(signal + (noise / (dx - n - 1) if noise else 0.0), UNDERDETERMINED)
    values, basis = np.linalg.eigh(problem.sigma)
    kappa = effective_regularisation(values, n, problem.ridge)
    share, rest = values / (values + kappa), kappa / (values + kappa)
    rotated, before = shift @ basis, basis.T @ before @ basis
    free = problem.ridge / kappa + float(np.sum(share * rest))  # n - df2 without cancellation
    c = float(np.sum(np.diag(before) * share / (values + kappa))) / free
    missed = float(np.sum(rotated**2 * (rest * kappa * share)))
    kept = float(np.sum(((rotated * share) @ before) * (rotated * share)))
    return FFTForgetting(kept + c * (problem.noise_trace + missed), EQUIVALENT, exact=False)
