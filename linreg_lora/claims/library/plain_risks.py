"""Risks of LoRA at two ranks, and beside full fine-tuning, on the same data; nothing is compiled."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem


@register_experiment("rank-less-rank")
def rank_less_rank(problem: Problem, trials: int, seed: int, *, rank: float, other: float) -> Sample:
    """risk(D_r) less risk(D_other), r = `rank`; context: the latter."""
    x, residual = reduced(problem, trials, seed)
    of_rank, of_other = (risks(problem, full_and_truncated(x, residual, int(r))[1]) for r in (rank, other))
    return Sample((of_rank - of_other)[:, None], {"fft": of_other})


@register_experiment("lora-beside-full")
def lora_beside_full(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """risk(D_r), r = `rank`; context: risk(D_FFT) on the same data."""
    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    return Sample(risks(problem, lora)[:, None], {"fft": risks(problem, full)})


@register_experiment("full-less-lora")
def full_less_lora(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """risk(D_FFT) less risk(D_r), r = `rank`, on the same data; context: the latter."""
    full, lora = (risks(problem, update) for update in full_and_truncated(*reduced(problem, trials, seed), int(rank)))
    return Sample((full - lora)[:, None], {"fft": lora})


@register_prediction("beside.a-twentieth-more")
def a_twentieth_more(problem: Problem, sample: Sample) -> float:
    """1.05 times what it is compared with."""
    return 1.05 * float(np.mean(sample.context["fft"]))


@register_prediction("beside.half")
def half(problem: Problem, sample: Sample) -> float:
    """Half of what it is compared with."""
    return 0.5 * float(np.mean(sample.context["fft"]))


@register_prediction("beside.half-less")
def half_less(problem: Problem, sample: Sample) -> float:
    """Half of what it is compared with less."""
    return -0.5 * float(np.mean(sample.context["fft"]))
