"""When the learning curves of two ranks part, and what vectors of scales on frozen factors leave. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.training import Factors, Start, _full_updates, _steps
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Rank

_EPS = np.finfo(float).eps
#: Least-squares turns of VeRA's two vectors, and random starts of which the best counts.
_TURNS, _STARTS = 60, 4


@register_experiment("ranks-part", pathwise=True)
def ranks_part(case: Factors, trials: int, seed: int, *, start: Start) -> Sample:
    """||F - D_r(t)||^2 - ||F - D_{r+1}(t)||^2 over f_{r+1}^2, by flows of both ranks from d(0) = `start` along modes.

    Times are around the rise of mode r + 1; context: the times, and f of the modes 1 and r + 1.
    """
    rng, g, r = np.random.default_rng(seed), case.scaling, case.rank
    left, f, right = _full_updates(case, trials, rng)
    full, rising = (left * f[:, None, :]) @ right.mT, f[:, r]
    times = np.log(rising / start) / (2 * g * rising) * rng.uniform(0.6, 1.4, trials)

    def losses(rank: int, count: int) -> np.ndarray:
        b, a = np.sqrt(start / g) * left[:, :, :rank], np.sqrt(start / g) * right[:, :, :rank].mT
        ends = list(_steps(full, b, a, g, times, count))[-1]
        return np.sum((full - g * np.matmul(*ends)) ** 2, axis=(1, 2)) / rising**2

    fine, coarse = (losses(r, count) - losses(r + 1, count) for count in (400, 200))
    context = {"times": times, "rising": rising, "first": f[:, 0], "start": np.asarray(start)}
    rounding = 1e3 * _EPS * np.sum(f**2, axis=1) / rising**2
    return Sample(fine, context, tolerance=np.abs(fine - coarse) + rounding, scale=np.ones(trials))


def _left_by_vectors(size: MatrixSize, trials: int, seed: int, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """min ||Delta - diag(b) B diag(d) A||_F^2 over b and d by turns, Delta = u v^T of norm one; what A misses; and the
    same minimum over d with b = 1."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((trials, size.rows)), rng.standard_normal((trials, size.columns))
    u, v = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (u, v))
    b, a = rng.standard_normal((trials, size.rows, rank)), rng.standard_normal((trials, rank, size.columns))
    shift = u[:, :, None] * v[:, None, :]
    least = np.full(trials, np.inf)
    for _ in range(_STARTS):
        d, scaled = rng.standard_normal((trials, rank)), b
        for _ in range(_TURNS):
            rows = (b * d[:, None, :]) @ a
            scales = np.sum(rows * shift, axis=2) / np.sum(rows**2, axis=2)
            scaled = scales[:, :, None] * b
            normal = (scaled.mT @ scaled) * (a @ a.mT)
            seen = np.einsum("tik,tij,tkj->tk", scaled, shift, a)
            d = np.linalg.solve(normal, seen[:, :, None])[:, :, 0]
        found = (scaled * d[:, None, :]) @ a
        least = np.minimum(least, np.sum((shift - found) ** 2, axis=(1, 2)))
    basis = np.linalg.qr(a.mT)[0]
    missed = 1 - np.sum(np.einsum("tj,tjk->tk", v, basis) ** 2, axis=1)
    parts = (b.mT[:, :, :, None] * a[:, :, None, :]).reshape(trials, rank, -1)
    inner = 1 - np.sum((shift.reshape(trials, 1, -1) @ np.linalg.qr(parts.mT)[0]) ** 2, axis=(1, 2))
    return least, missed, inner


@register_experiment("vectors-leave", bounded=True)
def vectors_leave(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The share that VeRA leaves of a shift of rank one, without noise, B and A random."""
    least, _, _ = _left_by_vectors(size, trials, seed, int(rank))
    return Sample(least[:, None], {"rank": np.asarray(int(rank))})


@register_experiment("vectors-leave-beside-a", pathwise=True)
def vectors_leave_beside_a(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The same on every draw; context: what a frozen A of that rank misses, and what the inner vector alone leaves."""
    least, missed, inner = _left_by_vectors(size, trials, seed, int(rank))
    context = {"missed": missed, "inner": inner, "rank": np.asarray(int(rank))}
    return Sample(least, context, tolerance=np.full(trials, 1e-9), scale=np.ones(trials))
