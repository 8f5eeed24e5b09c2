"""Claims about methods beside trained LoRA, about bounds on LoRA's risk, and about more samples.

Risks are measured with this package's estimators; the formulas are those of `theory`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
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
    import jax

    from linreg_lora.estimators import frozen

    return _Compiled(jax.jit(frozen.fit_frozen_a), jax.jit(frozen.fit_frozen_b))


@register_experiment("frozen-a-risk")
def frozen_a_risk(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """Excess risk of LoRA with A frozen, on explicit data; context: A."""
    import jax.numpy as jnp

    x, y = experiments._data(problem, trials, seed)
    factor = _orthonormal_rows(int(rank), problem.dx)
    with runtime.exclusive_device():
        updates = np.asarray(_compiled().a(x, y, jnp.asarray(factor), experiments._pretrained(problem)))
    return Sample(_risks(problem, updates)[:, None], {"factor": factor})


@register_experiment("frozen-b-risk")
def frozen_b_risk(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """Excess risk of LoRA with B frozen, on explicit data; context: B."""
    import jax.numpy as jnp

    x, y = experiments._data(problem, trials, seed)
    factor = _orthonormal_rows(int(rank), problem.dy).T
    with runtime.exclusive_device():
        updates = np.asarray(_compiled().b(x, y, jnp.asarray(factor), experiments._pretrained(problem)))
    return Sample(_risks(problem, updates)[:, None], {"factor": factor})


@register_prediction("frozen-a.exact")
def frozen_a_exact(problem: Problem, sample: Sample) -> float:
    from linreg_lora.theory import frozen

    return frozen.frozen_a_risk(problem, sample.context["factor"]).risk


@register_prediction("frozen-a.misspecification-is-no-noise")
def frozen_a_no_inflation(problem: Problem, sample: Sample) -> float:
    from linreg_lora.theory import frozen

    rank = len(sample.context["factor"])
    missed = frozen.frozen_a_risk(problem, sample.context["factor"]).misspecification
    return missed + problem.noise_trace * rank / (problem.n - rank - 1)


@register_prediction("frozen-a.without-misspecification")
def frozen_a_without_misspecification(problem: Problem, sample: Sample) -> float:
    from linreg_lora.theory import frozen

    risk = frozen.frozen_a_risk(problem, sample.context["factor"])
    return risk.risk - risk.misspecification


@register_prediction("frozen-b.exact")
def frozen_b_exact(problem: Problem, sample: Sample) -> float:
    from linreg_lora.theory import frozen

    return frozen.frozen_b_risk(problem, sample.context["factor"]).risk


@register_prediction("frozen-b.as-if-a-were-frozen")
def frozen_b_rank_for_inputs(problem: Problem, sample: Sample) -> float:
    """r in place of dx in the variance."""
    from linreg_lora.theory import frozen

    factor = sample.context["factor"]
    rank = factor.shape[1]
    missed = frozen.frozen_b_risk(problem, factor).misspecification
    return missed + float(np.trace(factor.T @ problem.sigma_eps @ factor)) * rank / (problem.n - rank - 1)


@register_prediction("frozen-b.all-outputs")
def frozen_b_all_outputs(problem: Problem, sample: Sample) -> float:
    """The noise of all outputs, not of the r that B reaches."""
    from linreg_lora.theory import frozen

    missed = frozen.frozen_b_risk(problem, sample.context["factor"]).misspecification
    return missed + problem.noise_trace * problem.dx / (problem.n - problem.dx - 1)


# -- bounds -------------------------------------------------------------------------------------------------------


@register_experiment("lora-risk")
def lora_risk(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """risk(D_r), r = `rank`."""
    risks = experiments._risks(problem, trials, seed)
    return Sample(risks.lora[:, [int(rank)]], {"rank": np.asarray(int(rank))})


@register_prediction("theorem-bound.as-printed")
def theorem_bound_as_printed(problem: Problem, sample: Sample) -> float:
    """Theorem 2 or 4, with guaranteed extreme eigenvalues."""
    from linreg_lora.theory import bounds
    from linreg_lora.theory.truncation import Version

    theorem = bounds.theorem_2 if problem.n >= problem.dx else bounds.theorem_4
    return theorem(problem, int(sample.context["rank"]), version=Version.PRINTED).bound


@register_prediction("lora-bound")
def lora_bound(problem: Problem, sample: Sample) -> float:
    """Ours."""
    from linreg_lora.theory import bounds

    return bounds.lora_bound(problem, int(sample.context["rank"])).bound


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
def fewer_samples_gain(problem: Problem, trials: int, seed: int, *, more: float) -> Sample:
    """risk(D_FFT) with n samples less that with n + `more`, independent draws."""
    few = experiments._risks(problem, trials, seed).fft_given_design
    larger = problem.replace(n=problem.n + int(more))
    many = experiments._risks(larger, trials, derived_seed(seed, "more samples")).fft_given_design
    return Sample((few - many)[:, None], {"fft": many, "few": few, "more": np.asarray(more)})


@register_prediction("samples.classical-rate")
def samples_classical_rate(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk falls as 1 / n."""
    return sample.context["few"] * (1 - problem.n / (problem.n + float(sample.context["more"])))
