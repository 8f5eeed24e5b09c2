"""Updates that scale features before a frozen map: D = M diag(l) A, l by least squares.

    l = (M^T M o Z Z^T)^+ diag(M^T R Z^T),      Z = A X

IA3 on the inputs is A = I, M = A0. Source: exact minimiser, derived here.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays, fft
from linreg_lora.estimators.arrays import ArrayLike


def fit_input_scales(
    inputs: ArrayLike,
    outputs: ArrayLike,
    left: ArrayLike,
    right: ArrayLike | None = None,
    pretrained: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = M diag(l) A; the fine-tuned map is A0 + D.

    `inputs` X (... dx n), `outputs` Y (... dy n), `left` M (dy p), `right` A (p dx; None: the identity), `pretrained`
    A0 (... dy dx; None: zero). Of several best l the smallest. Arrays as in `fft.fit_fft`; the normal equations are
    solved, so scales whose features are worth less than about 1e-7 of the strongest are left at 0.

    >>> import linreg_lora as ll
    >>> ll.estimators.fit_input_scales([[1.0, 2.0], [1.0, 0.0]], [[3.0, 4.0]], [[1.0, 1.0]]).round(9).tolist()
    [[2.0, 1.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    m = arrays.real_array("left", left, "M, dy x p")
    a, z = None, x
    if right is not None:
        a = arrays.real_array("right", right, "A, p x dx")
        if a.shape != (m.shape[-1], x.shape[-2]):
            raise InvalidInput("right", f"A, {m.shape[-1]} x {x.shape[-2]}", f"shape {a.shape}")
        a = arrays.lifted(a, x.ndim)
        z = a @ x
    if m.shape[-2:] != (y.shape[-2], z.shape[-2]):
        raise InvalidInput("left", f"M, {y.shape[-2]} x {z.shape[-2]}", f"shape {m.shape}")
    m = arrays.lifted(m, x.ndim)
    scales = solved(m, z @ z.mT, fft.residual(x, y, a0) @ z.mT)
    scaled = m * scales[..., None, :]
    return arrays.finite(scaled if a is None else scaled @ a)


def solved(
    m: Float[Array, "... dy p"], gram: Float[Array, "... p p"], moment: Float[Array, "... dy p"]
) -> Float[Array, "... p"]:
    """l from M, Z Z^T and R Z^T."""
    normal = (m.mT @ m) * gram
    wanted = jnp.sum(m * moment, axis=-2)
    size = jnp.sqrt(jnp.diagonal(normal, axis1=-2, axis2=-1))
    unit = jnp.where(size > 0, 1 / size, 0.0)
    scaled = normal * unit[..., :, None] * unit[..., None, :]
    return unit * (jnp.linalg.pinv(scaled, hermitian=True) @ (unit * wanted)[..., None])[..., 0]
