"""Predictions of our own claims, and their rivals."""

import functools
from typing import NamedTuple

import numpy as np

from linreg_lora.claims.library import predictions
from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import capacity
from linreg_lora.theory.forgetting import fft_forgetting as expected_fft_forgetting


@register_prediction("equivalent.raw")
def equivalent_raw(problem: Problem, sample: Sample) -> float:
    """The deterministic equivalent, without its finite-size correction."""
    return _equivalent(problem, int(sample.context["rank"])).raw


@register_prediction("equivalent.fft")
def equivalent_fft(problem: Problem, sample: Sample) -> float:
    """The risk of FFT for that of LoRA."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(problem).risk


@register_prediction("equivalent.keeps-its-share")
def equivalent_keeps_its_share(problem: Problem, sample: Sample) -> float:
    """The least risk of any rank-r map, and the large-n variance r (dx + dy - r) sigma^2 / n."""
    from linreg_lora.theory.bounds import least_risk

    rank = int(sample.context["rank"])
    variance = problem.noise_trace / problem.dy * rank * (problem.dx + problem.dy - rank) / problem.n
    return least_risk(problem, rank) + variance


@register_prediction("equivalent.overlap-once")
def equivalent_overlap_once(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 + T1 - T2, for - 2 T2."""
    found = _equivalent(problem, int(sample.context["rank"]))
    return found.raw + found.overlap


@register_prediction("equivalent.quarter-above")
def equivalent_quarter_above(problem: Problem, sample: Sample) -> float:
    """The corrected formula, and a quarter of its correction more."""
    raw, corrected, _ = _equivalent(problem, int(sample.context["rank"]))
    return corrected + abs(corrected - raw) / 4


@register_prediction("equivalent.quarter-below")
def equivalent_quarter_below(problem: Problem, sample: Sample) -> float:
    """The corrected formula, and a quarter of its correction less."""
    raw, corrected, _ = _equivalent(problem, int(sample.context["rank"]))
    return corrected - abs(corrected - raw) / 4


class _Formula(NamedTuple):
    raw: float
    corrected: float
    overlap: float


@functools.lru_cache(maxsize=16)
def _equivalent(problem: Problem, rank: int) -> _Formula:
    """The formula's risk without and with its correction, and T2."""
    from linreg_lora.theory.equivalent import lora_equivalent

    found = lora_equivalent(problem, [rank])
    return _Formula(float(found.raw[0]), float(found.risk[0]), float(found.parts.overlap[0]))


@register_prediction("forgetting.expected")
def forgetting_expected(problem: Problem, sample: Sample) -> float:
    """FFT's expected forgetting (`theory.forgetting`)."""
    return expected_fft_forgetting(problem, sample.context["pretraining"])[0]


@register_prediction("forgetting.shift-alone")
def forgetting_shift_alone(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma_pre^{1/2}||_F^2: what the task asks for, as if noise moved nothing."""
    return float(np.sum((problem.shift @ sample.context["pretraining"]) * problem.shift))


@register_prediction("forgetting.same-inputs")
def forgetting_same_inputs(problem: Problem, sample: Sample) -> float:
    """As if pretraining had had the inputs of the task."""
    return expected_fft_forgetting(problem, problem.sigma)[0]


@register_prediction("forgetting.data-see-all")
def forgetting_data_see_all(problem: Problem, sample: Sample) -> float:
    """The whole shift and the noise, though n < dx samples see only a share of the shift."""
    seen = problem.replace(noise_std=0.0)
    noise = forgetting_expected(problem, sample) - expected_fft_forgetting(seen, sample.context["pretraining"])[0]
    return forgetting_shift_alone(problem, sample) + noise


@register_prediction("in-sample-error.tail-and-noise")
def in_sample_tail_and_noise(problem: Problem, sample: Sample) -> np.ndarray:
    """||(Delta - T) X||_F + 2 sqrt(2 r) ||E P||_2, T = trunc_r(Delta)."""
    return sample.context["missed"] + in_sample_noise_alone(problem, sample)


@register_prediction("in-sample-error.noise-alone")
def in_sample_noise_alone(problem: Problem, sample: Sample) -> np.ndarray:
    """As if the shift had rank r."""
    return 2 * np.sqrt(2 * sample.context["rank"]) * sample.context["noise"]


@register_prediction("in-sample-error.tail-alone")
def in_sample_tail_alone(problem: Problem, sample: Sample) -> np.ndarray:
    """||(Delta - T) X||_F: as if there were no noise."""
    return sample.context["missed"]


@register_prediction("truncation-frobenius.tail-and-noise")
def truncation_frobenius(size: MatrixSize, sample: Sample) -> np.ndarray:
    """tail_r(T) + 2 sqrt(2 r) ||N||_2."""
    return sample.context["tail"] + 2 * np.sqrt(2 * sample.context["rank"]) * sample.context["noise_norm"]


@register_prediction("truncation-frobenius.rank-r-difference")
def truncation_frobenius_rank_r(size: MatrixSize, sample: Sample) -> np.ndarray:
    """tail_r(T) + 2 sqrt(r) ||N||_2: the error is taken to have rank r, not 2 r."""
    return sample.context["tail"] + 2 * np.sqrt(sample.context["rank"]) * sample.context["noise_norm"]


@register_prediction("truncation-frobenius.tail-alone")
def truncation_frobenius_tail(size: MatrixSize, sample: Sample) -> np.ndarray:
    """tail_r(T): as if the noise did not matter."""
    return sample.context["tail"]


@register_prediction("truncation-low-rank.five")
def truncation_low_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    """5 r ||N||_2^2."""
    return 5 * sample.context["rank"] * sample.context["noise_norm"] ** 2


@register_prediction("truncation-low-rank.four")
def truncation_low_rank_four(size: MatrixSize, sample: Sample) -> np.ndarray:
    """4 r ||N||_2^2."""
    return 4 * sample.context["rank"] * sample.context["noise_norm"] ** 2


@register_prediction("truncation-low-rank.no-rank")
def truncation_low_rank_without_rank(size: MatrixSize, sample: Sample) -> np.ndarray:
    """5 ||N||_2^2: the rank is forgotten."""
    return 5 * sample.context["noise_norm"] ** 2


@register_prediction("lora-bound")
def lora_bound(problem: Problem, sample: Sample) -> float:
    """Ours."""
    from linreg_lora.theory import bounds

    return bounds.lora_bound(problem, int(sample.context["rank"])).bound


@register_prediction("scaled-variance.small-noise")
def scaled_variance_small_noise(problem: Problem, sample: Sample) -> float:
    """r dx + r (dy - r) (n - dx - 1) / (n - r - 1) at the rank of the shift, more above it (`theory.capacity`)."""
    return (problem.n - problem.dx - 1) * _small_noise(problem, int(sample.context["rank"])) / problem.noise_std**2


@functools.lru_cache(maxsize=8)
def _small_noise(problem: Problem, rank: int) -> float:
    return capacity.small_noise_risk(problem, rank, trials=200_000).value


@register_prediction("scaled-variance.dimension")
def scaled_variance_dimension(problem: Problem, sample: Sample) -> float:
    """The dimension of the matrices of rank r, r (dx + dy - r)."""
    return float(capacity.tangent_dimension(problem.dx, problem.dy, int(sample.context["rank"])))


@register_prediction("lora-risk.ridge-of-unit-inputs")
def lora_risk_ridge_of_unit_inputs(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk when eta is the penalty of inputs of variance 1, so that inputs of variance c feel c eta."""
    other = problem.replace(ridge=problem.ridge * (problem.isotropic_scale or 1.0))
    return predictions._risk(problem, sample, predictions.lora_update_whitened(other, sample))


@register_prediction("lora-risk.no-ridge")
def lora_risk_no_ridge(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk without the penalty."""
    return predictions._risk(problem, sample, predictions.lora_update_whitened(problem.replace(ridge=0.0), sample))


@register_prediction("monte-carlo.mean-and-stderr")
def monte_carlo_mean_and_stderr(problem: Problem, sample: Sample) -> np.ndarray:
    """Mean and standard deviation of the mean of each run's draws."""
    return _summary(sample, sample.context["draws"].shape[1])


@register_prediction("monte-carlo.mean-and-spread")
def monte_carlo_mean_and_spread(problem: Problem, sample: Sample) -> np.ndarray:
    """The standard deviation of one draw for that of the mean."""
    return _summary(sample, 1)


@register_prediction("monte-carlo.next-rank")
def monte_carlo_next_rank(problem: Problem, sample: Sample) -> np.ndarray:
    """Each rank's numbers given to its neighbour."""
    draws = np.roll(sample.context["draws"], 1, axis=2)
    return _summary(Sample(sample.statistic, {"draws": draws}), draws.shape[1])


def _summary(sample: Sample, divisor: int) -> np.ndarray:
    draws = sample.context["draws"]
    return np.concatenate([draws.mean(axis=1), draws.std(axis=1, ddof=1) / np.sqrt(divisor)], axis=1)
