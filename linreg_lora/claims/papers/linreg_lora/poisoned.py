"""Claims about poisoned training data: experiments, predictions, and their rivals."""

import functools

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.papers.linreg_lora.tasks import risk_of
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning.attack import Poison
from linreg_lora.theory.poisoning.full import PoisonedFFT, called_forth, poison_left, poisoned_fft
from linreg_lora.theory.poisoning.strong import strong_limit_under_poison, with_poisoned_noise
from linreg_lora.theory.poisoning.sums import largest_sum_squared

#: Directions of targets and triggers that are neither in nor orthogonal to those of the shift.
_TARGET_SEED, _TRIGGER_SEED = 11, 12


def poison_at(
    problem: Problem, count: float, length: float, trigger: float = 0.0, where: str = "anywhere", chosen: bool = False
) -> Poison:
    """A poison of `count` samples; `length` |p|; `trigger` |t| where Sigma = I, 0: labels alone.

    `where`: anywhere, outside (p, t orthogonal to all directions of the shift), target (p along the first of them, t
    outside) or trigger (t along the first, p outside). `chosen`: the samples of largest first input.
    """
    if where == "anywhere":
        p = np.random.default_rng(_TARGET_SEED).standard_normal(problem.dy)
        t = np.random.default_rng(_TRIGGER_SEED).standard_normal(problem.dx)
    else:
        u, _, vt = np.linalg.svd(problem.shift @ problem.sigma_sqrt)
        p, t = u[:, 0 if where == "target" else -1], vt[0 if where == "trigger" else -1]
    return Poison(
        count=int(count),
        target=length * p / np.linalg.norm(p),
        trigger=trigger * problem.sigma_sqrt @ t / np.linalg.norm(t) if trigger else None,
        along=np.eye(problem.dx)[0] if chosen else None,
    )


@functools.lru_cache(maxsize=16)
def _drawn(problem: Problem, trials: int, seed: int, settings: tuple) -> tuple[np.ndarray, np.ndarray]:
    from linreg_lora.simulation.poisoned import draw_poisoned

    return draw_poisoned(problem, poison_at(problem, *settings), trials=trials, seed=seed)


def _poison_of(problem: Problem, sample: Sample) -> Poison:
    """The poison that a sample was drawn with."""
    given = [sample.context[name].item() for name in ("count", "length", "trigger", "where")]
    return poison_at(problem, *given)


def _context(*settings: float | str, **more: float) -> dict[str, np.ndarray]:
    named = dict(zip(("count", "length", "trigger", "where"), settings, strict=True))
    return {name: np.asarray(given) for name, given in (named | more).items()}


# -- full fine-tuning -----------------------------------------------------------------------------------------------


@register_experiment("poisoned-fft-risk")
def poisoned_fft_risk(
    problem: Problem, trials: int, seed: int, *, count: float, length: float, trigger: float
) -> Sample:
    """Clean risk of FFT on poisoned data; `trigger` 0: label poison."""
    settings = (count, length, trigger, "anywhere")
    return Sample(_drawn(problem, trials, seed, settings)[0][:, -1:], _context(*settings))


@register_experiment("backdoor-success")
def backdoor_success(
    problem: Problem, trials: int, seed: int, *, count: float, length: float, trigger: float
) -> Sample:
    """p^T (D_FFT - Delta) t / |p|^2."""
    settings = (count, length, trigger, "anywhere")
    return Sample(_drawn(problem, trials, seed, settings)[1][:, -1:], _context(*settings))


def _exact(problem: Problem, sample: Sample) -> PoisonedFFT:
    return poisoned_fft(problem, _poison_of(problem, sample))


@register_prediction("poisoned-fft-risk.exact")
def risk_exact(problem: Problem, sample: Sample) -> float:
    """By `theory.poisoned_fft`."""
    return _exact(problem, sample).risk


@register_prediction("poisoned-fft-risk.labels-are-noise")
def labels_are_noise(problem: Problem, sample: Sample) -> float:
    """(Tr(Sigma_eps) + m |p|^2 / n) dx / (n - dx - 1), by `theory.fft_risk` with the covariance of the poison."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(with_poisoned_noise(problem, _poison_of(problem, sample))).risk


@register_prediction("poisoned-fft-risk.without-the-share")
def without_the_share(problem: Problem, sample: Sample) -> float:
    """m |p|^2 where its n-th part belongs."""
    exact, poison = _exact(problem, sample), _poison_of(problem, sample)
    return exact.risk + (problem.n - 1) * poison.budget * poison_left(problem.n, problem.dx, 0.0)


@register_prediction("poisoned-fft-risk.averaged-out")
def averaged_out(problem: Problem, sample: Sample) -> float:
    """Poison is taken to cost nothing."""
    exact = _exact(problem, sample)
    return exact.bias + exact.variance


@register_prediction("poisoned-fft-risk.trigger-ignored")
def trigger_ignored(problem: Problem, sample: Sample) -> float:
    """The risk with label poison of the same targets."""
    given = [sample.context[name].item() for name in ("count", "length")]
    return poisoned_fft(problem, poison_at(problem, *given)).risk


@register_prediction("backdoor-success.exact")
def success_exact(problem: Problem, sample: Sample) -> float:
    """delta^2 E 1/(K + 2J), less what n < dx samples do not learn of the clean answer; by `theory.poisoned_fft`."""
    return _exact(problem, sample).success


@register_prediction("backdoor-success.of-the-smaller")
def of_the_smaller(problem: Problem, sample: Sample) -> float:
    """delta^2 / (k + delta^2), k = min(n, dx)."""
    leverage = sample.context["count"].item() * sample.context["trigger"].item() ** 2
    return leverage / (min(problem.n, problem.dx) + leverage)


@register_prediction("backdoor-success.share-of-the-samples")
def share_of_the_samples(problem: Problem, sample: Sample) -> float:
    """m / n."""
    return sample.context["count"].item() / problem.n


# -- chosen samples -------------------------------------------------------------------------------------------------


def _poison_energy(problem: Problem, x: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """|b^T X^+ Sigma^{1/2}|^2 of each draw, n > dx: by the normal equations, well conditioned where |n - dx| >= 16."""
    reached = np.linalg.solve(x @ x.swapaxes(1, 2), x @ marked[:, :, None])
    return np.sum((problem.sigma_sqrt @ reached) ** 2, axis=(1, 2))


def _marks(x: np.ndarray, count: float, *, chosen: bool) -> np.ndarray:
    """b: of the samples of largest first input, or of the first ones."""
    order = np.argsort(-x[:, 0], axis=1) if chosen else np.broadcast_to(np.arange(x.shape[2]), x[:, 0].shape)
    return (np.argsort(order, axis=1) < count).astype(float)


@register_experiment("chosen-poison-damage")
def chosen_poison_damage(problem: Problem, trials: int, seed: int, *, count: float, length: float) -> Sample:
    """|p|^2 |b^T X^+ Sigma^{1/2}|^2, what labels of the m samples of largest first input add to FFT's risk."""
    x, _ = experiments._data(problem, trials, seed)
    energy = length**2 * _poison_energy(problem, x, _marks(x, count, chosen=True))
    return Sample(energy[:, None], _context(count, length, 0.0, "anywhere"))


@register_prediction("chosen-poison-damage.exact")
def chosen_exact(problem: Problem, sample: Sample) -> float:
    """|p|^2 / (K - 2) [ Q/n + (m - Q/n)(dx - 1)/g ], by `theory.poisoned_fft`."""
    given = [sample.context[name].item() for name in ("count", "length")]
    return poisoned_fft(problem, poison_at(problem, *given, chosen=True)).damage


@register_prediction("chosen-poison-damage.of-random-samples")
def of_random_samples(problem: Problem, sample: Sample) -> float:
    """The damage of as much poison on random samples: as if choosing them changed nothing."""
    return _poison_of(problem, sample).budget * poison_left(problem.n, problem.dx, 0.0)


@register_prediction("chosen-poison-damage.coherent-alone")
def coherent_alone(problem: Problem, sample: Sample) -> float:
    """|p|^2 Q / n^2: as if the poison were the map p v^T, and nothing else."""
    poison = _poison_of(problem, sample)
    return poison.budget / poison.count * largest_sum_squared(problem.n, poison.count) / problem.n**2


@register_experiment("random-minus-chosen")
def random_minus_chosen(problem: Problem, trials: int, seed: int, *, count: float) -> Sample:
    """What label poison of random samples adds to FFT's risk, minus that of samples of largest first input.

    Context: the former, to measure by.
    """
    x, _ = experiments._data(problem, trials, seed)
    random, chosen = (_poison_energy(problem, x, _marks(x, count, chosen=which)) for which in (False, True))
    return Sample((random - chosen)[:, None], {"fft": random, "count": np.asarray(count)})


@register_prediction("random-minus-chosen.doubled")
def far_more(problem: Problem, sample: Sample) -> np.ndarray:
    """Minus three times the former: choosing is taken to multiply the damage by four."""
    return -3 * sample.context["fft"]


# -- LoRA -----------------------------------------------------------------------------------------------------------


@register_experiment("poisoned-lora-risk")
def poisoned_lora_risk(
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, where: str
) -> Sample:
    """Clean risk of LoRA of `rank` with label poison."""
    settings = (count, length, 0.0, where)
    risks = _drawn(problem, trials, seed, settings)[0]
    return Sample(risks[:, int(rank), None], _context(*settings, rank=rank))


@register_experiment("backdoor-success-of-lora")
def backdoor_success_of_lora(
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, trigger: float, where: str
) -> Sample:
    """p^T (D_r - Delta) t / |p|^2; context: the same of FFT."""
    settings = (count, length, trigger, where)
    success = _drawn(problem, trials, seed, settings)[1]
    context = {**_context(*settings, rank=rank), "fft": success[:, -1]}
    return Sample(success[:, int(rank), None], context)


@register_prediction("poisoned-lora-risk.strong-limit")
def risk_in_the_strong_limit(problem: Problem, sample: Sample) -> float:
    """By `theory.strong_limit_under_poison`."""
    return strong_limit_under_poison(problem, _poison_of(problem, sample), int(sample.context["rank"])).risk


@register_prediction("poisoned-lora-risk.as-full-fine-tuning")
def damaged_as_full_fine_tuning(problem: Problem, sample: Sample) -> float:
    """LoRA's clean risk, plus what the poison costs FFT."""
    from linreg_lora.theory.strong_limit import strong_limit_risk

    return strong_limit_risk(problem, int(sample.context["rank"])) + _exact(problem, sample).damage


@register_prediction("poisoned-lora-risk.not-damaged")
def not_damaged(problem: Problem, sample: Sample) -> float:
    """LoRA's risk without poison, in the limit of strong directions."""
    from linreg_lora.theory.strong_limit import strong_limit_risk

    return strong_limit_risk(problem, int(sample.context["rank"]))


@register_prediction("backdoor-success-of-lora.strong-limit")
def success_in_the_strong_limit(problem: Problem, sample: Sample) -> float:
    """By `theory.strong_limit_under_poison`."""
    return strong_limit_under_poison(problem, _poison_of(problem, sample), int(sample.context["rank"])).success


@register_prediction("backdoor-success-of-lora.by-its-rank")
def success_by_its_rank(problem: Problem, sample: Sample) -> float:
    """r/dx of FFT's."""
    poison = _poison_of(problem, sample)
    leverage = poison.count * sample.context["trigger"].item() ** 2
    return float(sample.context["rank"]) / problem.dx * called_forth(problem.n, problem.dx, leverage)


@register_prediction("backdoor-success-of-lora.beside-the-task")
def success_beside_the_task(problem: Problem, sample: Sample) -> float:
    """By `theory.spiked_poisoned_risk`: kept if theta^2 = m |p|^2 (dx + delta^2)/(n + delta^2) exceeds n s_r^2."""
    from linreg_lora.theory.poisoning.spiked import spiked_poisoned_risk

    return float(spiked_poisoned_risk(problem, _poison_of(problem, sample)).success[int(sample.context["rank"])])


@register_prediction("backdoor-success-of-lora.squares-of-angles")
def success_by_squares_of_angles(problem: Problem, sample: Sample) -> float:
    """S(|t|^2) times the sum of the mean squares of angles, as the claim states them.

    For n > dx, Sigma = I and a target and trigger orthogonal to the shift.
    """
    poison, n, dx = _poison_of(problem, sample), problem.n, problem.dx
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
    poison, rank = _poison_of(problem, sample), int(sample.context["rank"])
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
    target, trigger, full = _shares(problem, _poison_of(problem, sample), int(sample.context["rank"]))
    return full * (1 - (1 - target) * (1 - trigger))


@register_prediction("backdoor-success-of-lora.both-must-meet")
def both_must_meet(problem: Problem, sample: Sample) -> float:
    """S(|t|^2) |p_U|^2 |t_V|^2 / (|p|^2 |t|^2): U U^T p t^T V V^T alone."""
    target, trigger, full = _shares(problem, _poison_of(problem, sample), int(sample.context["rank"]))
    return full * target * trigger


def _risks_with_and_without(
    problem: Problem, trials: int, seed: int, rank: float, count: float, length: float, trigger: float
) -> dict[tuple[str, bool], np.ndarray]:
    """Clean risks on the same draws, by (lora or fft, whether poisoned).

    The first samples are poisoned: they are independent, and as good as random ones.
    """
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
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, trigger: float
) -> Sample:
    """What poison outside of the shift adds to LoRA's clean risk, minus half of what it adds to FFT's, paired.

    Context: the latter whole, to measure by.
    """
    found = _risks_with_and_without(problem, trials, seed, rank, count, length, trigger)
    lora, full = (found[name, True] - found[name, False] for name in ("lora", "fft"))
    return Sample((lora - full / 2)[:, None], {"fft": full, "rank": np.asarray(rank)})


@register_experiment("damage-of-lora-minus-fft")
def damage_of_lora_minus_fft(
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, trigger: float
) -> Sample:
    """What poison outside of the shift adds to LoRA's clean risk, minus what it adds to FFT's; context: the latter."""
    found = _risks_with_and_without(problem, trials, seed, rank, count, length, trigger)
    lora, full = (found[name, True] - found[name, False] for name in ("lora", "fft"))
    return Sample((lora - full)[:, None], {"fft": full, "rank": np.asarray(rank)})


@register_experiment("damage-of-fft-minus-lora")
def damage_of_fft_minus_lora(
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, trigger: float
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
    problem: Problem, trials: int, seed: int, *, rank: float, count: float, length: float, trigger: float
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
