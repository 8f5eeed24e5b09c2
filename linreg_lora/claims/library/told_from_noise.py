"""Whether a component of rank one can be told from noise: Y = theta u v^T + E, E iid N(0, 1), u and v of the Haar law.

In plain NumPy. L is the likelihood ratio of Y to E, averaged over u and v, and 1 + chi^2 its second moment under E.
"""

import math

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative


def _directions(rng: np.random.Generator, trials: int, size: int) -> np.ndarray:
    found = rng.standard_normal((trials, size))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@register_experiment("squared-likelihood-ratio", bounded=True)
def squared_likelihood_ratio(size: MatrixSize, trials: int, seed: int, *, strength: NonNegative) -> Sample:
    """exp(theta^2 <u, u'> <v, v'>) of two independent components, whose mean is 1 + chi^2; context: theta."""
    rng = np.random.default_rng(seed)
    overlaps = (np.sum(_directions(rng, trials, k) * _directions(rng, trials, k), axis=1) for k in size)
    value = np.exp(strength**2 * next(overlaps) * next(overlaps))
    return Sample(value[:, None], {"strength": np.asarray(strength)})


@register_experiment("errors-of-a-threshold", bounded=True)
def errors_of_a_threshold(
    size: MatrixSize, trials: int, seed: int, *, strength: NonNegative, threshold: NonNegative
) -> Sample:
    """Whether the largest singular value of noise exceeds the threshold, and whether that of a component in noise does
    not, summed; context: theta."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, trials, *size))
    u, v = (_directions(rng, trials, k) for k in size)
    alone, with_it = (
        np.linalg.svd(each, compute_uv=False)[:, 0]
        for each in (noise[0], noise[1] + strength * u[:, :, None] * v[:, None])
    )
    errors = (alone > threshold).astype(float) + (with_it <= threshold)
    return Sample(errors[:, None], {"strength": np.asarray(strength)})


def _second_moment(size: MatrixSize, sample: Sample) -> float:
    """sum_k theta^{4 k} / (2 k)! m_{2k}(dy) m_{2k}(dx), m_{2k}(d) = E u_1^{2k} on the sphere of d dimensions."""
    total, term, power = 1.0, 1.0, float(sample.context["strength"]) ** 4
    for k in range(1, 200):
        moments = math.prod((2 * k - 1) / (d + 2 * (k - 1)) for d in size)
        term *= power * moments / ((2 * k) * (2 * k - 1))
        total += term
    return total


@register_prediction("squared-likelihood-ratio.series")
def series(size: MatrixSize, sample: Sample) -> float:
    """1 + chi^2, by even moments of the spheres."""
    return _second_moment(size, sample)


@register_prediction("squared-likelihood-ratio.limit")
def limit(size: MatrixSize, sample: Sample) -> float:
    """(1 - theta^4 / (dx dy))^{-1/2}, that of large sizes."""
    return (1 - float(sample.context["strength"]) ** 4 / math.prod(size)) ** -0.5


@register_prediction("squared-likelihood-ratio.second-order")
def second_order(size: MatrixSize, sample: Sample) -> float:
    """1 + theta^4 / (2 dx dy)."""
    return 1 + float(sample.context["strength"]) ** 4 / (2 * math.prod(size))


@register_prediction("errors-of-a-threshold.le-cam")
def le_cam(size: MatrixSize, sample: Sample) -> float:
    """1 - chi / 2."""
    return 1 - math.sqrt(_second_moment(size, sample) - 1) / 2


@register_prediction("errors-of-a-threshold.chi-square")
def chi_square(size: MatrixSize, sample: Sample) -> float:
    """1 - chi^2 / 4."""
    return 1 - (_second_moment(size, sample) - 1) / 4
