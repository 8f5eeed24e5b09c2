"""Risk against rank where FFT, and LoRA of every rank, has its own best ridge: that of least expected risk.

FFT with Sigma = c I (Gaussian inputs): the best ridge is known, at every n and not only in the limit,

    eta* = rank(Sigma) c Tr(Sigma_eps) / ||Delta Sigma^{1/2}||_F^2      (dx Tr(Sigma_eps) / ||Delta||_F^2)

because X has the same law in every basis: bias and variance are those of a Delta with iid Gaussian entries of the same
energy, averaged, and of these the ridge estimator at eta* is the posterior mean, on every X. Else, and for LoRA, it is
looked for (`theory.ridge_search`) on curves that all ranks share.

A risk is flat where it is least: an error of a share e in it is one of sqrt(2 e risk / risk'') in log eta. FFT's risk
is within 1e-6 of the least over ridges, LoRA's within 1e-4; their ridges, to some 1 % and 10 %. Source: derived here;
eta* as the ridge of least risk is known in the limit (Dobriban and Wager 2018).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory import fft, notes, ridge_search
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.effective import input_variances, lower_edge
from linreg_lora.theory.equivalent import rank_of_full_fit

AUTO = "auto"
#: Said of the formula of a curve.
EACH = "each with its best ridge"
#: The risk at an infinite ridge, by name.
NO_UPDATE = "||Delta Sigma^{1/2}||_F^2, exact"
_NOT_SURE = "LoRA's best ridge is not sure, for nothing is known next to it"
#: What is said of flagged ranks begins so.
_OF_RANKS = notes.of_flagged([0]).partition(":")[0]
#: FFT's risks cost next to nothing.
_FFT_TOLERANCE = 1e-6

Progress = Callable[[int], None]


class TunedFFT(NamedTuple):
    """The best `ridge` of FFT (inf: no update), its expected `risk` there, and `formula`, `flagged`, `note` of that.

    `flagged`: the risk may be off by more than 1 %, or not be the least within that.
    """

    ridge: float
    risk: float
    formula: str
    flagged: bool = False
    note: str = ""


def fft_best_ridge(problem: Problem) -> TunedFFT:
    """The ridge eta >= 0 of least expected excess risk of FFT, whatever ridge the problem has. See the module.

    Raises `NumericalFailure` where FFT's risk is not known at any ridge.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> best = ll.theory.fft_best_ridge(problem)
    >>> f"ridge {best.ridge:.3f} = 24 * 20 / 14: {best.risk:.3f}; no ridge: {ll.theory.fft_risk(problem).risk:.3f}"
    'ridge 34.286 = 24 * 20 / 14: 5.996; no ridge: 13.714'
    """
    problem.require_centred("a best ridge by theory")
    found: dict[float, fft.FFTRisk] = {}

    def at(ridge: float) -> Float[np.ndarray, "1"]:
        try:
            found[ridge] = fft.fft_risk(problem.replace(ridge=ridge))
        except NumericalFailure as failure:
            found[ridge] = fft.FFTRisk(math.nan, math.nan, "none", note=str(failure))
        return np.array([found[ridge].risk])

    known = _best_if_isotropic(problem)
    if known is None:
        found_at = search(problem, at, problem.pretrained_risk, _FFT_TOLERANCE)
        ridge, sure = float(found_at.ridge[0]), bool(found_at.bracketed[0])
    else:
        ridge, sure = known, True
        at(0.0 if math.isinf(ridge) else ridge)
    if math.isinf(ridge):
        return TunedFFT(ridge, problem.pretrained_risk, NO_UPDATE)
    one = found[ridge]
    if math.isnan(one.risk):
        raise NumericalFailure(one.note)
    said = [one.note] if one.note else []
    said += [] if sure else [f"FFT's best ridge is not sure: nothing is known next to ridge {ridge:.3g}"]
    return TunedFFT(ridge, one.risk, one.formula, one.flagged or not sure, "; ".join(said))


def tuned_risk(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    progress: Progress = lambda _: None,
) -> RiskCurve:
    """`theory.expected_risk` with the best ridge of each rank, and of FFT, whatever ridge the problem has.

    The curve's `ridge` and `fft_ridge` say which; 0: none pays, inf: no update is best. Rank 0 has none. A rank is
    flagged where its risk there is, where a flagged risk at another ridge could be less by 1 %, and where nothing is
    known next to its ridge. `difference` is risk - FFT's, at each rank's ridge at the same order as there. `progress`
    is called with the number of curves just computed; there are about `ridge_search.USUAL` in all.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> curve = ll.expected_risk(problem, ranks=[2, 20], ridge="auto")
    >>> f"rank 2: {curve.risk[0]:.2f}, FFT: {curve.fft_risk:.2f}"
    'rank 2: 2.88, FFT: 6.00'
    """
    problem.require_centred("a best ridge by theory")
    chosen = valid_ranks(ranks, problem)
    said: list[str] = []
    try:
        full = fft_best_ridge(problem)
        said += [full.note] if full.flagged and flags else []
    except NumericalFailure as failure:
        full = TunedFFT(math.nan, math.nan, "none")
        said.append(str(failure))
    whole = (chosen >= rank_of_full_fit(problem.without_null_inputs())) & (chosen > 0)
    risk = np.where(whole, full.risk, np.where(chosen == 0, problem.pretrained_risk, np.nan))
    ridge, flagged = np.where(whole, full.ridge, 0.0), whole & full.flagged
    difference = np.where(whole, 0.0, risk - full.risk)
    formula = full.formula
    inside = ~whole & (chosen > 0)
    used = {full.ridge}
    if np.any(inside):
        interior = _Interior(problem, np.unique(chosen[inside]), correction, progress)
        for place in np.flatnonzero(inside).tolist():
            rank = int(chosen[place])
            ridge[place], risk[place] = interior.ridge(rank), interior.risk(rank)
            difference[place] = interior.difference(rank, full.risk)
            flagged[place] = interior.flagged(rank)
        used |= set(ridge[inside].tolist())
        said += interior.notes(flags)
        formula = f"{interior.formula}; FFT: {full.formula}; {EACH}"
    without = problem.replace(ridge=0.0).moments
    return RiskCurve(
        problem=problem,
        computed_by="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=full.risk,
        fft_stderr=None,
        difference=difference,
        difference_stderr=None,
        moments=without if 0.0 in used else Moments.FINITE,
        formula=formula,
        notes=tuple(dict.fromkeys(said)),
        flagged=flagged & flags,
        fft_flagged=full.flagged and flags,
        fft_formula=full.formula,
        ridge=ridge,
        fft_ridge=full.ridge,
    )


class _Interior:
    """LoRA at ranks between 0 and FFT: the curves that were computed, by ridge, and the best ridge of each rank."""

    def __init__(self, problem: Problem, ranks: Int[np.ndarray, "k"], correction: bool, progress: Progress) -> None:
        self.problem, self.ranks, self.curves = problem, ranks, dict[float, RiskCurve]()

        def at(ridge: float) -> Float[np.ndarray, "k"]:
            self.curves[ridge] = expected_risk(problem.replace(ridge=ridge), ranks, correction=correction)
            progress(1)
            return self.curves[ridge].risk

        self.found = search(problem, at, problem.pretrained_risk, ridge_search.TOLERANCE)
        self.place = {rank: place for place, rank in enumerate(ranks.tolist())}

    def ridge(self, rank: int) -> float:
        return float(self.found.ridge[self.place[rank]])

    def risk(self, rank: int) -> float:
        ridge = self.ridge(rank)
        return self.problem.pretrained_risk if math.isinf(ridge) else float(self.curves[ridge].risk[self.place[rank]])

    def difference(self, rank: int, full_risk: float) -> float:
        """risk - FFT's best: to FFT's at this rank's ridge at the same order, and from there to its best."""
        ridge = self.ridge(rank)
        if math.isinf(ridge):
            return self.problem.pretrained_risk - full_risk
        curve = self.curves[ridge]
        paired = float(curve.difference[self.place[rank]]) + (curve.fft_risk - full_risk)
        return paired if math.isfinite(paired) else self.risk(rank) - full_risk

    def flagged(self, rank: int) -> bool:
        """Whether the risk may be off by more than 1 %, or not be the least within that."""
        place, ridge = self.place[rank], self.ridge(rank)
        if not self.found.bracketed[place]:
            return True
        if math.isfinite(ridge) and self._flag(ridge, place):
            return True
        least = self.risk(rank) * (1 - notes.UNFLAGGED)
        return any(
            self._flag(other, place) and curve.risk[place] * (1 - notes.FLAGGED) < least
            for other, curve in self.curves.items()
        )

    def notes(self, flags: bool) -> list[str]:
        """What is said of the ranks at their ridges, leaving out what is said of others, and of FFT."""
        flagged = [rank for rank in self.ranks.tolist() if self.flagged(rank)] if flags else []
        said = [notes.of_flagged(flagged)] if flagged else []
        unsure = self.ranks[~self.found.bracketed].tolist()
        said += [f"{_NOT_SURE}: rank {notes.spans(unsure)}"] if unsure else []
        for ridge in self._used:
            curve = self.curves[ridge]
            here = self.found.ridge == ridge
            missing = bool(np.any(np.isnan(curve.risk[here])))
            said += [
                note
                for note in curve.notes
                if not note.startswith(("FFT", _OF_RANKS)) and (missing or not note.startswith("rank "))
            ]
        return said

    @property
    def formula(self) -> str:
        """How LoRA's risks were obtained."""
        found = [self.curves[ridge].formula for ridge in self._used]
        return found[-1].partition("; FFT: ")[0] if found else NO_UPDATE

    @property
    def _used(self) -> list[float]:
        """The finite ridges that are the best of some rank, in order."""
        return sorted({ridge for ridge in self.found.ridge.tolist() if math.isfinite(ridge)})

    def _flag(self, ridge: float, place: int) -> bool:
        found = self.curves[ridge].flagged
        return found is not None and bool(found[place])


def require_auto(ridge: object) -> None:
    """Raise `InvalidInput` for a ridge that is a word, and not auto."""
    if isinstance(ridge, str) and ridge != AUTO:
        raise InvalidInput("ridge", "auto or a number >= 0", ridge)


def _best_if_isotropic(problem: Problem) -> float | None:
    """eta* of the module, where Sigma = c I on its range and the inputs are Gaussian."""
    scale = problem.without_null_inputs().isotropic_scale
    if scale is None or not problem.input_law.is_gaussian:
        return None
    noise = problem.input_rank * scale * problem.noise_trace
    if problem.pretrained_risk == 0:
        return math.inf if noise > 0 else 0.0
    return noise / problem.pretrained_risk


def search(
    problem: Problem, at: Callable[[float], Float[np.ndarray, "k"]], no_update: float, tolerance: float
) -> ridge_search.Least:
    """`ridge_search.least`, from about the smallest to about the largest eigenvalue of X X^T that is not zero.

    `at`: a ridge -> risks; `no_update`: the risk at an infinite ridge, inf where it is not known.
    """
    values, k, n = input_variances(problem), problem.input_rank, problem.n
    widest = math.sqrt(n) + math.sqrt(k)
    if problem.regime is Regime.UNDERDETERMINED:
        low = lower_edge(values, n)
    else:
        low = problem.smallest_variance * max((math.sqrt(n) - math.sqrt(k)) ** 2, 1 / widest**2)
    high = float(np.max(values)) * widest**2
    still = problem.pretrained_risk
    start = float(np.sum(values)) * problem.noise_trace / still if still else 0.0
    return ridge_search.least(at, no_update, low=low, high=high, start=start or high, tolerance=tolerance)
