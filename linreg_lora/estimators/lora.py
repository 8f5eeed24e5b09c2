"""LoRA in closed form: rank-constrained least squares on the residual, every rank from one factorisation.

The minimum-norm minimiser of ||R - D X||_F^2 over rank(D) <= r is

    D_r = trunc_r( D_FFT S^{1/2} ) (S^{1/2})^+ = U_r U_r^T D_FFT,      S = X X^T,

where U_r holds the top-r left singular vectors of the whitened residual B = R Q (`estimators.fft`), whose Gram matrix
B B^T is that of F = D_FFT X. The first form is Proposition 2 of arXiv 2605.19018; the second needs one symmetric
eigendecomposition for all ranks. With ridge (penalty eta ||D||_F^2 on the product) the same holds with D_eta and
B B^T = R X^T (X X^T + eta I)^{-1} X R^T.

The minimiser is unique iff r >= rank(F) or sigma_r(F) > sigma_{r+1}(F).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from linreg_lora.estimators import arrays, fft
from linreg_lora.estimators.arrays import ArrayLike


class LoraPath(NamedTuple):
    """LoRA at every rank: D_r = U_r U_r^T D, with `basis` U (strongest first) and `update` D, the full update."""

    basis: Float[Array, "... dy q"]
    update: Float[Array, "... dy dx"]

    def truncate(self, rank: int) -> Float[Array, "... dy dx"]:
        """D_r of one rank."""
        leading = self.basis[..., :rank]
        return leading @ (leading.mT @ self.update)


def lora_path(inverse: fft.PseudoInverse, whitened: Float[Array, "... dy k"], *, squared: bool) -> LoraPath:
    """LoRA at every rank from the factored design and the residual B; `squared` as in `left_singular_basis`."""
    return LoraPath(left_singular_basis(whitened, inverse.rank, squared=squared), whitened @ inverse.whitening)


def left_singular_basis(
    whitened: Float[Array, "... dy k"], design_rank: int, *, squared: bool
) -> Float[Array, "... dy q"]:
    """Left singular vectors of B, strongest first; q = min(dy, `design_rank`), the rank of B.

    `squared` takes them from an eigendecomposition of the smaller Gram matrix, which is faster but loses directions
    below about 1e-8 of the strongest; False takes a singular value decomposition. Use False when the noise is
    that small against the shift.
    """
    dy, k = whitened.shape[-2:]
    q = min(dy, design_rank)
    if not squared:
        return jnp.linalg.svd(whitened, full_matrices=False)[0][..., :q]
    if dy <= k:
        return jnp.linalg.eigh(whitened @ whitened.mT)[1][..., : -q - 1 : -1]
    values, right = jnp.linalg.eigh(whitened.mT @ whitened)
    squared_lengths = jnp.where(values > 0, values, jnp.inf)
    return (whitened @ right[..., : -q - 1 : -1]) / jnp.sqrt(squared_lengths[..., None, : -q - 1 : -1])


def fit_lora(
    inputs: ArrayLike,
    outputs: ArrayLike,
    rank: ArrayLike,
    pretrained: ArrayLike | None = None,
    ridge: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The LoRA update of one rank, D_r = U_r U_r^T D_FFT; the fine-tuned map is A0 + D_r.

    `inputs` X (... dx n), `outputs` Y (... dy n), `rank` r, an integer in 0..min(n, dx, dy), `pretrained` A0
    (... dy dx; None: zero), `ridge` eta (None or 0: ridgeless). Arrays as in `fft.fit_fft`; the result is float64. Uses
    a singular value decomposition, so small directions keep their accuracy.

    X may have any rank: U_r comes from F = D_FFT X with the smallest D_FFT. What of R lies outside the row space of X
    does not enter. Where sigma_r(F) = sigma_{r+1}(F) > 0 this is one of several minimisers.

    Raises `InvalidInput` for another rank, and `InvalidInput` and `NumericalFailure` where `fft.fit_fft` does.

    >>> import linreg_lora as ll
    >>> inputs, outputs = [[1.0, 1.0], [1.0, 1.0]], [[1.0, 3.0], [0.0, 0.0]]
    >>> ll.estimators.fit_lora(inputs, outputs, rank=1).round(12).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    r = arrays.rank_up_to(rank, min(x.shape[-1], x.shape[-2], y.shape[-2]))
    inverse = fft.any_pseudo_inverse(x, arrays.ridge_or_none(ridge))
    whitened = inverse.whiten(fft.residual(x, y, a0))
    return arrays.finite(lora_path(inverse, whitened, squared=False).truncate(r))
