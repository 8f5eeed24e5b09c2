"""One claim, its evidence, and a verdict. Every kind has its own test.

    identity       |mean - prediction| within its critical value, and small discrepancies detectable
    upper_bound    mean <= prediction, unless significantly above;  lower_bound: the reverse
    qualitative    mean significantly below the prediction (a margin of the critical value in standard errors)
    pathwise       the relation holds on every draw, up to the rounding error its conditioning allows
    asymptotic     at the largest size within `detects` of the limit, and the error falls at the stated rate

A claim that fails `holds-with-correction` where the claim that corrects it holds. A claim with a condition
`holds-under` it where it holds inside and fails in every case outside.

A verdict is `inconclusive` when the draws are too few to find the discrepancy that the claim states (`detects`), or to
reject a rival, or when the evidence could hide a mistake (`resolution`): a check that nothing could have failed is not
evidence. Rivals differ from the claim by more than `detects` in some case, and are rejected in every case where they
do; where claim or rival only bound the statistic, in one.

A mean more than `SUSPICIOUS` standard errors on the wrong side is drawn again with fresh seeds, four times as many
draws, and once more sixteen times as many. Each time it may fail; what is suspicious three times is no longer taken for
chance. A true claim is that with probability P(|z| > 4)^3 < 1e-11 a comparison, which its level has room for.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from linreg_lora.claims import limits, means, neighbours, pathwise, registry, resolution, statistics
from linreg_lora.claims.cases import cases, describe, seed_of
from linreg_lora.claims.domains import Case
from linreg_lora.claims.evidence import LOOKS, SUSPICIOUS, Comparison, Measured
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import LARGEST_TRIALS, Claim, Rival
from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.runtime import one_blas_thread
from linreg_lora.seeds import derived_seed

_Found = TypeVar("_Found")

#: The test of each kind; all others are tests on means.
_TESTS = {Kind.PATHWISE: pathwise, Kind.ASYMPTOTIC: limits}
#: Kinds that compare one mean with one number.
_ONE_MEAN = (Kind.IDENTITY, Kind.UPPER_BOUND, Kind.LOWER_BOUND)
#: Verdicts of statements that the evidence contradicts.
_FAILING = (Verdict.FAILS, Verdict.HOLDS_WITH_CORRECTION)


@dataclass(frozen=True)
class RivalJudgement:
    """Whether a rival is rejected wherever it must be; `comparison` is the sharpest of the case that decides, which is
    one without rejection if there is one."""

    prediction: str
    mistake: str
    rejected: bool
    comparison: Comparison
    differs: bool = True
    """Whether it is further from the claim than `detects` in some case."""


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
    looks: int = 1
    """How many times the claim's draws were made, each time more (`LOOKS`)."""

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


def judge_claim(
    claim: Claim, seed: int, correction: Claim | None = None, *, doubting: bool = True, near: bool = True
) -> Judgement:
    """Run a claim's experiment on every case of its domain and judge it and its rivals on the same draws.

    `correction`: the claim that holds instead, judged too where this one fails. `doubting`: whether evidence in favour
    is doubted (`resolution`); `near`: whether it then must hold near its cases too (`neighbours`), which takes as long
    again.
    """
    with one_blas_thread():
        return _judge(claim, seed, correction, doubting, near)


def _judge(stated: Claim, seed: int, correction: Claim | None, doubting: bool, near: bool) -> Judgement:
    began = time.monotonic()
    # What is left of the level when neighbours have theirs.
    claim = stated.model_copy(update={"false_alarm": (1 - neighbours.SHARE_OF_LEVEL) * stated.false_alarm})
    at = _running(claim, lambda: cases(claim.domain))
    names = [claim.prediction, *(rival.prediction for rival in claim.rivals)]
    measured = _measure(claim, at, seed, names)
    own, *rivals = _compare(claim, names, measured)
    judged = [_judge_rival(claim, rival, found) for rival, found in zip(claim.rivals, rivals, strict=True)]
    own, looks = _look_again(claim, at, seed, own)
    verdict, reason = _conclude(claim, own, judged)
    if verdict is Verdict.HOLDS and doubting and (doubt := _doubt(stated, measured, seed, near)):
        verdict, reason = Verdict.INCONCLUSIVE, doubt
    outside = []
    if verdict is Verdict.HOLDS and claim.outside is not None:
        there = claim.outside
        elsewhere = _measure(claim, _running(claim, lambda: cases(there)), seed, names[:1])
        (outside,) = _compare(claim, names[:1], elsewhere)
        verdict, reason = _conclude_outside(outside)
    if verdict is Verdict.FAILS and correction is not None:
        instead = _judge(correction, seed, None, doubting, near)
        if instead.verdict is Verdict.HOLDS:
            verdict, reason = Verdict.HOLDS_WITH_CORRECTION, f"{reason}; {correction.id} holds instead"
        else:
            reason = f"{reason}; its correction {correction.id}: {instead.verdict}"
    return Judgement(stated, verdict, reason, own, judged, time.monotonic() - began, outside, looks)


def _doubt(claim: Claim, measured: list[Measured], seed: int, near: bool) -> str:
    """What speaks against evidence in favour of a claim: a mistake that it could hide, or a case near by."""

    def test(there: Claim, case: Problem | Case) -> list[Comparison]:
        (found,) = _compare(there, [claim.prediction], _measure(there, [case], seed, [claim.prediction]))
        return found

    coarse = _running(claim, lambda: resolution.objection(claim, measured))
    if coarse or not near:
        return coarse
    return _running(claim, lambda: neighbours.objection(claim, claim.domain, measured, test))


def _measure(
    claim: Claim, at: Sequence[Problem | Case], seed: int, names: Sequence[str], look: int = 0
) -> list[Measured]:
    """What the experiment measures in these cases, and what the predictions `names` say there."""
    experiment = registry.experiment(claim.experiment.name)
    trials = min(LOOKS[look] * claim.experiment.trials, LARGEST_TRIALS)
    own_seed = derived_seed(seed, f"look {look + 1}") if look else seed

    def measure() -> list[Measured]:
        measured = []
        for case in at:
            if isinstance(case, Problem) and not experiment.any_inputs:
                case.centred().require_gaussian(f"the experiment {claim.experiment.name}")
            if isinstance(case, Problem) and not experiment.any_mean:
                case.require_centred(f"the experiment {claim.experiment.name}")
            sample = experiment.run(case, trials, seed_of(case, own_seed), **claim.experiment.settings)
            _require_sample(sample, pathwise=claim.kind is Kind.PATHWISE)
            measured.append(Measured(case, sample, _predictions(names, case, sample)))
            for name, values in measured[-1].predicted.items():
                if claim.kind is not Kind.PATHWISE and np.any(np.isnan(values)):
                    raise ValueError(f"{name} predicts nan; a prediction cannot read the statistic")
        return measured

    return _running(claim, measure)


def _compare(claim: Claim, names: Sequence[str], measured: list[Measured]) -> list[list[Comparison]]:
    """The comparisons of each prediction over the cases; the first of `names` is the claim's own."""
    test = _TESTS.get(claim.kind, means)
    return _running(claim, lambda: [test.compare(claim, name, measured) for name in names])


def _running(claim: Claim, call: Callable[[], _Found]) -> _Found:
    """What `call` returns; what its experiment or predictions raise is an `InvalidInput` that names the claim."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InvalidInput(claim.id, "an experiment and predictions that run", problem) from error


def _look_again(
    claim: Claim, at: Sequence[Problem | Case], seed: int, own: list[Comparison]
) -> tuple[list[Comparison], int]:
    """The claim's own comparisons, those of suspicious cases drawn again until they are not, or fail."""
    if claim.kind not in _ONE_MEAN:
        return own, 1
    for look in range(1, len(LOOKS)):
        suspicious = {c.case for c in own if c.verdict is not Verdict.FAILS and means.against(claim, c) > SUSPICIOUS}
        if not suspicious:
            return own, look
        again = [case for case in at if describe(case) in suspicious]
        (fresh,) = _compare(claim, [claim.prediction], _measure(claim, again, seed, [claim.prediction], look))
        redrawn = {(c.case, c.column): c for c in fresh}
        own = [redrawn.get((c.case, c.column), c) for c in own]
    doubted = [c for c in own if c.verdict is Verdict.HOLDS and means.against(claim, c) > SUSPICIOUS]
    own = [dataclasses.replace(c, verdict=Verdict.INCONCLUSIVE) if c in doubted else c for c in own]
    return own, len(LOOKS)


def _require_sample(sample: object, *, pathwise: bool) -> None:
    if not isinstance(sample, Sample):
        raise TypeError(f"expected an experiment that returns a Sample, received {type(sample).__name__}")
    shape = np.shape(sample.statistic)
    if not shape or (not pathwise and len(shape) != 2):
        expected = "one entry a draw" if pathwise else "draws x columns"
        raise ValueError(f"expected a statistic of {expected}, received shape {shape}")


def _predictions(names: Sequence[str], case, sample: Sample) -> dict[str, np.ndarray]:
    """What each prediction says of a sample whose statistic it does not see: what is read off it predicts nothing.

    Numbers that overflow are found by the comparisons.
    """
    blind = dataclasses.replace(sample, statistic=np.full(np.shape(sample.statistic), np.nan))
    with np.errstate(over="ignore", invalid="ignore"):
        return {name: np.asarray(registry.prediction(name).value(case, blind), dtype=float) for name in names}


def _conclude_outside(comparisons: list[Comparison]) -> tuple[Verdict, str]:
    holding = [c.case for c in comparisons if c.verdict is not Verdict.FAILS]
    if not holding:
        return Verdict.HOLDS_UNDER, ""
    if len(holding) == len(comparisons) and all(c.verdict is Verdict.HOLDS for c in comparisons):
        return Verdict.HOLDS, "it holds outside of its condition too"
    return Verdict.INCONCLUSIVE, f"outside of its condition it does not fail at {holding[0]}"


def _judge_rival(claim: Claim, rival: Rival, comparisons: list[Comparison]) -> RivalJudgement:
    apart = [c for c in comparisons if c.gap > claim.detects]
    at = dict.fromkeys(c.case for c in apart)
    best = {case: max((c for c in apart if c.case == case), key=_sharpness) for case in at}
    if not best:
        sharpest = max(comparisons, key=_sharpness)
        return RivalJudgement(rival.prediction, rival.mistake, False, sharpest, differs=False)
    everywhere = claim.kind in (Kind.IDENTITY, Kind.QUALITATIVE) or claim.relation == "equals"
    decides = (min if everywhere else max)(best.values(), key=_sharpness)
    return RivalJudgement(rival.prediction, rival.mistake, decides.rejected, decides)


def _sharpness(c: Comparison) -> tuple[bool, float]:
    return c.rejected, c.power


def _conclude(claim: Claim, own: list[Comparison], rivals: list[RivalJudgement]) -> tuple[Verdict, str]:
    for verdict in (Verdict.FAILS, Verdict.INCONCLUSIVE):
        for c in own:
            if c.verdict is verdict:
                where = " ".join(part for part in (c.case, c.column) if part)
                if verdict is Verdict.INCONCLUSIVE:
                    return verdict, f"{_what_is_missing(claim, c)} at {where}"
                unrejected = claim.expected in _FAILING and _unrejected(rivals)
                return (Verdict.INCONCLUSIVE, unrejected) if unrejected else (verdict, f"{_against(c)} at {where}")
    unrejected = _unrejected(rivals)
    return (Verdict.INCONCLUSIVE, unrejected) if unrejected else (Verdict.HOLDS, "")


def _against(c: Comparison) -> str:
    if "mean" not in c.numbers:
        return f"the evidence is against it, by up to {c.numbers['worst']:.3g} of its scale,"
    mean, predicted, stderr = (c.numbers[name] for name in ("mean", "predicted", "stderr"))
    return f"the evidence is against it: measured {mean:.5g} +- {stderr:.2g}, predicted {predicted:.5g},"


def _what_is_missing(claim: Claim, c: Comparison) -> str:
    if "worst" in c.numbers:
        return "rounding hides what must be detected, at any number of draws: condition it better or raise detects,"
    needed, z = c.trials_needed, abs(c.numbers["z"])
    if claim.kind in _ONE_MEAN and c.detectable <= claim.detects:
        return f"drawn again: still {z:.1f} standard errors off with {c.numbers['trials']} draws, too many for chance,"
    if needed <= c.numbers["trials"] and z > 0:
        needed = int(c.numbers["trials"] * ((c.numbers["critical"] + 2.5) / z) ** 2)
    return f"too few draws, {needed} would decide,"


def _unrejected(rivals: list[RivalJudgement]) -> str:
    """Why the rivals' tests do not count, if so: one that is not rejected, or that was rejected by luck."""
    for rival in rivals:
        c = rival.comparison
        if not rival.differs:
            return (
                f"the rival {rival.prediction} differs from the claim by {c.gap:.2g} at most, no more than detects: "
                "lower detects, or choose a domain that tells them apart"
            )
        if not rival.rejected or c.power < statistics.POWER:
            trials = int(c.numbers["trials"])
            needed = statistics.trials_to_reject(trials, c.numbers.get("critical", np.inf), c.power)
            possible = needed is not None and needed > trials
            advice = f"{needed} draws would reject it" if possible else "draws cannot tell it from the claim"
            fate = f"rejected with power {c.power:.3f} only" if rival.rejected else "not rejected"
            return f"the rival {rival.prediction} is {fate} at {c.case}: {advice}"
    return ""
