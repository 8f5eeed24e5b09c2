"""How far LoRA's kernel is from full fine-tuning's, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


def _over_rank(sample: Sample, value: float) -> float:
    return value / int(sample.context["rank"])


@register_prediction("kernel-error.effective-dimension")
def effective_dimension(size: MatrixSize, sample: Sample) -> float:
    """(1 + E (Tr K)^2 / ||K||_F^2) / r."""
    return _over_rank(sample, 1 + float(np.mean(sample.context["effective"])))


@register_prediction("kernel-error.logarithm")
def logarithm(size: MatrixSize, sample: Sample) -> float:
    """log(N) / r."""
    return _over_rank(sample, float(np.log(int(sample.context["samples"]))))


@register_prediction("kernel-error.one-entry")
def one_entry(size: MatrixSize, sample: Sample) -> float:
    """2 / r: that of an entry on the diagonal."""
    return _over_rank(sample, 2.0)
