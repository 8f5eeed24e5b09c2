"""The mean risk of LoRA's gradient flow over draws of all that is random: the design, the noise and A(0).

No closed form of the path is known for A(0) A(0)^T other than kappa I, or S other than c I. With S = Q diag(s) Q^T
and all else turned into that basis,

    dB/dt = g (H - g B A S) A^T,   dA/dt = g B^T (H - g B A S),   B(0) = 0,   H = R X^T / n,

is integrated by the Runge-Kutta method of Dormand and Prince of order 8, all draws at once. One row of A(0) is always
kappa I, kappa its squared length: there, and for orthogonal rows, S = c I has `trajectories.path_risk`.

For Gaussian inputs n S / c is a Wishart matrix L L^T, L lower triangular with roots of chi-squared variables of n, n-1,
... degrees of freedom on its diagonal and normal ones below it (Bartlett 1933), and given S, H - Delta S has the law of
Sigma_eps^{1/2} Z L^T sqrt(c) / n: the cost does not grow with n.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory.training.trajectories import path_risk

#: Relative tolerances of the integration, far below the error of any number of draws; distances to D_r, relative to
#: ||D_FFT||, below which a path has ended; and the most evaluations, some minutes for large matrices.
_RELATIVE, _ABSOLUTE, _ENDED, _MOST = 1e-8, 1e-10, 1e-7, 100_000
#: Every so many steps of the integration it is seen whether all paths have ended.
_LOOK = 25


class DrawnRisks(NamedTuple):
    """The excess risk of each draw at each time, and at the end, D_r."""

    risks: Float[np.ndarray, "draws t"]
    ends: Float[np.ndarray, "draws"]


class _Draws(NamedTuple):
    """H, A(0), Delta, the eigenvalues s of S and F = H S^{-1/2} of every draw, in the eigenvectors of S."""

    moment: Float[np.ndarray, "draws dy dx"]
    a: Float[np.ndarray, "draws r dx"]
    shift: Float[np.ndarray, "draws dy dx"]
    variances: Float[np.ndarray, "draws 1 dx"]
    fitted: Float[np.ndarray, "draws dy dx"]


def drawn_risks(
    problem: Problem, rank: int, times: Float[np.ndarray, "t"], start: str, *,
    scaling: float, kappa: float, orthogonal: bool, draws: int, seed: int,
) -> DrawnRisks:  # fmt: skip
    """Risks along the flow of each draw; Sigma = c I, n >= dx. Arguments as `time_resolved.risk_over_time`.

    `orthogonal`: S = c I in every draw. Raises `InvalidInput` where the times are so long that paths which have not
    ended need more evaluations than is sensible.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> from linreg_lora.theory.training.drawn_path import drawn_risks
    >>> problem = ll.Problem(n=400, dx=6, dy=5, spectrum=(3.0,), noise_std=0.0)
    >>> found = drawn_risks(problem, 2, np.array([0.0, 1e3]), "kaiming", scaling=2.0, kappa=1 / 3, orthogonal=False,
    ...                     draws=3, seed=0)
    >>> found.risks.round(6).tolist()
    [[9.0, 0.0], [9.0, 0.0], [9.0, 0.0]]
    """
    problem.require_gaussian("the path of training")
    c = problem.isotropic_scale
    assert c is not None
    made = [_draw(problem, c, rank, start, kappa, orthogonal, seed, draw) for draw in range(draws)]
    at = _Draws(*(np.stack(parts) for parts in zip(*made, strict=True)))
    left, values, right = np.linalg.svd(at.fitted, full_matrices=False)
    kept = (left[:, :, :rank] * values[:, None, :rank]) @ right[:, :rank] / np.sqrt(at.variances)
    ends = c * np.sum((kept - at.shift) ** 2, axis=(1, 2))
    if orthogonal and (start == "random" or rank == 1):
        paths = [path_risk(f, d, a, times, scaling=scaling, variance=c)
                 for f, d, a in zip(at.fitted / np.sqrt(at.variances), at.shift, at.a, strict=True)]  # fmt: skip
        return DrawnRisks(np.array(paths), ends)
    return DrawnRisks(c * _integrated(at, kept, times, scaling, ends / c).T, ends)


def _draw(
    problem: Problem, c: float, rank: int, start: str, kappa: float, orthogonal: bool, seed: int, draw: int
) -> tuple[np.ndarray, ...]:
    rng, n, (dy, dx) = np.random.default_rng([seed, draw]), problem.n, problem.shift.shape
    noise, a = problem.sigma_eps_sqrt @ rng.standard_normal((dy, dx)), _start(rng, rank, dx, start, kappa)
    if orthogonal:
        variances = np.full((1, dx), c)
        fitted = np.sqrt(c) * problem.shift + noise / np.sqrt(n)
        return fitted * np.sqrt(c), a, problem.shift, variances, fitted
    factor = np.tril(rng.standard_normal((dx, dx)), -1) + np.diag(np.sqrt(rng.chisquare(n - np.arange(dx))))
    basis, roots, _ = np.linalg.svd(factor * np.sqrt(c / n))
    turned = problem.shift @ basis
    # Z V of L = U s V^T has the law of Z.
    fitted = turned * roots + noise / np.sqrt(n)
    return fitted * roots, a @ basis, turned, roots[None] ** 2, fitted


def _start(rng: np.random.Generator, rank: int, dx: int, start: str, kappa: float) -> Float[np.ndarray, "r dx"]:
    """A(0) by its name."""
    if start == "kaiming":
        return rng.uniform(-(dx**-0.5), dx**-0.5, (rank, dx))
    if start in ("gaussian", "normal"):
        return rng.standard_normal((rank, dx)) / (rank if start == "gaussian" else rank**0.5)
    basis, upper = np.linalg.qr(rng.standard_normal((dx, rank)))
    return np.sqrt(kappa) * (basis * np.sign(np.diagonal(upper))).T


def _integrated(
    at: _Draws, kept: Float[np.ndarray, "draws dy dx"], times: Float[np.ndarray, "t"], g: float,
    ends: Float[np.ndarray, "draws"],
) -> Float[np.ndarray, "t draws"]:  # fmt: skip
    """||D(t) - Delta||^2 of every draw."""
    from scipy.integrate import DOP853

    shape_b, shape_a = (*at.moment.shape[:2], at.a.shape[1]), at.a.shape
    cut = int(np.prod(shape_b))
    # Units in which the largest F is 1, as is the rate at which its mode grows.
    unit = float(np.max(np.linalg.norm(at.fitted, 2, axis=(1, 2))))
    size = np.sqrt(unit / g) if unit > 0 else 1.0

    def flow(_: float, state: np.ndarray) -> np.ndarray:
        b, a = state[:cut].reshape(shape_b), state[cut:].reshape(shape_a)
        slope = g * (at.moment - g * b @ (a * at.variances))
        return np.concatenate([(slope @ a.mT).ravel(), (b.mT @ slope).ravel()])

    def update(state: np.ndarray) -> np.ndarray:
        return g * state[:cut].reshape(shape_b) @ state[cut:].reshape(shape_a)

    order = np.argsort(times, kind="stable")
    found, done = np.tile(ends, (len(times), 1)), 0
    state = np.concatenate([np.zeros(cut), at.a.ravel()])
    while done < len(times) and times[order[done]] == 0:
        found[order[done]], done = np.sum(at.shift**2, axis=(1, 2)), done + 1
    if done == len(times):
        return found
    near = _ENDED * np.linalg.norm(at.fitted, axis=(1, 2))
    path = DOP853(flow, 0.0, state, float(times[order[-1]]), rtol=_RELATIVE, atol=_ABSOLUTE * size)
    for step in range(_MOST):
        if (said := path.step()) is not None:
            raise NumericalFailure(f"gradient flow: expected steps up to t = {times[order[-1]]:.3g}, received {said}; "
                                   "scale inputs and outputs")  # fmt: skip
        between = None
        while done < len(times) and times[order[done]] <= path.t:
            between = path.dense_output() if between is None else between
            found[order[done]] = np.sum((update(between(times[order[done]])) - at.shift) ** 2, axis=(1, 2))
            done += 1
        if done == len(times):
            return found
        if path.nfev > _MOST:
            break
        if step % _LOOK == 0:
            off = np.linalg.norm((update(path.y) - kept) * np.sqrt(at.variances), axis=(1, 2))
            if np.all(off <= near):
                return found
    raise InvalidInput("times", f"times up to {path.t:.3g}, which is as far as {_MOST} evaluations reach",
                       float(times[order[-1]]), "ask for earlier times, or another rank")  # fmt: skip
