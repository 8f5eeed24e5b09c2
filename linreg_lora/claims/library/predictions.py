"""Predictions that claims name: what a statement asserts of a sample, and the plausible mistakes that are its rivals.

A prediction maps a case and its sample to a value that broadcasts against the statistic: one number, or one a draw.
"""

import numpy as np

from linreg_lora.claims.library.experiments import descend
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import fft

# -- expected risk of FFT -----------------------------------------------------------------------------------------


@register_prediction("fft.overdetermined")
def fft_overdetermined(problem: Problem, sample: Sample) -> float:
    return fft.overdetermined(problem).risk


@register_prediction("fft.overdetermined.dof-n-minus-dx")
def fft_overdetermined_dof(problem: Problem, sample: Sample) -> float:
    return problem.noise_trace * problem.dx / (problem.n - problem.dx)


@register_prediction("fft.overdetermined.classical")
def fft_overdetermined_classical(problem: Problem, sample: Sample) -> float:
    return problem.noise_trace * problem.dx / problem.n


@register_prediction("fft.overdetermined.noise-std")
def fft_overdetermined_noise_std(problem: Problem, sample: Sample) -> float:
    return fft.overdetermined(problem).risk / problem.noise_std


@register_prediction("fft.underdetermined")
def fft_underdetermined(problem: Problem, sample: Sample) -> float:
    return fft.underdetermined(problem).risk


@register_prediction("fft.underdetermined.whole-shift")
def fft_underdetermined_whole_shift(problem: Problem, sample: Sample) -> float:
    return problem.pretrained_risk + fft.underdetermined(problem).variance


@register_prediction("fft.underdetermined.seen-share")
def fft_underdetermined_seen_share(problem: Problem, sample: Sample) -> float:
    return problem.pretrained_risk * problem.n / problem.dx + fft.underdetermined(problem).variance


@register_prediction("fft.underdetermined.dof-dx-minus-n")
def fft_underdetermined_dof(problem: Problem, sample: Sample) -> float:
    variance = problem.noise_trace * problem.n / (problem.dx - problem.n)
    return fft.underdetermined(problem).bias + variance


@register_prediction("fft.underdetermined.bias-without-scale")
def fft_underdetermined_without_scale(problem: Problem, sample: Sample) -> float:
    exact = fft.underdetermined(problem)
    return exact.bias / (problem.isotropic_scale or 1.0) + exact.variance


@register_prediction("fft.underdetermined.variance-with-scale")
def fft_underdetermined_variance_with_scale(problem: Problem, sample: Sample) -> float:
    exact = fft.underdetermined(problem)
    return exact.bias + exact.variance * (problem.isotropic_scale or 1.0)


# -- risk of FFT given the design ---------------------------------------------------------------------------------


@register_prediction("fft.given-design")
def fft_given_design(problem: Problem, sample: Sample) -> np.ndarray:
    """||Delta P_perp Sigma^{1/2}||_F^2 + Tr(Sigma_eps) Tr(Sigma S^+) of each draw; the first term is 0 for n >= dx."""
    draws = sample.context
    return draws["unseen_shift"] + problem.noise_trace * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.no-input-covariance")
def fft_given_design_no_covariance(problem: Problem, sample: Sample) -> np.ndarray:
    draws = sample.context
    return draws["unseen_shift"] + problem.noise_trace * draws["trace_inverse"]


@register_prediction("fft.given-design.largest-noise")
def fft_given_design_largest_noise(problem: Problem, sample: Sample) -> np.ndarray:
    draws = sample.context
    largest = problem.dy * np.linalg.eigvalsh(problem.sigma_eps)[-1]
    return draws["unseen_shift"] + largest * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.unweighted-bias")
def fft_given_design_unweighted_bias(problem: Problem, sample: Sample) -> np.ndarray:
    draws = sample.context
    return draws["unseen_shift_unweighted"] + problem.noise_trace * draws["trace_sigma_inverse"]


@register_prediction("fft.given-design.no-bias")
def fft_given_design_no_bias(problem: Problem, sample: Sample) -> np.ndarray:
    return problem.noise_trace * sample.context["trace_sigma_inverse"]


@register_prediction("seen-share.n-over-dx")
def seen_share(problem: Problem, sample: Sample) -> float:
    return problem.n / problem.dx


@register_prediction("seen-share.n-over-dx-plus-1")
def seen_share_plus_one(problem: Problem, sample: Sample) -> float:
    return problem.n / (problem.dx + 1)


@register_prediction("seen-share.n-minus-1-over-dx")
def seen_share_minus_one(problem: Problem, sample: Sample) -> float:
    return (problem.n - 1) / problem.dx


# -- updates on explicit data -------------------------------------------------------------------------------------


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


@register_prediction("lora-update.whitened")
def lora_update_whitened(problem: Problem, sample: Sample) -> np.ndarray:
    """trunc_r(D S^{1/2}) (S^{1/2})^+, from the singular value decomposition of X.

    D is the full update, S = X X^T, or X X^T + eta I with ridge.
    """
    full, u, s = _full_update(problem, sample)
    root = np.sqrt(s**2 + problem.ridge)[:, None]
    return _truncate(full @ (u * root) @ u.mT, int(sample.context["rank"])) @ (u / root) @ u.mT


@register_prediction("lora-update.unwhitened")
def lora_update_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """Truncating the full update itself."""
    return _truncate(_full_update(problem, sample)[0], int(sample.context["rank"]))


@register_prediction("lora-update.ridge-after-truncation")
def lora_update_ridge_after_truncation(problem: Problem, sample: Sample) -> np.ndarray:
    """Choosing the directions without the penalty: U_r U_r^T D_eta with U from the ridgeless fit."""
    x, rank = sample.context["x"], int(sample.context["rank"])
    rows = np.linalg.svd(x, full_matrices=False)[2]
    leading = np.linalg.svd(sample.context["residual"] @ rows.mT, full_matrices=False)[0][..., :rank]
    return leading @ leading.mT @ _full_update(problem, sample)[0]


@register_prediction("lora-update.from-zero")
def lora_update_from_zero(problem: Problem, sample: Sample) -> np.ndarray:
    """The whitening formula with A0 left in the residual."""
    context = {**sample.context, "residual": sample.context["y"]}
    return lora_update_whitened(problem, Sample(sample.statistic, context))


@register_prediction("lora-risk.whitened")
def lora_risk_whitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of the whitening formula on the same data."""
    return _risk(problem, sample, lora_update_whitened(problem, sample))


@register_prediction("lora-risk.unwhitened")
def lora_risk_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of truncating D_FFT itself."""
    return _risk(problem, sample, lora_update_unwhitened(problem, sample))


@register_prediction("lora-risk.from-zero")
def lora_risk_from_zero(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of the whitening formula with A0 left in the residual."""
    return _risk(problem, sample, lora_update_from_zero(problem, sample))


@register_prediction("lora-risk.ridge-of-unit-inputs")
def lora_risk_ridge_of_unit_inputs(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk when eta is the penalty of inputs of variance 1, so that inputs of variance c feel c eta."""
    other = problem.replace(ridge=problem.ridge * (problem.isotropic_scale or 1.0))
    return _risk(problem, sample, lora_update_whitened(other, sample))


@register_prediction("lora-risk.no-ridge")
def lora_risk_no_ridge(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk without the penalty."""
    return _risk(problem, sample, lora_update_whitened(problem.replace(ridge=0.0), sample))


@register_prediction("lora-training-loss.eckart-young")
def lora_loss_eckart_young(problem: Problem, sample: Sample) -> np.ndarray:
    """The least loss that any rank-r update can have: ||R (I - P)||_F^2 + sum_{i>r} sigma_i(R P)^2."""
    return _least_loss(sample, int(sample.context["rank"]))


@register_prediction("lora-training-loss.one-rank-more")
def lora_loss_one_rank_more(problem: Problem, sample: Sample) -> np.ndarray:
    return _least_loss(sample, int(sample.context["rank"]) + 1)


@register_prediction("lora-training-loss.unwhitened")
def lora_loss_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The loss of truncating D_FFT itself."""
    error = sample.context["residual"] - lora_update_unwhitened(problem, sample) @ sample.context["x"]
    return np.sum(error**2, axis=(-2, -1))


def _full_update(problem: Problem, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R X^T (X X^T + eta I)^{-1}, by the singular value decomposition of X; with its left vectors and values."""
    u, s, vt = np.linalg.svd(sample.context["x"], full_matrices=False)
    return (sample.context["residual"] @ vt.mT * (s / (s**2 + problem.ridge))[:, None]) @ u.mT, u, s


def _risk(problem: Problem, sample: Sample, updates: np.ndarray) -> np.ndarray:
    """||(D - Delta) Sigma^{1/2}||_F^2, in the sample's own coordinates where it has some."""
    shift = sample.context.get("shift", problem.shift)
    root = sample.context.get("sigma_sqrt", problem.sigma_sqrt)
    return np.sum(((updates - shift) @ root) ** 2, axis=(-2, -1))


def _truncate(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]


def _least_loss(sample: Sample, rank: int) -> np.ndarray:
    x, residual = sample.context["x"], sample.context["residual"]
    rows = np.linalg.svd(x, full_matrices=False)[2]
    fitted = residual @ rows.mT
    outside = np.sum((residual - fitted @ rows) ** 2, axis=(-2, -1))
    return outside + np.sum(np.linalg.svd(fitted, compute_uv=False)[:, rank:] ** 2, axis=-1)


@register_prediction("monte-carlo.mean-and-stderr")
def monte_carlo_mean_and_stderr(problem: Problem, sample: Sample) -> np.ndarray:
    """Mean and standard deviation of the mean of each run's draws."""
    return _summary(sample, sample.context["draws"].shape[1])


@register_prediction("monte-carlo.mean-and-spread")
def monte_carlo_mean_and_spread(problem: Problem, sample: Sample) -> np.ndarray:
    """The standard deviation of one draw for that of the mean."""
    return _summary(sample, 1)


@register_prediction("monte-carlo.next-rank")
def monte_carlo_next_rank(problem: Problem, sample: Sample) -> np.ndarray:
    """Each rank's numbers given to its neighbour."""
    draws = np.roll(sample.context["draws"], 1, axis=2)
    return _summary(Sample(sample.statistic, {"draws": draws}), draws.shape[1])


def _summary(sample: Sample, divisor: int) -> np.ndarray:
    draws = sample.context["draws"]
    return np.concatenate([draws.mean(axis=1), draws.std(axis=1, ddof=1) / np.sqrt(divisor)], axis=1)


# -- bounds -------------------------------------------------------------------------------------------------------


@register_prediction("rank-bound.smallest-variance")
def rank_bound(problem: Problem, sample: Sample) -> float:
    return float(np.linalg.eigvalsh(problem.sigma)[0]) * _tail(problem, int(sample.context["rank"]))


@register_prediction("rank-bound.five-percent-more")
def rank_bound_five_percent_more(problem: Problem, sample: Sample) -> float:
    return 1.05 * rank_bound(problem, sample)


@register_prediction("rank-bound.largest-variance")
def rank_bound_largest(problem: Problem, sample: Sample) -> float:
    return float(np.linalg.eigvalsh(problem.sigma)[-1]) * _tail(problem, int(sample.context["rank"]))


@register_prediction("rank-bound.tail-from-r")
def rank_bound_tail_from_r(problem: Problem, sample: Sample) -> float:
    return float(np.linalg.eigvalsh(problem.sigma)[0]) * _tail(problem, int(sample.context["rank"]) - 1)


def _tail(problem: Problem, rank: int) -> float:
    return float(np.sum(np.asarray(problem.spectrum)[rank:] ** 2))


# -- LoRA against FFT ---------------------------------------------------------------------------------------------


@register_prediction("difference.zero")
def no_difference(problem: Problem, sample: Sample) -> float:
    return 0.0


@register_prediction("difference.parameter-count")
def parameter_count(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk shrinks by the share of parameters, r (dx + dy) / (dx dy)."""
    rank = float(sample.context["rank"])
    return (rank * (problem.dx + problem.dy) / (problem.dx * problem.dy) - 1) * sample.context["fft"]


@register_prediction("difference.tangent-dimension")
def tangent_dimension(problem: Problem, sample: Sample) -> np.ndarray:
    """The large-n ratio r (dx + dy - r) / (dx dy), taken at finite n."""
    rank = float(sample.context["rank"])
    dimension = rank * (problem.dx + problem.dy - rank)
    return (dimension / (problem.dx * problem.dy) - 1) * sample.context["fft"]
