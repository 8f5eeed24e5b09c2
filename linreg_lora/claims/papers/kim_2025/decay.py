"""Predictions of where factors with decay end, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


def _thresholded(case: Factors, sample: Sample, times: float) -> np.ndarray:
    u, f, v = np.linalg.svd(sample.context["full"], full_matrices=False)
    kept = np.maximum(f[:, : case.rank] - times * sample.context["mu"][:, None], 0.0)
    return (u[:, :, : case.rank] * kept[:, None, :]) @ v[:, : case.rank]


@register_prediction("decayed-end.soft-threshold")
def soft_threshold(case: Factors, sample: Sample) -> np.ndarray:
    """sum_{i <= r} (f_i - lam / g)_+ u_i v_i^T, of F = sum f_i u_i v_i^T."""
    return _thresholded(case, sample, 1.0)


@register_prediction("decayed-end.half")
def half_threshold(case: Factors, sample: Sample) -> np.ndarray:
    """The same with half of the threshold, as if each factor paid for one half of the norm."""
    return _thresholded(case, sample, 0.5)


@register_prediction("decayed-end.of-lam")
def threshold_of_lam(case: Factors, sample: Sample) -> np.ndarray:
    """The same with the threshold lam: the scale g is forgotten."""
    return _thresholded(case, sample, case.scaling)


@register_prediction("decayed-end.ridge")
def ridge(case: Factors, sample: Sample) -> np.ndarray:
    """trunc_r(F) / (1 + mu): decay is taken for a ridge on the product."""
    u, f, v = np.linalg.svd(sample.context["full"], full_matrices=False)
    kept = f[:, : case.rank] / (1 + sample.context["mu"][:, None])
    return (u[:, :, : case.rank] * kept[:, None, :]) @ v[:, : case.rank]


@register_prediction("decayed-rank.above-the-penalty")
def above_the_penalty(case: Factors, sample: Sample) -> np.ndarray:
    """The number of f_i > lam / g, r at most."""
    f = np.linalg.svd(sample.context["full"], compute_uv=False)
    return np.minimum(np.sum(f > sample.context["mu"][:, None], axis=1), case.rank).astype(float)


@register_prediction("decayed-rank.of-the-factors")
def of_the_factors(case: Factors, sample: Sample) -> float:
    """r."""
    return float(case.rank)


@register_prediction("decayed-rank.less")
def less(case: Factors, sample: Sample) -> float:
    """r - 1."""
    return float(case.rank - 1)


@register_prediction("decayed-rank.none")
def none(case: Factors, sample: Sample) -> float:
    """0."""
    return 0.0


@register_prediction("excess-of-ends.none")
def no_excess(size: MatrixSize, sample: Sample) -> float:
    """1: every end is a global minimum."""
    return 1.0


@register_prediction("excess-of-ends.weakest-missed")
def weakest_missed(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What is reached without the weakest direction: training is taken to stall before it."""
    return sample.context["weaker"]


def _gains(sample: Sample, mu: np.ndarray | float) -> np.ndarray:
    """((h_1 - mu)^2, (h_2 - mu)^2 / k) / 2, by the larger."""
    first, second, k = (sample.context[name] for name in ("first", "second", "condition"))
    gains = np.stack([(first - mu) ** 2, (second - mu) ** 2 / k])
    return gains / np.max(gains, axis=0)


@register_prediction("two-minima.closed-form")
def closed_form(size: MatrixSize, sample: Sample) -> np.ndarray:
    """(h_1 - mu)^2 less (h_2 - mu)^2 / k, by the larger."""
    gains = _gains(sample, sample.context["mu"])
    return gains[0] - gains[1]


@register_prediction("two-minima.one")
def one_minimum(size: MatrixSize, sample: Sample) -> float:
    """0: both starts are taken to end at the same minimum."""
    return 0.0


@register_prediction("two-minima.without-decay")
def without_decay(size: MatrixSize, sample: Sample) -> np.ndarray:
    """h_1^2 less h_2^2 / k, by the larger: decay is left out of the objective."""
    gains = _gains(sample, 0.0)
    return gains[0] - gains[1]


def _edges(problem: Problem) -> tuple[float, float]:
    root = np.sqrt(problem.dx / problem.n)
    return (1 + root) ** 2, (1 - root) ** 2


@register_prediction("design-condition.edges")
def edges(problem: Problem, sample: Sample) -> float:
    """((1 + q) / (1 - q))^2, q = sqrt(dx / n)."""
    high, low = _edges(problem)
    return high / low


@register_prediction("design-condition.largest")
def largest(problem: Problem, sample: Sample) -> float:
    """(1 + q)^2: the least eigenvalue is taken for one."""
    return _edges(problem)[0]


@register_prediction("design-condition.no-root")
def no_root(problem: Problem, sample: Sample) -> float:
    """((1 + dx/n) / (1 - dx/n))^2: q is taken for dx / n."""
    share = problem.dx / problem.n
    return ((1 + share) / (1 - share)) ** 2
