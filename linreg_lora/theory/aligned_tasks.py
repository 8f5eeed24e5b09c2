"""Task shifts of given singular values whose directions have a given cosine with those of the first task."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput


def aligned_shifts(
    spectra: Sequence[Sequence[float]], alignment: float, dy: int, dx: int
) -> list[Float[np.ndarray, "dy dx"]]:
    """Shifts Delta_t (dy x dx), one for each list of singular values, with directions of cosine c to the first task's.

        Delta_t = sum_k s_tk u_tk v_tk^T,   u_1k = e_k,   u_tk = c e_k + sqrt(1 - c^2) f_tk,   v_tk likewise

    e_k are the first unit vectors, and f_tk further ones, other for each task: later tasks have the cosine c^2 among
    each other. `alignment` c in 0..1: with 1 the directions are the same, with 0 orthogonal, and
    Tr(Delta_1 Delta_2^T) = c^2 sum_k s_1k s_2k. Raises `InvalidInput` where min(dx, dy) has no room for the directions.

    >>> import numpy as np
    >>> one, two = aligned_shifts([[3.0], [2.0]], 0.5, 4, 5)
    >>> np.linalg.svd(two, compute_uv=False).round(6).tolist(), float(np.sum(one * two).round(6))
    ([2.0, 0.0, 0.0, 0.0], 1.5)
    """
    c = validation.nonnegative_number("alignment", alignment)
    if c > 1:
        raise InvalidInput("alignment", "a cosine in 0..1", alignment)
    size = min(dx, dy)
    shared = [len(values) for values in spectra[: 1 if c == 0 else None]]
    used, found = max(shared, default=0), []
    for task, values in enumerate(spectra):
        k = np.arange(len(values))
        alone = task > 0 and c < 1  # it has directions of its own
        place, used = used, used + len(values) * alone
        if used > size:
            remedy = "name fewer singular values, or an alignment of 1"
            raise InvalidInput("task", f"at most min(dx, dy) = {size} directions in all", f"{used} or more", remedy)
        directions = np.zeros((len(values), size))
        directions[k, k] = c if alone else 1.0
        if alone:
            directions[k, place + k] += np.sqrt(1 - c**2)
        shift = np.zeros((dy, dx))
        shift[:size, :size] = (directions.T * np.array(values, dtype=float)) @ directions
        found.append(shift)
    return found
