"""Predictions of what ranks and nuclear norms cost in samples, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _ranks(problem: Problem, sample: Sample) -> tuple[int, int]:
    """The rank of the fit, and that of the shift."""
    return int(sample.context["rank"]), int(np.count_nonzero(np.asarray(problem.spectrum)))


@register_prediction("scaled-variance.dimension-and-edge")
def dimension_and_edge(problem: Problem, sample: Sample) -> float:
    """r* (dx + dy - r*) + (r - r*) (sqrt(dx - r*) + sqrt(dy - r*))^2, at most about 4 r d for dx = dy = d."""
    rank, planted = _ranks(problem, sample)
    surplus = (np.sqrt(problem.dx - planted) + np.sqrt(problem.dy - planted)) ** 2
    return float(planted * (problem.dx + problem.dy - planted) + (rank - planted) * surplus)


@register_prediction("shrunk-risk.rank-times-size")
def rank_times_size(problem: Problem, sample: Sample) -> float:
    """r (dx + dy) / 2."""
    rank, _ = _ranks(problem, sample)
    return rank * (problem.dx + problem.dy) / 2


@register_prediction("shrunk-risk.all-ranks-strong")
def all_ranks_strong(problem: Problem, sample: Sample) -> float:
    """r (dx + dy) + r (sqrt(dx) + sqrt(dy))^2: every rank is taken to pay variance and bias in full."""
    rank, _ = _ranks(problem, sample)
    return rank * (problem.dx + problem.dy + (np.sqrt(problem.dx) + np.sqrt(problem.dy)) ** 2)


def _strong(problem: Problem, sample: Sample, bias: float) -> float:
    planted = _ranks(problem, sample)[1]
    shift = float(sample.context["threshold"]) * (np.sqrt(problem.dx) + np.sqrt(problem.dy))
    return planted * (problem.dx + problem.dy - planted) + bias * planted * shift**2


@register_prediction("shrunk-risk.dimension-and-bias")
def dimension_and_bias(problem: Problem, sample: Sample) -> float:
    """r* (dx + dy - r*) + r* t^2, t the threshold in units of the noise's entries."""
    return _strong(problem, sample, 1.0)


@register_prediction("shrunk-risk.dimension")
def no_bias(problem: Problem, sample: Sample) -> float:
    """r* (dx + dy - r*): shrinking is taken to leave no bias."""
    return _strong(problem, sample, 0.0)


@register_prediction("shrunk-risk.half-the-bias")
def half_the_bias(problem: Problem, sample: Sample) -> float:
    """Half of the bias: twice the risk of truncation, for dx = dy."""
    return _strong(problem, sample, 0.25)


@register_prediction("difference.twentieth")
def twentieth(problem: Problem, sample: Sample) -> float:
    """A twentieth of what it is compared with more."""
    return float(np.mean(sample.context["fft"])) / 20


def _fall(problem: Problem, sample: Sample, power: float) -> float:
    """What (n + more)^-power in place of n^-power takes off the risk."""
    left = (problem.n / (problem.n + float(sample.context["more"]))) ** power
    return float((1 - left) * np.mean(sample.context["few"]))


@register_prediction("samples.rate-of-a-root")
def rate_of_a_root(problem: Problem, sample: Sample) -> float:
    """The risk falls as 1 / sqrt(n)."""
    return _fall(problem, sample, 0.5)


@register_prediction("samples.rate-of-a-square")
def rate_of_a_square(problem: Problem, sample: Sample) -> float:
    """The risk falls as 1 / n^2."""
    return _fall(problem, sample, 2.0)
