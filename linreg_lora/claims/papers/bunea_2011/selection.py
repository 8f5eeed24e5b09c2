"""The rank that a penalised criterion selects, the rate at which it selects noise, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem

#: F_1(0), the distribution function of the Tracy-Widom law of real matrices at its centre, and F_2(0), of complex ones.
_TRACY_WIDOM_1, _TRACY_WIDOM_2 = 0.8319080662, 0.9693728284


@register_prediction("selected-rank.threshold")
def threshold(problem: Problem, sample: Sample) -> np.ndarray:
    """#{k : sigma_k(F)^2 >= mu}, F the fitted outputs."""
    return np.sum(sample.context["strengths"] ** 2 >= sample.context["mu"], axis=1).astype(float)


@register_prediction("selected-rank.threshold-of-roots")
def threshold_of_roots(problem: Problem, sample: Sample) -> np.ndarray:
    """#{k : sigma_k(F) >= mu}: singular values that are not squared."""
    return np.sum(sample.context["strengths"] >= sample.context["mu"], axis=1).astype(float)


@register_prediction("selected-rank.penalty-on-the-dimension")
def penalty_on_the_dimension(problem: Problem, sample: Sample) -> np.ndarray:
    """The minimiser where the penalty is in proportion to k (dx + dy - k), the dimension of rank k."""
    k = np.arange(sample.context["losses"].shape[1])
    per_dimension = sample.context["mu"] / (problem.dy + min(problem.n, problem.dx))
    dimension = k * (problem.dx + problem.dy - k)
    return np.argmin(sample.context["losses"] + per_dimension * dimension, axis=1).astype(float)


@register_prediction("noise-selected.tracy-widom")
def noise_selected_limit(size: MatrixSize, sample: Sample) -> float:
    """1 - F_1(0)."""
    return 1 - _TRACY_WIDOM_1


@register_prediction("noise-selected.complex")
def noise_selected_complex(size: MatrixSize, sample: Sample) -> float:
    """1 - F_2(0): the limit of complex matrices."""
    return 1 - _TRACY_WIDOM_2


@register_prediction("noise-selected.half")
def noise_selected_half(size: MatrixSize, sample: Sample) -> float:
    """1/2: the edge is taken for the median."""
    return 0.5


@register_prediction("thresholds-difference.noise-alone")
def kept_noise(problem: Problem, sample: Sample) -> float:
    """The energy that the lower level keeps more, as if all of it were noise."""
    return float(np.mean(sample.context["energy"]))


@register_prediction("thresholds-difference.by-the-dimension")
def by_the_dimension(problem: Problem, sample: Sample) -> float:
    """sigma^2 (dx + dy - 1) / n less the weakest s_i^2 c of the shift, for each direction that is kept more: as if its
    dimension told what a direction costs, and keeping it learnt it."""
    noise = problem.noise_trace / problem.dy * (problem.dx + problem.dy - 1) / problem.n
    strengths = problem.whitened_spectrum**2
    return float(np.mean(sample.context["more"]) * (noise - np.min(strengths[strengths > 0])))


@register_prediction("noise-selected-gain.none-left")
def none_left(size: MatrixSize, sample: Sample) -> float:
    """At twice the size noise is taken never to be selected."""
    return -float(np.mean(sample.context["fft"]))


@register_prediction("noise-selected-gain.none")
def no_gain(size: MatrixSize, sample: Sample) -> float:
    """Nothing: both sizes select noise as often."""
    return 0.0
