"""Risks of methods beside trained LoRA, of LoRA itself, and with more samples.

Risks are measured with this package's estimators; the formulas are those of `theory`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

_FACTOR_SEED = 3


# -- one factor frozen --------------------------------------------------------------------------------------------


def _orthonormal_rows(rank: int, size: int) -> np.ndarray:
    """Some frozen factor: the claim is about all of them."""
    return np.linalg.qr(np.random.default_rng(_FACTOR_SEED).standard_normal((size, rank)))[0].T


def _risks(problem: Problem, updates: np.ndarray) -> np.ndarray:
    return np.sum(((updates - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))


class _Compiled(NamedTuple):
    a: Callable[..., Any]
    b: Callable[..., Any]


@functools.cache
def _compiled() -> _Compiled:
    """The functions that are compiled once for all seeds."""
    from linreg_lora.estimators import frozen
    from linreg_lora.simulation import lowered

    return _Compiled(lowered.jit(frozen.fit_frozen_a), lowered.jit(frozen.fit_frozen_b))


@register_experiment("frozen-a-risk")
def frozen_a_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of LoRA with A frozen, on explicit data; context: A."""
    import jax.numpy as jnp

    x, y = experiments._data(problem, trials, seed)
    factor = _orthonormal_rows(int(rank), problem.dx)
    with runtime.exclusive_device():
        updates = np.asarray(_compiled().a(x, y, jnp.asarray(factor), experiments._pretrained(problem)))
    return Sample(_risks(problem, updates)[:, None], {"factor": factor})


@register_experiment("frozen-b-risk")
def frozen_b_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of LoRA with B frozen, on explicit data; context: B."""
    import jax.numpy as jnp

    x, y = experiments._data(problem, trials, seed)
    factor = _orthonormal_rows(int(rank), problem.dy).T
    with runtime.exclusive_device():
        updates = np.asarray(_compiled().b(x, y, jnp.asarray(factor), experiments._pretrained(problem)))
    return Sample(_risks(problem, updates)[:, None], {"factor": factor})


# -- bounds -------------------------------------------------------------------------------------------------------


@register_experiment("lora-risk")
def lora_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r), r = `rank`."""
    risks = experiments._risks(problem, trials, seed)
    return Sample(risks.lora[:, [int(rank)]], {"rank": np.asarray(int(rank))})


@register_prediction("lora-bound.bias-alone")
def lora_bound_bias_alone(problem: Problem, sample: Sample) -> float:
    """The tail of the shift that rank r cannot reach, and no variance."""
    from linreg_lora.theory import bounds

    return bounds.least_risk(problem, int(sample.context["rank"]))


@register_prediction("lora-bound.variance-of-the-dimension")
def lora_bound_of_the_dimension(problem: Problem, sample: Sample) -> float:
    """The least risk and the large-n variance r (dx + dy - r) sigma^2 / n, taken for a bound at finite n."""
    rank = int(sample.context["rank"])
    variance = problem.noise_trace / problem.dy * rank * (problem.dx + problem.dy - rank) / problem.n
    return lora_bound_bias_alone(problem, sample) + variance


# -- more samples -------------------------------------------------------------------------------------------------


@register_experiment("fewer-samples-gain")
def fewer_samples_gain(problem: Problem, trials: int, seed: int, *, more: Count) -> Sample:
    """risk(D_FFT) with n samples less that with n + `more`, independent draws."""
    few = experiments._risks(problem, trials, seed).fft_given_design
    larger = problem.replace(n=problem.n + int(more))
    many = experiments._risks(larger, trials, derived_seed(seed, "more samples")).fft_given_design
    return Sample((few - many)[:, None], {"fft": many, "few": few, "more": np.asarray(more)})
