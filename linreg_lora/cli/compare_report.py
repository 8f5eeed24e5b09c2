"""Methods side by side, least risk first, as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from linreg_lora.cli import grammar
from linreg_lora.cli.matrices import Matrices
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.methods.choices import BestUnderBudget
from linreg_lora.methods.forgetting import Forgotten
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.simulation.comparison import TUNED_FFT, Compared, by_risk
from linreg_lora.simulation.spread import Spread

#: What the columns beside the risk are.
_SAID = {
    "dimension": "dimension: of the set of maps that it reaches",
    "benefit": "benefit: worth of a sample in units of its worth to fft, for many samples",
    "gap": "gap: what retraining leaves of the loss after e ~ N(0, I) on A0",
    "forgetting": "forgetting: mean rise of the pretraining loss, \u00b1 standard error where only fits tell it",
}


class Said(NamedTuple):
    """What there is to say beside the rows.

    `pretrained_seed`: of A0, `matrices`: the file that it and others come from; `without_tuned`: why FFT with its best
    ridge is no row; `best` under a budget; `spreads` of the rows, in their order.
    """

    pretrained_seed: int | None = None
    matrices: Matrices | None = None
    without_tuned: str = ""
    best: BestUnderBudget | None = None
    spreads: Sequence[Spread | str] | None = None


def require_a_risk(compared: Sequence[Compared]) -> None:
    """Raise `LinregLoraError`, which says why, where no method that was asked for has a risk, finite or not."""
    asked = [one for one in compared if not _is_tuned(one)]
    if any(one.best_known is not None for one in asked):
        return
    if len(asked) == 1:
        raise LinregLoraError("; ".join(_notes(asked[0])))
    reasons = "; ".join(f"{one.method}: {note}" for one in asked for note in _notes(one))
    raise InvalidInput("adapt", "a method that has a risk here", ",".join(one.method for one in asked), reasons)


def compare_json(problem: Problem, compared: Sequence[Compared], said: Said) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null, and each `note` says why."""
    described = {name: kept for name, kept in problem.to_dict().items() if name not in ("pretrained", "task_shift")}
    described["spectrum"] = list(problem.spectrum or ())
    out: dict[str, object] = {"problem": {**described, "regime": str(problem.regime), "moments": str(problem.moments)}}
    if said.pretrained_seed is not None:
        out["pretrained_seed"] = said.pretrained_seed
    if said.matrices is not None:
        file = said.matrices
        out["matrices"] = {"file": file.file, "sha256": file.sha256, "arrays": list(file.arrays)}
    if said.best is not None:
        best = said.best
        out["best"] = {
            "method": best.method,
            "parameters": best.parameters,
            "risk": value(best.risk),
            "flagged": best.flagged,
            "note": best.note,
            "left_out": list(best.left_out),
        }
    if said.without_tuned:
        out["without_best_ridge"] = said.without_tuned
    tuned = _tuned(compared)
    rows = []
    for place in by_risk(compared):
        one = compared[place]
        row: dict[str, object] = {
            "method": one.method,
            "asked": None if one.method == TUNED_FFT else place,
            "parameters": one.parameters,
            "dimension": one.dimension,
            "benefit": one.benefit,
            "hessian_gap": one.hessian_gap,
            "kind": one.best_known.kind if one.best_known else None,
            "forgetting": _forgetting_json(one.forgetting),
        }
        if one.theory is not None:
            row["theory"] = {
                "risk": value(one.theory.risk),
                "kind": one.theory.kind,
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
            if one.simulated.forgetting is not None:
                row["monte_carlo"] |= {  # type: ignore[operator]
                    "forgetting": value(one.simulated.forgetting),
                    "forgetting_stderr": value(one.simulated.forgetting_stderr),
                }
        if tuned or one.method == TUNED_FFT:
            row["best_ridge"] = value(best_ridge(one))
        if said.spreads is not None:
            row["spread"] = _spread_json(said.spreads[place])
        rows.append(row)
    out["methods"] = rows
    print(json.dumps(out, indent=2, allow_nan=False))


def compare_table(problem: Problem, compared: Sequence[Compared], said: Said) -> None:
    """Print a table, one line a method."""
    from rich.table import Table

    tuned = _tuned(compared)
    table = Table(
        title=f"Excess risk, {problem.regime}: n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, "
        f"noise std {problem.noise_std:g}, {grammar.said_mean(problem)}"
        + ("each method with its best ridge" if tuned else f"ridge {problem.ridge:g}"),
        title_justify="left",
    )
    theory, simulated = compared[0].theory is not None, compared[0].simulated
    table.add_column("method")
    table.add_column("parameters", justify="right")
    beside = [name for name in _SAID if any(_beside(one)[name] is not None for one in compared)]
    before = [name for name in beside if name != "forgetting"]
    for name in before:
        table.add_column(name, justify="right")
    if tuned:
        table.add_column("best ridge", justify="right")
    if theory:
        table.add_column("theory", justify="right")
        table.add_column("kind")
    if simulated is not None:
        table.add_column(f"simulated ({simulated.trials} draws)", justify="right")
        table.add_column("standard error", justify="right")
    if said.spreads is not None:
        table.add_column("5 % to 95 % of data sets", justify="right")
    if "forgetting" in beside:
        table.add_column("forgetting", justify="right")
    told = any(_notes(one) for one in compared)
    if told:
        table.add_column("missing or in doubt", overflow="fold")
    for place in by_risk(compared):
        one = compared[place]
        row = [one.method, "-" if one.parameters is None else str(one.parameters)]
        row += ["-" if (known := _beside(one)[name]) is None else number(known) for name in before]
        if tuned:
            row.append("none" if (ridge := best_ridge(one)) is None else number(ridge))
        if one.theory is not None:
            row += [marked(one.theory.risk, one.theory.flagged), _kind(one)]
        if one.simulated is not None:
            row += [number(one.simulated.risk), _stderr(one.simulated)]
        if said.spreads is not None:
            row.append(_between(said.spreads[place]))
        if "forgetting" in beside:
            row.append(_forgotten(one.forgetting))
        table.add_row(*row, *(["; ".join(_notes(one))] if told else []), style=_style(one))
    table.caption = "\n".join([*_caption(compared, said), *(_SAID[name] for name in beside)])
    table.caption_justify = "left"
    print_table(table)


def best_ridge(one: Compared) -> float | None:
    """The best ridge of a method; None where it is the problem's, or not known."""
    known = [found.ridge for found in (one.theory, one.simulated) if found is not None]
    return known[0] if known else None


def _caption(compared: Sequence[Compared], said: Said) -> list[str]:
    flagged = any(one.theory and one.theory.flagged for one in compared)
    flagged |= any(one.forgetting and one.forgetting.flagged for one in compared)
    lines = [f"{MARK} may be off by more than 1 %"] if flagged else []
    if said.pretrained_seed is not None:
        lines.append(f"A0 iid N(0, 1) from seed {said.pretrained_seed}")
    if said.matrices is not None:
        lines.append(f"{', '.join(said.matrices.arrays)} of {said.matrices.file}")
    for one in compared:
        if _is_tuned(one) and (ridge := best_ridge(one)) is not None:
            lines.append(f"{TUNED_FFT}: ridge {number(ridge)}")
    if said.without_tuned:
        lines.append(f"without {TUNED_FFT}: {said.without_tuned}")
    if said.best is not None:
        best = said.best
        lines += [f"least risk: {best.method}, {best.parameters} parameters" + (f" ({best.note})" if best.note else "")]
        lines += [f"left out: {reason}" for reason in best.left_out]
    return lines


def _forgetting_json(found: Forgotten | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "value": value(found.value),
        "stderr": value(found.stderr),
        "kind": found.kind,
        "flagged": found.flagged,
        "formula": found.formula,
    }


def _forgotten(found: Forgotten | None) -> str:
    if found is None:
        return "none"
    if found.stderr is None:
        return marked(found.value, found.flagged)
    return f"{number(found.value)} \u00b1 {found.stderr:.2g}"


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
    forgotten = None if one.forgetting is None else one.forgetting.value
    return {
        "dimension": one.dimension,
        "benefit": one.benefit,
        "gap": one.hessian_gap,
        "forgetting": forgotten,
    }


def _kind(one: Compared) -> str:
    """Of the risk that is known best."""
    return "none" if one.best_known is None else str(one.best_known.kind)


def _is_tuned(one: Compared) -> bool:
    return one.method == TUNED_FFT


def _style(one: Compared) -> str | None:
    return "italic" if _is_tuned(one) else None


def _tuned(compared: Sequence[Compared]) -> bool:
    """Whether every method has a best ridge, not FFT alone."""
    return any(best_ridge(one) is not None for one in compared if not _is_tuned(one))


def _notes(one: Compared) -> list[str]:
    """What both ways say, once."""
    said = [note for risk in (one.theory, one.simulated) if risk is not None for note in risk.notes]
    return list(dict.fromkeys(said))


def _stderr(risk: MethodRisk) -> str:
    return number(float("nan") if risk.stderr is None else risk.stderr)
