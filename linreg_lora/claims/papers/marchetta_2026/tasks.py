"""Interference of similar tasks, and ranks beyond the task's: what is claimed, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("interference.of-the-difference")
def of_the_difference(size: MatrixSize, sample: Sample) -> float:
    """2 (1 - c)."""
    return 2 * (1 - float(sample.context["similarity"]))


@register_prediction("interference.peak")
def peak(size: MatrixSize, sample: Sample) -> float:
    """4 c (1 - c): nothing is taken to be forgotten at either end."""
    c = float(sample.context["similarity"])
    return 4 * c * (1 - c)


@register_prediction("interference.of-the-new-part")
def of_the_new_part(size: MatrixSize, sample: Sample) -> float:
    """1 - c^2: the part that the second task does not share, without what is lost of the first."""
    return 1 - float(sample.context["similarity"]) ** 2


@register_prediction("interference.less")
def less(size: MatrixSize, sample: Sample) -> float:
    """0: strangers are taken to interfere as much."""
    return 0.0


@register_prediction("interference.new-part-less")
def new_part_less(size: MatrixSize, sample: Sample) -> float:
    """c^2 dx dy: a second task is taken to cost 1 - c^2 of the first, the part that it does not share."""
    return float(sample.context["similarity"]) ** 2 * size.rows * size.columns


@register_prediction("rank-less-rank.a-twentieth")
def a_twentieth(problem: Problem, sample: Sample) -> float:
    """A twentieth of the risk at the lower rank."""
    return 0.05 * float(np.mean(sample.context["fft"]))
