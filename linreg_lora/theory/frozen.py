"""Expected excess risk of LoRA with one factor frozen (D = B A, the other factor by least squares): exact reductions.

Frozen A (r x dx, orthonormal rows). Condition on the features z = A x: x = C z + x', with C = Sigma A^T S^{-1},
S = A Sigma A^T, and x' Gaussian, independent of z, with the Schur complement Sigma - Sigma A^T S^{-1} A Sigma for
covariance. So R regresses on z with coefficient Delta C, and Delta x', which A cannot represent, is noise beside eps:

    risk = Tr M + FFT risk( n, dx -> r, Sigma -> S, Delta -> Delta C, Sigma_eps -> Sigma_eps + M ),
    M = Delta (Sigma - Sigma A^T S^{-1} A Sigma) Delta^T

    n > r + 1:                Tr M + Tr(Sigma_eps + M) r / (n - r - 1)
    n < r - 1, Sigma = c I:   Tr M + c ||Delta A^T||_F^2 (1 - n/r) + Tr(Sigma_eps + M) n / (r - n - 1)

For Sigma = I, Sigma_eps = sigma^2 I the first is sum_j [b_j + (sigma^2 + b_j) r/(n - r - 1)] over the outputs, with
b_j = M_jj = ||Delta_j (I - A^T A)||^2. It does not matter on which side of n dx lies.

Frozen B (dy x r, orthonormal columns). D = B B^T D_FFT, and (I - B B^T) Delta is out of reach:

    risk = ||(I - B B^T) Delta Sigma^{1/2}||_F^2 + FFT risk( n, dx, dy -> r, Delta -> B^T Delta, Sigma_eps -> B^T Sigma_eps B )

    n > dx + 1:               ||(I - B B^T) Delta Sigma^{1/2}||_F^2 + Tr(B^T Sigma_eps B) dx / (n - dx - 1)
    n < dx - 1, Sigma = c I:  c ||Delta||_F^2 - c ||B^T Delta||_F^2 n/dx + Tr(B^T Sigma_eps B) n / (dx - n - 1)

Everything in this file was derived here. The reductions are exact for Gaussian data in every regime, with ridge too;
how the FFT risk of the smaller problem is known is said by its formula (`theory.fft`).
"""  # noqa: E501

import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.fft import fft_risk

#: Largest entry of Q^T Q - I of a factor that counts as orthonormal.
_ORTHONORMAL = 1e-10


class FrozenRisk(NamedTuple):
    """`misspecification` + `bias` + `variance` = `risk`, in squared units of y; `formula` says which result was used.

    `misspecification`: what the frozen factor cannot represent. `bias`: what it could, and too few samples or the ridge
    leave out. `variance`: from the noise, and with A frozen also from the misspecification, which acts as noise.
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
    """The problem whose FFT risk, plus `misspecification`, is the risk of the method with a frozen factor."""

    problem: Problem
    misspecification: float


def frozen_a_risk(problem: Problem, input_factor: object) -> FrozenRisk:
    """Expected excess risk with A frozen, `input_factor` A: r x dx with orthonormal rows. See the module.

    Ridgeless it is exact for n >= r with any covariances, and for n < r with Sigma = c I; otherwise it is the
    deterministic equivalent of the reduced problem. inf where |n - r| <= 1 with noise or misspecification and no ridge:
    the mean does not exist there. r is rank(A Sigma A^T) where Sigma is singular.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.frozen_a_risk(problem, np.eye(2, 24))
    >>> f"s_3^2 = {found.misspecification:.3f}, (20 + s_3^2) 2 / (60 - 2 - 1) = {found.variance:.3f}"
    's_3^2 = 1.000, (20 + s_3^2) 2 / (60 - 2 - 1) = 0.737'
    """
    return _risk(frozen_a_reduction(problem, input_factor), "r")


def frozen_b_risk(problem: Problem, output_factor: object) -> FrozenRisk:
    """Expected excess risk with B frozen, `output_factor` B: dy x r with orthonormal columns. See the module.

    Ridgeless it is exact for n >= dx with any covariances, and for n < dx with Sigma = c I; otherwise it is the
    deterministic equivalent of the reduced problem. inf where |n - dx| <= 1 with noise B^T eps and no ridge: the mean
    does not exist there. dx is rank(Sigma) where Sigma is singular.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.frozen_b_risk(problem, np.eye(20, 2))
    >>> f"s_3^2 = {found.misspecification:.3f}, 2 * 24 / (60 - 24 - 1) = {found.variance:.3f}"
    's_3^2 = 1.000, 2 * 24 / (60 - 24 - 1) = 1.371'
    """
    return _risk(frozen_b_reduction(problem, output_factor), "dx")


def misspecification_covariance(problem: Problem, input_factor: object) -> np.ndarray:
    """M = Delta (Sigma - Sigma A^T (A Sigma A^T)^+ A Sigma) Delta^T, dy x dy: what a frozen A leaves of every output.

    Its diagonal holds the b_j. Zero, exactly, where A represents Delta to rounding.
    """
    problem.require_gaussian("frozen factors by theory")
    return _features(problem, _rows("input_factor", input_factor, problem.dx))[2]


def frozen_a_reduction(problem: Problem, input_factor: object) -> Reduction:
    """The FFT problem of regressing the residual on the features A x, and Tr M."""
    problem.require_gaussian("frozen factors by theory")
    rows = _rows("input_factor", input_factor, problem.dx)
    covariance, shift, missed = _features(problem, rows)
    noisier = bool(np.any(missed))
    reduced = Problem(
        n=problem.n,
        dx=len(rows),
        dy=problem.dy,
        noise_std=1.0 if noisier else problem.noise_std,
        input_covariance=covariance,
        noise_covariance=problem.sigma_eps + missed if noisier else problem.noise_covariance,
        ridge=problem.ridge,
        task_shift=shift,
    )
    return Reduction(reduced, float(np.trace(missed)))


def frozen_b_reduction(problem: Problem, output_factor: object) -> Reduction:
    """The FFT problem of the outputs B^T y, and ||(I - B B^T) Delta Sigma^{1/2}||_F^2."""
    problem.require_gaussian("frozen factors by theory")
    columns = _rows("output_factor", output_factor, problem.dy).T
    scale = problem.isotropic_noise_scale
    if scale is not None:
        noise_std, noise_covariance = problem.noise_std * math.sqrt(scale), None
    else:
        root = _without_rounding(columns.T @ problem.sigma_eps_sqrt, problem.sigma_eps_sqrt)
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


def _risk(reduction: Reduction, size: str) -> FrozenRisk:
    reduced, missed = reduction
    if reduced.moments is Moments.NO_MEAN:
        limit = f"the mean is infinite: |n - {size}| > 1 or ridge > 0 is needed, n = {reduced.n}, {size} = {reduced.input_rank}"  # noqa: E501
        return FrozenRisk(missed, math.nan, math.inf, limit)
    fit = fft_risk(reduced)
    formula = f"misspecification + FFT of the reduced problem: {fit.formula}"
    return FrozenRisk(missed, fit.bias, fit.variance, formula, fit.flagged)


def _features(problem: Problem, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """A Sigma A^T, Delta C and M, from the singular value decomposition A Sigma^{1/2} = U diag(d) V^T."""
    root, scale = problem.sigma_sqrt, problem.isotropic_scale
    left, values, right = np.linalg.svd(rows @ root, full_matrices=False)
    kept = values**2 > len(rows) * np.finfo(float).eps * values[0] ** 2
    if not values[0] > 0:
        raise InvalidInput("input_factor", "features A x with some variance", "A Sigma A^T = 0")
    left, values, right = left[:, kept], values[kept], right[kept]
    target = problem.shift @ root
    seen = target @ right.T
    missed = _without_rounding(target - seen @ right, target)
    covariance = (left * values**2) @ left.T
    if scale is not None:
        covariance = None if scale == 1.0 else np.full(len(rows), scale)
    return covariance, (seen / values) @ left.T, missed @ missed.T


def _without_rounding(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part`, or zero where it is what rounding leaves of `whole`: it would pass for noise."""
    rounding = 10 * max(whole.shape) * np.finfo(float).eps * np.linalg.norm(whole)
    return part if np.linalg.norm(part) > rounding else np.zeros_like(part)


def _rows(field: str, factor: object, size: int) -> np.ndarray:
    """The frozen factor as r orthonormal rows of length `size` (B transposed)."""
    rows_wanted = field == "input_factor"
    shape, what = (f"r x {size}", "rows") if rows_wanted else (f"{size} x r", "columns")
    expected = f"a matrix {shape} with 1 <= r <= {size} and orthonormal {what}"
    array = validation.real_array(field, factor, expected)
    rows = array if rows_wanted else array.T
    if array.ndim != 2 or rows.shape[1] != size or not 1 <= len(rows) <= size:
        raise InvalidInput(field, expected, f"shape {array.shape}")
    error = float(np.max(np.abs(rows @ rows.T - np.eye(len(rows)))))
    if error > _ORTHONORMAL:
        raise InvalidInput(field, expected, f"{what} that are {error:.2g} off", "use numpy.linalg.qr(...).Q")
    return rows
