"""Predictions of a method's risk through the problem it reduces to, and their rivals."""

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.methods import registry
from linreg_lora.methods.method import Reduction
from linreg_lora.problem import Problem


def _reduction(problem: Problem, sample: Sample) -> Reduction:
    reduction = registry.named(str(sample.context["method"])).reduce(problem)
    assert reduction is not None, "the claim is about a method that reduces to another problem"
    return reduction


@register_prediction("method.misfit-is-no-noise")
def misfit_is_no_noise(problem: Problem, sample: Sample) -> float:
    """What the method cannot represent is lost, and does not act as noise beside eps."""
    from linreg_lora.theory.fft import fft_risk

    reduced, constant, _ = _reduction(problem, sample)
    quieter = reduced.replace(noise_std=problem.noise_std, noise_covariance=problem.noise_covariance)
    return constant + fft_risk(quieter).risk


@register_prediction("method.nothing-is-lost")
def nothing_is_lost(problem: Problem, sample: Sample) -> float:
    """The risk on the reduced problem, without what the method cannot represent."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(_reduction(problem, sample).problem).risk
