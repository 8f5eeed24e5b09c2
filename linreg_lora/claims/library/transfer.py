"""Fine-tuning a map that was itself estimated: interpolators of a source and a target, and ridge towards a source.

The source's map is A0 of the problem, the target's A0 + Delta; both have inputs of the same covariance. Plain NumPy.
"""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.plain_data import reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, NonNegative, Positive
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def source_map(problem: Problem) -> np.ndarray:
    """A0, or 0 where there is none."""
    return np.zeros((problem.dy, problem.dx)) if problem.pretrained is None else problem.pretrained


def _starts(
    problem: Problem, trials: int, seed: int, samples: int, noise: float, root: np.ndarray | None = None
) -> np.ndarray:
    """Least squares of minimum norm on `samples` of the source, less A0: what is missing of it, and its noise.

    `root`: a square root of the covariance of the source's inputs; by default the target's.
    """
    if samples >= problem.dx:
        raise InvalidInput("source_samples", f"fewer than the {problem.dx} inputs", samples)
    rng = np.random.default_rng([seed, 1])
    x = (problem.sigma_sqrt if root is None else root) @ rng.standard_normal((trials, problem.dx, samples))
    y = source_map(problem) @ x + noise * rng.standard_normal((trials, problem.dy, samples))
    return y @ np.linalg.pinv(x) - source_map(problem)


def _interpolated(problem: Problem, trials: int, seed: int, starts: np.ndarray) -> np.ndarray:
    """Risks of interpolating the target's data from A0 + `starts`."""
    if problem.n >= problem.dx:
        raise InvalidInput("experiment", "a domain with n < dx", f"n = {problem.n}, dx = {problem.dx}")
    x, residual = reduced(problem, trials, seed)
    return risks(problem, starts + (residual - starts @ x) @ np.linalg.pinv(x))


@register_experiment("transfer-risk")
def transfer_risk(
    problem: Problem, trials: int, seed: int, *, source_samples: Count, source_noise: NonNegative
) -> Sample:
    """Excess risk of the target's interpolator nearest to the source's; context: the source's samples and noise."""
    starts = _starts(problem, trials, seed, int(source_samples), source_noise)
    context = {"samples": np.asarray(int(source_samples)), "noise": np.asarray(source_noise)}
    return Sample(_interpolated(problem, trials, seed, starts)[:, None], context)


@register_experiment("transfer-gain")
def transfer_gain(
    problem: Problem, trials: int, seed: int, *, source_samples: Count, source_noise: NonNegative
) -> Sample:
    """That less the risk of the target's interpolator of minimum norm, on the same target data; context: the latter."""
    starts = _starts(problem, trials, seed, int(source_samples), source_noise)
    alone = _interpolated(problem, trials, seed, np.broadcast_to(-source_map(problem), starts.shape))
    return Sample((_interpolated(problem, trials, seed, starts) - alone)[:, None], {"fft": alone})


@register_experiment("more-source-samples")
def more_source_samples(
    problem: Problem, trials: int, seed: int, *, source_samples: Count, source_noise: NonNegative, surplus: Count
) -> Sample:
    """The risk with `surplus` source samples more, less that without, on the same target data.

    Context: the latter, the surplus, and the noise of the source.
    """
    few, many = (
        _interpolated(problem, trials, seed, _starts(problem, trials, seed, int(k), source_noise))
        for k in (source_samples, source_samples + surplus)
    )
    context = {"fft": few, "surplus": np.asarray(int(surplus)), "noise": np.asarray(source_noise)}
    return Sample((many - few)[:, None], context)


@register_experiment("scaled-source-gain")
def scaled_source_gain(
    problem: Problem, trials: int, seed: int, *, source_samples: Count, source_noise: NonNegative, scale: Positive
) -> Sample:
    """Risk of interpolating from a source whose inputs have `scale` times the target's covariance, less that of once.

    Context: the latter, the source's samples and noise, and the scale.
    """
    scaled, same = (
        _interpolated(problem, trials, seed, _starts(problem, trials, seed, int(source_samples), source_noise, root))
        for root in (scale**0.5 * problem.sigma_sqrt, problem.sigma_sqrt)
    )
    context = {"samples": int(source_samples), "noise": source_noise, "scale": scale}
    return Sample((scaled - same)[:, None], {"fft": same} | {name: np.asarray(v) for name, v in context.items()})


@register_experiment("towards-the-source", bounded=True)
def towards_the_source(problem: Problem, trials: int, seed: int, *, surplus: Count, share: Positive) -> Sample:
    """Risk of ridge towards A0 with n + `surplus` samples less that with n; context: the latter, and the surplus.

    eta is `share` of sigma^2 dx dy / ||Delta||_F^2, the best where Sigma = c I.
    """
    eta = share * problem.noise_trace * problem.dx / float(np.sum(problem.shift**2))

    def found(case: Problem) -> np.ndarray:
        x, residual = reduced(case, trials, seed)
        update = np.linalg.solve(x @ x.mT + eta * np.eye(case.dx), x @ residual.mT).mT
        return risks(case, update)

    few = found(problem)
    more = found(problem.replace(n=problem.n + int(surplus)))
    return Sample((more - few)[:, None], {"fft": few, "surplus": np.asarray(int(surplus))})


@register_experiment("tuned-transfer-gain", bounded=True)
def tuned_transfer_gain(
    problem: Problem, trials: int, seed: int, *, source_samples: Count, source_noise: NonNegative
) -> Sample:
    """Risk of tuned ridge towards a source's least squares, less that of tuned ridge towards 0.

    Both have eta = Tr(Sigma_eps) dx / L, the best where Sigma = c I and only the mean square length L of what is left
    to learn is known: ||A0 + Delta||^2 from 0, and ||Delta||^2 + sigma0^2 dy dx / (c (n0 - dx - 1)) from the source.
    Context: the risk of the latter, and both lengths.
    """
    n0, dx, scale = int(source_samples), problem.dx, problem.isotropic_scale or 1.0
    if n0 <= dx + 1:
        raise InvalidInput("source_samples", f"more than {dx + 1}", n0)
    x, residual = reduced(problem, trials, seed)
    source = source_map(problem)
    rng = np.random.default_rng([seed, 2])
    inputs = problem.sigma_sqrt @ rng.standard_normal((trials, dx, n0))
    missed = source_noise * rng.standard_normal((trials, problem.dy, n0)) @ np.linalg.pinv(inputs)
    spread = source_noise**2 * problem.dy * dx / (scale * (n0 - dx - 1))
    lengths = float(np.sum(problem.shift**2)) + spread, float(np.sum((source + problem.shift) ** 2))
    near, far = (_ridge(problem, x, residual, *start) for start in zip((missed, -source), lengths, strict=True))
    return Sample((near - far)[:, None], {"fft": far, "lengths": np.asarray(lengths)})


@register_experiment("tuned-ridge-risk", bounded=True)
def tuned_ridge_risk(problem: Problem, trials: int, seed: int) -> Sample:
    """Risk of ridge to A0, eta = Tr(Sigma_eps) dx / ||Delta||_F^2; context: eta, and eigenvalues of X X^T."""
    x, residual = reduced(problem, trials, seed)
    length = float(np.sum(problem.shift**2))
    spectra = np.zeros((trials, problem.dx))
    found = np.linalg.svd(x, compute_uv=False) ** 2
    spectra[:, : found.shape[1]] = found
    context = {"eta": np.asarray(problem.noise_trace * problem.dx / length), "spectra": spectra}
    return Sample(_ridge(problem, x, residual, np.zeros_like(problem.shift), length)[:, None], context)


def _ridge(problem: Problem, x: np.ndarray, residual: np.ndarray, start: np.ndarray, length: float) -> np.ndarray:
    """Risks of ridge towards A0 + `start` with eta = Tr(Sigma_eps) dx / `length`."""
    eta = problem.noise_trace * problem.dx / length
    left = residual - start @ x
    return risks(problem, start + np.linalg.solve(x @ x.mT + eta * np.eye(problem.dx), x @ left.mT).mT)


@register_experiment("shifted-source-gain")
def shifted_source_gain(
    problem: Problem,
    trials: int,
    seed: int,
    *,
    source_samples: Count,
    source_noise: NonNegative,
    strength: NonNegative,
    along: Literal[0, 1],
) -> Sample:
    """Risk of interpolating from a source with other inputs, less that with the target's.

    The source's inputs have covariance k (I + (`strength` - 1) Q), of trace dx: Q projects on the row space of the
    target's map for `along` = 1, and on as many directions outside of it for `along` = 0. Sigma = I. Context: the
    latter, the source's samples, and k.
    """
    if not np.array_equal(problem.sigma, np.eye(problem.dx)):
        raise InvalidInput("input_covariance", "the identity", "another")
    target = source_map(problem) + problem.shift
    rank = int(np.linalg.matrix_rank(target))
    if 2 * rank > problem.dx:
        raise InvalidInput("dx", f"at least {2 * rank}, twice the rank of the target's map", problem.dx)
    basis = np.linalg.svd(target)[2]
    chosen = basis[:rank] if along else basis[rank : 2 * rank]
    weight = problem.dx / (problem.dx + rank * (strength - 1))
    root = weight**0.5 * (np.eye(problem.dx) + (strength**0.5 - 1) * chosen.T @ chosen)
    other, same = (
        _interpolated(problem, trials, seed, _starts(problem, trials, seed, int(source_samples), source_noise, factor))
        for factor in (root, problem.sigma_sqrt)
    )
    context = {"fft": same, "samples": np.asarray(int(source_samples)), "weight": np.asarray(weight)}
    return Sample((other - same)[:, None], context)
