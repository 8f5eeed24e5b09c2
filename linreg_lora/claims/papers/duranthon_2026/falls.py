"""How far a risk falls with four times as many samples, if all of it falls with their number."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("difference.by-four")
def by_four(problem: Problem, sample: Sample) -> float:
    """Three quarters of what it is compared with less."""
    return -0.75 * float(np.mean(sample.context["fft"]))
