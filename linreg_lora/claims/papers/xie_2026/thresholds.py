"""Singular values and vectors of A0 and an update of rank one, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("leading-value.secular")
def secular(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The root of sqrt(alpha gamma) + beta = 1 / s beyond sigma_1(A0)."""
    return sample.context["root"]


@register_prediction("leading-value.first-order")
def first_order(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_1 + s (u_1^T u)(v_1^T v)."""
    return sample.context["values"][:, 0] + sample.context["s"] * sample.context["first"]


@register_prediction("leading-value.orthogonal")
def orthogonal(size: MatrixSize, sample: Sample) -> np.ndarray:
    """max(s, sigma_1): the update is taken to be orthogonal to A0."""
    return np.maximum(sample.context["s"], sample.context["values"][:, 0])


@register_prediction("leading-value.bulk")
def bulk(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sqrt((s^2 + tau^2 dx)(s^2 + tau^2 dy)) / s: A0 is taken to have iid entries of its mean variance tau^2."""
    s, variance = sample.context["s"], np.sum(sample.context["values"] ** 2, axis=1) / (size.rows * size.columns)
    return np.sqrt((s**2 + variance * size.columns) * (s**2 + variance * size.rows)) / s


@register_prediction("overlap.of-the-spike")
def of_the_spike(size: MatrixSize, sample: Sample) -> float:
    """(s^4 - dx dy) / (s^4 + dy s^2), by `theory.training.intruders`."""
    from linreg_lora.theory.training import intruders

    return float(intruders([float(sample.context["s"])], size.columns, size.rows, 1.0).overlap[0])


@register_prediction("overlap.of-a-symmetric-matrix")
def of_a_symmetric_matrix(size: MatrixSize, sample: Sample) -> float:
    """1 - sqrt(dx dy) / s^2: that of a symmetric matrix with a spike."""
    return 1 - (size.rows * size.columns) ** 0.5 / float(sample.context["s"]) ** 2


@register_prediction("overlap.of-the-right-vector")
def of_the_right_vector(size: MatrixSize, sample: Sample) -> float:
    """With dx for dy: the cosine of the right singular vectors."""
    return of_the_spike(MatrixSize(size.columns, size.rows), sample)


@register_prediction("intruders.none-less")
def none_less(problem: Problem, sample: Sample) -> float:
    """FFT is taken to have none."""
    return -float(np.mean(sample.context["fft"]))
