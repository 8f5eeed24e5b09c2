"""What is said of task complexity beside risks and crossings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linreg_lora.cli.numbers import number, value
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.complexity import TaskComplexity, task_complexity

#: Beside a C_r that may be on the wrong side of 1.
UNSURE = "?"
SAID = "complexity: C_r, in closed form; below 1 LoRA beats FFT"
SAID_UNSURE = f"{UNSURE} kept and dropped directions mix by more than C_r is from 1: the risks decide"


class ClosedCrossing(NamedTuple):
    """A `value` at which C_r = 1, and whether it is `sharp`: known within 5 %."""

    value: float
    sharp: bool


def known(problem: Problem, ranks: "np.ndarray | list[int]") -> TaskComplexity | str:
    """C_r at those of the ranks where LoRA neither is FFT nor learns nothing, or why it has no closed form."""
    try:
        return task_complexity(problem, [int(r) for r in ranks if 0 < r < problem.max_rank])
    except InvalidInput as refused:
        return str(refused)


def as_json(found: TaskComplexity | str, ranks: np.ndarray) -> dict[str, object]:
    """One entry a rank; null at rank 0 and full rank, and everywhere without a closed form: `note` says why."""
    if isinstance(found, str):
        empty: dict[str, object] = {name: [None] * len(ranks) for name in ("closed", "sure", "window", "noise_std")}
        return {**empty, "note": found}
    place = {int(rank): i for i, rank in enumerate(found.ranks)}
    at = [place.get(int(rank)) for rank in ranks]
    return {
        "closed": [None if i is None else value(found.complexity[i]) for i in at],
        "sure": [None if i is None else bool(found.sure[i]) for i in at],
        "window": [None if i is None else [value(end) for end in found.window[i]] for i in at],
        "noise_std": [None if i is None else value(found.noise_std[i]) for i in at],
        "note": "",
    }


def column(found: TaskComplexity, ranks: np.ndarray) -> list[str]:
    """One cell a rank."""
    shown = {
        int(rank): number(odds) if sure else f"{number(odds)} {UNSURE}"
        for rank, odds, sure in zip(found.ranks, found.complexity, found.sure, strict=True)
    }
    return [shown.get(int(rank), "-") for rank in ranks]


def notes(cells: Sequence[str]) -> list[str]:
    """What is said below a table with such a column."""
    if not cells:
        return []
    return [SAID, SAID_UNSURE] if any(UNSURE in cell for cell in cells) else [SAID]


def closed_crossings(problem: Problem, rank: int, over: str) -> list[ClosedCrossing]:
    """Where C_r = 1 along `over`, n or noise_std; empty where that has no closed form, or is nowhere."""
    found = known(problem, [rank])
    if isinstance(found, str) or not found.ranks.size:
        return []
    if over == "noise_std":
        at = float(found.noise_std[0])
        return [ClosedCrossing(at, bool(found.sharp_noise_std[0]))] if at > 0 else []
    ends = zip(found.window[0].tolist(), found.sharp[0].tolist(), strict=True)
    return [ClosedCrossing(end, sharp) for end, sharp in ends if np.isfinite(end)]


def closed_text(crossings: Sequence[ClosedCrossing], over: str) -> str:
    """One line."""
    said = ", ".join(number(one.value) if one.sharp else f"{number(one.value)} {UNSURE}" for one in crossings)
    near = "" if all(one.sharp for one in crossings) else f"; {UNSURE} singular values next to rank r are too near"
    return f"in closed form, by C_r = 1: {over} = {said}{near}"
