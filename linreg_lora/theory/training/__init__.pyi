"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import against_ridge as against_ridge
from . import filters as filters
from . import search as search
from . import stopped as stopped
from . import stopped_contours as stopped_contours
from .against_ridge import WorstRatios, orthogonal_stop, tuned_ratio, worst_ratios
from .stopped import BestStop, StoppedRisk, best_stop, stopped_risk

__all__ = [
    "BestStop",
    "StoppedRisk",
    "WorstRatios",
    "best_stop",
    "orthogonal_stop",
    "stopped_risk",
    "tuned_ratio",
    "worst_ratios",
]
