"""What the selected rank is compared with: it falls by a share of itself."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("difference.third")
def third_less(problem: Problem, sample: Sample) -> float:
    """A third less: a rank in inverse proportion to a penalty half as high again."""
    return -float(np.mean(sample.context["fft"])) / 3


@register_prediction("difference.all")
def all_less(problem: Problem, sample: Sample) -> float:
    """All of it less."""
    return -float(np.mean(sample.context["fft"]))
