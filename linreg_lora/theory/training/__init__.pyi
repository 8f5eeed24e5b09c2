"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import checks as checks
from . import first_gains as first_gains
from . import landscape as landscape
from . import rates as rates
from . import residue as residue
from . import second_derivatives as second_derivatives
from . import time_resolved as time_resolved
from . import trajectories as trajectories
from .first_gains import FirstStep, best_first_step, fall_exponent, first_fall
from .landscape import CriticalPoint, critical_count, critical_points, saddle_index
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
    "CriticalPoint",
    "FirstStep",
    "Phases",
    "Residue",
    "RiskOverTime",
    "Stops",
    "best_first_step",
    "critical_count",
    "critical_points",
    "factor_hessian",
    "fall_exponent",
    "first_fall",
    "frozen_a_update",
    "half_time",
    "hessian_rate",
    "largest_learning_rate_at_end",
    "largest_learning_rate_at_start",
    "local_rate",
    "logistic_mode",
    "lora_path",
    "optimal_stops",
    "path_risk",
    "phases",
    "risk_over_time",
    "saddle_index",
    "start_residue",
    "time_to_reach",
    "trained_b_energy",
    "zero_start_mode",
]
