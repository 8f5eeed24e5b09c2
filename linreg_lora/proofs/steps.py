"""What a proof is: named steps, each verified by exact algebra or, where no algebra shows it, marked as simulated.

A module of this package states a result and registers its proof, under its own name:

    @register_proof("its-name", title="what it shows", source="where it is stated")
    def its_name() -> Iterator[Step | SimulationOnly]:
        yield Step("name", "statement", lambda: left - right)

A check derives its left side from definitions and subtracts the formula to be shown.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import sympy
from sympy.logic.boolalg import BooleanAtom

from linreg_lora.errors import InvalidInput


class Verdict(StrEnum):
    PROVED = "proved"
    FAILED = "failed"
    SIMULATION_ONLY = "simulation only"


@dataclass(frozen=True)
class Step:
    """`check` returns a difference that must be exactly 0, a truth value, or a list of these; or it raises."""

    name: str
    statement: str
    check: Callable[[], object]


@dataclass(frozen=True)
class SimulationOnly:
    """What the proof uses and algebra does not show. `evidence`: "claim <id>" or "test <file>::<name>"."""

    name: str
    statement: str
    evidence: str


@dataclass(frozen=True)
class Proof:
    id: str
    title: str
    source: str
    steps: tuple[Step | SimulationOnly, ...]


@dataclass(frozen=True)
class StepResult:
    """`detail`: the difference that is not 0 or the error of a failed step, the evidence of a simulated one."""

    step: Step | SimulationOnly
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class ProofResult:
    proof: Proof
    steps: tuple[StepResult, ...]

    @property
    def holds(self) -> bool:
        """No step failed."""
        return self.count(Verdict.FAILED) == 0

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.steps)


_Steps = Callable[[], Iterator[Step | SimulationOnly]]

_proofs: dict[str, tuple[str, str, _Steps]] = {}


def register_proof(proof_id: str, *, title: str, source: str) -> Callable[[_Steps], _Steps]:
    """Decorator: the proof whose steps the function yields.

    >>> import linreg_lora as ll
    >>> import sympy
    >>> @ll.proofs.register_proof("binomial", title="The square of a sum", source="Elements, II.4")
    ... def binomial():
    ...     a, b = sympy.symbols("a b")
    ...     square = a**2 + 2 * a * b + b**2
    ...     yield ll.proofs.Step("expand", "(a + b)^2 = a^2 + 2 a b + b^2", lambda: (a + b) ** 2 - square)
    >>> ll.prove("binomial").holds
    True
    """

    def register(steps: _Steps) -> _Steps:
        _proofs[proof_id] = title, source, steps
        return steps

    return register


def ids() -> list[str]:
    """The proofs of every module of this package, sorted.

    >>> import linreg_lora as ll
    >>> "lemma-2-square" in ll.proofs.ids()
    True
    """
    package = importlib.import_module("linreg_lora.proofs")
    for module in pkgutil.iter_modules(package.__path__, "linreg_lora.proofs."):
        importlib.import_module(module.name)
    return sorted(_proofs)


def find(proof_id: str) -> Proof:
    """Raises `InvalidInput` for an unknown id."""
    known = ids()
    if proof_id not in known:
        raise InvalidInput("id", f"one of {', '.join(known)}", proof_id, "linreg-lora prove lists them")
    title, source, steps = _proofs[proof_id]
    return Proof(proof_id, title, source, tuple(steps()))


def titles(proof_ids: Iterable[str]) -> list[Proof]:
    """The proofs without their steps, which may take long to set up."""
    known = set(ids())
    return [Proof(name, *_proofs[name][:2], ()) if name in known else find(name) for name in proof_ids]


def run(proof: Proof) -> ProofResult:
    """Check every step, also after one that fails."""
    return ProofResult(proof, tuple(_run(step) for step in proof.steps))


def prove(proof_id: str) -> ProofResult:
    """Verify the steps of one proof.

    >>> import linreg_lora as ll
    >>> ll.prove("lemma-2-square").holds
    True
    """
    return run(find(proof_id))


def _run(step: Step | SimulationOnly) -> StepResult:
    if isinstance(step, SimulationOnly):
        return StepResult(step, Verdict.SIMULATION_ONLY, step.evidence)
    try:
        left_over = _left_over(step.check())
    except Exception as error:
        return StepResult(step, Verdict.FAILED, f"{type(error).__name__}: {error}")
    return StepResult(step, Verdict.FAILED if left_over else Verdict.PROVED, left_over)


def _left_over(value: object) -> str:
    """What keeps a check from holding; empty if nothing does."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(_left_over, value)), "")
    if isinstance(value, bool | BooleanAtom):
        return "" if value else "false"
    if isinstance(value, sympy.MatrixBase):
        return _left_over(value.flat())
    if not isinstance(value, int | sympy.Expr):
        raise TypeError(f"expected an exact difference or a truth value, received {value!r}")
    difference = sympy.cancel(value)
    if difference != 0:
        difference = sympy.simplify(difference)
    return "" if difference == 0 else f"difference {difference}"
