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
#: Methods that are offsets themselves.
_OFFSETS = ("bitfit", "prompt", "prefix")
#: Risks that differ by less, relatively, are the same.
_ROUNDING = 1e-9


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

    `methods`: names without settings, as in lora, frozen-a, bitfit, lora+bias, each at every rank that fits. Default:
    all that are registered with at most a rank (lora:0 is no update), where inputs have a mean each with a bias too;
    but those that change the base (qlora, pissa and others), for these cost what LoRA does: name them. Sums of methods
    are not searched. Methods that do not apply, or have no mean, are left out. Ties, to rounding, go to fewer
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
    reasons: dict[str, str] = {}
    candidates = list(_within(problem, parameters, methods, reasons))
    found = expected_risks(problem, candidates)
    known = [one for one in found if math.isfinite(one.risk)]
    if not known:
        why = next((note for one in found for note in one.notes), next(iter(reasons.values()), ""))
        received = f"{parameters} parameters" + (f"; {why}" if why else "")
        raise InvalidInput("parameters", "a budget that some method fits whose risk has a mean", received)
    known.sort(key=lambda one: (one.risk, one.parameters))
    alike = [one for one in known if one.risk <= known[0].risk * (1 + _ROUNDING)]
    best = min(alike, key=lambda one: one.parameters or 0)
    known.remove(best)
    known.insert(0, best)
    kinds: dict[str, MethodRisk] = {}
    for one in known:
        kinds.setdefault(_kind(one.method), one)
    rivals = [one.method for one in known[1:] if one.flagged and one.risk * (1 - FLAGGED) < best.risk]
    note = "; ".join(best.notes) if best.flagged else f"{rivals[0]} may be better" if rivals else ""
    for one in found:
        if one.notes:
            reasons.setdefault(_kind(one.method), f"{one.method}: {one.notes[0]}")
    left_out = tuple(reason for kind, reason in reasons.items() if kind not in kinds)
    assert best.parameters is not None
    each = tuple(kinds.values())
    return BestUnderBudget(best.method, best.parameters, best.risk, each, bool(note), note, left_out)


def _kind(method: str) -> str:
    """Its name without the rank, as in lora+bias."""
    name, plus, bias = method.partition("+")
    return name.partition(":")[0] + plus + bias


def _within(
    problem: Problem, parameters: int, methods: Sequence[str] | None, reasons: dict[str, str]
) -> Iterable[Method]:
    """Every method of these names, at every rank that the problem and the budget leave.

    `reasons` takes why named methods that fit the budget do not apply.
    """
    table = registry.table()
    if methods is not None and (isinstance(methods, str) or not methods):
        raise InvalidInput("methods", "a list of names without settings, as in [lora, bitfit]", methods)
    names = sorted(table) if methods is None else [str(name).strip() for name in methods]
    if methods is None and problem.input_mean is not None:
        names += [f"{name}+bias" for name in names if name not in _OFFSETS]
    for written in names:
        name, plus, bias = written.partition("+")
        settings = _settings(name) if not plus or bias == "bias" else None
        if settings is None:
            if methods is not None:
                raise InvalidInput("methods", f"names with at most a rank, of {', '.join(registry.names())}", written)
            continue
        least = 0 if name == "lora" else 1
        for rank in range(least, max(problem.dx, problem.dy) + 1) if settings else [0]:
            try:
                method = registry.named((f"{name}:{rank}" if settings else name) + plus + bias)
            except InvalidInput:
                break
            if methods is None and isinstance(method, Displaced):
                break
            try:
                size = registry.parameters(method, problem)
                applies = size <= parameters
                if applies:
                    method.reduce(problem)
            except LinregLoraError as refused:
                if methods is not None:
                    reasons.setdefault(written, f"{method.name}: {refused}")
                continue
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
