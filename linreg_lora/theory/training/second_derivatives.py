"""The Hessian of the loss in LoRA's two factors, at any point.

    loss(B, A) = ||(D - D_FFT) S^{1/2}||_F^2 / 2 + (mu g / 2)(||A||_F^2 + ||B||_F^2),    D = g B A,    S = X X^T / n

is (1 / 2n) ||R - D X||_F^2 up to a constant, with decay lam = mu g on the factors. Along (dB, dA) the second
derivative is

    ||g (dB A + B dA) S^{1/2}||_F^2 + 2 g <(D - D_FFT) S, dB dA> + mu g (||dB||_F^2 + ||dA||_F^2)

The matrix is that of the vector of B's entries, then A's, each row by row.
"""

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import checks

#: More parameters make a dense Hessian of more than a quarter of a gigabyte.
LARGEST = 5_000


def factor_hessian(
    b: object,
    a: object,
    full_update: object,
    second_moment: object,
    *,
    scaling: float,
    decay: float = 0.0,
) -> Float[np.ndarray, "p p"]:
    """The Hessian at (B, A), p = r (dx + dy).

    | argument        | symbol | shape   |
    |-----------------|--------|---------|
    | `b`             | B      | dy x r  |
    | `a`             | A      | r x dx  |
    | `full_update`   | D_FFT  | dy x dx |
    | `second_moment` | S      | dx x dx |
    | `scaling`       | g      | > 0     |
    | `decay`         | mu     | >= 0    |

    Raises `InvalidInput` for shapes that do not fit and for more than 5000 parameters.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> full = np.diag([3.0, 1.0])
    >>> b, a = np.sqrt([[3.0], [0.0]]), np.sqrt([[3.0, 0.0]])
    >>> hessian = ll.theory.training.factor_hessian(b, a, full, np.eye(2), scaling=1.0)
    >>> np.linalg.eigvalsh(hessian).round(6).tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    full = checks.a_matrix("full_update", full_update)
    dy, dx = full.shape
    b = checks.a_matrix("b", b, (dy, None))
    rank = b.shape[1]
    a = checks.a_matrix("a", a, (rank, dx))
    s = checks.a_matrix("second_moment", second_moment, (dx, dx))
    g, decay = checks.positive("scaling", scaling), validation.nonnegative_number("decay", decay)
    if rank * (dx + dy) > LARGEST:
        raise InvalidInput("a", f"at most {LARGEST} entries in both factors", rank * (dx + dy))
    slope = (g * b @ a - full) @ s
    of_b = g**2 * np.einsum("ij,kl->ikjl", np.eye(dy), a @ s @ a.T)
    of_a = g**2 * np.einsum("kl,mn->kmln", b.T @ b, s)
    # <d/dB_ik, d/dA_lm>: B_ik moves row i of D by row k of A, A_lm moves column m by column l of B.
    mixed = g**2 * np.einsum("km,il->iklm", a @ s, b) + g * np.einsum("im,kl->iklm", slope, np.eye(rank))
    first, second = dy * rank, rank * dx
    mixed = mixed.reshape(first, second)
    hessian = np.block([[of_b.reshape(first, first), mixed], [mixed.T, of_a.reshape(second, second)]])
    return hessian + decay * g * np.eye(first + second)
