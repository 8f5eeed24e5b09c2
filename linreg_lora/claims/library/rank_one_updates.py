"""A0 and an update of rank one: singular values by their secular equation, overlaps, and updates of equal norm."""

from typing import Annotated

import numpy as np
from pydantic import Field

from linreg_lora.claims.library.intruder_maps import _COSINE, _LEADING
from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Positive, Rank
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

_EPS = np.finfo(float).eps
_HALVINGS = 60
#: So strong that the leading value lies above A0's, whatever the directions.
_Dominant = Annotated[float, Field(gt=2)]


def _drawn(size: MatrixSize, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A0 of iid entries with a spectrum that is stretched, and unit u and v."""
    rng = np.random.default_rng(seed)
    a0 = rng.standard_normal((trials, *size)) * np.geomspace(1, 0.2, size.rows)[:, None]
    u, v = rng.standard_normal((trials, size.rows)), rng.standard_normal((trials, size.columns))
    return a0, *(each / np.linalg.norm(each, axis=1, keepdims=True) for each in (u, v))


@register_experiment("leading-value-of-a-rank-one-update", pathwise=True)
def leading_value(size: MatrixSize, trials: int, seed: int, *, strength: _Dominant) -> Sample:
    """sigma_1(A0 + s u v^T), s = `strength` sigma_1(A0); context: the root of the secular equation, s, and A0's."""
    a0, u, v = _drawn(size, trials, seed)
    left, values, right = np.linalg.svd(a0, full_matrices=False)
    s = strength * values[:, 0]
    found = np.linalg.svd(a0 + s[:, None, None] * u[:, :, None] * v[:, None, :], compute_uv=False)[:, 0]
    of_u, of_v = np.einsum("tia,ti->ta", left, u), np.einsum("taj,tj->ta", right, v)
    rest = (1 - np.sum(each**2, axis=1) for each in (of_u, of_v))
    low, high = values[:, 0], values[:, 0] + s
    beyond_u, beyond_v = rest
    for _ in range(_HALVINGS):
        z = (low + high) / 2
        poles = z[:, None] ** 2 - values**2
        alpha = z * np.sum(of_u**2 / poles, axis=1) + beyond_u / z
        gamma = z * np.sum(of_v**2 / poles, axis=1) + beyond_v / z
        beta = np.sum(values * of_u * of_v / poles, axis=1)
        above = np.sqrt(alpha * gamma) + beta < 1 / s
        low, high = np.where(above, low, z), np.where(above, z, high)
    context = {"root": (low + high) / 2, "s": s, "values": values, "first": of_u[:, 0] * of_v[:, 0]}
    return Sample(found, context, tolerance=np.full(trials, 1e3 * _EPS * max(size)), scale=found)


@register_experiment("overlap-of-a-rank-one-update", bounded=True)
def overlap(size: MatrixSize, trials: int, seed: int, *, strength: Positive) -> Sample:
    """Squared cosine of u and the leading left singular vector of A0 + s u v^T, A0 iid N(0, 1).

    s = `strength` (dx dy)^{1/4}.
    """
    rng = np.random.default_rng(seed)
    a0 = rng.standard_normal((trials, *size))
    u, v = rng.standard_normal((trials, size.rows)), rng.standard_normal((trials, size.columns))
    u, v = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (u, v))
    s = strength * (size.rows * size.columns) ** 0.25
    moved = a0 + s * u[:, :, None] * v[:, None, :]
    leading = np.linalg.eigh(moved @ moved.mT)[1][:, :, -1]
    return Sample((np.sum(leading * u, axis=1) ** 2)[:, None], {"s": np.asarray(s)})


@register_experiment("intruders-at-equal-norm")
def intruders_at_equal_norm(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Intruders by cosine of FFT's update less those of LoRA's, scaled to FFT's norm; context: the latter, or 1.

    Among the ten leading left singular vectors; A0 iid N(0, 1) anew for each draw.
    """
    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    lora = lora * (np.linalg.norm(full, axis=(1, 2)) / np.linalg.norm(lora, axis=(1, 2)))[:, None, None]
    a0 = np.random.default_rng(derived_seed(seed, "A0")).standard_normal(full.shape)
    before = _left_vectors(a0)
    of_full, of_lora = (
        np.sum(np.max(np.abs(before.mT @ _left_vectors(a0 + update)[:, :, :_LEADING]), axis=1) < _COSINE, axis=1)
        for update in (full, lora)
    )
    return Sample((of_full - of_lora)[:, None].astype(float), {"fft": np.maximum(of_lora, 1.0)})


def _left_vectors(matrices: np.ndarray) -> np.ndarray:
    """Left singular vectors, the strongest first."""
    return np.linalg.eigh(matrices @ matrices.mT)[1][:, :, ::-1]
