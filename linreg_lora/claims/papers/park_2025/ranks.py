"""How far a risk falls with the rank, if it is in proportion to it."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("difference.by-the-ranks")
def by_the_ranks(problem: Problem, sample: Sample) -> float:
    """2/r of what it is compared with, r the rank of the target's map, less the latter."""
    return (2 / np.linalg.matrix_rank(problem.shift) - 1) * float(np.mean(sample.context["fft"]))
