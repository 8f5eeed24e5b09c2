"""Claims about tasks one after another, and teachers: experiments, predictions, and their rivals."""

import numpy as np

from linreg_lora.claims.library import experiments, predictions
from linreg_lora.claims.papers.linreg_lora.shifted import second_task, teacher_error
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative, Rank
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: A second task has so many times the data of the first.
_MORE_DATA = 2


def risk_of(problem: Problem, updates: np.ndarray) -> np.ndarray:
    error = updates - problem.shift
    return np.sum((error @ problem.sigma) * error, axis=(-2, -1))


def next_task(problem: Problem) -> Problem:
    """A second task (`shifted.second_task`), with more data."""
    return second_task(problem).replace(n=_MORE_DATA * problem.n)


def data_of_both(problem: Problem, trials: int, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Data of the first and of the second task."""
    return tuple(
        experiments._data(task, trials, own)
        for task, own in ((problem, seed), (next_task(problem), derived_seed(seed, "second task")))
    )


def _lora_from(problem: Problem, base: np.ndarray, x: np.ndarray, y: np.ndarray, rank: int) -> np.ndarray:
    """LoRA's update on the base A0 + D, D one a draw, which the package's estimator is given as its pretrained map."""
    start = base if problem.pretrained is None else problem.pretrained + base
    with experiments.runtime.exclusive_device():
        return np.asarray(experiments._compiled().lora(x, y, rank, start, problem.ridge or None))


# -- full fine-tuning, then full fine-tuning ------------------------------------------------------------------------


@register_experiment("task-forgetting")
def task_forgetting(problem: Problem, trials: int, seed: int) -> Sample:
    """How much the excess risk on a first task rises when full fine-tuning on a second one follows."""
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    first = experiments._fft_updates(problem, x, y)
    after = first + experiments._fft_updates(problem, x2, y2 - first @ x2)
    return Sample((risk_of(problem, after) - risk_of(problem, first))[:, None])


@register_prediction("task-forgetting.exact")
def forgetting_exact(problem: Problem, sample: Sample) -> float:
    """||(Delta_1 - Delta_2) Sigma^{1/2}||_F^2 + nu_2 - nu_1, by `theory.sequential_fft`."""
    from linreg_lora.theory.continual import sequential_fft

    risks = sequential_fft([problem, next_task(problem)])
    return float(risks[2, 0] - risks[1, 0])


@register_prediction("task-forgetting.tasks-alone")
def tasks_alone(problem: Problem, sample: Sample) -> float:
    """||(Delta_1 - Delta_2) Sigma^{1/2}||_F^2: noise is taken to be forgotten as it is learnt."""
    return float(risk_of(problem, next_task(problem).shift))


@register_prediction("task-forgetting.noise-adds")
def noise_adds(problem: Problem, sample: Sample) -> float:
    """The second fit's noise is taken to come on top of the first one's."""
    second = next_task(problem)
    return tasks_alone(problem, sample) + second.noise_trace * second.dx / (second.n - second.dx - 1)


# -- LoRA, then LoRA ------------------------------------------------------------------------------------------------


@register_experiment("next-lora-risk", pathwise=True)
def next_lora_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The excess risk on a second task of LoRA fitted to it after LoRA on the first was merged; context: both data."""
    r, second = int(rank), next_task(problem)
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    merged = experiments._lora_updates(problem, x, y, r)
    risk = risk_of(second, merged + _lora_from(second, merged, x2, y2, r))
    residuals = experiments._residual(problem, x, y), experiments._residual(second, x2, y2)
    context = {"x": x, "residual": residuals[0], "x2": x2, "residual2": residuals[1], "rank": np.asarray(r)}
    # What is wrong in D_1 moves the outputs of the second fit, which that solves for, and truncates.
    rounding = experiments._truncation_rounding(x2, residuals[1] - merged @ x2, r)
    amplified = np.linalg.cond(x2) * rounding / experiments._rounding(x2, squared=True)
    tolerance = rounding + amplified * experiments._truncation_rounding(x, residuals[0], r)
    return Sample(risk, context, tolerance=tolerance * (1 + second.pretrained_risk / risk), scale=risk)


def first_lora(problem: Problem, sample: Sample) -> np.ndarray:
    return predictions.lora_update_whitened(problem, sample)


def fitted_next(problem: Problem, sample: Sample, base: np.ndarray) -> np.ndarray:
    """LoRA's closed form on what a base leaves of the second task's outputs."""
    x2 = sample.context["x2"]
    context = {"x": x2, "residual": sample.context["residual2"] - base @ x2, "rank": sample.context["rank"]}
    return predictions.lora_update_whitened(problem, Sample(sample.statistic, context))


@register_prediction("next-lora-risk.shift-that-is-left")
def shift_that_is_left(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA on the problem whose shift is Delta_2 - D_1."""
    merged = first_lora(problem, sample)
    return risk_of(next_task(problem), merged + fitted_next(problem, sample, merged))


@register_prediction("next-lora-risk.from-the-start")
def from_the_start(problem: Problem, sample: Sample) -> np.ndarray:
    """As if nothing had been merged."""
    return risk_of(next_task(problem), fitted_next(problem, sample, np.zeros_like(problem.shift)))


@register_prediction("next-lora-risk.side-by-side")
def side_by_side(problem: Problem, sample: Sample) -> np.ndarray:
    """As if the second update were fitted beside the first, both to A0, and then added."""
    merged = first_lora(problem, sample)
    return risk_of(next_task(problem), merged + fitted_next(problem, sample, np.zeros_like(problem.shift)))


@register_experiment("fresh-minus-next")
def fresh_minus_next(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The excess risk on a second task of LoRA from A0, minus that of LoRA after the first was merged.

    Context: the latter, to measure by.
    """
    r, second = int(rank), next_task(problem)
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    merged = experiments._lora_updates(problem, x, y, r)
    after = risk_of(second, merged + _lora_from(second, merged, x2, y2, r))
    fresh = risk_of(second, experiments._lora_updates(second, x2, y2, r))
    return Sample((fresh - after)[:, None], {"fft": after, "rank": np.asarray(r)})


@register_experiment("forgetting-gain")
def forgetting_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The excess risk on a first task, learnt by FFT and merged, after LoRA on a second one, less that after FFT on it.

    Context: the latter, to measure by.
    """
    r, second = int(rank), next_task(problem)
    (x, y), (x2, y2) = data_of_both(problem, trials, seed)
    merged = experiments._fft_updates(problem, x, y)
    full = risk_of(problem, merged + experiments._fft_updates(second, x2, y2 - merged @ x2))
    low = risk_of(problem, merged + _lora_from(second, merged, x2, y2, r))
    return Sample((low - full)[:, None], {"fft": full, "rank": np.asarray(r)})


@register_prediction("fresh-minus-next.noise-of-the-first")
def noise_of_the_first(problem: Problem, sample: Sample) -> float:
    """As if the first adapter left its noise and no more: for each of r (dx + dy - r) parameters what it costs FFT."""
    rank = int(sample.context["rank"])
    each = problem.noise_trace / problem.dy / (problem.n - problem.dx - 1)
    return -rank * (problem.dx + problem.dy - rank) * each


@register_prediction("forgetting-gain.nothing-is-forgotten")
def nothing_is_forgotten(problem: Problem, sample: Sample) -> np.ndarray:
    """As if LoRA left the risk on the first task, Tr(Sigma_eps) dx / (n - dx - 1), as it was."""
    return problem.noise_trace * problem.dx / (problem.n - problem.dx - 1) - sample.context["fft"]


# -- teachers -------------------------------------------------------------------------------------------------------


@register_experiment("full-student-risk")
def full_student_risk(problem: Problem, trials: int, seed: int, *, size: NonNegative) -> Sample:
    """The excess risk on the task of FFT fitted to the outputs of A0 + Delta + E, E of entries of `size`."""
    taught = problem.replace(task_shift=problem.shift + teacher_error(problem, size), spectrum=None)
    updates = experiments._fft_updates(taught, *experiments._data(taught, trials, seed))
    return Sample(risk_of(problem, updates)[:, None], {"size": np.asarray(size)})


@register_prediction("full-student-risk.error-and-all")
def error_and_all(problem: Problem, sample: Sample) -> float:
    """||E Sigma^{1/2}||_F^2 + Tr(Sigma_eps) dx / (n - dx - 1), by `theory.distilled_risk`."""
    from linreg_lora.theory.composition import distilled_risk

    error = teacher_error(problem, float(sample.context["size"]))
    return float(distilled_risk(problem, error, problem.max_rank).risks[0])


@register_prediction("full-student-risk.error-is-noise")
def error_is_noise(problem: Problem, sample: Sample) -> float:
    """As if the teacher's error were noise, which samples average out."""
    energy = _teacher_energy(problem, sample)
    return (problem.noise_trace + energy) * problem.dx / (problem.n - problem.dx - 1)


@register_prediction("full-student-risk.of-the-teacher")
def of_the_teacher(problem: Problem, sample: Sample) -> float:
    """The teacher's own risk."""
    return _teacher_energy(problem, sample)


def _teacher_energy(problem: Problem, sample: Sample) -> float:
    error = teacher_error(problem, float(sample.context["size"]))
    return float(np.sum((error @ problem.sigma) * error))
