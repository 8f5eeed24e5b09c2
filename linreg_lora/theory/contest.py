"""Who wins, LoRA of rank r or full fine-tuning: in closed form where that decides, by the equivalent elsewhere."""

from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.best_rank_closed import closed_best_rank
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.decisions import BestRank, best_rank
from linreg_lora.theory.fft import fft_risk

#: What decided.
CLOSED, DIFFERENCE = "complexity", "difference"


class Verdict(NamedTuple):
    """Whether LoRA of rank `rank` has less expected risk than FFT.

    `complexity` is C_r (nan where it has no closed form); `by`: complexity, where its first-order correction leaves the
    sign as it is, or difference, E [risk(D_r) - risk(FFT)] by the equivalent. `flagged`: that is doubtful; `note`: why.
    """

    rank: int
    lora_wins: bool
    complexity: float
    by: str
    flagged: bool = False
    note: str = ""


def winner_at(problem: Problem, ranks: object = None) -> list[Verdict]:
    """A verdict at each rank, default 1..R - 1, R = min(n, dx, dy). A rank whose difference is not known is flagged.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(5.0, 4.0, 0.5, 0.49), noise_std=0.2)
    >>> [(verdict.rank, verdict.lora_wins, verdict.by) for verdict in ll.theory.winner_at(problem, ranks=[1, 2, 3])]
    [(1, False, 'complexity'), (2, False, 'complexity'), (3, True, 'complexity')]
    """
    reduced = problem.without_null_inputs()
    chosen = np.arange(1, reduced.max_rank) if ranks is None else np.atleast_1d(np.asarray(ranks))
    try:
        closed = task_complexity(problem, chosen)
        complexity, sure, note = closed.complexity, closed.sure, _MIXED
    except InvalidInput as refused:
        if refused.field in ("ranks", "rank"):
            raise
        complexity, sure = np.full(len(chosen), np.nan), np.zeros(len(chosen), dtype=bool)
        note = str(refused)
    open_ranks = chosen[~sure]
    curve = expected_risk(problem, open_ranks) if open_ranks.size else None
    verdicts = []
    for rank, decided, value in zip(chosen.tolist(), sure, complexity, strict=True):
        if decided:
            verdicts.append(Verdict(rank, bool(value < 1), float(value), CLOSED))
            continue
        assert curve is not None
        known = curve.at_rank(rank)
        doubtful = bool(known.flagged or curve.fft_flagged or np.isnan(known.difference))
        said = "; ".join((note, *curve.notes)) if doubtful else note
        verdicts.append(Verdict(rank, bool(known.difference < 0), float(value), DIFFERENCE, doubtful, said))
    return verdicts


def winning_rank(problem: Problem) -> tuple[BestRank, str]:
    """The best rank in closed form where corrections leave it so, and by the equivalent elsewhere; and which it was.

    Of the first, the risk is nan: the closed forms know who is best better than by how much.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(5.0, 4.0, 0.1), noise_std=1.0)
    >>> found, by = ll.theory.winning_rank(problem)
    >>> found.rank, by
    (2, 'complexity')
    """
    try:
        closed = closed_best_rank(problem)
    except InvalidInput:
        return best_rank(problem), DIFFERENCE
    if not closed.sure:
        return best_rank(problem), DIFFERENCE
    return BestRank(closed.rank, float("nan"), fft_risk(problem).risk), CLOSED


_MIXED = "kept and dropped directions mix by more than C_r is from 1"
