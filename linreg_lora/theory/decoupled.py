"""Expected excess risk of linear classes that decouple by output: least squares separates, so it is exact.

u_1..u_dy an orthonormal basis of the outputs, class { D : u_j^T D in the row space of B_j }, B_j frozen, of any rank, and
nothing at all where an output has none. With k_j = rank(B_j Sigma B_j^T), v_j = u_j^T Sigma_eps u_j and what B_j misses,
b_j = min_a ||(u_j^T Delta - a B_j) Sigma^{1/2}||^2, every output is least squares on k_j features with noise v_j + b_j:

    risk = sum_j [ b_j + (v_j + b_j) k_j / (n - k_j - 1) ] = sum_j [ (v_j + b_j) (n - 1)/(n - k_j - 1) - v_j ]

for n > k_j + 1 wherever k_j > 0, any Sigma and Sigma_eps; an output without features has b_j. Each output is a frozen
restriction (`restricted`) on one row, which says what holds for fewer samples and with ridge.

Hybrids. To enlarge B_j, from (b, k) to (b', k'), helps iff

    (v + b') / (v + b) < (n - k' - 1) / (n - k - 1):

what is missed has to fall by more than the degrees of freedom do.

As n grows, n (risk - sum_j b_j) -> sum_j (v_j + b_j) k_j. After a perturbation e ~ N(0, tau^2 I) of A0 and retraining, the
population loss has risen by tau^2 sum_j [ Tr Sigma - Tr (B_j Sigma B_j^T)^+ B_j Sigma^2 B_j^T ]; for Sigma = I that is
tau^2 (dx dy - sum_j k_j). Source: derived here.
"""  # noqa: E501

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory import restricted

OF_EACH = "every output's misfit + FFT on its features"
EXACT = "sum_j [ (v_j + b_j) (n - 1) / (n - k_j - 1) - v_j ], exact"


class Piece(NamedTuple):
    """Outputs that see the same features, or each its own.

    `outputs` is U, dy x q with orthonormal columns (None: all outputs, as they are). `features` is B, k x dx, or
    q x k x dx with one for every output of U, in which rows of zeros count for nothing (None: all inputs).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> ll.theory.Piece(np.eye(3, 1)).features is None
    True
    """

    outputs: np.ndarray | None = None
    features: np.ndarray | None = None


class Outputs(NamedTuple):
    """Outputs that see as many features: sums over them of b_j (`missed`) and v_j (`noise`), k_j each (`size`), and how
    many they are (`count`); bias and variance.
    """

    missed: float
    noise: float
    size: int
    number: int
    bias: float
    variance: float
    exact: bool
    flagged: bool


class DecoupledRisk(NamedTuple):
    """`misspecification` + `bias` + `variance` = `risk`, in squared units of y; the first four as in `FrozenRisk`.

    `outputs`: what it is the sum of. `dimension`: of the class where inputs vary, sum_j k_j. `limit`: of
    n (risk - misspecification). `gap`: what retraining leaves of a perturbation, with tau = 1. `tail_index`: E risk^m
    is finite iff m < it.
    """

    misspecification: float
    bias: float
    variance: float
    formula: str
    flagged: bool
    dimension: int
    limit: float
    gap: float
    tail_index: float
    outputs: tuple[Outputs, ...]

    @property
    def risk(self) -> float:
        return math.inf if math.isinf(self.variance) else self.misspecification + self.bias + self.variance


def decoupled_risk(problem: Problem, pieces: Sequence[Piece]) -> DecoupledRisk:
    """The expected excess risk of the class of `pieces`, whose outputs are orthonormal together. See the module.

    Exact for n > k_j + 1, and for n < k_j - 1 where B_j Sigma B_j^T = s I; elsewhere, and with ridge, each output has
    what is known of FFT on its features, with the penalty on the coefficients of B_j. Raises `InvalidInput` for pieces
    that do not fit the problem.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> pieces = [ll.theory.Piece(np.eye(20, 2)), ll.theory.Piece(np.eye(20)[:, 2:], np.eye(3, 24))]
    >>> found = ll.theory.decoupled_risk(problem, pieces)
    >>> f"2 * 24 / 35 + 18 * 3 / 56 = {found.risk:.4f}, dimension {found.dimension}"
    '2 * 24 / 35 + 18 * 3 / 56 = 2.3357, dimension 102'
    """
    problem.require_gaussian("linear classes by theory")
    root, target = problem.sigma_sqrt, problem.shift @ problem.sigma_sqrt
    bases = [_basis(problem, piece) for piece in pieces]
    _require_orthogonal(bases)
    captured = sum((u @ (u.T @ target) for u in bases), np.zeros_like(target))
    untouched = float(np.sum(restricted.without_rounding(target - captured, target) ** 2))
    fits: list[Outputs] = []
    kept_energy = 0.0
    for piece, basis in zip(pieces, bases, strict=True):
        for rows, columns in _families(problem, piece, basis):
            right = np.eye(problem.dx) if rows is None else restricted.principal_axes(rows @ root)[1]
            if rows is not None and not len(right):
                untouched += float(np.sum((columns.T @ target) ** 2))
                continue
            kept_energy += columns.shape[1] * float(np.sum((right @ root) ** 2))
            fits.append(_fit(problem, columns, rows, right, target))
    return DecoupledRisk(
        misspecification=untouched + sum(fit.missed for fit in fits),
        bias=sum(fit.bias for fit in fits),
        variance=sum(fit.variance for fit in fits),
        formula=_formula(problem, fits),
        flagged=any(fit.flagged for fit in fits),
        dimension=sum(fit.size * fit.number for fit in fits),
        limit=sum((fit.missed + fit.noise) * fit.size for fit in fits),
        gap=problem.dy * float(np.trace(problem.sigma)) - kept_energy,
        tail_index=min((_tail(problem, fit) for fit in fits), default=math.inf),
        outputs=tuple(fits),
    )


def _fit(
    problem: Problem, columns: np.ndarray, rows: np.ndarray | None, right: np.ndarray, target: np.ndarray
) -> Outputs:
    """Outputs `columns` on features whose row space in the metric of Sigma is that of `right`."""
    own = columns.T @ target
    miss = np.zeros_like(own) if rows is None else restricted.without_rounding(own - (own @ right.T) @ right, target)
    missed, noise = float(np.sum(miss**2)), float(np.sum((columns.T @ problem.sigma_eps_sqrt) ** 2))
    size = problem.input_rank if rows is None else len(right)
    if problem.ridge == 0 and problem.n > size + 1:
        variance = (noise + missed) * size / (problem.n - size - 1)
        return Outputs(missed, noise, size, columns.shape[1], 0.0, variance, True, False)
    reduced = restricted.of_outputs(problem, columns).problem
    reduction = restricted.Reduction(reduced, 0.0) if rows is None else restricted.of_features(reduced, rows)
    found = restricted.of_reduction(reduction, "k_j")
    exact = found.formula.endswith("exact")
    return Outputs(missed, noise, size, columns.shape[1], found.bias, found.variance, exact, found.flagged)


def _formula(problem: Problem, fits: Sequence[Outputs]) -> str:
    if problem.ridge == 0 and all(problem.n > fit.size + 1 for fit in fits):
        return EXACT
    return OF_EACH + (", exact" if all(fit.exact for fit in fits) else ", of which some is an equivalent")


def _tail(problem: Problem, fit: Outputs) -> float:
    if problem.ridge > 0 or fit.missed + fit.noise == 0:
        return math.inf
    return (abs(problem.n - fit.size) + 1) / 2


def _families(problem: Problem, piece: Piece, basis: np.ndarray) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Features and the outputs that see them, for outputs with features of their own one by one."""
    if piece.features is None:
        return [(None, basis)]
    rows = validation.real_array("features", piece.features, f"a matrix k x {problem.dx}, or one for every output")
    if rows.ndim == 3 and len(rows) == basis.shape[1] and rows.shape[2] == problem.dx:
        return [(one[np.any(one, axis=1)], basis[:, [j]]) for j, one in enumerate(rows)]
    return [(restricted.matrix_of_rows("features", rows, problem.dx), basis)]


def _basis(problem: Problem, piece: Piece) -> np.ndarray:
    if piece.outputs is None:
        return np.eye(problem.dy)
    return restricted.orthonormal("outputs", piece.outputs, problem.dy).T


def _require_orthogonal(bases: Sequence[np.ndarray]) -> None:
    together = np.hstack(bases)
    error = float(np.max(np.abs(together.T @ together - np.eye(together.shape[1]))))
    if error > restricted.ORTHONORMAL:
        raise InvalidInput("pieces", "outputs orthogonal to those of the others", f"ones that are {error:.2g} off")
