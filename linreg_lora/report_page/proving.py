"""All proofs, verified in several processes; or as they were found before, where the code is the same to the byte."""

from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from importlib.metadata import version
from typing import Any

from linreg_lora.claims import kept
from linreg_lora.proofs import steps
from linreg_lora.proofs.steps import ProofResult, StepResult, Verdict
from linreg_lora.sweeps import executors

_Said = list[list[str]]


def prove_all(
    workers: int, *, fresh: bool = False, progress: Callable[[int], None] = lambda _: None
) -> tuple[list[ProofResult], int]:
    """The results of all proofs, sorted by id, and how many of them were kept (`claims.kept`).

    `workers`: processes at most; `fresh`: nothing is taken from what was kept; `progress` is called with 1 after each.
    """
    name = _name()
    found: dict[str, Any] = {} if fresh or name is None else kept.read(name)
    known = {proof: said for proof in steps.ids() if (said := found.get(proof)) is not None}
    made: dict[str, ProofResult] = {proof: _result(proof, said) for proof, said in known.items()}
    progress(len(made))
    left = [proof for proof in steps.ids() if proof not in made]
    for proof, result in _here(left) if workers == 1 or len(left) < 2 else _elsewhere(left, workers):
        made[proof] = result
        progress(1)
    if left and name is not None and name == _name():
        kept.write(name, {proof: _said(result) for proof, result in made.items()})
    return [made[proof] for proof in steps.ids()], len(known)


def _name() -> str | None:
    """Of what is kept; it depends on all that a proof does."""
    code = kept.code()
    return None if code is None else f"proofs-{kept.hashed([code, version('sympy')])}"


def _here(proofs: list[str]) -> Iterator[tuple[str, ProofResult]]:
    for proof in proofs:
        yield proof, steps.run(steps.find(proof))


def _elsewhere(proofs: list[str], workers: int) -> Iterator[tuple[str, ProofResult]]:
    with executors.local_processes(min(workers, len(proofs))) as executor:
        sent = {executor.submit(_prove_there, proof): proof for proof in proofs}
        for future in as_completed(sent):
            yield sent[future], _result(sent[future], future.result())


def _prove_there(proof: str) -> _Said:
    return _said(steps.run(steps.find(proof)))


def _said(result: ProofResult) -> _Said:
    """What a result says of each step; the steps themselves are code."""
    return [[one.verdict, one.detail] for one in result.steps]


def _result(name: str, said: _Said) -> ProofResult:
    proof = steps.find(name)
    each = zip(proof.steps, said, strict=True)
    return ProofResult(proof, tuple(StepResult(step, Verdict(verdict), detail) for step, (verdict, detail) in each))
