"""Where C_r = 1 as n grows, against the sample size at which the equivalent's risks cross.

The ends of a window are dx - 1 - Q_r and dx + 1 + Q_r: of five given problems, and of drawn ones at a drawn rank until
50 ends are sharp by their own account. The first 25 others that come along are counted too, with why they are not.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import linreg_lora as ll

#: How many sharp ends are looked for, and others at most; from which seed after the first on; how near they must be.
SHARP, BLUNT, LATER, WITHIN = 50, 25, 600_000, 0.05
#: Ends beyond are left out: the tail is next to nothing.
FURTHEST = 1e7
#: Those that are not drawn: dx, dy, rank, noise_std and spectrum.
GIVEN = "given"
FIVE = (
    (40, 40, 4, 0.5, tuple(5 * np.exp(-np.arange(40) / 2))),
    (30, 20, 3, 0.5, tuple(1 / np.arange(1, 21))),
    (20, 30, 3, 1.0, (3.0, 2.0, 1.0, 0.3)),
    (40, 20, 2, 0.7, (4.0, 3.0, *[0.25] * 18)),
    (25, 25, 2, 1.0, (2.0, 1.8, 1.5)),
)


class End(NamedTuple):
    """One end of a window: `closed` by C_r = 1, `solved` the last n before the equivalent's winner changes, or nan."""

    family: str
    dx: int
    dy: int
    rank: int
    upper: bool
    closed: float
    solved: float
    sharp: bool
    why: str

    @property
    def off(self) -> float:
        """Relative distance from the nearest of solved..solved + 1: winners change between two whole numbers."""
        return abs(self.closed / float(np.clip(self.closed, self.solved, self.solved + 1)) - 1)


def ends(drawn: Callable[[int], tuple[str, ll.Problem, int, Any]], first: int) -> list[End]:
    """The five upper ends, and every end of drawn problems until enough are sharp."""
    found = []
    for dx, dy, rank, noise_std, spectrum in FIVE:
        problem = ll.Problem(n=2 * dx, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std)
        found += [end for end in _ends(GIVEN, problem, rank) if end.upper]
    seed = first + LATER
    while sum(end.sharp and end.family != GIVEN for end in found) < SHARP:
        family, problem, rank, _ = drawn(seed)
        found += _ends(family, problem, rank, sharp_only=sum(not end.sharp for end in found) > BLUNT)
        seed += 1
        if seed % 50 == 0:
            print(f"{sum(end.sharp for end in found)} sharp ends", flush=True)
    return found


def _ends(family: str, problem: ll.Problem, rank: int, *, sharp_only: bool = False) -> list[End]:
    closed = ll.theory.task_complexity(problem, [rank])
    found = []
    for upper, at, sharp in zip((False, True), closed.window[0], closed.sharp[0], strict=True):
        if at < FURTHEST and (sharp or not sharp_only):
            solved = _solved(problem, rank, float(at), upper=upper)
            found.append(
                End(family, problem.dx, problem.dy, rank, upper, float(at), solved, bool(sharp), closed.blunt[0])
            )
    return found


def _solved(problem: ll.Problem, rank: int, near: float, *, upper: bool) -> float:
    """The last n before the winner changes nearest to an end, within a factor of two of it; nan where there is none."""
    low, high = (problem.dx + 2, math.inf) if upper else (rank + 1, problem.dx - 2)
    grid = {round(share * near) for share in (0.5, 0.8, 0.9, 0.97, 1.03, 1.1, 1.3, 2.0)}
    grid = sorted(grid | {math.floor(near), math.floor(near) + 1})
    grid = [n for n in grid if low <= n <= high]

    @functools.cache
    def wins(n: int) -> bool:
        return bool(ll.expected_risk(problem.replace(n=n), [rank], flags=False).difference[0] < 0)

    changes = [(a, b) for a, b in itertools.pairwise(grid) if wins(a) != wins(b)]
    found = [a + bisect.bisect(range(a + 1, b), 0, key=lambda n, a=a: int(wins(n) != wins(a))) for a, b in changes]
    return float(min(found, key=lambda n: abs(math.log(n / near)), default=math.nan))


def table(found: list[End]) -> str:
    """As Markdown."""
    given, others = ([end for end in found if (end.family == GIVEN) is known] for known in (True, False))
    sharp, blunt = ([end for end in others if end.sharp is known] for known in (True, False))
    within = sum(end.off <= WITHIN for end in sharp)
    lines = [
        "## Where the winner changes", "",
        f"The ends of the window in n by C_r = 1, against where the equivalent's risks cross (the nearest crossing "
        f"within a factor of two): {len(given)} given problems, and drawn ones until {len(sharp)} ends were sharp.", "",
        "| ends | within 5 % | median distance | largest | no crossing there |", "|---|---|---|---|---|",
        _row("given", given),
        _row(f"`sharp` ({within} of {len(sharp)} within 5 %: {'met' if within == len(sharp) else 'missed'})", sharp),
        _row("`sharp`, above dx", [end for end in sharp if end.upper]),
        _row("`sharp`, below dx", [end for end in sharp if not end.upper]),
        _row("not `sharp`", blunt), "",
        "| family | dx, dy, r | end | C_r = 1 | solved | off by |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {e.family} | {e.dx}, {e.dy}, {e.rank} | {'upper' if e.upper else 'lower'} | {e.closed:.1f} | "
        f"{e.solved:.0f} | {100 * e.off:.1f} % |"
        for e in given + sharp
    ]
    lines += [
        "", "Of those that are not sharp, the ten that are furthest off, and why:", "",
        "| family | dx, dy, r | C_r = 1 | solved | why it is not sharp |", "|---|---|---|---|---|",
    ]  # fmt: skip
    worst = sorted(blunt, key=lambda end: -math.inf if math.isnan(end.off) else -end.off)[:10]
    lines += [
        f"| {e.family} | {e.dx}, {e.dy}, {e.rank} | {e.closed:.1f} | "
        f"{'none' if math.isnan(e.solved) else format(e.solved, '.0f')} | {e.why} |"
        for e in worst
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, some: list[End]) -> str:
    off = np.array([end.off for end in some if not math.isnan(end.off)])
    if not off.size:
        return f"| {name} | - | - | - | {len(some)} |"
    return (
        f"| {name} | {np.sum(off <= WITHIN)} of {len(some)} | {100 * np.median(off):.1f} % | {100 * off.max():.1f} % | "
        f"{len(some) - off.size} |"
    )
