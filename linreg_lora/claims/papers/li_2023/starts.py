"""Where LoRA ends from LoftQ's starts, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("lora-from-loftq.as-qlora")
def as_qlora(problem: Problem, sample: Sample) -> np.ndarray:
    """Where LoRA ends on Q(A0)."""
    return sample.context["qlora"]


@register_prediction("lora-from-loftq.as-after-five")
def as_after_five(problem: Problem, sample: Sample) -> np.ndarray:
    """Where LoRA ends on the base after five alternations."""
    return sample.context["five"]


@register_prediction("lora-from-loftq.as-from-a0")
def as_from_a0(problem: Problem, sample: Sample) -> np.ndarray:
    """A0 + D_r(Y - A0 X): the start is taken to repair the base."""
    return sample.context["a0"]
