"""Predictions of where training ends that is stopped, decayed or one step long, and of intruders; and their rivals."""

import math

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem

# -- full fine-tuning stopped early ---------------------------------------------------------------------------------


@register_prediction("stopped-fft.mean-of-the-filter")
def mean_of_the_filter(problem: Problem, sample: Sample) -> float:
    """The filter's mean over the exact density of eigenvalues (`theory.training.stopped`)."""
    from linreg_lora.theory.training import stopped_risk

    return stopped_risk(problem, float(sample.context["time"])).risk


@register_prediction("stopped-fft.population-filter")
def population_filter(problem: Problem, sample: Sample) -> float:
    """As if S were Sigma: one factor for all directions."""
    c, t = problem.isotropic_scale or 1.0, float(sample.context["time"])
    noise = problem.noise_trace * problem.dx / problem.n
    return problem.pretrained_risk * math.exp(-2 * c * t) + noise * math.expm1(-c * t) ** 2


@register_prediction("stopped-fft.bias-not-squared")
def bias_not_squared(problem: Problem, sample: Sample) -> float:
    """e^{-x t} for e^{-2 x t} in the bias."""
    from linreg_lora.theory.training import stopped_risk

    t = float(sample.context["time"])
    return stopped_risk(problem, t / 2).bias + stopped_risk(problem, t).variance


@register_prediction("stopped-fft.as-ridge")
def as_ridge(problem: Problem, sample: Sample) -> float:
    """The risk of ridge eta = n / t."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(problem.replace(ridge=problem.n / float(sample.context["time"]))).risk


@register_prediction("stopped-variance.worst-ratio")
def worst_ratio(problem: Problem, sample: Sample) -> np.ndarray:
    """max_x [(1 - e^{-x})(1 + x)/x]^2 times ridge's."""
    from linreg_lora.theory.training import worst_ratios

    return worst_ratios().variance * sample.context["ridge"]


@register_prediction("stopped-variance.of-ridge")
def of_ridge(problem: Problem, sample: Sample) -> np.ndarray:
    """Ridge's: the two filters are taken for one."""
    return sample.context["ridge"]


@register_prediction("stopped-variance.matched-risks")
def matched_risks(problem: Problem, sample: Sample) -> np.ndarray:
    """1.2147 times ridge's: the constant of expected risks at t = n / eta."""
    from linreg_lora.theory.training import worst_ratios

    return worst_ratios().matched * sample.context["ridge"]


@register_prediction("tuned-stopping.worst-ratio")
def tuned_worst_ratio(problem: Problem, sample: Sample) -> np.ndarray:
    """1.0786 times the best ridge's."""
    from linreg_lora.theory.training import worst_ratios

    return worst_ratios().tuned * sample.context["ridge"]


@register_prediction("tuned-stopping.half-the-excess")
def half_the_excess(problem: Problem, sample: Sample) -> np.ndarray:
    """Half of the excess over the best ridge."""
    from linreg_lora.theory.training import worst_ratios

    return (1 + worst_ratios().tuned) / 2 * sample.context["ridge"]


# -- decay on the factors -------------------------------------------------------------------------------------------


def _decayed(sample: Sample, scale: float) -> np.ndarray:
    from linreg_lora.theory.training import decayed_update

    s, h, decay = (sample.context[name] for name in ("s", "h", "decay"))
    return np.array([decayed_update(*each, scale).update for each in zip(s, h, decay, strict=True)])


@register_prediction("decayed-factors.nuclear-norm")
def nuclear_norm(problem: Problem, sample: Sample) -> np.ndarray:
    """The minimum with (lam / g) ||D||_*, certified by duality."""
    return _decayed(sample, float(sample.context["scale"]))


@register_prediction("decayed-factors.scale-ignored")
def scale_ignored(problem: Problem, sample: Sample) -> np.ndarray:
    """lam for lam / g."""
    return _decayed(sample, 1.0)


def _penalties(sample: Sample) -> np.ndarray:
    return (sample.context["decay"] / float(sample.context["scale"]))[:, None, None]


@register_prediction("decayed-factors.soft-thresholded-fit")
def soft_thresholded_fit(problem: Problem, sample: Sample) -> np.ndarray:
    """Soft-thresholded D_FFT, as if S were a multiple of the identity."""
    s, h = sample.context["s"], sample.context["h"]
    c = np.trace(s, axis1=1, axis2=2)[:, None] / s.shape[-1]
    u, values, v = np.linalg.svd(h @ np.linalg.inv(s), full_matrices=False)
    return (u * np.maximum(values - _penalties(sample)[:, 0] / c, 0)[:, None, :]) @ v


@register_prediction("decayed-factors.ridge")
def ridge_on_the_product(problem: Problem, sample: Sample) -> np.ndarray:
    """H (S + mu)^{-1}: a penalty on the square of the product."""
    s, h = sample.context["s"], sample.context["h"]
    return h @ np.linalg.inv(s + _penalties(sample) * np.eye(s.shape[-1]))


# -- one truncated step ---------------------------------------------------------------------------------------------


def _without_the_design(problem: Problem, rank: int) -> float:
    sigma = problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0)
    return sigma * rank * (problem.dx + problem.dy - rank)


@register_prediction("one-step.limit")
def one_step_limit(problem: Problem, sample: Sample) -> float:
    """sigma^2 r (dx + dy - r) + (dx + 1) ||Delta||^2."""
    from linreg_lora.theory.training import one_step_limit as limit

    return limit(problem, int(sample.context["rank"]))


@register_prediction("one-step.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """sigma^2 r (dx + dy - r): LoRA's own limit, as if S were I."""
    return _without_the_design(problem, int(sample.context["rank"]))


@register_prediction("one-step.rank-ignored")
def rank_ignored(problem: Problem, sample: Sample) -> float:
    """sigma^2 dx dy + (dx + 1) ||Delta||^2: that of the whole step, exactly."""
    from linreg_lora.theory.training import one_step_energy

    return problem.n * (one_step_energy(problem) - problem.pretrained_risk)


@register_prediction("one-step-overlap.by-psi")
def overlap_by_psi(problem: Problem, sample: Sample) -> float:
    """rho_v^2 by the parameter psi (`theory.training.one_step`)."""
    from linreg_lora.theory.training import one_step_spikes

    return float(one_step_spikes(problem).right[0])


@register_prediction("one-step-overlap.of-the-fit")
def overlap_of_the_fit(problem: Problem, sample: Sample) -> float:
    """That of the fit, as if S were I (`theory.spiked`)."""
    from linreg_lora.theory.spiked import spikes

    return float(spikes(problem).right[0])


@register_prediction("one-step-overlap.of-the-left")
def overlap_of_the_left(problem: Problem, sample: Sample) -> float:
    """rho_u^2: the two sides are taken for alike."""
    from linreg_lora.theory.training import one_step_spikes

    return float(one_step_spikes(problem).left[0])


# -- intruders ------------------------------------------------------------------------------------------------------


@register_prediction("spiked-map.outlier")
def outlier(problem: Problem, sample: Sample) -> float:
    """An outlier from s = tau (dx dy)^{1/4} on (`theory.training.outliers`)."""
    from linreg_lora.theory.training import intruders

    found = intruders([float(sample.context["strength"])], problem.dx, problem.dy, 1.0)
    return float(found.singular_value[0]) ** 2 / _edge(problem)


@register_prediction("spiked-map.from-the-edge-on")
def from_the_edge_on(problem: Problem, sample: Sample) -> float:
    """An outlier only from s = tau (sqrt dx + sqrt dy) on, where s alone would pass the bulk."""
    return outlier(problem, sample) if float(sample.context["strength"]) ** 2 > _edge(problem) else 1.0


def _edge(problem: Problem) -> float:
    return (math.sqrt(problem.dx) + math.sqrt(problem.dy)) ** 2


@register_prediction("intruders.as-many-less")
def one_less(problem: Problem, sample: Sample) -> float:
    """FFT is taken to have none, and LoRA at least one."""
    return -1.0


# -- at equal forgetting --------------------------------------------------------------------------------------------


@register_prediction("equal-forgetting.the-smaller")
def the_smaller(problem: Problem, sample: Sample) -> np.ndarray:
    """The smaller of the two risks."""
    return np.minimum(sample.context["lora"], sample.context["fft"])


@register_prediction("equal-forgetting.lora")
def always_lora(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA's: it is taken to have the better exchange always."""
    return sample.context["lora"]


@register_prediction("equal-forgetting.fft")
def always_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """Full fine-tuning's."""
    return sample.context["fft"]
