"""Claims about what ranks return: one rank more, samples for a rank that is too small, and methods against FFT."""

import functools

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.library import experiments, methods, small_methods
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.theory import bounds, capacity

_EPS = np.finfo(float).eps


# -- one rank more ------------------------------------------------------------------------------------------------


@register_experiment("training-returns", pathwise=True)
def training_returns(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """What each of the ranks 1..r = `rank` takes off the training loss, trials x r."""
    x, y = experiments._data(problem, trials, seed)
    residual = experiments._residual(problem, x, y)
    fits = [experiments._lora_updates(problem, x, y, r) @ x for r in range(int(rank) + 1)]
    losses = np.stack([np.sum((residual - fit) ** 2, axis=(-2, -1)) for fit in fits], axis=1)
    scale = losses[:, 0]
    context = {"x": x, "residual": residual, "rank": np.asarray(int(rank))}
    return Sample(-np.diff(losses, axis=1), context, tolerance=experiments._rounding(x, squared=True), scale=scale)


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
    return _fitted_energies(sample, 1)


@register_experiment("next-rank-gain")
def next_rank_gain(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """risk(D_r) - risk(D_{r+1}) on the same draws, r = `rank`; context: risk(D_{r+1})."""
    risks = experiments._risks(problem, trials, seed).lora
    r = int(rank)
    return Sample((risks[:, r] - risks[:, r + 1])[:, None], {"rank": np.asarray(r), "fft": risks[:, -1]})


def _energy_of_next(problem: Problem, sample: Sample) -> float:
    """s_{r+1}^2 of Delta Sigma^{1/2}: what rank r + 1 takes off the least risk."""
    rank = int(sample.context["rank"])
    return bounds.least_risk(problem, rank) - bounds.least_risk(problem, rank + 1)


@register_prediction("next-rank.energy")
def next_rank_energy(problem: Problem, sample: Sample) -> float:
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


# -- many samples -------------------------------------------------------------------------------------------------


@register_experiment("scaled-variance")
def scaled_variance(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """(n - dx - 1)(risk(D_r) - tail_r^2) / sigma^2, conditional means given LoRA's directions.

    With FFT's own n - dx - 1 in place of n: the limit is the same, and what is missing at finite n is far smaller.
    """
    from linreg_lora.simulation.curve import draw_risks

    r = int(rank)
    risk = draw_risks(problem, trials=trials, seed=seed, sampler="conditional").lora[:, r]
    scaled = (problem.n - problem.dx - 1) * (risk - bounds.least_risk(problem, r)) / problem.noise_std**2
    return Sample(scaled[:, None], {"rank": np.asarray(r)})


@register_prediction("scaled-variance.limit")
def scaled_variance_limit(problem: Problem, sample: Sample) -> float:
    """r (dx + dy - r) at the rank of the shift, more above it (`theory.capacity`)."""
    return _limit(problem.replace(n=1), int(sample.context["rank"])) / problem.noise_std**2


@functools.lru_cache(maxsize=8)
def _limit(problem: Problem, rank: int) -> float:
    return capacity.large_sample_limit(problem, rank, trials=200_000).limit


@register_prediction("scaled-variance.small-noise")
def scaled_variance_small_noise(problem: Problem, sample: Sample) -> float:
    """r dx + r (dy - r) (n - dx - 1) / (n - r - 1) at the rank of the shift, more above it (`theory.capacity`)."""
    return (problem.n - problem.dx - 1) * _small_noise(problem, int(sample.context["rank"])) / problem.noise_std**2


@functools.lru_cache(maxsize=8)
def _small_noise(problem: Problem, rank: int) -> float:
    return capacity.small_noise_risk(problem, rank, trials=200_000).value


@register_prediction("scaled-variance.dimension")
def scaled_variance_dimension(problem: Problem, sample: Sample) -> float:
    return float(capacity.tangent_dimension(problem.dx, problem.dy, int(sample.context["rank"])))


@register_prediction("scaled-variance.parameters")
def scaled_variance_parameters(problem: Problem, sample: Sample) -> float:
    return float(capacity.parameter_count(problem.dx, problem.dy, int(sample.context["rank"])))


@register_experiment("more-samples-gain")
def more_samples_gain(problem: Problem, trials: int, seed: int, *, rank: float, more: float) -> Sample:
    """risk(D_r) with n samples less that with n + `more`, independent draws; context: that with n, for LoRA and FFT."""
    few = experiments._risks(problem, trials, seed).lora
    larger = problem.replace(n=problem.n + int(more))
    many = experiments._risks(larger, trials, derived_seed(seed, "more samples")).lora
    r = int(rank)
    context = {"few": few[:, r], "fft": few[:, -1], "fft_gain": few[:, -1] - many[:, -1], "more": np.asarray(more)}
    return Sample((few[:, r] - many[:, r])[:, None], context)


@register_prediction("samples.tenth")
def samples_tenth(problem: Problem, sample: Sample) -> np.ndarray:
    """A tenth of the risk with n samples."""
    return 0.1 * sample.context["few"]


@register_prediction("samples.as-for-fft")
def samples_as_for_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """What full fine-tuning gains."""
    return sample.context["fft_gain"]


# -- methods against FFT ------------------------------------------------------------------------------------------


@register_experiment("peft-risks")
def peft_risks(problem: Problem, trials: int, seed: int, *, rank: float) -> Sample:
    """Excess risks of LoRA, LoRA with A or B frozen, BitFit and IA3 on the same explicit data; context: that of FFT."""
    r = int(rank)
    x, y = experiments._data(problem, trials, seed)
    pretrained = experiments._pretrained(problem)
    a, b = methods._orthonormal_rows(r, problem.dx), methods._orthonormal_rows(r, problem.dy).T
    with runtime.exclusive_device():
        frozen = methods._compiled()
        updates = [np.asarray(frozen.a(x, y, a, pretrained)), np.asarray(frozen.b(x, y, b, pretrained))]
        updates.append(np.asarray(small_methods.compiled().ia3(x, y, pretrained)))
        bias = np.asarray(small_methods.compiled().bitfit(x, y, pretrained))
    updates.insert(0, experiments._lora_updates(problem, x, y, r))
    risks = [methods._risks(problem, update) for update in updates]
    risks.append(np.sum(bias**2, axis=1) + problem.pretrained_risk)
    full = methods._risks(problem, experiments._fft_updates(problem, x, y))
    columns = ("LoRA", "frozen A", "frozen B", "IA3", "BitFit")
    return Sample(np.column_stack(risks), {"fft": full}, columns=columns)


@register_prediction("risk.of-fft")
def risk_of_fft(problem: Problem, sample: Sample) -> np.ndarray:
    return sample.context["fft"]


@register_prediction("risk.half-the-shift")
def risk_half_the_shift(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 / 2: half of the shift is learned, at no cost."""
    return problem.pretrained_risk / 2
