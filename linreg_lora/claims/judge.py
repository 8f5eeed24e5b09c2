"""One claim, its evidence, and a verdict. Every kind has its own test.

    identity       |mean - prediction| within its critical value, and small discrepancies detectable
    upper_bound    mean <= prediction, unless significantly above;  lower_bound: the reverse
    qualitative    mean significantly below the prediction (a margin of the critical value in standard errors)
    pathwise       the relation holds on every draw, up to the rounding error its conditioning allows

A claim that fails `holds-with-correction` where the claim that corrects it holds. A claim with a condition
`holds-under` it where it holds inside and fails in every case outside.

A verdict is `inconclusive` when the draws are too few to find the discrepancy that the claim states (`detects`), or to
reject a rival: a check that nothing could have failed is not evidence.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from linreg_lora.claims import registry, statistics
from linreg_lora.claims.cases import cases, describe, seed_of
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import Claim, Domain, Kind, Rival, Verdict
from linreg_lora.errors import InvalidInput


@dataclass(frozen=True)
class Comparison:
    """One test: a statistic of one case against the claim's prediction, or a rival's."""

    case: str
    column: str
    verdict: Verdict
    rejected: bool
    power: float
    """Probability of rejecting the prediction if the truth were the claim's (rivals), or of finding a discrepancy of
    `detects` (the claim's own); for pathwise claims' own the share of draws conditioned well enough to show one."""
    detectable: float
    """Relative discrepancy found with probability 0.99; for pathwise claims the rounding error allowed."""
    trials_needed: int
    """Draws that would find a discrepancy of `detects`."""
    numbers: dict[str, float]


@dataclass(frozen=True)
class RivalJudgement:
    """A rival is rejected when at least one comparison of the claim rejects it; `comparison` is the sharpest."""

    prediction: str
    mistake: str
    rejected: bool
    comparison: Comparison


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict and all that led to it."""

    claim: Claim
    verdict: Verdict
    reason: str
    comparisons: list[Comparison] = field(repr=False)
    rivals: list[RivalJudgement] = field(repr=False)
    seconds: float
    outside: list[Comparison] = field(default_factory=list, repr=False)
    """The comparisons outside of the claim's condition, if it has one."""

    @property
    def as_expected(self) -> bool:
        return self.verdict is self.claim.expected

    @property
    def power(self) -> float:
        """The least power of any comparison of the claim."""
        return min(c.power for c in self.comparisons)

    @property
    def detectable(self) -> float:
        """The largest relative discrepancy that some comparison needs to be found with probability 0.99."""
        return max(c.detectable for c in self.comparisons)


def judge(claim: Claim, seed: int, correction: Claim | None = None) -> Judgement:
    """Run a claim's experiment on every case of its domain and judge it and its rivals on the same draws.

    `correction`: the claim that holds instead, judged too where this one fails.
    """
    began = time.monotonic()
    own, *rivals = _compare(claim, claim.domain, seed, [rival.prediction for rival in claim.rivals])
    judged = [_judge_rival(rival, comparisons) for rival, comparisons in zip(claim.rivals, rivals, strict=True)]
    verdict, reason = _conclude(claim, own, judged)
    outside = []
    if verdict is Verdict.HOLDS and claim.outside is not None:
        (outside,) = _compare(claim, claim.outside, seed, [])
        verdict, reason = _conclude_outside(outside)
    if verdict is Verdict.FAILS and correction is not None:
        instead = judge(correction, seed)
        if instead.verdict is Verdict.HOLDS:
            verdict, reason = Verdict.HOLDS_WITH_CORRECTION, f"{reason}; {correction.id} holds instead"
        else:
            reason = f"{reason}; its correction {correction.id}: {instead.verdict}"
    return Judgement(claim, verdict, reason, own, judged, time.monotonic() - began, outside)


def _compare(claim: Claim, domain: Domain, seed: int, rivals: list[str]) -> list[list[Comparison]]:
    """The comparisons of a claim's prediction, and of each rival's, over the cases of a domain."""
    experiment = registry.experiment(claim.experiment.name)
    compare = _compare_pathwise if claim.kind is Kind.PATHWISE else _compare_means
    try:
        measured = [
            (case, experiment.run(case, claim.experiment.trials, seed_of(case, seed), **claim.experiment.settings))
            for case in cases(domain)
        ]
        names = (claim.prediction, *rivals)
        predicted = [_predictions(names, case, sample) for case, sample in measured]
        return [
            [
                c
                for (case, sample), values in zip(measured, predicted, strict=True)
                for c in compare(claim, name, values, case, sample, len(measured))
            ]
            for name in names
        ]
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InvalidInput(claim.id, "an experiment and predictions that run", problem) from error


def _predictions(names: Sequence[str], case, sample: Sample) -> dict[str, np.ndarray]:
    """What each prediction says of a sample; numbers that overflow are found by the comparisons."""
    with np.errstate(over="ignore", invalid="ignore"):
        return {name: np.asarray(registry.prediction(name).value(case, sample), dtype=float) for name in names}


def _conclude_outside(comparisons: list[Comparison]) -> tuple[Verdict, str]:
    holding = [c.case for c in comparisons if c.verdict is not Verdict.FAILS]
    if not holding:
        return Verdict.HOLDS_UNDER, ""
    if len(holding) == len(comparisons) and all(c.verdict is Verdict.HOLDS for c in comparisons):
        return Verdict.HOLDS, "it holds outside of its condition too"
    return Verdict.INCONCLUSIVE, f"outside of its condition it does not fail at {holding[0]}"


def _judge_rival(rival: Rival, comparisons: list[Comparison]) -> RivalJudgement:
    sharpest = max(comparisons, key=lambda c: (c.rejected, c.power))
    return RivalJudgement(rival.prediction, rival.mistake, sharpest.rejected, sharpest)


def _conclude(claim: Claim, own: list[Comparison], rivals: list[RivalJudgement]) -> tuple[Verdict, str]:
    for verdict in (Verdict.FAILS, Verdict.INCONCLUSIVE):
        for c in own:
            if c.verdict is verdict:
                where = " ".join(part for part in (c.case, c.column) if part)
                if verdict is Verdict.FAILS:
                    return verdict, f"the evidence is against it at {where}"
                return verdict, f"too few draws at {where}: {c.trials_needed} would decide"
    for rival in rivals:
        if not rival.rejected:
            return Verdict.INCONCLUSIVE, f"the rival {rival.prediction} is not rejected"
        if rival.comparison.power < statistics.POWER:
            return Verdict.INCONCLUSIVE, f"power {rival.comparison.power:.3f} against the rival {rival.prediction}"
    return Verdict.HOLDS, ""


# -- tests on means -----------------------------------------------------------------------------------------------


def _compare_means(
    claim: Claim, name: str, values: dict[str, np.ndarray], case, sample: Sample, n_cases: int
) -> list[Comparison]:
    statistic = sample.statistic
    level = claim.false_alarm / (n_cases * statistic.shape[1])
    own = name == claim.prediction
    predicted = _as_columns(values[name], statistic)
    claimed = _as_columns(values[claim.prediction], statistic)
    out = []
    for i, column in enumerate(sample.columns):
        value = float(np.mean(predicted[:, i]))
        test = statistics.mean_test(statistic[:, i] - predicted[:, i], value, level)
        scale = _scale(claim, float(np.mean(claimed[:, i])), float(np.mean(statistic[:, i])), sample)
        detectable = test.detectable / scale
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
                case=describe(case),
                column=column,
                verdict=_verdict_on_mean(claim, test, detectable),
                rejected=_rejects(claim, test) if not own else False,
                power=power,
                detectable=detectable,
                trials_needed=_trials_needed(test, detectable, claim.detects),
                numbers=numbers,
            )
        )
    return out


def _as_columns(values: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """A prediction (one number, one a draw, or one a draw and column) in the shape of the statistic."""
    return np.broadcast_to(values[:, None] if values.ndim == 1 else values, statistic.shape)


def _one_sided(claim: Claim) -> bool:
    """Whether a rival's distance is from what was measured, because the claim itself asserts no value."""
    return claim.kind is not Kind.IDENTITY


def _scale(claim: Claim, claimed: float, mean: float, sample: Sample) -> float:
    """What relative discrepancies are relative to: the claimed value, or FFT's risk where that may be zero."""
    if claim.kind is Kind.QUALITATIVE:
        return float(np.mean(sample.context["fft"])) if "fft" in sample.context else abs(mean)
    return abs(claimed)


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


def _trials_needed(test: statistics.MeanTest, detectable: float, wanted: float) -> int:
    if not np.isfinite(detectable):
        return 10 * test.trials
    return statistics.trials_needed(test.trials, detectable, wanted)


# -- pathwise tests -----------------------------------------------------------------------------------------------


def _compare_pathwise(
    claim: Claim, name: str, values: dict[str, np.ndarray], case, sample: Sample, n_cases: int
) -> list[Comparison]:
    """Relative excess of every draw over its rounding tolerance; a matrix statistic counts by its Frobenius norm.

    Nearly all draws must be conditioned well enough to show a discrepancy of `detects`.
    """
    assert sample.tolerance is not None, f"{claim.experiment.name} measures no tolerance"
    assert sample.scale is not None, f"{claim.experiment.name} measures no scale"
    own = name == claim.prediction
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = values[name]
        if predicted.shape not in ((), sample.statistic.shape):
            raise ValueError(f"{name} predicts shape {predicted.shape} for a statistic of {sample.statistic.shape}")
        difference = sample.statistic - predicted
        if difference.ndim > 1:
            difference = np.sqrt(np.sum(difference**2, axis=tuple(range(1, difference.ndim))))
        relative = difference / sample.scale
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
    return [
        Comparison(
            case=describe(case),
            column="",
            verdict=verdict,
            rejected=not own and bool(np.any(violated)),
            power=1 - (1 - share) ** trials if not own else float(np.mean(informative)),
            detectable=allowed,
            trials_needed=trials,
            numbers=numbers,
        )
    ]
