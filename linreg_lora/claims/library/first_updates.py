"""LoRA's first step from B = 0: how large the update is, how far the loss falls, and what a step costs. Plain NumPy."""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Count, Positive, Rank


def _start(case: Factors, rng: np.random.Generator, trials: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """A gradient H of iid entries and A of iid entries of variance kappa / dx."""
    h = rng.standard_normal((trials, case.dy, case.dx))
    return h, np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, rank, case.dx))


@register_experiment("first-update-energy", bounded=True)
def first_update_energy(case: Factors, trials: int, seed: int, *, times: Count, power: float) -> Sample:
    """||g^2 H A^T A||_F^2 / ||H||_F^2 with `times` the rank, g = rank^-`power`, over kappa^2 / dx^2."""
    rng, r = np.random.default_rng(seed), int(times) * case.rank
    h, a = _start(case, rng, trials, r)
    energy = np.sum((r ** (-2 * power) * h @ a.mT @ a) ** 2, axis=(1, 2)) / np.sum(h**2, axis=(1, 2))
    context = {"rank": np.asarray(r), "times": np.asarray(times), "power": np.asarray(power)}
    return Sample((energy * case.dx**2 / case.kappa**2)[:, None], context)


@register_experiment("equal-fall", bounded=True)
def equal_fall(case: Factors, trials: int, seed: int, *, optimiser: Literal["gd", "sign"], times: Positive) -> Sample:
    """The first fall of the loss by LoRA, at `times` full fine-tuning's learning rate, over full fine-tuning's.

    To first order in the rate; `optimiser`: gd, or sign, Adam's first step. Context: sum_j ||H_j|| / ||H||_1.
    """
    h, a = _start(case, np.random.default_rng(seed), trials, case.rank)
    slope = case.scaling * h @ a.mT
    lora, full = (np.sum(each**2 if optimiser == "gd" else np.abs(each), axis=(1, 2)) for each in (slope, h))
    rows = np.sum(np.linalg.norm(h, axis=2), axis=1) / np.sum(np.abs(h), axis=(1, 2))
    return Sample((times * lora / full)[:, None], {"times": np.asarray(times), "rows": rows})


class _Counter:
    """Products of matrices, and the multiplications in them."""

    def __init__(self) -> None:
        self.products = 0

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        self.products += left.shape[0] * left.shape[1] * right.shape[1]
        return left @ right


@register_experiment("step-cost", pathwise=True)
def step_cost(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Multiplications of a step of LoRA over those of full fine-tuning, forward and backward, gradients of inputs too.

    Each draw has a batch of its own, and its gradients are those of finite differences, or it counts as inf.
    """
    rng, r, ratios = np.random.default_rng(seed), int(rank), []
    for _ in range(trials):
        x = rng.standard_normal((size.columns, int(rng.integers(1, 9))))
        w, b, a = (rng.standard_normal(shape) for shape in (size, (size.rows, r), (r, size.columns)))
        slope = rng.standard_normal((size.rows, x.shape[1]))
        full, lora = _Counter(), _Counter()
        full(w, x)
        of_w, of_x = full(slope, x.T), full(w.T, slope)
        hidden = lora(a, x)
        out = lora(w, x) + lora(b, hidden)
        behind = lora(b.T, slope)
        found = lora(slope, hidden.T), lora(behind, x.T), lora(w.T, slope) + lora(a.T, behind)
        exact = _gradients(w, b, a, x, slope)
        right = all(np.allclose(*pair, rtol=1e-10, atol=1e-10) for pair in zip(found, exact[1:], strict=True))
        right &= np.allclose(out, (w + b @ a) @ x) and np.allclose(of_w, exact[0]) and np.allclose(of_x, w.T @ slope)
        ratios.append(lora.products / full.products if right else np.inf)
    return Sample(np.array(ratios), {"rank": np.asarray(r)}, tolerance=np.full(trials, 1e-12), scale=np.ones(trials))


def _gradients(w: np.ndarray, b: np.ndarray, a: np.ndarray, x: np.ndarray, slope: np.ndarray) -> list[np.ndarray]:
    """Of <slope, (W + B A) X> in W, B, A and X: it is linear in each, so that differences are derivatives."""

    def value(at: list[np.ndarray]) -> float:
        w, b, a, x = at
        return float(np.sum(slope * ((w + b @ a) @ x)))

    at, out = [w, b, a, x], []
    here = value(at)
    for i, matrix in enumerate(at):
        slopes = np.zeros_like(matrix)
        for place in np.ndindex(*matrix.shape):
            moved = matrix.copy()
            moved[place] += 1
            slopes[place] = value([*at[:i], moved, *at[i + 1 :]]) - here
        out.append(slopes)
    return out
