"""Claims about the methods that train one number an output, BitFit and IA3, and about the size of every method."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory.bitfit import bitfit_risk
from linreg_lora.theory.ia3 import ia3_risk


class Compiled(NamedTuple):
    bitfit: Callable[..., Any]
    ia3: Callable[..., Any]


@functools.cache
def compiled() -> Compiled:
    """The estimators, compiled once for all seeds."""
    import jax

    from linreg_lora.estimators import bitfit, ia3

    return Compiled(jax.jit(bitfit.fit_bitfit), jax.jit(ia3.fit_ia3))


# -- expected risks -----------------------------------------------------------------------------------------------


@register_experiment("bitfit-risk")
def bitfit_risk_explicit(problem: Problem, trials: int, seed: int) -> Sample:
    """Excess risk of BitFit on explicit data."""
    import jax.numpy as jnp

    from linreg_lora.estimators.bitfit import bias_risk

    x, y = experiments._data(problem, trials, seed)
    with runtime.exclusive_device():
        bias = compiled().bitfit(x, y, experiments._pretrained(problem))
        risk = np.asarray(bias_risk(bias, jnp.asarray(problem.shift), jnp.asarray(problem.sigma_sqrt)))
    return Sample(risk[:, None])


@register_experiment("ia3-risk")
def ia3_risk_explicit(problem: Problem, trials: int, seed: int) -> Sample:
    """Excess risk of IA3 on explicit data."""
    x, y = experiments._data(problem, trials, seed)
    with runtime.exclusive_device():
        updates = np.asarray(compiled().ia3(x, y, experiments._pretrained(problem)))
    return Sample(np.sum(((updates - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))[:, None])


@register_prediction("bitfit.exact")
def bitfit_exact(problem: Problem, sample: Sample) -> float:
    return bitfit_risk(problem)


@register_prediction("bitfit.shift-is-no-noise")
def bitfit_shift_is_no_noise(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 + Tr(Sigma_eps) / n: the shift does not move the mean residual."""
    return problem.pretrained_risk + problem.noise_trace / problem.n


@register_prediction("bitfit.learns-the-shift")
def bitfit_learns_the_shift(problem: Problem, sample: Sample) -> float:
    """Only the variance is left: the bias stands in for the shift."""
    return bitfit_risk(problem) - problem.pretrained_risk


@register_prediction("ia3.exact")
def ia3_exact(problem: Problem, sample: Sample) -> float:
    return ia3_risk(problem).risk


@register_prediction("ia3.misspecification-is-no-noise")
def ia3_misspecification_is_no_noise(problem: Problem, sample: Sample) -> float:
    return ia3_risk(problem).misspecification + problem.noise_trace / (problem.n - 2)


@register_prediction("ia3.classical")
def ia3_classical(problem: Problem, sample: Sample) -> float:
    """n in place of n - 2."""
    exact = ia3_risk(problem)
    return exact.misspecification + exact.variance * (problem.n - 2) / problem.n


@register_prediction("ia3.learns-the-shift")
def ia3_learns_the_shift(problem: Problem, sample: Sample) -> float:
    """Every shift is taken for a rescaling of the outputs."""
    return problem.noise_trace / (problem.n - 2)


# -- dimensions ---------------------------------------------------------------------------------------------------


@register_experiment("reached-dimensions", pathwise=True)
def reached_dimensions(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """Dimension of the set of updates that LoRA with A frozen, with B frozen, IA3 and BitFit reach; trials x 4.

    Their estimators are affine in the outputs, so it is the rank of what they return for each outputs A0 X + e_j e_i^T:
    whole numbers, with no rounding to allow for. A size is dy x dx.
    """
    (dy, dx), r, n = size, int(rank), sum(size)
    rng = np.random.default_rng(seed)
    a, b = (np.linalg.qr(rng.standard_normal((length, r)))[0] for length in (dx, dy))
    x, pretrained = rng.standard_normal((trials, 1, dx, n)), rng.standard_normal((dy, dx))
    y = pretrained @ x + np.eye(dy * n).reshape(dy * n, dy, n)
    with runtime.exclusive_device():
        reached = [
            methods._compiled().a(x, y, a.T, pretrained),
            methods._compiled().b(x, y, b, pretrained),
            compiled().ia3(x, y, pretrained),
            compiled().bitfit(x, y, pretrained),
        ]
    ranks = [np.linalg.matrix_rank(np.asarray(updates).reshape(trials, dy * n, -1)) for updates in reached]
    context = {"rank": np.asarray(r)}
    statistic = np.stack(ranks, axis=1).astype(float)
    return Sample(statistic, context, tolerance=np.zeros(trials), scale=np.ones(trials))


def _each(sample: Sample, *dimensions: int) -> np.ndarray:
    return np.broadcast_to(np.array(dimensions, dtype=float), sample.statistic.shape)


@register_prediction("reached.parameters")
def reached_parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r dy, r dx, dy, dy: what each method trains."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * dy, r * dx, dy, dy)


@register_prediction("reached.lora-parameters")
def reached_lora_parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r (dx + dy) with either factor frozen: the frozen one is counted."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * (dx + dy), r * (dx + dy), dy, dy)


@register_prediction("reached.factors-swapped")
def reached_factors_swapped(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The parameters of the frozen factor in place of the trained one."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * dx, r * dy, dy, dy)
