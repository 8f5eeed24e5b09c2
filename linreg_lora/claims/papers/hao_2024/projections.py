"""LoRA and gradients that are projected at random: what is claimed, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction


@register_prediction("projected-gradients.through-a")
def through_a(case: Factors, sample: Sample) -> np.ndarray:
    """sum_t eta g^2 H_t A^T A, A as it was at the start."""
    return sample.context["alone"]


@register_prediction("projected-gradients.by-a-projector")
def by_a_projector(case: Factors, sample: Sample) -> np.ndarray:
    """eta g^2 H P a step, P the projector on the rows of A: as if these were orthonormal."""
    return sample.context["projector"]


@register_prediction("projected-gradients.nothing")
def nothing(case: Factors, sample: Sample) -> np.ndarray:
    """0: LoRA is taken not to move at first, as B is 0."""
    return np.zeros_like(sample.context["alone"])
