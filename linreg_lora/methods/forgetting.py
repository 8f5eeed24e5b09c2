"""What a method forgets, by theory: how far it moves the outputs on pretraining inputs.

    forgetting(D, b) = ||D Sigma_pre^{1/2}||_F^2 + ||b||^2

The pretraining inputs have mean zero and the covariance Sigma_pre, and the pretrained map A0 is right on them, so this
is the excess risk there of x -> (A0 + D) x + b (`theory.forgetting`, `theory.forgetting_of_classes`). D is measured
from A0: a base that was quantised, or from which a start was taken, counts with what it lost. Of these only simulation
knows it, for E D by its equivalent is too coarse at small sizes to be subtracted.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from linreg_lora.errors import NumericalFailure
from linreg_lora.methods.result import Kind, kind_of
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    from linreg_lora.theory.decoupled import Piece

OF_OFFSET = "||W' Delta mu||^2 + Tr(W' (Delta Sigma Delta' + Sigma_eps) W) / n, exact"


class Forgotten(NamedTuple):
    """E [ ||D Sigma_pre^{1/2}||_F^2 + ||b||^2 ] in squared units of y; inf where it does not exist.

    `formula`: how it was obtained; `stderr` of a simulated one, nan where none exists; `flagged`: it may be off by more
    than 1 %.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.methods.named("bitfit").forgetting(problem)
    >>> f"{found.value:.4f} = (14 + 20) / 60, {found.kind}"
    '0.5667 = (14 + 20) / 60, exact'
    """

    value: float
    formula: str
    stderr: float | None = None
    flagged: bool = False

    @property
    def kind(self) -> Kind:
        """exact, equivalent, expansion, simulated or other."""
        return "simulated" if self.stderr is not None else kind_of(self.formula)


def of_rank(problem: Problem, rank: int | None, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
    """What LoRA of a rank (None: FFT) forgets. Raises `NumericalFailure` where it is not known."""
    from linreg_lora.theory.forgetting import expected_forgetting

    problem.require_gaussian("forgetting")
    if rank == 0:
        return Forgotten(0.0, "no update, exact")
    if problem.moments is Moments.NO_MEAN:
        return Forgotten(math.inf, problem.moments_note)
    before = pretraining_covariance
    if problem.input_rank < problem.dx:
        from linreg_lora.theory.forgetting_of_classes import reduced_forgetting

        problem, before = reduced_forgetting(problem, pretraining_covariance=before)
    found = expected_forgetting(problem, [rank or 0], before)
    full = rank is None or rank == problem.max_rank
    value = found.fft_forgetting if full else float(found.forgetting[0])
    if math.isnan(value):
        raise NumericalFailure(found.note)
    if full:
        return Forgotten(value, found.fft_formula, flagged=found.fft_flagged)
    return Forgotten(value, "T3 of LoRA, deterministic equivalent", flagged=bool(found.flagged[0]))


def of_pieces(
    problem: Problem, pieces: "Sequence[Piece]", pretraining_covariance: np.ndarray | None = None
) -> Forgotten:
    """What a class that decouples by output forgets."""
    from linreg_lora.theory.forgetting_of_classes import class_forgetting

    found = class_forgetting(problem, pieces, pretraining_covariance)
    return Forgotten(found.forgetting, found.formula, flagged=found.flagged)
