"""Where LoRA's factors of given rank end that are trained with decay: minima, and minima that are not least.

    min over A, B of  (1/2n) ||R - g B A X||_F^2 + (lam/2)(||A||_F^2 + ||B||_F^2),     mu = lam / g,

by exact half steps on S = X X^T / n and H = R X^T / n. What the last `_STRETCH` steps moved bounds what is left, times
`_ROOM`: steps contract by so much at least, or the tolerance says that they do not.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from linreg_lora.claims.library.plain_data import reduced
from linreg_lora.claims.library.regularised import half_steps
from linreg_lora.claims.library.training import Factors, _full_updates
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_predicate
from linreg_lora.claims.settings import Condition, NonNegative, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
_STEPS, _STRETCH, _ROOM = 1500, 100, 100.0
#: The condition number of inputs of two variances.
_Unequal = Annotated[float, Field(gt=1)]
#: A singular value below this share of the largest is none.
_NONE = 1e-6


def _ends(
    s: np.ndarray, h: np.ndarray, mu: np.ndarray, a: np.ndarray, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """g B A where half steps from A end, and how far it may be from there. `mu`: one number a draw."""
    values, basis = np.linalg.eigh(s)
    lam, before, now = (scale * mu)[:, None, None], np.zeros_like(h), np.zeros_like(h)
    for k in range(_STEPS):
        b, a = half_steps(a, s, h, lam, scale, values, basis)
        if k % _STRETCH == _STRETCH - 1:
            before, now = now, scale * b @ a
    size = np.linalg.norm(h, axis=(1, 2))
    return now, _ROOM * np.linalg.norm(now - before, axis=(1, 2)) + 1e3 * _EPS * size / values[:, 0]


def _objective(update: np.ndarray, s: np.ndarray, h: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """(1/2) Tr D S D^T - <H, D> + mu ||D||_*."""
    nuclear = np.sum(np.linalg.svd(update, compute_uv=False), axis=-1)
    return np.sum((update @ s) * update, axis=(1, 2)) / 2 - np.sum(h * update, axis=(1, 2)) + mu * nuclear


def _decayed(
    case: Factors, trials: int, seed: int, decay: float
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Ends where S = I, mu = `decay` times a number between two of the values of F; their error; context."""
    rng = np.random.default_rng(seed)
    left, f, right = _full_updates(case, trials, rng)
    full, kept, place = (
        (left * f[:, None, :]) @ right.mT,
        rng.integers(1, case.rank + 1, trials),
        rng.uniform(0.3, 0.7, trials),
    )
    draws = np.arange(trials)
    mu = decay * f[draws, kept - 1] ** place * f[draws, kept] ** (1 - place)
    a = np.sqrt(case.kappa) * rng.standard_normal((trials, case.rank, case.dx)) / np.sqrt(case.dx)
    eye = np.broadcast_to(np.eye(case.dx), (trials, case.dx, case.dx))
    found, error = _ends(eye, full, mu, a, case.scaling)
    return found, error, {"full": full, "mu": mu}


@register_experiment("decayed-end", pathwise=True)
def decayed_end(case: Factors, trials: int, seed: int, *, decay: NonNegative) -> Sample:
    """g B A of rank r trained with decay lam, S = I; lam / g is `decay` times a level between singular values of F."""
    found, error, context = _decayed(case, trials, seed, decay)
    size = np.linalg.norm(context["full"], axis=(1, 2))
    return Sample(found, context, tolerance=error / size, scale=size)


@register_experiment("decayed-rank", pathwise=True)
def decayed_rank(case: Factors, trials: int, seed: int, *, decay: NonNegative) -> Sample:
    """The rank of that end; `decay` 0: without decay."""
    found, error, context = _decayed(case, trials, seed, decay)
    values = np.linalg.svd(found, compute_uv=False)
    rank = np.sum(values > _NONE * np.max(values, axis=1, keepdims=True), axis=1).astype(float)
    settled = np.where(error < _NONE * np.max(values, axis=1), 0.0, 1.0)
    return Sample(rank, context, tolerance=settled, scale=np.ones(trials))


@register_experiment("excess-of-ends", pathwise=True)
def excess_of_ends(size: MatrixSize, trials: int, seed: int, *, rank: Rank, condition: Condition) -> Sample:
    """The objective at the end of factors of rank r from a random start, over the least one there is, which has rank r.

    The minimum D comes first: with its singular vectors U and V, H = D S + mu (U V^T + W), U^T W = 0, W V = 0 and
    ||W||_2 < 1, so that no update of any rank does better. S has condition number `condition`. Context: the quotient at
    the best update without D's weakest direction.
    """
    rng, r, (dy, dx) = np.random.default_rng(seed), int(rank), size
    u, v, basis = (np.linalg.qr(rng.standard_normal((trials, k, k)))[0] for k in (dy, dx, dx))
    d = np.sort(rng.uniform(0.5, 3, (trials, r)), axis=1)[:, ::-1]
    variances = condition ** np.concatenate(
        [np.tile([0.0, 1.0], (trials, 1)), rng.uniform(0, 1, (trials, dx - 2))], axis=1
    )
    s = (basis * variances[:, None, :]) @ basis.mT
    mu, rest = 10 ** rng.uniform(-0.5, 1, trials), min(dx, dy) - r
    inner = (u[:, :, r : r + rest] * rng.uniform(0, 0.95, (trials, 1, rest))) @ v[:, :, r : r + rest].mT
    best = (u[:, :, :r] * d[:, None, :]) @ v[:, :, :r].mT
    h = best @ s + mu[:, None, None] * (u[:, :, :r] @ v[:, :, :r].mT + inner)
    a = 10 ** rng.uniform(-1.5, 1, (trials, 1, 1)) * rng.standard_normal((trials, r, dx))
    found, error = _ends(s, h, mu, a)
    least = -_objective(best, s, h, mu)
    weaker = (u[:, :, : r - 1] * d[:, None, : r - 1]) @ v[:, :, : r - 1].mT
    slope = np.linalg.norm(found @ s - h, axis=(1, 2)) + mu * np.sqrt(r)
    context = {"weaker": -_objective(weaker, s, h, mu) / least, "rank": np.asarray(r)}
    return Sample(
        -_objective(found, s, h, mu) / least,
        context,
        tolerance=error * slope / least + 1e4 * _EPS,
        scale=np.ones(trials),
    )


@register_predicate("wide-enough-pairs")
def wide_enough_pairs(rows: int, columns: int) -> bool:
    """At least two rows and two columns, for two directions that compete."""
    return min(rows, columns) >= 2


@register_experiment("two-minima", pathwise=True)
def two_minima(size: MatrixSize, trials: int, seed: int, *, condition: _Unequal) -> Sample:
    """The difference of the objectives where factors of rank one end from two starts, by the larger of their gains.

    H has two directions, of strengths h_1 < h_2, along inputs of variance 1 and k, the `condition`; other inputs have
    variances between. mu lies where both are minima: the derivative of sqrt(h^2) - mu along a path between them, of
    x(p) = (sqrt(p), sqrt((1 - p) / k)), falls at one end and rises at the other. Context: h_1, h_2, mu, k.
    """
    rng, (dy, dx), k = np.random.default_rng(seed), size, condition
    u, v = (np.linalg.qr(rng.standard_normal((trials, m, m)))[0] for m in (dy, dx))
    second = 10 ** rng.uniform(-1, 1, trials)
    first = second * k ** -rng.uniform(0.15, 0.35, trials)
    slope = (k * first**2 - second**2) / (k - 1)
    low, high = slope / second, np.minimum(slope / first, first)
    mu = low * (high / low) ** rng.uniform(0.3, 0.7, trials)
    variances = np.concatenate([np.tile([1.0, k], (trials, 1)), k ** rng.uniform(0, 1, (trials, dx - 2))], axis=1)
    s = (v * variances[:, None, :]) @ v.mT
    h = first[:, None, None] * u[:, :, :1] @ v[:, :, :1].mT + second[:, None, None] * u[:, :, 1:2] @ v[:, :, 1:2].mT
    near = 0.03 * rng.standard_normal((2, trials, 1, dx))
    ends = [_ends(s, h, mu, v[:, :, i : i + 1].mT + near[i]) for i in (0, 1)]
    gains = [-_objective(found, s, h, mu) for found, _ in ends]
    unit = np.maximum(*gains)
    left = sum(error * np.linalg.norm(found @ s - h, axis=(1, 2)) for found, error in ends) / unit
    context = {"first": first, "second": second, "mu": mu, "condition": np.full(trials, k)}
    return Sample((gains[0] - gains[1]) / unit, context, tolerance=left + 1e4 * _EPS, scale=np.ones(trials))


@register_experiment("design-condition")
def design_condition(problem: Problem, trials: int, seed: int) -> Sample:
    """The condition number of X X^T, n > dx."""
    if problem.n <= problem.dx:
        raise InvalidInput("experiment", "a domain with n > dx", f"n = {problem.n}, dx = {problem.dx}")
    x, _ = reduced(problem, trials, seed)
    values = np.linalg.eigvalsh(x @ x.mT)
    return Sample((values[:, -1] / values[:, 0])[:, None])
