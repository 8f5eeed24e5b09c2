"""LoRA with one factor frozen: D = B A, and least squares on the residual trains the other factor.

    frozen A (r x dx, orthonormal rows):       D = R (A X)^+ A
    frozen B (dy x r, orthonormal columns):    D = B (B^T R) X^+ = B B^T D_FFT

Either is FFT on less: of R on the r features A X, or of the r outputs B^T R on X. Orthonormality makes the norm of D
that of the trained factor, so that minimum norm and the ridge penalty eta ||D||_F^2 mean the same for both.

Source: exact minimisers, derived here; the two variants are those of Zhu et al. 2024.
"""

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft

#: Largest entry of Q^T Q - I of a factor that counts as orthonormal.
_ORTHONORMAL = 1e-10


def fit_frozen_a(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy n"],
    input_factor: Float[Array, "... r _dx"],
    pretrained: Float[Array, "... dy dx"] | None = None,
    ridge: float | int | Array | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = B A with A frozen and B of minimum norm; the fine-tuned map is A0 + D.

    `inputs` X, `outputs` Y, `input_factor` A with orthonormal rows, `pretrained` A0, `ridge` eta (None: ridgeless).
    Raises `InvalidInput` for a factor that does not fit or is not orthonormal (checked where it holds values), and as
    `fft.fit` does for the features A X.
    """
    _require_orthonormal("input_factor", "r x dx, r <= dx, with orthonormal rows", input_factor, inputs.shape[-2])
    target = fft.residual(inputs, outputs, pretrained)
    return fft.fit(input_factor @ inputs, target, None, ridge) @ input_factor


def fit_frozen_b(
    inputs: Float[Array, "... dx n"],
    outputs: Float[Array, "... dy n"],
    output_factor: Float[Array, "... _dy r"],
    pretrained: Float[Array, "... dy dx"] | None = None,
    ridge: float | int | Array | None = None,
) -> Float[Array, "... dy dx"]:
    """The update D = B A with B frozen and A of minimum norm; the fine-tuned map is A0 + D.

    `inputs` X, `outputs` Y, `output_factor` B with orthonormal columns, `pretrained` A0, `ridge` eta (None: ridgeless).
    Raises `InvalidInput` for a factor that does not fit or is not orthonormal (checked where it holds values), and as
    `fft.fit` does.
    """
    rows = output_factor.mT
    _require_orthonormal("output_factor", "dy x r, r <= dy, with orthonormal columns", rows, outputs.shape[-2])
    target = fft.residual(inputs, outputs, pretrained)
    return output_factor @ fft.fit(inputs, rows @ target, None, ridge)


def _require_orthonormal(field: str, expected: str, rows: Float[Array, "... r size"], size: int) -> None:
    rank = rows.shape[-2]
    if rows.shape[-1] != size or not 1 <= rank <= size:
        raise InvalidInput(field, expected, f"rank {rank} in {rows.shape[-1]} dimensions, where there are {size}")
    if not isinstance(rows, Tracer):
        error = float(np.max(np.abs(np.asarray(rows @ rows.mT) - np.eye(rank))))
        if not error <= _ORTHONORMAL:
            raise InvalidInput(field, expected, f"one that is {error:.2g} off", "use numpy.linalg.qr(...).Q")
