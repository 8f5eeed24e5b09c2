"""The methods that train one number an output, BitFit and IA3, and the size of every method."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


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


# -- dimensions ---------------------------------------------------------------------------------------------------


@register_experiment("reached-dimensions", pathwise=True)
def reached_dimensions(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
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
