"""Claims on who suffers more from poisoned data, LoRA or full fine-tuning: experiments and rivals."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.papers.linreg_lora.poisoned import poison_at, require_count
from linreg_lora.claims.papers.linreg_lora.tasks import risk_of
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, NonNegative, Positive, Rank
from linreg_lora.problem import Problem


def _risks_with_and_without(
    problem: Problem, trials: int, seed: int, rank: float, count: float, length: float, trigger: float
) -> dict[tuple[str, bool], np.ndarray]:
    """Clean risks on the same draws, by (lora or fft, whether poisoned).

    The first samples are poisoned: they are independent, and as good as random ones.
    """
    require_count(problem.n, count)
    x, y = experiments._data(problem, trials, seed)
    poison = poison_at(problem, count, length, trigger, "outside")
    marks = np.arange(problem.n) < poison.count
    added = np.zeros(problem.dx) if poison.trigger is None else poison.trigger
    target = problem.shift if problem.pretrained is None else problem.pretrained + problem.shift
    data = {False: (x, y), True: (x + np.outer(added, marks), y + np.outer(poison.target + target @ added, marks))}
    found = {}
    for poisoned, (inputs, outputs) in data.items():
        found["fft", poisoned] = risk_of(problem, experiments._fft_updates(problem, inputs, outputs))
        found["lora", poisoned] = risk_of(problem, experiments._lora_updates(problem, inputs, outputs, int(rank)))
    return found


@register_experiment("damage-beside-half")
def damage_beside_half(
    problem: Problem, trials: int, seed: int, *, rank: Rank, count: Count, length: Positive, trigger: NonNegative
) -> Sample:
    """What poison outside of the shift adds to LoRA's clean risk, minus half of what it adds to FFT's, paired.

    Context: the latter whole, to measure by.
    """
    found = _risks_with_and_without(problem, trials, seed, rank, count, length, trigger)
    lora, full = (found[name, True] - found[name, False] for name in ("lora", "fft"))
    return Sample((lora - full / 2)[:, None], {"fft": full, "rank": np.asarray(rank)})


@register_experiment("damage-of-lora-minus-fft")
def damage_of_lora_minus_fft(
    problem: Problem, trials: int, seed: int, *, rank: Rank, count: Count, length: Positive, trigger: NonNegative
) -> Sample:
    """What poison outside of the shift adds to LoRA's clean risk, minus what it adds to FFT's; context: the latter."""
    found = _risks_with_and_without(problem, trials, seed, rank, count, length, trigger)
    lora, full = (found[name, True] - found[name, False] for name in ("lora", "fft"))
    return Sample((lora - full)[:, None], {"fft": full, "rank": np.asarray(rank)})


@register_experiment("damage-of-fft-minus-lora")
def damage_of_fft_minus_lora(
    problem: Problem, trials: int, seed: int, *, rank: Rank, count: Count, length: Positive, trigger: NonNegative
) -> Sample:
    """The same with the other sign."""
    found = damage_of_lora_minus_fft(problem, trials, seed, rank=rank, count=count, length=length, trigger=trigger)
    return Sample(-found.statistic, found.context)


def _share_of_the_dimensions(problem: Problem, sample: Sample) -> np.ndarray:
    """Of FFT's damage the share r (dx + dy - r) / (dx dy): LoRA's of the noise, were its directions known."""
    rank = int(sample.context["rank"])
    return rank * (problem.dx + problem.dy - rank) / (problem.dx * problem.dy) * sample.context["fft"]


@register_prediction("damage-beside-half.share-of-the-dimensions")
def dimensions_beside_half(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's damage is taken to be its dimensions' share of FFT's."""
    return _share_of_the_dimensions(problem, sample) - sample.context["fft"] / 2


@register_prediction("damage-of-lora-minus-fft.share-of-the-dimensions")
def dimensions_minus_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's damage is taken to be its dimensions' share of FFT's."""
    return _share_of_the_dimensions(problem, sample) - sample.context["fft"]


@register_prediction("damage-of-fft-minus-lora.share-of-the-dimensions")
def fft_minus_dimensions(problem: Problem, sample: Sample) -> np.ndarray:
    """The same with the other sign."""
    return -dimensions_minus_fft(problem, sample)


@register_prediction("damage-of-lora-minus-fft.lost-direction")
def lost_direction_minus_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA is taken to lose the weakest of its directions, s_r^2, and nothing else."""
    return problem.whitened_spectrum[int(sample.context["rank"]) - 1] ** 2 - sample.context["fft"]


@register_experiment("poisoned-fft-minus-lora")
def poisoned_fft_minus_lora(
    problem: Problem, trials: int, seed: int, *, rank: Rank, count: Count, length: Positive, trigger: NonNegative
) -> Sample:
    """The clean risk of FFT minus that of LoRA, both on data with poison outside of the shift; context: FFT's."""
    found = _risks_with_and_without(problem, trials, seed, rank, count, length, trigger)
    context = {"fft": found["fft", True], "rank": np.asarray(rank)}
    return Sample((found["fft", True] - found["lora", True])[:, None], context)


@register_prediction("poisoned-fft-minus-lora.noise-forgotten")
def noise_forgotten(problem: Problem, sample: Sample) -> float:
    """-A_r tail_{r-1}^2: the limit of a hijacked LoRA without B_r, the noise that it keeps out."""
    from linreg_lora.theory.complexity import task_complexity
    from linreg_lora.theory.poisoning.verdict import hijacked_difference

    rank = int(sample.context["rank"])
    found = task_complexity(problem, [rank])
    return -hijacked_difference(problem, rank) - float(found.gain[0] * found.noise[0])
