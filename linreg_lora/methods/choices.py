"""Which method within a budget of parameters: an answer by theory over methods and their ranks."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.methods import registry
from linreg_lora.methods.displaced import Displaced
from linreg_lora.methods.expected import expected_risks, require_problem
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.theory.notes import FLAGGED

#: Settings of which more is more parameters.
_COUNTS = ("rank", "count", "directions", "tokens", "prompts")


class BestUnderBudget(NamedTuple):
    """The method of least expected risk among those that fit a budget, and the best of each kind, best first.

    `flagged`: its risk may be off by more than 1 %, or another may be better; `note` says why. `left_out`: why methods
    that fit the budget were not considered, a line a kind.
    """

    method: str
    parameters: int
    risk: float
    each: tuple[MethodRisk, ...]
    flagged: bool = False
    note: str = ""
    left_out: tuple[str, ...] = ()


def best_under_budget(problem: Problem, parameters: int, methods: Sequence[str] | None = None) -> BestUnderBudget:
    """The method, and its rank, of least expected excess risk that trains at most so many `parameters`, by theory.

    `methods`: names without settings, as in lora, frozen-a, bitfit, each at every rank that fits. Default: all that are
    registered with at most a rank (lora:0 is no update), but those that change the base (qlora, pissa and others), for
    these cost what LoRA does: name them. Methods that do not apply, or have no mean, are left out. Ties go to fewer
    parameters. Raises `InvalidInput` where nothing fits.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> some = ["lora", "frozen-a", "frozen-b", "bitfit", "fft"]
    >>> best = ll.best_under_budget(problem, 100, some)
    >>> f"{best.method}: {best.parameters} parameters, risk {best.risk:.3f}"
    'lora:2: 88 parameters, risk 3.263'
    >>> best = ll.best_under_budget(problem, 43, some)
    >>> f"{best.method}: {best.parameters} parameters, risk {best.risk:.3f}"
    'frozen-a:1: 20 parameters, risk 13.559'
    """
    require_problem(problem)
    parameters = validation.nonnegative_integer("parameters", parameters)
    candidates = list(_within(problem, parameters, methods))
    found = expected_risks(problem, candidates)
    known = [one for one in found if math.isfinite(one.risk)]
    if not known:
        why = next((note for one in found for note in one.notes), "")
        received = f"{parameters} parameters" + (f"; {why}" if why else "")
        raise InvalidInput("parameters", "a budget that some method fits whose risk has a mean", received)
    known.sort(key=lambda one: (one.risk, one.parameters))
    best = known[0]
    kinds: dict[str, MethodRisk] = {}
    for one in known:
        kinds.setdefault(one.method.partition(":")[0], one)
    rivals = [one.method for one in known[1:] if one.flagged and one.risk * (1 - FLAGGED) < best.risk]
    note = "; ".join(best.notes) if best.flagged else f"{rivals[0]} may be better" if rivals else ""
    reasons: dict[str, str] = {}
    for one in found:
        kind = one.method.partition(":")[0]
        if kind not in kinds and one.notes:
            reasons.setdefault(kind, f"{one.method}: {one.notes[0]}")
    assert best.parameters is not None
    each = tuple(kinds.values())
    return BestUnderBudget(best.method, best.parameters, best.risk, each, bool(note), note, tuple(reasons.values()))


def _within(problem: Problem, parameters: int, methods: Sequence[str] | None) -> Iterable[Method]:
    """Every method of these names, at every rank that the problem and the budget leave."""
    table = registry.table()
    if methods is not None and (isinstance(methods, str) or not methods):
        raise InvalidInput("methods", "a list of names without settings, as in [lora, bitfit]", methods)
    for name in sorted(table) if methods is None else [str(name).strip() for name in methods]:
        settings = _settings(name)
        if settings is None:
            if methods is not None:
                raise InvalidInput("methods", f"names with at most a rank, of {', '.join(registry.names())}", name)
            continue
        least = 0 if name == "lora" else 1
        for rank in range(least, max(problem.dx, problem.dy) + 1) if settings else [0]:
            method = registry.named(f"{name}:{rank}" if settings else name)
            if methods is None and isinstance(method, Displaced):
                break
            try:
                size = registry.parameters(method, problem)
                applies = size <= parameters
                if applies:
                    method.reduce(problem)
            except LinregLoraError:
                break
            if not applies:
                break
            yield method


def _settings(name: str) -> int | None:
    """0 for a method without settings, 1 for one with a size that counts up; None: others, or no such name."""
    written = next((one for one in registry.names() if one.partition(":")[0] == name.lower().replace("_", "-")), None)
    if written is None:
        return None
    settings = written.split(":")[1:]
    if not settings:
        return 0
    return 1 if len(settings) == 1 and settings[0] in _COUNTS else None
