"""Predictions of risks at equal forgetting, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("equal-forgetting.half")
def half(problem: Problem, sample: Sample) -> float:
    """Half of full fine-tuning's risk less."""
    return -float(np.mean(sample.context["fft"])) / 2
