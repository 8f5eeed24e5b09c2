"""Risk curves as tables for people and as JSON for programs."""

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.console import print_table
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.decisions import Crossing

if TYPE_CHECKING:
    from linreg_lora.theory.forgetting import Forgetting


def risk_json(
    problem: Problem,
    ranks: np.ndarray,
    simulated: RiskCurve | None,
    computed: RiskCurve | None,
    forgotten: "Forgetting | None" = None,
) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null, and each `note` says why."""
    fft: dict[str, object] = {}
    out: dict[str, object] = {
        "problem": {**problem.to_dict(), "regime": str(problem.regime), "moments": str(problem.moments)},
        "ranks": ranks.tolist(),
    }
    if simulated is not None:
        assert simulated.stderr is not None
        assert simulated.difference_stderr is not None
        out["monte_carlo"] = {
            "mean": _values(simulated.risk),
            "stderr": _values(simulated.stderr),
            "trials": simulated.trials,
            "seed": simulated.seed,
            "difference": _values(simulated.difference),
            "difference_stderr": _values(simulated.difference_stderr),
            "note": "; ".join(simulated.notes),
        }
        fft["monte_carlo"] = {"mean": _value(simulated.fft_risk), "stderr": _value(simulated.fft_stderr)}
    if computed is not None:
        out["theory"] = {
            "risk": _values(computed.risk),
            "formula": computed.formula,
            "best_rank": _best_rank(computed),
            "ranks_that_beat_fft": _winners(computed),
            "note": "; ".join(computed.notes),
        }
        fft["theory"] = {"risk": _value(computed.fft_risk), "formula": computed.formula}
    if forgotten is not None:
        out["forgetting"] = {"theory": _values(forgotten.forgetting), "formula_of_fft": forgotten.fft_formula}
        fft["forgetting"] = _value(forgotten.fft_forgetting)
    out["fft"] = fft
    print(json.dumps(out, indent=2, allow_nan=False))


def risk_table(
    problem: Problem,
    ranks: np.ndarray,
    simulated: RiskCurve | None,
    computed: RiskCurve | None,
    forgotten: "Forgetting | None" = None,
) -> None:
    """Print a table, one line a rank and one for FFT."""
    from rich.table import Table

    table = Table(
        title=f"Excess risk, {problem.regime}: n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, "
        f"noise std {problem.noise_std:g}, ridge {problem.ridge:g}",
        title_justify="left",
    )
    table.add_column("method")
    table.add_column("rank", justify="right")
    if simulated is not None:
        for name in (
            f"simulated ({simulated.trials} draws)",
            "standard error",
            "LoRA - FFT",
            "standard error ",
        ):
            table.add_column(name, justify="right")
    if computed is not None:
        table.add_column("theory", justify="right")
    if forgotten is not None:
        table.add_column("forgetting (theory)", justify="right")
    for i, rank in enumerate(ranks):
        row = ["LoRA", str(rank)]
        if simulated is not None:
            assert simulated.stderr is not None
            assert simulated.difference_stderr is not None
            row += [_number(simulated.risk[i]), _number(simulated.stderr[i])]
            row += [_number(simulated.difference[i]), _number(simulated.difference_stderr[i])]
        if computed is not None:
            row.append(_number(computed.risk[i]))
        if forgotten is not None:
            row.append(_number(forgotten.forgetting[i]))
        table.add_row(*row)
    row = ["FFT", "-"]
    if simulated is not None:
        assert simulated.fft_stderr is not None
        row += [_number(simulated.fft_risk), _number(simulated.fft_stderr), "-", "-"]
    if computed is not None:
        row.append(_number(computed.fft_risk))
    if forgotten is not None:
        row.append(_number(forgotten.fft_forgetting))
    table.add_row(*row, style="bold")
    notes = [note for curve in (simulated, computed) if curve is not None for note in curve.notes]
    if computed is not None:
        if (best := _best_rank(computed)) is not None:
            winners = _winners(computed)
            beaten = f"ranks that beat FFT: {_ranges(winners)}" if winners else "no rank beats FFT"
            notes.append(f"best of these ranks by theory: {best}; {beaten}")
        notes.append(f"by formula: {computed.formula}")
    table.caption = "\n".join(dict.fromkeys(notes))
    table.caption_justify = "left"
    print_table(table)


def crossings_json(crossings: list[Crossing], rank: int, over: str) -> None:
    """Print one JSON object; an empty list means no crossing."""
    print(json.dumps({"rank": rank, "over": over, "crossings": [c._asdict() for c in crossings]}, indent=2))


def crossings_text(crossings: list[Crossing], rank: int, over: str) -> None:
    """Print one line a crossing, or that there is none."""
    if not crossings:
        print(f"no crossing: the same method wins at every {over} looked at")
    for value, winner in crossings:
        other = "FFT" if winner == "LoRA" else f"LoRA of rank {rank}"
        first = f"LoRA of rank {rank}" if winner == "LoRA" else "FFT"
        print(f"{first} wins up to {over} = {value:.6g}, {other} beyond")


def _best_rank(curve: RiskCurve) -> int | None:
    """The best of the curve's ranks; None where one of them is not known."""
    return None if np.any(np.isnan(curve.risk)) else curve.best_rank


def _winners(curve: RiskCurve) -> list[int]:
    """Those of the curve's ranks whose risk is below that of FFT."""
    below = (curve.difference < 0) | ((curve.ranks == 0) & np.isinf(curve.fft_risk))
    below &= curve.ranks < curve.problem.max_rank
    return [int(rank) for rank in curve.ranks[below]]


def _ranges(ranks: list[int]) -> str:
    """1-3, 7 for [1, 2, 3, 7]."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def _values(array: np.ndarray) -> list[float | None]:
    return [_value(x) for x in array]


def _value(x: float | None) -> float | None:
    return float(x) if x is not None and math.isfinite(x) else None


def _number(x: float) -> str:
    if math.isnan(x):
        return "none"
    return f"{x:.5g}" if math.isfinite(x) else ("infinite" if x > 0 else "-infinite")
