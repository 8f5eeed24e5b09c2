"""Poisoned training data as a table for people and as JSON for programs."""

import json
from dataclasses import dataclass

import numpy as np

from linreg_lora.cli import attack_inputs, grammar
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.simulation.poisoned import PoisonedRisks
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.poisoning import (
    Outcome,
    Poison,
    PoisonedCurve,
    PoisonVerdict,
    Status,
    poison_verdicts,
    poisoned_risk,
)

_SAID = (
    "success: how much of the target the trigger calls forth; budget: m |p|^2 from which the poison stands out and is "
    "kept, by the same samples and trigger; below it the rank is immune, or absorbs what noise hides in part"
)
_TIED = f"{MARK} at a tie, where the draws decide, or may be off by some per cent and more"
_HARMED = "rank {rank}: immune to the poison's success, yet its risk rises more than FFT's, by mixing with the task"


@dataclass(frozen=True)
class Theory:
    """What theory says; `verdicts` by rank, none where they are not known, and `note` why."""

    poisoned: PoisonedCurve | None
    clean: RiskCurve
    verdicts: dict[int, PoisonVerdict]
    note: str


def theory(problem: Problem, poison: Poison, ranks: np.ndarray, *, alone: bool) -> Theory:
    """Risks and verdicts by theory; `alone`: raises `InvalidInput` where there are none, being all that was asked."""
    verdicts: dict[int, PoisonVerdict] = {}
    try:
        poisoned = poisoned_risk(problem, poison, ranks)
    except InvalidInput as refused:
        if alone:
            raise
        return Theory(None, expected_risk(problem, ranks), {}, str(refused))
    notes = list(poisoned.notes)
    try:
        kept = ranks[ranks > 0]
        verdicts = {one.rank: one for one in poison_verdicts(problem, poison, kept)} if kept.size else {}
    except InvalidInput as refused:
        if str(refused) not in notes:
            notes.append(f"no verdict: {refused}")
    clean = expected_risk(problem, ranks)
    notes += [f"unpoisoned: {note}" for note in clean.notes if bool(np.any(_doubted(clean)))]
    for rank, risk, before in zip(ranks.tolist(), poisoned.risk, clean.risk, strict=True):
        immune = rank in verdicts and verdicts[rank].outcome is Outcome.IMMUNE
        if immune and risk - before > poisoned.fft_risk - clean.fft_risk:
            notes.append(_HARMED.format(rank=rank))
    return Theory(poisoned, clean, verdicts, "; ".join(dict.fromkeys(notes)))


def attack_json(
    problem: Problem,
    poison: Poison,
    ranks: np.ndarray,
    simulated: PoisonedRisks | None,
    computed: Theory | None,
    perturbed: attack_inputs.Perturbed | None = None,
) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null, and each `note` says why."""
    fft: dict[str, object] = {}
    vectors = {name: getattr(poison, name) for name in ("target", "trigger", "along")}
    out: dict[str, object] = {
        "problem": {**problem.to_dict(), "regime": str(problem.regime), "moments": str(problem.moments)},
        "poison": {
            "count": poison.count,
            **{name: None if vector is None else vector.tolist() for name, vector in vectors.items()},
            "budget": poison.budget,
        },
        "ranks": ranks.tolist(),
    }
    if simulated is not None:
        names = ("risk", "risk_stderr", "success", "success_stderr")
        more = ("difference", "difference_stderr")
        out["monte_carlo"] = {
            **{name: [value(x) for x in getattr(simulated, name)] for name in (*names, *more)},
            "trials": simulated.trials,
            "seed": simulated.seed,
            "moments": str(simulated.moments),
            "note": "; ".join(simulated.notes),
        }
        fft["monte_carlo"] = {name: value(getattr(simulated, f"fft_{name}")) for name in names}
    if computed is not None:
        found, clean = computed.poisoned, computed.clean
        each = [computed.verdicts.get(int(rank)) for rank in ranks]
        out["theory"] = {
            "risk": None if found is None else [value(x) for x in found.risk],
            "success": None if found is None else [value(x) for x in found.success],
            "status": None if found is None else [str(one) for one in found.status],
            "flagged": [] if found is None else ranks[found.flagged].tolist(),
            "formula": "" if found is None else found.formula,
            "unpoisoned": [value(x) for x in clean.risk],
            "unpoisoned_flagged": ranks[_doubted(clean)].tolist(),
            "note": computed.note,
        }
        out["verdicts"] = [
            None
            if one is None
            else {
                "outcome": str(one.outcome),
                "budget": value(one.budget),
                "ratio": one.ratio,
                "tie": one.tie,
                "flagged": one.flagged,
            }
            for one in each
        ]
        fft["theory"] = {
            "risk": None if found is None else value(found.fft_risk),
            "success": None if found is None else value(found.fft_success),
            "status": str(Status.UNKNOWN if found is None else found.fft_status),
            "formula": "" if found is None else found.fft_formula,
            "unpoisoned": value(clean.fft_risk),
        }
    out["fft"] = fft
    if perturbed is not None:
        out["perturbed_inputs"] = attack_inputs.as_json(perturbed)
    print(json.dumps(out, indent=2, allow_nan=False))


def attack_table(
    problem: Problem,
    poison: Poison,
    ranks: np.ndarray,
    simulated: PoisonedRisks | None,
    computed: Theory | None,
    perturbed: attack_inputs.Perturbed | None = None,
) -> None:
    """Print a table, one line a rank and one for FFT."""
    from rich.table import Table

    table = Table(title=_title(problem, poison), title_justify="left")
    table.add_column("method")
    table.add_column("rank", justify="right")
    with_trigger = poison.trigger is not None
    found = None if computed is None else computed.poisoned
    names = ["clean risk", "success"] if with_trigger else ["clean risk"]
    headings = [f"{name}, {simulated.trials} draws" for name in names] if simulated is not None else []
    headings = [part for name in headings for part in (name, "standard error" + " " * name.startswith("success"))]
    headings += ["risk by theory, unpoisoned"] if computed is not None else []
    headings += [f"{name} by theory" for name in names] if found is not None else []
    headings += ["verdict", "budget"] if computed is not None and computed.verdicts else []
    for heading in headings:
        table.add_column(heading, justify="right")
    for i, rank in enumerate(ranks.tolist()):
        row = ["LoRA", str(rank)]
        if simulated is not None:
            row += [number(simulated.risk[i]), number(simulated.risk_stderr[i])]
            row += [number(simulated.success[i]), number(simulated.success_stderr[i])] if with_trigger else []
        if computed is not None:
            row.append(marked(computed.clean.risk[i], bool(_doubted(computed.clean)[i])))
        if found is not None:
            row.append(marked(found.risk[i], bool(found.flagged[i])))
            row += [marked(found.success[i], bool(found.flagged[i]))] if with_trigger else []
        if computed is not None and computed.verdicts:
            row += _verdict(computed.verdicts.get(rank))
        table.add_row(*row)
    row = ["FFT", "-"]
    if simulated is not None:
        row += [number(simulated.fft_risk), number(simulated.fft_risk_stderr)]
        row += [number(simulated.fft_success), number(simulated.fft_success_stderr)] if with_trigger else []
    row += [number(computed.clean.fft_risk)] if computed is not None else []
    if found is not None:
        row += [number(found.fft_risk), *([number(found.fft_success)] if with_trigger else [])]
    row += ["-", "-"] if computed is not None and computed.verdicts else []
    table.add_row(*row, style="bold")
    notes = list(simulated.notes) if simulated is not None else []
    if computed is not None:
        notes += [_SAID if with_trigger else _SAID.partition("; ")[2]] if computed.verdicts else []
        named = [] if found is None else [found.formula, f"FFT: {found.fft_formula}" if found.fft_formula else ""]
        notes += [f"by formula: {'; '.join(filter(None, named))}"] if any(named) else []
        tied = any(one.flagged for one in computed.verdicts.values()) or (
            found is not None and bool(np.any(found.flagged))
        )
        tied = tied or bool(np.any(_doubted(computed.clean)))
        notes += [_TIED] if tied else []
        notes += [computed.note] if computed.note else []
    table.caption = "\n".join(dict.fromkeys(notes))
    table.caption_justify = "left"
    print_table(table)
    if perturbed is not None:
        attack_inputs.print_perturbed(perturbed)


def _doubted(curve: RiskCurve) -> np.ndarray:
    """At which of its ranks a curve is flagged."""
    return np.zeros(len(curve.ranks), dtype=bool) if curve.flagged is None else curve.flagged


def _title(problem: Problem, poison: Poison) -> str:
    labels = f"labels + {number(float(np.linalg.norm(poison.target)))}"
    inputs = "" if poison.trigger is None else f", inputs + {number(float(np.linalg.norm(poison.trigger)))}"
    which = "random" if poison.along is None else "chosen"
    return (
        f"Poison of {poison.count} {which} samples ({labels}{inputs}; m |p|^2 = {number(poison.budget)}), "
        f"{problem.regime}: n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, noise std {problem.noise_std:g}, "
        f"{grammar.said_mean(problem)}ridge {problem.ridge:g}"
    )


def _verdict(found: PoisonVerdict | None) -> list[str]:
    """The cells of a verdict; none of rank 0, where nothing is learnt."""
    if found is None:
        return ["-", "-"]
    return [f"{found.outcome} {MARK}" if found.flagged else str(found.outcome), number(found.budget)]
