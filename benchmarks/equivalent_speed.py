"""Speed of the deterministic equivalent, and against Monte Carlo at equal accuracy.

    python benchmarks/equivalent_speed.py [--repeats 5] [--skip-grid]

Each time is the median of repeats after one call that compiles, on one core unless said otherwise. The ratio to Monte
Carlo compares the time for all ranks by formula with the time that simulation needs until its largest relative standard
error equals the formula's largest error, taken as 0.3 % (the worst that `equivalent_error.py` finds at d >= 100). Both
are timed in the same run. Writes `results/equivalent_speed.md`.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from linreg_lora.problem import Problem
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.spectra import power_law
from linreg_lora.sweeps.grid import local_processes
from linreg_lora.sweeps.phase import phase_grid
from linreg_lora.theory.equivalent import lora_equivalent

RESULTS = Path(__file__).parent / "results"
ACCURACY, TRIALS, SEED = 0.003, 512, 1

PROBLEMS = {
    "n > dx, 5 distinct values": Problem(n=400, dx=100, dy=100, spectrum=(4.0, 3.0, 2.0, 1.5, 1.0), noise_std=1.0),
    "n > dx, 16 distinct values": Problem(n=400, dx=100, dy=100, spectrum=tuple(np.linspace(4, 1, 16)), noise_std=1.0),
    "n > dx, 100 distinct values": Problem(n=400, dx=100, dy=100, spectrum=power_law(100, 1.0, 5.0), noise_std=0.5),
    "n < dx, 5 distinct values": Problem(n=50, dx=100, dy=100, spectrum=(6.0, 4.0, 3.0, 2.0, 1.0), noise_std=1.0),
    "n < dx, 100 distinct values": Problem(n=50, dx=100, dy=100, spectrum=power_law(100, 1.0, 5.0), noise_std=1.0),
    "ridge, 5 distinct values": Problem(
        n=100, dx=100, dy=100, spectrum=(4.0, 3.0, 2.0, 1.5, 1.0), noise_std=1.0, ridge=20.0
    ),
}
LARGE = Problem(n=50_000, dx=20_000, dy=20_000, spectrum=tuple(np.linspace(4, 2, 10)), noise_std=1.0)


def median_time(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def against_monte_carlo(problem: Problem, repeats: int) -> tuple[float, float, int]:
    """Seconds for all ranks by formula; the ratio to simulation of equal accuracy, and its number of draws."""
    formula = median_time(lambda: lora_equivalent(problem), repeats)
    simulated = monte_carlo(problem, trials=TRIALS, seed=SEED)
    assert simulated.stderr is not None
    draws = int(TRIALS * float(np.max(simulated.stderr / simulated.risk) / ACCURACY) ** 2)
    each = median_time(lambda: monte_carlo(problem, trials=TRIALS, seed=SEED), repeats) / TRIALS
    return formula, draws * each / formula, draws


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-grid", action="store_true")
    options = parser.parse_args()
    lines = [
        "# Speed of the deterministic equivalent",
        "",
        "Written by `python benchmarks/equivalent_speed.py`. All ranks at d = 100, corrected, after compilation, one",
        "core; Monte Carlo until its standard error is 0.3 % at every rank.",
        "",
        "| problem | seconds, all ranks | draws for 0.3 % | Monte Carlo over formula |",
        "|---|---|---|---|",
    ]
    for name, problem in PROBLEMS.items():
        seconds, ratio, draws = against_monte_carlo(problem, options.repeats)
        lines.append(f"| {name} | {seconds:.2f} | {draws} | {ratio:.1f} |")
        print(lines[-1], flush=True)
    seconds = median_time(lambda: lora_equivalent(LARGE, range(1, 21)), options.repeats)
    lines += ["", f"dx = dy = 20,000, n = 50,000, a shift of rank 10, ranks 1..20: {seconds:.2f} s."]
    print(lines[-1], flush=True)
    if not options.skip_grid:
        base = PROBLEMS["n > dx, 5 distinct values"]
        axes = {
            "n": np.unique(np.geomspace(20, 1000, 40).astype(int)).tolist(),
            "noise_std": np.geomspace(0.1, 10, 40).tolist(),
        }
        with local_processes(2) as executor:
            phase_grid(base, {"n": [50, 400], "noise_std": [1.0, 2.0]}, executor=executor)
            started = time.perf_counter()
            found = phase_grid(base, axes, executor=executor)
            seconds = time.perf_counter() - started
        unknown = int((found.best_rank < 0).sum())
        lines += [
            "",
            f"Phase grid, {len(axes['n'])} x {len(axes['noise_std'])}, d = 100, best LoRA rank against FFT, two "
            f"processes: {seconds:.0f} s ({unknown} cells not solved).",
        ]
        print(lines[-1], flush=True)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    lines += ["", f"Largest peak memory of a process: {peak / 2**20:.2f} GiB."]
    print(lines[-1])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "equivalent_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
