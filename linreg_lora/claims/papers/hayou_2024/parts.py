"""Parts of a step and starts of either factor: what theory says, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction


def _feature(case: Factors) -> float:
    """E |A_k x| / ||x||."""
    return float(np.sqrt(2 / np.pi * case.kappa / case.dx))


@register_prediction("b-part-over-a-part.inverse-width")
def inverse_width(case: Factors, sample: Sample) -> float:
    """a sqrt(2/pi) E ||x|| / ||x||_1, about sqrt(kappa) / dx: all signs of A's step add up."""
    return _feature(case) * float(np.mean(np.sqrt(sample.context["energy"]) / sample.context["sum"]))


@register_prediction("b-part-over-a-part.inverse-root")
def inverse_root(case: Factors, sample: Sample) -> float:
    """a sqrt(2/pi): signs of A's step are taken to add up as random ones."""
    return _feature(case)


@register_prediction("b-part-over-a-part.any-width")
def any_width(case: Factors, sample: Sample) -> float:
    """sqrt(2 kappa / pi): the width is taken not to matter."""
    return float(np.sqrt(2 * case.kappa / np.pi))


@register_prediction("a-part-over-b-part.product-of-rates")
def product_of_rates(case: Factors, sample: Sample) -> np.ndarray:
    """g^2 eta_A eta_B ||e||^2 ||x||^2."""
    at = sample.context
    return case.scaling**2 * at["eta_a"] * at["eta_b"] * at["target"] * at["energy"]


@register_prediction("a-part-over-b-part.ratio-of-rates")
def ratio_of_rates(case: Factors, sample: Sample) -> np.ndarray:
    """g^2 eta_A^2 ||e||^2 ||x||^2: as if the rate of B did not matter."""
    return product_of_rates(case, sample) * sample.context["eta_a"] / sample.context["eta_b"]


@register_prediction("a-part-over-b-part.any-width")
def product_at_any_width(case: Factors, sample: Sample) -> np.ndarray:
    """The same with ||x||^2 / dx: the width is taken not to matter."""
    return product_of_rates(case, sample) / case.dx


@register_prediction("starts-of-either-factor.transpose")
def transpose(case: Factors, sample: Sample) -> np.ndarray:
    """The start in B of the transposed target, with the same variance."""
    return sample.context["transpose"]


@register_prediction("starts-of-either-factor.fan-in")
def fan_in(case: Factors, sample: Sample) -> np.ndarray:
    """The same with the variance of B's own fan-in, r."""
    return sample.context["fan-in"]


@register_prediction("starts-of-either-factor.same-target")
def same_target(case: Factors, sample: Sample) -> np.ndarray:
    """The start in B of the same target."""
    return sample.context["same target"]
