"""Tests of limits: an equivalence band at the largest size, and an error that falls at the stated rate.

A limit is never a null hypothesis: at any finite size it is wrong, and enough draws would show that. Let e be the
relative error of the prediction, |mean - prediction| / |prediction|, at the first and at the last, L times larger size.
Each has an interval at its share of the claim's level, and the claim

    holds   where the last interval lies below `detects`, and e_first > L^rate e_last on all of both intervals
    fails   where the last interval lies above `detects`, or e_first < L^rate e_last on all of both intervals

and is inconclusive otherwise. A formula that is off by `detects` at the last size is accepted with less than the
claim's level.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

from linreg_lora.claims import statistics
from linreg_lora.claims.cases import describe
from linreg_lora.claims.evidence import Comparison, Measured
from linreg_lora.claims.schema import Claim
from linreg_lora.claims.vocabulary import Verdict
from linreg_lora.problem import Problem


class _Error(NamedTuple):
    """The relative error of a prediction at one size, the half width of its interval, and what these come from."""

    value: float
    margin: float
    test: statistics.MeanTest

    @property
    def low(self) -> float:
        return max(self.value - self.margin, 0.0)

    @property
    def high(self) -> float:
        return self.value + self.margin


def compare(claim: Claim, name: str, measured: list[Measured]) -> list[Comparison]:
    """The prediction `name` at every size, the verdict at the last; one comparison a column and size."""
    assert claim.rate is not None, "the schema gives every asymptotic claim a rate"
    growth = _size(measured[-1]) / _size(measured[0])
    return [
        comparison
        for column in range(measured[0].sample.statistic.shape[1])
        for comparison in _compare(claim, name, measured, column, growth**claim.rate)
    ]


def _size(at: Measured) -> int:
    """What is doubled from one size to the next, if nothing else n."""
    return at.case.n if isinstance(at.case, Problem) else at.case.size


def _compare(claim: Claim, name: str, measured: list[Measured], column: int, shrinks: float) -> list[Comparison]:
    level = claim.false_alarm / (len(measured) * measured[0].sample.statistic.shape[1])
    errors = [_error(at, name, column, level) for at in measured]
    first, last = errors[0], errors[-1]
    off = last.low > claim.detects
    grows = first.high < shrinks * last.low
    shown = last.high < claim.detects and first.low > shrinks * last.high
    verdict = Verdict.FAILS if off or grows else Verdict.HOLDS if shown else Verdict.INCONCLUSIVE
    return [
        Comparison(
            case=describe(at.case),
            column=at.sample.columns[column],
            verdict=verdict if at is measured[-1] else Verdict.HOLDS,
            rejected=name != claim.prediction and at is measured[-1] and (off or grows),
            power=_power(claim, name, at, column, error),
            detectable=error.high if at is measured[-1] else 0.0,
            trials_needed=_trials_needed(claim, first, last, shrinks),
            numbers={
                "mean": error.test.mean,
                "predicted": error.test.predicted,
                "stderr": error.test.stderr,
                "error": error.value,
                "z": error.test.z,
                "critical": error.test.critical,
                "trials": error.test.trials,
            },
            gap=_gap(claim, name, at, column) / abs(float(np.mean(at.columns(claim.prediction)[:, column]))),
        )
        for at, error in zip(measured, errors, strict=True)
    ]


def _error(at: Measured, name: str, column: int, level: float) -> _Error:
    predicted = at.columns(name)[:, column]
    test = statistics.mean_test(at.sample.statistic[:, column] - predicted, float(np.mean(predicted)), level)
    scale = abs(test.predicted)
    return _Error(abs(test.mean - test.predicted) / scale, test.critical * test.stderr / scale, test)


def _power(claim: Claim, name: str, at: Measured, column: int, error: _Error) -> float:
    """Of rivals: the probability of finding them out of the band if the claim is right. Of the claim's own: that of
    not accepting an error of `detects`."""
    stderr, critical = error.test.stderr, error.test.critical
    if name == claim.prediction:
        return float(scipy.stats.norm.cdf(critical))
    gap = _gap(claim, name, at, column)
    return statistics.power_against(max(gap - claim.detects * abs(error.test.predicted), 0.0), stderr, critical)


def _gap(claim: Claim, name: str, at: Measured, column: int) -> float:
    """How far a prediction is from the claim's."""
    return abs(float(np.mean(at.columns(name)[:, column] - at.columns(claim.prediction)[:, column])))


def _trials_needed(claim: Claim, first: _Error, last: _Error, shrinks: float) -> int:
    """Draws that would bring both intervals to where the claim holds with probability `POWER`, if the errors are as
    measured: intervals that are wider by what a measured error varies."""
    wider = (last.test.detectable / last.test.stderr) / last.test.critical if last.test.stderr else 1.0
    margins = (wider * last.margin, wider * (first.margin + shrinks * last.margin))
    rooms = (claim.detects - last.value, first.value - shrinks * last.value)
    if min(rooms) <= 0 or not np.all(np.isfinite(margins)):
        return 10 * last.test.trials
    skewed = max(statistics.least_trials(error.test.level, error.test.skewness) for error in (first, last))
    return max(
        skewed,
        *(
            statistics.trials_needed(last.test.trials, margin, room)
            for margin, room in zip(margins, rooms, strict=True)
        ),
    )
