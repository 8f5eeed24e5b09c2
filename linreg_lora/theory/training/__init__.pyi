"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import against_ridge as against_ridge
from . import decay as decay
from . import decay_risk as decay_risk
from . import filters as filters
from . import gradient_equivalent as gradient_equivalent
from . import one_step as one_step
from . import one_step_noise as one_step_noise
from . import search as search
from . import stopped as stopped
from . import stopped_contours as stopped_contours
from .against_ridge import WorstRatios, orthogonal_stop, tuned_ratio, worst_ratios
from .decay import DecayedUpdate, decayed_update
from .decay_risk import BestDecay, best_decay, whitened_decay_risk
from .gradient_equivalent import OneStepParts, one_step_equivalent, one_step_parts
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
from .stopped import BestStop, StoppedRisk, best_stop, stopped_risk

__all__ = [
    "BestDecay",
    "BestStop",
    "DecayedUpdate",
    "OneStepParts",
    "OneStepRisk",
    "OneStepSpikes",
    "StoppedRisk",
    "WorstRatios",
    "best_decay",
    "best_stop",
    "decayed_update",
    "one_step_energy",
    "one_step_equivalent",
    "one_step_limit",
    "one_step_parts",
    "one_step_risk",
    "one_step_spikes",
    "one_step_threshold",
    "orthogonal_stop",
    "scaled_lora_risk",
    "stopped_risk",
    "tuned_ratio",
    "whitened_decay_risk",
    "worst_ratios",
]
