"""Mean angles by which random overlap turns one planted direction towards another, to all orders of that overlap.

Two directions of mean strengths a > b, with the entry o between them in F F^T and the strengths as they are on a draw,
turn by phi, tan 2 phi = 2 o / (a - b). First order in one over the samples is x = E o^2 / (a - b)^2, which has no bound
where strengths tie; the mean of sin^2 phi goes to 1/2 there. It is that of a normal o, beside strengths that are fixed
(`mean_turn`), as those of rows of inputs along a poison, or that vary as o does (`mean_swap`), as by noise, and between
two directions of the task: then (a - b)/2 and o are two normal variables of one variance. Source: derived here.
"""

import numpy as np
from jaxtyping import Float

#: Mean squares below which three terms of a series are exact to 4e-9, and Bessel functions lose digits.
_SMALL = 1e-4


def mean_turn(square: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """E sin^2 phi, tan 2 phi = 2g, g normal of mean 0 and mean square x: x - 9 x^2 at first, 1/2 where directions tie.

        E sin^2 phi = (1 - sqrt(2y/pi) e^y K_0(y)) / 2,    y = 1 / (16 x)

    >>> [f"{float(mean_turn(np.array(x))):.4f}" for x in (0.0, 0.01, 1.0, 1e12)]
    ['0.0000', '0.0092', '0.1929', '0.5000']
    """
    from scipy import special

    y = 1 / (16 * np.maximum(square, _SMALL))
    whole = (1 - np.sqrt(2 * y / np.pi) * special.k0e(y)) / 2
    return np.where(square < _SMALL, square * (1 - 9 * square + 150 * square**2), whole)


def mean_overlap(square: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """E g sin 2 phi / 2, of the angle of `mean_turn`, over E g^2 = x: 1 at first, 0 where directions tie.

        E g^2 / sqrt(1 + 4 g^2) / x = 2y sqrt(2y/pi) e^y [K_1(y) - K_0(y)],    y = 1 / (16 x)

    >>> [f"{float(mean_overlap(np.array(x))):.4f}" for x in (0.0, 0.01, 1.0)]
    ['1.0000', '0.9474', '0.3451']
    """
    from scipy import special

    y = 1 / (16 * np.maximum(square, _SMALL))
    whole = 2 * y * np.sqrt(2 * y / np.pi) * (special.k1e(y) - special.k0e(y))
    return np.where(square < _SMALL, 1 - 6 * square + 90 * square**2, whole)


def mean_swap(square: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """E sin^2 phi where the difference of the strengths varies as much as what turns them: x + 3 x^2 at first.

    (cos 2 phi, sin 2 phi) is the direction of a normal vector (mu, 0) + N(0, I) in the plane, x = 1 / (4 mu^2):

        E sin^2 phi = (1 - sqrt(pi y/2) e^-y [I_0(y) + I_1(y)]) / 2,    y = 1 / (16 x)

    >>> [f"{float(mean_swap(np.array(x))):.4f}" for x in (0.0, 0.01, 1.0, 1e12)]
    ['0.0000', '0.0103', '0.3481', '0.5000']
    """
    from scipy import special

    y = 1 / (16 * np.maximum(square, _SMALL))
    whole = (1 - np.sqrt(np.pi * y / 2) * (special.i0e(y) + special.i1e(y))) / 2
    return np.where(square < _SMALL, square * (1 + 3 * square + 30 * square**2), whole)
