"""One truncated step, tau trunc_r(R X^T / n), beside LoRA's closed form: overlaps and risks."""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


def _gradients(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, residual = reduced(problem, trials, seed)
    return x, residual, residual @ x.mT / problem.n


def _truncated(matrices: np.ndarray, rank: int) -> np.ndarray:
    u, s, v = np.linalg.svd(matrices, full_matrices=False)
    return (u[:, :, :rank] * s[:, None, :rank]) @ v[:, :rank]


@register_experiment("one-step-risk", bounded=True)
def one_step_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of trunc_r(R X^T / n), times n."""
    updates = _truncated(_gradients(problem, trials, seed)[2], int(rank))
    return Sample(problem.n * risks(problem, updates)[:, None], {"rank": np.asarray(int(rank))})


@register_experiment("one-step-overlap", bounded=True)
def one_step_overlap(problem: Problem, trials: int, seed: int) -> Sample:
    """The squared overlap of the first right singular vector of R X^T / n with the shift's."""
    right = np.linalg.svd(_gradients(problem, trials, seed)[2], full_matrices=False)[2][:, 0]
    direction = np.linalg.svd(problem.shift, full_matrices=False)[2][0]
    return Sample((right @ direction)[:, None] ** 2)


@register_experiment("one-step-minus-lora")
def one_step_minus_lora(problem: Problem, trials: int, seed: int, *, rank: Rank, scaled: Literal[0, 1]) -> Sample:
    """Risk of tau trunc_r(R X^T / n) less that of LoRA of the same rank on the same data, tau the best by theory;
    `scaled` 1: LoRA's update times its best scale, 0: as it is. Context: LoRA's risk, to measure by."""
    from linreg_lora.theory.training import one_step_risk as theory
    from linreg_lora.theory.training import scaled_lora_risk

    r = int(rank)
    x, residual, gradients = _gradients(problem, trials, seed)
    trained = full_and_truncated(x, residual, r)[1]
    own = scaled_lora_risk(problem, r).scale if scaled else 1.0
    lora = risks(problem, own * trained)
    one = risks(problem, theory(problem, r).scale * _truncated(gradients, r))
    return Sample((one - lora)[:, None], {"fft": lora, "rank": np.asarray(r)})
