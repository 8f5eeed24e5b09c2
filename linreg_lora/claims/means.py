"""Tests on means: identities, bounds, and orderings."""

import numpy as np

from linreg_lora.claims import statistics
from linreg_lora.claims.cases import describe
from linreg_lora.claims.evidence import Comparison, Measured
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import Claim
from linreg_lora.claims.vocabulary import Kind, Verdict


def compare(claim: Claim, name: str, measured: list[Measured]) -> list[Comparison]:
    """Every column of every case against the prediction `name`; the claim's level is shared among them."""
    return [comparison for at in measured for comparison in _compare(claim, name, at, len(measured))]


def _compare(claim: Claim, name: str, at: Measured, n_cases: int) -> list[Comparison]:
    sample, statistic = at.sample, at.sample.statistic
    level = claim.false_alarm / (n_cases * statistic.shape[1])
    own = name == claim.prediction
    predicted, claimed = at.columns(name), at.columns(claim.prediction)
    out = []
    for i, column in enumerate(sample.columns):
        value = float(np.mean(predicted[:, i]))
        test = statistics.mean_test(statistic[:, i] - predicted[:, i], value, level)
        scale = _scale(claim, float(np.mean(claimed[:, i])), float(np.mean(statistic[:, i])), sample)
        if scale == 0:
            raise ValueError(f"expected {claim.prediction} not to be 0, which `detects` is relative to; claim a bound")
        detectable = test.detectable / scale
        apart = abs(float(np.mean(predicted[:, i] - claimed[:, i]))) / scale
        if own:
            power = statistics.power_against(claim.detects * scale, test.stderr, test.critical)
        else:
            gap = float(np.mean(predicted[:, i] - (statistic if _one_sided(claim) else claimed)[:, i]))
            power = statistics.power_against(gap, test.stderr, test.critical)
        numbers = {
            "mean": test.mean,
            "predicted": value,
            "stderr": test.stderr,
            "z": test.z,
            "critical": test.critical,
            "trials": test.trials,
        }
        if claim.kind in (Kind.UPPER_BOUND, Kind.LOWER_BOUND):
            numbers["slack"] = value / test.mean if claim.kind is Kind.UPPER_BOUND else test.mean / value
        out.append(
            Comparison(
                case=describe(at.case),
                column=column,
                verdict=_verdict_on_mean(claim, test, detectable),
                rejected=_rejects(claim, test) if not own else False,
                power=power,
                detectable=detectable,
                trials_needed=statistics.trials_that_decide(test, claim.detects * scale),
                numbers=numbers,
                gap=apart,
            )
        )
    return out


def _one_sided(claim: Claim) -> bool:
    """Whether a rival's distance is from what was measured, because the claim itself asserts no value."""
    return claim.kind is not Kind.IDENTITY


def _scale(claim: Claim, claimed: float, mean: float, sample: Sample) -> float:
    """What relative discrepancies are relative to: the claimed value, or FFT's risk where that may be zero."""
    if claim.kind is Kind.QUALITATIVE:
        return float(np.mean(sample.context["fft"])) if "fft" in sample.context else abs(mean)
    return abs(claimed)


def against(claim: Claim, c: Comparison) -> float:
    """Standard errors of a comparison's mean on the side that contradicts the claim; negative on the other."""
    z = c.numbers["z"]
    return {Kind.UPPER_BOUND: z, Kind.LOWER_BOUND: -z}.get(claim.kind, abs(z))


def _verdict_on_mean(claim: Claim, test: statistics.MeanTest, detectable: float) -> Verdict:
    above, below = test.z > test.critical, test.z < -test.critical
    if claim.kind is Kind.QUALITATIVE:
        if below:
            return Verdict.HOLDS if detectable <= claim.detects else Verdict.INCONCLUSIVE
        return Verdict.FAILS if above else Verdict.INCONCLUSIVE
    contradicted = {
        Kind.IDENTITY: above or below,
        Kind.UPPER_BOUND: above,
        Kind.LOWER_BOUND: below,
    }[claim.kind]
    if contradicted:
        return Verdict.FAILS
    return Verdict.HOLDS if detectable <= claim.detects else Verdict.INCONCLUSIVE


def _rejects(claim: Claim, test: statistics.MeanTest) -> bool:
    above, below = test.z > test.critical, test.z < -test.critical
    return {Kind.UPPER_BOUND: above, Kind.LOWER_BOUND: below}.get(claim.kind, above or below)
