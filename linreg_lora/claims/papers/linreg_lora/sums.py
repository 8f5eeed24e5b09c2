"""Claims about adapters that are added or mixed: experiments, predictions, and their rivals."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.papers.linreg_lora.tasks import data_of_both, first_lora, fitted_next, next_task, risk_of
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem

# -- sums with the best weights -------------------------------------------------------------------------------------


@register_experiment("best-sum")
def best_sum(problem: Problem, trials: int, seed: int) -> Sample:
    """The excess risks on two tasks, added up, of A0 + a_1 D_1 + a_2 D_2, FFT on data of each, with the best weights.

    The weights are those of `theory.task_arithmetic`.
    """
    from linreg_lora.theory.composition import task_arithmetic

    second = next_task(problem)
    weights = task_arithmetic([problem, second], problem.max_rank).weights
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    each = experiments._fft_updates(problem, x, y), experiments._fft_updates(second, x2, y2)
    moved = weights[0] * each[0] + weights[1] * each[1]
    return Sample((risk_of(problem, moved) + risk_of(second, moved))[:, None])


def _gram(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """<Delta_i, Delta_j> in the metric of Sigma, and the energy of the noise in each update."""
    tasks = problem, next_task(problem)
    gram = np.array([[np.sum((a.shift @ problem.sigma) * b.shift) for b in tasks] for a in tasks])
    return gram, np.array([task.noise_trace * task.dx / (task.n - task.dx - 1) for task in tasks])


def _of_weights(problem: Problem, weights: np.ndarray) -> float:
    gram, noise = _gram(problem)
    moved = weights @ gram @ weights + np.sum(noise * weights**2)
    return float(2 * moved - 2 * np.sum(gram @ weights) + np.trace(gram))


@register_prediction("best-sum.shrunk")
def shrunk(problem: Problem, sample: Sample) -> float:
    """Tr G - (1/2) 1^T G (G + diag(nu))^{-1} G 1."""
    gram, noise = _gram(problem)
    sums = np.sum(gram, axis=0)
    return float(np.trace(gram) - sums @ np.linalg.solve(gram + np.diag(noise), sums) / 2)


@register_prediction("best-sum.mean-of-updates")
def mean_of_updates(problem: Problem, sample: Sample) -> float:
    """With the weights 1/2 each, which are best without noise."""
    return _of_weights(problem, np.full(2, 0.5))


@register_prediction("best-sum.without-noise")
def without_noise(problem: Problem, sample: Sample) -> float:
    """Tr G - (1/2) 1^T G 1: the updates are taken to be the shifts."""
    gram, _ = _gram(problem)
    return float(np.trace(gram) - np.sum(gram) / 2)


@register_experiment("best-lora-sum")
def best_lora_sum(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """As best-sum, of LoRA of `rank`, less what the weights 1/2 give; context: this.

    The weights come from the mean of each update, E D_r (`theory.mean_update`).
    """
    from linreg_lora.theory.composition import task_arithmetic

    r, second = int(rank), next_task(problem)
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    each = experiments._lora_updates(problem, x, y, r), experiments._lora_updates(second, x2, y2, r)
    best, half = (
        risk_of(problem, moved) + risk_of(second, moved)
        for moved in (a * each[0] + b * each[1] for a, b in (task_arithmetic([problem, second], r).weights, (0.5, 0.5)))
    )
    return Sample((best - half)[:, None], {"fft": half, "rank": np.asarray(r)})


@register_prediction("best-lora-sum.rank-ignored")
def rank_ignored(problem: Problem, sample: Sample) -> float:
    """What the best weights gain for updates of full fine-tuning."""
    return shrunk(problem, sample) - mean_of_updates(problem, sample)


# -- mixtures of experts -----------------------------------------------------------------------------------------------


@register_experiment("mixture-error", pathwise=True)
def mixture_error(problem: Problem, trials: int, seed: int, *, rank: Rank, weight: float) -> Sample:
    """The mean square error of the outputs of two experts, mixed with fixed weights, inputs having the moment Sigma.

    Experts are A0 + D_i, D_i LoRA of `rank` on data of two tasks; outputs are mixed, `weight` of the first.
    """
    r, second = int(rank), next_task(problem)
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    each = experiments._lora_updates(problem, x, y, r), experiments._lora_updates(second, x2, y2, r)
    inputs = np.sqrt(problem.dx) * problem.sigma_sqrt
    a0 = np.zeros_like(problem.shift) if problem.pretrained is None else problem.pretrained
    outputs = weight * ((a0 + each[0]) @ inputs) + (1 - weight) * ((a0 + each[1]) @ inputs)
    error = np.mean(np.sum((outputs - (a0 + problem.shift) @ inputs) ** 2, axis=-2), axis=-1)
    residuals = experiments._residual(problem, x, y), experiments._residual(second, x2, y2)
    context = {"x": x, "residual": residuals[0], "x2": x2, "residual2": residuals[1]}
    context |= {"rank": np.asarray(r), "weight": np.asarray(weight)}
    tolerance = experiments._truncation_rounding(x, residuals[0], r)
    tolerance = tolerance + experiments._truncation_rounding(x2, residuals[1], r)
    energy = problem.pretrained_risk + second.pretrained_risk + float(np.sum((a0 @ problem.sigma_sqrt) ** 2))
    return Sample(error, context, tolerance=tolerance * (1 + energy / error), scale=error)


def _experts(problem: Problem, sample: Sample) -> tuple[np.ndarray, np.ndarray, float]:
    each = first_lora(problem, sample), fitted_next(problem, sample, np.zeros_like(problem.shift))
    return *each, float(sample.context["weight"])


@register_prediction("mixture-error.of-the-sum")
def of_the_sum(problem: Problem, sample: Sample) -> np.ndarray:
    """The excess risk of A0 + w D_1 + (1 - w) D_2."""
    first, other, weight = _experts(problem, sample)
    return risk_of(problem, weight * first + (1 - weight) * other)


@register_prediction("mixture-error.risks-are-mixed")
def risks_are_mixed(problem: Problem, sample: Sample) -> np.ndarray:
    """w and 1 - w of the experts' risks, which is more."""
    first, other, weight = _experts(problem, sample)
    return weight * risk_of(problem, first) + (1 - weight) * risk_of(problem, other)


@register_prediction("mixture-error.errors-are-independent")
def errors_are_independent(problem: Problem, sample: Sample) -> np.ndarray:
    """w^2 and (1 - w)^2 of the experts' risks, as if their errors were orthogonal."""
    first, other, weight = _experts(problem, sample)
    return weight**2 * risk_of(problem, first) + (1 - weight) ** 2 * risk_of(problem, other)
