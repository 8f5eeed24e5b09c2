"""Claims about LoRA trained on poisoned data: experiments, predictions, and their rivals."""

import numpy as np

from linreg_lora.claims.papers.linreg_lora.poisoned import Where, context_of, drawn_with, exact_of, poison_of
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, Positive, Rank
from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning.attack import Poison
from linreg_lora.theory.poisoning.full import called_forth
from linreg_lora.theory.poisoning.strong import strong_limit_under_poison


@register_experiment("poisoned-lora-risk")
def poisoned_lora_risk(
    problem: Problem, trials: int, seed: int, *, rank: Rank, count: Count, length: Positive, where: Where
) -> Sample:
    """Clean risk of LoRA of `rank` with label poison."""
    settings = (count, length, 0.0, where)
    risks = drawn_with(problem, trials, seed, settings)[0]
    return Sample(risks[:, int(rank), None], context_of(*settings, rank=rank))


@register_experiment("backdoor-success-of-lora")
def backdoor_success_of_lora(
    problem: Problem,
    trials: int,
    seed: int,
    *,
    rank: Rank,
    count: Count,
    length: Positive,
    trigger: Positive,
    where: Where,
) -> Sample:
    """p^T (D_r - Delta) t / |p|^2; context: the same of FFT."""
    settings = (count, length, trigger, where)
    success = drawn_with(problem, trials, seed, settings)[1]
    context = {**context_of(*settings, rank=rank), "fft": success[:, -1]}
    return Sample(success[:, int(rank), None], context)


@register_prediction("poisoned-lora-risk.strong-limit")
def risk_in_the_strong_limit(problem: Problem, sample: Sample) -> float:
    """By `theory.strong_limit_under_poison`."""
    return strong_limit_under_poison(problem, poison_of(problem, sample), int(sample.context["rank"])).risk


@register_prediction("poisoned-lora-risk.as-full-fine-tuning")
def damaged_as_full_fine_tuning(problem: Problem, sample: Sample) -> float:
    """LoRA's clean risk, plus what the poison costs FFT."""
    from linreg_lora.theory.strong_limit import strong_limit_risk

    return strong_limit_risk(problem, int(sample.context["rank"])) + exact_of(problem, sample).damage


@register_prediction("poisoned-lora-risk.not-damaged")
def not_damaged(problem: Problem, sample: Sample) -> float:
    """LoRA's risk without poison, in the limit of strong directions."""
    from linreg_lora.theory.strong_limit import strong_limit_risk

    return strong_limit_risk(problem, int(sample.context["rank"]))


@register_prediction("backdoor-success-of-lora.strong-limit")
def success_in_the_strong_limit(problem: Problem, sample: Sample) -> float:
    """By `theory.strong_limit_under_poison`."""
    return strong_limit_under_poison(problem, poison_of(problem, sample), int(sample.context["rank"])).success


@register_prediction("backdoor-success-of-lora.by-its-rank")
def success_by_its_rank(problem: Problem, sample: Sample) -> float:
    """r/dx of FFT's."""
    poison = poison_of(problem, sample)
    leverage = poison.count * sample.context["trigger"].item() ** 2
    return float(sample.context["rank"]) / problem.dx * called_forth(problem.n, problem.dx, leverage)


@register_prediction("backdoor-success-of-lora.beside-the-task")
def success_beside_the_task(problem: Problem, sample: Sample) -> float:
    """By `theory.spiked_poisoned_risk`: kept if theta^2 = m |p|^2 (dx + delta^2)/(n + delta^2) exceeds n s_r^2."""
    from linreg_lora.theory.poisoning.spiked import spiked_poisoned_risk

    return float(spiked_poisoned_risk(problem, poison_of(problem, sample)).success[int(sample.context["rank"])])


@register_prediction("backdoor-success-of-lora.squares-of-angles")
def success_by_squares_of_angles(problem: Problem, sample: Sample) -> float:
    """S(|t|^2) times the sum of the mean squares of angles, as the claim states them.

    For n > dx, Sigma = I and a target and trigger orthogonal to the shift.
    """
    poison, n, dx = poison_of(problem, sample), problem.n, problem.dx
    variance, kept = problem.noise_std**2, slice(0, int(sample.context["rank"]))
    strength = n * problem.whitened_spectrum[kept] ** 2
    left = 1 - dx * problem.dy * (variance / strength) ** 2
    budget = poison.budget * (dx + poison.leverage) / (n + poison.leverage)
    noise = variance * (2 * strength + (dx + problem.dy) * variance)
    angles = (left * poison.budget * strength / n + noise) / (strength - budget) ** 2
    return called_forth(n, dx, poison.leverage) * float(np.sum(angles))


@register_prediction("backdoor-success-of-lora.kept-by-its-budget")
def kept_by_its_budget(problem: Problem, sample: Sample) -> float:
    """As if theta^2 were m |p|^2, whatever n: FFT's success if that exceeds n s_r^2, else none."""
    poison, rank = poison_of(problem, sample), int(sample.context["rank"])
    leverage = poison.count * sample.context["trigger"].item() ** 2
    kept = poison.budget > problem.n * problem.whitened_spectrum[rank - 1] ** 2
    return called_forth(problem.n, problem.dx, leverage) if kept else 0.0


def _shares(problem: Problem, poison: Poison, rank: int) -> tuple[float, float, float]:
    """Of |p|^2 what lies in U, of |t|^2 what lies in V, and FFT's success, n > dx, where Sigma = I."""
    u, _, vt = np.linalg.svd(problem.shift @ problem.sigma_sqrt)
    assert poison.trigger is not None
    p, t = poison.target, np.linalg.solve(problem.sigma_sqrt, poison.trigger)
    of_target = float(np.sum((u[:, :rank].T @ p) ** 2) / np.sum(p**2))
    of_trigger = float(np.sum((vt[:rank] @ t) ** 2) / np.sum(t**2))
    return of_target, of_trigger, called_forth(problem.n, problem.dx, poison.count * float(np.sum(t**2)))


@register_prediction("backdoor-success-of-lora.share-of-the-energy")
def share_of_the_energy(problem: Problem, sample: Sample) -> float:
    """S(|t|^2) [1 - |p_o|^2 |t_o|^2 / (|p|^2 |t|^2)]: linear in the energy of the trigger."""
    target, trigger, full = _shares(problem, poison_of(problem, sample), int(sample.context["rank"]))
    return full * (1 - (1 - target) * (1 - trigger))


@register_prediction("backdoor-success-of-lora.both-must-meet")
def both_must_meet(problem: Problem, sample: Sample) -> float:
    """S(|t|^2) |p_U|^2 |t_V|^2 / (|p|^2 |t|^2): U U^T p t^T V V^T alone."""
    target, trigger, full = _shares(problem, poison_of(problem, sample), int(sample.context["rank"]))
    return full * target * trigger
