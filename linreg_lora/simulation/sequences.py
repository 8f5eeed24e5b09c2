"""Several tasks, simulated: fitted one after another, each from the map that the last one left, or apart and added."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators.risk import excess_risk
from linreg_lora.methods import registry
from linreg_lora.methods.method import Method, Update
from linreg_lora.problem import Moments, Problem
from linreg_lora.sampling import gaussian
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory.composition import related


class SequenceRisk(NamedTuple):
    """Mean excess risk on every task (columns) after every stage (rows; row 0: before any), and standard errors.

    `forgetting`: of each task but the last, by how much its risk is higher after the last stage than after its own,
    paired by draw. A standard error is nan where no variance exists, and 0 in row 0.
    """

    risks: Float[np.ndarray, "stages tasks"]
    stderr: Float[np.ndarray, "stages tasks"]
    forgetting: Float[np.ndarray, "earlier"]
    forgetting_stderr: Float[np.ndarray, "earlier"]


class SumRisk(NamedTuple):
    """Mean excess risk of a sum of updates on every task, and standard errors, nan where no variance exists."""

    risks: Float[np.ndarray, "tasks"]
    stderr: Float[np.ndarray, "tasks"]


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
    tasks, chosen, has_variance = _given(problems, methods)
    total = _moments(tasks, chosen, _in_sequence, {}, trials, seed, progress)
    count = len(tasks)
    before = np.array([[problem.pretrained_risk for problem in tasks]])
    mean, stderr = total.mean, total.stderr if has_variance else np.full_like(total.mean, np.nan)
    cells = count * count
    return SequenceRisk(
        np.concatenate([before, mean[:cells].reshape(count, count)]),
        np.concatenate([np.zeros_like(before), stderr[:cells].reshape(count, count)]),
        mean[cells:],
        stderr[cells:],
    )


def simulate_sum(
    problems: Sequence[Problem],
    methods: Method | str | Sequence[Method | str],
    weights: Sequence[float] | np.ndarray,
    *,
    trials: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> SumRisk:
    """The risk of A0 + sum_i a_i D_i on every task, D_i fitted to data of task i alone; `trials` times from `seed`.

    `problems` and `methods` as in `simulate_sequence`; `weights` a_i. For LoRA and full fine-tuning see
    `theory.task_arithmetic`, which also knows the best weights.

    >>> import linreg_lora as ll
    >>> one = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> tasks = [one, one.replace(task_shift=one.shift[::-1, ::-1])]
    >>> best = ll.theory.task_arithmetic(tasks, 2)
    >>> drawn = ll.simulation.simulate_sum(tasks, "lora:2", best.weights, trials=64, seed=0)
    >>> bool((abs(drawn.risks - best.risks) < 5 * drawn.stderr + 0.01 * best.risks).all())
    True
    """
    tasks, chosen, has_variance = _given(problems, methods)
    a = validation.real_array("weights", weights, f"{len(tasks)} numbers")
    if a.shape != (len(tasks),):
        raise InvalidInput("weights", f"{len(tasks)} numbers", f"shape {a.shape}")
    total = _moments(tasks, chosen, _added, {"weights": jnp.asarray(a)}, trials, seed, progress)
    return SumRisk(total.mean, total.stderr if has_variance else np.full_like(total.mean, np.nan))


def _given(
    problems: Sequence[Problem], methods: Method | str | Sequence[Method | str]
) -> tuple[list[Problem], tuple[Method, ...], bool]:
    """Tasks, a method for each, and whether all risks have a variance. Raises `InvalidInput` where one has no mean."""
    tasks = related(problems)
    given = [methods] * len(tasks) if isinstance(methods, (str, Method)) else list(methods)
    if len(given) != len(tasks):
        raise InvalidInput("methods", f"one method, or one for each of {len(tasks)} problems", given)
    chosen = tuple(registry.of(method) for method in given)
    has_variance = True
    for method, problem in zip(chosen, tasks, strict=True):
        moments = method.moments(problem)
        if moments is Moments.NO_MEAN:
            raise InvalidInput("problems", "stages whose risk has a mean", f"{method.name} at n = {problem.n}")
        has_variance &= moments is Moments.FINITE
    return tasks, chosen, has_variance


def _moments(
    tasks: list[Problem],
    methods: tuple[Method, ...],
    one_draw: Callable[..., Any],
    more: dict[str, Any],
    trials: int,
    seed: int,
    progress: Callable[[int], None] | None,
) -> RunningMoments:
    trials, seed = validation.enough_draws("trials", trials), valid_seed(seed)
    floats = sum((one.dx + one.dy) * one.n for one in tasks) + 2 * tasks[0].dx * tasks[0].dy
    sizes = tuple(problem.n for problem in tasks)
    ridges = tuple(problem.ridge > 0 for problem in tasks)
    program: draws.Draws[np.ndarray] = draws.Draws(
        one_draw, (methods, sizes, ridges), _arrays(tasks) | more, draws.size_for(floats)
    )
    total: RunningMoments | None = None
    for first, rows in draws.chunks(program, seed, trials):
        draws.require_finite("risks of several tasks", tasks[0], rows, first)
        total = RunningMoments.of(rows) if total is None else total.merge(RunningMoments.of(rows))
        if progress is not None:
            progress(len(rows))
    assert total is not None
    return total


def _arrays(tasks: list[Problem]) -> dict[str, Any]:
    first = tasks[0]
    return {
        "shifts": [jnp.asarray(problem.shift) for problem in tasks],
        "noise": [jnp.asarray(problem.sigma_eps_sqrt) for problem in tasks],
        "ridges": [jnp.asarray(problem.ridge) for problem in tasks],
        "root": None if first.input_covariance is None else jnp.asarray(first.sigma_sqrt),
        "pretrained": None if first.pretrained is None else jnp.asarray(first.pretrained),
    }


def _fitted(
    stage: int, methods: tuple[Method, ...], sizes: tuple[int, ...], penalised: tuple[bool, ...],
    arrays: dict[str, Any], key: Key[Array, ""], base: Any, moved: Any, offset: Any,
) -> Update:  # fmt: skip
    """The update of one task's method on fresh data, from a base that was moved already."""
    data = gaussian.sample(key, sizes[stage], base + arrays["shifts"][stage], arrays["root"], arrays["noise"][stage])
    ridge = arrays["ridges"][stage] if penalised[stage] else None
    return methods[stage].fit(data.inputs, data.outputs - offset[:, None], base + moved, ridge)


def _risks(arrays: dict[str, Any], moved: Any, offset: Any) -> Float[Array, "tasks"]:
    each = [excess_risk(moved, shift, arrays["root"]) for shift in arrays["shifts"]]
    return jnp.stack(each) + jnp.sum(offset**2)


def _base(arrays: dict[str, Any]) -> Float[Array, "dy dx"]:
    zero = jnp.zeros_like(arrays["shifts"][0])
    return zero if arrays["pretrained"] is None else arrays["pretrained"]


def _in_sequence(methods: Any, sizes: Any, penalised: Any, arrays: dict[str, Any], key: Any) -> Float[Array, "columns"]:
    """The risks of one draw, stage after stage, and then what is forgotten of every task but the last."""
    base = _base(arrays)
    moved, offset, rows = jnp.zeros_like(base), jnp.zeros(base.shape[0]), []
    for stage, own in enumerate(jax.random.split(key, len(methods))):
        update = _fitted(stage, methods, sizes, penalised, arrays, own, base, moved, offset)
        moved, offset = moved + update.map, offset + update.offset
        rows.append(_risks(arrays, moved, offset))
    risks = jnp.stack(rows)
    return jnp.concatenate([risks.ravel(), risks[-1, :-1] - jnp.diagonal(risks)[:-1]])


def _added(methods: Any, sizes: Any, penalised: Any, arrays: dict[str, Any], key: Any) -> Float[Array, "tasks"]:
    """The risks of one draw of a weighted sum."""
    base = _base(arrays)
    none, moved, offset = jnp.zeros_like(base), jnp.zeros_like(base), jnp.zeros(base.shape[0])
    for stage, own in enumerate(jax.random.split(key, len(methods))):
        update = _fitted(stage, methods, sizes, penalised, arrays, own, base, none, jnp.zeros_like(offset))
        a = arrays["weights"][stage]
        moved, offset = moved + a * update.map, offset + a * update.offset
    return _risks(arrays, moved, offset)
