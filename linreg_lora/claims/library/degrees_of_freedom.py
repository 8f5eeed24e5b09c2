"""Degrees of freedom of low-rank fits, df = E <fit, noise> / sigma^2, inputs fixed: of truncation and of shrinkage."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def _in_row_space(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Residuals and their means in the N = min(n, dx) coordinates of the inputs' row space, and the noise variance."""
    if problem.isotropic_noise_scale is None:
        raise InvalidInput("noise_covariance", "c I, so that one variance counts", "another", "leave it out")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge, "degrees of freedom are those of least squares")
    x, y = experiments._data(problem, trials, seed)
    rows = np.linalg.svd(x, full_matrices=False)[2]
    variance = problem.noise_std**2 * problem.isotropic_noise_scale
    return experiments._residual(problem, x, y) @ rows.mT, problem.shift @ x @ rows.mT, variance


@register_experiment("degrees-of-freedom", bounded=True)
def degrees_of_freedom(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """<F_r - M, E> / sigma^2, F_r the fit of rank r and M its mean: of mean df(r), with less spread than <F_r, E>."""
    r = int(rank)
    seen, mean, variance = _in_row_space(problem, trials, seed)
    u, s, vt = np.linalg.svd(seen, full_matrices=False)
    fit = (u[..., :r] * s[:, None, :r]) @ vt[:, :r]
    found = np.sum((fit - mean) * (seen - mean), axis=(1, 2)) / variance
    squares = s**2
    pairs = np.sum(squares[:, None, r:] / (squares[:, :r, None] - squares[:, None, r:]), axis=(1, 2))
    return Sample(found[:, None], {"rank": np.asarray(r), "pairs": pairs})


@register_experiment("shrinkage-surplus", bounded=True)
def shrinkage_surplus(problem: Problem, trials: int, seed: int, *, threshold: float) -> Sample:
    """<S_t - M, E> / sigma^2 - k (N + dy - k), S_t the fit with singular values less t, k its rank.

    t = `threshold` sigma (sqrt N + sqrt dy). Context: the count of parameters, to measure by, and the same of a fit
    that keeps these k directions and does not shrink them.
    """
    seen, mean, variance = _in_row_space(problem, trials, seed)
    dy, size = seen.shape[1:]
    u, s, vt = np.linalg.svd(seen, full_matrices=False)
    kept = np.maximum(s - threshold * np.sqrt(variance) * (np.sqrt(size) + np.sqrt(dy)), 0.0)
    k = np.sum(kept > 0, axis=1)
    count = k * (size + dy - k)
    noise = seen - mean
    found = np.sum(((u * kept[:, None]) @ vt - mean) * noise, axis=(1, 2)) / variance
    hard = np.sum(((u * (s * (kept > 0))[:, None]) @ vt - mean) * noise, axis=(1, 2)) / variance
    return Sample((found - count)[:, None], {"fft": count.astype(float), "hard": hard - count})
