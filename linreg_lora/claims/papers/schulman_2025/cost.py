"""What a step of LoRA costs beside one of full fine-tuning, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


def _filled(sample: Sample, value: float) -> np.ndarray:
    return np.full(len(sample.statistic), value)


@register_prediction("step-cost.exact")
def exact(size: MatrixSize, sample: Sample) -> np.ndarray:
    """2/3 + r (dx + dy) / (dx dy)."""
    r = int(sample.context["rank"])
    return _filled(sample, 2 / 3 + r * (size.rows + size.columns) / (size.rows * size.columns))


@register_prediction("step-cost.two-thirds")
def two_thirds(size: MatrixSize, sample: Sample) -> np.ndarray:
    """2/3: the factors are taken to cost nothing."""
    return _filled(sample, 2 / 3)


@register_prediction("step-cost.forward-alone")
def forward_alone(size: MatrixSize, sample: Sample) -> np.ndarray:
    """2/3 + r (dx + dy) / (3 dx dy): the factors are taken to cost in the forward pass alone."""
    r = int(sample.context["rank"])
    return _filled(sample, 2 / 3 + r * (size.rows + size.columns) / (3 * size.rows * size.columns))


@register_prediction("step-cost.parameters")
def parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r (dx + dy) / (dx dy): the share of the parameters."""
    r = int(sample.context["rank"])
    return _filled(sample, r * (size.rows + size.columns) / (size.rows * size.columns))
