"""Forgetting by angles: what is claimed, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("forgetting-by-angles.least")
def least_angle(size: MatrixSize, sample: Sample) -> np.ndarray:
    """cos^2 of the least principal angle."""
    return sample.context["cosines"][:, 0] ** 2


@register_prediction("forgetting-by-angles.all")
def all_angles(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The mean of cos^2 over the principal angles."""
    return np.mean(sample.context["cosines"] ** 2, axis=1)


@register_prediction("forgetting-by-angles.sine")
def sine(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sin^2 of the least principal angle: forgetting is taken to grow with it."""
    return 1 - least_angle(size, sample)


@register_prediction("forgetting-by-angles.cosine")
def cosine(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The cosine itself."""
    return sample.context["cosines"][:, 0]


def _noise(problem: Problem, sample: Sample, outputs: float) -> float:
    """The noise of so many outputs on the inputs of P: sigma^2 k / (n - dx - 1) each, Sigma = I."""
    variance = problem.noise_trace / problem.dy
    return outputs * variance * int(sample.context["inputs"]) / (problem.n - problem.dx - 1)


@register_prediction("forgetting-of-an-orthogonal-task.of-the-rank")
def of_the_rank(problem: Problem, sample: Sample) -> float:
    """sigma^2 r k / (n - dx - 1)."""
    return _noise(problem, sample, int(sample.context["rank"]))


@register_prediction("forgetting-of-an-orthogonal-task.none")
def none(problem: Problem, sample: Sample) -> float:
    """0."""
    return 0.0


@register_prediction("forgetting-of-an-orthogonal-task.of-all-outputs")
def of_all_outputs(problem: Problem, sample: Sample) -> float:
    """sigma^2 dy k / (n - dx - 1), that of full fine-tuning: the rank is taken not to matter."""
    return _noise(problem, sample, problem.dy)
