"""Full fine-tuning (FFT): least squares on the residual of the pretrained map, ridgeless or with ridge.

    D_FFT = R X^+                              ridgeless: minimum distance from A0
    D_eta = R X^T (X X^T + eta I)^{-1}         ridge eta > 0

with R = Y - A0 X. The design enters only through its (ridge) pseudoinverse, kept as a product X^+ = Q W whose left
factor is a set of coordinates in sample space and whose right factor undoes the design. The *whitened residual*
B = R Q carries all that LoRA needs (`estimators.lora`), and D_FFT = B W.

Samples are columns, as in the papers: X is dx x n, Y is dy x n. Every function accepts leading batch dimensions.
Source: arXiv 2605.19018, Proposition 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput


class PseudoInverse(NamedTuple):
    """X^+ (with ridge: X^T (X X^T + eta I)^{-1}) as a product Q W.

    `coordinates` is Q, n x k (None: the identity); `whitening` is W, k x dx. In ridgeless problems Q has
    orthonormal columns and Q Q^T is the projector on the row space of X.
    """

    coordinates: Float[Array, "... n k"] | None
    whitening: Float[Array, "... k dx"]

    @property
    def rank(self) -> int:
        """min(n, dx), the rank of the design."""
        return self.whitening.shape[-2] if self.coordinates is None else min(self.coordinates.shape[-2:])

    def whiten(self, residual: Float[Array, "... dy n"]) -> Float[Array, "... dy k"]:
        """B = R Q. Ridgeless: B B^T = F F^T with F = R P, P the projector on the row space of X.

        The result is made to depend on `whitening`, so that whatever factorises B next starts after the
        factorisation of X has ended: XLA's CPU runtime can hang when two of them overlap (see `runtime`).
        """
        whitened = residual if self.coordinates is None else residual @ self.coordinates
        return whitened + 0.0 * self.whitening[..., :1, :1]


def residual(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy n"],
    pretrained: Float[Array, "... dy dx"] | None,
) -> Float[Array, "... dy n"]:
    """Residual of the pretrained model, R = Y - A0 X; `pretrained` None means A0 = 0."""
    return outputs if pretrained is None else outputs - pretrained @ inputs


def pseudo_inverse(inputs: Float[Array, "... dx n"], ridge: float | Array | None = None) -> PseudoInverse:
    """Pseudoinverse of the design by one QR factorisation, which does not square its condition number.

        n >= dx:  X^T = Q T,                       X^+ = Q T^{-T}
        n <  dx:  X   = Q T,                       X^+ = T^{-1} Q^T
        ridge:    [X, sqrt(eta) I]^T = Q T,        X^T (X X^T + eta I)^{-1} = Q_{1..n} T^{-T}

    Ridge is least squares on augmented data, so its third line is the first applied to [X, sqrt(eta) I]. `ridge`
    None is the ridgeless estimator; X must then have full rank (Gaussian designs do, almost surely).
    """
    dx, n = inputs.shape[-2:]
    if ridge is not None:
        penalty = jnp.broadcast_to(jnp.sqrt(jnp.asarray(ridge)) * jnp.eye(dx), (*inputs.shape[:-2], dx, dx))
        q, t = jnp.linalg.qr(jnp.concatenate([inputs, penalty], axis=-1).mT)
        return PseudoInverse(q[..., :n, :], _inverse_of_lower(t.mT))
    if n >= dx:
        q, t = jnp.linalg.qr(inputs.mT)
        return PseudoInverse(q, _inverse_of_lower(t.mT))
    q, t = jnp.linalg.qr(inputs)
    return PseudoInverse(None, _inverse_of_lower(t.mT).mT @ q.mT)


def pseudo_inverse_of_lower(factor: Float[Array, "... dx dx"]) -> PseudoInverse:
    """Inverse of a square lower triangular design, such as a Bartlett factor."""
    return PseudoInverse(None, _inverse_of_lower(factor))


def fit(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy n"],
    pretrained: Float[Array, "... dy dx"] | None = None,
    ridge: float | Array | None = None,
) -> Float[Array, "... dy dx"]:
    """The FFT update D_FFT; the fine-tuned map is A0 + D_FFT.

    `inputs` X, `outputs` Y, `pretrained` A0, `ridge` eta (None: ridgeless). Source: arXiv 2605.19018, Prop. 1.
    Raises `InvalidInput` for a negative ridge, and without ridge for a design of deficient rank (checked where the
    arrays hold values: not under `jax.jit`).
    """
    inverse = checked_pseudo_inverse(inputs, ridge)
    return inverse.whiten(residual(inputs, outputs, pretrained)) @ inverse.whitening


def checked_pseudo_inverse(inputs: Float[Array, "... dx n"], ridge: float | Array | None) -> PseudoInverse:
    """`pseudo_inverse`, refusing what it would turn into meaningless numbers."""
    if not isinstance(ridge, Tracer) and ridge is not None and not np.all(np.asarray(ridge) >= 0):
        raise InvalidInput("ridge", "a number >= 0, or None", ridge)
    if not isinstance(inputs, Tracer) and ridge is None:
        rank, full = np.linalg.matrix_rank(np.asarray(inputs)), min(inputs.shape[-2:])
        if np.any(rank < full):
            raise InvalidInput("inputs", f"a design of rank min(n, dx) = {full}", f"rank {np.min(rank)}", "use a ridge")
    return pseudo_inverse(inputs, ridge)


def _inverse_of_lower(matrix: Float[Array, "... k k"]) -> Float[Array, "... k k"]:
    identity = jnp.broadcast_to(jnp.eye(matrix.shape[-1]), matrix.shape)
    return jax.lax.linalg.triangular_solve(matrix, identity, left_side=True, lower=True)
