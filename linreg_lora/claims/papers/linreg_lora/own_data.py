"""Predictions of what errors estimated from the data alone are the errors of, and their rivals."""

import functools

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("left-out-surplus.noise")
def noise(problem: Problem, sample: Sample) -> float:
    """Tr Sigma_eps: a left-out loss is the risk of n - 1 samples, and the noise of one."""
    return problem.noise_trace


@register_prediction("left-out-surplus.of-all-samples")
def of_all_samples(problem: Problem, sample: Sample) -> float:
    """As if leaving out told the risk of all n samples: what one more of them gains is missing."""
    rank = int(sample.context["rank"])
    return problem.noise_trace + _risk(problem, rank) - _risk(problem.replace(n=problem.n - 1), rank)


@register_prediction("left-out-surplus.of-the-fit")
def of_the_fit(problem: Problem, sample: Sample) -> float:
    """As if the samples were still in: of their noise FFT's fit takes a share min(n, dx) / n away."""
    return problem.noise_trace * (1 - min(problem.n - 1, problem.dx) / problem.n)


@functools.lru_cache(maxsize=16)
def _risk(problem: Problem, rank: int) -> float:
    from linreg_lora.theory.curve import expected_risk

    return float(expected_risk(problem, [rank], flags=False).risk[0])


@register_prediction("stein-surplus.noise")
def stein_noise(problem: Problem, sample: Sample) -> float:
    """dy dx sigma^2: the noise in what is fitted."""
    return problem.dy * problem.dx * float(sample.context["variance"])


@register_prediction("stein-surplus.dimension-alone")
def stein_dimension_alone(problem: Problem, sample: Sample) -> float:
    """As if df(r) were the dimension r (dy + dx - r) of the maps of rank r: what pairs add would be too much."""
    return stein_noise(problem, sample) + 2 * float(sample.context["variance"]) * float(
        np.mean(sample.context["pairs"])
    )


@register_prediction("stein-surplus.frozen-directions")
def stein_frozen_directions(problem: Problem, sample: Sample) -> float:
    """As if df(r) were r dx, that of directions chosen without the data."""
    rank = int(sample.context["rank"])
    more = float(sample.context["dimension"]) - rank * problem.dx
    return stein_dimension_alone(problem, sample) + 2 * float(sample.context["variance"]) * more
