"""Expected risks of interpolating from a source's interpolator, Sigma = c I, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.transfer import source_map
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _risk(problem: Problem, sample: Sample, unseen: bool = True, inflated: bool = True) -> float:
    """(1 - n/dx) e + Tr(Sigma_eps) n / (dx - n - 1), e the source's error on the target's map.

    e = c (n0/dx) ||Delta||^2 + c (1 - n0/dx) ||A0 + Delta||^2 + sigma0^2 dy n0 / (dx - n0 - 1).
    """
    n, dx, c = problem.n, problem.dx, problem.isotropic_scale or 1.0
    samples, noise = int(sample.context["samples"]), float(sample.context["noise"])
    shift, target = (float(np.sum(m**2)) for m in (problem.shift, source_map(problem) + problem.shift))
    spread = noise**2 * problem.dy * samples / (dx - samples - 1 if inflated else dx)
    start = c * samples / dx * shift + (c * (1 - samples / dx) * target if unseen else 0.0) + spread
    return (1 - n / dx) * start + problem.noise_trace * n / (dx - n - 1)


@register_prediction("transfer-risk.exact")
def exact(problem: Problem, sample: Sample) -> float:
    """The formula above."""
    return _risk(problem, sample)


@register_prediction("transfer-risk.without-the-unseen")
def without_the_unseen(problem: Problem, sample: Sample) -> float:
    """Without the part of the target's map that no source sample shows."""
    return _risk(problem, sample, unseen=False)


@register_prediction("transfer-risk.noise-per-direction")
def noise_per_direction(problem: Problem, sample: Sample) -> float:
    """The source's noise as sigma0^2 dy n0 / dx: what interpolating amplifies is left out."""
    return _risk(problem, sample, inflated=False)
