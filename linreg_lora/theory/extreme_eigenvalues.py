"""The expected extreme eigenvalues that every bound on LoRA's risk needs, each with the source it came from.

X = Sigma^{1/2} Z, S = X X^T, S_hat = S / n; P and P_perp project on the row space of X and on the complement of its
column space; dx stands for rank(Sigma):

    inverse    E lmax(Sigma S_hat^+)                          (S_hat^{-1} for n >= dx)
    condition  E[ lmax(S_hat) lmax(Sigma S_hat^+) ]
    tail       least k with E[ lmax(Sigma S^+) ||C X||_F^2 ] <= k ||C Sigma^{1/2}||_F^2 for every C
    noise      E ||E P||_2^2, of dy x min(n, dx) Gaussian noise independent of X
    unseen     E ||Delta P_perp Sigma^{1/2}||_F^2, the part of the shift outside the span of the inputs; 0 for n >= dx

For n >= dx, or Sigma = c I, lmax(Sigma S^+) is 1 / lmin(W) with W white Wishart of size m = min(n, dx) and
max(n, dx) degrees of freedom, so `inverse` depends on n and dx alone. Then E[lmin(W)^{-1} Z Z^T] is a multiple of I by
rotation, and Tr W is chi2_{n dx} and independent of W / Tr W, which gives

    tail = E[ Tr W / lmin(W) ] / dx = (n - 2/dx) E 1/lmin(W),    exactly.

lmin(W) has density of order x^{(|n - dx| - 1)/2} at 0: the mean of 1/lmin is infinite iff |n - dx| <= 1, its variance
iff |n - dx| <= 3.

Three sources. `simulated` averages draws, `guaranteed` takes inequalities that hold at every size, and `limit` takes
the paper's limits, which hold at no finite size and are returned only to those who ask for them.
"""

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import valid_seed
from linreg_lora.theory.wishart import condition_number, inverse_limit, inverse_moment

_INFINITE = "infinite mean: |n - rank(Sigma)| <= 1"


class Source(StrEnum):
    """Where expected extremes come from."""

    SIMULATION = "simulation"
    INEQUALITY = "inequality"
    LIMIT = "limit"


class Expectation(NamedTuple):
    """`value`, its standard error (0: exact or an upper bound; nan: none exists) and how it was obtained."""

    value: float
    stderr: float
    how: str


class ExtremeEigenvalues(NamedTuple):
    """The module's five quantities for one problem, and their source."""

    problem: Problem
    source: Source
    inverse: Expectation
    condition: Expectation
    tail: Expectation
    noise: Expectation
    unseen: Expectation


# -- the three sources ------------------------------------------------------------------------------------------------


def simulated(problem: Problem, *, draws: int = 400, seed: int) -> ExtremeEigenvalues:
    """Means over `draws` (at least 2) designs, with standard errors; inf where the mean does not exist.

    White designs come from their Bartlett factor; for n < dx with anisotropic Sigma, Z is drawn. `tail` is there the
    largest of dx means, one an eigenvector of Sigma (E[lmax(Sigma S^+) Z Z^T] commutes with Sigma), which errs upwards.
    Raises `InvalidInput` for a ridge, fewer than 2 draws or a bad seed.
    """
    problem.require_gaussian("these extreme eigenvalues")
    modes = _Modes.of(problem)
    draws = validation.enough_draws("draws", draws)
    rng = np.random.default_rng(valid_seed(seed))
    rows = np.array([_draw(modes, rng) for _ in range(draws)])
    mean, stderr = rows.mean(axis=0), rows.std(axis=0, ddof=1) / math.sqrt(draws)

    def column(index: int, heavy: bool) -> Expectation:
        how = f"simulation: mean of {draws} draws, seed {seed}"
        if heavy and modes.gap <= 1:
            return _known(math.inf, how)
        return Expectation(float(mean[index]), float(stderr[index]) if not heavy or modes.gap > 3 else math.nan, how)

    inverse = column(0, True)
    if modes.white:
        tail, unseen = _white_tail(modes, inverse), _unseen(problem, modes)
    else:
        tail, unseen = column(4 + int(np.argmax(mean[4:])), modes.size > 1), column(3, False)
    condition, noise = column(1, modes.size > 1), column(2, False)
    return ExtremeEigenvalues(problem, Source.SIMULATION, inverse, condition, tail, noise, unseen)


def guaranteed(problem: Problem) -> ExtremeEigenvalues:
    """Upper bounds that hold at every size, by inequalities; inf where the mean does not exist.

        inverse    <= n w E 1/lmin(W)                         w = (kappa + 2 + 1/kappa) / 4, kappa = lmax/lmin(Sigma);
        condition  <= lmax(Sigma) w E[ lmax(W) / lmin(W) ]    w = 1 for n >= dx and for Sigma = c I
        tail       <= w (n - 2/dx) E 1/lmin(W)
        noise      <= (sqrt(Tr Sigma_eps) + sqrt(m lmax(Sigma_eps)))^2 + lmax(Sigma_eps)
        unseen     <= min( lmax(Sigma) ||Delta||_F^2, w ||Delta Sigma^{1/2}||_F^2 )

    with E 1/lmin(W) by `wishart.inverse_moment` and the second line by `wishart.condition_number`. sqrt(w) bounds the
    norm of the oblique projectors Sigma^{-1/2} Pi Sigma^{1/2} (Wielandt's inequality), Pi = P_perp for `unseen`, and
    Pi = X X^+ in X^+ Sigma^{1/2} = Z^+ Sigma^{-1/2} Pi Sigma^{1/2}. Noise: Chevet's inequality with Gordon's constant,
    and a variance of at most lmax(Sigma_eps) (Poincare); for Sigma_eps = sigma^2 I it is `wishart.gaussian_norm`. Where
    Sigma = c I, unseen = c ||Delta||_F^2 (1 - n/dx) is exact. Raises `InvalidInput` for a ridge.
    """
    problem.require_gaussian("these extreme eigenvalues")
    modes = _Modes.of(problem)
    dof = max(modes.n, modes.dx)
    inverse = _known(modes.oblique * modes.n * inverse_moment(modes.size, dof), "inequality: inverse_moment")
    ratio = modes.largest * modes.oblique * condition_number(modes.size, dof)
    condition, tail = _known(ratio, "inequality: condition_number"), _white_tail(modes, inverse)
    return ExtremeEigenvalues(
        problem, Source.INEQUALITY, inverse, condition, tail, _noise(problem, modes), _unseen(problem, modes)
    )


def limit(problem: Problem) -> ExtremeEigenvalues:
    """The limits as n and dx grow in proportion, taken at this n and dx: not a bound at any finite size.

        inverse -> n / (sqrt n - sqrt dx)^2,   condition -> lmax(Sigma) ((sqrt n + sqrt dx) / (sqrt n - sqrt dx))^2

    Any Sigma for n >= dx (`condition` is then the upper limit; it is attained for Sigma = c I), Sigma = c I for
    n < dx. `noise` is the inequality of `guaranteed`. inf within one sample of the threshold, where no mean exists.
    Source: arXiv 2605.19018, Propositions 4 and 6; Bai and Yin 1993. Raises `InvalidInput` for n < dx with another
    Sigma, and for a ridge.
    """
    problem.require_gaussian("these extreme eigenvalues")
    modes = _Modes.of(problem)
    if not modes.white:
        raise InvalidInput("input_covariance", "a multiple of the identity where n < dx: no limit is known", "another",
                           "use simulated or guaranteed")  # fmt: skip
    low = inverse_limit(modes.n, modes.dx) if modes.gap > 1 else math.inf
    high = (math.sqrt(modes.n) + math.sqrt(modes.dx)) ** 2 / modes.n
    inverse = _known(low, "limit: arXiv 2605.19018, Propositions 4 and 6")
    condition = _known(modes.largest * high * low, "limit: Bai and Yin 1993")
    tail = _white_tail(modes, inverse)
    return ExtremeEigenvalues(
        problem, Source.LIMIT, inverse, condition, tail, _noise(problem, modes), _unseen(problem, modes)
    )


# -- inside -----------------------------------------------------------------------------------------------------------


class _Modes(NamedTuple):
    """A ridgeless problem in the eigenbasis of Sigma, without null inputs."""

    n: int
    values: Float[np.ndarray, "dx"]
    shift: Float[np.ndarray, "dy dx"]
    noise_root: Float[np.ndarray, "dy dy"]
    white: bool

    @classmethod
    def of(cls, problem: Problem) -> "_Modes":
        if problem.ridge > 0:
            raise InvalidInput("ridge", "0: the bounds are about ridgeless estimators", problem.ridge, "set ridge = 0")
        reduced = problem.without_null_inputs()
        covariance, shift = reduced.input_covariance, reduced.shift
        if covariance is None:
            values = np.ones(reduced.dx)
        elif covariance.ndim == 1:
            values = covariance
        else:
            values, vectors = np.linalg.eigh(covariance)
            shift = shift @ vectors
        white = reduced.n >= reduced.dx or reduced.isotropic_scale is not None
        return cls(reduced.n, values, shift, reduced.sigma_eps_sqrt, white)

    @property
    def dx(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        return min(self.n, self.dx)

    @property
    def gap(self) -> int:
        return abs(self.n - self.dx)

    @property
    def largest(self) -> float:
        return float(np.max(self.values))

    @property
    def oblique(self) -> float:
        """Bound on ||Sigma^{-1/2} Pi Sigma^{1/2}||_2^2 over orthogonal projectors Pi; 1 where it is not needed."""
        kappa = 1.0 if self.white else self.largest / float(np.min(self.values))
        return (kappa + 2 + 1 / kappa) / 4


def _draw(modes: _Modes, rng: np.random.Generator) -> np.ndarray:
    """inverse, condition, noise; and where not white: unseen, and the diagonal of lmax(Sigma S^+) Z Z^T."""
    n, root = modes.n, np.sqrt(modes.values)[:, None]
    noise = float(np.linalg.norm(modes.noise_root @ rng.standard_normal((len(modes.shift), modes.size)), 2) ** 2)
    if modes.white:
        factor = np.tril(rng.standard_normal((modes.size, modes.size)), -1)
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(max(n, modes.dx) - np.arange(modes.size))))
        strength = np.linalg.svd(factor, compute_uv=False)
        inverse = strength[-1] ** -2
        isotropic = np.all(root == root[0])
        largest = root[0, 0] * strength[0] if isotropic else np.linalg.norm(root * factor, 2)
        return np.array([n * inverse, largest**2 * inverse, noise])
    latent = rng.standard_normal((modes.dx, n))
    basis, strength, _ = np.linalg.svd(root * latent, full_matrices=False)
    spread = basis.T * root.T
    inverse = np.linalg.norm(spread / strength[:, None], 2) ** 2
    unseen = np.sum((modes.shift * root.T - modes.shift @ basis @ spread) ** 2)
    return np.array([n * inverse, strength[0] ** 2 * inverse, noise, unseen, *(inverse * np.sum(latent**2, axis=1))])


def _known(value: float, how: str) -> Expectation:
    return Expectation(value, 0.0, how) if value < math.inf else Expectation(value, math.nan, _INFINITE)


def _white_tail(modes: _Modes, inverse: Expectation) -> Expectation:
    """(n - 2/dx) E 1/lmin(W) from n E 1/lmin(W), or of bounds on both; a single eigenvalue cancels, at any n."""
    if modes.size == 1:
        return Expectation(modes.oblique / modes.dx, 0.0, "one eigenvalue: it cancels")
    factor = 1 - 2 / (modes.n * modes.dx)
    return Expectation(factor * inverse.value, factor * inverse.stderr, inverse.how)


def _noise(problem: Problem, modes: _Modes) -> Expectation:
    largest = float(np.linalg.norm(modes.noise_root, 2) ** 2)
    value = (math.sqrt(problem.noise_trace) + math.sqrt(modes.size * largest)) ** 2 + largest
    return Expectation(value, 0.0, "inequality: Chevet and Poincare")


def _unseen(problem: Problem, modes: _Modes) -> Expectation:
    if modes.n >= modes.dx:
        return Expectation(0.0, 0.0, "exact: n >= rank(Sigma)")
    if modes.white:
        return Expectation(problem.pretrained_risk * (1 - modes.n / modes.dx), 0.0, "exact: Sigma = c I")
    unweighted = modes.largest * float(np.sum(modes.shift**2))
    weighted = modes.oblique * problem.pretrained_risk
    return Expectation(min(unweighted, weighted), 0.0, "inequality: largest variance, or Wielandt")
