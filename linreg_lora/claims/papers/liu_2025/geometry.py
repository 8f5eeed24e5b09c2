"""Predictions of what parameters and ranks reach, of gradients of factors and of retraining, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


@register_prediction("dimension.tangent")
def dimension_tangent(size: MatrixSize, sample: Sample) -> float:
    """r (dx + dy - r), dy x dx being the size."""
    rank = int(sample.context["rank"])
    return float(rank * (sum(size) - rank))


@register_prediction("dimension.parameters")
def dimension_parameters(size: MatrixSize, sample: Sample) -> float:
    """The parameters of both factors, r (dx + dy)."""
    return float(sample.context["rank"] * sum(size))


@register_prediction("dimension.one-factor")
def dimension_one_factor(size: MatrixSize, sample: Sample) -> float:
    """r dy: only B moves the product."""
    return float(sample.context["rank"] * size.rows)


@register_prediction("dimension.all")
def dimension_all(size: MatrixSize, sample: Sample) -> float:
    """All dx dy entries."""
    return float(size.rows * size.columns)


@register_prediction("factor-gradients.chain-rule")
def factor_gradients_chain_rule(size: MatrixSize, sample: Sample) -> np.ndarray:
    """G A^T for B and B^T G for A, G the gradient with respect to the product."""
    b, a, full = (sample.context[name] for name in ("b", "a", "full"))
    return np.concatenate([full @ a.mT, full.mT @ b], axis=1)


@register_prediction("factor-gradients.other-order")
def factor_gradients_other_order(size: MatrixSize, sample: Sample) -> np.ndarray:
    """As if the product were transposed: G^T A^T and B^T G^T."""
    b, a, full = (sample.context[name] for name in ("b", "a", "full"))
    return np.concatenate([full.mT @ a.mT, full @ b], axis=1)


@register_prediction("factor-gradients.unhalved-loss")
def factor_gradients_unhalved(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The gradients of the loss without its factor 1/2."""
    return 2 * factor_gradients_chain_rule(size, sample)


@register_prediction("retraining-gap.schur-complement")
def retraining_gap_schur(size: MatrixSize, sample: Sample) -> float:
    """(dx - r)(dy - r) / 2."""
    rank = int(sample.context["rank"])
    return (size.rows - rank) * (size.columns - rank) / 2


@register_prediction("retraining-gap.parameter-count")
def retraining_gap_parameters(size: MatrixSize, sample: Sample) -> float:
    """(dx dy - r (dx + dy)) / 2: the parameters of both factors for the dimension."""
    rank = int(sample.context["rank"])
    return (size.rows * size.columns - rank * sum(size)) / 2


@register_prediction("retraining-gap.none")
def retraining_gap_none(size: MatrixSize, sample: Sample) -> float:
    """Nothing: retraining reaches everything."""
    return 0.0


def _each(sample: Sample, *dimensions: int) -> np.ndarray:
    return np.broadcast_to(np.array(dimensions, dtype=float), sample.statistic.shape)


@register_prediction("reached.parameters")
def reached_parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r dy, r dx, dy, dy: what each method trains."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * dy, r * dx, dy, dy)


@register_prediction("reached.lora-parameters")
def reached_lora_parameters(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r (dx + dy) with either factor frozen: the frozen one is counted."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * (dx + dy), r * (dx + dy), dy, dy)


@register_prediction("reached.factors-swapped")
def reached_factors_swapped(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The parameters of the frozen factor in place of the trained one."""
    (dy, dx), r = size, int(sample.context["rank"])
    return _each(sample, r * dx, r * dy, dy, dy)
