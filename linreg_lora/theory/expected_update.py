"""The mean of LoRA's update as a matrix, E D_r: what composing adapters needs beside their energies.

The block G_01 of the resolvent of `contours.pencil` is that of D_FFT^T (F F^T - z)^{-1}, so with the cut x_r that keeps
r directions

    E D_r ~ [ (1/pi) Im integral of G_01 dz ]^T     from x_r around the spectrum above it,  Tr(E D_r Sigma Delta^T) = T2

Without ridge, below the threshold, G_01^T -> -beta Z Delta Sigma (Sigma + kappa)^{-1} (`contours.ridgeless`). At full
rank E D = Delta for n > dx + 1, Delta n / dx for n < dx - 1 and Sigma = c I, and Delta Sigma (Sigma + kappa)^{-1} for
large dimensions, here with the correction of `mean_shrinkage`. With isotropic Sigma and Sigma_eps E D_r has the
singular vectors of Delta, exactly.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from linreg_lora import runtime, validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.contours import traced as trace
from linreg_lora.theory.contours.paths import Nodes
from linreg_lora.theory.contours.ridgeless import RidgelessEquation
from linreg_lora.theory.equivalent import interior_ranks, rank_of_full_fit
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.mean_shrinkage import mean_shares
from linreg_lora.theory.rescaled import without_negligible_ridge

#: A mean is in doubt where the first correction moves its overlap with the shift by more than this share. At full rank
#: it has that correction; the next is some 6 times its square in every case that was simulated, 1 % at 4 %.
_DOUBT, _DOUBT_CORRECTED = 0.01, 0.04
_MAY_BE_OFF = "may be off by more than 1 %"
ABOVE, ISOTROPIC = "Delta, exact", "Delta n / dx, exact"
FULL = "Delta Sigma (Sigma + kappa)^{-1}, deterministic equivalent, corrected to first order in the dimension"
EQUIVALENT = "deterministic equivalent, without finite-size correction"


class MeanUpdate(NamedTuple):
    """E D of one rank, dy x dx, and which formula gave it.

    `flagged`: at this size it may be off by more than 1 % (of its overlap with the shift), and `note` says so.
    """

    update: Float[np.ndarray, "dy dx"]
    formula: str
    flagged: bool = False
    note: str = ""


def mean_update(problem: Problem, rank: int) -> MeanUpdate:
    """E D_r, the mean of the update of LoRA of one rank over data sets; at min(n, dx, dy) that of FFT.

    `problem` with any Delta, Sigma, Sigma_eps and ridge; `rank` r in 0..min(n, dx, dy). Directions of the shift that
    stand out are kept by phi_j s_j with phi_j near 1; the mean of the others nearly vanishes. Raises `InvalidInput`
    for other ranks and where no mean exists, `NumericalFailure` where the equation was not solved.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.mean_update(problem, 2)
    >>> found.update[:3, :3].diagonal().round(2).tolist()
    [2.99, 1.98, 0.02]
    """
    problem.require_gaussian("the mean of the update")
    r = int(valid_ranks([rank], problem)[0])
    if r == 0:
        return MeanUpdate(validation.frozen(np.zeros((problem.dy, problem.dx))), "no update")
    reduced = without_negligible_ridge(problem)
    interior = interior_ranks(reduced, np.array([r]), correction=False)
    if r >= rank_of_full_fit(reduced.without_null_inputs()):
        return _of_full(reduced)
    assert interior.size == 1
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        traced = trace_of(reduced.without_null_inputs(), interior.astype(float))
        found = np.zeros((problem.dy, problem.dx))
        mean = _Mean(reduced)
        for nodes in traced.above.integrals.nodes:
            inside = nodes.at(nodes.rows <= traced.above.ends[0])
            if inside.rows.size:
                found += mean.integral(inside, traced.equations.solver.equation)
    both = functionals(reduced.without_null_inputs(), interior.astype(float), correction=True)
    raw, moved = float(both.raw[0, 2]), float(both.correction[0, 2])
    flagged = not abs(moved) <= _DOUBT * abs(raw)
    note = f"the mean update {_MAY_BE_OFF}: rank {r}" if flagged else ""
    return MeanUpdate(validation.frozen(found), EQUIVALENT, flagged, note)


def trace_of(problem: Problem, ranks: Float[np.ndarray, "m"]) -> trace.Traced:
    """`contours.traced.trace` without correction. Raises `NumericalFailure` where a rank was not certified."""
    found = trace.trace(problem, ranks, correction=False)
    if found.failures:
        raise NumericalFailure(next(iter(found.failures.values())))
    return found


class _Mean:
    """The integrand of a problem, in the basis that makes Sigma diagonal."""

    def __init__(self, problem: Problem) -> None:
        self.values, self.basis = variances(problem)
        self.problem, self.shift = problem, problem.shift @ self.basis
        self.second = (self.shift * self.values) @ self.shift.T + problem.sigma_eps

    def integral(self, nodes: Nodes, equation: object) -> Float[np.ndarray, "dy dx"]:
        """(1/pi) Im of the sum over nodes of G_01^T dz."""
        total = np.zeros(self.shift.shape)
        for z, dz, w in zip(nodes.z.ravel(), nodes.weights.ravel(), nodes.states.w.T, strict=True):
            total += (dz * self.at(z, w, equation)).imag / np.pi
        return total @ self.basis.T

    def at(self, z: complex, w: Complex[np.ndarray, "s"], equation: object) -> Complex[np.ndarray, "dy dx"]:
        """G_01^T at one point."""
        n, values, identity = self.problem.n, self.values, np.eye(self.problem.dy)
        if isinstance(equation, RidgelessEquation):
            share = values / (values + equation.limit.kappa)
            resolvent = np.linalg.inv(z * identity - n * w[0] * self.second)
            seen = (self.shift * (share * values)) @ self.shift.T
            beta = w[0] / (1 + w[0] * np.sum(seen * resolvent.T))
            return -beta * resolvent @ (self.shift * share)
        a = self.problem.ridge + n * w[0] * values
        ratio = np.divide(n * w[1] * values, a, out=np.zeros(len(values), dtype=complex), where=values > 0)
        schur = z * identity + n * w[2] * self.second - n * w[1] * ((self.shift * (ratio * values)) @ self.shift.T)
        return -np.linalg.solve(schur, self.shift * ratio)


def variances(problem: Problem) -> tuple[Float[np.ndarray, "dx"], Float[np.ndarray, "dx dx"]]:
    """Eigenvalues of Sigma, those without variance at exactly 0, and eigenvectors."""
    values, basis = np.linalg.eigh(problem.sigma)
    values[: problem.dx - problem.input_rank] = 0.0
    return values, basis


def _of_full(problem: Problem) -> MeanUpdate:
    if problem.ridge == 0 and problem.regime is Regime.THRESHOLD:
        raise InvalidInput("n", "n != dx or ridge > 0 for the mean of the update", problem.n, "move n or set a ridge")
    if problem.input_rank == problem.dx and problem.ridge == 0:
        if problem.regime is Regime.OVERDETERMINED:
            return MeanUpdate(problem.shift, ABOVE)
        if problem.isotropic_scale is not None:
            return MeanUpdate(validation.frozen(problem.shift * problem.n / problem.dx), ISOTROPIC)
    values, basis = variances(problem)
    if problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED:
        share = (values > 0).astype(float)
        return MeanUpdate(validation.frozen((problem.shift @ basis * share) @ basis.T), ABOVE)
    shares, shift = mean_shares(values, problem.n, problem.ridge), problem.shift @ basis
    overlap, moved = (float(np.sum(shift**2 * (values * part))) for part in shares)
    flagged = abs(moved) > _DOUBT_CORRECTED * overlap
    note = f"FFT's mean update {_MAY_BE_OFF}" if flagged else ""
    update = (shift * (shares.limit + shares.correction)) @ basis.T
    return MeanUpdate(validation.frozen(update), FULL, flagged, note)
