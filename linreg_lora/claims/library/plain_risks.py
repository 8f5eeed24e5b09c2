"""Risks of LoRA at two ranks, and beside full fine-tuning, on the same data; nothing is compiled."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


@register_experiment("rank-less-rank")
def rank_less_rank(problem: Problem, trials: int, seed: int, *, rank: Rank, other: Rank) -> Sample:
    """risk(D_r) less risk(D_other), r = `rank`; context: the latter, and both ranks."""
    x, residual = reduced(problem, trials, seed)
    of_rank, of_other = (risks(problem, full_and_truncated(x, residual, int(r))[1]) for r in (rank, other))
    context = {"fft": of_other, "rank": np.asarray(int(rank)), "other": np.asarray(int(other))}
    return Sample((of_rank - of_other)[:, None], context)


@register_experiment("lora-beside-full")
def lora_beside_full(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r), r = `rank`; context: risk(D_FFT) on the same data, and r."""
    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    return Sample(risks(problem, lora)[:, None], {"fft": risks(problem, full), "rank": np.asarray(int(rank))})


@register_experiment("full-less-lora")
def full_less_lora(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_FFT) less risk(D_r), r = `rank`, on the same data; context: the latter, and r."""
    full, lora = (risks(problem, update) for update in full_and_truncated(*reduced(problem, trials, seed), int(rank)))
    return Sample((full - lora)[:, None], {"fft": lora, "kept": np.asarray(int(rank))})


@register_prediction("beside.a-twentieth-more")
def a_twentieth_more(problem: Problem, sample: Sample) -> float:
    """1.05 times what it is compared with."""
    return 1.05 * _beside(sample)


@register_prediction("beside.share-of-parameters")
def share_of_parameters(problem: Problem, sample: Sample) -> float:
    """r (dx + dy - r) / (dx dy) of the risk of full fine-tuning: the risk is taken to go with the dimension."""
    return _dimension(problem, int(sample.context["rank"])) / (problem.dx * problem.dy) * _beside(sample)


@register_prediction("beside.share-of-inputs")
def share_of_inputs(problem: Problem, sample: Sample) -> float:
    """r/dx of the risk of full fine-tuning: that of its noise in r directions, and nothing of the shift."""
    return int(sample.context["rank"]) / problem.dx * _beside(sample)


@register_prediction("difference.of-the-dimension")
def of_the_dimension(problem: Problem, sample: Sample) -> float:
    """What the other rank's risk, in proportion to r (dx + dy - r), would rise by."""
    rank, other = (_dimension(problem, int(sample.context[name])) for name in ("rank", "other"))
    return (rank / other - 1) * _beside(sample)


@register_prediction("difference.what-is-dropped")
def what_is_dropped(problem: Problem, sample: Sample) -> float:
    """sum_{i > r} s_i^2 less, r the lower rank: what it drops is all signal, and keeping it costs no noise."""
    strengths = np.linalg.svd(problem.shift @ problem.sigma_sqrt, compute_uv=False)
    return -float(np.sum(strengths[int(sample.context["kept"]) :] ** 2))


def _beside(sample: Sample) -> float:
    return float(np.mean(sample.context["fft"]))


def _dimension(problem: Problem, rank: int) -> int:
    return rank * (problem.dx + problem.dy - rank)
