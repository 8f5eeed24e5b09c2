"""What truncating a noisy matrix to rank r can cost: bounds that hold for every target T and noise N.

M = T + N, M_r its best approximation of rank r, s_1 >= s_2 >= ... the singular values of T.
"""

import math
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput


class Version(StrEnum):
    """Constants as the paper prints them, or as its proof gives them when each step is carried through."""

    PRINTED = "printed"
    CORRECTED = "corrected"


def truncation_norm(target: Float[np.ndarray, "dy k"], noise: Float[np.ndarray, "dy k"], rank: int) -> float:
    """Bound on the spectral norm of the error of truncating T + N.

        ||M_r - T||_2 <= s_{r+1}(T) + 2 ||N||_2,      M = T + N

    `target` T, `noise` N, `rank` r in 1..min(dy, k). Source: arXiv 2605.19018, Lemma 2.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> target, noise = np.diag([3.0, 1.0]), np.diag([-0.5, 0.5])
    >>> f"1 + 2 * 0.5 = {ll.theory.truncation_norm(target, noise, rank=1):.3f}"
    '1 + 2 * 0.5 = 2.000'
    """
    values, strength = _target_and_noise(target, noise, rank)
    return next_value(values, rank) + 2 * strength


def squared_truncation_norm(
    target: Float[np.ndarray, "dy k"],
    noise: Float[np.ndarray, "dy k"],
    rank: int,
    version: Version | str = Version.CORRECTED,
) -> float:
    """The square of `truncation_norm` with its cross term bounded away.

        ||M_r - T||_2^2 <= 2 s_{r+1}(T)^2 + 8 ||N||_2^2

    The paper prints 4 for 8, which is not a bound: T = diag(3.999, 2), N = diag(-1, 1), r = 1 has 15.992 on the left
    and 12 on the right. Source: arXiv 2605.19018, eq. 148.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> target, noise = np.diag([3.999, 2.0]), np.diag([-1.0, 1.0])
    >>> printed = ll.theory.truncation.Version.PRINTED
    >>> f"{ll.theory.squared_truncation_norm(target, noise, rank=1, version=printed):.3f} < 15.992"
    '12.000 < 15.992'
    >>> f"{ll.theory.squared_truncation_norm(target, noise, rank=1):.3f}"
    '16.000'
    """
    values, strength = _target_and_noise(target, noise, rank)
    return (
        2 * next_value(values, rank) ** 2
        + (4 if validation.choice("version", version, Version) is Version.PRINTED else 8) * strength**2
    )


def truncation_error(target: Float[np.ndarray, "dy k"], noise: Float[np.ndarray, "dy k"], rank: int) -> float:
    """Bound on the Frobenius norm of the error of truncating T + N.

        ||M_r - T||_F <= tail_r(T) + 2 sqrt(2r) ||N||_2,      tail_r(T)^2 = sum_{i>r} s_i(T)^2

    Proof: M_r is the best fit of rank r, so ||M - M_r||^2 <= ||M - T_r||^2. With M = T + N, a = ||M_r - T||_F and
    b = tail_r(T) this is a^2 <= b^2 + 2 <N, M_r - T_r>. The rank of M_r - T_r is at most 2r, so the product is at most
    c (a + b), c = sqrt(2r) ||N||_2, hence a - b <= 2c. `target` T, `noise` N, `rank` r in 1..min(dy, k).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> target, noise = np.diag([3.0, 1.0]), np.diag([-0.5, 0.5])
    >>> f"1 + 2 sqrt(2) 0.5 = {ll.theory.truncation_error(target, noise, rank=1):.3f}"
    '1 + 2 sqrt(2) 0.5 = 2.414'
    """
    values, strength = _target_and_noise(target, noise, rank)
    return tail_energy(values, rank) ** 0.5 + 2 * math.sqrt(2 * rank) * strength


def low_rank_truncation_error(target: Float[np.ndarray, "dy k"], noise: Float[np.ndarray, "dy k"], rank: int) -> float:
    """`truncation_error` where rank(T) <= r: no tail, and a smaller constant.

        ||M_r - T||_F^2 <= (r + 4 rank(T)) ||N||_2^2 <= 5 r ||N||_2^2

    Proof: M_r = P M, P the projector on its column space, so M_r - T = P N - (I - P) T, two orthogonal parts. P N has
    rank <= r: r ||N||^2. (I - P) T = (I - P)(M - N) has rank at most that of T and norm at most
    s_{r+1}(M) + ||N|| <= 2 ||N||. No smaller constant will do: 5 r is reached in the limit by r copies of
    T = diag(2, 0), N = diag(-1, 1). Returns the bound on the norm, not on its square. Raises `InvalidInput` where
    rank(T) > r.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> target, noise = np.diag([3.0, 0.0]), np.diag([-0.5, 0.5])
    >>> f"sqrt(5) 0.5 = {ll.theory.low_rank_truncation_error(target, noise, rank=1):.3f}"
    'sqrt(5) 0.5 = 1.118'
    """
    values, strength = _target_and_noise(target, noise, rank)
    planted = numerical_rank(values, target.shape)
    if planted > rank:
        raise InvalidInput("rank", f"at least rank(target) = {planted}", rank, "use truncation_error")
    return math.sqrt(rank + 4 * planted) * strength


def next_value(values: np.ndarray, rank: int) -> float:
    """s_{r+1}, 0 where there is none."""
    return float(values[rank]) if rank < len(values) else 0.0


def tail_energy(values: np.ndarray, rank: int) -> float:
    """sum_{i>r} s_i^2."""
    return float(np.sum(values[rank:] ** 2))


def numerical_rank(values: np.ndarray, shape: tuple[int, ...]) -> int:
    """How many singular values of a matrix of this shape exceed rounding."""
    return int(np.sum(values > max(shape) * np.finfo(float).eps * np.max(values, initial=0.0)))


def require_rank(rank: int, least: int, largest: int, remedy: str = "") -> None:
    """Raise `InvalidInput` unless `rank` is an integer in least..largest."""
    if validation.nonnegative_integer("rank", rank) not in range(least, largest + 1):
        raise InvalidInput("rank", f"an integer in {least}..{largest}", rank, remedy)


def _target_and_noise(target: np.ndarray, noise: np.ndarray, rank: int) -> tuple[np.ndarray, float]:
    """Singular values of T, and ||N||_2."""
    require_rank(rank, 1, min(target.shape))
    if noise.shape != target.shape:
        raise InvalidInput("noise", f"the shape of target, {target.shape}", f"shape {noise.shape}")
    if not (np.all(np.isfinite(target)) and np.all(np.isfinite(noise))):
        raise InvalidInput("target, noise", "finite entries", "nan or inf")
    return np.linalg.svd(target, compute_uv=False), float(np.linalg.norm(noise, 2))
