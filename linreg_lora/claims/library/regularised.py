"""Full fine-tuning stopped early, beside ridge, and LoRA's factors trained with decay."""

import numpy as np

from linreg_lora.claims.library.plain_data import reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import NonNegative, Positive
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
#: Alternating half steps on the factors with decay, at most, and how many are made between two looks.
_HALF_STEPS, _LOOKS = 4000, 100
#: The relative objective gap at which they end.
_SETTLED = 1e-13


def _designs(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, ...]:
    """Eigenvalues and eigenvectors of S = X X^T / n, and H = R X^T / n."""
    x, residual = reduced(problem, trials, seed)
    values, basis = np.linalg.eigh(x @ x.mT / problem.n)
    return np.maximum(values, 0.0), basis, residual @ x.mT / problem.n


@register_experiment("stopped-fft-risk", bounded=True)
def stopped_fft_risk(problem: Problem, trials: int, seed: int, *, time: NonNegative) -> Sample:
    """Excess risk of full fine-tuning by gradient flow, stopped at `time` over the mean variance of the inputs."""
    values, basis, h = _designs(problem, trials, seed)
    t = time / float(np.mean(np.diag(problem.sigma)))
    learnt = np.where(values > _EPS, -np.expm1(-t * values) / np.where(values > _EPS, values, 1.0), t)
    updates = ((h @ basis) * learnt[:, None, :]) @ basis.mT
    return Sample(risks(problem, updates)[:, None], {"time": np.asarray(t)})


@register_experiment("stopped-fft-variance", pathwise=True)
def stopped_fft_variance(problem: Problem, trials: int, seed: int, *, time: Positive) -> Sample:
    """The variance given X of full fine-tuning stopped at t = `time`; context: that of ridge eta = n / t."""
    values, basis, _ = _designs(problem, trials, seed)
    weights = np.sum((problem.sigma @ basis) * basis, axis=1) * problem.noise_trace / problem.n
    positive = np.maximum(values, _EPS)
    stopped = np.sum(weights * np.expm1(-time * positive) ** 2 / positive, axis=1)
    ridge = np.sum(weights * time**2 * positive / (1 + time * positive) ** 2, axis=1)
    rounding = np.full(trials, 1e3 * _EPS * problem.dx)
    return Sample(stopped, {"ridge": ridge}, tolerance=rounding, scale=stopped)


@register_experiment("tuned-stopping-risk", pathwise=True)
def tuned_stopping_risk(problem: Problem, trials: int, seed: int, *, share: Positive) -> Sample:
    """The risk given X, over noise and over rotations of Delta, of flow stopped at t = `share` n / eta for the ridge
    eta that is best; context: that of this ridge."""
    values, basis, _ = _designs(problem, trials, seed)
    weights = np.sum((problem.sigma @ basis) * basis, axis=1)
    energy = float(np.sum(problem.shift**2)) / problem.dx
    level = problem.noise_trace / (problem.n * energy)
    positive = np.maximum(values, _EPS)
    t = share / level
    stopped = energy * np.sum(
        weights * (np.exp(-2 * t * positive) + level * np.expm1(-t * positive) ** 2 / positive), axis=1
    )
    ridge = energy * np.sum(weights * level / (positive + level), axis=1)
    rounding = np.full(trials, 1e3 * _EPS * problem.dx)
    return Sample(stopped, {"ridge": ridge}, tolerance=rounding, scale=stopped)


@register_experiment("decayed-factors", pathwise=True)
def decayed_factors(problem: Problem, trials: int, seed: int, *, decay: Positive, scale: Positive) -> Sample:
    """g B A of all ranks, trained by exact half steps with decay lam = `decay` of ||H||_2 and g = `scale`.

    The tolerance is what a duality gap leaves: (lmin(S)/2) ||D - D*||^2 <= gap. Context: S, H, lam and g.
    """
    if decay >= scale:
        raise InvalidInput("decay", f"a number < scale = {scale:g}, as more leaves nothing", decay)
    x, residual = reduced(problem, trials, seed)
    s, h = x @ x.mT / problem.n, residual @ x.mT / problem.n
    lam = decay * np.linalg.norm(h, 2, axis=(1, 2))[:, None, None]
    rank = min(problem.dx, problem.dy)
    a = np.random.default_rng(seed).standard_normal((trials, rank, problem.dx)) / np.sqrt(problem.dx)
    values, basis = np.linalg.eigh(s)
    update, gap, start = np.zeros_like(h), np.full(trials, np.inf), np.ones(trials)
    for k in range(_HALF_STEPS):
        b, a = half_steps(a, s, h, lam, scale, values, basis)
        if k % _LOOKS == _LOOKS - 1:
            update = scale * b @ a
            gap, start = _duality_gap(update, x, residual, lam[:, 0, 0] / scale, problem.n)
            if np.all(gap <= _SETTLED * start):
                break
    norms = np.linalg.norm(update, axis=(1, 2))
    left = np.sqrt(2 * np.maximum(gap, 1e2 * _EPS * start) / values[:, 0]) / norms
    context = {"s": s, "h": h, "decay": lam[:, 0, 0], "scale": np.asarray(scale)}
    return Sample(update, context, tolerance=left, scale=norms)


def half_steps(
    a: np.ndarray, s: np.ndarray, h: np.ndarray, lam: np.ndarray, scale: float, values: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best B for A, then the best A for that B, with decay `lam`; `values` and `basis` are of S."""
    b = np.linalg.solve(scale**2 * a @ s @ a.mT + lam * np.eye(a.shape[1]), scale * a @ h.mT).mT
    size, turn = np.linalg.eigh(b.mT @ b)
    rows = scale * turn.mT @ b.mT @ h @ basis
    return b, turn @ (rows / (scale**2 * size[:, :, None] * values[:, None, :] + lam)) @ basis.mT


def _duality_gap(
    update: np.ndarray, x: np.ndarray, residual: np.ndarray, penalty: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of min (1/2n) ||R - D X||^2 + mu ||D||_*: primal less dual at Z, the residual made feasible; and the start."""
    left = residual - update @ x
    nuclear = np.sum(np.linalg.svd(update, compute_uv=False), axis=-1)
    primal = np.sum(left**2, axis=(1, 2)) / (2 * n) + penalty * nuclear
    feasible = np.minimum(1.0, penalty / np.linalg.norm(left @ x.mT / n, 2, axis=(1, 2)))[:, None, None] * left
    dual = (np.sum(feasible * residual, axis=(1, 2)) - np.sum(feasible**2, axis=(1, 2)) / 2) / n
    return primal - dual, np.sum(residual**2, axis=(1, 2)) / (2 * n)
