"""Speed of the deterministic equivalent: an older checkout's and this one's in one run, and against Monte Carlo.

    python benchmarks/equivalent_speed.py --before CHECKOUT [--rounds 3] [--skip-grid] [--skip-monte-carlo]

CHECKOUT: one of 15613fb (`git worktree add ../before 15613fb`), the formula's first edition. In each round a process of
either checkout, in turns, times its theory at all ranks, corrected, after one call that compiles; the table has medians
over rounds of the processor time of one core. A fresh process's first answer is timed whole, warm caches. Monte Carlo
is this checkout's, run until its largest relative standard error is 0.3 %. Writes `results/equivalent_speed.md`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import linreg_lora as ll
from linreg_lora.spectra import power_law
from linreg_lora.theory.equivalent import partial_equivalent

RESULTS = Path(__file__).parent / "results"
ACCURACY, TRIALS, SEED, LEAST_SECONDS = 0.003, 512, 1, 1.0
FIVE, SIXTEEN, HUNDRED = (4.0, 3.0, 2.0, 1.5, 1.0), tuple(np.linspace(4, 1, 16)), power_law(100, 1.0, 5.0)
OVER, UNDER = {"n": 400, "dx": 100, "dy": 100, "noise_std": 1.0}, {"n": 50, "dx": 100, "dy": 100, "noise_std": 1.0}
RIDGE = {**OVER, "n": 100, "ridge": 20.0}
#: Fields of problems, and how many times faster than before they were to be.
PROBLEMS = {
    "n > dx, 5 distinct values": ({**OVER, "spectrum": FIVE}, 10),
    "n > dx, 16 distinct values": ({**OVER, "spectrum": SIXTEEN}, 3),
    "n > dx, 100 distinct values": ({**OVER, "spectrum": HUNDRED, "noise_std": 0.5}, 2),
    "n < dx, 5 distinct values": ({**UNDER, "spectrum": (6.0, 4.0, 3.0, 2.0, 1.0)}, 10),
    "n < dx, 100 distinct values": ({**UNDER, "spectrum": HUNDRED}, 2),
    "ridge, 5 distinct values": ({**RIDGE, "spectrum": FIVE}, 3),
    "ridge, 100 distinct values": ({**RIDGE, "spectrum": HUNDRED}, 3),
}
LARGE = {"n": 50_000, "dx": 20_000, "dy": 20_000, "spectrum": tuple(np.linspace(4, 2, 10)), "noise_std": 1.0}
GRID_GOAL, FIRST_GOAL = 40, 1.0
FIRST = (
    "import linreg_lora as ll; from linreg_lora.theory.equivalent import partial_equivalent; "
    "partial_equivalent(ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0))"
)


def processor_time(call: Callable[[], object]) -> float:
    """Seconds of a call after one that compiles: the mean over as many as take a second."""
    call()
    started, calls = time.process_time(), 0
    while calls == 0 or time.process_time() - started < LEAST_SECONDS:
        call()
        calls += 1
    return (time.process_time() - started) / calls


def curve_times() -> dict[str, float]:
    """Processor time of each problem's curve in this process's checkout."""
    times = {}
    for name, (fields, _) in PROBLEMS.items():
        problem = ll.Problem(**fields)
        times[name] = processor_time(lambda problem=problem: partial_equivalent(problem))
    large = ll.Problem(**LARGE)
    times["large"] = processor_time(lambda: partial_equivalent(large, range(1, 21)))
    return times


def grid_time() -> dict[str, float]:
    """Wall time of the phase grid on two processes that have compiled, its unsolved cells and its flagged share."""
    base = ll.Problem(**PROBLEMS["n > dx, 5 distinct values"][0])
    axes = {
        "n": np.unique(np.geomspace(20, 1000, 40).astype(int)).tolist(),
        "noise_std": np.geomspace(0.1, 10, 40).tolist(),
    }
    with ll.local_processes(2) as executor:
        ll.phase_grid(base, {"n": [50, 400], "noise_std": [1.0, 2.0]}, executor=executor)
        started = time.perf_counter()
        found = ll.phase_grid(base, axes, executor=executor)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "unknown": int((found.best_rank < 0).sum()), "cells": int(found.best_rank.size)}


def of_checkout(checkout: Path, what: str) -> dict[str, float]:
    """What this script finds with another checkout's package."""
    found = subprocess.run(
        [sys.executable, __file__, "--only", what],
        env=environment(checkout),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


def first_answer(checkout: Path) -> float:
    """Wall time of a fresh process that makes one curve."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST], env=environment(checkout), cwd=checkout, check=True)
    return time.perf_counter() - started


def environment(checkout: Path) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": str(checkout)}


def against_monte_carlo(fields: dict, seconds: float) -> tuple[int, float]:
    """Draws until the standard error at every rank is `ACCURACY`, and their processor time over the formula's."""
    problem = ll.Problem(**fields)
    simulated = ll.monte_carlo(problem, trials=TRIALS, seed=SEED)
    assert simulated.stderr is not None
    draws = int(TRIALS * float(np.max(simulated.stderr / simulated.risk) / ACCURACY) ** 2)
    each = processor_time(lambda: ll.monte_carlo(problem, trials=TRIALS, seed=SEED)) / TRIALS
    return draws, draws * each / seconds


def curves_table(times: dict[str, list[dict[str, float]]], monte_carlo: bool) -> list[str]:
    median = {
        side: {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        for side, rounds in times.items()
    }
    lines = [
        "| problem | before, ms | after, ms | times faster (of each round) | goal | draws for 0.3 % "
        "| Monte Carlo over formula |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (fields, goal) in PROBLEMS.items():
        ratios = [old[name] / new[name] for old, new in zip(times["before"], times["after"], strict=True)]
        ratio = median["before"][name] / median["after"][name]
        draws, cost = against_monte_carlo(fields, median["after"][name]) if monte_carlo else (0, 0.0)
        simulated = f"{draws} | {cost:.1f}" if monte_carlo else "not run | not run"
        lines.append(
            f"| {name} | {1e3 * median['before'][name]:.0f} | {1e3 * median['after'][name]:.0f} | {ratio:.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f}) | {goal} {'met' if ratio >= goal else '**missed**'} "
            f"| {simulated} |"
        )
        print(lines[-1], flush=True)
    large = [1e3 * median[side]["large"] for side in ("before", "after")]
    lines += [
        "",
        f"dx = dy = 20,000, n = 50,000, a shift of rank 10, ranks 1..20: {large[0]:.0f} ms before, "
        f"{large[1]:.0f} after.",
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--before", type=Path, help="a checkout of the older formula")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-grid", action="store_true")
    parser.add_argument("--skip-monte-carlo", action="store_true")
    parser.add_argument("--only", choices=("curves", "grid"), help="print the times of the package that is imported")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(curve_times() if options.only == "curves" else grid_time()))
        return
    if options.before is None:
        parser.error("--before: expected a checkout of the older formula, received none")
    sides = {"before": options.before, "after": Path(__file__).resolve().parent.parent}
    times: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    first: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, checkout in sides.items():
            times[side].append(of_checkout(checkout, "curves"))
            first[side].append(first_answer(checkout))
    lines = [
        "# Speed of the deterministic equivalent",
        "",
        "Written by `python benchmarks/equivalent_speed.py --before CHECKOUT`, CHECKOUT at 15613fb: the first edition,",
        "*before*, and this one, *after*. All ranks at d = 100, corrected, after compilation: processor time of one",
        f"core, medians of {options.rounds} rounds in which the two take turns. Monte Carlo until its standard error",
        "is 0.3 % at every rank.",
        "",
        *curves_table(times, not options.skip_monte_carlo),
    ]
    answer = [statistics.median(first[side]) for side in sides]
    lines += [
        "",
        f"First answer of a fresh process, caches warm, wall: {answer[0]:.2f} s before, {answer[1]:.2f} s after (goal: "
        f"{FIRST_GOAL:g} s).",
    ]
    print(lines[-1], flush=True)
    if not options.skip_grid:
        grids = [of_checkout(checkout, "grid") for checkout in sides.values()]
        old, new = (f"{grid['seconds']:.0f} s ({grid['unknown']:.0f} not solved)" for grid in grids)
        lines += [
            "",
            f"Phase grid, {grids[1]['cells']:.0f} cells, d = 100, best LoRA rank against FFT, two processes: {old} "
            f"before, {new} after (goal: {GRID_GOAL} s).",
        ]
        print(lines[-1], flush=True)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    lines += ["", f"Largest peak memory of a process: {peak / 2**20:.2f} GiB."]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "equivalent_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
