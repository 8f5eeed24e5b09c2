"""Tests on means whose two error rates are both stated.

A mean of N draws is compared with a prediction through T = (mean - prediction) / standard error. Far out, the
studentised mean of skewed draws leaves the normal law: P(|T| > z) is 2 Phi(-z) exp(|g| z^3 / (3 sqrt N)) to first
order, g the skewness (self-normalised moderate deviations: Jing, Shao and Wang 2003). Critical values solve for z with
that factor in, so that the stated level stays the level 5 to 6 standard errors out. The factor belongs to the heavier
tail only; taking it for both is conservative.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from linreg_lora.errors import InvalidInput

#: Probability with which every stated discrepancy must be found.
POWER = 0.99


class MeanTest(NamedTuple):
    """The comparison of a sample mean with a prediction.

    `z` = (mean - predicted) / stderr; `critical`: two-sided critical value at the given level, inf if the draws are too
    few and skewed for any; `detectable`: smallest |discrepancy| found with probability `POWER`; `level`
    and `skewness` are what `critical` comes from.
    """

    mean: float
    predicted: float
    stderr: float
    z: float
    critical: float
    detectable: float
    trials: int
    level: float
    skewness: float


def mean_test(deviations: np.ndarray, predicted: float, level: float) -> MeanTest:
    """Test that `deviations` (statistic minus prediction, one entry a draw) have mean zero, two-sided, at `level`.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal(400)
    >>> right, wrong = (ll.claims.mean_test(noise + off, predicted=2.0, level=1e-6) for off in (0.0, 0.5))
    >>> abs(right.z) < right.critical, abs(wrong.z) < wrong.critical
    (True, False)
    """
    trials = len(deviations)
    if trials < 2:
        raise InvalidInput("deviations", "at least 2 draws, so that a standard error exists", trials)
    mean, std = float(np.mean(deviations)), float(np.std(deviations, ddof=1))
    stderr = std / math.sqrt(trials)
    varies = std > 100 * np.finfo(float).eps * float(np.max(np.abs(deviations)))
    skewness = float(scipy.stats.skew(deviations)) if varies else 0.0
    critical = critical_value(level, trials, skewness)
    z = (math.copysign(math.inf, mean) if mean else 0.0) if stderr == 0 else mean / stderr
    found = detectable(stderr, critical)
    return MeanTest(mean + predicted, predicted, stderr, z, critical, found, trials, level, skewness)


def critical_value(level: float, trials: int, skewness: float) -> float:
    """Two-sided critical value z: 2 Phi(-z) exp(|g| z^3 / (3 sqrt N)) = level, the smaller root.

    Returns inf where no root exists: N is too small for a mean this skewed at this level.
    """
    slope = abs(skewness) / (3 * np.sqrt(trials))

    def log_excess(z):
        return _log_excess(level, z) + slope * z**3

    grid = _tail(level)
    below = np.flatnonzero(log_excess(grid) <= 0)
    if slope == 0 or (below.size and below[0] == 0):
        return float(grid[0])
    if below.size == 0:
        return np.inf
    root = scipy.optimize.brentq(log_excess, grid[below[0] - 1], grid[below[0]])
    return float(root)  # pyright: ignore[reportArgumentType]


def least_trials(level: float, skewness: float) -> int:
    """The least N for which `critical_value` is finite, of draws this skewed."""
    grid = _tail(level)
    steepest = float(np.max(-_log_excess(level, grid) / grid**3))
    return max(2, math.ceil((abs(skewness) / (3 * steepest)) ** 2))


def _tail(level: float) -> np.ndarray:
    """Where critical values are looked for: from that of the normal law, 3 standard errors on."""
    return -float(scipy.special.ndtri(level / 2)) + np.linspace(0, 3, 301)


def _log_excess(level: float, z):
    """log(2 Phi(-z) / level)."""
    return np.log(2) + scipy.special.log_ndtr(-z) - np.log(level)


def detectable(stderr: float, critical: float) -> float:
    """Smallest discrepancy found with probability `POWER`: (z + Phi^{-1}(POWER)) stderr."""
    return (critical + float(scipy.stats.norm.ppf(POWER))) * stderr


def power_against(discrepancy: float, stderr: float, critical: float) -> float:
    """Probability that a mean off by `discrepancy` is rejected.

    >>> import linreg_lora as ll
    >>> ll.claims.power_against(discrepancy=0.5, stderr=0.1, critical=5.0)
    0.5
    """
    if stderr == 0:
        return 1.0 if discrepancy != 0 else 0.0
    return float(scipy.stats.norm.sf(critical - abs(discrepancy) / stderr))


def trials_needed(trials: int, achieved: float, wanted: float) -> int:
    """Draws that bring the detectable discrepancy from `achieved` down to `wanted`: it falls like 1/sqrt(N).

    >>> import linreg_lora as ll
    >>> ll.claims.trials_needed(1000, achieved=0.02, wanted=0.01)
    4000
    """
    if not wanted > 0:
        raise InvalidInput("wanted", "a discrepancy > 0", wanted)
    return int(np.ceil(trials * (achieved / wanted) ** 2))


def trials_to_reject(trials: int, critical: float, power: float) -> int | None:
    """Draws that raise the power against a rival to `POWER` from what it is at `trials`; None: no number of draws does.

    A power is Phi(d - z), d the rival's distance in standard errors, which grows like sqrt(N).
    """
    distance = critical + float(scipy.stats.norm.ppf(power))
    if not (math.isfinite(critical) and distance > 0):
        return None
    return math.ceil(trials * ((critical + float(scipy.stats.norm.ppf(POWER))) / distance) ** 2)


def trials_that_decide(test: MeanTest, wanted: float) -> int:
    """Draws with which a critical value exists and a discrepancy of `wanted` is found with probability `POWER`.

    Ten times as many where the draws have no standard error.
    """
    if not math.isfinite(test.stderr):
        return 10 * test.trials
    critical = test.critical if math.isfinite(test.critical) else float(_tail(test.level)[-1])
    enough = trials_needed(test.trials, detectable(test.stderr, critical), wanted)
    return max(enough, least_trials(test.level, test.skewness))


def rarest_violation_found(trials: int) -> float:
    """Smallest share of draws with a violation that `trials` draws show at least once with probability `POWER`."""
    return float(1 - (1 - POWER) ** (1 / trials))
