"""Claims about what poisoned training data do to full fine-tuning: experiments, predictions, and their rivals."""

import functools
from typing import Literal

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, NonNegative, Positive
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning.attack import Poison
from linreg_lora.theory.poisoning.full import PoisonedFFT, poison_left, poisoned_fft
from linreg_lora.theory.poisoning.strong import with_poisoned_noise
from linreg_lora.theory.poisoning.sums import largest_sum_squared

#: Where a target and a trigger lie (`poison_at`).
Where = Literal["anywhere", "outside", "target", "trigger"]
#: Directions of targets and triggers that are neither in nor orthogonal to those of the shift.
_TARGET_SEED, _TRIGGER_SEED = 11, 12


def poison_at(
    problem: Problem, count: float, length: float, trigger: float = 0.0, where: Where = "anywhere", chosen: bool = False
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


def require_count(n: int, count: float) -> None:
    if count > n:
        raise InvalidInput("count", f"at most the {n} samples", int(count))


@functools.lru_cache(maxsize=16)
def drawn_with(problem: Problem, trials: int, seed: int, settings: tuple) -> tuple[np.ndarray, np.ndarray]:
    from linreg_lora.simulation.poisoned import draw_poisoned

    return draw_poisoned(problem, poison_at(problem, *settings), trials=trials, seed=seed)


def poison_of(problem: Problem, sample: Sample) -> Poison:
    """The poison that a sample was drawn with."""
    given = [sample.context[name].item() for name in ("count", "length", "trigger", "where")]
    return poison_at(problem, *given)


def context_of(*settings: float | str, **more: float) -> dict[str, np.ndarray]:
    named = dict(zip(("count", "length", "trigger", "where"), settings, strict=True))
    return {name: np.asarray(given) for name, given in (named | more).items()}


# -- full fine-tuning -----------------------------------------------------------------------------------------------


@register_experiment("poisoned-fft-risk")
def poisoned_fft_risk(
    problem: Problem, trials: int, seed: int, *, count: Count, length: Positive, trigger: NonNegative
) -> Sample:
    """Clean risk of FFT on poisoned data; `trigger` 0: label poison."""
    settings = (count, length, trigger, "anywhere")
    return Sample(drawn_with(problem, trials, seed, settings)[0][:, -1:], context_of(*settings))


@register_experiment("backdoor-success")
def backdoor_success(
    problem: Problem, trials: int, seed: int, *, count: Count, length: Positive, trigger: Positive
) -> Sample:
    """p^T (D_FFT - Delta) t / |p|^2."""
    settings = (count, length, trigger, "anywhere")
    return Sample(drawn_with(problem, trials, seed, settings)[1][:, -1:], context_of(*settings))


def exact_of(problem: Problem, sample: Sample) -> PoisonedFFT:
    return poisoned_fft(problem, poison_of(problem, sample))


@register_prediction("poisoned-fft-risk.exact")
def risk_exact(problem: Problem, sample: Sample) -> float:
    """By `theory.poisoned_fft`."""
    return exact_of(problem, sample).risk


@register_prediction("poisoned-fft-risk.labels-are-noise")
def labels_are_noise(problem: Problem, sample: Sample) -> float:
    """(Tr(Sigma_eps) + m |p|^2 / n) dx / (n - dx - 1), by `theory.fft_risk` with the covariance of the poison."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(with_poisoned_noise(problem, poison_of(problem, sample))).risk


@register_prediction("poisoned-fft-risk.without-the-share")
def without_the_share(problem: Problem, sample: Sample) -> float:
    """m |p|^2 where its n-th part belongs."""
    exact, poison = exact_of(problem, sample), poison_of(problem, sample)
    return exact.risk + (problem.n - 1) * poison.budget * poison_left(problem.n, problem.dx, 0.0)


@register_prediction("poisoned-fft-risk.averaged-out")
def averaged_out(problem: Problem, sample: Sample) -> float:
    """Poison is taken to cost nothing."""
    exact = exact_of(problem, sample)
    return exact.bias + exact.variance


@register_prediction("poisoned-fft-risk.trigger-ignored")
def trigger_ignored(problem: Problem, sample: Sample) -> float:
    """The risk with label poison of the same targets."""
    given = [sample.context[name].item() for name in ("count", "length")]
    return poisoned_fft(problem, poison_at(problem, *given)).risk


@register_prediction("backdoor-success.exact")
def success_exact(problem: Problem, sample: Sample) -> float:
    """delta^2 E 1/(K + 2J), less what n < dx samples do not learn of the clean answer; by `theory.poisoned_fft`."""
    return exact_of(problem, sample).success


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
    require_count(x.shape[2], count)
    order = np.argsort(-x[:, 0], axis=1) if chosen else np.broadcast_to(np.arange(x.shape[2]), x[:, 0].shape)
    return (np.argsort(order, axis=1) < count).astype(float)


@register_experiment("chosen-poison-damage")
def chosen_poison_damage(problem: Problem, trials: int, seed: int, *, count: Count, length: Positive) -> Sample:
    """|p|^2 |b^T X^+ Sigma^{1/2}|^2, what labels of the m samples of largest first input add to FFT's risk."""
    x, _ = experiments._data(problem, trials, seed)
    energy = length**2 * _poison_energy(problem, x, _marks(x, count, chosen=True))
    return Sample(energy[:, None], context_of(count, length, 0.0, "anywhere"))


@register_prediction("chosen-poison-damage.exact")
def chosen_exact(problem: Problem, sample: Sample) -> float:
    """|p|^2 / (K - 2) [ Q/n + (m - Q/n)(dx - 1)/g ], by `theory.poisoned_fft`."""
    given = [sample.context[name].item() for name in ("count", "length")]
    return poisoned_fft(problem, poison_at(problem, *given, chosen=True)).damage


@register_prediction("chosen-poison-damage.of-random-samples")
def of_random_samples(problem: Problem, sample: Sample) -> float:
    """The damage of as much poison on random samples: as if choosing them changed nothing."""
    return poison_of(problem, sample).budget * poison_left(problem.n, problem.dx, 0.0)


@register_prediction("chosen-poison-damage.coherent-alone")
def coherent_alone(problem: Problem, sample: Sample) -> float:
    """|p|^2 Q / n^2: as if the poison were the map p v^T, and nothing else."""
    poison = poison_of(problem, sample)
    return poison.budget / poison.count * largest_sum_squared(problem.n, poison.count) / problem.n**2


@register_experiment("random-minus-chosen")
def random_minus_chosen(problem: Problem, trials: int, seed: int, *, count: Count) -> Sample:
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
