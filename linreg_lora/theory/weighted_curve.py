"""Risk against rank for weighted samples: elliptical inputs, correlated samples, heteroscedastic noise.

    risk_r = ||Delta Sigma^{1/2}||_F^2 + T1(x_r) - 2 T2(x_r),      N(x_r) = r

by `weighted_contours`, with the first order in the dimension: for given weights, and averaged over weights that are
drawn. What is left is some square of what the first order changed, more at the first ranks below a spectral edge.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.input_law import Scales, Weighted
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory import weighted_fft
from linreg_lora.theory.effective import lower_edge
from linreg_lora.theory.fft import FFTRisk, fft_risk
from linreg_lora.theory.rare_weights import rare_weights
from linreg_lora.theory.weighted import Equation, Modes
from linreg_lora.theory.weighted_contours import Parts, at_ranks, of_everything

LORA = "LoRA: deterministic equivalent of weighted samples"
EQUIVALENT = "||Delta Sigma^(1/2)||^2 + T1 - 2 T2 over the whole spectrum, deterministic equivalent of weighted samples"

#: A first order above the first share of the risk leaves more than 1 %; above the second it says nothing.
_DOUBTFUL, _WORTHLESS = 0.07, 1 / 3
#: What rare draws may move without doubt.
_UNFLAGGED = 0.005
#: Ranks below a spectral edge that are in doubt, and by how much what the first order adds to N differs between ranks
#: with an edge between them.
_BESIDE_EDGE, _JUMP = 3, 0.05
#: The least risk, against ||Delta Sigma^(1/2)||^2, that contour integrals resolve.
_RESOLVED = 1e-6
#: Samples that are too few to be seen in any risk.
_UNSEEN = 1e-5
#: Ridges and weights whose sum is the limit of no ridge; none: the ridge is that of the equation.
_Limit = Sequence[tuple[float, float]]
#: Ridges, as shares of the least eigenvalue of X^T X, from which the limit of no ridge is extrapolated.
_RIDGES = np.array([8e-3, 4e-3, 2e-3, 1e-3])
#: Ridges below this share of it are none.
_NO_RIDGE = 1e-6


class Curve(NamedTuple):
    """At each rank asked for: `risk`, `flagged` (it may be off by more than 1 %); `failures`: why a rank is nan."""

    risk: Float[np.ndarray, "m"]
    flagged: Bool[np.ndarray, "m"]
    failures: dict[int, str]


def lora_risks(problem: Problem, ranks: Int[np.ndarray, "m"], full: FFTRisk, *, correction: bool) -> Curve:
    """The expected risk of LoRA at `ranks` between 0 and full rank, on weighted samples. `full`: FFT's risk.

    Raises `InvalidInput` where Delta, Sigma and Sigma_eps do not share their bases, `NumericalFailure` where the
    equations are not solved.
    """
    problem.require_centred("weighted samples by theory")
    reduced = problem.without_null_inputs()
    top = problem.max_rank - 1
    around = np.unique(np.clip(np.add.outer(ranks, np.arange(-_BESIDE_EDGE - 1, 2)), 1, top))
    found = _parts(
        reduced, lambda equation, right, limit: at_ranks(equation, right, around.astype(float), correction, limit)
    )
    place = np.searchsorted(around, ranks)
    whole = problem.pretrained_risk
    raw, change = whole + found.risk[place], found.correction[place]
    risk, failures = raw + change, {}
    values = problem.whitened_spectrum
    tails = np.append(np.cumsum(values[::-1] ** 2)[::-1], 0.0)
    for row, rank in enumerate(ranks.tolist()):
        least = tails[min(rank, len(values))]
        if math.isnan(risk[row]):
            failures[rank] = "weighted: expected a cut with so many directions above, received none; simulate"
        elif risk[row] < max(least - _RESOLVED * whole, _RESOLVED * whole):
            failures[rank] = (
                f"weighted: expected a risk of at least {max(least, _RESOLVED * whole):.6g}, received {risk[row]:.6g}: "
                "lost in rounding, or the correction is larger than what it corrects; simulate"
            )
            risk[row] = math.nan
        elif not abs(change[row]) < _WORTHLESS * abs(raw[row]):
            failures[rank] = (
                f"weighted: expected a correction below a third of the risk {raw[row]:.3g}, received "
                f"{change[row]:.3g}: a threshold is too near; move n, raise ridge, or simulate"
            )
            risk[row] = math.nan
        else:
            risk[row] = max(risk[row], least)
    moved = np.where(found.gap, np.nan, found.change[:, 0])
    jump = (np.abs(np.diff(moved)) > _JUMP) & (np.diff(around) == 1)
    edges = {0, *around[found.gap].tolist(), *around[:-1][jump].tolist(), *around[1:][jump].tolist()}
    beside = np.array([any(r - k in edges for k in range(_BESIDE_EDGE + 1)) for r in ranks.tolist()], dtype=bool)
    beside &= ~found.gap[place]
    rare = rare_weights(problem)
    flagged = (
        beside
        | (rare is not None and rare.mean > _UNFLAGGED)
        | (np.abs(change) > _DOUBTFUL * np.abs(raw))
        | full.flagged
        | (not correction)
        | (isinstance(problem.input_law, Weighted) and not problem.input_law.has_variance)
    )
    return Curve(risk, flagged, failures)


def weighted_fft_risk(problem: Problem, *, correction: bool = True) -> FFTRisk:
    """The expected risk of FFT on weighted samples, by the sharpest result that applies.

    All weights 1: that of Gaussian inputs, for the noise counts by its mean scale. Ridgeless, n < dx, Sigma = c I:
    exact. Ridgeless, n > dx, E[v | w] = 1: closed, corrected. Else the equivalent of LoRA at full rank, corrected.
    Flagged where the correction is more than 7 %. Raises `NumericalFailure` where it is more than a third.
    """
    problem.require_centred("weighted samples by theory")
    law = problem.input_law
    assert isinstance(law, Weighted)
    scales = law.scales(problem.n)
    if np.all(scales.w == 1):
        return fft_risk(problem.replace(input_law="gaussian"))
    reduced = problem.without_null_inputs()
    if reduced.ridge == 0 and reduced.regime is Regime.UNDERDETERMINED and reduced.isotropic_scale is not None:
        return weighted_fft.underdetermined(reduced, law.inverse_moment(problem.n))
    if reduced.ridge == 0 and reduced.regime is Regime.OVERDETERMINED and (reduced.noise_trace == 0 or _even(scales)):
        found = weighted_fft.overdetermined(reduced, scales, correction=correction)
        raw = weighted_fft.overdetermined(reduced, scales, correction=False).risk
    else:
        parts = _parts(reduced, lambda equation, right, limit: of_everything(equation, right, correction, limit))
        raw = problem.pretrained_risk + float(parts.risk[0])
        risk = raw + float(parts.correction[0])
        if not risk > _RESOLVED * problem.pretrained_risk:
            raise NumericalFailure(f"fft_risk: expected a risk > 0, received {risk:.3g}: lost in rounding; simulate")
        found = FFTRisk(math.nan, math.nan, EQUIVALENT, exact=False)._replace(bias=0.0, variance=risk)
    return _doubted(problem, found, raw, correction)


def _doubted(problem: Problem, found: FFTRisk, raw: float, correction: bool) -> FFTRisk:
    change = abs(found.risk - raw) / raw if raw > 0 else 0.0
    rare = rare_weights(problem)
    if rare is not None and rare.mean > _DOUBTFUL:
        raise NumericalFailure(
            f"fft_risk: expected rare draws of weights to move the mean by less than {100 * _DOUBTFUL:g} %, received "
            f"{100 * rare.mean:.2g} % from draws with too few samples of weight {rare.weight:.3g} or more; move n, "
            "raise ridge, or simulate"
        )
    if not change < _WORTHLESS:
        raise NumericalFailure(
            f"fft_risk: expected a correction below a third of the risk {raw:.3g}, received {found.risk - raw:.3g}: a "
            "threshold is too near; move n, raise ridge, or simulate"
        )
    doubtful = rare is not None and rare.mean > _UNFLAGGED
    if correction and change <= _DOUBTFUL and not doubtful:
        return found
    reason = (
        "draws of few samples of large weight carry some of it"
        if doubtful
        else f"its first-order correction is {100 * change:.2g} %"
        if correction
        else "it is not corrected"
    )
    return found._replace(flagged=True, note=f"FFT's risk may be off by more than 1 %: {reason}")


def _even(scales: Scales) -> bool:
    """Whether E[v | w] = 1 for every w."""
    values, place = np.unique(scales.w, return_inverse=True)
    mass = np.bincount(place, scales.p, len(values))
    return bool(np.allclose(np.bincount(place, scales.p * scales.v, len(values)) / mass, 1.0, rtol=1e-9, atol=0.0))


def _parts(problem: Problem, integrate: Callable[[Equation, float, _Limit], Parts]) -> Parts:
    """The parts of a problem of full rank; without ridge and with n < dx, their limit."""
    law = problem.input_law
    assert isinstance(law, Weighted)
    scales = law.scales(problem.n)
    modes, right = modes_of(problem), _largest_eigenvalue_bound(problem, scales)
    equation = Equation(problem.n, problem.ridge, modes, scales)
    under = problem.regime is Regime.UNDERDETERMINED
    if problem.regime is Regime.OVERDETERMINED or (problem.ridge > 0 and not under):
        return integrate(equation, right, ())
    if problem.regime is Regime.THRESHOLD:
        raise NumericalFailure(
            f"weighted: expected n != dx or ridge > 0, received n = dx = {problem.dx} and ridge = 0; move n "
            "or set a ridge"
        )
    variances = np.repeat(modes.variance, (modes.copies * modes.has_input).astype(int))
    edge = _extreme(scales.w, scales.p, problem.n, -1) * lower_edge(variances, problem.n)
    if problem.ridge > _NO_RIDGE * edge:
        return integrate(equation, right, ())
    ridges = _RIDGES * edge
    weights = [float(np.prod([other / (other - ridge) for other in ridges if other != ridge])) for ridge in ridges]
    limit = list(zip(ridges.tolist(), weights, strict=True))
    return integrate(equation._replace(ridge=float(ridges[-1])), right, limit)


def modes_of(problem: Problem) -> Modes:
    """The independent modes of a problem of full rank. Raises `InvalidInput` where its matrices share no bases."""
    even, scale = problem.isotropic_noise_scale, problem.isotropic_scale
    invariant = problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED
    pairs, size = min(problem.dx, problem.dy), max(problem.dx, problem.dy)
    table = np.zeros((size, 5))
    table[: problem.dx, 3], table[: problem.dy, 4] = 1, 1
    if even is not None and (invariant or scale is not None):
        strengths = problem.whitened_spectrum if scale is None else np.asarray(problem.spectrum)
        table[: problem.dx, 0] = 1.0 if scale is None else scale
        table[: problem.dy, 2] = even * problem.noise_std**2
    else:
        covariances = (problem.input_covariance, problem.noise_covariance)
        if problem.task_shift is not None or any(c is not None and c.ndim == 2 for c in covariances):
            raise InvalidInput(
                "input_covariance", "covariances and a shift that are diagonal, with an input law of weighted samples, "
                "unless n > dx, ridge = 0 and the noise is isotropic", "matrices", "simulate it (monte_carlo)",
            )  # fmt: skip
        strengths = np.asarray(problem.spectrum)
        table[: problem.dx, 0] = 1.0 if problem.input_covariance is None else problem.input_covariance
        shape = 1.0 if problem.noise_covariance is None else problem.noise_covariance
        table[: problem.dy, 2] = problem.noise_std**2 * shape
    count = min(len(strengths), pairs)
    table[:count, 1] = strengths[:count]
    rows, copies = np.unique(table, axis=0, return_counts=True)
    variance, strength, noise, has_input, has_output = rows.T
    return Modes(variance, strength, noise, has_input, has_output, copies.astype(float))


def _extreme(values: np.ndarray, probabilities: np.ndarray, n: int, sign: int) -> float:
    """The largest (`sign` 1) or smallest (-1) scale beyond which fewer than `_UNSEEN` of n samples lie."""
    order = np.argsort(sign * values)[::-1]
    seen = n * np.cumsum(probabilities[order]) > _UNSEEN
    return float(values[order][np.argmax(seen)])


def _largest_eigenvalue_bound(problem: Problem, scales: Scales) -> float:
    """Where to close the contours, above the spectrum of F F^T: as for Gaussian inputs, times the largest scales.

    Of drawn scales the largest that n samples see.
    """
    modes = modes_of(problem)
    w, v = (_extreme(values, scales.p, problem.n, 1) for values in (scales.w, scales.v))
    strength = math.sqrt(w) * float(np.max(modes.strength * np.sqrt(modes.variance)))
    noise = math.sqrt(v * float(np.max(modes.noise)))
    n, dx, dy = math.sqrt(problem.n), math.sqrt(problem.dx), math.sqrt(problem.dy)
    return 1.6 * (strength * (n + dx) + noise * (n + dy)) ** 2
