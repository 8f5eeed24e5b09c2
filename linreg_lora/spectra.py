"""Families of singular values for the task shift, and how many directions a spectrum really has."""

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import valid_seed

Spectrum = tuple[float, ...]


def low_rank(rank: int, strength: float = 1.0) -> Spectrum:
    """Exactly low rank: s_1 = ... = s_rank = strength, the rest zero."""
    return (validation.nonnegative_number("strength", strength),) * validation.positive_integer("rank", rank)


def power_law(size: int, exponent: float, scale: float = 1.0) -> Spectrum:
    """Power law: s_i = scale * i^(-exponent), i = 1..size."""
    index = np.arange(1, validation.positive_integer("size", size) + 1)
    decay = index ** -validation.nonnegative_number("exponent", exponent)
    return tuple((validation.nonnegative_number("scale", scale) * decay).tolist())


def exponential(size: int, rate: float, scale: float = 1.0) -> Spectrum:
    """Exponential decay: s_i = scale * exp(-rate * i), i = 0..size-1 (i from 0: the first is `scale`)."""
    index = np.arange(validation.positive_integer("size", size))
    decay = np.exp(-validation.nonnegative_number("rate", rate) * index)
    return tuple((validation.nonnegative_number("scale", scale) * decay).tolist())


def log_spaced(size: int, condition: float, scale: float = 1.0) -> Spectrum:
    """Evenly spaced in logarithm: s_i = scale * condition^(1/2 - (i-1)/(size-1)), i = 1..size; of condition number
    `condition` >= 1 and geometric mean `scale`."""
    size, condition = validation.positive_integer("size", size), validation.nonnegative_number("condition", condition)
    if condition < 1:
        raise InvalidInput("condition", "a number >= 1", condition)
    values = np.geomspace(condition**-0.5, condition**0.5, size)[::-1]
    return tuple((validation.nonnegative_number("scale", scale) * values).tolist())


def gaussian_factors(dx: int, dy: int, rank: int, seed: int) -> Float[np.ndarray, "dy dx"]:
    """The task shift of arXiv 2605.19018's experiments: Delta = U V / sqrt(rank), U and V iid N(0, 1).

    U is dy x rank and V is rank x dx, so E ||Delta||_F^2 = dx dy. Returns the matrix: use it as `task_shift`, or
    only its singular values through `from_matrix` (for Sigma = I and Sigma_eps = sigma^2 I no risk depends on more).
    """
    dx, dy, rank = (
        validation.positive_integer("dx", dx),
        validation.positive_integer("dy", dy),
        validation.positive_integer("rank", rank),
    )
    if rank > min(dx, dy):
        raise InvalidInput("rank", f"at most min(dx, dy) = {min(dx, dy)}", rank)
    rng = np.random.default_rng(valid_seed(seed))
    return rng.standard_normal((dy, rank)) @ rng.standard_normal((rank, dx)) / np.sqrt(rank)


def from_matrix(matrix: object, rank: int | None = None) -> Spectrum:
    """Singular values of a matrix, non-increasing; the first `rank` of them if given."""
    array = validation.real_array("matrix", matrix, "a real matrix")
    if array.ndim != 2:
        raise InvalidInput("matrix", "a real matrix", f"shape {array.shape}")
    if rank is not None:
        rank = validation.nonnegative_integer("rank", rank)
    return tuple(np.linalg.svd(array, compute_uv=False)[:rank].tolist())


def stable_rank(spectrum: Spectrum) -> float:
    """Stable rank ||Delta||_F^2 / ||Delta||_2^2 = sum_i s_i^2 / s_1^2; 0 for the zero shift."""
    values = np.asarray(validation.spectrum("spectrum", spectrum, np.size(spectrum)))
    if len(values) == 0 or values[0] == 0:
        return 0.0
    return float(np.sum((values / values[0]) ** 2))


def effective_rank(spectrum: Spectrum) -> float:
    """Effective rank exp(-sum_i p_i log p_i), p_i = s_i / sum_j s_j; 0 for the zero shift.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007.
    """
    values = np.asarray(validation.spectrum("spectrum", spectrum, np.size(spectrum)))
    total = np.sum(values)
    if total == 0:
        return 0.0
    p = values / total
    p = p[p > 0]
    return float(np.exp(-np.sum(p * np.log(p))))
