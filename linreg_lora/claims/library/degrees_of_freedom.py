"""Degrees of freedom of low-rank fits, df = E <fit, noise> / sigma^2, inputs fixed, and the ranks that they select."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.library.plain_data import reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import NonNegative, Rank
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
def degrees_of_freedom(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
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
def shrinkage_surplus(problem: Problem, trials: int, seed: int, *, threshold: NonNegative) -> Sample:
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


def _seen(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """X, residuals, their means and the noise variance in the coordinates of the row space, in plain NumPy."""
    if problem.isotropic_noise_scale is None or problem.ridge > 0:
        raise InvalidInput("experiment", "a domain without ridge and with isotropic noise", "another", "leave them out")
    x, residual = reduced(problem, trials, seed)
    return x, residual, problem.shift @ x, problem.noise_std**2 * problem.isotropic_noise_scale


@register_experiment("shrinkage-degrees", bounded=True)
def shrinkage_degrees(problem: Problem, trials: int, seed: int, *, threshold: NonNegative) -> Sample:
    """<S_t - M, E> / sigma^2, t = `threshold` sigma (sqrt N + sqrt dy); context: t, and singular values."""
    _, residual, mean, variance = _seen(problem, trials, seed)
    dy, size = residual.shape[1:]
    t = threshold * np.sqrt(variance) * (np.sqrt(size) + np.sqrt(dy))
    u, s, vt = np.linalg.svd(residual, full_matrices=False)
    fit = (u * np.maximum(s - t, 0.0)[:, None]) @ vt
    found = np.sum((fit - mean) * (residual - mean), axis=(1, 2)) / variance
    return Sample(found[:, None], {"strengths": s, "threshold": np.asarray(t)})


def _of_every_rank(problem: Problem, trials: int, seed: int) -> dict[str, np.ndarray]:
    """By rank, each trials x ranks: estimates of the error on the outputs by df(r), by df(r) with the sum over pairs
    once, and by the parameters, the error on the outputs, and the excess risk."""
    x, residual, mean, variance = _seen(problem, trials, seed)
    dy, size = residual.shape[1:]
    u, s, vt = np.linalg.svd(residual, full_matrices=False)
    full = residual @ np.linalg.pinv(x)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("exact", "once", "parameters", "outputs", "risk")}
    for r in range(s.shape[1] + 1):
        kept, left = s[:, :r, None] ** 2, s[:, None, r:] ** 2
        pairs = np.sum(left / (kept - left), axis=(1, 2))
        lost, count = np.sum(s[:, r:] ** 2, axis=1), r * (size + dy - r)
        found["exact"].append(lost + 2 * variance * (count + 2 * pairs))
        found["once"].append(lost + 2 * variance * (count + pairs))
        found["parameters"].append(lost + 2 * variance * count)
        fit = (u[..., :r] * s[:, None, :r]) @ vt[:, :r]
        found["outputs"].append(np.sum((fit - mean) ** 2, axis=(1, 2)))
        found["risk"].append(risks(problem, u[..., :r] @ (u[..., :r].mT @ full)))
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def _selected(by: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, np.argmin(by, axis=1)[:, None], axis=1)[:, 0]


@register_experiment("selection-gain", bounded=True)
def selection_gain(problem: Problem, trials: int, seed: int) -> Sample:
    """The error on the outputs at the rank that df selects, less that at the rank that parameters do.

    Context: the latter, that at the rank that df with the sum over pairs once selects, and the errors of all ranks.
    """
    every = _of_every_rank(problem, trials, seed)
    beside = _selected(every["parameters"], every["outputs"])
    once = _selected(every["once"], every["outputs"])
    context = {"fft": beside, "once": once, "outputs": every["outputs"]}
    return Sample((_selected(every["exact"], every["outputs"]) - beside)[:, None], context)


@register_experiment("selected-rank-risk")
def selected_rank_risk(problem: Problem, trials: int, seed: int) -> Sample:
    """The excess risk at the rank that df selects; context: those of all ranks, and that at the rank that df with the
    sum over pairs once selects."""
    every = _of_every_rank(problem, trials, seed)
    context = {"risks": every["risk"], "once": _selected(every["once"], every["risk"])}
    return Sample(_selected(every["exact"], every["risk"])[:, None], context)
