"""A problem's covariances as the smallest blocks that the Dyson equation needs.

Where Delta, Sigma and Sigma_eps are diagonal in matching bases, each pair of an input and an output direction is a
2 x 2 block; equal blocks are counted, not repeated. That covers isotropic inputs and noise with any Delta, every
ridgeless problem with n > dx and isotropic noise (only the singular values of Delta Sigma^{1/2} matter there), and
diagonal covariances. Anything else is one block of full size.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.fft import effective_regularisation
from linreg_lora.theory.pencil import Pencil
from linreg_lora.theory.ridgeless import Ridgeless


class Modes(NamedTuple):
    """Independent modes: `variance` l, `strength` s and `noise` e of each distinct mode, and how many `copies` it has.

    A mode is a pair (input and output), or an input alone (e = 0, `has_output` false), or an output alone (l = 0).
    """

    variance: np.ndarray
    strength: np.ndarray
    noise: np.ndarray
    has_input: np.ndarray
    has_output: np.ndarray
    copies: np.ndarray


def modes(problem: Problem) -> Modes | None:
    """The modes of a problem whose inputs have full rank; None where its matrices do not share their bases."""
    invariant = problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED
    scale, noise = problem.isotropic_scale, problem.isotropic_noise_scale
    if noise is not None and (invariant or scale is not None):
        if scale is None:
            variance, strengths = 1.0, np.linalg.svd(problem.shift @ problem.sigma_sqrt, compute_uv=False)
        else:
            variance, strengths = scale, np.asarray(problem.spectrum)
        return _isotropic_modes(problem, strengths, variance, noise * problem.noise_std**2)
    covariances = (problem.input_covariance, problem.noise_covariance)
    if problem.task_shift is None and all(c is None or c.ndim == 1 for c in covariances):
        return _diagonal_modes(problem, invariant)
    return None


def pencil(problem: Problem, ridge: float) -> Pencil:
    """The Dyson pencil of a problem, with `ridge` in place of its own (0: overdetermined problems only)."""
    found = modes(problem)
    if found is None:
        return _full_pencil(problem, ridge)
    l, s, e = found.variance, found.strength, found.noise  # noqa: E741
    size = _padded(len(l))
    covariance, dummy, weights = np.zeros((size, 2, 2)), np.ones((size, 2)), np.zeros((3, size, 2, 2))
    k = len(l)
    covariance[:k, 0, 0], covariance[:k, 1, 1] = l, l * s**2 + e
    covariance[:k, 0, 1] = covariance[:k, 1, 0] = l * s
    dummy[:k, 0], dummy[:k, 1] = ~found.has_input, ~found.has_output
    weights[0, :k, 1, 1] = -1.0 * found.has_output
    weights[1, :k, 0, 0] = -l
    weights[2, :k, 1, 0] = s * l
    count = np.zeros(size)
    count[:k] = found.copies
    return _as_pencil(problem, ridge, covariance, np.array([0.0, 1.0]), dummy, count, weights)


def ridgeless(problem: Problem) -> Ridgeless:
    """The ridgeless limit of an underdetermined problem, for any Sigma and Sigma_eps."""
    found = modes(problem)
    if found is not None:
        values = np.repeat(found.variance, np.where(found.has_input, found.copies, 0).astype(int))
        kappa = effective_regularisation(values, problem.n, 0.0)
        df2 = float(np.sum((values / (values + kappa)) ** 2))
        keep = found.has_output
        l, s, e, count = (a[keep] for a in (found.variance, found.strength, found.noise, found.copies))  # noqa: E741
        eigenvalues, first, second = l * s**2 + e, s**2 * l**2 / (l + kappa), s**2 * l**3 / (l + kappa) ** 2
    else:
        values, basis = np.linalg.eigh(problem.sigma)
        kappa = effective_regularisation(np.clip(values, 0, None), problem.n, 0.0)
        df2 = float(np.sum((values / (values + kappa)) ** 2))
        rotated = problem.shift @ basis
        eigenvalues, vectors = np.linalg.eigh((rotated * values) @ rotated.T + problem.sigma_eps)
        energy = (vectors.T @ rotated) ** 2
        first, second = energy @ (values**2 / (values + kappa)), energy @ (values**3 / (values + kappa) ** 2)
        count = np.ones(problem.dy)
    size = _padded(len(eigenvalues))
    padded = [np.pad(a, (0, size - len(a))) for a in (eigenvalues, first, second, count)]
    return Ridgeless(jnp.asarray(float(problem.n)), jnp.asarray(df2), *(jnp.asarray(a, dtype=float) for a in padded))


def largest_eigenvalue_bound(problem: Problem) -> float:
    """Where to close the contour, above the spectrum of F F^T.

    1.6 (||Delta Sigma^{1/2}|| (sqrt n + sqrt dx) + ||Sigma_eps^{1/2}|| (sqrt n + sqrt dy))^2, spectral norms.
    """
    found = modes(problem)
    if found is not None:
        strength, noise = np.max(found.strength * np.sqrt(found.variance)), np.max(found.noise)
    else:
        strength = np.linalg.norm(problem.shift @ problem.sigma_sqrt, 2)
        noise = np.linalg.eigvalsh(problem.sigma_eps)[-1]
    n, dx, dy = np.sqrt([problem.n, problem.dx, problem.dy])
    return float(1.6 * (strength * (n + dx) + np.sqrt(noise) * (n + dy)) ** 2)


def _isotropic_modes(problem: Problem, strengths: np.ndarray, variance: float, noise: float) -> Modes:
    pairs = min(problem.dx, problem.dy)
    values, counts = np.unique(strengths[strengths > 0], return_counts=True)
    rest = pairs - int(np.sum(counts))
    inputs, outputs = problem.dx - pairs, problem.dy - pairs
    rows = [(variance, s, noise, True, True, c) for s, c in zip(values, counts, strict=True)]
    rows += [(variance, 0.0, noise, True, True, rest)] if rest else []
    rows += [(variance, 0.0, 0.0, True, False, inputs)] if inputs else []
    rows += [(0.0, 0.0, noise, False, True, outputs)] if outputs else []
    return Modes(*(np.array(column) for column in zip(*rows, strict=True)))


def _diagonal_modes(problem: Problem, invariant: bool) -> Modes:
    size, pairs = max(problem.dx, problem.dy), min(problem.dx, problem.dy)
    table = np.zeros((size, 5))
    table[: problem.dx, 0] = 1.0 if problem.input_covariance is None else problem.input_covariance
    spectrum = np.asarray(problem.spectrum)
    table[: len(spectrum), 1] = spectrum
    shape = 1.0 if problem.noise_covariance is None else problem.noise_covariance
    table[: problem.dy, 2] = problem.noise_std**2 * shape
    table[: problem.dx, 3], table[: problem.dy, 4] = 1, 1
    if invariant:
        table[:pairs, 1] *= np.sqrt(table[:pairs, 0])
        table[: problem.dx, 0] = 1.0
    rows, counts = np.unique(table, axis=0, return_counts=True)
    return Modes(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] > 0, rows[:, 4] > 0, counts)


def _full_pencil(problem: Problem, ridge: float) -> Pencil:
    invariant = ridge == 0
    sigma = np.eye(problem.dx) if invariant else problem.sigma
    shift = problem.shift @ problem.sigma_sqrt if invariant else problem.shift
    cross = shift @ sigma
    covariance = np.block([[sigma, cross.T], [cross, cross @ shift.T + problem.sigma_eps]])
    dx, size = problem.dx, problem.dx + problem.dy
    weights = np.zeros((3, 1, size, size))
    weights[0, 0, dx:, dx:] = -np.eye(problem.dy)
    weights[1, 0, :dx, :dx] = -sigma
    weights[2, 0, dx:, :dx] = cross
    outputs = np.repeat([0.0, 1.0], [dx, problem.dy])
    return _as_pencil(problem, ridge, covariance[None], outputs, np.zeros((1, size)), np.ones(1), weights)


def _as_pencil(problem: Problem, ridge: float, *arrays: np.ndarray) -> Pencil:
    numbers = (jnp.asarray(float(value)) for value in (problem.n, ridge))
    return Pencil(*numbers, *(jnp.asarray(array, dtype=float) for array in arrays))


def _padded(count: int) -> int:
    """The next power of two, at least 8: problems with similar spectra share one compiled program."""
    return max(8, 1 << (count - 1).bit_length())
