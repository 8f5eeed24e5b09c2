"""Several tasks as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence

from linreg_lora.cli.risk_report import MARK, number, value
from linreg_lora.console import print_table
from linreg_lora.problem import Problem
from linreg_lora.simulation.composed import Composition

#: Of the table, whose title and notes are longer than its lines.
_LEAST_WIDTH = 80


def compose_json(
    problems: Sequence[Problem],
    methods: Sequence[str],
    alignment: float,
    found: Composition,
    trials: int,
    seed: int,
    *,
    given: bool,
) -> None:
    """Print one JSON object; `given`: the weights were. Values that do not exist are null, and `note` says why."""
    simulated = found.stages[0].mean is not None
    out: dict[str, object] = {
        "how": "sequence" if found.weights is None else "sum",
        "alignment": alignment,
        "tasks": [
            {"method": name, "problem": {k: v for k, v in problem.to_dict().items() if k != "pretrained"}}
            for name, problem in zip(methods, problems, strict=True)
        ],
    }
    if found.weights is not None:
        out["weights"] = {"values": found.weights.tolist(), "given": given}
    if simulated:
        out |= {"trials": trials, "seed": seed}
    stages = []
    for stage in found.stages:
        row: dict[str, object] = {"after": stage.after}
        if stage.theory is not None:
            row["theory"] = [value(x) for x in stage.theory.tolist()]
        if stage.mean is not None and stage.stderr is not None:
            mean, stderr = stage.mean.tolist(), stage.stderr.tolist()
            row["monte_carlo"] = {"mean": [value(x) for x in mean], "stderr": [value(x) for x in stderr]}
        stages.append(row)
    out["stages"] = stages
    if found.weights is None:
        out["forgetting"] = [
            {name: x if name == "task" else value(x) for name, x in one._asdict().items()} for one in found.forgetting
        ]
    out |= {"flagged": found.flagged, "note": found.note}
    print(json.dumps(out, indent=2, allow_nan=False))


def compose_table(
    problems: Sequence[Problem],
    methods: Sequence[str],
    alignment: float,
    found: Composition,
    trials: int,
    seed: int,
    *,
    given: bool,
) -> None:
    """Print a table, one line for each task after each stage."""
    from rich.table import Table

    one = problems[0]
    sizes = ",".join(str(problem.n) for problem in problems)
    how = "one task after another" if found.weights is None else "a sum of updates"
    table = Table(
        title=f"Excess risk of {how}, {', '.join(methods)}: n = {sizes}, dx = {one.dx}, dy = {one.dy}, noise std "
        f"{one.noise_std:g}, ridge {one.ridge:g}, alignment {alignment:g}",
        title_justify="left",
        min_width=_LEAST_WIDTH,
    )
    theory, simulated = found.stages[0].theory is not None, found.stages[0].mean is not None
    table.add_column("after")
    table.add_column("risk on")
    if theory:
        table.add_column("theory", justify="right")
    if simulated:
        table.add_column(f"simulated ({trials} draws)", justify="right")
        table.add_column("standard error", justify="right")
    for place, stage in enumerate(found.stages):
        for task in range(len(problems)):
            row = [stage.after if task == 0 else "", f"task {task + 1}"]
            if stage.theory is not None:
                row.append(number(stage.theory[task]) + (f" {MARK}" if found.flagged and place > 0 else ""))
            if stage.mean is not None and stage.stderr is not None:
                row += [number(stage.mean[task]), number(stage.stderr[task])]
            table.add_row(*row, end_section=task == len(problems) - 1)
    lines = [f"{MARK} may be off by more than 1 %"] if found.flagged and theory else []
    if found.weights is not None:
        said = "as given" if given else "of least summed risk, by theory"
        lines.append(f"weights {said}: {', '.join(number(x) for x in found.weights.tolist())}")
    for forgotten in found.forgetting:
        said = []
        if forgotten.theory is not None:
            said.append(f"{number(forgotten.theory)} by theory")
        if forgotten.mean is not None and forgotten.stderr is not None:
            said.append(f"{number(forgotten.mean)} simulated, standard error {number(forgotten.stderr)}")
        lines.append(f"forgotten of task {forgotten.task} at the end: {'; '.join(said)}")
    lines += [f"theory: {found.note}"] if found.note else []
    table.caption = "\n".join(lines)
    table.caption_justify = "left"
    print_table(table)
