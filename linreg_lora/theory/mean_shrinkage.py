"""The mean of X X^T (X X^T + eta)^{-1}, by which FFT shrinks its update in mean, to first order beyond its limit.

X (dx x n) has independent columns x ~ N(0, Sigma), Sigma = diag(lam). The mean is diagonal, for every row of X is
symmetric. With t_i = z_i^T (eta + X_{-i}^T X_{-i})^{-1} z_i, z_i the row i over its standard deviation,

    E [X X^T (X X^T + eta)^{-1}]_ii = E lam_i t_i / (1 + lam_i t_i),        exact.

In the limit t_i = tau = 1/kappa. To first order t_i has the variance 2 g, g = -d tau / d eta, and, being without row i,
the mean tau + lam_i g / (1 + lam_i tau); tau itself moves so that the means add up to n - eta tau:

    share_i ~ lam_i / (lam_i + kappa) + delta lam_i / (1 + lam_i tau)^2 - g lam_i^2 / (1 + lam_i tau)^3,
    g = tau / s,   delta = (g / s) sum_i lam_i^2 / (1 + lam_i tau)^3,   s = eta + sum_i lam_i / (1 + lam_i tau)^2.

Where all lam are equal and eta = 0 the sum vanishes: the share is n/dx. Source: derived here.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.theory.effective import effective_regularisation


class Shares(NamedTuple):
    """`limit` lam / (lam + kappa) of every input, and the first `correction` to it."""

    limit: Float[np.ndarray, "dx"]
    correction: Float[np.ndarray, "dx"]


def mean_shares(values: Float[np.ndarray, "dx"], n: int, ridge: float) -> Shares:
    """The share of each input that FFT keeps in mean, ridge > 0 or n < rank(Sigma).

    `values` lam, the variances of the inputs, 0 for those without; `n` samples; `ridge` eta.

    >>> import numpy as np
    >>> shares = mean_shares(np.ones(20), 5, 0.0)
    >>> (shares.limit + shares.correction)[:2].round(6).tolist()
    [0.25, 0.25]
    """
    kappa = effective_regularisation(values, n, ridge)
    left = kappa / (values + kappa)  # 1 / (1 + lam tau)
    slopes, squares = values * left**2, values**2 * left**3
    s = ridge + float(np.sum(slopes))
    g = 1 / (kappa * s)
    delta = g / s * float(np.sum(squares))
    return Shares(values / (values + kappa), delta * slopes - g * squares)
