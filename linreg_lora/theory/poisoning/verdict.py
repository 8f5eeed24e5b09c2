"""What poison does to LoRA of rank r, in one word, and the budget at which that changes.

    immune     the poison is not kept: its success is O(1/d) of FFT's; its damage is that of `mixing`, r/dx of FFT's
               where it is far below the r-th direction, and more than FFT's where it is near
    partly     the poison is hidden by noise, and directions of noise that rank r keeps beside the task hold a tenth to
    absorbed   nine tenths of it (`surplus`)
    equal      it is kept, or nine tenths of it, beside the task, and does what it does to FFT
    hijacked   it is kept instead of task direction r: LoRA has learnt r - 1 directions, and the poison

An orthogonal poison (p, t and v orthogonal to Delta's directions) has the strength theta of `planted`. With
e_i = sigma^2 sqrt((dy - i + 1)(k - i + 1)), k = min(n, dx), the square of the least detectable strength of an i-th
direction (`spiked`) and k_det the number of detectable task directions, it is kept at rank r if and only if

    theta^2 > n s_r^2   (r <= k_det: hijacked),     theta^2 > e_{k_det + 1}   (r > k_det: equal).

So the budget m |p|^2 at which rank r changes is that over theta^2 / (m |p|^2): n^2 s_r^2 / dx for labels alone, where
poison is averaged out as noise is, n s_r^2 for a strong trigger or n < dx. Where p is in U, or t in V, it is kept at
any size in the limit; a small target is outweighed by what mixing takes of the task's own answer (`mixing`), and its
verdict flagged. In general M_r, the r strongest detectable directions of the planted signal, decide: the poison is kept
where M_r holds half of the answer p that it plants (to the trigger; to v where samples are chosen) more than it did
without poison, so that what rank r lacks of the task is no answer, and has replaced
direction r where r <= k_det and half of s_r^2 is gone from the task's r strongest directions.

Hijacked, and the poison far stronger than the task, LoRA loses the direction r that an unpoisoned fit would have had:

    E [risk(D_r) - risk(FFT)] ~ A_r (tail_{r-1}^2 - B_r)       (A_r, B_r of `theory.complexity`)

so it is worse than FFT if and only if tail_{r-1}^2 > B_r. A limit: 1 to 2 % off for n > dx, up to 9 % for n < dx, and
15 % where r > k_det.

Verdicts are limits too: for theta^2 near its threshold the draws decide (`tie`). A verdict is compared with the success
that the spiked model gives its rank, in which directions mix, relative to that of FFT: an orthogonal poison to which
rank r is immune otherwise, but that it answers to a tenth or more, is partly absorbed. `flagged` are ties, ranks that
the model doubts (`spiked`), verdicts that its success contradicts, and those without one to compare with. Source:
derived here.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.poisoning.attack import Poison, Whitened, isotropic_noise, whitened
from linreg_lora.theory.poisoning.planted import planted
from linreg_lora.theory.poisoning.spiked import spiked_poisoned_risk
from linreg_lora.theory.poisoning.surplus import surplus
from linreg_lora.theory.truncation import numerical_rank

#: theta over the square root of its threshold, between which the draws decide.
TIE = (0.75, 1.35)
#: What is kept in part counts by its larger half.
_HALF = 0.5
#: Shares of what is hidden that count as none and as all.
_SOME, _ALL = 0.1, 0.9
#: Factors of |p|, relative to the strongest threshold, that are looked at, and how near a change is found.
_LEAST, _MOST, _STEPS = 1e-6, 1e3, 60
#: Shares of FFT's success that do not contradict a verdict.
_CONSISTENT = {"immune": (-0.1, 0.1), "partly absorbed": (0.1, 0.9), "equal": (0.7, 1.3), "hijacked": (0.7, 1.3)}
#: Relative lengths that count as none.
_NONE = 1e-9


class Outcome(StrEnum):
    """What poison does to LoRA."""

    IMMUNE = "immune"
    EQUAL = "equal"
    HIJACKED = "hijacked"
    PARTLY = "partly absorbed"


class PoisonVerdict(NamedTuple):
    """Of one rank.

    `budget`: the m |p|^2 from which it stands out and is kept, by the same samples and trigger; 0: at any size.
    Below it the rank is immune or, where ranks are left over for noise, absorbs it in part, or nearly all of it.
    `ratio`: theta over the square root of its threshold, by the part of the poison that is orthogonal to the task;
    `tie`: it is between .75 and 1.35, where the draws decide; `flagged`: the verdict may be wrong, as at a tie.
    """

    rank: int
    outcome: Outcome
    budget: float
    ratio: float
    tie: bool
    flagged: bool = False


def poison_verdicts(problem: Problem, poison: Poison, ranks: object = None) -> list[PoisonVerdict]:
    """A verdict at each rank, default 1..R, R = min(n, dx, dy), where LoRA is FFT.

    Raises `InvalidInput` where `attack.whitened` does, for noise that is not sigma^2 I, sigma > 0, and for rank 0.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> poison = ll.theory.Poison(count=40, target=6 * np.eye(50)[49], trigger=2 * np.eye(60)[59])
    >>> for found in ll.theory.poison_verdicts(problem, poison, ranks=[2, 3, 4]):
    ...     print(found.rank, found.outcome, f"{found.budget:.0f} against {poison.budget:.0f}", found.tie)
    2 immune 4073 against 1440 False
    3 hijacked 1018 against 1440 True
    4 equal 132 against 1440 False
    """
    attacked = whitened(problem, poison)
    noise = isotropic_noise(problem)
    chosen = np.arange(1, problem.max_rank + 1) if ranks is None else valid_ranks(ranks, problem)
    if np.any(chosen == 0):
        raise InvalidInput("ranks", "ranks of at least 1, where something is learnt", 0)
    found = _Scales(problem, attacked, noise).verdicts(chosen.tolist(), poison.budget)
    try:
        model = spiked_poisoned_risk(problem, poison)
    except InvalidInput:
        return [one._replace(flagged=one.rank < problem.max_rank) for one in found]
    if poison.trigger is None:
        return [one._replace(flagged=one.tie or bool(model.doubted[one.rank])) for one in found]
    shares = model.success / model.success[-1]
    return [_compared(one, float(shares[one.rank]), bool(model.doubted[one.rank]), model.pure) for one in found]


def _compared(found: PoisonVerdict, share: float, doubted: bool, pure: bool) -> PoisonVerdict:
    """A verdict beside the `share` of FFT's success that the spiked model gives its rank."""
    outcome = found.outcome
    if outcome is Outcome.IMMUNE and pure and share >= _SOME:
        outcome = Outcome.EQUAL if share >= _ALL else Outcome.PARTLY
    low, high = _CONSISTENT[outcome]
    return found._replace(outcome=outcome, flagged=found.tie or doubted or not low <= share <= high)


def hijacked_difference(problem: Problem, rank: int) -> float:
    """A_r (tail_{r-1}^2 - B_r), the limit of E [risk(D_r) - risk(FFT)] where LoRA of rank r is hijacked.

    Takes the clean problem. Raises `InvalidInput` where `task_complexity` does.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=200, dx=30, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> [round(ll.theory.hijacked_difference(problem, rank), 3) for rank in (1, 2, 3)]
    [10.794, 2.038, -1.742]
    """
    found = task_complexity(problem, [rank])
    before = float(np.sum(problem.without_null_inputs().whitened_spectrum[rank - 1 :] ** 2))
    return float(found.gain[0] * (before - found.noise[0]))


class _Scales:
    """A poisoned problem, and what changes as its target grows."""

    def __init__(self, problem: Problem, attacked: Whitened, noise: float) -> None:
        self._size, self._noise = problem.max_rank, noise
        self._shape = attacked.dy, min(attacked.n, attacked.dx)
        stronger = np.arange(min(self._shape))
        self._least = noise * np.sqrt((self._shape[0] - stronger) * (self._shape[1] - stronger))
        u, s, vt = np.linalg.svd(attacked.shift, full_matrices=False)
        known = self._stand_out(np.sqrt(attacked.n) * s) & (np.arange(len(s)) < numerical_rank(s, attacked.shift.shape))
        attacked = attacked._replace(shift=(u[:, known] * s[known]) @ vt[known])
        found = planted(attacked)
        basis = np.linalg.svd(np.column_stack([u[:, known], attacked.target]), full_matrices=False)[0]
        self._p, self._poison = basis.T @ attacked.target, found.poison
        self._clean = basis.T @ found.signal - np.outer(self._p, self._poison)
        self._asked = found.response if attacked.leverage > 0 else _coherent(found.poison, attacked)
        left, values, right = np.linalg.svd(self._clean, full_matrices=False)
        self._known = int(np.sum(known))
        self._left, self._right = left[:, : self._known], right[: self._known].T
        self._task = values[: self._known] ** 2
        self._alone = np.cumsum(values * (self._p @ left) * (right @ self._asked))
        self._theta = 0.0 if _within(attacked.trigger, vt[known].T) else self._orthogonal_strength()

    def _orthogonal_strength(self) -> float:
        """theta of what p and b have beside the task's directions; 0 where that is nothing."""
        p = self._p - self._left @ (self._left.T @ self._p)
        beside = self._poison - self._right @ (self._right.T @ self._poison)
        if np.linalg.norm(p) <= _NONE * np.linalg.norm(self._p):
            return 0.0
        return float(np.linalg.norm(p) * np.linalg.norm(beside))

    def verdicts(self, ranks: list[int], budget: float) -> list[PoisonVerdict]:
        now = self._with_surplus(self._outcomes(1.0))
        strongest = np.sqrt(max(self._least[0], float(np.max(self._task, initial=0.0))))
        unit = strongest / max(float(np.linalg.norm(self._p) * np.linalg.norm(self._poison)), np.finfo(float).tiny)
        grid = unit * np.geomspace(_LEAST, _MOST, _STEPS)
        immune = np.array([[one is Outcome.IMMUNE for one in self._outcomes(factor)] for factor in grid])
        found = []
        for rank in ranks:
            ratio = self._theta / np.sqrt(self._threshold(rank))
            tie = bool(TIE[0] <= ratio <= TIE[1]) and rank < self._size
            change = self._change(rank, grid, immune[:, rank - 1])
            found.append(PoisonVerdict(rank, now[rank - 1], budget * change**2, float(ratio), tie))
        return found

    def _with_surplus(self, found: list[Outcome]) -> list[Outcome]:
        """Immunity looked at again: how much of what noise hides do rank's directions of noise hold?"""
        u, theta, vt = np.linalg.svd(self._clean + np.outer(self._p, self._poison), full_matrices=False)
        held = surplus(theta[: self._size], self._noise, *self._shape).share[:, : len(theta)]
        hidden = ~self._stand_out(theta)
        answer = (theta * (self._p @ u) * (vt @ self._asked))[: held.shape[1]]
        planted_answer = float(self._p @ self._p) * float(self._poison @ self._asked)
        shares = held @ np.where(hidden[: held.shape[1]], answer, 0.0) / planted_answer
        again = []
        for rank, outcome in enumerate(found, start=1):
            if outcome is Outcome.IMMUNE and shares[rank] >= _SOME:
                outcome = Outcome.EQUAL if shares[rank] >= _ALL else Outcome.PARTLY
            again.append(outcome)
        return again

    def _stand_out(self, strengths: np.ndarray) -> np.ndarray:
        """Which of directions from the strongest on, no more than the noise has, are detectable."""
        found = np.zeros(len(strengths), dtype=bool)
        size = min(len(strengths), len(self._least))
        found[:size] = np.cumprod(strengths[:size] ** 2 > self._least[:size])
        return found

    def _threshold(self, rank: int) -> float:
        if rank <= self._known:
            return float(self._task[rank - 1])
        return float(self._least[min(self._known, len(self._least) - 1)])

    def _change(self, rank: int, grid: np.ndarray, immune: np.ndarray) -> float:
        """The factor of p at which a rank is no longer immune; 0: it never is; inf: it always is."""
        if not immune[0] or rank == self._size:
            return 0.0
        if np.all(immune):
            return np.inf
        first = int(np.argmin(immune))
        low, high = grid[first - 1], grid[first]
        for _ in range(40):
            middle = np.sqrt(low * high)
            if self._outcomes(middle)[rank - 1] is Outcome.IMMUNE:
                low = middle
            else:
                high = middle
        return float(high)

    def _outcomes(self, factor: float) -> list[Outcome]:
        """At ranks 1..R, for a target `factor` times as long."""
        p = factor * self._p
        u, theta, vt = np.linalg.svd(self._clean + np.outer(p, self._poison), full_matrices=False)
        kept = self._stand_out(theta)
        answers = np.cumsum(np.where(kept, theta * (p @ u) * (vt @ self._asked), 0.0))
        planted_answer = float(p @ p) * float(self._poison @ self._asked)
        shares = (answers - factor * self._alone) / planted_answer
        parts = theta[:, None, None] * (u.T @ self._left)[:, :, None] * (vt @ self._right)[:, None, :]
        found = []
        for rank in range(1, self._size):
            if shares[min(rank, len(shares)) - 1] < _HALF:
                found.append(Outcome.IMMUNE)
                continue
            gone = np.sum(parts[rank:], axis=0) + np.sum(parts[:rank][~kept[:rank]], axis=0)
            replaced = rank <= self._known and np.sum(gone[:rank, :rank] ** 2) > _HALF * self._task[rank - 1]
            found.append(Outcome.HIJACKED if replaced else Outcome.EQUAL)
        return [*found, Outcome.EQUAL]


def _coherent(poison: np.ndarray, attacked: Whitened) -> np.ndarray:
    """What labels alone answer to: v, where samples are chosen along it, else their own right vector."""
    if attacked.along is None:
        return poison
    return np.append(poison[:-1], 0.0)


def _within(vector: np.ndarray, basis: np.ndarray) -> bool:
    """Whether a vector lies in the span of orthonormal columns; zero does not."""
    outside = np.linalg.norm(vector - basis @ (basis.T @ vector))
    return bool(np.any(vector) and outside <= _NONE * np.linalg.norm(vector))
