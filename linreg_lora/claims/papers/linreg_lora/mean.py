"""Predictions of risks on inputs with a mean, of offsets and of a bias beside a method, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.methods import registry
from linreg_lora.methods.with_bias import WithBias
from linreg_lora.problem import Problem
from linreg_lora.theory.bitfit import bitfit_risk
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.offsets import offset_risk, risk_with_bias, without_mean


def _alone(problem: Problem, sample: Sample) -> float:
    """The risk of the method without its bias, on a problem of centred inputs."""
    method = registry.named(str(sample.context["method"]))
    assert isinstance(method, WithBias), "the claim is about a method with a bias"
    return method.method.expected_risk(problem).risk


@register_prediction("with-bias.one-sample")
def one_sample(problem: Problem, sample: Sample) -> float:
    """(1 + 1/n) risk(n - 1) + Tr(Sigma_eps) / n."""
    return risk_with_bias(problem, _alone(without_mean(problem), sample))


@register_prediction("with-bias.all-samples")
def all_samples(problem: Problem, sample: Sample) -> float:
    """The mean takes no sample: n for n - 1."""
    return risk_with_bias(problem, _alone(problem.centred(), sample))


@register_prediction("with-bias.mean-is-known")
def mean_is_known(problem: Problem, sample: Sample) -> float:
    """The mean of the inputs is taken to be known: 1 for 1 + 1/n."""
    return _alone(without_mean(problem), sample) + problem.noise_trace / problem.n


@register_prediction("with-bias.free-of-noise")
def free_of_noise(problem: Problem, sample: Sample) -> float:
    """The bias is taken to have no noise of its own."""
    return (1 + 1 / problem.n) * _alone(without_mean(problem), sample)


@register_prediction("with-bias.only-costs")
def only_costs(problem: Problem, sample: Sample) -> float:
    """A bias is taken to cost what it fits and nothing else: (risk(n) + Tr(Sigma_eps)) / n more."""
    return (_alone(problem.centred(), sample) + problem.noise_trace) / problem.n


@register_prediction("bias-alone.every-mean")
def every_mean(problem: Problem, sample: Sample) -> float:
    """BitFit's, ||Delta Sigma^{1/2}||^2 (1 + 1/n) + Tr(Sigma_eps) / n (`theory.bitfit`)."""
    return bitfit_risk(problem).risk


@register_prediction("bias-alone.mean-is-lost")
def mean_is_lost(problem: Problem, sample: Sample) -> float:
    """The mean of the missed outputs is taken to be out of reach."""
    return bitfit_risk(problem).risk + float(np.sum(problem.shifted_mean**2))


@register_prediction("bias-alone.mean-is-noise")
def mean_is_noise(problem: Problem, sample: Sample) -> float:
    """The mean square of the missed outputs stands for their variance."""
    return bitfit_risk(problem).risk + float(np.sum(problem.shifted_mean**2)) / problem.n


@register_prediction("bias-alone.one-direction")
def one_direction(problem: Problem, sample: Sample) -> float:
    """A token is taken to move the outputs in one direction, that of the first column of A0."""
    assert problem.pretrained is not None, "the claim is about a map that prompts act through"
    column = problem.pretrained[:, :1]
    return offset_risk(problem, column / np.linalg.norm(column)).risk


@register_prediction("fft-with-mean.exact")
def fft_with_mean(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) [dx - 1 + (1 + m) 1F1(1; n/2; -n m/2)] / (n - dx - 1) (`theory.input_mean`)."""
    return fft_risk(problem).risk


@register_prediction("fft-with-mean.centred")
def fft_centred(problem: Problem, sample: Sample) -> float:
    """The mean is taken not to matter: dx / (n - dx - 1)."""
    return fft_risk(problem.centred()).risk


@register_prediction("fft-with-mean.mean-is-fitted")
def fft_mean_is_fitted(problem: Problem, sample: Sample) -> float:
    """The mean is taken for one input that all samples fit: Tr(Sigma_eps) / n of it, dx - 1 inputs of n - 1 samples."""
    dx, n = problem.dx, problem.n
    return problem.noise_trace * ((1 + 1 / n) * (dx - 1) / (n - dx - 1) + 1 / n)
