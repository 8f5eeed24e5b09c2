"""Methods side by side as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence

from linreg_lora.cli import grammar
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.methods.choices import BestUnderBudget
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.simulation.comparison import Compared
from linreg_lora.simulation.spread import Spread

#: What the columns beside the risk are.
_SAID = {
    "dimension": "dimension: of the set of maps that it reaches",
    "benefit": "benefit: worth of a sample in units of its worth to fft, for many samples",
    "gap": "gap: what retraining leaves of the loss after e ~ N(0, I) on A0",
}


def compare_json(
    problem: Problem,
    compared: Sequence[Compared],
    pretrained_seed: int | None,
    best: BestUnderBudget | None = None,
    spreads: Sequence[Spread | str] | None = None,
) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null, and each `note` says why."""
    described = {name: kept for name, kept in problem.to_dict().items() if name != "pretrained"}
    out: dict[str, object] = {"problem": {**described, "regime": str(problem.regime), "moments": str(problem.moments)}}
    if pretrained_seed is not None:
        out["pretrained_seed"] = pretrained_seed
    if best is not None:
        out["best"] = {
            "method": best.method,
            "parameters": best.parameters,
            "risk": value(best.risk),
            "flagged": best.flagged,
            "note": best.note,
            "left_out": list(best.left_out),
        }
    rows = []
    for place, one in enumerate(compared):
        row: dict[str, object] = {
            "method": one.method,
            "parameters": one.parameters,
            "dimension": one.dimension,
            "benefit": one.benefit,
            "hessian_gap": one.hessian_gap,
        }
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
        if spreads is not None:
            row["spread"] = _spread_json(spreads[place])
        rows.append(row)
    out["methods"] = rows
    print(json.dumps(out, indent=2, allow_nan=False))


def compare_table(
    problem: Problem,
    compared: Sequence[Compared],
    pretrained_seed: int | None,
    best: BestUnderBudget | None = None,
    spreads: Sequence[Spread | str] | None = None,
) -> None:
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
    beside = [
        name for name in ("dimension", "benefit", "gap") if any(_beside(one)[name] is not None for one in compared)
    ]
    for name in beside:
        table.add_column(name, justify="right")
    if _tuned(compared):
        table.add_column("best ridge", justify="right")
    if theory:
        table.add_column("theory", justify="right")
    if simulated is not None:
        table.add_column(f"simulated ({simulated.trials} draws)", justify="right")
        table.add_column("standard error", justify="right")
    if spreads is not None:
        table.add_column("5 % to 95 % of data sets", justify="right")
    told = any(_notes(one) for one in compared)
    if told:
        table.add_column("missing or in doubt", overflow="fold")
    for place, one in enumerate(compared):
        row = [one.method, "-" if one.parameters is None else str(one.parameters)]
        row += ["-" if (known := _beside(one)[name]) is None else number(known) for name in beside]
        if _tuned(compared):
            row.append("none" if (ridge := _ridge(one)) is None else number(ridge))
        if one.theory is not None:
            row.append(marked(one.theory.risk, one.theory.flagged))
        if one.simulated is not None:
            row += [number(one.simulated.risk), _stderr(one.simulated)]
        if spreads is not None:
            row.append(_between(spreads[place]))
        table.add_row(*row, *(["; ".join(_notes(one))] if told else []))
    lines = (
        [f"{MARK} may be off by more than 1 %"] if any(one.theory and one.theory.flagged for one in compared) else []
    )
    if pretrained_seed is not None:
        lines.append(f"A0 iid N(0, 1) from seed {pretrained_seed}")
    if best is not None:
        lines += [f"least risk: {best.method}, {best.parameters} parameters" + (f" ({best.note})" if best.note else "")]
        lines += [f"left out: {reason}" for reason in best.left_out]
    lines += [_SAID[name] for name in beside]
    table.caption = "\n".join(lines)
    table.caption_justify = "left"
    print_table(table)


def _spread_json(spread: Spread | str) -> dict[str, object]:
    if isinstance(spread, str):
        return {"note": spread}
    quantiles = {f"{share:g}": value(level) for share, level in spread.quantiles.items()}
    return {
        "quantiles": quantiles,
        "std": value(spread.std),
        "median_interval": [value(end) for end in spread.median_interval],
        "note": spread.note,
    }


def _between(spread: Spread | str) -> str:
    if isinstance(spread, str):
        return "none"
    return f"{number(spread.quantiles[0.05])} to {number(spread.quantiles[0.95])}"


def _beside(one: Compared) -> dict[str, float | None]:
    """What is known of a method beside its risk."""
    return {"dimension": one.dimension, "benefit": one.benefit, "gap": one.hessian_gap}


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
