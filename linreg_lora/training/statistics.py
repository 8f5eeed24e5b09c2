"""What training needs of the data, drawn: sufficient statistics, and the closed forms that are to be reached.

    loss(D) = (1/2n) ||R - D X||_F^2 + (eta/2n) ||D||_F^2,   S = (X X^T + eta I)/n,   H = R X^T/n,   gradient D S - H

For n >= dx and Gaussian inputs of mean 0 the design is Bartlett's factor (`sampling.sufficient`), in the problem's own
coordinates: unlike a closed form, descent is not invariant under whitening. Elsewhere X is drawn. Gaussian draws and
closed forms are in NumPy: a few draws that are trained for thousands of steps are not worth compiling.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.sampling.plan import Layout, Parameters, Reduced, plan, sample
from linreg_lora.simulation.draws import Draws, collected, size_for

_EPS = float(np.finfo(float).eps)


class Statistics(NamedTuple):
    """Draws along the first axis; `projector` is on range(X), None where that is everything."""

    gram: Float[Any, "draws dx dx"]
    """S."""
    moment: Float[Any, "draws dy dx"]
    """H."""
    full: Float[Any, "draws dy dx"]
    """D_FFT (D_eta with ridge)."""
    target: Float[Any, "draws dy dx"]
    """D_r, or D_FFT in full fine-tuning."""
    projector: Float[Any, "draws dx dx"] | None


def drawn_statistics(problem: Problem, rank: int | None, *, trials: int, seed: int) -> Statistics:
    """Statistics of draws 0, 1, ... of a problem; `rank` None: full fine-tuning.

    Raises `InvalidInput` where Sigma has directions without variance.
    """
    if problem.input_rank < problem.dx:
        received = f"rank {problem.input_rank} for dx = {problem.dx}"
        remedy = "leave out inputs without variance"
        raise InvalidInput("input_covariance", "a Sigma of full rank, to train on", received, remedy)
    with runtime.one_blas_thread():
        if problem.input_law.is_gaussian:
            each = [_gaussian(problem, np.random.default_rng([seed, draw, 0])) for draw in range(trials)]
            design, residual = (np.stack(arrays) for arrays in zip(*each, strict=True))
        else:
            design, residual, _ = collected(_explicit(problem), seed, trials)
        return of_data(design, residual, problem.n, problem.ridge, rank)


def of_data(
    design: Float[Any, "draws dx m"],
    residual: Float[Any, "draws dy m"],
    n: int,
    ridge: float,
    rank: int | None,
) -> Statistics:
    """Statistics of designs X, or of what stands for them, with residuals R; arguments as in the module's formula.

        X = U diag(s) V^T,   c = sqrt(s^2 + eta),   B = R V diag(s / c),   D_FFT = B diag(1 / c) U^T,   D_r = P_r D_FFT

    with P_r on the r strongest left singular vectors of B; singular values of X up to max(dx, m) eps times the largest
    count as zero.
    """
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    kept = s > max(design.shape[-2:]) * _EPS * s[:, :1]
    root = np.where(kept, np.sqrt(s**2 + ridge), np.inf)
    whitened = residual @ (vt.swapaxes(-1, -2) * (s / root)[:, None, :])
    full = whitened @ (u / root[:, None, :]).swapaxes(-1, -2)
    target = full
    if rank is not None:
        leading = np.linalg.svd(whitened, full_matrices=False)[0][..., :rank]
        target = leading @ (leading.swapaxes(-1, -2) @ full)
    gram = design @ design.swapaxes(-1, -2) / n + (ridge / n) * np.eye(design.shape[1])
    moment = residual @ design.swapaxes(-1, -2) / n
    whole = ridge > 0 or (s.shape[1] == design.shape[1] and bool(np.all(kept)))
    seen = u * kept[:, None, :]
    return Statistics(gram, moment, full, target, None if whole else seen @ seen.swapaxes(-1, -2))


def _gaussian(problem: Problem, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A design and its residual: Bartlett's factor of X X^T, or X itself."""
    dx = problem.dx
    if problem.input_mean is None and problem.n >= dx:
        latent = np.tril(rng.standard_normal((dx, dx)), -1)
        latent += np.diag(np.sqrt(rng.chisquare(problem.n - np.arange(dx))))
    else:
        latent = rng.standard_normal((dx, problem.n))
    design = latent if problem.input_covariance is None else problem.sigma_sqrt @ latent
    if problem.input_mean is not None:
        design = problem.input_mean[:, None] + design
    noise = rng.standard_normal((problem.dy, design.shape[1]))
    return design, problem.shift @ design + problem.sigma_eps_sqrt @ noise


def _explicit(problem: Problem) -> Draws[Reduced]:
    layout, parameters = plan(problem.replace(pretrained=None), "explicit")
    return Draws(_one, (layout,), parameters, size_for((problem.dx + problem.dy) * problem.n))


def _one(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> Reduced:
    return sample(layout, parameters, key)._replace(noise_scale=None)
