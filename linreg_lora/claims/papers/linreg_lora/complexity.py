"""Claims about task complexity: who wins by what LoRA drops, experiments, predictions, and their rivals."""

from typing import NamedTuple

import numpy as np

from linreg_lora.claims.library import experiments, predictions
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem

# -- what is dropped decides, on every draw -------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """Updates of both, the data behind them, and risk(D_r) - risk(D_FFT)."""

    lora: np.ndarray
    fft: np.ndarray
    x: np.ndarray
    residual: np.ndarray
    difference: np.ndarray


def _drawn(problem: Problem, trials: int, seed: int, rank: int) -> _Drawn:
    """By the package's estimators; with the same ridge in both."""
    x, y = experiments._data(problem, trials, seed)
    full = min(problem.n, problem.dx, problem.dy) if not problem.ridge else min(problem.dx, problem.dy)
    lora, fft = (experiments._lora_updates(problem, x, y, r) for r in (rank, full))
    risks = (np.sum(((update - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1)) for update in (lora, fft))
    return _Drawn(lora, fft, x, experiments._residual(problem, x, y), np.subtract(*risks))


@register_experiment("dropped-signal", pathwise=True)
def dropped_signal(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) - risk(D_FFT), r = `rank`, with the same ridge in both; context: the data."""
    drawn = _drawn(problem, trials, seed, int(rank))
    context = {"x": drawn.x, "residual": drawn.residual, "rank": np.asarray(int(rank))}
    tolerance = experiments._truncation_rounding(drawn.x, drawn.residual, int(rank))
    scale = np.sum((drawn.fft @ problem.sigma_sqrt) ** 2, axis=(-2, -1))
    return Sample(drawn.difference, context, tolerance=tolerance, scale=scale)


def _dropped(problem: Problem, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """<P Delta, D_FFT> and ||P D_FFT Sigma^{1/2}||_F^2 by plain NumPy."""
    rank, (fft, u, s) = int(sample.context["rank"]), predictions._full_update(problem, sample)
    left = np.linalg.svd(fft @ (u * np.sqrt(s**2 + problem.ridge)[:, None]))[0][..., rank:]
    moved, planted = (left.mT @ update @ problem.sigma_sqrt for update in (fft, problem.shift))
    return np.sum(moved * planted, axis=(-2, -1)), np.sum(moved**2, axis=(-2, -1))


@register_prediction("dropped-signal.share")
def share(problem: Problem, sample: Sample) -> np.ndarray:
    """2 <P Delta, D_FFT> - ||P D_FFT Sigma^{1/2}||_F^2 = (2 phi - 1) ||P D_FFT Sigma^{1/2}||_F^2."""
    signal, energy = _dropped(problem, sample)
    return 2 * signal - energy


@register_prediction("dropped-signal.any-signal")
def any_signal(problem: Problem, sample: Sample) -> np.ndarray:
    """2 <P Delta, D_FFT>: dropping is taken to cost what signal there is, and to save nothing."""
    return 2 * _dropped(problem, sample)[0]


@register_prediction("dropped-signal.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> np.ndarray:
    """- ||P D_FFT Sigma^{1/2}||_F^2: all that is dropped is taken for noise."""
    return -_dropped(problem, sample)[1]


# -- the closed form -------------------------------------------------------------------------------------------------


def _rank(sample: Sample) -> int:
    return int(sample.context["rank"])


@register_prediction("complexity.first-order")
def first_order(problem: Problem, sample: Sample) -> float:
    """A_r (tail_r^2 - B_r) + T_r / n, by `theory.task_complexity`."""
    from linreg_lora.theory.complexity import task_complexity

    found = task_complexity(problem, [_rank(sample)])
    return float(found.difference[0] + found.correction[0])


def _with(problem: Problem, sample: Sample, *, tail: float | None = None, noise: float | None = None) -> float:
    """A_r (tail - noise) with one of them another."""
    from linreg_lora.theory.complexity import task_complexity

    found = task_complexity(problem, [_rank(sample)])
    tail, noise = (float(at[0]) if other is None else other for at, other in ((found.tail, tail), (found.noise, noise)))
    return float(found.gain[0]) * (tail - noise)


@register_prediction("complexity.of-all-parameters")
def of_all_parameters(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) dx / g for B_r: the noise in all parameters for that in those that rank r cannot reach."""
    return _with(problem, sample, noise=problem.noise_trace * problem.dx / (abs(problem.n - problem.dx) - 1))


@register_prediction("complexity.noise-over-n")
def noise_over_n(problem: Problem, sample: Sample) -> float:
    """B_r g / n for B_r: the noise of many samples."""
    distance = abs(problem.n - problem.dx) - 1
    from linreg_lora.theory.complexity import task_complexity

    return _with(
        problem, sample, noise=float(task_complexity(problem, [_rank(sample)]).noise[0]) * distance / problem.n
    )


@register_prediction("complexity.next-singular-value")
def next_singular_value(problem: Problem, sample: Sample) -> float:
    """s_{r+1}^2 for tail_r^2."""
    return _with(problem, sample, tail=float(problem.whitened_spectrum[_rank(sample)] ** 2))


# -- who wins --------------------------------------------------------------------------------------------------------


@register_experiment("lora-minus-fft-by-what-is-dropped")
def lora_minus_fft(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) - risk(D_FFT), r = `rank`; context: the energy that LoRA drops, to measure by."""
    drawn = _drawn(problem, trials, seed, int(rank))
    energies = (np.sum((update @ problem.sigma_sqrt) ** 2, axis=(-2, -1)) for update in (drawn.fft, drawn.lora))
    return Sample(drawn.difference[:, None], {"fft": np.subtract(*energies), "rank": np.asarray(int(rank))})


@register_experiment("winner-by-complexity")
def winner_by_complexity(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The risk of whom C_r names the winner, minus the other's; context: the energy that LoRA drops."""
    from linreg_lora.theory.complexity import task_complexity

    sample = lora_minus_fft(problem, trials, seed, rank=rank)
    sign = 1 if task_complexity(problem, [int(rank)]).complexity[0] < 1 else -1
    return Sample(sign * sample.statistic, sample.context)


@register_prediction("winner.of-all-parameters")
def winner_of_all_parameters(problem: Problem, sample: Sample) -> float:
    """What C_r's winner has less risk by, if B_r were the noise of all parameters, Tr(Sigma_eps) dx / g."""
    from linreg_lora.theory.complexity import task_complexity

    sign = 1 if task_complexity(problem, [_rank(sample)]).complexity[0] < 1 else -1
    return sign * of_all_parameters(problem, sample)


# -- saturation ------------------------------------------------------------------------------------------------------


@register_experiment("risk-at-saturation")
def risk_at_saturation(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) over tail_r^2, r = `rank`, at the n of `theory.samples_to_saturate`."""
    from linreg_lora.theory.saturation import samples_to_saturate

    found = samples_to_saturate(problem, int(rank))
    risks = experiments._risks(problem.replace(n=round(found.n)), trials, seed)
    return Sample(risks.lora[:, [int(rank)]] / found.plateau, {"rank": np.asarray(int(rank))})


@register_prediction("saturation.one-twentieth")
def one_twentieth(problem: Problem, sample: Sample) -> float:
    """1.05."""
    return 1.05


@register_prediction("saturation.of-parameters")
def of_parameters(problem: Problem, sample: Sample) -> float:
    """1 and the noise of r (dx + dy - r) parameters at that n, over tail_r^2: as if nothing mixed."""
    from linreg_lora.theory.saturation import samples_to_saturate

    rank = _rank(sample)
    found = samples_to_saturate(problem, rank)
    noise = problem.noise_trace / problem.dy * rank * (problem.dx + problem.dy - rank)
    return 1 + noise / found.n / found.plateau


@register_prediction("saturation.at-the-plateau")
def at_the_plateau(problem: Problem, sample: Sample) -> float:
    """1: the risk is taken to have fallen to tail_r^2."""
    return 1.0
