"""How much of what a rank discards is signal: the exact criterion for LoRA against full fine-tuning.

LoRA of rank r is FFT without the output directions that it dropped, D_r = (I - P) D_FFT. With <A, B> = Tr A Sigma B^T
and the same ridge in both, on every draw, in every regime and for any Sigma and Sigma_eps,

    risk(D_r) - risk(FFT) = 2 <P Delta, D_FFT> - ||P D_FFT Sigma^{1/2}||_F^2 = (2 phi - 1) ||P D_FFT Sigma^{1/2}||_F^2

phi the share of signal in what was dropped. So rank r beats FFT in expectation if and only if phi_r < 1/2, where

    phi_r = E <P Delta, D_FFT> / E_r = (E_r + delta_r) / (2 E_r),
    E_r = E ||D_FFT Sigma^{1/2}||^2 - E ||D_r Sigma^{1/2}||^2,

delta_r = E [risk(D_r) - risk(FFT)]: more noise than signal must have been dropped. The odds phi / (1 - phi) have both
criteria as limits. As s_1..s_r -> infinity they are C_r = tail_r^2 / B_r (`theory.complexity`), for there E_r =
A_r (B_r + tail_r^2). For Delta with iid N(0, v) entries and X X^T = n I, the mean of Delta given the data is
D_FFT v / (v + w), w = sigma^2 / n; then phi_r = v / (v + w) at every rank, and LoRA wins if and only if v < w, whatever
the rank. Both energies are known by the deterministic equivalent. Source: derived here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.forgetting import expected_forgetting


@dataclass(frozen=True)
class DiscardedSignal:
    """What LoRA discards at each of `ranks`; nan: not known. Energies in squared units of y.

    `share` is phi_r, `energy` E_r, `difference` E [risk(D_r) - risk(FFT)], negative where LoRA wins; `odds` is
    phi / (1 - phi), inf where nothing dropped is noise, and below 0 where what was dropped points away from Delta.
    `flagged`: a risk or an energy may be off by more than 1 %; `notes` say why, and what is missing.
    """

    problem: Problem
    ranks: Int[np.ndarray, "m"]
    share: Float[np.ndarray, "m"]
    energy: Float[np.ndarray, "m"]
    difference: Float[np.ndarray, "m"]
    flagged: Bool[np.ndarray, "m"]
    notes: tuple[str, ...]

    @property
    def odds(self) -> Float[np.ndarray, "m"]:
        """phi / (1 - phi): the task complexity at any strength, below 1 where LoRA wins."""
        with np.errstate(divide="ignore"):
            return np.where(self.share >= 1, np.inf, self.share / np.clip(1 - self.share, 0, None))


def discarded_signal(problem: Problem, ranks: object = None) -> DiscardedSignal:
    """phi_r at ranks in 0..R - 1, default all, R = min(n, dx, dy), for Gaussian inputs; by the equivalent, FFT exactly.

    Raises `InvalidInput` where no mean exists and for other inputs.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(30.0, 20.0, 2.0), noise_std=1.0)
    >>> found = ll.theory.discarded_signal(problem, ranks=[2])
    >>> closed = ll.theory.task_complexity(problem, ranks=[2])
    >>> f"{found.odds[0]:.3f}, {closed.complexity[0]:.3f}"
    '0.354, 0.354'
    """
    problem.require_gaussian("what rank r discards")
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    reduced = problem.without_null_inputs()
    chosen = np.arange(reduced.max_rank) if ranks is None else valid_ranks(ranks, reduced)
    if np.any(chosen >= reduced.max_rank):
        raise InvalidInput("ranks", f"ranks in 0..{reduced.max_rank - 1}, where LoRA is not FFT", chosen.tolist())
    curve = expected_risk(reduced, chosen)
    moved = expected_forgetting(reduced, chosen, pretraining_covariance=reduced.sigma)
    energy = moved.fft_forgetting - moved.forgetting
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(energy > 0, (1 + curve.difference / energy) / 2, np.nan)
    doubt = np.zeros(len(chosen), dtype=bool) if curve.flagged is None else curve.flagged
    flagged = doubt | moved.flagged | curve.fft_flagged | moved.fft_flagged
    notes = tuple(dict.fromkeys(note for note in (*curve.notes, moved.note) if note))
    return DiscardedSignal(problem, chosen, share, energy, curve.difference, flagged, notes)
