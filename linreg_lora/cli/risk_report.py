"""Risk curves as tables for people and as JSON for programs."""

import json
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.cli import complexity_report, grammar
from linreg_lora.cli.complexity_report import NOTHING, ClosedCrossings, Known
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.decisions import Answer, doubt_of_best, winners_of
from linreg_lora.theory.near_ties import near_best
from linreg_lora.theory.notes import UNFLAGGED, spans

if TYPE_CHECKING:
    from linreg_lora.theory.crossings import Crossing, Crossings
    from linreg_lora.theory.forgetting import Forgetting

_FORGETTING = "forgetting: excess risk that the update causes on pretraining inputs, E ||D Sigma_pre^(1/2)||^2"
#: From so many ranks on the answer stands above the table as well as below.
_LONG_TABLE = 20
#: Standard errors beyond which draws tell two ranks apart: by chance in fewer than one of 10^4 comparisons.
_TOLD = 4.0


def risk_json(
    problem: Problem,
    ranks: np.ndarray,
    simulated: RiskCurve | None,
    computed: RiskCurve | None,
    forgotten: "Forgetting | None" = None,
    complexity: Known = NOTHING,
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
        fft["monte_carlo"] = {"mean": value(simulated.fft_risk), "stderr": value(simulated.fft_stderr)}
    if computed is not None:
        winners = _winners(computed)
        out["theory"] = {
            "risk": _values(computed.risk),
            "formula": computed.formula,
            "best_rank": _best_rank(computed),
            "best_rank_flagged": bool(_doubt(computed)),
            "near_best": _near(computed),
            "ranks_that_beat_fft": winners,
            "ranks_that_beat_fft_flagged": winners is not None and winners.flagged,
            "flagged": _flagged(computed),
            "note": "; ".join(computed.notes),
            "complexity": complexity_report.as_json(complexity, ranks),
        }
        fft["theory"] = {
            "risk": value(computed.fft_risk),
            "formula": computed.fft_formula,
            "flagged": computed.fft_flagged,
        }
    tuned = computed or simulated
    if tuned is not None and tuned.ridge is not None:
        out["best_ridge"] = _values(tuned.ridge)
        fft["best_ridge"] = value(tuned.fft_ridge)
    if forgotten is not None:
        out["forgetting"] = {
            "theory": _values(forgotten.forgetting),
            "formula_of_fft": forgotten.fft_formula,
            "flagged": [int(rank) for rank in forgotten.ranks[forgotten.flagged]],
            "fft_flagged": forgotten.fft_flagged,
            "note": forgotten.note,
        }
        fft["forgetting"] = value(forgotten.fft_forgetting)
    out["fft"] = fft
    print(json.dumps(out, indent=2, allow_nan=False))


def risk_table(
    problem: Problem,
    ranks: np.ndarray,
    simulated: RiskCurve | None,
    computed: RiskCurve | None,
    forgotten: "Forgetting | None" = None,
    complexity: Known = NOTHING,
) -> None:
    """Print a table, one line a rank and one for FFT."""
    from rich.table import Table

    table = Table(
        title=f"Excess risk, {problem.regime}: n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, "
        f"noise std {problem.noise_std:g}, {grammar.said_mean(problem)}{_ridge_of(problem, computed or simulated)}",
        title_justify="left",
    )
    table.add_column("method")
    table.add_column("rank", justify="right")
    tuned = computed or simulated
    ridges = tuned.ridge if tuned is not None else None
    if ridges is not None:
        table.add_column("best ridge", justify="right")
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
    odds = complexity_report.column(complexity, ranks)
    if odds:
        table.add_column("complexity", justify="right")
    if forgotten is not None:
        table.add_column("forgetting (theory)", justify="right")
    for i, rank in enumerate(ranks):
        row = ["LoRA", str(rank)]
        row += [] if ridges is None else ["-" if rank == 0 else number(ridges[i])]
        if simulated is not None:
            assert simulated.stderr is not None
            assert simulated.difference_stderr is not None
            row += [number(simulated.risk[i]), number(simulated.stderr[i])]
            row += [number(simulated.difference[i]), number(simulated.difference_stderr[i])]
        if computed is not None:
            row.append(marked(computed.risk[i], computed.flagged is not None and computed.flagged[i]))
        if odds:
            row.append(odds[i])
        if forgotten is not None:
            row.append(marked(forgotten.forgetting[i], forgotten.flagged[i]))
        table.add_row(*row)
    row = ["FFT", "-"]
    row += [] if tuned is None or tuned.fft_ridge is None else [number(tuned.fft_ridge)]
    if simulated is not None:
        assert simulated.fft_stderr is not None
        row += [number(simulated.fft_risk), number(simulated.fft_stderr), "-", "-"]
    if computed is not None:
        row.append(marked(computed.fft_risk, computed.fft_flagged))
    row += ["-"] if odds else []
    if forgotten is not None:
        row.append(marked(forgotten.fft_forgetting, forgotten.fft_flagged))
    table.add_row(*row, style="bold")
    notes = [note for curve in (simulated, computed) if curve is not None for note in curve.notes]
    if computed is not None:
        if (best := _best_rank(computed)) is not None:
            winners = _winners(computed)
            beaten = f"ranks that beat FFT: {spans(winners)}" if winners else "no rank beats FFT"
            beaten = "which ranks beat FFT is not known" if winners is None else beaten
            notes.append(f"best of these ranks by theory: {best}; {beaten}")
            if len(ranks) >= _LONG_TABLE:
                table.title = f"{table.title}\n{notes[-1]} (remarks: below)"
            notes += _ties(computed, best, simulated)
            own = _doubt(computed) if computed.at_rank(best).flagged else ""
            notes += [f"in doubt: {own}"] if own else []
            notes += [f"in doubt, which beat FFT: {winners.note}"] if winners is not None and winners.note else []
        notes.append(f"by formula: {computed.formula}")
    notes += complexity_report.notes(odds)
    notes += [] if forgotten is None else [_FORGETTING, forgotten.note]
    marks = [forgotten.flagged, forgotten.fft_flagged] if forgotten is not None else []
    marks += [computed.flagged, computed.fft_flagged] if computed is not None else []
    notes.append(f"{MARK} may be off by more than 1 %" if any(np.any(mark) for mark in marks) else "")
    table.caption = "\n".join(note for note in dict.fromkeys(notes) if note)
    table.caption_justify = "left"
    print_table(table)


def crossings_json(crossings: "Crossings", rank: int, over: str, closed: ClosedCrossings) -> None:
    """Print one JSON object; an empty list means no crossing, and that `winner` wins throughout."""
    listed = [crossing._asdict() for crossing in crossings]
    out = {"rank": rank, "over": over, "crossings": listed, "flagged": crossings.flagged, "note": crossings.note}
    out["winner"] = None if crossings else crossings.winner
    out["closed_form"] = [crossing._asdict() for crossing in closed.found]
    out["closed_form_note"] = closed.note
    print(json.dumps(out, indent=2))


def crossings_text(crossings: "Crossings", rank: int, over: str, closed: ClosedCrossings) -> None:
    """Print one line a crossing, or that there is none, and what is in doubt."""
    if not crossings:
        winner = f"LoRA of rank {rank}" if crossings.winner == "LoRA" else "FFT"
        print(f"no crossing: {winner} wins at every {over} looked at")
        if any(not one.within for one in closed.found):
            print("a wider range, --low to --high, may have one: the closed form's lies outside")
    for crossing in crossings:
        first, other = f"LoRA of rank {rank}", "FFT"
        if crossing.winner_below == "FFT":
            first, other = other, first
        mark = " *" if crossing.flagged else ""
        print(f"{first} wins up to {over} = {crossing.value:.6g}{mark}, {other} beyond; {_sure(crossing)}")
    if crossings.note:
        print(f"in doubt: {crossings.note}")
    if said := complexity_report.closed_text(closed, over, crossings.flagged):
        print(said)


def _sure(crossing: "Crossing") -> str:
    """Where theory, which is not exact, is sure of what it says of a crossing."""
    up_to = "" if crossing.lowest is None else f" up to {crossing.lowest:.6g}"
    on = "" if crossing.highest is None else f" from {crossing.highest:.6g} on"
    said = f"{up_to} and{on}" if up_to and on else up_to + on
    return f"theory is sure of that{said}" if said else "theory is sure of that nowhere near"


def _ridge_of(problem: Problem, curve: RiskCurve | None) -> str:
    own = curve is not None and curve.ridge is not None
    return "each rank and FFT with its best ridge" if own else f"ridge {problem.ridge:g}"


def _best_rank(curve: RiskCurve) -> int | None:
    """The best of the curve's ranks; None where one without a number could be better."""
    try:
        return curve.best_rank
    except (NumericalFailure, InvalidInput):
        return None


def _doubt(curve: RiskCurve) -> str:
    """Why the best of the curve's ranks is in doubt; empty where it is not, or not known."""
    return doubt_of_best(curve) if _best_rank(curve) is not None else ""


def _near(curve: RiskCurve) -> list[int]:
    """The ranks that theory cannot tell from the best; empty too where the best is not known."""
    return near_best(curve) if _best_rank(curve) is not None else []


def _ties(computed: RiskCurve, best: int, simulated: RiskCurve | None) -> list[str]:
    """Which ranks theory cannot tell from the best, and of which of them the draws can."""
    near = _near(computed)
    if not near:
        return []
    flagged = computed.flagged is not None and np.any(computed.flagged)
    size = f"{100 * UNFLAGGED:g} %" + (f", those with {MARK} by a tenth" if flagged else "")
    said = [f"theory cannot tell rank {spans(near)} from {best}: risks may be off by {size}"]
    if simulated is not None:
        worse, better = _told_by_draws(simulated, best, near)
        said += [f"by the draws rank {spans(worse)} is worse than {best}"] if worse else []
        said += [f"by the draws rank {spans(better)} is better than {best}"] if better else []
    return said


def _told_by_draws(simulated: RiskCurve, best: int, near: list[int]) -> tuple[list[int], list[int]]:
    """Those of the ranks whose simulated mean is above that of the best, and below, beyond `_TOLD` standard errors.

    The standard error of the difference is at most the sum of the two, whatever the draws have in common.
    """
    own, others = simulated.at_rank(best), simulated.at(near)
    assert own.stderr is not None
    assert others.stderr is not None
    above, least = others.risk - own.risk, _TOLD * (others.stderr + own.stderr)
    return others.ranks[above > least].tolist(), others.ranks[-above > least].tolist()


def _flagged(curve: RiskCurve) -> list[int]:
    """Those of the curve's ranks whose risk may be off by more than 1 %."""
    return [] if curve.flagged is None else [int(rank) for rank in curve.ranks[curve.flagged]]


def _winners(curve: RiskCurve) -> Answer[int] | None:
    """Those of the curve's ranks whose risk is below that of FFT; None where one of them is not known."""
    unknown = np.isnan(curve.difference) & (curve.moments is not Moments.NO_MEAN)
    return None if np.any(unknown) else winners_of(curve)


def _values(array: np.ndarray) -> list[float | None]:
    return [value(x) for x in array]
