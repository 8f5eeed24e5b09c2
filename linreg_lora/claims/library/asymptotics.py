"""What has limits in n, dx and dy: extreme eigenvalues, and the deterministic equivalent of LoRA's risk."""

import functools

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Share
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


# -- the deterministic equivalent ---------------------------------------------------------------------------------


@register_experiment("lora-conditional-risk")
def lora_conditional_risk(problem: Problem, trials: int, seed: int, *, share: Share) -> Sample:
    """E[risk(D_r) | LoRA's directions], r = `share` of min(n, dx, dy): the mean of the risk, with less spread."""
    rank = round(share * problem.max_rank)
    return Sample(_conditional_risks(problem, trials, seed)[:, [rank]], {"rank": np.asarray(rank)})


@functools.lru_cache(maxsize=8)
def _conditional_risks(problem: Problem, trials: int, seed: int) -> np.ndarray:
    from linreg_lora.simulation.curve import draw_risks

    return draw_risks(problem, trials=trials, seed=seed, sampler="conditional").lora
