"""What truncation can cost over no truncation, in Frobenius norm: a constant of at most the squared golden ratio.

M = T + N with rank(T) = r*, M_r its best approximation of rank r >= r*, q = min(dy, k) for dy x k matrices. Then for
every T and N

    ||M_r - T||_F^2 <= nu ||M - T||_F^2,     nu = 1 + (rho + sqrt(rho (4 + rho))) / 2,
    rho = min(r*, q - r) / (r - r* + min(r*, q - r)),     nu = 1 where r >= q or r* = 0.

At r = r* <= q / 2 nu is ((1 + sqrt 5) / 2)^2 = 2.618, at r = 2 r* it is 2. No smaller constant will do (`attained`).

*In a fit.* With T = Delta X and M = D_FFT X, M_r is D_r X: on the training inputs LoRA of rank r >= rank(Delta X) is at
most nu times as far from the task as full fine-tuning is, whatever noise or poison the labels carry.

*Proof.* nu ||M - T||^2 - ||M_r - T||^2 = (nu - 1) ||T - W||^2 + const, W = (nu M - M_r) / (nu - 1). By Eckart and Young
the least of it over T of rank r* takes the r* largest singular values of nu M - M_r, which are (nu - 1) m_i for i <= r
and nu m_i for i > r. If s of them are of the second kind it is

    (nu - 1) sum' m_i^2 - nu / (nu - 1) sum'' m_i^2 + nu sum''' m_i^2

over the r - r* + s kept values that were not taken, the s lost ones that were, and the other lost ones. As kept values
are at least lost ones, it is at least m_r^2 [(nu - 1)(r - r* + s) - s nu / (nu - 1)], which is not negative if and only
if (nu - 1)^2 >= nu s / (r - r* + s). The right side is largest for the largest s, min(r*, q - r). Equal singular values
attain it. The case of vectors is that of hard thresholding (Shen and Li 2018); source: derived here.
"""

import math

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.truncation import numerical_rank


def golden_ratio_constant(planted: int, rank: int, size: int) -> float:
    """nu(r*, r, q): `planted` r* = rank(T), `rank` r of the truncation, `size` q = min(dy, k).

    Raises `InvalidInput` unless r* <= r and r* <= q.

    >>> import linreg_lora as ll
    >>> f"{ll.theory.golden_ratio_constant(3, 3, 20):.3f}, {ll.theory.golden_ratio_constant(3, 6, 20):.3f}"
    '2.618, 2.000'
    """
    swapped, stays = _swapped(planted, rank, size)
    if swapped == 0:
        return 1.0
    rho = swapped / (stays + swapped)
    return 1 + (rho + math.sqrt(rho * (4 + rho))) / 2


def golden_ratio_error(target: Float[np.ndarray, "dy k"], noise: Float[np.ndarray, "dy k"], rank: int) -> float:
    """Bound sqrt(nu) ||N||_F on ||M_r - T||_F, M = T + N; `target` T of rank at most `rank` r, `noise` N.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> target, noise = np.diag([3.0, 0.0, 0.0, 0.0]), np.diag([0.0, 1.0, 0.0, 0.0])
    >>> f"{ll.theory.golden_ratio_error(target, noise, 1):.3f}"
    '1.618'
    """
    if noise.shape != target.shape:
        raise InvalidInput("noise", f"the shape of target, {target.shape}", f"shape {noise.shape}")
    validation.matrix("target", target, target.shape)
    validation.matrix("noise", noise, noise.shape)
    planted = numerical_rank(np.linalg.svd(target, compute_uv=False), target.shape)
    constant = golden_ratio_constant(planted, rank, min(target.shape))
    return math.sqrt(constant) * float(np.linalg.norm(noise))


def attained(
    planted: int, rank: int, size: int, margin: float = 1e-9
) -> tuple[Float[np.ndarray, "q q"], Float[np.ndarray, "q q"]]:
    """T and N that attain nu as `margin` -> 0: M keeps r values 1 + margin and loses min(r*, q - r) values 1.

    T holds nu / (nu - 1) in the lost directions and 1 in as many kept ones as its rank allows. The order of equal
    values is the draw's; `margin` decides it.

    >>> import linreg_lora as ll
    >>> target, noise = ll.theory.golden_ratio.attained(1, 1, 2)
    >>> kept = (target + noise) * [[1.0], [0.0]]
    >>> f"{((kept - target)**2).sum() / (noise**2).sum():.6f}"
    '2.618034'
    """
    swapped, stays = _swapped(planted, rank, size)
    constant = golden_ratio_constant(planted, rank, size)
    values, observed = np.zeros(size), np.zeros(size)
    observed[:rank] = 1 + margin
    values[stays + swapped : rank] = 1 + margin
    if swapped:
        observed[rank : rank + swapped] = 1.0
        values[rank : rank + swapped] = constant / (constant - 1)
    return np.diag(values), np.diag(observed - values)


def _swapped(planted: int, rank: int, size: int) -> tuple[int, int]:
    """s = min(r*, q - r), and r - r*."""
    planted = validation.nonnegative_integer("planted", planted)
    rank, size = validation.nonnegative_integer("rank", rank), validation.positive_integer("size", size)
    if planted > size:
        raise InvalidInput("planted", f"at most size = {size}", planted)
    if rank < planted:
        raise InvalidInput("rank", f"at least the rank of the target, {planted}", rank, "use truncation_error")
    return min(planted, max(size - rank, 0)), rank - planted
