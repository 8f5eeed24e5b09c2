"""Clean risk and success against rank on poisoned data, by the sharpest result that is known for each.

| poison                               | FFT                | LoRA                                                  |
|--------------------------------------|--------------------|-------------------------------------------------------|
| labels of random samples             | exact (`fft_risk`) | the corrected equivalent with Sigma_eps + m p p^T / n |
| trigger, or labels of chosen samples | exact (`full`)     | the strong limit (`strong`) where what is not kept is |
|                                      |                    | tiny, else the spiked model (`spiked`); limits        |
| trigger and chosen samples           | not known          | not known                                             |

The first needs neither a ridge of 0 nor Sigma = c I; the others do what `attack.whitened` and `spiked` say. Where the
noise is not sigma^2 I only the strong limit answers, at r <= rank(Delta), flagged unless what is not kept is tiny.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.poisoning.attack import Poison
from linreg_lora.theory.poisoning.full import poisoned_fft
from linreg_lora.theory.poisoning.spiked import FEW, spiked_poisoned_risk
from linreg_lora.theory.poisoning.strong import strong_limit_error, strong_limit_under_poison, with_poisoned_noise
from linreg_lora.theory.poisoning.verdict import poison_verdicts

EQUIVALENT = "deterministic equivalent with Sigma_eps + m p p^T / n, corrected to first order in the dimension"
SPIKED = "spiked model with the poison as one more direction, corrected to first order in the samples"
EXACT_FFT = "mixtures over Poisson variables, exact"
#: By how much the spiked model may miss the risk without poison, relatively, where that is known better.
_OFF = 0.02
_COARSE = "{ranks}: the spiked model is off by more than 2 % without poison already, as for many directions"
#: A target, relative to the noise, that does nothing.
_UNSEEN = 1e-9
STRONG = "strong limit, exact as the task grows, at {ranks}"
#: Up to which relative error the strong limit is taken, and taken where nothing else answers.
_STRONG, _ALONE = 0.003, 0.05
_SMALL = "{ranks}: the spiked model is a limit of many samples, and there are fewer than 6"
_LARGE = (
    "{ranks}: corrections of the spiked model are large, it misses FFT's risk by more than 10 %, or what is kept is "
    "little stronger than what is not"
)
#: And by how much rounding may change a risk that is said.
_ROUNDED = 0.01
_LOST = "{ranks}: the risk is lost to rounding beside the size of the task"
_DOUBTED = (
    "{ranks}: the equivalent is in doubt without poison already, so that the spiked model has nothing to agree with"
)
_TIED = "{ranks}: the poison is nearly as strong as what it competes with, and the draws decide"


class Status(StrEnum):
    """How a number is known."""

    EXACT = "exact"
    LIMIT = "limit"
    UNKNOWN = "unknown"


class PoisonedCurve(NamedTuple):
    """LoRA at each of `ranks`, and FFT, on poisoned data.

    `risk` on clean inputs and `success` (nan without trigger); `status` of each rank; `flagged`: at a tie, doubted by
    the equivalent, with or without poison, or by the spiked model, or where that is coarse without poison. A number
    that is not known is nan, and `notes` say why.
    """

    ranks: Int[np.ndarray, "k"]
    risk: Float[np.ndarray, "k"]
    success: Float[np.ndarray, "k"]
    status: tuple[Status, ...]
    flagged: Bool[np.ndarray, "k"]
    formula: str
    fft_risk: float
    fft_success: float
    fft_status: Status
    fft_formula: str
    notes: tuple[str, ...]


def poisoned_risk(problem: Problem, poison: Poison, ranks: object = None) -> PoisonedCurve:
    """Clean risk and success at each rank, default 0..R, R = min(n, dx, dy), where LoRA is FFT.

    Raises `InvalidInput` where the poison does not fit the problem, and for inputs that are not Gaussian of mean zero.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.poisoned_risk(problem, ll.theory.Poison(count=40, target=2 * np.eye(50)[49]), ranks=[3])
    >>> f"LoRA {found.risk[0]:.4f} ({found.status[0]}), FFT {found.fft_risk:.4f} ({found.fft_status})"
    'LoRA 0.9711 (limit), FFT 8.9204 (exact)'
    """
    problem.require_gaussian("poisoned data by theory")
    poison.require_fit(problem)
    chosen = valid_ranks(ranks, problem)
    of_labels = poison.trigger is None and poison.along is None
    found = _labels(problem, poison, chosen) if of_labels else _planted(problem, poison, chosen)
    tied = _tied(problem, poison, chosen) & (np.array(found.status) == Status.LIMIT)
    notes = found.notes
    if np.any(tied):
        notes += (_TIED.format(ranks=_named(chosen[tied])),)
    return found._replace(flagged=found.flagged | tied, notes=notes)


def _labels(problem: Problem, poison: Poison, ranks: np.ndarray) -> PoisonedCurve:
    poisoned = with_poisoned_noise(problem, poison)
    curve, full = expected_risk(poisoned, ranks), fft_risk(poisoned)
    fft_status = Status.EXACT if full.exact else Status.LIMIT
    known = np.where(np.isnan(curve.risk), Status.UNKNOWN, Status.LIMIT)
    known = np.where(ranks == 0, Status.EXACT, np.where(ranks == problem.max_rank, fft_status, known))
    flagged = np.zeros(len(ranks), dtype=bool) if curve.flagged is None else curve.flagged
    none = np.full(len(ranks), np.nan)
    return PoisonedCurve(
        ranks, curve.risk, none, tuple(Status(one) for one in known), flagged, EQUIVALENT, curve.fft_risk, np.nan,
        fft_status, full.formula, curve.notes,
    )  # fmt: skip


def _planted(problem: Problem, poison: Poison, ranks: np.ndarray) -> PoisonedCurve:
    notes, reasons, status = [], [], np.full(len(ranks), Status.UNKNOWN)
    formula, coarse = "", np.zeros(len(ranks), dtype=bool)
    risk, success = np.full(len(ranks), np.nan), np.full(len(ranks), np.nan)
    full_risk = full_success = np.nan
    full_status = Status.UNKNOWN
    try:
        full = poisoned_fft(problem, poison)
        full_risk, full_success, full_status = full.risk, full.success, Status.EXACT
        at_end = ranks == problem.max_rank
        risk[at_end], success[at_end], status[at_end] = full_risk, full_success, Status.EXACT
        spiked = spiked_poisoned_risk(problem, poison)
        risk, success = spiked.risk[ranks], spiked.success[ranks]
        status = np.where(at_end, Status.EXACT, Status.LIMIT)
        formula = SPIKED
        clean = expected_risk(problem, ranks)
        unpoisoned = clean.risk
        without = spiked_poisoned_risk(
            problem, Poison(count=1, target=_UNSEEN * problem.noise_std * poison.target / np.linalg.norm(poison.target))
        )
        learnt = ~at_end & (ranks > 0)
        lost = learnt & ~(spiked.rounding[ranks] <= _ROUNDED * risk)
        risk, status = np.where(lost, np.nan, risk), np.where(lost, Status.UNKNOWN, status)
        coarse = learnt & ~(np.abs(without.risk[ranks] - unpoisoned) <= _OFF * unpoisoned)
        large = learnt & spiked.doubted[ranks]
        few = learnt & (problem.n < FEW)
        unsure = learnt & (np.zeros(len(ranks), dtype=bool) if clean.flagged is None else clean.flagged)
        reasons = [(_LOST, lost), (_COARSE, coarse), (_DOUBTED, unsure), (_LARGE, large), (_SMALL, few)]
        coarse = coarse | unsure | large | few
    except InvalidInput as refused:
        notes.append(str(refused))
    used = np.zeros(len(ranks), dtype=bool)
    if full_status is Status.EXACT and poison.along is None:
        for i, rank in enumerate(ranks.tolist()):
            error = strong_limit_error(problem, poison, rank) if 0 < rank < problem.max_rank else np.inf
            if error > (_STRONG if formula else _ALONE):
                continue
            exact = strong_limit_under_poison(problem, poison, rank)
            if np.isfinite(exact.risk):
                risk[i], success[i], status[i], used[i] = exact.risk, exact.success, Status.LIMIT, True
                coarse[i] = error > _STRONG
    if np.any(used):
        of = STRONG.format(ranks=_named(ranks[used]))
        formula = f"{of}; else {formula}" if formula else of
    for reason, which in reasons:
        if np.any(which & ~used):
            notes.append(reason.format(ranks=_named(ranks[which & ~used])))
    before = ranks == 0
    risk[before], status[before] = problem.pretrained_risk, Status.EXACT
    if poison.trigger is not None:
        clean = float(poison.target @ problem.shift @ poison.trigger)
        success[before] = 0.0 - clean / float(poison.target @ poison.target)
    return PoisonedCurve(
        ranks, risk, success, tuple(Status(one) for one in status), coarse, formula, full_risk, full_success,
        full_status, "" if full_status is Status.UNKNOWN else EXACT_FFT, tuple(notes),
    )  # fmt: skip


def _tied(problem: Problem, poison: Poison, ranks: np.ndarray) -> np.ndarray:
    """Which ranks are at a tie, as far as verdicts are known."""
    try:
        found = poison_verdicts(problem, poison, ranks[ranks > 0])
    except InvalidInput:
        return np.zeros(len(ranks), dtype=bool)
    tied = {one.rank for one in found if one.tie}
    return np.array([int(rank) in tied for rank in ranks])


def _named(ranks: np.ndarray) -> str:
    """The ranks in words."""
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(str(rank) for rank in ranks)}"
