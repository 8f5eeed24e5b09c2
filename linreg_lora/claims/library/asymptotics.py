"""Claims about limits in n, dx and dy: extreme eigenvalues, and the deterministic equivalent of LoRA's risk."""

import functools
from typing import NamedTuple

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

# -- extreme eigenvalues ------------------------------------------------------------------------------------------


@register_experiment("largest-inverse-eigenvalue")
def largest_inverse_eigenvalue(problem: Problem, trials: int, seed: int) -> Sample:
    """lmax(Sigma S_hat^+), S_hat = X X^T / n, in law: n over the least eigenvalue of a white Wishart matrix.

    With X = Sigma^{1/2} Z, Sigma^{1/2} S_hat^{-1} Sigma^{1/2} = n (Z Z^T)^{-1} for n >= dx, and for n < dx and
    Sigma = c I the other eigenvalues of n Z (Z^T Z)^{-2} Z^T are those of n (Z^T Z)^{-1}.
    """
    if problem.n < problem.dx and problem.isotropic_scale is None:
        raise InvalidInput("input_condition", "1 for n < dx, where the law is known", "another", "leave it out")
    least = _least_wishart_eigenvalue(min(problem.n, problem.dx), max(problem.n, problem.dx), trials, seed)
    return Sample((problem.n / least)[:, None])


def _least_wishart_eigenvalue(size: int, samples: int, trials: int, seed: int) -> np.ndarray:
    """Of Z Z^T, Z `size` x `samples` iid N(0, 1), `samples` >= `size`: rotations make Z bidiagonal, with chi variables
    of `samples`, `samples` - 1, ... degrees of freedom on and of `size` - 1, ..., 1 below the diagonal (Silverstein
    1985)."""
    from scipy.linalg import eigvalsh_tridiagonal

    rng = np.random.default_rng(seed)
    squares = rng.chisquare(samples - np.arange(size), (trials, size))
    below = rng.chisquare(size - 1 - np.arange(size - 1), (trials, size - 1))
    diagonal, beside = squares.copy(), np.sqrt(squares[:, :-1] * below)
    diagonal[:, 1:] += below
    return np.array(
        [
            eigvalsh_tridiagonal(on, off, select="i", select_range=(0, 0), check_finite=False)[0]
            for on, off in zip(diagonal, beside, strict=True)
        ]
    )


@register_prediction("inverse-eigenvalue.limit")
def inverse_eigenvalue_limit(problem: Problem, sample: Sample) -> float:
    """Propositions 4 and 6: n / (sqrt(n) - sqrt(dx))^2."""
    from linreg_lora.theory import extreme_eigenvalues

    return extreme_eigenvalues.limit(problem).inverse.value


@register_prediction("inverse-eigenvalue.of-the-mean")
def inverse_eigenvalue_of_the_mean(problem: Problem, sample: Sample) -> float:
    """The mean of the inverse, n / |n - dx|, for its largest eigenvalue."""
    return problem.n / abs(problem.n - problem.dx)


@register_prediction("inverse-eigenvalue.wrong-edge")
def inverse_eigenvalue_wrong_edge(problem: Problem, sample: Sample) -> float:
    """The other edge of the spectrum: n / (sqrt(n) + sqrt(dx))^2."""
    return problem.n / (np.sqrt(problem.n) + np.sqrt(problem.dx)) ** 2


@register_prediction("inverse-eigenvalue.sizes-swapped")
def inverse_eigenvalue_sizes_swapped(problem: Problem, sample: Sample) -> float:
    """dx in the numerator."""
    return problem.dx / problem.n * inverse_eigenvalue_limit(problem, sample)


# -- the deterministic equivalent ---------------------------------------------------------------------------------


@register_experiment("lora-conditional-risk")
def lora_conditional_risk(problem: Problem, trials: int, seed: int, *, share: float) -> Sample:
    """E[risk(D_r) | LoRA's directions], r = `share` of min(n, dx, dy): the mean of the risk, with less spread."""
    rank = round(share * problem.max_rank)
    return Sample(_conditional_risks(problem, trials, seed)[:, [rank]], {"rank": np.asarray(rank)})


@functools.lru_cache(maxsize=8)
def _conditional_risks(problem: Problem, trials: int, seed: int) -> np.ndarray:
    from linreg_lora.simulation.curve import draw_risks

    return draw_risks(problem, trials=trials, seed=seed, sampler="conditional").lora


@register_prediction("equivalent.raw")
def equivalent_raw(problem: Problem, sample: Sample) -> float:
    """The deterministic equivalent, without its finite-size correction."""
    return _equivalent(problem, int(sample.context["rank"])).raw


@register_prediction("equivalent.fft")
def equivalent_fft(problem: Problem, sample: Sample) -> float:
    """The risk of FFT for that of LoRA."""
    from linreg_lora.theory.fft import fft_risk

    return fft_risk(problem).risk


@register_prediction("equivalent.keeps-its-share")
def equivalent_keeps_its_share(problem: Problem, sample: Sample) -> float:
    """The least risk of any rank-r map, and the large-n variance r (dx + dy - r) sigma^2 / n."""
    from linreg_lora.theory.bounds import least_risk

    rank = int(sample.context["rank"])
    variance = problem.noise_trace / problem.dy * rank * (problem.dx + problem.dy - rank) / problem.n
    return least_risk(problem, rank) + variance


@register_prediction("equivalent.overlap-once")
def equivalent_overlap_once(problem: Problem, sample: Sample) -> float:
    """||Delta Sigma^{1/2}||_F^2 + T1 - T2, for - 2 T2."""
    found = _equivalent(problem, int(sample.context["rank"]))
    return found.raw + found.overlap


@register_prediction("equivalent.quarter-above")
def equivalent_quarter_above(problem: Problem, sample: Sample) -> float:
    """The corrected formula, and a quarter of its correction more."""
    raw, corrected, _ = _equivalent(problem, int(sample.context["rank"]))
    return corrected + abs(corrected - raw) / 4


@register_prediction("equivalent.quarter-below")
def equivalent_quarter_below(problem: Problem, sample: Sample) -> float:
    """The corrected formula, and a quarter of its correction less."""
    raw, corrected, _ = _equivalent(problem, int(sample.context["rank"]))
    return corrected - abs(corrected - raw) / 4


class _Formula(NamedTuple):
    raw: float
    corrected: float
    overlap: float


@functools.lru_cache(maxsize=16)
def _equivalent(problem: Problem, rank: int) -> _Formula:
    """The formula's risk without and with its correction, and T2."""
    from linreg_lora.theory.equivalent import lora_equivalent

    found = lora_equivalent(problem, [rank])
    return _Formula(float(found.raw[0]), float(found.risk[0]), float(found.parts.overlap[0]))
