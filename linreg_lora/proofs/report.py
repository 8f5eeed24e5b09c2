"""Results of proofs as tables and as JSON."""

import json
from typing import Any

from linreg_lora.proofs.steps import Proof, ProofResult, StepResult, Verdict

_STYLE = {Verdict.PROVED: "green", Verdict.FAILED: "bold red", Verdict.SIMULATION_ONLY: "yellow"}


def overview(results: list[ProofResult]) -> Any:
    """A rich table, one line a proof."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Proofs", title_justify="left", row_styles=["", "dim"])
    for name in ("proof", "what it shows", "source"):
        table.add_column(name, overflow="fold")
    for name in ("steps proved", "simulation only"):
        table.add_column(name, justify="right")
    for result in results:
        proved, failed = result.count(Verdict.PROVED), result.count(Verdict.FAILED)
        table.add_row(
            result.proof.id,
            Text(result.proof.title),
            Text(result.proof.source),
            Text(f"{proved} of {proved + failed}", _STYLE[Verdict.FAILED if failed else Verdict.PROVED]),
            str(result.count(Verdict.SIMULATION_ONLY)),
        )
    return table


def listed(proofs: list[Proof]) -> Any:
    """A rich table, one line a proof, of which nothing was verified."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Proofs, not verified here", title_justify="left", row_styles=["", "dim"])
    table.add_column("proof", no_wrap=True)
    for name in ("what it shows", "source"):
        table.add_column(name, overflow="fold")
    for proof in proofs:
        table.add_row(proof.id, Text(proof.title), Text(proof.source))
    return table


def listed_json(proofs: list[Proof]) -> str:
    """The proofs, of which nothing was verified: `holds` is null."""
    return json.dumps(
        {"holds": None, "proofs": [{"id": p.id, "title": p.title, "source": p.source} for p in proofs]}, indent=2
    )


def details(result: ProofResult) -> Any:
    """A rich table, one line a step."""
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{result.proof.title}\nSource: {result.proof.source}")
    table = Table(title=title, title_justify="left", row_styles=["", "dim"])
    for name in ("step", "statement", "verdict"):
        table.add_column(name, overflow="fold")
    for step in result.steps:
        table.add_row(Text(step.step.name), Text(step.step.statement), Text(_verdict(step), _STYLE[step.verdict]))
    return table


def summary(results: list[ProofResult]) -> str:
    """One line, and one for each step that failed."""
    proved, failed, simulated = (sum(result.count(verdict) for result in results) for verdict in Verdict)
    line = f"{proved} of {proved + failed} steps proved by exact algebra; {simulated} more rest on simulation only"
    failures = (
        f"failed: {result.proof.id}, {step.step.name}: {step.detail}"
        for result in results
        for step in result.steps
        if step.verdict is Verdict.FAILED
    )
    return "\n".join([line, *failures])


def to_json(results: list[ProofResult]) -> str:
    """One object; `proofs` is the list."""
    return json.dumps({"holds": all(r.holds for r in results), "proofs": [_proof(r) for r in results]}, indent=2)


def _proof(result: ProofResult) -> dict[str, Any]:
    proof = result.proof
    return {
        "id": proof.id,
        "title": proof.title,
        "source": proof.source,
        "holds": result.holds,
        "counts": {str(verdict): result.count(verdict) for verdict in Verdict},
        "steps": [
            {"name": s.step.name, "statement": s.step.statement, "verdict": str(s.verdict), "detail": s.detail}
            for s in result.steps
        ],
    }


def _verdict(result: StepResult) -> str:
    return f"{result.verdict}: {result.detail}" if result.detail else str(result.verdict)
