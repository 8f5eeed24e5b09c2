"""Answers that users ask of the theory: the best rank, the ranks that beat FFT, and where LoRA and FFT cross."""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.notes import FLAGGED, spans

#: Points of the grid on which a crossing is looked for, between the two ends.
_GRID = 17
_LARGEST_N = 2**53

_Item = TypeVar("_Item")


class BestRank(NamedTuple):
    """The rank of least expected risk, its risk, and that of FFT.

    `flagged`: another rank may be the best, or the risk may be off by more than 1 %; `note` says why.
    """

    rank: int
    risk: float
    fft_risk: float
    flagged: bool = False
    note: str = ""


class Crossing(NamedTuple):
    """Where LoRA and FFT have the same expected risk, and who wins below it.

    `flagged`: a risk there may be off by more than 1 %, and the crossing with it.
    """

    value: float
    winner_below: Literal["LoRA", "FFT"]
    flagged: bool = False


class Answer(list[_Item]):
    """A list with its doubt: `flagged` items or absences may be wrong, and `note` says why. Empty: none."""

    def __init__(self, items: Iterable[_Item] = (), flagged: bool = False, note: str = "") -> None:
        super().__init__(items)
        self.flagged, self.note = flagged, note


def best_rank(problem: Problem) -> BestRank:
    """The rank in 0..min(n, dx, dy) whose expected excess risk is least, by theory; ties go to the smaller rank.

    Raises `NumericalFailure` where a rank without a number could be the best: no update of its rank need do worse.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> best = ll.best_rank(problem)
    >>> f"rank {best.rank}: {best.risk:.3f}, FFT: {best.fft_risk:.3f}"
    'rank 2: 3.263, FFT: 13.714'
    """
    curve = expected_risk(problem)
    found, note = curve.at_rank(curve.best_rank), doubt_of_best(curve)
    return BestRank(found.rank, found.risk, curve.fft_risk, bool(note), note)


def doubt_of_best(curve: RiskCurve) -> str:
    """Why the best of a curve's ranks may not be the best, or its risk be off by more than 1 %; empty: neither.

    Flagged risks may be off by a tenth (`FLAGGED`): ranks that are as near to the best could be better.
    """
    if curve.flagged is None or not np.any(curve.flagged):
        return ""
    best = curve.best_rank
    least = curve.at_rank(best).risk
    if curve.at_rank(best).flagged:
        return f"the risk at the best rank, {best}, may be off by more than 1 %: {'; '.join(curve.notes)}"
    rivals = curve.ranks[curve.flagged & (curve.risk * (1 - FLAGGED) < least)]
    if not rivals.size:
        return ""
    return f"rank {spans(rivals.tolist())} may be better than {best}: {'; '.join(curve.notes)}"


def ranks_that_beat_fft(problem: Problem) -> Answer[int]:
    """Ranks whose expected excess risk is below that of FFT, by theory; rank 0 alone where the mean is infinite.

    A list of ranks; it is `flagged`, with a `note`, where a flagged risk is so near FFT's that a rank may be missing or
    too many. Raises `NumericalFailure` where a rank has no number.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=40, dx=8, dy=6, spectrum=(2.0, 1.0), noise_std=0.5)
    >>> ll.ranks_that_beat_fft(problem)
    [2, 3, 4, 5]
    """
    curve = expected_risk(problem)
    if problem.moments is not Moments.NO_MEAN:
        _require_known(curve.risk, curve.notes)
    return winners_of(curve)


def winners_of(curve: RiskCurve) -> Answer[int]:
    """Those of a curve's ranks whose risk is below that of FFT, with the doubt of `ranks_that_beat_fft`."""
    below = (curve.difference < 0) | ((curve.ranks == 0) & np.isinf(curve.fft_risk))
    return Answer(curve.ranks[below & (curve.ranks < curve.problem.max_rank)].tolist(), *_doubt_of_winners(curve))


def _doubt_of_winners(curve: RiskCurve) -> tuple[bool, str]:
    doubtful = np.zeros(len(curve.ranks), dtype=bool) if curve.flagged is None else curve.flagged | curve.fft_flagged
    close = np.abs(curve.difference) < FLAGGED * np.maximum(curve.risk, curve.fft_risk)
    unsure = curve.ranks[doubtful & close & (curve.ranks < curve.problem.max_rank)]
    if not unsure.size:
        return False, ""
    return True, f"at rank {spans(unsure.tolist())} it may be otherwise: {'; '.join(curve.notes)}"


def crossover(problem: Problem, rank: int, over: str, low: float | int, high: float | int) -> Answer[Crossing]:
    """Every value of `over` in [low, high] at which LoRA of this rank and FFT have the same expected risk.

    `over` is "noise_std" (sigma > 0) or "n" (crossings are reported as the last n before the winner changes). The
    difference of risks is computed on a grid, even in log `over`, and each change of sign is closed in on; two
    crossings between neighbouring grid points are missed. An empty list means that no crossing was found. Points where
    no mean exists are left out, so a change of winner across the interpolation threshold counts as a crossing there.
    So are points to which the theory does not reach; the list is `flagged` then, and its `note` names them. A crossing
    is flagged where a risk at it is. Raises `NumericalFailure` where the theory reaches no point.

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

    def difference(value: float) -> float:
        changed = problem.replace(**{over: int(value) if whole else float(value)})
        if rank >= changed.max_rank or changed.moments is Moments.NO_MEAN:
            return math.nan
        curve = expected_risk(changed, [rank])
        flagged[value] = curve.fft_flagged or bool(curve.flagged is not None and curve.flagged[0])
        if math.isnan(curve.difference[0]):
            refused[value] = "; ".join(curve.notes)
        return float(curve.difference[0])

    grid = np.geomspace(low, high, _GRID)
    values = np.unique(np.round(grid)) if whole else grid
    known = [(float(v), d) for v in values if not math.isnan(d := difference(float(v)))]
    if not known and refused:
        raise NumericalFailure(next(iter(refused.values())))
    if not known:
        reason = f"values where LoRA of rank {rank} is not FFT and both have a mean"
        raise InvalidInput("low, high", reason, f"{low:g}, {high:g}", "widen the range or set ridge > 0")
    crossings = []
    for (a, at_a), (b, at_b) in itertools.pairwise(known):
        if (at_a < 0) != (at_b < 0):
            value = _last_before(difference, a, b, at_a) if whole else _root(difference, a, b)
            doubtful = flagged.get(value, True) or (whole and flagged.get(value + 1, True))
            unknown = any(a < other < b for other in refused)
            crossings.append(Crossing(value, "LoRA" if at_a < 0 else "FFT", doubtful or unknown))
    return Answer(crossings, *_doubt_of_crossings(crossings, refused, over))


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
