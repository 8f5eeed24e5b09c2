"""Tests on every draw, which need no statistics but what rounding allows."""

import numpy as np

from linreg_lora.claims import statistics
from linreg_lora.claims.cases import describe
from linreg_lora.claims.evidence import Comparison, Measured
from linreg_lora.claims.schema import Claim
from linreg_lora.claims.vocabulary import Verdict


def compare(claim: Claim, name: str, measured: list[Measured]) -> list[Comparison]:
    """Relative excess of every draw over its rounding tolerance; a matrix statistic counts by its Frobenius norm.

    Nearly all draws must be conditioned well enough to show a discrepancy of `detects`.
    """
    return [_compare(claim, name, at) for at in measured]


def _compare(claim: Claim, name: str, at: Measured) -> Comparison:
    sample = at.sample
    assert sample.tolerance is not None, f"{claim.experiment.name} measures no tolerance"
    assert sample.scale is not None, f"{claim.experiment.name} measures no scale"
    own = name == claim.prediction
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = at.predicted[name]
        if predicted.shape not in ((), sample.statistic.shape):
            raise ValueError(f"{name} predicts shape {predicted.shape} for a statistic of {sample.statistic.shape}")
        difference = sample.statistic - predicted
        relative = (_norms(difference) if difference.ndim > 1 else difference) / sample.scale
    excess = {"equals": np.abs(relative), "at-most": relative, "at-least": -relative}[claim.relation or "equals"]
    excess = np.where(np.isnan(excess), np.inf, excess)
    violated = excess > sample.tolerance
    share = float(np.mean(violated))
    informative = sample.tolerance <= claim.detects
    allowed = float(np.max(sample.tolerance[informative], initial=0.0)) if np.any(informative) else np.inf
    if own and np.any(violated):
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.HOLDS if np.mean(informative) >= statistics.POWER else Verdict.INCONCLUSIVE
    trials = len(violated)
    numbers = {
        "worst": float(np.max(excess)),
        "tolerance": allowed,
        "violated_share": share,
        "rarest_violation_found": statistics.rarest_violation_found(trials),
        "trials": trials,
    }
    return Comparison(
        case=describe(at.case),
        column="",
        verdict=verdict,
        rejected=not own and bool(np.any(violated)),
        power=1 - (1 - share) ** trials if not own else float(np.mean(informative)),
        detectable=allowed,
        trials_needed=trials,
        numbers=numbers,
        gap=float(np.max(np.nan_to_num(_norms(predicted - at.predicted[claim.prediction]) / sample.scale, nan=np.inf))),
    )


def _norms(values: np.ndarray) -> np.ndarray:
    """The absolute value of each draw's entry, or the Frobenius norm of its matrix."""
    if values.ndim < 2:
        return np.abs(values)
    return np.sqrt(np.sum(values**2, axis=tuple(range(1, values.ndim))))
