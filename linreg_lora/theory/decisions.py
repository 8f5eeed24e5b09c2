"""Answers that users ask of the theory: the best rank, and the ranks that beat FFT."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.notes import FLAGGED, UNFLAGGED, spans
from linreg_lora.theory.rank_search import curve_near_best

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
    curve = curve_near_best(problem)
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


def near_best(curve: RiskCurve) -> list[int]:
    """Those of a theory curve's ranks that theory cannot tell from its best rank b, which is not among them: all r with

        risk_r (1 - e_r) <= risk_b (1 + e_b),

    e the relative error that a number may have: 1 % (`UNFLAGGED`), a tenth where it is flagged (`FLAGGED`), and none at
    rank 0, which is exact. Raises as `RiskCurve.best_rank` does, and `InvalidInput` for a curve that is simulated.

    >>> import linreg_lora as ll
    >>> shift = ll.spectra.power_law(20, exponent=1, scale=4)
    >>> curve = ll.expected_risk(ll.Problem(n=100, dx=20, dy=20, spectrum=shift, noise_std=1.0))
    >>> curve.best_rank, ll.theory.near_best(curve), curve.ranks[curve.flagged].tolist()
    (5, [3, 4, 6, 7], [3, 4])
    """
    if curve.computed_by != "theory":
        raise InvalidInput("curve", "one by theory", curve.computed_by, "a simulated curve has standard errors")
    error = np.full(len(curve.ranks), UNFLAGGED)
    if curve.flagged is not None:
        error[curve.flagged] = FLAGGED
    error[curve.ranks == 0] = 0
    best = curve.ranks == curve.best_rank
    highest = np.max((curve.risk * (1 + error))[best])
    return curve.ranks[(curve.risk * (1 - error) <= highest) & ~best].tolist()


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


def _require_known(risk: np.ndarray, notes: tuple[str, ...]) -> None:
    if np.any(np.isnan(risk)):
        raise NumericalFailure("; ".join(notes))
