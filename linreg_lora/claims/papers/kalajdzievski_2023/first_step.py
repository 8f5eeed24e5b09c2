"""The first step from B = 0, by optimiser and scaling: how fast the loss falls, and what the rank does to it.

-dL/d(eta) = <D_1, H> / eta,     D_1 the first product, H = R X^T / n
"""

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem

#: Of the scaling alpha / sqrt(r), or alpha / r.
_ALPHA = 2.0
#: The learning rate cancels: the first step is linear in it.
_RATE = 1e-3
#: Ranks differ by this factor where two are compared.
_FACTOR = 4


@register_experiment("first-fall")
def first_fall(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """How fast gradient descent lowers the loss at first, scaled by alpha / sqrt(r), r = `rank`; from peft's start."""
    fall = _fall(problem, trials, seed, int(rank), "gd", "rslora")
    return Sample(fall[:, None], {"rank": np.asarray(int(rank))})


@register_experiment("first-fall-by-rank")
def first_fall_by_rank(problem: Problem, trials: int, seed: int, *, rank: float, scaling: str) -> Sample:
    """How fast Adam lowers the loss at first with rank 4 r; context: with r = `rank` on the same data."""
    few, many = (_fall(problem, trials, seed, each, "adam", scaling) for each in (int(rank), _FACTOR * int(rank)))
    return Sample(many[:, None], {"few": few})


def _fall(problem: Problem, trials: int, seed: int, rank: int, optimiser: str, scaling: str) -> np.ndarray:
    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.trained import prepare, train_prepared

    recipe = Recipe(
        optimiser=optimiser, scaling=scaling, alpha=_ALPHA, learning_rate=_RATE, schedule="constant", steps=1
    )
    prepared = prepare(problem, rank, recipe, trials=trials, seed=seed)
    first = train_prepared(problem, rank, recipe, prepared, seed=seed, at=()).final
    return np.sum(first * prepared.drawn.moment, axis=(-2, -1)) / _RATE


@register_prediction("first-fall.of-rslora")
def of_rslora(problem: Problem, sample: Sample) -> float:
    """alpha^2 a^2 E ||H||^2, a^2 = 1 / (3 dx): no rank in it.

    E ||H||^2 = (1 + 1/n) ||Delta Sigma||^2 + ( ||Delta Sigma^{1/2}||^2 + Tr Sigma_eps ) Tr Sigma / n
    """
    n, shift, sigma = problem.n, problem.shift, problem.sigma
    energy = (1 + 1 / n) * float(np.sum((shift @ sigma) ** 2))
    energy += (float(np.sum((shift @ problem.sigma_sqrt) ** 2)) + problem.noise_trace) * float(np.trace(sigma)) / n
    return _ALPHA**2 / (3 * problem.dx) * energy


@register_prediction("first-fall.of-lora")
def of_lora(problem: Problem, sample: Sample) -> float:
    """That of alpha / r, which falls like 1/r."""
    return of_rslora(problem, sample) / float(sample.context["rank"])


@register_prediction("first-fall.data-seen-whole")
def data_seen_whole(problem: Problem, sample: Sample) -> float:
    """As if H were its mean Delta Sigma: samples enough for S = Sigma."""
    return _ALPHA**2 / (3 * problem.dx) * float(np.sum((problem.shift @ problem.sigma) ** 2))


@register_prediction("first-fall-by-rank.same")
def same(problem: Problem, sample: Sample) -> np.ndarray:
    """As fast as with rank r."""
    return sample.context["few"][:, None]


@register_prediction("first-fall-by-rank.doubles")
def doubles(problem: Problem, sample: Sample) -> np.ndarray:
    """Twice as fast as with rank r, sqrt(4 r / r)."""
    return 2 * sample.context["few"][:, None]


@register_prediction("first-fall-by-rank.a-quarter")
def a_quarter(problem: Problem, sample: Sample) -> np.ndarray:
    """A quarter as fast as with rank r, as 1/r."""
    return sample.context["few"][:, None] / _FACTOR
