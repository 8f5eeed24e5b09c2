"""How many samples a method needs for a risk, where risk need not fall with n: it rises towards a threshold."""

import math
from collections.abc import Callable
from typing import NamedTuple

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError, NumericalFailure
from linreg_lora.methods import registry
from linreg_lora.methods.expected import expected_risk, require_problem
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.notes import FLAGGED

#: Samples beyond which no more are tried.
_MOST_SAMPLES = 2**40


class SamplesNeeded(NamedTuple):
    """The number of samples from which on the expected risk is at most the one asked for, and the risk there.

    `flagged`: the risk there, or with one sample less, may be off by more than 1 %, so that n may be; `note` says why.
    `fewer`: less than n, the least number found with a risk of at most the one asked for; with some numbers in between
    the risk is more again, as it is towards an interpolation threshold. None: there is none, or none was found.
    """

    n: int
    risk: float
    flagged: bool = False
    note: str = ""
    fewer: int | None = None


def samples_needed(problem: Problem, risk: float, method: Method | str) -> SamplesNeeded:
    """How many samples a method needs for an expected excess risk of at most `risk`, by theory.

    `problem` with any n, which is replaced. The answer n is the safe one: n and more have a risk of at most `risk`,
    n - 1 has more, or none that exists or is known. Where less than that does too, below a threshold towards which the
    risk rises, `fewer` says so. Looked at are sqrt(2)^k samples, each number next to a threshold, and the peaks and
    dips between these. Raises `InvalidInput` for a risk that no number of samples gives, saying what many do.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.samples_needed(problem, 2.0, "fft")
    >>> found.n, f"{20 * 24 / (found.n - 25):.3f}"
    (265, '2.000')
    >>> ll.samples_needed(problem, 2.0, "lora:3").n
    89
    >>> weak = ll.Problem(n=60, dx=40, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=0.1)
    >>> found = ll.samples_needed(weak, 10.0, "fft")
    >>> found.n, found.fewer
    (42, 12)
    """
    require_problem(problem)
    chosen, target = registry.of(method), validation.nonnegative_number("risk", risk)
    seen: dict[int, MethodRisk | None] = {}

    def at(n: int) -> float:
        if n not in seen:
            seen[n] = _risk_at(problem, chosen, n)
        found = seen[n]
        return math.inf if found is None else found.risk

    if at(_MOST_SAMPLES) > target:
        last = expected_risk(problem.replace(n=_MOST_SAMPLES), method=chosen)
        received = f"{target:g}; many samples leave {last.risk:.6g}"
        raise InvalidInput("risk", f"one that {chosen.name} reaches with enough samples", received)
    high = 2 * max(problem.dx, problem.dy)
    while high < _MOST_SAMPLES and max(at(high), at(2 * high)) > target:
        high = min(2 * high, _MOST_SAMPLES)
    looked_at = _looked_at(high, _threshold(problem, chosen))
    looked_at = sorted({*looked_at, *_turns(at, looked_at)})
    short = [n for n in looked_at if at(n) > target]
    first = min(n for n in looked_at if n > (short[-1] if short else 0))
    n = _boundary(at, target, short[-1] if short else 0, first)
    before = [one for one in looked_at if one < n and at(one) <= target]
    fewer = None
    if before:
        fewer = _boundary(at, target, max((one for one in short if one < before[0]), default=0), before[0])
    found, less = seen[n], seen.get(n - 1)
    assert found is not None
    doubts = [*found.notes] if found.flagged else []
    if not doubts and less is not None and less.flagged and less.risk * (1 - FLAGGED) <= target:
        doubts = [f"with one sample less: {note}" for note in less.notes]
    return SamplesNeeded(n, found.risk, bool(doubts), "; ".join(doubts), fewer)


def _risk_at(problem: Problem, method: Method, n: int) -> MethodRisk | None:
    """The risk with n samples; None where it has none."""
    try:
        found = expected_risk(problem.replace(n=n), method=method)
    except (InvalidInput, NumericalFailure):
        return None
    return found if math.isfinite(found.risk) and found.moments is not Moments.NO_MEAN else None


def _threshold(problem: Problem, method: Method) -> int:
    """The number of inputs, or of the features that the method has in their place."""
    try:
        reduced = method.reduce(problem.replace(n=_MOST_SAMPLES))
    except LinregLoraError:
        reduced = None
    return problem.input_rank if reduced is None else reduced.problem.input_rank


def _looked_at(high: int, threshold: int) -> list[int]:
    steps = range(2 * high.bit_length() + 1)
    near = range(max(threshold - 2, 1), threshold + 3)
    return sorted({high, *(n for n in near if n < high), *(n for n in (math.isqrt(2**k) for k in steps) if n <= high)})


def _turns(at: Callable[[int], float], looked_at: list[int]) -> list[int]:
    """The peaks and dips of the risk between the neighbours of those that were seen."""
    found = []
    for low, middle, high in zip(looked_at, looked_at[1:], looked_at[2:], strict=False):
        for sign in (1, -1):
            value, sides = sign * at(middle), (sign * at(low), sign * at(high))
            if math.isfinite(value) and value >= max(sides) and value > min(sides):
                found.append(_highest(lambda n, sign=sign: sign * at(n), low, high))
    return found


def _highest(value: Callable[[int], float], low: int, high: int) -> int:
    """Where a function of whole numbers with one peak between is largest."""
    while high - low > 2:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle + 1) > value(middle) else (low, middle + 1)
    return max(range(low, high + 1), key=value)


def _boundary(at: Callable[[int], float], target: float, low: int, high: int) -> int:
    """The first number of samples that do, of those after `low`, which do not, and up to `high`, which do."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) <= target else (middle, high)
    at(high)
    return high
