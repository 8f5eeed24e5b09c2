"""Factors with limited norms, ||A||_F <= a and ||B||_F <= b: the maps that they make, and what is best among these.

In plain NumPy: random factors, the least product of norms over all factors of a map, the largest inner product with
noise by alternation, and the nearest map by projected descent.
"""

import numpy as np

from linreg_lora.claims.library.training import Factors, _full_updates
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Rank

_EPS = np.finfo(float).eps
_ALTERNATIONS, _STEPS, _STRETCH, _ROOM = 600, 4000, 200, 100.0
#: A singular value below this share of the largest is none.
_NONE = 1e-6


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrices, axis=(1, 2))[:, None, None]


def _random(size: MatrixSize, trials: int, seed: int, rank: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((trials, size.rows, rank)), rng.standard_normal((trials, rank, size.columns)), rng


@register_experiment("nuclear-norm-of-products", pathwise=True)
def nuclear_norm_of_products(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||B A||_* of random factors, half of them aligned as B^T B = A A^T asks; context: their norms, and the rank."""
    b, a, rng = _random(size, trials, seed, int(rank))
    half = trials // 2
    turn = np.linalg.qr(rng.standard_normal((half, size.columns, int(rank)))).Q.mT
    values, basis = np.linalg.eigh(b[:half].mT @ b[:half])
    a[:half] = (basis * np.sqrt(np.maximum(values, 0))[:, None, :]) @ basis.mT @ turn
    context = {"a": _norms(a)[:, 0, 0], "b": _norms(b)[:, 0, 0], "rank": np.asarray(int(rank))}
    nuclear = np.sum(np.linalg.svd(b @ a, compute_uv=False), axis=1)
    return Sample(nuclear, context, tolerance=np.full(trials, 1e3 * _EPS), scale=context["a"] * context["b"])


@register_experiment("least-product-of-norms", pathwise=True)
def least_product_of_norms(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The least ||B M||_F ||M^-1 A||_F over M, for random factors of one map D = B A; context: D.

    P = M M^T solves P (B^T B) P = A A^T: the gradient of Tr(B^T B P) + Tr(A A^T P^-1) vanishes.
    """
    b, a, _ = _random(size, trials, seed, int(rank))
    x, y = b.mT @ b, a @ a.mT
    values, basis = np.linalg.eigh(x)
    root, inverse = ((basis * values[:, None, :] ** power) @ basis.mT for power in (0.5, -0.5))
    inner, turn = np.linalg.eigh(root @ y @ root)
    p = inverse @ ((turn * np.sqrt(inner)[:, None, :]) @ turn.mT) @ inverse
    m = np.linalg.cholesky(p)
    least = _norms(b @ m)[:, 0, 0] * _norms(np.linalg.solve(m, a))[:, 0, 0]
    rounding = 1e3 * _EPS * np.linalg.cond(x) * np.linalg.cond(y)
    return Sample(least, {"product": b @ a, "rank": np.asarray(int(rank))}, tolerance=rounding, scale=least)


@register_experiment("largest-inner-product", pathwise=True)
def largest_inner_product(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """max <B A, N> over factors of rank r with ||A||_F = 1, ||B||_F = 2, N iid N(0, 1), by alternation; context: N."""
    b, a, rng = _random(size, trials, seed, int(rank))
    noise = rng.standard_normal((trials, size.rows, size.columns))
    values = np.zeros((2, trials))
    for k in range(_ALTERNATIONS):
        b = noise @ a.mT
        b *= 2 / _norms(b)
        a = b.mT @ noise
        a /= _norms(a)
        if k in (_ALTERNATIONS // 2 - 1, _ALTERNATIONS - 1):
            values[k // (_ALTERNATIONS // 2)] = np.sum((b @ a) * noise, axis=(1, 2))
    left = _ROOM * np.abs(values[1] - values[0]) / values[1] + 1e3 * _EPS
    return Sample(values[1], {"noise": noise, "rank": np.asarray(int(rank))}, tolerance=left, scale=values[1])


def _nearest(case: Factors, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """B A nearest to F within the balls, a = 2 b, by projected descent; its error; context: F, and a b.

    a b is what a level between two of the first r + 2 values of F leaves of these, so that none is at a threshold.
    """
    rng, r, draws = np.random.default_rng(seed), case.rank, np.arange(trials)
    left, f, right = _full_updates(case, trials, rng)
    kept, place = rng.integers(1, r + 2, trials), rng.uniform(0.3, 0.7, trials)
    level = f[draws, kept - 1] ** place * f[draws, kept] ** (1 - place)
    full, budget = (left * f[:, None, :]) @ right.mT, np.sum(np.maximum(f - level[:, None], 0), axis=1)
    wide, narrow = np.sqrt(2 * budget)[:, None, None], np.sqrt(budget / 2)[:, None, None]
    b, a = rng.standard_normal((trials, case.dy, r)), rng.standard_normal((trials, r, case.dx))
    step = 0.5 / (wide**2 + f[:, :1, None])
    before = now = np.zeros_like(full)
    for k in range(_STEPS):
        missed = full - b @ a
        b, a = b + step * missed @ a.mT, a + step * b.mT @ missed
        a *= np.minimum(1, wide / _norms(a))
        b *= np.minimum(1, narrow / _norms(b))
        if k % _STRETCH == _STRETCH - 1:
            before, now = now, b @ a
    error = _ROOM * _norms(now - before)[:, 0, 0] + 1e3 * _EPS * _norms(full)[:, 0, 0]
    return now, error, {"full": full, "budget": budget}


@register_experiment("nearest-in-the-balls", pathwise=True)
def nearest_in_the_balls(case: Factors, trials: int, seed: int) -> Sample:
    """The map B A nearest to F with ||A||_F <= a and ||B||_F <= b, a b between levels of F."""
    found, error, context = _nearest(case, trials, seed)
    size = _norms(context["full"])[:, 0, 0]
    return Sample(found, context, tolerance=error / size, scale=size)


@register_experiment("rank-in-the-balls", pathwise=True)
def rank_in_the_balls(case: Factors, trials: int, seed: int) -> Sample:
    """Its rank."""
    found, error, context = _nearest(case, trials, seed)
    values = np.linalg.svd(found, compute_uv=False)
    rank = np.sum(values > _NONE * values[:, :1], axis=1).astype(float)
    return Sample(rank, context, tolerance=np.where(error < _NONE * values[:, 0], 0.0, 1.0), scale=np.ones(trials))
