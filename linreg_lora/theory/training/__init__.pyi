"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import against_ridge as against_ridge
from . import checks as checks
from . import decay as decay
from . import decay_risk as decay_risk
from . import drawn_path as drawn_path
from . import filters as filters
from . import first_gains as first_gains
from . import fitted_noise as fitted_noise
from . import forgetting_exchange as forgetting_exchange
from . import gradient_equivalent as gradient_equivalent
from . import intruder_counts as intruder_counts
from . import landscape as landscape
from . import one_step as one_step
from . import one_step_noise as one_step_noise
from . import outliers as outliers
from . import rates as rates
from . import residue as residue
from . import search as search
from . import second_derivatives as second_derivatives
from . import stopped as stopped
from . import stopped_contours as stopped_contours
from . import time_resolved as time_resolved
from . import trajectories as trajectories
from . import whitened as whitened
from .against_ridge import WorstRatios, orthogonal_stop, tuned_ratio, worst_ratios
from .decay import DecayedUpdate, decayed_update
from .decay_risk import BestDecay, DecayRisk, DrawnDecayRisk, best_decay, drawn_decay_risk, whitened_decay_risk
from .first_gains import FirstStep, best_first_step, fall_exponent, first_fall
from .forgetting_exchange import fft_cosine, lora_cosine, risk_at_forgetting, update_cosine
from .gradient_equivalent import OneStepParts, one_step_equivalent, one_step_parts
from .intruder_counts import IntruderCount, count_intruders
from .landscape import CriticalPoint, critical_count, critical_points, saddle_index
from .one_step import (
    OneStepRisk,
    OneStepSpikes,
    one_step_energy,
    one_step_limit,
    one_step_risk,
    one_step_spikes,
    one_step_threshold,
    scaled_lora_risk,
)
from .outliers import Intruders, fft_intruders, intruders, lora_intruders
from .rates import (
    Phases,
    hessian_rate,
    largest_learning_rate_at_end,
    largest_learning_rate_at_start,
    local_rate,
    phases,
)
from .residue import Residue, start_residue, trained_b_energy
from .second_derivatives import factor_hessian
from .stopped import BestStop, StoppedRisk, best_stop, stopped_risk
from .time_resolved import RiskOverTime, Stops, optimal_stops, risk_over_time
from .trajectories import (
    frozen_a_update,
    half_time,
    logistic_mode,
    lora_path,
    path_risk,
    time_to_reach,
    zero_start_mode,
)

__all__ = [
    "BestDecay",
    "BestStop",
    "CriticalPoint",
    "DecayRisk",
    "DecayedUpdate",
    "DrawnDecayRisk",
    "FirstStep",
    "IntruderCount",
    "Intruders",
    "OneStepParts",
    "OneStepRisk",
    "OneStepSpikes",
    "Phases",
    "Residue",
    "RiskOverTime",
    "StoppedRisk",
    "Stops",
    "WorstRatios",
    "best_decay",
    "best_first_step",
    "best_stop",
    "count_intruders",
    "critical_count",
    "critical_points",
    "decayed_update",
    "drawn_decay_risk",
    "factor_hessian",
    "fall_exponent",
    "fft_cosine",
    "fft_intruders",
    "first_fall",
    "frozen_a_update",
    "half_time",
    "hessian_rate",
    "intruders",
    "largest_learning_rate_at_end",
    "largest_learning_rate_at_start",
    "local_rate",
    "logistic_mode",
    "lora_cosine",
    "lora_intruders",
    "lora_path",
    "one_step_energy",
    "one_step_equivalent",
    "one_step_limit",
    "one_step_parts",
    "one_step_risk",
    "one_step_spikes",
    "one_step_threshold",
    "optimal_stops",
    "orthogonal_stop",
    "path_risk",
    "phases",
    "risk_at_forgetting",
    "risk_over_time",
    "saddle_index",
    "scaled_lora_risk",
    "start_residue",
    "stopped_risk",
    "time_to_reach",
    "trained_b_energy",
    "tuned_ratio",
    "update_cosine",
    "whitened_decay_risk",
    "worst_ratios",
    "zero_start_mode",
]
