"""What adapters of rank r on each of L layers reach: ranks add up; and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


def _at(sample: Sample, reached: int) -> np.ndarray:
    """The singular value behind the first `reached` of what is left to the target; 0 where there is none."""
    values = sample.context["values"]
    return values[:, reached] if reached < values.shape[1] else np.zeros(len(values))


def _sizes(sample: Sample) -> tuple[int, int]:
    return int(sample.context["rank"]), int(sample.context["layers"])


@register_prediction("rank-of-layers.sum")
def ranks_add_up(size: MatrixSize, sample: Sample) -> np.ndarray:
    """min(r L, D)."""
    r, depth = _sizes(sample)
    return np.full(len(sample.statistic), float(min(r * depth, size.rows)))


@register_prediction("rank-of-layers.one-layer")
def rank_of_one_layer(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r: depth is taken to add nothing."""
    return np.full(len(sample.statistic), float(_sizes(sample)[0]))


@register_prediction("rank-of-layers.power")
def ranks_multiply(size: MatrixSize, sample: Sample) -> np.ndarray:
    """min(r^L, D): ranks are taken to multiply."""
    r, depth = _sizes(sample)
    return np.full(len(sample.statistic), float(min(r**depth, size.rows)))


@register_prediction("layers-error.sum")
def error_of_the_sum(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_{r L + 1}(W - prod W_l)."""
    r, depth = _sizes(sample)
    return _at(sample, r * depth)


@register_prediction("layers-error.one-layer")
def error_of_one_layer(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_{r + 1}(W - prod W_l): the error of one adapted layer."""
    return _at(sample, _sizes(sample)[0])


@register_prediction("layers-error.one-rank-more")
def error_of_one_rank_more(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_{r L + 2}(W - prod W_l)."""
    r, depth = _sizes(sample)
    return _at(sample, r * depth + 1)


@register_prediction("layers-error.one-rank-less")
def error_of_one_rank_less(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_{r L}(W - prod W_l)."""
    r, depth = _sizes(sample)
    return _at(sample, r * depth - 1)


@register_prediction("layers-error.width")
def error_of_the_width(size: MatrixSize, sample: Sample) -> np.ndarray:
    """sigma_{w + 1}(W): what no product through w hidden units reaches."""
    return sample.context["target"][:, _sizes(sample)[0]]


def _loss_behind(sample: Sample, reached: int) -> np.ndarray:
    return sample.context["tails"][:, reached - 1]


@register_prediction("layers-loss.sum")
def loss_of_the_sum(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The loss of one adapter of rank r L."""
    r, depth = _sizes(sample)
    return _loss_behind(sample, r * depth)


@register_prediction("layers-loss.one-layer")
def loss_of_one_layer(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The loss of one adapter of rank r."""
    return _loss_behind(sample, _sizes(sample)[0])


@register_prediction("layers-loss.one-rank-more")
def loss_of_one_rank_more(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The loss of one adapter of rank r L + 1."""
    r, depth = _sizes(sample)
    return _loss_behind(sample, r * depth + 1)
