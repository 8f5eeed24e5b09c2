"""A0 beside the noise of full fine-tuning: a bulk whose rows are alike and whose columns are not.

Given X the rows of A0 + D_FFT - Delta are iid of covariance T = tau^2 I + (sigma^2 / n) S^{-1}, S = X X^T / n: far from
a multiple of I for n near dx. With t_j the eigenvalues of T and q < 0 the trace of the left resolvent, above the bulk

    z = sum_j t_j / (1 + t_j q) - dy / q,        edge: dz/dq = 0 at q_e,      q_e < q < 0 above it

for z a squared singular value. T's directions are uniform about those of Delta, so that a singular value s leaves the
bulk iff

    s^2 > 1 / Dt(q_e),     at z with s^2 Dt(q) = 1,      Dt(q) = -(q / (dx dy)) sum_j 1 / (1 + t_j q),

and its left vector has the squared cosine (q / dy) z'(q) / (s^2 Dt'(q)) with Delta's. For T = tau^2 I this is the spike
of `outliers`. Eigenvalues of S are at the quantiles of Marchenko and Pastur, and those of S^{-1} scaled to their exact
mean, n / (n - dx - 1). Source: Benaych-Georges and Nadakuditi 2012 for the equation, Silverstein and Bai 1995 for z.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import quantile


class Bulk(NamedTuple):
    """The singular value of Delta from which one leaves the bulk, and the bulk's upper edge."""

    threshold: float
    edge: float


class Spike(NamedTuple):
    """The singular value of A0 + D_FFT, and the squared cosine of its left vector with Delta's."""

    singular_value: float
    left: float


def variances(problem: Problem, pretrained_std: float) -> Float[np.ndarray, "dx"]:
    """The eigenvalues of T, for Sigma = I, n > dx + 1 and isotropic noise.

    >>> import linreg_lora as ll
    >>> from linreg_lora.theory.training.fitted_noise import variances
    >>> t = variances(ll.Problem(n=300, dx=100, dy=80, spectrum=(1.0,), noise_std=4.0), 0.1)
    >>> f"{t.mean():.5f} = {0.01 + 16 / 199:.5f}, from {t.min():.3f} to {t.max():.3f}"
    '0.09040 = 0.09040, from 0.032 to 0.286'
    """
    problem.require_gaussian("the noise of a fit")
    noise = problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0)
    return pretrained_std**2 + noise * _inverses(problem.n, problem.dx)


def bulk(t: Float[np.ndarray, "dx"], dy: int) -> Bulk:
    """Threshold and edge for rows of covariance T with eigenvalues `t`.

    >>> import numpy as np
    >>> from linreg_lora.theory.training.fitted_noise import bulk
    >>> found = bulk(np.full(200, 1 / 200), 150)
    >>> f"{found.threshold:.4f} = {(200 * 150) ** 0.25 / 200**0.5:.4f}, {found.edge:.4f} = {1 + (150 / 200) ** 0.5:.4f}"
    '0.9306 = 0.9306, 1.8660 = 1.8660'
    """
    end = _edge(t, dy)
    return Bulk(_transform(end, t, dy) ** -0.5, _level(end, t, dy) ** 0.5)


def spike(s: float, t: Float[np.ndarray, "dx"], dy: int) -> Spike:
    """Where a singular value s above the threshold is found, and its overlap.

    >>> import numpy as np
    >>> from linreg_lora.theory.training.fitted_noise import spike
    >>> found = spike(2.0, np.full(200, 1 / 200), 150)
    >>> f"{found.singular_value:.4f}, {found.left:.3f}"
    '2.4367, 0.803'
    """
    from scipy.optimize import brentq

    end = _edge(t, dy)
    # Dt is at most -q / dy over 1 + max(t) q, and at least -q / dy.
    q = float(brentq(lambda q: s**2 * _transform(q, t, dy) - 1, end, end * 1e-14, xtol=1e-300, rtol=1e-14))  # pyright: ignore[reportArgumentType]
    slope = dy / q**2 - float(np.sum((t / (1 + t * q)) ** 2))
    turn = -float(np.sum((1 + t * q) ** -2.0)) / (len(t) * dy)
    return Spike(_level(q, t, dy) ** 0.5, q / dy * slope / (s**2 * turn))


def _level(q: float, t: Float[np.ndarray, "dx"], dy: int) -> float:
    return float(np.sum(t / (1 + t * q))) - dy / q


def _transform(q: float, t: Float[np.ndarray, "dx"], dy: int) -> float:
    return -q * float(np.mean(1 / (1 + t * q))) / dy


def _edge(t: Float[np.ndarray, "dx"], dy: int) -> float:
    """q_e: sum_j (t q / (1 + t q))^2 = dy, where the sum rises from 0 to infinity."""
    from scipy.optimize import brentq

    top = float(np.max(t))

    def excess(share: float) -> float:
        relative = t / top * share
        return float(np.sum((relative / (1 - relative)) ** 2)) / dy - 1

    return -float(brentq(excess, 0.0, 1 / (1 + dy**-0.5 / 2), xtol=1e-15)) / top  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=32)
def _inverses(n: int, dx: int) -> Float[np.ndarray, "dx"]:
    """The eigenvalues of (X X^T)^{-1}, of mean 1 / (n - dx - 1)."""
    inverse = 1 / np.array([quantile(dx, n, k + 0.5) for k in range(dx)])
    return inverse * (1 / (n - dx - 1) / np.mean(inverse))
