"""Cases that the engine chooses, near those that a claim lists: a true statement holds there too.

A formula may agree with the right one on every listed case because a number there is one, two are equal, a matrix has
determinant one, or nothing but the listed values was ever looked at. So what a claim says is also tested where all
that its statement leaves free is another: noise, shift and its rank, covariances, A0, sizes (`moves.MOVES`), and the
experiment's numbers. What the statement fixes at the domain's values, it says: `Claim.assumes`.

    two neighbours   of the smallest case: one with other contents, one with other sizes and settings
    one by one       where the claim fails in one, a neighbour for each change, to say which it is

The test is that of the claim's kind, and only failing counts: a neighbour need not have the power that listed cases
have. A hundredth of the claim's level is for it; where the claim fails it is not needed again, so that looking one by
one costs nothing. Suspicious neighbours are drawn again, as suspicious cases are (`judge`). Within a condition what it
leaves free moves: another scale of a spectrum or a covariance whose shape it is about, a number away from those
outside. No ridge stays none, but for predictions that depend on the ridge. A domain whose cases are no designs says its
neighbours itself (`Domain.neighbours`). Limits are taken along their sizes, and have none.

Not shown: what holds near the cases and fails far from them, as an inequality may; and what the steps leave equal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from linreg_lora.claims import means, registry, settings
from linreg_lora.claims.cases import cases
from linreg_lora.claims.domains import Domain
from linreg_lora.claims.evidence import LOOKS, SUSPICIOUS, Comparison, Measured
from linreg_lora.claims.moves import MOVES, WITHIN, parted
from linreg_lora.claims.resolution import REFUSALS, change, few_draws, value
from linreg_lora.claims.schema import LARGEST_TRIALS, Claim
from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

#: The share of a claim's level that its neighbours have.
SHARE_OF_LEVEL = 0.01
#: Settings that count something are raised by one; others, shares for the most part, fall by a fifth; 0 is left.
_LESS, _MORE_THAN_NONE = 0.8, 0.2
_SIZES = ("n", "dx", "dy")

#: From a case to one beside it.
Move = Callable[[Problem], Problem]
#: What compares a claim with what is measured in a case.
Test = Callable[[Claim, Any], Sequence[Comparison]]


class Neighbour(NamedTuple):
    """A case near one of a claim's, and the claim with the experiment's settings there."""

    claim: Claim
    case: Any


def objection(claim: Claim, domain: Domain, measured: Sequence[Measured], test: Test) -> str:
    """Where near its cases a claim does not hold, as one line with the remedy; empty where none was found."""
    if claim.kind is Kind.ASYMPTOTIC:
        return ""
    if not isinstance(measured[0].case, Problem):
        return _of_another_domain(claim, domain, test)
    at = min(measured, key=lambda at: at.case.n * at.case.dx * at.case.dy)
    free = [name for name in _free(claim, at) if name not in claim.assumes]
    neighbours = {name: near for name in free if (near := _neighbour(claim, at.case, [name])) is not None}
    sizes = {*_SIZES, *_numbers(claim)}
    contents = [name for name in neighbours if name not in sizes]
    for group in (contents, [name for name in neighbours if name in sizes]):
        together = _neighbour(claim, at.case, group)
        found = _against(together, test)
        apart = found or together is None
        alone = {name: why for name in group if apart and (why := _against(neighbours[name], test))}
        if alone:
            name, why = next(iter(alone.items()))
            return f"neighbours: {_said(at.case, neighbours[name], name)} {why}; {_remedy(list(alone))}"
        if found:
            return f"neighbours: with other {', '.join(group)} at once {found}; {_remedy(group)}"
    return ""


def _remedy(names: Sequence[str]) -> str:
    return f"mend the prediction, or if the statement is about these values only, say assumes: [{', '.join(names)}]"


def _of_another_domain(claim: Claim, domain: Domain, test: Test) -> str:
    if "cases" in claim.assumes:
        return ""
    listed = {case.fingerprint for case in domain.cases()}
    near = [case for case in domain.neighbours() if case.fingerprint not in listed]
    if not near:
        kind = registry.name_of_domain(type(domain))
        return (
            f"neighbours: {kind} names none; give it neighbours(self), cases near the listed ones, or if the "
            "statement is about these cases only, say assumes: [cases]"
        )
    for case in near:
        if why := _against(_of(claim, case, {}, groups=len(near)), test):
            return f"neighbours: at {case.description} {why}; {_remedy(['cases'])}"
    return ""


def _moves(claim: Claim) -> dict[str, Move]:
    """The moves within a claim's condition: some are others, and a number moves away from what is outside of it."""
    moves = dict(MOVES)
    for field in claim.changed.split(", "):
        if field in moves:
            moves[field] = _away(field, moves[field], claim)
        for name, move in WITHIN.get(field, {}).items():
            moves[name] = (lambda case: case) if move is None else move
    return moves


def _away(field: str, move: Move, claim: Claim) -> Move:
    """The move where it leads away from the values that a number has outside of the condition."""
    outside = [getattr(case, field) for case in cases(claim.outside)] if claim.outside is not None else []

    def away(case: Problem) -> Problem:
        moved, was = move(case), getattr(case, field)
        if not all(isinstance(value, int | float) for value in (was, *outside)):
            return case
        return moved if all((getattr(moved, field) - was) * (was - other) > 0 for other in outside) else case

    return away


def _free(claim: Claim, at: Measured) -> Iterator[str]:
    """What a statement leaves free: all but a ridge that is 0 and that its prediction does not depend on."""
    for name in MOVES:
        if name != "ridge" or at.case.ridge > 0 or _depends_on_ridge(claim, at):
            yield name
    yield from _numbers(claim)


def _depends_on_ridge(claim: Claim, at: Measured) -> bool:
    few, other = few_draws(at.sample), MOVES["ridge"](at.case)
    return change(value(claim.prediction, at.case, few), value(claim.prediction, other, few)) > 0


def _numbers(claim: Claim) -> dict[str, float]:
    """The experiment's settings that are numbers, each as a neighbour has it; not those that can be no such number."""
    may_be = _may_be(claim)
    given = {name: value for name, value in claim.experiment.settings.items() if isinstance(value, int | float)}
    moved = {name: _another_number(value, counts=may_be[name].counts) for name, value in given.items()}
    return {name: value for name, value in moved.items() if not may_be[name].objection(value)}


def _another_number(given: float, *, counts: bool) -> float:
    if counts or (given >= 2 and given == int(given)):
        return given + 1
    return given * _LESS or _MORE_THAN_NONE


def _neighbour(claim: Claim, case: Problem, names: Sequence[str]) -> Neighbour | None:
    """The case with all of this otherwise; None where it cannot be, has no such rank, or is the same."""
    numbers = {name: number for name, number in _numbers(claim).items() if name in names}
    moved = case
    try:
        for name, move in _moves(claim).items():
            if name in names:
                moved = move(moved)
        moved = parted(case, moved)
    except REFUSALS:
        return None
    if any(rank >= moved.max_rank for rank in _ranks(claim, numbers)):
        return None
    if "regime" in claim.changed and moved.regime is not case.regime:
        return None
    same = moved == case and all(claim.experiment.settings[name] == number for name, number in numbers.items())
    return None if same else _of(claim, moved, numbers)


def _ranks(claim: Claim, numbers: dict[str, float]) -> list[float]:
    """The experiment's ranks, with some `numbers` in place of the claim's."""
    given = {**claim.experiment.settings, **numbers}
    ranks = [given.get(name) for name, may_be in _may_be(claim).items() if may_be.is_rank]
    return [rank for rank in ranks if isinstance(rank, int | float)]


def _may_be(claim: Claim) -> Mapping[str, settings.Setting]:
    return settings.of(registry.experiment(claim.experiment.name).run)


def _of(claim: Claim, case: Any, numbers: dict[str, float], groups: int = 2) -> Neighbour:
    experiment = claim.experiment.model_copy(update={"settings": {**claim.experiment.settings, **numbers}})
    level = SHARE_OF_LEVEL * claim.false_alarm / groups
    return Neighbour(claim.model_copy(update={"experiment": experiment, "false_alarm": level}), case)


def _against(neighbour: Neighbour | None, test: Test) -> str:
    """What speaks against the claim there; empty where nothing does."""
    if neighbour is None:
        return ""
    suspicious: Comparison | None = None
    for times in LOOKS:
        try:
            comparisons = test(_with_draws(neighbour.claim, times), neighbour.case)
        except InvalidInput as refusal:
            return f"it cannot be tested ({refusal.received})"
        for c in comparisons:
            if c.verdict is Verdict.FAILS:
                return _measured(c)
        doubted = [c for c in comparisons if "z" in c.numbers and means.against(neighbour.claim, c) > SUSPICIOUS]
        if not doubted or neighbour.claim.kind is Kind.QUALITATIVE:
            return ""
        suspicious = doubted[0]
    assert suspicious is not None
    return f"{_measured(suspicious)}, drawn again and again"


def _with_draws(claim: Claim, times: int) -> Claim:
    trials = min(times * claim.experiment.trials, LARGEST_TRIALS)
    return claim.model_copy(update={"experiment": claim.experiment.model_copy(update={"trials": trials})})


def _measured(c: Comparison) -> str:
    if "mean" not in c.numbers:
        return f"it is off by {c.numbers['worst']:.2g} of its scale"
    mean, predicted, stderr = (c.numbers[name] for name in ("mean", "predicted", "stderr"))
    return f"{mean:.5g} +- {stderr:.2g} was measured, {predicted:.5g} predicted"


def _said(case: Problem, near: Neighbour, name: str) -> str:
    """What is otherwise, with its numbers where it has few."""
    if name in near.claim.experiment.settings:
        return f"with {name} {near.claim.experiment.settings[name]:g}"
    now, then = getattr(near.case, name, None), getattr(case, name, None)
    if isinstance(now, int | float) and isinstance(then, int | float):
        return f"with {name} {now:g} in place of {then:g}"
    return f"with another {name}"
