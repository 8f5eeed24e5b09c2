"""Predictions of risks at equal forgetting, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("equal-forgetting.trained-out")
def trained_out(problem: Problem, sample: Sample) -> float:
    """LoRA's expected risk less full fine-tuning's, neither scaled."""
    from linreg_lora.theory.curve import expected_risk

    rank = int(sample.context["rank"])
    curve = expected_risk(problem, [rank])
    return curve.at_rank(rank).risk - curve.fft_risk


@register_prediction("equal-forgetting.without-sigma")
def without_sigma(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's risk less full fine-tuning's, Sigma left out of both updates."""
    return sample.context["plain"][:, None]
