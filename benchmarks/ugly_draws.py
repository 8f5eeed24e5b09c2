"""What `ugly_problems` draws: whole data sets, tilted ones, and means given LoRA's directions."""

import math
from typing import Any

import numpy as np
from ugly_laws import Law

Sample = tuple[np.ndarray, np.ndarray]
"""Quantities (FFT, LoRA at each rank) and control variates of known mean zero, a row a draw."""


def distances(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """h_i, the length of what of row i is orthogonal to the other rows, and the dual rows: that part over h_i^2."""
    q, t = np.linalg.qr(block.mT)
    dual = (q @ np.linalg.inv(t).mT).mT
    return 1 / np.linalg.norm(dual, axis=2), dual


def tilted(law: Law, inputs: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`inputs` changed so that half of the draws are nearly singular, and the weights that undo it.

    For each of the splits let W have the strongest j inputs as rows, or the samples of them if n < j. The part of row i
    that is orthogonal to the other rows has a length h_i ~ chi_v, v = |n - j| + 1, independent of all else. Half of the
    draws get, for a random split and a random i, instead a length of density

        g(h) = 1/2 / (h log(1/a)) on (a, 1) + 1/pi b / (h^2 + b^2),   a = length/10,  b = length j^{1/2}.

    With f the density of chi_v and means over splits and rows, weights are 1/(1/2 + 1/2 mean(g(h_i) / f(h_i))) <= 2.
    """
    inputs, which = inputs.copy(), rng.integers(2 * len(law.splits), size=len(inputs))
    blocks = [inputs[:, :j] if j <= law.n else inputs[:, :j].mT for _, j, _ in law.splits]
    for number, (_, j, length) in enumerate(law.splits):
        chosen = np.flatnonzero(which == number)
        h, dual = distances(blocks[number][chosen])
        row, many = rng.integers(h.shape[1], size=len(chosen)), np.arange(len(chosen))
        first, second = rng.random((2, len(chosen)))
        new = np.where(first < 0.5, (length / 10) ** second, length * np.sqrt(j) * np.tan(np.pi / 2 * second))
        old = h[many, row]
        blocks[number][chosen, row] += ((new - old) * old)[:, None] * dual[many, row]
    ratio = np.zeros(len(inputs))
    for block, (_, j, length) in zip(blocks, law.splits, strict=True):
        h, v = distances(block)[0], abs(law.n - j) + 1
        log_f = (v - 1) * np.log(h) - h**2 / 2 - (v / 2 - 1) * np.log(2) - math.lgamma(v / 2)
        a, b = length / 10, length * np.sqrt(j)
        g = np.where((h > a) & (h < 1), 0.5 / (h * np.log(1 / a)), 0) + b / np.pi / (h**2 + b**2)
        ratio += np.mean(np.exp(np.minimum(np.log(g) - log_f, 700)), axis=1) / len(blocks)
    return inputs, 1 / (0.5 + 0.5 * ratio)


def whole(law: Law, ranks: list[int], forgetting: bool, weigh: bool, rng: np.random.Generator, count: int) -> Sample:
    """Whole data sets, weighted where `tilted`. FFT is averaged over the noise given X.

    The error J = (D - Delta) Sigma^{1/2} is a bias plus E M: E[||J||^2 | X] = ||bias||^2 + Tr(Sigma_eps) ||M||^2.
    No Gram matrix of X is formed. For eta > 0 or n >= dx, [Z^T; eta^{1/2} Sigma^{-1/2}] = [Q1; Q2] T gives

        B = R Q1,   M = Q1 T^{-T},   bias = -Delta Q2 Q2^T Sigma^{1/2};

    for eta = 0 and n < dx, X = Q T gives B = R, M = T^{-1} Q^T Sigma^{1/2}, bias = -Delta (I - Q Q^T) Sigma^{1/2}.
    """
    inputs = rng.standard_normal((count, law.k, law.n))
    noise = law.noise_root @ rng.standard_normal((count, law.dy, law.n))
    weight = np.ones(count)
    if weigh:
        inputs, weight = tilted(law, inputs, rng)
    signal = law.seen @ inputs
    bias = np.zeros((count, law.dy, law.k))
    if law.ridge > 0 or law.n >= law.k:
        stacked = inputs.mT
        if law.ridge > 0:
            floor = np.broadcast_to(np.diag(np.sqrt(law.ridge) / law.root), (count, law.k, law.k))
            stacked = np.concatenate([stacked, floor], axis=1)
        q, t = np.linalg.qr(stacked)
        samples = q[:, : law.n]
        whitened, spread = (signal + noise) @ samples, samples @ np.linalg.inv(t).mT
        if law.ridge > 0:
            bias = -(law.delta @ q[:, law.n :]) @ (q[:, law.n :].mT * law.root)
    else:
        q, t = np.linalg.qr(law.root[:, None] * inputs)
        whitened, spread = signal + noise, np.linalg.inv(t) @ (q.mT * law.root)
        bias = ((law.delta @ q) @ q.mT - law.delta) * law.root
    error = bias + noise @ spread
    basis = leading(whitened, max(ranks, default=1))
    averaged = squares(bias) + law.noise_trace * squares(spread)
    columns = [averaged, *truncated(basis, error, law.seen, ranks)]
    controls = [squares(error) - averaged, squares(noise) - law.n * law.noise_trace, np.sum(signal * noise, (1, 2)),
                squares(signal) - law.n * squares(law.seen)]  # fmt: skip
    if law.exact_fft is not None:
        controls.append(averaged - law.exact_fft)
    if forgetting:
        update = law.delta + error / law.root
        averaged = squares(law.delta + bias / law.root) + law.noise_trace * squares(spread / law.root)
        kept = np.cumsum(np.sum((basis.mT @ update) ** 2, axis=2), axis=1)
        columns += [averaged, *(kept[:, rank - 1] for rank in ranks)]
        controls.append(squares(update) - averaged)
    controls = [weight * control for control in controls]
    if weigh:
        controls.append(weight - 1)
    return weight[:, None] * np.stack(columns, 1), np.stack(controls, 1)


def conditional(law: Law, ranks: list[int], rng: np.random.Generator, count: int) -> Sample:
    """Means given LoRA's directions, where the variance of the risk is infinite; ridgeless, n > dx or Sigma = c I.

    In coordinates with A = [A_w 0] (w columns) the first w rows of Z are [L 0], and B = [A_w L + N_1, N_2]. With
    C C^T ~ Wishart_w(dx - n) (n > dx: C = 0), S = L^T L + C C^T, t = Tr S^{-1}, P = I - L S^{-1} L^T:

        E risk(D_r) = sum_{i<=r} e_i + ||(I - U_r U_r^T) A||^2
        e_i = ||u_i^T N_1 S^{-1} L^T - u_i^T A_w P||^2 + ||u_i^T (A_w L + N_1) S^{-1} C||^2
              + (1 + t) ||u_i^T N_2||^2 / (|n - dx| - 1)
        E risk(FFT) = Tr(Sigma_eps) (t + (min(n, dx) - w) (1 + t) / (|n - dx| - 1)) + Tr(A_w P A_w^T)
    """
    w, smaller = law.rank, min(law.n, law.k)
    left, values, _ = np.linalg.svd(law.seen, full_matrices=False)
    seen = left[:, :w] * values[:w]
    lower = np.linalg.qr(rng.standard_normal((count, law.n, w)), mode="r").mT
    white = law.noise_root @ rng.standard_normal((count, law.dy, smaller))
    first, rest = white[:, :, :w], white[:, :, w:]
    unseen = rng.standard_normal((count, w, law.gap)) if law.n < law.k else np.zeros((count, w, 1))
    inverse = np.linalg.inv(lower.mT @ lower + unseen @ unseen.mT)
    trace = np.trace(inverse, axis1=1, axis2=2)
    past = np.eye(w) - lower @ inverse @ lower.mT if law.n < law.k else np.zeros((count, w, w))
    scale = (1 + trace) / (law.gap - 1)
    basis = leading(np.concatenate([seen @ lower + first, rest], axis=2), max(ranks, default=1))
    error = np.concatenate([first @ inverse @ lower.mT - seen @ past, (seen @ lower + first) @ inverse @ unseen,
                            np.sqrt(scale)[:, None, None] * rest], axis=2)  # fmt: skip
    fft = law.noise_trace * (trace + (smaller - w) * scale) + np.sum((seen @ past) * seen, axis=(1, 2))
    return np.stack([fft, *truncated(basis, error, seen, ranks)], 1), np.zeros((count, 0))


def squares(matrix: np.ndarray) -> Any:
    return np.sum(matrix**2, axis=(-2, -1))


def leading(matrix: np.ndarray, last: int) -> np.ndarray:
    """All left singular vectors, strongest first; by the Gram matrix only where the first `last` keep 8 digits."""
    values, vectors = np.linalg.eigh(matrix @ matrix.mT)
    if np.all(values[:, -last] > 1e-8 * values[:, -1]):
        return vectors[:, :, ::-1]
    return np.linalg.svd(matrix, full_matrices=matrix.shape[1] > matrix.shape[2])[0]


def truncated(basis: np.ndarray, error: np.ndarray, seen: np.ndarray, ranks: list[int]) -> list[np.ndarray]:
    """Squared errors of U_r U_r^T (A + J) - A: what is kept pays its part of J, the rest its part of A."""
    learned = np.cumsum(np.sum((basis.mT @ error) ** 2, axis=2), axis=1)
    lost = np.cumsum(np.sum((basis.mT @ seen) ** 2, axis=2)[:, ::-1], axis=1)[:, ::-1]
    return [learned[:, rank - 1] + lost[:, rank] for rank in ranks]
