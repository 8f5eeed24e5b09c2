"""What a quantised base leaves to learn, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


def _variance(sample: Sample) -> tuple[int, float]:
    """r, and h^2 / 12."""
    return int(sample.context["rank"]), float(sample.context["width"]) ** 2 / 12


@register_prediction("quantised-floor.outside-of-the-tangent-space")
def outside_of_the_tangent_space(size: MatrixSize, sample: Sample) -> float:
    """(dx - r)(dy - r) h^2 / 12."""
    r, variance = _variance(sample)
    return (size.columns - r) * (size.rows - r) * variance


@register_prediction("quantised-floor.every-entry")
def every_entry(size: MatrixSize, sample: Sample) -> float:
    """dx dy h^2 / 12: nothing of the error is taken to be learnt."""
    _, variance = _variance(sample)
    return size.columns * size.rows * variance


@register_prediction("quantised-floor.parameters-off")
def parameters_off(size: MatrixSize, sample: Sample) -> float:
    """(dx dy - r (dx + dy)) h^2 / 12: each parameter is taken to remove the error of one entry."""
    r, variance = _variance(sample)
    return (size.columns * size.rows - r * (size.columns + size.rows)) * variance


@register_prediction("quantised-base.as-from-a0")
def as_from_a0(problem: Problem, sample: Sample) -> np.ndarray:
    """A0 + D_FFT: the base leaves no trace."""
    return sample.context["from-a0"]


@register_prediction("quantised-base.error-stays")
def error_stays(problem: Problem, sample: Sample) -> np.ndarray:
    """The error of the base is taken to be in the result."""
    return sample.context["from-a0"] + sample.context["error"]
