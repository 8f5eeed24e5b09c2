"""Predictions of ranks, training losses and robustness of updates, and their rivals."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("rank.inputs")
def rank_inputs(problem: Problem, sample: Sample) -> float:
    """min(n, dx)."""
    return float(min(problem.n, problem.dx))


@register_prediction("training-loss.full")
def training_loss_full(problem: Problem, sample: Sample) -> np.ndarray:
    """||R (I - P)||_F^2, the training loss of FFT, by QR of X^T."""
    rows = np.linalg.qr(sample.context["x"].mT)[0]
    residual = sample.context["residual"]
    return experiments._norms(residual - (residual @ rows) @ rows.mT) ** 2


@register_prediction("training-loss.untrained")
def training_loss_untrained(problem: Problem, sample: Sample) -> np.ndarray:
    """||R||_F^2: nothing is learned."""
    return experiments._norms(sample.context["residual"]) ** 2


def _left_out(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """D_FFT and P D_FFT, P = I - U_r U_r^T, by pseudoinverse and SVD in NumPy."""
    x, residual = sample.context["x"], sample.context["residual"]
    full = residual @ np.linalg.pinv(x)
    basis = np.linalg.svd(full @ x, full_matrices=False)[0][..., : int(sample.context["rank"])]
    return full, full - basis @ (basis.mT @ full)


@register_prediction("input-rise.exact")
def input_rise_exact(problem: Problem, sample: Sample) -> np.ndarray:
    """||P D_FFT||_F^2 + 2 <A0, P D_FFT>."""
    _, left_out = _left_out(sample)
    return experiments._norms(left_out) ** 2 + 2 * np.sum(sample.context["start"] * left_out, axis=(-2, -1))


@register_prediction("input-rise.without-pretrained")
def input_rise_without_pretrained(problem: Problem, sample: Sample) -> np.ndarray:
    """||P D_FFT||_F^2: A0 is forgotten."""
    return experiments._norms(_left_out(sample)[1]) ** 2


@register_prediction("input-rise.whole-update")
def input_rise_whole_update(problem: Problem, sample: Sample) -> np.ndarray:
    """||D_FFT||_F^2 + 2 <A0, D_FFT>: LoRA is taken to keep nothing."""
    full, _ = _left_out(sample)
    return experiments._norms(full) ** 2 + 2 * np.sum(sample.context["start"] * full, axis=(-2, -1))


@register_prediction("input-rise-gain.share-of-directions")
def input_rise_gain_share(problem: Problem, sample: Sample) -> np.ndarray:
    """LoRA is taken to cause r / min(n, dx, dy) of what FFT adds to the pretrained model's rise."""
    share = float(sample.context["rank"]) / problem.max_rank
    return (1 - share) * (sample.context["start"] - sample.context["fft"])


@register_prediction("input-rise-loss.whole-rise")
def whole_rise(problem: Problem, sample: Sample) -> np.ndarray:
    """All that full fine-tuning adds to the energy of A0, on the same draws."""
    return np.mean(sample.context["fft"]) - sample.context["start"]
