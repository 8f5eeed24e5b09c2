"""Predictions of what one more sample is worth, as a share of what it is worth to FFT, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import data_benefit


def _of_fft(problem: Problem, sample: Sample, share: float) -> np.ndarray:
    return share * sample.context["fft"]


def _rank(sample: Sample) -> int:
    return len(sample.context["factor"])


@register_prediction("benefit.exact-ratio")
def exact_ratio(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1)(n - dx) / (dx (n - r - 1)(n - r)) of FFT's, where A represents Delta."""
    return _of_fft(problem, sample, data_benefit.frozen_a_ratio(problem.n, problem.dx, _rank(sample)))


@register_prediction("benefit.k-over-d")
def k_over_d(problem: Problem, sample: Sample) -> np.ndarray:
    """r dy trained parameters of dx dy."""
    return _of_fft(problem, sample, _rank(sample) / problem.dx)


@register_prediction("benefit.share-of-outputs")
def share_of_outputs(problem: Problem, sample: Sample) -> np.ndarray:
    """k/d for a frozen B: r dx trained parameters of dx dy."""
    return _of_fft(problem, sample, _rank(sample) / problem.dy)


@register_prediction("benefit.ratio-of-risks")
def ratio_of_risks(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1) / (dx (n - r - 1)): the ratio of the risks themselves."""
    n, dx, rank = problem.n, problem.dx, _rank(sample)
    return _of_fft(problem, sample, rank * (n - dx - 1) / (dx * (n - rank - 1)))


@register_prediction("benefit.rank-forgotten")
def rank_forgotten(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1)(n - dx) / (dx n^2): the adapter's own degrees of freedom are not subtracted."""
    n, dx = problem.n, problem.dx
    return _of_fft(problem, sample, _rank(sample) * (n - dx - 1) * (n - dx) / (dx * n**2))


@register_prediction("benefit.misspecified")
def misspecified(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps + M) r / ((n - r - 1)(n - r))."""
    return data_benefit.frozen_a_benefit(problem, sample.context["factor"]).value


@register_prediction("benefit.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """As if A represented Delta: Tr(Sigma_eps) r / ((n - r - 1)(n - r))."""
    rank = _rank(sample)
    return problem.noise_trace * rank / ((problem.n - rank - 1) * (problem.n - rank))
