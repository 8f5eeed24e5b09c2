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
    shift, target = _lengths(problem)
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


@register_prediction("transfer-gain.known-source")
def known_source(problem: Problem, sample: Sample) -> float:
    """c (1 - n/dx) (||Delta||^2 - ||A0 + Delta||^2): the source's map is taken to be known."""
    shift, target = _lengths(problem)
    return (1 - problem.n / problem.dx) * (problem.isotropic_scale or 1.0) * (shift - target)


@register_prediction("more-source-samples.noise-per-direction")
def more_noise_per_direction(problem: Problem, sample: Sample) -> float:
    """What `surplus` directions more that the source sees do, each with noise sigma0^2 dy / dx: none is amplified."""
    surplus, noise = int(sample.context["surplus"]), float(sample.context["noise"])
    shift, target = _lengths(problem)
    gain = (problem.isotropic_scale or 1.0) * (shift - target) + noise**2 * problem.dy
    return (1 - problem.n / problem.dx) * surplus / problem.dx * gain


def _noise_of_source(problem: Problem, sample: Sample) -> float:
    """(1 - n/dx) sigma0^2 dy n0 / (dx - n0 - 1): what the source's noise adds to the risk."""
    samples, noise = int(sample.context["samples"]), float(sample.context["noise"])
    return (1 - problem.n / problem.dx) * noise**2 * problem.dy * samples / (problem.dx - samples - 1)


@register_prediction("scaled-source-gain.of-noise")
def scaled_of_noise(problem: Problem, sample: Sample) -> float:
    """(1/alpha - 1) of what the source's noise adds."""
    return (1 / float(sample.context["scale"]) - 1) * _noise_of_source(problem, sample)


@register_prediction("scaled-source-gain.of-all")
def scaled_of_all(problem: Problem, sample: Sample) -> float:
    """(1/alpha - 1) of all that the source adds: what it misses is taken to be divided, too."""
    added = _risk(problem, sample) - problem.noise_trace * problem.n / (problem.dx - problem.n - 1)
    return (1 / float(sample.context["scale"]) - 1) * added


@register_prediction("scaled-source-gain.by-the-root")
def scaled_by_the_root(problem: Problem, sample: Sample) -> float:
    """(1/sqrt(alpha) - 1) of what the source's noise adds."""
    return (float(sample.context["scale"]) ** -0.5 - 1) * _noise_of_source(problem, sample)


@register_prediction("shifted-source-gain.seen-in-full")
def seen_in_full(problem: Problem, sample: Sample) -> float:
    """-(1 - n/dx) (1 - n0/dx) ||A0 + Delta||^2: strong inputs are taken to show the whole of the target's map."""
    unseen = 1 - int(sample.context["samples"]) / problem.dx
    return -(1 - problem.n / problem.dx) * unseen * _lengths(problem)[1]


@register_prediction("shifted-source-gain.by-the-variance")
def by_the_variance(problem: Problem, sample: Sample) -> float:
    """(1 - n/dx) (n0/dx) (1 - k) ||A0 + Delta||^2: the share that is seen is taken to go with the variance k."""
    seen, weight = int(sample.context["samples"]) / problem.dx, float(sample.context["weight"])
    return (1 - problem.n / problem.dx) * seen * (1 - weight) * _lengths(problem)[1]


def _lengths(problem: Problem) -> tuple[float, float]:
    """||Delta||^2 and ||A0 + Delta||^2."""
    return float(np.sum(problem.shift**2)), float(np.sum((source_map(problem) + problem.shift) ** 2))
