"""Predictions about steps on factors that claims of several papers share, and their rivals."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction


@register_prediction("rescaled-factors.rates-squared")
def rates_squared(case: Factors, sample: Sample) -> np.ndarray:
    """The rescaled start with rates u^2 eta_B and v^2 eta_A."""
    return sample.context["power 2"]


@register_prediction("rescaled-factors.rates")
def rates(case: Factors, sample: Sample) -> np.ndarray:
    """The rescaled start with rates u eta_B and v eta_A."""
    return sample.context["power 1"]


@register_prediction("rescaled-factors.start-alone")
def start_alone(case: Factors, sample: Sample) -> np.ndarray:
    """The rescaled start with the rates as they were."""
    return sample.context["power 0"]


@register_prediction("rescaled-factors.both-rates")
def both_rates(case: Factors, sample: Sample) -> np.ndarray:
    """The rescaled start with u^2 times both rates."""
    return sample.context["both rates"]


def _sizes(case: Factors, sample: Sample) -> tuple[int, float]:
    """r, and g^4."""
    r = int(sample.context["rank"])
    return r, r ** (-4 * float(sample.context["power"]))


@register_prediction("first-update-energy.wishart")
def wishart(case: Factors, sample: Sample) -> float:
    """g^4 r (r + dx + 1), of E (A^T A)^2 for Gaussian A."""
    r, scale = _sizes(case, sample)
    return scale * r * (r + case.dx + 1)


@register_prediction("first-update-energy.independent")
def independent(case: Factors, sample: Sample) -> float:
    """g^4 r dx: the two A in A^T A are taken to be independent."""
    r, scale = _sizes(case, sample)
    return scale * r * case.dx


@register_prediction("first-update-energy.mean-alone")
def mean_alone(case: Factors, sample: Sample) -> float:
    """g^4 r^2: A^T A is taken for its mean."""
    r, scale = _sizes(case, sample)
    return scale * r**2


@register_prediction("first-update-energy.as-at-the-lower-rank")
def as_at_the_lower_rank(case: Factors, sample: Sample) -> float:
    """What it is at the rank before it was multiplied."""
    lower = int(sample.context["rank"]) // int(sample.context["times"])
    return lower ** (1 - 4 * float(sample.context["power"])) * (lower + case.dx + 1)


@register_prediction("equal-fall.equal")
def equal(case: Factors, sample: Sample) -> float:
    """1: at so many times the learning rate, the falls are equal."""
    return 1.0


@register_prediction("equal-fall.of-signs")
def of_signs(case: Factors, sample: Sample) -> float:
    """k g r a sqrt(2/pi) sum_j ||H_j|| / ||H||_1."""
    size = float(sample.context["times"]) * case.scaling * case.rank * np.sqrt(2 / np.pi * case.kappa / case.dx)
    return size * float(np.mean(sample.context["rows"]))


@register_prediction("equal-fall.of-gradients")
def of_gradients(case: Factors, sample: Sample) -> float:
    """k g^2 r a^2."""
    return float(sample.context["times"]) * case.scaling**2 * case.rank * case.kappa / case.dx


@register_prediction("equal-fall.share-of-parameters")
def share_of_parameters(case: Factors, sample: Sample) -> float:
    """k times the share of the entries that B has."""
    return float(sample.context["times"]) * case.rank / case.dx
