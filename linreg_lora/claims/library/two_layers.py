"""Two square linear layers with an adapter of rank one on each, trained for a time towards a target. Plain NumPy.

The pretrained map is W_2 W_1 = U diag(s) V^T, balanced; the target adds a u v^T, with u and v at `angle` from the map's
leading singular vectors towards its second ones. All four factors start at random, of size `scale`.
"""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative, Positive

_STEPS, _STEP = 1000, 0.04


def _losses(size: MatrixSize, trials: int, seed: int, scale: float, angle: float) -> np.ndarray:
    """||target - (W_2 + B_2 A_2)(W_1 + B_1 A_1)||_F^2 after `_STEPS` steps of descent."""
    rng, d = np.random.default_rng(seed), size.rows
    u, v = (np.linalg.qr(rng.standard_normal((trials, d, d))).Q for _ in range(2))
    root = np.sqrt(np.linspace(2, 0.5, d))
    second, first = u * root, root[:, None] * v.mT
    turned = (np.cos(angle) * w[:, :, :1] + np.sin(angle) * w[:, :, 1:2] for w in (u, v))
    target = second @ first + np.matmul(next(turned), next(turned).mT)
    b2, b1, a2, a1 = scale * rng.standard_normal((4, trials, d, 1))
    a2, a1 = a2.mT, a1.mT
    for _ in range(_STEPS):
        upper, lower = second + b2 @ a2, first + b1 @ a1
        left = target - upper @ lower
        of_upper, of_lower = _STEP * left @ lower.mT, _STEP * upper.mT @ left
        b2, a2 = b2 + of_upper @ a2.mT, a2 + b2.mT @ of_upper
        b1, a1 = b1 + of_lower @ a1.mT, a1 + b1.mT @ of_lower
    return np.sum((target - (second + b2 @ a2) @ (first + b1 @ a1)) ** 2, axis=(1, 2))


@register_experiment("two-layers-by-scale", bounded=True)
def by_scale(
    size: MatrixSize, trials: int, seed: int, *, scale: Positive, times: Positive, angle: NonNegative
) -> Sample:
    """The loss from starts of scale / `times` over the sum of it and of that from the same starts of `scale`."""
    small, large = (_losses(size, trials, seed, each, angle) for each in (scale / times, scale))
    return Sample((small / (small + large))[:, None], {"times": np.asarray(times)})


@register_experiment("two-layers-by-angle", bounded=True)
def by_angle(size: MatrixSize, trials: int, seed: int, *, scale: Positive, angle: NonNegative) -> Sample:
    """log10 of the loss of a target at `angle` over that of one along the map's leading singular vectors."""
    turned, aligned = (_losses(size, trials, seed, scale, each) for each in (angle, 0.0))
    return Sample(np.log10(turned / aligned)[:, None], {"scale": np.asarray(scale)})


@register_prediction("two-layers.tenth")
def tenth(size: MatrixSize, sample: Sample) -> float:
    """1 / 11: a tenth of the other loss."""
    return 1 / 11


@register_prediction("two-layers.square")
def square(size: MatrixSize, sample: Sample) -> float:
    """Of a quotient `times`^-2: an error in proportion to the start."""
    return 1 / (1 + float(sample.context["times"]) ** 2)


@register_prediction("two-layers.ten")
def ten(size: MatrixSize, sample: Sample) -> float:
    """1: ten times the loss at least."""
    return 1.0


@register_prediction("two-layers.inverse-square")
def inverse_square(size: MatrixSize, sample: Sample) -> float:
    """-4 log10 of the scale: a loss of the order of one, where that of an aligned target is the scale to the fourth."""
    return -4.0 * float(np.log10(sample.context["scale"]))
