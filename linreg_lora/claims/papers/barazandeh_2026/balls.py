"""Predictions of factors with limited norms, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.library.orthogonal_designs import within_budget
from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


def _singular_values(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrices, compute_uv=False)


@register_prediction("nuclear-norm-of-products.product")
def product_of_norms(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||A||_F ||B||_F."""
    return sample.context["a"] * sample.context["b"]


@register_prediction("nuclear-norm-of-products.over-root")
def over_root(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||A||_F ||B||_F / sqrt(r): the ball of a norm that is smaller by a root of the rank."""
    return sample.context["a"] * sample.context["b"] / np.sqrt(sample.context["rank"])


@register_prediction("least-product-of-norms.nuclear")
def nuclear(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||D||_*."""
    return np.sum(_singular_values(sample.context["product"]), axis=1)


@register_prediction("least-product-of-norms.root-of-the-rank")
def root_of_the_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sqrt(r) ||D||_F: equal singular values are presupposed."""
    return np.sqrt(sample.context["rank"]) * np.linalg.norm(sample.context["product"], axis=(1, 2))


@register_prediction("least-product-of-norms.frobenius")
def frobenius(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||D||_F: the norm of one direction."""
    return np.linalg.norm(sample.context["product"], axis=(1, 2))


@register_prediction("largest-inner-product.spectral")
def spectral(size: MatrixSize, sample: Sample) -> np.ndarray:
    """a b ||N||_2, whatever the rank; a b = 2."""
    return 2 * _singular_values(sample.context["noise"])[:, 0]


@register_prediction("largest-inner-product.root-of-the-rank")
def spectral_by_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    """a b sqrt(r) ||N||_2, by Cauchy and Schwarz."""
    return np.sqrt(sample.context["rank"]) * spectral(size, sample)


@register_prediction("largest-inner-product.leading-directions")
def leading_directions(size: MatrixSize, sample: Sample) -> np.ndarray:
    """a b (sum of the r largest squared singular values of N)^1/2: the limit is taken to be on the product's norm."""
    values = _singular_values(sample.context["noise"])[:, : int(sample.context["rank"])]
    return 2 * np.linalg.norm(values, axis=1)


def _with_values(case: Factors, sample: Sample, kept: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(sample.context["full"], full_matrices=False)
    return (u * kept[:, None, :]) @ v


def _kept(case: Factors, sample: Sample) -> np.ndarray:
    f = _singular_values(sample.context["full"])
    return np.stack(
        [within_budget(one[None], case.rank, float(c))[0] for one, c in zip(f, sample.context["budget"], strict=True)]
    )


@register_prediction("nearest-in-the-balls.thresholded")
def thresholded(case: Factors, sample: Sample) -> np.ndarray:
    """The r leading singular values less one number, which makes them sum up to a b."""
    return _with_values(case, sample, _kept(case, sample))


@register_prediction("nearest-in-the-balls.rescaled")
def rescaled(case: Factors, sample: Sample) -> np.ndarray:
    """trunc_r(F) times the number that makes its nuclear norm a b."""
    f = _singular_values(sample.context["full"])
    f[:, case.rank :] = 0
    return _with_values(case, sample, f * (sample.context["budget"] / np.sum(f, axis=1))[:, None])


@register_prediction("nearest-in-the-balls.greedy")
def greedy(case: Factors, sample: Sample) -> np.ndarray:
    """The leading singular values as they are, until a b is spent."""
    f = _singular_values(sample.context["full"])
    f[:, case.rank :] = 0
    spent = np.cumsum(f, axis=1) - f
    return _with_values(case, sample, np.minimum(f, np.maximum(sample.context["budget"][:, None] - spent, 0.0)))


@register_prediction("rank-in-the-balls.thresholded")
def rank_of_thresholded(case: Factors, sample: Sample) -> np.ndarray:
    """The number of singular values that thresholding leaves."""
    return np.sum(_kept(case, sample) > 0, axis=1).astype(float)


@register_prediction("rank-in-the-balls.of-the-factors")
def rank_of_the_factors(case: Factors, sample: Sample) -> float:
    """r."""
    return float(case.rank)


@register_prediction("rank-in-the-balls.one")
def rank_one(case: Factors, sample: Sample) -> float:
    """1: the rank at which the complexity is attained."""
    return 1.0


@register_prediction("budget-gap.complexity")
def complexity(problem: Problem, sample: Sample) -> float:
    """2 a b E ||E X^T / n||_2."""
    return float(np.mean(sample.context["largest"]))


@register_prediction("budget-gap.shared-by-the-ranks")
def shared_by_the_ranks(problem: Problem, sample: Sample) -> float:
    """2 a b times the mean of the r largest singular values of E X^T / n, as if r ranks shared the product of norms."""
    return float(np.mean(sample.context["leading"]))


@register_prediction("budget-gap.root-of-the-rank")
def gap_like_the_root(problem: Problem, sample: Sample) -> np.ndarray:
    """sqrt((r + surplus) / r) - 1 times the gap, as bounds by Frobenius norms of rank r grow."""
    rank, surplus = float(sample.context["rank"]), float(sample.context["surplus"])
    return (np.sqrt((rank + surplus) / rank) - 1) * sample.context["fft"]


@register_prediction("budget-gap.half")
def half_complexity(problem: Problem, sample: Sample) -> float:
    """a b E ||E X^T / n||_2: training and test are taken to share the gap."""
    return complexity(problem, sample) / 2
