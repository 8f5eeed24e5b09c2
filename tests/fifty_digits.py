"""FFT's equivalent and its first-order correction in fifty digits, by numerical derivatives."""

import mpmath
import numpy as np

from linreg_lora.theory.effective import effective_regularisation


def fft_equivalent(problem, n=None):
    """(bias, variance, their corrections) for a diagonal Sigma of full rank, at n samples (default: the problem's)."""
    with mpmath.workdps(50):
        n = problem.n if n is None else n
        values = np.ones(problem.dx) if problem.input_covariance is None else problem.input_covariance
        start = mpmath.mpf(effective_regularisation(values, n, problem.ridge))
        l = [mpmath.mpf(v) for v in values.tolist()]  # noqa: E741
        energy = [mpmath.mpf(e) for e in np.sum(problem.shift**2, axis=0).tolist()]
        noise, ridge = mpmath.mpf(problem.noise_trace), mpmath.mpf(problem.ridge)

        def shares(eta, tau, mu):
            """kappa with n = eta/kappa + sum l/a, a = kappa (1 + tau l + mu e) + l, and l/a there."""

            def weighted(kappa):
                return [v / (kappa * (1 + tau * v + mu * e) + v) for v, e in zip(l, energy, strict=True)]

            def excess(log_kappa):
                kappa = mpmath.exp(log_kappa)
                return n - eta / kappa - sum(weighted(kappa))

            kappa = mpmath.exp(mpmath.findroot(excess, mpmath.log(start), tol=1e-90, maxsteps=200))
            return kappa, weighted(kappa)

        def half_log(eta, tau, mu):
            return mpmath.log(1 - sum(s**2 for s in shares(eta, tau, mu)[1]) / n) / 2

        kappa, share = shares(ridge, 0, 0)
        df2 = sum(s**2 for s in share)
        bias = sum(e * v * (1 - s) ** 2 for v, e, s in zip(l, energy, share, strict=True)) / (1 - df2 / n)
        variance = noise * df2 / (n - df2)
        step = mpmath.mpf(10) ** -14
        more_variance = noise * _mixed(lambda x, y: half_log(ridge + x * kappa, y / kappa, 0), step)
        unit = kappa * sum(energy) or mpmath.mpf(1)
        more_bias = (
            -unit * _mixed(lambda x, y: half_log(ridge, y / kappa, x / unit * kappa), step) if sum(energy) else 0
        )
        return bias, variance, more_bias, more_variance


def _mixed(function, h):
    """d^2 f / dx dy at 0 by central differences: an error of h^2, 1e-28, and rounding of 1e-50 / h^2 = 1e-22."""
    return (function(h, h) - function(h, -h) - function(-h, h) + function(-h, -h)) / (4 * h * h)
