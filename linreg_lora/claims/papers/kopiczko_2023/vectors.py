"""What VeRA's vectors leave of a shift, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


def _rank(sample: Sample) -> int:
    return int(sample.context["rank"])


@register_prediction("vectors-leave.a-twentieth")
def a_twentieth(size: MatrixSize, sample: Sample) -> float:
    """1/20, where LoRA of rank one leaves nothing."""
    return 0.05


@register_prediction("vectors-leave.what-a-misses")
def what_a_misses_on_average(size: MatrixSize, sample: Sample) -> float:
    """1 - r/dx: VeRA is taken to learn all that its A sees."""
    return 1 - _rank(sample) / size.columns


@register_prediction("vectors-leave.missed")
def missed(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||v (I - P)||^2, P the projector on the rows of A."""
    return sample.context["missed"]


@register_prediction("vectors-leave.inner-alone")
def inner_alone(size: MatrixSize, sample: Sample) -> np.ndarray:
    """min ||Delta - B diag(d) A||_F^2 over d: the outer vector is taken to learn nothing."""
    return sample.context["inner"]


@register_prediction("vectors-leave.share-of-parameters")
def share_of_parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """1 - (r + dy) / (dx dy): what it learns is taken to go with its parameters."""
    left = 1 - (_rank(sample) + size.rows) / (size.rows * size.columns)
    return np.full(len(sample.context["missed"]), left)
