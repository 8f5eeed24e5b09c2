"""What ranks return: one rank more, samples for a rank that is too small, and methods against FFT."""

import functools

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods, small_methods
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.theory import bounds, capacity

_EPS = np.finfo(float).eps


# -- one rank more ------------------------------------------------------------------------------------------------


@register_experiment("training-returns", pathwise=True)
def training_returns(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """What each of the ranks 1..r = `rank` takes off the training loss, trials x r."""
    x, y = experiments._data(problem, trials, seed)
    residual = experiments._residual(problem, x, y)
    fits = [experiments._lora_updates(problem, x, y, r) @ x for r in range(int(rank) + 1)]
    losses = np.stack([np.sum((residual - fit) ** 2, axis=(-2, -1)) for fit in fits], axis=1)
    scale = losses[:, 0]
    context = {"x": x, "residual": residual, "rank": np.asarray(int(rank))}
    return Sample(-np.diff(losses, axis=1), context, tolerance=experiments._rounding(x, squared=True), scale=scale)


@register_experiment("next-rank-gain")
def next_rank_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) - risk(D_{r+1}) on the same draws, r = `rank`; context: risk(D_{r+1})."""
    risks = experiments._risks(problem, trials, seed).lora
    r = int(rank)
    return Sample((risks[:, r] - risks[:, r + 1])[:, None], {"rank": np.asarray(r), "fft": risks[:, -1]})


@register_experiment("last-rank-gain")
def last_rank_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) - risk(D_{r-1}) on the same draws, r = `rank`; context: risk(D_{r-1})."""
    risks, r = experiments._risks(problem, trials, seed).lora, int(rank)
    context = {"rank": np.asarray(r), "kept": np.asarray(r - 1), "fft": risks[:, r - 1]}
    return Sample((risks[:, r] - risks[:, r - 1])[:, None], context)


# -- many samples -------------------------------------------------------------------------------------------------


@register_experiment("scaled-variance")
def scaled_variance(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """(n - dx - 1)(risk(D_r) - tail_r^2) / sigma^2, conditional means given LoRA's directions.

    With FFT's own n - dx - 1 in place of n: the limit is the same, and what is missing at finite n is far smaller.
    """
    from linreg_lora.simulation.curve import draw_risks

    r = int(rank)
    risk = draw_risks(problem, trials=trials, seed=seed, sampler="conditional").lora[:, r]
    scaled = (problem.n - problem.dx - 1) * (risk - bounds.least_risk(problem, r)) / problem.noise_std**2
    return Sample(scaled[:, None], {"rank": np.asarray(r)})


@register_prediction("scaled-variance.limit")
def scaled_variance_limit(problem: Problem, sample: Sample) -> float:
    """r (dx + dy - r) at the rank of the shift, more above it (`theory.capacity`)."""
    return _limit(problem.replace(n=1), int(sample.context["rank"])) / problem.noise_std**2


@functools.lru_cache(maxsize=8)
def _limit(problem: Problem, rank: int) -> float:
    return capacity.large_sample_limit(problem, rank, trials=200_000).limit


@register_prediction("scaled-variance.parameters")
def scaled_variance_parameters(problem: Problem, sample: Sample) -> float:
    """The parameters of both factors, r (dx + dy)."""
    return float(capacity.parameter_count(problem.dx, problem.dy, int(sample.context["rank"])))


@register_experiment("more-samples-gain")
def more_samples_gain(problem: Problem, trials: int, seed: int, *, rank: Rank, more: Count) -> Sample:
    """risk(D_r) with n samples less that with n + `more`, independent draws; context: that with n, for LoRA and FFT."""
    few = experiments._risks(problem, trials, seed).lora
    larger = problem.replace(n=problem.n + int(more))
    many = experiments._risks(larger, trials, derived_seed(seed, "more samples")).lora
    r = int(rank)
    context = {"few": few[:, r], "fft": few[:, -1], "fft_gain": few[:, -1] - many[:, -1], "more": np.asarray(more)}
    return Sample((few[:, r] - many[:, r])[:, None], context)


# -- methods against FFT ------------------------------------------------------------------------------------------


@register_experiment("peft-risks")
def peft_risks(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risks of LoRA, LoRA with A or B frozen, BitFit and IA3 on the same explicit data; context: that of FFT."""
    r = int(rank)
    x, y = experiments._data(problem, trials, seed)
    pretrained = experiments._pretrained(problem)
    a, b = methods._orthonormal_rows(r, problem.dx), methods._orthonormal_rows(r, problem.dy).T
    with runtime.exclusive_device():
        frozen = methods._compiled()
        updates = [np.asarray(frozen.a(x, y, a, pretrained)), np.asarray(frozen.b(x, y, b, pretrained))]
        updates.append(np.asarray(small_methods.compiled().ia3(x, y, pretrained)))
        bias = np.asarray(small_methods.compiled().bitfit(x, y, pretrained))
    updates.insert(0, experiments._lora_updates(problem, x, y, r))
    risks = [methods._risks(problem, update) for update in updates]
    risks.append(np.sum(bias**2, axis=1) + problem.pretrained_risk)
    full = methods._risks(problem, experiments._fft_updates(problem, x, y))
    columns = ("LoRA", "frozen A", "frozen B", "IA3", "BitFit")
    return Sample(np.column_stack(risks), {"fft": full}, columns=columns)
