"""Predictions of one truncated step against LoRA that is trained, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("one-step-minus-lora.half")
def half(problem: Problem, sample: Sample) -> float:
    """Half of LoRA's risk less."""
    return -float(np.mean(sample.context["fft"])) / 2
