"""Claims about matrices alone: truncation of a perturbed matrix, Gaussian norms, and the geometry of rank r.

Experiments and predictions that are checked in plain NumPy; no problem, no data. Draws of truncation claims are
adversarial: they include the perturbations that make a truncation keep the wrong directions.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora.claims.registry import (
    MatrixSize,
    Sample,
    register_experiment,
    register_predicate,
    register_prediction,
)

_EPS = np.finfo(float).eps


@register_predicate("matrix-pairs")
def matrix_pairs(rows: int, columns: int) -> bool:
    """Pairs T + N, at least 3 x 3 so that a truncation has something to keep and something to lose."""
    return min(rows, columns) >= 3


@register_predicate("gaussian-matrices")
def gaussian_matrices(rows: int, columns: int) -> bool:
    """Matrices with iid N(0, 1) entries, at least 2 x 2."""
    return min(rows, columns) >= 2


@register_predicate("wide-pairs")
def wide_pairs(rows: int, columns: int) -> bool:
    """Pairs T + N, at least 6 x 6 so that three kept directions can each be swapped for a lost one."""
    return min(rows, columns) >= 6


@register_predicate("square-matrices")
def square_matrices(rows: int, columns: int) -> bool:
    """Square matrices, at least 2 x 2, for which factors in the wrong order still fit."""
    return rows == columns >= 2


# -- truncation ---------------------------------------------------------------------------------------------------


@register_experiment("truncation-error", pathwise=True)
def truncation_error(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
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
def truncation_error_squared(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """||trunc_r(T + N) - T||_2^2 where N swaps kept directions for lost ones."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=False)
    statistic = np.linalg.norm(_truncation_errors(t, n, r), 2, axis=(-2, -1)) ** 2
    return _truncation_sample(t, n, r, statistic, 2)


@register_experiment("truncation-error-frobenius", pathwise=True)
def truncation_error_frobenius(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """||trunc_r(T + N) - T||_F where N swaps kept directions for lost ones."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=False)
    return _truncation_sample(t, n, r, np.linalg.norm(_truncation_errors(t, n, r), axis=(-2, -1)), 1)


@register_experiment("truncation-error-of-low-rank", pathwise=True)
def truncation_error_of_low_rank(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """||trunc_r(T + N) - T||_F^2 where rank(T) = r, and N swaps every direction of T for another."""
    r = int(rank)
    t, n = _swapped(size, trials, seed, r, low_rank=True)
    return _truncation_sample(t, n, r, np.linalg.norm(_truncation_errors(t, n, r), axis=(-2, -1)) ** 2, 2)


@register_prediction("truncation.twice-noise")
def truncation_twice_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    return sample.context["next_singular_value"] + 2 * sample.context["noise_norm"]


@register_prediction("truncation.once-noise")
def truncation_once_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    return sample.context["next_singular_value"] + sample.context["noise_norm"]


def _square(size: MatrixSize, sample: Sample, noise: float) -> np.ndarray:
    return noise * sample.context["noise_norm"] ** 2 + 2 * sample.context["next_singular_value"] ** 2


@register_prediction("truncation-squared.corrected")
def truncation_squared_corrected(size: MatrixSize, sample: Sample) -> np.ndarray:
    """8 ||N||^2 + 2 s_{r+1}^2, the square of Lemma 2 by (a + b)^2 <= 2 a^2 + 2 b^2."""
    return _square(size, sample, 8.0)


@register_prediction("truncation-squared.as-printed")
def truncation_squared_as_printed(size: MatrixSize, sample: Sample) -> np.ndarray:
    return _square(size, sample, 4.0)


@register_prediction("truncation-squared.less-noise")
def truncation_squared_less_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    return _square(size, sample, 7.9)


@register_prediction("truncation-frobenius.tail-and-noise")
def truncation_frobenius(size: MatrixSize, sample: Sample) -> np.ndarray:
    """tail_r(T) + 2 sqrt(2 r) ||N||_2."""
    return sample.context["tail"] + 2 * np.sqrt(2 * sample.context["rank"]) * sample.context["noise_norm"]


@register_prediction("truncation-frobenius.rank-r-difference")
def truncation_frobenius_rank_r(size: MatrixSize, sample: Sample) -> np.ndarray:
    return sample.context["tail"] + 2 * np.sqrt(sample.context["rank"]) * sample.context["noise_norm"]


@register_prediction("truncation-frobenius.tail-alone")
def truncation_frobenius_tail(size: MatrixSize, sample: Sample) -> np.ndarray:
    return sample.context["tail"]


@register_prediction("truncation-low-rank.six")
def truncation_low_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    """6 r ||N||_2^2."""
    return 6 * sample.context["rank"] * sample.context["noise_norm"] ** 2


@register_prediction("truncation-low-rank.four")
def truncation_low_rank_four(size: MatrixSize, sample: Sample) -> np.ndarray:
    return 4 * sample.context["rank"] * sample.context["noise_norm"] ** 2


@register_prediction("truncation-low-rank.no-rank")
def truncation_low_rank_without_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    return 6 * sample.context["noise_norm"] ** 2


# -- Gaussian norms -----------------------------------------------------------------------------------------------


@register_experiment("squared-spectral-norm", bounded=True)
def squared_spectral_norm(size: MatrixSize, trials: int, seed: int) -> Sample:
    """||G||_2^2, G iid N(0, 1): sub-exponential, all moments exist."""
    draws = np.random.default_rng(seed).standard_normal((trials, *size))
    gram = draws @ draws.mT if size.rows <= size.columns else draws.mT @ draws
    return Sample(np.linalg.eigvalsh(gram)[:, -1:])


@register_prediction("spectral-norm.sum-of-roots")
def spectral_norm_bound(size: MatrixSize, sample: Sample) -> float:
    """The smaller of the two bounds."""
    return min((np.sqrt(size.rows) + np.sqrt(size.columns)) ** 2 + 1, 5.0 * max(size))


@register_prediction("spectral-norm.no-cross-term")
def spectral_norm_no_cross_term(size: MatrixSize, sample: Sample) -> float:
    return size.rows + size.columns + 1.0


@register_prediction("spectral-norm.single-cross-term")
def spectral_norm_single_cross_term(size: MatrixSize, sample: Sample) -> float:
    return size.rows + size.columns + np.sqrt(size.rows * size.columns) + 1


# -- the geometry of rank r ---------------------------------------------------------------------------------------


def _factors(size: MatrixSize, trials: int, seed: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((trials, size.rows, r)), rng.standard_normal((trials, r, size.columns))


def _rank_of_differential(b: np.ndarray, a: np.ndarray) -> Sample:
    """Rank of (dB, dA) -> dB A + B dA at each pair of factors: whole numbers, with no rounding to allow for."""
    rows, columns = b.shape[1], a.shape[2]
    ranks = [
        np.linalg.matrix_rank(np.hstack([np.kron(np.eye(rows), one_a.T), np.kron(one_b, np.eye(columns))]))
        for one_b, one_a in zip(b, a, strict=True)
    ]
    context = {"rank": np.asarray(b.shape[2])}
    return Sample(np.array(ranks, dtype=float), context, tolerance=np.zeros(len(b)), scale=np.ones(len(b)))


@register_experiment("tangent-dimension", pathwise=True)
def tangent_dimension(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """Rank of the differential of (B, A) -> B A at random factors of rank r."""
    return _rank_of_differential(*_factors(size, trials, seed, int(rank)))


@register_experiment("tangent-dimension-at-the-start", pathwise=True)
def tangent_dimension_at_the_start(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """Rank of the differential of (B, A) -> B A at B = 0 and random A."""
    b, a = _factors(size, trials, seed, int(rank))
    return _rank_of_differential(np.zeros_like(b), a)


@register_prediction("dimension.tangent")
def dimension_tangent(size: MatrixSize, sample: Sample) -> float:
    """r (dx + dy - r), dy x dx being the size."""
    rank = int(sample.context["rank"])
    return float(rank * (sum(size) - rank))


@register_prediction("dimension.parameters")
def dimension_parameters(size: MatrixSize, sample: Sample) -> float:
    return float(sample.context["rank"] * sum(size))


@register_prediction("dimension.one-factor")
def dimension_one_factor(size: MatrixSize, sample: Sample) -> float:
    """r dy: only B moves the product."""
    return float(sample.context["rank"] * size.rows)


@register_prediction("dimension.all")
def dimension_all(size: MatrixSize, sample: Sample) -> float:
    return float(size.rows * size.columns)


@functools.cache
def _gradient() -> Callable[..., Any]:
    """The gradient of the loss with respect to (B, A), for many at once; compiled once for all seeds."""
    import jax
    import jax.numpy as jnp

    def loss(factors, x, residual):
        return jnp.sum((residual - factors[0] @ factors[1] @ x) ** 2) / 2

    return jax.jit(jax.vmap(jax.grad(loss)))


@register_experiment("factor-gradients", pathwise=True)
def factor_gradients(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """Gradients of (1/2) ||R - B A X||_F^2 with respect to B and A by automatic differentiation, side by side."""
    from linreg_lora import runtime

    b, a = _factors(size, trials, seed, int(rank))
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal((trials, size.columns, 2 * size.columns))
    residual = rng.standard_normal((trials, size.rows, 2 * size.columns))

    with runtime.exclusive_device():
        grad_b, grad_a = _gradient()((b, a), x, residual)
    gradients = np.concatenate([np.asarray(grad_b), np.asarray(grad_a).mT], axis=1)
    full = (b @ a @ x - residual) @ x.mT
    size_of_terms = (
        np.linalg.norm(x, axis=(1, 2)) ** 2 * np.linalg.norm(b, axis=(1, 2)) * np.linalg.norm(a, axis=(1, 2))
    )
    scale = size_of_terms * (np.linalg.norm(b, axis=(1, 2)) + np.linalg.norm(a, axis=(1, 2)))
    context = {"b": b, "a": a, "full": full}
    return Sample(gradients, context, tolerance=np.full(trials, 10 * _EPS * x.shape[2]), scale=scale)


@register_prediction("factor-gradients.chain-rule")
def factor_gradients_chain_rule(size: MatrixSize, sample: Sample) -> np.ndarray:
    """G A^T for B and B^T G for A, G the gradient with respect to the product."""
    b, a, full = (sample.context[name] for name in ("b", "a", "full"))
    return np.concatenate([full @ a.mT, full.mT @ b], axis=1)


@register_prediction("factor-gradients.other-order")
def factor_gradients_other_order(size: MatrixSize, sample: Sample) -> np.ndarray:
    """As if the product were transposed: G^T A^T and B^T G^T."""
    b, a, full = (sample.context[name] for name in ("b", "a", "full"))
    return np.concatenate([full.mT @ a.mT, full @ b], axis=1)


@register_prediction("factor-gradients.unhalved-loss")
def factor_gradients_unhalved(size: MatrixSize, sample: Sample) -> np.ndarray:
    return 2 * factor_gradients_chain_rule(size, sample)


# -- the gap left by retraining in a tangent space ----------------------------------------------------------------


@register_experiment("retraining-gap", bounded=True)
def retraining_gap(size: MatrixSize, trials: int, seed: int, *, rank: float) -> Sample:
    """min over phi in T of (1/2) ||e + phi||_F^2, e iid N(0, 1), T the tangent space at a matrix of rank r.

    By least squares on the differential of (B, A) -> B A; a quadratic form in e: all moments exist.
    """
    b, a = (factor[0] for factor in _factors(size, 1, seed, int(rank)))
    differential = np.hstack([np.kron(np.eye(size.rows), a.T), np.kron(b, np.eye(size.columns))])
    basis, values, _ = np.linalg.svd(differential, full_matrices=False)
    basis = basis[:, values > values[0] * _EPS * max(differential.shape)]
    e = np.random.default_rng([seed, 1]).standard_normal((trials, basis.shape[0]))
    left = e - (e @ basis) @ basis.T
    return Sample(np.sum(left**2, axis=1, keepdims=True) / 2, {"rank": np.asarray(int(rank))})


@register_prediction("retraining-gap.schur-complement")
def retraining_gap_schur(size: MatrixSize, sample: Sample) -> float:
    """(dx - r)(dy - r) / 2."""
    rank = int(sample.context["rank"])
    return (size.rows - rank) * (size.columns - rank) / 2


@register_prediction("retraining-gap.parameter-count")
def retraining_gap_parameters(size: MatrixSize, sample: Sample) -> float:
    rank = int(sample.context["rank"])
    return (size.rows * size.columns - rank * sum(size)) / 2


@register_prediction("retraining-gap.none")
def retraining_gap_none(size: MatrixSize, sample: Sample) -> float:
    return 0.0
