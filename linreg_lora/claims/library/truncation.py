"""Truncating a perturbed matrix, and the norm of its perturbation, in plain NumPy.

Draws of truncation claims are adversarial: they include the perturbations that make a truncation keep the wrong
directions.
"""

import numpy as np

from linreg_lora.claims.registry import (
    MatrixSize,
    Sample,
    register_experiment,
    register_predicate,
)
from linreg_lora.claims.settings import Rank

_EPS = np.finfo(float).eps


@register_predicate("matrix-pairs")
def matrix_pairs(rows: int, columns: int) -> bool:
    """Pairs T + N, at least 3 x 3 so that a truncation has something to keep and something to lose."""
    return min(rows, columns) >= 3


@register_predicate("wide-pairs")
def wide_pairs(rows: int, columns: int) -> bool:
    """Pairs T + N, at least 6 x 6 so that three kept directions can each be swapped for a lost one."""
    return min(rows, columns) >= 6


@register_experiment("truncation-error", pathwise=True)
def truncation_error(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||trunc_r(T + N) - T||_2 over adversarial pairs: half random, half with N that swaps directions r and r + 1.

    A swap lowers sigma_r(T) and raises sigma_{r+1}(T) by ||N||_2 each, so that truncation keeps the wrong one.
    """
    rng, r = np.random.default_rng(seed), int(rank)
    rows, columns = size
    k = min(rows, columns)
    u = np.linalg.qr(rng.standard_normal((trials, rows, k)))[0]
    v = np.linalg.qr(rng.standard_normal((trials, columns, k)))[0]
    s = -np.sort(-(rng.exponential(size=(trials, k)) ** rng.uniform(0.5, 2, (trials, 1))), axis=1)
    half = trials // 2
    swap = np.zeros((trials, k))
    gap = s[:half, r - 1] - s[:half, r]
    strength = gap / 2 * rng.uniform(0.9, 1.5, half) + 1e-12
    swap[:half, r - 1], swap[:half, r] = -strength, strength
    t = (u * s[:, None]) @ v.mT
    noise = (u * swap[:, None]) @ v.mT
    noise[half:] = rng.standard_normal((trials - half, rows, columns)) * rng.exponential(size=(trials - half, 1, 1))
    mu, ms, mvt = np.linalg.svd(t + noise, full_matrices=False)
    error = (mu[..., :r] * ms[:, None, :r]) @ mvt[:, :r] - t
    size_of_noise = np.linalg.norm(noise, 2, axis=(-2, -1))
    scale = s[:, 0] + size_of_noise
    return Sample(
        np.linalg.norm(error, 2, axis=(-2, -1)),
        {"next_singular_value": s[:, r], "noise_norm": size_of_noise},
        tolerance=np.full(trials, 10 * _EPS * (rows + columns)),
        scale=scale,
    )


def _swapped(size: MatrixSize, trials: int, seed: int, r: int, *, low_rank: bool) -> tuple[np.ndarray, np.ndarray]:
    """T and N where N lowers each of the r kept singular values, and raises r lost ones past them, by ||N||_2.

    The lost singular values of T are 0 where `low_rank`, otherwise between 0 and twice ||N||_2.
    """
    rng = np.random.default_rng(seed)
    k = min(size)
    u = np.linalg.qr(rng.standard_normal((trials, size.rows, k)))[0]
    v = np.linalg.qr(rng.standard_normal((trials, size.columns, k)))[0]
    strength = rng.exponential(size=(trials, 1))
    lost = np.zeros((trials, 1)) if low_rank else 2 * strength * rng.integers(0, 2, (trials, 1))
    t, n = np.zeros((trials, k)), np.zeros((trials, k))
    t[:, :r] = lost + 2 * strength * (1 - 1e-6 * rng.uniform(0.1, 1, (trials, r)))
    t[:, r : 2 * r] = lost
    n[:, :r], n[:, r : 2 * r] = -strength, strength
    return (u * t[:, None]) @ v.mT, (u * n[:, None]) @ v.mT


def _truncation_errors(t: np.ndarray, n: np.ndarray, r: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(t + n, full_matrices=False)
    return (u[..., :r] * s[..., None, :r]) @ vt[..., :r, :] - t


def _truncation_sample(t: np.ndarray, n: np.ndarray, r: int, statistic: np.ndarray, power: int) -> Sample:
    """A statistic of ||trunc_r(T + N) - T|| to the given power, with what bounds may use."""
    values = np.linalg.svd(t, compute_uv=False)
    noise = np.linalg.norm(n, 2, axis=(-2, -1))
    tail = np.sqrt(np.sum(values[:, r:] ** 2, axis=1))
    context = {"next_singular_value": values[:, r], "noise_norm": noise, "tail": tail, "rank": np.asarray(r)}
    tolerance = np.full(len(t), 10 * _EPS * sum(t.shape[1:]) * t.shape[1])
    return Sample(statistic, context, tolerance=tolerance, scale=(values[:, 0] + noise) ** power)


@register_experiment("truncation-error-squared", pathwise=True)
def truncation_error_squared(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||trunc_r(T + N) - T||_2^2 where N swaps kept directions for lost ones."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=False)
    statistic = np.linalg.norm(_truncation_errors(t, n, r), 2, axis=(-2, -1)) ** 2
    return _truncation_sample(t, n, r, statistic, 2)


@register_experiment("truncation-error-frobenius", pathwise=True)
def truncation_error_frobenius(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||trunc_r(T + N) - T||_F where N swaps kept directions for lost ones."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=False)
    return _truncation_sample(t, n, r, np.linalg.norm(_truncation_errors(t, n, r), axis=(-2, -1)), 1)


@register_experiment("truncation-error-of-low-rank", pathwise=True)
def truncation_error_of_low_rank(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||trunc_r(T + N) - T||_F^2 where rank(T) = r, and N swaps every direction of T for another."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=True)
    return _truncation_sample(t, n, r, np.linalg.norm(_truncation_errors(t, n, r), axis=(-2, -1)) ** 2, 2)


# -- Gaussian norms -----------------------------------------------------------------------------------------------


@register_predicate("gaussian-matrices")
def gaussian_matrices(rows: int, columns: int) -> bool:
    """Matrices with iid N(0, 1) entries, at least 2 x 2."""
    return min(rows, columns) >= 2


@register_experiment("squared-spectral-norm", bounded=True)
def squared_spectral_norm(size: MatrixSize, trials: int, seed: int) -> Sample:
    """||G||_2^2, G iid N(0, 1): sub-exponential, all moments exist."""
    draws = np.random.default_rng(seed).standard_normal((trials, *size))
    gram = draws @ draws.mT if size.rows <= size.columns else draws.mT @ draws
    return Sample(np.linalg.eigvalsh(gram)[:, -1:])
