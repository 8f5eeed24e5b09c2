"""Correlations of magnitudes and directions: what is claimed, and plausible mistakes."""

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("magnitude-with-direction.none")
def none(problem: Problem, sample: Sample) -> float:
    """0."""
    return 0.0


@register_prediction("magnitude-with-direction.a-fifth")
def a_fifth(problem: Problem, sample: Sample) -> float:
    """1/5."""
    return 0.2


@register_prediction("magnitude-with-direction.minus-a-half")
def minus_a_half(problem: Problem, sample: Sample) -> float:
    """-1/2, about what is said of language models."""
    return -0.5


@register_prediction("magnitude-with-direction.nearly-one")
def nearly_one(problem: Problem, sample: Sample) -> float:
    """4/5, about what is said of language models."""
    return 0.8
