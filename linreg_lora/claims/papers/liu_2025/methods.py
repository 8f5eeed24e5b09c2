"""Predictions of the risks of methods beside trained LoRA, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory.bitfit import bitfit_risk
from linreg_lora.theory.ia3 import ia3_risk


@register_prediction("frozen-a.exact")
def frozen_a_exact(problem: Problem, sample: Sample) -> float:
    """The misspecification, and (Tr Sigma_eps + it) r / (n - r - 1) (`theory.frozen`)."""
    from linreg_lora.theory import frozen

    return frozen.frozen_a_risk(problem, sample.context["factor"]).risk


@register_prediction("frozen-a.misspecification-is-no-noise")
def frozen_a_no_inflation(problem: Problem, sample: Sample) -> float:
    """The misspecification, and Tr(Sigma_eps) r / (n - r - 1): what A misses disturbs nothing."""
    from linreg_lora.theory import frozen

    rank = len(sample.context["factor"])
    missed = frozen.frozen_a_risk(problem, sample.context["factor"]).misspecification
    return missed + problem.noise_trace * rank / (problem.n - rank - 1)


@register_prediction("frozen-a.without-misspecification")
def frozen_a_without_misspecification(problem: Problem, sample: Sample) -> float:
    """The variance alone: A is taken to represent the shift."""
    from linreg_lora.theory import frozen

    risk = frozen.frozen_a_risk(problem, sample.context["factor"])
    return risk.risk - risk.misspecification


@register_prediction("frozen-b.exact")
def frozen_b_exact(problem: Problem, sample: Sample) -> float:
    """What B misses, and the variance of the r outputs it reaches (`theory.frozen`)."""
    from linreg_lora.theory import frozen

    return frozen.frozen_b_risk(problem, sample.context["factor"]).risk


@register_prediction("frozen-b.as-if-a-were-frozen")
def frozen_b_rank_for_inputs(problem: Problem, sample: Sample) -> float:
    """r in place of dx in the variance."""
    from linreg_lora.theory import frozen

    factor = sample.context["factor"]
    rank = factor.shape[1]
    missed = frozen.frozen_b_risk(problem, factor).misspecification
    return missed + float(np.trace(factor.T @ problem.sigma_eps @ factor)) * rank / (problem.n - rank - 1)


@register_prediction("frozen-b.all-outputs")
def frozen_b_all_outputs(problem: Problem, sample: Sample) -> float:
    """The noise of all outputs, not of the r that B reaches."""
    from linreg_lora.theory import frozen

    missed = frozen.frozen_b_risk(problem, sample.context["factor"]).misspecification
    return missed + problem.noise_trace * problem.dx / (problem.n - problem.dx - 1)


@register_prediction("bitfit.exact")
def bitfit_exact(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 (1 + 1/n) + Tr(Sigma_eps) / n (`theory.bitfit`)."""
    return bitfit_risk(problem).risk


@register_prediction("bitfit.shift-is-no-noise")
def bitfit_shift_is_no_noise(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 + Tr(Sigma_eps) / n: the shift does not move the mean residual."""
    return problem.pretrained_risk + problem.noise_trace / problem.n


@register_prediction("bitfit.learns-the-shift")
def bitfit_learns_the_shift(problem: Problem, sample: Sample) -> float:
    """Only the variance is left: the bias stands in for the shift."""
    return bitfit_risk(problem).variance


@register_prediction("ia3.exact")
def ia3_exact(problem: Problem, sample: Sample) -> float:
    """The misspecification, and the variance with n - 2 (`theory.ia3`)."""
    return ia3_risk(problem).risk


@register_prediction("ia3.misspecification-is-no-noise")
def ia3_misspecification_is_no_noise(problem: Problem, sample: Sample) -> float:
    """The misspecification, and Tr(Sigma_eps) / (n - 2): what is missed disturbs nothing."""
    return ia3_risk(problem).misspecification + problem.noise_trace / (problem.n - 2)


@register_prediction("ia3.classical")
def ia3_classical(problem: Problem, sample: Sample) -> float:
    """n in place of n - 2."""
    exact = ia3_risk(problem)
    return exact.misspecification + exact.variance * (problem.n - 2) / problem.n


@register_prediction("ia3.learns-the-shift")
def ia3_learns_the_shift(problem: Problem, sample: Sample) -> float:
    """Every shift is taken for a rescaling of the outputs."""
    return problem.noise_trace / (problem.n - 2)


@register_prediction("risk.of-fft")
def risk_of_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of FFT on the same data."""
    return sample.context["fft"]


@register_prediction("risk.half-the-shift")
def risk_half_the_shift(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 / 2: half of the shift is learned, at no cost."""
    return problem.pretrained_risk / 2
