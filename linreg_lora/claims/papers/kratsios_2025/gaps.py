"""The generalisation gap with a random frozen A: its mean and its spread, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


def _variance(problem: Problem, sample: Sample) -> tuple[float, int]:
    """Tr Sigma_eps + (1 - r/dx) c ||Delta||^2, and r."""
    r = int(sample.context["rank"])
    return problem.noise_trace + (1 - r / problem.dx) * problem.pretrained_risk, r


@register_prediction("random-frozen-a-gap.mean")
def gap_mean(problem: Problem, sample: Sample) -> float:
    """v [ (n - 1)/(n - r - 1) - (n - r)/n ], v = Tr Sigma_eps + (1 - r/dx) c ||Delta||^2, Sigma = c I."""
    v, r = _variance(problem, sample)
    return v * ((problem.n - 1) / (problem.n - r - 1) - (problem.n - r) / problem.n)


@register_prediction("random-frozen-a-gap.twice-the-share")
def gap_twice_the_share(problem: Problem, sample: Sample) -> float:
    """2 v r / n: its limit for many samples."""
    v, r = _variance(problem, sample)
    return 2 * v * r / problem.n


@register_prediction("random-frozen-a-gap.root")
def gap_root(problem: Problem, sample: Sample) -> float:
    """v sqrt(r / n): the rate of the bound with constant one."""
    v, r = _variance(problem, sample)
    return v * np.sqrt(r / problem.n)


@register_prediction("random-frozen-a-gap.noise-alone")
def gap_noise_alone(problem: Problem, sample: Sample) -> float:
    """As if what A misses were no noise."""
    v, _ = _variance(problem, sample)
    return gap_mean(problem, sample) * problem.noise_trace / v


@register_prediction("random-frozen-a-gap.all-of-it")
def gap_all_of_it(problem: Problem, sample: Sample) -> float:
    """The gap of n samples over sqrt(2): that of 2 n samples is taken to be nothing."""
    return float(np.mean(sample.context["fft"]))


@register_prediction("train-spread.given-a")
def train_spread(problem: Problem, sample: Sample) -> float:
    """2 E Tr V^2 (n - r) / n^2."""
    return 2 * float(np.mean(sample.context["squares"])) * (problem.n - int(sample.context["rank"])) / problem.n**2


@register_prediction("train-spread.no-fit")
def train_spread_no_fit(problem: Problem, sample: Sample) -> float:
    """2 E Tr V^2 / n: as if nothing were fitted."""
    return 2 * float(np.mean(sample.context["squares"])) / problem.n


@register_prediction("train-spread.faster")
def train_spread_faster(problem: Problem, sample: Sample) -> float:
    """2 E Tr V^2 r / n^2: as if one run strayed as little as the mean gap is small."""
    return 2 * float(np.mean(sample.context["squares"])) * int(sample.context["rank"]) / problem.n**2


@register_prediction("seen-share-spread.beta")
def share_of_beta(size: MatrixSize, sample: Sample) -> float:
    """Variance of Beta(r/2, (dx - r)/2): (r/dx)(1 - r/dx) / (dx/2 + 1)."""
    share = size.columns / size.rows
    return share * (1 - share) / (size.rows / 2 + 1)


@register_prediction("seen-share-spread.without-the-one")
def share_without_the_one(size: MatrixSize, sample: Sample) -> float:
    """(r/dx)(1 - r/dx) / (dx/2)."""
    share = size.columns / size.rows
    return share * (1 - share) / (size.rows / 2)


@register_prediction("seen-share-spread.independent-entries")
def share_of_independent_entries(size: MatrixSize, sample: Sample) -> float:
    """2 r / dx^2: r independent squares of variance 1/dx each."""
    return 2 * size.columns / size.rows**2
