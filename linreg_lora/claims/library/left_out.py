"""Errors that are estimated from the data alone: leaving samples out, and Stein's estimate with inputs fixed."""

from typing import NamedTuple

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: Draws on which the coefficient of the control is fitted.
_PILOT = 256


class _Surplus(NamedTuple):
    """Left-out loss minus the risk without the last sample, of LoRA and of full fine-tuning: one entry a draw each."""

    lora: np.ndarray
    full: np.ndarray


@register_experiment("left-out-surplus")
def left_out_surplus(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Mean leave-one-out loss of LoRA in closed form, minus the excess risk of LoRA fitted without the last sample.

    r = `rank`, no intercept, the problem's ridge. Two things of mean zero, which have most of the spread, are taken
    off: what the noise drawn is more than Tr Sigma_eps a sample, and what the same difference of full fine-tuning is
    more than that. For a fit that has not seen a sample, whose noise is independent of it, this is the risk and
    Tr Sigma_eps on average, and samples are exchangeable. It and the fits without a sample are plain NumPy's, by the
    normal equations and by pseudo-inverses, so that a mistake in one is not taken off with the other; its coefficient
    is least squares on `_PILOT` draws of their own, so that the rows are independent of these.
    """
    pilot, drawn = (
        _surpluses(problem, *run, int(rank)) for run in ((_PILOT, derived_seed(seed, "pilot")), (trials, seed))
    )
    slope = np.cov(pilot.lora, pilot.full)[0, 1] / np.var(pilot.full, ddof=1)
    surplus = drawn.lora - slope * (drawn.full - problem.noise_trace)
    return Sample(surplus[:, None], {"rank": np.asarray(int(rank))})


def _surpluses(problem: Problem, trials: int, seed: int, rank: int) -> _Surplus:
    """Both with the surplus of the noise drawn taken off."""
    from linreg_lora.own_data.deletion import deletions, design
    from linreg_lora.own_data.losses import directions, losses

    x, y = experiments._data(problem, trials, seed)
    residual, lora = experiments._residual(problem, x, y), np.empty(trials)
    truncated = _fits(x[..., :-1], residual[..., :-1], rank, problem.ridge)
    full = _full(x[..., :-1], residual[..., :-1], problem.ridge)
    for draw in range(trials):
        deleted = deletions(design(x[draw].T, intercept=False), residual[draw].T, problem.ridge)
        lora[draw] = np.mean(losses(deleted, directions(deleted)).losses[:, rank])
    missed = np.mean(np.sum(_missed(x, residual, problem.ridge) ** 2, axis=1), axis=1)
    noise = np.mean(np.sum((residual - problem.shift @ x) ** 2, axis=1), axis=1) - problem.noise_trace
    return _Surplus(lora - _risks(problem, truncated) - noise, missed - _risks(problem, full) - noise)


def _risks(problem: Problem, updates: np.ndarray) -> np.ndarray:
    return np.sum(((updates - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))


def _missed(x: np.ndarray, residual: np.ndarray, ridge: float) -> np.ndarray:
    """What full fine-tuning without each sample misses of it: R G, column i over G_ii, with G = (X^T X + eta I)^{-1},
    or without ridge where n > dx the projector on what the inputs do not reach."""
    dx, n = x.shape[1:]
    if ridge == 0 and n > dx:
        unreached = np.eye(n) - np.linalg.pinv(x) @ x
    else:
        unreached = np.linalg.inv(x.mT @ x + ridge * np.eye(n))
    return residual @ unreached / np.einsum("tii->ti", unreached)[:, None, :]


def _full(x: np.ndarray, residual: np.ndarray, ridge: float) -> np.ndarray:
    """D_FFT of every draw by the smaller of the normal equations."""
    dx, n = x.shape[1:]
    if n > dx:
        return np.linalg.solve(x @ x.mT + ridge * np.eye(dx), x @ residual.mT).mT
    return residual @ np.linalg.solve(x.mT @ x + ridge * np.eye(n), x.mT)


def _fits(x: np.ndarray, residual: np.ndarray, rank: int, ridge: float) -> np.ndarray:
    """D_r of every draw: FFT's update in the `rank` directions of what it fits to the data and the penalty."""
    if ridge > 0:
        dx = x.shape[1]
        x = np.concatenate([x, np.broadcast_to(np.sqrt(ridge) * np.eye(dx), (len(x), dx, dx))], axis=2)
        residual = np.concatenate([residual, np.zeros((*residual.shape[:2], dx))], axis=2)
    update = residual @ np.linalg.pinv(x)
    basis = np.linalg.svd(update @ x, full_matrices=False)[0][..., :rank]
    return basis @ (basis.mT @ update)


@register_experiment("stein-surplus")
def stein_surplus(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """tail_r^2 + 2 sigma^2 df(r) - loss of the truncated fit, inputs fixed; context: what rivals need.

    The fit in the coordinates of the inputs' row space is M + sigma G, dy x N, N = dx < n, with strengths lambda:
    tail_r^2 = sum_{j > r} lambda_j^2, loss = ||trunc_r(M + sigma G) - M||_F^2, and

        df(r) = r (dy + N - r) + 2 sum_{i <= r < j} lambda_j^2 / (lambda_i^2 - lambda_j^2).
    """
    if problem.isotropic_noise_scale is None:
        raise InvalidInput("noise_covariance", "c I, which Stein's estimate assumes", "another", "leave it out")
    r, variance = int(rank), problem.noise_std**2 * problem.isotropic_noise_scale
    x, y = experiments._data(problem, trials, seed)
    rows = np.linalg.svd(x, full_matrices=False)[2]
    seen = experiments._residual(problem, x, y) @ rows.mT
    mean = problem.shift @ x @ rows.mT
    u, lam, vt = np.linalg.svd(seen, full_matrices=False)
    loss = np.sum(((u[..., :r] * lam[:, None, :r]) @ vt[:, :r] - mean) ** 2, axis=(-2, -1))
    squares = lam**2
    kept, rest = squares[:, :r, None], squares[:, None, r:]
    pairs = 2 * np.sum(rest / (kept - rest), axis=(-2, -1))
    apart = np.sum(squares[:, r:], axis=1) - loss
    dimension = r * (problem.dy + problem.dx - r)
    context = {"apart": apart, "pairs": pairs, "variance": np.asarray(variance), "dimension": np.asarray(dimension)}
    context["rank"] = np.asarray(r)
    return Sample((apart + 2 * variance * (dimension + pairs))[:, None], context)
