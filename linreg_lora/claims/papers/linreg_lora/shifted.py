"""Claims about bases that are not A0, chains, sums of updates and tasks one after another: experiments, predictions."""

from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.claims.library import experiments, predictions
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative, Rank, Several
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.chain import Chain
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

if TYPE_CHECKING:
    from linreg_lora.methods.qlora import LoftQ, QLoRA

#: A second task: of the first one's shift a part, and the rest turned round. A teacher's error: its seed.
_SHARED, _OTHER, _TEACHER_SEED = 0.5, 0.7, 5
#: What "matches" allows.
_MATCHES = 1.05


# -- on every draw ------------------------------------------------------------------------------------------------


@register_experiment("chain-update", pathwise=True)
def chain_update(problem: Problem, trials: int, seed: int, *, rank: Rank, links: Several) -> Sample:
    """The sum of `links` updates of LoRA of `rank`, each merged before the next, on the same data."""
    x, y = experiments._data(problem, trials, seed)
    chain = Chain(int(rank), int(links))
    if chain.rank * chain.links >= problem.max_rank:
        expected = f"fewer than fill the {problem.max_rank} directions of the fit at rank {chain.rank}"
        raise InvalidInput("links", expected, chain.links)
    with experiments.runtime.exclusive_device():
        updates = np.asarray(chain.fit(x, y, experiments._pretrained(problem), problem.ridge or None).map)
    residual, whole = experiments._residual(problem, x, y), chain.rank * chain.links
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(whole), "link": np.asarray(chain.rank)}
    tolerance = chain.links * experiments._truncation_rounding(x, residual, whole)
    for place in range(1, chain.links):
        tolerance += experiments._truncation_rounding(x, residual, place * chain.rank)
    return Sample(updates, context, tolerance=tolerance, scale=experiments._norms(updates))


@register_prediction("chain-update.one-link")
def one_link(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA of the rank of one link: as if further links found nothing that the first had left."""
    return predictions.lora_update_whitened(problem, _with(sample, rank=sample.context["link"]))


@register_experiment("quantised-risk", pathwise=True)
def quantised_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The excess risk of QLoRA on every draw; context: the data, and what quantisation took from A0."""
    from linreg_lora.methods.qlora import QLoRA

    assert problem.pretrained is not None, "the claim is about a base that is quantised"
    x, y = experiments._data(problem, trials, seed)
    method = QLoRA(int(rank))
    lost = method.displacement(problem.pretrained)
    with experiments.runtime.exclusive_device():
        updates = np.asarray(method.fit(x, y, problem.pretrained, problem.ridge or None).map)
    residual = experiments._residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(method.rank), "lost": lost}
    risk = _risk(problem, updates)
    tolerance = experiments._truncation_rounding(x, residual + lost @ x, method.rank)
    energy = _risk(problem, np.zeros_like(lost)) + np.sum(lost**2)
    return Sample(risk, context, tolerance=tolerance * (1 + energy / risk), scale=risk)


@register_prediction("quantised-risk.shift-and-error")
def shift_and_error(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's risk where the shift is Delta + N, on the same data."""
    lost = sample.context["lost"]
    moved = _with(sample, residual=sample.context["residual"] + lost @ sample.context["x"])
    return _risk(problem, predictions.lora_update_whitened(problem, moved) - lost)


@register_prediction("quantised-risk.shift-alone")
def shift_alone(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's risk on the same data: as if the base were A0."""
    return _risk(problem, predictions.lora_update_whitened(problem, sample))


@register_prediction("quantised-risk.error-is-a-floor")
def error_is_a_floor(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's risk and ||N Sigma^{1/2}||^2: as if no error of quantisation were learnt."""
    return shift_alone(problem, sample) + _risk(problem, problem.shift + sample.context["lost"])


def _with(sample: Sample, **context: np.ndarray) -> Sample:
    return Sample(sample.statistic, {**sample.context, **context})


def _risk(problem: Problem, updates: np.ndarray) -> np.ndarray:
    error = updates - problem.shift
    return np.sum((error @ problem.sigma) * error, axis=(-2, -1))


# -- two methods on the same data ---------------------------------------------------------------------------------


@register_experiment("method-beside")
def method_beside(problem: Problem, trials: int, seed: int, *, method: str, other: str) -> Sample:
    """The excess risk of `method`; context: both names, and the risk of `other`, fitted to the same data."""
    from linreg_lora.simulation.methods import fitted_risks

    one, two = (
        fitted_risks(problem, registry.named(name), trials=trials, seed=seed)[:, None] for name in (method, other)
    )
    return Sample(one, {"method": np.asarray(method), "beside": np.asarray(other), "other": two})


@register_experiment("method-gain")
def method_gain(problem: Problem, trials: int, seed: int, *, method: str, other: str) -> Sample:
    """Excess risk of `method` minus that of `other`, fitted to the same data; context: the latter, to measure by."""
    sample = method_beside(problem, trials, seed, method=method, other=other)
    other_risk = sample.context["other"]
    return Sample(sample.statistic - other_risk, {**sample.context, "fft": other_risk})


@register_prediction("method-beside.matches")
def matches(problem: Problem, sample: Sample) -> np.ndarray:
    """At most a twentieth more than the other method."""
    return _MATCHES * sample.context["other"]


@register_prediction("method-beside.of-its-dimension")
def of_its_dimension(problem: Problem, sample: Sample) -> float:
    """sigma^2 / n for each dimension of what the method reaches: the risk of many samples, and nothing missed."""
    dimension = registry.named(str(sample.context["method"])).dimension(problem)
    assert dimension is not None, "the claim is about a method whose dimension is known"
    return problem.noise_trace / problem.dy * dimension / problem.n


@register_prediction("method-beside.one-rank-more")
def one_rank_more(problem: Problem, sample: Sample) -> float:
    """The tail beyond rank r + 1, as if what a method has beside rank r were worth a rank."""
    rank = registry.named(str(sample.context["method"])).rank + 1  # pyright: ignore[reportAttributeAccessIssue]
    return float(np.sum(problem.whitened_spectrum[rank:] ** 2))


@register_prediction("method-gain.start-is-kept")
def start_is_kept(problem: Problem, sample: Sample) -> np.ndarray:
    """As if the method's factors stayed at their start, which is A0: the risk of A0, less the other method's."""
    return problem.pretrained_risk - sample.context["other"]


@register_prediction("method-gain.error-of-the-base")
def error_of_the_base(problem: Problem, sample: Sample) -> float:
    """By how much the base is further from A0: as if its error were not learnt."""
    other, own = (_lost(problem, _displaced(sample, name)) for name in ("beside", "method"))
    return own - other


@register_prediction("method-gain.error-of-the-start")
def error_of_the_start(problem: Problem, sample: Sample) -> float:
    """By how much base and factors together start further from A0 than the other base does."""
    from linreg_lora.methods.displaced import truncated

    method, beside = _displaced(sample, "method"), _displaced(sample, "beside")
    own = method.displacement(problem.pretrained)
    left = own - truncated(own, method.rank)
    return float(_risk(problem, problem.shift + left)) - _lost(problem, beside)


def _displaced(sample: Sample, name: str) -> "LoftQ | QLoRA":
    from linreg_lora.methods.qlora import LoftQ, QLoRA

    method = registry.named(str(sample.context[name]))
    assert isinstance(method, LoftQ | QLoRA), "the claim is about quantised bases"
    return method


def _lost(problem: Problem, method: "LoftQ | QLoRA") -> float:
    """||(A0 - base) Sigma^{1/2}||_F^2."""
    return float(_risk(problem, problem.shift + method.displacement(problem.pretrained)))


# -- two tasks ----------------------------------------------------------------------------------------------------


def second_task(problem: Problem) -> Problem:
    """A task that shares a part of the first one's shift, with data of its own."""
    shift = _SHARED * problem.shift + _OTHER * problem.shift[::-1, ::-1]
    return problem.replace(task_shift=shift, spectrum=None)


def _two_fits(problem: Problem, trials: int, seed: int, *, merged: bool) -> tuple[Problem, np.ndarray, np.ndarray]:
    """The second task, FFT's update on the first, and its update on the second: from A0, or from what was `merged`."""
    second = second_task(problem)
    first = experiments._fft_updates(problem, *experiments._data(problem, trials, seed))
    x, y = experiments._data(second, trials, derived_seed(seed, "second task"))
    return second, first, experiments._fft_updates(second, x, y - first @ x if merged else y)


@register_experiment("sequence-risks")
def sequence_risks(problem: Problem, trials: int, seed: int) -> Sample:
    """The excess risks on a first and a second task after FFT on one, then on the other."""
    second, first, more = _two_fits(problem, trials, seed, merged=True)
    risks = np.stack([_risk(task, first + more) for task in (problem, second)], axis=1)
    return Sample(risks, columns=("first task", "second task"))


@register_prediction("sequence-risks.exact")
def sequence_exact(problem: Problem, sample: Sample) -> np.ndarray:
    """By `theory.sequential_fft`."""
    from linreg_lora.theory.continual import sequential_fft

    return sequential_fft([problem, second_task(problem)])[2:]


@register_prediction("sequence-risks.overwritten")
def overwritten(problem: Problem, sample: Sample) -> np.ndarray:
    """As if the second fit had started from A0: nothing of the first task is left."""
    from linreg_lora.theory.continual import sequential_fft

    second = second_task(problem)
    return sequential_fft([second, problem])[1:2, ::-1]


@register_prediction("sequence-risks.noise-once")
def noise_once(problem: Problem, sample: Sample) -> np.ndarray:
    """Without what the second fit leaves of the noise that the first one took in."""
    from linreg_lora.theory.continual import sequential_fft

    return sequential_fft([problem.replace(noise_std=0.0), second_task(problem)])[2:]


@register_experiment("sum-of-updates")
def sum_of_updates(problem: Problem, trials: int, seed: int, *, weight: float) -> Sample:
    """The excess risk on a first task of A0 + `weight` (D_1 + D_2), FFT on independent data of two tasks."""
    _, first, other = _two_fits(problem, trials, seed, merged=False)
    return Sample(_risk(problem, weight * (first + other))[:, None], {"weight": np.asarray(weight)})


@register_prediction("sum-of-updates.exact")
def sum_exact(problem: Problem, sample: Sample) -> float:
    """By `theory.task_arithmetic`."""
    from linreg_lora.theory.composition import task_arithmetic

    weight = float(sample.context["weight"])
    return float(task_arithmetic([problem, second_task(problem)], problem.max_rank, [weight] * 2).risks[0])


@register_prediction("sum-of-updates.no-interference")
def no_interference(problem: Problem, sample: Sample) -> float:
    """As if updates of two tasks were orthogonal, to one another and to the other's shift."""
    weight = float(sample.context["weight"])
    moved, apart = _means(problem)
    interference = 2 * weight**2 * np.sum((moved @ problem.sigma) * apart) - 2 * weight * np.sum(
        (apart @ problem.sigma) * problem.shift
    )
    return sum_exact(problem, sample) - float(interference)


@register_prediction("sum-of-updates.whole-shifts")
def whole_shifts(problem: Problem, sample: Sample) -> float:
    """As if each fit learnt its whole shift, though fewer samples than inputs see a share of it."""
    weight, second = float(sample.context["weight"]), second_task(problem)
    n, dx = problem.n, problem.dx
    noise = 2 * weight**2 * problem.noise_trace * min(n, dx) / (abs(dx - n) - 1)
    return float(_risk(problem, weight * (problem.shift + second.shift))) + noise


def _means(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    from linreg_lora.theory.expected_update import mean_update

    both = (mean_update(task, problem.max_rank).update for task in (problem, second_task(problem)))
    first, second = both
    return first, second


# -- teachers -----------------------------------------------------------------------------------------------------


def teacher_error(problem: Problem, size: float) -> np.ndarray:
    """What a teacher gets wrong: iid entries, the same in every draw."""
    return size * np.random.default_rng(_TEACHER_SEED).standard_normal((problem.dy, problem.dx))


@register_experiment("student-minus-teacher")
def student_minus_teacher(problem: Problem, trials: int, seed: int, *, rank: Rank, size: NonNegative) -> Sample:
    """The excess risk of LoRA fitted to a teacher's outputs, minus the teacher's own; context: that."""
    error = teacher_error(problem, size)
    taught = problem.replace(task_shift=problem.shift + error, spectrum=None)
    updates = experiments._lora_updates(taught, *experiments._data(taught, trials, seed), int(rank))
    own = float(_risk(problem, problem.shift + error))
    context = {"teacher": np.asarray(own), "rank": np.asarray(int(rank))}
    return Sample((_risk(problem, updates) - own)[:, None], context)


@register_prediction("student-minus-teacher.learns-nothing-wrong")
def learns_nothing_wrong(problem: Problem, sample: Sample) -> float:
    """As if the student left all of the teacher's error out, and fitted no noise."""
    return -float(sample.context["teacher"])
