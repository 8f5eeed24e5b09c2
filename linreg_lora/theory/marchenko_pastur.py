"""The Marchenko-Pastur law: how many squared singular values of pure noise lie above a level."""

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.validation import positive_integer

_POINTS = 4001


def edges(rows: int, columns: int) -> tuple[float, float]:
    """The support of the squared singular values of a rows x columns matrix with iid unit-variance entries.

    (sqrt(rows) - sqrt(columns))^2 and (sqrt(rows) + sqrt(columns))^2, in the limit of large sizes.
    """
    a, b = np.sqrt(positive_integer("rows", rows)), np.sqrt(positive_integer("columns", columns))
    return float((a - b) ** 2), float((a + b) ** 2)


def quantile(rows: int, columns: int, above: float) -> float:
    """The level x that `above` squared singular values exceed, 0 <= `above` <= min(rows, columns).

        N(x) = integral_x^{x+} sqrt((x+ - u)(u - x-)) / (2 pi u) du = above

    By the substitution u = centre + half-width cos(theta), which removes both square roots, on a uniform grid in theta.
    """
    low, high = edges(rows, columns)
    size = min(rows, columns)
    if not 0 <= above <= size:
        raise InvalidInput("above", f"a number in 0..min(rows, columns) = {size}", above)
    theta = np.linspace(0, np.pi, _POINTS)
    centre, half = (low + high) / 2, (high - low) / 2
    u = centre + half * np.cos(theta)
    # At a hard edge (rows = columns) the density's pole meets sin^2: (half sin)^2 / u -> 2 half there.
    smooth = np.where(u > 0, half**2 * np.sin(theta) ** 2 / np.where(u > 0, u, 1.0), 2 * half) / (2 * np.pi)
    steps = (smooth[1:] + smooth[:-1]) / 2 * (theta[1] - theta[0])
    count = np.concatenate([[0.0], np.cumsum(steps)])
    return float(centre + half * np.cos(np.interp(above, count * (size / count[-1]), theta)))
