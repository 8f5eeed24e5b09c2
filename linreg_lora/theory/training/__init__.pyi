"""Training in closed form: a problem or its matrices in, numbers against time out."""

from . import checks as checks
from . import rates as rates
from . import second_derivatives as second_derivatives
from . import trajectories as trajectories
from .rates import hessian_rate, largest_learning_rate_at_end, largest_learning_rate_at_start, local_rate
from .second_derivatives import factor_hessian
from .trajectories import frozen_a_update, half_time, logistic_mode, lora_path, time_to_reach, zero_start_mode

__all__ = [
    "factor_hessian",
    "frozen_a_update",
    "half_time",
    "hessian_rate",
    "largest_learning_rate_at_end",
    "largest_learning_rate_at_start",
    "local_rate",
    "logistic_mode",
    "lora_path",
    "time_to_reach",
    "zero_start_mode",
]
