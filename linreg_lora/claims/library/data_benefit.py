"""What one more sample is worth to an adapter with a frozen factor, as a share of what it is worth to FFT.

Risks are measured with and without the last sample of the same draw, and averaged over the noise exactly: an update is
linear in the outputs, so the estimators give its matrix when the outputs are the identity.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


def _leading_directions(problem: Problem, rank: int) -> np.ndarray:
    """A frozen A whose rows span the leading r right singular vectors of Delta, turned: it represents rank r."""
    turn = np.linalg.qr(np.random.default_rng(methods._FACTOR_SEED).standard_normal((rank, rank)))[0]
    return turn @ np.linalg.svd(problem.shift)[2][:rank]


def _designs(problem: Problem, trials: int, seed: int) -> np.ndarray:
    """X with n samples, the last column zero, which no least squares sees; then the same X with n + 1 samples."""
    more, _ = experiments._data(problem.replace(n=problem.n + 1), trials, seed)
    fewer = more.copy()
    fewer[..., -1] = 0
    return np.concatenate([fewer, more])


def _benefits(problem: Problem, x: np.ndarray, linear_map: Callable[[np.ndarray], Any]) -> np.ndarray:
    """risk(n) - risk(n + 1) given the design; `linear_map`: X -> the matrix W of the update R W.

    The risk given the design is ||(Delta X W - Delta) Sigma^{1/2}||_F^2 + Tr(Sigma_eps) ||W Sigma^{1/2}||_F^2.
    """
    with runtime.exclusive_device():
        w = np.asarray(linear_map(x))
    bias = np.sum(((problem.shift @ x @ w - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))
    risk = bias + problem.noise_trace * np.sum((w @ problem.sigma_sqrt) ** 2, axis=(-2, -1))
    return risk[: len(x) // 2] - risk[len(x) // 2 :]


def _frozen_a_sample(problem: Problem, trials: int, seed: int, factor: np.ndarray) -> Sample:
    x = _designs(problem, trials, seed)
    identity = np.eye(problem.n + 1)
    benefit = _benefits(problem, x, lambda x: methods._compiled().a(x, identity, factor, None))
    full = _benefits(problem, x, lambda x: experiments._compiled().fft(x, identity, None))
    return Sample(benefit[:, None], {"fft": full, "factor": factor})


@functools.lru_cache(maxsize=2)
def _leading_directions_sample(problem: Problem, trials: int, seed: int, rank: int) -> Sample:
    return _frozen_a_sample(problem, trials, seed, _leading_directions(problem, rank))


@register_experiment("frozen-a-benefit")
def frozen_a_benefit(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """What sample n + 1 is worth with A frozen on the leading directions of the shift; context: what it is to FFT."""
    return _leading_directions_sample(problem, trials, seed, int(rank))


@register_experiment("frozen-a-benefit-of-any-a")
def frozen_a_benefit_of_any_a(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The same with an A that knows nothing of the shift."""
    return _frozen_a_sample(problem, trials, seed, methods._orthonormal_rows(int(rank), problem.dx))


@register_experiment("frozen-b-benefit", pathwise=True)
def frozen_b_benefit(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """What sample n + 1 is worth on each design, n > dx, with B frozen; context: B^T, and what it is to FFT.

    The noise is averaged over by an update for each entry of it, sigma_eps_sqrt e_j e_i^T; what B cannot represent does
    not depend on n.
    """
    dy, n = problem.dy, problem.n + 1
    x = _designs(problem, trials, seed)
    factor = methods._orthonormal_rows(int(rank), dy).T
    full = _benefits(problem, x, lambda x: experiments._compiled().fft(x, np.eye(n), None))
    entries = problem.sigma_eps_sqrt @ np.eye(dy * n).reshape(dy * n, dy, n)
    with runtime.exclusive_device():
        updates = np.asarray(methods._compiled().b(x[:, None], entries[None], factor, None))
    variance = np.sum((updates @ problem.sigma_sqrt) ** 2, axis=(1, 2, 3))
    tolerance = experiments._rounding(x[:trials, :, :-1], squared=True)
    context = {"fft": full, "factor": factor.T}
    return Sample(variance[:trials] - variance[trials:], context, tolerance=tolerance, scale=variance[:trials])
