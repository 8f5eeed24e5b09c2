"""Products of square layers W_L ... W_1 with an adapter of rank r on each: what maps they reach. Plain NumPy."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.errors import InvalidInput

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
def rank_of_layers(size: MatrixSize, trials: int, seed: int, *, rank: Rank, layers: Count) -> Sample:
    """rank( prod (W_l + D_l) - prod W_l ), D_l of rank r."""
    rng, weights = _layers(size, trials, seed, layers)
    adapters = _adapters(rng, trials, len(weights), size.rows, int(rank))
    moved = _product([w + d for w, d in zip(weights, adapters, strict=True)]) - _product(weights)
    context = {"rank": np.asarray(int(rank)), "layers": np.asarray(int(layers))}
    found = np.linalg.matrix_rank(moved, tol=1e-9 * np.linalg.norm(moved, axis=(1, 2)).min()).astype(float)
    return Sample(found, context, tolerance=np.zeros(trials), scale=np.ones(trials))


def _reaching(
    rng: np.random.Generator, weights: list[np.ndarray], left: np.ndarray, r: int, beside: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """The product of layers whose adapters D_l are made such that it is W_L ... W_1 + E_1 + ... + E_l up to layer l.

    E_l has the singular values r (l - 1) + 1 .. r l of E = `left`, and with P_l = (W_l + D_l) ... (W_1 + D_1),

        D_l = (W_L ... W_{l+1})^{-1} E_l P_{l-1}^{-1}.

    `beside`: relative size of random matrices of rank r that are added to B_l and A_l. And the condition of it all.
    """
    u, s, vt = np.linalg.svd(left)
    before, adapted, condition = np.eye(left.shape[1]), [], np.ones(len(left))
    for i, weight in enumerate(weights):
        kept = slice(r * i, min(r * (i + 1), len(s[0])))
        after = _product([np.eye(left.shape[1]), *weights[i + 1 :]])
        b = np.linalg.solve(after, u[..., kept] * s[:, None, kept])
        a = np.linalg.solve(np.swapaxes(np.broadcast_to(before, weight.shape), 1, 2), vt[:, kept].mT).mT
        b = b + beside * np.linalg.norm(b, axis=(1, 2), keepdims=True) * rng.standard_normal(b.shape) / np.sqrt(
            b.shape[1]
        )
        a = a + beside * np.linalg.norm(a, axis=(1, 2), keepdims=True) * rng.standard_normal(a.shape) / np.sqrt(
            a.shape[2]
        )
        with np.errstate(over="ignore"):
            condition *= np.linalg.cond(after) * np.linalg.cond(np.broadcast_to(before, weight.shape))
        adapted.append(weight + b @ a)
        before = _product(adapted)
    return before, condition


def _towards(
    size: MatrixSize, trials: int, seed: int, rank: float, layers: float, beside: float, last: int | None = None
) -> Sample:
    """||prod (W_l + D_l) - W||_2, W random, D_l made for it; `last`: on so many layers, the last ones, alone."""
    rng, weights = _layers(size, trials, seed, layers)
    r, depth = int(rank), len(weights)
    target = rng.standard_normal((trials, size.rows, size.columns))
    left = target - _product(weights)
    if last is not None:
        weights = [_product(weights[: depth - last + 1]), *weights[depth - last + 1 :]]
    found, condition = _reaching(rng, weights, left, r, beside)
    error = np.linalg.norm(found - target, ord=2, axis=(1, 2))
    values = np.linalg.svd(left, compute_uv=False)
    context = {"values": values, "rank": np.asarray(r), "layers": np.asarray(depth)}
    scale = np.linalg.norm(target, ord=2, axis=(1, 2))
    return Sample(error, context, tolerance=_EPS * size.rows * depth * condition, scale=scale)


@register_experiment("layers-to-target", pathwise=True)
def layers_to_target(size: MatrixSize, trials: int, seed: int, *, rank: Rank, layers: Count) -> Sample:
    """The spectral error of a product of adapted layers whose adapters are made for a target."""
    return _towards(size, trials, seed, rank, layers, 0.0)


@register_experiment("layers-beside-target", pathwise=True)
def layers_beside_target(size: MatrixSize, trials: int, seed: int, *, rank: Rank, layers: Count) -> Sample:
    """The same for adapters of rank r that differ from these by a hundredth."""
    return _towards(size, trials, seed, rank, layers, _BESIDE)


@register_experiment("last-layer-to-target", pathwise=True)
def last_layer_to_target(size: MatrixSize, trials: int, seed: int, *, rank: Rank, layers: Count) -> Sample:
    """The spectral error where the last layer alone is adapted, by the best adapter for a target.

    Layers before the last are invertible: an adapter D of the last one is D P on their inputs, of any rank-r value.
    """
    return _towards(size, trials, seed, rank, layers, 0.0, last=1)


@register_experiment("bottleneck-to-target", pathwise=True)
def bottleneck_to_target(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The spectral error of two layers with `rank` hidden units, each with an adapter of that rank, made for a target.

    The adapters turn the layers into the factors of the target's best approximation, which no product beats.
    """
    rng, w = np.random.default_rng(seed), int(rank)
    first, second = rng.standard_normal((trials, w, size.columns)), rng.standard_normal((trials, size.rows, w))
    target = rng.standard_normal((trials, size.rows, size.columns))
    u, s, vt = np.linalg.svd(target, full_matrices=False)
    adapters = u[:, :, :w] * s[:, None, :w] - second, vt[:, :w] - first
    error = np.linalg.norm((second + adapters[0]) @ (first + adapters[1]) - target, ord=2, axis=(1, 2))
    left = np.linalg.svd(target - second @ first, compute_uv=False)
    context = {"values": left, "target": s, "rank": np.asarray(w), "layers": np.asarray(2)}
    return Sample(error, context, tolerance=np.full(trials, 1e3 * _EPS), scale=s[:, 0])


@register_experiment("layers-on-data", pathwise=True)
def layers_on_data(size: MatrixSize, trials: int, seed: int, *, rank: Rank, layers: Count) -> Sample:
    """||Y - prod (W_l + D_l) X||_F^2 for 2 D samples, D_l made for the best map of rank r L beyond the layers.

    Context: what is left behind the first r L singular values of the fitted residual, and of full fine-tuning.
    """
    rng, weights = _layers(size, trials, seed, layers)
    r, depth = int(rank), len(weights)
    if r * depth > size.rows:
        raise InvalidInput("layers", f"at most {size.rows // r} of rank {r} on {size.rows} dimensions", depth)
    x, y = (rng.standard_normal((trials, size.rows, 2 * size.rows)) for _ in range(2))
    residual = y - _product(weights) @ x
    fitted = residual @ np.linalg.pinv(x)
    u, s, _ = np.linalg.svd(fitted @ x, full_matrices=False)
    wanted = u[:, :, : r * depth] @ (u[:, :, : r * depth].mT @ fitted)
    found, condition = _reaching(rng, weights, wanted, r)
    loss = np.sum((y - found @ x) ** 2, axis=(1, 2))
    energy = np.sum(residual**2, axis=(1, 2))
    tails = energy[:, None] - np.cumsum(s**2, axis=1)
    context = {"tails": tails, "rank": np.asarray(r), "layers": np.asarray(depth)}
    return Sample(loss, context, tolerance=1e2 * _EPS * size.rows * depth * condition, scale=energy)
