"""Error of the deterministic equivalent against simulation: an older checkout's and this one's, in one table.

    python benchmarks/equivalent_error.py [--before CHECKOUT] [--dimensions 25 50 100] [--families NAME ...] [--rate]

CHECKOUT: one of 15613fb (`git worktree add ../before 15613fb`), the formula's first edition. For each family of
`equivalent_families.py` and dimension d: all ranks (a dozen where Delta couples everything) by both theories, and by
one Monte Carlo, with as many draws as bring the standard error at every rank below 0.05 % of the risk, or 20,000.
What was simulated, and what the other checkout said, is kept in `results/equivalent_simulated.jsonl` as soon as it is
known and never computed again; this checkout's theory is, each time, for `results/equivalent_error.csv` and the table
`results/equivalent_error.md`. Beside the largest error stands how many standard errors it is: the largest
of a hundred comparisons is some three standard errors by chance. `--rate` adds how errors fall with dimension.
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from equivalent_families import families, problem_of, ranks_of, theory_of

import linreg_lora as ll

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TARGET, LARGEST, PILOT, SEED = 5e-4, 20_000, 400, 20_261_122
RATE_TARGET, RATE_DIMENSIONS = 3e-4, (12, 24, 48)
RATE_FAMILIES = (
    "n > dx: low rank, near the threshold",
    "n > dx: half rank",
    "n < dx: power law",
    "ridge: low rank, n = dx",
)
#: What was aimed at, in per cent: at d = 25 with Sigma = I and in general, and from d = 100 on.
GOAL_ISOTROPIC, GOAL_GENERAL, GOAL_LARGE = 0.3, 1.0, 0.1
#: Errors of so many standard errors are chance, where the largest of many is looked at.
CHANCE = 3.5


def theory_before(checkout: Path, dimensions: list[int], names: list[str]) -> dict[tuple[str, int], dict]:
    """What the other checkout says, by family and dimension."""
    command = [sys.executable, str(HERE / "equivalent_families.py"), "--dimensions", *map(str, dimensions)]
    printed = subprocess.run(
        [*command, "--families", *names],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return {(entry["family"], entry["d"]): entry for entry in json.loads(printed)}


class Simulated(NamedTuple):
    """A family's problem simulated at `ranks` below FFT's, and what the other checkout said of it."""

    family: str
    d: int
    trials: int
    ranks: list[int]
    risk: list[float]
    stderr: list[float]
    fft_risk: float
    fft_stderr: float
    before: dict
    seconds: float


def simulated(name: str, d: int, before: dict) -> Simulated:
    """Risks until the target is met or draws run out."""
    started, fields = time.perf_counter(), families(d)[name]
    problem, ranks = problem_of(fields), ranks_of(name, fields)
    pilot = ll.monte_carlo(problem, trials=PILOT, seed=SEED, ranks=ranks)
    assert pilot.stderr is not None
    spread = float(np.nanmax(pilot.stderr / pilot.risk)) * math.sqrt(PILOT)
    trials = int(np.clip(math.ceil((spread / TARGET) ** 2), PILOT, LARGEST))
    curve = ll.monte_carlo(problem, trials=trials, seed=SEED + 1, ranks=ranks)
    assert curve.stderr is not None
    assert curve.fft_stderr is not None
    numbers = curve.ranks.tolist(), curve.risk.tolist(), curve.stderr.tolist(), curve.fft_risk, curve.fft_stderr
    return Simulated(name, d, trials, *numbers, before, time.perf_counter() - started)


def worst(theory: dict, curve: Simulated, largest: int) -> dict[str, float]:
    """The largest error in per cent over unflagged ranks below FFT, its rank, and its size in standard errors.

    `anywhere`: the largest over flagged ranks too. `largest`: FFT's rank.
    """
    below = np.array(curve.ranks) < largest
    simulated_risk, stderr = np.array(curve.risk), np.array(curve.stderr)
    if "refused" in theory:
        nothing = dict.fromkeys(("error", "rank", "z", "anywhere"), np.nan)
        return {**nothing, "flagged": 0, "refused": int(below.sum())}
    risk, flagged = np.array(theory["risk"], dtype=float), np.array(theory["flagged"])
    refused = ~np.isfinite(risk)
    said = below & ~flagged & ~refused
    counts = {
        "anywhere": 100 * float(np.max(np.abs(risk / simulated_risk - 1)[below & ~refused], initial=0.0)),
        "flagged": int((below & flagged & ~refused).sum()),
        "refused": int((below & refused).sum()),
    }
    if not said.any():
        return {"error": np.nan, "rank": np.nan, "z": np.nan, **counts}
    off = np.where(said, np.abs(risk / simulated_risk - 1), -1.0)
    at = int(np.argmax(off))
    z = off[at] / (stderr / simulated_risk)[at]
    return {"error": 100 * off[at], "rank": int(curve.ranks[at]), "z": z, **counts}


def row(curve: Simulated) -> dict:
    fields = families(curve.d)[curve.family]
    problem, after, before = problem_of(fields), theory_of(curve.family, fields), curve.before
    old, new = (worst(theory, curve, problem.max_rank) for theory in (before, after))
    raw = worst({**after, "risk": after["raw"]}, curve, problem.max_rank) if "raw" in after else new
    return {
        "family": curve.family,
        "d": curve.d,
        "n": problem.n,
        "dx": problem.dx,
        "dy": problem.dy,
        "ranks": int(np.sum(np.array(curve.ranks) < problem.max_rank)),
        "trials": curve.trials,
        "stderr": 100 * float(np.nanmax(np.array(curve.stderr) / curve.risk)),
        "raw": raw["error"],
        **{f"before_{key}": value for key, value in old.items()},
        **{f"after_{key}": value for key, value in new.items()},
        "fft_before": 100 * abs(before.get("fft", np.nan) / curve.fft_risk - 1),
        "fft_after": 100 * abs(after.get("fft", np.nan) / curve.fft_risk - 1),
        "fft_stderr": 100 * curve.fft_stderr / curve.fft_risk,
        "seconds": curve.seconds,
    }


def goal(r: dict) -> float | None:
    """What the row was to reach, in per cent; none between d = 25 and 100, and for inputs of other laws."""
    if r["family"].startswith("inputs"):
        return None
    if r["family"].startswith("threshold"):
        return GOAL_GENERAL
    if r["d"] >= 100:
        return GOAL_LARGE
    if r["d"] != 25:
        return None
    return GOAL_GENERAL if "Sigma" in r["family"] or "noise levels" in r["family"] else GOAL_ISOTROPIC


def met(r: dict) -> bool | None:
    """Whether the goal is met, but for what simulation cannot tell; None without one, or where no rank is unflagged."""
    aim = goal(r)
    if aim is None or not np.isfinite(r["after_error"]):
        return None
    own = r["after_error"] / r["after_z"]
    return bool(r["after_error"] <= aim + CHANCE * own)


def rate(name: str, d: int) -> dict:
    """Errors at one rank in the middle of the bulk, in per cent, simulated to `RATE_TARGET`."""
    problem = problem_of(families(d)[name])
    rank = problem.max_rank // 2
    theory = ll.theory.lora_equivalent(problem, [rank])
    pilot = ll.monte_carlo(problem, trials=PILOT, seed=SEED, ranks=[rank])
    assert pilot.stderr is not None
    trials = math.ceil(PILOT * (pilot.stderr[0] / pilot.risk[0] / RATE_TARGET) ** 2)
    found = ll.monte_carlo(problem, trials=trials, seed=SEED + 1, ranks=[rank])
    assert found.stderr is not None
    errors = [100 * (value / found.risk[0] - 1) for value in (theory.raw[0], theory.risk[0])]
    said = {"stderr": 100 * found.stderr[0] / found.risk[0], "raw": errors[0], "corrected": errors[1]}
    return {"family": name, "d": d, "rank": rank, "trials": trials, **said}


def rate_table() -> list[str]:
    """How the two errors fall with dimension, where simulation is precise enough to see it."""
    lines = [
        "# How the error of the deterministic equivalent falls with dimension",
        "",
        "Written by `python benchmarks/equivalent_error.py --rate`. One rank in the middle of the bulk, simulated to",
        f"{100 * RATE_TARGET:.2g} %. Doubling d should halve the raw error and divide the corrected one by four,",
        "until it is lost in the standard error.",
        "",
        "| family | d | rank | draws | std. error | raw | corrected |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in RATE_FAMILIES:
        for d in RATE_DIMENSIONS:
            r = rate(name, d)
            values = " | ".join(f"{r[key]:.3f}" for key in ("stderr", "raw", "corrected"))
            lines.append(f"| {name} | {d} | {r['rank']} | {r['trials']} | {values} |")
            print(lines[-1], flush=True)
    return lines


def read(path: Path) -> list[Simulated]:
    if not path.exists():
        return []
    return [Simulated(**json.loads(line)) for line in path.read_text().splitlines()]


def table(rows: list[dict]) -> str:
    """Markdown: what is left by dimension, then problem by problem, then what the first edition had."""
    rows = sorted(rows, key=lambda r: (r["family"], r["d"]))
    lines = [
        "# Error of the deterministic equivalent against simulation",
        "",
        "Written by `python benchmarks/equivalent_error.py`. The error of a problem is the largest relative one over",
        "the unflagged ranks below FFT, in per cent, between LoRA's expected risk by theory and by simulation.",
        "",
        "## By dimension",
        "",
        "| d | problems | error, median | error, worst | ranks flagged or refused | goals met |",
        "|---|---|---|---|---|---|",
    ]
    for d in sorted({r["d"] for r in rows}):
        chosen = [r for r in rows if r["d"] == d]
        verdicts = [met(r) for r in chosen if met(r) is not None]
        median, largest, share = _side(chosen, "after")
        reached = f"{sum(map(bool, verdicts))} of {len(verdicts)}"
        lines.append(f"| {d:.0f} | {len(chosen)} | {median} | {largest} | {share} | {reached} |")
    lines += [
        "",
        f"Goals: at most {GOAL_ISOTROPIC:g} % for Sigma = I and {GOAL_GENERAL:g} % in general at d = 25,",
        f"{GOAL_LARGE:g} % from d = 100 on, {GOAL_GENERAL:g} % near the threshold with ridge. A goal is met where the",
        f"largest error is above it by no more than {CHANCE:g} standard errors of its own.",
        "",
        "## Problem by problem",
        "",
        "*Raw* is without the finite-size correction. Beside the error stand its rank, its size in standard errors",
        "(the largest of a hundred comparisons is some three by chance), and how many ranks are flagged and refused.",
        "*Flagged too* is the largest error over flagged ranks as well. FFT where no exact risk is known.",
        "",
        "| family | d | ranks | draws | std. error | raw | error | at rank (z) | flagged, refused | goal | flagged too "
        "| FFT |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    verdict = {None: "", True: " met", False: " **missed**"}
    for r in rows:
        aim = goal(r)
        at = f"{r['after_rank']:.0f} ({r['after_z']:.1f})" if np.isfinite(r["after_rank"]) else "none"
        lines.append(
            f"| {r['family']} | {r['d']:.0f} | {r['ranks']:.0f} | {r['trials']:.0f} | {r['stderr']:.3f} | "
            f"{_number(r['raw'])} | {_number(r['after_error'])} | {at} | {_counts(r, 'after')} | "
            f"{'' if aim is None else f'{aim:g}{verdict[met(r)]}'} | {_number(r['after_anywhere'])} | "
            f"{_number(r['fft_after'])} |"
        )
    lines += [
        "",
        "## Against the first edition",
        "",
        "Before: the formula at commit 15613fb, of which `--before CHECKOUT` names a checkout, against the same",
        "simulation. For inputs of other laws it is the formula for Gaussian ones, all there was.",
        "",
        "| d | error before, median | worst | ranks flagged or refused before |",
        "|---|---|---|---|",
        *(
            f"| {d:.0f} | {' | '.join(_side([r for r in rows if r['d'] == d], 'before'))} |"
            for d in sorted({r["d"] for r in rows})
        ),
        "",
        "| family | d | error before | after | flagged, refused before | after | flagged too: before | after "
        "| FFT before | after |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        pairs = (
            [_number(r[f"{side}_error"]) for side in ("before", "after")],
            [_counts(r, side) for side in ("before", "after")],
            [_number(r[f"{side}_anywhere"]) for side in ("before", "after")],
            [_number(r[f"fft_{side}"]) for side in ("before", "after")],
        )
        lines.append(f"| {r['family']} | {r['d']:.0f} | {' | '.join(cell for pair in pairs for cell in pair)} |")
    return "\n".join(lines) + "\n"


def _side(rows: list[dict], side: str) -> tuple[str, str, str]:
    """The median and the largest error of an edition over some problems, and the share of ranks without a number or
    with a flag."""
    errors = [r[f"{side}_error"] for r in rows if np.isfinite(r[f"{side}_error"])]
    doubted = sum(r[f"{side}_flagged"] + r[f"{side}_refused"] for r in rows)
    share = 100 * doubted / sum(r["ranks"] for r in rows)
    return f"{np.median(errors):.3f}", f"{max(errors):.2f}", f"{share:.1f} %"


def _counts(r: dict, side: str) -> str:
    return f"{r[f'{side}_flagged']:.0f}, {r[f'{side}_refused']:.0f}"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--before", type=Path, help="a checkout of the older formula")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--families", nargs="+", default=list(families(25)))
    parser.add_argument("--rate", action="store_true", help="also write the table of rates")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / "equivalent_simulated.jsonl"
    curves = read(kept)
    done = {(curve.family, curve.d) for curve in curves}
    for d in options.dimensions:
        names = [name for name in options.families if (name, d) not in done]
        if names and options.before is None:
            parser.error(f"--before: expected a checkout of 15613fb: at d = {d} {len(names)} problems are new")
        before = theory_before(options.before, [d], names) if names else {}
        for name in names:
            curves.append(simulated(name, d, before[name, d]))
            with kept.open("a") as file:
                file.write(json.dumps(curves[-1]._asdict()) + "\n")
            print(f"{name}, d = {d}: {curves[-1].trials} draws, {curves[-1].seconds:.0f} s", flush=True)
    rows = []
    for curve in sorted(curves, key=lambda curve: (curve.d, curve.family)):
        rows.append(row(curve))
        found = rows[-1]
        print(
            f"{curve.family}, d = {curve.d}: before {found['before_error']:.3f} %, after {found['after_error']:.3f} % "
            f"({found['after_z']:.1f} standard errors)",
            flush=True,
        )
    with (RESULTS / "equivalent_error.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: v if isinstance(v, str) else f"{v:.6g}" for k, v in found.items()} for found in rows)
    (RESULTS / "equivalent_error.md").write_text(table(rows))
    if options.rate:
        (RESULTS / "equivalent_rate.md").write_text("\n".join([*rate_table(), ""]))


if __name__ == "__main__":
    main()
