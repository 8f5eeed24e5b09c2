"""Expected excess risk by theory: of LoRA against rank, or of any method."""

from collections.abc import Callable, Sequence
from typing import overload

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.methods import own_ridge, registry, result
from linreg_lora.methods.method import Method, require_same_law
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import ComputedBy, RiskCurve
from linreg_lora.theory import curve as theory


@overload
def expected_risk(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    ridge: float | str | None = None,
) -> RiskCurve: ...


@overload
def expected_risk(problem: Problem, *, method: Method | str, ridge: float | str | None = None) -> MethodRisk: ...


def expected_risk(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    ridge: float | str | None = None,
    method: Method | str | None = None,
) -> RiskCurve | MethodRisk:
    """Expected excess risk by formula: LoRA at every rank, and FFT; or, with `method`, that of one method.

    Without `method` it is `theory.expected_risk`, whose arguments these are. `method` is a `Method` or its name, as in
    bitfit, lora:4, frozen-a:4; then the result is a `MethodRisk`. `ridge`: a number instead of the problem's own, or
    "auto": of each rank, of FFT, or of the method the ridge of least expected risk. Raises `InvalidInput` where theory
    does not know a method's risk, or the method does not fit the problem.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> ll.expected_risk(problem, ranks=[0, 2, 20]).risk.round(3).tolist()
    [14.0, 3.263, 13.714]
    >>> found = ll.expected_risk(problem, method="bitfit")
    >>> f"{found.parameters} parameters: {found.risk:.3f}"
    '20 parameters: 14.567'
    >>> found = ll.expected_risk(problem, method="frozen-a:4", ridge="auto")
    >>> without = ll.expected_risk(problem, method="frozen-a:4")
    >>> f"{found.risk:.3f} with ridge {found.ridge:.1f}, {without.risk:.3f} without"
    '12.808 with ridge 54.5, 13.980 without'
    """
    require_problem(problem)
    if method is None:
        return theory.expected_risk(problem, ranks, correction=correction, flags=flags, ridge=ridge)
    if ranks is not None or not correction or not flags:
        raise InvalidInput("method", "no ranks, correction or flags beside it", method, "LoRA of rank 4 is lora:4")
    chosen = registry.of(method)
    problem, auto = own_ridge.of(problem, ridge)
    return _asked(problem, [chosen], None, auto)(chosen) if auto else sensible(chosen.expected_risk(problem))


def require_problem(problem: object) -> None:
    """Raise `InvalidInput` for what is no `Problem`."""
    if not isinstance(problem, Problem):
        raise InvalidInput("problem", "a Problem", type(problem).__name__)


def sensible(found: MethodRisk) -> MethodRisk:
    """The risk of somebody's method, which says that it is one. Raises `InvalidInput` for a negative risk or size."""
    if not isinstance(found, MethodRisk):
        raise InvalidInput("expected_risk", "a method that returns a MethodRisk", type(found).__name__)
    if found.risk < 0 or (found.parameters or 0) < 0:
        received = f"risk {found.risk:.6g} and {found.parameters} parameters"
        raise InvalidInput(f"{found.method}", "a risk and a number of parameters that are not negative", received)
    return found


def expected_risks(
    problem: Problem,
    methods: Sequence[Method],
    curve: RiskCurve | None = None,
    ridge: float | str | None = None,
) -> list[MethodRisk]:
    """The expected risk of each method; nan, with the reason in `notes`, where it has none.

    Methods that reduce to the same problem share one risk curve. `curve`, if it has their ranks, is used for those that
    reduce to its problem. `ridge` as in `expected_risk`.
    """
    problem, auto = own_ridge.of(problem, ridge)
    ask = _asked(problem, methods, curve, auto)
    return [answered(method, problem, "theory", lambda method=method: ask(method)) for method in methods]


def _asked(
    problem: Problem, methods: Sequence[Method], curve: RiskCurve | None, auto: bool
) -> Callable[[Method], MethodRisk]:
    """What asks one of the methods for its risk; with `auto` at its best ridge."""
    curves = {} if curve is None else {curve.problem.fingerprint: curve}
    ranks: dict[str, set[int]] = {}
    reductions = {}
    for method in methods:
        if type(method).expected_risk is not Method.expected_risk:
            continue
        try:
            reduced = method.reduce(problem)
            passed_on = not auto or own_ridge.passes_on(method, problem, reduced)
        except Exception:  # asked again below, where it is answered
            continue
        if reduced is not None and passed_on and (reduced.rank or 0) <= reduced.problem.max_rank:
            reductions[method] = reduced
            wanted = ranks.setdefault(reduced.problem.fingerprint, set())
            wanted |= set() if reduced.rank is None else {reduced.rank}

    def one(method: Method) -> MethodRisk:
        reduced = reductions.get(method)
        if reduced is not None:
            require_same_law(method, problem, reduced.problem)
        if reduced is None:
            return own_ridge.searched(method, problem, sensible) if auto else sensible(method.expected_risk(problem))
        key = reduced.problem.fingerprint
        if key not in curves or not ranks[key] <= set(curves[key].ranks.tolist()):
            ridge = own_ridge.AUTO if auto else None
            curves[key] = theory.expected_risk(reduced.problem, sorted(ranks[key]) or [0], ridge=ridge)
        count = registry.parameters(method, problem)
        return result.of_curve(curves[key], reduced.rank, problem, method.name, count, reduced.constant)

    return one


def answered(method: Method, problem: Problem, computed_by: ComputedBy, ask) -> MethodRisk:
    """What `ask` returns; where it raises, a risk that is nan, with the reason in `notes`."""
    try:
        return ask()
    except LinregLoraError as error:
        reason = str(error)
    except Exception as error:  # a user's method may raise anything
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    try:
        count = registry.parameters(method, problem)
    except Exception:
        count = None
    return MethodRisk(
        problem=problem,
        method=method.name,
        parameters=count,
        computed_by=computed_by,
        risk=float("nan"),
        stderr=None if computed_by == "theory" else float("nan"),
        notes=(reason,),
    )
