"""How fast gradient descent on LoRA's factors ends, and which learning rates are stable.

    loss = (1 / 2n) ||R - g B A X||_F^2,   B(0) = 0,   A(0) A(0)^T = kappa I,   S = X X^T / n = c I,   eta_A = eta_B

With f_i the singular values of D_FFT, k = g kappa / 2 and w_i = sqrt(f_i^2 + k^2), the Hessian at D_r splits into pairs
of a kept direction i and another direction j, with eigenvalues

    c g (w_i -+ w_j)     i <= r < j <= min(dx, dy)             c g (w_i + w_j)    i, j <= r, and r^2 zeros
    c g (w_i - k)        inputs without an output, dx > dy     c g (w_i + k)      outputs without an input, dy > dx

so that ||D - D_r|| falls at the rate of the least of those that the start excites. Outputs that the data do not move
stay where they were, at 0, which leaves out the last kind:

    c g (w_r - w_{r+1})                                        r < min(dx, dy)
    c g (w_r - k)                                              r = dy < dx
    2 c g w_r                                                  r = dx <= dy

Rich (f >> k) that is c g (f_r - f_{r+1}); lazy (f << k) it is c (f_r^2 - f_{r+1}^2) / kappa, whatever g is. With
eta_A != eta_B neither A A^T - B^T B is kept nor these rates hold. For any S the rate is the least Hessian eigenvalue
that is not zero, at the point that training reaches (`hessian_rate`).

*Stable learning rates* are those below 2 / lmax of the Hessian. At the end lmax = 2 c g w_1. At the start, B = 0, the
gradient's blocks are off the diagonal: with H = R X^T / n = D_FFT S and K = A(0) S A(0)^T,

    lmax = ( g^2 K_1 + sqrt(g^4 K_1^2 + 4 g^2 h_1^2) ) / 2,    K_1 = lmax(K), h_1 = ||H||_2        (any S, any A(0))

which is g^2 K_1 only when lazy (g kappa >> f_1): 2 / (g^2 K_1) is far too large at the default of PEFT. Where S = c I
and A(0) A(0)^T = kappa I this is c g (w_1 + k). At a start whose variance does not depend on r the limit grows like 1 /
g^2 when lazy and 1 / g when rich: r^2 or r for g = alpha / r, r or sqrt(r) for rsLoRA. Source: derived here.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import checks
from linreg_lora.theory.training.second_derivatives import factor_hessian


def local_rate(
    values: object,
    rank: int,
    shape: tuple[int, int],
    *,
    scaling: float,
    kappa: float,
    variance: float = 1.0,
) -> float:
    """The rate at which ||D(t) - D_r|| falls at the end of gradient flow in a whitened design, a time^-1.

    | argument   | symbol                     | meaning                                             |
    |------------|----------------------------|-----------------------------------------------------|
    | `values`   | f_1 >= f_2 >= ...          | singular values of D_FFT; missing ones are 0        |
    | `rank`     | r                          | 1..rank of D_FFT: above it there is no single D_r   |
    | `shape`    | (dy, dx)                   | outputs and inputs                                  |
    | `scaling`  | g                          | alpha / r, or alpha / sqrt(r)                       |
    | `kappa`    | kappa                      | squared norm of the rows of A(0): 1/3 by PEFT       |
    | `variance` | c                          | S = c I                                             |

    GD with learning rate eta multiplies the error by 1 - eta * rate a step. Equal singular values f_r = f_{r+1} give
    0: D_r is then not unique. Raises `InvalidInput` for ranks outside of 1..rank(D_FFT).

    >>> import linreg_lora as ll
    >>> rate = ll.theory.training.local_rate((3.0, 2.0, 1.0), 2, (5, 6), scaling=2.0, kappa=1 / 3)
    >>> f"{rate:.4f}: rich would be {2 * (2 - 1)}"
    '1.9470: rich would be 2'
    """
    f, (dy, dx) = checks.singular_values(values), checks.shape_of_update(shape)
    g, c = checks.positive("scaling", scaling), checks.positive("variance", variance)
    k = g * validation.nonnegative_number("kappa", kappa) / 2
    rank = _rank_of_update(rank, f, dy, dx)
    w = np.hypot(f, k)
    if rank == dx <= dy:
        return float(2 * c * g * w[rank - 1])
    missed = f[rank] if rank < len(f) else 0.0
    # A difference of squares: w_r - w_{r+1} cancels when lazy.
    return float(c * g * (f[rank - 1] ** 2 - missed**2) / (w[rank - 1] + np.hypot(missed, k)))


class Phases(NamedTuple):
    """The two phases of lazy training: B alone at the rate `first`, towards the solution of frozen A, then alignment.

    | field      | symbol    | meaning                                                                              |
    |------------|-----------|--------------------------------------------------------------------------------------|
    | `laziness` | k / f_1   | the plateau at the frozen solution needs it >> 1; below 1 there is none              |
    | `first`    | c g^2 kappa | rate at which B reaches its solution for A = A(0), while A stays                   |
    | `second`   |           | `local_rate`: c (f_r^2 - f_{r+1}^2) / kappa when lazy                                |
    """

    laziness: float
    first: float
    second: float


def phases(
    values: object,
    rank: int,
    shape: tuple[int, int],
    *,
    scaling: float,
    kappa: float,
    variance: float = 1.0,
) -> Phases:
    """Whether training first passes through the solution of frozen A, and the rates of both phases.

    Arguments as `local_rate`. Between the times 1 / first and 1 / second D stays near `frozen_a_update`, at a distance
    that falls as `laziness` grows. By PEFT's default (kappa = 1/3, alpha = 2 r) the laziness is 1 / (3 f_1).

    >>> import linreg_lora as ll
    >>> for g in (2.0, 256.0):
    ...     found = ll.theory.training.phases((3.0, 1.0), 1, (5, 6), scaling=g, kappa=1 / 3)
    ...     print(f"g = {g:.0f}: laziness {found.laziness:.2f}, rates {found.first:.3g} and {found.second:.3g}")
    g = 2: laziness 0.11, rates 1.33 and 3.93
    g = 256: laziness 14.22, rates 2.18e+04 and 24
    """
    rate = local_rate(values, rank, shape, scaling=scaling, kappa=kappa, variance=variance)
    return Phases(scaling * kappa / 2 / float(np.max(np.asarray(values))), variance * scaling**2 * kappa, rate)


def hessian_rate(
    b: object,
    a: object,
    full_update: object,
    second_moment: object,
    *,
    scaling: float,
) -> float:
    """The least nonzero Hessian eigenvalue at a minimum (B, A), among directions that training can take: any S.

    B never leaves the range of D_FFT S where it starts at 0, so the outputs orthogonal to it are left out. With n < dx,
    A's part outside of the range of X moves nothing and counts among the zeros. Zero are eigenvalues below 1e-9 of the
    largest. Arguments as `factor_hessian`. Raises `InvalidInput` where (B, A) is no minimum.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> full = np.diag([3.0, 1.0])
    >>> b, a = np.sqrt([[3.0], [0.0]]), np.sqrt([[3.0, 0.0]])
    >>> rate = ll.theory.training.hessian_rate(b, a, full, np.eye(2), scaling=1.0)
    >>> f"{rate:.6f} = {ll.theory.training.local_rate((3.0, 1.0), 1, (2, 2), scaling=1.0, kappa=0.0):.6f}"
    '2.000000 = 2.000000'
    """
    full = checks.a_matrix("full_update", full_update)
    dy, dx = full.shape
    b, s = checks.a_matrix("b", b, (dy, None)), checks.a_matrix("second_moment", second_moment, (dx, dx))
    left, size, _ = np.linalg.svd(full @ s)
    seen = left[:, : len(size)][:, size > size[0] * 1e-12].T
    found = np.linalg.eigvalsh(factor_hessian(seen @ b, a, seen @ full, s, scaling=scaling))
    zero = 1e-9 * found[-1]
    if found[0] < -zero:
        raise InvalidInput("b and a", "factors of the minimum", f"a Hessian with eigenvalue {found[0]:.3g}")
    return float(found[found > zero][0])


def largest_learning_rate_at_start(
    a: object,
    full_update: object,
    second_moment: object,
    *,
    scaling: float,
) -> float:
    """2 / lmax of the Hessian at B = 0, A = A(0): gradient descent leaves the start smoothly only below it.

    Arguments as `factor_hessian`, any S. The start is a saddle, so that smaller eigenvalues are negative.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> full, a = np.diag([3.0, 1.0]), np.array([[0.1, 0.2]])
    >>> limit = ll.theory.training.largest_learning_rate_at_start(a, full, np.eye(2), scaling=2.0)
    >>> f"{limit:.3f}, by the lazy rule {2 / (4 * 0.05):.0f}"
    '0.328, by the lazy rule 10'
    """
    full = checks.a_matrix("full_update", full_update)
    dx = full.shape[1]
    s, a = checks.a_matrix("second_moment", second_moment, (dx, dx)), checks.a_matrix("a", a, (None, dx))
    g = checks.positive("scaling", scaling)
    seen, slope = g**2 * np.linalg.norm(a @ s @ a.T, 2), g * np.linalg.norm(full @ s, 2)
    if seen == 0 and slope == 0:
        raise InvalidInput("full_update", "a start with a slope or a curvature", "neither")
    return float(4 / (seen + np.hypot(seen, 2 * slope)))


def largest_learning_rate_at_end(values: object, *, scaling: float, kappa: float, variance: float = 1.0) -> float:
    """2 / lmax = 1 / (c g w_1) of the Hessian at D_r, in a whitened design; arguments as `local_rate`, any rank >= 1.

    >>> import linreg_lora as ll
    >>> limit = ll.theory.training.largest_learning_rate_at_end((3.0, 1.0), scaling=2.0, kappa=1 / 3)
    >>> f"{limit:.4f}"
    '0.1656'
    """
    f = checks.singular_values(values)
    g, c = checks.positive("scaling", scaling), checks.positive("variance", variance)
    largest = np.hypot(f[0], g * validation.nonnegative_number("kappa", kappa) / 2)
    if largest == 0:
        raise InvalidInput("values", "a singular value or a kappa above 0", values)
    return float(1 / (c * g * largest))


def _rank_of_update(rank: int, f: np.ndarray, dy: int, dx: int) -> int:
    if len(f) > min(dx, dy):
        raise InvalidInput("values", f"at most min(dx, dy) = {min(dx, dy)} singular values", f"{len(f)} of them")
    largest = int(np.sum(f > 0))
    if validation.positive_integer("rank", rank) > largest:
        raise InvalidInput("rank", f"a rank in 1..{largest}, the rank of the full update", rank)
    return rank
