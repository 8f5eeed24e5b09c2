"""Choosing a rank from data: leave-one-out in closed form beside other rules, on problems whose truth is known.

    python benchmarks/own_data_choice.py [--problems 320] [--first 1000] [--workers 2] [--skip-speed]

Problems `first`, `first` + 1, ... of `own_data_problems.py`, which say what they are. The regret of a rule is the
excess risk of the rank that it chooses over the least of any rank, given the same data. Each problem is written to
`results/own_data_choice.jsonl` when it is done, and those that are there are not judged again;
`results/own_data_choice.md` is the table. Speed is measured last, each row in a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from own_data_problems import FAMILIES, RULES, judged

import linreg_lora as ll

RESULTS = Path(__file__).parent / "results"
LEVEL, COVERED, BRIER, NEAR, FEW = 0.9, 0.82, 0.08, 1.08, 20
OURS, RIVALS = "leave-one-out", ("5-fold cross-validation", "10-fold cross-validation")
#: Sizes of the timed problems: rows, inputs, outputs; ridge; and what was aimed at, in seconds.
TIMED = {
    "1000 rows, 100 inputs and outputs, no ridge": ((1000, 100, 100), 0.0, 5),
    "1000 rows, 100 inputs and outputs, nine ridges": ((1000, 100, 100), "auto", 25),
    "100,000 rows, 100 inputs and outputs, no ridge": ((100_000, 100, 100), 0.0, 30),
}
REFITTED = (200, 40, 40)


# -- problems ---------------------------------------------------------------------------------------------------------


def judge(path: Path, seeds: range, workers: int) -> list[dict[str, Any]]:
    """Every problem of `seeds`, those that are in the file already and the rest."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    left = sorted(set(seeds) - {row["seed"] for row in known})
    started = time.monotonic()
    with ProcessPoolExecutor(workers) as pool, path.open("a") as file:
        for done, row in enumerate(pool.map(judged, left), start=1):
            known.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            rest = (time.monotonic() - started) / done * (len(left) - done)
            print(f"problem {row['seed']}: {done} of {len(left)}, {rest / 60:.0f} min left", flush=True)
    return sorted((row for row in known if row["seed"] in seeds), key=lambda row: row["seed"])


def regrets(rows: list[dict[str, Any]], rule: str) -> np.ndarray:
    return np.array([row["regret"][rule] for row in rows if row["regret"][rule] is not None])


def spread(values: np.ndarray) -> str:
    """The points below which 90 and 95 % of the values are, and the largest."""
    if not values.size:
        return "-"
    return "{:.3f} {:.3f} {:.2f}".format(*np.quantile(values, [0.9, 0.95, 1]))


def regret_table(rows: list[dict[str, Any]]) -> list[str]:
    halves = [[row for row in rows if row["over"] is over] for over in (True, False)]
    lines = ["| rule | n > dx: 90 %, 95 %, worst | n < dx: 90 %, 95 %, worst | ms, median |", "|---|---|---|---|"]
    for rule in RULES:
        cells = [spread(regrets(half, rule)) + _counted(half, rule) for half in halves]
        milliseconds = 1e3 * np.median([row["seconds"][rule] for row in rows if row["regret"][rule] is not None])
        lines.append(f"| {rule} | {cells[0]} | {cells[1]} | {milliseconds:.1f} |")
    return lines


def _counted(half: list[dict[str, Any]], rule: str) -> str:
    count = len(regrets(half, rule))
    return "" if count in (0, len(half)) else f" ({count} problems)"


def family_table(rows: list[dict[str, Any]]) -> list[str]:
    shown = [OURS, *RIVALS, "plug-in of the theory", "Gavish and Donoho, noise known", "full fine-tuning"]
    lines = ["| regime | shift | " + " | ".join(shown) + " |", "|---" * (len(shown) + 2) + "|"]
    for over in (True, False):
        for family in FAMILIES:
            some = [row for row in rows if row["over"] is over and row["family"] == family]
            points = [np.quantile(found, 0.9) if (found := regrets(some, rule)).size else np.nan for rule in shown]
            cells = ["-" if np.isnan(point) else f"{point:.2f}" for point in points]
            lines.append(f"| {'n > dx' if over else 'n < dx'} | {family} | " + " | ".join(cells) + " |")
    return lines


def goals(rows: list[dict[str, Any]]) -> list[str]:
    """What was asked of ours beside cross-validation, on the problems where both apply."""
    lines = ["| measure | ours | goal, or the other | |", "|---|---|---|---|"]
    for rival in RIVALS:
        some = [row for row in rows if row["over"] and row["regret"][rival] is not None]
        for share in (0.9, 0.95):
            ours, its = (float(np.quantile(regrets(some, rule), share)) for rule in (OURS, rival))
            lines.append(_goal(f"n > dx, {share:.0%} regret not above that of {rival}", ours, its, ours <= its))
    for rival in RIVALS:
        for label, least, factor in (
            (f"n < dx, 95 % regret within 8 % of {rival}", 0, NEAR),
            (f"n < dx, n >= {FEW}, 95 % regret not above {rival}", FEW, 1.0),
        ):
            some = [r for r in rows if not r["over"] and r["n"] >= least and r["regret"][rival] is not None]
            ours, its = (float(np.quantile(regrets(some, rule), 0.95)) for rule in (OURS, rival))
            lines.append(_goal(f"{label} ({len(some)} problems)", ours, its, ours <= factor * its))
    for over in (True, False):
        half = [row for row in rows if row["over"] is over]
        where = "n > dx" if over else "n < dx"
        share = float(np.mean([row["covered"] for row in half]))
        lines.append(_goal(f"{where}, interval of nominal 90 % covers", share, COVERED, share >= COVERED))
        normal = float(np.mean([row["covered_normal"] for row in half]))
        lines.append(_goal(f"{where}, error +- 1.645 standard errors covers", normal, None, True))
        lines.append(_goal(f"{where}, Brier score of P(LoRA beats FFT)", brier(half), None, True))
    lines.append(_goal("Brier score of P(LoRA beats FFT), all", brier(rows), BRIER, brier(rows) <= BRIER))
    for over in (True, False):
        ratio = np.median([row["ridge_over_best_rank"] for row in rows if row["over"] is over])
        label = f"{'n > dx' if over else 'n < dx'}, risk with ridge and rank chosen over the least of any rank, median"
        lines.append(_goal(label, float(ratio), None, True))
    return lines


def brier(rows: list[dict[str, Any]]) -> float:
    """The mean square of what a probability is off by."""
    return float(np.mean([(row["probability"] - row["beats"]) ** 2 for row in rows]))


def _goal(label: str, ours: float, other: float | None, met: bool) -> str:
    verdict = "" if other is None else "met" if met else "**missed**"
    return f"| {label} | {ours:.3f} | {'-' if other is None else f'{other:.3f}'} | {verdict} |"


# -- speed ------------------------------------------------------------------------------------------------------------


def data(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of inputs, and of outputs whose shift has rank five."""
    n, dx, dy = shape
    rng = np.random.default_rng(7)
    inputs = rng.standard_normal((n, dx))
    shift = rng.standard_normal((dy, 5)) @ rng.standard_normal((5, dx)) / np.sqrt(dx)
    return inputs, inputs @ shift.T + rng.standard_normal((n, dy))


def timed(name: str) -> None:
    """Prints the seconds of one row of the table, and the peak memory of this process in GiB."""
    if name == "refits":
        print(json.dumps(refits()))
        return
    shape, ridge, _ = TIMED[name]
    inputs, outputs = data(shape)
    started = time.perf_counter()
    if ridge == "auto":
        from linreg_lora.own_data.choice import choose
        from linreg_lora.own_data.deletion import design
        from linreg_lora.own_data.samples import samples

        given = samples(inputs, outputs, None, None)
        choose(given, design(given.inputs, intercept=True))
    else:
        ll.own_data.leave_one_out(inputs, outputs, ridge=ridge)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))


def refits() -> list[float]:
    """Seconds of leaving out by refitting, and in closed form, of the same curve; they agree to rounding."""
    inputs, outputs = data(REFITTED)
    by_hand, refitted = _seconds(lambda: _refitted(inputs, outputs))
    closed, found = _seconds(lambda: ll.own_data.leave_one_out(inputs, outputs, intercept=False).error)
    np.testing.assert_allclose(found, refitted, rtol=1e-9)
    return [by_hand, closed]


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def _refitted(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Every sample left out in turn, and every rank fitted again, in plain NumPy."""
    q, losses = min(inputs.shape[1], outputs.shape[1]), []
    for out in range(len(inputs)):
        keep = np.arange(len(inputs)) != out
        update = np.linalg.lstsq(inputs[keep], outputs[keep], rcond=None)[0].T
        basis = np.linalg.svd(update @ inputs[keep].T, full_matrices=False)[0]
        predicted = np.cumsum(basis * (basis.T @ (update @ inputs[out])), axis=1)
        steps = np.column_stack([np.zeros(len(outputs[out])), predicted])[:, : q + 1]
        losses.append(np.sum((outputs[out][:, None] - steps) ** 2, axis=0))
    return np.mean(losses, axis=0)


def speed_table() -> list[str]:
    lines = ["| leave-one-out at all ranks | seconds | goal | peak memory, GiB |", "|---|---|---|---|"]
    for name, (_, _, goal) in TIMED.items():
        seconds, memory = _in_a_process(name)
        met = "met" if seconds < goal and memory < 1 else "**missed**"
        lines.append(f"| {name} | {seconds:.1f} | {goal} {met} | {memory:.2f} |")
    by_hand, closed = _in_a_process("refits")
    n, dx, dy = REFITTED
    sentence = (
        f"{n} rows, {dx} inputs, {dy} outputs, without ridge or intercept: {by_hand:.2f} s by refitting every rank "
        f"without every sample, {closed:.3f} s in closed form: {by_hand / closed:.0f} times faster."
    )
    return [*lines, "", sentence]


def _in_a_process(name: str) -> list[float]:
    done = subprocess.run([sys.executable, __file__, "--timed", name], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--problems", type=int, default=320)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--timed", choices=[*TIMED, "refits"], help="print the time of this package alone")
    options = parser.parse_args()
    if options.timed:
        timed(options.timed)
        return
    RESULTS.mkdir(exist_ok=True)
    seeds = range(options.first, options.first + options.problems)
    rows = judge(RESULTS / "own_data_choice.jsonl", seeds, options.workers)
    lines = [
        "# Choosing a rank from data",
        "",
        f"Written by `python benchmarks/own_data_choice.py`: {len(rows)} problems, {seeds[0]} to {seeds[-1]}, of",
        "`benchmarks/own_data_problems.py`. Regret: the excess risk at the rank that a rule chooses, over the least of",
        "any rank, given the same data. All rules are asked for a rank, without ridge. Comparisons are paired: on the",
        "problems where both rules apply (folds need twice as many rows).",
        "",
        *regret_table(rows),
        "",
        "## What was aimed at",
        "",
        *goals(rows),
        "",
        "## 90 % regret by family",
        "",
        *family_table(rows),
    ]
    if not options.skip_speed:
        lines += ["", "## Speed", "", *speed_table()]
    (RESULTS / "own_data_choice.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
