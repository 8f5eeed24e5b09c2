"""Claims about robustness to perturbed inputs where the directions that LoRA keeps are strong.

Experiments make the first `rank` directions of a problem's shift, of Delta Sigma^{1/2}, `strength` times as strong.
"""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Positive, Rank
from linreg_lora.problem import Problem
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.robustness import strong_limit_robustness


def strengthened(problem: Problem, rank: int, strength: float) -> Problem:
    """The problem whose shift has its first directions, of Delta Sigma^{1/2}, so many times as strong."""
    u, s, vt = np.linalg.svd(problem.shift @ problem.sigma_sqrt, full_matrices=False)
    factors = np.where(np.arange(len(s)) < rank, strength, 1.0)
    return problem.replace(task_shift=(u * (factors * s)) @ vt @ np.linalg.inv(problem.sigma_sqrt))


def tail(problem: Problem, rank: int) -> np.ndarray:
    """T, what of Delta a rank cannot hold."""
    u, s, vt = np.linalg.svd(problem.shift @ problem.sigma_sqrt, full_matrices=False)
    return (u[:, rank:] * s[rank:]) @ vt[rank:] @ np.linalg.inv(problem.sigma_sqrt)


def _energies(matrices: np.ndarray) -> np.ndarray:
    return np.sum(matrices**2, axis=(-2, -1))


def _start(problem: Problem) -> np.ndarray:
    return np.zeros((problem.dy, problem.dx)) if problem.pretrained is None else problem.pretrained


# -- what rank r discards -------------------------------------------------------------------------------------------


@register_experiment("discarded-energy")
def discarded_energy(problem: Problem, trials: int, seed: int, *, rank: Rank, strength: Positive) -> Sample:
    """||D_FFT||_F^2 - ||D_r||_F^2: what FFT is less robust by on noisy inputs where A0 does not matter."""
    strong = strengthened(problem, int(rank), strength)
    x, y = experiments._data(strong, trials, seed)
    lost = experiments._fft_updates(strong, x, y) - experiments._lora_updates(strong, x, y, int(rank))
    return Sample(_energies(lost)[:, None], {"rank": np.asarray(int(rank))})


def _strong(problem: Problem, sample: Sample) -> tuple[Problem, int]:
    """In the closed forms the strength of what is kept does not count, but for its order."""
    rank = int(sample.context["rank"])
    return strengthened(problem, rank, 1e3), rank


@register_prediction("discarded-energy.tail-and-noise")
def tail_and_noise(problem: Problem, sample: Sample) -> float:
    """A_r (B_r + tail_r^2), in the metric of perturbations."""
    return strong_limit_robustness(*_strong(problem, sample)).discarded


@register_prediction("discarded-energy.as-the-task")
def as_the_task(problem: Problem, sample: Sample) -> float:
    """A_r (tail_r^2 - B_r), the difference of the excess risks: robustness is lost as accuracy is won."""
    strong, rank = _strong(problem, sample)
    return float(task_complexity(strong, [rank]).difference[0])


@register_prediction("discarded-energy.task-alone")
def task_alone(problem: Problem, sample: Sample) -> float:
    """||T||^2: as if no noise were fitted."""
    return float(np.sum(tail(problem, int(sample.context["rank"])) ** 2))


# -- off the row space ----------------------------------------------------------------------------------------------


@register_experiment("response-off-the-rows", pathwise=True)
def response_off_the_rows(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """(A0 + D_r) d for perturbations d orthogonal to the row space of D_r; context: d, A0, and FFT's update."""
    x, y = experiments._data(problem, trials, seed)
    r = int(rank)
    update, full = experiments._lora_updates(problem, x, y, r), experiments._fft_updates(problem, x, y)
    rows = np.linalg.svd(update, full_matrices=False)[2][:, :r]
    d = np.random.default_rng(seed).standard_normal((trials, problem.dx, 1))
    d = d - rows.mT @ (rows @ d)
    response = ((_start(problem) + update) @ d)[..., 0]
    context = {"d": d, "start": _start(problem)[None], "full": full, "rank": np.asarray(r)}
    residual = experiments._residual(problem, x, y)
    tolerance = experiments._truncation_rounding(x, residual, r)
    return Sample(response, context, tolerance=tolerance, scale=np.linalg.norm(full @ d, axis=(1, 2)))


@register_prediction("response-off-the-rows.pretrained")
def of_the_pretrained_map(problem: Problem, sample: Sample) -> np.ndarray:
    """A0 d."""
    return (sample.context["start"] @ sample.context["d"])[..., 0]


@register_prediction("response-off-the-rows.of-the-task")
def of_the_task(problem: Problem, sample: Sample) -> np.ndarray:
    """(A0 + Delta) d: as if the task were learnt there."""
    return ((sample.context["start"] + problem.shift) @ sample.context["d"])[..., 0]


@register_prediction("response-off-the-rows.of-fft")
def of_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """(A0 + D_FFT) d: as if LoRA unlearnt as much as full fine-tuning."""
    return ((sample.context["start"] + sample.context["full"]) @ sample.context["d"])[..., 0]


# -- more accurate and less robust ----------------------------------------------------------------------------------


@register_experiment("accuracy-and-robustness")
def accuracy_and_robustness(problem: Problem, trials: int, seed: int, *, rank: Rank, strength: Positive) -> Sample:
    """risk(D_r) - risk(FFT), and rise(FFT) - rise(D_r) on noisy inputs where A0 = -2 T, relative to FFT's.

    Both below 0: LoRA is the more accurate and the less robust method.
    """
    r = int(rank)
    strong = strengthened(problem, r, strength)
    x, y = experiments._data(strong, trials, seed)
    full, kept = experiments._fft_updates(strong, x, y), experiments._lora_updates(strong, x, y, r)
    risks = [_energies((update - strong.shift) @ strong.sigma_sqrt) for update in (kept, full)]
    a0 = -2 * tail(strong, r)
    difference = _energies(full) - _energies(kept) + 2 * np.sum(a0 * (full - kept), axis=(-2, -1))
    accuracy = (risks[0] - risks[1]) / np.mean(risks[1])
    robustness = difference / np.mean(_energies(full - kept))
    context = {"fft": np.ones(trials), "rank": np.asarray(r)}
    return Sample(np.column_stack([accuracy, robustness]), context, columns=("risk", "rise"))


@register_prediction("accuracy-and-robustness.half-as-much")
def half_as_much(problem: Problem, sample: Sample) -> float:
    """Half of what FFT fits goes: as if the rank's share of the directions did not matter."""
    return -0.5


# -- in every norm --------------------------------------------------------------------------------------------------


@register_experiment("norm-with-kept-outputs", pathwise=True)
def norm_with_kept_outputs(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||A0 + D_r||_2 where A0 has only outputs that LoRA keeps, P A0 = 0; context: ||A0 + D_FFT||_2 and ||A0||_2."""
    x, y = experiments._data(problem, trials, seed)
    r = int(rank)
    full, kept = experiments._fft_updates(problem, x, y), experiments._lora_updates(problem, x, y, r)
    u = np.linalg.svd(kept, full_matrices=False)[0][..., :r]
    rng = np.random.default_rng(seed)
    size = rng.exponential(size=(trials, 1, 1)) * np.linalg.norm(full, axis=(-2, -1), keepdims=True)
    a0 = size * (u @ rng.standard_normal((trials, r, problem.dx))) / np.sqrt(r * problem.dx)
    lora, fft, start = (np.linalg.norm(m, 2, axis=(-2, -1)) for m in (a0 + kept, a0 + full, a0))
    context = {"fft": fft, "start": start, "rank": np.asarray(r), "largest_rank": np.asarray(problem.max_rank)}
    tolerance = experiments._truncation_rounding(x, experiments._residual(problem, x, y), r)
    return Sample(lora, context, tolerance=tolerance, scale=fft)


@register_prediction("norm-with-kept-outputs.fft")
def norm_of_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """||A0 + D_FFT||_2."""
    return sample.context["fft"]


@register_prediction("norm-with-kept-outputs.unchanged")
def norm_unchanged(problem: Problem, sample: Sample) -> np.ndarray:
    """||A0||_2: as if LoRA did not move the model's sensitivity."""
    return sample.context["start"]


@register_prediction("norm-with-kept-outputs.share")
def norm_by_share(problem: Problem, sample: Sample) -> np.ndarray:
    """sqrt(r / min(n, dx, dy)) of FFT's norm: as if all directions were equally strong."""
    return np.sqrt(sample.context["rank"] / sample.context["largest_rank"]) * sample.context["fft"]
