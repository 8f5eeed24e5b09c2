"""One claim, its evidence, and a verdict. Every kind has its own test.

    identity       |mean - prediction| within its critical value, and small discrepancies detectable
    upper_bound    mean <= prediction, unless significantly above;  lower_bound: the reverse
    qualitative    mean significantly below the prediction (a margin of the critical value in standard errors)
    pathwise       the relation holds on every draw, up to the rounding error its conditioning allows
    asymptotic     at the largest size within `detects` of the limit, and the error falls at the stated rate

A claim that fails `holds-with-correction` where the claim that corrects it holds. A claim with a condition
`holds-under` it where it holds inside and fails in every case outside.

A verdict is `inconclusive` when the draws are too few to find the discrepancy that the claim states (`detects`), or to
reject a rival: a check that nothing could have failed is not evidence.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from linreg_lora.claims import limits, means, pathwise, registry, statistics
from linreg_lora.claims.cases import cases, seed_of
from linreg_lora.claims.domains import Domain
from linreg_lora.claims.evidence import Comparison, Measured
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import Claim, Rival
from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.errors import InvalidInput
from linreg_lora.runtime import one_blas_thread

#: The test of each kind; all others are tests on means.
_TESTS = {Kind.PATHWISE: pathwise, Kind.ASYMPTOTIC: limits}
#: Verdicts of statements that the evidence contradicts.
_FAILING = (Verdict.FAILS, Verdict.HOLDS_WITH_CORRECTION)


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


def judge_claim(claim: Claim, seed: int, correction: Claim | None = None) -> Judgement:
    """Run a claim's experiment on every case of its domain and judge it and its rivals on the same draws.

    `correction`: the claim that holds instead, judged too where this one fails.
    """
    with one_blas_thread():
        return _judge(claim, seed, correction)


def _judge(claim: Claim, seed: int, correction: Claim | None) -> Judgement:
    began = time.monotonic()
    own, *rivals = _compare(claim, claim.domain, seed, [rival.prediction for rival in claim.rivals])
    judged = [_judge_rival(rival, comparisons) for rival, comparisons in zip(claim.rivals, rivals, strict=True)]
    verdict, reason = _conclude(claim, own, judged)
    outside = []
    if verdict is Verdict.HOLDS and claim.outside is not None:
        (outside,) = _compare(claim, claim.outside, seed, [])
        verdict, reason = _conclude_outside(outside)
    if verdict is Verdict.FAILS and correction is not None:
        instead = _judge(correction, seed, None)
        if instead.verdict is Verdict.HOLDS:
            verdict, reason = Verdict.HOLDS_WITH_CORRECTION, f"{reason}; {correction.id} holds instead"
        else:
            reason = f"{reason}; its correction {correction.id}: {instead.verdict}"
    return Judgement(claim, verdict, reason, own, judged, time.monotonic() - began, outside)


def _compare(claim: Claim, domain: Domain, seed: int, rivals: list[str]) -> list[list[Comparison]]:
    """The comparisons of a claim's prediction, and of each rival's, over the cases of a domain."""
    experiment = registry.experiment(claim.experiment.name)
    names = (claim.prediction, *rivals)
    test = _TESTS.get(claim.kind, means)
    try:
        measured = []
        for case in cases(domain):
            sample = experiment.run(case, claim.experiment.trials, seed_of(case, seed), **claim.experiment.settings)
            measured.append(Measured(case, sample, _predictions(names, case, sample)))
        return [test.compare(claim, name, measured) for name in names]
    except Exception as error:
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
                if verdict is Verdict.INCONCLUSIVE:
                    return verdict, f"{_what_is_missing(c)} at {where}"
                unrejected = claim.expected in _FAILING and _unrejected(rivals)
                return (Verdict.INCONCLUSIVE, unrejected) if unrejected else (verdict, f"{_against(c)} at {where}")
    unrejected = _unrejected(rivals)
    return (Verdict.INCONCLUSIVE, unrejected) if unrejected else (Verdict.HOLDS, "")


def _against(c: Comparison) -> str:
    if "mean" not in c.numbers:
        return f"the evidence is against it, by up to {c.numbers['worst']:.3g} of its scale,"
    mean, predicted, stderr = (c.numbers[name] for name in ("mean", "predicted", "stderr"))
    return f"the evidence is against it: measured {mean:.5g} +- {stderr:.2g}, predicted {predicted:.5g},"


def _what_is_missing(c: Comparison) -> str:
    if "worst" in c.numbers:
        return "rounding hides what must be detected, at any number of draws: condition it better or raise detects,"
    needed, z = c.trials_needed, abs(c.numbers["z"])
    if needed <= c.numbers["trials"] and z > 0:
        needed = int(c.numbers["trials"] * ((c.numbers["critical"] + 2.5) / z) ** 2)
    return f"too few draws, {needed} would decide,"


def _unrejected(rivals: list[RivalJudgement]) -> str:
    """Why the rivals' tests do not count, if so: one that is not rejected, or that was rejected by luck."""
    for rival in rivals:
        c = rival.comparison
        if not rival.rejected or c.power < statistics.POWER:
            needed = statistics.trials_to_reject(int(c.numbers["trials"]), c.numbers.get("critical", np.inf), c.power)
            advice = "draws cannot tell it from the claim" if needed is None else f"{needed} draws would reject it"
            fate = f"rejected with power {c.power:.3f} only" if rival.rejected else "not rejected"
            return f"the rival {rival.prediction} is {fate}: {advice}"
    return ""
