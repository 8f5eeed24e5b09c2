"""Predictions of starts in the first gradient, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


def _traces(problem: Problem) -> tuple[float, float, float]:
    """||Delta Sigma||_F^2, Tr(Sigma) Tr(Delta Sigma Delta^T) and Tr(Sigma_eps) Tr(Sigma)."""
    seen, total = problem.shift @ problem.sigma, float(np.trace(problem.sigma))
    return float(np.sum(seen**2)), total * float(np.sum(seen * problem.shift)), problem.noise_trace * total


@register_prediction("first-gradient-error.exact")
def exact(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma||^2 + Tr(Sigma) Tr(Delta Sigma Delta^T) + Tr(Sigma_eps) Tr(Sigma)."""
    return sum(_traces(problem))


@register_prediction("first-gradient-error.without-the-one")
def without_the_one(problem: Problem, sample: Sample) -> float:
    """Without ||Delta Sigma||^2: dx in place of dx + 1 where Sigma = I."""
    return sum(_traces(problem)[1:])


@register_prediction("first-gradient-error.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) Tr(Sigma)."""
    return _traces(problem)[2]


@register_prediction("outside-of-the-gradient.nothing")
def nothing(size: MatrixSize, sample: Sample) -> float:
    """0."""
    return 0.0


@register_prediction("outside-of-the-gradient.as-random")
def as_random(size: MatrixSize, sample: Sample) -> float:
    """sqrt(1 - 2 / dy): what a random direction has outside of two."""
    return float(np.sqrt(1 - 2 / sample.context["outputs"]))


def _delay(sample: Sample, logarithm: float, which: int) -> float:
    return logarithm / float(np.log1p(sample.context["step"] * sample.context["values"][which]))


@register_prediction("alignment-delay.half-logarithm")
def half_logarithm(size: MatrixSize, sample: Sample) -> float:
    """(1/2) ln 4 / ln(1 + eta lambda_r*)."""
    return _delay(sample, float(np.log(2)), -1)


@register_prediction("alignment-delay.logarithm")
def logarithm(size: MatrixSize, sample: Sample) -> float:
    """ln 4 / ln(1 + eta lambda_r*)."""
    return _delay(sample, float(np.log(4)), -1)


@register_prediction("alignment-delay.strongest")
def strongest(size: MatrixSize, sample: Sample) -> float:
    """(1/2) ln 4 / ln(1 + eta lambda_1)."""
    return _delay(sample, float(np.log(2)), 0)


@register_prediction("preconditioned-contraction.one-less-eta")
def one_less_eta(size: MatrixSize, sample: Sample) -> float:
    """1 - eta."""
    return 1 - float(sample.context["rate"])


@register_prediction("preconditioned-contraction.twice")
def twice(size: MatrixSize, sample: Sample) -> float:
    """1 - 2 eta."""
    return 1 - 2 * float(sample.context["rate"])


@register_prediction("preconditioned-contraction.of-descent")
def of_descent(size: MatrixSize, sample: Sample) -> float:
    """1 - eta / condition."""
    return 1 - float(sample.context["rate"] / sample.context["condition"])


@register_prediction("displaced-start-floor.tenth")
def tenth(problem: Problem, sample: Sample) -> float:
    """r zeta^2 / 10."""
    return float(sample.context["rank"] * sample.context["length"] ** 2) / 10


@register_prediction("displaced-start-floor.none")
def none(problem: Problem, sample: Sample) -> float:
    """0."""
    return 0.0


@register_prediction("displaced-start-gain.whole-length")
def whole_length(problem: Problem, sample: Sample) -> float:
    """r zeta^2 less: nothing of what was taken off the frozen weights is taken to be learnt again."""
    return -float(sample.context["rank"] * sample.context["length"] ** 2)
