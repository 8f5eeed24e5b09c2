"""Updates of explicit data: ranks, norms, training loss, and robustness of the fine-tuned map.

Statements that hold on every draw, so that no statistics are needed.
"""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrices, axis=(-2, -1))


@register_experiment("whitened-rank", pathwise=True)
def whitened_rank(problem: Problem, trials: int, seed: int) -> Sample:
    """Numerical rank of D_FFT S^{1/2}, which has the rank of D_FFT X: a whole number."""
    x, y = experiments._data(problem, trials, seed)
    fitted = experiments._fft_updates(problem, x, y) @ x
    ranks = np.linalg.matrix_rank(fitted).astype(float)
    return Sample(ranks, tolerance=np.zeros(trials), scale=np.ones(trials))


@register_prediction("rank.smallest-size")
def rank_smallest_size(problem: Problem, sample: Sample) -> float:
    """min(n, dx, dy)."""
    return float(min(problem.n, problem.dx, problem.dy))


@register_prediction("rank.samples")
def rank_samples(problem: Problem, sample: Sample) -> float:
    """n."""
    return float(problem.n)


@register_experiment("lora-update-norm", pathwise=True)
def lora_update_norm(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||D_r||_F; context: ||D_FFT||_F on the same data."""
    x, y = experiments._data(problem, trials, seed)
    full = _norms(experiments._fft_updates(problem, x, y))
    statistic = _norms(experiments._lora_updates(problem, x, y, int(rank)))
    tolerance = experiments._rounding(x, squared=True)
    context = {"full": full, "rank": np.asarray(int(rank)), "largest_rank": np.asarray(problem.max_rank)}
    return Sample(statistic, context, tolerance=tolerance, scale=full)


@register_prediction("update-norm.full")
def update_norm_full(problem: Problem, sample: Sample) -> np.ndarray:
    """||D_FFT||_F on the same data."""
    return sample.context["full"]


@register_prediction("update-norm.share-of-directions")
def update_norm_share(problem: Problem, sample: Sample) -> np.ndarray:
    """As if all directions were equally strong: sqrt(r / min(n, dx, dy)) of the full update."""
    return np.sqrt(sample.context["rank"] / sample.context["largest_rank"]) * sample.context["full"]


@register_experiment("input-rise-difference", pathwise=True)
def input_rise_difference(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||A0 + D_FFT||_F^2 - ||A0 + D_r||_F^2: how much more FFT's loss rises under input noise of unit variance."""
    x, y = experiments._data(problem, trials, seed)
    start = np.zeros((problem.dy, problem.dx)) if problem.pretrained is None else problem.pretrained
    full = start + experiments._fft_updates(problem, x, y)
    adapted = start + experiments._lora_updates(problem, x, y, int(rank))
    residual = experiments._residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(int(rank)), "start": start}
    scale = _norms(full) ** 2
    tolerance = experiments._truncation_rounding(x, residual, int(rank))
    return Sample(_norms(full) ** 2 - _norms(adapted) ** 2, context, tolerance=tolerance, scale=scale)


@register_experiment("fft-input-rise")
def fft_input_rise(problem: Problem, trials: int, seed: int) -> Sample:
    """||A0 + D_FFT||_F^2: how much the loss of the fine-tuned map rises under input noise of unit variance."""
    x, y = experiments._data(problem, trials, seed)
    start = 0.0 if problem.pretrained is None else problem.pretrained
    return Sample((_norms(start + experiments._fft_updates(problem, x, y)) ** 2)[:, None])
