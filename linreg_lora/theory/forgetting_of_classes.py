"""Forgetting of methods with frozen factors, and of linear classes that decouple by output.

    forgetting(D) = ||D Sigma_pre^{1/2}||_F^2,      Sigma_pre: second moments of the pretraining inputs (`forgetting`)

D = U C B with U orthonormal forgets what C does on the reduced problem (`restricted`), where Sigma_pre' = B Sigma_pre B^T:
||U C B Sigma_pre^{1/2}||^2 = ||C Sigma_pre'^{1/2}||^2, draw by draw, so for every rank of C, regime and ridge.

Outputs u_j are orthonormal together, so what they forget adds up. Ridgeless with n > k_j + 1 it is exact: C is unbiased,
with variance v_j + b_j (`decoupled`) and E (Z Z^T)^{-1} = Sigma'^{-1} / (n - k_j - 1), so with a_j the best on B_j,

    E ||u_j^T D Sigma_pre^{1/2}||^2 = a_j Sigma_pre' a_j^T + (v_j + b_j) Tr(Sigma'^{-1} Sigma_pre') / (n - k_j - 1)

For Sigma_pre = Sigma this is ||a_j B_j Sigma^{1/2}||^2 + (v_j + b_j) k_j / (n - k_j - 1): what is learnt, and the same
variance as in the risk. Elsewhere each output has what is known of FFT's forgetting on its features. Source: derived here.
"""  # noqa: E501

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory import decoupled, restricted
from linreg_lora.theory.forgetting import expected_forgetting

EXACT = "sum_j [ a_j Sigma_pre' a_j^T + (v_j + b_j) Tr(Sigma'^-1 Sigma_pre') / (n - k_j - 1) ], exact"
OF_EACH = "every output's forgetting by FFT's on its features"


class ClassForgetting(NamedTuple):
    """E ||D Sigma_pre^{1/2}||_F^2 in squared units of y, and which `formula` gave it.

    `flagged`: it may be off by more than 1 %, as for FFT (`forgetting.Forgetting`).
    """

    forgetting: float
    formula: str
    flagged: bool = False


class ReducedForgetting(NamedTuple):
    """The `problem` of C, and Sigma_pre' in the coordinates of its inputs."""

    problem: Problem
    pretraining_covariance: np.ndarray


def class_forgetting(
    problem: Problem, pieces: Sequence[decoupled.Piece], pretraining_covariance: object = None
) -> ClassForgetting:
    """The expected forgetting of the class of `pieces`, whose outputs are orthonormal together. See the module.

    `pieces` as in `theory.decoupled_risk`; `pretraining_covariance` Sigma_pre: None for the identity, a length-dx
    vector or a dx x dx matrix. inf where the mean does not exist. Raises `InvalidInput` for inputs that are not
    Gaussian of mean zero and for pieces that do not fit, `NumericalFailure` where FFT's forgetting is not known.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> pieces = [ll.theory.Piece(np.eye(20, 2)), ll.theory.Piece(np.eye(20)[:, 2:], np.eye(3, 24))]
    >>> found = ll.theory.class_forgetting(problem, pieces)
    >>> f"9 + 4 + 1 + 2 * 24 / 35 + 18 * 3 / 56 = {found.forgetting:.4f}"
    '9 + 4 + 1 + 2 * 24 / 35 + 18 * 3 / 56 = 16.3357'
    """
    problem.require_gaussian("forgetting")
    before = _matrix(problem, pretraining_covariance)
    found = [
        _of_outputs(problem, rows, columns, before)
        for piece in pieces
        for rows, columns in decoupled._families(problem, piece, decoupled._basis(problem, piece))
    ]
    formulas = {one.formula for one in found}
    formula = EXACT
    if formulas - {EXACT}:
        exact = all(one.endswith("exact") for one in formulas)
        formula = OF_EACH + (", exact" if exact else ", of which some is an equivalent")
    return ClassForgetting(sum(one.forgetting for one in found), formula, any(one.flagged for one in found))


def reduced_forgetting(
    problem: Problem,
    output_factor: object = None,
    input_factor: object = None,
    pretraining_covariance: object = None,
) -> ReducedForgetting:
    """The problem and Sigma_pre' of which LoRA of rank r, or FFT, forgets what D = U C B does, rank(C) <= r.

    `output_factor` U and `input_factor` B as in `theory.restricted_risk`, `pretraining_covariance` as in
    `class_forgetting`. Without B the inputs are the principal axes of x that vary: nothing else is ever updated.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> reduced, before = ll.theory.reduced_forgetting(problem, np.eye(20, 2), np.eye(4, 24))
    >>> f"{ll.expected_forgetting(reduced, [2], before).forgetting[0]:.3f} = 9 + 4 + 2 * 4 / 55"
    '13.145 = 9 + 4 + 2 * 4 / 55'
    """
    problem.require_gaussian("forgetting")
    before = _matrix(problem, pretraining_covariance)
    if output_factor is not None:
        problem = restricted.of_outputs(
            problem, restricted.orthonormal("output_factor", output_factor, problem.dy).T
        ).problem
    rows = None if input_factor is None else restricted.matrix_of_rows("input_factor", input_factor, problem.dx)
    return _of_features(problem, rows, before)


def _of_features(problem: Problem, rows: np.ndarray | None, before: np.ndarray) -> ReducedForgetting:
    rows = np.eye(problem.dx) if rows is None else rows
    reduced = restricted.of_features(problem, rows).problem
    _, _, axes = _axes(problem, rows)
    moved = axes @ before @ axes.T
    return ReducedForgetting(reduced, (moved + moved.T) / 2)


def _axes(problem: Problem, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values and right vectors of B Sigma^{1/2}, and E = U^T B: the features' principal axes are E x."""
    seen = rows @ problem.sigma_sqrt
    values, right = restricted.principal_axes(seen)
    return values, right, ((seen @ right.T) / values).T @ rows


def _of_outputs(problem: Problem, rows: np.ndarray | None, columns: np.ndarray, before: np.ndarray) -> ClassForgetting:
    """What the outputs `columns` forget, which see the features `rows` (None: all inputs)."""
    values, right, axes = _axes(problem, np.eye(problem.dx) if rows is None else rows)
    size = len(values)
    if not size:
        return ClassForgetting(0.0, EXACT)
    if problem.ridge == 0 and problem.n > size + 1:
        target = problem.shift @ problem.sigma_sqrt
        own = columns.T @ target
        seen = own @ right.T
        missed = restricted.without_rounding(own - seen @ right, target)
        noise = float(np.sum((columns.T @ problem.sigma_eps_sqrt) ** 2)) + float(np.sum(missed**2))
        moved = axes @ before @ axes.T
        best = seen / values
        learnt = float(np.sum((best @ moved) * best))
        spread = float(np.sum(np.diagonal(moved) / values**2))
        return ClassForgetting(learnt + noise * spread / (problem.n - size - 1), EXACT)
    reduced, moved = _of_features(restricted.of_outputs(problem, columns).problem, rows, before)
    if reduced.moments is Moments.NO_MEAN:
        return ClassForgetting(math.inf, reduced.moments_note)
    found = expected_forgetting(reduced, [0], moved)
    if math.isnan(found.fft_forgetting):
        raise NumericalFailure(found.note)
    return ClassForgetting(found.fft_forgetting, found.fft_formula, found.fft_flagged)


def _matrix(problem: Problem, covariance: object) -> np.ndarray:
    """Sigma_pre as a matrix."""
    given = validation.covariance("pretraining_covariance", covariance, problem.dx)
    if given is None:
        return np.eye(problem.dx)
    return np.diag(given) if given.ndim == 1 else given
