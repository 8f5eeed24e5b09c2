"""Full fine-tuning (FFT): least squares on the residual of the pretrained map, ridgeless or with ridge.

    D_FFT = R X^+                              ridgeless: minimum distance from A0
    D_eta = R X^T (X X^T + eta I)^{-1}         ridge eta > 0

with R = Y - A0 X. The design enters only through its (ridge) pseudoinverse, kept as a product X^+ = Q W whose left
factor is a set of coordinates in sample space and whose right factor undoes the design. The *whitened residual*
B = R Q carries all that LoRA needs (`estimators.lora`), and D_FFT = B W.

Samples are columns, as in the papers: X is dx x n, Y is dy x n. Every function accepts leading batch dimensions.

`pseudo_inverse` is for designs of full rank, as samplers draw them. `any_pseudo_inverse` is for users' designs: it
takes the same QR factorisation where that is accurate, and elsewhere a singular value decomposition, which tells the
rank.
Source: arXiv 2605.19018, Proposition 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays
from linreg_lora.estimators.arrays import ArrayLike

_EPS = float(np.finfo(float).eps)
#: With a ridge, QR leaves a relative error of up to eps times the square of this in directions that X does not have;
#: the singular value decomposition leaves none there.
_LARGEST_CONDITION_WITH_RIDGE = 1e2
#: Without one, QR is used up to this share of the condition number at which X counts as deficient.
_SHARE_OF_DEFICIENT = 0.1
#: Relative singular values above this are far from rank deficiency.
_FAR_FROM_DEFICIENT = float(np.sqrt(_EPS))


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


def fit_fft(
    inputs: ArrayLike,
    outputs: ArrayLike,
    pretrained: ArrayLike | None = None,
    ridge: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The FFT update; the fine-tuned map is A0 + D.

        D = R X^+                                  `ridge` None or 0: of all least-squares updates the smallest
        D = R X^T (X X^T + eta I)^{-1}             `ridge` eta > 0

    `inputs` X (... dx n), `outputs` Y (... dy n), `pretrained` A0 (... dy dx; None: zero), R = Y - A0 X. Lists and
    arrays of any real type are accepted; leading dimensions broadcast; the result is float64.

    X may have any rank. Its rank is that of `numpy.linalg.matrix_rank`: singular values up to max(n, dx) eps times the
    largest count as zero, with a ridge too.

    Raises `InvalidInput` for arrays that are not real, finite (at most 1e30) and of matching shape, for a ridge that is
    not a number >= 0, and for a design whose rank depends on the units of its inputs or samples: one that counts as
    deficient, but is far from it once its rows and columns are rescaled. Raises `NumericalFailure` where D overflows.
    Under `jax.jit` only shapes are checked: a design of unclear rank is then fitted at the rank of
    `numpy.linalg.matrix_rank`, and a negative ridge gives nan. Derivatives with respect to X need full rank or a ridge.

    Source: arXiv 2605.19018, Prop. 1.

    >>> import linreg_lora as ll
    >>> ll.estimators.fit_fft([[1.0, 1.0], [1.0, 1.0]], [[1.0, 3.0]]).round(12).tolist()
    [[1.0, 1.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    return arrays.finite(update(x, residual(x, y, a0), arrays.ridge_or_none(ridge)))


def update(
    inputs: Float[Array, "... dx n"],
    target: Float[Array, "... dy n"],
    ridge: float | Array | None,
    magnitude: Float[Array, "... dx n"] | None = None,
) -> Float[Array, "... dy dx"]:
    """D_FFT of a residual, for any design; arguments are checked already, `magnitude` as in `any_pseudo_inverse`."""
    inverse = any_pseudo_inverse(inputs, ridge, magnitude)
    return inverse.whiten(target) @ inverse.whitening


def any_pseudo_inverse(
    inputs: Float[Array, "... dx n"],
    ridge: float | Array | None,
    magnitude: Float[Array, "... dx n"] | None = None,
) -> PseudoInverse:
    """`pseudo_inverse` of a design of any rank, with X = U S V^T where QR is not accurate:

        Q = V S (S^2 + eta I)^{-1/2},      W = (S^2 + eta I)^{-1/2} U^T

    over the singular values above max(n, dx) eps times the largest; zero for the others. Those cannot be told from
    zero, and 1/s or s/(s^2 + eta) of what is really zero would be rounding, magnified.

    `magnitude` (None: |X|) are the sizes that the rounding errors in X are relative to: where X was computed, they can
    be larger than X. `ridge` may be traced, and 0 or negative (nan) then.
    """
    size = jnp.abs(inputs) if magnitude is None else magnitude
    direct = pseudo_inverse(inputs, ridge)
    if direct.coordinates is None:
        n = inputs.shape[-1]
        direct = direct._replace(coordinates=jnp.broadcast_to(jnp.eye(n), (*inputs.shape[:-2], n, n)))
    accurate = _is_accurate(direct, size, ridge)
    if isinstance(accurate, Tracer):
        return jax.lax.cond(
            jnp.all(accurate), lambda: direct, lambda: _where(accurate, direct, _by_svd(inputs, size, ridge, accurate))
        )
    if np.all(np.asarray(accurate)):
        return direct
    return _where(accurate, direct, _by_svd(inputs, size, ridge, accurate))


def _is_accurate(inverse: PseudoInverse, size: Float[Array, "... dx n"], ridge: float | Array | None) -> Array:
    """Whether QR is, by its condition number ||[X, sqrt(eta) I]||_F ||W||_F. False where that is nan."""
    largest = _frobenius(size)
    if ridge is None:
        limit = _SHARE_OF_DEFICIENT / (max(size.shape[-2:]) * _EPS)
    else:
        limit = _LARGEST_CONDITION_WITH_RIDGE
        largest = jnp.hypot(largest, jnp.sqrt(jnp.asarray(ridge) * size.shape[-2]))
    return largest * _frobenius(inverse.whitening) <= limit


def _frobenius(matrix: Float[Array, "... p q"]) -> Float[Array, "..."]:
    """||matrix||_F where its squares would underflow too; without derivative."""
    matrix = jax.lax.stop_gradient(matrix)
    largest = jnp.max(jnp.abs(matrix), axis=(-2, -1), keepdims=True)
    scaled = matrix / jnp.where(largest > 0, largest, 1.0)
    return largest[..., 0, 0] * jnp.sqrt(jnp.sum(scaled**2, axis=(-2, -1)))


def _by_svd(
    inputs: Float[Array, "... dx n"], size: Float[Array, "... dx n"], ridge: float | Array | None, skip: Array
) -> PseudoInverse:
    """The singular value decomposition of `any_pseudo_inverse`; what is to `skip` is replaced by some easy design.

    Its singular values are distinct, so that their derivatives, which nobody asks for, are no nan. They depend on the
    QR factorisation, which has thus ended before this one begins (see `PseudoInverse.whiten`).
    """
    dx, n = inputs.shape[-2:]
    easy = jnp.asarray(np.eye(dx, n) * np.arange(1.0, n + 1))
    design = jnp.where(skip[..., None, None], jnp.broadcast_to(easy, inputs.shape), inputs)
    u, s, vt = jnp.linalg.svd(design, full_matrices=False)
    largest = jnp.maximum(s[..., 0], jnp.where(skip, 0.0, jnp.max(size, axis=(-2, -1))))
    kept = s > max(dx, n) * _EPS * largest[..., None]
    if not isinstance(kept, Tracer):
        _require_clear_rank(*(np.asarray(part)[~np.asarray(skip)] for part in (inputs, size, kept)))
    eta = 0.0 if ridge is None else jnp.where(jnp.asarray(ridge) >= 0, ridge, jnp.nan)
    root = jnp.hypot(s, jnp.sqrt(jnp.asarray(eta)))
    root = jnp.where(kept, root, jnp.inf)
    coordinates, whitening = vt.mT * (s / root)[..., None, :], u.mT / root[..., None]
    extra = 0 if ridge is None else dx - s.shape[-1]
    leading = [(0, 0)] * (inputs.ndim - 2)
    return PseudoInverse(
        jnp.pad(coordinates, [*leading, (0, 0), (0, extra)]), jnp.pad(whitening, [*leading, (0, extra), (0, 0)])
    )


def _where(condition: Array, first: PseudoInverse, second: PseudoInverse) -> PseudoInverse:
    return jax.tree.map(lambda a, b: jnp.where(condition[..., None, None], a, b), first, second)


def _require_clear_rank(designs: np.ndarray, size: np.ndarray, kept: np.ndarray) -> None:
    """Refuses a design of deficient rank whose rank is larger when rows and columns are brought to the same scale."""
    rank = np.sum(kept, axis=-1)
    if np.all(rank == min(designs.shape[-2:])):
        return
    balanced = designs
    for axis in (-1, -2):
        largest = np.max(size, axis=axis, keepdims=True)
        scale = np.where(largest > 0, largest, 1.0)
        balanced, size = balanced / scale, size / scale
    values = np.linalg.svd(balanced, compute_uv=False)
    clear = np.sum(values > _FAR_FROM_DEFICIENT * np.maximum(1.0, values[..., :1]), axis=-1)
    worst = np.argmax(clear - rank)
    if clear[worst] > rank[worst]:
        received = f"rank {rank[worst]} to rounding, but {clear[worst]} when rescaled"
        remedy = "rescale rows and columns of X, or set to zero what is only rounding"
        raise InvalidInput("inputs", "a design whose rank does not depend on units", received, remedy)


def _inverse_of_lower(matrix: Float[Array, "... k k"]) -> Float[Array, "... k k"]:
    identity = jnp.broadcast_to(jnp.eye(matrix.shape[-1]), matrix.shape)
    return jax.lax.linalg.triangular_solve(matrix, identity, left_side=True, lower=True)
