"""The 300 problems of `ugly_problems`, in five strata of 60, as fields of a problem: fixed by their seeds."""

from typing import Any

import numpy as np
from ugly_laws import effective_distance

STRATA = {1: "ill-conditioned", 2: "near the threshold", 3: "ridge", 4: "blocks and corners", 5: "benign"}
PER_STRATUM = 60


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
