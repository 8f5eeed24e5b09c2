"""The expected risk of ridge towards a source with the best penalty, Sigma = c I, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("tuned-ridge-risk.trace")
def trace(problem: Problem, sample: Sample) -> float:
    """c Tr(Sigma_eps) E Tr (S + eta I)^{-1}, S = X X^T: given S the mean over directions of Delta."""
    eta, spectra = float(sample.context["eta"]), sample.context["spectra"]
    return _variance(problem) * float(np.mean(np.sum(1 / (spectra + eta), axis=1)))


@register_prediction("tuned-ridge-risk.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """c Tr(Sigma_eps) E Tr S (S + eta I)^{-2}: the shift's part is left out."""
    eta, spectra = float(sample.context["eta"]), sample.context["spectra"]
    return _variance(problem) * float(np.mean(np.sum(spectra / (spectra + eta) ** 2, axis=1)))


@register_prediction("tuned-ridge-risk.seen-alone")
def seen_alone(problem: Problem, sample: Sample) -> float:
    """The trace over directions that some sample shows: what none shows is left out."""
    eta, spectra = float(sample.context["eta"]), sample.context["spectra"]
    return _variance(problem) * float(np.mean(np.sum((spectra > 0) / (spectra + eta), axis=1)))


def _variance(problem: Problem) -> float:
    return (problem.isotropic_scale or 1.0) * problem.noise_trace


@register_prediction("towards-the-source.noise-per-direction")
def noise_per_direction(problem: Problem, sample: Sample) -> float:
    """`surplus`/dx of Tr(Sigma_eps) - c ||Delta||^2: what is seen costs its noise, which nothing amplifies."""
    gain = problem.noise_trace - (problem.isotropic_scale or 1.0) * float(np.sum(problem.shift**2))
    return int(sample.context["surplus"]) / problem.dx * gain


@register_prediction("tuned-transfer-gain.in-proportion")
def in_proportion(problem: Problem, sample: Sample) -> float:
    """The risk is taken to be in proportion to the mean square length that is left to learn."""
    near, far = sample.context["lengths"]
    return float((near / far - 1) * np.mean(sample.context["fft"]))
