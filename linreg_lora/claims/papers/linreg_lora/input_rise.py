"""Predictions of how much the loss of FFT rises on noisy inputs, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory.input_perturbation import expected_fft_rise


@register_prediction("fft-input-rise.exact")
def exact(problem: Problem, sample: Sample) -> float:
    """||A0 + Delta||^2, as far as the data see Delta, and the energy of the noise that is fitted."""
    return expected_fft_rise(problem)


@register_prediction("fft-input-rise.of-the-task")
def of_the_task(problem: Problem, sample: Sample) -> float:
    """||A0 + Delta||^2: as if no noise were fitted, and the data saw the whole shift."""
    assert problem.pretrained is not None
    return float(np.sum((problem.pretrained + problem.shift) ** 2))


@register_prediction("fft-input-rise.noise-in-the-metric-of-the-inputs")
def noise_in_the_metric(problem: Problem, sample: Sample) -> float:
    """The excess risk of fitted noise, Tr(Sigma_eps) dx / (n - dx - 1), for its energy."""
    energy = np.trace(np.linalg.inv(problem.sigma))
    return of_the_task(problem, sample) + (exact(problem, sample) - of_the_task(problem, sample)) * problem.dx / energy


@register_prediction("fft-input-rise.data-see-all")
def data_see_all(problem: Problem, sample: Sample) -> float:
    """The whole shift and the noise, though n < dx samples see a share n / dx of it."""
    return of_the_task(problem, sample) + exact(problem, sample) - exact(problem.replace(noise_std=0.0), sample)
