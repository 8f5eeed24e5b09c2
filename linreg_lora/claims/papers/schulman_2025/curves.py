"""When the learning curves of two ranks part, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction


def _parted(case: Factors, sample: Sample, rate: np.ndarray) -> np.ndarray:
    """1 - (1 - d/f)^2 of a mode that rises along a logistic curve at this rate."""
    start, times, f = float(sample.context["start"]), sample.context["times"], sample.context["rising"]
    share = 1 / (1 + (f / start - 1) * np.exp(-2 * case.scaling * rate * times))
    return 1 - (1 - share) ** 2


@register_prediction("ranks-part.by-the-next-mode")
def by_the_next_mode(case: Factors, sample: Sample) -> np.ndarray:
    """When the mode that the lower rank lacks rises, at the rate 2 g f_{r+1}."""
    return _parted(case, sample, sample.context["rising"])


@register_prediction("ranks-part.by-the-first-mode")
def by_the_first_mode(case: Factors, sample: Sample) -> np.ndarray:
    """All modes are taken to rise as the first does."""
    return _parted(case, sample, sample.context["first"])


@register_prediction("ranks-part.from-the-beginning")
def from_the_beginning(case: Factors, sample: Sample) -> np.ndarray:
    """1 - e^{-2 g f t}: modes are taken to be learnt from the beginning, as by full fine-tuning."""
    rate = 2 * case.scaling * sample.context["rising"]
    return -np.expm1(-rate * sample.context["times"])
