"""Products of square layers W_L ... W_1 with an adapter of rank r on each: what maps they reach. Plain NumPy."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment

_EPS = np.finfo(float).eps
#: How far the adapters beside the construction are from it, relative to their norm.
_BESIDE = 1e-2


def _product(layers: list[np.ndarray]) -> np.ndarray:
    """W_L ... W_1 of layers in the order W_1, ..., W_L."""
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    return product


def _adapters(rng: np.random.Generator, trials: int, depth: int, size: int, rank: int) -> list[np.ndarray]:
    factors = rng.standard_normal((2, depth, trials, size, rank)) / np.sqrt(size)
    return [b @ a.mT for b, a in zip(*factors, strict=True)]


def _layers(size: MatrixSize, trials: int, seed: int, layers: float) -> tuple[np.random.Generator, list[np.ndarray]]:
    """Layers I + G / (4 sqrt D), G iid N(0, 1), which are far from singular."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((int(layers), trials, size.rows, size.columns))
    return rng, list(np.eye(size.rows) + noise / (4 * np.sqrt(size.rows)))


@register_experiment("rank-of-layers", pathwise=True)
def rank_of_layers(size: MatrixSize, trials: int, seed: int, *, rank: float, layers: float) -> Sample:
    """rank( prod (W_l + D_l) - prod W_l ), D_l of rank r."""
    rng, weights = _layers(size, trials, seed, layers)
    adapters = _adapters(rng, trials, len(weights), size.rows, int(rank))
    moved = _product([w + d for w, d in zip(weights, adapters, strict=True)]) - _product(weights)
    context = {"rank": np.asarray(int(rank)), "layers": np.asarray(int(layers))}
    found = np.linalg.matrix_rank(moved, tol=1e-9 * np.linalg.norm(moved, axis=(1, 2)).min()).astype(float)
    return Sample(found, context, tolerance=np.zeros(trials), scale=np.ones(trials))


def _towards(size: MatrixSize, trials: int, seed: int, rank: float, layers: float, beside: float) -> Sample:
    """||prod (W_l + D_l) - W||_2, W random, D_l such that the product is W_L ... W_1 + E_1 + ... + E_l up to layer l.

    E_l has the singular values r (l - 1) + 1 .. r l of E = W - prod W_l, and with P_l = (W_l + D_l) ... (W_1 + D_1),

        D_l = (W_L ... W_{l+1})^{-1} E_l P_{l-1}^{-1}.

    `beside`: relative size of random matrices of rank r that are added to B_l and A_l.
    """
    rng, weights = _layers(size, trials, seed, layers)
    r, depth = int(rank), len(weights)
    target = rng.standard_normal((trials, size.rows, size.columns))
    left = target - _product(weights)
    u, s, vt = np.linalg.svd(left)
    before, adapted, condition = np.eye(size.rows), [], np.ones(trials)
    for i, weight in enumerate(weights):
        kept = slice(r * i, min(r * (i + 1), len(s[0])))
        after = _product([np.eye(size.rows), *weights[i + 1 :]])
        b = np.linalg.solve(after, u[..., kept] * s[:, None, kept])
        a = np.linalg.solve(np.swapaxes(np.broadcast_to(before, weight.shape), 1, 2), vt[:, kept].mT).mT
        b = b + beside * np.linalg.norm(b, axis=(1, 2), keepdims=True) * rng.standard_normal(b.shape) / np.sqrt(
            b.shape[1]
        )
        a = a + beside * np.linalg.norm(a, axis=(1, 2), keepdims=True) * rng.standard_normal(a.shape) / np.sqrt(
            a.shape[2]
        )
        condition *= np.linalg.cond(after) * np.linalg.cond(np.broadcast_to(before, weight.shape))
        adapted.append(weight + b @ a)
        before = _product(adapted)
    error = np.linalg.norm(before - target, ord=2, axis=(1, 2))
    context = {"values": s, "rank": np.asarray(r), "layers": np.asarray(depth)}
    scale = np.linalg.norm(target, ord=2, axis=(1, 2))
    return Sample(error, context, tolerance=_EPS * size.rows * depth * condition, scale=scale)


@register_experiment("layers-to-target", pathwise=True)
def layers_to_target(size: MatrixSize, trials: int, seed: int, *, rank: float, layers: float) -> Sample:
    """The spectral error of a product of adapted layers whose adapters are made for a target."""
    return _towards(size, trials, seed, rank, layers, 0.0)


@register_experiment("layers-beside-target", pathwise=True)
def layers_beside_target(size: MatrixSize, trials: int, seed: int, *, rank: float, layers: float) -> Sample:
    """The same for adapters of rank r that differ from these by a hundredth."""
    return _towards(size, trials, seed, rank, layers, _BESIDE)
