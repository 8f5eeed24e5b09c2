"""Errors that are estimated from the data alone: leaving samples out, and Stein's estimate with inputs fixed."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


@register_experiment("left-out-surplus")
def left_out_surplus(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """Mean leave-one-out loss of LoRA in closed form, minus the excess risk of LoRA fitted without the last sample.

    r = `rank`, no intercept, the problem's ridge. What the noise drawn is more than Tr Sigma_eps a sample is taken off:
    that has mean zero and most of the spread. The fit without a sample is plain NumPy's, by the singular value
    decomposition of what it predicts.
    """
    from linreg_lora.own_data.deletion import deletions, design
    from linreg_lora.own_data.losses import directions, losses

    x, y = experiments._data(problem, trials, seed)
    residual, r, surplus = experiments._residual(problem, x, y), int(rank), np.empty(trials)
    fitted = _fits(x[..., :-1], residual[..., :-1], r, problem.ridge)
    risk = np.sum(((fitted - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))
    for draw in range(trials):
        deleted = deletions(design(x[draw].T, intercept=False), residual[draw].T, problem.ridge)
        surplus[draw] = np.mean(losses(deleted, directions(deleted)).losses[:, r]) - risk[draw]
    surplus -= np.mean(np.sum((residual - problem.shift @ x) ** 2, axis=1), axis=1) - problem.noise_trace
    return Sample(surplus[:, None], {"rank": np.asarray(r)})


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
def stein_surplus(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
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
