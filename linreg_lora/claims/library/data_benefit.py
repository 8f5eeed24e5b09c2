"""Claims about what one more sample is worth to an adapter with a frozen factor, as a share of what it is worth to FFT.

Risks are measured with and without the last sample of the same draw, and averaged over the noise exactly: an update is
linear in the outputs, so the estimators give its matrix when the outputs are the identity.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import data_benefit


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
def frozen_a_benefit(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """What sample n + 1 is worth with A frozen on the leading directions of the shift; context: what it is to FFT."""
    return _leading_directions_sample(problem, trials, seed, int(rank))


@register_experiment("frozen-a-benefit-of-any-a")
def frozen_a_benefit_of_any_a(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """The same with an A that knows nothing of the shift."""
    return _frozen_a_sample(problem, trials, seed, methods._orthonormal_rows(int(rank), problem.dx))


@register_experiment("frozen-b-benefit", pathwise=True)
def frozen_b_benefit(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
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


# -- predictions --------------------------------------------------------------------------------------------------


def _of_fft(problem: Problem, sample: Sample, share: float) -> np.ndarray:
    return share * sample.context["fft"]


def _rank(sample: Sample) -> int:
    return len(sample.context["factor"])


@register_prediction("benefit.exact-ratio")
def exact_ratio(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1)(n - dx) / (dx (n - r - 1)(n - r)) of FFT's, where A represents Delta."""
    return _of_fft(problem, sample, data_benefit.frozen_a_ratio(problem.n, problem.dx, _rank(sample)))


@register_prediction("benefit.k-over-d")
def k_over_d(problem: Problem, sample: Sample) -> np.ndarray:
    """r dy trained parameters of dx dy."""
    return _of_fft(problem, sample, _rank(sample) / problem.dx)


@register_prediction("benefit.share-of-outputs")
def share_of_outputs(problem: Problem, sample: Sample) -> np.ndarray:
    """k/d for a frozen B: r dx trained parameters of dx dy."""
    return _of_fft(problem, sample, _rank(sample) / problem.dy)


@register_prediction("benefit.ratio-of-risks")
def ratio_of_risks(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1) / (dx (n - r - 1)): the ratio of the risks themselves."""
    n, dx, rank = problem.n, problem.dx, _rank(sample)
    return _of_fft(problem, sample, rank * (n - dx - 1) / (dx * (n - rank - 1)))


@register_prediction("benefit.rank-forgotten")
def rank_forgotten(problem: Problem, sample: Sample) -> np.ndarray:
    """r (n - dx - 1)(n - dx) / (dx n^2): the adapter's own degrees of freedom are not subtracted."""
    n, dx = problem.n, problem.dx
    return _of_fft(problem, sample, _rank(sample) * (n - dx - 1) * (n - dx) / (dx * n**2))


@register_prediction("benefit.misspecified")
def misspecified(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps + M) r / ((n - r - 1)(n - r))."""
    return data_benefit.frozen_a_benefit(problem, sample.context["factor"]).value


@register_prediction("benefit.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """As if A represented Delta: Tr(Sigma_eps) r / ((n - r - 1)(n - r))."""
    rank = _rank(sample)
    return problem.noise_trace * rank / ((problem.n - rank - 1) * (problem.n - rank))
