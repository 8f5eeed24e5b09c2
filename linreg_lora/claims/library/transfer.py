"""Fine-tuning a map that was itself estimated: interpolators of a source and a target, and ridge towards a source.

The source's map is A0 of the problem, the target's A0 + Delta; both have inputs of the same covariance. Plain NumPy.
"""

import numpy as np

from linreg_lora.claims.library.plain_data import reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def source_map(problem: Problem) -> np.ndarray:
    """A0, or 0 where there is none."""
    return np.zeros((problem.dy, problem.dx)) if problem.pretrained is None else problem.pretrained


def _starts(problem: Problem, trials: int, seed: int, samples: int, noise: float) -> np.ndarray:
    """Least squares of minimum norm on `samples` of the source, less A0: what is missing of it, and its noise."""
    if samples >= problem.dx:
        raise InvalidInput("source_samples", f"fewer than the {problem.dx} inputs", samples)
    rng = np.random.default_rng([seed, 1])
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, samples))
    y = source_map(problem) @ x + noise * rng.standard_normal((trials, problem.dy, samples))
    return y @ np.linalg.pinv(x) - source_map(problem)


def _interpolated(problem: Problem, trials: int, seed: int, starts: np.ndarray) -> np.ndarray:
    """Risks of interpolating the target's data from A0 + `starts`."""
    if problem.n >= problem.dx:
        raise InvalidInput("experiment", "a domain with n < dx", f"n = {problem.n}, dx = {problem.dx}")
    x, residual = reduced(problem, trials, seed)
    return risks(problem, starts + (residual - starts @ x) @ np.linalg.pinv(x))


@register_experiment("transfer-risk")
def transfer_risk(problem: Problem, trials: int, seed: int, *, source_samples: float, source_noise: float) -> Sample:
    """Excess risk of the target's interpolator nearest to the source's; context: the source's samples and noise."""
    starts = _starts(problem, trials, seed, int(source_samples), source_noise)
    context = {"samples": np.asarray(int(source_samples)), "noise": np.asarray(source_noise)}
    return Sample(_interpolated(problem, trials, seed, starts)[:, None], context)


@register_experiment("transfer-gain")
def transfer_gain(problem: Problem, trials: int, seed: int, *, source_samples: float, source_noise: float) -> Sample:
    """That less the risk of the target's interpolator of minimum norm, on the same target data; context: the latter."""
    starts = _starts(problem, trials, seed, int(source_samples), source_noise)
    alone = _interpolated(problem, trials, seed, np.broadcast_to(-source_map(problem), starts.shape))
    return Sample((_interpolated(problem, trials, seed, starts) - alone)[:, None], {"fft": alone})


@register_experiment("more-source-samples")
def more_source_samples(
    problem: Problem, trials: int, seed: int, *, source_samples: float, source_noise: float, surplus: float
) -> Sample:
    """The risk with `surplus` source samples more, less that without, on the same target data; context: the latter."""
    few, many = (
        _interpolated(problem, trials, seed, _starts(problem, trials, seed, int(k), source_noise))
        for k in (source_samples, source_samples + surplus)
    )
    return Sample((many - few)[:, None], {"fft": few})


@register_experiment("towards-the-source", bounded=True)
def towards_the_source(problem: Problem, trials: int, seed: int, *, surplus: float, share: float) -> Sample:
    """Risk of ridge towards A0 with n + `surplus` samples less that with n; context: the latter.

    eta is `share` of sigma^2 dx dy / ||Delta||_F^2, the best where Sigma = c I.
    """
    eta = share * problem.noise_trace * problem.dx / float(np.sum(problem.shift**2))

    def found(case: Problem) -> np.ndarray:
        x, residual = reduced(case, trials, seed)
        update = np.linalg.solve(x @ x.mT + eta * np.eye(case.dx), x @ residual.mT).mT
        return risks(case, update)

    few = found(problem)
    return Sample((found(problem.replace(n=problem.n + int(surplus))) - few)[:, None], {"fft": few})
