"""The geometry of rank r: tangent spaces, gradients of factors, and what retraining can reach.

Experiments and predictions in plain NumPy, the gradients by JAX; no problem, no data.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora.claims.registry import (
    MatrixSize,
    Sample,
    register_experiment,
    register_predicate,
)
from linreg_lora.claims.settings import Rank

_EPS = np.finfo(float).eps


@register_predicate("square-matrices")
def square_matrices(rows: int, columns: int) -> bool:
    """Square matrices, at least 2 x 2, for which factors in the wrong order still fit."""
    return rows == columns >= 2


# -- the geometry of rank r ---------------------------------------------------------------------------------------


def _factors(size: MatrixSize, trials: int, seed: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((trials, size.rows, r)), rng.standard_normal((trials, r, size.columns))


def _rank_of_differential(b: np.ndarray, a: np.ndarray) -> Sample:
    """Rank of (dB, dA) -> dB A + B dA at each pair of factors: whole numbers, with no rounding to allow for."""
    rows, columns = b.shape[1], a.shape[2]
    ranks = [
        np.linalg.matrix_rank(np.hstack([np.kron(np.eye(rows), one_a.T), np.kron(one_b, np.eye(columns))]))
        for one_b, one_a in zip(b, a, strict=True)
    ]
    context = {"rank": np.asarray(b.shape[2])}
    return Sample(np.array(ranks, dtype=float), context, tolerance=np.zeros(len(b)), scale=np.ones(len(b)))


@register_experiment("tangent-dimension", pathwise=True)
def tangent_dimension(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Rank of the differential of (B, A) -> B A at random factors of rank r."""
    return _rank_of_differential(*_factors(size, trials, seed, int(rank)))


@register_experiment("tangent-dimension-at-the-start", pathwise=True)
def tangent_dimension_at_the_start(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Rank of the differential of (B, A) -> B A at B = 0 and random A."""
    b, a = _factors(size, trials, seed, int(rank))
    return _rank_of_differential(np.zeros_like(b), a)


@functools.cache
def _gradient() -> Callable[..., Any]:
    """The gradient of the loss with respect to (B, A), for many at once; compiled once for all seeds."""
    import jax
    import jax.numpy as jnp

    def loss(factors, x, residual):
        return jnp.sum((residual - factors[0] @ factors[1] @ x) ** 2) / 2

    return jax.jit(jax.vmap(jax.grad(loss)))


@register_experiment("factor-gradients", pathwise=True)
def factor_gradients(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Gradients of (1/2) ||R - B A X||_F^2 with respect to B and A by automatic differentiation, side by side."""
    from linreg_lora import runtime

    b, a = _factors(size, trials, seed, int(rank))
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal((trials, size.columns, 2 * size.columns))
    residual = rng.standard_normal((trials, size.rows, 2 * size.columns))

    with runtime.exclusive_device():
        grad_b, grad_a = _gradient()((b, a), x, residual)
    gradients = np.concatenate([np.asarray(grad_b), np.asarray(grad_a).mT], axis=1)
    full = (b @ a @ x - residual) @ x.mT
    size_of_terms = (
        np.linalg.norm(x, axis=(1, 2)) ** 2 * np.linalg.norm(b, axis=(1, 2)) * np.linalg.norm(a, axis=(1, 2))
    )
    scale = size_of_terms * (np.linalg.norm(b, axis=(1, 2)) + np.linalg.norm(a, axis=(1, 2)))
    context = {"b": b, "a": a, "full": full}
    return Sample(gradients, context, tolerance=np.full(trials, 10 * _EPS * x.shape[2]), scale=scale)


# -- the gap left by retraining in a tangent space ----------------------------------------------------------------


@register_experiment("retraining-gap", bounded=True)
def retraining_gap(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """min over phi in T of (1/2) ||e + phi||_F^2, e iid N(0, 1), T the tangent space at a matrix of rank r.

    By least squares on the differential of (B, A) -> B A; a quadratic form in e: all moments exist.
    """
    b, a = (factor[0] for factor in _factors(size, 1, seed, int(rank)))
    differential = np.hstack([np.kron(np.eye(size.rows), a.T), np.kron(b, np.eye(size.columns))])
    basis, values, _ = np.linalg.svd(differential, full_matrices=False)
    basis = basis[:, values > values[0] * _EPS * max(differential.shape)]
    e = np.random.default_rng([seed, 1]).standard_normal((trials, basis.shape[0]))
    left = e - (e @ basis) @ basis.T
    return Sample(np.sum(left**2, axis=1, keepdims=True) / 2, {"rank": np.asarray(int(rank))})
