"""The leading eigenvectors of a symmetric matrix, for when a few ranks are wanted of many.

    M = Q T Q^T (tridiagonal);  bisection for the r largest eigenvalues of T;  inverse iteration for their vectors

from LAPACK's building blocks. On one core, per matrix: for r = 16 about half the time of a full decomposition at
d = 100 and less at d = 400 (`benchmarks/engine.py`). Where the residual or the loss of orthogonality that come with the
result are too large (clustered eigenvalues), use a full decomposition.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Share of all ranks up to which this is the faster way, from `_LEAST_SIZE` rows on.
_SHARE = 0.25
_LEAST_SIZE = 64
_SOLVES = 2


class Leading(NamedTuple):
    """`vectors`, strongest first, and `defect`: the larger of ||M V - V L||_max / ||M|| and ||V^T V - I||_max."""

    vectors: Float[Array, "d r"]
    defect: Float[Array, ""]


def left_singular_basis(matrix: Float[Array, "dy k"], rank: int) -> Leading:
    """The `rank` leading left singular vectors, from the smaller Gram matrix; `defect` is that matrix's."""
    dy, k = matrix.shape
    if dy <= k:
        return leading_eigenvectors(matrix @ matrix.mT, rank)
    right = leading_eigenvectors(matrix.mT @ matrix, rank)
    left = matrix @ right.vectors
    return Leading(left / jnp.linalg.norm(left, axis=0, keepdims=True), right.defect)


def pays(rank: int, size: int) -> bool:
    """Whether `leading_eigenvectors` is faster than a full decomposition."""
    return size >= _LEAST_SIZE and 1 <= rank <= _SHARE * size


def leading_eigenvectors(matrix: Float[Array, "d d"], rank: int) -> Leading:
    """The eigenvectors of the `rank` largest eigenvalues of a symmetric matrix M, d >= 2."""
    d = matrix.shape[-1]
    reflectors, diagonal, beside, scales = jax.lax.linalg.tridiagonal(matrix, lower=True)
    values = jax.scipy.linalg.eigh_tridiagonal(
        diagonal, beside, eigvals_only=True, select="i", select_range=(d - rank, d - 1)
    )
    in_krylov = _inverse_iteration(diagonal, beside, values)
    rotated = jax.lax.linalg.ormqr(reflectors[1:, :-1], scales, in_krylov[1:])
    vectors = jnp.concatenate([in_krylov[:1], rotated])[:, ::-1]
    strongest = jnp.max(jnp.abs(values))
    residual = jnp.max(jnp.abs(matrix @ vectors - vectors * values[None, ::-1])) / strongest
    overlap = jnp.max(jnp.abs(vectors.mT @ vectors - jnp.eye(rank)))
    return Leading(vectors, jnp.maximum(residual, overlap))


def _inverse_iteration(
    diagonal: Float[Array, "d"], beside: Float[Array, "d-1"], values: Float[Array, "r"]
) -> Float[Array, "d r"]:
    """Unit vectors of (T - value I)^{-2} applied to a start that no eigenvector is orthogonal to."""
    rank, d = len(values), len(diagonal)
    shape = (rank, d)
    shifted = diagonal[None, :] - values[:, None]
    zero = jnp.zeros((rank, 1))
    sides = jnp.broadcast_to(beside, (rank, d - 1))
    below, above = jnp.concatenate([zero, sides], axis=1), jnp.concatenate([sides, zero], axis=1)
    vectors = jnp.broadcast_to(np.random.default_rng(0).standard_normal(d), shape)[..., None]
    for _ in range(_SOLVES):
        solved = jax.lax.linalg.tridiagonal_solve(below, shifted, above, vectors)
        vectors = solved / jnp.linalg.norm(solved, axis=1, keepdims=True)
    return vectors[..., 0].T
