"""LoRA with one factor frozen: D = B A, and least squares on the residual trains the other factor.

    frozen A (r x dx, orthonormal rows):       D = R (A X)^+ A
    frozen B (dy x r, orthonormal columns):    D = B (B^T R) X^+ = B B^T D_FFT

Either is FFT on less: of R on the r features A X, or of the r outputs B^T R on X. Orthonormality makes the norm of D
that of the trained factor, so that minimum norm and the ridge penalty eta ||D||_F^2 mean the same for both.

Source: exact minimisers, derived here; the two variants are those of Zhu et al. 2024.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays, fft
from linreg_lora.estimators.arrays import ArrayLike

#: Largest entry of Q^T Q - I of a factor that counts as orthonormal.
_ORTHONORMAL = 1e-10


def fit_frozen_a(
    inputs: ArrayLike,
    outputs: ArrayLike,
    input_factor: ArrayLike,
    pretrained: ArrayLike | None = None,
    ridge: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = R (A X)^+ A with A frozen and B of minimum norm; the fine-tuned map is A0 + D.

    `inputs` X (... dx n), `outputs` Y (... dy n), `input_factor` A (... r dx) with orthonormal rows, `pretrained` A0
    (... dy dx; None: zero), `ridge` eta (None or 0: ridgeless). Arrays as in `fft.fit_fft`; the result is float64.

    The features A X may have any rank; what is only the rounding of that product counts as zero. Raises `InvalidInput`
    for a factor that does not fit or is not orthonormal (checked where it holds values), and `InvalidInput` and
    `NumericalFailure` where `fft.fit_fft` does.

    >>> import linreg_lora as ll
    >>> ll.estimators.fit_frozen_a([[1.0, 1.0], [1.0, 1.0]], [[1.0, 3.0]], [[1.0, 0.0]]).round(12).tolist()
    [[2.0, 0.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    expected = "r x dx, r <= dx, with orthonormal rows"
    factor = arrays.real_array("input_factor", input_factor, expected)
    _require_orthonormal("input_factor", expected, factor, x.shape[-2])
    target = fft.residual(x, y, a0)
    a, x, target = arrays.aligned(input_factor=factor, inputs=x, outputs=target)
    magnitude = jnp.abs(a) @ jnp.abs(x)
    return arrays.finite(fft.update(a @ x, target, arrays.ridge_or_none(ridge), magnitude) @ a)


def fit_frozen_b(
    inputs: ArrayLike,
    outputs: ArrayLike,
    output_factor: ArrayLike,
    pretrained: ArrayLike | None = None,
    ridge: ArrayLike | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = B (B^T R) X^+ with B frozen and A of minimum norm; the fine-tuned map is A0 + D.

    `inputs` X (... dx n), `outputs` Y (... dy n), `output_factor` B (... dy r) with orthonormal columns, `pretrained`
    A0 (... dy dx; None: zero), `ridge` eta (None or 0: ridgeless). Arrays as in `fft.fit_fft`; the result is float64.

    X may have any rank. Raises `InvalidInput` for a factor that does not fit or is not orthonormal (checked where it
    holds values), and `InvalidInput` and `NumericalFailure` where `fft.fit_fft` does.

    >>> import linreg_lora as ll
    >>> inputs, outputs = [[1.0, 1.0], [1.0, 1.0]], [[1.0, 3.0], [5.0, 5.0]]
    >>> ll.estimators.fit_frozen_b(inputs, outputs, [[1.0], [0.0]]).round(12).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    expected = "dy x r, r <= dy, with orthonormal columns"
    factor = arrays.real_array("output_factor", output_factor, expected)
    _require_orthonormal("output_factor", expected, factor.mT, y.shape[-2])
    target = fft.residual(x, y, a0)
    b, x, target = arrays.aligned(output_factor=factor, inputs=x, outputs=target)
    return arrays.finite(b @ fft.update(x, b.mT @ target, arrays.ridge_or_none(ridge)))


def _require_orthonormal(field: str, expected: str, rows: Float[Array, "... r size"], size: int) -> None:
    rank = rows.shape[-2]
    if rows.shape[-1] != size or not 1 <= rank <= size:
        raise InvalidInput(field, expected, f"rank {rank} in {rows.shape[-1]} dimensions, where there are {size}")
    if not isinstance(rows, Tracer):
        error = float(np.max(np.abs(np.asarray(rows @ rows.mT) - np.eye(rank))))
        if not error <= _ORTHONORMAL:
            raise InvalidInput(field, expected, f"one that is {error:.2g} off", "use numpy.linalg.qr(...).Q")
