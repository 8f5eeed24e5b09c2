"""Starts of LoRA in the first full gradient: the subspaces they keep, alignment, contraction, displaced weights."""

from typing import Annotated

import numpy as np
from pydantic import Field

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Condition, Count, NonNegative, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
#: A learning rate for which both parts of the error contract.
_Rate = Annotated[float, Field(gt=0, lt=0.5)]
#: Singular values of the shift, and the rank of the factors that train on it; their start's size, and the training.
_STRENGTHS, _RANK = (2.0, 1.2), 4
_SMALL, _STEP, _ANGLE, _MOST = 1e-6, 0.1, 0.1, 400


def _shift(rng: np.random.Generator, trials: int, size: MatrixSize) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, V^T and Delta = U diag(_STRENGTHS) V^T."""
    u, v = (np.linalg.qr(rng.standard_normal((trials, k, len(_STRENGTHS)))).Q for k in size)
    return u, v.mT, (u * np.array(_STRENGTHS)) @ v.mT


@register_experiment("first-gradient-error", bounded=True)
def first_gradient_error(problem: Problem, trials: int, seed: int) -> Sample:
    """n ||R X^T / n - Delta Sigma||_F^2."""
    x, residual = reduced(problem, trials, seed)
    error = residual @ x.mT / problem.n - problem.shift @ problem.sigma
    return Sample(problem.n * np.sum(error**2, axis=(1, 2))[:, None])


@register_experiment("outside-of-the-gradient", pathwise=True)
def outside_of_the_gradient(size: MatrixSize, trials: int, seed: int, *, noise: NonNegative, steps: Count) -> Sample:
    """||(I - U U^T) B_t||_F / ||B_t||_F, U the two leading left vectors of G, after GD from B = 0 with n = 3 dx."""
    rng, n = np.random.default_rng(seed), 3 * size.columns
    x = rng.standard_normal((trials, size.columns, n))
    residual = _shift(rng, trials, size)[2] @ x + noise * rng.standard_normal((trials, size.rows, n))
    g, s = residual @ x.mT / n, x @ x.mT / n
    leading = np.linalg.svd(g, full_matrices=False)[0][:, :, : len(_STRENGTHS)]
    b, a = np.zeros((trials, size.rows, _RANK)), rng.standard_normal((trials, _RANK, size.columns)) / 10
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(int(steps)):
            left = g - b @ a @ s
            b, a = b + 0.05 * left @ a.mT, a + 0.05 * b.mT @ left
    if not np.all(np.isfinite(b)):
        raise InvalidInput("noise", "so little that descent does not diverge", noise)
    whole = np.linalg.norm(b, axis=(1, 2))
    outside = np.linalg.norm(b - leading @ (leading.mT @ b), axis=(1, 2)) / whole
    tolerance = np.full(trials, 1e3 * _EPS * n)
    return Sample(outside, {"outputs": np.asarray(size.rows)}, tolerance=tolerance, scale=np.ones(trials))


def _steps_to_align(a: np.ndarray, outputs: int) -> np.ndarray:
    """Steps of GD from (0, A) until A's leading right vectors are within `_ANGLE` of the shift's, the first axes.

    S = I. Between two steps by the logarithm of the sine.
    """
    trials, _, inputs = a.shape
    shift = np.zeros((outputs, inputs))
    shift[range(len(_STRENGTHS)), range(len(_STRENGTHS))] = _STRENGTHS
    b, found, before = np.zeros((trials, outputs, _RANK)), np.full(trials, np.nan), np.ones(trials)
    for k in range(_MOST):
        leading = np.linalg.svd(a, full_matrices=False)[2][:, : len(_STRENGTHS)]
        sine = np.linalg.norm(leading[:, :, len(_STRENGTHS) :], 2, axis=(1, 2))
        crossed = np.isnan(found) & (sine < _ANGLE)
        found[crossed] = k - np.log(_ANGLE / sine[crossed]) / np.log(before[crossed] / sine[crossed])
        if not np.any(np.isnan(found)):
            return found
        before, left = sine, shift - b @ a
        b, a = b + _STEP * left @ a.mT, a + _STEP * b.mT @ left
    raise InvalidInput("experiment", f"sizes at which {_MOST} steps align the factor", f"{inputs} inputs", "take fewer")


def _unseen(rng: np.random.Generator, trials: int, inputs: int) -> np.ndarray:
    """What is left of A in inputs that the shift does not see, up to a rotation of these: Bartlett's factor."""
    factor = np.tril(rng.standard_normal((trials, _RANK, _RANK)), -1)
    diagonal = np.sqrt(rng.chisquare(inputs - np.arange(_RANK), (trials, _RANK)))
    return factor + diagonal[:, :, None] * np.eye(_RANK)


@register_experiment("alignment-delay", bounded=True)
def alignment_delay(size: MatrixSize, trials: int, seed: int) -> Sample:
    """How many steps more alignment takes with four times as many inputs, from the same start in the shift's.

    Context: the step, lambda_1 and lambda_r*. Rotations make the shift diagonal.
    """
    rng, planted = np.random.default_rng(seed), len(_STRENGTHS)
    seen = rng.standard_normal((trials, _RANK, planted))
    few, many = (
        _steps_to_align(_SMALL * np.concatenate([seen, _unseen(rng, trials, d - planted)], axis=2), size.rows)
        for d in (size.columns, 4 * size.columns)
    )
    return Sample((many - few)[:, None], {"step": np.asarray(_STEP), "values": np.asarray(_STRENGTHS)})


@register_experiment("preconditioned-contraction", pathwise=True)
def preconditioned_contraction(
    size: MatrixSize, trials: int, seed: int, *, condition: Condition, rate: _Rate
) -> Sample:
    """What one step of preconditioned GD on factors of rank two leaves of the error, late; S = I.

    B <- B - eta (B A - Delta) A^T (A A^T)^-1, A likewise with B before the step, eta = `rate`. The tolerance is what
    is left of the part that contracts by 1 - 2 eta, and of rounding.
    """
    rng, steps = np.random.default_rng(seed), int(np.ceil(np.log(1e-7) / np.log(1 - rate)))
    u, v = (np.linalg.qr(rng.standard_normal((trials, k, 2))).Q for k in size)
    shift = (u * np.array([condition, 1.0])) @ v.mT
    near = 0.03 * rng.standard_normal((2, trials, max(size), 2))
    roots = np.sqrt([condition, 1.0])
    b, a = u * roots + near[0][:, : size.rows], (v * roots + near[1][:, : size.columns]).mT
    before = np.linalg.norm(b @ a - shift, axis=(1, 2))
    quotient = np.ones(trials)
    for _ in range(steps):
        left = b @ a - shift
        b, a = (
            b - rate * left @ a.mT @ np.linalg.inv(a @ a.mT),
            a - rate * np.linalg.solve(b.mT @ b, b.mT @ left),
        )
        now = np.linalg.norm(b @ a - shift, axis=(1, 2))
        quotient, before = now / before, now
    left = 10 * ((1 - 2 * rate) / (1 - rate)) ** (2 * steps) + 100 * _EPS * condition / before + 10 * before
    context = {"rate": np.asarray(rate), "condition": np.asarray(condition)}
    return Sample(quotient, context, tolerance=left, scale=np.ones(trials))


def _displaced(
    problem: Problem, trials: int, seed: int, rank: int, length: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, R, and W = `length` sum_{i <= r} u_{r+i} v_i^T of the first gradient."""
    if 2 * rank > (most := min(problem.dx, problem.dy)):
        raise InvalidInput("rank", f"at most half of the {most} directions of a gradient", rank)
    x, residual = reduced(problem, trials, seed)
    u, _, v = np.linalg.svd(residual @ x.mT / problem.n, full_matrices=False)
    return x, residual, length * u[:, :, rank : 2 * rank] @ v[:, :rank]


@register_experiment("displaced-start-gain")
def displaced_start_gain(problem: Problem, trials: int, seed: int, *, rank: Rank, length: NonNegative) -> Sample:
    """Risk of LoRA less that of LoRA whose start W was taken off the frozen weights; context: the latter, r, length."""
    r = int(rank)
    x, residual, w = _displaced(problem, trials, seed, r, length)
    lora, moved = (full_and_truncated(x, residual + d @ x, r)[1] - d for d in (np.zeros_like(w), w))
    beside = risks(problem, moved)
    context = {"fft": beside, "rank": np.asarray(r), "length": np.asarray(length)}
    return Sample((risks(problem, lora) - beside)[:, None], context)


@register_experiment("displaced-start-floor", bounded=True)
def displaced_start_floor(problem: Problem, trials: int, seed: int, *, rank: Rank, length: NonNegative) -> Sample:
    """sum_{i > r} s_i(Delta + W)^2, which no update of rank r mends; context: r and the length of W."""
    w = _displaced(problem, trials, seed, int(rank), length)[2]
    left = np.linalg.svd((problem.shift + w) @ problem.sigma_sqrt, compute_uv=False)[:, int(rank) :]
    context = {"rank": np.asarray(int(rank)), "length": np.asarray(length)}
    return Sample(np.sum(left**2, axis=1)[:, None], context)
