"""Updates of several tasks, by theory and by simulation side by side: added, or one task after another."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.composed import expected_sequence, expected_sum
from linreg_lora.methods.method import Method
from linreg_lora.problem import Problem
from linreg_lora.simulation import comparison
from linreg_lora.simulation.sequences import simulate_sequence, simulate_sum


class Stage(NamedTuple):
    """Risks on each task `after` something: nan where theory knows none; None of a way that was not asked for."""

    after: str
    theory: Float[np.ndarray, "tasks"] | None
    mean: Float[np.ndarray, "tasks"] | None
    stderr: Float[np.ndarray, "tasks"] | None


class Forgetting(NamedTuple):
    """By how much the risk on a `task`, counted from 1, has risen from its own stage to the last one."""

    task: int
    theory: float | None
    mean: float | None
    stderr: float | None


class Composition(NamedTuple):
    """Stages in order, the first before any update; what a sequence forgets; the weights of a sum.

    `flagged`: a risk by theory may be off by more than 1 %; `note` says which, and what theory does not know.
    """

    stages: tuple[Stage, ...]
    forgetting: tuple[Forgetting, ...] = ()
    weights: Float[np.ndarray, "tasks"] | None = None
    flagged: bool = False
    note: str = ""


def compose(
    problems: Sequence[Problem],
    methods: Sequence[Method | str],
    *,
    how: Literal["sum", "sequence"],
    weights: Sequence[float] | None = None,
    computed_by: Sequence[str] = comparison.BOTH,
    trials: int = 400,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Composition:
    """Expected excess risk on every task of updates that are added, or of tasks one after another.

    `problems`: one a task, with one Sigma and one A0; `methods`: one for each. `how`: a sum of updates of separate
    fits, weighted by `weights` (None: those of least summed risk, which need LoRA or full fine-tuning), or a sequence,
    in which each fit starts from what the last one left. Raises `InvalidInput` for anything else.

    >>> import linreg_lora as ll
    >>> one = ll.Problem(n=60, dx=20, dy=12, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> tasks = [one, one.replace(task_shift=one.shift[::-1, ::-1])]
    >>> found = compose(tasks, ["fft", "fft"], how="sequence", trials=64)
    >>> f"{found.forgetting[0].theory:.2f} is forgotten of task 1"
    '26.00 is forgotten of task 1'
    """
    if len(methods) != len(problems):
        raise InvalidInput("methods", f"one for each of {len(problems)} problems", f"{len(methods)}")
    chosen = [registry.of(method) for method in methods]
    draws = {"trials": trials, "seed": seed, "progress": progress}
    if how == "sum":
        found = _sum(problems, chosen, weights, computed_by, draws)
    elif how != "sequence":
        raise InvalidInput("how", "sum or sequence", how)
    elif weights is not None:
        raise InvalidInput("weights", "none for a sequence, whose updates are added as they are", weights)
    else:
        found = _sequence(problems, chosen, computed_by, draws)
    before = np.array([problem.pretrained_risk for problem in problems])
    known = before if "theory" in computed_by else None
    drawn = (before, np.zeros_like(before)) if "monte-carlo" in computed_by else (None, None)
    return found._replace(stages=(Stage("nothing", known, *drawn), *found.stages))


def _sum(
    problems: Sequence[Problem],
    methods: Sequence[Method],
    weights: Sequence[float] | None,
    computed_by: Sequence[str],
    draws: dict[str, Any],
) -> Composition:
    flagged, note, expected, drawn = False, "", None, None
    if weights is None or "theory" in computed_by:
        try:
            best = expected_sum(problems, methods, weights)
            weights, expected, flagged, note = best.weights.tolist(), best.risks, best.flagged, best.note
        except InvalidInput as error:
            if weights is None or error.field != "method":
                raise
            expected, note = np.full(len(problems), np.nan), str(error)
    assert weights is not None
    if "monte-carlo" in computed_by:
        drawn = simulate_sum(problems, methods, weights, **draws)
    means = (None, None) if drawn is None else drawn
    stage = Stage("the sum", expected if "theory" in computed_by else None, *means)
    return Composition((stage,), weights=np.asarray(weights, dtype=float), flagged=flagged, note=note)


def _sequence(
    problems: Sequence[Problem], methods: Sequence[Method], computed_by: Sequence[str], draws: dict[str, Any]
) -> Composition:
    expected = expected_sequence(problems, methods) if "theory" in computed_by else None
    drawn = simulate_sequence(problems, methods, **draws) if "monte-carlo" in computed_by else None
    stages, forgotten, last = [], [], len(problems)
    for task in range(1, last + 1):
        theory = None if expected is None else expected.risks[task]
        means = (None, None) if drawn is None else (drawn.risks[task], drawn.stderr[task])
        stages.append(Stage(f"task {task}", theory, *means))
    for task in range(last - 1):
        theory = None if expected is None else float(expected.risks[last, task] - expected.risks[task + 1, task])
        means = (None, None) if drawn is None else (float(drawn.forgetting[task]), float(drawn.forgetting_stderr[task]))
        forgotten.append(Forgetting(task + 1, theory, *means))
    said = (False, "") if expected is None else (expected.flagged, expected.note)
    return Composition(tuple(stages), tuple(forgotten), None, *said)
