"""What the explorer shows by theory: risk against rank, and risk against n, fast enough to follow a slider.

Every number is that of `ll.expected_risk`, at some ranks: the first ones, the shift's, and further ones in equal
ratios.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.explorer.setting import Setting
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.decisions import doubt_of_best
from linreg_lora.theory.effective import distance_from_threshold
from linreg_lora.theory.fft import NEAR, fft_risk
from linreg_lora.theory.floor import least_risk

#: Ranks that are drawn in any case, and the ratio of the further ones.
_FIRST_RANKS, _RATIO = 5, 1.55
#: Sample sizes: how far below and above dx, how many of FFT, and how many of LoRA.
_SPAN, _MANY, _FEW = 8.0, 160, 20
#: Distances from the threshold n = dx that are drawn in any case, as they are and as shares of dx.
_NEAR, _NEAR_SHARES = np.array([-4, -2, -1, 0, 1, 2, 4]), np.array([-0.25, -0.13, -0.06, 0.06, 0.13, 0.25])


class AgainstRank(NamedTuple):
    """Expected excess risk against rank.

    `curve`: theory at the ranks that are drawn. `floor`: sum of s_i^2 beyond each rank, which no update of that rank
    can go below (`theory.bounds.least_risk`).
    """

    setting: Setting
    curve: RiskCurve
    floor: Float[np.ndarray, "k"]

    @property
    def summary(self) -> str:
        """One line: the regime, and the best of the drawn ranks beside FFT."""
        problem, curve = self.curve.problem, self.curve
        where = f"{problem.regime}, n - dx = {problem.distance_from_threshold}"
        if problem.moments is Moments.NO_MEAN:
            return f"{where}: {problem.moments_note}"
        try:
            best, doubt = curve.best_rank, "; in doubt, see the open circles" if doubt_of_best(curve) else ""
        except (NumericalFailure, InvalidInput) as failure:
            return f"{where}: {failure}"
        risk = curve.at_rank(best).risk
        if best == problem.max_rank or not risk < curve.fft_risk:
            unseen = "; a risk of 0 has no place on a logarithmic axis" if np.any(curve.risk == 0) else ""
            return f"{where}: no rank drawn beats FFT, whose risk is {curve.fft_risk:.4g}{unseen}{doubt}"
        name = "not adapting (rank 0)" if best == 0 else f"LoRA of rank {best}"
        return f"{where}: of the ranks drawn {name} is best, risk {risk:.4g} against {curve.fft_risk:.4g} of FFT{doubt}"


class AgainstSamples(NamedTuple):
    """FFT's expected excess risk against n, nan where no mean exists or none is known, and two bands of n (None: none).

    `no_mean`: where no mean exists; `doubtful`: where a threshold is so near that theory may be off by more than 1 %.
    """

    n: Int[np.ndarray, "k"]
    fft: Float[np.ndarray, "k"]
    no_mean: tuple[int, int] | None
    doubtful: tuple[int, int] | None


@functools.lru_cache(maxsize=256)
def against_rank(setting: Setting) -> AgainstRank:
    """Risk against rank by theory, at the ranks of `drawn_ranks`.

    >>> import linreg_lora as ll
    >>> ll.explorer.against_rank(ll.explorer.Setting(n=60, dx=24, dy=20)).summary
    'overdetermined, n - dx = 36: of the ranks drawn LoRA of rank 4 is best, risk 4.389 against 13.71 of FFT'
    """
    problem = setting.problem()
    ranks = drawn_ranks(problem, setting)
    curve = expected_risk(problem, ranks)
    return AgainstRank(setting, curve, np.array([least_risk(problem, int(rank)) for rank in ranks]))


@functools.lru_cache(maxsize=256)
def against_samples(setting: Setting) -> AgainstSamples:
    """FFT's risk against n by theory, from dx / 8 to 8 dx, and further if the setting's n is.

    >>> import linreg_lora as ll
    >>> ll.explorer.against_samples(ll.explorer.Setting(n=60, dx=24, dy=20)).no_mean
    (23, 25)
    """
    problem = setting.problem()
    n = _sample_sizes(setting, _MANY)
    problems = [problem.replace(n=int(value)) for value in n]
    fft = np.array([_known_fft(changed) for changed in problems])
    without = [changed.n for changed in problems if changed.moments is Moments.NO_MEAN]
    near = [changed.n for changed in problems if distance_from_threshold(changed) < NEAR]
    return AgainstSamples(n, fft, _band(without), _band(near))


def lora_sample_sizes(setting: Setting) -> Iterator[int]:
    """The n at which LoRA's risk is drawn, coarse ones first."""
    n = _sample_sizes(setting, _FEW)
    seen: set[int] = set()
    for step in (8, 4, 2, 1):
        for value in n[::step].tolist():
            if value not in seen:
                seen.add(value)
                yield value


@functools.lru_cache(maxsize=4096)
def lora_at(setting: Setting, n: int) -> float:
    """LoRA's risk at the setting's rank `lora` with n samples, by theory; nan where no mean exists or was found.

    >>> import linreg_lora as ll
    >>> setting = ll.explorer.Setting(n=60, dx=24, dy=20, lora=4)
    >>> f"{ll.explorer.lora_at(setting, 60):.3f}, with twice the samples {ll.explorer.lora_at(setting, 120):.3f}"
    '4.389, with twice the samples 1.654'
    """
    problem = setting.problem().replace(n=n)
    if problem.moments is Moments.NO_MEAN:
        return float("nan")
    try:
        return _finite(float(expected_risk(problem, [min(setting.lora, problem.max_rank)], flags=False).risk[0]))
    except NumericalFailure:
        return float("nan")


def drawn_ranks(problem: Problem, setting: Setting) -> Int[np.ndarray, "k"]:
    """Ranks to draw: 0 to 5, the setting's own, the shift's, geometrically beyond, and FFT's."""
    most, wanted, rank = problem.max_rank, {*range(_FIRST_RANKS + 1), setting.lora}, _FIRST_RANKS
    wanted |= {int(np.count_nonzero(np.asarray(problem.spectrum))), most}
    while (rank := int(np.ceil(rank * _RATIO))) < most:
        wanted.add(rank)
    return np.array(sorted(rank for rank in wanted if rank <= most))


def _sample_sizes(setting: Setting, count: int) -> Int[np.ndarray, "k"]:
    low = max(1.0, min(setting.dx / _SPAN, setting.n / 1.5))
    high = max(setting.dx * _SPAN, setting.n * 1.5)
    near = setting.dx + np.concatenate([_NEAR, setting.dx * _NEAR_SHARES])
    sizes = np.concatenate([np.geomspace(low, high, count), near, [setting.n]])
    return np.unique(np.maximum(np.round(sizes), 1)).astype(int)


def _band(n: list[int]) -> tuple[int, int] | None:
    return (min(n), max(n)) if n else None


def _known_fft(problem: Problem) -> float:
    try:
        return _finite(fft_risk(problem).risk)
    except NumericalFailure:
        return float("nan")


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float("nan")
