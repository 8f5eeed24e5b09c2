"""What two checkpoints say about ranks, as a table for people and as JSON for programs."""

import json
import math
from pathlib import Path

from linreg_lora.checkpoints.comparison import Comparison
from linreg_lora.checkpoints.noise import NoiseRank
from linreg_lora.checkpoints.peft import module_of
from linreg_lora.checkpoints.update import UpdateRanks
from linreg_lora.cli.numbers import MARK, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput
from linreg_lora.files.atomic import write_atomically

#: Shares of the energy whose ranks are always said.
_SHARES = (0.9, 0.95, 0.99)
_LISTED = 20


def weights_json(found: Comparison, share: float, ranks: list[int]) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null; `ranks`: whose kept shares are said."""
    allocation = found.allocation
    out = {
        "share": share,
        "tensors": [_tensor(found, name, update, ranks) for name, update in found.updates.items()],
        "skipped": [{"name": name, "reason": reason} for name, reason in found.skipped.items()],
        "budget": None
        if allocation is None
        else {
            "budget": allocation.budget,
            "parameters": allocation.parameters,
            "kept": value(allocation.kept),
            "most": value(allocation.most),
        },
        "parameters": found.parameters,
        "peft": found.configuration,
        "notes": list(found.notes),
    }
    print(json.dumps(out, indent=2, allow_nan=False))


def weights_table(found: Comparison, share: float, ranks: list[int]) -> None:
    """Print a table, one line a tensor, and what was left out and why."""
    from rich.table import Table

    percent = f"{100 * share:.10g} %"
    in_metric = any(update.in_metric for update in found.updates.values())
    title = f"Ranks that keep {percent} of the energy of W1 - W0"
    table = Table(title=title + (" in the metric of the inputs" if in_metric else ""), title_justify="left")
    table.add_column("tensor", overflow="fold")
    columns = ["shape", "change", f"rank {percent}", *(["by plain SVD"] if in_metric else []), "90 %"]
    columns += ["above noise", "above rounding", *(f"kept by {rank}" for rank in ranks), "pays up to"]
    for column in [*columns, *(["budget"] if found.allocation is not None else [])]:
        table.add_column(column, justify="right", no_wrap=column in ("shape", "change"))
    for name, update in found.updates.items():
        table.add_row(name, *_row(update, ranks, in_metric=in_metric), *_allocated(found, name))
    print_table(table)
    full = sum(math.prod(update.shape) for update in found.updates.values())
    print(f"B and A of these ranks: {found.parameters:,} numbers, against {full:,} of the matrices.")
    if found.allocation is not None:
        a = found.allocation
        print(f"Under a budget of {a.budget:,}: {a.parameters:,} used, {100 * a.kept:.4g} % of the energy kept.")
    for line in [*_doubts(found), *found.notes, *_skipped(found)]:
        print(f"Note: {line}.")


def write_configuration(path: Path, found: Comparison) -> None:
    """Write the arguments of PEFT's LoraConfig as JSON. Raises `InvalidInput` where no module has a rank."""
    if not found.configuration["target_modules"]:
        raise InvalidInput("rank-pattern", "a module of rank 1 at least", "none")
    write_atomically(path, (json.dumps(found.configuration, indent=2) + "\n").encode())


def _tensor(found: Comparison, name: str, update: UpdateRanks, ranks: list[int]) -> dict[str, object]:
    dy, dx = update.shape
    return {
        "name": name,
        "module": module_of(name),
        "outputs": dy,
        "inputs": dx,
        "kinds": list(found.kinds[name]),
        "metric": "inputs" if update.in_metric else "plain",
        "squared": update.squared,
        "change": value(update.change),
        "energy": value(update.energy),
        "unseen": value(update.unseen),
        "rank": update.rank,
        "plain_rank": update.plain_rank,
        "shares": [{"share": share, "rank": update.rank_for(share)} for share in _SHARES],
        "kept": [{"rank": rank, "share": value(update.kept(rank))} for rank in ranks],
        "numerical_rank": update.numerical_rank,
        "stable_rank": value(update.stable_rank),
        "effective_rank": value(update.effective_rank),
        "largest_rank": update.largest_rank,
        "noise": None if update.noise is None else _noise(update.noise),
        "rounding": {
            "share": value(update.rounding.share),
            "edge": value(update.rounding.edge),
            "rank": update.rounding.rank,
        },
        "budget_rank": None if found.allocation is None else found.allocation.ranks[name],
        "notes": list(update.notes),
    }


def _noise(noise: NoiseRank) -> dict[str, object]:
    return {
        "rank": noise.rank,
        "worth_keeping": noise.worth_keeping,
        "edge": value(noise.edge),
        "known_by": noise.known_by,
        "flagged": noise.flagged,
        "note": noise.note,
    }


def _row(update: UpdateRanks, ranks: list[int], *, in_metric: bool) -> list[str]:
    noise = "" if update.noise is None else f"{update.noise.rank}{MARK if update.noise.flagged else ''}"
    rank = f"{update.rank}{'' if update.in_metric or not in_metric else ' (plain)'}"
    return [
        " x ".join(map(str, update.shape)),
        number(update.change),
        rank,
        *([str(update.plain_rank)] if in_metric else []),
        str(update.rank_for(_SHARES[0])),
        noise,
        str(update.rounding.rank),
        *(f"{100 * update.kept(rank):.1f} %" for rank in ranks),
        str(update.largest_rank),
    ]


def _allocated(found: Comparison, name: str) -> list[str]:
    return [] if found.allocation is None else [str(found.allocation.ranks[name])]


def _doubts(found: Comparison) -> list[str]:
    """Each reason once, with how many tensors it is of."""
    reasons: dict[str, list[str]] = {}
    for name, update in found.updates.items():
        for note in update.notes:
            reasons.setdefault(note, []).append(name)
        if update.noise is not None and update.noise.flagged:
            reasons.setdefault(f"{MARK} above noise: {update.noise.note}", []).append(name)
    return [f"{note} ({_named(names)})" for note, names in reasons.items()]


def _skipped(found: Comparison) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in found.skipped.items():
        reasons.setdefault(reason, []).append(name)
    return [f"not compared, {reason}: {_named(names)}" for reason, names in reasons.items()]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
