"""How the expected risk moves with sigma, with each singular value of the shift, with n and with the ridge."""

import contextlib
import functools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory import fft, notes
from linreg_lora.theory.continued import continued
from linreg_lora.theory.contours.functionals import assembled, with_planted
from linreg_lora.theory.contours.measured import from_traced
from linreg_lora.theory.contours.tangents import Sides, Tangents
from linreg_lora.theory.contours.traced import trace
from linreg_lora.theory.effective import input_variances, lower_edge
from linreg_lora.theory.equivalent import (
    can_be_corrected,
    interior_ranks,
    rank_of_full_fit,
    risk_of,
    solved,
)
from linreg_lora.theory.rescaled import in_units_of_the_inputs, louder, with_fewer_samples, without_negligible_ridge

PARAMETERS = ("noise_std", "spectrum", "n", "ridge")

#: Steps to either side, relatively: rounding leaves 1e-13 over it of a derivative, curvature its square.
_STEP = 3e-5
#: Singular values move by this share of the largest at least, n by no more than this share of the way to
#: n = dx, and a ridge by no more than this share of itself, because traces have a part like 1 / ridge.
_LEAST, _SHARE, _OF_RIDGE = 1e-2, 1e-3, 2e-3
#: Ridges, as shares of the smallest eigenvalue of X X^T, from which slopes at less are extrapolated: next to none the
#: part like 1 / ridge takes their digits.
_SHARES = np.array([2e-2, 1e-2, 5e-3, 2.5e-3])
#: Of the largest singular value: what is zero.
_NOTHING = 1e-14


class Slope(NamedTuple):
    """Derivatives with respect to one parameter: of the `risk` at each rank, of `fft_risk`, of their `difference`.

    With respect to the spectrum `risk` and `difference` are (ranks, singular values), and `fft_risk` one a value.
    """

    risk: Float[np.ndarray, "m"] | Float[np.ndarray, "m K"]
    fft_risk: float | Float[np.ndarray, "K"]
    difference: Float[np.ndarray, "m"] | Float[np.ndarray, "m K"]


@dataclass(frozen=True)
class Sensitivity:
    """Derivatives of the expected risk at some ranks, in units of the risk over those of the parameter.

    None where a parameter was not asked for. `flagged`: ranks whose risk itself may be off by more than 1 %, and with
    it its derivatives. `failures`: why a rank is nan.
    """

    problem: Problem
    ranks: Int[np.ndarray, "m"]
    noise_std: Slope | None
    spectrum: Slope | None
    n: Slope | None
    ridge: Slope | None
    flagged: Bool[np.ndarray, "m"]
    failures: dict[int, str]
    notes: tuple[str, ...]


def sensitivity(
    problem: Problem, ranks: object = None, *, to: Collection[str] = PARAMETERS, correction: bool = True
) -> Sensitivity:
    """d risk / d theta of LoRA at each rank, of FFT, and of their difference, by implicit differentiation.

        d risk_r / d theta = d/d theta ||Delta Sigma^{1/2}||^2 + d T1 / d theta - 2 d T2 / d theta

    of the numbers of `expected_risk` (`theory.contours.tangents`), some half a curve's work a parameter and distinct
    singular value. `to`: the parameters theta, of

    | `to`        | theta  | derivative                                                                             |
    |-------------|--------|----------------------------------------------------------------------------------------|
    | `noise_std` | sigma  | in units of y; 0 at sigma = 0                                                          |
    | `spectrum`  | s_i    | one a singular value, its directions fixed; 0 at s_i = 0                               |
    | `n`         | n      | of the formula continued between whole n                                               |
    | `ridge`     | eta    | without ridge the limit as it vanishes; nan where no variance exists without one        |

    The formula is analytic in n but where the exact density of the weakest inputs enters for n <= dx (Sigma = c I, with
    ridge): what that adds past the first order is a quadratic through three whole n. Relative errors against the exact
    derivative of the formula are below 1e-5 of it or, where that is more, of risk / theta; 1e-3 where noise is so
    little that it is scaled (`theory.rescaled`). A best rank, a crossing or a tuned ridge moves by ratios of these.

    Raises `InvalidInput` for ranks and parameters that do not exist, for inputs that are not Gaussian and where the
    mean is infinite, and `NumericalFailure` where no rank has an equivalent.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.sensitivity(problem, ranks=[0, 1, 3])
    >>> found.noise_std.risk.round(4).tolist()
    [0.0, 2.366, 9.3932]
    >>> found.spectrum.risk.round(4).tolist()
    [[6.0, 4.0, 2.0], [-0.1917, 4.3435, 2.0515], [-0.0387, -0.1354, -1.5224]]
    """
    problem.require_gaussian("the deterministic equivalent")
    unknown = [name for name in to if name not in PARAMETERS]
    if unknown or isinstance(to, str):
        raise InvalidInput("to", f"some of {', '.join(PARAMETERS)}", to if isinstance(to, str) else unknown[0])
    chosen = valid_ranks(ranks, problem)
    base = without_negligible_ridge(problem)
    if base.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", base.moments_note)
    corrected = correction and can_be_corrected(base)
    curve = _Curve(base, chosen, corrected)
    failures = curve.failures
    said = [notes.UNCORRECTED] if correction and not corrected else []
    slopes: dict[str, Slope | None] = dict.fromkeys(PARAMETERS)
    if "noise_std" in to:
        slopes["noise_std"] = curve.slope(lambda by: {"noise_std": base.noise_std + by}, _STEP * base.noise_std)
    if "spectrum" in to:
        slopes["spectrum"] = _by_singular_value(curve)
    if "n" in to:
        step = min(_STEP * base.n, _SHARE * (abs(base.distance_from_threshold) - 1) if base.ridge == 0 else math.inf)
        slopes["n"] = curve.slope(lambda by: {"n": base.n + by}, step)
    if "ridge" in to and base.ridge >= np.min(_SHARES) * _smallest(base):
        slopes["ridge"] = _by_ridge(curve)
    elif "ridge" in to:
        slopes["ridge"], more, remarks = _near_no_ridge(base, chosen, corrected)
        failures, said = more | failures, [*said, *remarks]
    return Sensitivity(
        problem=problem,
        ranks=chosen,
        flagged=curve.flagged,
        failures=failures,
        notes=(*said, *notes.reasons(failures)),
        **slopes,
    )


class _Part(NamedTuple):
    """Ranks whose risks are bias + (those of a problem with more noise - its bias) / factor, and its tangents.

    `places`: where they are among the ranks that were asked for; `rows`: where among those of the tangents.
    """

    places: Int[np.ndarray, "k"]
    rows: Int[np.ndarray, "k"]
    factor: float
    tangents: Tangents


class _Curve:
    """One problem at some ranks, ready to be differentiated."""

    def __init__(self, base: Problem, ranks: Int[np.ndarray, "m"], correction: bool) -> None:
        self.base, self.ranks, self.correction = continued(base), ranks, correction
        self.flagged, self.failures = np.zeros(len(ranks), dtype=bool), dict[int, str]()
        scaled = _scaled(self.base)
        interior = interior_ranks(in_units_of_the_inputs(base), ranks, correction=correction)
        little = louder(scaled) if interior.size else None
        quiet = np.zeros(len(interior), dtype=bool) if little is None else interior >= little.rank
        self.parts = [self._part(scaled, interior[~quiet], 1.0)] if np.any(~quiet) else []
        if little is not None and np.any(quiet):
            self.parts.append(self._part(scaled, interior[quiet], little.factor))
        self.full = ranks >= rank_of_full_fit(base.without_null_inputs())
        with contextlib.suppress(NumericalFailure):
            self.flagged |= self.full & fft.fft_risk(base).flagged

    def _part(self, scaled: Problem, interior: Int[np.ndarray, "k"], factor: float) -> _Part:
        problem, ranks = _louder_by(scaled, factor), interior.astype(float)
        with runtime.one_numpy_thread(), np.errstate(all="ignore"):
            reduced = problem.without_null_inputs()
            traced = trace(
                reduced, with_planted(reduced, ranks) if self.correction else ranks, correction=self.correction
            )
            found = assembled(reduced, from_traced(traced))
            tangents = Tangents(reduced, traced, found)
        said = solved(problem, interior, found.first(len(interior)), self.correction)
        places = np.flatnonzero(np.isin(self.ranks, interior))
        rows = np.searchsorted(interior, self.ranks[places])
        self.flagged[places] |= said.flagged[rows]
        self.failures |= {int(interior[row]): reason for row, reason in said.failures.items()}
        return _Part(places, rows, factor, tangents)

    def slope(self, change: Callable[[float], dict[str, Any]], step: float) -> Slope:
        """Derivatives with respect to a parameter that `change` moves by a number."""
        if step == 0:
            return Slope(np.zeros(len(self.ranks)), 0.0, np.zeros(len(self.ranks)))
        plus, minus = (self.base.replace(**change(by)) for by in (step, -step))

        def between(value: Callable[[Problem], float], p: Problem, m: Problem) -> float:
            return (value(p) - value(m)) / (2 * step)

        full = math.nan
        with contextlib.suppress(NumericalFailure):
            full = between(lambda p: fft.fft_risk(p).risk, plus, minus)
        risk = np.full(len(self.ranks), np.nan)
        risk[self.full] = full
        risk[self.ranks == 0] = between(lambda p: p.pretrained_risk, plus, minus)
        difference = risk - full
        for part in self.parts:
            above, below = (_louder_by(_scaled(side), part.factor) for side in (plus, minus))
            with runtime.one_numpy_thread(), np.errstate(all="ignore"):
                sides = Sides(above.without_null_inputs(), below.without_null_inputs(), step)
                loud = risk_of(part.tangents(sides))[part.rows]
            loud += between(lambda p: p.pretrained_risk, above, below)
            alike = between(lambda p: fft.as_lora(p, correction=self.correction), above, below)
            bias = 0.0
            if part.factor != 1:
                bias = between(lambda p: fft.as_lora(_louder_by(p, 0.0), correction=self.correction), above, below)
            risk[part.places] = bias + (loud - bias) / part.factor
            difference[part.places] = (loud - alike) / part.factor
        unknown = np.isin(self.ranks, list(self.failures))
        risk[unknown], difference[unknown] = np.nan, np.nan
        return Slope(risk, full, difference)


def _scaled(problem: Problem) -> Problem:
    return with_fewer_samples(in_units_of_the_inputs(problem))


def _louder_by(problem: Problem, factor: float) -> Problem:
    return problem if factor == 1 else problem.replace(noise_std=problem.noise_std * math.sqrt(factor))


def _by_singular_value(curve: _Curve) -> Slope:
    """One column a singular value; those that are alike, and zeros, are not repeated."""
    base, shift = curve.base, curve.base.task_shift
    values = np.asarray(base.spectrum)
    if not values.size:
        nothing = np.zeros((len(curve.ranks), 0))
        return Slope(nothing, np.zeros(0), nothing)
    largest, order = float(np.max(values)), np.arange(len(values))
    alike = order.astype(float)
    if shift is None:
        covariance = base.input_covariance
        if covariance is None or covariance.ndim == 1:
            alike = np.zeros(len(values)) if covariance is None else covariance[: len(values)]

        def change(place: int, by: float) -> dict[str, Any]:
            return {"spectrum": tuple(values + by * (order == place))}
    else:
        left, _, right = np.linalg.svd(shift, full_matrices=False)

        def change(place: int, by: float) -> dict[str, Any]:
            return {"task_shift": shift + by * np.outer(left[:, place], right[place])}

    kinds = np.stack([values, alike], axis=1)
    _, first, kind = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    slopes = []
    for place in first.tolist():
        value = float(values[place])
        step = _STEP * max(value, _LEAST * largest) if value > _NOTHING * largest else 0.0
        slopes.append(curve.slope(functools.partial(change, place), step))
    risk, full, difference = (np.stack(parts, axis=-1)[..., kind.ravel()] for parts in zip(*slopes, strict=True))
    return Slope(risk, full, difference)


def _smallest(problem: Problem) -> float:
    """About the smallest eigenvalue of X X^T that is not zero; 0 at n = rank(Sigma)."""
    if problem.regime is Regime.UNDERDETERMINED:
        return lower_edge(input_variances(problem), problem.n)
    return problem.smallest_variance * (math.sqrt(problem.n) - math.sqrt(problem.input_rank)) ** 2


def _by_ridge(curve: _Curve) -> Slope:
    ridge = curve.base.ridge
    step = min(_OF_RIDGE * ridge, _STEP * (ridge + _smallest(curve.base)))
    return curve.slope(lambda by: {"ridge": ridge + by}, step)


def _near_no_ridge(
    base: Problem, ranks: Int[np.ndarray, "m"], correction: bool
) -> tuple[Slope, dict[int, str], list[str]]:
    """The polynomial through derivatives at four larger ridges, which risks with a variance are analytic in."""
    if base.replace(ridge=0.0).moments is not Moments.FINITE:
        nothing = np.where(ranks == 0, 0.0, np.nan)
        note = f"no derivative in so small a ridge: without one {base.replace(ridge=0.0).moments_note}"
        return Slope(nothing, math.nan, np.full(len(ranks), np.nan)), {}, [note]
    ridges = _SHARES * _smallest(base)
    weights = [math.prod((other - base.ridge) / (other - at) for other in ridges if other != at) for at in ridges]
    curves = [_Curve(base.replace(ridge=at), ranks, correction) for at in ridges.tolist()]
    failures = {rank: reason for curve in curves for rank, reason in curve.failures.items()}
    slopes = zip(*(_by_ridge(curve) for curve in curves), strict=True)
    risk, full, difference = (np.tensordot(weights, np.stack(parts), 1) for parts in slopes)
    return Slope(risk, float(full), difference), failures, []
