"""Perturbed weights: what the Hessian of the loss says about LoRA and FFT, in two readings of one claim.

The claim, of which we know a summary only: at LoRA's solution the loss rises more under a perturbation of the weights
than at FFT's. With A = A0 + D and loss L(A) = c E||y - A x||^2,

    L(A + e) - L(A) = <g, e> + (1/2) e^T H e,     g = h (D - Delta) Sigma,     e^T H e = h Tr(e Sigma e^T),     h = 2 c,

exactly: L is quadratic, and its Hessian H = h Sigma (x) I is the same at every point.

(a) *No retraining.* The same random e at both points. The gap between two points has mean 0: the claim fails.
(b) *Retraining.* After e, each method moves along its tangent space T to where it does best. FFT undoes e; LoRA is left
    with min over phi in T of (1/2) (e + phi)^T H (e + phi), which is 0 for e in T only: the claim holds at D = Delta,
    and where Delta has a higher rank, up to a curvature term that can reverse it (`expected_gap_at_optimum`).

The third reading, perturbed inputs, is `input_perturbation`. At LoRA's points T is the set of B' A + B A' for factors
D = B A: all phi with (I - P_U) phi (I - P_V) = 0, U and V orthonormal bases of the columns of B and the rows of A.

| point                            | U, V                        | dim T                | function               |
|----------------------------------|-----------------------------|----------------------|------------------------|
| rank(D) = r                      | columns and rows of D       | r (dx + dy - r)      | `tangent_space`        |
| B = 0, A of rank r (usual start) | none; rows of A             | r dy                 | `factor_tangent_space` |
| any B, A of ranks b, a           | columns of B, rows of A     | dy a + dx b - a b    | `factor_tangent_space` |
| rank(D) = k < r, factors unknown | (a tangent cone, no space)  | -                    | `cone_gap`             |

At rank(D) < r the definitions part: T depends on the factors and not on D alone, and the set of matrices of rank at
most r has a cone there. Source: arXiv 2505.22355 for the claim (a summary); every formula exact and derived here.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

#: Relative to the largest, singular values below this are rounding ...
_ROUNDING = 1e-10
#: ... and squared ones closer than this leave the best update of a rank undetermined.
_RELATIVE_GAP = 1e-9


class Loss(StrEnum):
    """Which loss: papers differ by the factor 1/2, and every Hessian and rise with them."""

    SQUARED = "squared"
    """E||y - A x||^2, whose excess is the risk of this package; H = 2 Sigma (x) I."""
    HALF_SQUARED = "half-squared"
    """(1/2) E||y - A x||^2; H = Sigma (x) I."""

    @property
    def curvature(self) -> float:
        """h in H = h Sigma (x) I: 2 or 1. The loss is (h / 2) E||y - A x||^2."""
        return 2.0 if self is Loss.SQUARED else 1.0


def curvature_of(loss: Loss | str) -> float:
    """h of a loss, or of its name. Raises `InvalidInput` for a name that is none."""
    return validation.choice("loss", loss, Loss).curvature


class Gap(NamedTuple):
    """A normal random variable by its `mean` and `std`, in units of the loss."""

    mean: float
    std: float


class TangentSpace(NamedTuple):
    """T = {U a + b V^T} for any a, b: `columns` U and `rows` V, orthonormal."""

    columns: Float[np.ndarray, "dy b"]
    rows: Float[np.ndarray, "dx a"]

    @property
    def dimension(self) -> int:
        """dim T = dy a + dx b - a b; r (dx + dy - r) for a = b = r."""
        (dy, b), (dx, a) = self.columns.shape, self.rows.shape
        return dy * a + dx * b - a * b

    @property
    def codimension(self) -> int:
        """dx dy - dim T = (dx - a) (dy - b)."""
        (dy, b), (dx, a) = self.columns.shape, self.rows.shape
        return (dx - a) * (dy - b)


# -- (a) no retraining ------------------------------------------------------------------------------------------


def hessian(problem: Problem, *, loss: Loss | str) -> Float[np.ndarray, "size size"]:
    """H = h Sigma (x) I, the Hessian of the loss in the entries of A, dx dy on a side.

    Entries of A are in row-major order (NumPy's and JAX's), so that H is block diagonal with dy blocks h Sigma;
    stacking columns gives Sigma (x) I in the usual Kronecker notation. FFT's and LoRA's solutions share it.
    """
    problem.require_centred("the Hessian of the loss")
    return curvature_of(loss) * np.kron(np.eye(problem.dy), problem.sigma)


def expected_rise(problem: Problem, *, perturbation_std: float | int, loss: Loss | str) -> float:
    """Expected rise of the loss when weights are perturbed and nothing is retrained: the same at every point.

        E [L(A + e) - L(A)] = (1/2) E e^T H e = (h / 2) tau^2 dy Tr(Sigma),      e ~ N(0, tau^2 I)

    `perturbation_std` is tau, in units of A. Any e of mean 0 and covariance tau^2 I will do, if independent of A.
    """
    problem.require_centred("the Hessian of the loss")
    tau = validation.nonnegative_number("perturbation_std", perturbation_std)
    return curvature_of(loss) / 2 * tau**2 * problem.dy * float(np.trace(problem.sigma))


def gap_without_retraining(
    problem: Problem,
    first: Float[np.ndarray, "dy dx"],
    second: Float[np.ndarray, "dy dx"],
    *,
    perturbation_std: float | int,
    loss: Loss | str,
) -> Gap:
    """Rise of the loss at one update minus the rise at another, under one perturbation e ~ N(0, tau^2 I).

        [L(A1 + e) - L(A1)] - [L(A2 + e) - L(A2)] = h <(D1 - D2) Sigma, e>  ~  N(0, h^2 tau^2 ||(D1 - D2) Sigma||_F^2)

    `first` D1 (LoRA's, say), `second` D2 (FFT's), `perturbation_std` tau. The quadratic terms cancel on every draw, so
    the mean is 0 whatever the updates; where they differ, a single draw favours either with probability 1/2.
    """
    problem.require_centred("the Hessian of the loss")
    tau = validation.nonnegative_number("perturbation_std", perturbation_std)
    difference = _update("first", first, problem) - _update("second", second, problem)
    return Gap(0.0, curvature_of(loss) * tau * float(np.linalg.norm(difference @ problem.sigma)))


# -- (b) retraining ---------------------------------------------------------------------------------------------


def tangent_space(update: Float[np.ndarray, "dy dx"], rank: int) -> TangentSpace:
    """Tangent space at D of the matrices of rank r: {U a + b V^T}, of dimension r (dx + dy - r).

    `update` D, `rank` r = rank(D). Raises `InvalidInput` for a D of another rank: below r the tangent space is that of
    the factors (`factor_tangent_space`), or a cone (`cone_gap`); above r it is no LoRA update.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=4, dy=3, spectrum=(2.0, 1.0), noise_std=1.0)
    >>> tangent = ll.theory.tangent_space(problem.shift, rank=2)
    >>> tangent.dimension, tangent.codimension
    (10, 2)
    """
    left, right = _bases("update", update)
    if rank != left.shape[1]:
        raise InvalidInput("update", f"a matrix of rank r = {rank}", f"rank {left.shape[1]}",
                           "below r use factor_tangent_space or cone_gap")  # fmt: skip
    return TangentSpace(left, right)


def factor_tangent_space(b: Float[np.ndarray, "dy r"], a: Float[np.ndarray, "r dx"]) -> TangentSpace:
    """The updates that first-order steps of the factors reach from D = B A: {B' A + B A'}.

    `b` B, `a` A, of any ranks. At LoRA's usual start, B = 0 and A of rank r, it is {B' A}, of dimension r dy: A does
    not move the product yet. Where B and A both have rank r it is `tangent_space` of B A.
    """
    if b.shape[1] != a.shape[0]:
        raise InvalidInput("b, a", "factors of a product B A", f"shapes {b.shape} and {a.shape}")
    return TangentSpace(_bases("b", b)[0], _bases("a", a)[1])


def hessian_gap(
    problem: Problem, tangent: TangentSpace, perturbation: Float[np.ndarray, "dy dx"], *, loss: Loss | str
) -> float:
    """What retraining inside T leaves of a perturbation e, in units of the loss.

        min_{phi in T} (1/2) (e + phi)^T H (e + phi) = (h / 2) || (I - U U^T) e Sigma^{1/2} (I - P) ||_F^2,

    P the projector on the range of Sigma^{1/2} V. In matrix form the middle is a Schur complement of Sigma:
    Sigma^{1/2} (I - P) Sigma^{1/2} = Sigma - Sigma V (V^T Sigma V)^+ V^T Sigma.

    Proof: U^T (e + phi) can be made 0; what is left, (I - U U^T) e + b V^T, is least squares in b. FFT's T is
    everything and its gap 0. Sigma > 0: the gap is 0 iff e lies in T.

    Validity: this is the rise of the retrained loss, up to O(||e||^3), at D = Delta of rank r, where g = 0. At another
    optimum of rank r there is also <g, e>, of mean 0, and the curvature of the matrices of rank r
    (`expected_gap_at_optimum`). `perturbation` e.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=4, dy=3, spectrum=(2.0, 1.0), noise_std=1.0)
    >>> tangent = ll.theory.tangent_space(problem.shift, rank=2)
    >>> f"{ll.theory.hessian_gap(problem, tangent, np.ones((3, 4)), loss=ll.theory.Loss.SQUARED):.3f}"
    '2.000'
    """
    problem.require_centred("the Hessian of the loss")
    e = _update("perturbation", perturbation, problem)
    return curvature_of(loss) / 2 * float(np.sum(_outside(problem, tangent, e) ** 2))


def expected_gap(problem: Problem, tangent: TangentSpace, *, perturbation_std: float | int, loss: Loss | str) -> float:
    """The mean of `gap` over e ~ N(0, tau^2 I).

        E gap = (h / 2) tau^2 (dy - b) [ Tr Sigma - Tr( (V^T Sigma V)^+ V^T Sigma^2 V ) ]

    b is the number of columns of U, and h / 2 = 1 for the loss without 1/2. Special cases: Sigma = I gives
    (h / 2) tau^2 times the codimension, (dx - r)(dy - r) at a point of rank r; LoRA's start (B = 0, A of rank r) has
    b = 0 and for Sigma = I gives (h / 2) tau^2 dy (dx - r). `perturbation_std` tau. Validity as in `gap`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=4, dy=3, spectrum=(2.0, 1.0), noise_std=1.0)
    >>> tangent = ll.theory.tangent_space(problem.shift, rank=2)
    >>> gap = ll.theory.expected_gap(problem, tangent, perturbation_std=0.1, loss=ll.theory.Loss.SQUARED)
    >>> f"{gap:.3f} = 0.1^2 * {tangent.codimension}"
    '0.020 = 0.1^2 * 2'
    """
    problem.require_centred("the Hessian of the loss")
    tau = validation.nonnegative_number("perturbation_std", perturbation_std)
    _require_shape(problem, tangent)
    dy, b = tangent.columns.shape
    unreachable = float(np.sum(_reject(problem.sigma_sqrt, problem, tangent.rows) ** 2))
    return curvature_of(loss) / 2 * tau**2 * (dy - b) * unreachable


def cone_gap(
    problem: Problem,
    update: Float[np.ndarray, "dy dx"],
    rank: int,
    perturbation: Float[np.ndarray, "dy dx"],
    *,
    loss: Loss | str,
) -> float:
    """What retraining leaves of e at a D of rank k <= r, over the tangent cone of the matrices of rank at most r.

        min_{phi in cone} (1/2) (e + phi)^T H (e + phi) = (h / 2) sum_{i > r - k} sigma_i(M)^2,
        M = (I - U U^T) e Sigma^{1/2} (I - P),     cone = {U a + b V^T + C: rank(C) <= r - k}

    U, V and P are those of D, as in `gap`, which this is at k = r: the r - k spare ranks take the largest singular
    values of what the tangent space cannot reach. Sigma > 0 is needed. At most the gap at any factors B A = D, whose
    tangent space lies in the cone. `update` D, `rank` r, `perturbation` e.
    """
    problem.require_centred("the Hessian of the loss")
    left, right = _bases("update", _update("update", update, problem))
    if validation.nonnegative_integer("rank", rank) < left.shape[1]:
        raise InvalidInput("rank", f"r >= rank(update) = {left.shape[1]}", rank)
    if problem.input_rank < problem.dx:
        raise InvalidInput("problem", "an input covariance of full rank", f"rank {problem.input_rank} of {problem.dx}")
    e = _update("perturbation", perturbation, problem)
    values = np.linalg.svd(_outside(problem, TangentSpace(left, right), e), compute_uv=False)
    return curvature_of(loss) / 2 * float(np.sum(values[rank - left.shape[1] :] ** 2))


def expected_gap_at_optimum(problem: Problem, rank: int, *, perturbation_std: float | int, loss: Loss | str) -> float:
    """Expected rise of LoRA's best population loss when A0 is perturbed and LoRA retrained, to second order in tau.

        (h / 2) tau^2 [ (dy - r) (Tr Sigma - sum_{i<=r} w_i) - sum_{i<=r<j} s_j^2 (w_i + w_j) / (s_i^2 - s_j^2) ],

    s_k, v_k: singular values and right singular vectors of Delta Sigma^{1/2}, w_k = v_k^T Sigma v_k (1 for Sigma = I).
    The first part is `expected_gap` at LoRA's optimum; the second is the curvature of the matrices of rank r against
    the gradient, and vanishes when Delta has rank r. It can outweigh the first: where s_r and s_{r+1} are close, a
    random perturbation gives the method of rank r something better to fit. FFT's rise is 0.

    Derivation: the best loss is (h / 2) times the energy of (Delta - e) Sigma^{1/2} beyond its r largest singular
    values, expanded to second order in e ~ N(0, tau^2 I); odd orders have mean 0, so the error is O(tau^4). `rank` r,
    at most rank(Delta Sigma^{1/2}), with s_r > s_{r+1}: otherwise `InvalidInput`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=4, dy=3, spectrum=(2.0, 1.0), noise_std=1.0)
    >>> gap = ll.theory.expected_gap_at_optimum(problem, rank=1, perturbation_std=0.1, loss=ll.theory.Loss.SQUARED)
    >>> f"{gap:.4f} = {0.1**2 * ((3 - 1) * (4 - 1) - 2 / (4 - 1)):.4f}"
    '0.0533 = 0.0533'
    """
    problem.require_centred("the Hessian of the loss")
    tau = validation.nonnegative_number("perturbation_std", perturbation_std)
    r = validation.nonnegative_integer("rank", rank)
    _, values, right = np.linalg.svd(problem.shift @ problem.sigma_sqrt)
    energy = np.append(values**2, 0.0)
    largest = len(values)
    if r > largest or (r > 0 and energy[r - 1] - energy[r] <= _RELATIVE_GAP * energy[0]):
        raise InvalidInput("rank", "a rank r with s_r > s_{r+1}, singular values of Delta Sigma^{1/2}", rank)
    weight = np.sum((right @ problem.sigma_sqrt) ** 2, axis=1)
    kept, lost = energy[:r, None], energy[None, r:largest]
    curvature = np.sum(lost * (weight[:r, None] + weight[None, r:largest]) / (kept - lost))
    return curvature_of(loss) / 2 * tau**2 * float((problem.dy - r) * np.sum(weight[r:]) - curvature)


def _outside(problem: Problem, tangent: TangentSpace, e: np.ndarray) -> np.ndarray:
    """(I - U U^T) e Sigma^{1/2} (I - P)."""
    _require_shape(problem, tangent)
    beyond = e - tangent.columns @ (tangent.columns.T @ e)
    return _reject(beyond @ problem.sigma_sqrt, problem, tangent.rows)


def _reject(rows: np.ndarray, problem: Problem, right: np.ndarray) -> np.ndarray:
    """`rows` (I - P), P the projector on the range of Sigma^{1/2} V."""
    basis, _ = _bases("tangent", problem.sigma_sqrt @ right)
    return rows - (rows @ basis) @ basis.T


def _bases(field: str, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the column and of the row space, at the numerical rank."""
    if not np.all(np.isfinite(matrix)):
        raise InvalidInput(field, "a matrix, all finite", matrix)
    u, values, vt = np.linalg.svd(matrix, full_matrices=False)
    rank = int(np.sum(values > _ROUNDING * np.max(values, initial=0.0)))
    return u[:, :rank], vt[:rank].T


def _update(field: str, value: np.ndarray, problem: Problem) -> np.ndarray:
    checked = validation.matrix(field, value, (problem.dy, problem.dx))
    if checked is None:
        raise InvalidInput(field, f"a dy x dx = {problem.dy} x {problem.dx} matrix", "nothing")
    return checked


def _require_shape(problem: Problem, tangent: TangentSpace) -> None:
    shape = (tangent.columns.shape[0], tangent.rows.shape[0])
    if shape != (problem.dy, problem.dx):
        raise InvalidInput("tangent", f"a space of dy x dx = {problem.dy} x {problem.dx} matrices", f"{shape}")
