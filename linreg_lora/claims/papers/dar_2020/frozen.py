"""Expected risks with some inputs' parameters frozen and fewer samples than trained inputs, and plausible mistakes.

Of p trained inputs n < p - 1 samples show the share n/p, and the noise is amplified by n / (p - n - 1), Sigma = c I.
"""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _risk(problem: Problem, sample: Sample, missed_as_noise: bool = True, among: int | None = None) -> float:
    """m + (1 - n/p) s + (Tr(Sigma_eps) + m) n / (p - n - 1): m missed, and s left to the trained inputs."""
    n, free, scale = problem.n, int(sample.context["free"]), problem.isotropic_scale or 1.0
    frozen, trained = np.split(problem.shift, [problem.dx - free], axis=1)
    missed, left = scale * float(np.sum(frozen**2)), scale * float(np.sum(trained**2))
    noise = problem.noise_trace + (missed if missed_as_noise else 0.0)
    among = free if among is None else among
    return missed + (1 - n / among) * left + noise * n / (among - n - 1)


@register_prediction("transferred-risk.missed-as-noise")
def missed_as_noise(problem: Problem, sample: Sample) -> float:
    """The formula above."""
    return _risk(problem, sample)


@register_prediction("transferred-risk.missed-alone")
def missed_alone(problem: Problem, sample: Sample) -> float:
    """What is missed is counted once, and does not disturb what is trained."""
    return _risk(problem, sample, missed_as_noise=False)


@register_prediction("transferred-risk.of-all-inputs")
def of_all_inputs(problem: Problem, sample: Sample) -> float:
    """With dx in place of the number of trained inputs: the peak is taken to be where n = dx."""
    return _risk(problem, sample, among=problem.dx)


@register_prediction("more-free-parameters.learnt-in-full")
def learnt_in_full(problem: Problem, sample: Sample) -> float:
    """What `surplus` trained inputs more do to the risk if all of their part of the shift is learnt."""
    n, free, scale = problem.n, int(sample.context["free"]), problem.isotropic_scale or 1.0
    more = free + int(sample.context["surplus"])
    learnt = scale * float(np.sum(problem.shift[:, problem.dx - more : problem.dx - free] ** 2))
    before = (problem.noise_trace + learnt) * n / (free - n - 1)
    return problem.noise_trace * n / (more - n - 1) - before - learnt


@register_prediction("shorter-source-gain.missed-alone")
def gain_of_what_is_missed_alone(problem: Problem, sample: Sample) -> float:
    """How much less the transferred parameters miss: what they miss, or have, is taken not to reach what is trained."""
    return float(np.mean(sample.context["missed-by-shorter"] - sample.context["missed-by-same"]))


@register_prediction("shorter-source-gain.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """share^2 - 1 of the risk: all of it is taken for noise that is as long as the source's map."""
    return (float(sample.context["share"]) ** 2 - 1) * float(np.mean(sample.context["fft"]))
