"""Fits whose singular values are shrunk, in designs with X X^T = n c I: truncation, nuclear norms, budgets.

There least squares is D_FFT = Delta + E X^T / (n c), a matrix with noise of iid entries, and what a nuclear norm, a
limit on it, or a limit on the rank makes of it changes its singular values alone. Two ways of shrinking are compared on
the same draws.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative, Positive, Rank, Whole
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


class Fits(NamedTuple):
    """D_FFT = U diag(f) V^T of each draw, its noise, the noise's entry size sigma / sqrt(n c), and c."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    noise: np.ndarray
    unit: float
    scale: float

    def with_values(self, values: np.ndarray) -> np.ndarray:
        """The updates of these singular vectors with other values."""
        return (self.left * values[:, None, :]) @ self.right


def fits(problem: Problem, trials: int, seed: int) -> Fits:
    """Draws of D_FFT with orthogonal inputs."""
    c, v = problem.isotropic_scale, problem.isotropic_noise_scale
    if c is None or v is None or problem.n < problem.dx:
        raise InvalidInput(
            "experiment",
            "a domain with n >= dx, Sigma = c I and isotropic noise",
            f"n = {problem.n}, dx = {problem.dx}",
        )
    unit = problem.noise_std * np.sqrt(v / (problem.n * c))
    noise = unit * np.random.default_rng(seed).standard_normal((trials, problem.dy, problem.dx))
    return Fits(*np.linalg.svd(problem.shift + noise, full_matrices=False), noise, float(unit), c)


def edge(problem: Problem, found: Fits) -> float:
    """sigma (sqrt(dx) + sqrt(dy)) / sqrt(n c): the largest singular value of noise, nearly."""
    return found.unit * (np.sqrt(problem.dx) + np.sqrt(problem.dy))


def shrunk(problem: Problem, found: Fits, rank: int, threshold: float) -> np.ndarray:
    """(f_i - `threshold` edge)_+ for i <= rank, and 0."""
    kept = np.maximum(found.values - threshold * edge(problem, found), 0.0)
    return kept * (np.arange(kept.shape[1]) < rank)


def _risks(problem: Problem, found: Fits, rank: int, threshold: float) -> np.ndarray:
    error = found.with_values(shrunk(problem, found, rank, threshold)) - problem.shift
    return found.scale * np.sum(error**2, axis=(1, 2))


@register_experiment("shrunk-risk", bounded=True)
def shrunk_risk(problem: Problem, trials: int, seed: int, *, rank: Rank, threshold: NonNegative) -> Sample:
    """n / sigma^2 times the excess risk of D_FFT with singular values less `threshold` edges, at most r = `rank`."""
    found = fits(problem, trials, seed)
    risk = _risks(problem, found, int(rank), threshold) / (found.scale * found.unit**2)
    return Sample(risk[:, None], {"rank": np.asarray(int(rank)), "threshold": np.asarray(threshold)})


@register_experiment("shrunk-difference", bounded=True)
def shrunk_difference(
    problem: Problem,
    trials: int,
    seed: int,
    *,
    rank: Rank,
    threshold: NonNegative,
    rank_beside: Rank,
    threshold_beside: NonNegative,
) -> Sample:
    """The excess risk of one way of shrinking less that of another, on the same draws.

    Context: the latter, and the rank and the threshold of the former.
    """
    found = fits(problem, trials, seed)
    beside = _risks(problem, found, int(rank_beside), threshold_beside)
    difference = _risks(problem, found, int(rank), threshold) - beside
    context = {"fft": beside, "rank": np.asarray(int(rank)), "threshold": np.asarray(threshold)}
    return Sample(difference[:, None], context)


@register_experiment("thresholds-difference", bounded=True)
def thresholds_difference(
    problem: Problem, trials: int, seed: int, *, level: NonNegative, level_beside: NonNegative
) -> Sample:
    """The excess risk of keeping f_i^2 >= `level` (dx + dy) sigma^2 / (n c) less that of another level, as it is.

    Context: the latter, and how many directions one level keeps and the other does not, and their energy c f_i^2. A
    level is that of a penalty on the rank, which keeps values as they are.
    """
    found = fits(problem, trials, seed)
    unit = (problem.dx + problem.dy) * found.unit**2

    def risks(times: float) -> np.ndarray:
        kept = found.values * (found.values**2 >= times * unit)
        return found.scale * np.sum((found.with_values(kept) - problem.shift) ** 2, axis=(1, 2))

    beside, squares = risks(level_beside), found.values**2
    more = (squares >= level * unit).astype(float) - (squares >= level_beside * unit)
    energy = found.scale * np.sum(more * squares, axis=1)
    context = {"fft": beside, "more": np.sum(more, axis=1), "energy": energy}
    return Sample((risks(level) - beside)[:, None], context)


@register_experiment("penalty-jump", bounded=True)
def penalty_jump(problem: Problem, trials: int, seed: int, *, times: NonNegative, times_beside: NonNegative) -> Sample:
    """The rank that a penalty selects less that of another, both in units of E sum_{i <= r} sigma_i(G)^2.

    G has the noise's law and is drawn apart, `trials` times. Context: the rank that the other penalty selects, what
    each rank takes off the squared error, in units of the noise's variance, and `times` and `times_beside`.
    """
    found, q = fits(problem, trials, seed), min(problem.dx, problem.dy)
    apart = np.random.default_rng([seed, 1]).standard_normal((trials, problem.dy, problem.dx))
    least = np.cumsum(np.mean(np.linalg.svd(apart, compute_uv=False) ** 2, axis=0)) * found.unit**2
    gained = np.concatenate([np.zeros((trials, 1)), np.cumsum(found.values**2, axis=1)], axis=1)
    penalty = np.concatenate([[0.0], least])[: q + 1]
    one, other = (np.argmin(k * penalty - gained, axis=1).astype(float) for k in (times, times_beside))
    context = {"fft": other, "gained": gained / found.unit**2, "times": np.array([times, times_beside])}
    return Sample((one - other)[:, None], context)


def within_budget(values: np.ndarray, rank: int, budget: float) -> np.ndarray:
    """(f_i - t)_+ for i <= rank with the least t >= 0 at which they sum up to at most `budget`: the nearest that do."""
    f = values[:, :rank]
    t = (np.cumsum(f, axis=1) - budget) / np.arange(1, f.shape[1] + 1)
    least = np.maximum(np.max(t, axis=1, keepdims=True), 0.0)
    kept = np.zeros_like(values)
    kept[:, :rank] = np.maximum(f - least, 0.0)
    return kept


@register_experiment("budget-gap", bounded=True)
def budget_gap(problem: Problem, trials: int, seed: int, *, rank: Rank, share: Positive, surplus: Whole) -> Sample:
    """By how much `surplus` ranks raise the gap test - train of the best map with ||D||_* <= C; 0: the gap itself.

    Of rank r at most, with C = `share` ||Delta||_*. Given the design the gap is (2/n) <D X, E>, but for what has no D
    in it and mean zero. Context: the gap of rank r, and 2 C / n times the spectral norm of E X^T and times the mean of
    its r largest singular values.
    """
    r, most = int(rank), min(problem.dx, problem.dy)
    if r + int(surplus) > most:
        raise InvalidInput("surplus", f"an integer in 0..{most - r}, as there are {most} directions", int(surplus))
    found = fits(problem, trials, seed)
    budget = share * float(np.sum(np.linalg.svd(problem.shift, compute_uv=False)))

    def gap(ranks: int) -> np.ndarray:
        updates = found.with_values(within_budget(found.values, ranks, budget))
        return 2 * found.scale * np.sum(updates * found.noise, axis=(1, 2))

    few = gap(r)
    rises = gap(r + int(surplus)) - few if surplus else few
    values = 2 * found.scale * budget * np.linalg.svd(found.noise, compute_uv=False)
    context = {"fft": few, "largest": values[:, 0], "leading": np.mean(values[:, :r], axis=1)}
    context |= {"rank": np.asarray(r), "surplus": np.asarray(surplus)}
    return Sample(rises[:, None], context)


@register_prediction("shrunk-difference.bias-alone")
def bias_alone(problem: Problem, sample: Sample) -> float:
    """r* mu^2 less the risk that it is compared with: shrinking is taken to leave its bias, and no noise at all."""
    scale = float(sample.context["threshold"]) * (np.sqrt(problem.dx) + np.sqrt(problem.dy))
    bias = np.linalg.matrix_rank(problem.shift) * scale**2 * problem.noise_trace / (problem.dy * problem.n)
    return float(bias - np.mean(sample.context["fft"]))
