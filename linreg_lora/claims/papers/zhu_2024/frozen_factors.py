"""Which factor to train when the other is random: what theory says of each, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.haar import haar_frozen_a_risk, haar_frozen_b_risk


@register_prediction("random-frozen-b.mean")
def random_frozen_b_mean(problem: Problem, sample: Sample) -> float:
    """(1 - r/dy) ||Delta Sigma^{1/2}||^2 + (r/dy) FFT risk."""
    return haar_frozen_b_risk(problem, int(sample.context["rank"])).risk


@register_prediction("random-frozen-b.share-of-inputs")
def random_frozen_b_share_of_inputs(problem: Problem, sample: Sample) -> float:
    """As if a share r/dx were reached, in place of r/dy."""
    share = int(sample.context["rank"]) / problem.dx
    return (1 - share) * problem.pretrained_risk + share * fft_risk(problem).risk


@register_prediction("random-frozen-b.misfit-is-noise")
def random_frozen_b_misfit_is_noise(problem: Problem, sample: Sample) -> float:
    """As with A frozen: what B cannot reach is taken to disturb the fit of what it can."""
    share = int(sample.context["rank"]) / problem.dy
    missed = (1 - share) * problem.pretrained_risk
    return missed + share * (problem.noise_trace + missed) * problem.dx / (problem.n - problem.dx - 1)


@register_prediction("random-factor-gain.isotropic")
def gain_on_isotropic_inputs(problem: Problem, sample: Sample) -> float:
    """Theory's difference of the two means, for inputs of the same mean variance that are isotropic."""
    scale = float(np.trace(problem.sigma)) / problem.dx
    alike, r = problem.replace(input_covariance=scale * np.eye(problem.dx)), int(sample.context["rank"])
    return haar_frozen_a_risk(alike, r).risk - haar_frozen_b_risk(alike, r).risk


@register_prediction("random-factor-gain.missed-alone")
def missed_alone(problem: Problem, sample: Sample) -> float:
    """(r/dy - r/dx) ||Delta Sigma^{1/2}||^2: what either class misses, as if inputs were isotropic and data many."""
    r = int(sample.context["rank"])
    return (r / problem.dy - r / problem.dx) * problem.pretrained_risk
