"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import against_ridge as against_ridge
from . import decay as decay
from . import decay_risk as decay_risk
from . import filters as filters
from . import forgetting_exchange as forgetting_exchange
from . import gradient_equivalent as gradient_equivalent
from . import intruder_counts as intruder_counts
from . import one_step as one_step
from . import one_step_noise as one_step_noise
from . import outliers as outliers
from . import search as search
from . import stopped as stopped
from . import stopped_contours as stopped_contours
from . import whitened as whitened
from .against_ridge import WorstRatios, orthogonal_stop, tuned_ratio, worst_ratios
from .decay import DecayedUpdate, decayed_update
from .decay_risk import BestDecay, best_decay, whitened_decay_risk
from .forgetting_exchange import fft_cosine, lora_cosine, risk_at_forgetting, update_cosine
from .gradient_equivalent import OneStepParts, one_step_equivalent, one_step_parts
from .intruder_counts import IntruderCount, count_intruders
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
from .stopped import BestStop, StoppedRisk, best_stop, stopped_risk

__all__ = [
    "BestDecay",
    "BestStop",
    "DecayedUpdate",
    "IntruderCount",
    "Intruders",
    "OneStepParts",
    "OneStepRisk",
    "OneStepSpikes",
    "StoppedRisk",
    "WorstRatios",
    "best_decay",
    "best_stop",
    "count_intruders",
    "decayed_update",
    "fft_cosine",
    "fft_intruders",
    "intruders",
    "lora_cosine",
    "lora_intruders",
    "one_step_energy",
    "one_step_equivalent",
    "one_step_limit",
    "one_step_parts",
    "one_step_risk",
    "one_step_spikes",
    "one_step_threshold",
    "orthogonal_stop",
    "risk_at_forgetting",
    "scaled_lora_risk",
    "stopped_risk",
    "tuned_ratio",
    "update_cosine",
    "whitened_decay_risk",
    "worst_ratios",
]
