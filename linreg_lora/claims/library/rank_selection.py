"""Selecting a rank by a penalty: the rank that is selected, and how often pure noise is."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import NonNegative
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


@register_experiment("selected-rank", pathwise=True)
def selected_rank(problem: Problem, trials: int, seed: int, *, penalty: NonNegative) -> Sample:
    """The rank k that minimises ||R - D_k X||_F^2 + mu k, mu = `penalty` sigma^2 (dy + min(n, dx)).

    Every loss is computed from its own update. Context: singular values of the fitted outputs, the losses, and mu.
    """
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge, "the penalty is on the rank alone")
    x, y = experiments._data(problem, trials, seed)
    residual = experiments._residual(problem, x, y)
    full = residual @ np.linalg.pinv(x)
    u, strengths, _ = np.linalg.svd(full @ x, full_matrices=False)
    largest = problem.max_rank
    losses = np.stack(
        [np.sum((residual - u[..., :k] @ (u[..., :k].mT @ full) @ x) ** 2, axis=(1, 2)) for k in range(largest + 1)],
        axis=1,
    )
    mu = penalty * problem.noise_std**2 * (problem.dy + min(problem.n, problem.dx))
    found = np.argmin(losses + mu * np.arange(largest + 1), axis=1).astype(float)
    context = {"strengths": strengths[:, :largest], "losses": losses, "mu": np.asarray(mu)}
    return Sample(found, context, tolerance=np.zeros(trials), scale=np.ones(trials))


@register_experiment("noise-selected", bounded=True)
def noise_selected(size: MatrixSize, trials: int, seed: int) -> Sample:
    """Whether the largest squared singular value of iid N(0, 1) exceeds 2 (rows + columns)."""
    return Sample(_exceeds(size.rows, size.columns, trials, seed, 2.0 * (size.rows + size.columns))[:, None])


@register_experiment("noise-selected-gain", bounded=True)
def noise_selected_gain(size: MatrixSize, trials: int, seed: int) -> Sample:
    """The same at twice the size, less that at the size, independent draws; context: the latter."""
    total = size.rows + size.columns
    small = _exceeds(size.rows, size.columns, trials, seed, 2.0 * total)
    large = _exceeds(2 * size.rows, 2 * size.columns, trials, seed + 1, 4.0 * total)
    return Sample((large - small)[:, None], {"fft": small})


@register_experiment("noise-above-a-quantile", bounded=True)
def noise_above_a_quantile(size: MatrixSize, trials: int, seed: int, *, quantile: float) -> Sample:
    """Whether the largest squared singular value of iid N(0, 1), centred and scaled, exceeds `quantile`.

    Centre (sqrt m + sqrt p)^2 and scale (sqrt m + sqrt p) (1/sqrt m + 1/sqrt p)^{1/3} for m x p.
    """
    m, p = np.sqrt(size.rows), np.sqrt(size.columns)
    threshold = (m + p) ** 2 + quantile * (m + p) * (1 / m + 1 / p) ** (1 / 3)
    return Sample(_exceeds(size.rows, size.columns, trials, seed, float(threshold))[:, None])


#: How many lengths of the edge, on which the leading eigenvector decays like exp(-(2/3) x^{3/2}), are looked at.
_LENGTHS = 8.0


def _exceeds(
    rows: int, columns: int, trials: int, seed: int, threshold: float, lengths: float = _LENGTHS
) -> np.ndarray:
    """Whether the largest squared singular value does: by the bidiagonal form, entries of which are chi, and inertia.

    By Sylvester's law B B^T - t I = L D L^T has a D of negative entries alone iff no eigenvalue exceeds t. For t at the
    edge or above, the leading rows decide: at most `lengths` (1/sqrt m + 1/sqrt p)^{-2/3} of them, and ten, are drawn.
    """
    less, more = sorted((rows, columns))
    seen = min(less, 10 + int(lengths * (less**-0.5 + more**-0.5) ** (-2 / 3)))
    rng = np.random.default_rng(seed)
    diagonal = rng.chisquare(more, trials)
    pivot = diagonal - threshold
    exceeds = pivot > 0
    for i in range(1, seen):
        # B lower bidiagonal: (B B^T)_ii = a_i^2 + b_{i-1}^2, (B B^T)_{i,i-1} = b_{i-1} a_{i-1}.
        below, above = rng.chisquare(less - i, trials), diagonal
        diagonal = rng.chisquare(more - i, trials)
        pivot = diagonal + below - threshold - below * above / pivot
        exceeds |= pivot > 0
    return exceeds.astype(float)
