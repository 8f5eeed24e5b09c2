"""Methods on several tasks by theory: added up, or one after another; of LoRA and full fine-tuning."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method
from linreg_lora.problem import Problem
from linreg_lora.theory.composition import Composed, moves_of, related, task_arithmetic
from linreg_lora.theory.continual import sequential_fft


class ExpectedSequence(NamedTuple):
    """Expected risk on every task (columns) after every stage (rows; row 0: before any); nan where none is known.

    `flagged`: a risk may be off by more than 1 %; `note` says which, and why others are not known.
    """

    risks: Float[np.ndarray, "stages tasks"]
    flagged: bool
    note: str


def expected_sum(
    problems: Sequence[Problem], methods: Sequence[Method], weights: Sequence[float] | None = None
) -> Composed:
    """`theory.task_arithmetic` of methods: LoRA of some rank, or full fine-tuning.

    Raises `InvalidInput` for other methods, whose mean update no theory knows.

    >>> import linreg_lora as ll
    >>> one = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> other = one.replace(task_shift=one.shift[::-1, ::-1])
    >>> each = [ll.methods.named(name) for name in ("lora:2", "fft")]
    >>> expected_sum([one, other], each).weights.round(3).tolist()
    [0.446, 0.231]
    """
    return task_arithmetic(problems, [_rank(*both) for both in zip(methods, problems, strict=True)], weights)


def expected_sequence(problems: Sequence[Problem], methods: Sequence[Method]) -> ExpectedSequence:
    """Risks after every stage, each method fitted to its task from the map that the last one left.

    Full fine-tuning at every stage is exact where `theory.sequential_fft` is. Otherwise the risks after the first stage
    are known, of LoRA and full fine-tuning, and those after later ones are not.

    >>> import linreg_lora as ll
    >>> one = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> each = [ll.methods.named(name) for name in ("lora:2", "lora:2")]
    >>> expected_sequence([one, one], each).risks.round(2).tolist()
    [[13.0, 13.0], [1.61, 1.61], [nan, nan]]
    """
    tasks, ridgeless_fft = related(problems), all(isinstance(method, FullFineTuning) for method in methods)
    reason = "after later tasks theory knows full fine-tuning at every stage alone"
    if ridgeless_fft:
        try:
            return ExpectedSequence(sequential_fft(tasks), False, "")
        except InvalidInput as error:
            reason = str(error)
    before = [problem.pretrained_risk for problem in tasks]
    risks = np.full((len(tasks) + 1, len(tasks)), np.nan)
    risks[0] = before
    try:
        first = moves_of(tasks[0], _rank(methods[0], tasks[0]))
    except InvalidInput as error:
        return ExpectedSequence(risks, False, str(error))
    overlaps = [np.sum((first.mean @ task.sigma) * task.shift) for task in tasks]
    overlaps[0] = first.overlap
    risks[1] = first.energy - 2 * np.array(overlaps) + before
    return ExpectedSequence(risks, first.flagged, "; ".join(note for note in (first.note, reason) if note))


def _rank(method: Method, problem: Problem) -> int:
    """The rank as which theory knows a method: of full fine-tuning the largest."""
    if isinstance(method, FullFineTuning):
        return problem.max_rank
    if isinstance(method, LoRA):
        return method.rank
    remedy = "simulate it, a sum with weights that you name"
    raise InvalidInput("method", "lora:RANK or fft, whose mean update theory knows", method.name, remedy)
