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

import numpy as np

from linreg_lora.problem import Problem
from linreg_lora.theory import restricted
from linreg_lora.theory.restricted import FrozenRisk, Reduction


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
    return restricted.of_reduction(frozen_a_reduction(problem, input_factor), "r")


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
    return restricted.of_reduction(frozen_b_reduction(problem, output_factor), "dx")


def misspecification_covariance(problem: Problem, input_factor: object) -> np.ndarray:
    """M = Delta (Sigma - Sigma A^T (A Sigma A^T)^+ A Sigma) Delta^T, dy x dy: what a frozen A leaves of every output.

    Its diagonal holds the b_j. Zero, exactly, where A represents Delta to rounding.
    """
    return restricted.features(problem, restricted.orthonormal("input_factor", input_factor, problem.dx))[2]


def frozen_a_reduction(problem: Problem, input_factor: object) -> Reduction:
    """The FFT problem of regressing the residual on the features A x, and Tr M."""
    return restricted.of_features(problem, restricted.orthonormal("input_factor", input_factor, problem.dx))


def frozen_b_reduction(problem: Problem, output_factor: object) -> Reduction:
    """The FFT problem of the outputs B^T y, and ||(I - B B^T) Delta Sigma^{1/2}||_F^2."""
    return restricted.of_outputs(problem, restricted.orthonormal("output_factor", output_factor, problem.dy).T)
