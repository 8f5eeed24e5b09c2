"""Predictions of the paper's results on full fine-tuning, and their rivals."""

import numpy as np

from linreg_lora.claims.library.experiments import descend
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import fft


@register_prediction("fft.overdetermined")
def fft_overdetermined(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) dx / (n - dx - 1)."""
    return fft.overdetermined(problem).risk


@register_prediction("fft.overdetermined.dof-n-minus-dx")
def fft_overdetermined_dof(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) dx / (n - dx)."""
    return problem.noise_trace * problem.dx / (problem.n - problem.dx)


@register_prediction("fft.overdetermined.classical")
def fft_overdetermined_classical(problem: Problem, sample: Sample) -> float:
    """Tr(Sigma_eps) dx / n."""
    return problem.noise_trace * problem.dx / problem.n


@register_prediction("fft.overdetermined.noise-std")
def fft_overdetermined_noise_std(problem: Problem, sample: Sample) -> float:
    """sigma in place of sigma^2."""
    return fft.overdetermined(problem).risk / problem.noise_std


@register_prediction("fft.underdetermined")
def fft_underdetermined(problem: Problem, sample: Sample) -> float:
    """c ||Delta||^2 (1 - n/dx) + Tr(Sigma_eps) n / (dx - n - 1), Sigma = c I."""
    return fft.underdetermined(problem).risk


@register_prediction("fft.underdetermined.whole-shift")
def fft_underdetermined_whole_shift(problem: Problem, sample: Sample) -> float:
    """The whole shift in the bias: the data are taken to see nothing of it."""
    return problem.pretrained_risk + fft.underdetermined(problem).variance


@register_prediction("fft.underdetermined.seen-share")
def fft_underdetermined_seen_share(problem: Problem, sample: Sample) -> float:
    """The share n/dx of the shift in the bias, which is what the data see."""
    return problem.pretrained_risk * problem.n / problem.dx + fft.underdetermined(problem).variance


@register_prediction("fft.underdetermined.dof-dx-minus-n")
def fft_underdetermined_dof(problem: Problem, sample: Sample) -> float:
    """dx - n degrees of freedom in the variance."""
    variance = problem.noise_trace * problem.n / (problem.dx - problem.n)
    return fft.underdetermined(problem).bias + variance


@register_prediction("fft.underdetermined.bias-without-scale")
def fft_underdetermined_without_scale(problem: Problem, sample: Sample) -> float:
    """The bias without the scale c of the inputs."""
    exact = fft.underdetermined(problem)
    return exact.bias / (problem.isotropic_scale or 1.0) + exact.variance


@register_prediction("fft.underdetermined.variance-with-scale")
def fft_underdetermined_variance_with_scale(problem: Problem, sample: Sample) -> float:
    """The variance times the scale c of the inputs, which cancels."""
    exact = fft.underdetermined(problem)
    return exact.bias + exact.variance * (problem.isotropic_scale or 1.0)


@register_prediction("fft.given-design")
def fft_given_design(problem: Problem, sample: Sample) -> np.ndarray:
    """||Delta P_perp Sigma^{1/2}||_F^2 + Tr(Sigma_eps) Tr(Sigma S^+) of each draw; the first term is 0 for n >= dx."""
    draws = sample.context
    return draws["unseen_shift"] + problem.noise_trace * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.no-input-covariance")
def fft_given_design_no_covariance(problem: Problem, sample: Sample) -> np.ndarray:
    """Tr S^+ for Tr Sigma S^+."""
    draws = sample.context
    return draws["unseen_shift"] + problem.noise_trace * draws["trace_inverse"]


@register_prediction("fft.given-design.largest-noise")
def fft_given_design_largest_noise(problem: Problem, sample: Sample) -> np.ndarray:
    """dy times the largest noise variance for Tr(Sigma_eps)."""
    draws = sample.context
    largest = problem.dy * np.linalg.eigvalsh(problem.sigma_eps)[-1]
    return draws["unseen_shift"] + largest * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.unweighted-bias")
def fft_given_design_unweighted_bias(problem: Problem, sample: Sample) -> np.ndarray:
    """||Delta P_perp||_F^2: the bias without Sigma."""
    draws = sample.context
    return draws["unseen_shift_unweighted"] + problem.noise_trace * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.no-bias")
def fft_given_design_no_bias(problem: Problem, sample: Sample) -> np.ndarray:
    """The variance alone."""
    return problem.noise_trace * sample.context["trace_sigma_inverse"]


@register_prediction("seen-share.n-over-dx")
def seen_share(problem: Problem, sample: Sample) -> float:
    """n / dx."""
    return problem.n / problem.dx


@register_prediction("seen-share.n-over-dx-plus-1")
def seen_share_plus_one(problem: Problem, sample: Sample) -> float:
    """n / (dx + 1)."""
    return problem.n / (problem.dx + 1)


@register_prediction("seen-share.n-minus-1-over-dx")
def seen_share_minus_one(problem: Problem, sample: Sample) -> float:
    """(n - 1) / dx."""
    return (problem.n - 1) / problem.dx


@register_prediction("fft-update.least-squares")
def fft_update_least_squares(problem: Problem, sample: Sample) -> np.ndarray:
    """Minimum-norm least squares of R on X by LAPACK's gelsd."""
    pairs = zip(sample.context["x"], sample.context["residual"], strict=True)
    return np.stack([np.linalg.lstsq(x.T, r.T, rcond=None)[0].T for x, r in pairs])


@register_prediction("fft-update.from-zero")
def fft_update_from_zero(problem: Problem, sample: Sample) -> np.ndarray:
    """A0 left in the residual: Y X^+."""
    return sample.context["y"] @ np.linalg.pinv(sample.context["x"])


@register_prediction("fft-update.least-norm-map")
def fft_update_least_norm_map(problem: Problem, sample: Sample) -> np.ndarray:
    """The fitted map of least norm instead of the one nearest to A0: Y X^+ - A0. The same thing for n >= dx."""
    pretrained = 0.0 if problem.pretrained is None else problem.pretrained
    return fft_update_from_zero(problem, sample) - pretrained


@register_prediction("fft-update.weight-decay")
def fft_update_weight_decay(problem: Problem, sample: Sample) -> np.ndarray:
    """Weight decay taken for no decay: ridge with eta = 1."""
    x = sample.context["x"]
    gram = x @ x.mT + np.eye(problem.dx)
    return np.linalg.solve(gram, x @ sample.context["residual"].mT).mT


@register_prediction("fft-update.unhalved-loss")
def fft_update_unhalved_loss(problem: Problem, sample: Sample) -> np.ndarray:
    """Where the same step leads on ||Y - A X||_F^2 without the factor 1/2."""
    draws = sample.context
    with np.errstate(over="ignore", invalid="ignore"):
        return descend(problem, draws["x"], draws["y"], draws["step"], int(draws["steps"]), slope=2.0)
