"""A Gaussian model that looks like the data, for the bootstrap alone: noise level and singular values of the shift.

The fit without ridge, in the metric of the inputs, is Delta Sigma^{1/2} plus noise: q = min(rank X, dy) singular values
lambda_j. With m = dy, N = rank X, sigma^2 = |R - F|^2 / (dy (n - N)) and y = lambda_j^2 / sigma^2, those above the edge
(sqrt m + sqrt N)^2 of noise are strengths t with y = (t^2 + m)(t^2 + N) / t^2, so that

    t^2 = (y - m - N + sqrt((y - m - N)^2 - 4 m N)) / 2,       s_j = t sigma / sqrt(n).

What is left of the energy, (sum lambda^2 - m N sigma^2) / n - sum s_j^2 where positive, is spread over the others.
`unequal_noise` does the same for outputs of unequal noise, in the outputs Sigma_eps^{-1/2} R, whose noise is equal. Of
Sigma_eps it knows (R - F)^T (R - F) / (n - N), in n - N degrees of freedom, and takes (n - N) / (n - N + dy) of that
and sigma^2 I for the rest.

Where every sample is fitted (n <= N) the noise is not identified: all but the spikes counts as noise, at the level that
the median of the lambda_j has. Source: Benaych-Georges and Nadakuditi 2012 for the map from t to lambda.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.own_data.deletion import Design, deletions
from linreg_lora.problem import Problem
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.marchenko_pastur import edges, quantile


class GaussianModel(NamedTuple):
    """`shift` (dy p) and `noise_std` of a model whose inputs are independent with variances `variances` (p).

    `identified`: whether the noise is told from the shift.
    """

    shift: Float[np.ndarray, "dy p"]
    noise_std: float
    variances: Float[np.ndarray, "p"]
    identified: bool


def gaussian_model(at: Design, residual: Float[np.ndarray, "n dy"]) -> GaussianModel:
    """The model of a user's samples."""
    plain = deletions(at, residual, 0.0)
    n, (k, dy) = at.samples - at.intercept, plain.coordinates.shape
    if n > k:
        left, values, right = np.linalg.svd(plain.coordinates.T, full_matrices=False)
        missed = plain.target - at.left @ plain.coordinates
        variance = float(np.sum(missed**2)) / (dy * (n - k))
        strengths = _strengths(values, n, dy, k, variance, spread=True)
        shift = (left * strengths) @ right / (at.values / np.sqrt(n))
        return GaussianModel(shift, float(np.sqrt(variance)), at.values**2 / n, True)
    dx = int(np.sum(np.any(at.right != 0, axis=1)))
    left, values, _ = np.linalg.svd(plain.target.T, full_matrices=False)
    values = values[: min(n, dy)]
    variance = float(np.median(values**2)) / quantile(dy, n, min(n, dy) / 2)
    strengths = _strengths(values, n, dy, n, variance, spread=False)[: min(dx, dy)]
    scale = float(np.sum(at.values**2)) / (n * dx)
    shift = np.zeros((dy, dx))
    shift[:, : len(strengths)] = left[:, : len(strengths)] * strengths / np.sqrt(scale)
    return GaussianModel(shift, float(np.sqrt(variance)), np.full(dx, scale), False)


def unequal_noise(
    at: Design, residual: Float[np.ndarray, "n dy"]
) -> tuple[GaussianModel, Float[np.ndarray, "dy dy"]] | None:
    """The model and the root of Sigma_eps, for outputs of unequal noise; None where it is not told from the shift.

    `noise_std` of the model is the root of the mean variance of the outputs.
    """
    plain = deletions(at, residual, 0.0)
    n, (k, dy) = at.samples - at.intercept, plain.coordinates.shape
    if n <= k:
        return None
    missed = plain.target - at.left @ plain.coordinates
    variance = float(np.sum(missed**2)) / (dy * (n - k))
    share = (n - k) / (n - k + dy)
    levels, turn = np.linalg.eigh(share * missed.T @ missed / (n - k) + (1 - share) * variance * np.eye(dy))
    if not np.min(levels) > 0:
        return None
    root = (turn * np.sqrt(levels)) @ turn.T
    left, values, right = np.linalg.svd((turn / np.sqrt(levels)) @ turn.T @ plain.coordinates.T, full_matrices=False)
    shift = root @ (left * _strengths(values, n, dy, k, 1.0, spread=True)) @ right / (at.values / np.sqrt(n))
    return GaussianModel(shift, float(np.sqrt(variance)), at.values**2 / n, True), root


def expected_errors(model: GaussianModel, n: int, ranks: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Test error of LoRA by theory: its expected risk on n samples of the model, without ridge, and the noise."""
    dy, dx = model.shift.shape
    strengths = np.linalg.svd(model.shift * np.sqrt(model.variances), compute_uv=False)
    problem = Problem(n=n, dx=dx, dy=dy, spectrum=tuple(strengths.tolist()), noise_std=model.noise_std)
    risk = np.full(len(ranks), np.nan)
    known = ranks <= problem.max_rank
    risk[known] = expected_risk(problem, ranks[known], flags=False).risk
    return np.where(np.isfinite(risk), risk, np.nan) + dy * model.noise_std**2


def _strengths(
    values: Float[np.ndarray, "q"], n: int, m: int, small: int, variance: float, *, spread: bool
) -> Float[np.ndarray, "q"]:
    """s_j of the module."""
    if variance <= 0:
        return values / np.sqrt(n)
    y = values**2 / variance
    above = y > edges(m, small)[1]
    excess = np.where(above, y - m - small, 2 * np.sqrt(m * small))
    root = np.sqrt(np.maximum(excess**2 - 4 * m * small, 0.0))
    found = np.where(above, np.sqrt((excess + root) / 2 * variance / n), 0.0)
    left_over = (np.sum(values**2) - m * small * variance) / n - np.sum(found**2)
    others = len(values) - int(np.sum(above))
    if spread and left_over > 0 and others:
        found = np.where(above, found, np.sqrt(left_over / others))
    return found
