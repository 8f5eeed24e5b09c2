"""Magnitudes and directions of the columns of a fine-tuned map, as DoRA takes them apart. Plain NumPy."""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


def correlations(a0: np.ndarray, update: np.ndarray) -> np.ndarray:
    """Of | ||w_j|| - ||a_j|| | and 1 - cos(w_j, a_j) over the columns of A0 and A0 + D, each draw its own."""
    moved = a0 + update
    before, after = np.linalg.norm(a0, axis=1), np.linalg.norm(moved, axis=1)
    magnitude = np.abs(after - before)
    direction = 1 - np.sum(a0 * moved, axis=1) / (before * after)
    magnitude, direction = (each - np.mean(each, axis=1, keepdims=True) for each in (magnitude, direction))
    products = np.sum(magnitude * direction, axis=1)
    return products / (np.linalg.norm(magnitude, axis=1) * np.linalg.norm(direction, axis=1))


@register_experiment("magnitude-with-direction", bounded=True)
def magnitude_with_direction(
    problem: Problem, trials: int, seed: int, *, rank: Rank, method: Literal["lora", "fft"]
) -> Sample:
    """The correlation over columns of the changes of magnitude and of direction; `method`: lora, of `rank`, or fft.

    A0 iid N(0, 1), inputs in a random basis, both anew for each draw.
    """
    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    rng = np.random.default_rng([seed, 1])
    basis = np.linalg.qr(rng.standard_normal((trials, problem.dx, problem.dx)))[0]
    a0 = rng.standard_normal(full.shape)
    found = correlations(a0, (lora if method == "lora" else full) @ basis)
    return Sample(found[:, None], {"fft": np.ones(trials)})
