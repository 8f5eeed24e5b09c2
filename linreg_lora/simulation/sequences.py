"""Tasks one after another, simulated: each stage is fitted to its own data from the map that the last one left."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators.risk import excess_risk
from linreg_lora.methods import registry
from linreg_lora.methods.method import Method
from linreg_lora.problem import Moments, Problem
from linreg_lora.sampling import gaussian
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.methods import enough_trials
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory.composition import related


class SequenceRisk(NamedTuple):
    """Mean excess risk on every task (columns) after every stage (rows; row 0: before any), and standard errors.

    A standard error is nan where no variance exists, and 0 in row 0.
    """

    risks: Float[np.ndarray, "stages tasks"]
    stderr: Float[np.ndarray, "stages tasks"]


def simulate_sequence(
    problems: Sequence[Problem],
    methods: Method | str | Sequence[Method | str],
    *,
    trials: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> SequenceRisk:
    """The risk on every task after every stage, `trials` times from `seed`; what was fitted is merged before the next.

    `problems`: one a stage, with one Sigma and one A0, from which each Delta is measured. `methods`: one for all stages
    or one for each, methods or their names, as in lora:2. Forgetting of task 1 by task 2 is [2, 0] - [1, 0]. For full
    fine-tuning see `theory.sequential_fft`, which is exact.

    >>> import linreg_lora as ll
    >>> first = ll.Problem(n=40, dx=12, dy=8, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> tasks = [first, first.replace(n=60, spectrum=(2.0, 2.0))]
    >>> drawn = ll.simulate_sequence(tasks, "fft", trials=64, seed=0)
    >>> exact = ll.theory.sequential_fft(tasks)
    >>> bool((abs(drawn.risks - exact)[1:] < 5 * drawn.stderr[1:]).all())
    True
    """
    tasks = related(problems)
    given = [methods] * len(tasks) if isinstance(methods, (str, Method)) else list(methods)
    if len(given) != len(tasks):
        raise InvalidInput("methods", f"one method, or one for each of {len(tasks)} problems", given)
    chosen = tuple(registry.of(method) for method in given)
    trials, seed = enough_trials(trials), valid_seed(seed)
    infinite = False
    for method, problem in zip(chosen, tasks, strict=True):
        moments = method.moments(problem)
        if moments is Moments.NO_MEAN:
            raise InvalidInput("problems", "stages whose risk has a mean", f"{method.name} at n = {problem.n}")
        infinite |= moments is not Moments.FINITE
    floats = sum((one.dx + one.dy) * one.n for one in tasks) + 2 * tasks[0].dx * tasks[0].dy
    sizes = tuple(problem.n for problem in tasks)
    ridges = tuple(problem.ridge > 0 for problem in tasks)
    program: draws.Draws[np.ndarray] = draws.Draws(
        _one, (chosen, sizes, ridges), _arrays(tasks), draws.size_for(floats)
    )
    total: RunningMoments | None = None
    for first, values in draws.chunks(program, seed, trials):
        rows = values.reshape(len(values), -1)
        draws.require_finite("risks of a sequence", tasks[0], rows, first)
        total = RunningMoments.of(rows) if total is None else total.merge(RunningMoments.of(rows))
        if progress is not None:
            progress(len(rows))
    assert total is not None
    shape = len(tasks), len(tasks)
    before = np.array([[problem.pretrained_risk for problem in tasks]])
    stderr = np.full(shape, np.nan) if infinite else total.stderr.reshape(shape)
    return SequenceRisk(
        np.concatenate([before, total.mean.reshape(shape)]), np.concatenate([np.zeros_like(before), stderr])
    )


def _arrays(tasks: list[Problem]) -> dict[str, Any]:
    first = tasks[0]
    return {
        "shifts": [jnp.asarray(problem.shift) for problem in tasks],
        "noise": [jnp.asarray(problem.sigma_eps_sqrt) for problem in tasks],
        "ridges": [jnp.asarray(problem.ridge) for problem in tasks],
        "root": None if first.input_covariance is None else jnp.asarray(first.sigma_sqrt),
        "pretrained": None if first.pretrained is None else jnp.asarray(first.pretrained),
    }


def _one(
    methods: tuple[Method, ...],
    sizes: tuple[int, ...],
    penalised: tuple[bool, ...],
    arrays: dict[str, Any],
    key: Key[Array, ""],
) -> Float[Array, "stages tasks"]:
    """The risks of one draw."""
    shifts, root, base = arrays["shifts"], arrays["root"], arrays["pretrained"]
    start = jnp.zeros_like(shifts[0]) if base is None else base
    moved, offset, rows = jnp.zeros_like(start), jnp.zeros(start.shape[0]), []
    stages = zip(methods, sizes, penalised, jax.random.split(key, len(methods)), strict=True)
    for stage, (method, n, has_ridge, own) in enumerate(stages):
        data = gaussian.sample(own, n, start + shifts[stage], root, arrays["noise"][stage])
        ridge = arrays["ridges"][stage] if has_ridge else None
        update = method.fit(data.inputs, data.outputs - offset[:, None], start + moved, ridge)
        moved, offset = moved + update.map, offset + update.offset
        rows.append(jnp.stack([excess_risk(moved, shift, root) + jnp.sum(offset**2) for shift in shifts]))
    return jnp.stack(rows)
