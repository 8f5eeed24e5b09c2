"""Whether a claim's evidence is fine enough to show the mistakes that a false claim would hide.

resolution    A wrong formula is most often off by one: n for n - 1, dx for dx + 1, a rank too many. So a prediction is
              asked what it says of the same case with one sample more, one input or one output without shift more, one
              rank more, and, of a low-rank shift, one direction more. Where `detects` is coarser than each such change
              in every case, a large bias, or noise, or the resolution itself could hide the mistake.
hidden part   Shift and noise each are at least `detects` of the outputs' variance in some case: what a claim says of
              a part that is not there is not tested.
covariance    A prediction that changes where Sigma, or Sigma_eps, is no multiple of the identity speaks of it, and is
              tested where it is none.

A claim with coarser evidence says so, and is shown with it: `Claim.resolves`, `Claim.assumes`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import spectra
from linreg_lora.claims import registry
from linreg_lora.claims.evidence import Measured
from linreg_lora.claims.moves import LARGER, is_isotropic
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import Claim
from linreg_lora.claims.vocabulary import Kind
from linreg_lora.problem import Problem

#: What a prediction may do with a case that it was not made for.
REFUSALS = (Exception,)
#: Draws that a prediction is asked about: what moves with a size moves on any of them.
_FEW = 16
#: Condition number of the covariance that a prediction is shown in place of c I.
_CONDITION = 9.0
_SEED = 3
#: Covariance -> the field of a domain whose change is a condition on its shape.
_CONDITION_ON = {"input_covariance": "input_condition", "noise_covariance": "noise_condition"}
#: Relative changes up to this are taken for rounding.
_ROUNDING = 1e3 * np.finfo(float).eps


class _Design(NamedTuple):
    """A case that is a Gaussian design, and a few of its draws."""

    case: Problem
    few: Sample


def objection(claim: Claim, measured: Sequence[Measured]) -> str:
    """Why evidence in favour of a claim could hide a mistake, as one line with the remedy; empty where it could not."""
    designs = [_Design(at.case, few_draws(at.sample)) for at in measured if isinstance(at.case, Problem)]
    return _coarse(claim, measured) or _hidden(claim, designs) or _unseen_covariance(claim, designs)


def _coarse(claim: Claim, measured: Sequence[Measured]) -> str:
    """Only of claims that state a value: a bound may be anywhere on its side, and a limit knows no single unit."""
    if claim.kind is not Kind.IDENTITY and claim.relation != "equals":
        return ""
    units = {size: getattr(claim.resolves, size) for size in (*LARGER, "rank")}
    largest: dict[str, float] = {}
    for at in measured:
        for size, change in unit_changes(claim.prediction, at, units).items():
            largest[size] = max(largest.get(size, 0.0), change)
        if largest and min(largest.values()) >= claim.detects:
            return ""
    for size, change in largest.items():
        if change < claim.detects:
            unit = "one unit" if units[size] == 1 else f"{units[size]} units"
            return (
                f"resolution: {unit} of {size} changes the prediction by {change:.3g} at most, less than detects = "
                f"{claim.detects:g}; lower detects, or say in resolves how many units the evidence shows"
            )
    return ""


def _hidden(claim: Claim, designs: Sequence[_Design]) -> str:
    for part in ("shift", "noise"):
        stated = getattr(claim.resolves, part)
        wanted = claim.detects if stated is None else stated
        shares = [_share(design.case, part) for design in designs]
        if not shares or max(shares) >= wanted:
            continue
        if claim.kind is Kind.ASYMPTOTIC and not _depends_on_part(claim.prediction, designs[-1], part):
            continue
        return (
            f"hidden part: the {part} is {max(shares):.2g} of the outputs' variance at most, less than {wanted:g}; "
            f"choose a domain where it matters, or say its share in resolves.{part}"
        )
    return ""


def _share(case: Problem, part: str) -> float:
    """The shift's or the noise's part of the variance of the residual outputs y - A0 x."""
    shift, noise = case.pretrained_risk, case.noise_trace
    return (shift if part == "shift" else noise) / (shift + noise) if shift + noise > 0 else 0.0


def _depends_on_part(prediction: str, design: _Design, part: str) -> bool:
    case, few = design
    if part == "noise":
        other = case.replace(noise_std=2 * case.noise_std)
    else:
        other = case.replace(spectrum=tuple(2 * value for value in case.spectrum or ()))
    return change(value(prediction, case, few), value(prediction, other, few)) > 0


def _unseen_covariance(claim: Claim, designs: Sequence[_Design]) -> str:
    for covariance in ("input_covariance", "noise_covariance"):
        if covariance in claim.assumes or _CONDITION_ON[covariance] in claim.changed.split(", "):
            continue
        if not all(is_isotropic(design.case, covariance) for design in designs):
            continue
        if any(_depends_on(claim.prediction, design, covariance) for design in designs[:1]):
            return (
                f"covariance: the prediction depends on {covariance}, a multiple of the identity in every case; set a "
                f"condition in the domain, or say assumes: [{covariance}]"
            )
    return ""


def unit_changes(prediction: str, at: Measured, units: dict[str, int]) -> dict[str, float]:
    """How far a prediction moves, relative to its value, when a size grows by its number in `units`.

    Of a statistic with columns the largest change counts: one column that shows a mistake is enough. A size that the
    prediction does not depend on, or for which it refuses the larger case, is left out.
    """
    few = few_draws(at.sample)
    before = value(prediction, at.case, few)
    larger = {size: value(prediction, *case) for size, *case in _larger_cases(at.case, few, units)}
    changes = {size: change(before, after) for size, after in larger.items()}
    return {size: change for size, change in changes.items() if change > 0}


def _depends_on(prediction: str, design: _Design, covariance: str) -> bool:
    """Whether a prediction changes where `covariance` (input_covariance or noise_covariance), a multiple of the
    identity here, has another shape and the same trace."""
    case, few = design
    size = case.dx if covariance == "input_covariance" else case.dy
    values = np.array(spectra.log_spaced(size, _CONDITION, 1.0))
    given = getattr(case, covariance)
    scale = 1.0 if given is None else float(np.mean(given if given.ndim == 1 else np.diagonal(given)))
    basis = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((size, size)))[0]
    other = case.replace(**{covariance: scale * (basis * (values / np.mean(values))) @ basis.T})
    return change(value(prediction, case, few), value(prediction, other, few)) > 0


def value(prediction: str, case: Any, sample: Sample) -> np.ndarray:
    """What a prediction says of a case, over the draws; nan where it refuses the case."""
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(registry.prediction(prediction).value(case, sample), dtype=float)
    except REFUSALS:
        return np.array([np.nan])
    return np.atleast_1d(np.mean(values, axis=0) if values.ndim else values)


def change(before: np.ndarray, after: np.ndarray) -> float:
    """How far a value moves, relative to what it was; 0 where it is not known on both sides, or moves by rounding."""
    if before.shape != after.shape:
        return 0.0
    with np.errstate(all="ignore"):
        change = np.abs(after - before) / np.abs(before)
    return float(np.max(change[np.isfinite(change) & (change > _ROUNDING)], initial=0.0))


def few_draws(sample: Sample) -> Sample:
    """The first draws of a sample; context that is not one entry a draw stays whole."""
    trials = len(sample.statistic)
    context = {
        name: value[:_FEW] if np.ndim(value) > 0 and len(value) == trials else value
        for name, value in sample.context.items()
    }
    return Sample(sample.statistic[:_FEW], context, columns=sample.columns)


def _larger_cases(case: Any, sample: Sample, units: dict[str, int]) -> Iterator[tuple[str, Any, Sample]]:
    if isinstance(case, Problem):
        for size, larger in LARGER.items():
            with contextlib.suppress(*REFUSALS):
                yield size, larger(case, units[size]), sample
    if "rank" in sample.context:
        more = np.asarray(sample.context["rank"]) + units["rank"]
        yield "rank", case, Sample(sample.statistic, {**sample.context, "rank": more}, columns=sample.columns)
