"""The gradient E X^T / n of pure noise: where its singular values lie.

With E dy x n and X dx x n of iid unit variance, b = dy/n, c = dx/n, the squared singular values z of G = E X^T / n have

    psi z = (1 + psi)(1 + c psi)(b + c psi),      density -(1/pi) Im (b + c psi) / (b z), of mass dy,

up to the edge where dz/dpsi = 0. A product of two Gaussian matrices: not the law of Marchenko and Pastur, which it
becomes for c -> 0. Units of sigma^2.
"""

import functools
import math

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput

_POINTS = 4000


def level(psi: Float[np.ndarray, "k"] | float, b: float, c: float) -> Float[np.ndarray, "k"]:
    """z at psi.

    >>> from linreg_lora.theory.training.one_step_noise import level
    >>> f"{float(level(0.5, 1.0, 1.0)):.2f}"
    '6.75'
    """
    p = np.asarray(psi, dtype=float)
    return (1 + p) * (1 + c * p) * (b + c * p) / p


def edge(b: float, c: float) -> float:
    """psi_e at the upper edge: 1/psi = 1/(1 + psi) + c/(1 + c psi) + c/(b + c psi).

    >>> from linreg_lora.theory.training.one_step_noise import edge
    >>> f"{edge(1.0, 1.0):.6f}"
    '0.500000'
    """
    from scipy.optimize import brentq

    def slope(log_psi: float) -> float:
        p = math.exp(log_psi)
        return 1 - p / (1 + p) - c * p / (1 + c * p) - c * p / (b + c * p)

    # The three shares add up to at most 1/3 at the lower end; at the upper one two of them are at least 1/2.
    low = -math.log(3 * (1 + c + c / b))
    return math.exp(float(brentq(slope, low, math.log(1 + 1 / c + b / c) + 1, xtol=1e-15)))  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=32)
def _counts(n: int, dx: int, dy: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Levels z from the edge down to 0, and how many squared singular values lie above each."""
    b, c = dy / n, dx / n
    top = float(level(edge(b, c), b, c))
    theta = np.linspace(0, np.pi, _POINTS + 1)
    middle = (theta[1:] + theta[:-1]) / 2
    share = (1 + np.cos(middle)) / 2
    z, width = top * share**2, top * share * np.sin(middle) * (theta[1] - theta[0])
    # (1 + p)(1 + c p)(b + c p) - p z, by companion matrices.
    companion = np.zeros((_POINTS, 3, 3))
    companion[:, [1, 2], [0, 1]] = 1
    companion[:, 0, 2] = -b / c**2
    companion[:, 1, 2] = -(b * (1 + c) + c - z) / c**2
    companion[:, 2, 2] = -(c * b + c * (1 + c)) / c**2
    lowest = np.min(np.linalg.eigvals(companion).imag, axis=1)
    density = -c * lowest / (math.pi * b * z) * dy
    count = np.concatenate([[0.0], np.cumsum(density * width)])
    return top * ((1 + np.cos(theta)) / 2) ** 2, count * (min(n, dx, dy) / count[-1])


def quantiles(n: int, dx: int, dy: int, count: int, planted: int = 0) -> Float[np.ndarray, "count"]:
    """The `count` largest squared singular values of the noise beside `planted` others, at levels k - 1/2.

    >>> from linreg_lora.theory.training.one_step_noise import quantiles
    >>> quantiles(400, 100, 80, 20)[[0, 4, 19]].round(5).tolist()
    [0.99383, 0.76665, 0.39315]
    """
    if count == 0:
        return np.zeros(0)
    sizes = n, dx - planted, dy - planted
    if count > min(sizes):
        raise InvalidInput("count", f"at most {min(sizes)} directions of noise", count)
    z, above = _counts(*sizes)
    return np.interp(np.arange(count) + 0.5, above, z)
