"""Where LoRA of one rank and full fine-tuning have the same expected risk, as the noise or the samples grow.

The difference of their risks is computed on a grid; changes of sign are closed in on. Two crossings between neighbours
leave no change of sign, but a dip: where the difference is nearest to 0 on the grid, its slopes (`sensitivity`) say
whether it turns between two points, and the turn is looked for until it is found or is too near to reach 0.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.decisions import Answer
from linreg_lora.theory.notes import FLAGGED, UNFLAGGED
from linreg_lora.theory.sensitivity import sensitivity

#: Points of the grid on which a crossing is looked for, between the two ends.
_GRID = 17
#: Steps that `progress` is told of: points of the grid, and intervals between them.
STEPS = 2 * _GRID - 1
_LARGEST_N = 2**53
#: Steps towards a turn at most; how near to one in log `over` they end; and how much steeper than at the ends of an
#: interval the difference is taken to be inside, at most.
_TURNS, _NEAR_TURN, _STEEPER = 16, 1e-6, 4.0
#: How near in log `over` the ends are found between which the winner is not sure.
_NEAR_SURE = 1e-3


class Crossing(NamedTuple):
    """Where LoRA and FFT have the same expected risk, and who wins below it.

    `flagged`: a risk there may be off by more than 1 %, and the crossing with it. Theory is sure of the winner up to
    `lowest` and from `highest` on: between them the risks differ by less than they may be off, 1 %, or a tenth where
    they are flagged. None: the winner is sure nowhere on that side, up to the next crossing or the end of the range.
    """

    value: float
    winner_below: Literal["LoRA", "FFT"]
    flagged: bool = False
    lowest: float | None = None
    highest: float | None = None


class Crossings(Answer[Crossing]):
    """Every crossing, and `winner`: who wins at the smallest value with risks; throughout, where none cross."""

    def __init__(
        self, items: Iterable[Crossing] = (), flagged: bool = False, note: str = "", winner: str = "LoRA"
    ) -> None:
        super().__init__(items, flagged, note)
        self.winner = winner


def crossover(
    problem: Problem,
    rank: int,
    over: str,
    low: float | int,
    high: float | int,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Crossings:
    """Every value of `over` in [low, high] at which LoRA of this rank and FFT have the same expected risk.

    `over` is "noise_std" (sigma > 0) or "n" (crossings are reported as the last n before the winner changes). The
    difference of risks is computed on a grid, even in log `over`, and each change of sign is closed in on; so are dips
    between neighbouring points, where two crossings lie together, by the slopes there (of Gaussian inputs; a dip that
    bends more than once may be missed). An empty list means that no crossing was found: its `winner` wins throughout.
    Points where
    no mean exists are left out, so a change of winner across the interpolation threshold counts as a crossing there.
    So are points to which the theory does not reach; the list is `flagged` then, and its `note` names them. A crossing
    is flagged where a risk at it is. `progress` is called with the number of steps just done,
    of `STEPS` at most. Raises `NumericalFailure` where the theory reaches no point.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=40, dx=8, dy=6, spectrum=(2.0, 1.0), noise_std=1.0)
    >>> (crossing,) = ll.crossover(problem, rank=1, over="n", low=40, high=47)
    >>> f"up to n = {crossing.value:.0f} {crossing.winner_below} wins"
    'up to n = 42 LoRA wins'
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
    refused: dict[float, str] = {}
    flagged: dict[float, bool] = {}
    doubts: dict[float, float] = {}

    def difference(value: float) -> float:
        changed = problem.replace(**{over: int(value) if whole else float(value)})
        if rank >= changed.max_rank or changed.moments is Moments.NO_MEAN:
            return math.nan
        curve = expected_risk(changed, [rank])
        unsure = bool(curve.flagged is not None and curve.flagged[0])
        flagged[value] = curve.fft_flagged or unsure
        of_lora, of_fft = FLAGGED if unsure else UNFLAGGED, FLAGGED if curve.fft_flagged else 0.0
        doubts[value] = float(of_lora * curve.risk[0] + of_fft * curve.fft_risk)
        if math.isnan(curve.difference[0]):
            refused[value] = "; ".join(curve.notes)
        return float(curve.difference[0])

    grid = np.geomspace(low, high, _GRID)
    values = np.unique(np.round(grid)) if whole else grid
    known = []
    for v in map(float, values):
        if not math.isnan(d := difference(v)):
            known.append((v, d))
        progress(1)
    if problem.input_law.is_gaussian and problem.input_mean is None:
        known = _with_turns(known, difference, lambda value: _slope(problem, rank, over, value), whole=whole)
    if not known and refused:
        raise NumericalFailure(next(iter(refused.values())))
    if not known:
        reason = f"values where LoRA of rank {rank} is not FFT and both have a mean"
        raise InvalidInput("low, high", reason, f"{low:g}, {high:g}", "widen the range or set ridge > 0")
    crossings = []
    for (a, at_a), (b, at_b) in itertools.pairwise(known):
        progress(1)
        if (at_a < 0) != (at_b < 0):
            value = _last_before(difference, a, b, at_a) if whole else _root(difference, a, b)
            doubtful = flagged.get(value, True) or (whole and flagged.get(value + 1, True))
            unknown = any(a < other < b for other in refused)
            below: Literal["LoRA", "FFT"] = "LoRA" if at_a < 0 else "FFT"
            sides = [[point for point in known if point[0] <= a][::-1], [point for point in known if point[0] >= b]]
            lowest, highest = (_sure_from(value, points, difference, doubts, whole=whole) for points in sides)
            crossings.append(Crossing(value, below, doubtful or unknown, lowest, highest))
    winner = "LoRA" if known[0][1] < 0 else "FFT"
    return Crossings(crossings, *_doubt_of_crossings(crossings, refused, over), winner)


def _slope(problem: Problem, rank: int, over: str, value: float) -> float:
    """d difference / d log `over`; nan where it is not known."""
    try:
        found = sensitivity(problem.replace(**{over: int(value) if over == "n" else value}), [rank], to=[over])
    except LinregLoraError:
        return math.nan
    slope = found.n if over == "n" else found.noise_std
    assert slope is not None
    return value * float(slope.difference[0])


def _with_turns(
    known: list[tuple[float, float]],
    difference: Callable[[float], float],
    slope: Callable[[float], float],
    *,
    whole: bool,
) -> list[tuple[float, float]]:
    """The points, and one in each dip between two of them that crosses 0."""
    size = [abs(d) for _, d in known]
    found = list(known)
    for i, ((a, at_a), (b, at_b)) in enumerate(itertools.pairwise(known)):
        falls = i == 0 or size[i] <= size[i - 1]
        rises = i + 2 == len(known) or size[i + 1] <= size[i + 2]
        if (at_a < 0) == (at_b < 0) and falls and rises:
            turn = _turn((a, at_a), (b, at_b), difference, slope, whole=whole)
            found += [] if turn is None else [turn]
    return sorted(found)


def _turn(
    low: tuple[float, float],
    high: tuple[float, float],
    difference: Callable[[float], float],
    slope: Callable[[float], float],
    *,
    whole: bool,
) -> tuple[float, float] | None:
    """A point between two where the difference has the other sign; None where none was found."""
    sign = -1.0 if low[1] < 0 else 1.0
    (a, at_a), (b, at_b) = low, high
    down, up = sign * slope(a), sign * slope(b)
    for _ in range(_TURNS):
        u, v = math.log(a), math.log(b)
        if not (down < 0 < up and v - u > _NEAR_TURN):
            return None
        if min(sign * at_a, sign * at_b) > _STEEPER * max(-down, up) * (v - u):
            return None
        # Where tangents meet.
        meet = (sign * (at_a - at_b) + up * v - down * u) / (up - down)
        value = math.exp(meet if u < meet < v else (u + v) / 2)
        value = float(round(value)) if whole else value
        if not a < value < b or math.isnan(at := difference(value)):
            return None
        if sign * at < 0:
            return value, at
        here = sign * slope(value)
        if here < 0:
            a, at_a, down = value, at, here
        else:
            b, at_b, up = value, at, here
    return None


def _doubt_of_crossings(crossings: list[Crossing], refused: dict[float, str], over: str) -> tuple[bool, str]:
    notes = []
    if any(crossing.flagged for crossing in crossings):
        listed = ", ".join(f"{crossing.value:.6g}" for crossing in crossings if crossing.flagged)
        notes.append(f"{over} = {listed}: a risk there is not known within 1 %, nor is the crossing")
    if refused:
        first = next(iter(refused.values()))
        notes.append(f"nothing is known for {over} from {min(refused):.6g} to {max(refused):.6g}: {first}")
    return bool(notes), "; ".join(notes)


def _root(difference: Callable[[float], float], low: float, high: float) -> float:
    """Where the difference changes sign; values without a number count as zero, so that the search ends at them."""
    from scipy.optimize import brentq

    def known(u: float) -> float:
        return 0.0 if math.isnan(d := difference(math.exp(u))) else d

    found = brentq(known, math.log(low), math.log(high), xtol=1e-6)
    value = math.exp(float(found))  # pyright: ignore[reportArgumentType]
    difference(value)
    return value


def _sure_from(
    value: float,
    points: list[tuple[float, float]],
    difference: Callable[[float], float],
    doubts: dict[float, float],
    *,
    whole: bool,
) -> float | None:
    """From where on the winner is sure, seen from the crossing at `value` over the `points` on one side of it."""
    from scipy.optimize import brentq

    sign, near = math.copysign(1.0, points[0][1]), value

    def margin(at: float) -> float:
        d = difference(at)
        return -1.0 if math.isnan(d) else sign * d - doubts[at]  # where nothing is known nothing is sure

    if margin(value) >= 0:
        return value
    for point, at in points:
        if sign * at < 0:
            return None
        if sign * at > doubts[point]:
            break
        near = point
    else:
        return None
    if not whole:
        found = brentq(lambda u: margin(math.exp(u)), math.log(near), math.log(point), xtol=_NEAR_SURE)
        return math.exp(float(found))  # pyright: ignore[reportArgumentType]
    while abs(point - near) > 1:
        middle = (point + near) // 2
        near, point = (near, middle) if margin(middle) > 0 else (middle, point)
    return point


def _last_before(difference: Callable[[float], float], low: float, high: float, at_low: float) -> float:
    """The last integer with the sign that `low` has, by bisection; values without a mean side with `low`."""
    while high - low > 1:
        middle = (low + high) // 2
        at_middle = difference(middle)
        low, high = (middle, high) if math.isnan(at_middle) or (at_middle < 0) == (at_low < 0) else (low, middle)
    return low
