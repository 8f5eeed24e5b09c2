"""The expected risk of a fit within known subspaces that hold the target's map, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("subspace-risk.square")
def square(problem: Problem, sample: Sample) -> float:
    """v k / (n - k - 1), v the variance of the noise within k outputs: k^2 coefficients."""
    return float(sample.context["noise"]) * _per_output(problem, sample)


@register_prediction("subspace-risk.all-outputs")
def all_outputs(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) k / (n - k - 1): the subspace of the outputs is taken to spare nothing."""
    return problem.noise_trace * _per_output(problem, sample)


@register_prediction("subspace-risk.of-the-rank")
def of_the_rank(problem: Problem, sample: Sample) -> float:
    """As many coefficients as the dimension of rank k, k (dx + dy - k)."""
    rank = int(sample.context["rank"])
    return (
        float(np.asarray(sample.context["noise"]))
        * _per_output(problem, sample)
        * (problem.dx + problem.dy - rank)
        / rank
    )


def _per_output(problem: Problem, sample: Sample) -> float:
    rank = int(sample.context["rank"])
    return rank / (problem.n - rank - 1)


@register_prediction("subspace-gain.singular-values")
def singular_values(problem: Problem, sample: Sample) -> np.ndarray:
    """v / (n - k - 1) in place of v k / (n - k - 1): known subspaces are taken to leave k singular values to learn."""
    rank = int(sample.context["rank"])
    return (float(sample.context["noise"]) / (problem.n - rank - 1) - sample.context["fft"])[:, None]


@register_prediction("subspace-gain.nothing-missed")
def nothing_missed(problem: Problem, sample: Sample) -> np.ndarray:
    """v k / (n - k - 1) less the risk of the target's own fit: what the subspaces miss is not counted."""
    return (float(sample.context["noise"]) * _per_output(problem, sample) - sample.context["fft"])[:, None]
