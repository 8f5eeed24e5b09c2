"""A problem's covariances as the smallest blocks that the self-consistent equation needs.

Where Delta, Sigma and Sigma_eps are diagonal in matching bases, each pair of an input and an output direction is a
2 x 2 block; equal blocks are counted, not repeated. That covers isotropic inputs and noise with any Delta, every
ridgeless problem with n > dx and isotropic noise (only the singular values of Delta Sigma^{1/2} matter there), and
diagonal covariances. In general the directions that Delta couples form one block of matrices (`coupling`).

A pretraining covariance Sigma_pre may be any matrix: flipping the sign of a mode leaves the law of the data as it is,
so the mean of D^T h D is diagonal in the modes, and only the diagonal of Sigma_pre counts.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.contours.coupling import couple
from linreg_lora.theory.effective import effective_regularisation

#: Sigma_pre: None for the identity, a vector for a diagonal, or a matrix.
Pretraining = np.ndarray | None


class Blocks(NamedTuple):
    """A part of the coordinates that V does not couple to the rest, in a basis that makes V_00 diagonal.

    Either K pairs of one input and one output direction, `copies` times each, where every block is a vector of K
    scalars; or one pair of matrices, V_01 of shape (inputs, outputs). `pretraining` is the pretraining covariance on
    the inputs, its mean over directions that are counted together. `absent` marks coordinates that a pair lacks: there
    V = 0 and C = 1, and no trace counts them.
    """

    inputs: Float[np.ndarray, "i"]
    cross: Float[np.ndarray, "i"] | Float[np.ndarray, "i o"]
    outputs: Float[np.ndarray, "o"] | Float[np.ndarray, "o o"]
    pretraining: Float[np.ndarray, "i"] | Float[np.ndarray, "i i"]
    absent: tuple[Bool[np.ndarray, "i"], Bool[np.ndarray, "o"]]
    copies: Float[np.ndarray, "i"] | None

    @property
    def v(self) -> list[list[Any]]:
        """V by blocks."""
        return [[self.inputs, self.cross], [self.cross.T, self.outputs]]


class Pencil(NamedTuple):
    """The matrix M(z): sample size n, ridge eta, and V as independent parts."""

    n: float
    ridge: float
    parts: tuple[Blocks, ...]


class Ridgeless(NamedTuple):
    """Eigenvalues of V_11 and, on its eigenvectors, the diagonals of the matrices in S1 and S2, with multiplicities.

    `kappa` and df2 are those of `theory.effective`; `df2_pretraining` and `second_pretraining` are df2 and the matrix
    of S2 for Sigma_pre.
    """

    n: float
    kappa: float
    df2: float
    df2_pretraining: float
    eigenvalues: Float[np.ndarray, "K"]
    first: Float[np.ndarray, "K"]
    second: Float[np.ndarray, "K"]
    second_pretraining: Float[np.ndarray, "K"]
    multiplicity: Float[np.ndarray, "K"]


class Modes(NamedTuple):
    """Independent modes: `variance` l, `strength` s and `noise` e of each distinct mode, and how many `copies` it has.

    A mode is a pair (input and output), or an input alone (e = 0, `has_output` false), or an output alone (l = 0).
    `pretraining`: the mean of v^T Sigma_pre v over the copies' input directions v.
    """

    variance: np.ndarray
    strength: np.ndarray
    noise: np.ndarray
    has_input: np.ndarray
    has_output: np.ndarray
    copies: np.ndarray
    pretraining: np.ndarray


def modes(problem: Problem, pretraining: Pretraining = None) -> Modes | None:
    """The modes of a problem whose inputs have full rank; None where its matrices do not share their bases."""
    problem.require_gaussian("the deterministic equivalent")
    invariant = _is_invariant(problem)
    scale, noise = problem.isotropic_scale, problem.isotropic_noise_scale
    if noise is not None and (invariant or scale is not None):
        return _isotropic_modes(problem, pretraining, noise * problem.noise_std**2)
    covariances = (problem.input_covariance, problem.noise_covariance)
    if problem.task_shift is None and all(c is None or c.ndim == 1 for c in covariances):
        return _diagonal_modes(problem, pretraining, invariant)
    return None


def pencil(problem: Problem, ridge: float, pretraining: Pretraining = None) -> Pencil:
    """The pencil of a problem, with `ridge` in place of its own (0: overdetermined problems only)."""
    if ridge == 0 and problem.regime is not Regime.OVERDETERMINED:
        raise InvalidInput("ridge", "a ridge > 0 for n <= dx", 0, "below the threshold use `ridgeless`")
    found = modes(problem, pretraining)
    parts = (_scalars(found),) if found is not None else _matrices(problem, pretraining)
    return Pencil(float(problem.n), float(ridge), parts)


def ridgeless(problem: Problem, pretraining: Pretraining = None) -> Ridgeless:
    """The ridgeless limit of an underdetermined problem, for any Sigma and Sigma_eps."""
    found = modes(problem, pretraining)
    if found is not None:
        values, has_input = found.variance, found.has_input
        kappa = effective_regularisation(np.repeat(values[has_input], found.copies[has_input]), problem.n, 0.0)
        share = found.copies * values / (values + kappa) ** 2
        df2, df2_pretraining = np.sum(share * values), np.sum(share * found.pretraining)
        keep = found.has_output
        l, s, e, count = (a[keep] for a in (found.variance, found.strength, found.noise, found.copies))  # noqa: E741
        eigenvalues, first = l * s**2 + e, s**2 * l**2 / (l + kappa)
        weight = s**2 * l**2 / (l + kappa) ** 2
        second, second_pretraining = weight * l, weight * found.pretraining[keep]
    else:
        values, basis = np.linalg.eigh(problem.sigma)
        kappa = effective_regularisation(np.clip(values, 0, None), problem.n, 0.0)
        before = basis.T @ _as_matrix(pretraining, problem.dx) @ basis
        df2 = np.sum((values / (values + kappa)) ** 2)
        df2_pretraining = np.sum(np.diag(before) * values / (values + kappa) ** 2)
        rotated = problem.shift @ basis
        eigenvalues, vectors = np.linalg.eigh((rotated * values) @ rotated.T + problem.sigma_eps)
        seen = vectors.T @ rotated
        filtered = seen * (values / (values + kappa))
        first, second = seen**2 @ (values**2 / (values + kappa)), filtered**2 @ values
        second_pretraining = np.sum((filtered @ before) * filtered, axis=1)
        count = np.ones(problem.dy)
    columns = (np.asarray(a, dtype=float) for a in (eigenvalues, first, second, second_pretraining, count))
    return Ridgeless(float(problem.n), kappa, float(df2), float(df2_pretraining), *columns)


def largest_block(problem: Problem) -> int:
    """Directions, inputs and outputs together, in the largest block: what the finite-size correction costs."""
    if modes(problem) is not None:
        return 2
    sigma, shift, _ = _reduced(problem, None)
    return sum(couple(sigma, shift, problem.sigma_eps).shift.shape)


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


def _is_invariant(problem: Problem) -> bool:
    """Whether Sigma matters through Delta Sigma^{1/2} alone."""
    return problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED


def _isotropic_modes(problem: Problem, pretraining: Pretraining, noise: float) -> Modes:
    variance, shift = problem.isotropic_scale, problem.task_shift
    if variance is None:
        variance, shift = 1.0, problem.shift @ problem.sigma_sqrt
        pretraining = _whitened(problem, pretraining)
    if shift is None:
        strengths = np.zeros(min(problem.dx, problem.dy))
        strengths[: len(problem.spectrum or ())] = problem.spectrum
        forgotten = _diagonal(pretraining, problem.dx)
    elif pretraining is None:
        strengths, forgotten = np.linalg.svd(shift, compute_uv=False), np.ones(problem.dx)
    else:
        _, strengths, right = np.linalg.svd(shift)
        forgotten = np.sum((right @ _as_matrix(pretraining, problem.dx)) * right, axis=1)
    active = int(np.count_nonzero(strengths > 0))
    pairs, dx, dy = len(strengths), problem.dx, problem.dy
    values, index, counts = np.unique(strengths[:active], return_inverse=True, return_counts=True)
    means = np.bincount(index, forgotten[:active], len(values)) / np.maximum(counts, 1)
    rest = float(np.mean(forgotten[active:])) if dx > active else 0.0
    rows = [(variance, s, noise, True, True, c, m) for s, c, m in zip(values, counts, means, strict=True)]
    rows += [(variance, 0.0, noise, True, True, pairs - active, rest)] if pairs > active else []
    rows += [(variance, 0.0, 0.0, True, False, dx - pairs, rest)] if dx > pairs else []
    rows += [(0.0, 0.0, noise, False, True, dy - pairs, 0.0)] if dy > pairs else []
    return Modes(*(np.array(column) for column in zip(*rows, strict=True)))


def _diagonal_modes(problem: Problem, pretraining: Pretraining, invariant: bool) -> Modes:
    size, pairs = max(problem.dx, problem.dy), min(problem.dx, problem.dy)
    table, forgotten = np.zeros((size, 5)), np.zeros(size)
    table[: problem.dx, 0] = 1.0 if problem.input_covariance is None else problem.input_covariance
    spectrum = np.asarray(problem.spectrum)
    table[: len(spectrum), 1] = spectrum
    shape = 1.0 if problem.noise_covariance is None else problem.noise_covariance
    table[: problem.dy, 2] = problem.noise_std**2 * shape
    table[: problem.dx, 3], table[: problem.dy, 4] = 1, 1
    forgotten[: problem.dx] = _diagonal(pretraining, problem.dx)
    if invariant:
        table[:pairs, 1] *= np.sqrt(table[:pairs, 0])
        forgotten[: problem.dx] /= table[: problem.dx, 0]
        table[: problem.dx, 0] = 1.0
    rows, index, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    means = np.bincount(index.ravel(), forgotten) / counts
    return Modes(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] > 0, rows[:, 4] > 0, counts, means)


def _scalars(found: Modes) -> Blocks:
    l, s, e = found.variance, found.strength, found.noise  # noqa: E741
    absent = (~found.has_input, ~found.has_output)
    return Blocks(l, l * s, l * s**2 + e, found.pretraining, absent, found.copies.astype(float))


def _matrices(problem: Problem, pretraining: Pretraining) -> tuple[Blocks, ...]:
    """The directions that Delta couples as matrices, all others as scalars."""
    sigma, shift, before = _reduced(problem, pretraining)
    block = couple(sigma, shift, problem.sigma_eps)
    cross = block.variances[:, None] * block.shift.T
    outputs = block.shift @ cross + np.diag(block.noise)
    forgotten = block.inputs.T @ before @ block.inputs
    matrices = Blocks(
        inputs=block.variances,
        cross=cross,
        outputs=outputs,
        pretraining=forgotten,
        absent=(np.zeros(len(block.variances), dtype=bool), np.zeros(len(block.noise), dtype=bool)),
        copies=None,
    )
    alone = np.sum((before @ block.other_inputs) * block.other_inputs, axis=0)
    l, e = block.other_variances, block.other_noise  # noqa: E741
    is_input = np.arange(len(l) + len(e)) < len(l)
    rest = Modes(
        variance=np.pad(l, (0, len(e))),
        strength=np.zeros(len(is_input)),
        noise=np.pad(e, (len(l), 0)),
        has_input=is_input,
        has_output=~is_input,
        copies=np.ones(len(is_input), dtype=int),
        pretraining=np.pad(alone, (0, len(e))),
    )
    return matrices, _scalars(rest)


def _reduced(problem: Problem, pretraining: Pretraining) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sigma, Delta and Sigma_pre, in coordinates with Sigma = I where Sigma matters through Delta Sigma^{1/2} alone."""
    if _is_invariant(problem):
        return np.eye(problem.dx), problem.shift @ problem.sigma_sqrt, _whitened(problem, pretraining)
    return problem.sigma, problem.shift, _as_matrix(pretraining, problem.dx)


def _whitened(problem: Problem, pretraining: Pretraining) -> np.ndarray:
    """Sigma^{-1/2} Sigma_pre Sigma^{-1/2}."""
    inverse = np.linalg.inv(problem.sigma_sqrt)
    return inverse @ _as_matrix(pretraining, problem.dx) @ inverse


def _diagonal(pretraining: Pretraining, size: int) -> np.ndarray:
    if pretraining is None:
        return np.ones(size)
    return pretraining if pretraining.ndim == 1 else np.diagonal(pretraining)


def _as_matrix(pretraining: Pretraining, size: int) -> np.ndarray:
    return np.diag(_diagonal(pretraining, size)) if pretraining is None or pretraining.ndim == 1 else pretraining
