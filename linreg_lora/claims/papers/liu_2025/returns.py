"""Predictions of what one rank more returns, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import bounds


def _fitted_energies(sample: Sample, power: int) -> np.ndarray:
    """sigma_i(F)^power for i = 1..r, F = R P by the singular value decomposition of X."""
    rows = np.linalg.svd(sample.context["x"], full_matrices=False)[2]
    values = np.linalg.svd(sample.context["residual"] @ rows.mT, compute_uv=False)
    return values[:, : int(sample.context["rank"])] ** power


@register_prediction("training-returns.next-singular-value")
def training_returns_exact(problem: Problem, sample: Sample) -> np.ndarray:
    """sigma_r(F)^2 for rank r: no rank returns more than the one before."""
    return _fitted_energies(sample, 2)


@register_prediction("training-returns.constant")
def training_returns_constant(problem: Problem, sample: Sample) -> np.ndarray:
    """Every rank returns as much as the first ones do on average."""
    energies = _fitted_energies(sample, 2)
    return np.broadcast_to(energies.mean(axis=1, keepdims=True), energies.shape)


@register_prediction("training-returns.unsquared")
def training_returns_unsquared(problem: Problem, sample: Sample) -> np.ndarray:
    """sigma_r(F), not squared."""
    return _fitted_energies(sample, 1)


def _energy_of_next(problem: Problem, sample: Sample) -> float:
    """s_{r+1}^2 of Delta Sigma^{1/2}: what rank r + 1 takes off the least risk."""
    rank = int(sample.context["rank"])
    return bounds.least_risk(problem, rank) - bounds.least_risk(problem, rank + 1)


@register_prediction("next-rank.energy")
def next_rank_energy(problem: Problem, sample: Sample) -> float:
    """s_{r+1}^2 of Delta Sigma^{1/2}: what rank r + 1 takes off the least risk."""
    return _energy_of_next(problem, sample)


@register_prediction("next-rank.nothing")
def next_rank_nothing(problem: Problem, sample: Sample) -> float:
    """Nothing: the surplus rank is useless already."""
    return 0.0


@register_prediction("next-rank.one-step-late")
def next_rank_one_step_late(problem: Problem, sample: Sample) -> float:
    """s_{r+2}^2 in place of s_{r+1}^2."""
    rank = int(sample.context["rank"]) + 1
    return bounds.least_risk(problem, rank) - bounds.least_risk(problem, rank + 1)


@register_prediction("next-rank.average-energy")
def next_rank_average_energy(problem: Problem, sample: Sample) -> float:
    """Costs what a rank costs on average: -risk(D_FFT) / max_rank."""
    return -float(np.mean(sample.context["fft"])) / problem.max_rank
