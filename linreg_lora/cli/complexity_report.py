"""What is said of task complexity beside risks and crossings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linreg_lora.cli.numbers import marked, number, value
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.problem import Problem
from linreg_lora.theory.complexity import TaskComplexity, task_complexity
from linreg_lora.theory.discarded import DiscardedSignal, discarded_signal

#: Beside a C_r that may be on the wrong side of 1, and beside odds that no closed form has.
UNSURE, SOLVED = "?", "~"
SAID = "complexity: C_r, in closed form; below 1 LoRA beats FFT, where what it keeps is strong"
SAID_SOLVED = f"{SOLVED} complexity: the odds that what a rank drops is signal, by formula; below 1 LoRA beats FFT"
SAID_UNSURE = f"{UNSURE} kept and dropped directions mix by more than C_r is from 1: the risks decide"
#: Below crossings of both kinds.
SAID_WHICH = (
    "take the answer above, which compares the risks themselves; the closed form is their limit where the kept "
    "directions are strong, and shows what it depends on"
)
SAID_WHICH_IN_DOUBT = "the answer above is in doubt; the closed form is known within a twentieth: take it"


class ClosedCrossing(NamedTuple):
    """A `value` at which C_r = 1; whether it is `sharp`: known within 5 %; and `within` the range that is looked at."""

    value: float
    sharp: bool
    within: bool = True


class ClosedCrossings(NamedTuple):
    """Those of one range, and a `note`: why there is none, or not the other."""

    found: tuple[ClosedCrossing, ...]
    note: str


class Known(NamedTuple):
    """C_r in closed form, or why there is none; and the odds of signal where that does not decide, None: nowhere."""

    closed: TaskComplexity | str
    dropped: DiscardedSignal | None = None


#: Inputs or outputs up to which the odds are solved for: they take matrices.
_LARGEST = 300
#: Where nothing was asked.
NOTHING = Known("")


def known(problem: Problem, ranks: "np.ndarray | list[int]") -> Known:
    """Of those of the ranks at which LoRA neither is FFT nor learns nothing."""
    inner = [int(r) for r in ranks if 0 < r < problem.without_null_inputs().max_rank]
    closed = _closed(problem, inner)
    left = inner if isinstance(closed, str) else closed.ranks[~closed.sure].tolist()
    if not left or max(problem.dx, problem.dy) > _LARGEST:
        return Known(closed)
    try:
        return Known(closed, discarded_signal(problem, left))
    except LinregLoraError:
        return Known(closed)


def _closed(problem: Problem, ranks: list[int]) -> TaskComplexity | str:
    try:
        return task_complexity(problem, ranks)
    except InvalidInput as refused:
        return str(refused)


def as_json(known: Known, ranks: np.ndarray) -> dict[str, object]:
    """One entry a rank; null at rank 0 and full rank, and everywhere without a closed form: `note` says why."""
    found, solved = known.closed, _odds(known)
    odds = {"odds": [value(solved.get(int(rank), (None, False))[0]) for rank in ranks]}
    odds |= {"odds_flagged": [solved.get(int(rank), (None, False))[1] for rank in ranks]}
    if isinstance(found, str):
        empty: dict[str, object] = {name: [None] * len(ranks) for name in ("closed", "sure", "window", "noise_std")}
        return {**empty, **odds, "note": found}
    place = {int(rank): i for i, rank in enumerate(found.ranks)}
    at = [place.get(int(rank)) for rank in ranks]
    return {
        "closed": [None if i is None else value(found.complexity[i]) for i in at],
        "sure": [None if i is None else bool(found.sure[i]) for i in at],
        "window": [None if i is None else [value(end) for end in found.window[i]] for i in at],
        "noise_std": [None if i is None else value(found.noise_std[i]) for i in at],
        **odds,
        "note": "",
    }


def _odds(known: Known) -> dict[int, tuple[float, bool]]:
    """Rank -> odds, and whether they may be off."""
    if known.dropped is None:
        return {}
    one = known.dropped
    return dict(zip(one.ranks.tolist(), zip(one.odds.tolist(), one.flagged.tolist(), strict=True), strict=True))


def column(known: Known, ranks: np.ndarray) -> list[str]:
    """One cell a rank; empty where nothing is known of any."""
    found = known.closed
    if isinstance(found, str):
        solved = _odds(known)
        shown = {rank: f"{marked(odds, flagged)} {SOLVED}" for rank, (odds, flagged) in solved.items()}
        return [shown.get(int(rank), "-") for rank in ranks] if shown else []
    shown = {
        int(rank): number(odds) if sure else f"{number(odds)} {UNSURE}"
        for rank, odds, sure in zip(found.ranks, found.complexity, found.sure, strict=True)
    }
    return [shown.get(int(rank), "-") for rank in ranks]


def notes(cells: Sequence[str]) -> list[str]:
    """What is said below a table with such a column."""
    if not cells:
        return []
    if any(SOLVED in cell for cell in cells):
        return [SAID_SOLVED]
    return [SAID, SAID_UNSURE] if any(UNSURE in cell for cell in cells) else [SAID]


def closed_crossings(problem: Problem, rank: int, over: str, low: float, high: float) -> ClosedCrossings:
    """Where C_r = 1 along `over`, n or noise_std, from `low` to `high` or beyond.

    With n the closed form has no n in it: whether it is valid is asked at the crossing, not at the n of the problem.
    """
    if over == "noise_std":
        known = _closed(problem, [rank] if rank < problem.without_null_inputs().max_rank else [])
        if isinstance(known, str):
            return ClosedCrossings((), known)
        found = [(float(at), bool(sharp)) for at, sharp in zip(known.noise_std, known.sharp_noise_std, strict=True)]
        return ClosedCrossings(tuple(ClosedCrossing(*one, low <= one[0] <= high) for one in found if one[0] > 0), "")
    inputs = problem.without_null_inputs().dx
    known = _closed(problem.replace(n=2 * inputs + 4), [rank] if 0 < rank < min(inputs, problem.dy) else [])
    if isinstance(known, str) or not known.ranks.size:
        return ClosedCrossings((), known if isinstance(known, str) else "")
    ends, notes = [], []
    for end in known.window[0].tolist():
        if not np.isfinite(end):
            continue
        nearest = max(int(np.ceil(end)), inputs + 2) if end > inputs else min(int(np.floor(end)), inputs - 2)
        there = _closed(problem.replace(n=nearest), [rank])
        if isinstance(there, str):
            notes.append(there)
            continue
        sharp = there.sharp[0, int(end > inputs)]
        ends.append(ClosedCrossing(end, bool(sharp), low <= end <= high))
    return ClosedCrossings(tuple(ends), "; ".join(notes))


def closed_text(crossings: ClosedCrossings, over: str, flagged: bool) -> str:
    """The closed form, and which number to take; one line where there is none, or nothing where that needs no word.

    `flagged`: the answer above it may be off.
    """
    found = crossings.found
    if not found:
        return f"no closed form: {crossings.note}" if crossings.note else ""
    cells = [number(one.value) if one.sharp else f"{number(one.value)} {UNSURE}" for one in found]
    said = ", ".join(
        cell if one.within else f"{cell} (outside of the range)" for cell, one in zip(cells, found, strict=True)
    )
    near = "" if all(one.sharp for one in found) else f"; {UNSURE} corrections move it by more than a fortieth"
    which = SAID_WHICH_IN_DOUBT if flagged and not near else SAID_WHICH
    return f"in closed form, by C_r = 1: {over} = {said}{near}\n{which}"
