"""Methods side by side as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence

from linreg_lora.cli import grammar
from linreg_lora.cli.risk_report import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.simulation.comparison import Compared


def compare_json(problem: Problem, compared: Sequence[Compared], pretrained_seed: int | None) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null, and each `note` says why."""
    described = {name: kept for name, kept in problem.to_dict().items() if name != "pretrained"}
    out: dict[str, object] = {"problem": {**described, "regime": str(problem.regime), "moments": str(problem.moments)}}
    if pretrained_seed is not None:
        out["pretrained_seed"] = pretrained_seed
    rows = []
    for one in compared:
        row: dict[str, object] = {"method": one.method, "parameters": one.parameters}
        if one.theory is not None:
            row["theory"] = {
                "risk": value(one.theory.risk),
                "flagged": one.theory.flagged,
                "formula": one.theory.formula,
                "note": "; ".join(one.theory.notes),
            }
        if one.simulated is not None:
            row["monte_carlo"] = {
                "mean": value(one.simulated.risk),
                "stderr": value(one.simulated.stderr),
                "trials": one.simulated.trials,
                "seed": one.simulated.seed,
                "formula": one.simulated.formula,
                "note": "; ".join(one.simulated.notes),
            }
        if _tuned(compared):
            row["best_ridge"] = value(_ridge(one))
        rows.append(row)
    out["methods"] = rows
    print(json.dumps(out, indent=2, allow_nan=False))


def compare_table(problem: Problem, compared: Sequence[Compared], pretrained_seed: int | None) -> None:
    """Print a table, one line a method."""
    from rich.table import Table

    table = Table(
        title=f"Excess risk, {problem.regime}: n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, "
        f"noise std {problem.noise_std:g}, {grammar.said_mean(problem)}"
        + ("each method with its best ridge" if _tuned(compared) else f"ridge {problem.ridge:g}"),
        title_justify="left",
    )
    theory, simulated = compared[0].theory is not None, compared[0].simulated
    table.add_column("method")
    table.add_column("parameters", justify="right")
    if _tuned(compared):
        table.add_column("best ridge", justify="right")
    if theory:
        table.add_column("theory", justify="right")
    if simulated is not None:
        table.add_column(f"simulated ({simulated.trials} draws)", justify="right")
        table.add_column("standard error", justify="right")
    told = any(_notes(one) for one in compared)
    if told:
        table.add_column("missing or in doubt", overflow="fold")
    for one in compared:
        row = [one.method, "-" if one.parameters is None else str(one.parameters)]
        if _tuned(compared):
            row.append("none" if (ridge := _ridge(one)) is None else number(ridge))
        if one.theory is not None:
            row.append(marked(one.theory.risk, one.theory.flagged))
        if one.simulated is not None:
            row += [number(one.simulated.risk), _stderr(one.simulated)]
        table.add_row(*row, *(["; ".join(_notes(one))] if told else []))
    lines = (
        [f"{MARK} may be off by more than 1 %"] if any(one.theory and one.theory.flagged for one in compared) else []
    )
    if pretrained_seed is not None:
        lines.append(f"A0 iid N(0, 1) from seed {pretrained_seed}")
    table.caption = "\n".join(lines)
    table.caption_justify = "left"
    print_table(table)


def _ridge(one: Compared) -> float | None:
    """The best ridge of a method; None where it is the problem's, or not known."""
    known = [found.ridge for found in (one.theory, one.simulated) if found is not None]
    return known[0] if known else None


def _tuned(compared: Sequence[Compared]) -> bool:
    return any(_ridge(one) is not None for one in compared)


def _notes(one: Compared) -> list[str]:
    """What both ways say, once."""
    said = [note for risk in (one.theory, one.simulated) if risk is not None for note in risk.notes]
    return list(dict.fromkeys(said))


def _stderr(risk: MethodRisk) -> str:
    return number(float("nan") if risk.stderr is None else risk.stderr)
