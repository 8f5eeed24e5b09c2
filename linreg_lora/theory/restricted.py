"""Expected excess risk of D = U C B with U and B frozen and C trained: exactly that of LoRA or FFT on another problem.

U (dy x q) has orthonormal columns, B (k x dx) is any matrix; C is of minimum norm, or has the penalty eta ||C||_F^2.
In law, so for every moment, rank of C, regime and ridge,

    risk( D; n, Delta, Sigma, Sigma_eps ) = c + risk( C; n, Delta', Sigma', Sigma_eps' ),      c = c_U + Tr M

    outputs:   Delta -> U^T Delta,  Sigma_eps -> U^T Sigma_eps U,      c_U = ||(I - U U^T) Delta Sigma^{1/2}||_F^2
    features:  Sigma' = B Sigma B^T,  Delta' = Delta Sigma B^T Sigma'^+,  Sigma_eps' = Sigma_eps + M,
               M = Delta Sigma Delta^T - Delta' Sigma' Delta'^T

Proof. U^T U = I splits the loss, and outputs outside of U see no C. z = B x is N(0, Sigma'), and Delta x = Delta' z + w
with w ~ N(0, M) independent of z; so the data are those of the primed problem, with w + eps for noise, and
||(C B - Delta) Sigma^{1/2}||^2 = Tr M + ||(C - Delta') Sigma'^{1/2}||^2 for every C.

So the interpolation threshold lies at n = rank(Sigma'), and with C of any rank and k' = rank(Sigma'),

    n > k' + 1:                 c + Tr(Sigma_eps') k' / (n - k' - 1)
    n < k' - 1, Sigma' = s I:   c + s ||Delta'||_F^2 (1 - n/k') + Tr(Sigma_eps') n / (k' - n - 1)

For n < k', and with ridge, the risk depends on B itself and not on its row space alone: the norm of C is not that of D.
`frozen` is the case of orthonormal rows. Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.fft import fft_risk

#: Largest entry of Q^T Q - I of a factor that counts as orthonormal; features of so equal variances are isotropic.
ORTHONORMAL = 1e-10


class FrozenRisk(NamedTuple):
    """`misspecification` + `bias` + `variance` = `risk`, in squared units of y; `formula` says which result was used.

    `misspecification`: what the frozen factors cannot represent. `bias`: what they could, and too few samples or the
    ridge leave out. `variance`: from the noise, and with features also from what these miss, which acts as noise.
    `flagged`: as for FFT (`theory.fft.FFTRisk`).
    """

    misspecification: float
    bias: float
    variance: float
    formula: str
    flagged: bool = False

    @property
    def risk(self) -> float:
        return math.inf if math.isinf(self.variance) else self.misspecification + self.bias + self.variance


class Reduction(NamedTuple):
    """The problem whose FFT risk, plus `misspecification`, is the risk of the method with frozen factors."""

    problem: Problem
    misspecification: float


def restricted_risk(problem: Problem, output_factor: object = None, input_factor: object = None) -> FrozenRisk:
    """Expected excess risk of D = U C B, C of any rank. See the module.

    `output_factor` is U, dy x q with orthonormal columns (None: the identity), `input_factor` B, any k x dx (None: the
    identity). Exact for n >= rank(B Sigma B^T), and for fewer samples where that is isotropic; elsewhere the equivalent
    of the reduced problem. inf where |n - rank(B Sigma B^T)| <= 1 with noise or misfit and no ridge.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.restricted_risk(problem, np.eye(20, 2), np.eye(1, 24))
    >>> f"1 + 4 + (2 + 4) / (60 - 1 - 1) - {found.risk:.4f} = {5 + 6 / 58 - found.risk:.0f}"
    '1 + 4 + (2 + 4) / (60 - 1 - 1) - 5.1034 = 0'
    """
    return of_reduction(restricted_reduction(problem, output_factor, input_factor), "rank(B Sigma B^T)")


def restricted_reduction(problem: Problem, output_factor: object = None, input_factor: object = None) -> Reduction:
    """The problem of C: outputs U^T y, features B x in their principal axes; and c. Arguments as in `restricted_risk`.

    LoRA of rank r on it is the method with rank(C) <= r.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> reduced, missed = ll.theory.restricted_reduction(problem, np.eye(20, 2), np.eye(4, 24))
    >>> f"{reduced.dx} features, {reduced.dy} outputs, {missed:.0f} out of reach"
    '4 features, 2 outputs, 1 out of reach'
    """
    problem.require_gaussian("frozen factors by theory")
    missed = 0.0
    if output_factor is not None:
        columns = orthonormal("output_factor", output_factor, problem.dy).T
        problem, missed = of_outputs(problem, columns)
    if input_factor is not None:
        problem, lost = of_features(problem, matrix_of_rows("input_factor", input_factor, problem.dx))
        missed += lost
    return Reduction(problem, missed)


def of_reduction(reduction: Reduction, size: str) -> FrozenRisk:
    """The risk by FFT's on the reduced problem; `size` is what n is compared with in its words."""
    reduced, missed = reduction
    if reduced.moments is Moments.NO_MEAN:
        limit = f"the mean is infinite: |n - {size}| > 1 or ridge > 0 is needed, n = {reduced.n}, {size} = {reduced.input_rank}"  # noqa: E501
        return FrozenRisk(missed, math.nan, math.inf, limit)
    fit = fft_risk(reduced)
    formula = f"misspecification + FFT of the reduced problem: {fit.formula}"
    return FrozenRisk(missed, fit.bias, fit.variance, formula, fit.flagged)


def of_outputs(problem: Problem, columns: np.ndarray) -> Reduction:
    """The problem of the outputs U^T y, U orthonormal columns, and c_U."""
    problem.require_gaussian("frozen factors by theory")
    scale = problem.isotropic_noise_scale
    if scale is not None:
        noise_std, noise_covariance = problem.noise_std * math.sqrt(scale), None
    else:
        root = without_rounding(columns.T @ problem.sigma_eps_sqrt, problem.sigma_eps_sqrt)
        noisy = bool(np.any(root))
        noise_std, noise_covariance = (1.0, root @ root.T) if noisy else (0.0, None)
    reduced = Problem(
        n=problem.n,
        dx=problem.dx,
        dy=columns.shape[1],
        noise_std=noise_std,
        input_covariance=problem.input_covariance,
        noise_covariance=noise_covariance,
        ridge=problem.ridge,
        task_shift=columns.T @ problem.shift,
    )
    target = problem.shift @ problem.sigma_sqrt
    missed = target - columns @ (columns.T @ target)
    return Reduction(reduced, float(np.sum(missed**2)))


def of_features(problem: Problem, rows: np.ndarray) -> Reduction:
    """The problem of the features B x, and Tr M.

    Its inputs are the principal axes of B x with variance: a rotation of the features, which keeps the norm of C.
    """
    variances, shift, missed = features(problem, rows)
    noisier = bool(np.any(missed))
    reduced = Problem(
        n=problem.n,
        dx=len(variances),
        dy=problem.dy,
        noise_std=1.0 if noisier else problem.noise_std,
        input_covariance=None if np.all(variances == 1.0) else variances,
        noise_covariance=problem.sigma_eps + missed if noisier else problem.noise_covariance,
        ridge=problem.ridge,
        task_shift=shift,
    )
    return Reduction(reduced, float(np.trace(missed)))


def features(problem: Problem, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The variances of the principal axes of B x, Delta' on them, and M, from B Sigma^{1/2} = U diag(d) V^T."""
    problem.require_gaussian("frozen factors by theory")
    root = problem.sigma_sqrt
    values, right = principal_axes(rows @ root)
    if not len(values):
        raise InvalidInput("input_factor", "features B x with some variance", "B Sigma B^T = 0")
    target = problem.shift @ root
    seen = target @ right.T
    missed = without_rounding(target - seen @ right, target)
    variances = values**2
    scale = problem.isotropic_scale or float(np.mean(variances))
    for level in (scale, float(np.mean(variances))):
        if np.max(np.abs(variances - level)) <= ORTHONORMAL * level:
            variances = np.full(len(variances), level)
            break
    return variances, seen / values, missed @ missed.T


def principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The singular values of a matrix that are no rounding, and its right singular vectors as rows."""
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    kept = (values > 0) & (values**2 > len(rows) * np.finfo(float).eps * values[:1] ** 2)
    return values[kept], right[kept]


def without_rounding(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part`, or zero where it is what rounding leaves of `whole`: it would pass for noise."""
    rounding = 10 * max(whole.shape) * np.finfo(float).eps * np.linalg.norm(whole)
    return part if np.linalg.norm(part) > rounding else np.zeros_like(part)


def matrix_of_rows(field: str, factor: object, size: int) -> np.ndarray:
    """A frozen factor as rows of length `size`, of any norm."""
    expected = f"a matrix k x {size}"
    array = validation.real_array(field, factor, expected)
    if array.ndim != 2 or array.shape[1] != size or not len(array):
        raise InvalidInput(field, expected, f"shape {array.shape}")
    return array


def orthonormal(field: str, factor: object, size: int) -> np.ndarray:
    """A frozen factor as r orthonormal rows of length `size`; `output_factor` is given transposed."""
    rows_wanted = field == "input_factor"
    shape, what = (f"r x {size}", "rows") if rows_wanted else (f"{size} x r", "columns")
    expected = f"a matrix {shape} with 1 <= r <= {size} and orthonormal {what}"
    array = validation.real_array(field, factor, expected)
    rows = array if rows_wanted else array.T
    if array.ndim != 2 or rows.shape[1] != size or not 1 <= len(rows) <= size:
        raise InvalidInput(field, expected, f"shape {array.shape}")
    error = float(np.max(np.abs(rows @ rows.T - np.eye(len(rows)))))
    if error > ORTHONORMAL:
        raise InvalidInput(field, expected, f"{what} that are {error:.2g} off", "use numpy.linalg.qr(...).Q")
    return rows
