"""Predictions of LoRA's and FFT's risks on inputs that are not Gaussian, and their rivals."""

import functools

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.input_law import IidEntries, MultivariateT, Weighted
from linreg_lora.problem import Problem

#: The dimension at which a rival's error stops to fall.
_SMALL = 20


@register_prediction("inputs.as-gaussian")
def as_gaussian(problem: Problem, sample: Sample) -> float:
    """LoRA's risk by the corrected formula of Gaussian inputs."""
    return _curve(problem.replace(input_law="gaussian"), int(sample.context["rank"]), True)


@register_prediction("inputs.weighted")
def weighted(problem: Problem, sample: Sample) -> float:
    """LoRA's risk by the deterministic equivalent of weighted samples, without its first order."""
    return _curve(problem, int(sample.context["rank"]), False)


@register_prediction("inputs.kurtosis-that-stays")
def kurtosis_that_stays(problem: Problem, sample: Sample) -> float:
    """The formula of Gaussian inputs, times 1 + kappa4 / 40 at every size."""
    law = problem.input_law
    assert isinstance(law, IidEntries)
    return as_gaussian(problem, sample) * (1 + law.kurtosis / (2 * _SMALL))


@register_prediction("inputs.fewer-samples")
def fewer_samples(problem: Problem, sample: Sample) -> float:
    """The formula of Gaussian inputs with the effective sample size n / E[w^2]."""
    changed = problem.replace(input_law="gaussian", n=round(problem.n / _second_moment(problem)))
    return _curve(changed, int(sample.context["rank"]), True)


@register_prediction("inputs.as-elliptical")
def as_elliptical(problem: Problem, sample: Sample) -> float:
    """The formula of multivariate t inputs whose coordinates have the kurtosis of the entries, 6 / (dof - 4)."""
    law = problem.input_law
    assert isinstance(law, IidEntries)
    elliptical = problem.replace(input_law=MultivariateT(4 + 6 / law.kurtosis))
    return _curve(elliptical, int(sample.context["rank"]), True)


@register_prediction("inputs.fft-weighted")
def fft_weighted(problem: Problem, sample: Sample) -> float:
    """FFT's exact risk for n < dx on weighted samples, whose noise part has E[1/w]."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(problem).risk


@register_prediction("inputs.fft-as-gaussian")
def fft_as_gaussian(problem: Problem, sample: Sample) -> float:
    """FFT's exact risk on Gaussian inputs."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(problem.replace(input_law="gaussian")).risk


@register_prediction("inputs.fft-spread-of-weights")
def fft_spread_of_weights(problem: Problem, sample: Sample) -> float:
    """E[w^2] in place of E[1/w]."""
    from linreg_lora.theory.fft import fft_risk

    gaussian = fft_risk(problem.replace(input_law="gaussian"))
    return gaussian.bias + _second_moment(problem) * gaussian.variance


def _second_moment(problem: Problem) -> float:
    """E[w^2]."""
    law = problem.input_law
    assert isinstance(law, Weighted)
    w, _, p, _ = law.scales(problem.n)
    return float(p @ w**2)


@functools.lru_cache(maxsize=32)
def _curve(problem: Problem, rank: int, correction: bool) -> float:
    from linreg_lora.theory.curve import expected_risk

    return float(expected_risk(problem, [rank], correction=correction, flags=False).risk[0])
