"""Answers that users ask of the theory: the best rank, the ranks that beat FFT, and where LoRA and FFT cross."""

import itertools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.curve import risk_curve

#: Points of the grid on which a crossing is looked for, between the two ends.
_GRID = 17
_LARGEST_N = 2**53


class BestRank(NamedTuple):
    """The rank of least expected risk, its risk, and that of FFT."""

    rank: int
    risk: float
    fft_risk: float


class Crossing(NamedTuple):
    """Where LoRA and FFT have the same expected risk, and who wins below it."""

    value: float
    winner_below: Literal["LoRA", "FFT"]


def best_rank(problem: Problem) -> BestRank:
    """The rank in 0..min(n, dx, dy) whose expected excess risk is least, by theory; ties go to the smaller rank."""
    curve = risk_curve(problem)
    _require_known(curve.risk, curve.notes)
    best = curve.best_rank
    return BestRank(best, float(curve.risk[best]), curve.fft_risk)


def ranks_that_beat_fft(problem: Problem) -> list[int]:
    """Ranks whose expected excess risk is below that of FFT, by theory; rank 0 alone where the mean is infinite."""
    if problem.moments is Moments.NO_MEAN:
        return [0]
    curve = risk_curve(problem)
    _require_known(curve.risk, curve.notes)
    return [int(rank) for rank in curve.ranks[(curve.difference < 0) & (curve.ranks < problem.max_rank)]]


def crossover(problem: Problem, rank: int, over: str, low: float | int, high: float | int) -> list[Crossing]:
    """Every value of `over` in [low, high] at which LoRA of this rank and FFT have the same expected risk.

    `over` is "noise_std" (sigma > 0) or "n" (crossings are reported as the last n before the winner changes). The
    difference of risks is computed on a grid, even in log `over`, and each change of sign is closed in on; two
    crossings between neighbouring grid points are missed. An empty list means that no crossing was found. Points where
    no mean exists are left out, so a change of winner across the interpolation threshold counts as a crossing there.
    """
    if over not in ("noise_std", "n"):
        raise InvalidInput("over", "noise_std or n", over)
    low, high = validation.nonnegative_number("low", low), validation.nonnegative_number("high", high)
    whole = over == "n"
    if whole and high <= _LARGEST_N:
        low, high = math.ceil(low), math.floor(high)
    if not 0 < low < high or (whole and high > _LARGEST_N):
        expected = f"two integers between them, at most {_LARGEST_N:g}" if whole else "0 < low < high"
        raise InvalidInput("low, high", expected, f"{low:g}, {high:g}")
    largest = min(problem.input_rank, problem.dy) if whole else problem.max_rank
    if rank not in range(1, largest):
        raise InvalidInput("rank", f"an integer in 1..{largest - 1}", rank)

    def difference(value: float) -> float:
        changed = problem.replace(**{over: int(value) if whole else float(value)})
        if rank >= changed.max_rank or changed.moments is Moments.NO_MEAN:
            return math.nan
        curve = risk_curve(changed, [rank])
        _require_known(curve.risk, curve.notes)
        return float(curve.difference[0])

    grid = np.geomspace(low, high, _GRID)
    values = np.unique(np.round(grid)) if whole else grid
    known = [(float(v), d) for v in values if not math.isnan(d := difference(v))]
    if not known:
        reason = f"values where LoRA of rank {rank} is not FFT and both have a mean"
        raise InvalidInput("low, high", reason, f"{low:g}, {high:g}", "widen the range or set ridge > 0")
    crossings = []
    for (a, at_a), (b, at_b) in itertools.pairwise(known):
        if (at_a < 0) != (at_b < 0):
            value = _last_before(difference, a, b, at_a) if whole else _root(difference, a, b)
            crossings.append(Crossing(value, "LoRA" if at_a < 0 else "FFT"))
    return crossings


def _root(difference: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    found = brentq(lambda u: difference(math.exp(u)), math.log(low), math.log(high), xtol=1e-6)
    return math.exp(float(found))  # pyright: ignore[reportArgumentType]


def _last_before(difference: Callable[[float], float], low: float, high: float, at_low: float) -> float:
    """The last integer with the sign that `low` has, by bisection; values without a mean side with `low`."""
    while high - low > 1:
        middle = (low + high) // 2
        at_middle = difference(middle)
        low, high = (middle, high) if math.isnan(at_middle) or (at_middle < 0) == (at_low < 0) else (low, middle)
    return low


def _require_known(risk: np.ndarray, notes: tuple[str, ...]) -> None:
    if np.any(np.isnan(risk)):
        raise NumericalFailure("; ".join(notes))
