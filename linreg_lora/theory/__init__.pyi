"""Exact and asymptotic results: a problem in, numbers out."""

from . import aligned_tasks as aligned_tasks
from . import ball_maximum as ball_maximum
from . import best_rank_closed as best_rank_closed
from . import best_ridge as best_ridge
from . import bitfit as bitfit
from . import bounds as bounds
from . import capacity as capacity
from . import complexity as complexity
from . import composition as composition
from . import contest as contest
from . import continual as continual
from . import continued as continued
from . import crossings as crossings
from . import curve as curve
from . import data_benefit as data_benefit
from . import decisions as decisions
from . import decoupled as decoupled
from . import depth as depth
from . import discarded as discarded
from . import effective as effective
from . import equivalent as equivalent
from . import expected_update as expected_update
from . import extreme_eigenvalues as extreme_eigenvalues
from . import fft as fft
from . import floor as floor
from . import forgetting as forgetting
from . import frozen as frozen
from . import golden_ratio as golden_ratio
from . import haar as haar
from . import heavy_tails as heavy_tails
from . import hessian as hessian
from . import ia3 as ia3
from . import iid_entries as iid_entries
from . import input_mean as input_mean
from . import input_perturbation as input_perturbation
from . import linear_class as linear_class
from . import marchenko_pastur as marchenko_pastur
from . import mean_shrinkage as mean_shrinkage
from . import mixing as mixing
from . import noise_blur as noise_blur
from . import notes as notes
from . import offsets as offsets
from . import other_inputs as other_inputs
from . import perturbed_norms as perturbed_norms
from . import poison_ascent as poison_ascent
from . import poisoning as poisoning
from . import poisoning_budget as poisoning_budget
from . import quantisation as quantisation
from . import quantised_base as quantised_base
from . import rare_weights as rare_weights
from . import rescaled as rescaled
from . import restricted as restricted
from . import ridge_search as ridge_search
from . import robustness as robustness
from . import saturation as saturation
from . import spectral_weights as spectral_weights
from . import spiked as spiked
from . import strong_limit as strong_limit
from . import training as training
from . import truncation as truncation
from . import weighted as weighted
from . import weighted_contours as weighted_contours
from . import weighted_curve as weighted_curve
from . import weighted_fft as weighted_fft
from . import wishart as wishart
from . import worst_perturbation as worst_perturbation
from .aligned_tasks import aligned_shifts
from .best_rank_closed import ClosedBestRank, closed_best_rank
from .best_ridge import TunedFFT, fft_best_ridge
from .bitfit import BitFitRisk, bitfit_risk
from .bounds import LoraBound, TheoremBound, lora_bound, theorem_2, theorem_4
from .capacity import large_sample_limit, parameter_count, small_noise_risk, tangent_dimension
from .complexity import TaskComplexity, task_complexity
from .composition import Composed, distilled_risk, task_arithmetic
from .contest import Verdict, winner_at, winning_rank
from .continual import after_merging, sequential_fft
from .contours.functionals import fft_functionals
from .crossings import Crossing, crossover
from .curve import expected_risk
from .data_benefit import (
    Benefit,
    benefit_ratio,
    benefit_ratio_limit,
    fft_benefit,
    frozen_a_benefit,
    frozen_b_benefit,
    lora_benefit,
)
from .decisions import Answer, BestRank, best_rank, ranks_that_beat_fft
from .decoupled import DecoupledRisk, Piece, decoupled_risk
from .depth import output_gap, output_gap_bound
from .discarded import DiscardedSignal, discarded_signal
from .effective import distance_from_threshold, effective_regularisation
from .equivalent import Equivalent, lora_equivalent
from .expected_update import MeanUpdate, mean_update
from .fft import FFTRisk, fft_equivalent, fft_risk
from .floor import least_risk
from .forgetting import Forgetting, expected_forgetting
from .forgetting_of_classes import ClassForgetting, ReducedForgetting, class_forgetting, reduced_forgetting
from .frozen import frozen_a_risk, frozen_b_risk
from .golden_ratio import golden_ratio_constant, golden_ratio_error
from .haar import haar_frozen_a_risk, haar_frozen_b_risk
from .hessian import Loss, expected_gap, expected_gap_at_optimum, hessian_gap, tangent_space
from .ia3 import IA3Risk, ia3_risk
from .input_mean import mean_energy
from .input_perturbation import excess_rise_of_fft, expected_fft_rise, rise
from .linear_class import InputScales, LinearClassRisk, input_scales_risk, linear_class_risk
from .near_ties import near_best
from .offsets import OffsetRisk, offset_risk, risk_with_bias, without_mean
from .perturbed_norms import fft_norm, lora_norm, update_strengths
from .poisoning import (
    Outcome,
    Poison,
    PoisonedCurve,
    PoisonedFFT,
    PoisonVerdict,
    SpikedPoison,
    StrongLimit,
    hijacked_difference,
    poison_verdicts,
    poisoned_fft,
    poisoned_risk,
    spiked_poisoned_risk,
    strong_limit_under_poison,
    with_poisoned_noise,
)
from .poisoning_budget import (
    LoraPoison,
    WorstPoison,
    blind_poison,
    blind_poison_limit,
    lora_poison,
    swap_budget,
    worst_poison,
)
from .quantisation import QuantisationError, dynamic_levels, nf4_levels, quantisation_error, quantised
from .quantised_base import qlora_risk
from .rank_search import curve_near_best
from .restricted import FrozenRisk, restricted_reduction, restricted_risk
from .robustness import Robustness, less_robust_above, strong_limit_robustness
from .saturation import Saturation, samples_to_saturate
from .spectral_weights import SpectralWeights, best_weights
from .spiked import detection_threshold, spiked_risk, spikes
from .strong_limit import strong_limit_risk
from .truncation import low_rank_truncation_error, squared_truncation_norm, truncation_error, truncation_norm
from .wishart import condition_number, gaussian_norm, inverse_moment
from .worst_perturbation import RiseBracket, mean_worst_rise_of_one_output, worst_rise, worst_rise_bracket

__all__ = [
    "Answer",
    "Benefit",
    "BestRank",
    "BitFitRisk",
    "ClassForgetting",
    "ClosedBestRank",
    "Composed",
    "Crossing",
    "DecoupledRisk",
    "DiscardedSignal",
    "Equivalent",
    "FFTRisk",
    "Forgetting",
    "FrozenRisk",
    "IA3Risk",
    "InputScales",
    "LinearClassRisk",
    "LoraBound",
    "LoraPoison",
    "Loss",
    "MeanUpdate",
    "OffsetRisk",
    "Outcome",
    "Piece",
    "Poison",
    "PoisonVerdict",
    "PoisonedCurve",
    "PoisonedFFT",
    "QuantisationError",
    "ReducedForgetting",
    "RiseBracket",
    "Robustness",
    "Saturation",
    "SpectralWeights",
    "SpikedPoison",
    "StrongLimit",
    "TaskComplexity",
    "TheoremBound",
    "TunedFFT",
    "Verdict",
    "WorstPoison",
    "after_merging",
    "aligned_shifts",
    "benefit_ratio",
    "benefit_ratio_limit",
    "best_rank",
    "best_weights",
    "bitfit_risk",
    "blind_poison",
    "blind_poison_limit",
    "class_forgetting",
    "closed_best_rank",
    "condition_number",
    "crossover",
    "curve_near_best",
    "decoupled_risk",
    "detection_threshold",
    "discarded_signal",
    "distance_from_threshold",
    "distilled_risk",
    "dynamic_levels",
    "effective_regularisation",
    "excess_rise_of_fft",
    "expected_fft_rise",
    "expected_forgetting",
    "expected_gap",
    "expected_gap_at_optimum",
    "expected_risk",
    "fft_benefit",
    "fft_best_ridge",
    "fft_equivalent",
    "fft_functionals",
    "fft_norm",
    "fft_risk",
    "frozen_a_benefit",
    "frozen_a_risk",
    "frozen_b_benefit",
    "frozen_b_risk",
    "gaussian_norm",
    "golden_ratio_constant",
    "golden_ratio_error",
    "haar_frozen_a_risk",
    "haar_frozen_b_risk",
    "hessian_gap",
    "hijacked_difference",
    "ia3_risk",
    "input_scales_risk",
    "inverse_moment",
    "large_sample_limit",
    "least_risk",
    "less_robust_above",
    "linear_class_risk",
    "lora_benefit",
    "lora_bound",
    "lora_equivalent",
    "lora_norm",
    "lora_poison",
    "low_rank_truncation_error",
    "mean_energy",
    "mean_update",
    "mean_worst_rise_of_one_output",
    "near_best",
    "nf4_levels",
    "offset_risk",
    "output_gap",
    "output_gap_bound",
    "parameter_count",
    "poison_verdicts",
    "poisoned_fft",
    "poisoned_risk",
    "qlora_risk",
    "quantisation_error",
    "quantised",
    "ranks_that_beat_fft",
    "reduced_forgetting",
    "restricted_reduction",
    "restricted_risk",
    "rise",
    "risk_with_bias",
    "samples_to_saturate",
    "sequential_fft",
    "small_noise_risk",
    "spiked_poisoned_risk",
    "spiked_risk",
    "spikes",
    "squared_truncation_norm",
    "strong_limit_risk",
    "strong_limit_robustness",
    "strong_limit_under_poison",
    "swap_budget",
    "tangent_dimension",
    "tangent_space",
    "task_arithmetic",
    "task_complexity",
    "theorem_2",
    "theorem_4",
    "truncation_error",
    "truncation_norm",
    "update_strengths",
    "winner_at",
    "winning_rank",
    "with_poisoned_noise",
    "without_mean",
    "worst_poison",
    "worst_rise",
    "worst_rise_bracket",
]
