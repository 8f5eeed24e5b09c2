"""The law of a problem in plain NumPy, in the eigenbasis of its inputs, and its distance from the threshold."""

from typing import Any

import numpy as np


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
