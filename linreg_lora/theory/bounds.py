"""Bounds on the expected risk of LoRA, with every constant written out.

LoRA truncates M = T + N, signal plus noise, to M_r = trunc_r(M), and its error is that of the truncation seen through
the design. With C = Sigma^{1/2}, S = X X^T and P the projector on the row space of X:

    n >= dx:  T = Delta S^{1/2},  N = E X^T S^{-1/2},   (D_r - Delta) C = (M_r - T) S^{-1/2} C
    n <  dx:  T = Delta X,        N = E,                (D_r - Delta) C = (M_r - T) X^+ C - Delta P_perp C

so the squared norm of the first term is at most lmax(Sigma S^+) ||M_r - T||_F^2. Given X, N is dy x min(n, dx) Gaussian
noise with columns N(0, Sigma_eps), as E P in an orthonormal basis of the row space: independent of X.

Every bound needs expected extreme eigenvalues; see `extreme_eigenvalues` for their three sources. With simulated
ones a bound is an estimate of a bound, with their standard errors; by default they are `guaranteed`.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.extreme_eigenvalues import Expectation, ExtremeEigenvalues, guaranteed
from linreg_lora.theory.floor import least_risk as least_risk
from linreg_lora.theory.truncation import Version, next_value, numerical_rank, require_rank, tail_energy

# -- the paper's theorems ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Constants:
    """The five factors of Theorems 2 and 4, with s_i the singular values of Delta and S_hat = S / n.

    | field       | multiplies                                                            |
    |-------------|-----------------------------------------------------------------------|
    | `unseen`    | E ||Delta P_perp Sigma^{1/2}||_F^2                                    |
    | `variance`  | r max(m, dy)/n lmax(Sigma_eps) E lmax(Sigma S_hat^+),  m = min(n, dx) |
    | `design`    | r s_{r+1}^2 E[ lmax(S_hat) lmax(Sigma S_hat^+) ]                      |
    | `direction` | r s_{r+1}^2 lmax(Sigma)                                               |
    | `tail`      | lmax(Sigma) sum_{i>r} s_i^2                                           |
    """

    unseen: int
    variance: int
    design: int
    direction: int
    tail: int


THEOREM_2 = {
    Version.PRINTED: Constants(unseen=0, variance=160, design=16, direction=8, tail=2),
    Version.CORRECTED: Constants(unseen=0, variance=320, design=16, direction=8, tail=2),
}
THEOREM_4 = {
    Version.PRINTED: Constants(unseen=2, variance=320, design=32, direction=8, tail=2),
    Version.CORRECTED: Constants(unseen=2, variance=640, design=32, direction=16, tail=4),
}


class TheoremBound(NamedTuple):
    """The terms of Theorem 2 or 4, in squared units of y, what they were made of, and their sum `bound`."""

    unseen: float
    variance: float
    design: float
    direction: float
    tail: float
    constants: Constants
    extremes: ExtremeEigenvalues

    @property
    def bound(self) -> float:
        return self.unseen + self.variance + self.design + self.direction + self.tail


def theorem_2(
    problem: Problem,
    rank: int,
    extremes: ExtremeEigenvalues | None = None,
    version: Version | str = Version.CORRECTED,
) -> TheoremBound:
    """The paper's bound on E risk(D_r) for n >= dx > r: `Constants` times their terms.

    `rank` r; `extremes` of this problem (None: `guaranteed`); `version` of the constants. Derivation, with Delta_r the
    truncation of Delta:

        risk <= 2 ||(D_r - Delta_r) C||_F^2 + 2 ||(Delta - Delta_r) C||_F^2       the second: `tail` = 2
        first <= 4r ||(D_r - Delta_r) C||_2^2                                     its rank is at most 2r
              <= 8r ||(D_r - Delta) C||_2^2 + 8r s_{r+1}^2 lmax(Sigma)            `direction` = 8
        8r ||(D_r - Delta) C||_2^2 <= 8r lmax(Sigma S^{-1}) (s_{r+1}(T) + 2 ||N||_2)^2
              <= 8r lmax(Sigma S^{-1}) (2 s_{r+1}^2 lmax(S) + 8 ||N||_2^2)        `design` = 8 * 2 = 16
        E ||N||_2^2 <= 5 max(dx, dy) lmax(Sigma_eps), N independent of X          `variance` = 8 * 8 * 5 = 320

    The paper has 4 for the last 8, hence 160. inf for n <= dx + 1, where E lmax(Sigma S_hat^{-1}) is. Source: arXiv
    2605.19018, Theorem 2 and eq. 158. Raises `InvalidInput` for another regime or rank, a ridge, others' `extremes`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.theorem_2(problem, rank=2)
    >>> f"8 r s_3^2 = {found.direction:.1f}, 2 s_3^2 = {found.tail:.1f}"
    '8 r s_3^2 = 16.0, 2 s_3^2 = 2.0'
    >>> found.bound > ll.theory.lora_bound(problem, rank=2).bound
    True
    """
    if problem.n < problem.input_rank:
        raise InvalidInput("n", f"n >= rank(Sigma) = {problem.input_rank}", problem.n, "use theorem_4")
    return _theorem(problem, rank, extremes, THEOREM_2[validation.choice("version", version, Version)])


def theorem_4(
    problem: Problem,
    rank: int,
    extremes: ExtremeEigenvalues | None = None,
    version: Version | str = Version.CORRECTED,
) -> TheoremBound:
    """The paper's bound on E risk(D_r) for r < n < dx: `Constants` times their terms.

    Arguments and errors as for `theorem_2`. Derivation, with Pi = X X^+ and D_r = D_r Pi:

        risk <= 2 ||Delta P_perp C||_F^2 + 2 ||(D_r - Delta Pi) C||_F^2                      `unseen` = 2
        second <= 4 ||(D_r - Delta_r Pi) C||_F^2 + 4 ||(Delta - Delta_r) Pi C||_F^2          `tail` = 4
        4 ||(D_r - Delta_r Pi) C||_F^2 <= 8r ||(D_r - Delta_r Pi) C||_2^2
              <= 16r ||(D_r - Delta Pi) C||_2^2 + 16r s_{r+1}^2 lmax(Sigma)                  `direction` = 16
        16r ||(D_r - Delta Pi) C||_2^2 <= 16r lmax(Sigma S^+) (2 s_{r+1}^2 lmax(S) + 8 ||E||_2^2)

    so `design` = 32 and `variance` = 16 * 8 * 5 = 640. The paper has 320, by the same slip as in Theorem 2, and half of
    `tail` and `direction`, where the factor 2 of the first line is lost. Source: arXiv 2605.19018, Theorem 4, eq. 180.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=20, dx=40, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.theorem_4(problem, rank=2)
    >>> f"2 ||Delta||^2 (1 - n/dx) = {found.unseen:.1f}, 16 r s_3^2 = {found.direction:.1f}, 4 s_3^2 = {found.tail:.1f}"
    '2 ||Delta||^2 (1 - n/dx) = 14.0, 16 r s_3^2 = 32.0, 4 s_3^2 = 4.0'
    """
    if problem.n >= problem.input_rank:
        raise InvalidInput("n", f"n < rank(Sigma) = {problem.input_rank}", problem.n, "use theorem_2")
    return _theorem(problem, rank, extremes, THEOREM_4[validation.choice("version", version, Version)])


def _theorem(problem: Problem, rank: int, extremes: ExtremeEigenvalues | None, constants: Constants) -> TheoremBound:
    problem.require_gaussian("this bound")
    size = min(problem.n, problem.input_rank)
    require_rank(rank, 1, min(size - 1, problem.dy), "the theorem needs 1 <= r < min(n, dx)")
    extremes = _extremes_of(problem, extremes)
    values = np.asarray(problem.without_null_inputs().spectrum)
    next_energy, largest = next_value(values, rank) ** 2, _largest(problem.input_covariance)
    noise = problem.noise_std**2 * _largest(problem.noise_covariance)
    return TheoremBound(
        unseen=constants.unseen * extremes.unseen.value,
        variance=_product(constants.variance * rank * max(size, problem.dy) / problem.n * noise, extremes.inverse),
        design=_product(constants.design * rank * next_energy, extremes.condition),
        direction=constants.direction * rank * next_energy * largest,
        tail=constants.tail * largest * tail_energy(values, rank),
        constants=constants,
        extremes=extremes,
    )


# -- the sharper bound ------------------------------------------------------------------------------------------------


class LoraBound(NamedTuple):
    """The three terms of `lora_bound`, in squared units of y, and the `bound` they make.

    `orthogonal`: the unseen part is orthogonal to the rest, so that it adds without a cross term.
    """

    unseen: float
    tail: float
    variance: float
    orthogonal: bool
    extremes: ExtremeEigenvalues

    @property
    def bound(self) -> float:
        seen = math.sqrt(self.tail) + math.sqrt(self.variance)
        return self.unseen + seen**2 if self.orthogonal else (math.sqrt(self.unseen) + seen) ** 2


def lora_bound(problem: Problem, rank: int, extremes: ExtremeEigenvalues | None = None) -> LoraBound:
    """A bound on E risk(D_r), any n, Sigma and Sigma_eps, from the two lemmas of `truncation`.

        n >= dx, or Sigma = c I:  E risk <= unseen + ( sqrt(tail) + sqrt(variance) )^2
        otherwise:                E risk <= ( sqrt(unseen) + sqrt(tail) + sqrt(variance) )^2

        unseen   = E ||Delta P_perp C||_F^2                                  0 for n >= dx
        tail     = k sum_{i>r} s_i(Delta C)^2                                k: `tail` of the extremes
        variance = 8 r E lmax(Sigma S^+) E ||N||_2^2                         where rank(Delta C) > r
                   (r + 4 rank(Delta C)) E lmax(Sigma S^+) E ||N||_2^2       elsewhere, at most 5 r; tail = 0

    Proof. With l = lmax(Sigma S^+), ||(M_r - T) S^{-1/2} C||_F (X^+ C for n < dx) is at most the sum of
    sqrt(l) tail_r(T) and sqrt(8 r l) ||N||_2. Minkowski in L2 adds their root mean squares. The second's is exact:
    N is independent of X. For the first, tail_r(T)^2 <= ||(B - B_r) C^{-1} X||_F^2 with B = Delta C, so that
    E[l tail_r(T)^2] <= k ||B - B_r||_F^2. Where rank(T) <= rank(Delta C) <= r the other lemma takes their place. For
    n < dx the third summand of D_r - Delta, -Delta P_perp, is orthogonal to the rest if C = c^{1/2} I commutes with
    P_perp; if not, Minkowski again.

    For n -> infinity the bound tends to sum_{i>r} s_i(Delta C)^2, the least risk of any rank-r update. Where
    r >= rank(Delta) it is below the corrected theorem with the same extremes: 5 r E ||N||^2 <= 25 r max(m, dy)
    lmax(Sigma_eps) against 320 or 640, and (sqrt a + sqrt b)^2 <= 2a + 2b for n < dx. There it also proves the
    *printed* Theorems 2 and 4.

    `rank` r in 1..min(n, dx, dy); `extremes` of this problem (None: `guaranteed`). inf within one sample of the
    threshold, unless both tail and variance are absent. Raises `InvalidInput` for another rank, a ridge, or the
    extremes of another problem.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.lora_bound(problem, rank=3)
    >>> f"{found.bound:.1f}, for an expected risk of {ll.expected_risk(problem, ranks=[3]).risk[0]:.3f}"
    '225.2, for an expected risk of 3.742'
    """
    problem.require_gaussian("this bound")
    require_rank(rank, 1, problem.max_rank, "rank 0 is exact: problem.pretrained_risk")
    extremes = _extremes_of(problem, extremes)
    values = problem.whitened_spectrum
    planted = numerical_rank(values, (problem.dy, problem.dx))
    factor = rank + 4 * planted if planted <= rank else 8 * rank
    return LoraBound(
        unseen=extremes.unseen.value,
        tail=_product(tail_energy(values, rank) if planted > rank else 0.0, extremes.tail),
        variance=_product(factor / problem.n * extremes.noise.value, extremes.inverse),
        orthogonal=problem.n >= problem.input_rank or problem.without_null_inputs().isotropic_scale is not None,
        extremes=extremes,
    )


# -- from below -------------------------------------------------------------------------------------------------------


def smallest_variance_bound(problem: Problem, rank: int) -> float:
    """A lower bound on the excess risk of any update of rank r in 0..min(dx, dy); at most `least_risk`.

        lmin(Sigma) sum_{i>r} s_i^2,      s_i singular values of Delta; 0 for singular Sigma

    Source: arXiv 2605.19018, Proposition 7.
    """
    problem.require_gaussian("this bound")
    require_rank(rank, 0, min(problem.dx, problem.dy))
    smallest = problem.smallest_variance if problem.input_rank == problem.dx else 0.0
    return smallest * tail_energy(np.asarray(problem.spectrum), rank)


# -- inside -----------------------------------------------------------------------------------------------------------


def _extremes_of(problem: Problem, extremes: ExtremeEigenvalues | None) -> ExtremeEigenvalues:
    if extremes is None:
        return guaranteed(problem)
    if extremes.problem != problem:
        raise InvalidInput("extremes", "those of this problem", "those of another", "compute them from this problem")
    return extremes


def _largest(covariance: np.ndarray | None) -> float:
    if covariance is None:
        return 1.0
    return float(np.max(covariance) if covariance.ndim == 1 else np.linalg.eigvalsh(covariance)[-1])


def _product(factor: float, expectation: Expectation) -> float:
    """factor * value; a term that is absent stays so where the mean is infinite."""
    return factor * expectation.value if factor > 0 else 0.0
