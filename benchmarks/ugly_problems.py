"""References in plain NumPy for 300 problems, most of them ugly: explicit draws, nothing imported from the package.

    python benchmarks/ugly_problems.py                     writes tests/ugly_problems.json, about 20 minutes of one core
    python benchmarks/ugly_problems.py --only 1:7 4:30     redraws single problems with another seed and prints them

The model: y = (A0 + Delta) x + eps, x ~ N(0, Sigma), eps ~ N(0, Sigma_eps), X and E of n samples, R = Delta X + E.

    D = R X^T (X X^T + eta)^{-1}, or R X^+ for eta = 0;   D_r = U_r U_r^T D,
    U_r: leading eigenvectors of B B^T = R X^T (X X^T + eta)^{-1} X R^T
    risk(D) = ||(D - Delta) Sigma^{1/2}||^2,   forgetting(D) = ||D||^2   (pretraining inputs of covariance I)

The 300 problems are fixed by their seeds, in five strata of 60 (`STRATA`); they were written down before any result was
looked at. Each line of the output: the problem, u_eff = (df1/df2)(n - df2), the number of draws, the risk of FFT and of
LoRA at some ranks and (for about half of those with a full-rank Sigma) the forgetting, as means with standard errors.
What to trust:

    "method"    "draws": whole data sets, FFT averaged over the noise exactly; "weighted": the same, where a few
                nearly singular ones decide, these drawn more often and weighted (`tilted`); "conditional": means given
                LoRA's directions, where the variance is infinite (`conditional`)
    "stderr"    of the draws; the numbers have 7 digits, so allow 1e-6 of the value besides
    "heavy"     the tails are so heavy that a multiple of the standard error is no bound (`HEAVY_SHARE`, `LEAST_EVENTS`)
    "no_mean"   the risk has no mean, nothing is drawn and every consumer should refuse
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = Path(__file__).resolve().parent.parent / "tests" / "ugly_problems.json"
STRATA = {1: "ill-conditioned", 2: "near the threshold", 3: "ridge", 4: "blocks and corners", 5: "benign"}
PER_STRATUM = 60

# -- the problems -----------------------------------------------------------------------------------------------------


def problems() -> list[dict[str, Any]]:
    """All problems, each {"stratum", "index", "problem": {fields}}; fields that are default are absent."""
    makers = (ill_conditioned, near_threshold, with_ridge, corners, benign)
    return [
        {"stratum": stratum, "index": index, "problem": maker(np.random.default_rng([stratum, index]), index)}
        for stratum, maker in enumerate(makers, 1)
        for index in range(PER_STRATUM)
    ]


def fields(n: int, dx: int, dy: int, spectrum: Any, noise_std: float, **others: Any) -> dict[str, Any]:
    """Fields of a problem, JSON-ready. Vectors have 7 digits; matrices all, or they would lose small eigenvalues."""
    out = {"n": int(n), "dx": int(dx), "dy": int(dy), "noise_std": digits(noise_std)}
    if spectrum is not None:
        out["spectrum"] = digits(spectrum)
    for name, value in others.items():
        if value is not None:
            out[name] = value.tolist() if np.ndim(value) == 2 else digits(value)
    return out


def digits(value: Any) -> Any:
    """`value` with 7 significant digits, arrays as lists, None unchanged."""
    if value is None or np.ndim(value) == 0:
        return None if value is None else float(f"{float(value):.7g}")
    return [digits(entry) for entry in value]


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | None = None) -> Any:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def variances(rng: np.random.Generator, kind: str, dx: int, condition: float) -> np.ndarray:
    """`dx` variances from 1 to 1/`condition`, decreasing."""
    steps = np.arange(dx) / max(dx - 1, 1)
    if kind == "geometric":
        return condition**-steps
    if kind == "power law":
        return np.arange(1, dx + 1) ** (-np.log(condition) / np.log(max(dx, 2)))
    if kind == "two blocks":
        return np.where(np.arange(dx) < rng.integers(1, dx), 1.0, 1 / condition)
    return np.sort(np.append(log_uniform(rng, 1 / condition, 1, dx - 2), [1, 1 / condition]))[::-1]


def rotated(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """A dense covariance with these eigenvalues."""
    basis = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


def shift(rng: np.random.Generator, dx: int, dy: int, most: int | None = None) -> np.ndarray:
    """Singular values of a shift: low rank, or full rank in equal or geometric steps, tied, or random."""
    size = min(dx, dy, most or dx)
    kind = rng.integers(5)
    if kind <= 1:
        return np.sort(rng.uniform(0.5, 6, min(size, rng.integers(1, 4))))[::-1]
    if kind == 2:
        return np.linspace(rng.uniform(2, 6), rng.uniform(0.1, 1), size)
    if kind == 3:
        return rng.uniform(2, 6) * rng.uniform(0.5, 0.9) ** np.arange(size)
    return np.repeat(rng.uniform(0.5, 4), min(size, rng.integers(2, 7)))


def dense_shift(rng: np.random.Generator, dx: int, dy: int) -> np.ndarray:
    """A shift that shares no axis with anything: low-rank or full-rank Gaussian, entries of 7 digits."""
    rank = min(dx, dy) if rng.random() < 0.3 else min(dx, dy, int(rng.integers(1, 4)))
    product = rng.standard_normal((dy, rank)) @ rng.standard_normal((rank, dx))
    return np.array(digits(2 * product / np.sqrt(rank * min(dx, dy))))


def shift_fields(rng: np.random.Generator, dx: int, dy: int, dense: bool) -> dict[str, Any]:
    if dense:
        return {"spectrum": None, "task_shift": dense_shift(rng, dx, dy)}
    return {"spectrum": shift(rng, dx, dy)}


def ill_conditioned(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """Condition 1e8 to 1e14; three of five ridgeless with n < dx, one with n > dx, one with ridge."""
    kind = ("geometric", "power law", "two blocks", "random")[index % 4]
    dx, dy, matrix = int(rng.integers(6, 33)), int(rng.integers(3, 25)), index % 6 == 5
    values = variances(rng, kind, dx, 10 ** rng.uniform(8, 10 if matrix else 14))
    n = int(rng.integers(2, dx - 3))
    if index % 5 == 3:
        n = dx + int(rng.integers(4, 2 * dx))
    ridge = 0.0
    if index % 5 == 4:
        n, ridge = int(rng.integers(2, 2 * dx)), log_uniform(rng, 1e-8, 10)
    if rng.random() < 0.5 and not matrix:
        values = rng.permutation(values)
    covariance = rotated(rng, values) if matrix else values
    noise = log_uniform(rng, 0.1, 3)
    return fields(n, dx, dy, noise_std=noise, input_covariance=covariance, ridge=ridge,
                  **shift_fields(rng, dx, dy, index % 7 == 6))  # fmt: skip


def near_threshold(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """u_eff <= 3: |n - dx| = 2 or 3 without ridge; tiny ridge and n near dx; weak inputs."""
    while True:
        dx, dy, noise = int(rng.integers(6, 33)), int(rng.integers(3, 25)), log_uniform(rng, 0.1, 3)
        if index < 24:
            gap = (2, 3, -2, -3)[index % 4]
            covariance = variances(rng, "random", dx, 100) if gap > 0 and index % 8 < 4 else None
            if covariance is None and index % 3 == 0:
                covariance = np.full(dx, log_uniform(rng, 0.1, 10))
            out = fields(dx + gap, dx, dy, shift(rng, dx, dy, 3), noise, input_covariance=covariance)
        elif index < 42:
            n = dx + int(rng.integers(-3, 4)) * (index % 3 > 0)
            out = fields(n, dx, dy, noise_std=noise, ridge=log_uniform(rng, 1e-5, 1), **shift_fields(
                rng, dx, dy, index % 6 == 5))  # fmt: skip
        else:
            strong = int(rng.integers(2, dx - 3))
            n, weak = strong + int(rng.integers(-3, 4)), log_uniform(rng, 1e-8, 1e-1)
            ridge = 0.0 if index % 2 else log_uniform(rng, 1e-6, 1)
            covariance = np.where(np.arange(dx) < strong, 1.0, weak)
            if n < 1 or (ridge == 0 and dx - n < 4):
                continue
            out = fields(n, dx, dy, shift(rng, dx, dy), noise, input_covariance=covariance, ridge=ridge)
        if effective_distance(out) <= 3:
            return out


def with_ridge(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """Ridge 1e-12 to 1e6, n = dx in a third, Sigma isotropic in half and of condition up to 10 else."""
    dx, dy = int(rng.integers(4, 33)), int(rng.integers(3, 33))
    n = (dx, int(rng.integers(1, dx)), dx + int(rng.integers(1, 2 * dx)))[index % 3]
    values = log_uniform(rng, 0.3, 3, dx)
    covariance = None if index % 2 else rotated(rng, values) if index % 8 == 6 else values
    noise, ridge = log_uniform(rng, 0.1, 3), log_uniform(rng, 1e-12, 1e6)
    return fields(n, dx, dy, noise_std=noise, ridge=ridge, input_covariance=covariance,
                  **shift_fields(rng, dx, dy, index % 7 == 6))  # fmt: skip


def corners(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """Singular and nearly singular inputs, dimensions of 1, ties, no shift, singular noise, tiny and huge noise."""
    dx, dy, noise = int(rng.integers(8, 25)), int(rng.integers(4, 25)), log_uniform(rng, 0.2, 2)
    n = (dx + int(rng.integers(5, dx + 5)), int(rng.integers(2, dx - 4)))[index % 2]
    ridge = log_uniform(rng, 1e-3, 10) if index % 5 == 4 else 0.0
    spectrum, others = shift(rng, dx, dy), {}
    if index < 9:  # singular Sigma
        rank = int(rng.integers(4, dx))
        values = rng.permutation(np.append(log_uniform(rng, 0.1, 1, rank), np.zeros(dx - rank)))
        n = rank + 5 + int(rng.integers(rank)) if index % 2 == 0 else max(rank - int(rng.integers(4, rank + 1)), 1)
        others["input_covariance"] = rotated(rng, values) if index % 3 == 2 else values
    elif index < 21:  # one, some or most inputs weak
        weak = (1, dx // 3, dx - int(rng.integers(1, 4)))[index % 3]
        values = np.where(np.arange(dx) < dx - weak, 1.0, log_uniform(rng, 1e-10, 1e-4))
        others["input_covariance"] = values[::-1] if index % 4 == 3 else values
    elif index < 25:
        dy, spectrum = 1, spectrum[:1]
    elif index < 28:
        n, dx, spectrum = 5 + int(rng.integers(10)), 1, spectrum[:1]
    elif index < 32:
        n, others["input_covariance"] = 1, None if index % 2 else variances(rng, "random", dx, 10.0)
    elif index < 36:  # ties
        spectrum = np.repeat(rng.uniform(1, 4, 2)[[0, 0]] * [1, 0.5], [2, 2])
    elif index < 38:  # zeros in the spectrum
        spectrum = np.append(spectrum[:3], np.zeros(min(dx, dy) - len(spectrum[:3])))
    elif index < 41:
        spectrum = []
    elif index < 45:  # singular noise covariance
        values = rng.permutation(np.append(rng.uniform(0.2, 2, dy - dy // 3), np.zeros(dy // 3)))
        others["noise_covariance"] = rotated(rng, values) if index % 2 else values
    elif index < 51:
        noise = (1e-6, 1e4, 1e-5, 1e3, 1e-3, 1e2)[index - 45]
    elif index < 56:  # many distinct values
        size = min(dx, dy)
        spectrum = (np.linspace(6, 0.5, size), 6 * 0.8 ** np.arange(size))[index % 2]
        if index == 51:
            n, dx, dy, spectrum, noise, ridge = 100, 16, 16, np.linspace(6, 0.5, 16), 1.0, 0.0
    elif index < 58:  # no mean
        n, ridge = dx + (1, 0)[index % 2], 0.0
    else:  # two and three samples below the threshold, other inputs than isotropic: a mean, but no conditional one
        n, ridge, others["input_covariance"] = dx - index + 56, 0.0, variances(rng, "random", dx, 5.0)
    return fields(n, dx, dy, spectrum, noise, ridge=ridge, **others)


def benign(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """Condition at most 100, |n - dx| >= dx/4; two of three with dx >= 64."""
    dx = int(rng.integers(64, 81)) if index % 3 else int(rng.integers(16, 49))
    dy = int(rng.integers(16, dx + 1))
    least = -(-dx // 4)
    n = dx + int(rng.integers(least, 2 * dx)) if index % 2 else int(rng.integers(4, dx - least + 1))
    kind = ("geometric", "power law", "random")[index % 3]
    covariance = None if index % 4 < 2 else variances(rng, kind, dx, log_uniform(rng, 2, 100))
    if covariance is not None and index % 8 == 6:
        covariance = rng.permutation(covariance)
    ridge = log_uniform(rng, 0.1, dx) if index % 5 >= 3 else 0.0
    noise = log_uniform(rng, 0.2, 2)
    return fields(n, dx, dy, noise_std=noise, input_covariance=covariance, ridge=ridge,
                  **shift_fields(rng, dx, dy, index % 9 == 8))  # fmt: skip


# -- the law of a problem ---------------------------------------------------------------------------------------------


class Law:
    """A problem in the eigenbasis of Sigma, without directions of no variance; variances `l` decreasing.

    `seen` is A = Delta Sigma^{1/2}; with X = Sigma^{1/2} Z the residual is R = A Z + E.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        self.n, dx, self.dy = problem["n"], problem["dx"], problem["dy"]
        self.ridge, noise_std = problem.get("ridge", 0.0), problem["noise_std"]
        delta = np.zeros((self.dy, dx))
        if "task_shift" in problem:
            delta = np.array(problem["task_shift"])
        else:
            np.fill_diagonal(delta[:, : len(problem["spectrum"])], problem["spectrum"])
        covariance = np.array(problem.get("input_covariance", np.ones(dx)))
        values, vectors = (covariance, np.eye(dx)) if covariance.ndim == 1 else np.linalg.eigh(covariance)
        cutoff = 0.0 if covariance.ndim == 1 else dx * np.finfo(float).eps * values.max()
        kept = [i for i in np.argsort(-values, kind="stable") if values[i] > cutoff]
        self.l, self.delta, self.k, self.full = values[kept], delta @ vectors[:, kept], len(kept), len(kept) == dx
        self.root = np.sqrt(self.l)
        self.seen = self.delta * self.root
        noise = np.array(problem.get("noise_covariance", np.ones(self.dy)))
        if noise.ndim == 1:
            self.noise_root, trace = noise_std * np.diag(np.sqrt(noise)), noise.sum()
        else:
            size, basis = np.linalg.eigh(noise)
            self.noise_root, trace = noise_std * basis * np.sqrt(size.clip(0)), np.trace(noise)
        self.noise_trace = noise_std**2 * float(trace)
        self.gap, self.max_rank = abs(self.n - self.k), min(self.n, self.k, self.dy)
        self.rank = max(int(np.linalg.matrix_rank(self.seen)) if self.seen.any() else 0, 1)
        self.whitens = self.ridge == 0 and self.n > self.k
        self.uniform = self.ridge == 0 and self.n < self.k and self.l[0] == self.l[-1]

    @property
    def tail_index(self) -> float:
        """a: the risk has moments below a, all of them with ridge or without noise."""
        return np.inf if self.ridge > 0 or self.noise_trace == 0 else (self.gap + 1) / 2

    @property
    def conditional(self) -> bool:
        """Infinite variance, and conditional means with a finite one: tail index (max(n, dx) - w + 1)/2 > 2."""
        known = (self.whitens or self.uniform) and self.rank <= min(self.n, self.k)
        return 1 < self.tail_index <= 2 and known and max(self.n, self.k) > self.rank + 3

    @property
    def exact_fft(self) -> float | None:
        """The mean risk of FFT where it is known without a limit."""
        if self.whitens and self.gap > 1:
            return self.noise_trace * self.k / (self.gap - 1)
        if self.uniform and self.gap > 1:
            unseen = np.sum(self.seen**2) * (1 - self.n / self.k)
            return float(unseen) + self.noise_trace * self.n / (self.gap - 1)
        return None

    @property
    def splits(self) -> list[tuple[float, int, float]]:
        """Blocks of the j strongest inputs that stand apart, near their own threshold: (p, j, length), nearest first.

        p = (floor j / l_j)^((|n - j| + 1)/2), floor = ridge + the other variances, is about the probability that the
        smallest singular value of the block is as small as the rest lets it be, about sqrt(floor / l_j) = length. Where
        |n - j| <= 3 the risk would have no variance for floor = 0, so that few of these draws make most of it. Without
        ridge, and for n > dx in any units of the inputs, all of them have floor = 0.
        """
        if self.tail_index <= 2:
            return [(0.0, self.k, 1e-6)]
        if self.ridge == 0 and self.n >= self.k:
            return []
        count = np.arange(1, self.k + 1)
        floor = self.ridge + np.append(np.cumsum(self.l[::-1])[-2::-1], 0.0)
        ratio, length = floor * count / self.l, np.sqrt(floor / self.l)
        probability = ratio ** ((abs(self.n - count) + 1) / 2)
        near = np.flatnonzero((abs(self.n - count) <= 3) & (ratio > 0) & (ratio < 0.3))
        near = sorted(near, key=lambda at: (abs(self.n - count[at]), probability[at]))
        return [(float(probability[at]), int(count[at]), float(length[at])) for at in near]


def effective_distance(problem: dict[str, Any]) -> float:
    """u_eff = (df1/df2)(n - df2), df_k = sum (l/(l + kappa))^k, n = df1 + eta/kappa; kappa = 0 for n >= dx, eta = 0."""
    law = Law(problem)
    low, high = -120.0, 60.0
    if law.ridge == 0 and law.n >= law.k:
        return float(law.n - law.k)
    for _ in range(200):
        middle = (low + high) / 2
        excess = np.sum(law.l / (law.l + np.exp(middle))) + law.ridge * np.exp(-middle) - law.n
        low, high = (middle, high) if excess > 0 else (low, middle)
    share = law.l / (law.l + np.exp(low))
    return float(share.sum() / np.sum(share**2) * (law.n - np.sum(share**2)))


# -- draws ------------------------------------------------------------------------------------------------------------

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


# -- references -------------------------------------------------------------------------------------------------------

#: Relative standard error to reach, seconds a problem, and share of the variance from one draw from which it is heavy.
TARGET, BENIGN_TARGET, SECONDS, HEAVY_SECONDS, HEAVY_SHARE = 0.004, 0.002, 4.0, 10.0, 0.3
LEAST_DRAWS, MOST_DRAWS, LEAST_EVENTS = 1000, 200_000, 100


def lora_ranks(law: Law) -> list[int]:
    wanted = {1, 2, 3, law.rank, law.max_rank // 2, law.max_rank - 1}
    return sorted(rank for rank in wanted if 0 < rank < law.max_rank)


def reference(problem: dict[str, Any], draws: int | None = None, seed: Any = 0, benign: bool = False,
              forgetting: bool = True, method: str | None = None) -> dict[str, Any]:  # fmt: skip
    """Means and standard errors of one problem; `draws` None: as many as a pilot asks for, within the time allowed.

    `method` "draws", "weighted" or "conditional" overrules the choice. Forgetting only for a full-rank Sigma.
    """
    law = Law(problem)
    ranks = lora_ranks(law)
    out: dict[str, Any] = {"u_eff": effective_distance(problem), "draws": 0, "method": None, "fft": None,
                           "ranks": ranks, "lora": None, "forgetting": None, "heavy": False,
                           "no_mean": law.tail_index <= 1}  # fmt: skip
    if out["no_mean"]:
        return out
    method = method or ("conditional" if law.conditional else "weighted" if law.splits else "draws")
    forgetting = forgetting and law.full and method != "conditional"

    def sample(seed: Any, count: int) -> Sample:
        rng = np.random.default_rng(seed)
        size = law.k * law.n + law.dy * (law.n + law.k) + law.k**2
        chunk = int(np.clip(500_000 // size, 8, 500))
        draw: Callable[[int], Sample] = (
            (lambda many: conditional(law, ranks, rng, many))
            if method == "conditional"
            else lambda many: whole(law, ranks, forgetting, method == "weighted", rng, many)
        )
        parts = [draw(min(chunk, count - start)) for start in range(0, count, chunk)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    light = method == "weighted" or (method == "draws" and not law.splits and law.tail_index >= 3.5)
    end = len(ranks) + 1
    fixed = [] if method == "weighted" and law.exact_fft is None else [0, end][: 1 + forgetting]
    seeds = list(np.atleast_1d(seed))
    if draws is None:
        start = time.perf_counter()
        mean, stderr, _ = estimates(*sample([*seeds, 1], 128), light, fixed)
        each = (time.perf_counter() - start) / 128
        spread = float(np.max(np.sqrt(128) * stderr / np.where(mean > 0, mean, 1), initial=0.0))
        heavy = bool(law.splits)
        wanted = 1.2 * (spread / (BENIGN_TARGET if benign else TARGET)) ** 2
        allowed = (HEAVY_SECONDS if heavy else 2 * SECONDS if benign else SECONDS) / each
        draws = int(np.clip(min(wanted, allowed), LEAST_DRAWS, MOST_DRAWS))
    mean, stderr, share = estimates(*sample(seeds, draws), light, fixed)
    known = method != "draws" or law.tail_index > 2

    def pair(part: slice, scalar: bool = False) -> dict[str, Any]:
        means, errors = mean[part].tolist(), stderr[part].tolist() if known else [None] * len(mean[part])
        return {"mean": means[0], "stderr": errors[0]} if scalar else {"mean": means, "stderr": errors}

    rare = min((p for p, j, _ in law.splits if method == "draws" and abs(law.n - j) <= 2), default=1.0)
    out.update(draws=draws, method=method, fft=pair(slice(0, 1), True), lora=pair(slice(1, end)))
    out["heavy"] = not known or share > HEAVY_SHARE or draws * rare < LEAST_EVENTS
    if forgetting:
        out["forgetting"] = {"fft": pair(slice(end, end + 1), True), "lora": pair(slice(end + 1, None))}
    return out


def estimates(quantities: np.ndarray, controls: np.ndarray, light: bool, fixed: list[int]) -> tuple[Any, Any, float]:
    """Means, standard errors, and the largest share that one draw has in a variance.

    With `light` tails all but the `fixed` columns are regressed on the control variates (among them FFT's exact mean).
    """
    values = quantities.copy()
    if light:
        controls = controls[:, controls.std(axis=0) > 0] if len(controls) else controls
        controls = controls / controls.std(axis=0)
        slope = np.linalg.lstsq(controls - controls.mean(axis=0), values - values.mean(axis=0), rcond=1e-8)[0]
        slope[:, fixed] = 0
        values = values - controls @ slope
    mean = values.mean(axis=0)
    squared = (values - mean) ** 2
    total = squared.sum(axis=0)
    stderr = np.sqrt(total / (len(values) - 1) / len(values))
    felt = stderr > 1e-7 * abs(mean)
    return mean, stderr, float(np.max(squared.max(axis=0)[felt] / total[felt], initial=0.0))


# -- the file ---------------------------------------------------------------------------------------------------------


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return digits(value) if isinstance(value, float) else value


def lines(chosen: list[dict[str, Any]], seed: int, draws: int | None) -> Iterator[dict[str, Any]]:
    """The references of `chosen`, one by one; forgetting for every other problem."""
    for entry in chosen:
        stratum, index = entry["stratum"], entry["index"]
        found = reference(entry["problem"], draws, [seed, stratum, index], stratum == 5, index % 2 == index // 8 % 2)
        yield {**entry, **rounded(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="STRATUM:INDEX", help="redraw these and print them")
    parser.add_argument("--seed", type=int, default=None, help="0 for the file, 1 with --only")
    parser.add_argument("--draws", type=int, default=None, help="draws a problem, instead of what a pilot asks for")
    options = parser.parse_args()
    every = problems()
    if options.only:
        wanted = [tuple(map(int, name.split(":"))) for name in options.only]
        chosen = [entry for entry in every if (entry["stratum"], entry["index"]) in wanted]
        for line in lines(chosen, 1 if options.seed is None else options.seed, options.draws):
            print(json.dumps(line, separators=(",", ":")))
        return
    start, text = time.perf_counter(), []
    for number, line in enumerate(lines(every, options.seed or 0, options.draws), 1):
        text.append(json.dumps(line, separators=(",", ":")) + "\n")
        if number % 10 == 0:
            spent = time.perf_counter() - start
            print(f"{number} of {len(every)}, {spent:.0f} s, about {spent / number * (len(every) - number):.0f} s left",
                  flush=True)  # fmt: skip
    OUTPUT.write_text("".join(text))


if __name__ == "__main__":
    main()
