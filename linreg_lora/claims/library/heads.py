"""Two linear layers, y = v^T B x: the head alone, or both, trained on data that do not span the inputs. Plain NumPy."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_predicate, register_prediction
from linreg_lora.claims.settings import Count, Share
from linreg_lora.errors import InvalidInput

#: Steps of descent, and their size: the data have X X^T = P, a projector.
_STEPS, _STEP = 3000, 0.2


@register_predicate("features-and-inputs")
def features_and_inputs(rows: int, columns: int) -> bool:
    """A few features of many inputs."""
    return rows >= 1 and 4 * rows <= columns


def _trained(head: np.ndarray, features: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """B^T v where descent on both layers ends. Columns and rows; what B does to inputs off the data never changes."""
    shown = features @ x
    off = features - shown @ x.mT
    for _ in range(_STEPS):
        left = y - head @ shown
        head, shown = head + _STEP * left @ shown.mT, shown + _STEP * head.mT @ left
    return head @ (shown @ x.mT + off)


@register_experiment("head-less-both")
def head_less_both(size: MatrixSize, trials: int, seed: int, *, samples: Count, seen: Share) -> Sample:
    """||w - w*||^2 of the head alone less that of both layers from a random head, k = rows features of d = columns
    inputs with orthonormal rows; context: the latter.

    w* has the length 1 and a share `seen` of its energy in the features; no noise. The error is that on inputs in all
    directions, of which the data span `samples`.
    """
    rng, (k, d), n = np.random.default_rng(seed), size, int(samples)
    if not k <= n <= d:
        raise InvalidInput("samples", f"{k} to {d} samples, which show the features and are orthogonal", n)
    features = np.linalg.qr(rng.standard_normal((trials, d, k))).Q.mT
    inside, outside = rng.standard_normal((trials, 1, k)) @ features, rng.standard_normal((trials, 1, d))
    outside = outside - outside @ features.mT @ features
    inside, outside = (part / np.linalg.norm(part, axis=2, keepdims=True) for part in (inside, outside))
    w = np.sqrt(seen) * inside + np.sqrt(1 - seen) * outside
    x = np.linalg.qr(rng.standard_normal((trials, d, n))).Q
    y, shown = w @ x, features @ x
    head = np.linalg.solve(shown @ shown.mT, shown @ y.mT).mT
    both = _trained(rng.standard_normal((trials, 1, k)) / np.sqrt(k), features, x, y)
    alone, other = (np.sum((found - w) ** 2, axis=(1, 2)) for found in (head @ features, both))
    return Sample((alone - other)[:, None], {"beside": other})


@register_prediction("head-less-both.equal")
def equal(size: MatrixSize, sample: Sample) -> float:
    """0: both have the same error."""
    return 0.0


@register_prediction("head-less-both.half")
def half(size: MatrixSize, sample: Sample) -> float:
    """Half of the error of both layers less."""
    return -0.5 * float(np.mean(sample.context["beside"]))
