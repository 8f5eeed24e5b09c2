"""Updates with frozen factors around a trained one: D = U C B, and sums of them whose outputs are orthogonal.

    C = trunc_r( U^T R (B X)^+ (..)^{1/2} ) (..)^{-1/2}: LoRA of rank r on the outputs U^T R and the features B X

U (dy x q) has orthonormal columns, so the loss outside of U's outputs does not see C; B (k x dx) is any matrix. C is of
minimum norm, or has the penalty eta ||C||_F^2: where n is smaller than rank(B Sigma B^T) the fit depends on B itself.
Source: exact minimisers, derived here.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays, fft, lora
from linreg_lora.estimators.arrays import ArrayLike

#: Largest entry of Q^T Q - I of a factor that counts as orthonormal.
_ORTHONORMAL = 1e-10


def fit_restricted(
    inputs: ArrayLike,
    outputs: ArrayLike,
    output_factor: ArrayLike | None = None,
    input_factor: ArrayLike | None = None,
    rank: int | None = None,
    pretrained: ArrayLike | None = None,
    ridge: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = U C B, C of rank at most `rank` (None: any); the fine-tuned map is A0 + D.

    `inputs` X (... dx n), `outputs` Y (... dy n), `output_factor` U (dy q) with orthonormal columns (None: the
    identity), `input_factor` B (k dx), or one for each output of U (q k dx), without `rank` (None: the identity),
    `pretrained` A0 (... dy dx; None: zero), `ridge` eta (None or 0: ridgeless). Arrays as in `fft.fit_fft`.

    The features B X may have any rank. Raises `InvalidInput` for factors that do not fit, a U that is not orthonormal
    (checked where it holds values) and a rank above min(n, k, q), and what `fft.fit_fft` raises.

    >>> import linreg_lora as ll
    >>> inputs, outputs = [[1.0, 2.0], [0.0, 1.0]], [[2.0, 4.0], [1.0, 5.0]]
    >>> ll.estimators.fit_restricted(inputs, outputs, [[1.0], [0.0]], [[1.0, 0.0]]).round(12).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    target, eta = fft.residual(x, y, a0), arrays.ridge_or_none(ridge)
    u = None if output_factor is None else arrays.lifted(_outputs(output_factor, y.shape[-2]), x.ndim)
    outputs_of_u = y.shape[-2] if u is None else u.shape[-1]
    b = None if input_factor is None else _features(input_factor, x.shape[-2], outputs_of_u)
    if u is not None:
        x = x + 0.0 * u[..., :1, :1]  # factorisations that overlap can hang: see `fft.PseudoInverse.whiten`
        target = u.mT @ target
    if b is not None and b.ndim == 3:
        update = _one_by_one(x, target, arrays.lifted(b, x.ndim + 1), eta)
    else:
        b = None if b is None else arrays.lifted(b, x.ndim)
        seen, magnitude = (x, None) if b is None else (b @ x, jnp.abs(b) @ jnp.abs(x))
        update = _trained(seen, target, rank, eta, magnitude)
        update = update if b is None else update @ b
    return arrays.finite(update if u is None else u @ update)


def _trained(
    seen: Float[Array, "... k n"],
    target: Float[Array, "... q n"],
    rank: int | None,
    ridge: float | Array | None,
    magnitude: Float[Array, "... k n"] | None,
) -> Float[Array, "... q k"]:
    """C of features and outputs."""
    if rank is None:
        return fft.update(seen, target, ridge, magnitude)
    r = arrays.rank_up_to(rank, min(*seen.shape[-2:], target.shape[-2]))
    inverse = fft.any_pseudo_inverse(seen, ridge, magnitude)
    return lora.lora_path(inverse, inverse.whiten(target), squared=False).truncate(r)


def _one_by_one(
    x: Float[Array, "... dx n"],
    target: Float[Array, "... q n"],
    b: Float[Array, "... q k dx"],
    ridge: float | Array | None,
) -> Float[Array, "... q dx"]:
    """Every output on features of its own: rows c_j B_j."""
    seen, magnitude = b @ x[..., None, :, :], jnp.abs(b) @ jnp.abs(x[..., None, :, :])
    rows = fft.update(seen, target[..., None, :], ridge, magnitude)
    return (rows @ b)[..., 0, :]


def _outputs(factor: ArrayLike, dy: int) -> Float[Array, "dy q"]:
    expected = f"U, {dy} x q with q <= {dy} orthonormal columns"
    u = arrays.real_array("output_factor", factor, expected)
    if u.ndim != 2 or u.shape[0] != dy or u.shape[1] > dy:
        raise InvalidInput("output_factor", expected, f"shape {u.shape}")
    if not isinstance(u, Tracer):
        error = float(np.max(np.abs(np.asarray(u.mT @ u) - np.eye(u.shape[1]))))
        if not error <= _ORTHONORMAL:
            raise InvalidInput("output_factor", expected, f"one that is {error:.2g} off", "use numpy.linalg.qr(...).Q")
    return u


def _features(factor: ArrayLike, dx: int, q: int) -> Float[Array, "... k dx"]:
    expected = f"B, k x {dx}, or {q} of them, one for each output"
    b = arrays.real_array("input_factor", factor, expected)
    if b.shape[-1] != dx or b.shape[:-2] not in ((), (q,)):
        raise InvalidInput("input_factor", expected, f"shape {b.shape}")
    return b
