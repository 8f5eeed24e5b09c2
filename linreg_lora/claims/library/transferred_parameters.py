"""Some inputs' parameters are trained, the others transferred from a source and frozen. Plain NumPy.

What is trained moves from A0 by least squares of minimum norm; what the frozen parameters miss acts as noise.
"""

import numpy as np

from linreg_lora.claims.library.plain_data import risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, Share
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def _fitted(problem: Problem, trials: int, seed: int, trained: slice, start: np.ndarray) -> np.ndarray:
    """Risks of `start` outside of the inputs that are `trained`, and least squares of minimum norm within."""
    rng = np.random.default_rng(seed)
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))
    update = np.array(np.broadcast_to(start, (trials, problem.dy, problem.dx)))
    update[..., trained] = 0
    left = (problem.shift - update) @ x + noise
    update[..., trained] = left @ np.linalg.pinv(x[:, trained])
    return risks(problem, update)


def _last(problem: Problem, free: float) -> slice:
    return slice(problem.dx - _count(problem, free), None)


def _count(problem: Problem, free: float) -> int:
    if not 0 < free <= problem.dx:
        raise InvalidInput("free", f"1 to {problem.dx}", free)
    return int(free)


@register_experiment("transferred-risk")
def transferred_risk(problem: Problem, trials: int, seed: int, *, free: Count) -> Sample:
    """Excess risk with the last `free` inputs trained, and the others' parameters those of A0; context: `free`."""
    found = _fitted(problem, trials, seed, _last(problem, free), np.zeros((problem.dy, problem.dx)))
    return Sample(found[:, None], {"free": np.asarray(int(free))})


@register_experiment("more-free-parameters")
def more_free_parameters(problem: Problem, trials: int, seed: int, *, free: Count, surplus: Count) -> Sample:
    """The risk with `surplus` trained inputs more, less that without; context: that, and both numbers."""
    start = np.zeros((problem.dy, problem.dx))
    few, many = (_fitted(problem, trials, seed, _last(problem, count), start) for count in (free, free + surplus))
    context = {"fft": few, "free": np.asarray(int(free)), "surplus": np.asarray(int(surplus))}
    return Sample((many - few)[:, None], context)


@register_experiment("shorter-source-gain")
def shorter_source_gain(
    problem: Problem, trials: int, seed: int, *, free: Count, source_samples: Count, share: Share
) -> Sample:
    """The risk where the source's map is `share` of the target's, less that where it is all; context: the latter.

    The target's map is Delta, and A0 is 0. The source is interpolated without noise from fewer samples than inputs, and
    its parameters outside of the first `free` inputs are transferred. Context has the share too, and what the
    transferred parameters of both miss.
    """
    n0 = int(source_samples)
    if n0 >= problem.dx:
        raise InvalidInput("source_samples", f"fewer than the {problem.dx} inputs", n0)
    rng = np.random.default_rng([seed, 3])
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, n0))
    source = problem.shift @ x @ np.linalg.pinv(x)
    same, shorter = (
        _fitted(problem, trials, seed, slice(_count(problem, free)), times * source) for times in (1.0, share)
    )
    free_ones = np.arange(problem.dx) < int(free)
    missed = [risks(problem, np.where(free_ones, problem.shift, times * source)) for times in (1.0, share)]
    context = {"fft": same, "share": np.asarray(share), "missed-by-same": missed[0], "missed-by-shorter": missed[1]}
    return Sample((shorter - same)[:, None], context)
